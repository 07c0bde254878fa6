//! AWS's error codes in our words: one table. Adding a code is one line and one test.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snapferry_core::ec2::{Ec2Error, ErrorKind};

/// What a code means for us
/// ([EC2 error codes](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html)).
pub(crate) fn classify(code: &str) -> ErrorKind {
    match code {
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "Blocked"
        | "PendingVerification"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidSecurity.RequestHasExpired" => ErrorKind::AccessDenied,
        "OptInRequired" | "RegionDisabledException" | "InvalidRegion" => ErrorKind::RegionDisabled,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "EC2ThrottledException"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "LimitExceededException" => ErrorKind::Throttled,
        "ResourceLimitExceeded"
        | "ConcurrentSnapshotLimitExceeded"
        | "PendingSnapshotLimitExceeded"
        | "SnapshotCreationPerVolumeRateExceeded" => ErrorKind::QuotaExceeded,
        "IncorrectState" | "InvalidState" | "ConcurrentTagAccess" => ErrorKind::NotReady,
        "InvalidSnapshot.NotFound" | "InvalidVolume.NotFound" | "NotFoundException" => {
            ErrorKind::NotFound
        }
        "InvalidSnapshot.InUse" => ErrorKind::InUse,
        "CustomerKeyHasBeenRevoked" | "KMSInvalidStateException" | "DisabledException" => {
            ErrorKind::KeyUnusable
        }
        "InternalError"
        | "InternalFailure"
        | "ServerInternal"
        | "ServiceUnavailable"
        | "Unavailable"
        | "KMSInternalException"
        | "DependencyTimeoutException"
        | "InternalServerError" => ErrorKind::Internal,
        // SnapshotLimitExceeded stays here on purpose: a full Region needs somebody, waiting does not empty it.
        _ => ErrorKind::Invalid,
    }
}

/// What a code means as an answer to this operation. EC2 has no code of its own for a deletion that a lock or another
/// service forbids.
fn kind_of(operation: &str, code: &str) -> ErrorKind {
    match (operation, code) {
        ("DeleteSnapshot", "OperationNotPermitted") => ErrorKind::InUse,
        _ => classify(code),
    }
}

/// AWS's answer in our words. The SDK's `Display` says only "service error", so its metadata are read.
pub(crate) fn failed<E>(operation: &'static str, err: SdkError<E, HttpResponse>) -> Ec2Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let broken = err.raw_response().is_some_and(|answer| answer.status().is_server_error());
    let kind = |code: &str| match kind_of(operation, code) {
        // A code that the table does not know; the HTTP status tells whose fault it is.
        ErrorKind::Invalid if broken => ErrorKind::Internal,
        kind => kind,
    };
    // An internal error of a creating call says nothing about whether it happened.
    let creates = matches!(operation, "CreateSnapshot" | "CopySnapshot");
    let answer = err.as_service_error().map(ProvideErrorMetadata::meta);
    match answer.and_then(|meta| meta.code().map(|code| (code, kind(code), meta))) {
        Some((code, kind, meta)) if !(creates && kind == ErrorKind::Internal) => {
            Ec2Error::Refused {
                operation,
                kind,
                code: code.to_owned(),
                message: meta.message().unwrap_or("no message").to_owned(),
                request_id: meta.extra("aws_request_id").unwrap_or("none").to_owned(),
            }
        }
        _ => Ec2Error::NoAnswer {
            operation,
            // Without the raw answer: it may hold credentials, and must not get into a log by way of `Debug`.
            source: err.into_source().unwrap_or_else(Into::into),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_apart() {
        for (code, kind) in [
            ("UnauthorizedOperation", ErrorKind::AccessDenied),
            ("AuthFailure", ErrorKind::AccessDenied),
            ("OptInRequired", ErrorKind::RegionDisabled),
            ("RequestLimitExceeded", ErrorKind::Throttled),
            ("ResourceLimitExceeded", ErrorKind::QuotaExceeded),
            ("SnapshotCreationPerVolumeRateExceeded", ErrorKind::QuotaExceeded),
            ("IncorrectState", ErrorKind::NotReady),
            ("InvalidSnapshot.NotFound", ErrorKind::NotFound),
            ("InvalidSnapshot.InUse", ErrorKind::InUse),
            ("CustomerKeyHasBeenRevoked", ErrorKind::KeyUnusable),
            ("InternalError", ErrorKind::Internal),
            ("SnapshotLimitExceeded", ErrorKind::Invalid),
            ("OperationNotPermitted", ErrorKind::Invalid),
            ("a code of tomorrow", ErrorKind::Invalid),
        ] {
            assert_eq!(classify(code), kind, "{code}");
        }
    }
}

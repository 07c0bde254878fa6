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
        | "SnapshotCreationPerVolumeRateExceeded"
        | "InsufficientCapacity" => ErrorKind::QuotaExceeded,
        "IncorrectState"
        | "IncorrectInstanceState"
        | "InvalidState"
        | "InvalidSnapshot.InvalidState"
        | "ConcurrentTagAccess" => ErrorKind::NotReady,
        "InvalidSnapshot.NotFound"
        | "InvalidVolume.NotFound"
        | "InvalidInstanceID.NotFound"
        | "ParentNotFoundException"
        | "NotFoundException" => ErrorKind::NotFound,
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
        | "ServiceException"
        | "InternalServerError" => ErrorKind::Internal,
        // SnapshotLimitExceeded stays here on purpose: a full Region needs somebody, waiting does not empty it.
        _ => ErrorKind::Invalid,
    }
}

/// What a code means as an answer to this operation. EC2 has no code of its own for a deletion that a lock or another
/// service forbids.
///
/// Nor does AWS tell the codes for its limits on fast restores (5 snapshots in a Region) and on the archive (25
/// snapshots on their way, 25 of a volume,
/// [Quotas for Amazon EBS](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-resource-quotas.html)), so they are
/// recognised by how EC2 names every other limit. Retention makes room again, so the next run tries.
fn kind_of(operation: &str, code: &str) -> ErrorKind {
    let limit = code.ends_with("LimitExceeded") || code.ends_with("QuotaExceeded");
    match (operation, classify(code)) {
        ("DeleteSnapshot", ErrorKind::Invalid) if code == "OperationNotPermitted" => {
            ErrorKind::InUse
        }
        ("EnableFastSnapshotRestores" | "ModifySnapshotTier", ErrorKind::Invalid) if limit => {
            ErrorKind::QuotaExceeded
        }
        // One of the instances went away between two looks.
        ("DescribeInstanceInformation", ErrorKind::Invalid) if code == "InvalidInstanceId" => {
            ErrorKind::NotReady
        }
        (_, kind) => kind,
    }
}

/// Why fast restores cannot be enabled or disabled in one zone.
#[derive(Debug)]
pub(crate) struct ZoneError<'a> {
    pub(crate) zone: Option<&'a str>,
    pub(crate) code: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
}

impl ZoneError<'_> {
    fn kind(&self, operation: &str) -> ErrorKind {
        let code = self.code.unwrap_or_default();
        // In events of fast restores the codes have whose fault it is in front, so here they may
        // (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html).
        let bare = code.strip_prefix("Client.").or_else(|| code.strip_prefix("Server."));
        kind_of(operation, bare.unwrap_or(code))
    }
}

/// An answer that is a success and names zones in which nothing has happened. It gets the code of the zone that needs
/// somebody, if there is one.
pub(crate) fn zones_refused(
    operation: &'static str,
    errors: &[ZoneError<'_>],
    request_id: Option<&str>,
) -> Ec2Error {
    let in_zone = |it: &ZoneError<'_>| {
        format!("{}: {}", it.zone.unwrap_or("a zone"), it.message.unwrap_or("no message"))
    };
    let message = errors.iter().map(in_zone).collect::<Vec<_>>().join("; ");
    let needs_somebody = errors.iter().find(|it| !it.kind(operation).passes());
    let first = needs_somebody.or(errors.first());
    Ec2Error::Refused {
        operation,
        kind: first.map_or(ErrorKind::Invalid, |it| it.kind(operation)),
        code: first.and_then(|it| it.code).unwrap_or("no code").to_owned(),
        message: if message.is_empty() { "no zone and no message".to_owned() } else { message },
        request_id: request_id.unwrap_or("none").to_owned(),
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
    let creates =
        matches!(operation, "CreateSnapshot" | "CreateSnapshots" | "CopySnapshot" | "SendCommand");
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
        _ => {
            let status = err.raw_response().map(HttpResponse::status);
            let status = status.filter(|status| !status.is_success());
            // Without the raw answer: it may hold credentials, and must not get into a log by way of `Debug`.
            let source = err.into_source().unwrap_or_else(Into::into);
            let source = match status {
                Some(status) => Box::new(Unknown { status: status.as_u16(), source }),
                None => source,
            };
            Ec2Error::NoAnswer { operation, source }
        }
    }
}

/// An error that is not written as AWS writes them: a load balancer's page, say.
#[derive(Debug, thiserror::Error)]
#[error("HTTP status {status}")]
struct Unknown {
    status: u16,
    source: Box<dyn Error + Send + Sync>,
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
            ("InsufficientCapacity", ErrorKind::QuotaExceeded),
            ("IncorrectState", ErrorKind::NotReady),
            ("IncorrectInstanceState", ErrorKind::NotReady),
            ("InvalidSnapshot.InvalidState", ErrorKind::NotReady),
            ("InvalidInstanceID.NotFound", ErrorKind::NotFound),
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

    #[test]
    fn limits_without_a_known_name_are_limits_where_room_comes_by_itself() {
        for operation in ["EnableFastSnapshotRestores", "ModifySnapshotTier"] {
            for code in ["LimitOfTomorrowLimitExceeded", "ServiceQuotaExceeded"] {
                assert_eq!(
                    kind_of(operation, code),
                    ErrorKind::QuotaExceeded,
                    "{operation} {code}"
                );
            }
            assert_eq!(kind_of(operation, "RequestLimitExceeded"), ErrorKind::Throttled);
            assert_eq!(kind_of(operation, "OperationNotPermitted"), ErrorKind::Invalid);
        }
        for operation in ["CreateSnapshot", "CreateSnapshots", "CopySnapshot"] {
            assert_eq!(kind_of(operation, "SnapshotLimitExceeded"), ErrorKind::Invalid);
        }
    }
}

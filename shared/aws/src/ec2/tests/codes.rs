use std::time::Duration;

use aws_smithy_types::retry::RetryConfig;
use snapferry_core::ec2::{Ec2, Ec2Error, ErrorKind, VolumeFilter};

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, home_ec2, invocation, refused};

/// Every code that means something to us, with the HTTP status AWS sends it with.
const CODES: [(ErrorKind, u16, &[&str]); 9] = [
    (
        ErrorKind::AccessDenied,
        403,
        &[
            "UnauthorizedOperation",
            "AccessDenied",
            "AccessDeniedException",
            "AuthFailure",
            "Blocked",
            "PendingVerification",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "InvalidSecurity.RequestHasExpired",
        ],
    ),
    (
        ErrorKind::RegionDisabled,
        401,
        &["OptInRequired", "RegionDisabledException", "InvalidRegion"],
    ),
    (
        ErrorKind::Throttled,
        503,
        &[
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "EC2ThrottledException",
            "SlowDown",
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "LimitExceededException",
        ],
    ),
    (
        ErrorKind::QuotaExceeded,
        400,
        &[
            "ResourceLimitExceeded",
            "ConcurrentSnapshotLimitExceeded",
            "PendingSnapshotLimitExceeded",
            "SnapshotCreationPerVolumeRateExceeded",
            "InsufficientCapacity",
        ],
    ),
    (
        ErrorKind::NotReady,
        400,
        &[
            "IncorrectState",
            "IncorrectInstanceState",
            "InvalidState",
            "InvalidSnapshot.InvalidState",
            "ConcurrentTagAccess",
        ],
    ),
    (
        ErrorKind::NotFound,
        400,
        &[
            "InvalidSnapshot.NotFound",
            "InvalidVolume.NotFound",
            "InvalidInstanceID.NotFound",
            "NotFoundException",
        ],
    ),
    (ErrorKind::InUse, 400, &["InvalidSnapshot.InUse"]),
    (
        ErrorKind::KeyUnusable,
        400,
        &["CustomerKeyHasBeenRevoked", "KMSInvalidStateException", "DisabledException"],
    ),
    (
        ErrorKind::Internal,
        500,
        &[
            "InternalError",
            "InternalFailure",
            "ServerInternal",
            "ServiceUnavailable",
            "Unavailable",
            "KMSInternalException",
            "DependencyTimeoutException",
            "InternalServerError",
            "CodeOfTomorrow",
        ],
    ),
];

/// Needs somebody, whatever it is.
const INVALID: [&str; 6] = [
    "InvalidParameterValue",
    "InvalidZone.NotFound", // a policy names a zone that does not exist
    "OperationNotPermitted",
    "SnapshotLimitExceeded",
    "UnsupportedOperation",
    "CodeOfTomorrow",
];

async fn read(answer: Answer) -> Ec2Error {
    let aws = Script::default().on("DescribeVolumes", [answer]);
    let sdk = aws.sdk().into_builder().retry_config(RetryConfig::disabled()).build();
    let which = VolumeFilter::TagKeys(["Backup".to_owned()].into());
    home_ec2(&invocation(sdk, Duration::from_mins(1)))
        .await
        .describe_volumes(&which)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn every_code_of_the_table_means_the_same_in_a_real_answer() {
    let invalid = (ErrorKind::Invalid, 400, INVALID.as_slice());
    for (kind, status, codes) in CODES.into_iter().chain([invalid]) {
        for code in codes {
            let err = read(refused(status, code, "Why &lt;it&gt; is.")).await;
            let text = format!(
                "AWS refused DescribeVolumes: Why <it> is. ({code}, request ID {REQUEST_ID})"
            );
            assert_refused(&err, kind, &text);
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_code_is_none() {
    let page = "<html><body><h1>403 Forbidden</h1></body></html>";
    for (status, body) in [(403, page), (403, ""), (400, "<Response><Errors/></Response>")] {
        let err = read(Answer::Http(status, body.into())).await;
        assert_no_answer(&err, "DescribeVolumes", "");
    }
}

//! Retry class of every call: none that the end of the invocation would cut off.
//!
//! While the SDK waits to try again, it keeps what AWS has said. Where the invocation ends meanwhile, that is lost, and
//! what was throttled is told as if AWS had not answered.

use std::time::Duration;

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority,
};

use crate::deadline::Deadline;

/// Between five attempts the SDK waits at most 1, 2, 4 and 8 seconds; which of them comes next it does not tell.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Forbids what there may be no time for.
#[derive(Debug)]
pub(crate) struct InTime(pub(crate) Deadline);

impl ClassifyRetry for InTime {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failed = context.output_or_error().is_some_and(|it| it.is_err());
        if failed && self.0.ends_within(LONGEST_WAIT) {
            return RetryAction::RetryForbidden;
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "only what there is time for"
    }

    fn priority(&self) -> RetryClassifierPriority {
        let all = RetryClassifierPriority::run_after(
            RetryClassifierPriority::transient_error_classifier(),
        );
        RetryClassifierPriority::run_after(RetryClassifierPriority::run_after(all))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snapferry_core::ec2::{Ec2 as _, ErrorKind, VolumeFilter};

    use crate::testing::{Script, home_ec2, invocation, throttled};

    #[tokio::test]
    async fn what_aws_said_is_told_rather_than_that_time_is_over() {
        for (seconds, n_calls) in [(5, 1), (60, 5)] {
            let create = snapferry_core::ec2::CreateSnapshot {
                volume: "vol-00000001".parse().unwrap(),
                description: String::new(),
                tags: snapferry_core::policy::Tags::default(),
            };
            let aws = Script::default()
                .on("DescribeVolumes", vec![throttled(); 5])
                .on("CreateSnapshot", vec![throttled(); 5]);
            let ec2 = home_ec2(&invocation(aws.sdk(), Duration::from_secs(seconds))).await;
            let err = ec2.describe_volumes(&VolumeFilter::All).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Throttled);
            let err = ec2.create_snapshot(&create).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Throttled);
            for action in ["DescribeVolumes", "CreateSnapshot"] {
                assert_eq!(aws.sent(action).len(), n_calls, "{seconds} s left, {action}");
            }
        }
    }
}

//! An answer that has no end is none: the SDK would keep all of it.

use std::mem;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// A page of 1,000 snapshots with 50 tags of the full length each has some 22 MB where they are ASCII. Of more than this
/// the SDK, which has it twice, would make a function with 256 MB end.
const MOST: usize = 64 << 20;

/// Makes an answer of more than [`MOST`] bytes an error, as soon as they have come.
#[derive(Debug)]
pub(crate) struct Bounded;

impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "answers with an end only"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let all = mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(all, MOST));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use snapferry_core::chain::Chain;
    use snapferry_core::ec2::Ec2 as _;

    use super::MOST;
    use crate::testing::{Answer, Script};

    #[tokio::test]
    async fn what_is_too_long_is_no_answer() {
        let endless = || Answer::Http(200, " ".repeat(MOST + 1));
        let aws = Script::default()
            .on("DescribeVolumes", (0..5).map(|_| endless()))
            .on("DescribeKey", (0..5).map(|_| endless()));
        let ec2 = aws.ec2().await;
        let err = ec2.describe_volumes(&snapferry_core::ec2::VolumeFilter::All).await.unwrap_err();
        let said = Chain(&err).to_string();
        assert!(said.starts_with("no answer to DescribeVolumes: "), "{said}");
        assert!(said.contains("length limit exceeded"), "{said}");
        let said = Chain(&ec2.describe_key("key").await.unwrap_err()).to_string();
        assert!(said.contains("length limit exceeded"), "{said}");
    }
}

//! An XML answer that breaks off is no answer.
//!
//! The SDK's reader takes the end of the text for the end of everything that is open: of a list that breaks off it
//! makes a shorter list, of an identifier a shorter one. HTTP finds most of these out, but not where the end of the
//! connection ends the answer.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Makes a successful answer that breaks off an error, which is retried where a lost connection is.
#[derive(Debug)]
pub(crate) struct Whole;

#[derive(Debug, thiserror::Error)]
#[error("the answer breaks off after {0} bytes")]
struct BreaksOff(usize);

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "whole answers only"
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context
            .response()
            .filter(|response| response.status().is_success())
            .and_then(|response| response.body().bytes())
            .map(<[u8]>::trim_ascii_end);
        let cut = body.filter(|body| !body.ends_with(b"Response>")).map(<[u8]>::len);
        if let (Some(length), Some(result)) = (cut, context.output_or_error_mut()) {
            *result = Err(OrchestratorError::response(BreaksOff(length).into()));
        }
        Ok(())
    }
}

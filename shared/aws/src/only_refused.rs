//! Retry class of the calls that create: they are sent again only where EC2 said that nothing has happened.
//!
//! `CreateSnapshot`, `CreateSnapshots` and `CopySnapshot` take no client token
//! ([Ensuring idempotency](https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html)). The SDK would
//! send them again after a time-out or a lost connection, and two snapshots could be the result.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snapferry_core::ec2::ErrorKind;

use crate::classify::classify;

/// Lets a retry happen only after a throttling answer. `E` is the operation's error type.
pub(crate) struct OnlyRefused<E>(PhantomData<fn() -> E>);

impl<E> OnlyRefused<E> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E> fmt::Debug for OnlyRefused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnlyRefused")
    }
}

impl<E> ClassifyRetry for OnlyRefused<E>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let code = match context.output_or_error() {
            Some(Err(err)) => err
                .as_operation_error()
                .and_then(|err| err.downcast_ref::<E>())
                .and_then(ProvideErrorMetadata::code),
            _ => None,
        };
        match code.map(classify) {
            Some(ErrorKind::Throttled) => RetryAction::throttling_error(),
            _ => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "only what was refused"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

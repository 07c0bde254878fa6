//! Wiring only: logging, environment, clock. See the library for what it does.

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, run, service_fn, tracing};
use serde_json::Value;
use snapferry_aws::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing::init_default_subscriber();
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let function = Function::from_env("rotate-snapshots", |name| std::env::var(name).ok());
    let function = &function;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
        let now = Timestamp::now();
        rotate_snapshots::handle(function, event, now).await
    }))
    .await
}

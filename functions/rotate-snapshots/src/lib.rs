//! `rotate-snapshots`: in every account and Region that the policies target, snapshots what is due, shares what is
//! completed, and rotates what no rule keeps.

use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use snapferry_aws::{Function, Invocation};
use snapferry_core::event::RotateEvent;
use snapferry_core::reconcile;
use snapferry_core::run::Failure;

/// Answers one event at the wall-clock time `now`.
///
/// # Errors
/// When somebody has to act; `error_type` says who, see the README.
pub async fn handle(
    function: &Function,
    event: LambdaEvent<Value>,
    now: Timestamp,
) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    let end = i64::try_from(context.deadline).unwrap_or(i64::MAX);
    let left = Duration::from_millis(u64::try_from(end - now.as_millisecond()).unwrap_or(0));
    answer(function, &payload, left, &context.request_id, now)
        .await
        .map_err(|failure| Diagnostic {
            error_type: failure.error_type.to_owned(),
            error_message: failure.message,
        })
}

async fn answer(
    function: &Function,
    payload: &Value,
    left: Duration,
    request_id: &str,
    now: Timestamp,
) -> Result<Value, Failure> {
    let event = RotateEvent::parse(payload).map_err(|err| Failure {
        error_type: "InvalidEvent",
        message: err.to_string(),
    })?;
    let invocation = function.begin(left, request_id).await?;
    let out_of_time = invocation.is_out_of_time();
    let limits = invocation.limits(&out_of_time)?;
    let documents = invocation.documents(&event.common).await?;
    let names: Vec<String> = documents
        .snapshot_policies()
        .iter()
        .map(|(policy, _)| policy.name.clone())
        .collect();
    let run = Box::pin(reconcile::rotate(
        &invocation.aws,
        documents,
        &event,
        now,
        &limits,
    ))
    .await
    .map_err(|err| Invocation::unreadable(&err))?;
    invocation.finish(run, &names, now)
}

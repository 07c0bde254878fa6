//! `copy-shared-snapshots`: in the vault account, copies what member accounts share into the target Regions under the
//! rules' keys, and expires the copies.

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use snapferry_aws::{Answer, Aws, Call, Function, Job};
use snapferry_core::documents::Documents;
use snapferry_core::ec2::Ec2Error;
use snapferry_core::event::{Common, CopyEvent, InvalidEvent};
use snapferry_core::execute::Limits;
use snapferry_core::reconcile;
use snapferry_core::run::Failure;

/// What this function does with its events.
#[derive(Debug)]
pub struct CopySharedSnapshots;

impl Job for CopySharedSnapshots {
    type Event = CopyEvent;

    fn parse(payload: &Value) -> Result<CopyEvent, InvalidEvent> {
        CopyEvent::parse(payload)
    }

    fn common(event: &CopyEvent) -> &Common {
        &event.common
    }

    fn policies(documents: &Documents) -> Vec<String> {
        documents.copy_policies().iter().map(|(policy, _)| policy.name.clone()).collect()
    }

    async fn run(
        aws: &Aws,
        documents: Documents,
        event: &CopyEvent,
        now: Timestamp,
        limits: &Limits<'_>,
    ) -> Result<Answer, Ec2Error> {
        let run = reconcile::copy(aws, documents, event, now, limits).await?;
        Ok(Answer::Run(Box::new(run)))
    }
}

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
    let call = Call { deadline_ms: context.deadline, request_id: &context.request_id, now };
    let answer = function.answer::<CopySharedSnapshots>(&payload, call).await;
    answer.map_err(|Failure { error_type, message }| Diagnostic {
        error_type: error_type.to_owned(),
        error_message: message,
    })
}

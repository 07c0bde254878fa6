//! From an event to an answer: the same way for both functions.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snapferry_core::documents::Documents;
use snapferry_core::ec2::Ec2Error;
use snapferry_core::event::{Common, InvalidEvent};
use snapferry_core::execute::Limits;
use snapferry_core::reconcile::Listing;
use snapferry_core::run::{Failure, Run};
use tracing::{error, info};

use crate::function::{Function, Invocation};
use crate::provider::Aws;

/// What one function does with its events.
pub trait Job {
    /// What wakes it.
    type Event: Send + Sync;

    /// Reads an event.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    fn parse(payload: &Value) -> Result<Self::Event, InvalidEvent>;

    /// The members that both functions have.
    fn common(event: &Self::Event) -> &Common;

    /// The names of the policies that are this function's.
    fn policies(documents: &Documents) -> Vec<String>;

    /// Does it.
    fn run(
        aws: &Aws,
        documents: Documents,
        event: &Self::Event,
        now: Timestamp,
        limits: &Limits<'_>,
    ) -> impl Future<Output = Result<Answer, Ec2Error>>;
}

/// What an invocation came to.
#[derive(Debug)]
pub enum Answer {
    /// What was done.
    Run(Box<Run>),
    /// What there is to do.
    Listing(Listing),
}

/// What Lambda tells of an invocation.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// When it is cut off, in milliseconds since 1970.
    pub deadline_ms: u64,
    /// Lambda's id for it.
    pub request_id: &'a str,
    /// The wall clock.
    pub now: Timestamp,
}

impl Function {
    /// Answers one event.
    ///
    /// # Errors
    /// When somebody has to act.
    pub async fn answer<J: Job>(&self, payload: &Value, call: Call<'_>) -> Result<Value, Failure> {
        let event = J::parse(payload)
            .map_err(|err| Failure { error_type: "InvalidEvent", message: err.to_string() })?;
        let end = i64::try_from(call.deadline_ms).unwrap_or(i64::MAX);
        let left = u64::try_from(end.saturating_sub(call.now.as_millisecond())).unwrap_or(0);
        let invocation = self.begin(Duration::from_millis(left), call.request_id).await?;
        let out_of_time = invocation.is_out_of_time();
        let time_left = invocation.time_left();
        let pause = invocation.pause();
        let limits = invocation.limits(&out_of_time, &time_left, &pause)?;
        let documents = invocation.documents(J::common(&event)).await?;
        let names = J::policies(&documents);
        // Boxed: a run is a deep nest of futures, too deep for the compiler.
        let answer = Box::pin(J::run(&invocation.aws, documents, &event, call.now, &limits))
            .await
            .map_err(|err| Invocation::unreadable(&err))?;
        match answer {
            Answer::Run(run) => invocation.finish(*run, &names, call.now),
            Answer::Listing(listing) => listed(&listing),
        }
    }
}

/// What a state machine takes of an answer is 256 KB
/// ([Step Functions](https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)); some is for its own.
const LISTING_BYTES: usize = 250_000;

fn listed(listing: &Listing) -> Result<Value, Failure> {
    for failure in &listing.failures {
        error!(error_type = failure.error_type, error = failure.message, "list is not whole");
    }
    info!(n_scopes = listing.scopes, n_runs = listing.items.len(), "scopes listed");
    let answer = serde_json::to_value(listing).unwrap_or_default();
    let bytes = answer.to_string().len();
    if bytes > LISTING_BYTES {
        return Err(Failure {
            error_type: "InvalidConfiguration",
            message: format!(
                "the list of {} scopes has {bytes} bytes, and a state machine takes {LISTING_BYTES}: want more scopes in \
                 an item (parameter FleetScopesPerRun), or fewer accounts in this stack's policies",
                listing.scopes
            ),
        });
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use snapferry_core::reconcile::Item;

    use super::*;

    #[test]
    fn a_list_that_no_state_machine_takes_is_an_error_that_says_so() {
        let scope = |n: u64| format!("{n:012}/eu-central-1").parse().unwrap();
        let list = |n: u64| {
            let items = (0..n).map(|n| Item { scopes: vec![scope(n)], listed: BTreeMap::new() });
            let items: Vec<_> = items.collect();
            listed(&Listing { scopes: items.len(), items, failures: Vec::new() })
        };
        assert_eq!(list(10).unwrap()["Items"][9]["Scopes"][0], "000000000009/eu-central-1");
        let failure = list(5000).unwrap_err();
        assert_eq!(failure.error_type, "InvalidConfiguration");
        let want = "the list of 5000 scopes has ";
        assert!(failure.message.starts_with(want), "{}", failure.message);
    }
}

//! The end of an invocation, which no call outlives.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snapferry_core::ec2::Ec2Error;
use tokio::time::Instant;

use crate::classify::failed;

/// When an invocation ends, and when it has to stop beginning things.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    soft: Instant,
    hard: Instant,
}

impl Deadline {
    /// For an invocation with so much time left. The last fifth, at most 30 seconds, is for answers that are under
    /// way; a third of that for the report.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        let now = Instant::now();
        let margin = (left / 5).min(Duration::from_secs(30));
        Self { soft: now + left - margin, hard: now + left - margin / 3 }
    }

    /// Whether nothing new may be begun.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.soft
    }

    /// How long new things may be begun.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.soft.saturating_duration_since(Instant::now())
    }

    /// Whether no answer is waited for any more after so long.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        Instant::now() + time >= self.hard
    }

    /// Waits so long, but not past the moment from which nothing new may be begun.
    pub(crate) async fn pause(self, time: Duration) {
        let end = Instant::now().checked_add(time).map_or(self.soft, |end| end.min(self.soft));
        tokio::time::sleep_until(end).await;
    }

    /// Waits for the answer to a call, but not past the end of the invocation.
    pub(crate) async fn answer<T, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Ec2Error>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        // Boxed: the SDK's futures are large, and nested ones exhaust the compiler.
        self.wait(operation, Box::pin(call)).await?.map_err(|err| failed(operation, err))
    }

    /// Waits for whatever an operation needs, but not past the end of the invocation.
    pub(crate) async fn wait<T>(
        &self,
        operation: &'static str,
        what: impl Future<Output = T>,
    ) -> Result<T, Ec2Error> {
        let done = tokio::time::timeout_at(self.hard, what).await;
        done.map_err(|late| Ec2Error::NoAnswer { operation, source: late.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_is_left_for_answers_and_then_for_the_report() {
        for (left, soft, hard) in [(900, 870, 890), (60, 48, 56), (0, 0, 0)] {
            let [left, soft, hard] = [left, soft, hard].map(Duration::from_secs);
            let before = Instant::now();
            let deadline = Deadline::after(left);
            let after = Instant::now();
            assert!((before + soft..=after + soft).contains(&deadline.soft), "{left:?}");
            assert!((before + hard..=after + hard).contains(&deadline.hard), "{left:?}");
            assert_eq!(deadline.is_over(), left.is_zero());
        }
    }

    #[tokio::test]
    async fn what_is_under_way_may_end_after_nothing_new_may_begin() {
        let now = Instant::now();
        let later = now + Duration::from_mins(1);
        for (soft, hard, is_over) in [(now, later, true), (later, now, false)] {
            assert_eq!(Deadline { soft, hard }.is_over(), is_over);
        }
    }

    #[tokio::test]
    async fn a_pause_ends_with_its_time_or_with_ours() {
        let now = Instant::now();
        let (soon, later) = (Duration::from_millis(20), Duration::from_mins(1));
        for (soft, time) in [(later, soon), (soon, later), (soon, Duration::MAX)] {
            let deadline = Deadline { soft: now + soft, hard: now + later };
            tokio::time::timeout(Duration::from_secs(9), deadline.pause(time)).await.unwrap();
            assert!(now.elapsed() >= soon);
        }
    }
}

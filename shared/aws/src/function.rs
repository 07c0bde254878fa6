//! What both Lambda functions have in common around a run: configuration, documents, the deadline, the answer.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use snapferry_core::chain::Chain;
use snapferry_core::documents::{Content, Documents, InvalidConfiguration, Raw, Source};
use snapferry_core::ec2::Ec2Error;
use snapferry_core::event::Common;
use snapferry_core::execute::{Limits, Pause};
use snapferry_core::report::MAX_BYTES;
use snapferry_core::run::{Failure, Run};
use tokio::sync::OnceCell;
use tracing::{error, info};

use crate::deadline::Deadline;
use crate::parameters;
use crate::provider::Aws;

/// Scopes read and changed side by side.
const SCOPES: usize = 8;

/// Calls side by side in one scope: EC2 refills its bucket for `CreateSnapshot` with 5 a second
/// ([Request throttling](https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html)).
const ACTIONS: usize = 8;

/// How much of a report a state machine gets, which looks at the status and the counts; it takes 256 KB.
const BRIEF_BYTES: usize = 32_000;

/// How much of a report goes to the log when the invocation fails; CloudWatch takes 256 KB in one event.
const LOGGED_BYTES: usize = 200_000;

/// A Lambda function: what its environment says, and the SDK's configuration, loaded on first use.
pub struct Function {
    name: String,
    policies: Result<Option<Source>, InvalidConfiguration>,
    delete_limit: Result<Option<usize>, InvalidConfiguration>,
    presigned_url: Result<bool, InvalidConfiguration>,
    sdk: OnceCell<SdkConfig>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One invocation of a function.
#[derive(Debug)]
pub struct Invocation<'a> {
    function: &'a Function,
    /// AWS.
    pub aws: Aws,
}

impl Function {
    /// Reads the environment through `variable`. What is wrong with it is told by every invocation, as
    /// `InvalidConfiguration`: an error while starting would be told as a crash.
    #[must_use]
    pub fn from_env(default_name: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let delete_limit = given("DELETE_LIMIT").map(|text| {
            text.trim().parse().map_err(|_| InvalidConfiguration {
                variable: "DELETE_LIMIT",
                want: "the most deletions in one run of one scope, a whole number",
                found: format!("{text:?}"),
            })
        });
        let presigned_url = match given("PRESIGNED_URL").as_deref().map(str::trim) {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(text) => Err(InvalidConfiguration {
                variable: "PRESIGNED_URL",
                want: "on or off: whether copies of encrypted snapshots carry one",
                found: format!("{text:?}"),
            }),
        };
        Self {
            name: given("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| default_name.to_owned()),
            policies: given("POLICIES").map(|text| Source::parse(&text)).transpose(),
            delete_limit: delete_limit.transpose(),
            presigned_url,
            sdk: OnceCell::new(),
        }
    }

    /// Begins an invocation with so much time left.
    ///
    /// # Errors
    /// `InvalidConfiguration`.
    pub async fn begin(&self, left: Duration, request_id: &str) -> Result<Invocation<'_>, Failure> {
        let sdk = self.sdk.get_or_init(Aws::config).await.clone();
        let deadline = Deadline::after(left);
        let presigned_url = self.presigned_url.clone();
        let aws = presigned_url
            .and_then(|presigned_url| Aws::new(sdk, deadline, request_id, presigned_url));
        Ok(Invocation { function: self, aws: aws.map_err(|err| configuration(&err))? })
    }
}

impl Invocation<'_> {
    /// The documents that the event brings, else the configured ones.
    ///
    /// # Errors
    /// `InvalidConfiguration` where there are none, or where they cannot be read.
    pub async fn documents(&self, common: &Common) -> Result<Documents, Failure> {
        if let Some(policies) = &common.policies {
            let raw = |value: &serde_json::Value| Raw {
                default_name: String::new(),
                content: Content::Json(value.clone()),
            };
            return Ok(Documents::read(policies.iter().map(raw).collect(), false));
        }
        let nothing = |found: &str| {
            configuration(&InvalidConfiguration {
                variable: "POLICIES",
                want: "policy documents as JSON, or ssm:/path/ with at least one document below it \
                       (or Policies in the event)",
                found: found.to_owned(),
            })
        };
        let source = self.function.policies.clone().map_err(|err| configuration(&err))?;
        let source = source.ok_or_else(|| nothing("nothing"))?;
        let raw = parameters::documents(&self.aws, &source).await.map_err(|err| Failure {
            error_type: "InvalidConfiguration",
            message: format!("environment variable POLICIES: cannot be read: {}", Chain(&err)),
        })?;
        if raw.is_empty() {
            return Err(nothing("no document"));
        }
        Ok(Documents::read(raw, true))
    }

    /// How much at once; `out_of_time` is [`Self::is_out_of_time`], `time_left` [`Self::time_left`], `pause`
    /// [`Self::pause`].
    ///
    /// # Errors
    /// `InvalidConfiguration`.
    pub fn limits<'a>(
        &self,
        out_of_time: &'a (dyn Fn() -> bool + Send + Sync),
        time_left: &'a (dyn Fn() -> SignedDuration + Send + Sync),
        pause: &'a Pause,
    ) -> Result<Limits<'a>, Failure> {
        let deletions = self.function.delete_limit.clone().map_err(|err| configuration(&err))?;
        Ok(Limits { scopes: SCOPES, actions: ACTIONS, deletions, out_of_time, time_left, pause })
    }

    /// A question that can be asked at any time: is the invocation about to end?
    pub fn is_out_of_time(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let deadline = self.aws.deadline();
        move || deadline.is_over()
    }

    /// Another: how long is it until then?
    pub fn time_left(&self) -> impl Fn() -> SignedDuration + Send + Sync + use<> {
        let deadline = self.aws.deadline();
        move || deadline.left().try_into().unwrap_or(SignedDuration::MAX)
    }

    /// Waits so long, but not until the invocation is about to end.
    pub fn pause(
        &self,
    ) -> impl Fn(SignedDuration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + use<>
    {
        let deadline = self.aws.deadline();
        move |time| Box::pin(deadline.pause(time.try_into().unwrap_or_default()))
    }

    /// Ends the invocation: metrics and summary to the log, the report or the failure to the caller.
    ///
    /// # Errors
    /// When somebody has to act.
    pub fn finish(
        &self,
        mut run: Run,
        policies: &[String],
        now: Timestamp,
    ) -> Result<serde_json::Value, Failure> {
        if !run.report.dry_run {
            for line in run.metrics(&self.function.name, policies, now.as_millisecond()) {
                println!("{line}"); // EMF: a line of the log that is nothing but this JSON
            }
            log_least_protected(&run);
        }
        let count = |name: &str| run.report.counts.get(name).copied().unwrap_or(0);
        info!(
            status = ?run.report.status,
            dry_run = run.report.dry_run,
            n_created = count("CreateSnapshot") + count("CreateSnapshots"),
            n_copied = count("CopySnapshot"),
            n_shared = count("ModifySnapshotAttribute"),
            n_deleted = count("DeleteSnapshot"),
            n_deferred = count("Deferred"),
            n_failed = count("Failed"),
            n_held = count("Held"),
            version = env!("CARGO_PKG_VERSION"),
            "run ended"
        );
        match run.failure() {
            None => {
                run.report.fit(if run.is_of_a_list { BRIEF_BYTES } else { MAX_BYTES });
                Ok(serde_json::to_value(&run.report).unwrap_or_default())
            }
            Some(failure) => {
                run.report.fit(LOGGED_BYTES);
                let report = serde_json::to_string(&run.report).unwrap_or_default();
                error!(
                    error_type = failure.error_type,
                    error = failure.message,
                    report,
                    "run failed"
                );
                Err(failure)
            }
        }
    }
}

fn log_least_protected(run: &Run) {
    for worst in run.least_protected() {
        info!(
            account = %worst.line.account,
            region = %worst.line.region,
            policy = worst.line.policy,
            volume_id = %worst.line.volume_id,
            age_minutes = worst.age_minutes,
            newest_completed = worst.line.newest_completed,
            reason = worst.reason,
            "least protected"
        );
    }
}

fn configuration(err: &InvalidConfiguration) -> Failure {
    Failure { error_type: "InvalidConfiguration", message: err.to_string() }
}

impl Invocation<'_> {
    /// The own account could not be told, so nothing was done.
    #[must_use]
    pub fn unreadable(err: &Ec2Error) -> Failure {
        Failure { error_type: "ScopesUnreadable", message: Chain(err).to_string() }
    }
}

#[cfg(test)]
mod tests;

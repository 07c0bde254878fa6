//! What a whole invocation came to: the report, and everything that somebody has to act on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::audit::Violation;
use crate::chain::{Chain, one_line};
use crate::observe::{Unreadable, UnreadableUnit};
use crate::policy::document::InvalidPolicy;
use crate::report::{CoverageLine, OutcomeName, Report};

#[cfg(test)]
mod tests;

/// A whole invocation.
#[derive(Debug)]
pub struct Run {
    /// What the caller gets when nothing went wrong.
    pub report: Report,
    /// Documents that were passed over.
    pub invalid: Vec<InvalidPolicy>,
    /// Scopes that were passed over.
    pub unreadable: Vec<Unreadable>,
    /// Organizational units, whose accounts were passed over as far as they are not known.
    pub unreadable_units: Vec<UnreadableUnit>,
    /// Why deletions were withheld.
    pub violations: Vec<Violation>,
    /// How many deletions were withheld.
    pub n_withheld: usize,
    /// For every copy that was a full one without need, its policy. `None`: it is not the function that watches that.
    pub full_copies: Option<Vec<String>>,
    /// It is one of many of the same list, see [`of_a_list`](Self::of_a_list).
    pub is_of_a_list: bool,
}

/// How an invocation that somebody has to act on ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Lambda's `errorType`.
    pub error_type: &'static str,
    /// Lambda's `errorMessage`: one line.
    pub message: String,
}

/// So many failed objects are named in the message; the log has them all.
const NAMED: usize = 20;

/// So many of the least protected volumes of a run go to the log, of however many there are.
const LEAST_PROTECTED: usize = 20;

/// What brings a volume its next snapshot or copy, where the report tells of a volume. (A set's line is of an instance.)
const PROTECTS: [&str; 2] = ["CreateSnapshot", "CopySnapshot"];

/// What runs a script, or a VSS backup.
const SCRIPTS: &str = "SendCommand";

/// One of the least protected volumes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastProtected<'a> {
    /// The volume, where its snapshots or copies are, and who wants it.
    pub line: &'a CoverageLine,
    /// The age of its newest good one, or for how long it has waited for its first.
    pub age_minutes: i64,
    /// What keeps it from its next, where this run knows.
    pub reason: Option<&'a str>,
}

impl Run {
    /// One of many runs of the same list: what the list has told already is not told again, and the answer is to be
    /// short, as a state machine takes 256 KB
    /// ([Step Functions](https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)).
    #[must_use]
    pub fn of_a_list(self) -> Self {
        Self { invalid: Vec::new(), is_of_a_list: true, ..self }
    }

    /// `None`: nobody needs to act. A dry run tells what would fail or be refused in its report, so only what keeps the
    /// plan from being whole is a failure of it. Where several things went wrong, the first of the contract's order gives the
    /// `errorType`, and the message tells them all.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let failed: Vec<String> = self
            .report
            .actions
            .iter()
            .filter(|line| line.outcome == OutcomeName::Failed)
            .map(|line| {
                let object = line
                    .source_snapshot_id
                    .as_ref()
                    .or(line.snapshot_id.as_ref())
                    .map(ToString::to_string)
                    .or_else(|| line.volume_id.as_ref().map(ToString::to_string))
                    .or_else(|| line.instance_id.as_ref().map(ToString::to_string))
                    .unwrap_or_else(|| format!("policy {}", line.policy));
                let message = line.error.as_ref().map_or("", |error| error.message.as_str());
                format!(
                    "{} of {object} in {}/{}: {message}",
                    line.action, line.account, line.region
                )
            })
            .collect();
        let scopes = self.unreadable.iter().map(|it| format!("{}: {}", it.scope, Chain(&it.error)));
        let units = self
            .unreadable_units
            .iter()
            .map(|it| format!("organizational unit {}: {}", it.unit, Chain(&it.error)));
        let parts = [
            ("InvalidPolicy", texts(self.invalid.iter().map(ToString::to_string))),
            ("ScopesUnreadable", texts(scopes.chain(units).collect::<Vec<_>>().into_iter())),
            ("ActionsFailed", texts(failed.into_iter())),
            ("PlanRefused", texts(self.violations.iter().map(ToString::to_string))),
        ];
        let whole = ["InvalidPolicy", "ScopesUnreadable"];
        let counts = |error_type: &str| !self.report.dry_run || whole.contains(&error_type);
        let mut failure: Option<Failure> = None;
        for (error_type, text) in
            parts.into_iter().filter(|(error_type, text)| !text.is_empty() && counts(error_type))
        {
            match &mut failure {
                None => {
                    failure = Some(Failure { error_type, message: one_line(&text) });
                }
                Some(failure) => {
                    let _ = write!(failure.message, "; {error_type}: {}", one_line(&text));
                }
            }
        }
        failure
    }

    /// Metrics in CloudWatch's embedded metric format
    /// ([EMF](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html)):
    /// a line for every policy of `names`, and one for the function as a whole.
    #[must_use]
    pub fn metrics(&self, function: &str, names: &[String], now_ms: i64) -> Vec<Value> {
        let mut lines = vec![self.metric_line(function, None, now_ms)];
        lines.extend(names.iter().map(|name| self.metric_line(function, Some(name), now_ms)));
        lines
    }

    /// The worst volumes of a run, the worst one of each policy before all others, so that no policy hides another.
    #[must_use]
    pub fn least_protected(&self) -> Vec<LeastProtected<'_>> {
        let wanted = self.report.coverage.iter();
        let mut wanted: Vec<_> =
            wanted.filter_map(|line| Some((line.unprotected_minutes?, line))).collect();
        wanted.sort_by_key(|(age, line)| {
            (Reverse(*age), &line.account, &line.region, &line.volume_id)
        });
        let mut policies = BTreeSet::new();
        let (mut worst, others): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(_, line)| policies.insert(&line.policy));
        worst.extend(others);
        worst.truncate(LEAST_PROTECTED);
        let told = |(age_minutes, line)| LeastProtected {
            line,
            age_minutes,
            reason: self.hindrance(line),
        };
        worst.into_iter().map(told).collect()
    }

    fn hindrance(&self, line: &CoverageLine) -> Option<&str> {
        let mut actions = self.report.actions.iter().filter(|it| {
            PROTECTS.contains(&it.action)
                && it.policy == line.policy
                && it.account == line.account
                && it.volume_id.as_ref() == Some(&line.volume_id)
        });
        let error = actions.find_map(|it| it.error.as_ref());
        let mut held = self.report.held.iter().filter(|it| {
            it.snapshot_id.is_none()
                && it.policy == line.policy
                && it.account == line.account
                && it.volume_id.as_ref() == Some(&line.volume_id)
        });
        error.map(|it| it.message.as_str()).or_else(|| held.next().map(|it| it.reason.as_str()))
    }

    fn metric_line(&self, function: &str, policy: Option<&str>, now_ms: i64) -> Value {
        let of_policy = |name: &str| policy.is_none_or(|policy| policy == name);
        let count = |action: &str, outcome: OutcomeName| {
            let lines = self.report.actions.iter();
            lines
                .filter(|it| it.outcome == outcome && of_policy(&it.policy))
                .filter(|it| action.is_empty() || it.action == action)
                .count()
        };
        let done = |action: &str| count(action, OutcomeName::Done);
        let of_done = || {
            let lines = self.report.actions.iter();
            lines.filter(|it| it.outcome == OutcomeName::Done && of_policy(&it.policy))
        };
        let sets = of_done().filter(|it| it.action == "CreateSnapshots");
        let in_sets: usize = sets.map(|it| it.snapshot_ids.len()).sum();
        let unshared = of_done().filter(|it| it.operation_type.is_some()).count();
        let mut metrics = BTreeMap::from([
            ("SnapshotsCreated", json!(done("CreateSnapshot") + in_sets)),
            ("SnapshotsShared", json!(done("ModifySnapshotAttribute") - unshared)),
            ("SnapshotsCopied", json!(done("CopySnapshot"))),
            ("SnapshotsDeleted", json!(done("DeleteSnapshot"))),
            ("ActionsDeferred", json!(count("", OutcomeName::Deferred))),
            ("ActionsFailed", json!(count("", OutcomeName::Failed))),
        ]);
        let lines = || self.report.actions.iter().filter(|it| of_policy(&it.policy));
        // Nobody pays for metrics of scripts that has none.
        if lines().any(|it| it.action == SCRIPTS || it.not_app_consistent > 0) {
            let not_consistent: usize = lines().map(|it| it.not_app_consistent).sum();
            let stand_still = lines().filter(|it| it.stands_still).count();
            metrics.insert("ScriptsFailed", json!(count(SCRIPTS, OutcomeName::Failed)));
            metrics.insert("PostScriptsMissing", json!(stand_still));
            metrics.insert("SnapshotsNotAppConsistent", json!(not_consistent));
        }
        if let Some(full) = &self.full_copies {
            let n = full.iter().filter(|name| of_policy(name)).count();
            metrics.insert("FullCopies", json!(n));
        }
        let covered = self.report.coverage.iter().filter(|line| of_policy(&line.policy));
        if let Some(oldest) = covered.filter_map(|line| line.unprotected_minutes).max() {
            metrics.insert("OldestProtectionAgeMinutes", json!(oldest));
        }
        if policy.is_none() {
            metrics.insert(
                "ScopesUnreadable",
                json!(self.unreadable.len() + self.unreadable_units.len()),
            );
            metrics.insert("DeletionsWithheld", json!(self.n_withheld));
        }
        let names: Vec<Value> = metrics
            .keys()
            .map(|name| {
                let unit = if name.ends_with("Minutes") { "None" } else { "Count" };
                json!({"Name": name, "Unit": unit})
            })
            .collect();
        let dimensions =
            if policy.is_some() { json!([["Function", "Policy"]]) } else { json!([["Function"]]) };
        let directive = json!({
            "Namespace": "Snapferry", "Dimensions": dimensions, "Metrics": names,
        });
        metrics.insert("_aws", json!({"Timestamp": now_ms, "CloudWatchMetrics": [directive]}));
        metrics.insert("Function", json!(function));
        if let Some(policy) = policy {
            metrics.insert("Policy", json!(policy));
        }
        json!(metrics)
    }
}

fn texts(items: impl ExactSizeIterator<Item = String>) -> String {
    let n = items.len();
    let mut text = items.take(NAMED).collect::<Vec<_>>().join("; ");
    if n > NAMED {
        let _ = write!(text, "; and {} more, which the log names", n - NAMED);
    }
    text
}

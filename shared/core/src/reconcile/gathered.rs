//! What the parts of a run came to, gathered into one and logged once.

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::Done;
use crate::action::{Deferred, Held, Hold, Impossible, Planned, Subject};
use crate::audit::Violation;
use crate::chain::Chain;
use crate::execute::{Executed, Outcome};
use crate::ids::{Scope, SnapshotId};
use crate::observe::{Unreadable, UnreadableUnit};
use crate::policy::document::InvalidPolicy;
use crate::report::Report;
use crate::run::Run;

/// The scopes' results, gathered into one.
pub(super) struct Gathered {
    report: Report,
    unreadable: Vec<Unreadable>,
    unreadable_units: Vec<UnreadableUnit>,
    violations: Vec<Violation>,
    n_withheld: usize,
}

impl Gathered {
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            report: Report::new(dry_run),
            unreadable: Vec::new(),
            unreadable_units: Vec::new(),
            violations: Vec::new(),
            n_withheld: 0,
        }
    }

    pub(super) fn hold(&mut self, scope: &Scope, why: Hold) {
        self.report.held(&Held { scope: scope.clone(), subject: Subject::default(), why });
    }

    pub(super) fn add(&mut self, done: Done, now: Timestamp) {
        for executed in &done.executed {
            log_outcome(executed);
            self.report.executed(executed);
        }
        for deferred in &done.plan.deferred {
            log_deferred(deferred);
            self.report.deferred(deferred);
        }
        for impossible in &done.plan.impossible {
            log_impossible(impossible);
            self.report.impossible(impossible);
        }
        for held in &done.plan.held {
            debug!(
                account = %held.scope.account,
                region = %held.scope.region,
                policy = held.subject.policy,
                snapshot_id = held.subject.snapshot.as_ref().map(tracing::field::display),
                reason = %held.why,
                "held"
            );
            self.report.held(held);
        }
        for planned in &done.withheld {
            let reason =
                format!("withheld by the audit, though planned because: {}", planned.reason);
            self.report.held_because(&planned.scope, &planned.subject, reason);
        }
        for coverage in &done.plan.coverage {
            self.report.cover(coverage, now);
        }
        for unreadable in &done.unreadable {
            warn!(
                account = %unreadable.scope.account,
                region = %unreadable.scope.region,
                error_kind = ?unreadable.error.kind(),
                error = %Chain(&unreadable.error),
                "scope cannot be read"
            );
        }
        for violation in &done.violations {
            warn!(account = %violation.scope.account, region = %violation.scope.region,
                  object = violation.object, rule = violation.rule, "the audit refuses the plan");
            let reason = format!("the audit refuses the plan: {}", violation.rule);
            self.report.held_because(&violation.scope, &violation.subject, reason);
        }
        if done.out_of_time {
            self.report.incomplete();
        }
        self.n_withheld += done.withheld.iter().filter(|it| it.action.is_destructive()).count();
        self.unreadable.extend(done.unreadable);
        self.violations.extend(done.violations);
    }

    pub(super) fn units(&mut self, unreadable: Vec<UnreadableUnit>) {
        for UnreadableUnit { unit, error } in &unreadable {
            warn!(unit = %unit, error_kind = ?error.kind(), error = %Chain(error),
                  "organizational unit cannot be read");
        }
        self.unreadable_units.extend(unreadable);
    }

    pub(super) fn finish(self, invalid: Vec<InvalidPolicy>) -> Run {
        Run {
            report: self.report,
            invalid,
            unreadable: self.unreadable,
            unreadable_units: self.unreadable_units,
            violations: self.violations,
            n_withheld: self.n_withheld,
            full_copies: None,
            is_of_a_list: false,
        }
    }
}

/// One line per decision, readable alone, with its identifiers as fields.
macro_rules! line {
    ($level:ident, $scope:expr, $subject:expr, $action:expr, $outcome:expr, $($more:tt)*) => {
        $level!(
            action = $action,
            outcome = $outcome,
            account = %$scope.account,
            region = %$scope.region,
            policy = $subject.policy,
            schedule = $subject.schedule,
            slot = $subject.slot.as_ref().map(tracing::field::display),
            volume_id = $subject.volume.as_ref().map(tracing::field::display),
            instance_id = $subject.instance.as_ref().map(tracing::field::display),
            snapshot_id = $subject.snapshot.as_ref().map(tracing::field::display),
            source_snapshot_id = $subject.source.as_ref().map(tracing::field::display),
            $($more)*
            "{} {}", $action, $outcome
        )
    };
}

fn log_outcome(executed: &Executed) {
    let Planned { scope, action, subject, reason, .. } = &executed.planned;
    let action = action.operation();
    match &executed.outcome {
        Outcome::Done(made) => {
            let made_id = (!made.is_empty())
                .then(|| made.iter().map(SnapshotId::as_str).collect::<Vec<_>>().join(","));
            line!(info, scope, subject, action, "done", made_snapshot_id = made_id, reason = %reason,);
        }
        Outcome::Sent(id) => {
            line!(info, scope, subject, action, "done", command_id = %id, reason = %reason,);
        }
        Outcome::Planned => line!(info, scope, subject, action, "planned", reason = %reason,),
        Outcome::Deferred(why) | Outcome::NotReady(why) => {
            line!(info, scope, subject, action, "deferred", waits_for = why, reason = %reason,);
        }
        Outcome::Held(why) => line!(info, scope, subject, action, "held", reason = why,),
        Outcome::Failed(err) => {
            let (error_code, aws_request_id) = err.code().unwrap_or_default();
            line!(warn, scope, subject, action, "failed", reason = %reason,
                  error_kind = ?err.kind(), error_code, aws_request_id, error = %Chain(err),);
        }
    }
}

fn log_deferred(deferred: &Deferred) {
    let Planned { scope, action, subject, reason, .. } = &deferred.planned;
    let action = action.operation();
    line!(info, scope, subject, action, "deferred", waits_for = deferred.waits_for, reason = %reason,);
}

fn log_impossible(impossible: &Impossible) {
    let Impossible { scope, operation, subject, kind, code, message } = impossible;
    line!(warn, scope, subject, *operation, "failed", error_kind = ?kind, error_code = code,
          error = message,);
}

//! What a run answers: one line per decision, counts, and how well everything is protected.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde::Serialize;

use crate::action::{Action, Coverage, Deferred, Held, Impossible, Planned, Reason, Subject};
use crate::chain::Chain;
use crate::commands::Step;
use crate::ec2::Ec2Error;
use crate::execute::{Executed, Outcome};
use crate::ids::{AccountId, InstanceId, Region, Scope, SnapshotId, VolumeId};
use crate::schedule::Slot;
use crate::tags;

/// Lambda's limit for an answer is 6 MB
/// ([Lambda quotas](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)); the rest is headroom.
pub const MAX_BYTES: usize = 5_500_000;

/// The answer of an invocation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// How it ended.
    pub status: Status,
    /// Nothing was done.
    pub dry_run: bool,
    /// One per decision to act, in order.
    pub actions: Vec<ActionLine>,
    /// One per decision not to act.
    pub held: Vec<HeldLine>,
    /// Per EC2 operation how many were done (in a dry run: planned), and `Deferred`, `Failed`, `Held`.
    pub counts: BTreeMap<&'static str, usize>,
    /// One per volume and policy.
    pub coverage: Vec<CoverageLine>,
    /// Lists were cut to Lambda's limit; the counts are whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// The world is as the policies want it, as far as calls can make it so.
    Succeeded,
    /// A dry run.
    Planned,
    /// Something waits; the next run goes on.
    Incomplete,
}

/// One decision to act.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ActionLine {
    /// The EC2 operation.
    pub action: &'static str,
    /// Where.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Who wants it.
    pub policy: String,
    /// The schedule's or the rule's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schedule: String,
    /// The scheduled time it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The volume; of a copy, the source's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// The instance whose volumes are taken together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// The snapshots of a set that was made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snapshot_ids: Vec<SnapshotId>,
    /// The snapshot that was made or is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<SnapshotId>,
    /// What is or was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_snapshot_id: Option<SnapshotId>,
    /// Of `SendCommand`: what it does, `pre-script`, `post-script` or `VSS backup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
    /// Of `SendCommand`: the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_name: Option<String>,
    /// Of `SendCommand`: the command that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
    /// For the metric: a post-script that is missing or has failed, so that an application may stand still, or has stood
    /// still for long.
    #[serde(skip)]
    pub stands_still: bool,
    /// For the metric: so many snapshots were to be application-consistent and are not.
    #[serde(skip)]
    pub not_app_consistent: usize,
    /// Of `ModifySnapshotAttribute`: `remove`, where accounts may not use the snapshot any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_type: Option<&'static str>,
    /// Why.
    pub reason: String,
    /// What became of it.
    pub outcome: OutcomeName,
    /// What it waits for, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorLine>,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "see `Outcome`")]
pub enum OutcomeName {
    Done,
    Planned,
    Deferred,
    Failed,
}

/// What went wrong with an action.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorLine {
    /// What it means for us.
    pub kind: String,
    /// AWS's code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// One line, with every cause.
    pub message: String,
    /// For AWS's support.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

/// One decision not to act.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HeldLine {
    /// Where.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Whose.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// About which volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// About which instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// About which snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<SnapshotId>,
    /// About which source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_snapshot_id: Option<SnapshotId>,
    /// Why not.
    pub reason: String,
}

/// How well a volume is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CoverageLine {
    /// The volume; of copies, the source's.
    pub volume_id: VolumeId,
    /// Where its snapshots or copies are.
    pub account: AccountId,
    /// Where its snapshots or copies are.
    pub region: Region,
    /// Who wants it.
    pub policy: String,
    /// The moment whose data the newest completed one holds; null: there is none.
    pub newest_completed: Option<String>,
    /// How long ago that was; null: there is none.
    pub age_minutes: Option<i64>,
    /// For the metric: as `age_minutes`, or how long the volume has waited for its first. `None`: nobody wants it any
    /// more.
    #[serde(skip)]
    pub unprotected_minutes: Option<i64>,
}

impl Report {
    /// An empty one.
    #[must_use]
    pub fn new(dry_run: bool) -> Self {
        Self {
            status: if dry_run { Status::Planned } else { Status::Succeeded },
            dry_run,
            actions: Vec::new(),
            held: Vec::new(),
            counts: ["Deferred", "Failed", "Held"].into_iter().map(|name| (name, 0)).collect(),
            coverage: Vec::new(),
            truncated: false,
        }
    }

    /// Adds what became of an action.
    pub fn executed(&mut self, executed: &Executed) {
        let Planned { scope, action, subject, reason, .. } = &executed.planned;
        let mut line = line(scope, action.operation(), subject, reason.to_string());
        line.operation_type = matches!(action, Action::UnshareSnapshot { .. }).then_some("remove");
        if let Action::SendCommand(command) = action {
            line.step = Some(command.errand.step.name());
            line.document_name = Some(command.document.clone());
        }
        line.stands_still = stands_still(executed);
        line.not_app_consistent = not_app_consistent(executed);
        match &executed.outcome {
            Outcome::Sent(id) => line.command_id = Some(id.to_string()),
            Outcome::Done(made) => {
                if matches!(action, Action::CreateSnapshots(_)) {
                    line.snapshot_ids.clone_from(made);
                } else if let Action::RecordScripts { snapshots, .. } = action {
                    line.snapshot_ids.clone_from(snapshots);
                } else {
                    line.snapshot_id = made.first().cloned().or(line.snapshot_id);
                }
            }
            Outcome::Planned => line.outcome = OutcomeName::Planned,
            Outcome::Deferred(why) | Outcome::NotReady(why) => {
                line.outcome = OutcomeName::Deferred;
                line.error = Some(waiting(why));
            }
            Outcome::Failed(err) => {
                line.outcome = OutcomeName::Failed;
                line.error = Some(ErrorLine::of(err));
            }
            Outcome::Held(why) => {
                self.held_because(scope, subject, why.clone());
                return;
            }
        }
        self.push(line);
    }

    /// Adds what waits.
    pub fn deferred(&mut self, deferred: &Deferred) {
        let Planned { scope, action, subject, reason, .. } = &deferred.planned;
        let mut line = line(scope, action.operation(), subject, reason.to_string());
        line.outcome = OutcomeName::Deferred;
        line.error = Some(waiting(&deferred.waits_for));
        self.push(line);
    }

    /// Adds what cannot be done.
    pub fn impossible(&mut self, impossible: &Impossible) {
        let Impossible { scope, operation, subject, kind, code, message } = impossible;
        let mut line = line(scope, operation, subject, "the policy wants it".into());
        line.outcome = OutcomeName::Failed;
        line.error = Some(ErrorLine {
            kind: format!("{kind:?}"),
            code: code.clone(),
            message: message.clone(),
            request_id: String::new(),
        });
        self.push(line);
    }

    /// Adds what is deliberately not done.
    pub fn held(&mut self, held: &Held) {
        self.held_because(&held.scope, &held.subject, held.why.to_string());
    }

    /// Adds what is not done, for a reason found outside the plan.
    pub fn held_because(&mut self, scope: &Scope, subject: &Subject, reason: String) {
        *self.counts.entry("Held").or_default() += 1;
        self.held.push(HeldLine {
            account: scope.account.clone(),
            region: scope.region.clone(),
            policy: subject.policy.clone(),
            volume_id: subject.volume.clone(),
            instance_id: subject.instance.clone(),
            snapshot_id: subject.snapshot.clone(),
            source_snapshot_id: subject.source.clone(),
            reason,
        });
    }

    /// Adds how well a volume is protected, as of `now`.
    pub fn cover(&mut self, coverage: &Coverage, now: Timestamp) {
        let minutes = |since: Timestamp| now.duration_since(since).as_mins().max(0);
        let age_minutes = coverage.newest_completed.map(minutes);
        let unprotected = age_minutes.or(coverage.since.map(minutes));
        self.coverage.push(CoverageLine {
            volume_id: coverage.volume.clone(),
            account: coverage.scope.account.clone(),
            region: coverage.scope.region.clone(),
            policy: coverage.policy.clone(),
            newest_completed: coverage.newest_completed.map(tags::instant),
            age_minutes,
            unprotected_minutes: unprotected.filter(|_| coverage.is_wanted),
        });
    }

    /// Something was left for the next run.
    pub fn incomplete(&mut self) {
        if self.status == Status::Succeeded {
            self.status = Status::Incomplete;
        }
    }

    /// Cuts the lists until the JSON fits into `max_bytes`.
    pub fn fit(&mut self, max_bytes: usize) {
        let size = |report: &Self| {
            let mut counted = Counted(0);
            serde_json::to_writer(&mut counted, report).map_or(0, |()| counted.0)
        };
        while size(self) > max_bytes {
            let lists = [self.coverage.len(), self.held.len(), self.actions.len()];
            if lists.iter().all(|n| *n == 0) {
                return;
            }
            self.truncated = true;
            let longest = lists.iter().copied().max().unwrap_or(0);
            for (list, n) in lists.into_iter().enumerate() {
                let keep = if n == longest { n * 3 / 4 } else { n };
                match list {
                    0 => self.coverage.truncate(keep),
                    1 => self.held.truncate(keep),
                    _ => self.actions.truncate(keep),
                }
            }
        }
    }

    fn push(&mut self, line: ActionLine) {
        let count = match line.outcome {
            OutcomeName::Done | OutcomeName::Planned => line.action,
            OutcomeName::Deferred => {
                self.incomplete();
                "Deferred"
            }
            OutcomeName::Failed => "Failed",
        };
        *self.counts.entry(count).or_default() += 1;
        self.actions.push(line);
    }
}

/// How many bytes were written, which are not kept: a large account's whole report may be three times what fits.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ErrorLine {
    /// The whole chain of causes on one line.
    #[must_use]
    pub fn of(err: &Ec2Error) -> Self {
        let (code, request_id) = err.code().unwrap_or_default();
        Self {
            kind: format!("{:?}", err.kind()),
            code: code.to_owned(),
            message: Chain(err).to_string(),
            request_id: request_id.to_owned(),
        }
    }
}

fn stands_still(executed: &Executed) -> bool {
    let is_missing = matches!(executed.planned.reason, Reason::PostScript(_));
    let has_failed = matches!(executed.outcome, Outcome::Failed(_));
    match &executed.planned.action {
        Action::SendCommand(it) if it.errand.step == Step::PostScript => is_missing || has_failed,
        _ => false,
    }
}

fn not_app_consistent(executed: &Executed) -> usize {
    let Outcome::Done(made) = &executed.outcome else {
        return 0;
    };
    let (tags, n) = match &executed.planned.action {
        Action::CreateSnapshots(request) => (&request.tags, made.len()),
        Action::RecordScripts { snapshots, tags } => (tags, snapshots.len()),
        _ => return 0,
    };
    if tags.get(tags::APP_CONSISTENT).is_some_and(|it| it == "false") { n } else { 0 }
}

fn waiting(why: &str) -> ErrorLine {
    ErrorLine {
        kind: "Waiting".into(),
        code: String::new(),
        message: why.to_owned(),
        request_id: String::new(),
    }
}

fn line(scope: &Scope, action: &'static str, subject: &Subject, reason: String) -> ActionLine {
    ActionLine {
        action,
        account: scope.account.clone(),
        region: scope.region.clone(),
        policy: subject.policy.clone(),
        schedule: subject.schedule.clone(),
        slot: subject.slot,
        volume_id: subject.volume.clone(),
        instance_id: subject.instance.clone(),
        snapshot_ids: Vec::new(),
        snapshot_id: subject.snapshot.clone(),
        source_snapshot_id: subject.source.clone(),
        step: None,
        document_name: None,
        command_id: None,
        stands_still: false,
        not_app_consistent: 0,
        operation_type: None,
        reason,
        outcome: OutcomeName::Done,
        error: None,
    }
}

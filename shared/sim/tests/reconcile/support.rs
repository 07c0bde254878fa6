//! What the tests share: two accounts, a vault, policies as users write them.

pub(crate) mod attacks;
pub(crate) mod listing;
pub(crate) mod queue;
pub(crate) mod rules;
pub(crate) mod scripts;
pub(crate) mod servers;
pub(crate) mod sets;
pub(crate) mod storm;
pub(crate) mod together;
pub(crate) mod vaults;

use std::cell::RefCell;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_core::documents::{Content, Documents, Raw};
use snapferry_core::event::{CopyEvent, CopyScope, RotateEvent};
use snapferry_core::execute::{Limits, Pause};
use snapferry_core::ids::{AccountId, Scope, SnapshotId, VolumeId};
use snapferry_core::inventory::State;
use snapferry_core::reconcile;
use snapferry_core::report::{ActionLine, OutcomeName};
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Aws, Record, Sim, drive, id};

pub(crate) const VAULT: &str = "222222222222";
pub(crate) const MEMBER: &str = "333333333333";
pub(crate) const OTHER: &str = "444444444444";
pub(crate) const HOME: &str = "eu-central-1";

pub(crate) fn limits(pause: &Pause) -> Limits<'_> {
    Limits {
        scopes: 4,
        actions: 4,
        deletions: None,
        out_of_time: &|| false,
        time_left: &|| SignedDuration::MAX,
        pause,
    }
}

pub(crate) fn scope(account: &str, region: &str) -> Scope {
    Scope { account: id(account), region: id(region) }
}

pub(crate) fn member() -> Scope {
    scope(MEMBER, HOME)
}

pub(crate) fn vault() -> Scope {
    scope(VAULT, HOME)
}

pub(crate) fn account(text: &str) -> AccountId {
    id(text)
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

pub(crate) fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

pub(crate) fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

/// A world that begins on a Sunday, shortly after the nightly slot.
pub(crate) fn sim() -> Sim {
    Sim::new(at("2026-11-22T02:01:00Z"))
}

/// A policy for the member's home Region with one schedule, nightly at 02:00, and this `RetainRule`.
pub(crate) fn nightly(retain: &Value) -> Value {
    policy("daily", &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": retain})])
}

pub(crate) fn every(hours: u32) -> Value {
    json!({"Interval": hours, "IntervalUnit": "HOURS", "Times": ["02:00"]})
}

pub(crate) fn policy(name: &str, schedules: &[Value]) -> Value {
    json!({
        "Name": name,
        "Targets": [{"RoleArn": role(MEMBER), "Regions": [HOME]}],
        "PolicyDetails": {"TargetTags": [{"Key": "Backup", "Value": "daily"}], "Schedules": schedules}
    })
}

pub(crate) fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/snapferry-member")
}

/// A target of [`nightly`].
pub(crate) fn target(sim: &Sim) -> VolumeId {
    sim.volume(&member(), &[("Backup", "daily")])
}

/// A document that archives is compared with 40 years of its slots, and tests read the same ones a thousand times: the
/// last are remembered.
pub(crate) fn read(documents: &[Value]) -> Documents {
    thread_local! {
        static LAST: RefCell<(Vec<Value>, Documents)> = RefCell::default();
    }
    LAST.with_borrow_mut(|(last, found)| {
        if last != documents {
            let raw = documents.iter().map(|document| Raw {
                default_name: "unnamed".into(),
                content: Content::Json(document.clone()),
            });
            *found = Documents::read(raw.collect(), true);
            *last = documents.to_vec();
        }
        let Documents { policies, invalid, whole } = &*found;
        Documents { policies: policies.clone(), invalid: invalid.clone(), whole: *whole }
    })
}

/// `read`, where every document is good.
pub(crate) fn read_good(documents: &[Value]) -> Documents {
    let documents = read(documents);
    assert!(documents.invalid.is_empty(), "{:?}", documents.invalid);
    documents
}

/// One run of `rotate-snapshots`, by whatever way to AWS.
pub(crate) async fn rotation(aws: &Aws, documents: &[Value], now: Timestamp) -> Run {
    let event = RotateEvent::default();
    let pause = aws.pause();
    reconcile::rotate(aws, read(documents), &event, now, &limits(&pause)).await.unwrap()
}

/// One run of `rotate-snapshots`, now, to its end.
pub(crate) fn rotate(sim: &Sim, documents: &[Value]) -> Run {
    drive(rotation(&sim.aws(&vault()), documents, sim.now())).unwrap()
}

/// Runs `rotate-snapshots` every `step` for `days`.
pub(crate) fn rotate_for(sim: &Sim, documents: &[Value], days: i64, step: SignedDuration) {
    rotate_and_look(sim, documents, days, step, |_| {});
}

/// As [`rotate_for`], and `look` sees every run. The rhythm does not shift with the pauses that runs make.
pub(crate) fn rotate_and_look(
    sim: &Sim,
    documents: &[Value],
    days: i64,
    step: SignedDuration,
    mut look: impl FnMut(&Run),
) {
    let end = sim.now() + self::days(days);
    let mut next = sim.now();
    while next < end {
        let run = rotate(sim, documents);
        assert_eq!(run.violations, [], "the planner and the auditor disagree");
        look(&run);
        next += step;
        sim.advance(next.duration_since(sim.now()));
    }
}

/// One run of `copy-shared-snapshots`, by whatever way to AWS.
pub(crate) async fn copying(
    aws: &Aws,
    documents: &[Value],
    what: CopyScope,
    now: Timestamp,
) -> Run {
    let event = CopyEvent { what, ..CopyEvent::default() };
    let pause = aws.pause();
    reconcile::copy(aws, read(documents), &event, now, &limits(&pause)).await.unwrap()
}

/// One run of `copy-shared-snapshots`, now, to its end.
pub(crate) fn copy(sim: &Sim, documents: &[Value], what: CopyScope) -> Run {
    drive(copying(&sim.aws(&vault()), documents, what, sim.now())).unwrap()
}

pub(crate) fn sweep(sim: &Sim, documents: &[Value]) -> Run {
    copy(sim, documents, CopyScope::Sweep)
}

/// Answers every share since the last time as the event rule would.
pub(crate) fn answer_shares(sim: &Sim, documents: &[Value]) -> Vec<Run> {
    let shares = sim.take_shares().into_iter();
    let for_vault = shares.filter(|share| share.with == account(VAULT));
    let answer = |share: snapferry_sim::Share| {
        let what = CopyScope::One {
            region: share.region,
            snapshot: share.snapshot,
            owner: Some(share.owner),
        };
        copy(sim, documents, what)
    };
    for_vault.map(answer).collect()
}

/// The lines of a report with this operation and outcome.
pub(crate) fn lines<'a>(run: &'a Run, action: &str, outcome: OutcomeName) -> Vec<&'a ActionLine> {
    let lines = run.report.actions.iter();
    lines.filter(|line| line.action == action && line.outcome == outcome).collect()
}

pub(crate) fn held(run: &Run, snapshot: &SnapshotId) -> Vec<String> {
    let lines = run.report.held.iter();
    lines
        .filter(|line| line.snapshot_id.as_ref() == Some(snapshot))
        .map(|line| line.reason.clone())
        .collect()
}

/// What an operator is told; empty: nobody needs to act.
pub(crate) fn failure(run: &Run) -> String {
    run.failure()
        .map(|failure| format!("{}: {}", failure.error_type, failure.message))
        .unwrap_or_default()
}

pub(crate) fn mutations(sim: &Sim) -> Vec<String> {
    let journal = sim.take_journal().into_iter();
    journal
        .filter(snapferry_sim::Call::mutates)
        .map(|call| format!("{} {}", call.operation, call.object))
        .collect()
}

pub(crate) fn calls(journal: &[snapferry_sim::Call], operation: &str) -> usize {
    let of_it = |call: &&snapferry_sim::Call| call.operation == operation;
    journal.iter().filter(of_it).count()
}

/// The ids of a scope's snapshots in this state, oldest first.
pub(crate) fn in_state(sim: &Sim, scope: &Scope, state: State) -> Vec<SnapshotId> {
    let records = sim.records().into_iter();
    records
        .filter(|record| record.scope() == *scope && record.snapshot.state == state)
        .map(|record| record.snapshot.id)
        .collect()
}

/// The slots that a scope's good snapshots serve, oldest first.
pub(crate) fn slots(sim: &Sim, scope: &Scope) -> Vec<String> {
    let records = sim.records().into_iter();
    records
        .filter(|record| record.scope() == *scope && is_good(record))
        .filter_map(|record| record.snapshot.tags.get(tags::SLOT).cloned())
        .collect()
}

pub(crate) fn is_good(record: &Record) -> bool {
    matches!(record.snapshot.state, State::Pending | State::Completed)
}

//! The watch for full copies: a line and a metric where an incremental one was due, and nothing else.

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::event::{CopyEvent, CopyScope};
use snapferry_core::ids::SnapshotId;
use snapferry_core::report::Status;
use snapferry_core::run::Run;
use snapferry_sim::{Fault, Sim};

use crate::support::rules::{AWAY, event_policy, made_of, rule, shared_by};
use crate::support::{
    MEMBER, VAULT, calls, copy, days, failure, held, hours, mutations, scope, sim, sweep,
};

const VOLUME: &str = "vol-0123456789abcdef0";

fn documents() -> [Value; 1] {
    [event_policy(&[rule(AWAY, &json!({"RetainRule": {"Interval": 9, "IntervalUnit": "DAYS"}}))])]
}

/// Another night's snapshot is shared and copied: the copy.
fn night(sim: &Sim, volume: &str) -> SnapshotId {
    sim.advance(days(1));
    let source = shared_by(sim, MEMBER, volume, |_| {});
    sweep(sim, &documents());
    sim.advance(hours(1));
    made_of(sim, &source).remove(0).snapshot.id
}

/// The event that EC2 sends when the copy is there.
fn event(copy: &SnapshotId, incremental: &str) -> CopyScope {
    let arn = format!("arn:aws:ec2::{AWAY}:snapshot/{copy}");
    let event = json!({
        "detail-type": "EBS Snapshot Notification", "source": "aws.ec2", "region": AWAY,
        "resources": [arn],
        "detail": {"event": "copySnapshot", "result": "succeeded", "snapshot_id": arn,
                   "source": "arn:aws:ec2::eu-central-1:snapshot/snap-01234567",
                   "incremental": incremental}
    });
    CopyEvent::parse(&event).unwrap().what
}

/// `FullCopies` of the function, and of the policy.
fn metric(run: &Run) -> [Value; 2] {
    let lines = run.metrics("copy-shared-snapshots", &["vault".to_owned()], 0);
    [0, 1].map(|n: usize| lines[n]["FullCopies"].clone())
}

#[test]
fn a_full_copy_that_was_not_due_is_a_line_and_a_metric() {
    let sim = sim();
    let first = night(&sim, VOLUME);
    let second = night(&sim, VOLUME);
    drop(sim.take_journal());
    let run = copy(&sim, &documents(), event(&second, "false"));
    let journal = sim.take_journal();
    let look = (calls(&journal, "DescribeSnapshots"), journal.len());
    assert_eq!(look, (2, 3), "the copy, and what it could be built on: {journal:?}");
    let told = held(&run, &second);
    assert_eq!(
        told,
        [format!(
            "a full copy, though {first} was there to build on: it takes the time and the space of the \
             whole volume; check in this Region whether copies of this volume were deleted, archived or \
             put under another key meanwhile"
        )]
    );
    let line = &run.report.held[0];
    assert_eq!((line.policy.as_str(), line.region.as_str()), ("vault", AWAY));
    assert_eq!(line.volume_id, Some(snapferry_sim::id(VOLUME)));
    assert_eq!((failure(&run).as_str(), run.report.status), ("", Status::Succeeded));
    assert_eq!(metric(&run), [json!(1), json!(1)]);
}

#[test]
fn a_full_copy_that_was_due_is_quiet() {
    let sim = sim();
    let quiet = |copy: &SnapshotId, incremental: &str| {
        let run = self::copy(&sim, &documents(), event(copy, incremental));
        assert_eq!((failure(&run).as_str(), run.report.held.len()), ("", 0));
        assert_eq!(metric(&run), [json!(0), json!(0)]);
    };
    let first = night(&sim, VOLUME);
    quiet(&first, "false"); // the first of its volume
    quiet(&night(&sim, "vol-01234567"), "false"); // the first of another
    let second = night(&sim, VOLUME);
    quiet(&second, "true"); // it was incremental
    sim.remove(&first);
    quiet(&second, "false"); // somebody deleted what it could be built on
    sim.remove(&second);
    quiet(&second, "false"); // it is gone itself
    let by_hand = sim.snapshot(&scope(VAULT, AWAY), &made_of_nothing(), |_| {});
    quiet(&by_hand, "false"); // it is not ours
    let run = sweep(&sim, &documents());
    assert_eq!(metric(&run), [json!(0), json!(0)], "it is there in every run");
    assert_eq!(metric(&copy(&sim, &documents(), CopyScope::Nothing)), [json!(0), json!(0)]);
}

fn made_of_nothing() -> snapferry_core::ids::VolumeId {
    snapferry_sim::id("vol-ffffffff")
}

#[test]
fn nothing_else_is_done_in_that_run() {
    let sim = sim();
    night(&sim, VOLUME);
    let second = night(&sim, VOLUME);
    shared_by(&sim, MEMBER, VOLUME, |_| {});
    sim.advance(days(30));
    drop(sim.take_journal());
    assert_eq!(copy(&sim, &documents(), event(&second, "False")).report.held.len(), 1);
    assert_eq!(mutations(&sim), Vec::<String>::new());
    sweep(&sim, &documents());
    assert_ne!(mutations(&sim), Vec::<String>::new(), "there was something to do");
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let sim = sim();
    night(&sim, VOLUME);
    let second = night(&sim, VOLUME);
    sim.on_call(|call| match call.operation {
        "DescribeSnapshots" => Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation"),
        _ => Fault::None,
    });
    let told = failure(&copy(&sim, &documents(), event(&second, "false")));
    assert!(
        told.starts_with("ScopesUnreadable: 222222222222/eu-west-1: AWS refused Desc"),
        "{told}"
    );
}

#[test]
fn within_one_account_rotation_does_not_watch() {
    let sim = sim();
    let run = crate::support::rotate(&sim, &[crate::support::nightly(&json!({"Count": 2}))]);
    assert_eq!(run.full_copies, None);
}

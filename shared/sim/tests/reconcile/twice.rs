//! The same event twice, late, twice at once, or cut off anywhere: it ends in the same state.

use std::collections::BTreeMap;
use std::pin::Pin;

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::VolumeId;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Call, Fault, Sim, drive, interleave};

use crate::support::together::quiet;
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, answer_shares, calls, copying, days, every, failure,
    is_good, lines, member, minutes, mutations, nightly, role, rotate, rotation, scope, sim, sweep,
    target, vault,
};
use snapferry_core::event::CopyScope;

const REGIONS: [&str; 2] = [HOME, "us-east-1"];
const ACCOUNTS: [&str; 3] = [MEMBER, OTHER, "555555555555"];

/// One policy over every account and Region, shared with the vault.
fn everywhere() -> Value {
    let target = |account| json!({"RoleArn": role(account), "Regions": REGIONS});
    json!({
        "Name": "daily",
        "Targets": ACCOUNTS.map(target),
        "PolicyDetails": {
            "TargetTags": [{"Key": "Backup", "Value": "daily"}],
            "Schedules": [{
                "Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 3},
                "ShareRules": [{"TargetAccounts": [VAULT]}]
            }]
        }
    })
}

fn copies() -> Value {
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER, OTHER],
                "DescriptionRegex": "^Created for policy: .*$"}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": [
                {"Target": "eu-west-1", "EncryptionConfiguration": {"Encrypted": false},
                 "RetainRule": {"Interval": 3, "IntervalUnit": "DAYS"}},
                {"Target": "us-west-2", "EncryptionConfiguration": {"Encrypted": false},
                 "RetainRule": {"Interval": 3, "IntervalUnit": "DAYS"}}
            ]}]
        }
    })
}

fn populate(sim: &Sim, volumes: usize) {
    for account in ACCOUNTS {
        for region in REGIONS {
            for _ in 0..volumes {
                sim.volume(&scope(account, region), &[("Backup", "daily")]);
            }
        }
    }
}

/// EC2's rule of 15 seconds between two snapshots of a volume keeps most doubles from being made; without it the runs
/// are as if they were slower than that. Every third seed has the rule.
fn with_or_without_the_rule(sim: &Sim, seed: u64) {
    sim.set(|it| {
        it.turns = 3;
        if !seed.is_multiple_of(3) {
            it.snapshot_every = SignedDuration::ZERO;
        }
    });
}

/// How many good snapshots every (volume, slot) has, copies by (rule, source).
fn served(sim: &Sim) -> BTreeMap<(String, String), usize> {
    let mut served = BTreeMap::new();
    for record in sim.records().into_iter().filter(is_good) {
        let tags = &record.snapshot.tags;
        let key = match tags.get(tags::SOURCE_SNAPSHOT) {
            Some(source) => (source.clone(), tags[tags::RULE].clone()),
            None => (record.snapshot.volume_id.to_string(), tags[tags::SLOT].clone()),
        };
        *served.entry(key).or_insert(0) += 1;
    }
    served
}

/// Exactly `n` purposes are served, and each by exactly one.
fn assert_each_once(sim: &Sim, n: usize, context: impl std::fmt::Display) {
    let served = served(sim);
    assert_eq!(served.len(), n, "{context}: {served:?}");
    assert!(served.values().all(|n| *n == 1), "{context}: {served:?}");
}

#[test]
fn the_same_event_twice_asks_for_nothing_more() {
    let sim = sim();
    populate(&sim, 5);
    quiet(&rotate(&sim, &[everywhere()]));
    assert_each_once(&sim, 30, "first");
    drop(sim.take_journal());
    let again = rotate(&sim, &[everywhere()]);
    quiet(&again);
    assert_eq!(mutations(&sim), Vec::<String>::new());
    assert_eq!(again.report.status, Status::Incomplete, "sharing waits for pending ones");
    sim.advance(minutes(30));
    quiet(&rotate(&sim, &[everywhere()]));
    drop(sim.take_journal());
    let settled = rotate(&sim, &[everywhere()]);
    assert_eq!(settled.report.status, Status::Succeeded);
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn calls_are_per_page_and_not_per_volume() {
    let sim = sim();
    populate(&sim, 50);
    rotate(&sim, &[everywhere()]);
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "CreateSnapshot"), 300, "one per volume");
    for operation in ["AssumeRole", "DescribeVolumes"] {
        assert_eq!(calls(&journal, operation), 6, "{operation}: one per scope");
    }
    assert_eq!(calls(&journal, "DescribeSnapshots"), 12, "one look before, one after");
    assert_eq!(journal.len(), 324, "and nothing else");

    sim.advance(minutes(30));
    rotate(&sim, &[everywhere()]);
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "ModifySnapshotAttribute"), 300, "one per share");
    assert_eq!(calls(&journal, "CreateTags"), 6, "the record of shares is one call per scope");
    let describes = journal.iter().filter(|call| call.operation.starts_with("Describe"));
    assert_eq!(describes.count(), 6 * 5, "volumes, own, shared, images, locks");
}

#[test]
fn twice_at_once_leaves_one_snapshot_per_volume_and_slot() {
    for seed in 0..300 {
        let sim = sim();
        with_or_without_the_rule(&sim, seed);
        populate(&sim, 2);
        let policies = [everywhere()];
        let n = 2 + usize::try_from(seed % 2).unwrap();
        let aws = sim.aws(&vault());
        let run =
            || Box::pin(rotation(&aws, &policies, sim.now())) as Pin<Box<dyn Future<Output = _>>>;
        let runs = interleave(seed, (0..n).map(|_| run()).collect());
        for run in runs {
            quiet(&run.unwrap());
        }
        assert_each_once(&sim, 12, format!("seed {seed}"));
    }
}

#[test]
fn twice_at_once_leaves_one_copy_per_rule_and_source() {
    for seed in 0..100 {
        let sim = sim();
        sim.set(|it| it.turns = 3);
        for _ in 0..3 {
            target(&sim);
        }
        rotate(&sim, &[everywhere()]);
        sim.advance(minutes(30));
        rotate(&sim, &[everywhere()]);
        let policies = [copies()];
        let aws = sim.aws(&vault());
        let share = sim.take_shares().remove(0);
        let one = CopyScope::One {
            region: share.region,
            snapshot: share.snapshot,
            owner: Some(share.owner),
        };
        let runs = [CopyScope::Sweep, one, CopyScope::Sweep];
        let runs = runs.map(|what| {
            Box::pin(copying(&aws, &policies, what, sim.now())) as Pin<Box<dyn Future<Output = _>>>
        });
        for run in interleave(seed, Vec::from(runs)) {
            quiet(&run.unwrap());
        }
        assert_each_once(&sim, 3 + 6, format!("seed {seed}"));
    }
}

#[test]
fn a_rotation_cut_off_after_any_call_is_finished_by_the_next() {
    let policies = [everywhere()];
    for n in 0.. {
        let sim = sim();
        for _ in 0..4 {
            target(&sim);
        }
        rotate(&sim, &policies);
        sim.advance(minutes(30)); // to be shared
        let whole = drive(rotation(&sim.aws_dying_after(&vault(), n), &policies, sim.now()));
        sim.advance(days(1)); // the next slot; those of the first are shared
        let dying = sim.aws_dying_after(&vault(), n);
        let cut = drive(rotation(&dying, &policies, sim.now())).is_none();
        assert!(whole.is_none() || n > 20, "there is something to share");
        quiet(&rotate(&sim, &policies));
        assert_each_once(&sim, 8, format!("cut off after {n} calls"));
        sim.advance(minutes(30));
        quiet(&rotate(&sim, &policies));
        for record in sim.records() {
            assert!(record.shared_with.contains(&account(VAULT)), "cut off after {n} calls");
            assert_eq!(record.snapshot.tags[tags::SHARED_WITH], VAULT);
        }
        drop(sim.take_journal());
        rotate(&sim, &policies);
        assert_eq!(mutations(&sim), Vec::<String>::new(), "cut off after {n} calls");
        if !cut {
            assert!(n > 20, "{n}");
            return;
        }
    }
}

#[test]
fn one_cut_off_while_another_runs() {
    let policies = [everywhere()];
    for seed in 0..200 {
        let sim = sim();
        with_or_without_the_rule(&sim, seed);
        for _ in 0..4 {
            target(&sim);
        }
        let dying = sim.aws_dying_after(&vault(), usize::try_from(seed % 25).unwrap());
        let other = sim.aws(&vault());
        let runs: Vec<Pin<Box<dyn Future<Output = Run>>>> = vec![
            Box::pin(rotation(&dying, &policies, sim.now())),
            Box::pin(rotation(&other, &policies, sim.now())),
        ];
        drop(interleave(seed, runs));
        // What the dead one left doubled is seen when it is completed.
        sim.advance(minutes(30));
        quiet(&rotate(&sim, &policies));
        assert_each_once(&sim, 4, format!("seed {seed}"));
    }
}

#[test]
fn a_copying_cut_off_after_any_call_is_finished_by_the_next() {
    let policies = [copies()];
    for n in 0.. {
        let sim = sim();
        for _ in 0..3 {
            target(&sim);
        }
        rotate(&sim, &[everywhere()]);
        sim.advance(minutes(30));
        rotate(&sim, &[everywhere()]);
        let dying = sim.aws_dying_after(&vault(), n);
        let cut = drive(copying(&dying, &policies, CopyScope::Sweep, sim.now())).is_none();
        quiet(&sweep(&sim, &policies));
        for run in answer_shares(&sim, &policies) {
            quiet(&run);
        }
        assert_each_once(&sim, 3 + 6, format!("cut off after {n} calls"));
        if !cut {
            assert!(n > 10, "{n}");
            return;
        }
    }
}

/// The answers to these calls are lost, though the calls are done.
fn lose_answers(sim: &Sim, operation: &'static str) {
    sim.on_call(
        move |call| {
            if call.operation == operation { Fault::DoButNoAnswer } else { Fault::None }
        },
    );
}

#[test]
fn a_creation_without_an_answer_is_looked_up_and_not_repeated() {
    let sim = sim();
    let volumes: Vec<VolumeId> = (0..3).map(|_| target(&sim)).collect();
    lose_answers(&sim, "CreateSnapshot");
    let run = rotate(&sim, &[everywhere()]);
    quiet(&run);
    let done = lines(&run, "CreateSnapshot", OutcomeName::Done);
    assert_eq!(done.len(), 3);
    for line in done {
        let made = sim.record(line.snapshot_id.as_ref().unwrap()).unwrap();
        assert_eq!(Some(&made.snapshot.volume_id), line.volume_id.as_ref());
        assert!(volumes.contains(&made.snapshot.volume_id));
    }
    rotate(&sim, &[everywhere()]);
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshot"), 3);
    assert_each_once(&sim, 3, "");
}

#[test]
fn a_creation_of_which_nothing_is_known_is_told_and_not_repeated() {
    let sim = sim();
    target(&sim);
    let mut created = false;
    sim.on_call(move |call: &Call| match call.operation {
        "CreateSnapshot" => {
            created = true;
            Fault::DoButNoAnswer
        }
        "DescribeSnapshots" if created => {
            Fault::Refuse(ErrorKind::Throttled, "RequestLimitExceeded")
        }
        _ => Fault::None,
    });
    let run = rotate(&sim, &[nightly(&json!({"Count": 1}))]);
    let told = failure(&run);
    assert!(told.starts_with("ActionsFailed: CreateSnapshot of vol-"), "{told}");
    assert!(told.contains("no answer to CreateSnapshot: the connection was closed"), "{told}");
    sim.no_faults();
    quiet(&rotate(&sim, &[nightly(&json!({"Count": 1}))]));
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshot"), 1);
    assert_each_once(&sim, 1, "");
}

#[test]
fn a_creation_that_never_arrived_is_told_and_made_by_the_next_run() {
    let sim = sim();
    target(&sim);
    sim.on_call(
        |call| {
            if call.operation == "CreateSnapshot" { Fault::NoAnswer } else { Fault::None }
        },
    );
    let run = rotate(&sim, &[nightly(&json!({"Count": 1}))]);
    assert!(failure(&run).contains("no answer to CreateSnapshot"), "{}", failure(&run));
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshot"), 1, "never sent again blindly");
    sim.no_faults();
    quiet(&rotate(&sim, &[nightly(&json!({"Count": 1}))]));
    assert_each_once(&sim, 1, "");
}

#[test]
fn a_copy_without_an_answer_is_looked_up_and_not_repeated() {
    let sim = sim();
    target(&sim);
    rotate(&sim, &[everywhere()]);
    sim.advance(minutes(30));
    rotate(&sim, &[everywhere()]);
    lose_answers(&sim, "CopySnapshot");
    let runs = answer_shares(&sim, &[copies()]);
    assert_eq!(runs.len(), 1);
    quiet(&runs[0]);
    assert_eq!(lines(&runs[0], "CopySnapshot", OutcomeName::Done).len(), 2);
    quiet(&sweep(&sim, &[copies()]));
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 2);
    assert_each_once(&sim, 3, "");
}

#[test]
fn what_two_runs_doubled_unseen_is_mended_when_it_is_completed() {
    let sim = sim();
    sim.set(|it| it.remember = 100);
    target(&sim);
    rotate(&sim, &[everywhere()]);
    sim.advance(minutes(1)); // EC2 refuses a second one within 15 seconds
    sim.on_call(|_| Fault::StaleRead(100)); // as if the first run had not been
    rotate(&sim, &[everywhere()]);
    sim.no_faults();
    let made = sim.records();
    assert_eq!(made.len(), 2, "neither run could see the other's");
    sim.advance(minutes(30));
    let run = rotate(&sim, &[everywhere()]);
    quiet(&run);
    let left = sim.records();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].snapshot.id, made[0].snapshot.id, "the older stays");
    let deleted = lines(&run, "DeleteSnapshot", OutcomeName::Done);
    let reason = format!("{} is the same and older", made[0].snapshot.id);
    assert_eq!(deleted[0].reason, reason);
    assert!(left[0].shared_with.contains(&account(VAULT)));
    assert_eq!(left[0].scope(), member());
}

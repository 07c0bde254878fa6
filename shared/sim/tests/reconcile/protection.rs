//! Locks and fast restores: what they hold, when they end, and how they move on.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::VolumeId;
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_sim::{Fault, Record, Sim};

use crate::support::listing::{lines_of, of_volume};
use crate::support::servers::server;
use crate::support::sets::sets;
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    calls, days, every, held, hours, lines, member, minutes, mutations, policy, rotate,
    rotate_and_look, rotate_for, sim, target,
};

fn with(count: u32, member: &str, rule: &Value) -> [Value; 1] {
    let mut schedule =
        json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": count}});
    schedule[member] = rule.clone();
    [policy("daily", &[schedule])]
}

fn locked(count: u32, n_days: u32) -> [Value; 1] {
    with(count, "LockRule", &json!({"Mode": "GOVERNANCE", "DurationDays": n_days}))
}

fn fast(count: u32, rule: &Value) -> [Value; 1] {
    with(count, "FastRestoreRule", rule)
}

fn assert_settled(sim: &Sim, policy: &[Value]) {
    for _ in 0..2 {
        quiet(&rotate(sim, policy));
        sim.advance(minutes(30));
    }
    quiet(&rotate(sim, policy));
    drop(sim.take_journal());
    quiet(&rotate(sim, policy));
    assert_eq!(mutations(sim), Vec::<String>::new());
}

fn is_completed(record: &Record) -> bool {
    record.snapshot.state == State::Completed
}

#[test]
fn every_snapshot_is_locked_for_its_days_and_goes_afterwards() {
    let sim = sim();
    let volumes = [target(&sim), target(&sim)];
    let policy = locked(1, 4);
    let mut held_for_locks = 0;
    rotate_and_look(&sim, &policy, 15, hours(1), |run| {
        quiet(run);
        for record in sim.records() {
            let until = record.snapshot.start_time + days(4);
            assert!(sim.now() >= until || record.is_locked(sim.now()) || !is_completed(&record));
            assert!(record.lock.is_none_or(|lock| lock.until == until), "{record:?}");
            assert!(sim.now() < until + hours(1), "what is over goes in the next run");
        }
        held_for_locks += run.report.held.iter().filter(|it| it.reason == "locked").count();
    });
    assert!(held_for_locks > 100, "{held_for_locks}");
    for volume in &volumes {
        assert_eq!(of_volume(&sim, volume).len(), 4, "{:?}", lines_of(&sim, volume));
    }
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "LockSnapshot"), 2 * 15, "each once");
    assert_eq!(calls(&journal, "DeleteSnapshot"), 2 * 11, "each once, and never in vain");
    assert!(journal.iter().all(|call| call.operation != "DeleteSnapshot" || call.happened));
    assert_settled(&sim, &policy);
}

#[test]
fn a_lock_that_a_person_ends_is_put_on_again_until_the_same_moment_or_for_a_day() {
    let sim = sim();
    let volume = target(&sim);
    let policy = locked(1, 3);
    rotate_for(&sim, &policy, 1, hours(6));
    let first = of_volume(&sim, &volume)[0].clone();
    let end = first.snapshot.start_time + days(3);
    for (wait, until) in [
        (hours(1), Some(end)),
        (days(1), Some(sim.now() + hours(1) + days(2) + minutes(10))), // EC2's shortest, and the way
        (days(1), None),
    ] {
        sim.change(&first.snapshot.id, |it| it.lock = None);
        sim.advance(wait);
        rotate(&sim, &[with_no_retention(&policy)]);
        let lock = sim.record(&first.snapshot.id).and_then(|it| it.lock);
        let found = lock.map(|it| it.until.round(jiff::Unit::Minute).unwrap());
        assert_eq!(found, until.map(|it| it.round(jiff::Unit::Minute).unwrap()), "{wait:?}");
    }
}

fn with_no_retention(policy: &[Value]) -> Value {
    let mut policy = policy[0].clone();
    policy["PolicyDetails"]["Schedules"][0]["RetainRule"]["Count"] = json!(1000);
    policy
}

#[test]
fn compliance_is_asked_for_once_with_its_cool_off() {
    let sim = sim();
    let volume = target(&sim);
    let rule = json!({"Mode": "COMPLIANCE", "DurationDays": 3, "CoolOffPeriodHours": 5});
    let policy = with(1, "LockRule", &rule);
    rotate_and_look(&sim, &policy, 9, hours(2), quiet);
    for record in of_volume(&sim, &volume) {
        let lock = record.lock.unwrap();
        let cooled = lock.cools_until.unwrap().duration_since(record.snapshot.start_time);
        assert!(cooled >= hours(5) && cooled < hours(8), "{cooled:?}");
    }
    assert_eq!(calls(&sim.take_journal(), "LockSnapshot"), 9);
    assert_eq!(of_volume(&sim, &volume).len(), 3);
}

#[test]
fn what_fails_though_locked_goes() {
    let sim = sim();
    let volume = target(&sim);
    let policy = locked(2, 9);
    rotate(&sim, &policy);
    rotate(&sim, &policy);
    let pending = of_volume(&sim, &volume)[0].clone();
    assert!(pending.is_locked(sim.now()) && !is_completed(&pending));
    sim.change(&pending.snapshot.id, |it| {
        it.ends = it.ends.take().map(|(at, ..)| (at, State::Error, Some("disk".into())));
    });
    sim.advance(minutes(30));
    quiet(&rotate(&sim, &policy));
    sim.advance(minutes(30));
    quiet(&rotate(&sim, &policy));
    let lines = lines_of(&sim, &volume);
    assert_eq!(lines, ["2026-11-22T02:00:00Z completed locked until 2026-12-01T02:31:00Z"]);
}

#[test]
fn without_the_guards_nothing_is_locked_blindly() {
    let sim = sim();
    target(&sim);
    let policy = locked(2, 9);
    rotate(&sim, &policy);
    sim.advance(minutes(30));
    sim.on_call(|call| match call.operation {
        "DescribeLockedSnapshots" => Fault::Refuse(ErrorKind::Throttled, "RequestLimitExceeded"),
        _ => Fault::None,
    });
    let run = rotate(&sim, &policy);
    quiet(&run);
    assert_eq!(lines(&run, "LockSnapshot", OutcomeName::Deferred).len(), 1);
    sim.no_faults();
    assert_eq!(lines(&rotate(&sim, &policy), "LockSnapshot", OutcomeName::Done).len(), 1);
}

#[test]
fn sets_are_locked_as_a_whole() {
    let sim = sim();
    server(&sim, &member(), &[("Backup", "daily")], 2);
    let mut policy = sets(&json!({"Count": 1}));
    policy["PolicyDetails"]["Schedules"][0]["LockRule"] =
        json!({"Mode": "GOVERNANCE", "DurationDays": 3});
    let policy = [policy];
    rotate_and_look(&sim, &policy, 10, hours(6), quiet);
    assert_eq!(sim.records().len(), 3 * 3);
    rotate_and_look(&sim, &policy, 10, hours(1), quiet);
    assert_eq!(sim.records().len(), 3 * 3);
}

/// Where each snapshot of the volume is fast to restore, oldest first.
fn fast_in(sim: &Sim, volume: &VolumeId) -> Vec<Vec<String>> {
    let records = of_volume(sim, volume).into_iter();
    records.map(|it| it.fast_restores.into_iter().collect()).collect()
}

#[test]
fn fast_restores_move_on_to_newer_ones() {
    let sim = sim();
    let volume = target(&sim);
    let rule = json!({"Count": 2, "AvailabilityZoneIds": ["euc1-az2", "euc1-az3", "use1-az1"]});
    let policy = fast(4, &rule);
    let zones: BTreeSet<String> = ["eu-central-1a".into(), "eu-central-1b".into()].into();
    rotate_and_look(&sim, &policy, 12, hours(1), |run| {
        quiet(run);
        let of: Vec<_> = of_volume(&sim, &volume).into_iter().filter(is_completed).collect();
        for (rank, record) in of.iter().rev().enumerate() {
            let wanted = if rank < 2 { zones.clone() } else { BTreeSet::new() };
            assert_eq!(record.fast_restores, wanted, "rank {rank}");
        }
    });
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "EnableFastSnapshotRestores"), 12, "each once");
    assert_eq!(calls(&journal, "DisableFastSnapshotRestores"), 10, "each once");
    assert_settled(&sim, &policy);
}

#[test]
fn fast_restores_end_by_age_and_before_the_snapshot_goes() {
    let sim = sim();
    let volume = target(&sim);
    let rule =
        json!({"Interval": 2, "IntervalUnit": "DAYS", "AvailabilityZones": ["eu-central-1c"]});
    let policy = fast(3, &rule);
    rotate_and_look(&sim, &policy, 8, hours(1), |run| {
        quiet(run);
        for record in of_volume(&sim, &volume).into_iter().filter(is_completed) {
            let is_young = sim.now() < record.snapshot.start_time + days(2);
            assert_eq!(!record.fast_restores.is_empty(), is_young);
        }
    });
    // The rule wants it fast for longer than the snapshot stays.
    let policy = fast(1, &json!({"Count": 3, "AvailabilityZones": ["eu-central-1c"]}));
    rotate_and_look(&sim, &policy, 5, hours(1), quiet);
    for deletion in sim.take_deletions().into_iter().rev().take(4) {
        assert!(deletion.record.fast_restores.is_empty());
    }
    assert_eq!(fast_in(&sim, &volume), [["eu-central-1c"]]);
}

#[test]
fn what_a_person_made_fast_elsewhere_stays() {
    let sim = sim();
    let volume = target(&sim);
    let policy = fast(3, &json!({"Count": 1, "AvailabilityZones": ["eu-central-1a"]}));
    rotate_for(&sim, &policy, 1, hours(6));
    let first = of_volume(&sim, &volume)[0].snapshot.id.clone();
    sim.change(&first, |it| it.fast_restores.extend(["eu-central-1b".to_owned()]));
    rotate_and_look(&sim, &policy, 2, hours(6), quiet);
    assert_eq!(fast_in(&sim, &volume), [vec!["eu-central-1b"], vec![], vec!["eu-central-1a"]]);
}

#[test]
fn over_the_quota_the_rest_waits_and_moves_on_all_the_same() {
    for n in [5, 7] {
        let sim = sim();
        let volumes: Vec<_> = (0..n).map(|_| target(&sim)).collect();
        let policy = fast(3, &json!({"Count": 1, "AvailabilityZones": ["eu-central-1a"]}));
        rotate_and_look(&sim, &policy, 6, hours(1), quiet);
        let newest = |volume: &VolumeId| !fast_in(&sim, volume).last().unwrap().is_empty();
        assert_eq!(volumes.iter().filter(|it| newest(it)).count(), 5, "of {n}");
        let all = sim.records();
        assert_eq!(all.iter().filter(|it| !it.fast_restores.is_empty()).count(), 5);
        for _ in 0..2 {
            quiet(&rotate(&sim, &policy));
            sim.advance(hours(1));
        }
        let run = rotate(&sim, &policy);
        let waiting = lines(&run, "EnableFastSnapshotRestores", OutcomeName::Deferred).len();
        assert_eq!(waiting, n - 5);
        let status = if n > 5 { Status::Incomplete } else { Status::Succeeded };
        assert_eq!(run.report.status, status);
    }
}

#[test]
fn what_is_too_large_to_be_fast_is_held() {
    let sim = sim();
    let volume = target(&sim);
    sim.resize(&volume, 16 * 1024 + 1);
    let policy = fast(3, &json!({"Count": 1, "AvailabilityZones": ["eu-central-1a"]}));
    rotate(&sim, &policy);
    sim.advance(hours(1));
    drop(sim.take_journal());
    let run = rotate(&sim, &policy);
    quiet(&run);
    let why = held(&run, &of_volume(&sim, &volume)[0].snapshot.id);
    assert_eq!(why, ["16385 GiB are more than the 16 TiB that fast snapshot restore takes"]);
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn a_storm_ends_with_every_lock_and_fast_restore_in_its_place() {
    for seed in 0..8 {
        let sim = sim();
        let volumes = [target(&sim), target(&sim)];
        let mut policy = locked(2, 3);
        policy[0]["PolicyDetails"]["Schedules"][0]["FastRestoreRule"] =
            json!({"Count": 1, "AvailabilityZones": ["eu-central-1a"]});
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 24, hours(5));
        weather.calm(format!("seed {seed}"));
        sim.advance(minutes(30));
        rotate(&sim, &policy);
        for volume in &volumes {
            let records = of_volume(&sim, volume);
            for record in &records {
                let until = record.snapshot.start_time + days(3);
                let could_be = until > sim.now() + days(1);
                assert!(record.is_locked(sim.now()) || !could_be, "seed {seed}");
                assert!(record.lock.is_none_or(|it| it.until == until), "seed {seed}");
            }
            let fast: Vec<bool> = records.iter().map(|it| !it.fast_restores.is_empty()).collect();
            let (newest, others) = fast.split_last().unwrap();
            assert!(*newest && !others.contains(&true), "seed {seed}: {fast:?}");
        }
    }
}

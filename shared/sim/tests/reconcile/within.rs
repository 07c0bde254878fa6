//! `CrossRegionCopyRules`: copies within an account, beside its snapshots and beside the vault's.

use std::pin::Pin;

use serde_json::{Value, json};
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_core::tags::{self, CopyClaim};
use snapferry_sim::{Fault, Record, Sim, interleave};

use crate::support::listing::{copies_of_volume, of_volume, times_copied};
use crate::support::servers::server;
use crate::support::sets::sets;
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    HOME, MEMBER, calls, every, failure, hours, lines, member, minutes, mutations, policy, rotate,
    rotate_and_look, rotate_for, rotation, scope, sim, target, vault,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

fn key(region: &str) -> String {
    format!("arn:aws:kms:{region}:{MEMBER}:key/of-the-member")
}

fn rule(region: &str, retain: &Value) -> Value {
    json!({"Target": region, "Encrypted": true, "CmkArn": key(region), "RetainRule": retain})
}

fn by_days(n: u32) -> Value {
    json!({"Interval": n, "IntervalUnit": "DAYS"})
}

/// Nightly, two kept, copied as the rules say.
fn copied(rules: &[Value]) -> Value {
    policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "CrossRegionCopyRules": rules})],
    )
}

fn world() -> Sim {
    let sim = sim();
    for region in REGIONS {
        sim.key(&key(region), &[]);
    }
    sim
}

fn copies_in(sim: &Sim, region: &str) -> Vec<Record> {
    let records = sim.records().into_iter();
    records.filter(|it| it.copy_of.is_some() && it.region.as_str() == region).collect()
}

/// The days of the slots of a Region's good copies, oldest first.
fn copied_days(sim: &Sim, region: &str) -> Vec<String> {
    let good = |it: &Record| it.snapshot.state == State::Completed;
    let copies = copies_in(sim, region).into_iter().filter(good);
    copies.map(|it| it.snapshot.tags[tags::SLOT][5..10].to_owned()).collect()
}

fn assert_settled(sim: &Sim, policy: &[Value]) {
    for _ in 0..3 {
        quiet(&rotate(sim, policy));
        sim.advance(minutes(30));
    }
    drop(sim.take_journal());
    quiet(&rotate(sim, policy));
    assert_eq!(mutations(sim), Vec::<String>::new());
}

#[test]
fn every_snapshot_is_copied_once_to_each_region_and_expires_there() {
    let sim = world();
    let volume = target(&sim);
    sim.change_volume(&volume, |it| it.tags.extend([("Team".to_owned(), "red".to_owned())]));
    let mut policy =
        copied(&[rule(REGIONS[0], &by_days(4)), rule(REGIONS[1], &json!({"Count": 3}))]);
    let schedule = &mut policy["PolicyDetails"]["Schedules"][0];
    schedule["CopyTags"] = json!(true);
    schedule["CrossRegionCopyRules"][0]["CopyTags"] = json!(true);
    schedule["CrossRegionCopyRules"][1]["TagsToAdd"] = json!([{"Key": "Place", "Value": "away"}]);
    let policy = [policy];
    rotate_and_look(&sim, &policy, 12, hours(1), quiet);
    assert_eq!(copied_days(&sim, REGIONS[0]), ["11-30", "12-01", "12-02", "12-03"]);
    assert_eq!(copied_days(&sim, REGIONS[1]), ["12-01", "12-02", "12-03"]);
    let times = times_copied(&sim);
    assert_eq!((times.len(), times.values().max()), (2 * 12, Some(&1)));
    for copy in copies_of_volume(&sim, &volume) {
        let (tags, region) = (&copy.snapshot.tags, copy.region.as_str());
        assert_eq!(copy.snapshot.kms_key_id.as_deref(), Some(key(region).as_str()));
        let claim = CopyClaim::read(tags).unwrap();
        assert_eq!((&*claim.policy, &*claim.rule), ("daily", region));
        assert_eq!(claim.schedules, ["nightly".to_owned()].into());
        let first = region == REGIONS[0];
        assert_eq!((tags.contains_key("Team"), tags.contains_key("Place")), (first, !first));
        assert_eq!(tags.contains_key(tags::EXPIRES_AT), first);
    }
    assert_settled(&sim, &policy);
}

#[test]
fn a_backlog_drains_by_twenty_a_region() {
    let sim = world();
    for _ in 0..50 {
        target(&sim);
    }
    let policy = [copied(&[rule(REGIONS[0], &by_days(4)), rule(REGIONS[1], &by_days(4))])];
    rotate(&sim, &policy);
    let mut done = Vec::new();
    for _ in 0..5 {
        sim.advance(minutes(30));
        let run = rotate(&sim, &policy);
        quiet(&run);
        done.push(lines(&run, "CopySnapshot", OutcomeName::Done).len());
    }
    assert_eq!(done, [40, 40, 20, 0, 0]);
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 100, "EC2 is not asked in vain");
}

#[test]
fn a_copy_that_fails_is_told_and_made_again_and_cleared_away() {
    let sim = world();
    let volume = target(&sim);
    let policy = [copied(&[rule(REGIONS[0], &by_days(4))])];
    rotate(&sim, &policy);
    sim.advance(minutes(30));
    rotate(&sim, &policy);
    let first = copies_in(&sim, REGIONS[0])[0].snapshot.id.clone();
    let fail = |it: &mut Record| {
        it.snapshot.state = State::Error;
        it.ends = None;
    };
    sim.change(&first, fail);
    sim.advance(minutes(30));
    let run = rotate(&sim, &policy);
    let told = failure(&run);
    assert!(told.starts_with("ActionsFailed: CopySnapshot of ") && told.contains(first.as_str()));
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Done).len(), 1);
    sim.advance(minutes(30));
    quiet(&rotate(&sim, &policy));
    let left = copies_of_volume(&sim, &volume);
    assert!(left.len() == 1 && left[0].snapshot.id != first);
    assert_settled(&sim, &policy);
}

#[test]
fn keep_keeps_the_newest_copies_of_days_and_weeks() {
    let sim = world();
    target(&sim);
    let policy = [copied(&[rule(REGIONS[0], &json!({"Keep": {"Daily": 3, "Weekly": 3}}))])];
    rotate_and_look(&sim, &policy, 30, hours(3), quiet);
    // Three days up to Monday the 21st, and two Sundays before.
    assert_eq!(copied_days(&sim, REGIONS[0]), ["12-13", "12-19", "12-20", "12-21"]);
    let times = times_copied(&sim);
    assert_eq!((times.len(), times.values().max()), (30, Some(&1)));
}

#[test]
fn of_a_rule_that_is_gone_copies_expire_while_their_region_is_named() {
    let sim = world();
    target(&sim);
    let both = [rule(REGIONS[0], &by_days(3)), rule(REGIONS[1], &by_days(3))];
    rotate_for(&sim, &[copied(&both)], 4, hours(2));
    let mut one = copied(&both[..1]);
    one["Targets"][0]["Regions"] = json!([HOME, REGIONS[1]]);
    rotate_and_look(&sim, &[one], 8, hours(2), quiet);
    assert_eq!(copied_days(&sim, REGIONS[1]), ["11-25"], "all but the last");
    assert_eq!(copied_days(&sim, REGIONS[0]).len(), 3);
}

#[test]
fn a_disabled_policy_touches_no_copy() {
    let sim = world();
    target(&sim);
    let mut policy =
        copied(&[rule(REGIONS[0], &by_days(2)), rule(REGIONS[1], &json!({"Count": 1}))]);
    rotate_for(&sim, &[policy.clone()], 4, hours(2));
    policy["State"] = json!("DISABLED");
    drop(sim.take_journal());
    rotate_and_look(&sim, &[policy], 6, hours(12), quiet);
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn without_the_key_it_is_said_every_time_and_made_up_for_later() {
    let sim = world();
    target(&sim);
    let policy = [copied(&[rule(REGIONS[0], &by_days(3)), rule(REGIONS[1], &by_days(3))])];
    sim.change_key(&key(REGIONS[0]), |it| it.key.state = "Disabled".into());
    rotate(&sim, &policy);
    for _ in 0..3 {
        sim.advance(minutes(30));
        let told = failure(&rotate(&sim, &policy));
        let why = format!("key {} is disabled: enable it with kms:EnableKey", key(REGIONS[0]));
        assert!(told.starts_with("ActionsFailed: CopySnapshot") && told.contains(&why), "{told}");
    }
    assert_eq!((copies_in(&sim, REGIONS[0]).len(), copies_in(&sim, REGIONS[1]).len()), (0, 1));
    sim.change_key(&key(REGIONS[0]), |it| it.key.state = "Enabled".into());
    quiet(&rotate(&sim, &policy));
    assert_eq!(copies_in(&sim, REGIONS[0]).len(), 1);
}

#[test]
fn a_shut_region_stops_neither_the_others_nor_rotation() {
    let sim = world();
    let volume = target(&sim);
    let policy = [copied(&[rule(REGIONS[0], &by_days(3)), rule(REGIONS[1], &by_days(3))])];
    let shut = scope(MEMBER, REGIONS[0]);
    sim.disable_region(&shut, true);
    rotate_and_look(&sim, &policy, 3, hours(6), |run| {
        let told = failure(run);
        assert!(told.starts_with(&format!("ScopesUnreadable: {shut}: ")), "{told}");
    });
    assert_eq!((of_volume(&sim, &volume).len(), copies_in(&sim, REGIONS[1]).len()), (2, 3));
    sim.disable_region(&shut, false);
    quiet(&rotate(&sim, &policy));
    assert_eq!(copies_in(&sim, REGIONS[0]).len(), 1, "the first of the volume");
    sim.advance(minutes(25));
    quiet(&rotate(&sim, &policy));
    assert_eq!(copies_in(&sim, REGIONS[0]).len(), 3, "the others, and a new one");
}

#[test]
fn nothing_is_copied_into_its_own_region() {
    let sim = world();
    let away = scope(MEMBER, REGIONS[0]);
    let volumes = [target(&sim), sim.volume(&away, &[("Backup", "daily")])];
    let mut policy = copied(&[rule(REGIONS[0], &by_days(3))]);
    policy["Targets"][0]["Regions"] = json!([HOME, REGIONS[0]]);
    let policy = [policy];
    rotate_and_look(&sim, &policy, 6, hours(3), quiet);
    assert_eq!(copies_of_volume(&sim, &volumes[0]).len(), 3);
    assert_eq!(copies_of_volume(&sim, &volumes[1]).len(), 0);
    for volume in &volumes {
        assert_eq!(of_volume(&sim, volume).len(), 2, "copies do not count as snapshots");
    }
    assert_settled(&sim, &policy);
}

#[test]
fn a_rule_that_copies_to_the_only_region_is_told_and_the_rest_is_done() {
    let sim = world();
    let volume = target(&sim);
    let policy = [copied(&[rule(HOME, &by_days(3)), rule(REGIONS[0], &by_days(3))])];
    let told = |run: &Run| {
        let told = failure(run);
        assert!(told.starts_with("ActionsFailed: CopySnapshot of policy "), "{told}");
        assert!(told.contains("copies to eu-central-1, the only Region of policy"), "{told}");
    };
    rotate_and_look(&sim, &policy, 2, hours(3), told);
    assert_eq!(copies_of_volume(&sim, &volume).len(), 2, "to the other Region");
}

#[test]
fn what_is_no_target_any_more_is_not_copied_and_what_is_gone_is() {
    let sim = world();
    let (untagged, gone) = (target(&sim), target(&sim));
    let policy = [copied(&[rule(REGIONS[0], &by_days(9))])];
    rotate(&sim, &policy);
    sim.change_volume(&untagged, |it| it.tags.clear());
    sim.delete_volume(&gone);
    sim.advance(minutes(30));
    rotate(&sim, &policy);
    assert_eq!(copies_of_volume(&sim, &untagged).len(), 0);
    assert_eq!(copies_of_volume(&sim, &gone).len(), 1);
}

#[test]
fn a_lock_holds_a_copy_back_and_ends() {
    let sim = world();
    target(&sim);
    let mut only = rule(REGIONS[0], &json!({"Count": 1}));
    only["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": 3});
    let policy = [copied(&[only])];
    rotate_and_look(&sim, &policy, 10, hours(2), quiet);
    assert_eq!(copied_days(&sim, REGIONS[0]).len(), 3);
    assert_eq!(calls(&sim.take_journal(), "LockSnapshot"), 10, "each once");
}

#[test]
fn sets_are_copied_snapshot_by_snapshot() {
    let sim = world();
    server(&sim, &member(), &[("Backup", "daily")], 2);
    let mut policy = sets(&json!({"Count": 2}));
    policy["PolicyDetails"]["Schedules"][0]["CrossRegionCopyRules"] =
        json!([rule(REGIONS[0], &json!({"Count": 2}))]);
    rotate_and_look(&sim, &[policy], 6, hours(2), quiet);
    assert_eq!(copied_days(&sim, REGIONS[0]).len(), 3 * 2);
    let times = times_copied(&sim);
    assert_eq!((times.len(), times.values().max()), (3 * 6, Some(&1)));
}

#[test]
fn schedules_that_coincide_make_one_copy_for_the_longest_time() {
    let sim = world();
    let volume = target(&sim);
    let schedule = |name: &str, create: Value, n_days| {
        json!({"Name": name, "CreateRule": create, "RetainRule": {"Count": 3},
               "CrossRegionCopyRules": [rule(REGIONS[0], &by_days(n_days))]})
    };
    let sundays = json!({"CronExpression": "cron(0 2 ? * SUN *)"});
    let policy =
        [policy("daily", &[schedule("days", every(24), 2), schedule("weeks", sundays, 10)])];
    rotate_and_look(&sim, &policy, 18, hours(3), quiet);
    // Of the last ten days the Sunday, and the last two.
    assert_eq!(copied_days(&sim, REGIONS[0]), ["12-06", "12-08", "12-09"]);
    let sunday = copies_of_volume(&sim, &volume).remove(0);
    assert_eq!(sunday.snapshot.tags[tags::SCHEDULE], "days,weeks");
    let times = times_copied(&sim);
    assert_eq!((times.len(), times.values().max()), (18, Some(&1)));
    assert_settled(&sim, &policy);
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

#[test]
fn twice_at_once_or_cut_off_every_copy_is_there_once() {
    for seed in 0..60 {
        let sim = world();
        sim.set(|it| it.turns = 3);
        for _ in 0..2 {
            target(&sim);
        }
        let policy = [copied(&[rule(REGIONS[0], &by_days(3)), rule(REGIONS[1], &by_days(3))])];
        rotate(&sim, &policy);
        sim.advance(minutes(30));
        let (aws, now) = (sim.aws(&vault()), sim.now());
        let other = match seed % 3 {
            0 => sim.aws_dying_after(&vault(), usize::try_from(seed).unwrap() / 2),
            _ => sim.aws(&vault()),
        };
        let runs: Vec<Running<'_>> =
            vec![Box::pin(rotation(&aws, &policy, now)), Box::pin(rotation(&other, &policy, now))];
        drop(interleave(seed, runs));
        sim.advance(minutes(30));
        quiet(&rotate(&sim, &policy));
        for region in REGIONS {
            assert_eq!(copied_days(&sim, region).len(), 2, "seed {seed}");
        }
    }
}

#[test]
fn a_copy_without_an_answer_is_looked_up() {
    let sim = world();
    target(&sim);
    let policy = [copied(&[rule(REGIONS[0], &by_days(3))])];
    rotate(&sim, &policy);
    sim.advance(minutes(30));
    sim.on_call(|call| match call.operation {
        "CopySnapshot" => Fault::DoButNoAnswer,
        _ => Fault::None,
    });
    quiet(&rotate(&sim, &policy));
    quiet(&rotate(&sim, &policy));
    assert_eq!(copies_in(&sim, REGIONS[0]).len(), 1);
}

#[test]
fn a_storm_of_copies_comes_right() {
    for seed in 0..8 {
        let sim = world();
        sim.set(|it| it.copies_at_once = 4);
        for _ in 0..3 {
            target(&sim);
        }
        let policy = [copied(&[
            rule(REGIONS[0], &json!({"Count": 2, "Interval": 1, "IntervalUnit": "DAYS"})),
            rule(REGIONS[1], &json!({"Keep": {"Daily": 2, "Weekly": 2}})),
        ])];
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 20, hours(7));
        weather.calm(format!("seed {seed}"));
        for volume in sim.records().iter().map(|it| it.snapshot.volume_id.clone()) {
            let copies = copies_of_volume(&sim, &volume);
            for region in REGIONS.iter().filter(|_| !copies.is_empty()) {
                let n = copies.iter().filter(|it| it.region.as_str() == *region).count();
                assert!((1..=4).contains(&n), "seed {seed}: {n} in {region}");
            }
        }
        for _ in 0..3 {
            sim.advance(hours(1));
            rotate(&sim, &policy);
        }
        let run = rotate(&sim, &policy);
        assert_eq!(run.report.status, Status::Succeeded, "seed {seed}");
    }
}

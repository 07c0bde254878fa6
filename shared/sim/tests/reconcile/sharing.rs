//! `UnshareInterval`: who may use a snapshot, and how long.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::tags;
use snapferry_sim::{Fault, Sim};

use crate::support::listing::{of_instance, of_volume};
use crate::support::servers::server;
use crate::support::sets::sets;
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    MEMBER, OTHER, VAULT, account, calls, days, every, failure, hours, lines, member, minutes,
    mutations, policy, rotate, rotate_and_look, rotate_for, sim, target,
};

const PERSON: &str = "555555555555";

fn rule(accounts: &[&str], days: Option<u32>) -> Value {
    let mut rule = json!({"TargetAccounts": accounts});
    if let Some(days) = days {
        rule["UnshareInterval"] = json!(days);
        rule["UnshareIntervalUnit"] = json!("DAYS");
    }
    json!([rule])
}

/// Nightly, six kept, shared as the rule says.
fn shared(rule: &Value) -> Value {
    policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 6},
                 "ShareRules": rule})],
    )
}

fn accounts(of: &[&str]) -> BTreeSet<snapferry_core::ids::AccountId> {
    of.iter().map(|it| account(it)).collect()
}

/// Every completed snapshot younger than so many days is shared with exactly these accounts, and the others with none.
fn assert_shared(sim: &Sim, n_days: i64, with: &[&str]) {
    for record in sim.records().iter().filter(|it| it.snapshot.state == State::Completed) {
        let age = sim.now().duration_since(record.snapshot.start_time);
        if (age - days(n_days)).abs() < minutes(1) {
            continue; // it came to be so old during the run
        }
        let wanted = if age < days(n_days) { accounts(with) } else { BTreeSet::new() };
        assert_eq!(record.shared_with, wanted, "{age:?} old");
        // What was too old when it could first be shared has no record of it.
        let told = record.snapshot.tags.get(tags::SHARED_WITH).map_or("", String::as_str);
        assert_eq!(told, tags::join(&wanted));
    }
}

#[test]
fn sharing_ends_after_its_time_with_the_right_accounts() {
    let sim = sim();
    for _ in 0..2 {
        target(&sim);
    }
    let policy = [shared(&rule(&[VAULT, OTHER, MEMBER], Some(2)))];
    rotate_and_look(&sim, &policy, 10, hours(1), |run| {
        quiet(run);
        assert_shared(&sim, 2, &[VAULT, OTHER]); // never with its own account
    });
    let journal = sim.take_journal();
    let changes = calls(&journal, "ModifySnapshotAttribute");
    assert_eq!(changes, 2 * (10 + 8), "each shared once, and unshared once");
    for _ in 0..2 {
        quiet(&rotate(&sim, &policy));
        sim.advance(minutes(30));
    }
    quiet(&rotate(&sim, &policy));
    drop(sim.take_journal());
    rotate(&sim, &policy);
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn where_schedules_coincide_the_longest_counts_for_each_account() {
    let sim = sim();
    let volume = target(&sim);
    let schedule = |name: &str, rule: Value| json!({"Name": name, "CreateRule": every(24), "RetainRule": {"Count": 6}, "ShareRules": rule});
    let policy = [policy(
        "daily",
        &[
            schedule("short", rule(&[VAULT, OTHER], Some(1))),
            schedule("long", rule(&[VAULT], Some(3))),
            schedule("for ever", rule(&[PERSON], None)),
        ],
    )];
    rotate_and_look(&sim, &policy, 9, hours(2), |run| {
        quiet(run);
        for record in
            of_volume(&sim, &volume).iter().filter(|it| it.snapshot.state == State::Completed)
        {
            let age = sim.now().duration_since(record.snapshot.start_time);
            let wanted: &[&str] = match age.as_hours() / 24 {
                0 => &[PERSON, VAULT, OTHER],
                1 | 2 => &[PERSON, VAULT],
                _ => &[PERSON],
            };
            assert_eq!(record.shared_with, accounts(wanted), "{age:?} old");
        }
    });
    assert_eq!(of_volume(&sim, &volume).len(), 6);
}

#[test]
fn what_a_person_shares_with_others_stays() {
    let sim = sim();
    let volume = target(&sim);
    let policy = [shared(&rule(&[VAULT], Some(2)))];
    rotate_for(&sim, &policy, 1, hours(1));
    let first = of_volume(&sim, &volume)[0].snapshot.id.clone();
    sim.change(&first, |it| it.shared_with.extend([account(PERSON)]));
    rotate_and_look(&sim, &policy, 4, hours(1), quiet);
    assert_eq!(sim.record(&first).unwrap().shared_with, accounts(&[PERSON]));
}

#[test]
fn what_is_too_old_already_is_not_shared_for_a_moment() {
    let sim = sim();
    let volume = target(&sim);
    rotate_for(&sim, &[crate::support::nightly(&json!({"Count": 6}))], 5, hours(6));
    drop(sim.take_journal());
    let policy = [shared(&rule(&[VAULT], Some(2)))];
    rotate_and_look(&sim, &policy, 1, hours(1), quiet);
    assert_shared_now(&sim, &volume);
    let shares = sim.take_shares();
    assert_eq!(shares.len(), 2, "that of the day before, and the new one");
}

fn assert_shared_now(sim: &Sim, volume: &snapferry_core::ids::VolumeId) {
    let of = of_volume(sim, volume);
    let shared: Vec<bool> = of.iter().map(|it| !it.shared_with.is_empty()).collect();
    let (old, young) = shared.split_at(shared.len() - 2);
    assert!(!old.iter().any(|it| *it) && young.iter().all(|it| *it), "{shared:?}");
}

#[test]
fn the_interval_may_be_changed_or_taken_away() {
    let sim = sim();
    let volume = target(&sim);
    rotate_for(&sim, &[shared(&rule(&[VAULT], None))], 5, hours(3));
    let shared_ones =
        |sim: &Sim| of_volume(sim, &volume).iter().filter(|it| !it.shared_with.is_empty()).count();
    assert_eq!(shared_ones(&sim), 5);
    let short = [shared(&rule(&[VAULT], Some(1)))];
    let run = rotate(&sim, &short);
    quiet(&run);
    let unshared = lines(&run, "ModifySnapshotAttribute", OutcomeName::Done);
    assert_eq!(unshared.len(), 5);
    assert!(unshared.iter().all(|it| it.operation_type == Some("remove")));
    // Longer again: what still has time is shared again.
    sim.advance(minutes(30));
    rotate(&sim, &[shared(&rule(&[VAULT], Some(3)))]);
    assert_eq!(shared_ones(&sim), 3);
}

#[test]
fn where_one_loses_it_and_another_gets_it_the_record_names_those_who_have_it() {
    let sim = sim();
    let volume = target(&sim);
    let schedule = |name: &str, rule: Value| json!({"Name": name, "CreateRule": every(24), "RetainRule": {"Count": 6}, "ShareRules": rule});
    let first = "111111111111";
    let policy = |more: &[&str]| {
        let schedules = [
            schedule("short", rule(&[VAULT], Some(1))),
            schedule("long", rule(&[&[OTHER], more].concat(), None)),
        ];
        [policy("daily", &schedules)]
    };
    rotate_for(&sim, &policy(&[]), 1, hours(3));
    let old = of_volume(&sim, &volume).remove(0);
    assert_eq!(old.shared_with, accounts(&[VAULT, OTHER]));
    quiet(&rotate(&sim, &policy(&[first])));
    let old = sim.record(&old.snapshot.id).unwrap();
    assert_eq!(old.shared_with, accounts(&[first, OTHER]));
    assert_eq!(old.snapshot.tags[tags::SHARED_WITH], tags::join(&old.shared_with));
}

#[test]
fn an_end_without_an_answer_is_found_done() {
    let sim = sim();
    target(&sim);
    let policy = [shared(&rule(&[VAULT, OTHER], Some(1)))];
    rotate_for(&sim, &policy, 1, hours(1));
    sim.on_call(|call| match call.operation {
        "ModifySnapshotAttribute" => Fault::DoButNoAnswer,
        _ => Fault::None,
    });
    let told = failure(&rotate(&sim, &policy));
    assert!(told.contains("no answer to ModifySnapshotAttribute"), "{told}");
    sim.no_faults();
    sim.advance(minutes(30));
    quiet(&rotate(&sim, &policy)); // what is not recorded yet is recorded
    assert_shared(&sim, 1, &[VAULT, OTHER]);
    drop(sim.take_journal());
    rotate(&sim, &policy);
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn sets_are_shared_as_a_whole() {
    let sim = sim();
    let server = server(&sim, &member(), &[("Backup", "daily")], 2);
    let mut policy = sets(&json!({"Interval": 4, "IntervalUnit": "DAYS"}));
    policy["PolicyDetails"]["Schedules"][0]["ShareRules"] = rule(&[VAULT], Some(2));
    rotate_and_look(&sim, &[policy], 8, hours(2), |run| {
        quiet(run);
        assert_shared(&sim, 2, &[VAULT]);
        for set in of_instance(&sim, &server.id).values() {
            assert!(set.iter().all(|it| it.shared_with == set[0].shared_with));
        }
    });
}

#[test]
fn a_storm_shares_with_nobody_else_and_in_the_end_with_the_right_ones() {
    for seed in 0..8 {
        let sim = sim();
        for _ in 0..2 {
            target(&sim);
        }
        let policy = [shared(&rule(&[VAULT, OTHER], Some(2)))];
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 24, hours(5));
        weather.calm(format!("seed {seed}"));
        sim.advance(minutes(30));
        rotate(&sim, &policy);
        assert_shared(&sim, 2, &[VAULT, OTHER]);
        let told = sim.take_shares();
        assert!(told.iter().all(|it| accounts(&[VAULT, OTHER]).contains(&it.with)));
    }
}

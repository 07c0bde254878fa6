//! `Count` and `Keep` on the vault's copies: what is worth a copy is copied once, and nothing goes round in circles.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_core::event::CopyScope;
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::tags;
use snapferry_sim::{Record, Sim};

use crate::support::listing::times_copied;
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    HOME, MEMBER, VAULT, account, answer_shares, calls, copy, every, hours, lines, member, minutes,
    mutations, policy, rotate, rotate_and_look, rotate_for, sim, sweep, target,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

/// Copies to the two Regions, kept as they say.
fn copies(retain: [&Value; 2]) -> Value {
    let rules: Vec<Value> = REGIONS
        .iter()
        .zip(retain)
        .map(|(region, retain)| {
            json!({"Target": region, "EncryptionConfiguration": {"Encrypted": false},
                   "RetainRule": retain})
        })
        .collect();
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER],
                "DescriptionRegex": "^Created for policy: "}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": rules}]
        }
    })
}

/// Nightly, seven kept and shared.
fn sharing() -> Value {
    policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 7},
                 "ShareRules": [{"TargetAccounts": [VAULT]}]})],
    )
}

/// Rotates and sweeps every so many hours for days.
fn live(sim: &Sim, vault: &Value, n_days: i64, step: i64) {
    let documents = [sharing()];
    rotate_and_look(sim, &documents, n_days, hours(step), |run| {
        quiet(run);
        let run = sweep(sim, std::slice::from_ref(vault));
        quiet(&run);
        assert_eq!(run.violations, []);
    });
}

/// The days of the slots of a Region's copies of each volume, oldest first.
fn copied(sim: &Sim, region: &str) -> Vec<Vec<String>> {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let good = |it: &Record| it.copy_of.is_some() && it.snapshot.state == State::Completed;
    for record in sim.records().iter().filter(|it| good(it) && it.region.as_str() == region) {
        let tags = &record.snapshot.tags;
        of.entry(tags[tags::SOURCE_VOLUME].clone())
            .or_default()
            .push(tags[tags::SLOT][5..10].into());
    }
    of.into_values().collect()
}

/// How many sources were copied to a Region; each once.
fn copied_once(sim: &Sim) -> BTreeMap<String, usize> {
    let times = times_copied(sim);
    assert!(times.values().all(|n| *n == 1), "{times:?}");
    let mut sources = BTreeMap::new();
    for (_, region) in times.into_keys() {
        *sources.entry(region).or_default() += 1;
    }
    sources
}

fn assert_settled(sim: &Sim, vault: &Value) {
    drop(sim.take_journal());
    quiet(&sweep(sim, std::slice::from_ref(vault)));
    assert_eq!(mutations(sim), Vec::<String>::new());
}

#[test]
fn thirty_days_of_counts_copy_each_source_once() {
    let sim = sim();
    for _ in 0..2 {
        target(&sim);
    }
    // Seven nights before there is a vault: of these, what the counts want.
    rotate_for(&sim, &[sharing()], 7, hours(12));
    drop(sim.take_journal());
    let vault = copies([&json!({"Count": 3}), &json!({"Count": 1})]);
    live(&sim, &vault, 30, 4);
    assert_eq!(copied(&sim, REGIONS[0]), vec![["12-26", "12-27", "12-28"]; 2]);
    assert_eq!(copied(&sim, REGIONS[1]), vec![["12-28"]; 2]);
    let sources = copied_once(&sim);
    assert_eq!((sources[REGIONS[0]], sources[REGIONS[1]]), (2 * (3 + 30), 2 * (1 + 30)));
    assert_settled(&sim, &vault);
}

#[test]
fn thirty_days_of_periods_copy_each_source_once() {
    let sim = sim();
    target(&sim);
    rotate_for(&sim, &[sharing()], 7, hours(12));
    drop(sim.take_journal());
    let vault = copies([
        &json!({"Keep": {"Daily": 2, "Weekly": 3}}),
        &json!({"Keep": {"Monthly": 2}, "MinimumCount": 2}),
    ]);
    live(&sim, &vault, 30, 4);
    // Sundays are the 14th, 21st and 28th.
    assert_eq!(copied(&sim, REGIONS[0]), [["12-20", "12-27", "12-28"]]);
    // A month each, and the two newest in any case.
    assert_eq!(copied(&sim, REGIONS[1]), [["11-30", "12-27", "12-28"]]);
    let sources = copied_once(&sim);
    // Of the seven nights there were: the two newest days and the Sunday before, or the newest of the month. One of the
    // former waited for the first copy of the volume, and was not worth one any more when its turn came.
    assert_eq!((sources[REGIONS[0]], sources[REGIONS[1]]), (2 + 30, 1 + 30));
    assert_settled(&sim, &vault);
}

#[test]
fn a_count_beside_an_age_keeps_what_either_keeps() {
    let sim = sim();
    target(&sim);
    let both = json!({"Count": 5, "Interval": 2, "IntervalUnit": "DAYS"});
    let long = json!({"Count": 1, "Interval": 4, "IntervalUnit": "DAYS"});
    let vault = copies([&both, &long]);
    live(&sim, &vault, 20, 4);
    assert_eq!(copied(&sim, REGIONS[0])[0].len(), 5);
    assert_eq!(copied(&sim, REGIONS[1])[0].len(), 4);
    let sources = copied_once(&sim);
    assert_eq!((sources[REGIONS[0]], sources[REGIONS[1]]), (20, 20));
}

#[test]
fn events_and_sweeps_together_copy_each_source_once() {
    let sim = sim();
    target(&sim);
    let vault = [copies([&json!({"Count": 2}), &json!({"Keep": {"Daily": 3}})])];
    rotate_and_look(&sim, &[sharing()], 12, hours(1), |run| {
        quiet(run);
        for run in answer_shares(&sim, &vault) {
            quiet(&run);
        }
        if sim.now().as_second() / 3600 % 6 == 0 {
            quiet(&sweep(&sim, &vault));
        }
    });
    sim.advance(minutes(30));
    quiet(&sweep(&sim, &vault));
    assert_eq!((copied(&sim, REGIONS[0])[0].len(), copied(&sim, REGIONS[1])[0].len()), (2, 3));
    let sources = copied_once(&sim);
    assert_eq!((sources[REGIONS[0]], sources[REGIONS[1]]), (12, 12));
}

#[test]
fn a_lower_count_lets_go_and_a_higher_one_fetches_what_is_still_shared() {
    let sim = sim();
    target(&sim);
    live(&sim, &copies([&json!({"Count": 5}), &json!({"Count": 5})]), 10, 6);
    let fewer = copies([&json!({"Count": 2}), &json!({"Count": 5})]);
    quiet(&sweep(&sim, std::slice::from_ref(&fewer)));
    assert_eq!((copied(&sim, REGIONS[0])[0].len(), copied(&sim, REGIONS[1])[0].len()), (2, 5));
    let more = copies([&json!({"Count": 6}), &json!({"Count": 9})]);
    for _ in 0..2 {
        quiet(&sweep(&sim, std::slice::from_ref(&more)));
        sim.advance(hours(1));
    }
    // Seven are shared.
    assert_eq!((copied(&sim, REGIONS[0])[0].len(), copied(&sim, REGIONS[1])[0].len()), (6, 7));
    assert_settled(&sim, &more);
}

#[test]
fn a_copy_that_somebody_deletes_is_made_again_once() {
    let sim = sim();
    target(&sim);
    let vault = copies([&json!({"Count": 3}), &json!({"Count": 3})]);
    live(&sim, &vault, 6, 6);
    let is_copy = |it: &&Record| it.copy_of.is_some() && it.region.as_str() == REGIONS[0];
    let records = sim.records();
    let newest = records.iter().rev().find(is_copy).unwrap();
    sim.remove(&newest.snapshot.id);
    let run = sweep(&sim, std::slice::from_ref(&vault));
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Done).len(), 1);
    sim.advance(hours(1));
    quiet(&sweep(&sim, std::slice::from_ref(&vault)));
    assert_settled(&sim, &vault);
    assert_eq!(copied(&sim, REGIONS[0])[0].len(), 3);
}

#[test]
fn a_copy_that_fails_pushes_no_older_one_out() {
    let sim = sim();
    target(&sim);
    let vault = copies([&json!({"Count": 2}), &json!({"Count": 2})]);
    live(&sim, &vault, 6, 6);
    rotate(&sim, &[sharing()]);
    sim.advance(minutes(30));
    rotate(&sim, &[sharing()]);
    for _ in 0..5 {
        drop(sweep(&sim, std::slice::from_ref(&vault)));
        for record in sim.records().iter().filter(|it| it.copy_of.is_some() && it.ends.is_some()) {
            sim.change(&record.snapshot.id, |it| {
                it.snapshot.state = State::Error;
                it.ends = None;
            });
        }
        sim.advance(minutes(90));
        for region in REGIONS {
            assert_eq!(copied(&sim, region)[0].len(), 2);
        }
    }
    for _ in 0..3 {
        drop(sweep(&sim, std::slice::from_ref(&vault)));
        sim.advance(minutes(90));
    }
    for region in REGIONS {
        assert_eq!(copied(&sim, region), [["11-27", "11-28"]]);
    }
}

#[test]
fn an_event_about_an_old_source_costs_one_copy_at_the_most() {
    let sim = sim();
    target(&sim);
    let vault = [copies([&json!({"Count": 2}), &json!({"Count": 2})])];
    live(&sim, &vault[0], 6, 6);
    let oldest = sim.records()[0].snapshot.id.clone();
    drop(sim.take_journal());
    let owner = Some(account(MEMBER));
    let what = CopyScope::One { region: member().region, snapshot: oldest, owner };
    quiet(&copy(&sim, &vault, what));
    for _ in 0..10 {
        sim.advance(hours(1));
        quiet(&sweep(&sim, &vault));
    }
    assert!(calls(&sim.take_journal(), "CopySnapshot") <= 2, "one for each Region");
    assert_eq!((copied(&sim, REGIONS[0])[0].len(), copied(&sim, REGIONS[1])[0].len()), (2, 2));
}

#[test]
fn locked_copies_go_when_their_lock_is_over() {
    let sim = sim();
    target(&sim);
    let mut vault = copies([&json!({"Count": 1}), &json!({"Count": 1})]);
    let rules = &mut vault["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["LockRule"] = json!({"Mode": "COMPLIANCE", "DurationDays": 4});
    live(&sim, &vault, 12, 3);
    assert_eq!((copied(&sim, REGIONS[0])[0].len(), copied(&sim, REGIONS[1])[0].len()), (4, 1));
    assert_eq!(calls(&sim.take_journal(), "LockSnapshot"), 12);
}

#[test]
fn a_storm_in_the_vault_comes_to_rest() {
    for seed in 0..8 {
        let sim = sim();
        for _ in 0..2 {
            target(&sim);
        }
        let documents = [
            sharing(),
            copies([&json!({"Count": 2}), &json!({"Keep": {"Daily": 2, "Weekly": 2}})]),
        ];
        let functions = &[Function::Rotate, Function::Sweep];
        let weather = Weather { sim: &sim, documents: &documents, functions };
        weather.storm(seed, 16, hours(7));
        weather.calm(format!("seed {seed}"));
        for copies in copied(&sim, REGIONS[0]) {
            assert_eq!(copies.len(), 2, "seed {seed}");
        }
        for copies in copied(&sim, REGIONS[1]) {
            assert!((2..=3).contains(&copies.len()), "seed {seed}: {copies:?}");
        }
        assert!(sim.records().iter().any(|it| it.region.as_str() == HOME));
    }
}

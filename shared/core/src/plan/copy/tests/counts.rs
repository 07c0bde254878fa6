//! Copies that are kept by number and by period, whose measure is when their source began.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{apply, copied, wanted, with};
use crate::ids::{Region, SnapshotId};
use crate::inventory::{Snapshot, State};
use crate::tags;
use crate::testing::{
    AWAY, Copying, HOME, actions, copy_of, deleted, held, hours_ago, id, kept, now, own, schedule,
    snap, source,
};

fn by(rule: &Value, sources: Vec<Snapshot>, copies: Vec<Snapshot>) -> Copying {
    let mut world = Copying::new(sources, copies);
    let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules.as_array_mut().unwrap().truncate(1);
    rules[0]["RetainRule"] = rule.clone();
    world
}

/// A copy of source `n`, which began so many hours ago, made `late` hours after that.
fn copy(n: u32, hours: i64, late: i64) -> Snapshot {
    with(copy_of(n, 100 + n, hours - late), |it| {
        it.tags.remove(tags::EXPIRES_AT);
        it.tags.insert(tags::SOURCE_START_TIME.into(), tags::instant(hours_ago(hours)));
    })
}

#[test]
fn copies_stay_by_the_start_of_their_source() {
    // Sources 1 to 4 began a day apart; the oldest was copied last.
    let copies = || vec![copy(1, 24, 1), copy(2, 48, 1), copy(3, 72, 1), copy(4, 96, 95)];
    for (rule, gone) in [
        (json!({"Count": 2}), &[3, 4][..]),
        (json!({"Count": 1, "MinimumCount": 3}), &[4]),
        (json!({"Keep": {"Daily": 3}}), &[4]),
        (json!({"Keep": {"Weekly": 1}, "MinimumCount": 2}), &[3, 4]),
        (json!({"Count": 1, "Keep": {"Daily": 2}}), &[3, 4]),
    ] {
        let world = by(&rule, vec![], copies());
        let ids = gone.iter().map(|n| snap(100 + n)).collect();
        assert_eq!(deleted(&world.good_plan()), ids, "{rule}");
    }
    let plan = by(&json!({"Count": 1, "Keep": {"Daily": 2}}), vec![], copies()).good_plan();
    let second = format!("{}: {HOME}: newest of 2026-11-20, Daily number 2 of 2", snap(102));
    assert!(kept(&plan).contains(&second), "{:?}", kept(&plan));
    let why =
        "number 3 by age, of which the newest 1 stay; not the newest of any period that Keep wants";
    assert!(actions(&plan).contains(&format!("DeleteSnapshot {}: {why}", snap(103))));
}

/// Deleted, it would be copied again at once.
#[test]
fn a_longer_age_keeps_copies_of_what_is_still_shared() {
    let days = |n: i64| json!({"Interval": n, "IntervalUnit": "DAYS"});
    let expired = |n: u32, hours: i64| {
        with(copy(n, hours, 1), |it| {
            it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(1)));
        })
    };
    let shared = |n: u32, hours: i64| with(source(n, hours), |it| it.start_time = hours_ago(hours));
    let copies = || vec![copy(1, 24, 1), expired(2, 72), expired(3, 96)];
    for (rule, sources, gone) in [
        (days(2), vec![shared(2, 72), shared(3, 96)], &[2, 3][..]),
        (days(5), vec![shared(2, 72)], &[3]),
        (days(5), vec![shared(2, 72), shared(3, 96)], &[]),
        (days(5), vec![], &[2, 3]),
    ] {
        let world = by(&rule, sources, copies());
        let ids = gone.iter().map(|n| snap(100 + n)).collect();
        assert_eq!(deleted(&world.good_plan()), ids, "{rule}");
    }
    let plan = by(&days(5), vec![shared(2, 72)], copies()).good_plan();
    let why = "past its own expiry, but its rule is longer now: without it, its source would be copied again";
    assert!(kept(&plan).contains(&format!("{}: {why}", snap(102))), "{:?}", kept(&plan));
}

#[test]
fn with_an_age_beside_it_either_keeps() {
    let rule = json!({"Count": 1, "Interval": 2, "IntervalUnit": "DAYS"});
    let expiring = |n: u32, hours: i64, left: i64| {
        with(copy(n, hours, 1), |it| {
            drop(it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(-left))));
        })
    };
    let copies = vec![expiring(1, 24, 0), expiring(2, 48, 1), expiring(3, 72, 0), copy(4, 96, 1)];
    let plan = by(&rule, vec![], copies).good_plan();
    assert_eq!(deleted(&plan), [snap(103)].into());
    // One that carries no expiry was made when the rule had no age.
    assert!(kept(&plan).contains(&format!("{}: {HOME}: for ever", snap(104))), "{:?}", kept(&plan));
}

#[test]
fn only_what_the_rule_would_keep_is_copied() {
    let sources = || (1..=4).map(|n| source(n, 24 * i64::from(n))).collect::<Vec<_>>();
    let enough =
        |n: u32| format!("{}: newer ones are all that the rule's retention keeps", snap(n));
    for (rule, stay) in [
        (json!({"Count": 2}), &[1, 2][..]),
        (json!({"Keep": {"Weekly": 1}}), &[1]),
        (json!({"Count": 1, "Keep": {"Daily": 3}}), &[1, 2, 3]),
        (json!({"Count": 9}), &[1, 2, 3, 4]),
        (json!({"Count": 1, "Interval": 3, "IntervalUnit": "DAYS"}), &[1, 2]), // the third is exactly so old
    ] {
        let plan = by(&rule, sources(), vec![]).good_plan();
        let mut lines = wanted(&plan);
        lines.sort();
        let why = "shared with this account and not copied yet";
        let expected: Vec<_> =
            stay.iter().map(|n| format!("CopySnapshot {} to {HOME}: {why}", snap(*n))).collect();
        assert_eq!(lines, expected, "{rule}");
        assert_eq!(plan.held.len(), 4 - stay.len());
    }
    let plan = by(&json!({"Count": 3}), sources(), vec![]).good_plan();
    let why: Vec<_> = plan
        .held
        .iter()
        .map(|it| format!("{}: {}", it.subject.source.clone().unwrap(), it.why))
        .collect();
    assert_eq!(why, [enough(4)]);
    let aged = json!({"Count": 1, "Interval": 3, "IntervalUnit": "DAYS"});
    let plan = by(&aged, vec![source(1, 1), source(2, 99)], vec![]).good_plan();
    assert!(held(&plan)[0].contains("past its retention, which ended at "), "{:?}", held(&plan));
}

#[test]
fn copies_take_the_places_of_sources_that_nobody_shares_any_more() {
    let rule = json!({"Count": 2});
    let n_copied = |sources, copies| copied(&by(&rule, sources, copies).good_plan()).len();
    assert_eq!(n_copied(vec![source(5, 60)], vec![copy(1, 24, 1), copy(2, 48, 1)]), 0);
    assert_eq!(n_copied(vec![source(5, 40)], vec![copy(1, 24, 1), copy(2, 48, 1)]), 1);
    let failed = with(copy(2, 48, 1), |it| it.state = State::Error);
    assert_eq!(n_copied(vec![source(5, 60)], vec![copy(1, 24, 1), failed]), 1);
    // What is pending may become good; what has failed never will.
    let pending = |n: u32, hours: i64, state| with(source(n, hours), |it| it.state = state);
    assert_eq!(
        n_copied(vec![source(5, 60), pending(6, 1, State::Pending)], vec![copy(1, 24, 1)]),
        0
    );
    assert_eq!(n_copied(vec![source(5, 60), pending(6, 1, State::Error)], vec![copy(1, 24, 1)]), 1);
    // Of another volume.
    let other = with(source(6, 1), |it| it.volume_id = crate::testing::vol(2));
    assert_eq!(n_copied(vec![source(5, 60), other], vec![copy(1, 24, 1)]), 2);
}

/// Plans and does until there is nothing to do. Nothing is copied twice.
fn settle(world: &mut Copying, made: &mut BTreeMap<(SnapshotId, Region), usize>) {
    for _ in 0..9 {
        let plan = world.good_plan();
        if plan.actions.is_empty() {
            return;
        }
        for copied in apply(world, &plan) {
            *made.entry(copied).or_default() += 1;
        }
    }
    panic!("there is always something to do: {:?}", actions(&world.good_plan()));
}

fn rule() -> impl Strategy<Value = Value> {
    let keep = (0_u32..3, 0_u32..3, 1_u32..3).prop_map(
        |(hourly, daily, weekly)| json!({"Keep": {"Hourly": hourly, "Daily": daily, "Weekly": weekly}}),
    );
    let count = (1_u32..5).prop_map(|n| json!({"Count": n}));
    let both = (1_u32..4, 1_u32..6)
        .prop_map(|(n, days)| json!({"Count": n, "Interval": days, "IntervalUnit": "DAYS"}));
    let age = (1_u32..6).prop_map(|days| json!({"Interval": days, "IntervalUnit": "DAYS"}));
    (prop_oneof![keep, count, both, age], 1_u32..3).prop_map(|(mut rule, minimum)| {
        rule["MinimumCount"] = json!(minimum);
        rule
    })
}

/// Day by day there is one source more, and the older ones go after some days.
fn live(mut world: Copying, days: u32, shared_for: i64, of: fn(u32) -> Snapshot) {
    let mut made = BTreeMap::new();
    let mut sources: Vec<Snapshot> = Vec::new();
    for n in 1..=days {
        world.now = now() + SignedDuration::from_hours(24 * i64::from(n));
        sources.push(Snapshot { start_time: world.now - SignedDuration::from_hours(1), ..of(n) });
        let oldest = world.now - SignedDuration::from_hours(24 * shared_for);
        sources.retain(|it| it.start_time > oldest);
        world.inventory.sources.insert(id(HOME), sources.clone());
        settle(&mut world, &mut made);
    }
    assert!(made.values().all(|n| *n == 1), "{made:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_copied_again_and_again(rule in rule(), days in 1_u32..12, shared_for in 1_i64..12) {
        live(by(&rule, vec![], vec![]), days, shared_for, |n| source(n, 0));
    }

    #[test]
    fn nor_within_an_account(a in rule(), b in rule(), days in 1_u32..12, shared_for in 1_i64..12) {
        let copying = |name: &str, rule: &Value| {
            let rule = json!({"Target": AWAY, "Encrypted": false, "RetainRule": rule});
            schedule(name, &json!({"CrossRegionCopyRules": [rule]}))
        };
        let world = Copying::within(&[copying("a", &a), copying("b", &b)], vec![]);
        live(world, days, shared_for, |n| own(n, ["a", "b", "a,b"][n as usize % 3], 0));
    }
}

#[test]
fn copies_that_do_not_tell_when_their_source_began_count_once() {
    let start = |n: u32| i64::from(10 * n);
    let sources = (1..=4).map(|n| source(n, start(n))).collect();
    // The three newest are copied, an hour later, by a version that did not record it; the rule keeps four.
    let old =
        |n: u32| with(copy(n, start(n) - 1, 1), |it| drop(it.tags.remove(tags::SOURCE_START_TIME)));
    let plan = by(&json!({"Count": 4}), sources, (1..=3).map(old).collect()).good_plan();
    assert_eq!(copied(&plan).len(), 1, "{:?}", plan.held);
}

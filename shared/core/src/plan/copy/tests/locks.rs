//! Copies under a snapshot lock.

use serde_json::json;

use crate::inventory::{Guards, State};
use crate::tags;
use crate::testing::{AWAY, Copying, HOME, actions, copy_of, deleted, id, snap};

/// What is locked of a copy of an hour ago and one of 50 hours ago, which has expired.
fn locked(change: fn(&mut Copying)) -> Vec<String> {
    let mut world = Copying::new(vec![], vec![copy_of(1, 1, 1), copy_of(2, 2, 50)]);
    let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["LockRule"] =
        json!({"Mode": "COMPLIANCE", "DurationDays": 9, "CoolOffPeriodHours": 2});
    change(&mut world);
    let lines = actions(&world.good_plan()).into_iter();
    lines.filter(|it| it.starts_with("LockSnapshot")).collect()
}

fn line(n: u32, until: &str) -> String {
    format!(
        "LockSnapshot {} Compliance until {until}: LockRule wants it locked until {until}",
        snap(n)
    )
}

#[test]
fn copies_are_locked_from_their_own_start() {
    let first = || vec![line(1, "2026-12-01T01:05:00Z")];
    assert_eq!(locked(|_| {}), first(), "the other one leaves");
    let pending = |it: &mut Copying| it.target().copies[0].state = State::Pending;
    assert_eq!(locked(pending), [line(1, "2026-12-01T01:05:00Z"), line(2, "2026-11-29T00:05:00Z")]);
    let twice = |it: &mut Copying| {
        it.target().guards = Ok(Guards { locked: [snap(1)].into(), ..Guards::default() });
    };
    assert_eq!(locked(twice), [""; 0]);
    for change in [
        (|it| it.target().copies[0].state = State::Error) as fn(&mut Copying),
        |it| it.documents[0]["State"] = json!("DISABLED"),
        |it| it.documents[0]["Name"] = json!("q"),
        |it| {
            it.target().copies[0].tags.insert(tags::RULE.into(), AWAY.into());
        },
        |it| {
            it.target().copies[0].tags.insert(tags::SCHEDULE.into(), "s".into());
        },
    ] {
        assert!(!locked(change).contains(&first()[0]));
    }
    // An event's run locks too.
    assert_eq!(locked(|it| it.inventory.whole = false).len(), 2);
}

#[test]
fn a_locked_copy_does_not_leave_and_what_cannot_be_told_waits() {
    let mut world = Copying::new(vec![], vec![copy_of(1, 1, 1), copy_of(2, 2, 50)]);
    let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": 9});
    world.target().guards = Ok(Guards { locked: [snap(2)].into(), ..Guards::default() });
    assert_eq!(deleted(&world.good_plan()), [].into());
    world.target().guards = Err("denied".into());
    let plan = world.good_plan();
    assert_eq!(plan.actions, []);
    let waits: Vec<_> = plan.deferred.iter().map(|it| it.waits_for.as_str()).collect();
    assert_eq!(waits, ["cannot tell whether it is locked already: denied"; 2]);
    assert_eq!(plan.deferred[0].planned.scope.region, id(HOME));
}

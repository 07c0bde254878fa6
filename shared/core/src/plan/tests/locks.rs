//! Snapshot lock.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::nightly;
use crate::action::Action;
use crate::inventory::{Guards, State};
use crate::policy::LockMode;
use crate::tags;
use crate::testing::{Rotation, actions, deleted, held, map, now, own, schedule, snap, vol};

fn lock(mode: &str, days: u32) -> Value {
    json!({"LockRule": {"Mode": mode, "DurationDays": days}, "RetainRule": {"Count": 9}})
}

/// What is done with nights 0 and 3.
fn done(rule: &Value, change: fn(&mut Rotation)) -> Vec<String> {
    let mut world = Rotation::new(&nightly(rule), vec![own(1, "s", 0), own(2, "s", 3)]);
    change(&mut world);
    actions(&world.good_plan())
}

fn locked(n: u32, mode: &str, until: &str) -> String {
    format!("LockSnapshot {} {mode} until {until}: LockRule wants it locked until {until}", snap(n))
}

#[test]
fn every_good_or_pending_snapshot_is_locked_from_its_start() {
    let week = lock("GOVERNANCE", 7);
    let both = [
        locked(1, "Governance", "2026-11-29T02:05:00Z"),
        locked(2, "Governance", "2026-11-26T02:05:00Z"),
    ];
    assert_eq!(done(&week, |_| {}), both);
    let pending = |it: &mut Rotation| it.inventory.snapshots[0].state = State::Pending;
    assert_eq!(done(&week, pending), both);
    let lines = |change| done(&lock("GOVERNANCE", 7), change);
    assert_eq!(lines(|it| it.inventory.snapshots[0].state = State::Other), both[1..]);
    assert_eq!(lines(|it| it.inventory.volumes.clear()), both);
    let twice = |it: &mut Rotation| {
        it.inventory.guards = Ok(Guards { locked: [snap(1)].into(), ..Guards::default() });
    };
    assert_eq!(lines(twice), both[1..], "and what a person unlocked is locked again");
    let left = |it: &mut Rotation| {
        it.inventory.volumes.get_mut(&vol(1)).unwrap().tags = map(&[("Backup", "no")]);
    };
    assert_eq!(lines(left), [""; 0]);
    assert_eq!(lines(|it| it.documents[0]["State"] = json!("DISABLED")), [""; 0]);
    let others = |it: &mut Rotation| {
        it.inventory.snapshots[0].tags.insert(tags::POLICY.into(), "q".into());
    };
    assert_eq!(lines(others)[1..], both[1..], "the first is a creation");
}

#[test]
fn one_that_failed_is_not_locked() {
    let lines = done(&lock("GOVERNANCE", 7), |it| it.inventory.snapshots[1].state = State::Error);
    assert_eq!(lines[0], locked(1, "Governance", "2026-11-29T02:05:00Z"));
    assert_eq!(
        lines[1..],
        [format!("DeleteSnapshot {}: ended in error: no reason given", snap(2))]
    );
}

#[test]
fn a_lock_is_for_a_day_at_the_least_and_never_begins_after_its_end() {
    // Of night 3 a lock of 4 days has a day left, exactly; EC2 wants a day from when it hears of it.
    let second = locked(2, "Governance", "2026-11-23T02:15:00Z");
    assert_eq!(done(&lock("GOVERNANCE", 4), |_| {})[1..], [second]);
    let an_hour_late = |it: &mut Rotation| it.now += SignedDuration::from_hours(1);
    let second = locked(2, "Governance", "2026-11-23T03:15:00Z");
    assert_eq!(done(&lock("GOVERNANCE", 4), an_hour_late)[1..], [second]);
    let first = locked(1, "Governance", "2026-11-23T02:15:00Z");
    assert_eq!(done(&lock("GOVERNANCE", 1), |_| {}), [first]);
    assert_eq!(done(&lock("GOVERNANCE", 3), |_| {}).len(), 1, "it was over for night 3");
    let a_day_late = |it: &mut Rotation| it.now += SignedDuration::from_hours(24);
    assert_eq!(done(&lock("GOVERNANCE", 1), a_day_late), [""; 0], "not again and again");
}

#[test]
fn of_several_rules_the_strictest_counts() {
    let strict = |mode: &str, days: u32, hours: Option<u32>| {
        let mut rule = lock(mode, days);
        if let Some(hours) = hours {
            rule["LockRule"]["CoolOffPeriodHours"] = json!(hours);
        }
        rule
    };
    for (a, b, mode, days, hours) in [
        (
            strict("GOVERNANCE", 9, None),
            strict("GOVERNANCE", 5, None),
            LockMode::Governance,
            9,
            None,
        ),
        (
            strict("GOVERNANCE", 9, None),
            strict("COMPLIANCE", 5, Some(3)),
            LockMode::Compliance,
            5,
            Some(3),
        ),
        (
            strict("COMPLIANCE", 5, Some(3)),
            strict("COMPLIANCE", 6, None),
            LockMode::Compliance,
            6,
            None,
        ),
        (
            json!({"RetainRule": {"Count": 9}}),
            strict("GOVERNANCE", 2, None),
            LockMode::Governance,
            2,
            None,
        ),
    ] {
        let schedules = [schedule("a", &a), schedule("b", &b)];
        let plan = Rotation::new(&schedules, vec![own(1, "a,b", 0)]).good_plan();
        let [Action::LockSnapshot(request)] = [&plan.actions[0].action] else {
            panic!("{:?}", actions(&plan));
        };
        let until = now() + SignedDuration::from_hours(24 * days);
        assert_eq!((request.mode, request.until), (mode, until));
        assert_eq!(request.cool_off_period_hours, hours);
    }
}

#[test]
fn what_leaves_is_not_locked_and_what_is_locked_does_not_leave() {
    let mut rule = lock("GOVERNANCE", 30);
    rule["RetainRule"] = json!({"Count": 1});
    let mut world = Rotation::new(&nightly(&rule), vec![own(1, "s", 0), own(2, "s", 3)]);
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(2)].into());
    assert_eq!(plan.actions.len(), 2);
    let locked = [snap(1), snap(2)].into();
    world.inventory.guards = Ok(Guards { locked, ..Guards::default() });
    let plan = world.good_plan();
    assert_eq!((plan.actions.len(), held(&plan)), (0, vec![format!("{}: locked", snap(2))]));
}

#[test]
fn what_cannot_be_told_from_locked_waits() {
    let mut world = Rotation::new(&nightly(&lock("GOVERNANCE", 7)), vec![own(1, "s", 0)]);
    world.inventory.guards = Err("denied".into());
    let plan = world.good_plan();
    assert_eq!(plan.actions, []);
    let waits_for: Vec<_> = plan.deferred.iter().map(|it| it.waits_for.as_str()).collect();
    assert_eq!(waits_for, ["cannot tell whether it is locked already: denied"]);
    assert_eq!(plan.deferred[0].planned.subject.snapshot, Some(snap(1)));
}

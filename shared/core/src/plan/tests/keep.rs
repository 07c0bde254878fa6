//! Grandfather, father, son among other rules.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{nightly, retain, stay, with};
use crate::tags;
use crate::testing::{Rotation, actions, deleted, hours_ago, kept, own, snap};

#[test]
fn keep_beside_count_and_age_keeps_what_either_keeps() {
    for (rule, wanted) in [
        // Nights 1 to 8 are those of Saturday 21 back to Saturday 14 November; the week before ends with night 7.
        (json!({"Keep": {"Daily": 2}}), &[1, 2][..]),
        (json!({"Keep": {"Weekly": 1}}), &[1]),
        (json!({"Keep": {"Weekly": 2}}), &[1, 7]),
        (json!({"Keep": {"Weekly": 9}}), &[1, 7]),
        (json!({"Keep": {"Monthly": 2, "Yearly": 1}}), &[1]),
        (json!({"Keep": {"Daily": 2, "Weekly": 2}}), &[1, 2, 7]),
        (json!({"Count": 3, "Keep": {"Weekly": 2}}), &[1, 2, 3, 7]),
        (json!({"Interval": 3, "IntervalUnit": "DAYS", "Keep": {"Weekly": 2}}), &[1, 2, 7]),
        (json!({"Keep": {"Weekly": 1}, "MinimumCount": 3}), &[1, 2, 3]),
    ] {
        assert_eq!(stay(&rule), wanted, "{rule}");
    }
}

fn by_hour(zone: &str, keep: &Value) -> Value {
    json!({"CreateRule": {"Interval": 1, "IntervalUnit": "HOURS", "TimeZone": zone},
           "RetainRule": {"Keep": keep}})
}

/// A snapshot for the slot so many hours ago, made so many minutes after it.
fn hourly(n: u32, hours: i64, late: i64) -> crate::inventory::Snapshot {
    let slot = hours_ago(hours) - SignedDuration::from_mins(5);
    with(own(n, "s", 0), |it| {
        it.start_time = slot + SignedDuration::from_mins(late);
        it.tags.insert(tags::SLOT.into(), slot.to_string());
    })
}

#[test]
fn periods_are_those_of_the_schedules_time_zone() {
    // It is 02:05 UTC. In Kathmandu the day began 7 hours and 50 minutes ago, in New York 21 hours ago.
    for (zone, wanted) in
        [("UTC", &[0, 3][..]), ("Asia/Kathmandu", &[0, 8]), ("America/New_York", &[0, 22])]
    {
        let snapshots = (0..24).map(|n| hourly(n, n.into(), 5)).collect();
        let schedules = nightly(&by_hour(zone, &json!({"Daily": 2})));
        let gone = deleted(&Rotation::new(&schedules, snapshots).good_plan());
        let stays: Vec<u32> = (0..24).filter(|n| !gone.contains(&snap(*n))).collect();
        assert_eq!(stays, wanted, "{zone}");
    }
}

#[test]
fn a_late_snapshot_counts_for_its_own_day() {
    // Slots of 01:00 today and 23:00 yesterday; the latter's was made after midnight, and even after the former's.
    for late in [5, 70, 175] {
        let snapshots = vec![hourly(1, 1, 5), hourly(2, 3, late), hourly(3, 4, 5)];
        let schedules = nightly(&by_hour("UTC", &json!({"Daily": 2})));
        let plan = Rotation::new(&schedules, snapshots).good_plan();
        assert_eq!(deleted(&plan), [snap(3)].into(), "{late}");
        let day = format!("{}: s: newest of 2026-11-21, Daily number 2 of 2", snap(2));
        assert!(kept(&plan).contains(&day), "{:?}", kept(&plan));
    }
}

#[test]
fn a_slot_made_up_for_late_does_not_pass_for_newer() {
    // The slot before last was served last: by slot it is the oldest day, whatever its start.
    let snapshots =
        vec![hourly(1, 2, 0), hourly(2, 50, 49 * 60), hourly(3, 26, 0), hourly(4, 74, 0)];
    let schedules = nightly(&by_hour("UTC", &json!({"Daily": 2})));
    let world = Rotation::new(&schedules, snapshots);
    assert!(world.inventory.snapshots[1].start_time > world.inventory.snapshots[2].start_time);
    assert!(world.inventory.snapshots[1].start_time > hours_ago(2));
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(4)].into(), "the newest of the volume stays by itself");
    let mut world = world;
    world.inventory.snapshots.push(hourly(5, 1, 20));
    assert_eq!(deleted(&world.good_plan()), [snap(1), snap(2), snap(4)].into());
}

#[test]
fn the_reason_says_that_no_period_wants_it() {
    let snapshots = vec![own(1, "s", 1), own(2, "s", 2)];
    let rule = json!({"Count": 1, "Keep": {"Daily": 1}});
    let plan = Rotation::new(&retain(&rule), snapshots).good_plan();
    let wanted = format!(
        "DeleteSnapshot {}: number 2 by age, of which the newest 1 stay; not the newest of any period that Keep wants",
        snap(2)
    );
    assert_eq!(actions(&plan).pop(), Some(wanted));
    let first = format!(
        "{}: s: number 1 of the newest 1; s: newest of 2026-11-21, Daily number 1 of 1",
        snap(1)
    );
    assert_eq!(kept(&plan), [first]);
}

//! `LockRule`, in all of its places.

use serde_json::{Value, json};

use super::{copies, copy_policy, monthly, snapshot_policy, snapshots, with, wrong};
use crate::policy::{LockMode, LockRule};

type Place = (fn() -> Value, &'static str);

const PLACES: [Place; 3] = [
    (snapshots, "/PolicyDetails/Schedules/0/LockRule"),
    (monthly, "/PolicyDetails/Schedules/0/CrossRegionCopyRules/0/LockRule"),
    (copies, "/PolicyDetails/Actions/0/CrossRegionCopy/0/LockRule"),
];

#[test]
fn locks_say_what_they_say() {
    let policy = snapshot_policy(&monthly());
    let governance =
        LockRule { mode: LockMode::Governance, duration_days: 30, cool_off_period_hours: None };
    assert_eq!(policy.schedules[0].lock, Some(governance));
    let compliance = LockRule {
        mode: LockMode::Compliance,
        duration_days: 300,
        cool_off_period_hours: Some(24),
    };
    assert_eq!(policy.copies[0].lock, Some(compliance));

    let [.., (_, place)] = PLACES;
    let lock = json!({ "Mode": "governance", "DurationDays": "36500" });
    let copy = &copy_policy(&with(copies(), place, lock)).rules[0];
    assert_eq!(copy.lock, Some(LockRule { duration_days: 36_500, ..governance }));
    assert_eq!(copy_policy(&with(copies(), place, json!({ "Mode": "" }))).rules[0].lock, None);
}

#[test]
fn every_rule_of_a_lock() {
    let cases = [
        (json!({ "Mode": "COMPLIANCE", "DurationDays": 1 }), ""),
        (json!({ "Mode": "compliance", "DurationDays": 1, "CoolOffPeriodHours": 72 }), ""),
        (json!({ "Mode": "GOVERNANCE", "DurationDays": 1, "CoolOffPeriodHours": 0 }), ""),
        (
            json!({ "Mode": "LEGAL", "DurationDays": 36_501 }),
            "/Mode: want GOVERNANCE or COMPLIANCE, found \"LEGAL\"; \
             /DurationDays: want 1 to 36500, found 36501",
        ),
        (
            json!({ "CoolOffPeriodHours": 73 }),
            "/Mode: want GOVERNANCE or COMPLIANCE, found nothing; \
             /DurationDays: want 1 to 36500, found nothing; \
             /CoolOffPeriodHours: want 1 to 72, found 73",
        ),
        (
            json!({ "Mode": "GOVERNANCE", "DurationDays": 1, "CoolOffPeriodHours": 5 }),
            "/CoolOffPeriodHours: has its place beside Mode COMPLIANCE only: a lock in governance \
             mode can be ended at any time",
        ),
        (
            json!({ "Mode": "GOVERNANCE", "DurationDays": 1, "ExpirationDate": "2030-01-01" }),
            "/ExpirationDate: unknown member",
        ),
    ];
    for (document, place) in PLACES {
        for (lock, expected) in &cases {
            let found = wrong(&with(document(), place, lock.clone()));
            assert_eq!(&found.replace(place, ""), expected, "{place} = {lock}");
        }
    }
}

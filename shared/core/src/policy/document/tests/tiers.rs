//! `FastRestoreRule` and `ArchiveRule`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rules::check;
use super::{fixture, monthly, snapshot_policy, snapshots, with, wrong};
use crate::policy::{Age, ArchiveRule, FastRestoreRule, IntervalUnit, Zones};

/// A schedule that does nothing but archive.
fn archive() -> Value {
    fixture("06-ebs-guide-ex6-archive-count-zero-retain.json")
}

#[test]
fn an_archive_rule_says_what_it_says() {
    let schedule = snapshot_policy(&archive()).schedules.remove(0);
    assert!(schedule.retain.is_unlimited());
    assert_eq!(schedule.archive, Some(ArchiveRule { count: 3.try_into().ok(), age: None }));

    let document = fixture("05-ebs-guide-ex5-archive-age.json");
    let schedule = snapshot_policy(&document).schedules.remove(0);
    let days =
        |interval: u32| Age { interval: interval.try_into().unwrap(), unit: IntervalUnit::Days };
    assert_eq!((schedule.retain.count, schedule.retain.age), (None, Some(days(1))));
    assert_eq!(schedule.archive, Some(ArchiveRule { count: None, age: Some(days(90)) }));

    for rule in
        [json!(null), json!({ "Interval": 0, "IntervalUnit": "DAYS" }), json!({ "Interval": 0 })]
    {
        let document = with(archive(), "/Schedules/0/RetainRule", rule.clone());
        assert!(snapshot_policy(&document).schedules[0].retain.is_unlimited(), "{rule}");
    }
    let document = with(archive(), "/Schedules/0/RetainRule", json!({ "Keep": { "Monthly": 3 } }));
    assert!(snapshot_policy(&document).schedules[0].retain.keep.is_some());
}

#[test]
fn every_rule_of_an_archive() {
    let tier = |rule: Value| json!({ "RetainRule": { "RetentionArchiveTier": rule } });
    let create = "/CreateRule: want a CronExpression whose times are 28 days or more apart, beside \
                  ArchiveRule (DLM), found ";
    let weekly = format!("{create}{{\"CronExpression\":\"cron(0 9 ? * FRI *)\"}}");
    let daily = format!("{create}{{\"Interval\":24,\"IntervalUnit\":\"HOURS\"}}");
    let none = format!("{create}null");
    check(
        archive,
        "/Schedules/0",
        vec![
            (
                "/ArchiveRule",
                json!({"RetainRule": {"Count": 1}}),
                "/ArchiveRule/RetainRule/RetentionArchiveTier: want Count, or Interval and \
                 IntervalUnit, found nothing; \
                 /ArchiveRule/RetainRule/Count: unknown member",
            ),
            (
                "/ArchiveRule",
                json!({"RetentionArchiveTier": {"Count": 1}}),
                "/ArchiveRule/RetainRule: want RetentionArchiveTier with Count, or Interval and \
                 IntervalUnit, found nothing; \
                 /ArchiveRule/RetentionArchiveTier: unknown member",
            ),
            (
                "/ArchiveRule",
                tier(json!({"Count": 1, "Interval": 90, "IntervalUnit": "DAYS"})),
                "/ArchiveRule/RetainRule/RetentionArchiveTier: want Count or Interval, found both",
            ),
            (
                "/ArchiveRule",
                tier(json!({"Count": 1001})),
                "/ArchiveRule/RetainRule/RetentionArchiveTier/Count: want 1 to 1000, found 1001",
            ),
            (
                "/ArchiveRule",
                tier(json!({"Interval": 89, "IntervalUnit": "DAYS"})),
                "/ArchiveRule/RetainRule/RetentionArchiveTier/Interval: want 90 days or more, as \
                 the archive tier charges them, found 89",
            ),
            (
                "/ArchiveRule",
                tier(json!({"Interval": 12, "IntervalUnit": "WEEKS"})),
                "/ArchiveRule/RetainRule/RetentionArchiveTier/Interval: want 90 days or more, as \
                 the archive tier charges them, found 12",
            ),
            ("/ArchiveRule", tier(json!({"Interval": 13, "IntervalUnit": "WEEKS"})), ""),
            ("/ArchiveRule", tier(json!({"Interval": 3, "IntervalUnit": "MONTHS"})), ""),
            ("/ArchiveRule", tier(json!({"Interval": 1, "IntervalUnit": "YEARS"})), ""),
            ("/CreateRule", json!(null), &none),
            ("/CreateRule", json!({"Interval": 24, "IntervalUnit": "HOURS"}), &daily),
            ("/CreateRule", json!({"CronExpression": "cron(0 9 ? * FRI *)"}), &weekly),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(0 9 ? * FRI#1 *)"}),
                "/ArchiveRule: want a Count of 4 or more where the day of the week has a # (DLM), \
                 found {\"RetainRule\":{\"RetentionArchiveTier\":{\"Count\":3}}}",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(30 2 L * ? *)", "TimeZone": "Europe/Berlin"}),
                "",
            ),
            (
                "/RetainRule",
                json!({"MinimumCount": 2}),
                "/RetainRule: want Count, Interval and IntervalUnit, or Keep, found \
                 {\"MinimumCount\":2}",
            ),
            (
                "/ShareRules",
                json!([{"TargetAccounts": ["222222222222"]}]),
                "/ShareRules: want a RetainRule with a Count of 1 or more, or an Interval, beside it \
                 (DLM): the snapshots are archived at once",
            ),
            (
                "/FastRestoreRule",
                json!({"Count": 1, "AvailabilityZones": ["us-east-1a"]}),
                "/FastRestoreRule: want a RetainRule with a Count of 1 or more, or an Interval, \
                 beside it (DLM): the snapshots are archived at once",
            ),
            (
                "/CrossRegionCopyRules",
                json!([{"Target": "us-east-1", "Encrypted": false}]),
                "/CrossRegionCopyRules: want a RetainRule with a Count of 1 or more, or an Interval, \
                 beside it (DLM): the snapshots are archived at once",
            ),
        ],
    );
    let fourth = with(archive(), "/Schedules/0/ArchiveRule", tier(json!({ "Count": 4 })));
    let cron = json!({ "CronExpression": "cron(0 9 ? * FRI#1 *)" });
    assert_eq!(wrong(&with(fourth, "/Schedules/0/CreateRule", cron)), "");
    let two = with(archive(), "/Schedules/1", json!({ "RetainRule": { "Count": 1 } }));
    assert_eq!(
        wrong(&two),
        "/Schedules/0/ArchiveRule: has its place in a policy with one schedule (DLM) only"
    );
}

#[test]
fn a_fast_restore_rule_says_what_it_says() {
    let zones = Zones::Names(BTreeSet::from(["eu-central-1a".to_owned()]));
    let rule = snapshot_policy(&monthly()).schedules.remove(0).fast_restore;
    assert_eq!(rule, Some(FastRestoreRule { count: 2.try_into().ok(), age: None, zones }));
    let by_age = json!({
        "Interval": 3, "IntervalUnit": "DAYS", "AvailabilityZoneIds": ["euc1-az2", "euc1-az3"],
    });
    let document = with(monthly(), "/PolicyDetails/Schedules/0/FastRestoreRule", by_age);
    let rule = snapshot_policy(&document).schedules.remove(0).fast_restore.unwrap();
    assert_eq!((rule.count, rule.age.map(|age| age.interval.get())), (None, Some(3)));
    let zones = BTreeSet::from(["euc1-az2".to_owned(), "euc1-az3".to_owned()]);
    assert_eq!(rule.zones, Zones::Ids(zones));
}

#[test]
fn every_rule_of_fast_restore() {
    let zones: Vec<_> = (0..11).map(|n| format!("eu-west-{n}a")).collect();
    check(
        snapshots,
        "/PolicyDetails/Schedules/0/FastRestoreRule",
        vec![
            ("", json!({"Count": 1000, "AvailabilityZones": "eu-west-1a"}), ""),
            ("", json!({"Count": "0", "AvailabilityZones": []}), ""),
            (
                "",
                json!({"Count": 1}),
                "/AvailabilityZones: want 1 to 10 zones, or AvailabilityZoneIds: EC2 makes a \
                 snapshot fast zone by zone, found nothing",
            ),
            (
                "",
                json!({"Count": 1, "AvailabilityZones": zones}),
                "/AvailabilityZones: want 1 to 10 zones (DLM), found 11",
            ),
            (
                "",
                json!({"Count": 1001, "AvailabilityZones": ["eu-west-1", "eu-west-1a"]}),
                "/Count: want 1 to 1000, found 1001; \
                 /AvailabilityZones/0: want a zone such as eu-central-1a, found \"eu-west-1\"",
            ),
            (
                "",
                json!({"Count": 1, "AvailabilityZoneIds": ["eu-west-1a"]}),
                "/AvailabilityZoneIds/0: want a zone such as euc1-az2, found \"eu-west-1a\"",
            ),
        ],
    );
    for (rule, expected) in [
        (
            json!({ "AvailabilityZones": ["eu-west-1a"] }),
            "want Count, or Interval and IntervalUnit, found {\"AvailabilityZones\":[\"eu-west-1a\"]}",
        ),
        (
            json!({ "Count": 1, "AvailabilityZones": ["eu-west-1a"], "AvailabilityZoneIds": ["euw1-az1"] }),
            "want AvailabilityZones or AvailabilityZoneIds, found both",
        ),
        (
            json!({ "Count": 1, "Interval": 1, "IntervalUnit": "DAYS", "AvailabilityZones": ["eu-west-1a"] }),
            "want Count or Interval, found both",
        ),
    ] {
        let place = "/PolicyDetails/Schedules/0/FastRestoreRule";
        assert_eq!(wrong(&with(snapshots(), place, rule)), format!("{place}: {expected}"));
    }
}

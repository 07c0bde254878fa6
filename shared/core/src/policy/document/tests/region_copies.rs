//! `CrossRegionCopyRules`.

use serde_json::{Value, json};

use super::rules::{check, tags};
use super::{fixture, monthly, snapshot_policy, snapshots, with, wrong};
use crate::policy::{Age, IntervalUnit, RetainRule};

const KEY: &str = "arn:aws:kms:eu-west-2:222222222222:key/8af79514";

#[test]
fn copies_in_the_account_say_what_they_say() {
    let rule = json!({
        "TargetRegion": "eu-west-2",
        "Encrypted": true,
        "CmkArn": KEY,
        "CopyTags": true,
        "RetainRule": { "Interval": 1, "IntervalUnit": "MONTHS" },
        "MinimumCount": 3,
        "TagsToAdd": [{ "Key": "copy", "Value": "yes" }],
        "CompletionDurationMinutes": 60,
    });
    let document = with(snapshots(), "/PolicyDetails/Schedules/1/CrossRegionCopyRules", rule);
    let [copy] = snapshot_policy(&document).copies.try_into().unwrap();
    assert_eq!((copy.name.as_str(), copy.schedule.as_deref()), ("eu-west-2", Some("schedule-2")));
    assert_eq!((copy.target.as_str(), copy.encrypted), ("eu-west-2", true));
    assert_eq!(copy.cmk_arn.unwrap().as_str(), KEY);
    let month = Age { interval: 1.try_into().unwrap(), unit: IntervalUnit::Months };
    let retain = RetainRule { count: None, age: Some(month), keep: None, minimum_count: 3 };
    assert_eq!((copy.copy_tags, copy.retain), (true, Some(retain)));
    assert_eq!(
        (copy.tags_to_add["copy"].as_str(), copy.completion_duration_minutes),
        ("yes", Some(60))
    );

    // Published without RetainRule: such copies stay for ever.
    let [copy] = snapshot_policy(&fixture("22-cfn-guide-basic-cross-region.json"))
        .copies
        .try_into()
        .unwrap();
    assert_eq!((copy.retain, copy.encrypted, copy.copy_tags), (None, false, false));
    assert_eq!(copy.schedule.as_deref(), Some("Daily Snapshots"));
}

/// Schedules that coincide make one copy where they want the same one.
#[test]
fn copies_are_named_by_region_and_key() {
    let rules = |rules: &[(&str, Value)]| -> Value {
        rules
            .iter()
            .map(|(target, encrypted)| match encrypted {
                Value::String(key) => json!({ "Target": target, "Encrypted": true, "CmkArn": key }),
                other => json!({ "Target": target, "Encrypted": other }),
            })
            .collect()
    };
    let first = rules(&[
        ("eu-west-2", json!(KEY)),
        ("us-east-1", json!(false)),
        ("eu-west-1", json!(true)),
    ]);
    let second = rules(&[
        ("eu-west-2", json!(true)),
        ("us-east-1", json!(false)),
        ("eu-west-2", json!(KEY)),
    ]);
    let document = with(snapshots(), "/PolicyDetails/Schedules/0/CrossRegionCopyRules", first);
    let document = with(document, "/PolicyDetails/Schedules/1/CrossRegionCopyRules", second);
    let copies = snapshot_policy(&document).copies;
    let names: Vec<_> =
        copies.iter().map(|copy| (copy.schedule.as_deref().unwrap(), copy.name.as_str())).collect();
    assert_eq!(
        names,
        [
            ("nightly", "eu-west-2/1"),
            ("nightly", "us-east-1"),
            ("nightly", "eu-west-1"),
            ("schedule-2", "eu-west-2/2"),
            ("schedule-2", "us-east-1"),
            ("schedule-2", "eu-west-2/1"),
        ]
    );
}

#[test]
fn every_rule_of_a_copy_in_the_account() {
    let many: Vec<_> =
        (1..=51).map(|n| json!({ "Target": format!("eu-a{}-1", "b".repeat(n % 15)) })).collect();
    let place = "/PolicyDetails/Schedules/0/CrossRegionCopyRules";
    let found = wrong(&with(snapshots(), place, json!(many)));
    assert!(found.starts_with(&format!("{place}: want 1 to 50 copies, found 51; ")), "{found}");
    check(
        monthly,
        "/PolicyDetails/Schedules/0/CrossRegionCopyRules",
        vec![
            (
                "/1",
                json!({"TargetRegion": "eu-west-2", "Encrypted": true, "CmkArn": KEY}),
                "/1: want each Region once under the same key, found eu-west-2 as in \
                 /PolicyDetails/Schedules/0/CrossRegionCopyRules/0",
            ),
            ("/1", json!({"TargetRegion": "eu-west-2", "Encrypted": true}), ""),
            ("/1", json!({"TargetRegion": "eu-west-2"}), ""),
            ("/0/Target", json!(null), "/0/Target: want a Region such as eu-central-1, found null"),
            (
                "/0/TargetRegion",
                json!("eu-west-2"),
                "/0/TargetRegion: want Target or TargetRegion, found both",
            ),
            (
                "/0/Target",
                json!("eu-west-1"),
                "/0/CmkArn: want a key in eu-west-1: EC2 takes the target Region's keys only, found \
                 \"arn:aws:kms:eu-west-2:222222222222:key/8af79514\"",
            ),
            (
                "/0/Encrypted",
                json!(false),
                "/0/Encrypted: want true beside CmkArn: EC2 takes a key only for an encrypted copy, \
                 found false",
            ),
            (
                "/0/CmkArn",
                json!("alias/vault"),
                "/0/CmkArn: want a key ARN such as \
                 arn:aws:kms:eu-central-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7, \
                 found \"alias/vault\"",
            ),
            ("/0/CopyTags", json!(1), "/0/CopyTags: want true or false, found 1"),
            (
                "/0/DeprecateRule",
                json!({"Interval": 1, "IntervalUnit": "DAYS"}),
                "/0/DeprecateRule: DeprecateRule is not supported by this version of snapferry: it \
                 deprecates AMIs",
            ),
            ("/0/RetainRule", json!({"Count": 5}), ""),
            (
                "/0/RetainRule/Interval",
                json!(101),
                "/0/RetainRule/Interval: want 1 to 100 YEARS (DLM: 100 years at most), found 101",
            ),
            (
                "/0/RetainRule",
                json!({"MinimumCount": 2}),
                "/0/RetainRule: want Count, Interval and IntervalUnit, or Keep beside MinimumCount, \
                 found {\"MinimumCount\":2}",
            ),
            (
                "/0/TagsToAdd",
                json!(tags(41)),
                "/0/TagsToAdd: want 1 to 40 tags (EC2 takes 50 and 10 are snapferry's own), found 41",
            ),
            (
                "/0/CompletionDurationMinutes",
                json!(20),
                "/0/CompletionDurationMinutes: want 15 to 2880 in steps of 15, found 20",
            ),
            ("/0/EncryptionConfiguration", json!({}), "/0/EncryptionConfiguration: unknown member"),
        ],
    );
}

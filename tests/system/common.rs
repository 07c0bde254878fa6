//! Policies and looks that several tests share.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Answer;
use snapferry_tests::local_aws::{LocalAws, Snapshot};
use snapferry_tests::stage::{HOME, MEMBERS, VAULT, targets};

/// A nightly policy over the tag `Backup=daily`, in these Regions of both members.
pub(crate) fn nightly(regions: &[&str], retain: &Value) -> Value {
    json!({
        "Name": "daily",
        "Targets": targets(regions),
        "PolicyDetails": {
            "ResourceTypes": ["VOLUME"],
            "TargetTags": [{"Key": "Backup", "Value": "daily"}],
            "Schedules": [{
                "Name": "nightly",
                "CreateRule": {"CronExpression": "cron(0 2 * * ? *)"},
                "RetainRule": retain,
                "CopyTags": true,
                "TagsToAdd": [{"Key": "made-by", "Value": "nightly"}],
                "ShareRules": [{"TargetAccounts": [VAULT]}],
            }],
        },
    })
}

/// A vault policy that copies to these Regions under these keys, for seven days.
pub(crate) fn vault_policy(rules: &[(&str, &str)]) -> Value {
    let rules: Vec<Value> = rules
        .iter()
        .map(|(region, key)| {
            json!({
                "Target": region,
                "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key},
                "RetainRule": {"Interval": 7, "IntervalUnit": "DAYS"},
            })
        })
        .collect();
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot",
                "SnapshotOwner": MEMBERS,
                "DescriptionRegex": "Created for policy: daily ",
                "SourceRegions": [HOME],
            }},
            "Actions": [{"Name": "copy", "CrossRegionCopy": rules}],
        },
    })
}

/// The schedule event of a night, a quarter of an hour after the slot.
pub(crate) fn night(day: u8) -> Value {
    json!({"ScheduledTime": format!("2026-03-{day:02}T02:15:00Z")})
}

/// The slot of that night, as the tag has it.
pub(crate) fn slot(day: u8) -> String {
    format!("2026-03-{day:02}T02:00:00Z")
}

/// How many snapshots each (volume, slot) has.
pub(crate) fn per_volume_and_slot(snapshots: &[Snapshot]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for snapshot in snapshots.iter().filter(|it| !it.copied) {
        let key = (snapshot.volume.clone(), snapshot.tag("snapferry:slot").to_owned());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// A count of the report.
pub(crate) fn count(report: &Value, name: &str) -> u64 {
    report.pointer(&format!("/Counts/{name}")).and_then(Value::as_u64).unwrap_or(0)
}

/// How often each operation was called since the record was cleared.
pub(crate) fn calls(aws: &LocalAws) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for call in aws.calls()? {
        *counts.entry(call.action).or_default() += 1;
    }
    Ok(counts)
}

/// Asserts that the answer is this error, and answers its message.
#[track_caller]
pub(crate) fn failed(answer: &Answer, error_type: &str) -> String {
    let (found, message) = answer.error();
    assert_eq!(found, error_type, "{answer:?}");
    message.to_owned()
}

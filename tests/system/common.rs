//! Policies and looks that several tests share.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::{Answer, Lambda};
pub(crate) use snapferry_tests::local_aws::element;
use snapferry_tests::local_aws::{LocalAws, Place, Snapshot};
use snapferry_tests::stage::{EXTERNAL_ID, HOME, MEMBERS, Stage, VAULT, role_arn, targets};

/// The first member at home.
pub(crate) const MEMBER: Place<'static> = Place { account: MEMBERS[0], region: HOME };

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

/// Snapshots that the vault policy wants, one each of so many volumes that are made as [`LocalAws::volumes`] makes them,
/// shared with the vault already; no events.
pub(crate) fn shared(
    aws: &LocalAws,
    place: Place<'_>,
    count: usize,
    more: &Value,
) -> Result<Vec<Snapshot>> {
    let mut body = json!({
        "snapshots": 1,
        "description": format!("Created for policy: daily schedule: nightly slot: {}", slot(1)),
        "shared_with": [VAULT],
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    let volumes = aws.volumes(place, count, &body)?;
    let snapshots = aws.snapshots()?.into_iter();
    Ok(snapshots.filter(|it| volumes.contains(&it.volume)).collect())
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

/// A policy for the first member at home.
pub(crate) fn for_member(name: &str, details: &Value) -> Value {
    let target =
        json!({"RoleArn": role_arn(MEMBER.account), "ExternalId": EXTERNAL_ID, "Regions": [HOME]});
    json!({"Name": name, "Targets": [target], "PolicyDetails": details})
}

/// As [`for_member`], for volumes with the tag `Backup` of that name and one nightly schedule with these members.
pub(crate) fn of_volumes(name: &str, schedule: &Value) -> Value {
    let mut nightly = json!({
        "Name": "nightly",
        "CreateRule": {"CronExpression": "cron(0 2 * * ? *)", "StartWindowMinutes": 60},
    });
    if let (Some(nightly), Some(schedule)) = (nightly.as_object_mut(), schedule.as_object()) {
        nightly.extend(schedule.clone());
    }
    let tags = json!([{"Key": "Backup", "Value": name}]);
    for_member(name, &json!({"TargetTags": tags, "Schedules": [nightly]}))
}

/// An event at which no slot of [`of_volumes`] is due: whatever else there is to do is done.
pub(crate) fn noon() -> Value {
    json!({"ScheduledTime": "2026-03-01T12:00:00Z"})
}

/// One run for the event, after which everything that is under way has come to its end.
pub(crate) fn run(stage: &Stage, function: &Lambda, event: &Value) -> Result<Value> {
    let report = function.invoke(event)?.report()?;
    stage.aws.settle()?;
    Ok(report)
}

/// The report's lines of this operation.
pub(crate) fn lines<'a>(report: &'a Value, operation: &str) -> Vec<&'a Value> {
    let actions = report["Actions"].as_array().into_iter().flatten();
    actions.filter(|line| line["Action"] == operation).collect()
}

/// Why nothing is done about the volume, instance or snapshot.
pub(crate) fn held<'a>(report: &'a Value, id: &str) -> &'a str {
    let lines = report["Held"].as_array().into_iter().flatten();
    let names = ["VolumeId", "InstanceId", "SnapshotId"];
    let mut of_id = lines.filter(|line| names.iter().any(|name| line[name] == id));
    of_id.next().and_then(|line| line["Reason"].as_str()).unwrap_or_default()
}

/// Whether nothing was done but looking, since the record was cleared.
pub(crate) fn only_looked(aws: &LocalAws) -> Result<bool> {
    Ok(calls(aws)?.keys().all(|name| is_look(name)))
}

/// Whether the operation changes nothing.
pub(crate) fn is_look(operation: &str) -> bool {
    let looks = ["Describe", "Get", "List"].iter().any(|it| operation.starts_with(it));
    looks || operation == "AssumeRole"
}

/// An EC2 call by hand, as the root of the account.
pub(crate) fn ec2(aws: &LocalAws, place: Place<'_>, form: &[(&str, &str)]) -> Result<String> {
    let mut form = form.to_vec();
    form.push(("Version", "2016-11-15"));
    aws.query(place, "ec2", &form)
}

/// Shares a snapshot with the vault (`add`), or takes that back (`remove`).
pub(crate) fn share(aws: &LocalAws, place: Place<'_>, id: &str, operation: &str) -> Result<()> {
    let form = [
        ("Action", "ModifySnapshotAttribute"),
        ("SnapshotId", id),
        ("Attribute", "createVolumePermission"),
        ("OperationType", operation),
        ("UserId.1", VAULT),
    ];
    ec2(aws, place, &form).map(drop)
}

/// A call to KMS about a key, as the root of the account; `more`: further members.
pub(crate) fn kms(
    aws: &LocalAws,
    place: Place<'_>,
    operation: &str,
    key: &str,
    more: &Value,
) -> Result<()> {
    let mut body = json!({"KeyId": key});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    aws.json(place, "kms", &format!("TrentService.{operation}"), &body).map(drop)
}

/// Gives a key a policy with these statements, and the one that leaves its own account to IAM.
pub(crate) fn put_key_policy(
    aws: &LocalAws,
    place: Place<'_>,
    key: &str,
    statements: &[Value],
) -> Result<()> {
    let root = format!("arn:aws:iam::{}:root", place.account);
    let mut all = vec![json!({
        "Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*",
    })];
    all.extend_from_slice(statements);
    let policy = json!({"Version": "2012-10-17", "Statement": all}).to_string();
    kms(aws, place, "PutKeyPolicy", key, &json!({"PolicyName": "default", "Policy": policy}))
}

/// A further snapshot of a volume as [`shared`] makes them; answers its id.
pub(crate) fn shared_again(aws: &LocalAws, place: Place<'_>, volume: &str) -> Result<String> {
    let id = by_hand(aws, place, volume)?;
    let description = format!("Created for policy: daily schedule: nightly slot: {}", slot(2));
    aws.post("snapshot", &json!({"id": id, "state": "completed", "description": description}))?;
    share(aws, place, &id, "add")?;
    Ok(id)
}

/// Somebody's own snapshot; answers its id.
pub(crate) fn by_hand(aws: &LocalAws, place: Place<'_>, volume: &str) -> Result<String> {
    let xml = ec2(aws, place, &[("Action", "CreateSnapshot"), ("VolumeId", volume)])?;
    Ok(element(&xml, "snapshotId").to_owned())
}

/// Lets time pass for commands only: what they were for is still due.
pub(crate) fn age_commands(aws: &LocalAws, seconds: u32) -> Result<()> {
    aws.post("age", &json!({"seconds": seconds, "only": "commands"})).map(drop)
}

/// Lets time pass.
pub(crate) fn age(aws: &LocalAws, days: u32) -> Result<()> {
    aws.post("age", &json!({"days": days})).map(drop)
}

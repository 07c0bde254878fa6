//! `copy-shared-snapshots`: missing copies of plain and encrypted snapshots in two Regions, one copy in error, one to
//! expire.

use std::collections::BTreeMap;

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT};

use super::{Scene, Story, at_every_call, victim};
use crate::common::{MEMBER, ec2, element, share, slot, vault_policy};

const FUNCTION: &str = "copy-shared-snapshots";

/// In the end three snapshots have two copies each; what was to expire is gone.
fn story() -> Story {
    // The copy that is in error is told until it is replaced.
    let may_say = |message: &str| {
        message.contains("ended in error: Given key ID is not accessible")
            && !message.contains("no answer")
    };
    Story { function: FUNCTION, event: json!({}), scene, snapshots: 9, may_say }
}

fn scene(name: &str) -> Result<Scene> {
    let stage = Stage::new(name)?;
    let aws = &stage.aws;
    aws.post("config", &json!({"snapshot_seconds": 0, "copy_seconds": 0}))?;
    let of_member = stage.key(MEMBER)?;
    let keys = [
        stage.key(Place { account: VAULT, region: TARGETS[0] })?,
        stage.key(Place { account: VAULT, region: TARGETS[1] })?,
    ];
    let plain = aws.volumes(MEMBER, 1, &json!({}))?.remove(0);
    let encrypted = aws.volumes(MEMBER, 1, &json!({"kms_key": of_member}))?.remove(0);
    let fresh = aws.volumes(MEMBER, 1, &json!({}))?.remove(0);
    let gone = shared(&stage, &plain, 1)?;
    copied(&stage, &gone, (&plain, 1), &keys[0])?;
    aws.post("age", &json!({"days": 10}))?;
    ec2(aws, MEMBER, &[("Action", "DeleteSnapshot"), ("SnapshotId", &gone)])?;
    let of_plain = shared(&stage, &plain, 2)?;
    copied(&stage, &of_plain, (&plain, 2), &keys[0])?;
    let of_encrypted = shared(&stage, &encrypted, 2)?;
    let failed = copied(&stage, &of_encrypted, (&encrypted, 2), &keys[0])?;
    let message = "Given key ID is not accessible";
    aws.post("snapshot", &json!({"id": failed, "state": "error", "state_message": message}))?;
    shared(&stage, &fresh, 2)?;
    aws.post("config", &json!({"copy_seconds": 0.02}))?;

    let names = BTreeMap::from([
        (plain, "<plain>".to_owned()),
        (encrypted, "<encrypted>".to_owned()),
        (fresh, "<fresh>".to_owned()),
        (of_member, "<member's key>".to_owned()),
        (keys[0].clone(), "<key 0>".to_owned()),
        (keys[1].clone(), "<key 1>".to_owned()),
        (gone, "<gone>".to_owned()),
    ]);
    let policies = vault_policy(&[(TARGETS[0], &keys[0]), (TARGETS[1], &keys[1])]);
    let victim = victim(&stage, FUNCTION, &policies)?;
    Ok(Scene { stage, victim, policies, names })
}

/// A snapshot of that night, as `rotate-snapshots` makes and shares them.
fn shared(stage: &Stage, volume: &str, day: u8) -> Result<String> {
    let description = described(volume, day);
    let form = [("Action", "CreateSnapshot"), ("VolumeId", volume), ("Description", &description)];
    let made = ec2(&stage.aws, MEMBER, &form)?;
    let id = element(&made, "snapshotId").to_owned();
    share(&stage.aws, MEMBER, &id, "add")?;
    Ok(id)
}

fn described(volume: &str, day: u8) -> String {
    format!("Created for policy: daily schedule: nightly slot: {} volume: {volume}", slot(day))
}

/// A copy of it in the first target Region, as the function made it at the time.
fn copied(stage: &Stage, source: &str, of: (&str, u8), key: &str) -> Result<String> {
    let (volume, day) = of;
    let region = TARGETS[0];
    let slot = slot(day);
    let expires_at = if day == 1 { "2020-01-01T00:00:00Z" } else { "2099-01-01T00:00:00Z" };
    let mut form: Vec<(String, &str)> = [
        ("Action", "CopySnapshot"),
        ("SourceRegion", HOME),
        ("SourceSnapshotId", source),
        ("Encrypted", "true"),
        ("KmsKeyId", key),
        ("TagSpecification.1.ResourceType", "snapshot"),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for ((key, value), n) in [
        ("snapferry:policy", "vault"),
        ("snapferry:rule", region),
        ("snapferry:source-snapshot", source),
        ("snapferry:source-account", MEMBER.account),
        ("snapferry:source-region", HOME),
        ("snapferry:source-volume", volume),
        ("snapferry:slot", &slot),
        ("snapferry:expires-at", expires_at),
    ]
    .into_iter()
    .zip(1..)
    {
        form.push((format!("TagSpecification.1.Tag.{n}.Key"), key));
        form.push((format!("TagSpecification.1.Tag.{n}.Value"), value));
    }
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let made = ec2(&stage.aws, Place { account: VAULT, region }, &form)?;
    Ok(element(&made, "snapshotId").to_owned())
}

at_every_call! {
    call_01 = 1
    call_02 = 2
    call_03 = 3
    call_04 = 4
    call_05 = 5
    call_06 = 6
    call_07 = 7
    call_08 = 8
    call_09 = 9
    call_10 = 10
    call_11 = 11
    call_12 = 12
    call_13 = 13
    call_14 = 14
    call_15 = 15
    call_16 = 16
    call_17 = 17
    call_18 = 18
    call_19 = 19
    call_20 = 20
    call_21 = 21
    call_22 = 22
}

//! What AWS Backup has made stays AWS Backup's: neither function touches it.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::stage::{TARGETS, vault};

use super::Backups;
use crate::common::{MEMBER, age, ec2, night, nightly, run, vault_policy};

/// Every snapshot of AWS Backup, as it is, without times, which a test moves.
fn of_aws_backup(backups: &Backups) -> Result<Vec<Value>> {
    let all = backups.stage.aws.get("snapshots")?;
    let mut all = all.as_array().cloned().unwrap_or_default();
    all.retain(|it| it["tags"]["aws:backup:source-resource"].is_string());
    for it in &mut all {
        it["start_time"].take();
        it["tags"] =
            it["tags"].as_object().into_iter().flat_map(|tags| tags.keys()).cloned().collect();
    }
    Ok(all)
}

#[test]
fn rotation_and_the_vaults_copies_leave_a_recovery_point_alone() -> Result<()> {
    let backups = Backups::new("backup-left-alone", &[])?;
    let aws = &backups.stage.aws;
    let volume = aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "daily"}}))?.remove(0);
    let policy = nightly(&[MEMBER.region], &json!({"Count": 1}));
    let rotate = backups.stage.function("rotate-snapshots", &policy)?;
    aws.post("config", &json!({"identity_policies": false}))?;
    run(&backups.stage, &rotate, &night(1))?;
    // With all tags of one of ours, as if somebody had copied them.
    let tags = aws.get("snapshots")?[0]["tags"].take();
    assert!(tags["snapferry:policy"].is_string(), "{tags}");
    let asked = json!({"ResourceArn": backups.arn("volume", &volume), "RecoveryPointTags": tags});
    backups.succeed(&asked)?;
    let before = of_aws_backup(&backups)?;
    assert_eq!(before.len(), 1);
    let snapshot = before[0]["id"].as_str().ok_or("no id")?.to_owned();

    let key =
        backups.stage.key(snapferry_tests::local_aws::Place { region: TARGETS[0], ..vault() })?;
    let copy =
        backups.stage.function("copy-shared-snapshots", &vault_policy(&[(TARGETS[0], &key)]))?;
    aws.clear("calls")?;
    for day in 2..=4 {
        for _ in 0..2 {
            run(&backups.stage, &rotate, &night(day))?;
            run(&backups.stage, &copy, &json!({}))?;
        }
        age(aws, 8)?;
    }
    run(&backups.stage, &copy, &json!({}))?;
    assert_eq!(of_aws_backup(&backups)?, before, "untouched");
    let calls = aws.get("calls?service=ec2")?;
    let about: Vec<_> = calls["calls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|it| {
            !it["action"].as_str().is_some_and(|it| it.starts_with("Describe"))
                && it["params"].to_string().contains(&snapshot)
        })
        .collect();
    assert!(about.is_empty(), "{about:?}");
    let left = aws.snapshots()?;
    let ours =
        |account: &str| left.iter().filter(|it| it.account == account && it.id != snapshot).count();
    assert_eq!(
        (ours(MEMBER.account), ours(vault().account)),
        (1, 1),
        "ours came and went: {left:?}"
    );

    // Shared by hand: the vault's policy does not want it.
    let form = [
        ("Action", "ModifySnapshotAttribute"),
        ("SnapshotId", &snapshot),
        ("Attribute", "createVolumePermission"),
        ("OperationType", "add"),
        ("UserId.1", vault().account),
    ];
    ec2(aws, MEMBER, &form)?;
    run(&backups.stage, &copy, &json!({}))?;
    let copies = aws.snapshots()?.iter().filter(|it| it.copied).count();
    assert_eq!(copies, 1, "no copy of it");
    Ok(())
}

//! The roles' policies as the templates have them: enough for everything that is done, and not enough for more.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::roles::vault_role;
use snapferry_tests::stage::{AWAY, HOME, ROLE, Stage, TARGETS, VAULT, role_arn};

use crate::common::{
    MEMBER, age, by_hand, count, ec2, failed, for_member, night, of_volumes, run, vault_policy,
};
use crate::instances::{instance, sets};

const STRANGER: &str = "555555555555";

/// Roles that may do what the templates say, and no more.
fn stage(name: &str) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.ask_roles()?;
    Ok(stage)
}

/// Everything that a policy can ask for, in short terms.
fn policies(key: &str) -> Value {
    let retain = json!({"Count": 1});
    let full = of_volumes(
        "full",
        &json!({
            "RetainRule": retain,
            "CopyTags": true,
            "ShareRules": [{
                "TargetAccounts": [VAULT], "UnshareInterval": 2, "UnshareIntervalUnit": "DAYS",
            }],
            "FastRestoreRule": {"Count": 1, "AvailabilityZoneIds": ["euc1-az1"]},
            "CrossRegionCopyRules": [
                {
                    "Target": AWAY, "Encrypted": true, "CmkArn": key, "CopyTags": true, "RetainRule": retain,
                    "LockRule": {"Mode": "GOVERNANCE", "DurationDays": 2},
                },
                {"Target": TARGETS[0], "Encrypted": true, "RetainRule": retain},
            ],
        }),
    );
    let lock = json!({"Mode": "COMPLIANCE", "DurationDays": 2, "CoolOffPeriodHours": 1});
    let locked = of_volumes("locked", &json!({"RetainRule": retain, "LockRule": lock}));
    let archived = for_member(
        "archived",
        &json!({
            "TargetTags": [{"Key": "Backup", "Value": "archived"}],
            "Schedules": [{
                "CreateRule": {"CronExpression": "cron(0 2 1 * ? *)"},
                "ArchiveRule": {"RetainRule": {"RetentionArchiveTier": {"Count": 1}}},
            }],
        }),
    );
    json!([full, locked, archived, sets(&retain)])
}

#[test]
fn the_roles_may_do_everything_that_policies_ask_for() -> Result<()> {
    let stage = stage("permissions")?;
    let source_key = stage.key(MEMBER)?;
    for (name, key) in [("full", Some(source_key)), ("locked", None), ("archived", None)] {
        stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": name}, "kms_key": key}))?;
    }
    instance(&stage, &json!({"Backup": "set"}), &json!([{}, {"tags": {"scratch": "yes"}}]))?;
    let key = stage.key(Place { account: MEMBER.account, region: AWAY })?;
    let rotate = stage.function("rotate-snapshots", &policies(&key))?;
    let vault_key = stage.key(Place { account: VAULT, region: AWAY })?;
    let mut vault = vault_policy(&[]);
    vault["PolicyDetails"]["EventSource"]["Parameters"]["DescriptionRegex"] =
        json!("policy: full ");
    let retain = json!({"Count": 1});
    let lock = json!({"Mode": "GOVERNANCE", "DurationDays": 2});
    vault["PolicyDetails"]["Actions"][0]["CrossRegionCopy"] = json!([
        {"Target": AWAY, "EncryptionConfiguration": {"Encrypted": true, "CmkArn": vault_key},
         "RetainRule": retain, "LockRule": lock},
        {"Target": TARGETS[0], "EncryptionConfiguration": {"Encrypted": true}, "RetainRule": retain},
    ]);
    let copy = stage.vault_function(&vault)?;
    stage.aws.clear("calls")?;
    for _ in 0..2 {
        for _ in 0..3 {
            run(&stage, &rotate, &night(1))?;
            run(&stage, &copy, &json!({}))?;
        }
        age(&stage.aws, 3)?;
    }
    let shares = stage.aws.get("calls?action=ModifySnapshotAttribute")?.to_string();
    assert!(shares.contains("\"add\"") && shares.contains("\"remove\""), "{shares}");
    let calls = stage.aws.calls()?;
    let refused: Vec<_> = calls.iter().filter(|call| !call.succeeded).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let of_member = calls.iter().filter(|call| call.account == MEMBER.account);
    let done: BTreeSet<&str> = of_member.map(|call| call.action.as_str()).collect();
    for action in [
        "CopySnapshot",
        "CreateSnapshot",
        "CreateSnapshots",
        "CreateTags",
        "DeleteSnapshot",
        "DescribeAvailabilityZones",
        "DescribeFastSnapshotRestores",
        "DescribeImages",
        "DescribeInstances",
        "DescribeLockedSnapshots",
        "DescribeSnapshotTierStatus",
        "DescribeSnapshots",
        "DescribeVolumes",
        "DisableFastSnapshotRestores",
        "EnableFastSnapshotRestores",
        "GetEbsDefaultKmsKeyId",
        "GetEbsEncryptionByDefault",
        "LockSnapshot",
        "ModifySnapshotAttribute",
        "ModifySnapshotTier",
    ] {
        assert!(done.contains(action), "{action} was not called");
    }
    for action in [
        "CopySnapshot",
        "DeleteSnapshot",
        "DescribeLockedSnapshots",
        "GetEbsDefaultKmsKeyId",
        "GetEbsEncryptionByDefault",
        "LockSnapshot",
    ] {
        let path = format!("calls/counts?role={}&action={action}", vault_role());
        assert_ne!(
            stage.aws.get(&path)?["total"],
            0,
            "{action} was not called by the vault's role"
        );
    }
    Ok(())
}

#[test]
fn the_roles_may_do_nothing_else() -> Result<()> {
    let stage = stage("forbidden")?;
    let volume = stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "full"}}))?.remove(0);
    let policy = of_volumes("full", &json!({"RetainRule": {"Count": 1}}));
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(count(&report, "CreateSnapshot"), 1);
    let ours = stage.aws.snapshots()?.remove(0).id;
    let others = by_hand(&stage.aws, MEMBER, &volume)?;
    let in_vault =
        stage.aws.volumes(Place { account: VAULT, region: HOME }, 1, &json!({}))?.remove(0);
    let vaults = by_hand(&stage.aws, Place { account: VAULT, region: HOME }, &in_vault)?;
    let strangers = Place { account: STRANGER, region: HOME };
    let theirs = stage.aws.volumes(strangers, 1, &json!({}))?.remove(0);
    let theirs = by_hand(&stage.aws, strangers, &theirs)?;
    stage.aws.settle()?;
    for account in [VAULT, MEMBER.account] {
        ec2(&stage.aws, strangers, &share(&theirs, ("UserId.1", account)))?;
    }

    let denied = |session: &str, form: &[(&str, &str)]| -> Result<()> {
        let answer = ec2(&stage.aws, Place { account: session, region: HOME }, form);
        let said = answer.map_or_else(|err| err.to_string(), |done| format!("done: {done}"));
        assert!(said.contains("UnauthorizedOperation"), "{form:?}: {said}");
        Ok(())
    };
    let member = stage.session(&role_arn(MEMBER.account))?.access_key_id;
    let of = |action: &'static str, id| [("Action", action), ("SnapshotId", id)];
    for action in ["DeleteSnapshot", "ModifySnapshotTier"] {
        denied(&member, &of(action, &others))?;
    }
    for action in ["UnlockSnapshot", "ResetSnapshotAttribute", "RestoreSnapshotTier"] {
        denied(&member, &of(action, &ours))?;
    }
    let lock = [("LockMode", "governance"), ("LockDuration", "1")];
    denied(&member, &[&of("LockSnapshot", &others)[..], &lock].concat())?;
    denied(&member, &share(&ours, ("UserId.1", STRANGER)))?;
    denied(&member, &share(&ours, ("UserGroup.1", "all")))?;
    denied(&member, &share(&others, ("UserId.1", VAULT)))?;
    denied(
        &member,
        &[
            ("Action", "EnableFastSnapshotRestores"),
            ("SourceSnapshotId.1", &others),
            ("AvailabilityZone.1", "eu-central-1a"),
        ],
    )?;
    let tag = |id| [("Action", "CreateTags"), ("ResourceId.1", id), ("Tag.1.Value", "x")];
    denied(&member, &[&tag(&ours)[..], &[("Tag.1.Key", "snapferry:policy")]].concat())?;
    denied(&member, &[&tag(&others)[..], &[("Tag.1.Key", "snapferry:shared-with")]].concat())?;
    denied(&member, &[("Action", "DeleteTags"), ("ResourceId.1", &ours), ("Tag.1.Key", "Backup")])?;
    denied(&member, &[("Action", "CreateSnapshot"), ("VolumeId", &volume)])?;
    denied(&member, &[("Action", "DeleteVolume"), ("VolumeId", &volume)])?;
    let tagged = [
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "snapferry:policy"),
        ("TagSpecification.1.Tag.1.Value", "x"),
    ];
    let copy = |id| [("Action", "CopySnapshot"), ("SourceRegion", HOME), ("SourceSnapshotId", id)];
    denied(&member, &copy(&ours))?;
    denied(&member, &[&copy(&theirs)[..], &tagged].concat())?;

    let vault = stage.session(&vault_role())?.access_key_id;
    denied(&vault, &of("DeleteSnapshot", &vaults))?;
    denied(&vault, &[&of("LockSnapshot", &vaults)[..], &lock].concat())?;
    denied(&vault, &share(&vaults, ("UserId.1", STRANGER)))?;
    denied(&vault, &[&copy(&theirs)[..], &tagged].concat())?;
    denied(
        &vault,
        &[&[("Action", "CreateSnapshot"), ("VolumeId", &in_vault)][..], &tagged].concat(),
    )?;
    assert_eq!(stage.aws.snapshots()?.len(), 4, "nothing came, nothing went");
    Ok(())
}

/// What a role deployed before there were these members of policies may not do.
const NEWER: [&str; 10] = [
    "ec2:CopySnapshot",
    "ec2:CreateSnapshots",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeFastSnapshotRestores",
    "ec2:DescribeInstances",
    "ec2:DescribeSnapshotTierStatus",
    "ec2:DisableFastSnapshotRestores",
    "ec2:EnableFastSnapshotRestores",
    "ec2:LockSnapshot",
    "ec2:ModifySnapshotTier",
];

#[test]
fn an_older_role_does_what_it_did_and_says_what_it_may_not() -> Result<()> {
    let stage = stage("older-role")?;
    let mut older = stage.member_policy(MEMBER.account)?;
    let newer = json!({"Effect": "Deny", "Action": NEWER, "Resource": "*"});
    older["Statement"].as_array_mut().ok_or("no statements")?.push(newer);
    stage.put_policy(MEMBER.account, ROLE, &older)?;
    for name in ["daily", "full", "locked", "archived"] {
        stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": name}}))?;
    }
    let share = json!([{"TargetAccounts": [VAULT]}]);
    let plain = of_volumes("daily", &json!({"RetainRule": {"Count": 1}, "ShareRules": share}));
    let rotate = stage.function("rotate-snapshots", &plain)?;
    for day in 1..=2 {
        run(&stage, &rotate, &night(day))?;
        run(&stage, &rotate, &night(day))?;
    }
    let key = stage.key(Place { account: MEMBER.account, region: AWAY })?;
    let mut documents = policies(&key);
    let documents = documents.as_array_mut().ok_or("no policies")?;
    documents.pop(); // for instances
    documents.push(plain);
    let rotate = stage.function("rotate-snapshots", &json!(documents))?;
    failed(&rotate.invoke(&night(3))?, "ActionsFailed");
    stage.aws.settle()?;
    let message = failed(&rotate.invoke(&night(3))?, "ActionsFailed");
    for part in [
        "DescribeFastSnapshotRestores of policy full in 111111111111/eu-central-1: ",
        "without it fast snapshot restore is neither enabled nor disabled",
        "DescribeSnapshotTierStatus of policy archived in 111111111111/eu-central-1: ",
        "without it nothing is moved to the archive tier or deleted from it",
        "AWS refused LockSnapshot: You are not authorized",
        "AWS refused CopySnapshot: You are not authorized",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let made = stage.aws.snapshots()?;
    let volumes: BTreeSet<&str> = made.iter().map(|it| it.volume.as_str()).collect();
    assert_eq!((volumes.len(), made.len()), (4, 4), "all are made, the older rotated: {made:?}");
    let shared = made.iter().filter(|it| it.shared_with == [VAULT]).count();
    assert_eq!(shared, 2, "those that are to be shared are: {made:?}");
    Ok(())
}

fn share<'a>(id: &'a str, with: (&'a str, &'a str)) -> [(&'a str, &'a str); 5] {
    [
        ("Action", "ModifySnapshotAttribute"),
        ("SnapshotId", id),
        ("Attribute", "createVolumePermission"),
        ("OperationType", "add"),
        with,
    ]
}

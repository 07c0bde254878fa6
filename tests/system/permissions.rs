//! The roles' policies as the templates have them: enough for everything that is done, and not enough for more.

mod cases;
mod conditions;
mod elsewhere;
mod needed;
mod refused;
mod trust;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::machine::Machine;
use snapferry_tests::roles::script_documents;
use snapferry_tests::stage::{AWAY, ROLE, Stage, TARGETS, VAULT};

use crate::common::{MEMBER, failed, for_member, night, of_volumes, run};
use crate::instances::sets;

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
fn without_script_documents_no_role_has_anything_to_do_with_instances() -> Result<()> {
    let stage = Stage::new("no-scripts")?;
    for (path, name) in [
        ("functions/rotate-snapshots/member-role.yaml", "MemberRole"),
        ("template.yaml", "RotateSnapshotsOwnAccountPolicy"),
    ] {
        let about = |documents: Value| -> Result<BTreeSet<String>> {
            let given = [
                ("AWS::AccountId", json!(MEMBER.account)),
                ("VaultAccounts", json!([VAULT])),
                ("ScriptDocumentArns", documents),
            ];
            let policy = stage.template(path, &given)?.policy(name)?;
            let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
            let of_systems_manager = statements.into_iter().filter(|it| {
                it["Action"].to_string().contains("ssm:") || it["Sid"] == "TagScriptResults"
            });
            Ok(of_systems_manager.map(|it| it["Sid"].to_string()).collect())
        };
        assert_eq!(about(script_documents())?.len(), 4, "{name}");
        assert_eq!(about(json!(""))?, BTreeSet::new(), "{name}");
    }
    Ok(())
}

#[test]
fn script_documents_are_named_exactly() -> Result<()> {
    const MATCH: &str = "import re, sys; print(bool(re.search(sys.argv[1], sys.argv[2])))";
    let stage = Stage::new("script-documents")?;
    let python = Machine::prepare()?.python;
    let known = script_documents();
    let known = known.as_array().into_iter().flatten().filter_map(Value::as_str);
    let good = known.chain(["", "arn:aws-cn:ssm:cn-north-1::document/AWSEC2-CreateVssSnapshot"]);
    let bad = [
        "AWSEC2-CreateVssSnapshot",
        "*",
        "arn:aws:ssm:*::document/*",
        "arn:aws:ssm:*::document/AWS-*",
        "arn:aws:ssm:*:*:document/freeze-database",
        "arn:aws:ssm:*:333333333333:automation-definition/freeze-database",
        "arn:aws:ec2:*:333333333333:instance/i-0123456789abcdef0",
        "arn:aws:ssm:*::document/freeze?database",
        "arn:aws:ssm:*::document/${aws:username}",
    ];
    let cases: Vec<_> = good.map(|it| (it, "True")).chain(bad.map(|it| (it, "False"))).collect();
    for path in ["functions/rotate-snapshots/member-role.yaml", "template.yaml"] {
        let pattern = stage.template(path, &[])?;
        let pattern = pattern.value("/Parameters/ScriptDocumentArns/AllowedPattern")?;
        for (arn, fits) in &cases {
            let output = Command::new(&python)
                .args(["-c", MATCH, pattern.as_str().unwrap_or_default(), arn])
                .output()?;
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), *fits, "{path}: {arn}");
        }
    }
    Ok(())
}

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

//! VSS backups: the instance makes its snapshots itself, and all else is done as with any other.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{Stage, TARGETS, VAULT};

use crate::common::{
    MEMBER, age, age_commands, count, failed, for_member, held, lines, night, run, slot,
    vault_policy,
};
use crate::instances::Instance;
use crate::scripts::ran;

const INSTALL: &str = "AWSEC2-VssInstallAndSnapshot";

/// Every instance with the tag `Backup=sql`.
fn policy(script: &Value, parameters: &Value) -> Value {
    let mut all = json!({"ExecutionHandler": "AWS_VSS_BACKUP"});
    if let (Some(all), Some(script)) = (all.as_object_mut(), script.as_object()) {
        all.extend(script.clone());
    }
    for_member(
        "windows",
        &json!({
            "ResourceTypes": ["INSTANCE"],
            "TargetTags": [{"Key": "Backup", "Value": "sql"}],
            "Parameters": parameters,
            "Schedules": [{
                "Name": "nightly",
                "CreateRule": {"CronExpression": "cron(0 2 * * ? *)", "Scripts": [all]},
                "RetainRule": {"Count": 2},
                "TagsToAdd": [{"Key": "Owner", "Value": "sql@example.com"}],
                "ShareRules": [{"TargetAccounts": [VAULT]}],
            }],
        }),
    )
}

/// What `AWSEC2VssSnapshotPolicy` lets an instance do, as far as snapshots go.
fn vss_snapshot_policy() -> Value {
    let only_itself = json!({"ArnLike": {
        "ec2:SourceInstanceARN": "arn:aws:ec2:*:*:instance/${ec2:InstanceId}",
    }});
    let marked = json!({"StringLike": {"aws:RequestTag/AwsVssConfig": "*"}});
    let later = json!({
        "StringLike": {"ec2:ResourceTag/AwsVssConfig": "*"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["AppConsistent", "Device"]},
    });
    let at_once = json!({"StringEquals": {"ec2:CreateAction": ["CreateImage", "CreateSnapshots"]}});
    let allow = |action: &str, resource: &str, condition: &Value| {
        let resource = format!("arn:aws:ec2:*:*:{resource}/*");
        json!({"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition})
    };
    json!({"Version": "2012-10-17", "Statement": [
        allow("ec2:DescribeInstanceAttribute", "instance", &only_itself),
        allow("ec2:CreateSnapshots", "snapshot", &marked),
        allow("ec2:CreateSnapshots", "instance", &only_itself),
        allow("ec2:CreateSnapshots", "volume", &json!({})),
        allow("ec2:CreateTags", "snapshot", &at_once),
        allow("ec2:CreateTags", "snapshot", &later),
    ]})
}

/// A running SQL server with three volumes, whose agent does so.
fn server(stage: &Stage, more: &Value, agent: &Value) -> Result<Instance> {
    let mut body = json!({
        "account": MEMBER.account, "region": MEMBER.region, "tags": {"Backup": "sql", "Name": "$(sql) 'n' \"s\";1"},
        "volumes": [{}, {}], "profile": "windows",
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    let made = stage.aws.post("instances", &body)?;
    let made = &made["instances"][0];
    let volumes = made["volumes"].as_object().ok_or("no volumes")?;
    let server = Instance {
        id: made["id"].as_str().unwrap_or_default().to_owned(),
        volumes: volumes.values().filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    if !agent.is_null() {
        stage.agent(MEMBER, &server.id, &json!({"platform": "Windows"}))?;
        stage.agent(MEMBER, &server.id, agent)?;
    }
    Ok(server)
}

fn stage(name: &str) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.instance_profile(MEMBER.account, "windows", &vss_snapshot_policy())?;
    Ok(stage)
}

/// The world after whatever was sent has come to its end.
fn made(stage: &Stage) -> Result<Vec<Snapshot>> {
    stage.agents()?;
    stage.aws.settle()?;
    stage.aws.snapshots()
}

/// They began twenty minutes earlier; what they are for is still due.
fn older(stage: &Stage, snapshots: &[Snapshot]) -> Result<()> {
    for it in snapshots {
        let start: jiff::Timestamp = it.start_time.parse()?;
        let start = start.checked_sub(jiff::SignedDuration::from_mins(20))?;
        stage.aws.post("snapshot", &json!({"id": it.id, "start_time": start.to_string()}))?;
    }
    Ok(())
}

fn all<'a>(snapshots: &'a [Snapshot], key: &str) -> BTreeSet<&'a str> {
    snapshots.iter().map(|it| it.tag(key)).collect()
}

#[test]
fn from_the_schedule_to_the_vault_and_to_rotation() -> Result<()> {
    let stage = stage("vss")?;
    let sql = server(&stage, &json!({}), &json!({}))?;
    let script = json!({"MaximumRetryCount": 1});
    let rotate = stage.function("rotate-snapshots", &policy(&script, &json!({})))?;
    let key = stage.key(Place { account: VAULT, region: TARGETS[0] })?;
    let mut vault = vault_policy(&[(TARGETS[0], &key)]);
    vault["PolicyDetails"]["EventSource"]["Parameters"]["DescriptionRegex"] =
        json!("policy: windows ");
    let copy = stage.function("copy-shared-snapshots", &vault)?;
    stage.deliver_events_to(&[&copy])?;

    // The first run sends the command; the instance makes the snapshots.
    let report = run(&stage, &rotate, &night(1))?;
    let line = lines(&report, "SendCommand")[0];
    for (member, value) in [
        ("Step", "VSS backup"),
        ("DocumentName", INSTALL),
        ("InstanceId", &sql.id),
        ("Policy", "windows"),
        ("Schedule", "nightly"),
        ("Outcome", "Done"),
        ("Reason", "no snapshot for this slot"),
    ] {
        assert_eq!(line[member], value, "{member} of {line}");
    }
    let snapshots = made(&stage)?;
    assert_eq!(snapshots.len(), 3);
    let volumes: BTreeSet<&str> = snapshots.iter().map(|it| it.volume.as_str()).collect();
    assert_eq!(volumes, sql.volumes.iter().map(String::as_str).collect());
    for (key, value) in [
        ("snapferry:policy", "windows"),
        ("snapferry:schedule", "nightly"),
        ("snapferry:slot", &slot(1)),
        ("snapferry:instance", &sql.id),
        ("snapferry:volumes", "3"),
        ("snapferry:script", INSTALL),
        ("Owner", "sql@example.com"),
        ("AppConsistent", "True"),
    ] {
        assert_eq!(all(&snapshots, key), BTreeSet::from([value]), "{key}");
    }
    assert!(snapshots.iter().all(|it| it.frozen == Some(true)), "{snapshots:?}");
    let description = &snapshots[0].description;
    assert!(description.starts_with("Created for policy: windows schedule: nightly slot: "));
    assert!(!description.contains("sql"), "nobody's text gets into PowerShell: {description}");

    // The second finds them, records what they say, and shares them; the vault copies.
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(count(&report, "SendCommand"), 0, "{report}");
    assert_eq!(count(&report, "ModifySnapshotAttribute"), 3, "{report}");
    let reason = &lines(&report, "CreateTags")[0]["Reason"];
    assert_eq!(reason, "the VSS components say that it is application-consistent");
    let (copies, sources): (Vec<_>, Vec<_>) =
        stage.aws.snapshots()?.into_iter().partition(|it| it.copied);
    assert_eq!(all(&sources, "snapferry:app-consistent"), BTreeSet::from(["true"]));
    assert_eq!(copies.len(), 3);
    assert_eq!(all(&copies, "snapferry:slot"), BTreeSet::from([slot(1).as_str()]));
    assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));

    // Two nights later the first night's set goes.
    for day in 2..=3 {
        age(&stage.aws, 1)?;
        run(&stage, &rotate, &night(day))?;
        made(&stage)?;
        run(&stage, &rotate, &night(day))?;
    }
    let own: Vec<_> = stage.aws.snapshots()?.into_iter().filter(|it| !it.copied).collect();
    assert_eq!(own.len(), 6, "two sets: {own:?}");
    assert_eq!(all(&own, "snapferry:app-consistent"), BTreeSet::from(["true"]));
    assert_eq!(ran(&stage)?.len(), 3, "one command a night");
    Ok(())
}

#[test]
fn the_policy_chooses_the_document_and_leaves_the_boot_volume_out() -> Result<()> {
    let stage = stage("vss-boot")?;
    let sql = server(&stage, &json!({}), &json!({"vss": {"installed": true}}))?;
    let script = json!({"VssDocumentName": "AWSEC2-CreateVssSnapshot"});
    let without_boot = policy(&script, &json!({"ExcludeBootVolume": true}));
    let rotate = stage.function("rotate-snapshots", &without_boot)?;
    run(&stage, &rotate, &night(1))?;
    let snapshots = made(&stage)?;
    let volumes: BTreeSet<&str> = snapshots.iter().map(|it| it.volume.as_str()).collect();
    assert_eq!(volumes, sql.volumes[1..].iter().map(String::as_str).collect());
    assert_eq!(all(&snapshots, "snapferry:volumes"), BTreeSet::from(["2"]));
    let agents = stage.agents()?;
    assert_eq!(agents[0]["commands"][0]["document"], "AWSEC2-CreateVssSnapshot");
    Ok(())
}

#[test]
fn a_command_that_says_success_while_a_volume_failed_is_seen() -> Result<()> {
    for goes_on in [true, false] {
        let stage = stage(&format!("vss-volume-{goes_on}"))?;
        let sql = server(&stage, &json!({}), &json!({}))?;
        let fail = json!({"vss": {"volumes_fail": [sql.volumes[1]]}});
        stage.agent(MEMBER, &sql.id, &fail)?;
        let script = json!({"ExecuteOperationOnScriptFailure": goes_on});
        let rotate = stage.function("rotate-snapshots", &policy(&script, &json!({})))?;
        run(&stage, &rotate, &night(1))?;
        let first = made(&stage)?;
        assert_eq!((first.len(), ran(&stage)?), (2, vec![("vss".into(), "Success".into())]));
        // It may be that not all are seen yet.
        let report = run(&stage, &rotate, &night(1))?;
        assert_eq!(
            count(&report, "CreateSnapshots") + count(&report, "SendCommand"),
            0,
            "{report}"
        );
        // A quarter of an hour later everything is seen.
        age_commands(&stage.aws, 1200)?;
        older(&stage, &first)?;
        let answer = rotate.invoke(&night(1))?;
        stage.aws.settle()?;
        let message = failed(&answer, "ActionsFailed");
        let want = format!("the VSS backup of {INSTALL} on {} at ", sql.id);
        assert!(message.contains(&want), "{message}");
        assert!(
            message.contains("ended as Success, and not all of its snapshots are there, or good"),
            "{message}"
        );
        let sets = stage.aws.snapshots()?;
        if goes_on {
            assert!(message.contains("A crash-consistent snapshot is made instead"), "{message}");
            assert_eq!(sets.len(), 5, "the two, and the whole set");
            assert_eq!(all(&sets, "snapferry:app-consistent"), BTreeSet::from(["true", "false"]));
            let report = run(&stage, &rotate, &night(1))?;
            assert_eq!(count(&report, "SendCommand"), 0, "{report}");
            assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));
        } else {
            assert!(
                message.contains("No snapshot is made, as ExecuteOperationOnScriptFailure"),
                "{message}"
            );
            assert_eq!(sets.len(), 2, "a broken set is better than nothing");
        }
    }
    Ok(())
}

#[test]
fn a_failed_command_is_sent_again_and_what_is_not_consistent_is_told() -> Result<()> {
    let stage = stage("vss-failed")?;
    let sql = server(&stage, &json!({}), &json!({}))?;
    let fail = json!({"vss": {"fails": true, "exit": 7, "times": 1}});
    stage.agent(MEMBER, &sql.id, &fail)?;
    let script = json!({"MaximumRetryCount": 1});
    let rotate = stage.function("rotate-snapshots", &policy(&script, &json!({})))?;
    run(&stage, &rotate, &night(1))?;
    assert_eq!(made(&stage)?.len(), 0);
    stage.agent(MEMBER, &sql.id, &json!({"vss": {"app_consistent": false}}))?;
    let report = run(&stage, &rotate, &night(1))?;
    let reason = lines(&report, "SendCommand")[0]["Reason"].as_str().unwrap_or_default();
    assert!(reason.contains("ended as Failed, exit code 7"), "{reason}");
    let snapshots = made(&stage)?;
    assert_eq!((snapshots.len(), ran(&stage)?.len()), (3, 2));
    older(&stage, &snapshots)?;
    let report = run(&stage, &rotate, &night(1))?;
    let line = lines(&report, "CreateTags")[0];
    let reason = line["Reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with("it is not application-consistent: the VSS components say"),
        "{line}"
    );
    assert_eq!(all(&stage.aws.snapshots()?, "snapferry:app-consistent"), BTreeSet::from(["false"]));
    assert!(rotate.printed()?.contains(r#""SnapshotsNotAppConsistent":3"#));
    Ok(())
}

#[test]
fn what_keeps_a_vss_backup_from_being_made_is_told_before_it_is_tried() -> Result<()> {
    let stage = stage("vss-obstacles")?;
    let bare = server(&stage, &json!({"profile": null}), &Value::Null)?;
    let silent = server(&stage, &json!({}), &Value::Null)?;
    let small = server(&stage, &json!({"type": "t3.micro"}), &json!({}))?;
    let linux = server(&stage, &json!({}), &json!({"platform": "Linux"}))?;
    let lost = server(&stage, &json!({}), &json!({"ping": "ConnectionLost"}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({}), &json!({})))?;
    let answer = rotate.invoke(&night(1))?;
    stage.aws.settle()?;
    let message = failed(&answer, "ActionsFailed");
    for want in [
        format!(
            "{} has no instance profile, so that {INSTALL} cannot run on it: attach one whose role has \
                 AmazonSSMManagedInstanceCore and AWSEC2VssSnapshotPolicy",
            bare.id
        ),
        format!(
            "Systems Manager does not know {}, so that {INSTALL} cannot run on it: install and start the SSM agent",
            silent.id
        ),
        format!("{} is a t3.micro, on which VSS backups are not supported", small.id),
        format!("{} runs Linux, and VSS backups are for Windows", linux.id),
        format!("the SSM agent of {} is ConnectionLost", lost.id),
    ] {
        assert!(message.contains(&want), "want {want}\nin {message}");
    }
    assert_eq!(ran(&stage)?, [], "nothing was sent");
    let snapshots = stage.aws.snapshots()?;
    assert_eq!(snapshots.len(), 15, "crash-consistent ones are there");
    assert_eq!(all(&snapshots, "snapferry:app-consistent"), BTreeSet::from(["false"]));
    Ok(())
}

#[test]
fn a_backup_that_nobody_looked_after_is_told_the_next_night() -> Result<()> {
    let stage = stage("vss-next-night")?;
    let sql = server(&stage, &json!({}), &json!({"vss": {"fails": true, "exit": 7, "times": 1}}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({}), &json!({})))?;
    run(&stage, &rotate, &night(1))?;
    assert_eq!(made(&stage)?.len(), 0);
    let answer = rotate.invoke(&night(2))?;
    let message = failed(&answer, "ActionsFailed");
    assert!(message.contains(&format!("the VSS backup of {INSTALL} on {}", sql.id)), "{message}");
    assert!(message.contains("exit code 7"), "{message}");
    assert_eq!(made(&stage)?.len(), 3, "and this night's is made");
    let report = run(&stage, &rotate, &night(2))?;
    assert_eq!(held(&report, &sql.id), "", "{report}");
    Ok(())
}

//! Scripts before and after the snapshots of an instance, through Systems Manager.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::Snapshot;
use snapferry_tests::stage::{Stage, VAULT};

use crate::common::{
    MEMBER, age_commands, failed, for_member, held, lines, night, only_looked, run, slot,
};
use crate::instances::{Instance, instance};

mod killed;

/// The name of the document in the member account.
pub(crate) const DOCUMENT: &str = "freeze-database";

/// Every instance with the tag `Backup=db`, with this script.
pub(crate) fn policy(script: &Value) -> Value {
    let mut all = json!({"ExecutionHandler": DOCUMENT, "ExecutionTimeout": 10});
    if let (Some(all), Some(script)) = (all.as_object_mut(), script.as_object()) {
        all.extend(script.clone());
    }
    for_member(
        "databases",
        &json!({
            "ResourceTypes": ["INSTANCE"],
            "TargetTags": [{"Key": "Backup", "Value": "db"}],
            "Schedules": [{
                "Name": "nightly",
                "CreateRule": {"CronExpression": "cron(0 2 * * ? *)", "Scripts": [all]},
                "RetainRule": {"Count": 2},
                "ShareRules": [{"TargetAccounts": [VAULT]}],
            }],
        }),
    )
}

/// A document as Data Lifecycle Manager wants them, in the member account.
pub(crate) fn document(stage: &Stage) -> Result<()> {
    let uuid = "[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}";
    let content = json!({
        "schemaVersion": "2.2",
        "parameters": {
            "executionId": {"type": "String", "default": "None", "allowedPattern": format!("^(None|{uuid})$")},
            "command": {
                "type": "String", "default": "dry-run",
                "allowedValues": ["pre-script", "post-script", "dry-run"],
            },
        },
        "mainSteps": [{"action": "aws:runShellScript", "name": "freeze", "inputs": {"runCommand": []}}],
    });
    stage.document(MEMBER, DOCUMENT, &content)
}

/// A running database with two volumes, an agent that does so, and the document.
pub(crate) fn database(stage: &Stage, agent: &Value) -> Result<Instance> {
    document(stage)?;
    let made = instance(stage, &json!({"Backup": "db", "Name": "db-1"}), &json!([{}]))?;
    stage.agent(MEMBER, &made.id, agent)?;
    Ok(made)
}

/// What has run: step and status, in order.
pub(crate) fn ran(stage: &Stage) -> Result<Vec<(String, String)>> {
    let agents = stage.agents()?;
    let commands = agents.iter().filter_map(|it| it["commands"].as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(commands.map(|it| (text(&it["kind"]), text(&it["status"]))).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

pub(crate) fn is_still(stage: &Stage) -> Result<bool> {
    Ok(stage.agents()?.iter().any(|agent| agent["frozen"] == json!(true)))
}

fn tags<'a>(snapshots: &'a [Snapshot], key: &str) -> Vec<&'a str> {
    snapshots.iter().map(|it| it.tag(key)).collect()
}

fn steps(report: &Value) -> Vec<(&Value, &Value)> {
    lines(report, "SendCommand").iter().map(|line| (&line["Step"], &line["Outcome"])).collect()
}

#[test]
fn snapshots_are_taken_while_the_application_stands_still() -> Result<()> {
    let stage = Stage::new("scripts")?;
    let db = database(&stage, &json!({}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({})))?;

    let mut rehearsal = night(1);
    rehearsal["DryRun"] = json!(true);
    run(&stage, &rotate, &rehearsal)?;
    assert_eq!((ran(&stage)?, stage.aws.snapshots()?.len()), (Vec::new(), 0), "a dry run");

    let report = run(&stage, &rotate, &night(1))?;
    let both = pairs(&[("pre-script", "Success"), ("post-script", "Success")]);
    assert_eq!(ran(&stage)?, both);
    assert!(!is_still(&stage)?);
    let made = stage.aws.snapshots()?;
    assert_eq!(made.len(), 2);
    assert!(made.iter().all(|it| it.frozen == Some(true)), "{made:?}");
    for (key, value) in [
        ("snapferry:script", DOCUMENT),
        ("snapferry:pre-script", "Success"),
        ("snapferry:post-script", "Success"),
        ("snapferry:app-consistent", "true"),
        ("snapferry:instance", &db.id),
        ("snapferry:slot", &slot(1)),
    ] {
        assert_eq!(tags(&made, key), [value, value], "{key}");
    }
    let agents = stage.agents()?;
    let commands = agents[0]["commands"].as_array().cloned().unwrap_or_default();
    let id = tags(&made, "snapferry:execution-id")[0];
    for (command, step) in commands.iter().zip(["pre-script", "post-script"]) {
        let given = json!({"command": [step], "executionId": [id]});
        assert_eq!(command["parameters"], given);
    }
    let comments: Vec<_> = commands.iter().map(|it| it["comment"].as_str()).collect();
    let [pre, post] = ["pre1", "end1"].map(|it| format!("snapferry {it} {} databases", slot(1)));
    assert_eq!(comments, [Some(pre.as_str()), Some(post.as_str())]);
    let done = json!("Done");
    assert_eq!(
        steps(&report),
        [(&json!("pre-script"), &done), (&json!("post-script"), &done)],
        "{report}"
    );
    let line = lines(&report, "SendCommand")[0];
    assert_eq!(line["CommandId"], commands[0]["command_id"]);
    assert_eq!((&line["InstanceId"], &line["DocumentName"]), (&json!(db.id), &json!(DOCUMENT)));
    let order: Vec<_> =
        report["Actions"].as_array().into_iter().flatten().map(|it| &it["Action"]).collect();
    assert_eq!(order, ["SendCommand", "CreateSnapshots", "SendCommand"]);

    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(lines(&report, "ModifySnapshotAttribute").len(), 2, "{report}");
    stage.aws.clear("calls")?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(report["Actions"], json!([]), "{report}");
    assert!(only_looked(&stage.aws)?, "a settled world gets no changes");
    assert_eq!(ran(&stage)?, both, "nor commands");
    Ok(())
}

/// One run of a night, which fails; its message.
fn fails(stage: &Stage, rotate: &Lambda, day: u8) -> Result<String> {
    let answer = rotate.invoke(&night(day))?;
    stage.aws.settle()?;
    Ok(failed(&answer, "ActionsFailed"))
}

#[test]
fn a_failed_pre_script_is_tried_again_and_then_done_without() -> Result<()> {
    for (goes_on, times, commands, made, consistent) in [
        // The second attempt is good.
        (true, 1, 4, 2, "true"),
        // No attempt is: crash-consistent, or nothing.
        (true, 9, 4, 2, "false"),
        (false, 9, 4, 0, ""),
    ] {
        let stage = Stage::new(&format!("scripts-pre-{goes_on}-{times}"))?;
        let pre = json!({"exit": 201, "freezes": true, "times": times});
        let db = database(&stage, &json!({"scripts": {"pre-script": pre}}))?;
        let script = json!({"MaximumRetryCount": 1, "ExecuteOperationOnScriptFailure": goes_on});
        let rotate = stage.function("rotate-snapshots", &policy(&script))?;
        if times == 1 {
            let report = run(&stage, &rotate, &night(1))?;
            assert!(held(&report, &db.id).contains("tried again: "), "{report}");
            assert!(
                held(&report, &db.id).contains("exit code 201 (the pre-script failed)"),
                "{report}"
            );
        } else {
            let message = fails(&stage, &rotate, 1)?;
            let want =
                format!("the pre-script of {DOCUMENT} on {} failed: Failed, exit code 201", db.id);
            assert!(message.contains(&want), "{message}");
            assert!(!message.contains("STAND STILL"), "{message}");
        }
        let ran = ran(&stage)?;
        let steps: Vec<&str> = ran.iter().map(|(step, _)| step.as_str()).collect();
        assert_eq!(steps.len(), commands, "{steps:?}");
        assert_eq!(steps, ["pre-script", "post-script", "pre-script", "post-script"]);
        assert!(!is_still(&stage)?, "half-way is not where it stays");
        let snapshots = stage.aws.snapshots()?;
        assert_eq!(snapshots.len(), made);
        assert!(tags(&snapshots, "snapferry:app-consistent").iter().all(|it| *it == consistent));
        // The next run of the slot has nothing to add.
        let n = ran.len();
        age_commands(&stage.aws, 300)?;
        let answer = rotate.invoke(&night(1))?;
        stage.aws.settle()?;
        let (_, message) = answer.error();
        assert_eq!(message.contains("MaximumRetryCount is 1"), !goes_on, "{message}");
        assert_eq!(self::ran(&stage)?.len(), n, "no further attempt");
    }
    Ok(())
}

#[test]
fn a_post_script_that_fails_is_told_loudly_and_sent_again() -> Result<()> {
    let stage = Stage::new("scripts-post")?;
    let post = json!({"exit": 202, "times": 3});
    let db = database(&stage, &json!({"scripts": {"post-script": post}}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({"MaximumRetryCount": 1})))?;
    let message = fails(&stage, &rotate, 1)?;
    let want = format!(
        "the post-script of {DOCUMENT} on {} failed: THE APPLICATION MAY STAND STILL. See to it; the next run sends it \
         again: Failed, exit code 202 (the post-script failed)",
        db.id
    );
    assert!(message.contains(&want), "{message}");
    assert!(is_still(&stage)?);
    assert_eq!(ran(&stage)?.len(), 3, "the pre-script, and the post-script twice");
    let made = stage.aws.snapshots()?;
    assert_eq!(tags(&made, "snapferry:post-script"), ["Failed 202", "Failed 202"]);
    assert_eq!(tags(&made, "snapferry:app-consistent"), ["false", "false"]);
    assert!(rotate.printed()?.contains(r#""PostScriptsMissing":1"#), "{}", rotate.printed()?);
    // The next run does what that could not, at the second try.
    let message = fails(&stage, &rotate, 1)?;
    assert!(message.contains(&want), "{message}");
    let report = run(&stage, &rotate, &night(1))?;
    let line = lines(&report, "SendCommand")[0];
    assert_eq!((&line["Step"], &line["Outcome"]), (&json!("post-script"), &json!("Done")));
    let reason = line["Reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("the application may stand still since "), "{reason}");
    assert!(!is_still(&stage)?);
    assert_eq!(stage.aws.snapshots()?.len(), 2, "one set, for all that");
    assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));
    Ok(())
}

#[test]
fn an_application_that_went_on_by_itself_is_not_consistent() -> Result<()> {
    let stage = Stage::new("scripts-auto-thaw")?;
    let post = json!({"delivery_seconds": 1.5});
    database(&stage, &json!({"scripts": {"auto_thaw_seconds": 1, "post-script": post}}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({})))?;
    let message = fails(&stage, &rotate, 1)?;
    let want = "came too late, so that the snapshots may not be application-consistent: Failed, exit code 203";
    assert!(message.contains(want), "{message}");
    assert!(!message.contains("STAND STILL"), "{message}");
    let made = stage.aws.snapshots()?;
    assert_eq!(tags(&made, "snapferry:app-consistent"), ["false", "false"]);
    assert!(rotate.printed()?.contains(r#""SnapshotsNotAppConsistent":2"#));
    run(&stage, &rotate, &night(1))?;
    assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));
    Ok(())
}

#[test]
fn a_pre_script_that_does_not_end_is_ended() -> Result<()> {
    let stage = Stage::new("scripts-hanging")?;
    let pre = json!({"seconds": 600, "at": "begin"});
    database(&stage, &json!({"scripts": {"pre-script": pre}}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({})))?;
    let message = fails(&stage, &rotate, 1)?;
    assert!(message.contains("did not end within 45 seconds: InProgress"), "{message}");
    let statuses = pairs(&[("pre-script", "Cancelled"), ("post-script", "Success")]);
    assert_eq!(ran(&stage)?, statuses);
    assert!(!is_still(&stage)?);
    let made = stage.aws.snapshots()?;
    assert!(made.iter().all(|it| it.frozen == Some(false)), "crash-consistent: {made:?}");
    assert_eq!(tags(&made, "snapferry:app-consistent"), ["false", "false"]);
    Ok(())
}

/// A document for another platform does nothing there, and Systems Manager calls that a success.
#[test]
fn a_document_that_is_not_for_the_platform_is_told() -> Result<()> {
    let stage = Stage::new("scripts-platform")?;
    let step = json!({
        "action": "aws:runPowerShellScript", "name": "freeze", "inputs": {"runCommand": []},
        "precondition": {"StringEquals": ["platformType", "Windows"]},
    });
    let parameters = json!({"command": {"type": "String"}, "executionId": {"type": "String"}});
    let content = json!({"schemaVersion": "2.2", "parameters": parameters, "mainSteps": [step]});
    stage.document(MEMBER, DOCUMENT, &content)?;
    let db = instance(&stage, &json!({"Backup": "db"}), &json!([{}]))?;
    stage.agent(MEMBER, &db.id, &json!({}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({})))?;
    let message = fails(&stage, &rotate, 1)?;
    assert!(message.contains("Step execution skipped"), "{message}");
    assert_eq!(tags(&stage.aws.snapshots()?, "snapferry:app-consistent"), ["false", "false"]);
    Ok(())
}

/// The document is AWS's, of no account.
#[test]
fn sap_hanas_document_runs_like_ones_own() -> Result<()> {
    const HANA: &str = "AWSSystemsManagerSAP-CreateDLMSnapshotForSAPHANA";
    let stage = Stage::new("scripts-hana")?;
    let db = instance(&stage, &json!({"Backup": "db"}), &json!([{}]))?;
    stage.agent(MEMBER, &db.id, &json!({}))?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({"ExecutionHandler": HANA})))?;
    run(&stage, &rotate, &night(1))?;
    assert_eq!(ran(&stage)?, pairs(&[("pre-script", "Success"), ("post-script", "Success")]));
    let made = stage.aws.snapshots()?;
    assert!(made.iter().all(|it| it.frozen == Some(true)), "{made:?}");
    assert_eq!(tags(&made, "snapferry:script"), [HANA, HANA]);
    assert_eq!(tags(&made, "snapferry:app-consistent"), ["true", "true"]);
    Ok(())
}

#[test]
fn what_keeps_scripts_from_running_is_told_before_anything_stands_still() -> Result<()> {
    let stage = Stage::new("scripts-obstacles")?;
    document(&stage)?;
    let tags = json!({"Backup": "db"});
    let [bare, lost, stopped, good] =
        [0; 4].map(|_| instance(&stage, &tags, &json!([{}])).map_err(|err| err.to_string()));
    let (bare, lost, stopped, good) = (bare?, lost?, stopped?, good?);
    stage.agent(MEMBER, &lost.id, &json!({"ping": "ConnectionLost"}))?;
    stage.agent(MEMBER, &stopped.id, &json!({}))?;
    stage.agent(MEMBER, &good.id, &json!({}))?;
    crate::common::ec2(
        &stage.aws,
        MEMBER,
        &[("Action", "StopInstances"), ("InstanceId.1", &stopped.id)],
    )?;
    let rotate = stage.function("rotate-snapshots", &policy(&json!({})))?;
    let message = fails(&stage, &rotate, 1)?;
    for want in [
        format!(
            "{} has no instance profile, so that {DOCUMENT} cannot run on it: attach one whose role has \
                 AmazonSSMManagedInstanceCore",
            bare.id
        ),
        format!(
            "the SSM agent of {} is ConnectionLost, so that {DOCUMENT} cannot run on it",
            lost.id
        ),
    ] {
        assert!(message.contains(&want), "{message}");
    }
    assert!(!message.contains(&stopped.id) && !message.contains(&good.id), "{message}");
    assert_eq!(ran(&stage)?, pairs(&[("pre-script", "Success"), ("post-script", "Success")]));
    let made = stage.aws.snapshots()?;
    assert_eq!(made.len(), 8, "all are protected");
    let consistent = |of: &Instance| {
        let of_it: Vec<_> =
            made.iter().filter(|it| it.tag("snapferry:instance") == of.id).collect();
        of_it[0].tag("snapferry:app-consistent").to_owned()
    };
    let told = [&bare, &lost, &stopped, &good].map(consistent);
    assert_eq!(told, ["false", "false", "", "true"]);
    Ok(())
}

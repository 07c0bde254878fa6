//! The local AWS tests itself: what the other tests stand on.

use std::process::Command;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::machine::{Machine, project};
use snapferry_tests::stage::Stage;

use crate::common::MEMBER;

#[test]
fn it_behaves_like_ec2() -> Result<()> {
    let machine = Machine::prepare()?;
    let output = Command::new(&machine.python)
        .current_dir(project().join("tests/local-aws"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("selftest.py")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("\nOK"), "{said}");
    Ok(())
}

/// Runs a command on one instance: its status and exit code.
fn run(
    stage: &Stage,
    instance: &str,
    document: &str,
    parameters: &Value,
) -> Result<(Value, Value)> {
    let ssm = |action: &str, body: &Value| {
        stage.aws.json(MEMBER, "ssm", &format!("AmazonSSM.{action}"), body)
    };
    let body =
        json!({"InstanceIds": [instance], "DocumentName": document, "Parameters": parameters});
    let sent = ssm("SendCommand", &body)?;
    stage.agents()?;
    let which = json!({"CommandId": sent["Command"]["CommandId"], "InstanceId": instance});
    let got = ssm("GetCommandInvocation", &which)?;
    Ok((got["Status"].clone(), got["ResponseCode"].clone()))
}

#[test]
fn its_instances_run_commands() -> Result<()> {
    let stage = Stage::new("commands")?;
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["ec2:CreateSnapshots", "ec2:CreateTags"], "Resource": "*"},
    ]});
    stage.instance_profile(MEMBER.account, "windows", &policy)?;
    let body = json!({
        "account": MEMBER.account, "region": MEMBER.region, "volumes": [{}, {}], "profile": "windows", "count": 2,
    });
    let made = stage.aws.post("instances", &body)?;
    let ids = [0, 1].map(|n| made["instances"][n]["id"].as_str().unwrap_or_default().to_owned());
    let [linux, windows] = &ids;
    stage.agent(MEMBER, linux, &json!({"scripts": {"post-script": {"exit": 202, "times": 1}}}))?;
    stage.agent(MEMBER, windows, &json!({"platform": "Windows"}))?;
    let parameters = json!({"command": {"type": "String"}, "executionId": {"type": "String"}});
    let step =
        json!({"action": "aws:runShellScript", "name": "freeze", "inputs": {"runCommand": []}});
    let content = json!({"schemaVersion": "2.2", "parameters": parameters, "mainSteps": [step]});
    stage.document(MEMBER, "Freeze", &content)?;
    for (command, status, code) in [
        ("pre-script", "Success", 0),
        ("post-script", "Failed", 202),
        ("post-script", "Success", 0),
        ("post-script", "Failed", 205),
    ] {
        let given = json!({"command": [command], "executionId": ["1"]});
        assert_eq!(run(&stage, linux, "Freeze", &given)?, (json!(status), json!(code)));
    }
    stage.aws.post("config", &json!({"identity_policies": true}))?;
    let given = json!({"tags": ["Key=team,Value=db"]});
    let done = run(&stage, windows, "AWSEC2-CreateVssSnapshot", &given)?;
    assert_eq!(done, (json!("Success"), json!(0)));
    let snapshots = stage.aws.snapshots()?;
    assert_eq!(snapshots.len(), 3);
    for each in snapshots {
        let tags = (each.tag("team"), each.tag("AppConsistent"), each.frozen);
        assert_eq!(tags, ("db", "True", Some(true)));
    }
    let frozen = |agent: &Value| (agent["freezes"].clone(), agent["thaws"].clone());
    let counts: Vec<_> = stage.agents()?.iter().map(frozen).collect();
    assert_eq!(counts, [(json!(1), json!(1)), (json!(1), json!(1))]);
    Ok(())
}

//! Commands before and after a backup: whatever happens between them, the one after it is sent.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::proof::Proof;

use super::{Backups, Ended};
use crate::common::{MEMBER, calls};

const DOCUMENT: &str = "arn:aws:ssm:eu-central-1:111111111111:document/application";
const STACK: &[(&str, &str)] = &[("BackupCommandDocuments", DOCUMENT)];

/// A stack whose commands are of the document `application`, and an instance with an agent.
struct Commands {
    backups: Backups,
    instance: String,
}

impl Commands {
    fn new(name: &str) -> Result<Self> {
        let backups = Backups::new(name, STACK)?;
        for document in ["application", "another"] {
            let content = json!({
                "schemaVersion": "2.2",
                "parameters": {"command": {"type": "String", "default": "dry-run"}, "executionId": {"type": "String", "default": "None"}},
                "mainSteps": [{"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}],
            });
            backups.stage.document(MEMBER, document, &content)?;
        }
        let knobs = json!({"command_seconds": 0, "invocation_seconds": 0.05, "command_timeout_factor": 0.05});
        backups.stage.aws.post("config", &knobs)?;
        let commands = Self { instance: backups.instance()?, backups };
        commands.agent(&json!({}))?;
        commands.backups.stage.aws.clear("calls")?;
        Ok(commands)
    }

    fn id(&self) -> &str {
        self.instance.rsplit('/').next().unwrap_or_default()
    }

    /// What answers on the instance from now on.
    fn agent(&self, scripts: &Value) -> Result<()> {
        let more = json!({"ping": "Online", "scripts": scripts});
        self.backups.stage.agent(MEMBER, self.id(), &more).map(drop)
    }

    /// The agent, as it stands.
    fn seen(&self) -> Result<Value> {
        Ok(self
            .backups
            .stage
            .aws
            .get(&format!("agents?wait=idle&timeout=60&instance={}", self.id()))?[0]
            .take())
    }

    fn input(&self) -> Value {
        json!({
            "ResourceArn": self.instance,
            "PreCommand": {"DocumentName": "application", "Parameters": {"command": ["pre-script"]}, "TimeoutSeconds": 60},
            "PostCommand": {"DocumentName": DOCUMENT, "Parameters": {"command": ["post-script"]}, "TimeoutSeconds": 60},
        })
    }

    /// One that fails, after which the application goes on all the same. Answers the result of the instance.
    fn fails_and_thaws(&self, what: &str, input: &Value) -> Result<(Ended, Value)> {
        let before = self.seen()?["thaws"].as_u64().unwrap_or_default();
        let ended = self.backups.execute(input)?;
        assert_eq!(ended.status, "FAILED", "{what}");
        let seen = self.seen()?;
        assert_eq!(
            (&seen["frozen"], &seen["thaws"]),
            (&json!(false), &json!(before + 1)),
            "{what}: {seen}"
        );
        let last = seen["commands"].as_array().and_then(|it| it.last()).ok_or("no commands")?;
        assert_eq!(last["kind"], "post-script", "{what}: {last}");
        let result = ended.summary["Results"][0].clone();
        assert_eq!(
            (&result["Outcome"], &result["PostCommand"]["Status"]),
            (&json!("Failed"), &json!("Success"))
        );
        Ok((ended, result))
    }
}

#[test]
fn an_application_stands_still_while_its_snapshots_begin() -> Result<()> {
    let commands = Commands::new("backup-commands")?;
    let summary = commands.backups.succeed(&commands.input())?;
    let post = &summary["Results"][0]["PostCommand"];
    assert_eq!((&post["Status"], post["CommandId"].is_string()), (&json!("Success"), true));
    let seen = commands.seen()?;
    assert_eq!(
        (&seen["frozen"], &seen["freezes"], &seen["thaws"]),
        (&json!(false), &json!(1), &json!(1))
    );
    let snapshots = commands.backups.stage.aws.get("snapshots")?;
    let frozen: Vec<_> =
        snapshots.as_array().into_iter().flatten().map(|it| &it["frozen"]).collect();
    assert_eq!(frozen, [&json!(true), &json!(true)], "{snapshots}");
    let kinds: Vec<_> =
        seen["commands"].as_array().into_iter().flatten().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["pre-script", "post-script"]);
    // Of a volume, on the instance that is named.
    let volume = commands.backups.volumes(1)?.remove(0);
    let mut input = commands.input();
    input["ResourceArn"] = json!(volume);
    let ended = commands.backups.execute(&input)?;
    let wanted = format!(
        "PreCommand.InstanceIds: nothing; wanted: on which instances, as {volume} is a volume"
    );
    assert!(ended.text.starts_with(&wanted), "{}", ended.text);
    for command in ["PreCommand", "PostCommand"] {
        input[command]["InstanceIds"] = json!([commands.id()]);
    }
    commands.backups.succeed(&input)?;
    assert_eq!(commands.seen()?["thaws"], 2);
    // Of several, each on itself.
    let other = commands.backups.instance()?;
    input["ResourceArns"] = json!([commands.instance, other]);
    input.as_object_mut().ok_or("no input")?.remove("ResourceArn");
    let ended = commands.backups.execute(&input)?;
    assert!(
        ended
            .text
            .contains("; wanted: none with several resources: each has its command on itself")
    );
    Ok(())
}

#[test]
fn the_application_goes_on_however_the_job_ends() -> Result<()> {
    let commands = Commands::new("backup-commands-job")?;
    let (backups, input) = (&commands.backups, commands.input());
    for state in ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"] {
        backups.plan(&commands.instance, &json!({"state": state, "message": "no such key"}))?;
        let (ended, result) = commands.fails_and_thaws(state, &input)?;
        assert_eq!(ended.error, "BackupFailed");
        assert_eq!((&result["State"], &result["Message"]), (&json!(state), &json!("no such key")));
    }
    backups.plan(&commands.instance, &json!({}))?;
    let mut wrong = input.clone();
    wrong["Lifecycle"] = json!({"MoveToColdStorageAfterDays": 9, "DeleteAfterDays": 9});
    let (_, result) = commands.fails_and_thaws("not started", &wrong)?;
    assert!(
        result["Message"]
            .as_str()
            .is_some_and(|it| it.starts_with("the job could not be started: "))
    );

    for action in ["StartBackupJob", "DescribeBackupJob"] {
        backups.fault(&json!({"action": action, "code": "ThrottlingException"}))?;
        commands.fails_and_thaws(&format!("{action} throttled"), &input)?;
        backups.stage.aws.clear("faults")?;
    }
    // What nobody has thought of: an answer without an id.
    backups.fault(&json!({"action": "StartBackupJob", "answer": "{}"}))?;
    let (_, result) = commands.fails_and_thaws("no id", &input)?;
    let message = "the job could not be started: States.QueryEvaluationError";
    assert!(result["Message"].as_str().is_some_and(|it| it.starts_with(message)), "{result}");
    backups.stage.aws.clear("faults")?;
    backups.cloud.wait_scale(0.001)?;
    backups.stage.aws.post("config", &json!({"backup_seconds": -1}))?;
    let mut endless = input;
    endless["CompleteWindowMinutes"] = json!(60);
    let (_, result) = commands.fails_and_thaws("endless", &endless)?;
    assert_eq!(result["State"], "RUNNING");
    Ok(())
}

#[test]
fn without_its_pre_command_there_is_no_backup_and_the_application_goes_on() -> Result<()> {
    let commands = Commands::new("backup-commands-pre")?;
    let (backups, input) = (&commands.backups, commands.input());
    // It fails, and has stopped the application all the same.
    commands.agent(&json!({"pre-script": {"exit": 201, "freezes": true}}))?;
    let (ended, result) = commands.fails_and_thaws("pre-command failed", &input)?;
    assert_eq!(
        (ended.error.as_str(), &result["PreCommand"]["Status"]),
        ("BackupFailed", &json!("Failed"))
    );
    let message = result["Message"].as_str().ok_or("no message")?;
    let start = format!(
        "the pre-command failed, so there is no backup: {} Failed: ERROR: pre-script failed",
        commands.id()
    );
    assert!(message.starts_with(&start), "{message}");

    // It takes too long: it is cancelled, so that it does not begin after the post-command.
    commands.agent(&json!({"pre-script": {"seconds": 3600, "at": "begin"}}))?;
    let (_, result) = commands.fails_and_thaws("pre-command too slow", &input)?;
    assert_eq!(result["PreCommand"]["Status"], "TimedOut", "{result}");
    let seen = commands.seen()?;
    assert_eq!(seen["commands"][2]["status"], "Cancelled", "{seen}");

    // Nobody knows what has become of it.
    commands.agent(&json!({}))?;
    backups.fault(
        &json!({"action": "ListCommandInvocations", "times": 7, "code": "ThrottlingException"}),
    )?;
    let (_, result) = commands.fails_and_thaws("pre-command unseen", &input)?;
    assert_eq!(result["PreCommand"]["Status"], "Unknown", "{result}");
    assert_eq!(backups.jobs()?.len(), 0);

    // It cannot be sent, so that there is nothing to thaw, which the application says.
    backups.stage.aws.clear("faults")?;
    backups.fault(&json!({"action": "SendCommand", "times": 5, "code": "ThrottlingException", "message": "Rate exceeded"}))?;
    let ended = backups.execute(&input)?;
    let result = &ended.summary["Results"][0];
    assert_eq!(
        (ended.error.as_str(), &result["PreCommand"]["Status"]),
        ("PostCommandFailed", &json!("NotSent"))
    );
    assert!(
        result["PreCommand"]["Message"]
            .as_str()
            .is_some_and(|it| it.starts_with("Ssm.SsmException: Rate exceeded"))
    );
    assert_eq!((&result["PostCommand"]["Status"], backups.jobs()?.len()), (&json!("Failed"), 0));
    // Throttled now and then, it is sent.
    backups.fault(&json!({"action": ["SendCommand", "ListCommandInvocations"], "times": 4, "code": "ThrottlingException"}))?;
    backups.succeed(&input)?;
    Ok(())
}

#[test]
fn a_post_command_that_fails_is_no_success_whatever_is_tolerated() -> Result<()> {
    let commands = Commands::new("backup-commands-post")?;
    let (backups, mut input) = (&commands.backups, commands.input());
    input["ToleratedFailures"] = json!(100);
    let loud = |what: &str, status: &str, message: &str| -> Result<()> {
        let ended = backups.execute(&input)?;
        let result = &ended.summary["Results"][0];
        assert_eq!(
            (ended.status.as_str(), ended.error.as_str()),
            ("FAILED", "PostCommandFailed"),
            "{what}"
        );
        let post = &result["PostCommand"];
        assert_eq!(
            (&post["Status"], &result["Outcome"]),
            (&json!(status), &json!("Completed")),
            "{what}"
        );
        assert!(post["Message"].as_str().is_some_and(|it| it.contains(message)), "{what}: {post}");
        assert_eq!(ended.summary["PostCommandsFailed"], 1);
        Ok(())
    };
    commands.agent(&json!({"post-script": {"exit": 202, "thaws": true}}))?;
    loud("failed", "Failed", "Failed: ERROR: post-script failed. Return Error Code: 202")?;
    commands.agent(&json!({"post-script": {"seconds": 10, "at": "begin"}}))?;
    loud("too slow", "TimedOut", "not over after 60 seconds")?;
    commands.agent(&json!({}))?;
    backups.fault(&json!({"action": "SendCommand", "skip": 1, "code": "ThrottlingException", "message": "Rate exceeded"}))?;
    loud("not sent", "NotSent", "Ssm.SsmException: Rate exceeded")?;
    assert_eq!(commands.seen()?["frozen"], true, "as it is told");
    Ok(())
}

/// A task by itself, in the role of the stack.
fn refused(commands: &Commands, task: &str, arguments: &Value) -> Result<String> {
    let Backups { cloud, stage, made, place } = &commands.backups;
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Task", "States": {"Task": {
        "Type": "Task", "Resource": format!("arn:aws:states:::aws-sdk:{task}"), "Arguments": arguments, "End": true,
    }}});
    let name = format!("refused-{}", stage.aws.calls()?.len());
    let role = format!("arn:aws:iam::{}:role/{}", place.account, made.id("OnDemandBackupRole")?);
    let params = json!({"name": name, "definition": definition.to_string(), "roleArn": role});
    let machine = cloud.call(*place, "stepfunctions", "create_state_machine", &params)?;
    let arn = machine["stateMachineArn"].as_str().ok_or("no state machine")?;
    let told = cloud.execute(*place, arn, &json!({}))?;
    assert_eq!(told["status"], "FAILED", "{task} {arguments}");
    stage.tried("OnDemandBackupRole");
    Ok(format!("{}: {}", told["error"], told["cause"]))
}

#[test]
fn the_role_may_do_this_and_no_more() -> Result<()> {
    let commands = Commands::new("backup-role")?;
    let Backups { stage, made, place, .. } = &commands.backups;
    let Place { account, .. } = place;
    stage.create_role(account, "another", &json!({"Version": "2012-10-17", "Statement": []}))?;
    let role = |name: &str| format!("arn:aws:iam::{account}:role/{name}");
    let job = |vault: &str, role: &str| json!({"BackupVaultName": vault, "IamRoleArn": role, "ResourceArn": commands.instance});
    let (vault, service) = (made.id("OnDemandBackupVault")?, role(made.id("BackupServiceRole")?));
    let send = |document: &str| json!({"DocumentName": document, "InstanceIds": [commands.id()]});
    for (task, arguments, action) in [
        ("backup:startBackupJob", job("Default", &service), "backup:StartBackupJob"),
        ("backup:startBackupJob", job(vault, &role("another")), "iam:PassRole"),
        ("backup:stopBackupJob", json!({"BackupJobId": "1"}), "backup:StopBackupJob"),
        ("ssm:sendCommand", send("another"), "ssm:SendCommand"),
        ("ssm:sendCommand", send("AWS-RunShellScript"), "ssm:SendCommand"),
        (
            "ssm:putParameter",
            json!({"Name": "n", "Value": "v", "Type": "String"}),
            "ssm:PutParameter",
        ),
    ] {
        let told = refused(&commands, task, &arguments)?;
        assert!(
            told.contains(&format!("is not authorized to perform: {action} on")),
            "{task}: {told}"
        );
    }
    assert_eq!(
        (commands.seen()?["commands"].clone(), commands.backups.jobs()?.len()),
        (json!([]), 0)
    );
    Ok(())
}

/// What the state machine does, held against the template: with a pre-command that is cancelled.
pub(crate) fn proof() -> Result<Proof> {
    let commands = Commands::new("permissions-backup")?;
    commands.backups.succeed(&commands.input())?;
    commands.agent(&json!({"pre-script": {"seconds": 3600, "at": "begin"}}))?;
    commands.fails_and_thaws("cancelled", &commands.input())?;
    assert_eq!(calls(&commands.backups.stage.aws)?.get("CancelCommand"), Some(&1));
    commands.backups.stage.prove()
}

//! On-demand backups as the template deploys them: its state machine, in its role, and AWS Backup's jobs.

mod commands;
mod ours;
mod template;

pub(crate) use commands::proof;

use std::time::Duration;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::cloud::{Cloud, Deployed, Wanted, eventually};
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, Stage};

use crate::common::{MEMBER, calls};
use crate::deployed::assert_nothing_refused;
use crate::stack::UNSUPPORTED;

/// A stack in an account whose volumes and instances it backs up.
pub(crate) struct Backups {
    pub(crate) stage: Stage,
    cloud: Cloud,
    pub(crate) made: Deployed,
    place: Place<'static>,
}

/// How an execution ended, and its summary or what it said.
struct Ended {
    status: String,
    error: String,
    text: String,
    summary: Value,
}

impl Backups {
    pub(crate) fn new(name: &str, parameters: &[(&str, &str)]) -> Result<Self> {
        Self::at(name, MEMBER, parameters)
    }

    fn at(name: &str, place: Place<'static>, parameters: &[(&str, &str)]) -> Result<Self> {
        let stage = Stage::new(name)?;
        let knobs =
            json!({"identity_policies": true, "snapshot_seconds": 0.1, "backup_seconds": 0.1});
        stage.aws.post("config", &knobs)?;
        let cloud = stage.cloud()?;
        cloud.wait_scale(0.01)?;
        let parameters = [&[("Role", "backup")], parameters].concat();
        let made = cloud.create(Wanted {
            place,
            name: "snapferry",
            template: "template.yaml",
            parameters: &parameters,
            without: &UNSUPPORTED,
        })?;
        let documents = parameters.iter().find(|(name, _)| *name == "BackupCommandDocuments");
        let documents = documents.map_or("", |(_, value)| value).split(',').collect::<Value>();
        let account = place.account;
        let vault = made.id("OnDemandBackupVault")?;
        let role = made.id("BackupServiceRole")?;
        stage.deployed_with([
            ("BackupCommandDocuments", documents),
            ("BackupServiceRole.Arn", json!(format!("arn:aws:iam::{account}:role/{role}"))),
            (
                "OnDemandBackupVault.BackupVaultArn",
                json!(format!("arn:aws:backup:{HOME}:{account}:backup-vault:{vault}")),
            ),
        ]);
        stage.aws.clear("calls")?;
        Ok(Self { stage, cloud, made, place })
    }

    fn execute(&self, input: &Value) -> Result<Ended> {
        let told = self.cloud.execute(self.place, self.made.id("OnDemandBackupMachine")?, input)?;
        let of = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let status = of("status");
        let text = of(if status == "SUCCEEDED" { "output" } else { "cause" });
        let summary = serde_json::from_str(&text).unwrap_or_default();
        println!("{input}\n  {status} {} {text}", of("error"));
        Ok(Ended { status, error: of("error"), text, summary })
    }

    /// One that succeeds.
    pub(crate) fn succeed(&self, input: &Value) -> Result<Value> {
        let ended = self.execute(input)?;
        assert_eq!(ended.status, "SUCCEEDED", "{}", ended.text);
        Ok(ended.summary)
    }

    /// ARNs of volumes that are made.
    fn volumes(&self, count: usize) -> Result<Vec<String>> {
        let made = self.stage.aws.volumes(self.place, count, &json!({}))?;
        Ok(made.iter().map(|id| self.arn("volume", id)).collect())
    }

    /// The ARN of an instance that is made, with a root volume and another one.
    pub(crate) fn instance(&self) -> Result<String> {
        let Place { account, region } = self.place;
        let body = json!({"account": account, "region": region, "volumes": [{}]});
        let made = self.stage.aws.post("instances", &body)?;
        Ok(self.arn("instance", made["instances"][0]["id"].as_str().ok_or("no instance")?))
    }

    fn arn(&self, kind: &str, id: &str) -> String {
        format!("arn:aws:ec2:{HOME}:{}:{kind}/{id}", self.place.account)
    }

    fn jobs(&self) -> Result<Vec<Value>> {
        Ok(self.stage.aws.get("backups")?.as_array().cloned().unwrap_or_default())
    }

    /// How a resource's jobs are to end from now on.
    fn plan(&self, resource: &str, how: &Value) -> Result<()> {
        let mut body = json!({"resource": resource});
        if let (Some(body), Some(how)) = (body.as_object_mut(), how.as_object()) {
            body.extend(how.clone());
        }
        self.stage.aws.post("backups", &body).map(drop)
    }

    fn fault(&self, fault: &Value) -> Result<()> {
        self.stage.aws.post("faults", fault).map(drop)
    }
}

#[test]
fn volumes_and_an_instance_are_backed_up_as_they_are_asked_for() -> Result<()> {
    let defaults =
        r#"{"Lifecycle": {"DeleteAfterDays": 35}, "RecoveryPointTags": {"it's": "\"on\" demand"}}"#;
    let backups = Backups::new("backup", &[("BackupDefaults", defaults)])?;
    let (volumes, instance) = (backups.volumes(2)?, backups.instance()?);
    let summary = backups.succeed(&json!({"ResourceArns": volumes}))?;
    let counts = ["Resources", "Completed", "Failed", "Lost", "PostCommandsFailed"];
    assert_eq!(counts.map(|name| summary[name].as_u64()), [2, 2, 0, 0, 0].map(Some));
    let result = &summary["Results"][1];
    let members: Vec<_> = result.as_object().into_iter().flatten().map(|it| it.0).collect();
    assert_eq!(members, ["BackupJobId", "Outcome", "RecoveryPointArn", "ResourceArn", "State"]);
    assert_eq!(
        (&result["ResourceArn"], &result["State"]),
        (&json!(volumes[1]), &json!("COMPLETED"))
    );

    let asked = json!({
        "ResourceArn": instance, "WindowsVSS": true, "IdempotencyToken": "tuesday", "StartWindowMinutes": 90,
        "CompleteWindowMinutes": 120, "RecoveryPointTags": {"why": "upgrade"},
        "Lifecycle": {"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91, "OptInToArchiveForSupportedResources": true},
    });
    let summary = backups.succeed(&asked)?;
    assert_eq!(summary["Results"][0]["AppConsistent"], true, "{summary}");
    let jobs = backups.jobs()?;
    let id = instance.rsplit('/').next().unwrap_or_default();
    let mut wanted = json!({
        "ResourceArn": instance, "IdempotencyToken": format!("tuesday-{id}"), "StartWindowMinutes": 90,
        "CompleteWindowMinutes": 120, "BackupOptions": {"WindowsVSS": "enabled"},
        "RecoveryPointTags": {"why": "upgrade"}, "Lifecycle": asked["Lifecycle"],
        "BackupVaultName": backups.made.id("OnDemandBackupVault")?,
    });
    wanted["IamRoleArn"] = json!(format!(
        "arn:aws:iam::{}:role/{}",
        MEMBER.account,
        backups.made.id("BackupServiceRole")?
    ));
    assert_eq!(jobs[2]["Asked"], wanted);
    assert_eq!(jobs[0]["Asked"]["Lifecycle"], json!({"DeleteAfterDays": 35}));
    let snapshots = backups.stage.aws.snapshots()?;
    let of = |tag: &str, value: &str| snapshots.iter().filter(|it| it.tag(tag) == value).count();
    assert_eq!((of("it's", "\"on\" demand"), of("why", "upgrade")), (2, 2));
    assert_eq!((of("aws:backup:source-resource", id), snapshots.len()), (2, 4));

    backups.plan(&instance, &json!({"vss": false}))?;
    let summary = backups.succeed(&json!({"ResourceArn": instance, "WindowsVSS": true}))?;
    let result = &summary["Results"][0];
    let vss = "Windows VSS Backup Job Error encountered, trying for regular backup";
    assert_eq!(
        (&result["Outcome"], &result["AppConsistent"], &result["Message"]),
        (&json!("Completed"), &json!(false), &json!(vss))
    );
    let role = backups.made.id("OnDemandBackupRole")?;
    let calls = backups.stage.aws.get("calls?service=backup")?;
    for call in calls["calls"].as_array().ok_or("no calls")? {
        assert!(call["role"].as_str().is_some_and(|it| it.ends_with(role)), "{call}");
    }
    assert_nothing_refused(&backups.stage.aws)
}

#[test]
fn a_job_that_does_not_end_well_is_told_with_what_aws_backup_says() -> Result<()> {
    let backups = Backups::new("backup-failures", &[])?;
    let volumes = backups.volumes(4)?;
    for (volume, state) in volumes.iter().zip(["FAILED", "ABORTED", "EXPIRED"]) {
        let message = format!("{state}: the volume's key is gone");
        backups.plan(volume, &json!({"state": state, "message": message}))?;
        let ended = backups.execute(&json!({"ResourceArn": volume}))?;
        let result = &ended.summary["Results"][0];
        assert_eq!((ended.status.as_str(), ended.error.as_str()), ("FAILED", "BackupFailed"));
        assert_eq!((&result["State"], &result["Message"]), (&json!(state), &json!(message)));
        assert_eq!(
            (&result["Outcome"], &result["ResourceArn"]),
            (&json!("Failed"), &json!(volume))
        );
    }
    for (tolerated, status) in [(3, "SUCCEEDED"), (2, "FAILED")] {
        let input = json!({"ResourceArns": volumes, "ToleratedFailures": tolerated});
        let ended = backups.execute(&input)?;
        let counts = ["Completed", "Failed"].map(|name| ended.summary[name].as_u64());
        assert_eq!((ended.status.as_str(), counts), (status, [Some(1), Some(3)]));
    }
    Ok(())
}

#[test]
fn a_job_that_cannot_be_started_or_seen_is_told() -> Result<()> {
    let backups = Backups::new("backup-unseen", &[])?;
    let volume = backups.volumes(1)?.remove(0);
    let wrong = json!({"ResourceArn": volume, "Lifecycle": {"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 60}});
    let ended = backups.execute(&wrong)?;
    let message = "the job could not be started: Backup.InvalidParameterValueException: DeleteAfterDays must be 90 days \
                   greater than MoveToColdStorageAfterDays";
    assert!(
        ended.summary["Results"][0]["Message"].as_str().is_some_and(|it| it.starts_with(message))
    );
    assert_eq!((ended.error.as_str(), backups.jobs()?.len()), ("BackupFailed", 0));
    let calls = calls(&backups.stage.aws)?;
    assert_eq!(calls.get("StartBackupJob"), Some(&1), "no use in trying again: {calls:?}");

    for action in ["StartBackupJob", "DescribeBackupJob"] {
        backups.fault(&json!({"action": action, "times": 4, "code": "ThrottlingException"}))?;
    }
    backups.succeed(&json!({"ResourceArn": volume}))?;
    assert_eq!(backups.jobs()?.len(), 1);

    backups.fault(&json!({"action": "DescribeBackupJob", "code": "ThrottlingException", "message": "Rate exceeded"}))?;
    let ended = backups.execute(&json!({"ResourceArn": volume}))?;
    let (result, job) = (&ended.summary["Results"][0], &backups.jobs()?[1]);
    let message = "what has become of the job is not known: Backup.BackupException: Rate exceeded";
    assert!(result["Message"].as_str().is_some_and(|it| it.starts_with(message)), "{result}");
    assert_eq!(
        (ended.error.as_str(), &result["BackupJobId"]),
        ("BackupFailed", &job["BackupJobId"])
    );
    Ok(())
}

#[test]
fn a_job_that_never_ends_is_not_waited_for_forever() -> Result<()> {
    let backups = Backups::new("backup-endless", &[])?;
    let volume = backups.volumes(1)?.remove(0);
    backups.stage.aws.post("config", &json!({"backup_seconds": -1}))?;
    backups.cloud.wait_scale(0.001)?;
    let input = json!({"ResourceArn": volume, "CompleteWindowMinutes": 60});
    let ended = backups.execute(&input)?;
    let result = &ended.summary["Results"][0];
    assert_eq!((&result["Outcome"], &result["State"]), (&json!("Failed"), &json!("RUNNING")));
    assert_eq!(
        result["Message"],
        "not over an hour after CompleteWindowMinutes, and no longer waited for"
    );
    Ok(())
}

#[test]
fn whoever_asks_again_gets_the_same_job() -> Result<()> {
    let backups = Backups::new("backup-token", &[])?;
    let volumes = backups.volumes(2)?;
    // AWS Backup has begun a job, and its answer was lost.
    let lost = json!({"action": "StartBackupJob", "times": 2, "code": "ServiceUnavailableException", "after": true});
    backups.fault(&lost)?;
    backups.succeed(&json!({"ResourceArn": volumes[0]}))?;
    assert_eq!(backups.jobs()?.len(), 1);
    let twice = |input: &Value, jobs: usize| -> Result<()> {
        let one = backups.succeed(input)?;
        let snapshots = backups.stage.aws.snapshots()?.len();
        assert_eq!(backups.succeed(input)?["Results"], one["Results"]);
        assert_eq!(
            (backups.jobs()?.len(), backups.stage.aws.snapshots()?.len()),
            (jobs, snapshots)
        );
        Ok(())
    };
    twice(&json!({"ResourceArns": volumes, "IdempotencyToken": "before the upgrade"}), 3)?;
    twice(&json!({"ResourceArns": volumes, "ScheduledTime": "2026-03-01T03:00:00Z"}), 5)?;
    // By hand, each is one of its own.
    backups.succeed(&json!({"ResourceArn": volumes[0]}))?;
    assert_eq!(backups.jobs()?.len(), 6);
    Ok(())
}

#[test]
fn the_deployed_schedule_backs_up_what_the_defaults_name() -> Result<()> {
    let volume = "arn:aws:ec2:eu-central-1:111111111111:volume/vol-0123456789abcdef0";
    let defaults = json!({"ResourceArns": [volume]}).to_string();
    let parameters = [("BackupDefaults", defaults.as_str()), ("BackupSchedule", "rate(1 day)")];
    let backups = Backups::new("backup-schedule", &parameters)?;
    let (cloud, place) = (&backups.cloud, backups.place);
    let schedule = json!({"Name": backups.made.id("OnDemandBackupSchedule")?});
    let schedule = cloud.call(place, "scheduler", "get_schedule", &schedule)?;
    assert_eq!(schedule["ScheduleExpression"], "rate(1 day)");
    // As the stack made it, but now and once.
    let once = json!({
        "Name": "once", "ScheduleExpression": "at(2026-01-01T00:00:00)",
        "FlexibleTimeWindow": schedule["FlexibleTimeWindow"], "Target": schedule["Target"],
    });
    cloud.call(place, "scheduler", "create_schedule", &once)?;
    let job = eventually(Duration::from_secs(20), "the job", || Ok(backups.jobs()?.pop()))?;
    let token = job["Asked"]["IdempotencyToken"].as_str().ok_or("no token")?;
    assert!(token.ends_with("Z-vol-0123456789abcdef0"), "the scheduled time's: {token}");
    assert_eq!((&job["ResourceArn"], backups.jobs()?.len()), (&json!(volume), 1));
    // Whoever names another one means that only.
    let other = backups.volumes(1)?.remove(0);
    let summary = backups.succeed(&json!({"ResourceArn": other}))?;
    assert_eq!((&summary["Resources"], backups.jobs()?.len()), (&json!(1), 2));
    Ok(())
}

#[test]
fn what_is_wrong_with_the_input_is_told_before_anything_is_done() -> Result<()> {
    let backups = Backups::new("backup-input", &[])?;
    let (volume, instance) = (&backups.volumes(1)?[0], backups.instance()?);
    let there = "; wanted: the ARN of an instance or a volume, \
                 arn:aws:ec2:eu-central-1:111111111111:instance/i-... or :volume/vol-...";
    let vpc = "arn:aws:ec2:eu-central-1:111111111111:vpc/vpc-0123456789abcdef0";
    for (mut input, said) in [
        (json!({"ResourceArns": []}), "ResourceArns: nothing; wanted: ARNs of instances or volumes".to_owned()),
        (json!({"ResourceArns": ["vol-1", 7]}), format!("ResourceArns: vol-1{there}. ResourceArns: 7{there}")),
        (json!({"ResourceArn": vpc}), format!("ResourceArns: {vpc}{there}")),
        (json!({"ResourceArns": [volume, volume]}), format!("ResourceArns: [\"{volume}\",\"{volume}\"]; wanted: each of them once")),
        (json!({"WindowsVSS": true, "ResourceArn": volume}), format!("WindowsVSS: true; wanted: nothing or false, as {volume} is no instance")),
        (json!({"WindowsVSS": "yes"}), "WindowsVSS: yes; wanted: true or false".into()),
        (json!({"StartWindowMinutes": 5}), "StartWindowMinutes: 5; wanted: a whole number from 60 to 10080".into()),
        (json!({"CompleteWindowMinutes": 99.5}), "CompleteWindowMinutes: 99.5; wanted: a whole number from 60 to 10080".into()),
        (json!({"ToleratedFailures": "0"}), "ToleratedFailures: 0; wanted: a whole number from 0 to 100".into()),
        (json!({"RecoveryPointTags": {"n": 1}}), "RecoveryPointTags: {\"n\":1}; wanted: an object of texts".into()),
        (json!({"IdempotencyToken": ""}), "IdempotencyToken: ; wanted: text".into()),
        (json!({"Lifecycle": {"DeleteAfterDays": 0}}), "Lifecycle.DeleteAfterDays: 0; wanted: a whole number above 0".into()),
        (json!({"Lifecycle": {"Delete": 1}}), "Lifecycle.Delete: no such member; there are MoveToColdStorageAfterDays, DeleteAfterDays, OptInToArchiveForSupportedResources".into()),
        (json!({"Lifecycle": 7}), "Lifecycle: 7; wanted: an object".into()),
        (json!({"PreCommand": {"DocumentName": "freeze"}}), "PreCommand.DocumentName: freeze; wanted: one of BackupCommandDocuments: ".into()),
        (json!({"PostCommand": "thaw"}), "PostCommand: thaw; wanted: an object".into()),
    ] {
        if input.get("ResourceArn").is_none() && input.get("ResourceArns").is_none() {
            input["ResourceArn"] = json!(instance);
        }
        let ended = backups.execute(&input)?;
        assert_eq!((ended.error.as_str(), &ended.text), ("InvalidInput", &said));
    }
    let ended = backups.execute(&json!({"ResourceArn": volume, "PreComand": {}}))?;
    assert!(
        ended.text.starts_with("PreComand: no such member; there are ResourceArn, "),
        "{}",
        ended.text
    );
    assert_eq!(backups.stage.aws.calls()?.len(), 0, "nothing was asked of AWS");
    Ok(())
}

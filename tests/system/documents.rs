//! Policy documents: mistakes are all named, the others run, and they come from where the contract says.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::machine::project;
use snapferry_tests::stage::{AWAY, EXTERNAL_ID, HOME, MEMBERS, Stage, role_arn, vault};
use snapferry_tests::template::POLICIES;

use crate::common::{count, failed, night, nightly, vault_policy};

#[test]
fn a_document_with_five_mistakes_names_all_five_and_the_others_run() -> Result<()> {
    let stage = Stage::new("five-mistakes")?;
    let member = Place { account: MEMBERS[0], region: HOME };
    stage.aws.volumes(member, 2, &json!({"tags": {"Backup": "daily"}}))?;
    let wrong = json!({
        "Name": "wrong",
        "Targets": [{"RoleArn": "arn:aws:iam::1:role/x", "Regions": ["eu-central-1", "Frankfurt"]}],
        "PolicyDetails": {
            "TargetTags": [{"Key": "Backup", "Value": "daily"}],
            "Schedules": [{
                "Name": "nightly",
                "CreateRule": {"CronExpression": "cron(0 2 * * *)"},
                "RetainRule": {"Count": 5000},
                "CopyTag": true,
            }],
        },
    });
    let good = nightly(&[HOME], &json!({"Count": 2}));
    let rotate = stage.function("rotate-snapshots", &json!([wrong, good, vault_policy(&[])]))?;
    let message = failed(&rotate.invoke(&night(1))?, "InvalidPolicy");
    for pointer in [
        "/Targets/0/RoleArn: ",
        "/Targets/0/Regions/1: ",
        "/PolicyDetails/Schedules/0/CreateRule/CronExpression: ",
        "/PolicyDetails/Schedules/0/RetainRule/Count: ",
        "/PolicyDetails/Schedules/0/CopyTag: ",
    ] {
        assert_eq!(message.matches(pointer).count(), 1, "{pointer} in: {message}");
    }
    assert!(message.starts_with("policy \"wrong\" is invalid: "), "{message}");
    assert!(
        !message.contains("vault"),
        "the other function's documents are passed over: {message}"
    );
    assert_eq!(stage.aws.snapshots()?.len(), 2, "the good document ran");
    Ok(())
}

#[test]
fn documents_come_from_parameter_store() -> Result<()> {
    let stage = Stage::new("parameters")?;
    let member = Place { account: MEMBERS[0], region: HOME };
    stage.aws.volumes(member, 1, &json!({"tags": {"Backup": "daily"}}))?;
    for n in 0..11 {
        let mut document = nightly(&[HOME], &json!({"Count": 2}));
        document["State"] = json!(if n == 10 { "ENABLED" } else { "DISABLED" });
        if let Some(document) = document.as_object_mut() {
            document.remove("Name");
        }
        let parameter = json!({"Name": format!("{POLICIES}team/p{n}"), "Type": "SecureString",
                               "Value": document.to_string()});
        stage.aws.json(vault(), "ssm", "AmazonSSM.PutParameter", &parameter)?;
    }
    let env = vec![("POLICIES", format!("ssm:{POLICIES}"))];
    let rotate = stage.function_with("rotate-snapshots", env, 60)?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 1);
    let made = stage.aws.snapshots()?;
    assert_eq!(made[0].tag("snapferry:policy"), "p10", "the last part of the parameter's name");

    let env = vec![("POLICIES", format!("ssm:{POLICIES}others"))];
    let rotate = stage.function_with("rotate-snapshots", env, 60)?;
    let message = failed(&rotate.invoke(&night(1))?, "InvalidConfiguration");
    assert!(message.contains("POLICIES") && message.contains("found no document"), "{message}");
    let rotate = stage.function_with("rotate-snapshots", vec![], 60)?;
    let message = failed(&rotate.invoke(&night(1))?, "InvalidConfiguration");
    assert!(message.contains("found nothing"), "{message}");
    Ok(())
}

#[test]
fn the_seed_policy_keeps_so_many_generations_of_one_volume() -> Result<()> {
    let stage = Stage::new("seed")?;
    let member = Place { account: MEMBERS[0], region: HOME };
    let volume = stage.aws.volumes(member, 1, &json!({}))?.remove(0);
    let policy = json!({
        "Targets": [{"RoleArn": role_arn(MEMBERS[0]), "ExternalId": EXTERNAL_ID}],
        "PolicyDetails": {"TargetVolumeIds": [volume], "Schedules": [{"RetainRule": {"Count": 2}}]},
    });
    let rotate = stage.function("rotate-snapshots", &policy)?;
    for minute in 1..=5 {
        let event = json!({"ScheduledTime": format!("2026-03-01T02:{minute:02}:30Z")});
        let report = rotate.invoke(&event)?.report()?;
        assert_eq!(count(&report, "CreateSnapshot"), 1, "every run creates");
        assert_eq!(rotate.invoke(&event)?.report()?["Status"], "Succeeded", "but one event once");
        stage.aws.settle()?;
    }
    rotate.invoke(&json!({"ScheduledTime": "2026-03-01T02:05:59Z"}))?.report()?;
    let slots: Vec<String> =
        stage.aws.snapshots()?.iter().map(|it| it.tag("snapferry:slot").to_owned()).collect();
    assert_eq!(slots, ["2026-03-01T02:04:00Z", "2026-03-01T02:05:00Z"]);
    Ok(())
}

#[test]
fn a_policy_that_aims_at_nothing_does_not_pass_for_success() -> Result<()> {
    let stage = Stage::new("aimless")?;
    let place = Place { account: MEMBERS[0], region: HOME };
    let gone = stage.aws.volumes(place, 1, &json!({}))?.remove(0);
    let target = json!({"RoleArn": role_arn(MEMBERS[0]), "ExternalId": EXTERNAL_ID, "Regions": [HOME, AWAY]});
    let policy = |ids: &[&str]| {
        json!({"Name": "p", "Targets": [target], "PolicyDetails": {
            "TargetVolumeIds": ids, "Schedules": [{"RetainRule": {"Count": 2}}]}})
    };
    let rotate = stage.function("rotate-snapshots", &json!([]))?;
    let send = |policy: Value| rotate.invoke(&json!({"Policies": [policy]}));
    let mistyped = "vol-0123456789abcdef0";
    let message = failed(&send(policy(&[&gone, mistyped]))?, "ActionsFailed");
    assert!(
        message.contains("there is no volume vol-0123456789abcdef0, nor a snapshot of it"),
        "{message}"
    );
    assert_eq!(stage.aws.snapshots()?.len(), 1, "the volume in one of the Regions is snapshotted");

    stage.aws.settle()?;
    let form = [("Action", "DeleteVolume"), ("Version", "2016-11-15"), ("VolumeId", gone.as_str())];
    stage.aws.query(place, "ec2", &form)?;
    let report = send(policy(&[&gone]))?.report()?;
    assert_eq!(report["Held"][0]["SnapshotId"], stage.aws.snapshots()?[0].id, "{report}");

    let mut tagged = nightly(&[HOME, AWAY], &json!({"Count": 2}));
    tagged["PolicyDetails"]["TargetTags"][0]["Value"] = json!("dialy");
    let report = send(tagged)?.report()?;
    let reason = "the policy targets no volume in any of its accounts and Regions";
    assert_eq!(report["Held"][0]["Reason"], reason, "{report}");
    let message = failed(&rotate.invoke(&json!({"Policies": []}))?, "InvalidEvent");
    assert!(message.contains("/Policies: want at least one policy document"), "{message}");
    Ok(())
}

#[test]
fn every_example_is_a_good_policy_and_every_sample_event_is_read() -> Result<()> {
    let json_files = |folder: &str| -> Result<Vec<(String, Value)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(project().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "json") {
                let text = std::fs::read_to_string(&path)?;
                files.push((path.display().to_string(), serde_json::from_str(&text)?));
            }
        }
        assert!(files.len() >= 4, "{folder}");
        Ok(files)
    };
    for (path, document) in json_files("events/policies")? {
        let read = snapferry_core::policy::document::read(&document, "example");
        assert!(read.is_ok(), "{path}: {read:?}");
    }
    for (path, event) in json_files("events")? {
        let rotate = snapferry_core::event::RotateEvent::parse(&event).is_ok();
        let copy = snapferry_core::event::CopyEvent::parse(&event).is_ok();
        assert!(rotate || copy, "{path}");
    }
    Ok(())
}

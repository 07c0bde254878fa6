//! Policies for instances: all volumes at one instant, or none of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::roles::SCRIPT_DOCUMENT;
use snapferry_tests::stage::{Stage, TARGETS, VAULT};

use crate::common::{
    MEMBER, age, count, ec2, for_member, held, lines, night, only_looked, run, slot, vault_policy,
};

/// An instance; its volumes are in the order of their devices, the root first.
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) volumes: Vec<String>,
}

pub(crate) fn instance(stage: &Stage, tags: &Value, volumes: &Value) -> Result<Instance> {
    let made = stage.aws.post(
        "instances",
        &json!({
            "account": MEMBER.account, "region": MEMBER.region, "tags": tags, "volumes": volumes,
        }),
    )?;
    let made = &made["instances"][0];
    let volumes = made["volumes"].as_object().ok_or("no volumes")?;
    Ok(Instance {
        id: made["id"].as_str().unwrap_or_default().to_owned(),
        volumes: volumes.values().filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// Every instance with the tag `Backup=set`, without what is scratch.
pub(crate) fn sets(retain: &Value) -> Value {
    for_member(
        "sets",
        &json!({
            "ResourceTypes": ["INSTANCE"],
            "TargetTags": [{"Key": "Backup", "Value": "set"}],
            "Parameters": {"ExcludeDataVolumeTags": [{"Key": "scratch", "Value": "yes"}]},
            "Schedules": [{
                "Name": "nightly",
                "CreateRule": {"CronExpression": "cron(0 2 * * ? *)"},
                "RetainRule": retain,
                "CopyTags": true,
                "TagsToAdd": [{"Key": "made-by", "Value": "nightly"}],
                "VariableTags": [
                    {"Key": "at", "Value": "$(timestamp)"},
                    {"Key": "from", "Value": "$(instance-id)"},
                ],
            }],
        }),
    )
}

/// An instance with such an agent, a document with scripts, and the policy that runs them around its snapshots.
pub(crate) fn scripted(stage: &Stage, agent: &Value) -> Result<(Instance, Value)> {
    let text = json!({"type": "String"});
    let step = json!({
        "action": "aws:runShellScript", "name": "freeze",
        "inputs": {"runCommand": [], "timeoutSeconds": "10"},
    });
    let content = json!({
        "schemaVersion": "2.2", "mainSteps": [step], "parameters": {"command": text, "executionId": text},
    });
    stage.document(MEMBER, SCRIPT_DOCUMENT, &content)?;
    let database = instance(stage, &json!({"Backup": "scripted"}), &json!([]))?;
    stage.agent(MEMBER, &database.id, agent)?;
    let script = json!({"ExecutionHandler": SCRIPT_DOCUMENT, "MaximumRetryCount": 1});
    let policy = for_member(
        "scripted",
        &json!({
            "ResourceTypes": ["INSTANCE"],
            "TargetTags": [{"Key": "Backup", "Value": "scripted"}],
            "Schedules": [{
                "CreateRule": {"CronExpression": "cron(0 2 * * ? *)", "Scripts": [script]},
                "RetainRule": {"Count": 1},
            }],
        }),
    );
    Ok((database, policy))
}

fn ids(snapshots: &[Snapshot]) -> BTreeSet<&str> {
    snapshots.iter().map(|it| it.id.as_str()).collect()
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn a_set_is_all_volumes_of_an_instance_at_one_instant() -> Result<()> {
    let stage = Stage::new("sets")?;
    let more = json!({"multi_attach": true, "tags": {"Name": "quorum"}});
    let shared = stage.aws.volumes(MEMBER, 1, &more)?.remove(0);
    let data = json!([shared, {"tags": {"Team": "shop"}}, {"tags": {"scratch": "yes"}}]);
    let web = instance(&stage, &json!({"Backup": "set", "Name": "web-1"}), &data)?;
    let excluded = web.volumes[3].as_str();
    instance(&stage, &json!({"Name": "web-2"}), &json!([shared]))?;
    let rotate = stage.function("rotate-snapshots", &sets(&json!({"Count": 2})))?;

    let mut rehearsal = night(1);
    rehearsal["DryRun"] = json!(true);
    let report = run(&stage, &rotate, &rehearsal)?;
    let line = &report["Actions"][0];
    assert_eq!((&line["Outcome"], &line["InstanceId"]), (&json!("Planned"), &json!(web.id)));
    assert!(stage.aws.snapshots()?.is_empty(), "a dry run does nothing");

    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!((count(&report, "CreateSnapshots"), count(&report, "CreateSnapshot")), (1, 0));
    let line = &report["Actions"][0];
    let made = stage.aws.snapshots()?;
    assert_eq!(texts(&line["SnapshotIds"]), ids(&made), "{line}");
    for (member, value) in [
        ("Action", "CreateSnapshots"),
        ("InstanceId", &web.id),
        ("Policy", "sets"),
        ("Schedule", "nightly"),
        ("Slot", &slot(1)),
        ("Outcome", "Done"),
    ] {
        assert_eq!(line[member], value, "{member} of {line}");
    }
    assert!(line.get("SnapshotId").is_none() && line.get("VolumeId").is_none(), "{line}");

    let volumes: BTreeSet<&str> = made.iter().map(|it| it.volume.as_str()).collect();
    let wanted = web.volumes.iter().map(String::as_str).filter(|id| *id != excluded);
    assert_eq!(volumes, wanted.collect(), "all but the scratch volume, the shared one included");
    assert!(made.iter().all(|it| it.start_time == made[0].start_time), "one instant");
    for snapshot in &made {
        let mut tags = json!({
            "snapferry:policy": "sets", "snapferry:schedule": "nightly",
            "snapferry:slot": slot(1), "snapferry:instance": web.id, "snapferry:volumes": "3",
            "made-by": "nightly", "at": slot(1), "from": web.id,
        });
        match web.volumes.iter().position(|id| *id == snapshot.volume) {
            Some(1) => tags["Name"] = json!("quorum"),
            Some(2) => tags["Team"] = json!("shop"),
            _ => {}
        }
        assert_eq!(snapshot.tags, tags, "{}", snapshot.volume);
        let description = format!(
            "Created for policy: sets schedule: nightly slot: {} instance: {} name: web-1",
            slot(1),
            web.id
        );
        assert_eq!(snapshot.description, description);
    }
    let covered: BTreeSet<&str> = report["Coverage"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|line| line["VolumeId"].as_str())
        .collect();
    assert_eq!(covered, volumes);

    stage.aws.clear("calls")?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!((&report["Status"], &report["Actions"]), (&json!("Succeeded"), &json!([])));
    assert!(only_looked(&stage.aws)?, "a settled world gets no changes");
    Ok(())
}

#[test]
fn boot_volumes_stay_out_and_what_has_no_volumes_left_is_told() -> Result<()> {
    let stage = Stage::new("sets-without-boot")?;
    let tags = json!({"Backup": "set"});
    let data = instance(&stage, &tags, &json!([{}, {}]))?;
    let diskless = instance(&stage, &tags, &json!([{"tags": {"scratch": "yes"}}]))?;
    let stopped = instance(&stage, &tags, &json!([{}]))?;
    let gone = instance(&stage, &tags, &json!([{}]))?;
    let act = |action, id| ec2(&stage.aws, MEMBER, &[("Action", action), ("InstanceId.1", id)]);
    act("StopInstances", &stopped.id)?;
    act("TerminateInstances", &gone.id)?;
    let mut policy = sets(&json!({"Count": 2}));
    policy["PolicyDetails"]["Parameters"]["ExcludeBootVolume"] = json!(true);
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(count(&report, "CreateSnapshots"), 2, "{report}");
    let made = stage.aws.snapshots()?;
    let volumes: BTreeSet<&str> = made.iter().map(|it| it.volume.as_str()).collect();
    let wanted = data.volumes[1..].iter().chain(&stopped.volumes[1..]);
    assert_eq!(volumes, wanted.map(String::as_str).collect());
    assert!(held(&report, &diskless.id).starts_with("Parameters exclude every volume"), "{report}");
    assert!(!report.to_string().contains(&gone.volumes[1]), "{report}");
    assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));
    Ok(())
}

#[test]
fn whole_sets_rotate_and_count_once() -> Result<()> {
    let stage = Stage::new("sets-rotated")?;
    let web = instance(&stage, &json!({"Backup": "set"}), &json!([{}, {}]))?;
    let rotate = stage.function("rotate-snapshots", &sets(&json!({"Count": 2})))?;
    for day in 1..=3 {
        run(&stage, &rotate, &night(day))?;
        age(&stage.aws, 1)?;
    }
    let oldest: BTreeSet<String> =
        stage.aws.snapshots()?.iter().take(3).map(|it| it.id.clone()).collect();
    let report = run(&stage, &rotate, &night(4))?;
    let deleted: BTreeSet<String> = lines(&report, "DeleteSnapshot")
        .iter()
        .filter_map(|line| line["SnapshotId"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(deleted, oldest, "the oldest set, all three of it: {report}");
    let line = lines(&report, "DeleteSnapshot")[0];
    assert_eq!(line["InstanceId"], web.id, "{line}");
    assert_eq!(line["Reason"], "number 3 by age, of which the newest 2 stay");
    assert_eq!(stage.aws.snapshots()?.len(), 9, "two sets, and that of this night");

    // The instance loses its tag: its sets are left alone, and told.
    let untag = [("Action", "DeleteTags"), ("ResourceId.1", &web.id), ("Tag.1.Key", "Backup")];
    ec2(&stage.aws, MEMBER, &untag)?;
    let report = run(&stage, &rotate, &night(5))?;
    assert_eq!(report["Actions"], json!([]), "{report}");
    let left = &stage.aws.snapshots()?[0].id;
    assert!(held(&report, left).starts_with("its instance is gone or no target"), "{report}");
    Ok(())
}

#[test]
fn a_set_with_a_failed_snapshot_is_made_again_as_a_whole() -> Result<()> {
    let stage = Stage::new("broken-set")?;
    instance(&stage, &json!({"Backup": "set"}), &json!([{}, {}]))?;
    let rotate = stage.function("rotate-snapshots", &sets(&json!({"Count": 2})))?;
    stage.aws.post("config", &json!({"snapshot_seconds": -1}))?;
    rotate.invoke(&night(1))?.report()?;
    let broken = stage.aws.snapshots()?;
    for (n, snapshot) in broken.iter().enumerate() {
        let end = if n == 0 { "error" } else { "completed" };
        stage.aws.post("snapshot", &json!({"id": snapshot.id, "state": end}))?;
    }
    stage.aws.post("config", &json!({"snapshot_seconds": 0.3}))?;
    let report = run(&stage, &rotate, &night(1))?;
    let line = lines(&report, "CreateSnapshots")[0];
    let reason = format!("no good snapshot for this slot, {} ended in error", broken[0].id);
    assert_eq!(line["Reason"], reason);
    let whole: BTreeSet<String> = texts(&line["SnapshotIds"]).iter().map(|&id| id.into()).collect();
    for _ in 0..3 {
        run(&stage, &rotate, &night(1))?;
    }
    let left = stage.aws.snapshots()?;
    assert_eq!(left.iter().map(|it| it.id.clone()).collect::<BTreeSet<_>>(), whole);
    Ok(())
}

#[test]
fn sets_are_shared_and_copied_as_single_snapshots_are() -> Result<()> {
    let stage = Stage::new("sets-copied")?;
    let web = instance(&stage, &json!({"Backup": "set"}), &json!([{}, {}]))?;
    let mut policy = sets(&json!({"Count": 2}));
    policy["PolicyDetails"]["Schedules"][0]["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let key = stage.key(Place { account: VAULT, region: TARGETS[0] })?;
    let mut vault = vault_policy(&[(TARGETS[0], &key)]);
    vault["PolicyDetails"]["EventSource"]["Parameters"]["DescriptionRegex"] =
        json!("policy: sets ");
    let copy = stage.function("copy-shared-snapshots", &vault)?;
    stage.deliver_events_to(&[&copy])?;
    run(&stage, &rotate, &night(1))?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(count(&report, "ModifySnapshotAttribute"), 3, "{report}");
    let (copies, sources): (Vec<_>, Vec<_>) =
        stage.aws.snapshots()?.into_iter().partition(|it| it.copied);
    assert!(copies.iter().all(|it| it.tag("snapferry:slot") == slot(1)), "{copies:?}");
    let of = |tag| copies.iter().map(|it| it.tag(tag)).collect::<BTreeSet<_>>();
    assert_eq!(of("snapferry:source-snapshot"), ids(&sources));
    assert_eq!(of("snapferry:source-volume"), web.volumes.iter().map(String::as_str).collect());
    Ok(())
}

/// EC2 wants 15 seconds between two snapshots of one volume. Here two instances share one, and two policies protect
/// another: a single pause does for both.
#[test]
fn second_snapshots_of_a_volume_wait_for_the_first() -> Result<()> {
    let stage = Stage::new("rate")?;
    stage.aws.post("config", &json!({"snapshot_rate_seconds": 10}))?;
    let shared = stage.aws.volumes(MEMBER, 1, &json!({"multi_attach": true}))?.remove(0);
    for _ in 0..2 {
        instance(&stage, &json!({"Backup": "set"}), &json!([shared]))?;
    }
    let busy = stage.aws.volumes(MEMBER, 1, &json!({}))?.remove(0);
    let schedules = json!([{"RetainRule": {"Count": 2}}]);
    let [one, two] = ["one", "two"]
        .map(|name| for_member(name, &json!({"TargetVolumeIds": [busy], "Schedules": schedules})));
    let documents = json!([sets(&json!({"Count": 2})), one, two]);
    let rotate = stage.function("rotate-snapshots", &documents)?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!((count(&report, "CreateSnapshots"), count(&report, "CreateSnapshot")), (2, 2));
    let refused: Vec<_> = stage.aws.calls()?.into_iter().filter(|call| !call.succeeded).collect();
    assert!(refused.is_empty(), "EC2 was never asked too early: {refused:?}");
    let made = stage.aws.snapshots()?;
    for volume in [shared, busy] {
        let starts = made.iter().filter(|it| it.volume == volume).map(|it| it.start_time.parse());
        let starts: Vec<jiff::Timestamp> = starts.collect::<std::result::Result<_, _>>()?;
        assert_eq!(starts.len(), 2, "{volume}");
        assert!(starts[1].duration_since(starts[0]).as_secs() >= 10, "{starts:?}");
    }
    assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));
    Ok(())
}

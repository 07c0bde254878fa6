//! What rotation leaves alone, seen end to end. The rules one by one are tested on the simulator.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, MEMBERS, Stage};

use crate::common::{count, night, nightly};

#[test]
fn an_ami_a_lock_and_strangers_keep_their_snapshots() -> Result<()> {
    let stage = Stage::new("left-alone")?;
    let place = Place { account: MEMBERS[0], region: HOME };
    let volume = stage.aws.volumes(place, 1, &json!({"tags": {"Backup": "daily"}}))?.remove(0);
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 1})))?;
    for day in 1..=2 {
        rotate.invoke(&night(day))?.report()?;
        stage.aws.settle()?;
    }
    let made = stage.aws.snapshots()?;
    let ids: Vec<String> = made.iter().map(|it| it.id.clone()).collect();
    let form = [
        ("Action", "RegisterImage"),
        ("Version", "2016-11-15"),
        ("Name", "golden"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", &ids[0]),
    ];
    stage.aws.query(place, "ec2", &form)?;
    let form =
        [("Action", "CreateSnapshot"), ("Version", "2016-11-15"), ("VolumeId", volume.as_str())];
    stage.aws.query(place, "ec2", &form)?; // somebody's own, by hand
    rotate.invoke(&night(3))?.report()?;
    stage.aws.settle()?;
    let lock = [
        ("Action", "LockSnapshot"),
        ("Version", "2016-11-15"),
        ("SnapshotId", ids[1].as_str()),
        ("LockMode", "governance"),
        ("LockDuration", "3"),
    ];
    stage.aws.query(place, "ec2", &lock)?;

    let report = rotate.invoke(&night(3))?.report()?;
    assert_eq!(count(&report, "DeleteSnapshot"), 0, "{report}");
    let reason = |id: &str| {
        let held = report["Held"].as_array().into_iter().flatten();
        let of_id = held.filter(|it| it["SnapshotId"] == id).collect::<Vec<&Value>>();
        of_id.first().and_then(|it| it["Reason"].as_str()).unwrap_or_default().to_owned()
    };
    assert!(reason(&ids[0]).starts_with("in use by ami-"), "{report}");
    assert_eq!(reason(&ids[1]), "locked");
    assert_eq!(stage.aws.snapshots()?.len(), 4, "and the stranger's is untouched");
    Ok(())
}

#[test]
fn a_mistaken_edit_is_an_alarm_and_not_a_loss() -> Result<()> {
    let stage = Stage::new("delete-limit")?;
    let place = Place { account: MEMBERS[0], region: HOME };
    stage.aws.volumes(place, 2, &json!({"tags": {"Backup": "daily"}}))?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 30})))?;
    for day in 1..=4 {
        rotate.invoke(&night(day))?.report()?;
        stage.aws.settle()?;
    }
    let edited = nightly(&[HOME], &json!({"Count": 1}));
    let env = vec![("POLICIES", edited.to_string()), ("DELETE_LIMIT", "5".to_owned())];
    let rotate = stage.function_with("rotate-snapshots", env, 60)?;
    let message = crate::common::failed(&rotate.invoke(&night(5))?, "PlanRefused");
    assert!(
        message.contains("6 deletions are planned and 5 are the most for one run"),
        "{message}"
    );
    let world = stage.aws.snapshots()?;
    assert_eq!(world.len(), 10, "nothing was deleted, and the night's snapshots were made");
    Ok(())
}

//! AWS misbehaving on the wire, and a function that is killed or runs out of time.

use std::time::Duration;

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, MEMBERS, Stage};

use crate::common::{calls, count, failed, night, nightly, per_volume_and_slot};

const PLACE: Place<'static> = Place { account: MEMBERS[0], region: HOME };

fn stage_with_volumes(name: &str, volumes: usize) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.aws.volumes(PLACE, volumes, &json!({"tags": {"Backup": "daily"}}))?;
    Ok(stage)
}

#[test]
fn an_answer_that_is_lost_makes_no_second_snapshot() -> Result<()> {
    let stage = stage_with_volumes("lost-answer", 3)?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    stage.aws.post("faults", &json!({"action": "CreateSnapshot", "times": 2, "drop": "after"}))?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 3, "looked up and found: {report}");
    assert_eq!(calls(&stage.aws)?["CreateSnapshot"], 3, "never sent again");
    let made = per_volume_and_slot(&stage.aws.snapshots()?);
    assert_eq!((made.len(), made.values().max()), (3, Some(&1)));
    Ok(())
}

#[test]
fn a_call_that_never_arrived_is_told_and_made_by_the_next_run() -> Result<()> {
    let stage = stage_with_volumes("never-arrived", 2)?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    stage.aws.post("faults", &json!({"action": "CreateSnapshot", "times": 1, "drop": "before"}))?;
    let message = failed(&rotate.invoke(&night(1))?, "ActionsFailed");
    assert!(message.contains("no answer to CreateSnapshot"), "{message}");
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 1);
    assert_eq!(stage.aws.snapshots()?.len(), 2);
    Ok(())
}

#[test]
fn throttling_is_waited_out_and_reads_are_tried_again() -> Result<()> {
    let stage = stage_with_volumes("throttled", 4)?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    stage.aws.post(
        "faults",
        &json!([
            {"action": "CreateSnapshot", "times": 3, "code": "RequestLimitExceeded", "status": 503},
            {"action": "DescribeVolumes", "times": 1, "drop": "before"},
            {"action": "DescribeSnapshots", "times": 1, "code": "InternalError", "status": 500},
        ]),
    )?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 4, "{report}");
    assert_eq!(stage.aws.snapshots()?.len(), 4);
    Ok(())
}

#[test]
fn a_missing_permission_names_itself_and_stops_nothing_else() -> Result<()> {
    let stage = stage_with_volumes("denied", 2)?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 1})))?;
    for day in 1..=2 {
        rotate.invoke(&night(day))?.report()?;
        stage.aws.settle()?;
    }
    stage.aws.post(
        "faults",
        &json!([
            {"action": "ModifySnapshotAttribute", "code": "UnauthorizedOperation", "status": 403,
             "message": "You are not authorized to perform this operation."},
            {"action": "DescribeImages", "code": "UnauthorizedOperation", "status": 403},
        ]),
    )?;
    let message = failed(&rotate.invoke(&night(3))?, "ActionsFailed");
    assert!(
        message.contains(
            "AWS refused ModifySnapshotAttribute: You are not authorized to perform this operation."
        ),
        "{message}"
    );
    assert!(message.contains("request ID "), "{message}");
    let world = stage.aws.snapshots()?;
    assert_eq!(world.len(), 6, "created as usual; nothing deleted while AMIs cannot be seen");
    Ok(())
}

#[test]
fn the_deadline_ends_a_run_in_good_order_and_the_next_goes_on() -> Result<()> {
    let stage = stage_with_volumes("deadline", 90)?;
    let policy = nightly(&[HOME], &json!({"Count": 2}));
    let hurried =
        stage.function_with("rotate-snapshots", vec![("POLICIES", policy.to_string())], 9)?;
    stage.aws.post("faults", &json!({"action": "CreateSnapshot", "delay": 1.0}))?;
    let report = hurried.invoke(&night(1))?.report()?;
    assert_eq!(report["Status"], "Incomplete");
    let (made, left) = (count(&report, "CreateSnapshot"), count(&report, "Deferred"));
    assert!(made > 0 && left > 0 && made + left == 90, "{made} made, {left} left");
    stage.aws.clear("faults")?;
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), left);
    let made = per_volume_and_slot(&stage.aws.snapshots()?);
    assert_eq!((made.len(), made.values().max()), (90, Some(&1)));
    Ok(())
}

#[test]
fn a_function_that_is_killed_in_the_middle_is_completed_by_the_next() -> Result<()> {
    let stage = stage_with_volumes("killed", 20)?;
    let policy = nightly(&[HOME], &json!({"Count": 2}));
    let victim = stage.function("rotate-snapshots", &policy)?;
    stage.aws.post("faults", &json!({"action": "CreateSnapshot", "delay": 0.3}))?;
    std::thread::scope(|scope| -> Result<()> {
        let run = scope.spawn(|| victim.invoke(&night(1)));
        let end = std::time::Instant::now() + Duration::from_mins(1);
        while stage.aws.snapshots()?.len() < 5 && std::time::Instant::now() < end {}
        victim.kill();
        assert!(run.join().map_err(|_| "panicked")?.is_err(), "it was killed while it worked");
        Ok(())
    })?;
    stage.aws.clear("faults")?;
    stage.aws.settle()?;
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert!(count(&report, "CreateSnapshot") > 0);
    let made = per_volume_and_slot(&stage.aws.snapshots()?);
    assert_eq!((made.len(), made.values().max()), (20, Some(&1)));
    Ok(())
}

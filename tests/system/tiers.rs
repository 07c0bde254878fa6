//! The archive tier and fast restores.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::stage::{HOME, Stage, VAULT};

use crate::common::{
    MEMBER, age, count, failed, for_member, held, lines, night, noon, of_volumes, only_looked, run,
};

/// Monthly snapshots that are archived at once, for 90 days.
fn monthly() -> Value {
    for_member(
        "monthly",
        &json!({
            "TargetTags": [{"Key": "Backup", "Value": "monthly"}],
            "Schedules": [{
                "Name": "first",
                "CreateRule": {"CronExpression": "cron(0 9 1 * ? *)", "StartWindowMinutes": 60},
                "RetainRule": {"Count": 0},
                "ArchiveRule": {"RetainRule": {"RetentionArchiveTier": {
                    "Interval": 90, "IntervalUnit": "DAYS",
                }}},
            }],
        }),
    )
}

fn first_of_month() -> Value {
    json!({"ScheduledTime": "2026-03-01T09:15:00Z"})
}

fn stage_with_monthly_volumes(name: &str, volumes: usize) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.aws.volumes(MEMBER, volumes, &json!({"tags": {"Backup": "monthly"}}))?;
    Ok(stage)
}

#[test]
fn snapshots_are_archived_at_once_and_leave_the_archive_after_their_time() -> Result<()> {
    let stage = stage_with_monthly_volumes("archive", 1)?;
    let rotate = stage.function("rotate-snapshots", &monthly())?;
    run(&stage, &rotate, &first_of_month())?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(count(&report, "ModifySnapshotTier"), 1, "{report}");
    let first = stage.aws.snapshots()?.remove(0);
    assert_eq!(first.tier, "archive");
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &noon())?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);

    age(&stage.aws, 91)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(report["Actions"], json!([]), "the only one of its volume stays: {report}");
    run(&stage, &rotate, &first_of_month())?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!((count(&report, "ModifySnapshotTier"), count(&report, "DeleteSnapshot")), (1, 1));
    let gone = lines(&report, "DeleteSnapshot")[0];
    assert_eq!(gone["SnapshotId"], first.id);
    let reason = gone["Reason"].as_str().unwrap_or_default();
    assert!(reason.contains("kept in the archive tier until "), "{reason}");
    let left = stage.aws.snapshots()?;
    assert_eq!((left.len(), left[0].tier.as_str()), (1, "archive"));
    Ok(())
}

#[test]
fn what_is_archived_is_neither_shared_nor_fast_any_more_and_that_stays_so() -> Result<()> {
    let stage = stage_with_monthly_volumes("archive-shared", 1)?;
    let mut policy = monthly();
    let schedule = &mut policy["PolicyDetails"]["Schedules"][0];
    schedule["RetainRule"] = json!({"Count": 1});
    schedule["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    schedule["FastRestoreRule"] = json!({"Count": 2, "AvailabilityZones": [format!("{HOME}a")]});
    schedule["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": 100});
    let rotate = stage.function("rotate-snapshots", &policy)?;
    for month in 1..=2 {
        let event = json!({"ScheduledTime": format!("2026-{month:02}-01T09:15:00Z")});
        run(&stage, &rotate, &event)?;
        run(&stage, &rotate, &event)?;
    }
    let [older, newer] = &stage.aws.snapshots()?[..] else {
        return Err("want two snapshots".into());
    };
    assert_eq!((older.tier.as_str(), newer.tier.as_str()), ("archive", "standard"));
    assert_eq!((older.shared_with.len(), newer.shared_with.len()), (0, 1));
    assert_eq!(older.lock["mode"], "governance", "a lock forbids deleting, not archiving");
    let zones = [BTreeSet::new(), BTreeSet::from([format!("{HOME}a")])];
    assert_eq!(fast_zones(&stage)?, zones);
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &noon())?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);

    age(&stage.aws, 95)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(held(&report, &older.id), "locked", "{report}");
    age(&stage.aws, 6)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(lines(&report, "DeleteSnapshot")[0]["SnapshotId"], older.id, "{report}");
    Ok(())
}

#[test]
fn what_cannot_be_archived_is_tried_for_a_day_and_told() -> Result<()> {
    let stage = stage_with_monthly_volumes("archive-failed", 2)?;
    let rotate = stage.function("rotate-snapshots", &monthly())?;
    run(&stage, &rotate, &first_of_month())?;
    stage.aws.post("config", &json!({"archive_limit": 1, "archive_seconds": -1}))?;
    let report = rotate.invoke(&noon())?.report()?;
    assert_eq!((count(&report, "ModifySnapshotTier"), count(&report, "Deferred")), (1, 1));
    assert_eq!(report["Status"], "Incomplete");
    let why =
        lines(&report, "ModifySnapshotTier").into_iter().find(|it| it["Outcome"] == "Deferred");
    let why = why.map(|line| line["Error"]["Message"].to_string()).unwrap_or_default();
    assert!(why.contains("ResourceLimitExceeded"), "{why}");
    let done = lines(&report, "ModifySnapshotTier").into_iter().find(|it| it["Outcome"] == "Done");
    let id = done.and_then(|line| line["SnapshotId"].as_str()).unwrap_or_default().to_owned();
    stage.aws.post("snapshot", &json!({"id": id, "tiering": "archival-failed"}))?;
    let all_fail = json!({"archive_limit": 25, "archive_seconds": 0.3, "archive_failures": -1});
    stage.aws.post("config", &all_fail)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(count(&report, "ModifySnapshotTier"), 2, "tried again: {report}");

    age(&stage.aws, 2)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(report["Actions"], json!([]), "{report}");
    for snapshot in stage.aws.snapshots()? {
        let why = held(&report, &snapshot.id);
        assert!(why.starts_with("it could not be archived within 24 hours"), "{report}");
    }
    Ok(())
}

/// `rule` beside three snapshots.
fn fast(rule: &Value) -> Value {
    of_volumes("fast", &json!({"RetainRule": {"Count": 3}, "FastRestoreRule": rule}))
}

/// The zones in which every snapshot is fast or about to be, in the snapshots' order of age.
fn fast_zones(stage: &Stage) -> Result<Vec<BTreeSet<String>>> {
    let snapshots = stage.aws.snapshots()?;
    let zones = |restores: &Value| {
        let restores = restores.as_array().into_iter().flatten();
        let on = restores.filter(|it| !it["state"].to_string().contains("disabl"));
        on.filter_map(|it| it["zone"].as_str().map(str::to_owned)).collect()
    };
    Ok(snapshots.iter().map(|it| zones(&it.fast_restores)).collect())
}

#[test]
fn the_newest_is_fast_to_restore_and_the_older_are_not_any_more() -> Result<()> {
    let stage = Stage::new("fast")?;
    stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "fast"}}))?;
    // Of the zones of two Regions, the one in this Region, by its id.
    let rule = json!({"Count": 1, "AvailabilityZoneIds": ["euc1-az2", "use1-az1"]});
    let rotate = stage.function("rotate-snapshots", &fast(&rule))?;
    run(&stage, &rotate, &night(1))?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(count(&report, "EnableFastSnapshotRestores"), 1, "{report}");
    let b = || BTreeSet::from([format!("{HOME}b")]);
    assert_eq!(fast_zones(&stage)?, [b()]);
    run(&stage, &rotate, &night(2))?;

    // The older one's end takes its time, and until then the quota is used up.
    stage.aws.post("config", &json!({"restore_limit": 1, "restore_seconds": -1}))?;
    let report = rotate.invoke(&night(2))?.report()?;
    assert_eq!(report["Status"], "Incomplete", "{report}");
    assert_eq!(count(&report, "DisableFastSnapshotRestores"), 1, "{report}");
    let waiting = lines(&report, "EnableFastSnapshotRestores")[0];
    assert_eq!(waiting["Outcome"], "Deferred");
    let why = waiting["Error"]["Message"].to_string();
    assert!(why.contains("FastSnapshotRestoreLimitExceeded"), "{why}");

    let older = stage.aws.snapshots()?.remove(0).id;
    stage.aws.post("restores", &json!({"snapshot": older, "state": "disabled"}))?;
    stage.aws.post("config", &json!({"restore_seconds": 0.3}))?;
    let report = run(&stage, &rotate, &night(2))?;
    assert_eq!(count(&report, "EnableFastSnapshotRestores"), 1, "{report}");
    assert_eq!(fast_zones(&stage)?, [BTreeSet::new(), b()]);
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &night(2))?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);
    Ok(())
}

#[test]
fn a_zone_that_is_not_there_fails_with_ec2s_code_and_the_other_zone_is_done() -> Result<()> {
    let stage = Stage::new("fast-zone")?;
    stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "fast"}}))?;
    let zones = [format!("{HOME}a"), format!("{HOME}z")];
    let rule = json!({"Interval": 2, "IntervalUnit": "DAYS", "AvailabilityZones": zones});
    let rotate = stage.function("rotate-snapshots", &fast(&rule))?;
    run(&stage, &rotate, &night(1))?;
    let message = failed(&rotate.invoke(&night(1))?, "ActionsFailed");
    let id = stage.aws.snapshots()?.remove(0).id;
    for part in ["EnableFastSnapshotRestores", "eu-central-1z", "InvalidParameterValue", &id] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(!message.contains("eu-central-1a"), "{message}");
    let a = BTreeSet::from([format!("{HOME}a")]);
    assert_eq!(fast_zones(&stage)?, [a]);

    stage.aws.settle()?;
    age(&stage.aws, 3)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!(count(&report, "DisableFastSnapshotRestores"), 1, "{report}");
    assert_eq!(fast_zones(&stage)?, [BTreeSet::new()]);
    Ok(())
}

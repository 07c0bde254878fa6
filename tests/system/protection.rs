//! Locks, and shares that end.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Snapshot;
use snapferry_tests::stage::{Stage, VAULT};

use crate::common::{
    MEMBER, age, count, ec2, held, lines, night, noon, of_volumes, only_looked, run,
};

/// The newest snapshot alone, locked for ten days.
fn locked(name: &str, lock: &Value) -> Value {
    of_volumes(name, &json!({"RetainRule": {"Count": 1}, "LockRule": lock}))
}

fn at(text: &Value) -> Result<Timestamp> {
    Ok(text.as_str().unwrap_or_default().parse()?)
}

fn check_lock(snapshot: &Snapshot, mode: &str) -> Result<()> {
    let start: Timestamp = snapshot.start_time.parse()?;
    let lasts = at(&snapshot.lock["lockExpiresOn"])?.duration_since(start);
    assert_eq!(lasts, SignedDuration::from_hours(240), "from the snapshot's start: {snapshot:?}");
    assert_eq!(snapshot.lock["mode"], mode);
    Ok(())
}

#[test]
fn snapshots_are_locked_and_held_until_their_lock_is_over() -> Result<()> {
    let stage = Stage::new("locks")?;
    for name in ["soft", "hard"] {
        stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": name}}))?;
    }
    let rotate = stage.function(
        "rotate-snapshots",
        &json!([
            locked("soft", &json!({"Mode": "GOVERNANCE", "DurationDays": 10})),
            locked(
                "hard",
                &json!({"Mode": "COMPLIANCE", "DurationDays": 10, "CoolOffPeriodHours": 24})
            ),
        ]),
    )?;
    run(&stage, &rotate, &night(1))?;
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(count(&report, "LockSnapshot"), 2, "{report}");
    for snapshot in stage.aws.snapshots()? {
        let is_soft = snapshot.tag("snapferry:policy") == "soft";
        check_lock(&snapshot, if is_soft { "governance" } else { "compliance" })?;
        let cool_off = snapshot.lock.get("coolOffPeriod").and_then(Value::as_u64);
        assert_eq!(cool_off, if is_soft { None } else { Some(24) });
    }
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &night(1))?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);

    // The next night's make these superfluous, and they stay all the same.
    let older = stage.aws.snapshots()?;
    age(&stage.aws, 1)?;
    run(&stage, &rotate, &night(2))?;
    let report = run(&stage, &rotate, &night(2))?;
    assert_eq!((count(&report, "LockSnapshot"), count(&report, "DeleteSnapshot")), (2, 0));
    for snapshot in &older {
        assert_eq!(held(&report, &snapshot.id), "locked", "{report}");
    }
    age(&stage.aws, 9)?;
    let report = run(&stage, &rotate, &noon())?;
    assert_eq!((count(&report, "LockSnapshot"), count(&report, "DeleteSnapshot")), (0, 2));
    let left = stage.aws.snapshots()?;
    assert!(older.iter().all(|old| left.iter().all(|it| it.id != old.id)), "{report}");
    Ok(())
}

#[test]
fn a_share_ends_and_other_peoples_shares_do_not() -> Result<()> {
    const FRIEND: &str = "555555555555";
    let stage = Stage::new("unshare")?;
    stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "shared"}}))?;
    let rotate = stage.function(
        "rotate-snapshots",
        &of_volumes(
            "shared",
            &json!({
                "RetainRule": {"Interval": 9, "IntervalUnit": "DAYS"},
                "ShareRules": [{
                    "TargetAccounts": [VAULT], "UnshareInterval": 2, "UnshareIntervalUnit": "DAYS",
                }],
            }),
        ),
    )?;
    run(&stage, &rotate, &night(1))?;
    run(&stage, &rotate, &night(1))?;
    let id = stage.aws.snapshots()?.remove(0).id;
    ec2(
        &stage.aws,
        MEMBER,
        &[
            ("Action", "ModifySnapshotAttribute"),
            ("SnapshotId", &id),
            ("Attribute", "createVolumePermission"),
            ("OperationType", "add"),
            ("UserId.1", FRIEND),
        ],
    )?;
    age(&stage.aws, 1)?;
    assert_eq!(run(&stage, &rotate, &noon())?["Actions"], json!([]));
    assert_eq!(stage.aws.snapshots()?[0].shared_with, [FRIEND, VAULT]);

    age(&stage.aws, 2)?;
    let report = run(&stage, &rotate, &noon())?;
    let [line] = lines(&report, "ModifySnapshotAttribute")[..] else {
        return Err(format!("{report}").into());
    };
    assert_eq!((&line["OperationType"], &line["SnapshotId"]), (&json!("remove"), &json!(id)));
    let reason = line["Reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("UnshareInterval was over at "), "{line}");
    let snapshot = stage.aws.snapshots()?.remove(0);
    assert_eq!(snapshot.shared_with, [FRIEND], "what a person shared stays");
    assert_eq!(snapshot.tag("snapferry:shared-with"), "");
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &noon())?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);
    Ok(())
}

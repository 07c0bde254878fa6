//! The vault's side: filters, repairs, expiry without a source.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{HOME, MEMBERS, Stage, TARGETS, VAULT};

use crate::common::{calls, count, failed, night, nightly, vault_policy};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// One member volume, snapshotted and shared; no event has been delivered.
fn shared(stage: &Stage) -> Result<Snapshot> {
    let place = Place { account: MEMBERS[0], region: HOME };
    stage.aws.volumes(place, 1, &json!({"tags": {"Backup": "daily"}}))?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    for _ in 0..2 {
        rotate.invoke(&night(1))?.report()?;
        stage.aws.settle()?;
    }
    stage.aws.snapshots()?.pop().ok_or_else(|| "no snapshot".into())
}

fn copies(stage: &Stage) -> Result<Vec<Snapshot>> {
    Ok(stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect())
}

fn share_event(snapshot: &Snapshot) -> Value {
    json!({
        "detail-type": "EBS Snapshot Notification", "source": "aws.ec2",
        "account": VAULT, "region": snapshot.region, "time": "2026-03-01T02:16:00Z",
        "detail": {
            "event": "shareSnapshot", "result": "succeeded", "source": snapshot.account,
            "snapshot_id": format!("arn:aws:ec2::{}:snapshot/{}", snapshot.region, snapshot.id),
        },
    })
}

fn vault_function(stage: &Stage, policy: &Value) -> Result<Lambda> {
    stage.function("copy-shared-snapshots", policy)
}

#[test]
fn only_what_the_policy_wants_is_copied_and_only_once() -> Result<()> {
    let stage = Stage::new("wanted")?;
    let source = shared(&stage)?;
    let key = stage.key(TARGET)?;
    let wanted = vault_policy(&[(TARGETS[0], &key)]);
    let mut others = wanted.clone();
    others["PolicyDetails"]["EventSource"]["Parameters"]["SnapshotOwner"] = json!([MEMBERS[1]]);
    let report = vault_function(&stage, &others)?.invoke(&share_event(&source))?.report()?;
    let why = format!("no policy names {} as SnapshotOwner", MEMBERS[0]);
    assert_eq!(report["Held"][0]["Reason"], why);
    let mut worded = wanted.clone();
    worded["PolicyDetails"]["EventSource"]["Parameters"]["DescriptionRegex"] = json!("^production");
    let report = vault_function(&stage, &worded)?.invoke(&share_event(&source))?.report()?;
    assert_eq!(report["Held"][0]["Reason"], "no policy's DescriptionRegex matches its description");
    let copy = vault_function(&stage, &wanted)?;
    let twin = vault_function(&stage, &wanted)?;
    let event = share_event(&source);
    std::thread::scope(|scope| {
        let runs = [&copy, &twin].map(|function| scope.spawn(|| function.invoke(&event)));
        runs.into_iter().try_for_each(|run| run.join().map_err(|_| "panicked")?.map(drop))
    })?;
    assert_eq!(copies(&stage)?.len(), 1, "two deliveries at once leave one copy");
    stage.aws.settle()?;
    stage.aws.clear("calls")?;
    let report = copy.invoke(&event)?.report()?;
    assert_eq!(count(&report, "CopySnapshot"), 0);
    let made = calls(&stage.aws)?;
    let seen = made.get("DescribeSnapshots");
    assert_eq!(seen, Some(&3), "the source, its copies, what is in progress: {made:?}");
    let report =
        copy.invoke(&json!({"SnapshotIds": [source.id, "snap-0123456789abcdef0"]}))?.report()?;
    assert_eq!((count(&report, "CopySnapshot"), count(&report, "Held")), (0, 1), "{report}");
    Ok(())
}

#[test]
fn a_copy_in_error_is_told_made_again_and_cleared_away() -> Result<()> {
    let stage = Stage::new("failed-copy")?;
    let source = shared(&stage)?;
    let key = stage.key(TARGET)?;
    let copy = vault_function(&stage, &vault_policy(&[(TARGETS[0], &key)]))?;
    copy.invoke(&share_event(&source))?.report()?;
    stage.aws.settle()?;
    let failed_copy = copies(&stage)?.remove(0);
    stage.aws.post("snapshot", &json!({
        "id": failed_copy.id, "state": "error", "state_message": "Given key ID is not accessible",
    }))?;
    let event = json!({
        "detail-type": "EBS Snapshot Notification", "region": TARGETS[0],
        "detail": {"event": "copySnapshot", "result": "failed",
                   "snapshot_id": format!("arn:aws:ec2::{}:snapshot/{}", TARGETS[0], failed_copy.id),
                   "source": format!("arn:aws:ec2::{HOME}:snapshot/{}", source.id)},
    });
    let message = failed(&copy.invoke(&event)?, "ActionsFailed");
    for part in [failed_copy.id.as_str(), "Given key ID is not accessible", "kms:CreateGrant"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    stage.aws.settle()?;
    let now = copies(&stage)?;
    assert_eq!(now.iter().filter(|it| it.state == "completed").count(), 1, "made again at once");
    let report = copy.invoke(&json!({}))?.report()?;
    assert_eq!((&report["Status"], count(&report, "DeleteSnapshot")), (&json!("Succeeded"), 1));
    let now = copies(&stage)?;
    assert_eq!(
        (now.len(), now[0].state.as_str()),
        (1, "completed"),
        "the failed one is cleared away"
    );
    assert_ne!(now[0].id, failed_copy.id);
    Ok(())
}

#[test]
fn a_key_that_stays_inaccessible_does_not_make_us_copy_in_a_circle() -> Result<()> {
    let stage = Stage::new("circle")?;
    let source = shared(&stage)?;
    let key = stage.key(TARGET)?;
    let copy = vault_function(&stage, &vault_policy(&[(TARGETS[0], &key)]))?;
    let fail_what_is_there = || -> Result<()> {
        for copy in copies(&stage)? {
            let message = "Given key ID is not accessible";
            let body = json!({"id": copy.id, "state": "error", "state_message": message});
            stage.aws.post("snapshot", &body)?;
        }
        Ok(())
    };
    copy.invoke(&share_event(&source))?.report()?;
    stage.aws.clear("calls")?;
    for _ in 0..5 {
        fail_what_is_there()?;
        failed(&copy.invoke(&share_event(&source))?, "ActionsFailed");
    }
    assert_eq!(
        calls(&stage.aws)?.get("CopySnapshot"),
        Some(&1),
        "tried once more, then not for an hour"
    );
    assert_eq!(copies(&stage)?.len(), 2);
    stage.aws.post("age", &json!({"days": 0.05}))?;
    failed(&copy.invoke(&json!({}))?, "ActionsFailed");
    assert_eq!(calls(&stage.aws)?.get("CopySnapshot"), Some(&2), "an hour later once more");
    Ok(())
}

#[test]
fn the_sweep_repairs_what_events_missed_and_a_lost_source_changes_nothing() -> Result<()> {
    let stage = Stage::new("sweep")?;
    let source = shared(&stage)?;
    let key = stage.key(TARGET)?;
    let copy = vault_function(&stage, &vault_policy(&[(TARGETS[0], &key)]))?;
    let schedule = json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}",
                          "time": "2026-03-01T03:00:00Z"});
    let report = copy.invoke(&schedule)?.report()?;
    assert_eq!(count(&report, "CopySnapshot"), 1);
    stage.aws.settle()?;
    let place = Place { account: MEMBERS[0], region: HOME };
    let form = [
        ("Action", "DeleteSnapshot"),
        ("Version", "2016-11-15"),
        ("SnapshotId", source.id.as_str()),
    ];
    stage.aws.query(place, "ec2", &form)?;
    stage.aws.post("age", &json!({"days": 400}))?;
    let report = copy.invoke(&schedule)?.report()?;
    assert_eq!(count(&report, "DeleteSnapshot"), 0, "{report}");
    assert_eq!(copies(&stage)?.len(), 1, "the last copy stays, however old");
    assert_eq!(report["Coverage"][0]["VolumeId"], source.volume, "{report}");
    Ok(())
}

#[test]
fn more_copies_than_ec2_allows_wait_without_an_error() -> Result<()> {
    let stage = Stage::new("twenty")?;
    let place = Place { account: MEMBERS[0], region: HOME };
    stage.aws.volumes(place, 25, &json!({"tags": {"Backup": "daily"}}))?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    for _ in 0..2 {
        rotate.invoke(&night(1))?.report()?;
        stage.aws.settle()?;
    }
    let key = stage.key(TARGET)?;
    let copy = vault_function(&stage, &vault_policy(&[(TARGETS[0], &key)]))?;
    stage.aws.post("config", &json!({"copy_seconds": 3600}))?;
    let report = copy.invoke(&json!({}))?.report()?;
    assert_eq!((count(&report, "CopySnapshot"), count(&report, "Deferred")), (20, 5));
    assert_eq!(report["Status"], "Incomplete");
    let report = copy.invoke(&json!({}))?.report()?;
    assert_eq!((count(&report, "CopySnapshot"), count(&report, "Deferred")), (0, 5));
    for done in copies(&stage)? {
        stage.aws.post("snapshot", &json!({"id": done.id, "state": "completed"}))?;
    }
    let report = copy.invoke(&json!({}))?.report()?;
    assert_eq!((count(&report, "CopySnapshot"), count(&report, "Deferred")), (5, 0));
    Ok(())
}

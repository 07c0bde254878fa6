//! Every published event shape, and garbage, through the built function.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::machine::project;
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT};

use crate::common::{count, failed, vault_policy};

/// What the answer to a published event is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    /// No matter of ours: an empty report.
    Empty,
    /// A snapshot that is not shared with this account.
    NotShared,
    /// An owner that no policy names.
    OwnerNotWanted,
    /// A sweep of a vault in which nothing is.
    Sweep,
}

/// By file name: everything else is [`Want::Empty`].
fn want(file: &str) -> Want {
    let number = file.split('-').next().unwrap_or_default();
    match number {
        "13" => Want::OwnerNotWanted,
        "12" | "36" | "37" | "39" | "43" | "46" => Want::NotShared,
        "35" | "48" => Want::Sweep,
        _ => Want::Empty,
    }
}

#[test]
fn every_published_shape_is_answered_as_the_contract_says() -> Result<()> {
    let stage = Stage::new("event-shapes")?;
    let copy = stage.function("copy-shared-snapshots", &copies_of_anyone())?;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(project().join("tests/fixtures/ebs-events"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 30, "every fixture is there");
    for path in files {
        let file = path.file_name().and_then(|it| it.to_str()).unwrap_or_default().to_owned();
        let event: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        stage.aws.clear("calls")?;
        let report = copy.invoke(&event)?.report().map_err(|err| format!("{file}: {err}"))?;
        let n_calls = stage.aws.calls()?.len();
        assert_eq!(report["Status"], "Succeeded", "{file}");
        assert_eq!(report["Actions"], json!([]), "{file}");
        let kind = want(&file);
        match kind {
            Want::Empty => {
                assert_eq!((n_calls, count(&report, "Held")), (0, 0), "{file}: {report}");
            }
            Want::NotShared => {
                let why = report["Held"][0]["Reason"].as_str().unwrap_or_default();
                assert!(why.starts_with("not shared with this account"), "{file}: {report}");
            }
            Want::OwnerNotWanted => {
                let why = report["Held"][0]["Reason"].as_str().unwrap_or_default();
                assert_eq!(why, "no policy names 012345678901 as SnapshotOwner", "{file}");
            }
            Want::Sweep => assert!(n_calls > 0 && count(&report, "Held") == 0, "{file}: {report}"),
        }
        *seen
            .entry(match kind {
                Want::Empty => "empty",
                Want::NotShared => "not shared",
                Want::OwnerNotWanted => "owner not wanted",
                Want::Sweep => "sweep",
            })
            .or_default() += 1;
    }
    assert_eq!(
        seen,
        BTreeMap::from([("empty", 21), ("not shared", 6), ("owner not wanted", 1), ("sweep", 2)])
    );
    Ok(())
}

#[test]
fn an_event_about_an_own_snapshot_is_refused() -> Result<()> {
    let stage = Stage::new("own-snapshot")?;
    let copy = stage.function("copy-shared-snapshots", &copies_of_anyone())?;
    let event = json!({
        "detail-type": "EBS Snapshot Notification", "source": "aws.ec2", "region": HOME,
        "detail": {"event": "shareSnapshot", "result": "succeeded", "source": VAULT,
                   "snapshot_id": "arn:aws:ec2::eu-central-1:snapshot/snap-01234567"},
    });
    let report = copy.invoke(&event)?.report()?;
    assert_eq!(report["Held"][0]["Reason"], "this account's own snapshot, not a shared one");
    Ok(())
}

#[test]
fn garbage_is_an_invalid_event_that_names_the_member() -> Result<()> {
    let stage = Stage::new("garbage")?;
    let copy = stage.function("copy-shared-snapshots", &copies_of_anyone())?;
    let rotate = stage.function("rotate-snapshots", &json!([]))?;
    let share = |detail: Value| json!({"detail-type": "EBS Snapshot Notification", "region": HOME, "detail": detail});
    for (event, pointer) in [
        (json!("text"), "/: "),
        (json!([]), "/: "),
        (json!({"Snapshots": []}), "/Snapshots: "),
        (json!({"SnapshotIds": ["vol-01234567"]}), "/SnapshotIds/0: "),
        (json!({"DryRun": 1}), "/DryRun: "),
        (json!({"Now": "2026-01-01T00:00:00Z"}), "/Now: "),
        (share(json!("text")), "/detail: "),
        (
            share(json!({"event": "shareSnapshot", "snapshot_id": "x", "source": VAULT})),
            "/detail/snapshot_id: ",
        ),
        (
            share(json!({"event": "shareSnapshot", "snapshot_id": "snap-01234567", "source": [1]})),
            "/detail/source: ",
        ),
        (share(json!({"event": "copySnapshot", "result": "failed"})), "/detail/source: "),
        (json!({"detail-type": "Scheduled Event", "time": "soon"}), "/time: "),
    ] {
        let message = failed(&copy.invoke(&event)?, "InvalidEvent");
        assert!(message.starts_with(&format!("event is invalid: {pointer}")), "{message}");
    }
    for (event, pointer) in [
        (json!({"ScheduledTime": "<aws.scheduler.scheduled-time>"}), "/ScheduledTime: "),
        (json!({"Scopes": ["eu-central-1"]}), "/Scopes/0: "),
        (share(json!({"event": "shareSnapshot"})), "/detail-type: "),
    ] {
        let message = failed(&rotate.invoke(&event)?, "InvalidEvent");
        assert!(message.starts_with(&format!("event is invalid: {pointer}")), "{message}");
    }
    Ok(())
}

/// A vault policy whose rule names no key, so that nothing but the event decides.
fn copies_of_anyone() -> Value {
    let mut policy = vault_policy(&[(TARGETS[0], "")]);
    policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0]["EncryptionConfiguration"] =
        json!({"Encrypted": true});
    policy
}

//! The whole way: created → shared → event → copied to two Regions under another key → rotated → expired.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{AWAY, HOME, MEMBERS, Stage, TARGETS, VAULT};

use crate::common::{count, failed, night, nightly, slot, vault_policy};

/// A member with a plain and an encrypted volume, a vault with a key in each target Region, and both functions.
struct Cast {
    stage: Stage,
    plain: String,
    keys: [String; 2],
    rotate: Lambda,
    copy: Lambda,
}

fn cast(name: &str) -> Result<Cast> {
    let stage = Stage::new(name)?;
    let member = Place { account: MEMBERS[0], region: HOME };
    let key = stage.key(member)?;
    let tags = json!({"Backup": "daily", "Name": "web-1", "Team": "shop"});
    let plain = stage.aws.volumes(member, 1, &json!({"tags": tags}))?.remove(0);
    stage.aws.volumes(member, 1, &json!({"tags": {"Backup": "daily"}, "kms_key": key}))?;
    stage.aws.volumes(member, 1, &json!({"tags": {"Backup": "weekly"}}))?;
    let keys = [
        stage.key(Place { account: VAULT, region: TARGETS[0] })?,
        stage.key(Place { account: VAULT, region: TARGETS[1] })?,
    ];
    let nightly = nightly(&[HOME, AWAY], &json!({"Count": 2}));
    let rotate = stage.function("rotate-snapshots", &nightly)?;
    let vault = vault_policy(&[(TARGETS[0], &keys[0]), (TARGETS[1], &keys[1])]);
    let copy = stage.function("copy-shared-snapshots", &vault)?;
    stage.deliver_events_to(&[&copy])?;
    Ok(Cast { stage, plain, keys, rotate, copy })
}

impl Cast {
    /// Twice on the same slot: the second run finds the snapshots completed.
    fn play_night(&self, day: u8) -> Result<()> {
        for _ in 0..2 {
            self.rotate.invoke(&night(day))?.report()?;
            self.stage.aws.settle()?;
        }
        Ok(())
    }

    fn copies(&self) -> Result<Vec<Snapshot>> {
        Ok(self.stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect())
    }
}

#[test]
fn a_snapshot_is_created_shared_and_copied_with_its_lineage() -> Result<()> {
    let cast = cast("created-shared-copied")?;
    let report = cast.rotate.invoke(&night(1))?.report()?;
    assert_eq!(report["Status"], "Succeeded");
    assert_eq!(count(&report, "CreateSnapshot"), 2);
    let made = cast.stage.aws.snapshots()?;
    let of_plain = made.iter().find(|it| it.volume == cast.plain).ok_or("no snapshot")?;
    check_created(of_plain, &cast.plain);
    cast.stage.aws.settle()?;

    let report = cast.rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 0, "the slot is served");
    assert_eq!(count(&report, "ModifySnapshotAttribute"), 2);
    cast.stage.aws.settle()?;
    let world = cast.stage.aws.snapshots()?;
    for source in world.iter().filter(|it| !it.copied) {
        assert_eq!(source.shared_with, [VAULT]);
        assert_eq!(source.tag("snapferry:shared-with"), VAULT);
        for (region, key) in TARGETS.iter().zip(&cast.keys) {
            check_copy(&world, source, region, key);
        }
    }
    assert_eq!(cast.copies()?.len(), 4);
    Ok(())
}

#[test]
fn both_sides_rotate_and_the_last_good_copies_stay() -> Result<()> {
    let cast = cast("rotated-expired")?;
    for day in 1..=4 {
        cast.play_night(day)?;
    }
    let world = cast.stage.aws.snapshots()?;
    let of_plain = world.iter().filter(|it| it.volume == cast.plain);
    let slots: Vec<&str> = of_plain.map(|it| it.tag("snapferry:slot")).collect();
    assert_eq!(slots, [slot(3), slot(4)], "Count 2 keeps the newest two");
    assert_eq!(cast.copies()?.len(), 16, "the vault keeps its own");

    cast.stage.aws.post("age", &json!({"days": 8}))?;
    let report = cast.copy.invoke(&json!({"DryRun": true}))?.report()?;
    assert_eq!((&report["Status"], count(&report, "DeleteSnapshot")), (&json!("Planned"), 12));
    assert_eq!(cast.copies()?.len(), 16, "a dry run does nothing");
    let report = cast.copy.invoke(&json!({}))?.report()?;
    assert_eq!(count(&report, "DeleteSnapshot"), 12);
    assert_eq!(count(&report, "CopySnapshot"), 0, "what is past its retention is not copied again");
    assert_eq!(cast.copies()?.len(), 4, "the last good copy of every volume stays in every Region");
    let report = cast.copy.invoke(&json!({}))?.report()?;
    assert_eq!((count(&report, "DeleteSnapshot"), count(&report, "CopySnapshot")), (0, 0));
    Ok(())
}

#[track_caller]
fn check_created(snapshot: &Snapshot, volume: &str) {
    assert_eq!(
        snapshot.tags,
        json!({
            "snapferry:policy": "daily",
            "snapferry:schedule": "nightly",
            "snapferry:slot": slot(1),
            "made-by": "nightly",
            "Backup": "daily",
            "Name": "web-1",
            "Team": "shop",
        })
    );
    assert_eq!(
        snapshot.description,
        format!(
            "Created for policy: daily schedule: nightly slot: {} volume: {volume} name: web-1",
            slot(1)
        )
    );
}

#[track_caller]
fn check_copy(world: &[Snapshot], source: &Snapshot, region: &str, key: &str) {
    let copies: Vec<&Snapshot> = world
        .iter()
        .filter(|it| it.region == region && it.tag("snapferry:source-snapshot") == source.id)
        .collect();
    assert_eq!(copies.len(), 1, "{} in {region}", source.id);
    let copy = copies[0];
    assert_eq!((copy.account.as_str(), copy.state.as_str()), (VAULT, "completed"));
    assert_eq!(copy.key.as_deref(), Some(key));
    for (tag, value) in [
        ("snapferry:policy", "vault"),
        ("snapferry:rule", region),
        ("snapferry:source-account", &source.account),
        ("snapferry:source-region", &source.region),
        ("snapferry:source-volume", &source.volume),
        ("snapferry:slot", &slot(1)),
    ] {
        assert_eq!(copy.tag(tag), value, "{tag}");
    }
    assert!(!copy.tag("snapferry:expires-at").is_empty());
}

#[test]
fn a_volume_under_the_default_key_is_named_with_its_remedies_and_never_quiet() -> Result<()> {
    let stage = Stage::new("default-key")?;
    let member = Place { account: MEMBERS[0], region: HOME };
    let more = json!({"tags": {"Backup": "daily"}, "kms_key": "alias/aws/ebs"});
    let volume = stage.aws.volumes(member, 1, &more)?.remove(0);
    stage.aws.volumes(member, 1, &json!({"tags": {"Backup": "daily"}}))?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    for _ in 0..2 {
        let message = failed(&rotate.invoke(&night(1))?, "ActionsFailed");
        for part in
            [volume.as_str(), "AWS managed key arn:aws:kms:", "Remedies", "exclude the volume"]
        {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!message.contains('\n'));
        stage.aws.settle()?;
    }
    let snapshots = stage.aws.snapshots()?;
    assert_eq!(snapshots.len(), 2, "it is snapshotted in its own account all the same");
    let shared = snapshots.iter().filter(|it| !it.shared_with.is_empty()).count();
    assert_eq!(shared, 1, "and the other volume's is shared");
    let log = rotate.printed()?;
    let metrics: Value = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line.get("_aws").is_some() && line.get("Policy").is_none())
        .ok_or("no metrics in the log")?;
    assert_eq!(metrics["ActionsFailed"], 1);
    assert_eq!(metrics["SnapshotsCreated"], 2);
    assert_eq!(metrics["Function"], "rotate-snapshots");
    Ok(())
}

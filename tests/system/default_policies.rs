//! Default policies: every volume that nobody, by any means, has made a snapshot of lately.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Snapshot;
use snapferry_tests::stage::{AWAY, Stage};

use crate::common::{MEMBER, age, by_hand, count, for_member, held, lines, run};
use crate::instances::instance;

/// The volumes that the report's lines are about.
fn volumes<'a>(report: &'a Value, operation: &str) -> BTreeSet<&'a str> {
    lines(report, operation).iter().filter_map(|line| line["VolumeId"].as_str()).collect()
}

fn default_policy() -> Value {
    for_member(
        "default",
        &json!({
            "PolicyLanguage": "SIMPLIFIED",
            "ResourceType": "VOLUME",
            "CreateInterval": 1,
            "RetainInterval": 7,
            "CopyTags": true,
            "Exclusions": {
                "ExcludeBootVolumes": true,
                "ExcludeVolumeTypes": ["st1", "sc1"],
                "ExcludeTags": [{"Key": "Backup", "Value": "never"}],
            },
        }),
    )
}

#[test]
fn what_nobody_has_snapshotted_lately_is_snapshotted_for_a_week() -> Result<()> {
    let stage = Stage::new("default-policy")?;
    let volume = |more: &Value| stage.aws.volumes(MEMBER, 1, more).map(|mut ids| ids.remove(0));
    let plain = volume(&json!({"tags": {"Name": "web-1"}}))?;
    let (by_hand_today, by_hand_once) = (volume(&json!({}))?, volume(&json!({}))?);
    volume(&json!({"volume_type": "st1", "size": 125}))?;
    volume(&json!({"tags": {"Backup": "never"}}))?;
    let data = instance(&stage, &json!({}), &json!([{}]))?.volumes.remove(1);
    let mut hands = vec![by_hand(&stage.aws, MEMBER, &by_hand_once)?];
    stage.aws.settle()?;
    age(&stage.aws, 2)?;
    hands.push(by_hand(&stage.aws, MEMBER, &by_hand_today)?);
    stage.aws.settle()?;
    stage.aws.post("age", &json!({"seconds": 3600}))?;
    let young = volume(&json!({}))?;

    let rotate = stage.function("rotate-snapshots", &default_policy())?;
    let report = run(&stage, &rotate, &json!({}))?;
    let wanted = BTreeSet::from([plain.as_str(), &by_hand_once, &data]);
    assert_eq!(volumes(&report, "CreateSnapshot"), wanted, "{report}");
    let reason = |volume: &str| {
        let lines = lines(&report, "CreateSnapshot");
        lines.iter().find(|line| line["VolumeId"] == volume).map(|line| line["Reason"].to_string())
    };
    assert_eq!(
        reason(&plain).as_deref(),
        Some("\"no recent snapshot of the volume by any means\"")
    );
    assert_eq!(held(&report, &young), "a default policy waits until a volume is 24 hours old");
    let of_plain = |it: &Snapshot| it.volume == plain && it.tag("Name") == "web-1";
    assert!(stage.aws.snapshots()?.iter().any(of_plain), "with the volume's tags");
    let report = run(&stage, &rotate, &json!({}))?;
    assert_eq!(report["Actions"], json!([]), "now they have one: {report}");

    age(&stage.aws, 1)?;
    let report = run(&stage, &rotate, &json!({}))?;
    let all = BTreeSet::from([plain.as_str(), &by_hand_once, &by_hand_today, &data, &young]);
    assert_eq!(volumes(&report, "CreateSnapshot"), all, "{report}");

    // Eight days without a run: the newest of a volume stays until a newer one is complete.
    age(&stage.aws, 8)?;
    let report = run(&stage, &rotate, &json!({}))?;
    assert_eq!((count(&report, "CreateSnapshot"), count(&report, "DeleteSnapshot")), (5, 3));
    let report = run(&stage, &rotate, &json!({}))?;
    assert_eq!((count(&report, "CreateSnapshot"), count(&report, "DeleteSnapshot")), (0, 5));
    let left = stage.aws.snapshots()?;
    assert_eq!(left.len(), all.len() + hands.len());
    assert!(hands.iter().all(|id| left.iter().any(|it| it.id == *id)), "what is not ours stays");
    Ok(())
}

#[test]
fn its_copies_go_to_other_regions_and_stay_as_long() -> Result<()> {
    let stage = Stage::new("default-policy-copies")?;
    let volume = stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Name": "web-1"}}))?.remove(0);
    age(&stage.aws, 2)?;
    let mut policy = default_policy();
    policy["PolicyDetails"]["CrossRegionCopyTargets"] = json!([{"TargetRegion": AWAY}]);
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let copies = || -> Result<Vec<Snapshot>> {
        Ok(stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect())
    };
    run(&stage, &rotate, &json!({}))?;
    let report = run(&stage, &rotate, &json!({}))?;
    assert_eq!(count(&report, "CopySnapshot"), 1, "{report}");
    let copy = copies()?.remove(0);
    assert_eq!((copy.region.as_str(), copy.key.as_deref()), (AWAY, None));
    for (tag, value) in [
        ("snapferry:rule", AWAY),
        ("snapferry:schedule", "default"),
        ("snapferry:source-volume", &volume),
        ("Name", "web-1"),
    ] {
        assert_eq!(copy.tag(tag), value, "{tag}");
    }
    assert_eq!(run(&stage, &rotate, &json!({}))?["Actions"], json!([]));
    age(&stage.aws, 8)?;
    for _ in 0..3 {
        run(&stage, &rotate, &json!({}))?;
    }
    let left = copies()?;
    assert_eq!((left.len(), stage.aws.snapshots()?.len()), (1, 2), "{left:?}");
    assert_ne!(left[0].id, copy.id, "the newer one took its place");
    Ok(())
}

//! `CrossRegionCopyRules`: copies within an account, which is the vault's own here, beside the vault's copies.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT, vault};

use crate::common::{
    MEMBER, age, count, lines, night, nightly, noon, of_volumes, only_looked, run, slot,
    vault_policy,
};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// The function's own account at home, copied to another Region for three days.
fn own(key: &str) -> Value {
    let mut policy = of_volumes(
        "own",
        &json!({
            "RetainRule": {"Count": 5},
            "CopyTags": true,
            "CrossRegionCopyRules": [{
                "Target": TARGET.region,
                "Encrypted": true,
                "CmkArn": key,
                "CopyTags": true,
                "TagsToAdd": [{"Key": "copied-by", "Value": "own"}],
                "RetainRule": {"Interval": 3, "IntervalUnit": "DAYS"},
            }],
        }),
    );
    if let Some(policy) = policy.as_object_mut() {
        policy.remove("Targets");
    }
    policy
}

/// Own copies and the vault's.
fn copies(stage: &Stage) -> Result<(Vec<Snapshot>, Vec<Snapshot>)> {
    let copies = stage.aws.snapshots()?.into_iter().filter(|it| it.copied);
    Ok(copies.partition(|it| it.tag("snapferry:policy") == "own"))
}

fn ids(snapshots: &[Snapshot]) -> BTreeSet<&str> {
    snapshots.iter().map(|it| it.id.as_str()).collect()
}

#[test]
fn copies_within_the_account_have_their_own_key_tags_and_end() -> Result<()> {
    let stage = Stage::new("within")?;
    stage.deployed_with([("ActInOwnAccount", json!("true"))]);
    let tags = json!({"Backup": "own", "Team": "shop"});
    let volume = stage.aws.volumes(vault(), 1, &json!({"tags": tags}))?.remove(0);
    stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "daily"}}))?;
    let (key, vault_key) = (stage.key(TARGET)?, stage.key(TARGET)?);
    let mut shared = nightly(&[HOME], &json!({"Count": 5}));
    shared["PolicyDetails"]["Schedules"][0]["CreateRule"]["StartWindowMinutes"] = json!(60);
    let rotate = stage.function("rotate-snapshots", &json!([shared, own(&key)]))?;
    let copy =
        stage.function("copy-shared-snapshots", &vault_policy(&[(TARGET.region, &vault_key)]))?;
    for day in 1..=2 {
        run(&stage, &rotate, &night(day))?;
        let report = run(&stage, &rotate, &night(day))?;
        assert_eq!(count(&report, "CopySnapshot"), 1, "{report}");
        let report = run(&stage, &copy, &json!({}))?;
        assert_eq!(count(&report, "CopySnapshot"), 1, "own snapshots are not shared: {report}");
    }
    let (ours, vaults) = copies(&stage)?;
    assert_eq!((ours.len(), vaults.len()), (2, 2));
    let world = stage.aws.snapshots()?;
    let source = world.iter().find(|it| it.volume == volume).ok_or("no source")?;
    let made = ours.iter().find(|it| it.tag("snapferry:source-snapshot") == source.id);
    let made = made.ok_or("no copy")?;
    assert_eq!((made.region.as_str(), made.key.as_deref()), (TARGET.region, Some(key.as_str())));
    for (tag, value) in [
        ("snapferry:schedule", "nightly"),
        ("snapferry:rule", TARGET.region),
        ("snapferry:source-account", VAULT),
        ("snapferry:source-region", HOME),
        ("snapferry:source-volume", &volume),
        ("snapferry:slot", &slot(1)),
        ("Team", "shop"),
        ("Backup", "own"),
        ("copied-by", "own"),
    ] {
        assert_eq!(made.tag(tag), value, "{tag}");
    }
    assert!(!made.tag("snapferry:expires-at").is_empty());
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &noon())?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);

    // Own copies stay for three days, the vault's for seven, the last of each for ever.
    age(&stage.aws, 5)?;
    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!(report["Actions"], json!([]), "neither its own nor the others: {report}");
    let report = run(&stage, &rotate, &noon())?;
    let gone = lines(&report, "DeleteSnapshot");
    assert_eq!((gone.len(), count(&report, "CopySnapshot")), (1, 0), "{report}");
    assert_eq!(
        (&gone[0]["SnapshotId"], &gone[0]["Region"]),
        (&json!(made.id), &json!(TARGET.region))
    );
    assert_eq!(ids(&copies(&stage)?.1), ids(&vaults));

    age(&stage.aws, 500)?;
    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!(count(&report, "DeleteSnapshot"), 1, "{report}");
    assert_eq!(run(&stage, &rotate, &noon())?["Actions"], json!([]));
    let (ours_now, vaults_now) = copies(&stage)?;
    assert_eq!((ours_now.len(), vaults_now.len()), (1, 1), "the last of each stays");
    assert!(ids(&ours).contains(ours_now[0].id.as_str()));
    Ok(())
}

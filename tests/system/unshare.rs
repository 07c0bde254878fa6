//! `UnshareWhenCopied`: shared until the vault has completed copies in both of its Regions, and not longer.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::HOME;

use crate::common::{count, ec2, failed, lines, night, run};
use crate::deployed::{
    CENTRAL, CENTRAL_ROLE, Deployed, EXTERNAL_IDS, MEMBER, MEMBER_ROLE, READER_ROLE, REGIONS,
    VAULT, assert_nothing_refused, published, readme_json, role,
};

const POLICY: &str = "until-copied";

/// Whether it is shared with the vault; the tag says the same.
#[track_caller]
fn is_shared(snapshot: &Snapshot) -> bool {
    let with = snapshot.shared_with.join(",");
    assert_eq!(snapshot.tags.get("snapferry:shared-with"), Some(&json!(with)));
    with == VAULT
}

/// Ids, and why sharing ended.
fn unshared(report: &Value) -> Vec<(&str, &str)> {
    let ends = lines(report, "ModifySnapshotAttribute").into_iter();
    ends.filter(|line| line["OperationType"] == "remove")
        .map(|line| {
            assert_eq!(line["Outcome"], "Done");
            (
                line["SnapshotId"].as_str().unwrap_or_default(),
                line["Reason"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
fn each_is_unshared_when_both_regions_have_it_and_nothing_more_is_done() -> Result<()> {
    const WHY: &str = "copied to eu-central-1 and eu-west-1";
    let world = Deployed::new("unshare")?;
    world.deploy_reader()?;
    let aws = &world.stage.aws;
    world.volume(POLICY, None)?;
    world.volume(POLICY, Some(&world.shareable_key()?))?;
    let (rotate, copy) = (world.rotate(POLICY)?, world.copy()?);
    aws.clear("calls")?;
    assert_eq!(count(&run(&world.stage, &rotate, &night(1))?, "CreateSnapshot"), 2);
    assert_eq!(count(&run(&world.stage, &rotate, &night(1))?, "ModifySnapshotAttribute"), 2);
    aws.post("config", &json!({"copy_seconds": -1}))?;
    assert_eq!(count(&run(&world.stage, &copy, &json!({}))?, "CopySnapshot"), 4);
    let sources = world.sources()?;
    assert!(sources.iter().all(is_shared));

    // One of them is in both Regions, the other in one and on its way to the other.
    let copies = world.copies()?;
    let is_last = |it: &&Snapshot| {
        it.tag("snapferry:source-snapshot") == sources[1].id && it.region == REGIONS[1]
    };
    let last = copies.iter().find(is_last).ok_or("no such copy")?;
    for done in copies.iter().filter(|it| !is_last(it)) {
        aws.post("snapshot", &json!({"id": done.id, "state": "completed"}))?;
    }
    let report = run(&world.stage, &rotate, &night(1))?;
    assert_eq!(unshared(&report), [(sources[0].id.as_str(), WHY)]);
    assert_eq!(report["Actions"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.sources()?.iter().map(is_shared).collect::<Vec<_>>(), [false, true]);
    assert_eq!(run(&world.stage, &rotate, &night(1))?["Actions"], json!([]), "it is still pending");

    aws.post("snapshot", &json!({"id": last.id, "state": "completed"}))?;
    let report = run(&world.stage, &rotate, &night(1))?;
    assert_eq!(unshared(&report), [(sources[1].id.as_str(), WHY)]);
    assert!(!world.sources()?.iter().any(is_shared));
    assert_nothing_refused(aws)?;
    world.assert_rests(&rotate, &copy, &night(1))?;

    aws.post("config", &json!({"copy_seconds": 0.1}))?;
    for function in [&rotate, &rotate, &copy, &rotate] {
        run(&world.stage, function, &if function.url == copy.url { json!({}) } else { night(2) })?;
    }
    world.assert_rests(&rotate, &copy, &night(2))?;
    assert_eq!((world.sources()?.len(), world.copies()?.len()), (4, 8), "two nights, two volumes");
    assert!(!world.sources()?.iter().any(is_shared));
    Ok(())
}

#[test]
fn a_vault_that_cannot_be_read_ends_no_sharing_and_holds_up_nothing_else() -> Result<()> {
    let world = Deployed::new("unshare-unreadable")?;
    let aws = &world.stage.aws;
    world.volume(POLICY, None)?;
    let (rotate, copy) = (world.rotate(POLICY)?, world.copy()?);
    let who = format!(
        "cannot assume {} in account {VAULT} as arn:aws:sts::{CENTRAL}:assumed-role/{CENTRAL_ROLE}/by-hand",
        role(VAULT, READER_ROLE)
    );
    let tell = |day: u8, part: &str| -> Result<()> {
        let message = failed(&rotate.invoke(&night(day))?, "ScopesUnreadable");
        assert!(message.contains(part), "{part} is not in: {message}");
        assert!(!message.contains("ActionsFailed"), "{message}");
        assert!(EXTERNAL_IDS.iter().all(|secret| !message.contains(secret)), "{message}");
        world.stage.aws.settle()
    };
    for _ in 0..2 {
        for region in REGIONS {
            tell(1, &format!("{VAULT}/{region}: {who}"))?;
        }
        run(&world.stage, &copy, &json!({}))?;
    }
    assert_eq!(world.copies()?.len(), 2, "in both Regions");
    tell(2, &who)?;
    assert_eq!(world.sources()?.len(), 2, "the next night's was made");
    tell(2, &who)?;
    assert!(world.sources()?.iter().all(is_shared), "and shared");

    world.deploy_reader()?;
    let closed = json!({"account": VAULT, "region": REGIONS[1], "code": "OptInRequired"});
    aws.post("regions", &closed)?;
    tell(2, &format!("{VAULT}/{}: AWS refused DescribeSnapshots: ", REGIONS[1]))?;
    assert!(world.sources()?.iter().all(is_shared), "one Region is not enough");

    aws.post("regions", &json!({"account": VAULT, "region": REGIONS[1], "enabled": true}))?;
    let report = run(&world.stage, &rotate, &night(2))?;
    assert_eq!(unshared(&report).len(), 1);
    assert_eq!(world.sources()?.iter().map(is_shared).collect::<Vec<_>>(), [false, true]);
    Ok(())
}

#[test]
fn the_reader_role_lets_the_central_function_see_copies_and_nobody_do_anything() -> Result<()> {
    let world = Deployed::new("vault-reader")?;
    world.deploy_reader()?;
    let aws = &world.stage.aws;
    let reader = role(VAULT, READER_ROLE);
    let central = world.stage.assume(CENTRAL, &role(CENTRAL, CENTRAL_ROLE), None)?.access_key_id;
    let member =
        world.stage.assume(&central, &role(MEMBER.account, MEMBER_ROLE), Some(EXTERNAL_IDS[0]))?;
    let admin = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
    }]});
    world.stage.create_role(VAULT, "admin", &admin)?;
    world.stage.create_role(CENTRAL, "another", &admin)?;
    let another = world.stage.assume(CENTRAL, &role(CENTRAL, "another"), None)?.access_key_id;
    let everything = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "*", "Resource": "*",
    }]});
    world.stage.put_policy(CENTRAL, "another", &everything)?;
    for (who, what, id) in [
        (central.as_str(), reader.as_str(), None),
        (&central, &reader, Some(EXTERNAL_IDS[0])),
        (&another, &reader, Some(EXTERNAL_IDS[1])),
        (&member.access_key_id, &reader, Some(EXTERNAL_IDS[1])),
        (MEMBER.account, &reader, Some(EXTERNAL_IDS[1])),
        (&central, &role(VAULT, "admin"), None),
    ] {
        let said =
            world.stage.assume(who, what, id).map_or_else(|err| err.to_string(), |_| "done".into());
        assert!(said.contains("AccessDenied"), "{who} {what} {id:?}: {said}");
    }

    let volume =
        aws.volumes(Place { account: VAULT, region: HOME }, 1, &json!({"snapshots": 1}))?;
    let copy = world.copies()?.remove(0).id;
    let session = world.stage.assume(&central, &reader, Some(EXTERNAL_IDS[1]))?.access_key_id;
    let place = Place { account: &session, region: HOME };
    let seen = ec2(aws, place, &[("Action", "DescribeSnapshots"), ("Owner.1", "self")])?;
    assert!(seen.contains(&copy), "{seen}");
    let of_copy = ("SnapshotId", copy.as_str());
    let vaults = world.stage.aws.snapshots()?;
    for form in [
        vec![("Action", "DeleteSnapshot"), of_copy],
        vec![
            ("Action", "LockSnapshot"),
            of_copy,
            ("LockMode", "governance"),
            ("LockDuration", "1"),
        ],
        vec![("Action", "ModifySnapshotTier"), of_copy],
        vec![
            ("Action", "ModifySnapshotAttribute"),
            of_copy,
            ("Attribute", "createVolumePermission"),
            ("OperationType", "add"),
            ("UserId.1", MEMBER.account),
        ],
        vec![
            ("Action", "DescribeSnapshotAttribute"),
            of_copy,
            ("Attribute", "createVolumePermission"),
        ],
        vec![("Action", "CopySnapshot"), ("SourceRegion", HOME), ("SourceSnapshotId", &copy)],
        vec![
            ("Action", "CreateTags"),
            ("ResourceId.1", &copy),
            ("Tag.1.Key", "snapferry:policy"),
            ("Tag.1.Value", "x"),
        ],
        vec![("Action", "CreateSnapshot"), ("VolumeId", &volume[0])],
        vec![("Action", "DescribeVolumes")],
    ] {
        let said = ec2(aws, place, &form)
            .map_or_else(|err| err.to_string(), |done| format!("done: {done}"));
        assert!(said.contains("UnauthorizedOperation"), "{form:?}: {said}");
    }
    assert_eq!(aws.snapshots()?, vaults);
    let at_home = Place { account: &central, region: HOME };
    let said = ec2(aws, at_home, &[("Action", "DescribeSnapshots")]);
    assert!(said.is_err(), "the central role itself may do nothing in EC2");
    Ok(())
}

#[test]
fn readme_says_what_the_published_policies_do() -> Result<()> {
    let in_braces = |text| -> Result<Value> {
        Ok(serde_json::from_str(
            &format!("{{{}}}", readme_json(text)?).replace('…', EXTERNAL_IDS[1]),
        )?)
    };
    let share = in_braces(
        "\"ShareRules\": [{ \"TargetAccounts\": [\"222222222222\"], \"UnshareWhenCopied\"",
    )?;
    let rescue = in_braces("\"DefaultKeyRescue\"")?;
    for name in [POLICY, "rescue"] {
        let details = &published(name)?["PolicyDetails"];
        assert_eq!(details["Schedules"][0]["ShareRules"], share["ShareRules"], "{name}");
    }
    assert_eq!(
        published("rescue")?["PolicyDetails"]["DefaultKeyRescue"],
        rescue["DefaultKeyRescue"]
    );
    Ok(())
}

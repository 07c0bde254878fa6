//! What strangers and members with bad intentions can do to the vault: nothing.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{HOME, MEMBERS, Stage, TARGETS, VAULT};

use crate::common::{MEMBER, calls, count, ec2, element, run, share, shared, vault_policy};

/// A member with bad intentions.
const TRAITOR: Place<'static> = Place { account: MEMBERS[1], region: HOME };
/// Nobody that a policy names.
const STRANGER: Place<'static> = Place { account: "555555555555", region: HOME };
const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// Three snapshots of a good member, and a vault that keeps one copy of each volume.
struct Cast {
    stage: Stage,
    sources: Vec<Snapshot>,
    copy: Lambda,
}

impl Cast {
    /// Everything is copied.
    fn new(name: &str) -> Result<Self> {
        let cast = Self::before(name)?;
        run(&cast.stage, &cast.copy, &json!({}))?;
        assert_eq!(cast.vault()?.len(), 3);
        Ok(cast)
    }

    /// Nothing is copied yet.
    fn before(name: &str) -> Result<Self> {
        let stage = Stage::new(name)?;
        let sources = shared(&stage.aws, MEMBER, 3, &json!({}))?;
        let mut policy = vault_policy(&[(TARGETS[0], &stage.key(TARGET)?)]);
        let details = &mut policy["PolicyDetails"];
        details["Actions"][0]["CrossRegionCopy"][0]["RetainRule"] = json!({"Count": 1});
        details["EventSource"]["Parameters"]["DescriptionRegex"] =
            json!("(x+x+)+y|^Created for policy: daily ");
        let copy = stage.function("copy-shared-snapshots", &policy)?;
        Ok(Self { stage, sources, copy })
    }

    /// What the vault has.
    fn vault(&self) -> Result<Vec<Snapshot>> {
        Ok(self.stage.aws.snapshots()?.into_iter().filter(|it| it.account == VAULT).collect())
    }

    /// A sweep, and the calls that it made.
    fn sweep(&self) -> Result<(Value, BTreeMap<String, usize>)> {
        self.stage.aws.clear("calls")?;
        let report = run(&self.stage, &self.copy, &json!({}))?;
        Ok((report, calls(&self.stage.aws)?))
    }

    fn unshare_all(&self) -> Result<()> {
        let mut ids = self.sources.iter().map(|it| &it.id);
        ids.try_for_each(|id| share(&self.stage.aws, MEMBER, id, "remove"))
    }
}

/// Of a sweep with nothing to do.
fn is_quiet(report: &Value) {
    assert_eq!((&report["Status"], &report["Actions"]), (&json!("Succeeded"), &json!([])));
}

#[test]
fn a_strangers_thousand_snapshots_are_not_even_looked_at() -> Result<()> {
    let cast = Cast::new("attack-stranger")?;
    let vault = cast.vault()?;
    let (report, calls) = cast.sweep()?;
    is_quiet(&report);
    shared(&cast.stage.aws, STRANGER, 1000, &json!({}))?;
    shared(&cast.stage.aws, STRANGER, 10, &json!({"shared_with": ["all"]}))?;
    let (report, after) = cast.sweep()?;
    is_quiet(&report);
    assert_eq!((&report["Held"], after), (&json!([]), calls), "as before they came");

    cast.stage.deliver_events_to(&[&cast.copy])?;
    let told = shared(&cast.stage.aws, STRANGER, 3, &json!({"shared_with": []}))?;
    cast.stage.aws.clear("calls")?;
    told.iter().try_for_each(|it| share(&cast.stage.aws, STRANGER, &it.id, "add"))?;
    cast.stage.aws.settle()?;
    let deliveries = cast.stage.aws.get("deliveries")?;
    let answers = deliveries["deliveries"].as_array().ok_or("no deliveries")?;
    assert_eq!(answers.len(), told.len());
    for it in answers {
        let why = &it["answer"]["Held"][0]["Reason"];
        assert_eq!(why, &format!("no policy names {} as SnapshotOwner", STRANGER.account));
    }
    assert_eq!(cast.vault()?, vault);
    Ok(())
}

#[test]
fn a_members_thousand_other_snapshots_cost_a_page() -> Result<()> {
    let cast = Cast::new("attack-flood")?;
    let vault = cast.vault()?;
    let (report, calls) = cast.sweep()?;
    is_quiet(&report);
    let n_calls: usize = calls.values().sum();
    shared(&cast.stage.aws, TRAITOR, 1000, &json!({"description": "x".repeat(255)}))?;
    let (report, calls) = cast.sweep()?;
    is_quiet(&report);
    assert_eq!(count(&report, "Held"), 1000, "none of them is wanted");
    assert_eq!(calls.values().sum::<usize>(), n_calls + 1, "one page more: {calls:?}");
    assert_eq!(cast.vault()?, vault);
    Ok(())
}

#[test]
fn descriptions_are_nothing_but_words() -> Result<()> {
    let cast = Cast::new("attack-words")?;
    let vault = cast.vault()?;
    let victim = &cast.sources[0].volume;
    let tail = [
        "x".repeat(229),
        format!("slot: 9000-01-01T00:00:00Z volume: {victim}"),
        "schedule: s slot: 0000-01-01T00:00:00Z volume: vol-ffffffff name: x".to_owned(),
        "slot: slot: slot: volume: volume: $(reboot) `reboot` ../../ %s %n {}".to_owned(),
        "\t\n\r \u{7f}\u{85}\u{200b}\u{202e}\u{feff} <a>&amp;</a> ]]> \"',".to_owned(),
        "\u{1f4a3}".repeat(229),
        "ｗ".repeat(229),
    ];
    let descriptions = tail.map(|tail| format!("Created for policy: daily {tail}"));
    for description in &descriptions {
        let mut made = shared(&cast.stage.aws, TRAITOR, 1, &json!({"description": description}))?;
        let made = made.pop().ok_or("no snapshot")?;
        assert_eq!(made.description, *description);
    }
    // EC2 does not tell of a copy which volume it is of, so its description is believed.
    let of_copy = copied(&cast.stage, &descriptions[1])?;
    share(&cast.stage.aws, TRAITOR, &of_copy, "add")?;

    run(&cast.stage, &cast.copy, &json!({}))?;
    is_quiet(&cast.sweep()?.0);
    let now = cast.vault()?;
    let (before, made): (Vec<_>, Vec<_>) = now.into_iter().partition(|it| vault.contains(it));
    assert_eq!(before, vault, "the good member's are what they were");
    assert_eq!(made.len(), descriptions.len() + 1);
    for copy in &made {
        assert_eq!(copy.tag("snapferry:source-account"), TRAITOR.account);
        assert_eq!((copy.tag("snapferry:policy"), copy.state.as_str()), ("vault", "completed"));
        let is_plain = copy.description.bytes().all(|it| (b' '..=b'~').contains(&it));
        assert!(is_plain && copy.description.len() <= 255, "{}", copy.description);
    }
    let forged: Vec<_> =
        made.iter().filter(|it| it.tag("snapferry:source-volume") == victim).collect();
    let of: Vec<_> = forged.iter().map(|it| it.tag("snapferry:source-snapshot")).collect();
    assert_eq!(of, [of_copy.as_str()], "and that is the traitor's own");
    Ok(())
}

/// A copy of the traitor's own with this description.
fn copied(stage: &Stage, description: &str) -> Result<String> {
    let volume = stage.aws.volumes(TRAITOR, 1, &json!({"snapshots": 1}))?.remove(0);
    let all = stage.aws.snapshots()?;
    let source = all.iter().find(|it| it.volume == volume).ok_or("no snapshot")?;
    let form = [
        ("Action", "CopySnapshot"),
        ("SourceRegion", HOME),
        ("SourceSnapshotId", &source.id),
        ("Description", description),
    ];
    let made = ec2(&stage.aws, TRAITOR, &form)?;
    stage.aws.settle()?;
    Ok(element(&made, "snapshotId").to_owned())
}

#[test]
fn an_owner_that_takes_everything_back_takes_nothing_from_the_vault() -> Result<()> {
    let cast = Cast::new("attack-back")?;
    let vault = cast.vault()?;
    let (report, calls) = cast.sweep()?;
    is_quiet(&report);
    cast.unshare_all()?;
    let (report, after) = cast.sweep()?;
    is_quiet(&report);
    assert_eq!(cast.vault()?, vault);
    // Without sources no key is looked at.
    assert!(after.iter().all(|(name, n)| calls.get(name) >= Some(n)), "{after:?} of {calls:?}");
    for it in &cast.sources {
        ec2(&cast.stage.aws, MEMBER, &[("Action", "DeleteSnapshot"), ("SnapshotId", &it.id)])?;
        ec2(&cast.stage.aws, MEMBER, &[("Action", "DeleteVolume"), ("VolumeId", &it.volume)])?;
    }
    cast.stage.aws.post("age", &json!({"days": 4000}))?;
    let expected = cast.vault()?;
    assert_eq!(expected.len(), vault.len());
    let (report, gone) = cast.sweep()?;
    is_quiet(&report);
    assert_eq!((gone, cast.vault()?), (after, expected), "and it stays, however long");
    Ok(())
}

#[test]
fn an_owner_that_takes_everything_back_during_the_run_makes_no_error() -> Result<()> {
    let cast = Cast::before("attack-during")?;
    let aws = &cast.stage.aws;
    aws.post("faults", &json!({"action": "CopySnapshot", "hold": "before"}))?;
    let report = thread::scope(|scope| -> Result<Value> {
        let sweep = scope.spawn(|| cast.copy.invoke(&json!({})));
        aws.get("faults?wait=held")?;
        cast.unshare_all()?;
        aws.clear("faults")?;
        sweep.join().map_err(|_| "panicked")??.report()
    })?;
    assert_eq!((count(&report, "CopySnapshot"), count(&report, "Held")), (0, 3), "{report}");
    is_quiet(&cast.sweep()?.0);
    assert_eq!(cast.vault()?, []);
    Ok(())
}

//! `DefaultKeyRescue`: from a volume under the AWS managed key to two copies in the vault.

use std::thread;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;

use crate::common::{count, failed, lines, night, run};
use crate::deployed::{
    Deployed, MEMBER, MEMBER_ROLE, REGIONS, VAULT, assert_nothing_refused, published,
};

const POLICY: &str = "rescue";
const EBS: &str = "alias/aws/ebs";

/// Two volumes, of which one needs rescue, and everything that it takes but the alias.
struct Cast {
    world: Deployed,
    volume: String,
    /// To share with.
    key: String,
    rotate: Lambda,
    copy: Lambda,
}

impl Cast {
    fn new(name: &str) -> Result<Self> {
        let world = Deployed::new(name)?;
        world.deploy_reader()?;
        world.stage.aws.post("config", &json!({"copy_seconds": 0.1, "snapshot_seconds": 0.1}))?;
        let volume = world.volume(POLICY, Some(EBS))?;
        world.volume(POLICY, None)?;
        let key = world.shareable_key()?;
        let (rotate, copy) = (world.rotate(POLICY)?, world.copy()?);
        Ok(Self { world, volume, key, rotate, copy })
    }

    /// What the policy calls the key.
    fn alias(&self) -> Result<()> {
        let name = &published(POLICY)?["PolicyDetails"]["DefaultKeyRescue"]["KmsKeyId"];
        let body = json!({"AliasName": name, "TargetKeyId": self.key});
        self.world.stage.aws.json(MEMBER, "kms", "TrentService.CreateAlias", &body).map(drop)
    }

    fn rotate(&self, day: u8) -> Result<Value> {
        run(&self.world.stage, &self.rotate, &night(day))
    }

    fn sweep(&self) -> Result<Value> {
        run(&self.world.stage, &self.copy, &json!({}))
    }

    /// From the creation to the end of a night.
    fn play(&self, day: u8) -> Result<()> {
        for _ in 0..3 {
            self.rotate(day)?;
        }
        self.sweep()?;
        for _ in 0..2 {
            self.rotate(day)?;
        }
        self.world.assert_rests(&self.rotate, &self.copy, &night(day))
    }

    /// So many nights of both volumes are in both Regions, once, under the vault's keys, with their lineage; nothing
    /// stands in for a snapshot any more, and nothing is shared.
    fn assert_settled(&self, nights: usize) -> Result<()> {
        let sources = self.world.sources()?;
        assert_eq!(sources.len(), 2 * nights);
        assert!(sources.iter().all(|it| it.shared_with.is_empty() && it.state == "completed"));
        assert!(sources.iter().all(|it| it.tags.get("snapferry:shared-with") == Some(&json!(""))));
        assert_eq!(self.world.stand_ins()?, []);
        let of = |volume: &str, slot: &str| (volume.to_owned(), slot.to_owned());
        let mut wanted: Vec<_> =
            sources.iter().map(|it| of(&it.volume, it.tag("snapferry:slot"))).collect();
        wanted.sort();
        let copies = self.world.copies()?;
        for (region, key) in REGIONS.iter().zip(&self.world.keys) {
            let here = copies.iter().filter(|it| it.region == *region);
            let mut found = Vec::new();
            for it in here {
                assert_eq!((it.state.as_str(), it.key.as_ref()), ("completed", Some(key)));
                found.push(of(it.tag("snapferry:source-volume"), it.tag("snapferry:slot")));
            }
            found.sort();
            assert_eq!(found, wanted, "{region}");
        }
        Ok(())
    }
}

#[test]
fn a_copy_under_another_key_is_shared_and_dropped_when_the_vault_has_it() -> Result<()> {
    let cast = Cast::new("rescue")?;
    let (world, aws) = (&cast.world, &cast.world.stage.aws);
    cast.alias()?;
    aws.clear("calls")?;
    assert_eq!(count(&cast.rotate(1)?, "CreateSnapshot"), 2);
    let sources = world.sources()?;
    let (sealed, plain): (Vec<_>, Vec<_>) = sources.iter().partition(|it| it.volume == cast.volume);

    let report = cast.rotate(1)?;
    let line = lines(&report, "CopySnapshot")[0];
    assert_eq!(
        (&line["SourceSnapshotId"], &line["Outcome"]),
        (&json!(sealed[0].id), &json!("Done"))
    );
    assert_eq!(count(&report, "ModifySnapshotAttribute"), 1, "the other one needs none");
    let one = world.stand_ins()?.remove(0);
    assert_eq!((one.region.as_str(), one.key.as_ref()), (MEMBER.region, Some(&cast.key)));
    assert_eq!(one.description, sealed[0].description);
    assert_eq!(one.tag("Name"), "web");

    let report = cast.rotate(1)?;
    assert_eq!(lines(&report, "ModifySnapshotAttribute")[0]["SnapshotId"], json!(one.id));
    assert_eq!(world.stand_ins()?[0].shared_with, [VAULT]);
    assert_eq!(count(&cast.sweep()?, "CopySnapshot"), 4);

    let report = cast.rotate(1)?;
    let mut ends: Vec<_> = lines(&report, "ModifySnapshotAttribute");
    ends.retain(|line| line["OperationType"] == "remove");
    assert_eq!(ends.len(), 2, "{report}");
    assert_eq!(world.stand_ins()?.len(), 1, "the source remembers first that the vault has it");
    let report = cast.rotate(1)?;
    let line = lines(&report, "DeleteSnapshot")[0];
    assert_eq!(line["SnapshotId"], json!(one.id));
    assert_eq!(line["Reason"], "copied to eu-central-1 and eu-west-1");
    assert_nothing_refused(aws)?;
    let shares = aws.get("calls?action=ModifySnapshotAttribute")?.to_string();
    assert!(shares.contains(&one.id) && shares.contains(&plain[0].id));
    assert!(!shares.contains(&sealed[0].id), "it was never shared");
    world.assert_rests(&cast.rotate, &cast.copy, &night(1))?;
    cast.assert_settled(1)?;

    cast.play(2)?;
    cast.assert_settled(2)
}

#[test]
fn an_alias_that_is_missing_is_told_with_its_remedy_and_the_rest_is_done() -> Result<()> {
    let cast = Cast::new("rescue-no-alias")?;
    for _ in 0..3 {
        let message = failed(&cast.rotate.invoke(&night(1))?, "ActionsFailed");
        for part in [
            cast.volume.as_str(),
            "AWS managed key arn:aws:kms:eu-central-1:333333333333:key/",
            "key alias/snapferry-share of DefaultKeyRescue does not exist there: create it, or the alias, in that \
             account and Region, or correct KmsKeyId",
        ] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!message.contains('\n') && !message.contains("ScopesUnreadable"), "{message}");
        cast.world.stage.aws.settle()?;
    }
    assert_eq!(cast.world.sources()?.len(), 2);
    assert_eq!(cast.world.stand_ins()?, []);
    let shared = cast.world.sources()?.into_iter().filter(|it| it.shared_with == [VAULT]).count();
    assert_eq!(shared, 1, "the other volume's");
    cast.alias()?;
    cast.play(1)?;
    cast.assert_settled(1)
}

#[test]
fn a_member_role_that_may_not_use_keys_is_told_and_mended() -> Result<()> {
    let cast = Cast::new("rescue-no-keys")?;
    cast.alias()?;
    let (stage, whole) = (&cast.world.stage, cast.world.member_policy()?);
    let mut without = whole.clone();
    let statements = without["Statement"].as_array_mut().ok_or("no statements")?;
    statements.retain(|it| it["Sid"] != "GrantKeysToEc2");
    assert_eq!(statements.len() + 1, whole["Statement"].as_array().map_or(0, Vec::len));
    stage.put_policy(MEMBER.account, MEMBER_ROLE, &without)?;
    cast.rotate(1)?;
    cast.rotate(1)?;
    let failed_copy = cast.world.stand_ins()?.remove(0);
    assert_eq!(failed_copy.state, "error");
    stage.put_policy(MEMBER.account, MEMBER_ROLE, &whole)?;
    let message = failed(&cast.rotate.invoke(&night(1))?, "ActionsFailed");
    for part in [
        &*format!("the copy {} of ", failed_copy.id),
        "ended in error: Given key ID is not accessible",
        "the member role, have to allow that role kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, \
         kms:GenerateDataKey* and kms:CreateGrant",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    stage.aws.settle()?; // it is told, and tried again at once
    cast.play(1)?;
    cast.assert_settled(1)
}

#[test]
fn two_runs_at_once_leave_one_stand_in() -> Result<()> {
    let cast = Cast::new("rescue-twice")?;
    cast.alias()?;
    let (world, aws) = (&cast.world, &cast.world.stage.aws);
    cast.rotate(1)?;
    let policy = published(POLICY)?;
    let runs = [world.rotate_as(&policy, "first")?, world.rotate_as(&policy, "second")?];
    // Both see that there is none, before either makes one.
    let fault = |app: &str| json!({"agent": format!("app/{app}"), "action": "CopySnapshot", "times": 1, "hold": "before"});
    let faults = aws.post("faults", &json!([fault("first"), fault("second")]))?;
    let held = thread::scope(|scope| -> Result<Value> {
        let invoke = |lambda| scope.spawn(move || Lambda::invoke(lambda, &night(1)));
        let running = [invoke(&runs[0]), invoke(&runs[1])];
        let mut held = Value::Null;
        for n in 0..2 {
            let id = &faults["faults"][n]["id"];
            held = aws.get(&format!("faults?wait=held&id={id}&timeout=60"))?;
        }
        aws.clear("faults")?;
        for run in running {
            run.join().map_err(|_| "panicked")??.report()?;
        }
        Ok(held)
    })?;
    for n in 0..2 {
        assert_eq!(held["faults"][n]["held"], json!(["CopySnapshot"]), "{held}");
    }
    let copies = aws.get("calls/counts?action=CopySnapshot&account=333333333333")?;
    assert_eq!(copies["total"], 2, "{copies}");
    aws.settle()?;
    cast.rotate(1)?;
    assert_eq!(world.stand_ins()?.len(), 1);
    cast.play(1)?;
    cast.assert_settled(1)
}

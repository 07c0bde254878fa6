//! `DefaultKeyRescue`: both functions together, from a volume under the AWS managed key to two copies in the vault.

use serde_json::{Value, json};
use snapferry_core::ids::VolumeId;
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::tags::{self, CopyClaim};
use snapferry_sim::{Record, Sim};

use crate::support::servers::server;
use crate::support::storm::assert_safe;
use crate::support::together::{both, live, quiet};
use crate::support::{
    HOME, MEMBER, VAULT, account, answer_shares, every, failure, hours, lines, member, minutes,
    policy, rotate, rotate_and_look, scope, sim, sweep, target,
};

mod faults;

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];
const ALIAS: &str = "alias/snapferry-share";

fn ebs_key() -> String {
    format!("arn:aws:kms:{HOME}:{MEMBER}:key/ebs")
}

fn share_key() -> String {
    format!("arn:aws:kms:{HOME}:{MEMBER}:key/to-share")
}

fn vault_key(region: &str) -> String {
    format!("arn:aws:kms:{region}:{VAULT}:key/of-the-vault")
}

/// Nightly, four kept, rescued, and shared until the vault has them.
fn rescued() -> Value {
    let reader = format!("arn:aws:iam::{VAULT}:role/snapferry-vault-reader");
    let share = json!([{"TargetAccounts": [VAULT], "UnshareWhenCopied": {"RoleArn": reader, "Regions": REGIONS}}]);
    let mut policy = policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 4},
                 "ShareRules": share})],
    );
    policy["PolicyDetails"]["DefaultKeyRescue"] = json!({"KmsKeyId": ALIAS});
    policy
}

/// Under the vault's keys, so many kept in each Region.
fn copies(kept: u32) -> Value {
    let rule = |region| {
        json!({"Target": region, "RetainRule": {"Count": kept},
               "EncryptionConfiguration": {"Encrypted": true, "CmkArn": vault_key(region)}})
    };
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER],
                "DescriptionRegex": "^Created for policy: daily schedule: nightly slot: .* volume: "}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": REGIONS.map(rule)}]
        }
    })
}

fn world() -> Sim {
    let sim = sim();
    sim.key(&ebs_key(), &[]);
    sim.change_key(&ebs_key(), |it| it.key.aws_managed = true);
    sim.key(&share_key(), &[account(VAULT)]);
    sim.alias(&member(), ALIAS, &share_key());
    for region in REGIONS {
        sim.key(&vault_key(region), &[]);
    }
    sim
}

/// A target under the AWS managed key.
fn sealed(sim: &Sim) -> VolumeId {
    let volume = target(sim);
    sim.change_volume(&volume, |it| it.kms_key_id = Some(ebs_key().into()));
    volume
}

fn stand_ins(sim: &Sim) -> Vec<Record> {
    let is_one = |it: &Record| CopyClaim::read(&it.snapshot.tags).is_some_and(|it| it.stands_in());
    sim.records().into_iter().filter(is_one).collect()
}

fn own(sim: &Sim) -> Vec<Record> {
    let is_own = |it: &Record| it.scope() == member() && it.copy_of.is_none();
    sim.records().into_iter().filter(is_own).collect()
}

fn in_vault(sim: &Sim, region: &str) -> Vec<Record> {
    let is_there = |it: &Record| it.scope() == scope(VAULT, region);
    sim.records().into_iter().filter(is_there).collect()
}

/// Volume and slot of the vault's copies in a Region, oldest first.
fn lineage(sim: &Sim, region: &str) -> Vec<(String, String)> {
    let of = |it: Record| {
        assert_eq!(it.snapshot.state, State::Completed);
        let tags = it.snapshot.tags;
        (tags[tags::SOURCE_VOLUME].clone(), tags[tags::SLOT].clone())
    };
    let mut all: Vec<_> = in_vault(sim, region).into_iter().map(of).collect();
    all.sort();
    all
}

/// The vault has every snapshot of the member once in each Region, by volume and slot; nothing stands in for one any
/// more, and nothing is shared.
fn assert_settled(sim: &Sim, n: usize, context: impl std::fmt::Display) {
    let of = |it: Record| (it.snapshot.volume_id.to_string(), it.snapshot.tags[tags::SLOT].clone());
    let mut wanted: Vec<_> = own(sim).into_iter().map(of).collect();
    wanted.sort();
    assert_eq!(wanted.len(), n, "{context}");
    for region in REGIONS {
        assert_eq!(lineage(sim, region), wanted, "{context}: {region}");
    }
    assert!(stand_ins(sim).is_empty(), "{context}");
    assert!(sim.records().iter().all(|it| it.shared_with.is_empty()), "{context}");
}

#[test]
fn from_the_default_key_to_both_regions_step_by_step() {
    let sim = world();
    let volume = sealed(&sim);
    let documents = [rescued(), copies(9)];
    quiet(&rotate(&sim, &documents));
    sim.advance(minutes(25));
    let run = rotate(&sim, &documents);
    quiet(&run);
    let line = lines(&run, "CopySnapshot", OutcomeName::Done)[0];
    let source = own(&sim).remove(0).snapshot;
    assert_eq!(line.source_snapshot_id, Some(source.id.clone()));
    let why = format!(
        "under {}, which no other account can use: copied under {} to be shared",
        ebs_key(),
        share_key()
    );
    assert_eq!((line.reason.as_str(), line.volume_id.as_ref()), (why.as_str(), Some(&volume)));
    let one = stand_ins(&sim).remove(0);
    assert_eq!(one.snapshot.kms_key_id.as_deref(), Some(&*share_key()));
    assert_eq!((&one.region, &one.snapshot.description), (&member().region, &source.description));
    let waiting = rotate(&sim, &documents);
    quiet(&waiting);
    assert_eq!(lines(&waiting, "ModifySnapshotAttribute", OutcomeName::Deferred).len(), 1);
    sim.advance(minutes(25));
    quiet(&rotate(&sim, &documents)); // shared
    for run in answer_shares(&sim, &documents) {
        quiet(&run);
    }
    sim.advance(minutes(5));
    quiet(&rotate(&sim, &documents));
    let one = sim.record(&one.snapshot.id).unwrap();
    assert!(one.shared_with.contains(&account(VAULT)), "copies are pending");
    sim.advance(minutes(25));
    quiet(&rotate(&sim, &documents)); // unshared, and remembered
    assert_eq!(own(&sim)[0].snapshot.tags[tags::SHARED_WITH], "");
    assert!(sim.record(&one.snapshot.id).unwrap().shared_with.is_empty());
    let run = rotate(&sim, &documents);
    quiet(&run);
    let line = lines(&run, "DeleteSnapshot", OutcomeName::Done)[0];
    assert_eq!(line.reason, "copied to eu-west-1 and us-west-2");
    assert_settled(&sim, 1, "");
    live(&sim, &documents);
    for copy in REGIONS.iter().flat_map(|region| in_vault(&sim, region)) {
        assert_eq!(copy.snapshot.kms_key_id, Some(vault_key(copy.region.as_str()).into()));
        assert_eq!(copy.snapshot.tags[tags::SOURCE_SNAPSHOT], one.snapshot.id.as_str());
    }
}

#[test]
fn for_weeks_each_snapshot_is_rescued_once_and_copied_once_to_each_region() {
    for kept in [2, 9] {
        let sim = world();
        for _ in 0..2 {
            sealed(&sim);
        }
        let plain = target(&sim); // needs none
        let documents = [rescued(), copies(kept)];
        rotate_and_look(&sim, &documents, 12, hours(3), |run| {
            quiet(run);
            quiet(&sweep(&sim, &documents));
            assert_safe(&sim);
        });
        let journal = sim.take_journal();
        let copied = journal.iter().filter(|it| it.operation == "CopySnapshot");
        let by_member = copied.clone().filter(|it| it.scope.account == account(MEMBER)).count();
        let in_all = copied.count();
        assert_eq!((by_member, in_all - by_member), (2 * 12, 3 * 2 * 12));
        assert_eq!(own(&sim).len(), 3 * 4);
        assert!(own(&sim).iter().any(|it| it.snapshot.volume_id == plain));
        for region in REGIONS {
            assert_eq!(in_vault(&sim, region).len(), 3 * usize::try_from(kept).unwrap());
        }
        live(&sim, &documents);
        assert!(stand_ins(&sim).is_empty());
    }
}

#[test]
fn sets_are_rescued_volume_by_volume() {
    let sim = world();
    let server = server(&sim, &member(), &[("Backup", "daily")], 2);
    for volume in server.volumes() {
        sim.change_volume(&volume, |it| it.kms_key_id = Some(ebs_key().into()));
    }
    let mut policy = rescued();
    policy["PolicyDetails"]["ResourceTypes"] = json!(["INSTANCE"]);
    live(&sim, &[policy, copies(9)]);
    assert_settled(&sim, 3, "each by its own volume");
}

#[test]
fn a_vault_that_lost_everything_gets_it_again() {
    let sim = world();
    sealed(&sim);
    let documents = [rescued(), copies(9)];
    live(&sim, &documents);
    sim.advance(hours(24));
    live(&sim, &documents);
    assert_settled(&sim, 2, "two nights");
    for copy in REGIONS.iter().flat_map(|region| in_vault(&sim, region)) {
        sim.remove(&copy.snapshot.id);
    }
    live(&sim, &documents);
    assert_settled(&sim, 2, "again");
}

#[test]
fn without_an_end_it_is_shared_as_long_as_its_source_lives() {
    let sim = world();
    let volume = sealed(&sim);
    let mut policy = rescued();
    let schedule = &mut policy["PolicyDetails"]["Schedules"][0];
    schedule["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    let documents = [policy, copies(9)];
    rotate_and_look(&sim, &documents, 8, hours(3), |run| {
        quiet(run);
        quiet(&sweep(&sim, &documents));
        assert_safe(&sim);
    });
    let ones = stand_ins(&sim);
    assert_eq!((own(&sim).len(), ones.len()), (4, 4));
    assert!(ones.iter().all(|it| it.shared_with.contains(&account(VAULT))));
    // By UnshareInterval it ends earlier.
    let mut policy = documents[0].clone();
    let rule = &mut policy["PolicyDetails"]["Schedules"][0]["ShareRules"][0];
    rule["UnshareInterval"] = json!(2);
    rule["UnshareIntervalUnit"] = json!("DAYS");
    let documents = [policy, copies(9)];
    live(&sim, &documents);
    assert_eq!(stand_ins(&sim).len(), 2);
    // The volume goes: its last snapshot and what stands in for it do not.
    sim.delete_volume(&volume);
    rotate_and_look(&sim, &documents, 8, hours(6), quiet);
    assert_eq!((own(&sim).len(), stand_ins(&sim).len()), (4, 0));
}

#[test]
fn when_the_policy_gives_it_up_stand_ins_go_and_sources_stay() {
    for change in 0..3 {
        let sim = world();
        sealed(&sim);
        let mut documents = [rescued(), copies(9)];
        for _ in 0..3 {
            quiet(&rotate(&sim, &documents));
            sim.advance(minutes(25));
        }
        assert_eq!(stand_ins(&sim).len(), 1);
        let details = &mut documents[0]["PolicyDetails"];
        match change {
            0 => details["DefaultKeyRescue"] = json!(null),
            1 => {
                details["DefaultKeyRescue"] = json!(null);
                details["Schedules"][0]["ShareRules"] = json!(null);
            }
            _ => documents[0]["State"] = json!("DISABLED"),
        }
        drop(rotate(&sim, &documents));
        assert_safe(&sim);
        assert_eq!((own(&sim).len(), stand_ins(&sim).len()), (1, usize::from(change == 2)));
    }
}

#[test]
fn a_vault_that_cannot_be_read_keeps_stand_ins_until_it_can() {
    let sim = world();
    sealed(&sim);
    let documents = [rescued(), copies(9)];
    for _ in 0..3 {
        both(&sim, &documents);
        sim.advance(minutes(25));
    }
    sim.lock_out(&account(VAULT), true);
    for _ in 0..4 {
        let told = failure(&rotate(&sim, &documents));
        assert!(told.starts_with("ScopesUnreadable: ") && !told.contains("Failed"), "{told}");
        quiet(&sweep(&sim, &documents));
        sim.advance(minutes(25));
    }
    let one = stand_ins(&sim).remove(0);
    assert!(one.shared_with.contains(&account(VAULT)), "shared, and there");
    sim.lock_out(&account(VAULT), false);
    live(&sim, &documents);
    assert_settled(&sim, 1, "");
}

#[test]
fn a_key_that_is_missing_or_broken_is_told_and_the_rest_is_done_when_it_is_mended() {
    let sim = world();
    let volume = sealed(&sim);
    let documents = [rescued(), copies(9)];
    sim.change_key(&share_key(), |it| it.key.state = "Disabled".into());
    for n in 0..4 {
        let told = failure(&rotate(&sim, &documents));
        assert!(told.starts_with("ActionsFailed: CopySnapshot of "), "{n}: {told}");
        assert!(told.contains(volume.as_str()) && told.contains("kms:EnableKey"), "{told}");
        sim.advance(minutes(25));
    }
    assert!(stand_ins(&sim).is_empty());
    sim.change_key(&share_key(), |it| it.key.state = "Enabled".into());
    live(&sim, &documents);
    assert_settled(&sim, 1, "");
}

//! One account that makes and copies its own snapshots and is a vault too, with a policy of one name in either function:
//! neither touches the other's copies.

use serde_json::{Value, json};
use snapferry_core::ids::VolumeId;
use snapferry_core::tags::CopyClaim;
use snapferry_sim::Sim;

use crate::support::listing::{copies_of_volume, times_copied};
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    HOME, OTHER, VAULT, every, hours, mutations, policy, role, rotate, rotate_and_look, rotate_for,
    scope, sim, sweep, vault,
};

const AWAY: &str = "eu-west-1";

fn key() -> String {
    format!("arn:aws:kms:{AWAY}:{VAULT}:key/of-the-vault")
}

/// For the vault's own volumes: nightly, two kept, and two copies.
fn own(name: &str) -> Value {
    let rule =
        json!({"Target": AWAY, "Encrypted": true, "CmkArn": key(), "RetainRule": {"Count": 2}});
    let mut policy = policy(
        name,
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "CrossRegionCopyRules": [rule]})],
    );
    policy["Targets"] = json!([{"RoleArn": role(VAULT), "Regions": [HOME, AWAY]}]);
    policy
}

/// For another account's volumes: nightly, two kept, shared with the vault.
fn shared() -> Value {
    let mut policy = policy(
        "member",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "ShareRules": [{"TargetAccounts": [VAULT]}]})],
    );
    policy["Targets"] = json!([{"RoleArn": role(OTHER), "Regions": [HOME]}]);
    policy
}

/// What the vault copies, to the same Region under the same key.
fn copies(name: &str) -> Value {
    json!({
        "Name": name,
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [OTHER], "DescriptionRegex": ".*"}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": [{
                "Target": AWAY, "RetainRule": {"Count": 4},
                "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key()}}]}]
        }
    })
}

/// With a volume in the vault and one in the other account.
fn world() -> (Sim, [VolumeId; 2]) {
    let sim = sim();
    sim.key(&key(), &[]);
    let volumes =
        [vault(), scope(OTHER, HOME)].map(|scope| sim.volume(&scope, &[("Backup", "daily")]));
    (sim, volumes)
}

#[test]
fn each_keeps_its_own_count() {
    let (sim, [mine, theirs]) = world();
    rotate_and_look(&sim, &[own("daily"), shared()], 10, hours(3), |run| {
        quiet(run);
        quiet(&sweep(&sim, &[copies("daily")]));
    });
    let n = |volume: &VolumeId| copies_of_volume(&sim, volume).len();
    assert_eq!((n(&mine), n(&theirs)), (2, 4));
    let times = times_copied(&sim);
    assert_eq!((times.len(), times.values().max()), (20, Some(&1)));
    for (volume, is_own) in [(&mine, true), (&theirs, false)] {
        for copy in copies_of_volume(&sim, volume) {
            let claim = CopyClaim::read(&copy.snapshot.tags).unwrap();
            assert_eq!((claim.policy.as_str(), !claim.schedules.is_empty()), ("daily", is_own));
        }
    }
}

#[test]
fn without_its_policy_in_one_function_what_is_left_is_not_the_others() {
    let (sim, [mine, theirs]) = world();
    rotate_and_look(&sim, &[own("daily"), shared()], 6, hours(3), |run| {
        quiet(run);
        quiet(&sweep(&sim, &[copies("daily")]));
    });
    let ids = |volume: &VolumeId| -> Vec<_> {
        copies_of_volume(&sim, volume).into_iter().map(|it| it.snapshot.id).collect()
    };
    let (of_mine, of_theirs) = (ids(&mine), ids(&theirs));
    // The sweep knows `daily` no more, and then rotation does not.
    for _ in 0..8 {
        quiet(&sweep(&sim, &[copies("other")]));
        sim.advance(hours(1));
    }
    assert_eq!(ids(&mine), of_mine);
    rotate_for(&sim, &[own("other"), shared()], 4, hours(6));
    assert!(of_theirs.iter().all(|it| ids(&theirs).contains(it)));
    assert!(of_mine.iter().all(|it| ids(&mine).contains(it)), "nothing says when they expire");
}

#[test]
fn pending_copies_of_both_share_the_limit() {
    let (sim, _) = world();
    for _ in 0..14 {
        sim.volume(&vault(), &[("Backup", "daily")]);
        sim.volume(&scope(OTHER, HOME), &[("Backup", "daily")]);
    }
    let policies = [own("daily"), shared()];
    rotate(&sim, &policies);
    for _ in 0..4 {
        sim.advance(hours(1));
        quiet(&rotate(&sim, &policies));
        quiet(&sweep(&sim, &[copies("daily")]));
    }
    let times = times_copied(&sim);
    assert_eq!((times.len(), times.values().max()), (30, Some(&1)), "EC2 is not asked in vain");
}

#[test]
fn a_storm_mixes_nothing_up() {
    for seed in 0..8 {
        let (sim, [mine, theirs]) = world();
        let documents = [own("daily"), shared(), copies("vault")];
        let functions = &[Function::Rotate, Function::Sweep];
        let weather = Weather { sim: &sim, documents: &documents, functions };
        weather.storm(seed, 14, hours(9));
        weather.calm(format!("seed {seed}"));
        for _ in 0..2 {
            sim.advance(hours(1));
            rotate(&sim, &documents);
            sweep(&sim, &documents);
        }
        let n = |volume: &VolumeId| copies_of_volume(&sim, volume).len();
        assert_eq!(n(&mine), 2, "seed {seed}");
        assert!((2..=4).contains(&n(&theirs)), "seed {seed}: {}", n(&theirs));
        drop(sim.take_journal());
        quiet(&sweep(&sim, &documents));
        assert_eq!(mutations(&sim), Vec::<String>::new(), "seed {seed}");
    }
}

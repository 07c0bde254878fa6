//! `UnshareWhenCopied`: both functions together, the one looking at what the other has done.

use std::pin::Pin;

use serde_json::{Value, json};
use snapferry_core::inventory::State;
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Record, Sim, drive, interleave};

use crate::support::storm::{Function, Weather};
use crate::support::together::{both, live, quiet};
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, calls, every, failure, hours, member, minutes, policy,
    role, rotate, rotate_and_look, rotation, scope, sim, sweep, target, vault,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

fn rule(with_role: bool) -> Value {
    let mut rule = json!({"Regions": REGIONS});
    if with_role {
        rule["RoleArn"] = json!(format!("arn:aws:iam::{VAULT}:role/snapferry-vault-reader"));
        rule["ExternalId"] = json!("secret");
    }
    json!([{"TargetAccounts": [VAULT], "UnshareWhenCopied": rule}])
}

/// Nightly, six kept, shared until the vault has it.
fn shared() -> Value {
    policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 6},
                 "ShareRules": rule(true)})],
    )
}

/// The vault keeps so many copies in either Region.
fn copies(kept: u32) -> Value {
    let rule = |region| json!({"Target": region, "RetainRule": {"Count": kept}, "EncryptionConfiguration": {"Encrypted": false}});
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER],
                "DescriptionRegex": "^Created for policy: "}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": REGIONS.map(rule)}]
        }
    })
}

fn of(sim: &Sim, account: &str) -> Vec<Record> {
    sim.records().into_iter().filter(|it| it.snapshot.owner.as_str() == account).collect()
}

/// The vault has each in both Regions, and the member shares none.
fn assert_settled(sim: &Sim, n: usize) {
    let mine = of(sim, MEMBER);
    assert_eq!(mine.len(), n);
    for record in mine {
        assert!(record.shared_with.is_empty(), "{record:?}");
        assert_eq!(record.snapshot.tags[tags::SHARED_WITH], "");
        for region in REGIONS {
            let is_copy = |it: &&Record| {
                it.region.as_str() == region
                    && it.snapshot.state == State::Completed
                    && it.copy_of.as_ref() == Some(&record.snapshot.id)
            };
            assert_eq!(of(sim, VAULT).iter().filter(is_copy).count(), 1);
        }
    }
}

#[test]
fn it_is_unshared_when_the_last_region_has_it() {
    let sim = sim();
    target(&sim);
    let documents = [shared(), copies(9)];
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    both(&sim, &documents); // shared, and copies begun
    let mine = || of(&sim, MEMBER).remove(0);
    for _ in 0..2 {
        sim.advance(minutes(5));
        quiet(&rotate(&sim, &documents));
        assert!(mine().shared_with.contains(&account(VAULT)), "copies are pending");
    }
    sim.advance(minutes(25));
    let run = rotate(&sim, &documents);
    quiet(&run);
    let line = run.report.actions.iter().find(|it| it.operation_type == Some("remove")).unwrap();
    assert_eq!(line.reason, "copied to eu-west-1 and us-west-2");
    assert_settled(&sim, 1);
    live(&sim, &documents);
}

#[test]
fn weeks_in_which_the_vault_keeps_less_share_and_unshare_each_once() {
    let sim = sim();
    for _ in 0..2 {
        target(&sim);
    }
    let documents = [shared(), copies(2)];
    rotate_and_look(&sim, &documents, 16, hours(3), |run| {
        quiet(run);
        quiet(&sweep(&sim, &documents));
    });
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "CopySnapshot"), 2 * 2 * 16);
    assert_eq!(
        calls(&journal, "ModifySnapshotAttribute"),
        2 * 2 * 16,
        "each shared once, unshared once"
    );
    assert_eq!((of(&sim, MEMBER).len(), of(&sim, VAULT).len()), (2 * 6, 2 * 2 * 2));
    assert!(of(&sim, MEMBER).iter().all(|it| it.shared_with.is_empty()));
}

#[test]
fn a_vault_that_lost_everything_gets_it_again() {
    let sim = sim();
    target(&sim);
    let documents = [shared(), copies(9)];
    live(&sim, &documents);
    for copy in of(&sim, VAULT) {
        sim.remove(&copy.snapshot.id);
    }
    live(&sim, &documents);
    assert_settled(&sim, 1);
    // One Region is enough.
    sim.remove(&of(&sim, VAULT)[0].snapshot.id);
    live(&sim, &documents);
    assert_settled(&sim, 1);
}

#[test]
fn a_vault_that_cannot_be_read_is_told_and_stops_nothing_else() {
    let sim = sim();
    target(&sim);
    let documents = [shared(), copies(9)];
    let mut by_another_way = [shared()];
    by_another_way[0]["Name"] = json!("other");
    by_another_way[0]["PolicyDetails"]["TargetTags"][0]["Value"] = json!("nobody's");
    by_another_way[0]["PolicyDetails"]["Schedules"][0]["ShareRules"] = rule(false);
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    let shut = scope(VAULT, REGIONS[1]);
    sim.disable_region(&shut, true);
    for _ in 0..3 {
        let run = rotate(&sim, &[&documents[..], &by_another_way].concat());
        let told = failure(&run);
        assert!(told.starts_with(&format!("ScopesUnreadable: {shut}: ")), "{told}");
        assert_eq!(told.matches("ScopesUnreadable").count(), 1, "{told}");
        assert_eq!(told.matches(&shut.to_string()).count(), 1, "{told}");
        drop(sweep(&sim, &documents));
        sim.advance(minutes(25));
    }
    let mine = || of(&sim, MEMBER).remove(0);
    assert!(mine().shared_with.contains(&account(VAULT)), "shared, and not unshared blindly");
    sim.disable_region(&shut, false);
    live(&sim, &documents);
    assert_settled(&sim, 1);
    // What was unshared is left as it is while nobody can tell.
    sim.lock_out(&account(VAULT), true);
    sim.advance(hours(24));
    for _ in 0..2 {
        let told = failure(&rotate(&sim, &documents));
        assert!(told.contains("cannot assume") && !told.contains("ActionsFailed"), "{told}");
        sim.advance(minutes(25));
    }
    let shared_ones: Vec<usize> = of(&sim, MEMBER).iter().map(|it| it.shared_with.len()).collect();
    assert_eq!(shared_ones, [0, 1], "the new one is shared");
}

#[test]
fn each_region_of_the_vault_is_read_once_a_run() {
    let sim = sim();
    let mut policy = shared();
    policy["Targets"] = json!([
        {"RoleArn": role(MEMBER), "Regions": [HOME, "us-east-1"]},
        {"RoleArn": role(OTHER), "Regions": [HOME, "us-east-1"]}
    ]);
    let mut second = policy.clone();
    second["Name"] = json!("second");
    for account in [MEMBER, OTHER] {
        sim.volume(&scope(account, "us-east-1"), &[("Backup", "daily")]);
    }
    rotate(&sim, &[policy.clone(), second.clone()]);
    sim.advance(minutes(25));
    drop(sim.take_journal());
    quiet(&rotate(&sim, &[policy.clone(), second.clone()]));
    let of_vault = |it: &&snapferry_sim::Call| {
        it.scope.account == account(VAULT) && it.operation == "DescribeSnapshots"
    };
    let journal = sim.take_journal();
    assert_eq!(journal.iter().filter(of_vault).count(), 2);
    // A disabled policy looks at nothing.
    policy["State"] = json!("DISABLED");
    second["State"] = json!("DISABLED");
    quiet(&rotate(&sim, &[policy, second]));
    assert_eq!(sim.take_journal().iter().filter(of_vault).count(), 0);
}

#[test]
fn without_a_role_the_function_has_to_be_in_the_vault() {
    let sim = sim();
    target(&sim);
    let mut policy = shared();
    policy["PolicyDetails"]["Schedules"][0]["ShareRules"] = rule(false);
    let documents = [policy, copies(9)];
    live(&sim, &documents); // which runs in the vault's account
    assert_settled(&sim, 1);
    sim.advance(hours(24));
    let elsewhere = sim.aws(&scope(OTHER, HOME));
    for _ in 0..3 {
        let run = drive(rotation(&elsewhere, &documents, sim.now())).unwrap();
        let told = failure(&run);
        assert!(
            told.starts_with("ActionsFailed: DescribeSnapshots of policy daily in 222222222222/"),
            "{told}"
        );
        assert!(
            told.contains("those are 444444444444's and TargetAccounts names 222222222222"),
            "{told}"
        );
        sim.advance(minutes(25));
        quiet(&sweep(&sim, &documents));
    }
    let shared_ones: Vec<usize> = of(&sim, MEMBER).iter().map(|it| it.shared_with.len()).collect();
    assert_eq!(shared_ones, [0, 1], "shared, and not unshared");
    live(&sim, &documents);
    assert_settled(&sim, 2);
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

#[test]
fn twice_at_once_or_cut_off_after_any_call_it_ends_the_same() {
    for cut in 0..60 {
        let sim = sim();
        sim.set(|it| it.turns = 3);
        target(&sim);
        let documents = [shared(), copies(2)];
        rotate(&sim, &documents);
        for step in 0..3 {
            sim.advance(minutes(25));
            let (aws, now) = (sim.aws(&vault()), sim.now());
            let dying = sim.aws_dying_after(&vault(), (cut + step) % 20);
            let runs: Vec<Running<'_>> = match cut % 3 {
                0 => vec![Box::pin(rotation(&dying, &documents, now))],
                _ => vec![
                    Box::pin(rotation(&aws, &documents, now)),
                    Box::pin(rotation(&dying, &documents, now)),
                ],
            };
            drop(interleave(u64::try_from(cut).unwrap(), runs));
            quiet(&sweep(&sim, &documents));
        }
        live(&sim, &documents);
        assert_settled(&sim, 1);
    }
}

#[test]
fn a_storm_of_both_comes_to_rest_and_nothing_stays_shared() {
    for seed in 0..8 {
        let sim = sim();
        for _ in 0..2 {
            target(&sim);
        }
        let documents = [shared(), copies(3)];
        let functions = &[Function::Rotate, Function::Sweep];
        let weather = Weather { sim: &sim, documents: &documents, functions };
        weather.storm(seed, 16, hours(7));
        weather.calm(format!("seed {seed}"));
        let newest_first = of(&sim, MEMBER).into_iter().rev();
        for record in newest_first.take(2 * 2) {
            assert!(record.shared_with.is_empty(), "seed {seed}: {record:?}");
        }
        assert!(sim.take_shares().iter().all(|it| it.with == account(VAULT)), "seed {seed}");
        assert!(sim.records().iter().any(|it| it.scope() == member()));
    }
}

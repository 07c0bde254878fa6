//! Every way in which a key keeps a copy from being made: before EC2 is asked, and after it has said yes. The report
//! names the snapshot, the key and what to do; when that is done, the copies arrive and nothing failed is left.

use serde_json::{Value, json};
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_sim::{Record, Sim, SimKey};

use crate::support::vaults::{
    Copied, assert_quiet, copies, for_days, good_copies, refused, rule, shared, vault_policy,
    volume,
};
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, failure, hours, lines, minutes, mutations, scope, sim,
    sweep,
};

/// The Region whose key has something, and one that is well.
const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

fn key(account: &str, region: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:key/mine")
}

/// Under the vault's own keys.
fn policy() -> Value {
    let rules = REGIONS.map(|region| {
        let mut rule = rule(region, &for_days(30));
        rule["EncryptionConfiguration"] = json!({"Encrypted": true, "CmkArn": key(VAULT, region)});
        rule
    });
    vault_policy(&[MEMBER, OTHER], &rules)
}

/// Under the Regions' default keys.
fn by_default() -> Value {
    let mut policy = policy();
    let rules = policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"].as_array_mut().unwrap();
    for rule in rules {
        rule["EncryptionConfiguration"] = json!({"Encrypted": true});
    }
    policy
}

/// The vault's keys are its own; the member's key may be used by the vault.
fn world() -> Sim {
    let sim = sim();
    for region in REGIONS {
        sim.key(&key(VAULT, region), &[]);
    }
    sim.key(&key(MEMBER, HOME), &[account(VAULT)]);
    sim
}

/// A snapshot under the member's key.
fn encrypted(sim: &Sim, of: usize, change: impl FnOnce(&mut Record)) -> SnapshotId {
    shared(sim, &scope(MEMBER, HOME), &volume(of), |it| {
        it.snapshot.encrypted = true;
        it.snapshot.kms_key_id = Some(key(MEMBER, HOME).into());
        change(it);
    })
}

fn n_good(sim: &Sim, source: &SnapshotId) -> usize {
    good_copies(sim).keys().filter(|(of, _)| of == source).count()
}

fn n_completed(sim: &Sim, source: &SnapshotId) -> usize {
    let of_it = |it: &&Copied| it.claim.source_snapshot == *source && it.is(State::Completed);
    copies(sim).iter().filter(of_it).count()
}

fn n_in_error(sim: &Sim) -> usize {
    copies(sim).iter().filter(|it| it.is(State::Error)).count()
}

/// One line with every one of these words in it.
fn assert_names(told: &str, words: &[&str]) {
    assert!(told.starts_with("ActionsFailed: "), "{told}");
    assert!(!told.contains('\n'), "{told}");
    for word in words {
        assert!(told.contains(word), "{word} is not in: {told}");
    }
}

/// Within three hours everything is there, nothing failed is left, and nothing more is done.
fn comes_right(sim: &Sim, policy: &Value, sources: &[SnapshotId], context: &str) {
    let documents = [policy.clone()];
    for _ in 0..6 {
        drop(sweep(sim, &documents));
        sim.advance(minutes(30));
    }
    for source in sources {
        assert_eq!(n_good(sim, source), 2, "{context}");
    }
    assert_eq!(n_in_error(sim), 0, "{context}");
    assert!(good_copies(sim).values().all(|n| *n == 1), "{context}");
    drop(sim.take_journal());
    let run = sweep(sim, &documents);
    assert_quiet(&run, context);
    assert_eq!(run.report.status, Status::Succeeded, "{context}");
    assert_eq!(mutations(sim), Vec::<String>::new(), "{context}");
}

type Change = fn(&mut SimKey);

/// How a key can be, as `DescribeKey` tells, and the word for it.
const TOLD: [(Change, &str); 5] = [
    (|it| it.key.state = "Disabled".into(), "kms:EnableKey"),
    (|it| it.key.state = "PendingDeletion".into(), "kms:CancelKeyDeletion"),
    (|it| it.key.state = "PendingImport".into(), "PendingImport"),
    (|it| it.key.usage = "SIGN_VERIFY".into(), "ENCRYPT_DECRYPT"),
    (|it| it.key.spec = "RSA_2048".into(), "SYMMETRIC_DEFAULT"),
];

/// `DescribeKey` tells nothing of what is missing.
fn look_only(key: &mut SimKey) {
    key.look_only.insert(account(VAULT));
}

fn mend(sim: &Sim, arn: &str) {
    sim.change_key(arn, |it| {
        it.key.state = "Enabled".into();
        it.key.usage = "ENCRYPT_DECRYPT".into();
        it.key.spec = "SYMMETRIC_DEFAULT".into();
        it.look_only.clear();
        it.users.insert(account(VAULT));
    });
}

#[test]
fn what_kms_tells_of_the_rules_key_is_told_before_ec2_is_asked() {
    for (change, action) in TOLD {
        let sim = world();
        let arn = key(VAULT, REGIONS[0]);
        sim.change_key(&arn, change);
        let source = encrypted(&sim, 1, |_| {});
        for _ in 0..3 {
            let run = sweep(&sim, &[policy()]);
            assert_names(&failure(&run), &[source.as_str(), &arn, action]);
            sim.advance(hours(1));
        }
        assert_eq!((n_good(&sim, &source), n_in_error(&sim)), (1, 0), "the other Region is served");
        mend(&sim, &arn);
        comes_right(&sim, &policy(), &[source], action);
    }
}

#[test]
fn a_rules_key_that_may_not_be_looked_at_is_told_before_ec2_is_asked() {
    let sim = world();
    let others = key(OTHER, REGIONS[0]);
    sim.key(&others, &[]);
    let mut policy = policy();
    let rules = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["EncryptionConfiguration"]["CmkArn"] = json!(others);
    let source = encrypted(&sim, 1, |_| {});
    let told = failure(&sweep(&sim, std::slice::from_ref(&policy)));
    assert_names(&told, &[source.as_str(), &others, "kms:DescribeKey"]);
    mend(&sim, &others);
    comes_right(&sim, &policy, &[source], "may be looked at");
}

/// The first run asks; the second, an hour later, tells what became of it.
fn failed_in_the_end(sim: &Sim, policy: &Value) -> (Run, String) {
    let documents = std::slice::from_ref(policy);
    assert_quiet(&sweep(sim, documents), "EC2 says yes");
    sim.advance(hours(1));
    let run = sweep(sim, documents);
    let told = failure(&run);
    (run, told)
}

#[test]
fn a_rules_key_that_turns_out_to_be_inaccessible_is_told_with_its_name() {
    let sim = world();
    let arn = key(VAULT, REGIONS[0]);
    sim.change_key(&arn, look_only);
    let source = encrypted(&sim, 1, |_| {});
    let (run, told) = failed_in_the_end(&sim, &policy());
    let why = "Given key ID is not accessible";
    assert_names(&told, &[source.as_str(), &arn, &key(MEMBER, HOME), why, "kms:CreateGrant"]);
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Failed).len(), 1, "the other one is well");
    mend(&sim, &arn);
    comes_right(&sim, &policy(), &[source], "look only");
}

/// What the vault can see of an owner's key that does not work, and the word for it.
const SEEN: [(Change, &str); 3] = [
    (|it| it.key.state = "Disabled".into(), "kms:EnableKey"),
    (|it| it.key.state = "PendingDeletion".into(), "kms:CancelKeyDeletion"),
    (|it| it.key.aws_managed = true, "AWS managed"),
];

#[test]
fn what_kms_tells_of_an_owners_key_is_told_before_ec2_is_asked() {
    for (change, action) in SEEN {
        let sim = world();
        let arn = key(MEMBER, HOME);
        sim.change_key(&arn, change);
        let source = encrypted(&sim, 1, |_| {});
        let well = shared(&sim, &scope(OTHER, HOME), &volume(2), |_| {});
        for _ in 0..3 {
            let run = sweep(&sim, &[policy()]);
            assert_names(&failure(&run), &[source.as_str(), &arn, action]);
            let failed = lines(&run, "CopySnapshot", OutcomeName::Failed);
            assert_eq!(failed.len(), 2, "{action}: in each Region");
            sim.advance(hours(1));
        }
        assert_eq!((n_good(&sim, &source), n_good(&sim, &well), n_in_error(&sim)), (0, 2, 0));
        sim.change_key(&arn, |it| it.key.aws_managed = false);
        mend(&sim, &arn);
        comes_right(&sim, &policy(), &[source, well], action);
    }
}

/// What it cannot see: EC2 alone finds out.
const UNSEEN: [(Change, &str); 2] =
    [(|it| it.users.clear(), "not even to be looked at"), (look_only, "to be looked at only")];

#[test]
fn an_owners_key_that_turns_out_to_be_inaccessible_is_told_with_its_name() {
    for (change, context) in UNSEEN {
        let sim = world();
        let arn = key(MEMBER, HOME);
        sim.change_key(&arn, change);
        let source = encrypted(&sim, 1, |_| {});
        let well = shared(&sim, &scope(OTHER, HOME), &volume(2), |_| {});
        let (run, told) = failed_in_the_end(&sim, &policy());
        let why = "Given key ID is not accessible";
        assert_names(&told, &[source.as_str(), &arn, why, "kms:CreateGrant", "kms:Decrypt"]);
        let failed = lines(&run, "CopySnapshot", OutcomeName::Failed);
        assert_eq!(failed.len(), 2, "{context}: in each Region");
        assert!(!told.contains(well.as_str()), "{context}: {told}");
        assert_eq!(n_good(&sim, &well), 2);
        mend(&sim, &arn);
        comes_right(&sim, &policy(), &[source, well], context);
    }
}

#[test]
fn a_regions_default_key_that_cannot_be_used_is_told_with_its_name() {
    let disabled: Change = |it| it.key.state = "Disabled".into();
    for (change, context) in [(disabled, "disabled"), (look_only, "look only")] {
        let sim = world();
        let arn = key(VAULT, REGIONS[0]);
        sim.encrypt_by_default(&scope(VAULT, REGIONS[0]), true, &arn);
        sim.change_key(&arn, change);
        let source = encrypted(&sim, 1, |_| {});
        drop(sweep(&sim, &[by_default()]));
        sim.advance(hours(1));
        let told = failure(&sweep(&sim, &[by_default()]));
        assert_names(&told, &[source.as_str(), &arn, "kms:"]);
        assert_eq!(n_completed(&sim, &source), 1, "{context}: the other Region is served");
        mend(&sim, &arn);
        comes_right(&sim, &by_default(), &[source], context);
    }
}

#[test]
fn a_key_that_dies_while_copies_are_under_way_costs_a_repetition_when_it_lives_again() {
    let sim = world();
    let sources: Vec<_> = (0..3).map(|n| encrypted(&sim, n, |_| {})).collect();
    assert_quiet(&sweep(&sim, &[policy()]), "");
    for copy in copies(&sim) {
        sim.change(&copy.record.snapshot.id, |it| {
            it.snapshot.state = State::Error;
            it.snapshot.state_message = Some("Given key ID is not accessible".into());
            it.ends = None;
        });
    }
    sim.change_key(&key(MEMBER, HOME), |it| it.key.state = "Disabled".into());
    for _ in 0..10 {
        sim.advance(minutes(30));
        let told = failure(&sweep(&sim, &[policy()]));
        for source in &sources {
            // Told every time but while another attempt is under way.
            let tried = copies(&sim)
                .into_iter()
                .any(|it| it.claim.source_snapshot == *source && it.is(State::Pending));
            assert!(tried || told.contains(source.as_str()), "{told}");
        }
        assert!(n_in_error(&sim) <= 3 * 2 * 2, "no heap of failed ones");
    }
    assert!(refused(&sim.take_journal()) == 0);
    mend(&sim, &key(MEMBER, HOME));
    comes_right(&sim, &policy(), &sources, "it lives again");
}

#[test]
fn a_source_under_a_dead_key_keeps_no_newer_one_of_its_volume_waiting() {
    let sim = world();
    let dead = key(OTHER, HOME);
    sim.key(&dead, &[]);
    let lost = encrypted(&sim, 1, |it| it.snapshot.kms_key_id = Some(dead.as_str().into()));
    let mut well = Vec::new();
    for _ in 0..4 {
        sim.advance(hours(1));
        well.push(encrypted(&sim, 1, |_| {}));
        drop(sweep(&sim, &[policy()]));
    }
    for _ in 0..4 {
        sim.advance(hours(1));
        drop(sweep(&sim, &[policy()]));
    }
    for source in &well {
        assert_eq!(n_good(&sim, source), 2, "{source} waits for what never comes");
    }
    assert!(good_copies(&sim).keys().all(|(of, _)| *of != lost) || n_in_error(&sim) > 0);
}

#[test]
fn what_was_told_of_failed_ones_is_over_when_nobody_shares_them_any_more() {
    let sim = world();
    sim.change_key(&key(MEMBER, HOME), |it| it.users.clear());
    let source = encrypted(&sim, 1, |_| {});
    let (_, told) = failed_in_the_end(&sim, &policy());
    assert!(told.contains(source.as_str()));
    sim.change(&source, |it| it.shared_with.clear());
    sim.advance(hours(1));
    drop(sweep(&sim, &[policy()]));
    for _ in 0..3 {
        sim.advance(hours(1));
        assert_quiet(&sweep(&sim, &[policy()]), "told once more at the most");
    }
    assert_eq!(copies(&sim).len(), 0, "no failed one is left");
}

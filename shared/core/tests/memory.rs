//! What planning and auditing need beside the inventory: it is bounded per snapshot, so that a large account fits into
//! the function's memory. A process of its own, because its allocator counts.
#![expect(
    clippy::unwrap_used,
    reason = "a test that finds something else than it looks for stops there"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use snapferry_core::audit;
use snapferry_core::documents::{Content, Documents, Raw};
use snapferry_core::ec2::Access;
use snapferry_core::ids::{Scope, VolumeId};
use snapferry_core::inventory::{
    Guards, ScopeInventory, Snapshot, State, TargetInventory, VaultInventory, Volume,
};
use snapferry_core::plan;
use snapferry_core::policy::Copies;
use snapferry_core::schedule::Slot;
use snapferry_core::tags::{self, CopyClaim, Pool, Tags};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ACCOUNT: &str = "333333333333";
const VAULT: &str = "222222222222";
const VAULT_KEY: &str =
    "arn:aws:kms:eu-west-1:222222222222:key/8af79514-350d-4c52-bac8-8985e84171c7";
/// The slot of the newest snapshots.
const SLOT: &str = "2026-11-22T02:00:00Z";
/// Snapshots of each volume.
const NIGHTS: usize = 5;
const KEY: &str = "arn:aws:kms:eu-central-1:333333333333:key/8af79514-350d-4c52-bac8-8985e84171c7";

fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn tags(pool: &mut Pool, pairs: &[(&str, &str)]) -> Tags {
    pool.tags(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

fn volume(pool: &mut Pool, n: usize, now: Timestamp) -> Volume {
    Volume {
        id: id(&format!("vol-{n:017x}")),
        create_time: now - SignedDuration::from_hours(10_000),
        usable: true,
        volume_type: "gp3".into(),
        kms_key_id: Some(pool.text(KEY)),
        tags: tags(
            pool,
            &[
                ("Backup", "daily"),
                ("CostCentre", "4711"),
                ("Environment", "production"),
                ("Name", &format!("server-{n}-data")),
                ("Owner", "platform-team@example.com"),
                ("aws:cloudformation:stack-name", "production-servers"),
            ],
        ),
    }
}

fn earlier(at: Timestamp, hours: usize) -> Timestamp {
    at - SignedDuration::from_hours(i64::try_from(hours).unwrap())
}

fn snapshot(pool: &mut Pool, n: usize, volume: usize, slot: Timestamp) -> Snapshot {
    let volume_id = id(&format!("vol-{volume:017x}"));
    Snapshot {
        id: id(&format!("snap-{n:017x}")),
        description: format!(
            "Created for policy: production-daily schedule: nightly slot: {slot} volume: {volume_id} \
                              name: server-{volume}-data"
        ),
        volume_id,
        owner: id(ACCOUNT),
        state: State::Completed,
        state_message: None,
        start_time: slot + SignedDuration::from_millis(300_000 + i64::try_from(volume).unwrap()),
        volume_size_gib: 100,
        archived: false,
        encrypted: true,
        kms_key_id: Some(pool.text(KEY)),
        tags: tags(
            pool,
            &[
                ("CostCentre", "4711"),
                ("Name", &format!("server-{volume}-data")),
                ("Owner", "platform-team@example.com"),
                ("snapferry:expires-at", &(slot + SignedDuration::from_hours(5 * 24)).to_string()),
                ("snapferry:policy", "production-daily"),
                ("snapferry:schedule", "nightly"),
                ("snapferry:shared-with", VAULT),
                ("snapferry:slot", &slot.to_string()),
            ],
        ),
    }
}

/// `n` snapshots of a fifth as many volumes.
fn inventory(n: usize, newest: Timestamp) -> ScopeInventory {
    let n_volumes = n / NIGHTS;
    let mut pool = Pool::new();
    let volumes = (0..n_volumes).map(|it| volume(&mut pool, it, newest));
    let volumes = volumes.map(|it| (it.id.clone(), it)).collect();
    let mut pool = Pool::new();
    let snapshots: Vec<Snapshot> = (0..n)
        .map(|it| snapshot(&mut pool, it, it % n_volumes, earlier(newest, 24 * (it / n_volumes))))
        .collect();
    let ids: BTreeSet<_> = snapshots.iter().map(|it| it.id.clone()).collect();
    ScopeInventory {
        volumes,
        instances: BTreeMap::new(),
        instances_unread: None,
        managed: Ok(BTreeMap::new()),
        commands: Ok(Vec::new()),
        snapshots,
        recent: BTreeMap::new(),
        shared: BTreeMap::from([(id(VAULT), ids)]),
        keys: BTreeMap::new(),
        guards: Ok(Guards::default()),
        fast_restores: Ok(BTreeMap::new()),
        zones: Ok(BTreeMap::new()),
        tiering: Ok(BTreeMap::new()),
        vaults: BTreeMap::new(),
        rescue_keys: BTreeMap::new(),
        copies_in_progress: Ok(BTreeSet::new()),
    }
}

fn documents(document: Value) -> Documents {
    let raw = Raw { default_name: "unnamed".into(), content: Content::Json(document) };
    let documents = Documents::read(vec![raw], true);
    assert!(documents.invalid.is_empty(), "{:?}", documents.invalid);
    documents
}

fn rotation(count: usize) -> Documents {
    documents(json!({"Name": "production-daily", "PolicyDetails": {
        "TargetTags": [{"Key": "Backup", "Value": "daily"}],
        "Schedules": [{
            "Name": "nightly",
            "CopyTags": true,
            "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]},
            "RetainRule": {"Count": count},
            "ShareRules": [{"TargetAccounts": [VAULT]}]
        }]
    }}))
}

fn copying(days: usize) -> Documents {
    documents(json!({"Name": "vault", "PolicyDetails": {
        "PolicyType": "EVENT_BASED_POLICY",
        "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
            "EventType": "shareSnapshot",
            "SnapshotOwner": [ACCOUNT],
            "DescriptionRegex": "Created for policy: production-daily ",
            "SourceRegions": ["eu-central-1"]
        }},
        "Actions": [{"Name": "copy", "CrossRegionCopy": [{
            "Target": "eu-west-1",
            "EncryptionConfiguration": {"Encrypted": true, "CmkArn": VAULT_KEY},
            "RetainRule": {"Interval": days, "IntervalUnit": "DAYS"}
        }]}]
    }}))
}

/// Bytes: of an inventory, and the most that planning and auditing take beside it.
struct Measured {
    inventory: usize,
    beside: usize,
    n_actions: usize,
}

/// What `rotate-snapshots` needs, `n` snapshots being there and `count` of each volume's wanted.
fn rotate(n: usize, count: usize, now: &str) -> Measured {
    let (newest, now): (Timestamp, Timestamp) = (id(SLOT), id(now));
    let documents = rotation(count);
    let policies = documents.snapshot_policies();
    let in_force = documents.in_force();
    let scope = Scope { account: id(ACCOUNT), region: id("eu-central-1") };
    let access = Access::default();
    let empty = MEMORY.current_usage();
    let inventory = inventory(n, newest);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let plan = plan::rotate::plan(plan::rotate::Request {
        scope: &scope,
        access: &access,
        policies: &policies,
        in_force: &in_force,
        inventory: &inventory,
        at: now,
        now,
        explain: false,
    });
    let (audited, violations) = audit::rotate::audit(
        plan,
        audit::rotate::Facts {
            scope: &scope,
            policies: &policies,
            in_force: &in_force,
            inventory: &inventory,
            now,
            delete_limit: None,
        },
    );
    let beside = MEMORY.peak_usage() - before;
    assert_eq!(violations, []);
    Measured { inventory: before - empty, beside, n_actions: audited.actions().len() }
}

/// A vault with `n` copies, and a fifth as many sources to copy.
fn vault_inventory(n: usize, days: usize, newest: Timestamp) -> VaultInventory {
    let (mut pool, mut copies) = (Pool::new(), Vec::new());
    let n_volumes = n / NIGHTS;
    for it in 0..n {
        let slot = earlier(newest, 24 * (it / n_volumes));
        let source = snapshot(&mut pool, it, it % n_volumes, slot);
        let claim = CopyClaim {
            policy: "vault".into(),
            rule: "eu-west-1".into(),
            schedules: BTreeSet::new(),
            source_snapshot: source.id.clone(),
            source_account: source.owner.clone(),
            source_region: id("eu-central-1"),
            source_volume: source.volume_id.clone(),
            volume_described: false,
            source_start: Some(source.start_time),
            slot: Some(Slot::new(slot)),
        };
        let mut tags = claim.write();
        let end = source.start_time + SignedDuration::from_hours(24 * i64::try_from(days).unwrap());
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(end));
        tags.insert("Name".into(), format!("server-{}-data", it % n_volumes));
        copies.push(Snapshot {
            id: id(&format!("snap-1{it:016x}")),
            volume_id: VolumeId::placeholder(),
            owner: id(VAULT),
            start_time: source.start_time + SignedDuration::from_hours(1),
            kms_key_id: Some(pool.text(VAULT_KEY)),
            tags: pool.share(&tags),
            ..source
        });
    }
    let sources = (0..n_volumes).map(|it| snapshot(&mut pool, it, it, newest));
    let sources = sources.map(|it| Snapshot { tags: Tags::new(), ..it }).collect();
    let target = TargetInventory { copies, in_progress: Vec::new(), guards: Ok(Guards::default()) };
    VaultInventory {
        sources: BTreeMap::from([(id("eu-central-1"), sources)]),
        targets: BTreeMap::from([(id("eu-west-1"), target)]),
        ..VaultInventory::new(id(VAULT), true)
    }
}

/// As [`rotate`], for `copy-shared-snapshots`.
fn vault(n: usize, days: usize, now: &str) -> Measured {
    let (newest, now): (Timestamp, Timestamp) = (id(SLOT), id(now));
    let documents = copying(days);
    let policies = documents.copy_policies();
    let copies: Vec<Copies<'_>> =
        policies.iter().map(|(policy, details)| Copies::of_shared(policy, details)).collect();
    let in_force = documents.in_force();
    let access = Access::default();
    let empty = MEMORY.current_usage();
    let inventory = vault_inventory(n, days, newest);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let plan = plan::copy::plan(plan::copy::Request {
        policies: &copies,
        within: false,
        access: &access,
        in_force: &in_force,
        inventory: &inventory,
        now,
        explain: false,
    });
    let (audited, violations) = audit::copy::audit(
        plan,
        audit::copy::Facts {
            policies: &copies,
            within: false,
            in_force: &in_force,
            inventory: &inventory,
            now,
            delete_limit: None,
        },
    );
    let beside = MEMORY.peak_usage() - before;
    assert_eq!(violations, []);
    Measured { inventory: before - empty, beside, n_actions: audited.actions().len() }
}

/// One test, because the allocator counts for the process.
#[test]
fn memory_of_each_snapshot_is_bounded_and_the_same_for_many() {
    // Bytes of each snapshot, with all that is made of it. 100,000 in 128 MiB are 1,342 each, of which the program itself
    // and a page of EC2's answers take some 150. A vault's copies take more.
    type Run = (&'static str, fn(usize) -> Measured, usize, usize);
    let runs: [Run; 4] = [
        ("rotate, settled", |n| rotate(n, NIGHTS, "2026-11-22T02:05:00Z"), 0, 800),
        ("rotate, next night", |n| rotate(n, NIGHTS - 1, "2026-11-23T02:05:00Z"), 2, 1150),
        ("vault, settled", |n| vault(n, NIGHTS + 1, "2026-11-22T04:05:00Z"), 0, 1550),
        ("vault, next night", |n| vault(n, NIGHTS, "2026-11-23T04:05:00Z"), 1, 1650),
    ];
    for (name, measured, actions, bound) in runs {
        let (few, many) = (measured(2_500), measured(10_000));
        assert_eq!(many.n_actions, actions * 10_000 / NIGHTS, "{name}");
        let (inventory, beside) = (many.inventory / 10_000, many.beside / 10_000);
        println!("{name}: bytes of each snapshot: inventory {inventory}, beside it {beside}");
        assert!(inventory + beside <= bound, "{name}: {inventory} and {beside} bytes each");
        let total = |it: &Measured| it.inventory + it.beside;
        assert!(total(&many) <= total(&few) * 9 / 2, "{name}: not linear");
    }
}

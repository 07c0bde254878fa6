//! What planning and auditing need beside the inventory: it is bounded per snapshot, so that a large account fits into
//! the function's memory. A process of its own, because its allocator counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use peak_alloc::PeakAlloc;
use serde_json::json;
use snapferry_core::audit;
use snapferry_core::documents::{Content, Documents, Raw};
use snapferry_core::ec2::Access;
use snapferry_core::ids::Scope;
use snapferry_core::inventory::{Guards, ScopeInventory, Snapshot, State, Volume};
use snapferry_core::plan;
use snapferry_core::tags::{Pool, Tags};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ACCOUNT: &str = "333333333333";
const VAULT: &str = "222222222222";
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

/// Of the `night`-th night before.
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
    let n_volumes = n / 5;
    let mut pool = Pool::new();
    let volumes = (0..n_volumes).map(|it| volume(&mut pool, it, newest));
    let volumes = volumes.map(|it| (it.id.clone(), it)).collect();
    let mut pool = Pool::new();
    let snapshots: Vec<Snapshot> = (0..n)
        .map(|it| {
            let night = i64::try_from(it / n_volumes).unwrap();
            snapshot(&mut pool, it, it % n_volumes, newest - SignedDuration::from_hours(24 * night))
        })
        .collect();
    let ids: BTreeSet<_> = snapshots.iter().map(|it| it.id.clone()).collect();
    ScopeInventory {
        volumes,
        instances: BTreeMap::new(),
        instances_unread: None,
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

fn documents() -> Documents {
    let document = json!({"Name": "production-daily", "PolicyDetails": {
        "TargetTags": [{"Key": "Backup", "Value": "daily"}],
        "Schedules": [{
            "Name": "nightly",
            "CopyTags": true,
            "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]},
            "RetainRule": {"Count": 5},
            "ShareRules": [{"TargetAccounts": [VAULT]}]
        }]
    }});
    let raw = Raw { default_name: "unnamed".into(), content: Content::Json(document) };
    Documents::read(vec![raw], true)
}

/// Bytes: of the inventory, and the most that planning and auditing take beside it.
fn measured(n: usize, newest: &str, now: &str) -> (usize, usize, usize) {
    let (newest, now): (Timestamp, Timestamp) = (id(newest), id(now));
    let empty = MEMORY.current_usage();
    let inventory = inventory(n, newest);
    let seen = MEMORY.current_usage() - empty;
    let documents = documents();
    let policies = documents.snapshot_policies();
    let in_force = documents.in_force();
    let scope = Scope { account: id(ACCOUNT), region: id("eu-central-1") };
    let access = Access::default();
    MEMORY.reset_peak_usage();
    let began = Instant::now();
    let before = MEMORY.current_usage();
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
    let planned = MEMORY.peak_usage() - before;
    MEMORY.reset_peak_usage();
    let between = MEMORY.current_usage() - before;
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
    let audit = MEMORY.peak_usage() - before;
    eprintln!(
        "{n}: inventory {}, plan peak {}, plan {}, audit peak {}, took {:?}",
        seen / n,
        planned / n,
        between / n,
        audit / n,
        began.elapsed()
    );
    assert_eq!(violations, []);
    (seen, planned.max(audit), audited.actions().len())
}

#[test]
fn planning_takes_little_beside_the_inventory() {
    for n in [25_000, 50_000, 100_000] {
        measured(n, "2026-11-22T02:00:00Z", "2026-11-22T02:05:00Z");
        measured(n, "2026-11-22T02:00:00Z", "2026-11-23T02:05:00Z");
    }
}

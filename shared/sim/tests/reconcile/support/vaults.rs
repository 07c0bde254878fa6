//! A vault with several owners: its policy, what they share, and what became of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_core::event::CopyScope;
use snapferry_core::ids::{Region, Scope, SnapshotId, VolumeId};
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Report};
use snapferry_core::run::Run;
use snapferry_core::tags::CopyClaim;
use snapferry_sim::{Call, Record, Sim, id};

use super::{VAULT, account, failure};

/// A rule to copy there, without a key.
pub(crate) fn rule(region: &str, retain: &Value) -> Value {
    json!({"Target": region, "EncryptionConfiguration": {"Encrypted": false}, "RetainRule": retain})
}

/// So many days.
pub(crate) fn for_days(n: u32) -> Value {
    json!({"Interval": n, "IntervalUnit": "DAYS"})
}

/// The policy `vault` over what these owners share, whatever it says of itself.
pub(crate) fn vault_policy(owners: &[&str], rules: &[Value]) -> Value {
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": owners}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": rules}]
        }
    })
}

/// The so-many-th volume of a test. Only its name matters to the vault.
pub(crate) fn volume(n: usize) -> VolumeId {
    id(&format!("vol-{n:017x}"))
}

/// A completed snapshot that is shared with the vault.
pub(crate) fn shared(
    sim: &Sim,
    owner: &Scope,
    volume: &VolumeId,
    change: impl FnOnce(&mut Record),
) -> SnapshotId {
    sim.snapshot(owner, volume, |it| {
        it.snapshot.description = format!(
            "Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z volume: {volume}"
        );
        it.shared_with.insert(account(VAULT));
        change(it);
    })
}

/// What an event about the snapshot names.
pub(crate) fn told(sim: &Sim, source: &SnapshotId) -> CopyScope {
    let record = sim.record(source).expect("it is shared");
    CopyScope::One {
        region: record.region,
        snapshot: source.clone(),
        owner: Some(record.snapshot.owner),
    }
}

/// A copy of ours with what its tags say.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) record: Record,
    pub(crate) claim: CopyClaim,
}

impl Copied {
    pub(crate) fn is(&self, state: State) -> bool {
        self.record.snapshot.state == state
    }
}

/// Every copy in the vault that carries our tags, oldest first.
pub(crate) fn copies(sim: &Sim) -> Vec<Copied> {
    let of_vault = |it: &Record| it.snapshot.owner == account(VAULT);
    let records = sim.records().into_iter().filter(of_vault);
    records
        .filter_map(|record| {
            let claim = CopyClaim::read(&record.snapshot.tags)?;
            Some(Copied { record, claim })
        })
        .collect()
}

/// How many good copies each source has in each Region.
pub(crate) fn good_copies(sim: &Sim) -> BTreeMap<(SnapshotId, Region), usize> {
    let mut n = BTreeMap::new();
    for copy in copies(sim).into_iter().filter(|it| !it.is(State::Error)) {
        *n.entry((copy.claim.source_snapshot, copy.record.region)).or_default() += 1;
    }
    n
}

/// Nobody has to act, no line of the report is a failure, and planner and auditor agree.
pub(crate) fn assert_quiet(run: &Run, context: impl std::fmt::Display) {
    assert_eq!(failure(run), "", "{context}");
    assert_eq!(n_failed(&run.report), 0, "{context}");
    assert_eq!(run.violations, [], "{context}");
    assert_eq!(run.n_withheld, 0, "{context}");
}

fn n_failed(report: &Report) -> usize {
    report.actions.iter().filter(|it| it.outcome == OutcomeName::Failed).count()
}

/// Copies that EC2 was asked for and refused.
pub(crate) fn refused(journal: &[Call]) -> usize {
    journal.iter().filter(|it| it.operation == "CopySnapshot" && !it.happened).count()
}

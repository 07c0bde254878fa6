//! A vault with one policy, rule by rule.

use serde_json::{Value, json};
use snapferry_core::event::CopyScope;
use snapferry_core::ids::{SnapshotId, VolumeId};
use snapferry_sim::{Record, Sim, id};

use super::{HOME, MEMBER, OTHER, VAULT, account, scope};

/// Where the rules of these tests copy to.
pub(crate) const AWAY: &str = "eu-west-1";

/// Policy `vault`, which takes snapshots of two accounts, with these copies.
pub(crate) fn event_policy(rules: &[Value]) -> Value {
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Parameters": {"SnapshotOwner": [MEMBER, OTHER]}},
            "Actions": [{"CrossRegionCopy": rules}]
        }
    })
}

/// A copy to [`AWAY`] or elsewhere under the Region's own key, and more.
pub(crate) fn rule(target: &str, more: &Value) -> Value {
    let mut rule = json!({"Target": target, "EncryptionConfiguration": {"Encrypted": true}});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

/// A completed snapshot of a volume that an account shares with the vault.
pub(crate) fn shared_by(
    sim: &Sim,
    owner: &str,
    volume: &str,
    change: impl FnOnce(&mut Record),
) -> SnapshotId {
    let of: VolumeId = id(volume);
    sim.snapshot(&scope(owner, HOME), &of, |it| {
        it.snapshot.description = format!(
            "Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z volume: {volume} name: web-1"
        );
        it.shared_with.insert(account(VAULT));
        change(it);
    })
}

pub(crate) fn share_event(snapshot: &SnapshotId, owner: &str) -> CopyScope {
    CopyScope::One { region: id(HOME), snapshot: snapshot.clone(), owner: Some(account(owner)) }
}

/// The copies of a snapshot, oldest first.
pub(crate) fn made_of(sim: &Sim, source: &SnapshotId) -> Vec<Record> {
    sim.records().into_iter().filter(|it| it.copy_of.as_ref() == Some(source)).collect()
}

//! Decides what to do: pure, total and deterministic. All cleverness is here, where no network is needed to test it.
//!
//! [`rotate`] plans for `rotate-snapshots`, [`copy`] for `copy-shared-snapshots`.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, Hold, Plan, Planned};
use crate::commands::Step;
use crate::ids::SnapshotId;
use crate::inventory::{Guards, ScopeInventory, Snapshot};
use crate::policy::SnapshotPolicy;
use crate::tags::{self, Claim};

mod copied;
pub mod copy;
mod create;
mod fast;
pub mod full_copy;
mod keep;
mod lock;
mod rescue;
mod retain;
pub mod rotate;
mod scripts;
mod share;
mod sharing;
#[cfg(test)]
mod tests;
mod view;

/// Names of the policies that are in force anywhere, where the documents at hand are all there are. `None`: they
/// are a selection (given in the event), or one of them could not be read; then nothing is taken for orphaned.
pub type PoliciesInForce = Option<BTreeSet<String>>;

/// What forbids deleting `snapshot`, whatever retention says.
fn hold(snapshot: &Snapshot, guards: &Result<Guards, String>) -> Option<Hold> {
    if let Some(who) = tags::foreign_manager(&snapshot.tags) {
        return Some(Hold::ManagedBy(who));
    }
    match guards {
        Err(why) => Some(Hold::GuardsUnknown(why.clone())),
        Ok(guards) => match guards.images.get(&snapshot.id) {
            Some(ami) => Some(Hold::InUse(ami.clone())),
            None => guards.locked.contains(&snapshot.id).then_some(Hold::Locked),
        },
    }
}

/// What the plan so far deletes or moves to the archive: nothing else is worth doing with it.
fn leaving(plan: &Plan) -> BTreeSet<SnapshotId> {
    let leaves =
        |action: &Action| matches!(action, Action::DeleteSnapshot(_) | Action::ArchiveSnapshot(_));
    let leaving = plan.actions.iter().filter(|planned| leaves(&planned.action));
    leaving.filter_map(|planned| planned.subject.snapshot.clone()).collect()
}

/// Whether the policy still protects what the snapshot is of. `None`: that is gone, or cannot be told from gone.
fn is_target(
    snapshot: &Snapshot,
    claim: &Claim,
    details: &SnapshotPolicy,
    inventory: &ScopeInventory,
) -> Option<bool> {
    if let Some(id) = &claim.instance {
        return inventory.instances.get(id).map(|it| details.targets_instance(it));
    }
    let volume = inventory.volumes.get(&snapshot.volume_id)?;
    Some(details.targets(volume, || inventory.is_boot(&volume.id)))
}

/// Oldest first; the id settles a tie, so that two runs agree.
fn by_age<'a>(snapshots: impl Iterator<Item = &'a Snapshot>) -> Vec<&'a Snapshot> {
    let mut snapshots: Vec<_> = snapshots.collect();
    snapshots.sort_by_key(|snapshot| (snapshot.start_time, &snapshot.id));
    snapshots
}

/// Creations first, deletions last: when time runs out, what is missing matters more than what is too much.
fn in_order(plan: &mut Plan) {
    let is_post_script = |action: &Action| matches!(action, Action::SendCommand(it) if it.errand.step == Step::PostScript);
    plan.actions.sort_by_key(|planned: &Planned| match planned.action.operation() {
        _ if is_post_script(&planned.action) => -1, // something may stand still
        "CreateSnapshot" | "CreateSnapshots" | "SendCommand" => 0,
        "CopySnapshot" => 1,
        "LockSnapshot" => 2,
        "ModifySnapshotAttribute" => 3,
        "EnableFastSnapshotRestores" | "DisableFastSnapshotRestores" => 4,
        "CreateTags" => 5,
        "ModifySnapshotTier" => 6,
        _ => 7,
    });
}

/// The older of the same, for every one that is a repetition. `CreateSnapshot` and `CopySnapshot` have no client
/// token and EC2's reads are eventually consistent, so two runs can both create.
fn duplicates<'a, K: Ord>(
    completed: impl Iterator<Item = (K, &'a Snapshot)>,
) -> BTreeMap<&'a SnapshotId, &'a SnapshotId> {
    let mut groups: BTreeMap<K, Vec<&Snapshot>> = BTreeMap::new();
    for (key, snapshot) in completed {
        groups.entry(key).or_default().push(snapshot);
    }
    let mut duplicates = BTreeMap::new();
    for group in groups.into_values() {
        if let Some((keeper, younger)) = by_age(group.into_iter()).split_first() {
            duplicates.extend(younger.iter().map(|snapshot| (&snapshot.id, &keeper.id)));
        }
    }
    duplicates
}

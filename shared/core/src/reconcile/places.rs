//! Places that EC2 did not take: a copy that is refused at once leaves nothing behind by which the next run could know
//! it, so that it would be tried first for ever. Its place goes to another within the run.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Done;
use crate::action::{Action, Plan, Subject};
use crate::ec2::{CopySnapshot, Ec2Error};
use crate::execute::{Executed, Outcome};
use crate::ids::{AccountId, SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State, VaultInventory};

/// How often in one run: every time costs as many calls as there are places.
pub(super) const ROUNDS: usize = 8;

/// Notes in `inventory` what was begun and what was refused. Whether there is anything to plan anew.
pub(super) fn note(done: &Done, inventory: &mut VaultInventory, now: Timestamp) -> bool {
    let mut refused_any = false;
    for Executed { planned, outcome } in &done.executed {
        let Action::CopySnapshot(request) = &planned.action else {
            continue;
        };
        let region = &planned.scope.region;
        match outcome {
            Outcome::Done(made) => {
                let copies = made.iter().map(|id| begun(id, request, &inventory.account, now));
                if let Some(target) = inventory.targets.get_mut(region) {
                    let copies: Vec<Snapshot> = copies.collect();
                    target.in_progress.extend(copies.iter().cloned());
                    target.copies.extend(copies);
                }
            }
            Outcome::NotReady(_)
            | Outcome::Held(_)
            | Outcome::Failed(Ec2Error::Refused { .. } | Ec2Error::NotSent { .. }) => {
                let key = (region.clone(), request.source.clone());
                refused_any |= inventory.refused.insert(key);
            }
            // It may have happened: the next run looks first.
            Outcome::Failed(_) => {
                inventory.refused.insert((region.clone(), request.source.clone()));
            }
            Outcome::Deferred(_) | Outcome::Planned | Outcome::Sent(_) => {}
        }
    }
    refused_any
}

/// A copy as EC2 will show it.
fn begun(id: &SnapshotId, request: &CopySnapshot, account: &AccountId, now: Timestamp) -> Snapshot {
    Snapshot {
        id: id.clone(),
        volume_id: VolumeId::placeholder(),
        owner: account.clone(),
        state: State::Pending,
        state_message: None,
        start_time: now,
        description: request.description.clone(),
        volume_size_gib: 0,
        archived: false,
        encrypted: request.encrypted,
        kms_key_id: request.kms_key.as_ref().map(|key| key.as_str().into()),
        tags: request.tags.clone(),
    }
}

/// Only the copies: everything else was done, or told, in the first round.
pub(super) fn only_copies(plan: Plan) -> Plan {
    let mut actions = plan.actions;
    actions.retain(|planned| matches!(planned.action, Action::CopySnapshot(_)));
    Plan { actions, ..Plan::default() }
}

/// Whose wish a copy is, and of what.
fn key(subject: &Subject) -> (&str, &str, Option<&SnapshotId>) {
    (&subject.policy, &subject.schedule, subject.source.as_ref())
}

impl Done {
    /// Adds what a round did; in a further one, what had been waiting for a place waits no more.
    pub(super) fn go_on(&mut self, round: usize, more: Self) {
        if round == 0 {
            *self = more;
            return;
        }
        let tried: BTreeSet<_> = more.executed.iter().map(|it| key(&it.planned.subject)).collect();
        self.plan.deferred.retain(|it| !tried.contains(&key(&it.planned.subject)));
        self.executed.extend(more.executed);
        self.withheld.extend(more.withheld);
        self.violations.extend(more.violations);
    }
}

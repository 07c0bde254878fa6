//! The plan of `rotate-snapshots` for one scope.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{PoliciesInForce, create, in_order, retain, share};
use crate::action::{Action, Coverage, Held, Hold, Plan, Planned, Reason, Subject};
use crate::ec2::Access;
use crate::ids::{Scope, VolumeId};
use crate::inventory::{ScopeInventory, Snapshot, State, Volume};
use crate::policy::{Policy, SnapshotPolicy};
use crate::tags::Claim;

/// Everything that the plan of a scope follows from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The account and Region.
    pub scope: &'a Scope,
    /// The credentials its actions will use.
    pub access: &'a Access,
    /// The policies that target this scope.
    pub policies: &'a [(&'a Policy, &'a SnapshotPolicy)],
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a ScopeInventory,
    /// The scheduled time of the event: decides which slot is due.
    pub at: Timestamp,
    /// The wall clock: decides what has expired.
    pub now: Timestamp,
}

/// An own snapshot with what its tags say.
pub(super) struct Own<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) claim: Claim,
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) request: Request<'a>,
    pub(super) own: Vec<Own<'a>>,
    pub(super) plan: Plan,
}

/// Decides what to do in one scope.
#[must_use]
pub fn plan(request: Request<'_>) -> Plan {
    let own = request
        .inventory
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.owner == request.scope.account)
        .filter_map(|snapshot| Claim::read(&snapshot.tags).map(|claim| Own { snapshot, claim }))
        .collect();
    let mut draft = Draft { request, own, plan: Plan::default() };
    for (policy, details) in request.policies {
        if policy.enabled {
            create::plan(&mut draft, policy, details);
        }
        draft.cover(policy, details);
    }
    retain::plan(&mut draft);
    for (policy, details) in request.policies {
        if policy.enabled {
            share::plan(&mut draft, policy, details);
        }
    }
    in_order(&mut draft.plan);
    draft.plan
}

impl<'a> Draft<'a> {
    pub(super) fn targets(
        &self,
        details: &'a SnapshotPolicy,
    ) -> impl Iterator<Item = &'a Volume> + use<'a> {
        self.request
            .inventory
            .volumes
            .values()
            .filter(|volume| details.targets(&volume.id, &volume.tags))
    }

    /// The policy of that name, if it targets this scope.
    pub(super) fn policy(&self, name: &str) -> Option<(&'a Policy, &'a SnapshotPolicy)> {
        self.request.policies.iter().find(|(policy, _)| policy.name == name).copied()
    }

    pub(super) fn planned(&self, action: Action, subject: Subject, reason: Reason) -> Planned {
        Planned {
            scope: self.request.scope.clone(),
            access: self.request.access.clone(),
            action,
            subject,
            reason,
        }
    }

    pub(super) fn act(&mut self, action: Action, subject: Subject, reason: Reason) {
        let planned = self.planned(action, subject, reason);
        self.plan.actions.push(planned);
    }

    pub(super) fn hold(&mut self, subject: Subject, why: Hold) {
        self.plan.held.push(Held { scope: self.request.scope.clone(), subject, why });
    }

    /// The newest completed snapshot of every target, by any policy in force here.
    fn cover(&mut self, policy: &Policy, details: &'a SnapshotPolicy) {
        let mut newest: BTreeMap<&VolumeId, Timestamp> = BTreeMap::new();
        for own in self.own.iter().filter(|own| {
            own.snapshot.state == State::Completed && self.policy(&own.claim.policy).is_some()
        }) {
            let newest = newest.entry(&own.snapshot.volume_id).or_insert(own.snapshot.start_time);
            *newest = (*newest).max(own.snapshot.start_time);
        }
        let coverage: Vec<_> = self
            .targets(details)
            .map(|volume| {
                let newest_completed = newest.get(&volume.id).copied();
                Coverage {
                    scope: self.request.scope.clone(),
                    policy: policy.name.clone(),
                    is_wanted: policy.enabled,
                    volume: volume.id.clone(),
                    newest_completed,
                    since: newest_completed.is_none().then_some(volume.create_time),
                }
            })
            .collect();
        self.plan.coverage.extend(coverage);
    }
}

impl Own<'_> {
    pub(super) fn subject(&self) -> Subject {
        Subject {
            policy: self.claim.policy.clone(),
            schedule: self.claim.schedule_text(),
            slot: Some(self.claim.slot),
            volume: Some(self.snapshot.volume_id.clone()),
            snapshot: Some(self.snapshot.id.clone()),
            source: None,
        }
    }
}

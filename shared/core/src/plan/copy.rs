//! The plan of `copy-shared-snapshots`: what the owners share with this account, against the copies we have.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{PoliciesInForce, by_age, in_order};
use crate::action::{Action, Deferred, Held, Hold, Impossible, Plan, Planned, Reason, Subject};
use crate::description;
use crate::ec2::{Access, CopySnapshot};
use crate::ids::{Region, SnapshotId};
use crate::inventory::{Snapshot, State, VaultInventory};
use crate::policy::{CopyPolicy, CopyRule, Policy};
use crate::tags::{self, CopyClaim};
use expire::retry_after;
use key::{KeyProblem, key_problem};

mod cover;
mod expire;
mod key;
#[cfg(test)]
mod tests;

/// Copies in progress that EC2 allows per destination Region
/// ([CopySnapshot](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html)).
pub const CONCURRENT_COPIES: usize = 20;

/// Everything that the plan follows from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Every copy policy.
    pub policies: &'a [(&'a Policy, &'a CopyPolicy)],
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a VaultInventory,
    /// The wall clock.
    pub now: Timestamp,
}

struct Copy<'a> {
    snapshot: &'a Snapshot,
    claim: CopyClaim,
}

struct Draft<'a> {
    request: Request<'a>,
    /// Every copy of ours, by target Region.
    copies: BTreeMap<&'a Region, Vec<Copy<'a>>>,
    /// The copies by what they are of: policy, rule and source.
    by_source: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Snapshot>>,
    /// What else may be started, by target Region.
    room: BTreeMap<&'a Region, usize>,
    plan: Plan,
}

/// Decides what to do in the vault.
#[must_use]
pub fn plan(request: Request<'_>) -> Plan {
    let mut copies = BTreeMap::new();
    let mut room = BTreeMap::new();
    let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (region, target) in &request.inventory.targets {
        let mut here = Vec::new();
        for snapshot in &target.copies {
            let claim = CopyClaim::read(&snapshot.tags);
            let Some(claim) = claim.filter(|_| snapshot.owner == request.inventory.account) else {
                continue;
            };
            let tag = |key: &str| snapshot.tags.get(key).map_or("", String::as_str);
            let key = (tag(tags::POLICY), tag(tags::RULE), tag(tags::SOURCE_SNAPSHOT));
            by_source.entry(key).or_default().push(snapshot);
            here.push(Copy { snapshot, claim });
        }
        let pending = here.iter().filter(|copy| copy.snapshot.state == State::Pending).count();
        copies.insert(region, here);
        room.insert(region, CONCURRENT_COPIES.saturating_sub(pending));
    }
    let mut draft = Draft { request, copies, by_source, room, plan: Plan::default() };
    let sources: Vec<(&Region, &Snapshot)> = request
        .inventory
        .sources
        .iter()
        .flat_map(|(region, sources)| by_age(sources.iter()).into_iter().map(move |s| (region, s)))
        .collect();
    for (region, source) in &sources {
        draft.source(region, source);
    }
    draft.failed_copies();
    if request.inventory.whole {
        draft.expire();
        draft.cover();
    }
    in_order(&mut draft.plan);
    draft.plan
}

impl<'a> Draft<'a> {
    /// Every policy's opinion of one shared snapshot.
    fn source(&mut self, region: &'a Region, source: &'a Snapshot) {
        let scope = self.request.inventory.scope(region);
        let held = |why| Held {
            scope: scope.clone(),
            subject: Subject { snapshot: Some(source.id.clone()), ..Subject::default() },
            why,
        };
        if source.owner == self.request.inventory.account {
            self.plan.held.push(held(Hold::OwnSnapshot));
            return;
        }
        let of_owner: Vec<_> = self
            .request
            .policies
            .iter()
            .filter(|(_, details)| details.owners.contains(&source.owner))
            .collect();
        if of_owner.is_empty() {
            self.plan.held.push(held(Hold::OwnerNotWanted(source.owner.clone())));
            return;
        }
        let wanting: Vec<_> = of_owner
            .into_iter()
            .filter(|(_, details)| {
                details.description.as_ref().is_none_or(|regex| regex.is_match(&source.description))
            })
            .collect();
        if wanting.is_empty() {
            self.plan.held.push(held(Hold::DescriptionNotWanted));
        }
        for (policy, details) in wanting {
            if !policy.enabled {
                self.plan.held.push(held(Hold::Disabled));
                continue;
            }
            for rule in &details.rules {
                self.by_rule(region, source, policy, rule);
            }
        }
    }

    fn by_rule(
        &mut self,
        region: &'a Region,
        source: &'a Snapshot,
        policy: &Policy,
        rule: &'a CopyRule,
    ) {
        let claim = claim_of(region, source, policy, rule);
        let key = (policy.name.as_str(), rule.name.as_str(), source.id.as_str());
        let existing = self.by_source.get(&key).map_or(&[][..], Vec::as_slice);
        if existing.iter().any(|copy| copy.state != State::Error) {
            return;
        }
        let failed = by_age(existing.iter().copied());
        let reason = failed
            .last()
            .map_or(Reason::NoCopy, |failed| Reason::OnlyFailedCopies(failed.id.clone()));
        let scope = self.request.inventory.scope(&rule.target);
        let subject = subject_of(&claim);
        let hold = |why| Held { scope: scope.clone(), subject: subject.clone(), why };
        if let Some(until) = rule.retain.map(|age| age.after(source.start_time))
            && until <= self.request.now
        {
            return self.plan.held.push(hold(Hold::PastRetention(until)));
        }
        let planned = Planned {
            scope: scope.clone(),
            access: Access::default(),
            action: Action::CopySnapshot(request_of(&claim, source, rule, self.request.now)),
            subject: subject.clone(),
            reason,
        };
        match source.state {
            State::Completed => {}
            State::Pending => {
                let waits_for = format!("{} is pending", source.id);
                return self.plan.deferred.push(Deferred { planned, waits_for });
            }
            State::Error | State::Other => {
                return self.plan.held.push(hold(Hold::SourceState(source.state.to_string())));
            }
        }
        if let Some(at) = retry_after(&failed).filter(|at| *at > self.request.now) {
            let waits_for =
                format!("it has failed before; tried again after {}", tags::instant(at));
            return self.plan.deferred.push(Deferred { planned, waits_for });
        }
        match key_problem(self.request.inventory, rule) {
            None => {}
            Some(KeyProblem::Passes(waits_for)) => {
                return self.plan.deferred.push(Deferred { planned, waits_for });
            }
            Some(KeyProblem::Stays { kind, code, message }) => {
                let operation = "CopySnapshot";
                return self.plan.impossible.push(Impossible {
                    scope,
                    operation,
                    subject,
                    kind,
                    code,
                    message,
                });
            }
        }
        match self.room.get_mut(&rule.target) {
            Some(0) => {
                let waits_for =
                    format!("{CONCURRENT_COPIES} copies are in progress in {}", rule.target);
                self.plan.deferred.push(Deferred { planned, waits_for });
            }
            Some(room) => {
                *room -= 1;
                self.plan.actions.push(planned);
            }
            // The Region could not be read; that is reported, and nothing is done blindly there.
            None => {
                let waits_for = format!("{} could not be read", rule.target);
                self.plan.deferred.push(Deferred { planned, waits_for });
            }
        }
    }

    fn rule(&self, claim: &CopyClaim) -> Option<(&'a Policy, &'a CopyRule)> {
        let (policy, details) =
            self.request.policies.iter().find(|(policy, _)| policy.name == claim.policy)?;
        details.rules.iter().find(|rule| rule.name == claim.rule).map(|rule| (*policy, rule))
    }
}

impl Copy<'_> {
    /// The moment whose data it holds, as far as we know: its slot, else its own start. For coverage only.
    fn data_time(&self) -> Timestamp {
        let start = self.snapshot.start_time;
        // A forged slot in the future must not pass for fresh data.
        self.claim.slot.map_or(start, |slot| slot.timestamp().min(start))
    }

    /// Retention goes by what EC2 tells, never by what a description says.
    fn age_key(&self) -> (Timestamp, &SnapshotId) {
        (self.snapshot.start_time, &self.snapshot.id)
    }
}

fn claim_of(region: &Region, source: &Snapshot, policy: &Policy, rule: &CopyRule) -> CopyClaim {
    let described = description::read(&source.description);
    let volume = described
        .as_ref()
        .filter(|_| source.volume_id.is_placeholder())
        .map_or(&source.volume_id, |described| &described.volume);
    CopyClaim {
        policy: policy.name.clone(),
        rule: rule.name.clone(),
        source_snapshot: source.id.clone(),
        source_account: source.owner.clone(),
        source_region: region.clone(),
        source_volume: volume.clone(),
        slot: described.as_ref().map(|described| described.slot),
    }
}

fn subject_of(claim: &CopyClaim) -> Subject {
    Subject {
        policy: claim.policy.clone(),
        schedule: claim.rule.clone(),
        slot: claim.slot,
        volume: Some(claim.source_volume.clone()),
        snapshot: None,
        source: Some(claim.source_snapshot.clone()),
    }
}

fn request_of(
    claim: &CopyClaim,
    source: &Snapshot,
    rule: &CopyRule,
    now: Timestamp,
) -> CopySnapshot {
    let mut tags = claim.write();
    if let Some(age) = rule.retain {
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(age.after(now)));
    }
    tags.extend(rule.tags_to_add.clone());
    CopySnapshot {
        source: source.id.clone(),
        source_region: claim.source_region.clone(),
        description: description::of_copy(
            &source.id,
            &source.owner,
            &claim.source_region,
            &source.description,
        ),
        encrypted: rule.encrypted,
        kms_key: rule.cmk_arn.clone(),
        completion_duration_minutes: rule.completion_duration_minutes,
        tags,
    }
}

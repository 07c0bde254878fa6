//! Which copies leave: failed ones, repetitions, and those whose time is over.

use std::collections::{BTreeMap, BTreeSet};

use super::{Copy, Draft, subject_of};
use crate::action::{Action, Held, Hold, Impossible, Planned, Reason, Subject};
use crate::ec2::{Access, ErrorKind};
use crate::ids::{AccountId, Region, SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::plan::{duplicates, hold};
use crate::policy::{CopyPolicy, Policy};
use crate::tags::{self, CopyClaim};

impl<'a> Draft<'a> {
    /// A copy that ended in `error` is told once, by the run that finds it, and deleted: it is worth nothing and
    /// counts against limits.
    pub(super) fn failed_copies(&mut self) {
        let mut failed = Vec::new();
        for (region, copies) in &self.copies {
            for copy in copies
                .iter()
                .filter(|copy| copy.snapshot.state == State::Error)
            {
                let in_force = self
                    .rule(&copy.claim)
                    .is_some_and(|(policy, _)| policy.enabled);
                if in_force {
                    failed.push((*region, copy.snapshot, copy.claim.clone()));
                }
            }
        }
        for (region, copy, claim) in failed {
            let message = copy
                .state_message
                .clone()
                .unwrap_or_else(|| "no reason given".into());
            let subject = Subject {
                snapshot: Some(copy.id.clone()),
                ..subject_of(&claim)
            };
            // One that cannot be deleted is found again by every run: that is news while it is being replaced.
            if self.veto(region, copy).is_none() || self.is_replaced_now(&subject) {
                self.plan.impossible.push(Impossible {
                    scope: self.request.inventory.scope(region),
                    operation: "CopySnapshot",
                    subject: subject.clone(),
                    kind: ErrorKind::KeyUnusable,
                    code: "error".into(),
                    message: failed_copy(&copy.id, &claim, &message),
                });
            }
            self.delete(region, copy, subject, Reason::Failed(message), false);
        }
    }

    /// Repetitions, and copies whose time is over.
    pub(super) fn expire(&mut self) {
        let mut leaving = Vec::new();
        for (region, copies) in &self.copies {
            leaving.extend(self.expired_in(region, copies));
        }
        for it in leaving {
            let subject = Subject {
                snapshot: Some(it.snapshot.id.clone()),
                ..subject_of(&it.claim)
            };
            self.delete(it.region, it.snapshot, subject, it.reason, it.is_last);
        }
    }

    fn expired_in(&self, region: &'a Region, copies: &[Copy<'a>]) -> Vec<Leaving<'a>> {
        let completed: Vec<&Copy<'a>> = copies
            .iter()
            .filter(|copy| copy.snapshot.state == State::Completed)
            .collect();
        let duplicates = duplicates(completed.iter().map(|copy| {
            let claim = &copy.claim;
            (
                (&claim.policy, &claim.rule, &claim.source_snapshot),
                copy.snapshot,
            )
        }));
        let mut leaving = Vec::new();
        let mut keepers = BTreeSet::new();
        let mut volumes: BTreeMap<(&AccountId, &VolumeId), Vec<&Copy<'a>>> = BTreeMap::new();
        for copy in &completed {
            let claim = &copy.claim;
            let Some(older) = duplicates.get(&copy.snapshot.id) else {
                volumes
                    .entry((&claim.source_account, &claim.source_volume))
                    .or_default()
                    .push(copy);
                continue;
            };
            if self.rule(claim).is_some_and(|(policy, _)| policy.enabled) {
                let reason = Reason::Duplicate((*older).clone());
                leaving.push(Leaving::new(region, copy, reason, false));
                if self.veto(region, copy.snapshot).is_none() {
                    keepers.insert(*older);
                }
            }
        }
        for mut group in volumes.into_values() {
            group.sort_by_key(|copy| std::cmp::Reverse(copy.age_key()));
            let mut ranks: BTreeMap<(&str, &str), u32> = BTreeMap::new();
            for (index, copy) in group.iter().enumerate() {
                let rank = ranks
                    .entry((&copy.claim.policy, &copy.claim.rule))
                    .or_default();
                *rank += 1;
                // What a repetition leaves for stays this time: never both at once.
                let expiry = self.expiry(copy, *rank);
                if let Some(reason) = expiry.filter(|_| !keepers.contains(&copy.snapshot.id)) {
                    leaving.push(Leaving::new(region, copy, reason, index == 0));
                }
            }
        }
        leaving
    }

    /// Why a copy may go: its own tag says so, and the rule's minimum is kept by newer ones.
    fn expiry(&self, copy: &Copy<'_>, rank: u32) -> Option<Reason> {
        let at = tags::expires_at(&copy.snapshot.tags).filter(|at| *at <= self.request.now)?;
        match self.rule(&copy.claim) {
            Some((policy, _)) if !policy.enabled => None,
            Some((_, rule)) => (rank > rule.minimum_count).then_some(Reason::ExpiresAt(at)),
            None => {
                let policy_known =
                    |(policy, _): &&(&Policy, &CopyPolicy)| policy.name == copy.claim.policy;
                let gone = match self.request.policies.iter().find(policy_known) {
                    Some((policy, _)) => policy.enabled, // the rule is gone, not the policy
                    None => self
                        .request
                        .in_force
                        .as_ref()
                        .is_some_and(|names| !names.contains(&copy.claim.policy)),
                };
                gone.then_some(Reason::Orphan(at))
            }
        }
    }

    fn delete(
        &mut self,
        region: &Region,
        snapshot: &Snapshot,
        subject: Subject,
        reason: Reason,
        is_last: bool,
    ) {
        let scope = self.request.inventory.scope(region);
        let veto = self.veto(region, snapshot);
        if let Some(why) = veto.or(is_last.then_some(Hold::LastGood)) {
            return self.plan.held.push(Held {
                scope,
                subject,
                why,
            });
        }
        self.plan.actions.push(Planned {
            scope,
            access: Access::default(),
            action: Action::DeleteSnapshot(snapshot.id.clone()),
            subject,
            reason,
        });
    }

    /// Whether this run copies the same source by the same rule, or would if it could.
    fn is_replaced_now(&self, failed: &Subject) -> bool {
        let now = self.plan.actions.iter();
        let later = self.plan.deferred.iter().map(|it| &it.planned);
        now.chain(later).map(|it| &it.subject).any(|it| {
            (&it.policy, &it.schedule, &it.source)
                == (&failed.policy, &failed.schedule, &failed.source)
        })
    }

    fn veto(&self, region: &Region, snapshot: &Snapshot) -> Option<Hold> {
        let target = self.request.inventory.targets.get(region)?;
        hold(snapshot, &target.guards)
    }
}

/// A copy that could go.
struct Leaving<'a> {
    region: &'a Region,
    snapshot: &'a Snapshot,
    claim: CopyClaim,
    reason: Reason,
    /// The newest of its source volume.
    is_last: bool,
}

impl<'a> Leaving<'a> {
    fn new(region: &'a Region, copy: &Copy<'a>, reason: Reason, is_last: bool) -> Self {
        Self {
            region,
            snapshot: copy.snapshot,
            claim: copy.claim.clone(),
            reason,
            is_last,
        }
    }
}

fn failed_copy(copy: &SnapshotId, claim: &CopyClaim, message: &str) -> String {
    format!(
        "copy {copy} of {} ended in error: {message}. Where a key is not accessible: the source key's policy has \
         to allow this account kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey* and \
         kms:CreateGrant, and this function's role the same on both keys",
        claim.source_snapshot
    )
}

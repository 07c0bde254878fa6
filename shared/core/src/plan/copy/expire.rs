//! Which copies leave: failed ones, repetitions, and those whose time is over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Copy, Draft, subject_of};
use crate::action::{Action, Held, Hold, Impossible, Planned, Reason, Subject};
use crate::ec2::{Access, ErrorKind};
use crate::ids::{AccountId, Region, SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::plan::{by_age, duplicates, hold};
use crate::policy::{CopyPolicy, Policy};
use crate::tags::{self, CopyClaim};

impl<'a> Draft<'a> {
    /// Copies that ended in `error` are worth nothing. They are kept all the same while nothing better is there, two of
    /// them at the most: they are the only memory of how often it was tried, see [`retry_after`].
    pub(super) fn failed_copies(&mut self) {
        let groups: Vec<(&Region, CopyClaim, Vec<&Snapshot>)> = self
            .copies
            .iter()
            .flat_map(|(region, copies)| copies.iter().map(move |copy| (*region, copy)))
            .filter(|(_, copy)| copy.snapshot.state == State::Error)
            .filter(|(_, copy)| self.rule(&copy.claim).is_some_and(|(policy, _)| policy.enabled))
            .fold(BTreeMap::new(), |mut groups: BTreeMap<_, Vec<_>>, (region, copy)| {
                groups.entry((region, copy.claim.clone())).or_default().push(copy.snapshot);
                groups
            })
            .into_iter()
            .map(|((region, claim), failed)| (region, claim, by_age(failed.into_iter())))
            .collect();
        for (region, claim, failed) in groups {
            self.failed_copies_of(region, &claim, &failed);
        }
    }

    /// `failed` is not empty, and the oldest come first.
    fn failed_copies_of(&mut self, region: &Region, claim: &CopyClaim, failed: &[&Snapshot]) {
        let key = (claim.policy.as_str(), claim.rule.as_str(), claim.source_snapshot.as_str());
        let alike = self.by_source.get(&key).map_or(&[][..], Vec::as_slice);
        let is_there = |state| alike.iter().any(|copy| copy.state == state);
        let subject =
            |copy: &Snapshot| Subject { snapshot: Some(copy.id.clone()), ..subject_of(claim) };
        let is_replaced = is_there(State::Completed);
        // Without a copy that is made or waited for, nobody will ever replace them.
        let given_up =
            !is_replaced && !is_there(State::Pending) && !self.is_wanted(&subject_of(claim));
        // One that cannot even be deleted, and that nobody will replace, would be news for ever.
        let stuck = given_up && failed.iter().all(|copy| self.veto(region, copy).is_some());
        let is_news = !is_replaced && !is_there(State::Pending) && !stuck;
        if let Some(newest) = failed.last().filter(|_| is_news) {
            self.plan.impossible.push(Impossible {
                scope: self.request.inventory.scope(region),
                operation: "CopySnapshot",
                subject: subject(newest),
                kind: ErrorKind::KeyUnusable,
                code: "error".into(),
                message: failed_copy(&newest.id, claim, &message_of(newest)),
            });
        }
        let kept = if is_replaced || given_up { 0 } else { REMEMBERED };
        for copy in failed.iter().rev().skip(kept) {
            self.delete(region, copy, subject(copy), Reason::Failed(message_of(copy)), false);
        }
    }

    /// Repetitions, and copies whose time is over.
    pub(super) fn expire(&mut self) {
        let mut leaving = Vec::new();
        for (region, copies) in &self.copies {
            leaving.extend(self.expired_in(region, copies));
        }
        for it in leaving {
            let subject =
                Subject { snapshot: Some(it.snapshot.id.clone()), ..subject_of(&it.claim) };
            self.delete(it.region, it.snapshot, subject, it.reason, it.is_last);
        }
    }

    fn expired_in(&self, region: &'a Region, copies: &[Copy<'a>]) -> Vec<Leaving<'a>> {
        let completed: Vec<&Copy<'a>> =
            copies.iter().filter(|copy| copy.snapshot.state == State::Completed).collect();
        let duplicates = duplicates(completed.iter().map(|copy| {
            let claim = &copy.claim;
            ((&claim.policy, &claim.rule, &claim.source_snapshot), copy.snapshot)
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
                let rank = ranks.entry((&copy.claim.policy, &copy.claim.rule)).or_default();
                *rank += 1;
                // What a repetition leaves for stays this time: never both at once.
                let expiry = self.expiry(copy);
                if let Some(reason) = expiry.filter(|_| !keepers.contains(&copy.snapshot.id)) {
                    let minimum = self.rule(&copy.claim).map_or(0, |(_, rule)| rule.minimum_count);
                    let is_last = index == 0 || *rank <= minimum;
                    leaving.push(Leaving::new(region, copy, reason, is_last));
                }
            }
        }
        leaving
    }

    /// Why a copy may go: its own tag says so, and its policy is in force, or gone for good.
    fn expiry(&self, copy: &Copy<'_>) -> Option<Reason> {
        let at = tags::expires_at(&copy.snapshot.tags).filter(|at| *at <= self.request.now)?;
        match self.rule(&copy.claim) {
            Some((policy, _)) if !policy.enabled => None,
            Some(_) => Some(Reason::ExpiresAt(at)),
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
            return self.plan.held.push(Held { scope, subject, why });
        }
        self.plan.actions.push(Planned {
            scope,
            access: Access::default(),
            action: Action::DeleteSnapshot(snapshot.id.clone()),
            subject,
            reason,
        });
    }

    /// Whether this run copies the source by the rule, or would if it could.
    fn is_wanted(&self, failed: &Subject) -> bool {
        let now = self.plan.actions.iter().map(|it| &it.subject);
        let later = self.plan.deferred.iter().map(|it| &it.planned.subject);
        let never = self.plan.impossible.iter().map(|it| &it.subject);
        now.chain(later).chain(never).any(|it| {
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
    /// The newest of its source volume, or one that `MinimumCount` keeps.
    is_last: bool,
}

impl<'a> Leaving<'a> {
    fn new(region: &'a Region, copy: &Copy<'a>, reason: Reason, is_last: bool) -> Self {
        Self { region, snapshot: copy.snapshot, claim: copy.claim.clone(), reason, is_last }
    }
}

/// So many failed copies of one source by one rule are kept until there is a good one.
const REMEMBERED: usize = 2;

/// When a copy that has failed may be tried again: at once after the first failure, later an hour after the newest
/// attempt. Without that a key that stays inaccessible, whose failures come back as events, would make us copy in a
/// circle. `failed` is in order of age.
pub(super) fn retry_after(failed: &[&Snapshot]) -> Option<Timestamp> {
    let newest = failed.last().filter(|_| failed.len() >= REMEMBERED)?;
    newest.start_time.checked_add(SignedDuration::from_hours(1)).ok()
}

fn message_of(copy: &Snapshot) -> String {
    copy.state_message.clone().unwrap_or_else(|| "no reason given".into())
}

fn failed_copy(copy: &SnapshotId, claim: &CopyClaim, message: &str) -> String {
    format!(
        "copy {copy} of {} ended in error: {message}. Where a key is not accessible: the source key's policy has \
         to allow this account kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey* and \
         kms:CreateGrant, and this function's role the same on both keys",
        claim.source_snapshot
    )
}

//! Which copies leave: repetitions, and those whose time is over. The failed ones are another file's.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Copy, Draft, subject_of};
use crate::action::{Action, Expired, Held, Hold, Keeping, Kept, Period, Planned, Reason, Subject};
use crate::ids::{AccountId, Region, SnapshotId};
use crate::inventory::{Snapshot, State};
use crate::plan::{duplicates, hold, keep};
use crate::policy::CopyRule;
use crate::tags::{self, CopyClaim, Lineage};

impl<'a> Draft<'a> {
    /// Repetitions, and copies whose time is over.
    pub(super) fn expire(&mut self) {
        let mut leaving = Vec::new();
        let (mut kept, mut held) = (Vec::new(), Vec::new());
        for (region, copies) in &self.copies {
            let mut stays = Vec::new();
            leaving.extend(self.expired_in(region, copies, &mut stays));
            let scope = self.request.inventory.scope(region);
            let unfinished = copies
                .iter()
                .filter(|_| self.request.explain)
                .filter(|it| matches!(it.snapshot.state, State::Pending | State::Other))
                .filter(|it| self.is_in_force(&it.claim));
            let why = |copy: &Copy<'_>| vec![Keeping::Unfinished(copy.snapshot.state)];
            stays.extend(unfinished.map(|copy| (copy.clone(), Ok(why(copy)))));
            for (copy, why) in stays {
                let scope = scope.clone();
                let subject =
                    Subject { snapshot: Some(copy.snapshot.id.clone()), ..subject_of(&copy.claim) };
                match why {
                    Ok(why) => kept.push(Kept { scope, subject, why }),
                    Err(why) => held.push(Held { scope, subject, why }),
                }
            }
        }
        self.plan.kept.extend(kept);
        self.plan.held.extend(held);
        for it in leaving {
            let subject =
                Subject { snapshot: Some(it.snapshot.id.clone()), ..subject_of(&it.claim) };
            self.delete(it.region, it.snapshot, subject, it.reason, it.is_last);
        }
    }

    fn expired_in(
        &self,
        region: &'a Region,
        copies: &[Copy<'a>],
        stays: &mut Vec<(Copy<'a>, Result<Vec<Keeping>, Hold>)>,
    ) -> Vec<Leaving<'a>> {
        let completed: Vec<&Copy<'a>> =
            copies.iter().filter(|copy| copy.snapshot.state == State::Completed).collect();
        let duplicates = duplicates(completed.iter().map(|copy| {
            let claim = &copy.claim;
            ((&claim.policy, &claim.rule, &claim.source_snapshot), copy.snapshot)
        }));
        let mut leaving = Vec::new();
        let mut keepers = BTreeSet::new();
        let mut volumes: BTreeMap<(&AccountId, Lineage), Vec<&Copy<'a>>> = BTreeMap::new();
        for copy in &completed {
            let claim = &copy.claim;
            let Some(older) = duplicates.get(&copy.snapshot.id) else {
                let key = (&claim.source_account, claim.lineage());
                volumes.entry(key).or_default().push(copy);
                continue;
            };
            if self.is_in_force(claim) {
                let reason = Reason::Duplicate((*older).clone());
                leaving.push(Leaving::new(region, copy, reason, false));
                if self.veto(region, copy.snapshot).is_none() {
                    keepers.insert(*older);
                }
            }
        }
        for mut group in volumes.into_values() {
            group.sort_by_key(|copy| std::cmp::Reverse(copy.age_key()));
            let standings = self.standings(&group);
            for (index, copy) in group.iter().enumerate() {
                let verdict = match self.verdict(copy, &standings) {
                    // What a repetition leaves for stays this time: never both at once.
                    Verdict::Delete(..) if keepers.contains(&copy.snapshot.id) => {
                        Verdict::Keep(vec![Keeping::TwinLeaves])
                    }
                    Verdict::Delete(..) if self.worth_anew.contains(&copy.snapshot.id) => {
                        Verdict::Keep(vec![Keeping::WouldBeCopiedAgain])
                    }
                    Verdict::Delete(reason, is_last) => {
                        Verdict::Delete(reason, is_last || index == 0)
                    }
                    other => other,
                };
                match verdict {
                    Verdict::Keep(_) if !self.request.explain => {}
                    Verdict::Keep(why) => stays.push(((*copy).clone(), Ok(why))),
                    Verdict::Hold(why) => stays.push(((*copy).clone(), Err(why))),
                    Verdict::Delete(reason, is_last) => {
                        leaving.push(Leaving::new(region, copy, reason, is_last));
                    }
                }
            }
        }
        leaving
    }

    /// How the copies of one source volume, newest first, stand for each rule.
    fn standings(&self, group: &[&Copy<'a>]) -> Standings {
        let mut by_rule: BTreeMap<RuleKey, (&CopyRule, Vec<&Copy<'a>>)> = BTreeMap::new();
        for copy in group {
            for rule in self.rules(&copy.claim) {
                let entry = by_rule.entry(key_of(&copy.claim, rule)).or_insert((rule, Vec::new()));
                entry.1.push(copy);
            }
        }
        let mut standings = Standings::new();
        for (key, (rule, copies)) in by_rule {
            let moments: Vec<Timestamp> = copies.iter().map(|copy| copy.data_time()).collect();
            let keep = rule.retain.as_ref().and_then(|retain| retain.keep);
            let periods = keep.map(|keep| keep::periods(&keep, &TimeZone::UTC, &moments));
            let mut periods = periods.into_iter().flatten();
            for (index, copy) in copies.iter().enumerate() {
                let periods = periods.next().unwrap_or_default();
                standings.insert((key.clone(), copy.snapshot.id.clone()), (index + 1, periods));
            }
        }
        standings
    }

    /// What its rules say of a completed copy or, where they are gone, its own tag.
    fn verdict(&self, copy: &Copy<'_>, standings: &Standings) -> Verdict {
        let expires_at = tags::expires_at(&copy.snapshot.tags);
        let rules = self.rules(&copy.claim);
        match self.policy(&copy.claim.policy) {
            Some(copies) if !copies.policy.enabled => {
                return Verdict::Keep(vec![Keeping::Disabled]);
            }
            // The rule is gone, not the policy.
            Some(_) if rules.is_empty() => {
                let what = format!("rule {} of policy {}", copy.claim.rule, copy.claim.policy);
                return self.orphan(expires_at, what);
            }
            Some(_) => {}
            None => {
                let in_force = self.request.in_force.as_ref();
                return match in_force {
                    Some(names) if !names.contains(&copy.claim.policy) => {
                        self.orphan(expires_at, format!("policy {}", copy.claim.policy))
                    }
                    _ => Verdict::Keep(vec![Keeping::NotOurs]),
                };
            }
        }
        let mut keepings = Vec::new();
        let mut expired = Expired::default();
        let mut is_last = false;
        for rule in rules {
            let standing = standings.get(&(key_of(&copy.claim, rule), copy.snapshot.id.clone()));
            let (rank, periods) = standing.cloned().unwrap_or((1, Vec::new()));
            let judged = self.judge(rule, rank, periods, expires_at, &mut expired);
            is_last |=
                rule.retain.as_ref().is_some_and(|retain| at_most(rank, retain.minimum_count));
            keepings.extend(judged);
        }
        if !keepings.is_empty() {
            return Verdict::Keep(keepings);
        }
        let reason = match (&expired, expired.age) {
            (Expired { count: None, keep: false, .. }, Some(at)) => Reason::ExpiresAt(at),
            _ => Reason::Retention(expired),
        };
        Verdict::Delete(reason, is_last)
    }

    /// What of one rule keeps it; else `expired` says more.
    fn judge(
        &self,
        rule: &CopyRule,
        rank: usize,
        periods: Vec<Period>,
        expires_at: Option<Timestamp>,
        expired: &mut Expired,
    ) -> Vec<Keeping> {
        let name = || {
            rule.schedule.as_ref().map_or(rule.name.clone(), |it| format!("{it} to {}", rule.name))
        };
        let Some(retain) = &rule.retain else {
            return vec![Keeping::Forever(name())];
        };
        let mut keepings = Vec::new();
        match retain.count.map(NonZeroU32::get) {
            Some(count) if at_most(rank, count) => {
                keepings.push(Keeping::Count(name(), rank, count));
            }
            Some(count) => expired.count = expired.count.max(Some((rank, count))),
            None => {}
        }
        match (retain.age, expires_at) {
            (None, _) => {}
            // It was made when the rule had no age: nothing says when its time is over.
            (Some(_), None) => keepings.push(Keeping::Forever(name())),
            (Some(_), Some(at)) if at > self.request.now => {
                keepings.push(Keeping::Until(name(), at));
            }
            (Some(_), Some(at)) => expired.age = expired.age.max(Some(at)),
        }
        expired.keep |= retain.keep.is_some();
        keepings.extend(periods.into_iter().map(|period| Keeping::Period(name(), period)));
        keepings
    }

    fn orphan(&self, expires_at: Option<Timestamp>, what: String) -> Verdict {
        match expires_at {
            Some(at) if at <= self.request.now => Verdict::Delete(Reason::Orphan(at), false),
            Some(at) => Verdict::Keep(vec![Keeping::OwnExpiry(at)]),
            None => Verdict::Hold(Hold::Unclaimed(what)),
        }
    }

    pub(super) fn delete(
        &mut self,
        region: &Region,
        snapshot: &Snapshot,
        subject: Subject,
        reason: Reason,
        is_last: bool,
    ) {
        let scope = self.request.inventory.scope(region);
        let veto = self.veto(region, snapshot);
        let last = || match CopyClaim::read(&snapshot.tags).map(|claim| claim.lineage()) {
            Some(Lineage::Alone(_)) => Hold::VolumeUnknown,
            _ => Hold::LastGood,
        };
        if let Some(why) = veto.or_else(|| is_last.then(last)) {
            return self.plan.held.push(Held { scope, subject, why });
        }
        self.plan.actions.push(Planned {
            scope,
            access: self.request.access.clone(),
            action: Action::DeleteSnapshot(snapshot.id.clone()),
            subject,
            reason,
        });
    }

    pub(super) fn veto(&self, region: &Region, snapshot: &Snapshot) -> Option<Hold> {
        let target = self.request.inventory.targets.get(region)?;
        hold(snapshot, &target.guards)
    }
}

/// What its rules say of a copy.
enum Verdict {
    Keep(Vec<Keeping>),
    Hold(Hold),
    /// Why, and whether `MinimumCount` forbids it.
    Delete(Reason, bool),
}

/// Policy, rule and, within an account, schedule.
type RuleKey = (String, String, Option<String>);

/// From 1, the newest, with the periods that it is the newest of.
type Standings = BTreeMap<(RuleKey, SnapshotId), (usize, Vec<Period>)>;

fn key_of(claim: &CopyClaim, rule: &CopyRule) -> RuleKey {
    (claim.policy.clone(), rule.name.clone(), rule.schedule.clone())
}

fn at_most(rank: usize, n: u32) -> bool {
    rank <= usize::try_from(n).unwrap_or(usize::MAX)
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

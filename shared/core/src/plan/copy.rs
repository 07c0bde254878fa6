//! The plan for copies: what the owners share with this account, or what the account made itself, against the copies
//! there are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{PoliciesInForce, by_age, in_order};
use crate::action::{
    Action, Copied, Deferred, Held, Hold, Impossible, Plan, Planned, Reason, Subject,
};
use crate::ec2::Access;
use crate::ids::{Region, SnapshotId};
use crate::inventory::{Snapshot, State, VaultInventory};
use crate::policy::{Copies, CopyPolicy, CopyRule, Origin, Policy};
use crate::tags::{self, Claim, CopyClaim};
pub(super) use failed::{REMEMBERED, message_of, retry_after};
pub(super) use key::{KeyProblem, unusable};
use key::{key_problem, unread_default};
use queue::Waiting;
pub use request::sources;
use request::{claim_of, request_of, subject_of, tags_of};
use worth::Worth;

mod cover;
mod expire;
mod failed;
mod key;
mod locks;
mod queue;
mod remedy;
mod request;
mod stale;
#[cfg(test)]
mod tests;
mod worth;

/// Copies in progress that EC2 allows per destination Region
/// ([CopySnapshot](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html)).
pub const CONCURRENT_COPIES: usize = 20;

/// Everything that the plan follows from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Every policy that wants copies, all of one kind.
    pub policies: &'a [Copies<'a>],
    /// Copies of this kind are ours: within the account, or (`false`) the vault's.
    pub within: bool,
    /// The credentials its actions will use.
    pub access: &'a Access,
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a VaultInventory,
    /// The wall clock.
    pub now: Timestamp,
    /// Tell also why each copy stays, and which copy a source has ([`Plan::kept`], [`Plan::copied`]), which takes as much
    /// memory as they do.
    pub explain: bool,
}

impl Request<'_> {
    /// What the tags of a copy say, if it is one of this kind that this account made.
    fn claim_of_ours(&self, copy: &Snapshot) -> Option<CopyClaim> {
        let is_ours = |claim: &CopyClaim| {
            copy.owner == self.inventory.account
                && !claim.stands_in()
                && claim.schedules.is_empty() != self.within
        };
        CopyClaim::read(&copy.tags).filter(is_ours)
    }
}

#[derive(Clone)]
struct Copy<'a> {
    snapshot: &'a Snapshot,
    claim: CopyClaim,
}

/// Rules that make one copy together: those of one name, for the schedules that a source serves.
struct Rules<'a> {
    policy: &'a Policy,
    of: Origin<'a>,
    /// Not empty.
    all: Vec<&'a CopyRule>,
    schedules: BTreeSet<String>,
}

struct Draft<'a> {
    request: Request<'a>,
    /// Every copy of ours, by target Region.
    copies: BTreeMap<&'a Region, Vec<Copy<'a>>>,
    /// The copies by what they are of: policy, rule and source.
    by_source: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Snapshot>>,
    /// What else may be started, by target Region.
    room: BTreeMap<&'a Region, usize>,
    /// Copies that are past their own expiry, and whose source their rule would have copied now.
    worth_anew: BTreeSet<SnapshotId>,
    /// What could begin at once.
    waiting: Vec<Waiting>,
    plan: Plan,
}

/// Decides what to do in the vault, or about the copies within one account.
#[must_use]
pub fn plan(request: Request<'_>) -> Plan {
    let mut copies = BTreeMap::new();
    let mut room = BTreeMap::new();
    let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (region, target) in &request.inventory.targets {
        let mut here = Vec::new();
        for snapshot in &target.copies {
            let Some(claim) = request.claim_of_ours(snapshot) else {
                continue;
            };
            let tag = |key: &str| snapshot.tags.get(key).map_or("", String::as_str);
            let key = (tag(tags::POLICY), tag(tags::RULE), tag(tags::SOURCE_SNAPSHOT));
            by_source.entry(key).or_default().push(snapshot);
            here.push(Copy { snapshot, claim });
        }
        // A copy that was just begun may be seen by one look and not yet by the other.
        let pending = target.copies.iter().filter(|copy| copy.state == State::Pending);
        let in_progress: BTreeSet<&SnapshotId> =
            pending.chain(&target.in_progress).map(|copy| &copy.id).collect();
        copies.insert(region, here);
        let in_progress = in_progress.len();
        room.insert(region, CONCURRENT_COPIES.saturating_sub(in_progress));
    }
    let mut draft = Draft {
        request,
        copies,
        by_source,
        room,
        worth_anew: BTreeSet::new(),
        waiting: Vec::new(),
        plan: Plan::default(),
    };
    let sources: Vec<(&Region, &Snapshot)> = request
        .inventory
        .sources
        .iter()
        .flat_map(|(region, sources)| by_age(sources.iter()).into_iter().map(move |s| (region, s)))
        .collect();
    let worth = Worth::of(&draft);
    for (region, source) in &sources {
        draft.source(region, source, &worth);
    }
    let waiting = std::mem::take(&mut draft.waiting);
    draft.fill(waiting);
    draft.tell_unread_defaults();
    draft.failed_copies();
    if request.inventory.whole {
        draft.expire();
        draft.stale();
        draft.cover();
    }
    draft.lock();
    in_order(&mut draft.plan);
    draft.plan
}

impl<'a> Draft<'a> {
    /// Every policy's opinion of one snapshot.
    fn source(&mut self, region: &'a Region, source: &'a Snapshot, worth: &Worth) {
        let scope = self.request.inventory.scope(region);
        let held = |why| Held {
            scope: scope.clone(),
            subject: Subject { snapshot: Some(source.id.clone()), ..Subject::default() },
            why,
        };
        if self.request.within {
            for copies in self.request.policies.iter().filter(|copies| copies.policy.enabled) {
                for rules in copies.rules_for(region, source) {
                    self.by_rules(region, source, &rules, worth);
                }
            }
            return;
        }
        if source.owner == self.request.inventory.account {
            self.plan.held.push(held(Hold::OwnSnapshot));
            return;
        }
        let of_owner: Vec<_> =
            self.request.policies.iter().filter(|it| it.wants_owner(source)).collect();
        if of_owner.is_empty() {
            self.plan.held.push(held(Hold::OwnerNotWanted(source.owner.clone())));
            return;
        }
        let wanting: Vec<_> =
            of_owner.into_iter().filter(|copies| copies.wants(region, source)).collect();
        if wanting.is_empty() {
            self.plan.held.push(held(Hold::DescriptionNotWanted));
        }
        for copies in wanting {
            if !copies.policy.enabled {
                self.plan.held.push(held(Hold::Disabled));
                continue;
            }
            for rules in copies.rules_for(region, source) {
                self.by_rules(region, source, &rules, worth);
            }
        }
    }

    fn by_rules(
        &mut self,
        region: &'a Region,
        source: &'a Snapshot,
        rules: &Rules<'a>,
        worth: &Worth,
    ) {
        let Some(rule) = rules.first() else {
            return;
        };
        let claim = claim_of(region, source, rules, rule);
        let key = (rules.policy.name.as_str(), rule.name.as_str(), source.id.as_str());
        let existing = self.by_source.get(&key).map_or(&[][..], Vec::as_slice);
        let scope = self.request.inventory.scope(&rule.target);
        let subject = subject_of(&claim);
        let good = existing.iter().filter(|copy| copy.state != State::Error);
        if let Some(copy) = by_age(good.copied()).first() {
            let now = self.request.now;
            let is_usable = source.state == State::Completed && !source.archived;
            if tags::expires_at(&copy.tags).is_some_and(|at| at <= now)
                && is_usable
                && worth.not_worth(&claim, source, rules, now).is_none()
            {
                self.worth_anew.insert(copy.id.clone());
            }
            if !self.request.explain {
                return;
            }
            let subject = Subject { snapshot: Some(copy.id.clone()), ..subject };
            return self.plan.copied.push(Copied { scope, subject, state: copy.state });
        }
        let failed = by_age(existing.iter().copied());
        let none = if self.request.within { Reason::NoCopyYet } else { Reason::NoCopy };
        let reason =
            failed.last().map_or(none, |failed| Reason::OnlyFailedCopies(failed.id.clone()));
        let hold = |why| Held { scope: scope.clone(), subject: subject.clone(), why };
        let target = (rule.target.clone(), source.id.clone());
        if self.request.inventory.refused.contains(&target) {
            return; // in this run: that is told already
        }
        if source.archived {
            return self.plan.held.push(hold(Hold::SourceState("in the archive tier".into())));
        }
        if let Some(why) = worth.not_worth(&claim, source, rules, self.request.now) {
            return self.plan.held.push(hold(why));
        }
        let of_source = tags_of(self.request.inventory, rules.of, &claim, source);
        let request = request_of(&claim, source, rules, rule, &of_source, self.request.now);
        let planned = Planned {
            scope: scope.clone(),
            access: self.request.access.clone(),
            action: Action::CopySnapshot(request),
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
        match key_problem(self.request.inventory, rule, source) {
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
        let failed = !failed.is_empty();
        self.waiting.push(Waiting { planned, claim, start: source.start_time, failed });
    }

    fn tell_unread_defaults(&mut self) {
        let mut told = BTreeSet::new();
        for copies in self.request.policies.iter().filter(|copies| copies.policy.enabled) {
            for rule in copies.rules.iter().filter(|rule| rule.cmk_arn.is_none()) {
                if let Some(why) = unread_default(self.request.inventory, rule)
                    && told.insert(&rule.target)
                {
                    let subject =
                        Subject { policy: copies.policy.name.clone(), ..Subject::default() };
                    let scope = self.request.inventory.scope(&rule.target);
                    self.plan.held.push(Held { scope, subject, why });
                }
            }
        }
    }

    /// The policy that the copy claims, if it is here.
    fn policy(&self, name: &str) -> Option<&'a Copies<'a>> {
        self.request.policies.iter().find(|copies| copies.policy.name == name)
    }

    /// The rules that the copy claims, as far as they are there; empty: none of them is any more.
    fn rules(&self, claim: &CopyClaim) -> Vec<&'a CopyRule> {
        let rules = self.policy(&claim.policy).map_or(&[][..], |copies| copies.rules);
        let claims = |rule: &&CopyRule| {
            rule.name == claim.rule
                && rule.schedule.as_ref().is_none_or(|name| claim.schedules.contains(name))
        };
        rules.iter().filter(claims).collect()
    }

    /// Whether the copy's policy is enabled and has a rule for it.
    fn is_in_force(&self, claim: &CopyClaim) -> bool {
        self.policy(&claim.policy).is_some_and(|copies| copies.policy.enabled)
            && !self.rules(claim).is_empty()
    }
}

impl<'a> Copies<'a> {
    fn wants_owner(&self, source: &Snapshot) -> bool {
        match self.of {
            Origin::Shared(details) => details.owners.contains(&source.owner),
            Origin::Own => true,
        }
    }

    /// Whether the policy copies this snapshot at all.
    fn wants(&self, region: &Region, source: &Snapshot) -> bool {
        match self.of {
            Origin::Shared(CopyPolicy { description, .. }) => {
                self.wants_owner(source)
                    && description.as_ref().is_none_or(|regex| regex.is_match(&source.description))
            }
            Origin::Own => !self.rules_for(region, source).is_empty(),
        }
    }

    /// The rules for this snapshot, those that make one copy together. Within an account there is no copy to the
    /// snapshot's own Region.
    fn rules_for(&self, region: &Region, source: &Snapshot) -> Vec<Rules<'a>> {
        let claim = match self.of {
            Origin::Shared(_) => None,
            Origin::Own => match Claim::read(&source.tags) {
                Some(claim) if claim.policy == self.policy.name => Some(claim),
                _ => return Vec::new(),
            },
        };
        let mut groups: BTreeMap<&str, Rules<'a>> = BTreeMap::new();
        for rule in self.rules {
            let schedule = match (&claim, &rule.schedule) {
                (None, _) => None,
                (Some(claim), Some(name))
                    if claim.schedules.contains(name) && rule.target != *region =>
                {
                    Some(name.clone())
                }
                _ => continue,
            };
            let group = groups.entry(&rule.name).or_insert_with(|| Rules {
                policy: self.policy,
                of: self.of,
                all: Vec::new(),
                schedules: BTreeSet::new(),
            });
            group.all.push(rule);
            group.schedules.extend(schedule);
        }
        groups.into_values().collect()
    }
}

impl<'a> Rules<'a> {
    /// All have the same name, Region and encryption.
    fn first(&self) -> Option<&'a CopyRule> {
        self.all.first().copied()
    }
}

impl Copy<'_> {
    /// The moment whose data it holds, as far as EC2 told us; never later than the copy itself.
    fn data_time(&self) -> Timestamp {
        let start = self.snapshot.start_time;
        self.claim.source_start.map_or(start, |at| at.min(start))
    }

    /// As `data_time`; where an older version did not record that, its slot. For coverage only: the slot is what the
    /// source's description said.
    fn told_data_time(&self) -> Timestamp {
        match (self.claim.source_start, self.claim.slot) {
            // A forged slot in the future must not pass for fresh data.
            (None, Some(slot)) => slot.timestamp().min(self.snapshot.start_time),
            _ => self.data_time(),
        }
    }

    /// Retention goes by what EC2 tells, never by what a description says.
    fn age_key(&self) -> (Timestamp, Timestamp, &SnapshotId) {
        (self.data_time(), self.snapshot.start_time, &self.snapshot.id)
    }
}

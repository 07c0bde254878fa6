//! Copies that ended in `error`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Copy, Draft, remedy, subject_of};
use crate::action::{Impossible, Keeping, Kept, Reason, Subject};
use crate::chain::one_line;
use crate::ec2::ErrorKind;
use crate::ids::Region;
use crate::inventory::{Snapshot, State};
use crate::plan::by_age;
use crate::tags::CopyClaim;

impl Draft<'_> {
    /// Copies that ended in `error` are worth nothing. They are kept all the same while nothing better is there, two of
    /// them at the most: they are the only memory of how often it was tried, see [`retry_after`].
    pub(super) fn failed_copies(&mut self) {
        let groups: Vec<(&Region, CopyClaim, Vec<&Snapshot>)> = self
            .copies
            .iter()
            .flat_map(|(region, copies)| copies.iter().map(move |copy| (*region, copy)))
            .filter(|(_, copy)| copy.snapshot.state == State::Error)
            .filter(|(_, copy)| self.is_in_force(&copy.claim) && self.has_looked_for(&copy.claim))
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
        self.failed_copies_of_nobody();
    }

    /// Whether this run would know if the source were still to be copied: its Region was read and, in an event's run,
    /// it is what the event named.
    fn has_looked_for(&self, claim: &CopyClaim) -> bool {
        let inventory = self.request.inventory;
        let sources = inventory.sources.get(&claim.source_region);
        sources.is_some_and(|sources| {
            inventory.whole || sources.iter().any(|it| it.id == claim.source_snapshot)
        })
    }

    /// Failed copies of a rule or policy that is gone: nobody will ever replace them, and they remember nothing any more.
    fn failed_copies_of_nobody(&mut self) {
        let gone = |claim: &CopyClaim| match self.policy(&claim.policy) {
            Some(copies) => copies.policy.enabled && self.rules(claim).is_empty(),
            None => self.request.in_force.as_ref().is_some_and(|it| !it.contains(&claim.policy)),
        };
        let failed: Vec<(&Region, Copy<'_>)> = self
            .copies
            .iter()
            .flat_map(|(region, copies)| copies.iter().map(move |copy| (*region, copy.clone())))
            .filter(|(_, copy)| copy.snapshot.state == State::Error && gone(&copy.claim))
            .collect();
        for (region, copy) in failed {
            let subject =
                Subject { snapshot: Some(copy.snapshot.id.clone()), ..subject_of(&copy.claim) };
            let reason = Reason::Failed(message_of(copy.snapshot));
            self.delete(region, copy.snapshot, subject, reason, false);
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
            let (kind, message) = self.failure(newest, claim);
            self.plan.impossible.push(Impossible {
                scope: self.request.inventory.scope(region),
                operation: "CopySnapshot",
                subject: subject(newest),
                kind,
                code: "error".into(),
                message,
            });
        }
        let kept = if is_replaced || given_up { 0 } else { REMEMBERED };
        for copy in failed.iter().rev().take(kept) {
            let scope = self.request.inventory.scope(region);
            let why = vec![Keeping::FailedMemory];
            self.plan.kept.push(Kept { scope, subject: subject(copy), why });
        }
        for copy in failed.iter().rev().skip(kept) {
            self.delete(region, copy, subject(copy), Reason::Failed(message_of(copy)), false);
        }
    }

    /// What EC2 said of a failed copy, and what to do about it.
    fn failure(&self, copy: &Snapshot, claim: &CopyClaim) -> (ErrorKind, String) {
        let inventory = self.request.inventory;
        let said = message_of(copy);
        let text = format!("copy {} of {} ended in error: {said}", copy.id, claim.source_snapshot);
        // EC2 gives a text and no code: "Given key ID is not accessible".
        if !said.to_ascii_lowercase().contains("key") {
            return (ErrorKind::Internal, text);
        }
        let sources = inventory.sources.get(&claim.source_region).into_iter().flatten();
        let source = sources.into_iter().find(|source| source.id == claim.source_snapshot);
        let remedy = remedy::of_failure(inventory, source, &self.rules(claim));
        (ErrorKind::KeyUnusable, format!("{text}; {remedy}"))
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
}

/// So many failed copies of one source by one rule are kept until there is a good one.
pub(in crate::plan) const REMEMBERED: usize = 2;

/// When a copy that has failed may be tried again: at once after the first failure, later an hour after the newest
/// attempt. Without that a key that stays inaccessible, whose failures come back as events, would make us copy in a
/// circle. `failed` is in order of age.
pub(in crate::plan) fn retry_after(failed: &[&Snapshot]) -> Option<Timestamp> {
    let newest = failed.last().filter(|_| failed.len() >= REMEMBERED)?;
    newest.start_time.checked_add(SignedDuration::from_hours(1)).ok()
}

/// What EC2 said of it, on one line.
pub(in crate::plan) fn message_of(copy: &Snapshot) -> String {
    copy.state_message.as_deref().map_or_else(|| "no reason given".into(), one_line)
}

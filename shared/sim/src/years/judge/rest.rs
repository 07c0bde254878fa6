//! What has to be true of a world at rest, in which everything works.

use std::collections::BTreeSet;

use jiff::Timestamp;
use snapferry_core::ids::Scope;
use snapferry_core::inventory::State;

use super::deletion::among;
use super::vault::{self, Due};
use super::{
    Copied, DAY, Disk, HOUR, Own, Seconds, about, expires_at, is_completed, is_good, is_needed,
};
use crate::record::Record;
use crate::world::id;
use crate::years::places::{AWAY, VAULT};
use crate::years::wishes::{Policy, Schedule, Wishes};

/// A world to be looked at.
pub(in crate::years) struct Rest<'a> {
    pub(in crate::years) wishes: &'a Wishes,
    pub(in crate::years) records: &'a [Record],
    pub(in crate::years) disks: &'a [Disk],
    /// When `rotate-snapshots` was last to run.
    pub(in crate::years) rotated: Timestamp,
    /// When the last run began that could delete.
    pub(in crate::years) since: Timestamp,
    pub(in crate::years) now: Timestamp,
}

/// A snapshot that has to be there, and how many there are.
#[derive(Debug)]
pub(in crate::years) struct Lack {
    pub(in crate::years) account: String,
    pub(in crate::years) volume: String,
    pub(in crate::years) what: String,
    pub(in crate::years) good: usize,
}

impl Rest<'_> {
    /// Everything that is not as it has to be.
    pub(in crate::years) fn wrong(&self) -> Vec<String> {
        let snapshots = self.snapshots_due().into_iter().filter(|it| it.good != 1);
        let mut wrong: Vec<String> =
            snapshots.map(|it| format!("{} good ones: {}", it.good, it.what)).collect();
        let copies = self.copies_due().into_iter().filter(|it| it.good != 1);
        wrong.extend(
            copies.map(|it| format!("{} copies of {} in {}", it.good, it.source, it.region)),
        );
        for policy in self.wishes.policies.iter().filter(|policy| policy.enabled) {
            for scope in policy.scopes() {
                self.policy_in(policy, &scope, &mut wrong);
            }
        }
        wrong.extend(vault::left_over(self.wishes, self.records, self.since));
        wrong
    }

    /// For every targeted volume and schedule, the latest slot.
    pub(in crate::years) fn snapshots_due(&self) -> Vec<Lack> {
        let good: Vec<Own<'_>> =
            self.records.iter().filter(|it| is_good(it)).filter_map(Own::read).collect();
        let mut due = Vec::new();
        for policy in self.wishes.policies.iter().filter(|policy| policy.enabled) {
            let targets = self
                .disks
                .iter()
                .filter(|disk| policy.targets(&disk.scope) && disk.is_target(policy) == Some(true));
            for (disk, schedule) in
                targets.flat_map(|disk| policy.schedules.iter().map(move |it| (disk, it)))
            {
                let slot = latest_slot(schedule, self.rotated.as_second());
                let serves = |it: &&Own<'_>| {
                    *it.volume() == disk.id
                        && it.policy == policy.name
                        && it.slot == slot
                        && it.schedules.contains(&schedule.name)
                };
                let serving: Vec<&Own<'_>> = good.iter().filter(serves).collect();
                // Doubles that an AMI or a lock needs have to stay.
                let needed = serving.iter().filter(|it| is_needed(it.record, self.now)).count();
                due.push(Lack {
                    account: disk.scope.account.to_string(),
                    volume: disk.id.to_string(),
                    what: format!(
                        "{} by schedule {} of policy {}, slot {}",
                        disk.id,
                        schedule.name,
                        policy.name,
                        Timestamp::from_second(slot).unwrap_or_default()
                    ),
                    good: if needed > 0 { 1 } else { serving.len() },
                });
            }
        }
        due
    }

    /// For everything that is shared with the vault, every rule.
    pub(in crate::years) fn copies_due(&self) -> Vec<Due> {
        vault::due(self.wishes, self.records, self.now.as_second())
    }

    fn policy_in(&self, policy: &Policy, scope: &Scope, wrong: &mut Vec<String>) {
        let here = self.records.iter().filter(|it| it.scope() == *scope);
        let here: Vec<Own<'_>> = here.filter_map(Own::read).collect();
        for one in here.iter().filter(|it| it.policy == policy.name) {
            if one.record.snapshot.state == State::Error {
                if !is_needed(one.record, self.now) {
                    wrong.push(format!("a failed one is left over: {}", about(one.record)));
                }
                continue;
            }
            let disk = self.disks.iter().find(|it| it.id == *one.volume());
            let is_target = disk.and_then(|it| it.is_target(policy));
            let present = policy.present(&one.schedules);
            let has_age = present.iter().any(|schedule| schedule.retain.days.is_some());
            let is_expired = expires_at(one.record).is_some_and(|at| at <= self.since.as_second());
            let is_managed = is_target.unwrap_or(has_age && is_expired);
            if present.len() == one.schedules.len()
                && is_managed
                && !is_needed(one.record, self.now)
            {
                self.is_left_over(one, &here, &present, wrong);
            }
            if is_target != Some(false) && is_completed(one.record) && !present.is_empty() {
                if !disk.is_some_and(|disk| disk.has_default_key) {
                    self.sharing(one, &present, wrong);
                }
                self.lock(one, &present, wrong);
            }
            if is_target == Some(true) && is_completed(one.record) {
                self.own_copies(one, &here, &present, wrong);
            }
        }
    }

    fn is_left_over(
        &self,
        one: &Own<'_>,
        here: &[Own<'_>],
        present: &[&Schedule],
        wrong: &mut Vec<String>,
    ) {
        let of_volume = || here.iter().filter(|it| it.volume() == one.volume());
        let completed: Vec<&Own<'_>> = of_volume().filter(|it| is_completed(it.record)).collect();
        let newest = !completed.iter().any(|it| it.is_after(one));
        let keeps = |schedule: &&Schedule| {
            among(one, &completed, schedule).is_kept(&schedule.retain, self.since.as_millisecond())
        };
        if is_completed(one.record) && !newest && !present.iter().any(keeps) {
            wrong.push(format!("nothing keeps it, and it is there: {}", about(one.record)));
        }
        let twins = of_volume()
            .filter(|it| it.is_twin(one) && is_good(it.record) && !is_needed(it.record, self.now));
        if twins.count() > 1 {
            wrong.push(format!("it is there twice: {}", about(one.record)));
        }
    }

    fn sharing(&self, one: &Own<'_>, present: &[&Schedule], wrong: &mut Vec<String>) {
        let now = self.now.as_second();
        let shares: Vec<Option<Seconds>> = present
            .iter()
            .filter_map(|schedule| schedule.share)
            .map(|share| share.days.map(|days| one.start.as_second() + days * DAY))
            .collect();
        let is_over = |until: &Option<Seconds>| until.is_some_and(|until| until <= now);
        let is_ending = |until: &Option<Seconds>| {
            until.is_some_and(|until| (now - HOUR..=now + HOUR).contains(&until))
        };
        if shares.is_empty() || shares.iter().any(is_ending) {
            return;
        }
        let is_shared = one.record.shared_with.iter().any(|it| it.as_str() == VAULT);
        match (shares.iter().all(is_over), is_shared) {
            (false, false) => wrong.push(format!("it is not shared: {}", about(one.record))),
            (true, true) => wrong.push(format!("it is still shared: {}", about(one.record))),
            _ => {}
        }
    }

    fn lock(&self, one: &Own<'_>, present: &[&Schedule], wrong: &mut Vec<String>) {
        let days = present.iter().filter_map(|schedule| schedule.lock).max();
        let until = days.map(|days| one.start.as_second() + days * DAY);
        let is_due = until.is_some_and(|until| until > self.now.as_second());
        if is_due && !one.record.is_locked(self.now) {
            wrong.push(format!("it is not locked: {}", about(one.record)));
        }
    }

    fn own_copies(
        &self,
        one: &Own<'_>,
        here: &[Own<'_>],
        present: &[&Schedule],
        wrong: &mut Vec<String>,
    ) {
        let scope = Scope { region: id(AWAY), ..one.record.scope() };
        let there = self.records.iter().filter(|it| it.scope() == scope && is_good(it));
        let copies: Vec<Copied<'_>> =
            there.filter_map(Copied::read).filter(|it| it.policy == one.policy).collect();
        let is_wanted = |schedule: &&Schedule| {
            let of_sources = here.iter().filter(|it| {
                it.volume() == one.volume()
                    && is_good(it.record)
                    && it.policy == one.policy
                    && it.schedules.contains(&schedule.name)
            });
            let of_copies = copies.iter().filter(|it| {
                it.volume == one.volume().as_str() && it.schedules.contains(&schedule.name)
            });
            let moments: BTreeSet<(Seconds, &str)> = of_sources
                .map(|it| (it.start.as_second(), it.id().as_str()))
                .chain(of_copies.map(|it| (it.data, it.source)))
                .collect();
            let own = (one.start.as_second(), one.id().as_str());
            let rank = moments.iter().filter(|it| **it > own).count() + 1;
            schedule.copies.is_some_and(|count| rank <= count)
        };
        let is_copied = copies.iter().any(|it| it.source == one.id().as_str());
        if present.iter().any(is_wanted) && !is_copied {
            wrong.push(format!("it has no copy in {AWAY}: {}", about(one.record)));
        }
    }
}

/// The latest at or before `at`.
fn latest_slot(schedule: &Schedule, at: Seconds) -> Seconds {
    let step = schedule.every_hours * HOUR;
    let phase = (schedule.at_hour * HOUR).rem_euclid(step);
    (at - phase).div_euclid(step) * step + phase
}

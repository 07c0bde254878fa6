//! What a deletion has to be.

use std::collections::BTreeSet;

use jiff::Timestamp;
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;

use super::retention::Among;
use super::{
    Copied, DAY, Disk, Own, Seconds, about, expires_at, is_completed, is_good, is_needed, vault,
};
use crate::record::{Deletion, Record};
use crate::years::wishes::{Policy, Schedule, Wishes};

/// What was true when a run deleted something.
pub(in crate::years) struct Court<'a> {
    /// What the policies say that the run went by.
    pub(in crate::years) wishes: &'a Wishes,
    /// What the run took for the time.
    pub(in crate::years) now: Timestamp,
    pub(in crate::years) disks: &'a [Disk],
    /// Snapshots that are not ours, whatever they look like.
    pub(in crate::years) strange: &'a BTreeSet<SnapshotId>,
    /// Everything there is after the run, where it saw the world as it is.
    pub(in crate::years) seen: Option<&'a [Record]>,
}

/// Why something must not be done.
pub(in crate::years) type Verdict = Result<(), String>;

impl Court<'_> {
    /// Whether the deletion was right.
    ///
    /// # Errors
    /// Why it was wrong.
    pub(in crate::years) fn may_go(&self, deletion: &Deletion) -> Verdict {
        let gone = &deletion.record;
        let verdict = match (Own::read(gone), Copied::read(gone)) {
            _ if self.strange.contains(&gone.snapshot.id) => Err("it is not ours".into()),
            _ if is_needed(gone, deletion.at) => Err("it is in use or locked".into()),
            (Some(own), _) => self.own(&own, deletion),
            (None, Some(copy)) if copy.schedules.is_empty() => vault::may_go(self, &copy, deletion),
            (None, Some(copy)) => self.own_copy(&copy, deletion),
            (None, None) => Err("it lacks our tags".into()),
        };
        verdict.map_err(|why| format!("deleted, though {why}: {}", about(gone)))
    }

    pub(super) fn seconds(&self) -> Seconds {
        self.now.as_second()
    }

    /// Its own tag says that its time is over.
    pub(super) fn by_own_expiry(&self, of: &Record) -> Verdict {
        match expires_at(of) {
            Some(at) if at <= self.seconds() => Ok(()),
            Some(_) => Err("its own expiry is in the future".into()),
            None => Err("nobody says that its time is over".into()),
        }
    }

    fn own(&self, gone: &Own<'_>, deletion: &Deletion) -> Verdict {
        if gone.record.snapshot.state == State::Error {
            return Ok(());
        }
        let others = deletion.others.iter().filter_map(Own::read);
        let others: Vec<Own<'_>> = others.filter(|it| it.volume() == gone.volume()).collect();
        if others.iter().any(|it| it.is_twin(gone) && gone.is_after(it) && is_good(it.record)) {
            return Ok(());
        }
        if !is_completed(gone.record) {
            return Err("it is not even completed".into());
        }
        let completed: Vec<&Own<'_>> = others.iter().filter(|it| is_completed(it.record)).collect();
        if !completed.iter().any(|it| it.is_after(gone)) {
            return Err("it is the newest completed one of its volume".into());
        }
        match self.wishes.policy(gone.policy) {
            None => self.by_own_expiry(gone.record),
            Some(policy) if !policy.enabled => Err("its policy is disabled".into()),
            Some(policy) if !policy.targets(&gone.record.scope()) => {
                Err("its policy is not for this account and Region".into())
            }
            Some(policy) => self.by_policy(policy, gone, &completed),
        }
    }

    fn by_policy(&self, policy: &Policy, gone: &Own<'_>, completed: &[&Own<'_>]) -> Verdict {
        let present = policy.present(&gone.schedules);
        if present.is_empty() {
            return self.by_own_expiry(gone.record);
        }
        let by_rules = || {
            for schedule in &present {
                if among(gone, completed, schedule)
                    .is_kept(&schedule.retain, self.now.as_millisecond())
                {
                    return Err(format!("schedule {} keeps it", schedule.name));
                }
            }
            let all = present.len() == gone.schedules.len();
            if all { Ok(()) } else { self.by_own_expiry(gone.record) }
        };
        let as_left = || {
            for schedule in &present {
                if among(gone, completed, schedule).rank() <= schedule.retain.minimum {
                    return Err(format!("MinimumCount of schedule {} keeps it", schedule.name));
                }
            }
            self.by_own_expiry(gone.record)
        };
        let disk = self.disks.iter().find(|it| it.id == *gone.volume());
        let has_age = present.iter().any(|schedule| schedule.retain.days.is_some());
        match disk.map(|it| (it.is_target(policy), it.is_changing)) {
            Some((_, true)) => by_rules().or_else(|_| as_left()),
            Some((Some(true), _)) => by_rules(),
            Some((None, _)) | None if has_age => by_rules().and_then(|()| as_left()),
            _ => as_left(),
        }
    }

    /// A copy within the account: these stories have them by count alone.
    fn own_copy(&self, gone: &Copied<'_>, deletion: &Deletion) -> Verdict {
        let others = deletion.others.iter().filter_map(Copied::read);
        let others: Vec<Copied<'_>> =
            others.filter(|it| it.volume == gone.volume && !it.schedules.is_empty()).collect();
        let others: Vec<&Copied<'_>> = others.iter().collect();
        if vault::is_superfluous(gone, &others)? {
            return Ok(());
        }
        let Some(policy) = self.wishes.policy(gone.policy) else {
            return self.by_own_expiry(gone.record);
        };
        if !policy.enabled {
            return Err("its policy is disabled".into());
        }
        let mut present = policy.present(&gone.schedules);
        present.retain(|schedule| schedule.copies.is_some());
        if present.is_empty() {
            return self.by_own_expiry(gone.record);
        }
        for schedule in present {
            let newer = others.iter().filter(|it| {
                is_completed(it.record)
                    && it.is_after(gone)
                    && it.policy == gone.policy
                    && it.schedules.contains(&schedule.name)
            });
            let newer: BTreeSet<&str> = newer.map(|it| it.source).collect();
            if newer.len() < schedule.copies.unwrap_or(0) {
                return Err(format!("the copies of schedule {} keep it", schedule.name));
            }
        }
        Ok(())
    }
}

/// How it stands among the completed ones of its volume that the schedule made.
pub(super) fn among(one: &Own<'_>, completed: &[&Own<'_>], schedule: &Schedule) -> Among {
    let alike = || {
        completed.iter().filter(|it| {
            it.policy == one.policy && it.schedules.contains(&schedule.name) && it.id() != one.id()
        })
    };
    let newer = alike().filter(|it| it.is_after(one) && it.slot != one.slot);
    let newer: BTreeSet<Seconds> = newer.map(|it| it.slot).collect();
    let start = one.start.as_second();
    Among {
        start,
        until_ms: schedule.retain.days.map(|days| one.start.as_millisecond() + days * DAY * 1000),
        moment: one.slot,
        newer: newer.len(),
        tied: false,
        all: alike().map(|it| it.slot).chain([one.slot]).collect(),
    }
}

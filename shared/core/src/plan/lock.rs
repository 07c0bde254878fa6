//! Snapshot lock: which snapshots a `LockRule` wants locked and nobody has locked yet, or has unlocked since.

use jiff::{SignedDuration, Timestamp};

use super::rotate::Draft;
use crate::action::{Action, Deferred, Reason};
use crate::ec2::LockSnapshot;
use crate::ids::SnapshotId;
use crate::inventory::{Guards, Snapshot, State};
use crate::policy::{LockMode, LockRule, Policy, SnapshotPolicy};

/// EC2 locks for a day at the least; ten minutes are for the way.
const SHORTEST: SignedDuration = SignedDuration::from_mins(24 * 60 + 10);

/// The lock that is due: a pending snapshot can be locked too, and every one is locked until the same moment whenever
/// that happens, but for a day at the least. Of several rules the strictest mode counts, and of that the longest lock.
pub(super) fn due<'a>(
    snapshot: &Snapshot,
    guards: &Guards,
    rules: impl Iterator<Item = &'a LockRule>,
    now: Timestamp,
) -> Option<LockSnapshot> {
    if !matches!(snapshot.state, State::Pending | State::Completed)
        || guards.locked.contains(&snapshot.id)
    {
        return None;
    }
    let mut lock = strictest(&snapshot.id, snapshot.start_time, rules)?;
    let is_due = lock.until > now;
    lock.until = lock.until.max(now.checked_add(SHORTEST).unwrap_or(Timestamp::MAX));
    is_due.then_some(lock)
}

fn strictest<'a>(
    id: &SnapshotId,
    start: Timestamp,
    rules: impl Iterator<Item = &'a LockRule>,
) -> Option<LockSnapshot> {
    let rule = rules.max_by_key(|rule| (rule.mode, rule.duration_days))?;
    let duration = SignedDuration::from_hours(24 * i64::from(rule.duration_days));
    Some(LockSnapshot {
        snapshot: id.clone(),
        mode: rule.mode,
        until: start.checked_add(duration).unwrap_or(Timestamp::MAX),
        cool_off_period_hours: rule
            .cool_off_period_hours
            .filter(|_| rule.mode == LockMode::Compliance),
    })
}

pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    if details.schedules.iter().all(|schedule| schedule.lock.is_none()) {
        return;
    }
    let leaving = draft.leaving();
    let unknown = Guards::default();
    let guards = draft.request.inventory.guards.as_ref();
    let mut decided = Vec::new();
    for own in draft.own.iter().filter(|own| own.claim.policy == policy.name) {
        if leaving.contains(&own.snapshot.id) || draft.is_target(own, details) == Some(false) {
            continue;
        }
        let schedules = own.claim.schedules.iter().filter_map(|name| details.schedule(name));
        let rules = schedules.filter_map(|schedule| schedule.lock.as_ref());
        let lock = due(own.snapshot, guards.unwrap_or(&unknown), rules, draft.request.now);
        if let Some(lock) = lock {
            let reason = Reason::NotLockedYet(lock.until);
            decided.push(draft.planned(Action::LockSnapshot(lock), own.subject(), reason));
        }
    }
    match guards {
        Ok(_) => draft.plan.actions.extend(decided),
        Err(why) => {
            let deferred = decided.into_iter().map(|planned| Deferred {
                planned,
                waits_for: format!("cannot tell whether it is locked already: {why}"),
            });
            draft.plan.deferred.extend(deferred);
        }
    }
}

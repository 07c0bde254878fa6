//! Which own snapshots have done their duty. A rule proposes, a guard vetoes, and every verdict has its reason.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::rotate::{Draft, Own};
use super::{by_age, duplicates, hold};
use crate::action::{Action, Expired, Hold, Reason};
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::policy::{Policy, RetainRule, Schedule, SnapshotPolicy};
use crate::tags;

/// What is to become of a snapshot.
enum Verdict {
    /// A rule keeps it, or nobody has an opinion yet.
    Keep,
    /// It could go, and must not.
    Hold(Hold),
    /// It goes.
    Delete(Reason),
}

pub(super) fn plan(draft: &mut Draft<'_>) {
    let view = View::of(draft);
    let decided: Vec<_> =
        draft.own.iter().map(|own| (own.subject(), view.verdict(draft, own))).collect();
    // Of two that are the same never both go at once: the older stays while the younger goes.
    let keepers: BTreeSet<SnapshotId> = decided
        .iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Delete(_)))
        .filter_map(|(subject, _)| view.duplicates.get(subject.snapshot.as_ref()?))
        .cloned()
        .collect();
    for (subject, verdict) in decided {
        match verdict {
            Verdict::Keep => {}
            Verdict::Hold(why) => draft.hold(subject, why),
            Verdict::Delete(reason) => {
                let snapshot = subject.snapshot.clone();
                if let Some(snapshot) = snapshot.filter(|id| !keepers.contains(id)) {
                    draft.act(Action::DeleteSnapshot(snapshot), subject, reason);
                }
            }
        }
    }
}

/// How every completed snapshot stands among the others.
struct View {
    /// The younger of two that serve the same slot, and the older.
    duplicates: BTreeMap<SnapshotId, SnapshotId>,
    /// From 1, the newest, per schedule. Those of one slot stand side by side: a slot takes one place, however many
    /// snapshots serve it.
    ranks: BTreeMap<(SnapshotId, String), usize>,
    /// The newest completed one of every volume, of any policy.
    newest: BTreeSet<SnapshotId>,
}

impl View {
    fn of(draft: &Draft<'_>) -> Self {
        let completed = || draft.own.iter().filter(|own| own.snapshot.state == State::Completed);
        let duplicates: BTreeMap<_, _> = duplicates(
            completed().map(|own| ((&own.snapshot.volume_id, &own.claim), own.snapshot)),
        )
        .into_iter()
        .map(|(younger, older)| (younger.clone(), older.clone()))
        .collect();
        let mut groups: BTreeMap<(&VolumeId, &str, &str), Vec<&Own<'_>>> = BTreeMap::new();
        let mut newest: BTreeMap<&VolumeId, Vec<&Snapshot>> = BTreeMap::new();
        for own in completed().filter(|own| !duplicates.contains_key(&own.snapshot.id)) {
            let volume = &own.snapshot.volume_id;
            newest.entry(volume).or_default().push(own.snapshot);
            for schedule in &own.claim.schedules {
                groups.entry((volume, &own.claim.policy, schedule)).or_default().push(own);
            }
        }
        let mut ranks = BTreeMap::new();
        for ((_, _, schedule), mut group) in groups {
            group.sort_by_key(|own| Reverse((own.snapshot.start_time, &own.snapshot.id)));
            let mut slots = BTreeMap::new();
            for own in group {
                let next = slots.len() + 1;
                let rank = *slots.entry(own.claim.slot).or_insert(next);
                ranks.insert((own.snapshot.id.clone(), schedule.to_owned()), rank);
            }
        }
        let newest = newest
            .into_values()
            .filter_map(|group| by_age(group.into_iter()).pop().map(|snapshot| snapshot.id.clone()))
            .collect();
        Self { duplicates, ranks, newest }
    }

    fn verdict(&self, draft: &Draft<'_>, own: &Own<'_>) -> Verdict {
        let verdict = match draft.policy(&own.claim.policy) {
            Some((policy, _)) if !policy.enabled => Verdict::Keep,
            Some((policy, details)) => self.by_policy(draft, own, policy, details),
            None => Self::by_own_tag(draft, own),
        };
        let Verdict::Delete(reason) = verdict else {
            return verdict;
        };
        if let Some(why) = hold(own.snapshot, &draft.request.inventory.guards) {
            return Verdict::Hold(why);
        }
        if self.newest.contains(&own.snapshot.id) {
            return Verdict::Hold(Hold::LastGood);
        }
        Verdict::Delete(reason)
    }

    fn by_policy(
        &self,
        draft: &Draft<'_>,
        own: &Own<'_>,
        policy: &Policy,
        details: &SnapshotPolicy,
    ) -> Verdict {
        let snapshot = own.snapshot;
        match snapshot.state {
            State::Pending | State::Other => return Verdict::Keep,
            State::Error => {
                let message = snapshot.state_message.clone();
                return Verdict::Delete(Reason::Failed(
                    message.unwrap_or_else(|| "no reason given".into()),
                ));
            }
            State::Completed => {}
        }
        if let Some(older) = self.duplicates.get(&snapshot.id) {
            return Verdict::Delete(Reason::Duplicate(older.clone()));
        }
        let schedules: Vec<&Schedule> =
            own.claim.schedules.iter().filter_map(|name| details.schedule(name)).collect();
        if schedules.is_empty() {
            let what = format!("schedule {} of policy {}", own.claim.schedule_text(), policy.name);
            return Self::orphan(draft, own, what);
        }
        let volume = draft.request.inventory.volumes.get(&snapshot.volume_id);
        if volume.is_some_and(|volume| !details.targets(&volume.id, &volume.tags)) {
            return Verdict::Hold(Hold::NoTarget);
        }
        if volume.is_none() && schedules.iter().all(|schedule| schedule.retain.age.is_none()) {
            return Verdict::Hold(Hold::VolumeGone);
        }
        let mut expired = Expired::default();
        for schedule in schedules {
            let rank = self.ranks.get(&(snapshot.id.clone(), schedule.name.clone()));
            match over(&schedule.retain, *rank.unwrap_or(&1), snapshot, draft) {
                None => return Verdict::Keep,
                Some(limits) => {
                    expired.count = expired.count.max(limits.count);
                    expired.age = expired.age.max(limits.age);
                }
            }
        }
        Verdict::Delete(Reason::Retention(expired))
    }

    /// The policy does not target this scope, is not among the documents, or does not exist any more.
    fn by_own_tag(draft: &Draft<'_>, own: &Own<'_>) -> Verdict {
        match draft.request.in_force {
            None => Verdict::Keep, // the documents are a selection: others' snapshots are no matter of ours
            Some(names) if names.contains(&own.claim.policy) => Verdict::Keep,
            Some(_) => Self::orphan(draft, own, format!("policy {}", own.claim.policy)),
        }
    }

    fn orphan(draft: &Draft<'_>, own: &Own<'_>, what: String) -> Verdict {
        match (own.snapshot.state, tags::expires_at(&own.snapshot.tags)) {
            (State::Completed, Some(at)) if at <= draft.request.now => {
                Verdict::Delete(Reason::Orphan(at))
            }
            (State::Completed, None) => Verdict::Hold(Hold::Unclaimed(what)),
            _ => Verdict::Keep,
        }
    }
}

/// `None` while the rule keeps it; else every limit it is over.
fn over(rule: &RetainRule, rank: usize, snapshot: &Snapshot, draft: &Draft<'_>) -> Option<Expired> {
    let at_least = |n: u32| rank > usize::try_from(n).unwrap_or(usize::MAX);
    if !at_least(rule.minimum_count) {
        return None;
    }
    let count = match rule.count {
        Some(count) if at_least(count.get()) => Some((rank, count.get())),
        Some(_) => return None,
        None => None,
    };
    let age = match rule.age.map(|age| age.after(snapshot.start_time)) {
        Some(until) if until <= draft.request.now => Some(until),
        Some(_) => return None,
        None => None,
    };
    // A rule without any limit keeps everything.
    (count.is_some() || age.is_some()).then_some(Expired { count, age })
}

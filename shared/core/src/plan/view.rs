//! How the own completed snapshots of a scope stand among each other: which are the same, which come first, and which
//! are the newest of a period.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::by_age;
use super::keep;
use super::rotate::{Draft, Own, Protected};
use crate::action::Period;
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::policy::Schedule;

/// See the module.
pub(super) struct View {
    /// Of two that serve the same slot the one to go, and why.
    pub(super) doubles: BTreeMap<SnapshotId, Double>,
    /// How a snapshot stands among those of its schedule.
    standings: BTreeMap<(SnapshotId, String), Standing>,
    /// The newest completed one of every volume, of any policy.
    pub(super) newest: BTreeSet<SnapshotId>,
}

/// Why one of two goes.
#[derive(Clone, Debug)]
pub(super) enum Double {
    /// This one is the same and older.
    Younger(SnapshotId),
    /// Its set is not complete, and this one of another set of the same slot stays.
    OfBrokenSet(SnapshotId),
}

/// How a snapshot stands among those of its volume (or instance), policy and schedule.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// From 1, the newest. Those of one slot stand side by side: a slot takes one place, however many snapshots serve
    /// it, and a set that is not complete takes none.
    pub(super) rank: usize,
    /// As `rank`, among those in the archive tier.
    pub(super) archive_rank: usize,
    /// The periods that it is the newest of, as far as `Keep` wants them.
    pub(super) periods: Vec<Period>,
    /// Where `Count` does not keep it: when the one began that took the last place.
    pub(super) out_since: Option<Timestamp>,
}

/// Completed snapshots of one slot.
struct Generation<'a> {
    start: Timestamp,
    slot: Timestamp,
    is_whole: bool,
    is_archived: bool,
    ids: Vec<&'a SnapshotId>,
}

impl View {
    pub(super) fn of(draft: &Draft<'_>) -> Self {
        let sets = Sets::of(draft);
        let doubles = sets.doubles();
        let mut groups: BTreeMap<(Protected<'_>, &str, &str), Vec<&Own<'_>>> = BTreeMap::new();
        let mut newest: BTreeMap<&VolumeId, Vec<&Snapshot>> = BTreeMap::new();
        let completed = draft.own.iter().filter(|own| own.snapshot.state == State::Completed);
        for own in completed.filter(|own| !doubles.contains_key(&own.snapshot.id)) {
            newest.entry(&own.snapshot.volume_id).or_default().push(own.snapshot);
            for schedule in &own.claim.schedules {
                groups.entry((own.protected(), &own.claim.policy, schedule)).or_default().push(own);
            }
        }
        let mut standings = BTreeMap::new();
        for ((_, policy, name), group) in groups {
            let found = draft.policy(policy).and_then(|(_, details)| details.schedule(name));
            let generations = generations(&sets, group);
            for (id, standing) in stand(&generations, found) {
                standings.insert((id.clone(), name.to_owned()), standing);
            }
        }
        let newest = newest
            .into_values()
            .filter_map(|group| by_age(group.into_iter()).pop().map(|snapshot| snapshot.id.clone()))
            .collect();
        Self { doubles, standings, newest }
    }

    /// How the snapshot stands for the schedule; as the newest, where it was not counted.
    pub(super) fn standing(&self, snapshot: &SnapshotId, schedule: &str) -> Standing {
        let found = self.standings.get(&(snapshot.clone(), schedule.to_owned()));
        found.cloned().unwrap_or(Standing { rank: 1, archive_rank: 1, ..Standing::default() })
    }
}

/// Snapshots by the call that made them.
struct Sets<'a>(BTreeMap<super::rotate::Attempt<'a>, Vec<&'a Own<'a>>>);

impl<'a> Sets<'a> {
    fn of(draft: &'a Draft<'a>) -> Self {
        let mut sets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut in_order: Vec<&Own<'_>> = draft.own.iter().collect();
        in_order.sort_by_key(|own| &own.snapshot.id);
        for own in in_order {
            let mut attempt = own.attempt();
            // Two sets of one moment: what is there twice stands for itself.
            if !seen.insert((attempt, &own.snapshot.volume_id)) {
                attempt.3 = Some(&own.snapshot.id);
            }
            sets.entry(attempt).or_default().push(own);
        }
        Self(sets)
    }

    fn is_whole(&self, own: &Own<'_>) -> bool {
        let set = self.0.get(&own.attempt()).map_or(&[][..], Vec::as_slice);
        set.iter().all(|own| own.snapshot.state == State::Completed)
    }

    /// `CreateSnapshot` has no client token and EC2's reads are eventually consistent, so two runs can both create; and a
    /// set of which one snapshot failed is made anew as a whole. Of those of one slot the oldest whole set stays, or
    /// the one that has most.
    fn doubles(&self) -> BTreeMap<SnapshotId, Double> {
        let completed = |set: &[&'a Own<'a>]| -> Vec<&'a Own<'a>> {
            let completed = set.iter().filter(|own| own.snapshot.state == State::Completed);
            completed.copied().collect()
        };
        let is_pending = |set: &[&Own<'_>]| {
            set.iter().any(|own| matches!(own.snapshot.state, State::Pending | State::Other))
        };
        let mut slots: BTreeMap<_, Vec<&Vec<&'a Own<'a>>>> = BTreeMap::new();
        for ((protected, claim, ..), set) in &self.0 {
            slots.entry((protected, claim)).or_default().push(set);
        }
        let mut doubles = BTreeMap::new();
        for sets in slots.into_values().filter(|sets| sets.len() > 1) {
            // The map's order is by age.
            let whole = sets.iter().find(|set| completed(set).len() == set.len());
            let most = || {
                sets.iter().rev().filter(|it| !is_pending(it)).max_by_key(|it| completed(it).len())
            };
            let Some(keeper) = whole.or_else(most) else {
                continue;
            };
            let is_whole = whole.is_some();
            let stays: BTreeMap<&VolumeId, &SnapshotId> = completed(keeper)
                .into_iter()
                .map(|own| (&own.snapshot.volume_id, &own.snapshot.id))
                .collect();
            for set in sets.iter().filter(|set| !std::ptr::eq(**set, *keeper) && !is_pending(set)) {
                let other_is_whole = completed(set).len() == set.len();
                for own in completed(set) {
                    let Some(stays) = stays.get(&own.snapshot.volume_id) else {
                        continue;
                    };
                    let double = if is_whole && other_is_whole {
                        Double::Younger((*stays).clone())
                    } else {
                        Double::OfBrokenSet((*stays).clone())
                    };
                    doubles.insert(own.snapshot.id.clone(), double);
                }
            }
        }
        doubles
    }
}

/// Newest first.
fn generations<'a>(sets: &Sets<'_>, group: Vec<&'a Own<'a>>) -> Vec<Generation<'a>> {
    let mut slots: BTreeMap<Timestamp, Generation<'a>> = BTreeMap::new();
    for own in group {
        let snapshot = own.snapshot;
        let slot = own.claim.slot.timestamp();
        let generation = slots.entry(slot).or_insert(Generation {
            start: snapshot.start_time,
            slot,
            is_whole: false,
            is_archived: false,
            ids: Vec::new(),
        });
        generation.start = generation.start.max(snapshot.start_time);
        generation.is_whole |= sets.is_whole(own);
        generation.is_archived |= snapshot.archived;
        generation.ids.push(&snapshot.id);
    }
    let mut generations: Vec<_> = slots.into_values().collect();
    generations.sort_by_key(|it| Reverse((it.start, it.ids.iter().max().copied())));
    generations
}

fn stand<'a>(
    generations: &[Generation<'a>],
    schedule: Option<&Schedule>,
) -> Vec<(&'a SnapshotId, Standing)> {
    let whole: Vec<&Generation<'_>> = generations.iter().filter(|it| it.is_whole).collect();
    let mut periods = match schedule.and_then(|schedule| Some((schedule, schedule.retain.keep?))) {
        Some((schedule, keep)) => {
            // By slot: a night's snapshot that was made after midnight is still that night's.
            let mut by_slot: Vec<Timestamp> = whole.iter().map(|it| it.slot).collect();
            by_slot.sort_unstable_by(|a, b| b.cmp(a));
            let kept = keep::periods(&keep, &schedule.create.time_zone, &by_slot);
            by_slot.into_iter().zip(kept).collect()
        }
        None => BTreeMap::new(),
    };
    let count = schedule.map(|schedule| schedule.retain.count.map_or(0, std::num::NonZeroU32::get));
    let count = usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX);
    let (mut newer, mut newer_archived) = (0_usize, 0_usize);
    let mut standings = Vec::new();
    for generation in generations {
        // The one that stands `count` places before took the last place. Without a count nothing has one, and it is
        // out from its own start.
        let rank = newer + 1;
        let out_since = rank.checked_sub(count).filter(|index| *index > 0).and_then(|index| {
            if count == 0 { Some(generation.start) } else { Some(whole.get(index - 1)?.start) }
        });
        let standing = Standing {
            rank,
            archive_rank: newer_archived + 1,
            periods: if generation.is_whole {
                periods.remove(&generation.slot).unwrap_or_default()
            } else {
                Vec::new()
            },
            out_since,
        };
        standings.extend(generation.ids.iter().map(|id| (*id, standing.clone())));
        newer += usize::from(generation.is_whole);
        newer_archived += usize::from(generation.is_whole && generation.is_archived);
    }
    standings
}

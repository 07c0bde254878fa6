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
use crate::tags;

/// See the module.
pub(super) struct View<'a> {
    /// Of two that serve the same slot the one to go, and why.
    pub(super) doubles: BTreeMap<SnapshotId, Double>,
    /// How a snapshot stands among those of its schedule, in order of both: a map would take twice as much.
    standings: Vec<((&'a SnapshotId, &'a str), Standing)>,
    /// The newest completed one of every volume, of any policy.
    pub(super) newest: BTreeSet<&'a SnapshotId>,
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
    /// As `rank`, among those that the standard tier does not keep.
    pub(super) out_rank: usize,
    /// As `out_rank`, among those in the archive tier.
    pub(super) archive_rank: usize,
    /// The periods that it is the newest of, as far as `Keep` wants them.
    pub(super) periods: Vec<Period>,
    /// Where `Count` does not keep it: when the one began that took the last place.
    pub(super) out_since: Option<Timestamp>,
}

/// Completed snapshots of one slot; those of sets that are not whole for themselves.
struct Generation<'a> {
    start: Timestamp,
    slot: Timestamp,
    is_whole: bool,
    is_archived: bool,
    ids: Vec<&'a SnapshotId>,
}

impl<'a> View<'a> {
    pub(super) fn of(draft: &Draft<'a>) -> Self {
        let sets = Sets::of(draft);
        let doubles = sets.doubles();
        let mut groups: BTreeMap<(Protected<'_>, &str, &str), Vec<&Own<'a>>> = BTreeMap::new();
        let mut newest: BTreeMap<&VolumeId, Vec<&'a Snapshot>> = BTreeMap::new();
        let completed = draft.own.iter().filter(|own| own.snapshot.state == State::Completed);
        for own in completed.filter(|own| !doubles.contains_key(&own.snapshot.id)) {
            newest.entry(&own.snapshot.volume_id).or_default().push(own.snapshot);
            for schedule in &own.claim.schedules {
                groups.entry((own.protected(), &own.claim.policy, schedule)).or_default().push(own);
            }
        }
        let mut standings = Vec::with_capacity(groups.values().map(Vec::len).sum());
        for ((_, policy, name), group) in groups {
            let found = draft.policy(policy).and_then(|(_, details)| details.schedule(name));
            let Some(schedule) = found else {
                continue; // nobody asks
            };
            let generations = generations(&sets, group);
            for (id, standing) in stand(&generations, schedule, draft.request.now) {
                standings.push(((id, schedule.name.as_str()), standing));
            }
        }
        standings.sort_unstable_by_key(|(of, _)| *of);
        let newest = newest
            .into_values()
            .filter_map(|group| by_age(group.into_iter()).pop().map(|snapshot| &snapshot.id))
            .collect();
        Self { doubles, standings, newest }
    }

    /// How the snapshot stands for the schedule; as the newest, where it was not counted.
    pub(super) fn standing(&self, snapshot: &SnapshotId, schedule: &str) -> Standing {
        let found = self.standings.binary_search_by_key(&(snapshot, schedule), |(of, _)| *of);
        let found = found.ok().and_then(|at| self.standings.get(at));
        let newest = Standing { rank: 1, out_rank: 1, archive_rank: 1, ..Standing::default() };
        found.map_or(newest, |(_, standing)| standing.clone())
    }
}

/// Snapshots in order of the calls that made them.
struct Sets<'a>(Vec<&'a Own<'a>>);

impl<'a> Sets<'a> {
    fn of(draft: &'a Draft<'a>) -> Self {
        let mut in_order: Vec<&Own<'_>> = draft.own.iter().collect();
        in_order.sort_by_key(|own| (own.attempt(), &own.snapshot.id));
        Self(in_order)
    }

    fn is_whole(&self, own: &Own<'_>) -> bool {
        let attempt = own.attempt();
        let from = self.0.partition_point(|it| it.attempt() < attempt);
        let rest = self.0.get(from..).unwrap_or_default();
        let n = rest.partition_point(|it| it.attempt() == attempt);
        is_whole(rest.get(..n).unwrap_or_default())
    }

    /// `CreateSnapshot` has no client token and EC2's reads are eventually consistent, so two runs can both create; and a
    /// set of which one snapshot failed is made anew as a whole. Of those of one slot the oldest whole set stays, or
    /// the one that has most.
    fn doubles(&self) -> BTreeMap<SnapshotId, Double> {
        let mut doubles = BTreeMap::new();
        let slot = |own: &&'a Own<'a>| (own.protected(), &own.claim);
        for of_slot in self.0.chunk_by(|a, b| slot(a) == slot(b)) {
            let sets: Vec<&[&Own<'_>]> =
                of_slot.chunk_by(|a, b| a.attempt() == b.attempt()).collect();
            for set in &sets {
                doubles.extend(repeated(set));
            }
            if sets.len() > 1 {
                doubles.extend(doubled(&sets));
            }
        }
        doubles
    }
}

/// Those that another set of the same slot makes superfluous. The sets are in order of age.
fn doubled(sets: &[&[&Own<'_>]]) -> Vec<(SnapshotId, Double)> {
    let mut doubles = Vec::new();
    let whole = sets.iter().find(|set| is_whole(set));
    let judged = || sets.iter().filter(|set| !is_pending(set));
    let most = || judged().rev().max_by_key(|set| good(set).len());
    let Some(keeper) = whole.or_else(most) else {
        return doubles;
    };
    let stays = good(keeper);
    for set in judged().filter(|set| !std::ptr::eq(**set, *keeper)) {
        let is_same = whole.is_some() && is_whole(set);
        for (volume, own) in good(set) {
            let Some(stays) = stays.get(volume).map(|own| own.snapshot.id.clone()) else {
                continue;
            };
            let double = if is_same { Double::Younger(stays) } else { Double::OfBrokenSet(stays) };
            doubles.push((own.snapshot.id.clone(), double));
        }
    }
    doubles
}

/// The first completed one of every volume.
fn good<'a>(set: &[&'a Own<'a>]) -> BTreeMap<&'a VolumeId, &'a Own<'a>> {
    let completed = set.iter().rev().filter(|own| own.snapshot.state == State::Completed);
    completed.map(|own| (&own.snapshot.volume_id, *own)).collect()
}

/// Two sets that began at one moment look like one that has its volumes twice.
fn repeated(set: &[&Own<'_>]) -> Vec<(SnapshotId, Double)> {
    let first = good(set);
    let repeats = |own: &&Own<'_>| {
        let first = &first.get(&own.snapshot.volume_id)?.snapshot.id;
        let is_other = own.snapshot.state == State::Completed && *first != own.snapshot.id;
        is_other.then(|| (own.snapshot.id.clone(), Double::Younger(first.clone())))
    };
    set.iter().filter_map(repeats).collect()
}

fn is_pending(set: &[&Own<'_>]) -> bool {
    set.iter().any(|own| matches!(own.snapshot.state, State::Pending | State::Other))
}

fn is_whole(set: &[&Own<'_>]) -> bool {
    set.iter().all(|own| own.snapshot.state == State::Completed) && !is_short(set)
}

/// Whether a set, by what its snapshots tell, once had more: one has failed and was deleted, or a person deleted it.
pub(super) fn is_short(set: &[&Own<'_>]) -> bool {
    let volumes: BTreeSet<&VolumeId> = set.iter().map(|own| &own.snapshot.volume_id).collect();
    let told = set.iter().map(|own| tags::set_size(&own.snapshot.tags)).max();
    volumes.len() < told.unwrap_or(0)
}

/// Newest first.
fn generations<'a>(sets: &Sets<'_>, group: Vec<&Own<'a>>) -> Vec<Generation<'a>> {
    let mut slots: BTreeMap<(Timestamp, bool), Generation<'a>> = BTreeMap::new();
    for own in group {
        let (snapshot, slot) = (own.snapshot, own.claim.slot.timestamp());
        let start = snapshot.start_time;
        let is_whole = sets.is_whole(own);
        let new = || Generation { start, slot, is_whole, is_archived: false, ids: Vec::new() };
        let generation = slots.entry((slot, is_whole)).or_insert_with(new);
        generation.start = generation.start.max(start);
        generation.is_archived |= snapshot.archived;
        generation.ids.push(&snapshot.id);
    }
    let mut generations: Vec<_> = slots.into_values().collect();
    generations.sort_by_key(|it| Reverse((it.start, it.ids.iter().max().copied())));
    generations
}

/// What `Keep` wants of these slots. By slot: a night's snapshot that was made after midnight is still that night's.
fn periods(schedule: &Schedule, slots: BTreeSet<Timestamp>) -> BTreeMap<Timestamp, Vec<Period>> {
    let Some(keep) = &schedule.retain.keep else {
        return BTreeMap::new();
    };
    let newest_first: Vec<Timestamp> = slots.into_iter().rev().collect();
    let kept = keep::periods(keep, &schedule.create.time_zone, &newest_first);
    newest_first.into_iter().zip(kept).collect()
}

fn stand<'a>(
    generations: &[Generation<'a>],
    schedule: &Schedule,
    now: Timestamp,
) -> Vec<(&'a SnapshotId, Standing)> {
    let whole: Vec<&Generation<'_>> = generations.iter().filter(|it| it.is_whole).collect();
    let slots: BTreeSet<Timestamp> = whole.iter().map(|it| it.slot).collect();
    let of_whole = periods(schedule, slots.clone());
    let count = schedule.retain.count.map_or(0, std::num::NonZeroU32::get);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let age = schedule.retain.age;
    let mut newer = BTreeSet::new(); // slots
    let (mut newer_out, mut newer_archived) = (0_usize, 0_usize);
    let mut standings = Vec::new();
    for generation in generations {
        let rank = newer.len() + 1 - usize::from(newer.contains(&generation.slot));
        // The one that stands `count` places before took the last place. Without a count nothing has one, and it is
        // out from its own start.
        let out_since = rank.checked_sub(count).filter(|index| *index > 0).and_then(|index| {
            if count == 0 { Some(generation.start) } else { Some(whole.get(index - 1)?.start) }
        });
        let periods = if generation.is_whole {
            of_whole.get(&generation.slot).cloned()
        } else {
            // It is judged among the others, and takes nothing away from them.
            let slots = slots.iter().copied().chain([generation.slot]).collect();
            periods(schedule, slots).remove(&generation.slot)
        };
        let periods = periods.unwrap_or_default();
        let (out_rank, archive_rank) = (newer_out + 1, newer_archived + 1);
        if generation.is_whole {
            newer.insert(generation.slot);
            let is_young = age.is_some_and(|age| age.after(generation.start) > now);
            if rank > count && !is_young && periods.is_empty() {
                newer_out += 1;
                newer_archived += usize::from(generation.is_archived);
            }
        }
        let standing = Standing { rank, out_rank, archive_rank, periods, out_since };
        standings.extend(generation.ids.iter().map(|id| (*id, standing.clone())));
    }
    standings
}

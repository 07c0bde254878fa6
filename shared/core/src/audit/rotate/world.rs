//! What the rules are checked against.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Facts;
use super::vaults::{CopiesBySource, by_source};
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::policy::{Policy, SnapshotPolicy};
use crate::schedule::Slot;
use crate::tags::{self, Claim, Claims};

/// When a snapshot began; the id settles a tie.
pub(super) type Began<'a> = (Timestamp, &'a SnapshotId);

/// The volume, or the instance of a set; policy and schedule. Borrowed, as there are as many as snapshots.
pub(super) type Line<'a> = (&'a str, &'a str, &'a str);

/// Snapshots of one schedule that stay, newest first, each with the slot it serves.
pub(super) type Served<'a> = Vec<(Began<'a>, Slot)>;

/// What the rules are checked against, looked up once. But for `by_id`, `serving` and `broken`, it is about completed
/// snapshots that the plan leaves alone.
pub(super) struct World<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) by_id: BTreeMap<&'a SnapshotId, &'a Snapshot>,
    /// Everything that did not fail and serves a slot that the plan creates for.
    pub(super) serving: BTreeSet<(Line<'a>, Slot)>,
    /// Sets of which a snapshot is not completed or not there, by start.
    pub(super) broken: BTreeMap<Timestamp, BTreeSet<Arc<Claim>>>,
    /// The newest of every volume, whoever made it.
    pub(super) newest: BTreeMap<&'a VolumeId, Began<'a>>,
    /// All of every volume with their claims, newest first.
    pub(super) of_volume: BTreeMap<&'a VolumeId, Vec<(Arc<Claim>, &'a Snapshot)>>,
    pub(super) lines: BTreeMap<Line<'a>, Served<'a>>,
    /// As `lines`, in the archive tier.
    pub(super) archived: BTreeMap<Line<'a>, Served<'a>>,
    /// What stands in for a snapshot, whatever its state.
    pub(super) stand_ins: BTreeMap<SnapshotId, Vec<&'a Snapshot>>,
    /// What the plan deletes.
    pub(super) leaving: BTreeSet<SnapshotId>,
    /// What vaults have.
    pub(super) copied: CopiesBySource<'a>,
}

fn line<'a>(snapshot: &'a Snapshot, schedule: &'a str) -> Line<'a> {
    let tag = |key: &str| snapshot.tags.get(key).map(String::as_str);
    let of = tag(tags::INSTANCE).unwrap_or(snapshot.volume_id.as_str());
    (of, tag(tags::POLICY).unwrap_or_default(), schedule)
}

/// Of each schedule that it names.
fn lines(snapshot: &Snapshot) -> BTreeSet<Line<'_>> {
    let schedules =
        snapshot.tags.get(tags::SCHEDULE).into_iter().flat_map(|it| it.split([',', '/']));
    schedules.map(|schedule| line(snapshot, schedule)).collect()
}

impl<'a> World<'a> {
    /// `creating` are the slots that the plan creates for.
    pub(super) fn of(
        facts: &'a Facts<'a>,
        leaving: &BTreeSet<&SnapshotId>,
        creating: &BTreeSet<Slot>,
    ) -> Self {
        let mut claims = Claims::default();
        let mut world = Self {
            facts,
            by_id: BTreeMap::new(),
            serving: BTreeSet::new(),
            broken: broken(&facts.inventory.snapshots),
            newest: BTreeMap::new(),
            of_volume: BTreeMap::new(),
            lines: BTreeMap::new(),
            archived: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
            leaving: leaving.iter().map(|id| (*id).clone()).collect(),
            copied: by_source(facts),
        };
        let mut staying = Vec::new();
        for snapshot in &facts.inventory.snapshots {
            world.by_id.insert(&snapshot.id, snapshot);
            if let Some(claim) = world.stand_in(snapshot) {
                world.stand_ins.entry(claim.source_snapshot).or_default().push(snapshot);
                continue;
            }
            let Some(claim) = claims.read(&snapshot.tags) else {
                continue;
            };
            let is_good = match snapshot.state {
                State::Completed => !world.is_broken(snapshot, &claim),
                state => state != State::Error,
            };
            if snapshot.state == State::Completed && !leaving.contains(&snapshot.id) {
                staying.push((snapshot, claim));
            } else if is_good && snapshot.owner == facts.scope.account {
                world.serves(snapshot, &claim, creating);
            }
        }
        staying.sort_by_key(|(snapshot, _)| Reverse(began(snapshot)));
        for (snapshot, claim) in staying {
            world.newest.entry(&snapshot.volume_id).or_insert(began(snapshot));
            let is_broken = world.is_broken(snapshot, &claim);
            if snapshot.owner == facts.scope.account && !is_broken {
                world.serves(snapshot, &claim, creating);
            }
            for line in lines(snapshot).into_iter().filter(|_| !is_broken) {
                if snapshot.archived {
                    let archived = world.archived.entry(line).or_default();
                    archived.push((began(snapshot), claim.slot));
                }
                world.lines.entry(line).or_default().push((began(snapshot), claim.slot));
            }
            world.of_volume.entry(&snapshot.volume_id).or_default().push((claim, snapshot));
        }
        world
    }

    fn serves(&mut self, snapshot: &'a Snapshot, claim: &Claim, creating: &BTreeSet<Slot>) {
        if creating.contains(&claim.slot) {
            self.serving.extend(lines(snapshot).into_iter().map(|line| (line, claim.slot)));
        }
    }

    pub(super) fn is_broken(&self, snapshot: &Snapshot, claim: &Claim) -> bool {
        let broken = self.broken.get(&snapshot.start_time);
        claim.instance.is_some() && broken.is_some_and(|broken| broken.contains(claim))
    }

    /// The slots of its schedule after its own that anything that stays serves.
    pub(super) fn later(
        &self,
        snapshot: &Snapshot,
        claim: &Claim,
        schedule: &str,
    ) -> BTreeSet<Slot> {
        let served = self.lines.get(&line(snapshot, schedule)).into_iter().flatten();
        served.map(|(_, slot)| *slot).filter(|slot| *slot > claim.slot).collect()
    }

    /// What stays of its schedule, newest first.
    pub(super) fn served<'b>(
        lines: &'b BTreeMap<Line<'a>, Served<'a>>,
        snapshot: &'b Snapshot,
        schedule: &'b str,
    ) -> &'b [(Began<'a>, Slot)] {
        lines.get(&line(snapshot, schedule)).map_or(&[], Vec::as_slice)
    }

    /// The slots of a schedule, but for its own, that what stays and is newer serves.
    pub(super) fn newer<'b>(
        lines: &'b BTreeMap<Line<'a>, Served<'a>>,
        snapshot: &Snapshot,
        claim: &Claim,
        schedule: &str,
    ) -> BTreeSet<Slot> {
        let newer = Self::served(lines, snapshot, schedule)
            .iter()
            .take_while(|(other, _)| *other > began(snapshot));
        newer.map(|(_, slot)| *slot).filter(|slot| *slot != claim.slot).collect()
    }

    pub(super) fn policy(&self, name: &str) -> Option<(&'a Policy, &'a SnapshotPolicy)> {
        self.facts.policies.iter().find(|(policy, _)| policy.name == name).copied()
    }
}

/// Sets of which not every snapshot is good, or that have fewer than they say.
fn broken(snapshots: &[Snapshot]) -> BTreeMap<Timestamp, BTreeSet<Arc<Claim>>> {
    let mut claims = Claims::default();
    let mut sets: BTreeMap<(Arc<Claim>, Timestamp), Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        if !snapshot.tags.contains_key(tags::INSTANCE) {
            continue;
        }
        if let Some(claim) = claims.read(&snapshot.tags) {
            sets.entry((claim, snapshot.start_time)).or_default().push(snapshot);
        }
    }
    let is_whole = |set: &[&Snapshot]| {
        let volumes: BTreeSet<&VolumeId> = set.iter().map(|it| &it.volume_id).collect();
        let told = set.iter().filter_map(|it| it.tags.get(tags::VOLUMES)?.parse().ok()).max();
        set.iter().all(|it| it.state == State::Completed)
            && told.is_none_or(|told: usize| told <= volumes.len())
    };
    let mut broken: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for ((claim, start), _) in sets.into_iter().filter(|(_, set)| !is_whole(set)) {
        broken.entry(start).or_default().insert(claim);
    }
    broken
}

pub(super) fn began(snapshot: &Snapshot) -> Began<'_> {
    (snapshot.start_time, &snapshot.id)
}

//! What the rules are checked against.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Facts;
use super::vaults::{CopiesBySource, by_source};
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::policy::{Policy, SnapshotPolicy};
use crate::schedule::Slot;
use crate::tags::{self, Claim};

/// When a snapshot began; the id settles a tie.
pub(super) type Began<'a> = (Timestamp, &'a SnapshotId);

/// The volume, or the instance of a set; policy and schedule.
pub(super) type Line = (String, String, String);

/// Snapshots of one schedule that stay, newest first, each with the slot it serves.
pub(super) type Served<'a> = Vec<(Began<'a>, Slot)>;

/// What the rules are checked against, looked up once. But for `by_id`, `serving` and `broken`, it is about completed
/// snapshots that the plan leaves alone.
pub(super) struct World<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) by_id: BTreeMap<&'a SnapshotId, &'a Snapshot>,
    /// Volume or instance, policy, schedule and slot of everything that did not fail.
    pub(super) serving: BTreeSet<(String, String, String, Slot)>,
    /// Sets of which a snapshot is not completed or not there, by claim and start.
    pub(super) broken: BTreeSet<(Claim, Timestamp)>,
    /// The newest of every volume, whoever made it.
    pub(super) newest: BTreeMap<&'a VolumeId, Began<'a>>,
    /// All of every volume with the same claim, newest first.
    pub(super) alike: BTreeMap<(&'a VolumeId, Claim), Vec<&'a Snapshot>>,
    pub(super) lines: BTreeMap<Line, Served<'a>>,
    /// As `lines`, in the archive tier.
    pub(super) archived: BTreeMap<Line, Served<'a>>,
    /// What stands in for a snapshot, whatever its state.
    pub(super) stand_ins: BTreeMap<SnapshotId, Vec<&'a Snapshot>>,
    /// What the plan deletes.
    pub(super) leaving: BTreeSet<SnapshotId>,
    /// What vaults have.
    pub(super) copied: CopiesBySource<'a>,
}

fn line(snapshot: &Snapshot, claim: &Claim, schedule: &str) -> Line {
    let of = match &claim.instance {
        Some(instance) => instance.to_string(),
        None => snapshot.volume_id.to_string(),
    };
    (of, claim.policy.clone(), schedule.to_owned())
}

impl<'a> World<'a> {
    pub(super) fn of(facts: &'a Facts<'a>, leaving: &BTreeSet<&SnapshotId>) -> Self {
        let mut world = Self {
            facts,
            by_id: BTreeMap::new(),
            serving: BTreeSet::new(),
            broken: BTreeSet::new(),
            newest: BTreeMap::new(),
            alike: BTreeMap::new(),
            lines: BTreeMap::new(),
            archived: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
            leaving: leaving.iter().map(|id| (*id).clone()).collect(),
            copied: by_source(facts),
        };
        world.broken = broken(&facts.inventory.snapshots);
        let mut staying = Vec::new();
        for snapshot in &facts.inventory.snapshots {
            world.by_id.insert(&snapshot.id, snapshot);
            if let Some(claim) = world.stand_in(snapshot) {
                world.stand_ins.entry(claim.source_snapshot).or_default().push(snapshot);
                continue;
            }
            let Some(claim) = Claim::read(&snapshot.tags) else {
                continue;
            };
            let is_good = match snapshot.state {
                State::Completed => !world.is_broken(snapshot, &claim),
                state => state != State::Error,
            };
            if snapshot.state == State::Completed && !leaving.contains(&snapshot.id) {
                staying.push((snapshot, claim));
            } else if is_good && snapshot.owner == facts.scope.account {
                world.serves(snapshot, &claim);
            }
        }
        staying.sort_by_key(|(snapshot, _)| Reverse(began(snapshot)));
        for (snapshot, claim) in staying {
            world.newest.entry(&snapshot.volume_id).or_insert(began(snapshot));
            let is_broken = world.is_broken(snapshot, &claim);
            if snapshot.owner == facts.scope.account && !is_broken {
                world.serves(snapshot, &claim);
            }
            for schedule in claim.schedules.iter().filter(|_| !is_broken) {
                let line = line(snapshot, &claim, schedule);
                if snapshot.archived {
                    let archived = world.archived.entry(line.clone()).or_default();
                    archived.push((began(snapshot), claim.slot));
                }
                world.lines.entry(line).or_default().push((began(snapshot), claim.slot));
            }
            world.alike.entry((&snapshot.volume_id, claim)).or_default().push(snapshot);
        }
        world
    }

    fn serves(&mut self, snapshot: &Snapshot, claim: &Claim) {
        for schedule in &claim.schedules {
            let (of, policy, schedule) = line(snapshot, claim, schedule);
            self.serving.insert((of, policy, schedule, claim.slot));
        }
    }

    pub(super) fn is_broken(&self, snapshot: &Snapshot, claim: &Claim) -> bool {
        claim.instance.is_some() && self.broken.contains(&(claim.clone(), snapshot.start_time))
    }

    /// The slots of its schedule after its own that anything that stays serves.
    pub(super) fn later(
        &self,
        snapshot: &Snapshot,
        claim: &Claim,
        schedule: &str,
    ) -> BTreeSet<Slot> {
        let served = self.lines.get(&line(snapshot, claim, schedule)).into_iter().flatten();
        served.map(|(_, slot)| *slot).filter(|slot| *slot > claim.slot).collect()
    }

    /// What stays of its schedule, newest first.
    pub(super) fn served<'b>(
        lines: &'b BTreeMap<Line, Served<'a>>,
        snapshot: &Snapshot,
        claim: &Claim,
        schedule: &str,
    ) -> &'b [(Began<'a>, Slot)] {
        lines.get(&line(snapshot, claim, schedule)).map_or(&[], Vec::as_slice)
    }

    /// The slots of a schedule, but for its own, that what stays and is newer serves.
    pub(super) fn newer<'b>(
        lines: &'b BTreeMap<Line, Served<'a>>,
        snapshot: &Snapshot,
        claim: &Claim,
        schedule: &str,
    ) -> BTreeSet<Slot> {
        let newer = Self::served(lines, snapshot, claim, schedule)
            .iter()
            .take_while(|(other, _)| *other > began(snapshot));
        newer.map(|(_, slot)| *slot).filter(|slot| *slot != claim.slot).collect()
    }

    pub(super) fn policy(&self, name: &str) -> Option<(&'a Policy, &'a SnapshotPolicy)> {
        self.facts.policies.iter().find(|(policy, _)| policy.name == name).copied()
    }
}

/// Sets of which not every snapshot is good, or that have fewer than they say.
fn broken(snapshots: &[Snapshot]) -> BTreeSet<(Claim, Timestamp)> {
    let mut sets: BTreeMap<(Claim, Timestamp), Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        if let Some(claim) = Claim::read(&snapshot.tags).filter(|it| it.instance.is_some()) {
            sets.entry((claim, snapshot.start_time)).or_default().push(snapshot);
        }
    }
    let is_whole = |set: &[&Snapshot]| {
        let volumes: BTreeSet<&VolumeId> = set.iter().map(|it| &it.volume_id).collect();
        let told = set.iter().filter_map(|it| it.tags.get(tags::VOLUMES)?.parse().ok()).max();
        set.iter().all(|it| it.state == State::Completed)
            && told.is_none_or(|told: usize| told <= volumes.len())
    };
    sets.into_iter().filter(|(_, set)| !is_whole(set)).map(|(key, _)| key).collect()
}

pub(super) fn began(snapshot: &Snapshot) -> Began<'_> {
    (snapshot.start_time, &snapshot.id)
}

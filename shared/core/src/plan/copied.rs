//! What the vaults have of a scope's snapshots, for `UnshareWhenCopied`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rotate::{Own, Request};
use crate::ec2::Access;
use crate::ids::{AccountId, Region, SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::policy::UnshareWhenCopied;
use crate::schedule::Slot;
use crate::tags::{self, CopyClaim};

/// Every place that was looked at and could be read.
#[derive(Default)]
pub(super) struct Vaults<'a>(BTreeMap<(&'a Access, &'a Region), Holdings<'a>>);

/// Good copies that the vault's function made in one Region, by whose they are.
#[derive(Default)]
struct Holdings<'a> {
    /// Of which snapshots.
    sources: BTreeSet<(&'a AccountId, SnapshotId)>,
    /// When the newest one's source began, by the source's volume, and whether only its description told that.
    newest: BTreeMap<(&'a AccountId, VolumeId, bool), Timestamp>,
    /// Which slots of which source volumes, where that is told.
    slots: BTreeSet<(&'a AccountId, VolumeId, Slot)>,
}

/// What `UnshareWhenCopied` makes of a snapshot.
pub(super) enum Found {
    /// Every Region has a copy.
    Copied,
    /// It was unshared before, and the vault has let its copy go since, as newer ones are there; or nobody can tell.
    Leave,
    /// The vault lacks it.
    Lacking,
}

impl<'a> Vaults<'a> {
    pub(super) fn of(request: Request<'a>) -> Self {
        let mut vaults = Self::default();
        for ((access, region), read) in &request.inventory.vaults {
            if let Ok(copies) = read {
                let mut here = Holdings::default();
                for copy in copies.iter().filter(|it| it.state == State::Completed) {
                    here.add(request, copy);
                }
                vaults.0.insert((access, region), here);
            }
        }
        vaults
    }

    /// `None`: one of the Regions could not be read.
    fn regions(&self, rule: &'a UnshareWhenCopied) -> Option<Vec<&Holdings<'a>>> {
        rule.regions.iter().map(|region| self.0.get(&(&rule.access, region))).collect()
    }

    /// How the vault stands to a snapshot of ours. What stands in for it was copied in its place.
    pub(super) fn find(
        &self,
        rule: &'a UnshareWhenCopied,
        vault: &AccountId,
        own: &Own<'_>,
        stand_ins: &StandIns<'_>,
    ) -> Found {
        let snapshot = own.snapshot;
        let Some(regions) = self.regions(rule) else {
            return if was_unshared(snapshot, vault) { Found::Leave } else { Found::Lacking };
        };
        let slot = (vault, snapshot.volume_id.clone(), own.claim.slot);
        let is_copied = |it: &&Holdings<'_>| {
            it.has_any(vault, &stand_ins.copied_as)
                || (stand_ins.are_gone && it.slots.contains(&slot))
        };
        if regions.iter().all(is_copied) {
            return Found::Copied;
        }
        // EC2 tells no volume of a stand-in.
        let is_newer = |it: &&Holdings<'_>| {
            let mut ways = [false, true].into_iter().filter(|by| !by || stand_ins.are_needed);
            ways.any(|by| {
                let newest = it.newest.get(&(vault, snapshot.volume_id.clone(), by));
                newest.is_some_and(|newest| *newest > snapshot.start_time)
            })
        };
        if was_unshared(snapshot, vault) && regions.iter().all(is_newer) {
            Found::Leave
        } else {
            Found::Lacking
        }
    }

    /// Whether every Region has a copy of the snapshot.
    pub(super) fn has(
        &self,
        rule: &'a UnshareWhenCopied,
        vault: &AccountId,
        snapshot: &'a SnapshotId,
    ) -> bool {
        let regions = self.regions(rule);
        regions.is_some_and(|regions| regions.iter().all(|it| it.has_any(vault, &[snapshot])))
    }
}

/// What was copied in place of a snapshot.
pub(super) struct StandIns<'a> {
    /// The snapshot itself, and whatever stands in for it.
    pub(super) copied_as: Vec<&'a SnapshotId>,
    /// It needs one: no other account can use the snapshot itself.
    pub(super) are_needed: bool,
    /// It needs one and has none (any more): the vault's copies of it are known by volume and slot only.
    pub(super) are_gone: bool,
}

impl<'a> Holdings<'a> {
    fn add(&mut self, request: Request<'a>, copy: &'a Snapshot) {
        let scope = request.scope;
        let is_ours = |claim: &CopyClaim| {
            claim.schedules.is_empty() // the vault function's
                && claim.source_account == scope.account
                && claim.source_region == scope.region
        };
        let Some(claim) = CopyClaim::read(&copy.tags).filter(is_ours) else {
            return;
        };
        if let Some(slot) = claim.slot {
            self.slots.insert((&copy.owner, claim.source_volume.clone(), slot));
        }
        if let Some(start) = claim.source_start {
            let key = (&copy.owner, claim.source_volume, claim.volume_described);
            let newest = self.newest.entry(key).or_insert(start);
            *newest = (*newest).max(start);
        }
        self.sources.insert((&copy.owner, claim.source_snapshot));
    }

    fn has_any(&self, vault: &AccountId, snapshots: &[&SnapshotId]) -> bool {
        snapshots.iter().any(|id| self.sources.contains(&(vault, (*id).clone())))
    }
}

/// The tag `snapferry:shared-with` is written with the first share and never taken away.
pub(super) fn was_unshared(snapshot: &Snapshot, account: &AccountId) -> bool {
    let recorded = snapshot.tags.get(tags::SHARED_WITH);
    recorded.is_some_and(|text| text.split(',').all(|it| it != account.as_str()))
}

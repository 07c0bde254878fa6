//! One Region as the vault's queue has to see it, and what has to hold of it after every sweep.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use snapferry_core::ids::{AccountId, Region, SnapshotId, VolumeId};
use snapferry_core::inventory::{Snapshot, State};
use snapferry_sim::{Record, Sim, id};

use super::vaults::{Copied, copies};
use super::{VAULT, account};

/// EC2's limit of copies in progress in a Region.
pub(crate) const LIMIT: usize = 20;

/// One Region as the queue has to see it.
pub(crate) struct Place {
    pub(crate) region: Region,
    pub(crate) copies: Vec<Copied>,
    /// What is shared and has no copy, oldest first.
    pub(crate) waiting: Vec<Snapshot>,
}

pub(crate) type Line = (AccountId, VolumeId);

pub(crate) fn line(snapshot: &Snapshot) -> Line {
    (snapshot.owner.clone(), snapshot.volume_id.clone())
}

impl Place {
    pub(crate) fn of(records: &[Record], region: &str, all: &[Copied]) -> Self {
        let copies: Vec<_> =
            all.iter().filter(|it| it.record.region.as_str() == region).cloned().collect();
        let begun: BTreeSet<&SnapshotId> =
            copies.iter().map(|it| &it.claim.source_snapshot).collect();
        let waits =
            |it: &&Record| it.snapshot.owner != account(VAULT) && !begun.contains(&it.snapshot.id);
        let waiting = records.iter().filter(waits).map(|it| it.snapshot.clone()).collect();
        Self { region: id(region), copies, waiting }
    }

    pub(crate) fn line_of(copy: &Copied) -> Line {
        (copy.claim.source_account.clone(), copy.claim.source_volume.clone())
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = &Copied> {
        self.copies.iter().filter(|it| it.is(State::Pending))
    }

    pub(crate) fn in_progress(&self) -> BTreeMap<AccountId, usize> {
        let mut n = BTreeMap::new();
        for copy in self.pending() {
            *n.entry(copy.claim.source_account.clone()).or_default() += 1;
        }
        n
    }

    /// Copies in progress of each volume.
    pub(crate) fn of_volumes(&self) -> BTreeMap<Line, usize> {
        let mut n = BTreeMap::new();
        for copy in self.pending() {
            *n.entry(Self::line_of(copy)).or_default() += 1;
        }
        n
    }

    /// When the newest data of every volume that has a completed copy were the volume's.
    pub(crate) fn protected(&self) -> BTreeMap<Line, Timestamp> {
        let mut newest = BTreeMap::new();
        for copy in self.copies.iter().filter(|it| it.is(State::Completed)) {
            let at = copy.claim.source_start.unwrap();
            let newest = newest.entry(Self::line_of(copy)).or_insert(at);
            *newest = at.max(*newest);
        }
        newest
    }

    pub(crate) fn backlog(&self) -> BTreeMap<AccountId, usize> {
        let mut n = BTreeMap::new();
        for source in &self.waiting {
            *n.entry(source.owner.clone()).or_default() += 1;
        }
        n
    }
}

pub(crate) fn places(sim: &Sim, regions: &[&str]) -> Vec<Place> {
    let (records, copies) = (sim.records(), copies(sim));
    regions.iter().map(|region| Place::of(&records, region, &copies)).collect()
}

/// What holds of one Region after every sweep, given how it was before.
pub(crate) fn assert_in_order(before: &Place, after: &Place) {
    let known: BTreeSet<_> = before.copies.iter().map(|it| &it.record.snapshot.id).collect();
    let begun: Vec<&Copied> =
        after.copies.iter().filter(|it| !known.contains(&it.record.snapshot.id)).collect();
    let (in_progress, of_volumes) = (after.in_progress(), after.of_volumes());
    let protected = before.protected();
    let total: usize = in_progress.values().sum();
    assert!(total <= LIMIT, "{total} copies in {}", after.region);

    // No two full copies of a volume at once.
    for (line, n) in &of_volumes {
        assert!(*n == 1 || protected.contains_key(line), "{n} first copies of {line:?}");
    }
    // No place stays empty that somebody may have.
    let may_begin =
        |it: &&Snapshot| protected.contains_key(&line(it)) || !of_volumes.contains_key(&line(it));
    let left: Vec<&Snapshot> = after.waiting.iter().filter(may_begin).collect();
    assert!(total == LIMIT || left.is_empty(), "{} wait at {total} copies", left.len());
    // Within a volume the oldest first.
    for copy in &begun {
        let of_it = |it: &&Snapshot| line(it) == Place::line_of(copy);
        let oldest = after.waiting.iter().filter(of_it).map(|it| it.start_time).min();
        let source = after.record_of(copy);
        assert!(oldest.is_none_or(|oldest| oldest >= source), "{copy:?} before an older one");
    }
    // What waits though its volume has no copy in progress.
    let free: Vec<&Snapshot> =
        left.iter().filter(|it| !of_volumes.contains_key(&line(it))).copied().collect();
    for waits in free {
        let rank = protected.get(&line(waits));
        let mine = in_progress.get(&waits.owner).copied().unwrap_or_default();
        for copy in &begun {
            let theirs = &copy.claim.source_account;
            // An account's least protected volume first.
            let served = protected.get(&Place::line_of(copy));
            assert!(*theirs != waits.owner || served <= rank, "{copy:?} before {waits:?}");
            // Nobody gets more places than whoever could have used them.
            assert!(in_progress[theirs] <= mine + 1, "{in_progress:?}, and {} waits", waits.owner);
        }
    }
}

impl Place {
    pub(crate) fn record_of(&self, copy: &Copied) -> Timestamp {
        assert_eq!(self.region, copy.record.region);
        copy.claim.source_start.unwrap()
    }
}

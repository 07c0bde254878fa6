//! What exists in a world, and how EC2 behaves in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ids::{AccountId, InstanceId, Region, Scope, SnapshotId, VolumeId};
use snapferry_core::inventory::{Instance, Key, Snapshot, State, Tiering, TieringStatus, Volume};
use snapferry_core::policy::{LockMode, Tags};

/// How EC2 behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a snapshot is `pending`.
    pub snapshot_takes: SignedDuration,
    /// How long a copy is `pending`, whatever its size.
    pub copy_takes: SignedDuration,
    /// How much longer for every GiB of its volume.
    pub copy_takes_per_gib: SignedDuration,
    /// How long a snapshot is on its way into the archive.
    pub archiving_takes: SignedDuration,
    /// Whether the archiving that begins now fails in the end.
    pub archiving_fails: bool,
    /// How many copies into one Region may be pending; EC2's own limit is 20.
    pub copies_at_once: usize,
    /// How many of them may be time-based: EC2 counts their throughput, not them.
    pub timed_copies_at_once: usize,
    /// How many snapshots of a Region may be on their way into the archive; EC2's own limit is 25.
    pub archivings_at_once: usize,
    /// How many snapshots of a volume may be in the archive; EC2's own limit is 25.
    pub archived_per_volume: usize,
    /// How many snapshots of a Region may be fast to restore; EC2's own limit is 5.
    pub fast_restores: usize,
    /// The shortest time between two snapshots of a volume; EC2's own is 15 seconds.
    pub snapshot_every: SignedDuration,
    /// How many snapshots an account may have in a Region; EC2's own limit is 100,000.
    pub snapshots_at_most: usize,
    /// How long every call takes. Without that, no time passes in a run but for its pauses.
    pub call_takes: SignedDuration,
    /// Whether EC2 counts requests, and by what its token buckets are divided; `None`: it does not.
    pub buckets: Option<u32>,
    /// How many turns a call waits at the most: more mixes calls of one run too.
    pub turns: usize,
    /// For how many writes back stale reads are possible.
    pub remember: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snapshot_takes: SignedDuration::from_mins(10),
            copy_takes: SignedDuration::from_mins(20),
            copy_takes_per_gib: SignedDuration::ZERO,
            archiving_takes: SignedDuration::from_hours(1),
            archiving_fails: false,
            copies_at_once: 20,
            timed_copies_at_once: 20,
            archivings_at_once: 25,
            archived_per_volume: 25,
            fast_restores: 5,
            snapshot_every: SignedDuration::from_secs(15),
            snapshots_at_most: 100_000,
            call_takes: SignedDuration::ZERO,
            buckets: None,
            turns: 1,
            remember: 0,
        }
    }
}

/// A snapshot with what EC2 knows besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub region: Region,
    /// What its owner sees of it.
    pub snapshot: Snapshot,
    /// Who may use it.
    pub shared_with: BTreeSet<AccountId>,
    /// The AMI that uses it.
    pub image: Option<String>,
    /// The last lock that was put on it, which may be over.
    pub lock: Option<Lock>,
    /// The zones where it is fast to restore for its owner.
    pub fast_restores: BTreeSet<String>,
    /// How far its last way into another tier is.
    pub tiering: Option<Tiering>,
    /// What it is a copy of.
    pub copy_of: Option<SnapshotId>,
    /// The completion duration of a time-based copy.
    pub completion_duration_minutes: Option<u16>,
    /// When it is no longer pending, and what it is then.
    pub ends: Option<(Timestamp, State, Option<String>)>,
    /// When its way into the archive is over, and whether it gets there.
    pub archives: Option<(Timestamp, bool)>,
}

impl Record {
    pub(crate) fn new(region: &Region, snapshot: Snapshot) -> Self {
        Self {
            region: region.clone(),
            snapshot,
            shared_with: BTreeSet::new(),
            image: None,
            lock: None,
            fast_restores: BTreeSet::new(),
            tiering: None,
            copy_of: None,
            completion_duration_minutes: None,
            ends: None,
            archives: None,
        }
    }

    /// The account and Region it is in.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { account: self.snapshot.owner.clone(), region: self.region.clone() }
    }

    /// Whether it is locked at that time.
    #[must_use]
    pub fn is_locked(&self, now: Timestamp) -> bool {
        self.lock.is_some_and(|lock| lock.holds(now))
    }

    /// Whether it is on its way into the archive.
    #[must_use]
    pub fn is_archiving(&self) -> bool {
        self.archives.is_some()
    }

    /// What is due at that time happens.
    pub(crate) fn complete(&mut self, now: Timestamp) {
        if let Some((_, state, message)) = self.ends.take_if(|(at, ..)| *at <= now) {
            self.snapshot.state = state;
            self.snapshot.state_message = message;
            if state == State::Error {
                self.lock = None;
            }
        }
        if let Some((at, arrives)) = self.archives.take_if(|(at, _)| *at <= now) {
            self.snapshot.archived = arrives;
            self.tiering = Some(if arrives {
                self.shared_with.clear();
                self.fast_restores.clear();
                Tiering { status: TieringStatus::Archived, archived_at: Some(at) }
            } else {
                Tiering { status: TieringStatus::Failed, archived_at: None }
            });
        }
    }
}

/// A snapshot lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Who can end it early.
    pub mode: LockMode,
    /// When it ends.
    pub until: Timestamp,
    /// Until then a lock in compliance mode can be changed in every way.
    pub cools_until: Option<Timestamp>,
}

impl Lock {
    /// A lock that a test does not see the end of.
    #[must_use]
    pub fn forever() -> Self {
        Self { mode: LockMode::Governance, until: Timestamp::MAX, cools_until: None }
    }

    /// Whether it is not over at that time.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether nobody can end it early any more.
    pub(crate) fn is_final(self, now: Timestamp) -> bool {
        self.mode == LockMode::Compliance
            && self.holds(now)
            && self.cools_until.is_none_or(|at| at <= now)
    }
}

/// A volume with what EC2 knows besides.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) scope: Scope,
    pub(crate) volume: Volume,
    pub(crate) size_gib: u32,
    /// When a snapshot of it was last begun.
    pub(crate) last_snapshot: Option<Timestamp>,
    /// Snapshots that were deleted while pending count as pending until then.
    pub(crate) leaving: Vec<Timestamp>,
}

/// EC2's instance states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "EC2's words say it")]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    /// Whether `CreateSnapshots` works.
    pub(crate) fn is_usable(self) -> bool {
        matches!(self, Self::Running | Self::Stopping | Self::Stopped)
    }
}

/// An instance with what EC2 knows besides.
#[derive(Clone, Debug)]
pub struct SimInstance {
    /// How it is.
    pub state: InstanceState,
    /// Such as `m7i.large`.
    pub instance_type: String,
    /// ARN of its instance profile.
    pub profile: Option<String>,
    /// What is attached, by device name.
    pub devices: BTreeMap<String, VolumeId>,
    /// The name of the device it boots from.
    pub root_device: String,
    /// Its tags.
    pub tags: Tags,
}

impl SimInstance {
    pub(crate) fn boot_volume(&self) -> Option<&VolumeId> {
        self.devices.get(&self.root_device)
    }

    pub(crate) fn seen(&self, id: &InstanceId) -> Instance {
        Instance {
            id: id.clone(),
            usable: self.state.is_usable(),
            running: self.state == InstanceState::Running,
            instance_type: self.instance_type.clone(),
            profile: self.profile.clone(),
            volumes: self.devices.values().cloned().collect(),
            boot_volume: self.boot_volume().cloned(),
            tags: self.tags.clone(),
        }
    }
}

/// A KMS key with the accounts, beside its own, that may use it.
#[derive(Clone, Debug)]
pub struct SimKey {
    /// What `DescribeKey` says.
    pub key: Key,
    /// Who else may use it.
    pub users: BTreeSet<AccountId>,
    /// Accounts that may look at it (`kms:DescribeKey`), and may not use it for EBS: `kms:CreateGrant`, `kms:Decrypt` or
    /// another of the actions that it takes is missing. EC2 finds out only after it has said yes.
    pub look_only: BTreeSet<AccountId>,
}

/// A snapshot that a call deleted, and what was left in its account and Region.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// As it was.
    pub record: Record,
    /// The others of its account and Region, as they were.
    pub others: Vec<Record>,
}

/// What EC2 tells EventBridge in the account a snapshot was shared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where the snapshot is.
    pub region: Region,
    /// Which.
    pub snapshot: SnapshotId,
    /// Whose.
    pub owner: AccountId,
    /// For whom.
    pub with: AccountId,
}

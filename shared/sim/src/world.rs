//! The world: what exists, and how a test makes, moves and sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ids::{AccountId, Region, Scope, SnapshotId, VolumeId};
use snapferry_core::inventory::{Key, Snapshot, State, Volume};
use snapferry_core::policy::Tags;

use crate::calls::{Call, Fault, Faults};
use crate::turns::Rng;

/// A world in memory; clones are the same world.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<World>>);

/// How EC2 behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a snapshot is `pending`.
    pub snapshot_takes: SignedDuration,
    /// How long a copy is `pending`.
    pub copy_takes: SignedDuration,
    /// How many copies into one Region may be pending; EC2's own limit is 20.
    pub copies_at_once: usize,
    /// The shortest time between two snapshots of a volume.
    pub snapshot_every: SignedDuration,
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
            copies_at_once: 20,
            snapshot_every: SignedDuration::ZERO,
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
    /// A lock is on it.
    pub locked: bool,
    /// What it is a copy of.
    pub copy_of: Option<SnapshotId>,
    /// When it is no longer pending, and what it is then.
    pub ends: Option<(Timestamp, State, Option<String>)>,
}

impl Record {
    /// The account and Region it is in.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { account: self.snapshot.owner.clone(), region: self.region.clone() }
    }
}

/// A KMS key with the accounts, beside its own, that may use it.
#[derive(Clone, Debug)]
pub struct SimKey {
    /// What `DescribeKey` says.
    pub key: Key,
    /// Who else may use it.
    pub users: BTreeSet<AccountId>,
}

/// A snapshot that a call deleted, and what was left in its account and Region.
#[derive(Clone, Debug)]
pub struct Deletion {
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

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    pub(crate) rng: Rng,
    pub(crate) volumes: BTreeMap<VolumeId, (Scope, Volume)>,
    pub(crate) snapshots: BTreeMap<SnapshotId, Record>,
    pub(crate) keys: BTreeMap<String, SimKey>,
    pub(crate) disabled: BTreeSet<Scope>,
    pub(crate) locked_out: BTreeSet<AccountId>,
    pub(crate) journal: Vec<Call>,
    pub(crate) faults: Option<Faults>,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) shares: Vec<Share>,
    /// The snapshots before each of the last writes, the latest first.
    pub(crate) before: VecDeque<BTreeMap<SnapshotId, Record>>,
}

impl Sim {
    /// An empty world at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(World {
            now,
            settings: Settings::default(),
            rng: Rng(1),
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            keys: BTreeMap::new(),
            disabled: BTreeSet::new(),
            locked_out: BTreeSet::new(),
            journal: Vec::new(),
            faults: None,
            deletions: Vec::new(),
            shares: Vec::new(),
            before: VecDeque::new(),
        })))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how EC2 behaves.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.world().settings);
    }

    /// The world's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world().now
    }

    /// Lets time pass; what is due ends being pending.
    pub fn advance(&self, by: SignedDuration) {
        let mut world = self.world();
        world.now = world.now.checked_add(by).unwrap_or(Timestamp::MAX);
        world.complete();
    }

    /// A new volume with these tags.
    #[expect(clippy::must_use_candidate, reason = "many tests only want it to be there")]
    pub fn volume(&self, scope: &Scope, tags: &[(&str, &str)]) -> VolumeId {
        let mut world = self.world();
        let volume = Volume {
            id: id(&format!("vol-{:017x}", world.rng.any())),
            create_time: world.now,
            usable: true,
            kms_key_id: None,
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let made = volume.id.clone();
        world.volumes.insert(made.clone(), (scope.clone(), volume));
        made
    }

    /// Changes a volume.
    pub fn change_volume(&self, volume: &VolumeId, change: impl FnOnce(&mut Volume)) {
        if let Some((_, volume)) = self.world().volumes.get_mut(volume) {
            change(volume);
        }
    }

    /// The tags of a volume, if it exists.
    #[must_use]
    pub fn volume_tags(&self, volume: &VolumeId) -> Option<Tags> {
        let world = self.world();
        world.volumes.get(volume).map(|(_, it)| it.tags.clone())
    }

    /// Deletes a volume; its snapshots stay.
    pub fn delete_volume(&self, volume: &VolumeId) {
        self.world().volumes.remove(volume);
    }

    /// A customer managed key, enabled, which these accounts may use beside its own.
    pub fn key(&self, arn: &str, users: &[AccountId]) {
        let key = Key {
            arn: arn.to_owned(),
            aws_managed: false,
            state: "Enabled".into(),
            usage: "ENCRYPT_DECRYPT".into(),
            spec: "SYMMETRIC_DEFAULT".into(),
        };
        let users = users.iter().cloned().collect();
        let mut world = self.world();
        world.keys.insert(arn.to_owned(), SimKey { key, users });
    }

    /// Changes a key.
    pub fn change_key(&self, arn: &str, change: impl FnOnce(&mut SimKey)) {
        if let Some(key) = self.world().keys.get_mut(arn) {
            change(key);
        }
    }

    /// A snapshot that somebody else made, completed and without tags; `change` makes it what it is to be.
    pub fn snapshot(
        &self,
        scope: &Scope,
        volume: &VolumeId,
        change: impl FnOnce(&mut Record),
    ) -> SnapshotId {
        let mut world = self.world();
        let made = world.new_id();
        let mut record = Record {
            region: scope.region.clone(),
            snapshot: Snapshot {
                id: made.clone(),
                volume_id: volume.clone(),
                owner: scope.account.clone(),
                state: State::Completed,
                state_message: None,
                start_time: world.now,
                description: String::new(),
                encrypted: false,
                kms_key_id: None,
                tags: BTreeMap::new(),
            },
            shared_with: BTreeSet::new(),
            image: None,
            locked: false,
            copy_of: None,
            ends: None,
        };
        change(&mut record);
        world.snapshots.insert(made.clone(), record);
        made
    }

    /// Changes a snapshot behind everybody's back. No stale read shows it as it was.
    pub fn change(&self, snapshot: &SnapshotId, change: impl FnOnce(&mut Record)) {
        let mut world = self.world();
        world.before.clear();
        if let Some(record) = world.snapshots.get_mut(snapshot) {
            change(record);
        }
    }

    /// Somebody deletes a snapshot by hand. No stale read shows it.
    pub fn remove(&self, snapshot: &SnapshotId) {
        let mut world = self.world();
        world.before.clear();
        world.snapshots.remove(snapshot);
    }

    /// The Region is not enabled for the account any more; or it is again.
    pub fn disable_region(&self, scope: &Scope, disabled: bool) {
        let mut world = self.world();
        if disabled {
            world.disabled.insert(scope.clone());
        } else {
            world.disabled.remove(scope);
        }
    }

    /// No role of the account can be assumed any more; or it can again.
    pub fn lock_out(&self, account: &AccountId, locked_out: bool) {
        let mut world = self.world();
        if locked_out {
            world.locked_out.insert(account.clone());
        } else {
            world.locked_out.remove(account);
        }
    }

    /// Asks `faults` about every call from now on.
    pub fn on_call(&self, faults: impl FnMut(&Call) -> Fault + Send + 'static) {
        self.world().faults = Some(Box::new(faults));
    }

    /// Everything works again.
    pub fn no_faults(&self) {
        self.world().faults = None;
    }

    /// Every call since the journal was last taken.
    #[must_use]
    pub fn take_journal(&self) -> Vec<Call> {
        std::mem::take(&mut self.world().journal)
    }

    /// Every deletion since they were last taken.
    #[must_use]
    pub fn take_deletions(&self) -> Vec<Deletion> {
        std::mem::take(&mut self.world().deletions)
    }

    /// Every share since they were last taken: the events that EC2 would send.
    #[must_use]
    pub fn take_shares(&self) -> Vec<Share> {
        std::mem::take(&mut self.world().shares)
    }

    /// Every snapshot of every account, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = self.world().snapshots.values().cloned().collect();
        records.sort_by_key(|record| record.snapshot.start_time);
        records
    }

    /// One snapshot.
    #[must_use]
    pub fn record(&self, snapshot: &SnapshotId) -> Option<Record> {
        self.world().snapshots.get(snapshot).cloned()
    }
}

impl World {
    pub(crate) fn new_id(&mut self) -> SnapshotId {
        // Not in the order of creation: nobody may rely on that.
        id(&format!("snap-{:017x}", self.rng.any()))
    }

    fn complete(&mut self) {
        for record in self.snapshots.values_mut() {
            if let Some((_, state, message)) = record.ends.take_if(|(at, ..)| *at <= self.now) {
                record.snapshot.state = state;
                record.snapshot.state_message = message;
            }
        }
    }

    /// The snapshots as of before the last `writes` writes, as far as that is remembered.
    pub(crate) fn as_of(&self, writes: usize) -> &BTreeMap<SnapshotId, Record> {
        match writes.min(self.before.len()) {
            0 => &self.snapshots,
            n => self.before.get(n - 1).unwrap_or(&self.snapshots),
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world();
        f.debug_struct("Sim")
            .field("now", &world.now)
            .field("snapshots", &world.snapshots)
            .finish_non_exhaustive()
    }
}

/// An identifier that a test wrote down.
///
/// # Panics
/// When it is malformed: the test is wrong then.
#[must_use]
pub fn id<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    #[expect(clippy::expect_used, reason = "a test's own mistake ends the test")]
    text.parse().expect("a well-formed identifier")
}

//! The world: what exists, and how a test makes, moves and sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use snapferry_core::commands::CommandId;
use snapferry_core::ids::{AccountId, InstanceId, Scope, SnapshotId, UnitId, VolumeId};
use snapferry_core::inventory::{EbsEncryption, Key, Snapshot, State, Volume};
use snapferry_core::policy::Tags;

use crate::agents::{Agent, Sent};
use crate::buckets::Bucket;
use crate::calls::{Call, Fault, Faults};
use crate::organization::Unit;
use crate::record::{Deletion, Disk, InstanceState, Record, Settings, Share, SimInstance, SimKey};
use crate::timed::Clock;
use crate::turns::Rng;

/// A world in memory; clones are the same world.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<World>>);

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    pub(crate) rng: Rng,
    pub(crate) volumes: BTreeMap<VolumeId, Disk>,
    pub(crate) instances: BTreeMap<InstanceId, (Scope, SimInstance)>,
    pub(crate) agents: BTreeMap<InstanceId, Agent>,
    pub(crate) commands: BTreeMap<CommandId, Sent>,
    pub(crate) snapshots: BTreeMap<SnapshotId, Record>,
    pub(crate) keys: BTreeMap<String, SimKey>,
    /// By the name, such as `alias/backup`.
    pub(crate) aliases: BTreeMap<(Scope, String), String>,
    pub(crate) encryption: BTreeMap<Scope, EbsEncryption>,
    pub(crate) disabled: BTreeSet<Scope>,
    pub(crate) locked_out: BTreeSet<AccountId>,
    pub(crate) organization: BTreeMap<UnitId, Unit>,
    pub(crate) journal: Vec<Call>,
    pub(crate) faults: Option<Faults>,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) shares: Vec<Share>,
    /// What is left of requests, by account, Region and bucket.
    pub(crate) buckets: BTreeMap<(Scope, &'static str), Bucket>,
    /// The call that is under way gets all but a page of what it lists.
    pub(crate) missing_page: Option<u64>,
    /// For runs in the world's own time.
    pub(crate) clock: Option<Clock>,
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
            instances: BTreeMap::new(),
            agents: BTreeMap::new(),
            commands: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            encryption: BTreeMap::new(),
            disabled: BTreeSet::new(),
            locked_out: BTreeSet::new(),
            organization: BTreeMap::new(),
            journal: Vec::new(),
            faults: None,
            deletions: Vec::new(),
            shares: Vec::new(),
            buckets: BTreeMap::new(),
            missing_page: None,
            clock: None,
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

    /// Lets time pass; what is due ends being pending, or on its way.
    pub fn advance(&self, by: SignedDuration) {
        let mut world = self.world();
        let until = world.after(by);
        world.pass_until(until);
    }

    /// A new `gp3` volume of 8 GiB with these tags.
    #[expect(clippy::must_use_candidate, reason = "many tests only want it to be there")]
    pub fn volume(&self, scope: &Scope, tags: &[(&str, &str)]) -> VolumeId {
        let mut world = self.world();
        let volume = Volume {
            id: id(&format!("vol-{:017x}", world.rng.any())),
            create_time: world.now,
            usable: true,
            volume_type: "gp3".into(),
            kms_key_id: None,
            tags: owned(tags),
        };
        let made = volume.id.clone();
        let disk = Disk {
            scope: scope.clone(),
            volume,
            size_gib: 8,
            last_snapshot: None,
            leaving: Vec::new(),
        };
        world.volumes.insert(made.clone(), disk);
        made
    }

    /// Changes a volume.
    pub fn change_volume(&self, volume: &VolumeId, change: impl FnOnce(&mut Volume)) {
        if let Some(disk) = self.world().volumes.get_mut(volume) {
            change(&mut disk.volume);
        }
    }

    /// Gives a volume another size.
    pub fn resize(&self, volume: &VolumeId, gib: u32) {
        if let Some(disk) = self.world().volumes.get_mut(volume) {
            disk.size_gib = gib;
        }
    }

    /// The tags of a volume, if it exists.
    #[must_use]
    pub fn volume_tags(&self, volume: &VolumeId) -> Option<Tags> {
        let world = self.world();
        world.volumes.get(volume).map(|disk| disk.volume.tags.clone())
    }

    /// Deletes a volume, wherever it is attached; its snapshots stay.
    pub fn delete_volume(&self, volume: &VolumeId) {
        let mut world = self.world();
        world.volumes.remove(volume);
        for (_, instance) in world.instances.values_mut() {
            instance.devices.retain(|_, attached| attached != volume);
        }
    }

    /// A new running instance with these tags, which boots from `/dev/xvda`. Nothing is attached to it yet.
    #[must_use]
    pub fn instance(&self, scope: &Scope, tags: &[(&str, &str)]) -> InstanceId {
        let mut world = self.world();
        let made: InstanceId = id(&format!("i-{:017x}", world.rng.any()));
        let instance = SimInstance {
            state: InstanceState::Running,
            instance_type: "m7i.large".into(),
            profile: Some("arn:aws:iam::222222222222:instance-profile/app".into()),
            devices: BTreeMap::new(),
            root_device: "/dev/xvda".into(),
            tags: owned(tags),
        };
        world.instances.insert(made.clone(), (scope.clone(), instance));
        made
    }

    /// Attaches a volume, which other instances may have too (Multi-Attach).
    pub fn attach(&self, instance: &InstanceId, device: &str, volume: &VolumeId) {
        self.change_instance(instance, |it| {
            it.devices.insert(device.to_owned(), volume.clone());
        });
    }

    /// Changes an instance.
    pub fn change_instance(&self, instance: &InstanceId, change: impl FnOnce(&mut SimInstance)) {
        if let Some((_, instance)) = self.world().instances.get_mut(instance) {
            change(instance);
        }
    }

    /// Terminates an instance; its volumes stay.
    pub fn terminate(&self, instance: &InstanceId) {
        self.change_instance(instance, |it| {
            it.state = InstanceState::Terminated;
            it.devices.clear();
        });
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
        world.keys.insert(arn.to_owned(), SimKey { key, users, look_only: BTreeSet::new() });
    }

    /// Lets the alias, such as `alias/backup`, stand for a key.
    pub fn alias(&self, scope: &Scope, name: &str, arn: &str) {
        self.world().aliases.insert((scope.clone(), name.to_owned()), arn.to_owned());
    }

    /// Sets EBS encryption by default; without that it is off, and the key is the AWS managed one.
    pub fn encrypt_by_default(&self, scope: &Scope, by_default: bool, key: &str) {
        let encryption = EbsEncryption { by_default, key: key.to_owned() };
        self.world().encryption.insert(scope.clone(), encryption);
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
        let snapshot = Snapshot {
            id: made.clone(),
            volume_id: volume.clone(),
            owner: scope.account.clone(),
            state: State::Completed,
            state_message: None,
            start_time: world.now,
            description: String::new(),
            volume_size_gib: world.volumes.get(volume).map_or(8, |disk| disk.size_gib),
            archived: false,
            encrypted: false,
            kms_key_id: None,
            tags: Tags::new(),
        };
        let mut record = Record::new(&scope.region, snapshot);
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

    /// The time so much later.
    pub(crate) fn after(&self, by: SignedDuration) -> Timestamp {
        self.now.checked_add(by).unwrap_or(Timestamp::MAX)
    }

    /// The clock never goes back: when it is later already, nothing happens.
    pub(crate) fn pass_until(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        for record in self.snapshots.values_mut() {
            record.complete(self.now);
        }
        for agent in self.agents.values_mut() {
            agent.pass(self.now);
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

fn owned(tags: &[(&str, &str)]) -> Tags {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
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

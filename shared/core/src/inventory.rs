//! The world as observed: a possibly outdated view of it, never more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use crate::ec2::Ec2Error;
use crate::ids::{AccountId, Region, Scope, SnapshotId, VolumeId};
use crate::policy::Tags;

/// A volume as `DescribeVolumes` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// When it was created.
    pub create_time: Timestamp,
    /// `available` or `in-use`: it can be snapshotted.
    pub usable: bool,
    /// ARN of its key, where it is encrypted.
    pub kms_key_id: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A snapshot as `DescribeSnapshots` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it was made of; of a copy, a placeholder.
    pub volume_id: VolumeId,
    /// Whose it is.
    pub owner: AccountId,
    /// How far it is.
    pub state: State,
    /// Why it is in `error`.
    pub state_message: Option<String>,
    /// When EC2 began: the moment whose data it holds.
    pub start_time: Timestamp,
    /// As its maker wrote it, which may be another account.
    pub description: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// ARN of its key, where it is encrypted.
    pub kms_key_id: Option<String>,
    /// This account's tags; another account's are invisible.
    pub tags: Tags,
}

/// EC2's `SnapshotState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Being made. Counts as nothing: neither as good nor as ours to judge.
    Pending,
    /// Good.
    Completed,
    /// Failed; worth nothing.
    Error,
    /// In the recycle bin, on the way back from it, or a state younger than this program: left alone.
    Other,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Other => "neither pending, completed nor error",
        })
    }
}

/// What forbids a deletion and is not seen on the snapshot itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// Snapshots that an AMI of the account uses, with the AMI.
    pub images: BTreeMap<SnapshotId, String>,
    /// Snapshots under a snapshot lock.
    pub locked: BTreeSet<SnapshotId>,
}

/// What `DescribeKey` says of a KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its ARN.
    pub arn: String,
    /// `KeyManager` is `AWS`: an AWS managed key such as `aws/ebs`, which no other account can use.
    pub aws_managed: bool,
    /// `KeyState`, `Enabled` when all is well.
    pub state: String,
    /// `KeyUsage` and `KeySpec`; EBS wants `ENCRYPT_DECRYPT` and `SYMMETRIC_DEFAULT`.
    pub usage: String,
    /// See `usage`.
    pub spec: String,
}

/// What `rotate-snapshots` knows of one account in one Region.
#[derive(Clone, Debug)]
pub struct ScopeInventory {
    /// Every volume that a policy may target, and those that own snapshots were made of and that still exist.
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// Every snapshot of the account that carries `snapferry:policy`.
    pub snapshots: Vec<Snapshot>,
    /// Which own snapshots an account can use, for every account that a policy shares with.
    pub shared: BTreeMap<AccountId, BTreeSet<SnapshotId>>,
    /// Keys of volumes and snapshots, where a policy shares. A key that could not be read is not in here.
    pub keys: BTreeMap<String, Key>,
    /// `Err`: it could not be read, with the reason; nothing may be deleted then.
    pub guards: Result<Guards, String>,
}

/// What `copy-shared-snapshots` knows.
#[derive(Debug)]
pub struct VaultInventory {
    /// The vault's own account.
    pub account: AccountId,
    /// Snapshots that the policies' owners share with this account, by Region.
    pub sources: BTreeMap<Region, Vec<Snapshot>>,
    /// Target Regions.
    pub targets: BTreeMap<Region, TargetInventory>,
    /// The keys of the rules, by ARN.
    pub keys: BTreeMap<String, Result<Key, Ec2Error>>,
    /// Everything was looked at, not just what an event named: copies may be judged by their age.
    pub whole: bool,
}

/// What the vault has in one target Region.
#[derive(Clone, Debug)]
pub struct TargetInventory {
    /// Copies of ours.
    pub copies: Vec<Snapshot>,
    /// As in [`ScopeInventory::guards`].
    pub guards: Result<Guards, String>,
}

impl VaultInventory {
    /// The scope of the vault in `region`.
    #[must_use]
    pub fn scope(&self, region: &Region) -> Scope {
        Scope { account: self.account.clone(), region: region.clone() }
    }
}

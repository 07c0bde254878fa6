//! The world as observed: a possibly outdated view of it, never more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::chain::Chain;
use crate::commands::{Command, Managed};
use crate::description;
use crate::ec2::{Access, Ec2Error, ErrorKind};
use crate::ids::{AccountId, InstanceId, KmsKeyId, Region, Scope, SnapshotId, VolumeId};
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
    /// `gp3`, `st1` and so on.
    pub volume_type: String,
    /// ARN of its key, where it is encrypted. Many have the same.
    pub kms_key_id: Option<Arc<str>>,
    /// Its tags.
    pub tags: Tags,
}

/// An instance as `DescribeInstances` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// `running`, `stopping` or `stopped`: its volumes can be snapshotted together.
    pub usable: bool,
    /// `running`: scripts can run on it.
    pub running: bool,
    /// Such as `m7i.large`.
    pub instance_type: String,
    /// ARN of its instance profile, without which it has no role.
    pub profile: Option<String>,
    /// The EBS volumes attached to it, in order of their device names.
    pub volumes: Vec<VolumeId>,
    /// The one it boots from.
    pub boot_volume: Option<VolumeId>,
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
    /// The volume's size.
    pub volume_size_gib: u32,
    /// `StorageTier` is `archive`. A snapshot on its way there is still `standard`.
    pub archived: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// ARN of its key, where it is encrypted. Many have the same.
    pub kms_key_id: Option<Arc<str>>,
    /// This account's tags; another account's are invisible.
    pub tags: Tags,
}

impl Snapshot {
    /// The volume it was made of, as EC2 tells; of one that is itself a copy, as its description does, else the
    /// placeholder.
    #[must_use]
    pub fn told_volume(&self) -> VolumeId {
        if !self.volume_id.is_placeholder() {
            return self.volume_id.clone();
        }
        let described = description::read(&self.description).and_then(|it| it.volume);
        described.unwrap_or_else(|| self.volume_id.clone())
    }
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

/// The alias of the AWS managed key for EBS, which is the key by default where an account has chosen none.
pub const AWS_MANAGED_KEY: &str = "alias/aws/ebs";

/// EBS encryption by default of an account in a Region
/// ([Encryption by default](https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EbsEncryption {
    /// Whatever is made is encrypted, whether a call asks for that or not.
    pub by_default: bool,
    /// The key where a call names none: an ARN, or the alias of the AWS managed key, `alias/aws/ebs`.
    pub key: String,
}

/// What `DescribeSnapshotTierStatus` says of a snapshot that has been, or is being, moved between tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiering {
    /// How far the last move is.
    pub status: TieringStatus,
    /// When it reached the archive.
    pub archived_at: Option<Timestamp>,
}

/// `LastTieringOperationStatus`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieringStatus {
    /// `archival-in-progress`
    Archiving,
    /// `archival-completed`
    Archived,
    /// `archival-failed`
    Failed,
    /// On its way back, or back: a person's doing.
    Restored,
}

/// What was asked for and not answered, where that must not stop everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What it means.
    pub kind: ErrorKind,
    /// AWS's code; empty where there was no answer.
    pub code: String,
    /// What was asked and what came back, with every cause.
    pub message: String,
}

impl From<&Ec2Error> for Unread {
    fn from(err: &Ec2Error) -> Self {
        Self {
            kind: err.kind(),
            code: err.code().map_or_else(String::new, |(code, _)| code.to_owned()),
            message: Chain(err).to_string(),
        }
    }
}

/// What vaults have of the snapshots of one account and Region, by the way into the vault and the vault's Region. An own
/// snapshot of the vault is in here where its tags say that it is a copy of one of them; what is not looked at has no
/// entry.
pub type VaultCopies = BTreeMap<(Access, Region), Result<Vec<Snapshot>, Unread>>;

/// Zones in which snapshots are, or are being made, fast to restore.
pub type FastRestores = BTreeMap<SnapshotId, BTreeSet<String>>;

/// What `rotate-snapshots` knows of one account in one Region.
#[derive(Clone, Debug)]
pub struct ScopeInventory {
    /// Every volume that a policy may target, and those that own snapshots were made of and that still exist.
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// Where a policy is for instances, or for all but boot volumes: every instance of the Region.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Why they could not be read, if so; `instances` is empty then.
    pub instances_unread: Option<Unread>,
    /// Where a policy has `Scripts`: those of its instances that Systems Manager knows.
    pub managed: Result<BTreeMap<InstanceId, Managed>, Unread>,
    /// Where a policy has `Scripts`: the commands of ours, of their documents, since two slots ago.
    pub commands: Result<Vec<Command>, Unread>,
    /// Every snapshot of the account that carries `snapferry:policy`.
    pub snapshots: Vec<Snapshot>,
    /// Where there is a default policy: when the newest snapshot of a volume by any means began, where that was within
    /// the last days.
    pub recent: BTreeMap<VolumeId, Timestamp>,
    /// Which own snapshots an account can use, for every account that a policy shares with.
    pub shared: BTreeMap<AccountId, BTreeSet<SnapshotId>>,
    /// Keys of volumes and snapshots, where a policy shares. A key that could not be read is not in here.
    pub keys: BTreeMap<String, Key>,
    /// `Err`: it could not be read, with the reason; nothing may be deleted then.
    pub guards: Result<Guards, String>,
    /// Where a policy has a `FastRestoreRule`: what is enabled.
    pub fast_restores: Result<FastRestores, Unread>,
    /// Where a `FastRestoreRule` names zones by id: the Region's zones, id to name.
    pub zones: Result<BTreeMap<String, String>, Unread>,
    /// Where a policy has an `ArchiveRule`: what is, or was, on its way to another tier.
    pub tiering: Result<BTreeMap<SnapshotId, Tiering>, Unread>,
    /// Where a policy has `UnshareWhenCopied`: the vaults' copies.
    pub vaults: VaultCopies,
    /// Where something is under an AWS managed key: the keys of `DefaultKeyRescue`.
    pub rescue_keys: BTreeMap<KmsKeyId, Result<Key, Unread>>,
    /// Where a snapshot may have to be rescued: copies into the Region that are in progress, whoever began them.
    pub copies_in_progress: Result<BTreeSet<SnapshotId>, Unread>,
}

/// What is known of one account with all its Regions, where copies are made: the vault, or an account whose policies
/// have `CrossRegionCopyRules`.
#[derive(Debug)]
pub struct VaultInventory {
    /// The vault's own account.
    pub account: AccountId,
    /// What may be copied, by Region: in the vault, snapshots that the policies' owners share with this account; of
    /// `rotate-snapshots`, the account's own.
    pub sources: BTreeMap<Region, Vec<Snapshot>>,
    /// Target Regions.
    pub targets: BTreeMap<Region, TargetInventory>,
    /// The keys of the rules, of target Regions by default, and of the sources, by ARN or, as `encryption` has it, alias.
    pub keys: BTreeMap<String, Result<Key, Ec2Error>>,
    /// Target Regions in which some rule names no key.
    pub encryption: BTreeMap<Region, Result<EbsEncryption, Unread>>,
    /// Who the function is: the ARN of its role's session. Empty where it was not asked, or not told.
    pub caller: String,
    /// Tags of sources, as their owner's read role tells them; without one there are none.
    pub source_tags: BTreeMap<SnapshotId, Tags>,
    /// Sources of which EC2 refused a copy in this run, or gave no answer, by the Region they were to be copied to: they
    /// are not tried again in this run.
    pub refused: BTreeSet<(Region, SnapshotId)>,
    /// Everything was looked at, not just what an event named: copies may be judged by their age.
    pub whole: bool,
}

/// What the vault has in one target Region.
#[derive(Clone, Debug)]
pub struct TargetInventory {
    /// Copies of ours.
    pub copies: Vec<Snapshot>,
    /// Copies in progress, whoever began them: EC2 limits them per account and destination Region.
    pub in_progress: Vec<Snapshot>,
    /// As in [`ScopeInventory::guards`].
    pub guards: Result<Guards, String>,
}

impl ScopeInventory {
    /// Whether an instance boots from the volume.
    #[must_use]
    pub fn is_boot(&self, volume: &VolumeId) -> bool {
        self.instances.values().any(|instance| instance.boot_volume.as_ref() == Some(volume))
    }
}

impl VaultInventory {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(account: AccountId, whole: bool) -> Self {
        Self {
            account,
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            keys: BTreeMap::new(),
            encryption: BTreeMap::new(),
            caller: String::new(),
            source_tags: BTreeMap::new(),
            refused: BTreeSet::new(),
            whole,
        }
    }

    /// The scope of the vault in `region`.
    #[must_use]
    pub fn scope(&self, region: &Region) -> Scope {
        Scope { account: self.account.clone(), region: region.clone() }
    }
}

//! The port: what we need of EC2 (and of KMS for keys, and of Systems Manager for scripts), in our words, as small as our
//! IAM policy.
//!
//! `snapferry-aws` implements it over the SDK, `snapferry-sim` in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::future::Future;

use jiff::Timestamp;

use crate::commands::{Command, CommandId, Managed, Progress, SendCommand, Step};
use crate::ids::{AccountId, InstanceId, KmsKeyArn, Region, RoleArn, SnapshotId, UnitId, VolumeId};
use crate::inventory::{EbsEncryption, FastRestores, Instance, Key, Snapshot, Tiering, Volume};
use crate::policy::{DocumentScript, LockMode, Tags};
use crate::schedule::Slot;

/// Whose credentials to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The role to assume; `None`: the function's own credentials.
    pub role_arn: Option<RoleArn>,
    /// The secret the role's trust policy asks for. Never logged.
    pub external_id: Option<ExternalId>,
}

/// An external id; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalId(pub String);

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(…)")
    }
}

/// Gives an [`Ec2`] for an account and a Region.
pub trait Ec2Provider: Send + Sync {
    /// What it gives.
    type Ec2: Ec2;

    /// The Region the function runs in.
    fn home(&self) -> Region;

    /// `GetCallerIdentity`: the account of the function's own credentials.
    fn account(&self) -> impl Future<Output = Result<AccountId, Ec2Error>> + Send;

    /// `GetCallerIdentity`: the ARN of who the function is, for messages that say whom to allow something.
    fn caller(&self) -> impl Future<Output = Result<String, Ec2Error>> + Send;

    /// `ListAccountsForParent`: the active accounts directly in an organizational unit.
    fn accounts_in(
        &self,
        unit: &UnitId,
    ) -> impl Future<Output = Result<BTreeSet<AccountId>, Ec2Error>> + Send;

    /// `ListOrganizationalUnitsForParent`: the units directly below one.
    fn units_in(
        &self,
        unit: &UnitId,
    ) -> impl Future<Output = Result<BTreeSet<UnitId>, Ec2Error>> + Send;

    /// `AssumeRole` where `access` names a role, once per role and run.
    fn connect(
        &self,
        access: &Access,
        region: &Region,
    ) -> impl Future<Output = Result<Self::Ec2, Ec2Error>> + Send;
}

/// Which volumes to describe. Every variant is one paginated call per page of up to 1,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeFilter {
    /// Volumes that have a tag of one of these keys.
    TagKeys(BTreeSet<String>),
    /// Volumes of these ids, as far as they exist.
    Ids(BTreeSet<VolumeId>),
    /// Every volume.
    All,
}

/// Which instances to describe; never terminated ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceFilter {
    /// Instances that have a tag of one of these keys.
    TagKeys(BTreeSet<String>),
    /// Every instance.
    All,
}

/// Which snapshots to describe. Every variant is one paginated call per page of up to 1,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFilter {
    /// The account's own with a tag of this key.
    Tagged(&'static str),
    /// The account's own where the tag of this key has one of these values.
    TagValues(&'static str, BTreeSet<String>),
    /// The account's own, by whatever means, that began on one of these days (UTC).
    StartedOn(BTreeSet<jiff::civil::Date>),
    /// The account's own of these ids, as far as they exist.
    Ids(BTreeSet<SnapshotId>),
    /// The account's own that are pending, by whatever means.
    Pending,
    /// The account's own that this other account may use.
    SharedWith(AccountId),
    /// What these owners share with the caller; with ids, only those.
    SharedBy {
        /// Whose.
        owners: BTreeSet<AccountId>,
        /// `None`: all of them.
        ids: Option<BTreeSet<SnapshotId>>,
    },
}

impl SnapshotFilter {
    /// Whether only ids, volumes, states and times matter of what is found: there may be as many as the account has
    /// snapshots, and their tags and descriptions may be left out.
    #[must_use]
    pub fn is_without_texts(&self) -> bool {
        matches!(self, Self::StartedOn(_) | Self::SharedWith(_))
    }
}

/// Which commands to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandFilter {
    /// Of this document: its name, or ARN.
    pub document: String,
    /// No older ones. Systems Manager forgets them after 30 days.
    pub since: Timestamp,
    /// Only on this one.
    pub instance: Option<InstanceId>,
}

/// `CreateSnapshot`, tags included: no untagged snapshot ever exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSnapshot {
    /// Of what.
    pub volume: VolumeId,
    /// At most 255 characters.
    pub description: String,
    /// At most 50.
    pub tags: Tags,
}

/// `CreateSnapshots`, tags included: every volume of an instance at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSnapshots {
    /// Of which.
    pub instance: InstanceId,
    /// The volumes that are meant, for the record; EC2 takes all but the excluded ones.
    pub volumes: BTreeSet<VolumeId>,
    /// `ExcludeBootVolume`
    pub exclude_boot_volume: bool,
    /// `ExcludeDataVolumeIds`, at most 40.
    pub exclude_data_volumes: BTreeSet<VolumeId>,
    /// At most 255 characters.
    pub description: String,
    /// `CopyTagsFromSource`: every snapshot gets its volume's tags as well.
    pub copy_tags: bool,
    /// At most 50, with the volumes' own.
    pub tags: Tags,
    /// What runs on the instance before and after, so that the snapshots are application-consistent.
    pub script: Option<Box<ScriptRun>>, // few have one, and many are planned at once
}

/// The scripts around one creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRun {
    /// The document.
    pub document: DocumentScript,
    /// `ExecuteOperationOnScriptFailure`
    pub goes_on: bool,
    /// `MaximumRetryCount`, of a failed post-script.
    pub retries: u8,
    /// The policy's name.
    pub policy: String,
    /// What the set serves.
    pub slot: Slot,
    /// So many attempts were made before, by other runs.
    pub attempts_before: u8,
    /// So many may be made, one at the least.
    pub attempts_left: u8,
}

/// `LockSnapshot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockSnapshot {
    /// Which.
    pub snapshot: SnapshotId,
    /// Who can end it early.
    pub mode: LockMode,
    /// `ExpirationDate`
    pub until: Timestamp,
    /// `CoolOffPeriod`, compliance mode only.
    pub cool_off_period_hours: Option<u8>,
}

/// `CopySnapshot` into the Region of the client it is given to, tags included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySnapshot {
    /// What.
    pub source: SnapshotId,
    /// Where it is.
    pub source_region: Region,
    /// Whether it is encrypted: then EC2 wants the call to carry a signed one to the source Region as well.
    pub source_encrypted: bool,
    /// At most 255 characters.
    pub description: String,
    /// Ask for encryption. EC2 does not take an explicit `false`, so that is never sent.
    pub encrypted: bool,
    /// Under which key; `None`: the Region's key for EBS encryption by default.
    pub kms_key: Option<KmsKeyArn>,
    /// Time-based copy.
    pub completion_duration_minutes: Option<u16>,
    /// At most 50.
    pub tags: Tags,
}

/// EC2 in one account and Region.
pub trait Ec2: Send + Sync {
    /// `DescribeVolumes`, every page.
    fn describe_volumes(
        &self,
        which: &VolumeFilter,
    ) -> impl Future<Output = Result<Vec<Volume>, Ec2Error>> + Send;

    /// `DescribeInstances`, every page.
    fn describe_instances(
        &self,
        which: &InstanceFilter,
    ) -> impl Future<Output = Result<Vec<Instance>, Ec2Error>> + Send;

    /// `DescribeSnapshots`, every page.
    fn describe_snapshots(
        &self,
        which: &SnapshotFilter,
    ) -> impl Future<Output = Result<Vec<Snapshot>, Ec2Error>> + Send;

    /// `DescribeImages` of the account's own, every page: which snapshots are in use by an AMI.
    fn describe_images(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<SnapshotId, String>, Ec2Error>> + Send;

    /// `DescribeLockedSnapshots`, every page: those whose lock has not expired.
    fn describe_locked_snapshots(
        &self,
    ) -> impl Future<Output = Result<BTreeSet<SnapshotId>, Ec2Error>> + Send;

    /// `DescribeFastSnapshotRestores` of the account's own, every page: the zones where each is `enabling`,
    /// `optimizing` or `enabled`.
    fn describe_fast_snapshot_restores(
        &self,
    ) -> impl Future<Output = Result<FastRestores, Ec2Error>> + Send;

    /// `DescribeAvailabilityZones`: the Region's zones, id to name.
    fn describe_availability_zones(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<String, String>, Ec2Error>> + Send;

    /// `DescribeSnapshotTierStatus`, every page: those that are or were on their way to another tier.
    fn describe_snapshot_tier_status(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<SnapshotId, Tiering>, Ec2Error>> + Send;

    /// `GetEbsEncryptionByDefault` and `GetEbsDefaultKmsKeyId`: what EC2 does where a call names no key.
    fn ebs_encryption(&self) -> impl Future<Output = Result<EbsEncryption, Ec2Error>> + Send;

    /// KMS `DescribeKey`, in the Region of this client.
    fn describe_key(&self, key: &str) -> impl Future<Output = Result<Key, Ec2Error>> + Send;

    /// `CreateSnapshot`. Sent again only where EC2 said that it has not happened.
    fn create_snapshot(
        &self,
        request: &CreateSnapshot,
    ) -> impl Future<Output = Result<SnapshotId, Ec2Error>> + Send;

    /// `CreateSnapshots`. Sent again only where EC2 said that it has not happened.
    fn create_snapshots(
        &self,
        request: &CreateSnapshots,
    ) -> impl Future<Output = Result<Vec<SnapshotId>, Ec2Error>> + Send;

    /// `CopySnapshot`. Sent again only where EC2 said that it has not happened.
    fn copy_snapshot(
        &self,
        request: &CopySnapshot,
    ) -> impl Future<Output = Result<SnapshotId, Ec2Error>> + Send;

    /// `ModifySnapshotAttribute`: lets accounts use the snapshot. Doing it twice changes nothing.
    fn share_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `ModifySnapshotAttribute`: accounts cannot use the snapshot any more. Doing it twice changes nothing.
    fn unshare_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `ModifySnapshotTier` to the archive.
    fn archive_snapshot(
        &self,
        snapshot: &SnapshotId,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `LockSnapshot`.
    fn lock_snapshot(
        &self,
        request: &LockSnapshot,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `EnableFastSnapshotRestores` of one snapshot. A zone that AWS answers as unsuccessful is an error.
    fn enable_fast_snapshot_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `DisableFastSnapshotRestores` of one snapshot. A zone that AWS answers as unsuccessful is an error.
    fn disable_fast_snapshot_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `CreateTags` on up to 500 snapshots. Doing it twice changes nothing.
    fn create_tags(
        &self,
        snapshots: &[SnapshotId],
        tags: &Tags,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `DescribeInstanceInformation` of Systems Manager, every page: those of the instances that it knows.
    fn describe_instance_information(
        &self,
        instances: &BTreeSet<InstanceId>,
    ) -> impl Future<Output = Result<BTreeMap<InstanceId, Managed>, Ec2Error>> + Send;

    /// `ListCommandInvocations`, every page: the commands of ours.
    fn list_commands(
        &self,
        which: &CommandFilter,
    ) -> impl Future<Output = Result<Vec<Command>, Ec2Error>> + Send;

    /// `ListCommandInvocations` of one command on one instance. [`ErrorKind::NotReady`]: Systems Manager does not know it
    /// yet.
    fn get_command(
        &self,
        command: &CommandId,
        instance: &InstanceId,
    ) -> impl Future<Output = Result<Progress, Ec2Error>> + Send;

    /// `SendCommand`. Sent again only where Systems Manager said that it has not happened; a post-script in any case, as
    /// doing it twice does no harm.
    fn send_command(
        &self,
        request: &SendCommand,
    ) -> impl Future<Output = Result<CommandId, Ec2Error>> + Send;

    /// `CancelCommand`: what has not begun does not begin any more. Doing it twice changes nothing.
    fn cancel_command(
        &self,
        command: &CommandId,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;

    /// `DeleteSnapshot`. A snapshot that is already gone is success.
    fn delete_snapshot(
        &self,
        snapshot: &SnapshotId,
    ) -> impl Future<Output = Result<(), Ec2Error>> + Send;
}

/// What went wrong, split by what we know afterwards.
#[derive(Debug, thiserror::Error)]
pub enum Ec2Error {
    /// AWS answered with an error: nothing has happened.
    #[error("AWS refused {operation}: {message} ({code}, request ID {request_id})")]
    Refused {
        /// The API operation.
        operation: &'static str,
        /// What it means for us.
        kind: ErrorKind,
        /// AWS's error code.
        code: String,
        /// AWS's text.
        message: String,
        /// For AWS's support.
        request_id: String,
    },
    /// There was no answer that we understand: it may have happened. The next run looks first.
    #[error("no answer to {operation}")]
    NoAnswer {
        /// The API operation.
        operation: &'static str,
        /// What was seen instead.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It could not even be sent: nothing has happened.
    #[error("cannot send {operation}")]
    NotSent {
        /// The API operation.
        operation: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A command was sent, and did not do what it should have done on its instance.
    #[error(transparent)]
    Command(Box<CommandFailed>),
    /// The role of another account could not be assumed.
    #[error(
        "cannot assume {role} in account {account} as {caller}: check that the role exists, that its trust \
         policy names this principal{}, and that no service control policy or permissions boundary forbids \
         sts:AssumeRole",
        if *.external_id { " and the ExternalId of the policy document" } else { " (the document gives no ExternalId)" }
    )]
    AssumeRole {
        /// Which role.
        role: RoleArn,
        /// The account it lives in.
        account: AccountId,
        /// Who tried.
        caller: String,
        /// Whether an `ExternalId` was sent.
        external_id: bool,
        /// What STS said.
        source: Box<Ec2Error>,
    },
}

/// What a command did not do.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {step} of {document} on {instance} {what}{}",
    match .progress { Some(it) => format!(": {it}"), None => String::new() }
)]
pub struct CommandFailed {
    /// Which step.
    pub step: Step,
    /// The document's name, or ARN.
    pub document: String,
    /// Where.
    pub instance: InstanceId,
    /// What became of it, and what that means.
    pub what: String,
    /// As Systems Manager tells it, where it does.
    pub progress: Option<Progress>,
}

impl Ec2Error {
    /// What it means for us.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::NoAnswer { .. } => ErrorKind::NoAnswer,
            Self::NotSent { .. } => ErrorKind::Invalid,
            Self::Command(_) => ErrorKind::ScriptFailed,
            Self::AssumeRole { source, .. } => source.kind(),
        }
    }

    /// AWS's code and request id, where AWS answered.
    #[must_use]
    pub fn code(&self) -> Option<(&str, &str)> {
        match self {
            Self::Refused { code, request_id, .. } => Some((code, request_id)),
            Self::NoAnswer { .. } | Self::NotSent { .. } | Self::Command(_) => None,
            Self::AssumeRole { source, .. } => source.code(),
        }
    }
}

/// What an error means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// A permission is missing. Waiting does not help.
    AccessDenied,
    /// The Region is not enabled for the account.
    RegionDisabled,
    /// Too many calls; the next run goes on.
    Throttled,
    /// A limit of EC2 is reached; the next run goes on.
    QuotaExceeded,
    /// The object is not ready yet; the next run goes on.
    NotReady,
    /// The object does not exist, or not for us.
    NotFound,
    /// An AMI, a lock or a service needs the snapshot.
    InUse,
    /// AWS does not take the request as it is. Waiting does not help.
    Invalid,
    /// A script, or what it speaks to, has failed on its instance. Waiting does not help.
    ScriptFailed,
    /// A KMS key cannot be used for it. Waiting does not help.
    KeyUnusable,
    /// AWS failed.
    Internal,
    /// There was no answer: it may have happened.
    NoAnswer,
}

impl ErrorKind {
    /// The next run will see to it; nobody needs to act.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Throttled | Self::QuotaExceeded | Self::NotReady)
    }
}

//! What a plan is made of: plain data, with the reason beside every decision.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::commands::SendCommand;
use crate::ec2::{Access, CopySnapshot, CreateSnapshot, CreateSnapshots, ErrorKind, LockSnapshot};
use crate::ids::{AccountId, InstanceId, Scope, SnapshotId, VolumeId};
use crate::policy::Tags;
use crate::schedule::Slot;

pub use hold::Hold;
pub use kept::{Copied, Keeping, Kept, Period};
pub use reason::{ArchiveOver, Expired, Reason};

mod hold;
mod kept;
mod reason;

/// One call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new snapshot.
    CreateSnapshot(CreateSnapshot),
    /// New snapshots of all volumes of an instance, at one instant.
    CreateSnapshots(CreateSnapshots),
    /// Let accounts use a snapshot.
    ShareSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// Who is to be added.
        accounts: BTreeSet<AccountId>,
        /// Everybody who can use it afterwards: what the tag `snapferry:shared-with` will say.
        all: BTreeSet<AccountId>,
    },
    /// Accounts may not use a snapshot any more.
    UnshareSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// Who is to be removed.
        accounts: BTreeSet<AccountId>,
        /// Of the accounts that the policy names, those that can use it afterwards.
        all: BTreeSet<AccountId>,
    },
    /// Make a snapshot fast to restore in these zones.
    EnableFastRestore {
        /// Which.
        snapshot: SnapshotId,
        /// Names, such as `eu-central-1a`.
        zones: BTreeSet<String>,
    },
    /// The opposite.
    DisableFastRestore {
        /// Which.
        snapshot: SnapshotId,
        /// Names, such as `eu-central-1a`.
        zones: BTreeSet<String>,
    },
    /// Protect a snapshot against deletion.
    LockSnapshot(LockSnapshot),
    /// Move a snapshot to the archive tier.
    ArchiveSnapshot(SnapshotId),
    /// The sharing was seen in EC2, but its record, the tag `snapferry:shared-with`, is missing or wrong.
    RecordShare {
        /// Which.
        snapshot: SnapshotId,
        /// What the tag will say.
        all: BTreeSet<AccountId>,
    },
    /// A new copy, into the Region of the scope.
    CopySnapshot(CopySnapshot),
    /// Have an instance do something.
    SendCommand(SendCommand),
    /// What became of the scripts around snapshots.
    RecordScripts {
        /// Of one creation.
        snapshots: Vec<SnapshotId>,
        /// What they will say, `snapferry:post-script` and `snapferry:app-consistent`.
        tags: Tags,
    },
    /// The end of a snapshot.
    DeleteSnapshot(SnapshotId),
}

impl Action {
    /// The name of the operation, EC2's or Systems Manager's.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::CreateSnapshot(_) => "CreateSnapshot",
            Self::CreateSnapshots(_) => "CreateSnapshots",
            Self::ShareSnapshot { .. } | Self::UnshareSnapshot { .. } => "ModifySnapshotAttribute",
            Self::EnableFastRestore { .. } => "EnableFastSnapshotRestores",
            Self::DisableFastRestore { .. } => "DisableFastSnapshotRestores",
            Self::LockSnapshot(_) => "LockSnapshot",
            Self::ArchiveSnapshot(_) => "ModifySnapshotTier",
            Self::RecordShare { .. } | Self::RecordScripts { .. } => "CreateTags",
            Self::SendCommand(_) => "SendCommand",
            Self::CopySnapshot(_) => "CopySnapshot",
            Self::DeleteSnapshot(_) => "DeleteSnapshot",
        }
    }

    /// Whether data may be lost by it.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        matches!(self, Self::DeleteSnapshot(_))
    }

    /// What is sent instead, once, where EC2 has refused this with an error of this kind. It is part of the action, so
    /// that whoever performs it has nothing to decide.
    ///
    /// Only a time-based copy has that: as a standard one, which is later and nothing else. EC2 refuses it where the
    /// throughput quota is used up
    /// ([Time-based copies](https://docs.aws.amazon.com/ebs/latest/userguide/time-based-copies.html)), with a code that
    /// AWS does not tell. Every other limit has a code that means [`ErrorKind::QuotaExceeded`]; a code that nobody
    /// knows, or one for what a Region does not offer, means [`ErrorKind::Invalid`]. If it was refused for anything
    /// else, the standard copy is refused likewise.
    #[must_use]
    pub fn instead(&self, refused: ErrorKind) -> Option<Self> {
        let may_be_the_duration = matches!(refused, ErrorKind::QuotaExceeded | ErrorKind::Invalid);
        match self {
            Self::CopySnapshot(request) if may_be_the_duration => {
                request.completion_duration_minutes?;
                let standard =
                    CopySnapshot { completion_duration_minutes: None, ..request.clone() };
                Some(Self::CopySnapshot(standard))
            }
            _ => None,
        }
    }

    /// Whether it makes a snapshot, so that sending it twice would make two.
    #[must_use]
    pub fn creates(&self) -> bool {
        matches!(self, Self::CreateSnapshot(_) | Self::CreateSnapshots(_) | Self::CopySnapshot(_))
    }
}

/// An action, where, for whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Account and Region of the call.
    pub scope: Scope,
    /// With whose credentials.
    pub access: Access,
    /// What.
    pub action: Action,
    /// Who wants it, and about what.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
}

/// What a decision is about: the identifiers that a report line repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The policy's name.
    pub policy: String,
    /// The schedule's or the rule's name.
    pub schedule: String,
    /// The slot it is about.
    pub slot: Option<Slot>,
    /// The volume it is about; of a copy, the source's.
    pub volume: Option<VolumeId>,
    /// The instance whose volumes are taken together.
    pub instance: Option<InstanceId>,
    /// The snapshot it is about, where it exists already.
    pub snapshot: Option<SnapshotId>,
    /// The snapshot that is or was copied.
    pub source: Option<SnapshotId>,
}

/// What policy wants and cannot be had without someone acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// Where.
    pub scope: Scope,
    /// The EC2 operation that would have done it.
    pub operation: &'static str,
    /// About what.
    pub subject: Subject,
    /// What it means.
    pub kind: ErrorKind,
    /// AWS's word for it, where there is one.
    pub code: String,
    /// Why not, and the remedies.
    pub message: String,
}

/// What waits: the next run goes on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// What will be done.
    pub planned: Planned,
    /// What it waits for.
    pub waits_for: String,
}

/// A decision not to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub scope: Scope,
    /// About what.
    pub subject: Subject,
    /// Why not.
    pub why: Hold,
}

/// How well a volume is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Where the snapshot or copy is.
    pub scope: Scope,
    /// Who wants it.
    pub policy: String,
    /// Of what; of a copy, the source's volume.
    pub volume: VolumeId,
    /// The moment whose data the newest completed one holds.
    pub newest_completed: Option<Timestamp>,
    /// A policy in force still wants it protected: it counts for the metric.
    pub is_wanted: bool,
    /// Since when the volume waits for its first, where there is none.
    pub since: Option<Timestamp>,
}

/// Everything decided about one scope, in the order it will be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub actions: Vec<Planned>,
    /// What waits.
    pub deferred: Vec<Deferred>,
    /// What cannot be done.
    pub impossible: Vec<Impossible>,
    /// What is deliberately not done.
    pub held: Vec<Held>,
    /// What stays, and why.
    pub kept: Vec<Kept>,
    /// What has been copied, or is being.
    pub copied: Vec<Copied>,
    /// How well every wanted volume is protected.
    pub coverage: Vec<Coverage>,
}

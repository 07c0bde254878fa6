//! What a plan is made of: plain data, with the reason beside every decision.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::ec2::{Access, CopySnapshot, CreateSnapshot, ErrorKind};
use crate::ids::{AccountId, Scope, SnapshotId, VolumeId};
use crate::schedule::Slot;
use crate::tags;

/// One call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new snapshot.
    CreateSnapshot(CreateSnapshot),
    /// Let accounts use a snapshot.
    ShareSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// Who is to be added.
        accounts: BTreeSet<AccountId>,
        /// Everybody who can use it afterwards: what the tag `snapferry:shared-with` will say.
        all: BTreeSet<AccountId>,
    },
    /// The sharing was seen in EC2, but its record, the tag `snapferry:shared-with`, is missing or wrong.
    RecordShare {
        /// Which.
        snapshot: SnapshotId,
        /// What the tag will say.
        all: BTreeSet<AccountId>,
    },
    /// A new copy, into the Region of the scope.
    CopySnapshot(CopySnapshot),
    /// The end of a snapshot.
    DeleteSnapshot(SnapshotId),
}

impl Action {
    /// The name of the EC2 operation.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::CreateSnapshot(_) => "CreateSnapshot",
            Self::ShareSnapshot { .. } => "ModifySnapshotAttribute",
            Self::RecordShare { .. } => "CreateTags",
            Self::CopySnapshot(_) => "CopySnapshot",
            Self::DeleteSnapshot(_) => "DeleteSnapshot",
        }
    }

    /// Whether data may be lost by it.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        matches!(self, Self::DeleteSnapshot(_))
    }

    /// Whether it makes a snapshot, so that sending it twice would make two.
    #[must_use]
    pub fn creates(&self) -> bool {
        matches!(self, Self::CreateSnapshot(_) | Self::CopySnapshot(_))
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
    /// The snapshot it is about, where it exists already.
    pub snapshot: Option<SnapshotId>,
    /// The snapshot that is or was copied.
    pub source: Option<SnapshotId>,
}

/// Why something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The slot is due and no snapshot serves it.
    SlotLacksSnapshot,
    /// The slot's only snapshot ended in `error`.
    SlotOnlyHasFailed(SnapshotId),
    /// The policy shares it.
    NotSharedYet,
    /// The share exists, its tag does not say so.
    ShareNotRecorded,
    /// The rule wants a copy and there is none.
    NoCopy,
    /// The rule wants a copy and there are only failed ones.
    OnlyFailedCopies(SnapshotId),
    /// No rule keeps it any more.
    Retention(Expired),
    /// An older good snapshot serves the same slot, or is a copy of the same source by the same rule.
    Duplicate(SnapshotId),
    /// It ended in `error`; the text is EC2's.
    Failed(String),
    /// Its own `snapferry:expires-at` is over.
    ExpiresAt(Timestamp),
    /// As `ExpiresAt`, and the policy or the rule that made it is gone.
    Orphan(Timestamp),
}

/// Which limits a snapshot is over: every one that its rules set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// It is the so-many-th newest, and the rule keeps so many.
    pub count: Option<(usize, u32)>,
    /// It was to stay until then.
    pub age: Option<Timestamp>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotLacksSnapshot => f.write_str("no snapshot for this slot"),
            Self::SlotOnlyHasFailed(id) => {
                write!(f, "no good snapshot for this slot, {id} ended in error")
            }
            Self::NotSharedYet => f.write_str("completed and not shared yet"),
            Self::ShareNotRecorded => f.write_str("shared, but its tag does not say so"),
            Self::NoCopy => f.write_str("shared with this account and not copied yet"),
            Self::OnlyFailedCopies(id) => write!(f, "the only copy, {id}, ended in error"),
            Self::Retention(Expired { count, age }) => {
                if let Some((rank, kept)) = count {
                    write!(f, "number {rank} by age, of which the newest {kept} stay")?;
                }
                if count.is_some() && age.is_some() {
                    f.write_str("; ")?;
                }
                if let Some(until) = age {
                    write!(f, "kept until {}", tags::instant(*until))?;
                }
                Ok(())
            }
            Self::Duplicate(keeper) => write!(f, "{keeper} is the same and older"),
            Self::Failed(message) => write!(f, "ended in error: {message}"),
            Self::ExpiresAt(at) => write!(f, "expired at {}", tags::instant(*at)),
            Self::Orphan(at) => {
                write!(f, "its policy or rule is gone, and it expired at {}", tags::instant(*at))
            }
        }
    }
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

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// An AMI uses the snapshot.
    InUse(String),
    /// A snapshot lock is on it.
    Locked,
    /// Another service manages it.
    ManagedBy(&'static str),
    /// Whether an AMI uses it or a lock is on it could not be read.
    GuardsUnknown(String),
    /// Nothing else of its volume is good.
    LastGood,
    /// The volume exists and no policy targets it any more: DLM stops managing its snapshots then.
    NoTarget,
    /// The volume is gone, and retention is by count: DLM stops managing its snapshots then.
    VolumeGone,
    /// Its policy is not among the documents, or its schedule or rule not in the policy.
    Unclaimed(String),
    /// Nothing of it will be done while its policy is disabled.
    Disabled,
    /// The policy's tags are on no volume, in none of its accounts and Regions.
    NoVolumes,
    /// It is under a key that no other account can use, and a newer one tells that already.
    Unshareable(String),
    /// The volume cannot be snapshotted in its state, or is gone.
    VolumeUnusable,
    /// The snapshot is not shared with this account, or not any more.
    NotShared,
    /// The owner is in no policy's `SnapshotOwner`.
    OwnerNotWanted(AccountId),
    /// The event claims that this account shared it with itself.
    OwnSnapshot,
    /// No policy's `DescriptionRegex` matches.
    DescriptionNotWanted,
    /// The source is older than copies of it may become.
    PastRetention(Timestamp),
    /// The source cannot be copied in its state.
    SourceState(String),
    /// EC2 said so when it was tried.
    Ec2(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(ami) => write!(f, "in use by {ami}"),
            Self::Locked => f.write_str("locked"),
            Self::ManagedBy(who) => write!(f, "managed by {who}"),
            Self::GuardsUnknown(why) => {
                write!(f, "cannot tell whether an AMI or a lock needs it: {why}")
            }
            Self::LastGood => f.write_str("the newest completed one of its volume always stays"),
            Self::NoTarget => f.write_str("its volume is no target any more"),
            Self::VolumeGone => {
                f.write_str("its volume is gone, and retention by count ends with the volume")
            }
            Self::Unclaimed(what) => write!(f, "{what} is gone, and nothing says when it expires"),
            Self::Disabled => f.write_str("its policy is disabled"),
            Self::NoVolumes => {
                f.write_str("the policy targets no volume in any of its accounts and Regions")
            }
            Self::Unshareable(key) => write!(
                f,
                "encrypted under {key}, which no other account can use, as is told of the newest one"
            ),
            Self::VolumeUnusable => f.write_str("the volume is neither available nor in use"),
            Self::NotShared => f.write_str("not shared with this account, or not any more"),
            Self::OwnerNotWanted(owner) => write!(f, "no policy names {owner} as SnapshotOwner"),
            Self::OwnSnapshot => f.write_str("this account's own snapshot, not a shared one"),
            Self::DescriptionNotWanted => {
                f.write_str("no policy's DescriptionRegex matches its description")
            }
            Self::PastRetention(until) => {
                write!(f, "past its retention, which ended at {}", tags::instant(*until))
            }
            Self::SourceState(state) => write!(f, "the source is {state}"),
            Self::Ec2(text) => f.write_str(text),
        }
    }
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
    /// How well every wanted volume is protected.
    pub coverage: Vec<Coverage>,
}

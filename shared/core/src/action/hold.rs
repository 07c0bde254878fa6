//! Why something is not done.

use std::fmt;

use jiff::Timestamp;

use crate::chain::one_line;
use crate::ids::{AccountId, Region, SnapshotId, VolumeId};
use crate::tags;

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
    /// Neither EC2 nor the source's description tells which volume it is of.
    VolumeUnknown,
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
    /// The instance cannot be snapshotted in its state.
    InstanceUnusable,
    /// It is stopped: its snapshots need no scripts.
    NotRunning,
    /// Its scripts are under way, or their outcome is not known yet.
    Script(String),
    /// The policy's `Parameters` exclude every volume of the instance.
    NoVolumesLeft,
    /// The volumes' tags are not copied: with ours they are more than EC2 takes, or one of them is ours already.
    TagsNotCopied(VolumeId),
    /// Its instance could not be looked at.
    InstanceUnknown(String),
    /// The instance exists and no policy targets it any more.
    NoTargetInstance,
    /// The instance is gone, or has not even the tags' keys any more, and retention is by count.
    InstanceGone,
    /// The volume is younger than a day, which a default policy waits for.
    TooYoung,
    /// Fast snapshot restore takes snapshots of volumes of at most 16 TiB.
    TooLargeForFastRestore(u32),
    /// Somebody brought it back from the archive; it stays until it would have left it.
    RestoredFromArchive,
    /// It is, or goes, to the archive tier, and that could not be read.
    TierUnknown(String),
    /// It could not be moved to the archive within 24 hours; it stays in the standard tier until it would have left
    /// the archive.
    ArchiveGivenUp,
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
    /// So many newer ones of its volume are enough for the rule.
    EnoughNewer,
    /// So many copies by the rule are not encrypted, or under another key than the rule's.
    NotAsEncrypted(usize, String, Option<String>),
    /// Whether the Region's key for EBS encryption can be used could not be looked at beforehand.
    DefaultKeyUnread(Region, String),
    /// The source cannot be copied in its state.
    SourceState(String),
    /// A copy was a full one, though this earlier one was there to build on.
    FullCopy(SnapshotId),
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
            Self::VolumeUnknown => f.write_str(
                "nothing tells which volume it is of, so that it may be the last of it: the source was itself a copy, \
                 and its description has no slot: … volume: vol-…",
            ),
            Self::NoTarget => f.write_str("its volume is no target any more"),
            Self::VolumeGone => {
                f.write_str("its volume is gone, and retention by count ends with the volume")
            }
            // Whoever can tag a snapshot has written that.
            Self::Unclaimed(what) => {
                write!(f, "{} is gone, and nothing says when it expires", one_line(what))
            }
            Self::Disabled => f.write_str("its policy is disabled"),
            Self::NoVolumes => {
                f.write_str("the policy targets no volume in any of its accounts and Regions")
            }
            Self::Unshareable(key) => write!(
                f,
                "encrypted under {key}, which no other account can use, as is told of the newest one"
            ),
            Self::VolumeUnusable => f.write_str("the volume is neither available nor in use"),
            Self::InstanceUnusable => {
                f.write_str("the instance is neither running, stopping nor stopped")
            }
            Self::NotRunning => f.write_str(
                "the instance does not run, so that no script can run on it, and none is needed: nothing writes to its \
                 volumes",
            ),
            Self::NoVolumesLeft => {
                f.write_str("Parameters exclude every volume of the instance, so there is none to snapshot")
            }
            Self::TagsNotCopied(volume) => write!(
                f,
                "tags of {volume} are not copied: with the schedule's and snapferry's own they are more than the 50 \
                 that EC2 takes, or set one of the same keys"
            ),
            Self::InstanceUnknown(why) => write!(f, "cannot tell what became of its instance: {why}"),
            Self::NoTargetInstance => f.write_str("its instance is no target any more"),
            Self::InstanceGone => f.write_str(
                "its instance is gone or no target any more, and retention by count ends with that",
            ),
            Self::TooYoung => f.write_str("a default policy waits until a volume is 24 hours old"),
            Self::TooLargeForFastRestore(gib) => {
                write!(f, "{gib} GiB are more than the 16 TiB that fast snapshot restore takes")
            }
            Self::RestoredFromArchive => f.write_str(
                "brought back from the archive: it stays in the standard tier until it would have left the archive",
            ),
            Self::TierUnknown(why) => write!(f, "cannot tell how it stands in the archive tier: {why}"),
            Self::ArchiveGivenUp => f.write_str(
                "it could not be archived within 24 hours: it stays in the standard tier until it would have left \
                 the archive",
            ),
            Self::NotShared => f.write_str("not shared with this account, or not any more"),
            Self::OwnerNotWanted(owner) => write!(f, "no policy names {owner} as SnapshotOwner"),
            Self::OwnSnapshot => f.write_str("this account's own snapshot, not a shared one"),
            Self::DescriptionNotWanted => {
                f.write_str("no policy's DescriptionRegex matches its description")
            }
            Self::PastRetention(until) => {
                write!(f, "past its retention, which ended at {}", tags::instant(*until))
            }
            Self::EnoughNewer => f.write_str("newer ones are all that the rule's retention keeps"),
            Self::NotAsEncrypted(n, rule, key) => {
                let key = key.as_deref().unwrap_or("a key");
                write!(f, "{n} completed copies by rule {rule} are not under {key}, as the rule has it; new ones are, \
                           these stay until their time")
            }
            Self::DefaultKeyUnread(region, why) => write!(
                f,
                "copies to {region} go ahead without a look at its key for EBS encryption: {why}"
            ),
            Self::SourceState(state) => write!(f, "the source is {state}"),
            Self::FullCopy(base) => write!(
                f,
                "a full copy, though {base} was there to build on: it takes the time and the space of the whole \
                 volume; check in this Region whether copies of this volume were deleted, archived or put under \
                 another key meanwhile"
            ),
            Self::Script(text) | Self::Ec2(text) => f.write_str(text),
        }
    }
}

//! Why something is done.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::commands::Step;
use crate::ids::{Region, SnapshotId};
use crate::tags;

/// Why something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The slot is due and no snapshot serves it.
    SlotLacksSnapshot,
    /// The slot's only snapshot ended in `error`.
    SlotOnlyHasFailed(SnapshotId),
    /// As `SlotLacksSnapshot`, after scripts that failed: which, and how.
    ScriptAgain(String),
    /// As `SlotLacksSnapshot`, and its scripts cannot run or have failed, as is told beside it.
    CrashConsistent,
    /// A script is part of a creation.
    AroundSnapshots(Step),
    /// Nobody has sent it, or it has failed: the text says which.
    PostScript(String),
    /// What became of the scripts is known, and not written on the snapshots.
    ScriptResult(String),
    /// The volume is a default policy's, and its newest snapshot by any means is older than `CreateInterval`, or there
    /// is none.
    NotProtected(Option<Timestamp>),
    /// The policy shares it.
    NotSharedYet,
    /// `UnshareInterval` was over at that time.
    SharedLongEnough(Timestamp),
    /// The vault has a completed copy in all of these Regions, which are all that `UnshareWhenCopied` names.
    Copied(BTreeSet<Region>),
    /// The policy wants it fast to restore.
    NotFastYet,
    /// No `FastRestoreRule` wants it fast to restore any more.
    FastLongEnough,
    /// The policy wants it locked, until then.
    NotLockedYet(Timestamp),
    /// Its time in the standard tier was over at that time.
    LeavesStandardTier(Timestamp),
    /// The share exists, its tag does not say so.
    ShareNotRecorded,
    /// The rule wants a copy and there is none.
    NoCopy,
    /// The schedule's rule wants a copy within the account and there is none.
    NoCopyYet,
    /// It is under the first key, which no other account can use: `DefaultKeyRescue` copies it under the other, to be shared.
    Rescue(String, String),
    /// It stood in for a snapshot of which that is true now.
    StandInOver(&'static str),
    /// The rule wants a copy and there are only failed ones.
    OnlyFailedCopies(SnapshotId),
    /// As the first says; and it was sent as a standard copy, because EC2 refused the time-based one with the second.
    AsStandardCopy(Box<Self>, String),
    /// No rule keeps it any more.
    Retention(Expired),
    /// An older good snapshot serves the same slot, or is a copy of the same source by the same rule.
    Duplicate(SnapshotId),
    /// Its set is not complete, and this one of another set for the same slot stays.
    OfBrokenSet(SnapshotId),
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
    /// It is not, or not any more, the newest of a period that `Keep` wants.
    pub keep: bool,
    /// It was in the archive tier until then, or so many newer ones are.
    pub archive: Option<ArchiveOver>,
}

/// Why the archive tier does not keep a snapshot any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArchiveOver {
    /// It is the so-many-th newest, and the rule keeps so many.
    Count(usize, u32),
    /// It was to stay until then.
    Age(Timestamp),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotLacksSnapshot => f.write_str("no snapshot for this slot"),
            Self::SlotOnlyHasFailed(id) => {
                write!(f, "no good snapshot for this slot, {id} ended in error")
            }
            Self::ScriptAgain(why) => write!(f, "no snapshot for this slot; {why}"),
            Self::CrashConsistent => f.write_str(
                "no snapshot for this slot; crash-consistent, as its scripts cannot help",
            ),
            Self::AroundSnapshots(Step::PreScript) => {
                f.write_str("before the snapshots for this slot")
            }
            Self::AroundSnapshots(_) => f.write_str("after the snapshots for this slot"),
            Self::PostScript(why) | Self::ScriptResult(why) => f.write_str(why),
            Self::NotSharedYet => f.write_str("completed and not shared yet"),
            Self::ShareNotRecorded => f.write_str("shared, but its tag does not say so"),
            Self::NoCopyYet => f.write_str("completed and not copied yet"),
            Self::NoCopy => f.write_str("shared with this account and not copied yet"),
            Self::Rescue(default, key) => {
                write!(
                    f,
                    "under {default}, which no other account can use: copied under {key} to be shared"
                )
            }
            Self::StandInOver(why) => write!(f, "what it stands in for {why}"),
            Self::OnlyFailedCopies(id) => write!(f, "the only copy, {id}, ended in error"),
            Self::AsStandardCopy(reason, refused) => {
                write!(
                    f,
                    "{reason}; sent as a standard copy, as EC2 did not take the time-based one: {refused}"
                )
            }
            Self::Retention(expired) => write!(f, "{expired}"),
            Self::NotProtected(None) => {
                f.write_str("no recent snapshot of the volume by any means")
            }
            Self::NotProtected(Some(newest)) => {
                write!(f, "its newest snapshot by any means is of {}", tags::instant(*newest))
            }
            Self::SharedLongEnough(at) => {
                write!(f, "UnshareInterval was over at {}", tags::instant(*at))
            }
            Self::Copied(regions) => write!(f, "copied to {}", and(regions)),
            Self::NotFastYet => f.write_str("FastRestoreRule wants it, and it is not enabled"),
            Self::FastLongEnough => f.write_str("no FastRestoreRule wants it any more"),
            Self::NotLockedYet(until) => {
                write!(f, "LockRule wants it locked until {}", tags::instant(*until))
            }
            Self::LeavesStandardTier(at) => {
                write!(f, "its time in the standard tier was over at {}", tags::instant(*at))
            }
            Self::Duplicate(keeper) => write!(f, "{keeper} is the same and older"),
            Self::OfBrokenSet(stays) => {
                write!(
                    f,
                    "its set is not complete, and {stays} of another set serves the same slot"
                )
            }
            Self::Failed(message) => write!(f, "ended in error: {message}"),
            Self::ExpiresAt(at) => write!(f, "expired at {}", tags::instant(*at)),
            Self::Orphan(at) => {
                write!(f, "its policy or rule is gone, and it expired at {}", tags::instant(*at))
            }
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn and(regions: &BTreeSet<Region>) -> String {
    let names: Vec<&str> = regions.iter().map(Region::as_str).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some((rank, kept)) = self.count {
            parts.push(format!("number {rank} by age, of which the newest {kept} stay"));
        }
        if let Some(until) = self.age {
            parts.push(format!("kept until {}", tags::instant(until)));
        }
        if self.keep {
            parts.push("not the newest of any period that Keep wants".into());
        }
        match self.archive {
            Some(ArchiveOver::Count(rank, kept)) => parts.push(format!(
                "number {rank} by age in the archive tier, of which the newest {kept} stay"
            )),
            Some(ArchiveOver::Age(until)) => {
                parts.push(format!("kept in the archive tier until {}", tags::instant(until)));
            }
            None => {}
        }
        f.write_str(&parts.join("; "))
    }
}

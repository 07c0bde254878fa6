//! Why a snapshot stays.

use std::fmt;

use jiff::Timestamp;

use super::{ArchiveOver, Subject};
use crate::ids::{Scope, SnapshotId};
use crate::inventory::State;
use crate::tags;

/// A decision to let a snapshot stay, for `examples/plan` and for whoever asks why it is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub scope: Scope,
    /// Which.
    pub subject: Subject,
    /// Every rule that keeps it. Never empty.
    pub why: Vec<Keeping>,
}

/// A rule that a source needs no copy for any more, for `examples/plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where the copy is.
    pub scope: Scope,
    /// Source and copy.
    pub subject: Subject,
    /// How far the copy is.
    pub state: State,
}

/// Why a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It is the so-many-th newest, and the schedule's or rule's `Count` keeps so many.
    Count(String, usize, u32),
    /// The schedule or rule keeps it until then.
    Until(String, Timestamp),
    /// It is the newest of a period that the schedule's or rule's `Keep` wants.
    Period(String, Period),
    /// It is the so-many-th newest, and `MinimumCount` keeps so many.
    MinimumCount(String, usize, u32),
    /// The schedule or rule has no retention that ends.
    Forever(String),
    /// The archive tier keeps it: by number, or until then.
    Archive(String, ArchiveOver),
    /// It is on its way into the archive.
    Archiving(String),
    /// It is not completed: nobody has an opinion yet.
    Unfinished(State),
    /// Its policy is disabled.
    Disabled,
    /// Its policy is in force elsewhere, or the documents at hand are not all.
    NotOurs,
    /// Its own `snapferry:expires-at`, its policy or schedule being gone or its volume no target any more.
    OwnExpiry(Timestamp),
    /// Its own expiry is over, and its source is still there and within its rule's retention as it is now: without it
    /// the source would be copied again.
    WouldBeCopiedAgain,
    /// A younger one that is the same leaves first.
    TwinLeaves,
    /// A copy that failed, while there is none that did not.
    FailedMemory,
    /// It is shared in place of this one, which no other account can use.
    StandsIn(SnapshotId),
}

/// Which of `Keep`'s periods, the so-many-th newest of so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// `Hourly`, `Daily`, `Weekly`, `Monthly`, `Yearly`.
    pub kind: &'static str,
    /// Such as `2026-W47`.
    pub name: String,
    /// From 1, the newest.
    pub rank: usize,
    /// How many the rule keeps.
    pub kept: u32,
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(who, rank, kept) => write!(f, "{who}: number {rank} of the newest {kept}"),
            Self::Until(who, until) => write!(f, "{who}: until {}", tags::instant(*until)),
            Self::Period(who, Period { kind, name, rank, kept }) => {
                write!(f, "{who}: newest of {name}, {kind} number {rank} of {kept}")
            }
            Self::MinimumCount(who, rank, kept) => {
                write!(f, "{who}: number {rank} of MinimumCount {kept}")
            }
            Self::Forever(who) => write!(f, "{who}: for ever"),
            Self::Archive(who, ArchiveOver::Count(rank, kept)) => {
                write!(f, "{who}: number {rank} of the newest {kept} in the archive tier")
            }
            Self::Archive(who, ArchiveOver::Age(until)) => {
                write!(f, "{who}: in the archive tier until {}", tags::instant(*until))
            }
            Self::Archiving(who) => write!(f, "{who}: on its way into the archive tier"),
            Self::Unfinished(state) => write!(f, "it is {state}"),
            Self::Disabled => f.write_str("its policy is disabled"),
            Self::NotOurs => {
                f.write_str("its policy is not among these documents, or not for this place")
            }
            Self::OwnExpiry(until) => {
                write!(f, "its own expiry is at {}", tags::instant(*until))
            }
            Self::WouldBeCopiedAgain => f.write_str(
                "past its own expiry, but its rule is longer now: without it, its source would be copied again",
            ),
            Self::FailedMemory => f.write_str(
                "failed, and kept to tell how often it was tried, until there is a good one",
            ),
            Self::StandsIn(source) => {
                write!(f, "stands in for {source}, which no other account can use")
            }
            Self::TwinLeaves => f.write_str("a younger one that is the same leaves first"),
        }
    }
}

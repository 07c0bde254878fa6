//! When to create: slots, computed and never stored.
//!
//! A slot is a wall clock time in the schedule's time zone. Where the clock goes forward, a time
//! that does not exist runs at the first instant after the gap; where the clock goes back, a time
//! that occurs twice runs at its first occurrence only. So slots rise strictly with the wall clock
//! times they stand for, and an instant is one slot at the most.

use std::fmt;
use std::str::FromStr;

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, civil};
use serde::{Serialize, Serializer};

pub use cron::{Cron, InvalidCron};

mod cron;
#[cfg(test)]
mod tests;

/// A scheduled time, whole seconds UTC. Two runs that serve the same slot compute the same value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(Timestamp);

impl Slot {
    /// The slot at `at`, less its fraction of a second.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(floor(at, 1))
    }

    /// The instant.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What is wrong with the text of a slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want a time such as 2026-11-22T02:00:00Z, found {found:?}")]
pub struct InvalidSlot {
    /// What was there.
    pub found: String,
}

impl FromStr for Slot {
    type Err = InvalidSlot;

    /// Reads exactly what `Display` writes: a tag in any other form is not ours.
    fn from_str(text: &str) -> Result<Self, InvalidSlot> {
        text.parse()
            .map(Self::new)
            .ok()
            .filter(|slot| slot.to_string() == text)
            .ok_or_else(|| InvalidSlot { found: text.to_owned() })
    }
}

impl Serialize for Slot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// When to create, and how late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRule {
    /// How the slots recur.
    pub when: When,
    /// The zone whose wall clock `when` speaks of.
    pub time_zone: TimeZone,
    /// How long after its time a slot may still be served. `None`: until the next slot.
    pub start_window_minutes: Option<u32>,
}

/// How slots recur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Every run creates: the slot is the run's own scheduled time, to the minute.
    EveryRun,
    /// Every so many hours.
    Interval(Interval),
    /// By a cron expression.
    Cron(Cron),
}

impl CreateRule {
    /// Slots of `when` in UTC, each open until the next.
    #[must_use]
    pub fn new(when: When) -> Self {
        Self { when, time_zone: TimeZone::UTC, start_window_minutes: None }
    }

    /// The slot that a run scheduled for `at` has to serve: the latest at or before `at`. `None`
    /// when there is none yet, or when its start window is over (its last minute included).
    #[must_use]
    pub fn due(&self, at: Timestamp) -> Option<Slot> {
        let slot = self.latest(at)?;
        let late = at.duration_since(slot);
        let window = self.start_window_minutes.map(|n| SignedDuration::from_mins(n.into()));
        window.is_none_or(|window| late <= window).then_some(Slot(slot))
    }

    /// The first slot after `after`, whatever the start window.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Slot> {
        if self.when == When::EveryRun {
            let minute = SignedDuration::from_mins(1);
            return after.checked_add(minute).ok().map(|at| Slot(floor(at, 60)));
        }
        let mut local = self.time_zone.to_datetime(after);
        loop {
            local = self.when.first_after(local)?;
            // In the second pass of a fold, wall clock times ahead have had their slot in the
            // first.
            match self.instant(local) {
                Some(slot) if slot > after => return Some(Slot(slot)),
                _ => {}
            }
        }
    }

    /// The latest slot's time at or before `at`, whatever the start window.
    pub(crate) fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        if self.when == When::EveryRun {
            return Some(floor(at, 60));
        }
        let mut local = self.latest_local(at);
        loop {
            local = self.when.last_until(local)?;
            match self.instant(local) {
                Some(slot) if slot <= at => return Some(slot),
                _ => local = local.checked_sub(SignedDuration::from_secs(1)).ok()?,
            }
        }
    }

    /// A wall clock time that no clock of the zone has passed at `at`. In the second pass of a fold
    /// the first pass went further than the clock now shows.
    fn latest_local(&self, at: Timestamp) -> civil::DateTime {
        let local = self.time_zone.to_datetime(at);
        match self.time_zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { before, after } => {
                local.checked_add(after.duration_until(before)).unwrap_or(civil::DateTime::MAX)
            }
            _ => local,
        }
    }

    /// The first instant at which the zone's clock shows `local` or, in a gap, more.
    fn instant(&self, local: civil::DateTime) -> Option<Timestamp> {
        let ambiguous = self.time_zone.to_ambiguous_timestamp(local);
        let gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        // In a gap, jiff's `earlier` is an instant before it.
        let earlier = ambiguous.earlier().ok()?;
        if gap {
            self.time_zone.following(earlier).next().map(|transition| transition.timestamp())
        } else {
            Some(earlier)
        }
    }
}

impl When {
    /// The last wall clock time at or before `local`.
    fn last_until(&self, local: civil::DateTime) -> Option<civil::DateTime> {
        match self {
            Self::EveryRun => Some(local),
            Self::Interval(interval) => interval.last_until(local),
            Self::Cron(cron) => cron.last_until(local),
        }
    }

    /// The first wall clock time after `local`.
    fn first_after(&self, local: civil::DateTime) -> Option<civil::DateTime> {
        match self {
            Self::EveryRun => None,
            Self::Interval(interval) => interval.first_after(local),
            Self::Cron(cron) => cron.first_after(local),
        }
    }
}

/// Every so many hours through each day, counted from a start time on the same day in both
/// directions: every 12 hours from 15:00 is 03:00 and 15:00.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    hours: i8,
    start: civil::Time,
}

impl Interval {
    /// The intervals that DLM documents; each divides a day.
    pub const HOURS: [i8; 8] = [1, 2, 3, 4, 6, 8, 12, 24];

    /// Every `hours` hours from `start`, which counts to the minute. `None` when `hours` is none of
    /// [`Interval::HOURS`].
    #[must_use]
    pub fn new(hours: i8, start: civil::Time) -> Option<Self> {
        Self::HOURS.contains(&hours).then_some(Self { hours, start })
    }

    fn last_until(&self, local: civil::DateTime) -> Option<civil::DateTime> {
        let (step, first) = self.step_and_first();
        let minute = minute_of_day(local.time());
        if minute >= first {
            Some(at_minute(local.date(), minute - (minute - first) % step))
        } else {
            let yesterday = local.date().yesterday().ok()?;
            Some(at_minute(yesterday, MINUTES_PER_DAY - step + first))
        }
    }

    fn first_after(&self, local: civil::DateTime) -> Option<civil::DateTime> {
        let (step, first) = self.step_and_first();
        let minute = minute_of_day(local.time());
        let next = if minute < first { first } else { minute - (minute - first) % step + step };
        if next < MINUTES_PER_DAY {
            Some(at_minute(local.date(), next))
        } else {
            Some(at_minute(local.date().tomorrow().ok()?, first))
        }
    }

    /// Minutes between slots, and the minute of the day's first.
    fn step_and_first(&self) -> (i16, i16) {
        let step = i16::from(self.hours) * 60;
        (step, minute_of_day(self.start) % step)
    }
}

const MINUTES_PER_DAY: i16 = 24 * 60;

fn minute_of_day(time: civil::Time) -> i16 {
    i16::from(time.hour()) * 60 + i16::from(time.minute())
}

fn at_minute(date: civil::Date, minute: i16) -> civil::DateTime {
    let minutes = SignedDuration::from_mins(minute.into());
    date.to_datetime(civil::Time::midnight().wrapping_add(minutes))
}

/// `at`, less what exceeds a multiple of `seconds`; the calendar's first instant where that lies
/// outside of it.
fn floor(at: Timestamp, seconds: i64) -> Timestamp {
    // `as_second` goes towards zero, which for instants before 1970 is up.
    let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(second.div_euclid(seconds) * seconds).unwrap_or(Timestamp::MIN)
}

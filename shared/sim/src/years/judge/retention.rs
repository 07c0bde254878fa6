//! Retention, by brute force.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{DAY, Seconds};
use crate::years::wishes::Retain;

/// How one snapshot or copy stands among its like.
pub(super) struct Among {
    /// When it began.
    pub(super) start: Seconds,
    /// Until when its age keeps it, where the rule has one; `None`: for good. In milliseconds, as EC2 counts starts.
    pub(super) until_ms: Option<i64>,
    /// What `Keep` goes by: the slot, or when the source began.
    pub(super) moment: Seconds,
    /// How many are newer; what serves one slot counts once.
    pub(super) newer: usize,
    /// Whether one of those that are newer has the same moment.
    pub(super) tied: bool,
    /// The moments of all, with its own.
    pub(super) all: BTreeSet<Seconds>,
}

impl Among {
    /// Whether any limit of the rule keeps it. Nobody asks here for the last good one.
    pub(super) fn is_kept(&self, rule: &Retain, now_ms: i64) -> bool {
        rule.count.is_some_and(|count| self.rank() <= count)
            || (rule.days.is_some() && self.until_ms.is_none_or(|until| until > now_ms))
            || self.is_kept_by_period(rule)
            || self.rank() <= rule.minimum
    }

    /// Whether a copy of it is worth making.
    pub(super) fn is_worth_a_copy(&self, rule: &Retain, now: Seconds) -> bool {
        rule.count.is_some_and(|count| self.rank() <= count)
            || rule.days.is_some_and(|days| self.start + days * DAY > now)
            || self.is_kept_by_period(rule)
    }

    /// From 1, the newest.
    pub(super) fn rank(&self) -> usize {
        self.newer + 1
    }

    fn is_kept_by_period(&self, rule: &Retain) -> bool {
        let Some(keep) = rule.keep.filter(|_| !self.tied) else {
            return false;
        };
        let periods: [fn(Seconds) -> Seconds; 3] = [day, week, month];
        periods.into_iter().zip(keep).any(|(period, wanted)| {
            let mut taken = BTreeSet::new();
            let newest_of_each = self.all.iter().rev().filter(|it| taken.insert(period(**it)));
            newest_of_each.take(wanted).any(|it| *it == self.moment)
        })
    }
}

fn day(at: Seconds) -> Seconds {
    at.div_euclid(DAY)
}

/// Monday to Sunday: 1970 began on a Thursday.
fn week(at: Seconds) -> Seconds {
    (day(at) + 3).div_euclid(7)
}

fn month(at: Seconds) -> Seconds {
    let date = Timestamp::from_second(at).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    Seconds::from(date.year()) * 12 + Seconds::from(date.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Seconds = 1_800_014_400; // 2027-01-15T12:00:00Z, a Friday

    fn rule() -> Retain {
        Retain { count: None, days: None, keep: None, minimum: 0 }
    }

    /// The n-th noon before [`NOON`], among ten.
    fn noon(n: i64) -> Among {
        let at = |n: i64| NOON - n * DAY;
        Among {
            start: at(n),
            until_ms: Some((at(n) + 3 * DAY) * 1000),
            moment: at(n),
            newer: usize::try_from(n).unwrap_or(0),
            tied: false,
            all: (0..10).map(at).collect(),
        }
    }

    fn kept(rule: &Retain) -> Vec<i64> {
        (0..10).filter(|n| noon(*n).is_kept(rule, NOON * 1000)).collect()
    }

    #[test]
    fn each_limit_by_itself() {
        assert_eq!(kept(&Retain { count: Some(3), ..rule() }), [0, 1, 2]);
        assert_eq!(kept(&Retain { minimum: 2, ..rule() }), [0, 1]);
        assert_eq!(kept(&Retain { days: Some(3), ..rule() }), [0, 1, 2]);
        // The 10th was a Sunday.
        assert_eq!(kept(&Retain { keep: Some([1, 2, 0]), ..rule() }), [0, 5]);
        assert_eq!(kept(&Retain { keep: Some([0, 0, 2]), ..rule() }), [0]);
        assert_eq!(kept(&Retain { count: Some(1), keep: Some([0, 2, 0]), ..rule() }), [0, 5]);
    }
}

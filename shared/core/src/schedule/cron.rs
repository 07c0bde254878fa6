//! Cron expressions as AWS writes them, as strict as its documentation.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Weekday, date, time};

mod parse;

/// A cron expression as AWS writes it
/// ([reference](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html)),
/// with DLM's rule that it fires at most once an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minute: i8,
    hours: BTreeSet<i8>,
    days: Days,
    months: BTreeSet<i8>,
    years: BTreeSet<i16>,
}

/// Which days of a month. Bit n of a mask is day n, or weekday n from Sunday, 0.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    OfMonth {
        plain: u32,
        /// `15W`: the working day nearest to the 15th, in the same month.
        nearest_working: u32,
        /// `L`
        last: bool,
        /// `LW`
        last_working: bool,
    },
    OfWeek {
        plain: u8,
        /// `6L`: the month's last Friday.
        last: u8,
        /// `6#2`: the month's second Friday.
        nth: Option<(i8, i8)>,
    },
}

/// What is wrong with the text of a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCron(String);

impl Cron {
    /// The expression as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is any time at which it fires: not on February 30, say.
    #[must_use]
    pub fn fires(&self) -> bool {
        self.first_after(date(0, 1, 1).at(0, 0, 0, 0)).is_some()
    }

    /// The last wall clock time at or before `local`.
    pub(super) fn last_until(&self, local: DateTime) -> Option<DateTime> {
        let today = local.date();
        if self.fires_on(today) {
            let hours = self.hours.iter().rev();
            let mut times = hours.map(|hour| self.on(today, *hour));
            if let Some(found) = times.find(|it| *it <= local) {
                return Some(found);
            }
        }
        let day = self.last_day_until(today.yesterday().ok()?)?;
        Some(self.on(day, *self.hours.last()?))
    }

    /// The first wall clock time after `local`.
    pub(super) fn first_after(&self, local: DateTime) -> Option<DateTime> {
        let today = local.date();
        if self.fires_on(today) {
            let mut times = self.hours.iter().map(|hour| self.on(today, *hour));
            if let Some(found) = times.find(|it| *it > local) {
                return Some(found);
            }
        }
        let day = self.first_day_from(today.tomorrow().ok()?)?;
        Some(self.on(day, *self.hours.first()?))
    }

    fn on(&self, date: Date, hour: i8) -> DateTime {
        date.to_datetime(time(hour, self.minute, 0, 0))
    }

    fn fires_on(&self, date: Date) -> bool {
        self.years.contains(&date.year())
            && self.months.contains(&date.month())
            && self.days.in_month(date.year(), date.month()) & bit(date.day()) != 0
    }

    /// Looks at each month that the expression names, 2,760 at the most.
    fn last_day_until(&self, date: Date) -> Option<Date> {
        let from = (date.year(), date.month());
        let months = || self.months.iter().rev();
        let years = self.years.range(..=date.year()).rev();
        years
            .flat_map(|year| months().map(|month| (*year, *month)))
            .filter(|month| *month <= from)
            .find_map(|month @ (year, number)| {
                let upper = if month == from { date.day() } else { 31 };
                let days = self.days.in_month(year, number) & through(upper);
                let day = 31_u32.checked_sub(days.leading_zeros())?;
                Date::new(year, number, narrow_day(day)).ok()
            })
    }

    /// As [`Cron::last_day_until`], in the other direction.
    fn first_day_from(&self, date: Date) -> Option<Date> {
        let from = (date.year(), date.month());
        let years = self.years.range(date.year()..);
        years
            .flat_map(|year| self.months.iter().map(|month| (*year, *month)))
            .filter(|month| *month >= from)
            .find_map(|month @ (year, number)| {
                let below = if month == from { through(date.day() - 1) } else { 0 };
                let days = self.days.in_month(year, number) & !below;
                let day = days.trailing_zeros();
                Date::new(year, number, narrow_day(day)).ok() // 32 for none: no such day
            })
    }
}

impl Days {
    fn in_month(&self, year: i16, month: i8) -> u32 {
        let Ok(first) = Date::new(year, month, 1) else {
            return 0;
        };
        let length = first.days_in_month();
        let offset = first.weekday().to_sunday_zero_offset();
        // From Sunday, 0, for any day of the month.
        let weekday = |day: i8| (offset + day - 1).rem_euclid(7);
        let mut days = 0;
        match self {
            Self::OfMonth { plain, nearest_working, last, last_working } => {
                days |= plain;
                for day in (1..=length).filter(|day| nearest_working & bit(*day) != 0) {
                    days |= bit(nearest_working_day(day, weekday(day), length));
                }
                if *last {
                    days |= bit(length);
                }
                if *last_working {
                    days |= bit(nearest_working_day(length, weekday(length), length));
                }
            }
            Self::OfWeek { plain, last, nth } => {
                for day in 1..=length {
                    let is = 1_u8 << weekday(day);
                    let is_nth = *nth == Some((weekday(day), (day + 6) / 7));
                    if plain & is != 0 || (last & is != 0 && day + 7 > length) || is_nth {
                        days |= bit(day);
                    }
                }
            }
        }
        days & through(length)
    }
}

/// The working day nearest to `day`, without leaving the month.
fn nearest_working_day(day: i8, weekday: i8, length: i8) -> i8 {
    let saturday = Weekday::Saturday.to_sunday_zero_offset();
    let sunday = Weekday::Sunday.to_sunday_zero_offset();
    match weekday {
        it if it == saturday && day == 1 => 3,
        it if it == saturday => day - 1,
        it if it == sunday && day == length => day - 2,
        it if it == sunday => day + 1,
        _ => day,
    }
}

fn bit(n: i8) -> u32 {
    u32::try_from(n).ok().and_then(|n| 1_u32.checked_shl(n)).unwrap_or(0)
}

/// Bits 0 to `n`.
fn through(n: i8) -> u32 {
    bit(n) | (bit(n).wrapping_sub(1))
}

fn narrow_day(n: u32) -> i8 {
    i8::try_from(n).unwrap_or(i8::MAX)
}

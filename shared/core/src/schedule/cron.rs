//! Cron expressions as AWS writes them, as strict as its documentation.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Weekday, date, time};

/// A cron expression as AWS writes it
/// ([reference](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html)), with DLM's rule
/// that it fires at most once an hour.
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

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let fields = inside_cron(text.trim())?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week, year] = fields.as_slice() else {
            return Err(wrong_count(&fields));
        };
        let minutes = MINUTE.read(minute)?;
        let minute = match minutes.first() {
            Some(minute) if minutes.len() == 1 => *minute,
            _ => {
                return Err(InvalidCron(format!(
                    "want a single minute in the first field, not {minute:?}: DLM creates at most once an hour"
                )));
            }
        };
        let days = match (*day_of_month, *day_of_week) {
            _ if (*day_of_month == "?") == (*day_of_week == "?") => {
                return Err(InvalidCron(format!(
                    "want ? in exactly one of day-of-month and day-of-week, not {day_of_month:?} and {day_of_week:?}"
                )));
            }
            ("?", days) => days_of_week(days)?,
            (days, _) => days_of_month(days)?,
        };
        Ok(Self {
            text: text.trim().to_owned(),
            minute: narrow(minute),
            hours: HOUR.read(hour)?.into_iter().map(narrow).collect(),
            days,
            months: MONTH.read(month)?.into_iter().map(narrow).collect(),
            years: YEAR.read(year)?,
        })
    }
}

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
                let below = if month == from {
                    through(date.day() - 1)
                } else {
                    0
                };
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
            Self::OfMonth {
                plain,
                nearest_working,
                last,
                last_working,
            } => {
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
    u32::try_from(n)
        .ok()
        .and_then(|n| 1_u32.checked_shl(n))
        .unwrap_or(0)
}

/// Bits 0 to `n`.
fn through(n: i8) -> u32 {
    bit(n) | (bit(n).wrapping_sub(1))
}

/// A value that its field's range has made small.
fn narrow(n: i16) -> i8 {
    i8::try_from(n).unwrap_or_default()
}

fn narrow_day(n: u32) -> i8 {
    i8::try_from(n).unwrap_or(i8::MAX)
}

fn inside_cron(text: &str) -> Result<&str, InvalidCron> {
    if let Some(inside) = text
        .strip_prefix("cron(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        return Ok(inside);
    }
    let want = "want cron(minute hour day-of-month month day-of-week year)";
    Err(InvalidCron(if text.starts_with("rate(") {
        format!("{want}: DLM has no rate(), Interval says it")
    } else if text.starts_with("at(") {
        format!("{want}: DLM has no at()")
    } else {
        want.to_owned()
    }))
}

fn wrong_count(fields: &[&str]) -> InvalidCron {
    InvalidCron(match fields {
        [seconds, _, _, _, _, _, _] => {
            format!("EventBridge cron has six fields and no seconds; drop the leading {seconds:?}")
        }
        [_, _, _, _, _] => {
            "EventBridge cron has six fields, not five; add the year, *, at the end, and put ? \
             in one of day-of-month and day-of-week"
                .to_owned()
        }
        _ => format!("EventBridge cron has six fields, not {}", fields.len()),
    })
}

/// One field: its name, its range, and other names for its values from the first.
struct Field {
    name: &'static str,
    range: RangeInclusive<i16>,
    names: &'static [&'static str],
    /// Whether AWS documents `/` for it.
    steps: bool,
}

const MINUTE: Field = Field {
    name: "minute",
    range: 0..=59,
    names: &[],
    steps: true,
};
const HOUR: Field = Field {
    name: "hour",
    range: 0..=23,
    names: &[],
    steps: true,
};
const DAY_OF_MONTH: Field = Field {
    name: "day-of-month",
    range: 1..=31,
    names: &[],
    steps: true,
};
const MONTH: Field = Field {
    name: "month",
    range: 1..=12,
    names: &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
    steps: true,
};
const DAY_OF_WEEK: Field = Field {
    name: "day-of-week",
    range: 1..=7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    steps: false,
};
const YEAR: Field = Field {
    name: "year",
    range: 1970..=2199,
    names: &[],
    steps: true,
};

impl Field {
    /// Every value of a list of numbers, ranges and steps.
    fn read(&self, text: &str) -> Result<BTreeSet<i16>, InvalidCron> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            values.extend(self.item(item)?);
        }
        Ok(values)
    }

    fn item(&self, item: &str) -> Result<impl Iterator<Item = i16> + use<>, InvalidCron> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) if self.steps => {
                let step = digits(step).filter(|step| *step > 0);
                (base, Some(step.ok_or_else(|| self.wrong(item))?))
            }
            Some(_) => return Err(self.wrong(item)),
            None => (item, None),
        };
        let (first, last) = match base.split_once('-') {
            _ if base == "*" => (*self.range.start(), *self.range.end()),
            Some((first, last)) => (self.value(first, item)?, self.value(last, item)?),
            None => {
                let value = self.value(base, item)?;
                // `5/15`: from 5 on.
                (
                    value,
                    if step.is_some() {
                        *self.range.end()
                    } else {
                        value
                    },
                )
            }
        };
        if first > last {
            return Err(InvalidCron(format!(
                "want a range that goes up in the field {}, not {item:?}",
                self.name
            )));
        }
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
        Ok((first..=last).step_by(step))
    }

    /// One value, by number or by name.
    fn value(&self, text: &str, item: &str) -> Result<i16, InvalidCron> {
        let named = self.names.iter().zip(self.range.clone());
        let named = named.filter(|(name, _)| name.eq_ignore_ascii_case(text));
        named
            .map(|(_, value)| value)
            .next()
            .or_else(|| digits(text).filter(|value| self.range.contains(value)))
            .ok_or_else(|| self.wrong(item))
    }

    fn wrong(&self, item: &str) -> InvalidCron {
        let (first, last) = (self.range.start(), self.range.end());
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        InvalidCron(format!(
            "want {first} to {last}{names} in the field {}, not {item:?}",
            self.name
        ))
    }
}

/// A number without a sign.
fn digits(text: &str) -> Option<i16> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn days_of_month(text: &str) -> Result<Days, InvalidCron> {
    let (mut plain, mut nearest_working, mut last, mut last_working) = (0, 0, false, false);
    for item in text.split(',') {
        match item.to_ascii_uppercase().as_str() {
            "L" => last = true,
            "LW" => last_working = true,
            upper => {
                if let Some(day) = upper.strip_suffix('W') {
                    nearest_working |= bit(narrow(DAY_OF_MONTH.value(day, item)?));
                } else {
                    for day in DAY_OF_MONTH.item(item)? {
                        plain |= bit(narrow(day));
                    }
                }
            }
        }
    }
    Ok(Days::OfMonth {
        plain,
        nearest_working,
        last,
        last_working,
    })
}

fn days_of_week(text: &str) -> Result<Days, InvalidCron> {
    let from_sunday = |value: i16| narrow(value) - 1;
    let (mut plain, mut last, mut nth) = (0, 0, None);
    for item in text.split(',') {
        if let Some((day, number)) = item.split_once('#') {
            if item != text {
                return Err(InvalidCron(format!(
                    "want a single expression in day-of-week where # is used, not {text:?}"
                )));
            }
            let number = digits(number).filter(|number| (1..=5).contains(number));
            let number = number.ok_or_else(|| {
                InvalidCron(format!(
                    "want 1 to 5 after # in the field day-of-week, not {item:?}"
                ))
            })?;
            nth = Some((from_sunday(DAY_OF_WEEK.value(day, item)?), narrow(number)));
            continue;
        }
        match item.strip_suffix(['L', 'l']) {
            // EventBridge: the last day of the week.
            Some("") => plain |= 1 << 6,
            Some(day) => last |= 1 << from_sunday(DAY_OF_WEEK.value(day, item)?),
            None => {
                for day in DAY_OF_WEEK.item(item)? {
                    plain |= 1 << from_sunday(day);
                }
            }
        }
    }
    Ok(Days::OfWeek { plain, last, nth })
}

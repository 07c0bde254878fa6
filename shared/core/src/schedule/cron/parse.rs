//! Reading a cron expression.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Cron, Days, InvalidCron, bit};

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
                    "want a single minute in the first field, not {minute:?}: DLM creates at most \
                     once an hour"
                )));
            }
        };
        let days = match (*day_of_month, *day_of_week) {
            _ if (*day_of_month == "?") == (*day_of_week == "?") => {
                return Err(InvalidCron(format!(
                    "want ? in exactly one of day-of-month and day-of-week, not {day_of_month:?} \
                     and {day_of_week:?}"
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

fn inside_cron(text: &str) -> Result<&str, InvalidCron> {
    if let Some(inside) = text.strip_prefix("cron(").and_then(|rest| rest.strip_suffix(')')) {
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

const MINUTE: Field = Field { name: "minute", range: 0..=59, names: &[], steps: true };
const HOUR: Field = Field { name: "hour", range: 0..=23, names: &[], steps: true };
const DAY_OF_MONTH: Field = Field { name: "day-of-month", range: 1..=31, names: &[], steps: true };
const MONTH: Field = Field {
    name: "month",
    range: 1..=12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    steps: true,
};
const DAY_OF_WEEK: Field = Field {
    name: "day-of-week",
    range: 1..=7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    steps: false,
};
const YEAR: Field = Field { name: "year", range: 1970..=2199, names: &[], steps: true };

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
                (value, if step.is_some() { *self.range.end() } else { value })
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
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
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
    Ok(Days::OfMonth { plain, nearest_working, last, last_working })
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
                InvalidCron(format!("want 1 to 5 after # in the field day-of-week, not {item:?}"))
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

/// A value that its field's range has made small.
fn narrow(n: i16) -> i8 {
    i8::try_from(n).unwrap_or_default()
}

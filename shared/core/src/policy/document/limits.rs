//! What stays, and for how long: ages, counts, periods, locks.

use std::num::NonZeroU32;

use super::reader::{Node, Object};
use crate::policy::{Age, IntervalUnit, Keep, LockMode, LockRule, RetainRule};

/// `Interval` and `IntervalUnit`.
#[expect(clippy::option_option, reason = "invalid, absent, there")]
pub(super) fn age(object: &mut Object<'_>) -> Option<Option<Age>> {
    age_of(object, "Interval", "IntervalUnit")
}

/// An age whose members have these names.
#[expect(clippy::option_option, reason = "invalid, absent, there")]
pub(super) fn age_of(
    object: &mut Object<'_>,
    interval_name: &'static str,
    unit_name: &'static str,
) -> Option<Option<Age>> {
    let interval = object.integer(interval_name, 1..=36_500);
    let unit = object.optional(unit_name, |node| match node.string() {
        Some("DAYS") => Some(IntervalUnit::Days),
        Some("WEEKS") => Some(IntervalUnit::Weeks),
        Some("MONTHS") => Some(IntervalUnit::Months),
        Some("YEARS") => Some(IntervalUnit::Years),
        _ => node.want(UNITS),
    });
    match (interval?, unit?) {
        (None, None) => Some(None),
        (Some(_), None) => object.missing(unit_name, UNITS),
        // Recorded API output has a unit beside `"Interval": 0`.
        (None, Some(_)) if object.is_written(interval_name) => Some(None),
        (Some(interval), Some(unit)) if interval <= most(unit) => {
            Some(NonZeroU32::new(interval).map(|interval| Age { interval, unit }))
        }
        (_, Some(unit)) => object.missing(interval_name, a_hundred_years(unit)),
    }
}

const UNITS: &str = "DAYS, WEEKS, MONTHS or YEARS";

/// DLM's limit: 100 years.
fn most(unit: IntervalUnit) -> u32 {
    match unit {
        IntervalUnit::Days => 36_500,
        IntervalUnit::Weeks => 5200,
        IntervalUnit::Months => 1200,
        IntervalUnit::Years => 100,
    }
}

fn a_hundred_years(unit: IntervalUnit) -> String {
    format!("1 to {} {} (DLM: 100 years at most)", most(unit), word(unit))
}

fn word(unit: IntervalUnit) -> &'static str {
    match unit {
        IntervalUnit::Days => "DAYS",
        IntervalUnit::Weeks => "WEEKS",
        IntervalUnit::Months => "MONTHS",
        IntervalUnit::Years => "YEARS",
    }
}

/// As a document has it.
pub(super) fn shown(age: Age) -> String {
    format!("{} {}", age.interval, word(age.unit))
}

/// As DLM compares ages: a month has 30 days and a year 365.
pub(super) fn days(age: Age) -> u32 {
    let days = match age.unit {
        IntervalUnit::Days => 1,
        IntervalUnit::Weeks => 7,
        IntervalUnit::Months => 30,
        IntervalUnit::Years => 365,
    };
    age.interval.get().saturating_mul(days)
}

/// The members of a `RetainRule`.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) count: Option<NonZeroU32>,
    pub(super) age: Option<Age>,
    pub(super) keep: Option<Keep>,
    pub(super) minimum_count: Option<u32>,
}

impl Limits {
    pub(super) fn has_any(&self) -> bool {
        self.count.is_some() || self.age.is_some() || self.keep.is_some()
    }

    pub(super) fn into_rule(self) -> RetainRule {
        RetainRule {
            count: self.count,
            age: self.age,
            keep: self.keep,
            minimum_count: self.minimum_count.unwrap_or(1),
        }
    }
}

pub(super) fn limits(rule: &mut Object<'_>) -> Option<Limits> {
    let count = rule.integer("Count", 1..=1000);
    let age = age(rule);
    let keep = rule.optional("Keep", |node| node.members(keep)?);
    let minimum_count = rule.integer("MinimumCount", 1..=1000);
    Some(Limits {
        count: count?.and_then(NonZeroU32::new),
        age: age?,
        keep: keep?,
        minimum_count: minimum_count?,
    })
}

fn keep(object: &mut Object<'_>) -> Option<Keep> {
    let [hourly, daily, weekly, monthly, yearly] =
        ["Hourly", "Daily", "Weekly", "Monthly", "Yearly"]
            .map(|name| object.integer(name, 0..=1000));
    let keep = Keep {
        hourly: hourly?.unwrap_or(0),
        daily: daily?.unwrap_or(0),
        weekly: weekly?.unwrap_or(0),
        monthly: monthly?.unwrap_or(0),
        yearly: yearly?.unwrap_or(0),
    };
    if keep == Keep::default() {
        return object.node().want("one of Hourly, Daily, Weekly, Monthly, Yearly above 0");
    }
    Some(keep)
}

/// `RetainRule` of a copy, and `MinimumCount` in it or beside it. Without any limit, copies stay for ever.
#[expect(clippy::option_option, reason = "invalid, absent, there")]
pub(super) fn retain_copies(object: &mut Object<'_>) -> Option<Option<RetainRule>> {
    let inner = object.optional("RetainRule", |node| node.members(limits)?);
    let outer = object.integer("MinimumCount", 1..=1000);
    let (mut inner, outer) = (inner?.unwrap_or_default(), outer?);
    if inner.minimum_count.is_some() && outer.is_some() {
        return object.get("MinimumCount")?.fail("want it here or in RetainRule, found both");
    }
    inner.minimum_count = inner.minimum_count.or(outer);
    if inner.has_any() {
        Some(Some(inner.into_rule()))
    } else if inner.minimum_count.is_some() {
        object
            .missing("RetainRule", "Count, Interval and IntervalUnit, or Keep beside MinimumCount")
    } else {
        Some(None)
    }
}

/// `Count`, or `Interval` and `IntervalUnit`.
pub(super) fn count_or_age(object: &mut Object<'_>) -> Option<(Option<NonZeroU32>, Option<Age>)> {
    let count = object.integer("Count", 1..=1000);
    let age = age(object);
    match (count?.and_then(NonZeroU32::new), age?) {
        (Some(_), Some(_)) => object.node().fail("want Count or Interval, found both"),
        (None, None) => object.node().want("Count, or Interval and IntervalUnit"),
        one => Some(one),
    }
}

/// `LockRule`
#[expect(clippy::option_option, reason = "invalid, absent, there")]
pub(super) fn lock(object: &mut Object<'_>) -> Option<Option<LockRule>> {
    match object.given("LockRule") {
        None => Some(None),
        Some(node) => node.members(lock_rule)?.map(Some),
    }
}

fn lock_rule(object: &mut Object<'_>) -> Option<LockRule> {
    let mode = object.required("Mode", MODES).and_then(|node| mode(&node));
    let duration = object.required("DurationDays", "1 to 36500");
    let duration_days = duration.and_then(|node| node.integer(1..=36_500));
    let hours = object.integer("CoolOffPeriodHours", 1..=72);
    let (mode, hours) = (mode?, hours?.and_then(|hours| u8::try_from(hours).ok()));
    if mode == LockMode::Governance && hours.is_some() {
        let place = "has its place beside Mode COMPLIANCE only: a lock in governance mode can be ended at any time";
        return object.get("CoolOffPeriodHours")?.fail(place);
    }
    Some(LockRule { mode, duration_days: duration_days?, cool_off_period_hours: hours })
}

const MODES: &str = "GOVERNANCE or COMPLIANCE";

/// EC2's own words are in lower case.
fn mode(node: &Node<'_>) -> Option<LockMode> {
    match node.string().map(str::to_ascii_uppercase).as_deref() {
        Some("GOVERNANCE") => Some(LockMode::Governance),
        Some("COMPLIANCE") => Some(LockMode::Compliance),
        _ => node.want(MODES),
    }
}

//! Thirty years of slots and ages, against other people's calendars and time zones.

use chrono::{Days, LocalResult, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _};
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::{CreateRule, Interval, Slot, When};
use super::{cron, ts, zone};
use crate::policy::{Age, IntervalUnit};

const FROM: &str = "2020-01-01T00:00:00Z";
const UNTIL: &str = "2050-01-01T00:00:00Z";

fn slots(rule: &CreateRule) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut last = ts(FROM);
    while let Some(slot) = rule.next(last).filter(|slot| slot.timestamp() < ts(UNTIL)) {
        slots.push(slot);
        last = slot.timestamp();
    }
    slots
}

#[test]
fn cron_is_another_librarys_over_thirty_years() {
    for (fields, per_year) in [
        ("0 2 * * ? *", 365.25),
        ("15 12 ? * MON-FRI *", 260.9),
        ("0 9 1 * ? *", 12.0),
        ("30 23 L * ? *", 12.0),
        ("0 3 LW * ? *", 12.0),
        ("0 3 15W * ? *", 12.0),
        ("0 4 ? * SUN#1 *", 12.0),
        ("0 4 ? * FRI#5 *", 4.3),
        ("0 4 ? * 6L *", 12.0),
        ("0 0 29 2 ? *", 0.25),
        ("0 0 31 * ? *", 7.0),
        ("5 6,18 ? JAN,JUL SAT *", 8.8 * 2.0),
    ] {
        let oracle = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .build()
            .parse(&format!("0 {fields}"))
            .unwrap();
        let found = slots(&CreateRule::new(cron(&format!("cron({fields})"))));
        let start = ts(FROM).to_zoned(TimeZone::UTC);
        let wanted: Vec<Slot> = oracle
            .iter_after(start)
            .map(|at| Slot::new(at.timestamp()))
            .take_while(|slot| slot.timestamp() < ts(UNTIL))
            .collect();
        assert_eq!(found, wanted, "{fields}");
        let n = f64::from(u32::try_from(found.len()).unwrap());
        assert!((n / 30.0 - per_year).abs() < per_year * 0.1, "{fields}: {n} slots");
    }
}

/// The first instant at which the zone's clock shows `local` or more, asked of another library and another copy of
/// the time zone database.
fn instant(zone: chrono_tz::Tz, mut local: NaiveDateTime) -> i64 {
    loop {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) => return at.timestamp(),
            LocalResult::Ambiguous(first, _) => return first.timestamp(),
            LocalResult::None => local += TimeDelta::minutes(1),
        }
    }
}

#[test]
fn wall_clock_times_are_another_librarys_over_thirty_years() {
    for name in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"] {
        let other: chrono_tz::Tz = name.parse().unwrap();
        for (hour, minute) in [(0, 0), (1, 30), (2, 0), (2, 30), (23, 59)] {
            let start = jiff::civil::time(hour, minute, 0, 0);
            let when = When::Interval(Interval::new(24, start).unwrap());
            let rule = CreateRule { time_zone: zone(name), ..CreateRule::new(when) };
            let mut wanted = Vec::new();
            let mut date = NaiveDate::from_ymd_opt(2019, 12, 31).unwrap();
            while date < NaiveDate::from_ymd_opt(2050, 1, 2).unwrap() {
                let (hour, minute) = (u32::try_from(hour).unwrap(), u32::try_from(minute).unwrap());
                wanted.push(instant(other, date.and_hms_opt(hour, minute, 0).unwrap()));
                date = date + Days::new(1);
            }
            let (from, until) = (ts(FROM).as_second(), ts(UNTIL).as_second());
            wanted.retain(|at| *at > from && *at < until);
            let found: Vec<i64> =
                slots(&rule).into_iter().map(|slot| slot.timestamp().as_second()).collect();
            assert_eq!(found.len(), wanted.len(), "{name} {hour}:{minute}");
            for (found, wanted) in found.iter().zip(&wanted) {
                let at = Timestamp::from_second(*wanted).unwrap();
                assert_eq!(found, wanted, "{name} {hour}:{minute}, wanted {at}");
            }
        }
    }
}

proptest! {
    #[test]
    fn ages_are_another_librarys(
        second in 631_152_000_i64..1_900_000_000,
        n in 1_u32..400,
        unit in prop::sample::select(vec![
            IntervalUnit::Days, IntervalUnit::Weeks, IntervalUnit::Months, IntervalUnit::Years,
        ]),
    ) {
        let start = chrono::DateTime::from_timestamp(second, 0).unwrap();
        let (n, wanted) = match unit {
            IntervalUnit::Days => (n * 27, start + Days::new(u64::from(n) * 27)), // 30 years
            IntervalUnit::Weeks => (n * 4, start + Days::new(u64::from(n) * 28)),
            IntervalUnit::Months => (n, start + Months::new(n)),
            IntervalUnit::Years => (n % 30 + 1, start + Months::new((n % 30 + 1) * 12)),
        };
        let age = Age { interval: n.try_into().unwrap(), unit };
        let found = age.after(Timestamp::from_second(second).unwrap());
        prop_assert_eq!(found.as_second(), wanted.timestamp());
    }
}

//! Grandfather, father, son: which snapshots are the newest of a period that `Keep` wants.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::action::Period;
use crate::policy::Keep;

/// For each of `moments`, which come newest first, the periods whose newest it is, as far as `keep` wants them. Periods
/// without any snapshot do not count.
pub(super) fn periods(keep: &Keep, zone: &TimeZone, moments: &[Timestamp]) -> Vec<Vec<Period>> {
    let mut kept = vec![Vec::new(); moments.len()];
    for (kind, name_of, wanted) in [
        ("Hourly", hour as fn(DateTime, Offset) -> String, keep.hourly),
        ("Daily", day, keep.daily),
        ("Weekly", week, keep.weekly),
        ("Monthly", month, keep.monthly),
        ("Yearly", year, keep.yearly),
    ] {
        let mut rank = 0;
        let mut last = None;
        for (moment, kept) in moments.iter().zip(&mut kept) {
            if rank == wanted {
                break;
            }
            let name = name_of(zone.to_datetime(*moment), zone.to_offset(*moment));
            if last.as_ref() != Some(&name) {
                rank += 1;
                kept.push(Period {
                    kind,
                    name: name.clone(),
                    rank: usize::try_from(rank).unwrap_or(usize::MAX),
                    kept: wanted,
                });
                last = Some(name);
            }
        }
    }
    kept
}

/// With the offset: an hour that occurs twice is two hours.
fn hour(local: DateTime, offset: Offset) -> String {
    format!("{}T{:02}{offset}", local.date(), local.hour())
}

fn day(local: DateTime, _: Offset) -> String {
    local.date().to_string()
}

/// ISO 8601: weeks begin on Monday, and belong to the year that has their Thursday.
fn week(local: DateTime, _: Offset) -> String {
    let week = local.date().iso_week_date();
    format!("{:04}-W{:02}", week.year(), week.week())
}

fn month(local: DateTime, _: Offset) -> String {
    format!("{:04}-{:02}", local.year(), local.month())
}

fn year(local: DateTime, _: Offset) -> String {
    format!("{:04}", local.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn zones() -> impl Strategy<Value = TimeZone> {
        let names =
            ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];
        proptest::sample::select(names.to_vec()).prop_map(|name| TimeZone::get(name).unwrap())
    }

    fn rule() -> impl Strategy<Value = Keep> {
        (0_u32..4, 0_u32..4, 0_u32..4, 0_u32..4, 0_u32..4).prop_map(
            |(hourly, daily, weekly, monthly, yearly)| Keep {
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
            },
        )
    }

    /// Newest first, dense and sparse: gaps of minutes up to months.
    fn moments() -> impl Strategy<Value = Vec<Timestamp>> {
        let gap = prop_oneof![1_i64..90, 60_i64..3000, 1440_i64..90_000];
        (1_500_000_000_i64..2_000_000_000, proptest::collection::vec(gap, 0..20)).prop_map(
            |(newest, gaps)| {
                let mut at = newest;
                let mut moments = vec![Timestamp::from_second(at).unwrap()];
                for minutes in gaps {
                    at -= minutes * 60;
                    moments.push(Timestamp::from_second(at).unwrap());
                }
                moments
            },
        )
    }

    /// When the period that holds `at` began, found by walking back in steps of a quarter of an hour, which every zone's
    /// offset is a multiple of: nothing of the calendar is computed.
    fn began(kind: &str, zone: &TimeZone, at: Timestamp) -> i64 {
        let step = 900;
        let mut second = at.as_second().div_euclid(step) * step;
        loop {
            let at = |second: i64| Timestamp::from_second(second).unwrap();
            let (here, before) =
                (zone.to_datetime(at(second)), zone.to_datetime(at(second - step)));
            let offset = |second: i64| zone.to_offset(at(second));
            let weekday = |local: DateTime| local.weekday().to_monday_zero_offset();
            let same = match kind {
                "Hourly" => before.hour() == here.hour() && offset(second - step) == offset(second),
                "Daily" => before.date() == here.date(),
                "Weekly" => weekday(before) <= weekday(here),
                "Monthly" => before.month() == here.month(),
                _ => before.year() == here.year(),
            };
            if !same {
                return second;
            }
            second -= step;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// What a person with a calendar would do: cross out every period that has a newer snapshot in it, then count.
        #[test]
        fn keep_is_what_brute_force_says(keep in rule(), zone in zones(), moments in moments()) {
            let found = periods(&keep, &zone, &moments);
            for (kind, n) in [
                ("Hourly", keep.hourly), ("Daily", keep.daily), ("Weekly", keep.weekly),
                ("Monthly", keep.monthly), ("Yearly", keep.yearly),
            ] {
                let starts: Vec<i64> = moments.iter().map(|at| began(kind, &zone, *at)).collect();
                for (i, start) in starts.iter().enumerate() {
                    let newer: BTreeSet<i64> = starts.iter().take(i).copied().collect();
                    let wanted = !newer.contains(start) && newer.len() < usize::try_from(n).unwrap();
                    let is_kept = found[i].iter().any(|period| period.kind == kind);
                    prop_assert_eq!(is_kept, wanted, "{} {}", kind, moments[i]);
                }
            }
        }

        /// What one snapshot more may do to the others: let some go, never call one back.
        #[test]
        fn a_snapshot_more_keeps_no_other(
            keep in rule(), zone in zones(), moments in moments(), more in 1_500_000_000_i64..2_000_000_000,
        ) {
            let before = periods(&keep, &zone, &moments);
            let mut with = moments.clone();
            let more = Timestamp::from_second(more).unwrap();
            let index = with.partition_point(|at| *at > more);
            with.insert(index, more);
            let mut after = periods(&keep, &zone, &with);
            after.remove(index);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(!before.is_empty() || after.is_empty());
            }
        }
    }

    #[test]
    fn the_periods_of_every_day_are_another_librarys_over_thirty_years() {
        use chrono::Datelike;
        let mut other = chrono::NaiveDate::from_ymd_opt(2020, 1, 1).unwrap();
        let mut ours = jiff::civil::date(2020, 1, 1);
        while other.year() < 2050 {
            let local = ours.to_datetime(jiff::civil::Time::midnight());
            let iso = other.iso_week();
            let names = [
                (day(local, Offset::UTC), other.format("%Y-%m-%d").to_string()),
                (week(local, Offset::UTC), format!("{:04}-W{:02}", iso.year(), iso.week())),
                (month(local, Offset::UTC), other.format("%Y-%m").to_string()),
                (year(local, Offset::UTC), other.format("%Y").to_string()),
            ];
            for (ours, others) in names {
                assert_eq!(ours, others);
            }
            other = other.succ_opt().unwrap();
            ours = ours.tomorrow().unwrap();
        }
    }

    #[test]
    fn weeks_and_folds_are_the_calendars() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let names = |keep: &Keep, moments: &[&str]| -> Vec<String> {
            let moments: Vec<_> = moments.iter().map(|text| at(text)).collect();
            periods(keep, &berlin, &moments)
                .into_iter()
                .flatten()
                .map(|period| period.name)
                .collect()
        };
        // Monday 00:30 in Berlin is Sunday in UTC; 2026-12-31 belongs to week 53.
        let weekly = Keep { weekly: 9, ..Keep::default() };
        assert_eq!(
            names(
                &weekly,
                &["2027-01-03T22:30:00Z", "2027-01-03T23:30:00Z", "2026-12-31T12:00:00Z"]
            ),
            ["2026-W53", "2027-W01", "2026-W53"],
            "moments are taken in the order given"
        );
        // 02:30 occurs twice in the night of 25 October 2026.
        let hourly = Keep { hourly: 9, ..Keep::default() };
        assert_eq!(
            names(&hourly, &["2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z"]),
            ["2026-10-25T02+01", "2026-10-25T02+02"]
        );
    }
}

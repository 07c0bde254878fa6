use std::collections::BTreeSet;

use croner::parser::{CronParser, Seconds, Year};
use jiff::ToSpan;
use jiff::civil::{DateTime, Weekday};
use proptest::prelude::*;

use super::*;

mod thirty_years;

fn ts(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn cron(text: &str) -> When {
    When::Cron(text.parse().unwrap())
}

fn every(hours: i8, start: &str) -> When {
    When::Interval(Interval::new(hours, start.parse().unwrap()).unwrap())
}

fn due(when: When, time_zone: &str, at: &str) -> String {
    let rule = CreateRule { time_zone: zone(time_zone), ..CreateRule::new(when) };
    rule.due(ts(at)).map_or_else(|| "none".to_owned(), |slot| slot.to_string())
}

fn next(when: When, time_zone: &str, after: &str) -> String {
    let rule = CreateRule { time_zone: zone(time_zone), ..CreateRule::new(when) };
    rule.next(ts(after)).map_or_else(|| "none".to_owned(), |slot| slot.to_string())
}

#[test]
fn a_slot_reads_only_what_it_prints() {
    let slot = Slot::new(ts("2026-11-22T02:00:00.999Z"));
    assert_eq!(slot.to_string(), "2026-11-22T02:00:00Z");
    assert_eq!(slot.to_string().parse(), Ok(slot));
    assert_eq!(serde_json::to_string(&slot).unwrap(), "\"2026-11-22T02:00:00Z\"");
    assert_eq!(Slot::new(ts("1969-12-31T23:59:59.5Z")).to_string(), "1969-12-31T23:59:59Z");
    for bad in [
        "",
        "2026-11-22T02:00:00",
        "2026-11-22T02:00:00.0Z",
        "2026-11-22T02:00:00+00:00",
        "2026-11-22T02:00:00z",
        "2026-11-22 02:00:00Z",
        "2026-11-22T02:00:60Z",
        "2026-11-22T02:00Z",
        "2026-02-30T02:00:00Z",
        " 2026-11-22T02:00:00Z",
        "20261122T020000Z",
    ] {
        assert!(bad.parse::<Slot>().is_err(), "{bad}");
    }
    assert_eq!(
        "soon".parse::<Slot>().unwrap_err().to_string(),
        "want a time such as 2026-11-22T02:00:00Z, found \"soon\""
    );
}

#[test]
fn every_run_is_its_own_slot_to_the_minute() {
    assert_eq!(due(When::EveryRun, "UTC", "2026-11-22T02:10:59.9Z"), "2026-11-22T02:10:00Z");
    assert_eq!(next(When::EveryRun, "UTC", "2026-11-22T02:10:00Z"), "2026-11-22T02:11:00Z");
    let rule = CreateRule::new(When::EveryRun);
    assert!(rule.due(Timestamp::MIN).is_some() && rule.due(Timestamp::MAX).is_some());
    assert_eq!(rule.next(Timestamp::MAX), None);
    let first = rule.next(Timestamp::MIN).unwrap();
    assert_eq!(rule.due(first.timestamp()), Some(first));
}

#[test]
fn every_interval_counts_from_its_start_in_both_directions() {
    let cases = [
        (1, "00:00", "2026-11-22T02:59:59Z", "2026-11-22T02:00:00Z"),
        (1, "00:20", "2026-11-22T02:19:59Z", "2026-11-22T01:20:00Z"),
        (2, "00:00", "2026-11-22T03:59:00Z", "2026-11-22T02:00:00Z"),
        (2, "03:10", "2026-11-22T00:30:00Z", "2026-11-21T23:10:00Z"),
        (3, "05:00", "2026-11-22T01:59:00Z", "2026-11-21T23:00:00Z"),
        (4, "05:00", "2026-11-22T04:59:00Z", "2026-11-22T01:00:00Z"),
        (6, "00:00", "2026-11-22T05:59:00Z", "2026-11-22T00:00:00Z"),
        (8, "23:00", "2026-11-22T07:00:00Z", "2026-11-22T07:00:00Z"),
        (12, "15:00", "2026-11-22T14:59:59Z", "2026-11-22T03:00:00Z"),
        (24, "03:00", "2026-11-22T02:59:59Z", "2026-11-21T03:00:00Z"),
        (24, "03:00", "2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
    ];
    for (hours, start, at, slot) in cases {
        assert_eq!(due(every(hours, start), "UTC", at), slot, "every {hours} from {start}");
    }
    let tested: BTreeSet<i8> = cases.iter().map(|case| case.0).collect();
    assert_eq!(tested, Interval::HOURS.into(), "every interval has a case");
    for hours in [-1, 0, 5, 7, 9, 10, 11, 23, 25, 48] {
        assert_eq!(Interval::new(hours, civil::Time::midnight()), None);
    }
}

#[test]
fn a_start_window_ends() {
    let rule = CreateRule { start_window_minutes: Some(60), ..CreateRule::new(every(24, "03:00")) };
    let slot = Some(Slot::new(ts("2026-11-22T03:00:00Z")));
    assert_eq!(rule.due(ts("2026-11-22T03:00:00Z")), slot);
    assert_eq!(rule.due(ts("2026-11-22T04:00:00Z")), slot);
    assert_eq!(rule.due(ts("2026-11-22T04:00:01Z")), None);
    assert_eq!(rule.due(ts("2026-11-22T02:59:59Z")), None);
}

#[test]
fn cron_fires_when_eventbridge_says() {
    let cases = [
        // (expression, a slot, the next slot)
        ("cron(0 17 ? * FRI *)", "2026-11-20T17:00:00Z", "2026-11-27T17:00:00Z"),
        ("cron(0 17 ? * 6 *)", "2026-11-20T17:00:00Z", "2026-11-27T17:00:00Z"),
        ("cron(0 9 1 * ? *)", "2026-12-01T09:00:00Z", "2027-01-01T09:00:00Z"),
        ("cron(15 12 * * ? *)", "2026-11-22T12:15:00Z", "2026-11-23T12:15:00Z"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-20T18:00:00Z", "2026-11-23T18:00:00Z"),
        ("cron(0 8/4 * * ? *)", "2026-11-22T20:00:00Z", "2026-11-23T08:00:00Z"),
        ("cron(5 */6 * * ? *)", "2026-11-22T18:05:00Z", "2026-11-23T00:05:00Z"),
        ("cron(0 1-9/4,20 * * ? *)", "2026-11-22T09:00:00Z", "2026-11-22T20:00:00Z"),
        ("cron(0 0 L * ? *)", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"),
        ("cron(0 0 L 2 ? *)", "2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("cron(0 0 LW * ? *)", "2026-05-29T00:00:00Z", "2026-06-30T00:00:00Z"), // a Sunday
        ("cron(0 0 LW * ? *)", "2026-10-30T00:00:00Z", "2026-11-30T00:00:00Z"), // a Saturday
        ("cron(0 0 15W * ? *)", "2026-08-14T00:00:00Z", "2026-09-15T00:00:00Z"), // a Saturday
        ("cron(0 0 15W * ? *)", "2026-11-16T00:00:00Z", "2026-12-15T00:00:00Z"), // a Sunday
        ("cron(0 0 1W * ? *)", "2026-08-03T00:00:00Z", "2026-09-01T00:00:00Z"), // a Saturday
        ("cron(0 0 31W * ? *)", "2026-05-29T00:00:00Z", "2026-07-31T00:00:00Z"), // a Sunday
        ("cron(0 0 ? * FRI#2 *)", "2026-11-13T00:00:00Z", "2026-12-11T00:00:00Z"),
        ("cron(0 0 ? * 6#5 *)", "2026-10-30T00:00:00Z", "2027-01-29T00:00:00Z"),
        ("cron(0 0 ? * 6L *)", "2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"),
        ("cron(0 0 ? * fril *)", "2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"),
        ("cron(0 0 ? * L *)", "2026-11-21T00:00:00Z", "2026-11-28T00:00:00Z"),
        ("cron(0 0 1,15,L * ? *)", "2026-11-15T00:00:00Z", "2026-11-30T00:00:00Z"),
        ("cron(0 0 29 2 ? *)", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"),
        ("cron(0 0 29 FEB ? 2096-2199)", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"),
        ("cron(0 0 1 JAN-DEC/6 ? *)", "2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("cron(0 0 1 1 ? 2026/2)", "2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        ("  cron( 0  0 1 1 ? 2199 )", "2199-01-01T00:00:00Z", "none"),
    ];
    for (expression, slot, following) in cases {
        assert_eq!(due(cron(expression), "UTC", slot), slot, "{expression}");
        assert_eq!(next(cron(expression), "UTC", slot), following, "{expression}");
        if following != "none" {
            let before = ts(following).checked_sub(1.second()).unwrap().to_string();
            assert_eq!(due(cron(expression), "UTC", &before), slot, "{expression}");
        }
    }
}

#[test]
fn cron_that_never_fires_is_found_out() {
    for never in ["cron(0 0 30 2 ? *)", "cron(0 0 31 4,6,9,11 ? *)", "cron(0 0 29 2 ? 2100)"] {
        let parsed: Cron = never.parse().unwrap();
        assert!(!parsed.fires(), "{never}");
        assert_eq!(due(cron(never), "Europe/Berlin", "2026-11-22T00:00:00Z"), "none");
        assert_eq!(next(cron(never), "Europe/Berlin", "2026-11-22T00:00:00Z"), "none");
    }
    assert_eq!(due(cron("cron(0 0 1 1 ? 2030)"), "UTC", "2026-11-22T00:00:00Z"), "none");
    assert_eq!(next(cron("cron(0 0 1 1 ? 2020)"), "UTC", "2026-11-22T00:00:00Z"), "none");
}

#[test]
fn cron_is_as_strict_as_eventbridge() {
    let cases = [
        (
            "cron(0 0 17 ? * FRI *)",
            "EventBridge cron has six fields and no seconds; drop the leading \"0\"",
        ),
        (
            "cron(0 17 * * 5)",
            "EventBridge cron has six fields, not five; add the year, *, at the end, and put ? in \
             one of day-of-month and day-of-week",
        ),
        ("cron()", "EventBridge cron has six fields, not 0"),
        (
            "rate(1 hour)",
            "want cron(minute hour day-of-month month day-of-week year): DLM has no rate(), \
             Interval says it",
        ),
        (
            "at(2026-11-22T00:00:00)",
            "want cron(minute hour day-of-month month day-of-week year): DLM has no at()",
        ),
        ("0 17 ? * FRI *", "want cron(minute hour day-of-month month day-of-week year)"),
        (
            "cron(0 17 * * * *)",
            "want ? in exactly one of day-of-month and day-of-week, not \"*\" and \"*\"",
        ),
        (
            "cron(0 17 1 * FRI *)",
            "want ? in exactly one of day-of-month and day-of-week, not \"1\" and \"FRI\"",
        ),
        (
            "cron(0 17 ? * ? *)",
            "want ? in exactly one of day-of-month and day-of-week, not \"?\" and \"?\"",
        ),
        (
            "cron(0/15 17 * * ? *)",
            "want a single minute in the first field, not \"0/15\": DLM creates at most once an hour",
        ),
        (
            "cron(* 17 * * ? *)",
            "want a single minute in the first field, not \"*\": DLM creates at most once an hour",
        ),
        ("cron(60 17 * * ? *)", "want 0 to 59 in the field minute, not \"60\""),
        ("cron(-1 17 * * ? *)", "want 0 to 59 in the field minute, not \"-1\""),
        ("cron(+1 17 * * ? *)", "want 0 to 59 in the field minute, not \"+1\""),
        ("cron(0 24 * * ? *)", "want 0 to 23 in the field hour, not \"24\""),
        ("cron(0 ? * * ? *)", "want 0 to 23 in the field hour, not \"?\""),
        ("cron(0 */0 * * ? *)", "want 0 to 23 in the field hour, not \"*/0\""),
        ("cron(0 1//2 * * ? *)", "want 0 to 23 in the field hour, not \"1//2\""),
        ("cron(0 1,,2 * * ? *)", "want 0 to 23 in the field hour, not \"\""),
        ("cron(0 22-2 * * ? *)", "want a range that goes up in the field hour, not \"22-2\""),
        ("cron(0 0 0 * ? *)", "want 1 to 31 in the field day-of-month, not \"0\""),
        ("cron(0 0 32W * ? *)", "want 1 to 31 in the field day-of-month, not \"32W\""),
        ("cron(0 0 L-3 * ? *)", "want 1 to 31 in the field day-of-month, not \"L-3\""),
        ("cron(0 0 1 13 ? *)", "want 1 to 12 or JAN to DEC in the field month, not \"13\""),
        ("cron(0 0 1 MAI ? *)", "want 1 to 12 or JAN to DEC in the field month, not \"MAI\""),
        ("cron(0 0 ? * 0 *)", "want 1 to 7 or SUN to SAT in the field day-of-week, not \"0\""),
        ("cron(0 0 ? * 8 *)", "want 1 to 7 or SUN to SAT in the field day-of-week, not \"8\""),
        ("cron(0 0 ? * 2/2 *)", "want 1 to 7 or SUN to SAT in the field day-of-week, not \"2/2\""),
        (
            "cron(0 0 ? * FRI-MON *)",
            "want a range that goes up in the field day-of-week, not \"FRI-MON\"",
        ),
        ("cron(0 0 ? * FRI#6 *)", "want 1 to 5 after # in the field day-of-week, not \"FRI#6\""),
        (
            "cron(0 0 ? * 3#1,6#3 *)",
            "want a single expression in day-of-week where # is used, not \"3#1,6#3\"",
        ),
        ("cron(0 0 * * ? 1969)", "want 1970 to 2199 in the field year, not \"1969\""),
        ("cron(0 0 * * ? 99999999)", "want 1970 to 2199 in the field year, not \"99999999\""),
    ];
    for (expression, message) in cases {
        let err = expression.parse::<Cron>().unwrap_err();
        assert_eq!(err.to_string(), message, "{expression}");
    }
}

#[test]
fn a_slot_in_the_spring_gap_runs_at_the_next_valid_instant() {
    // Berlin skips 02:00 to 03:00 on March 29, 2026, New York on March 8.
    let berlin = |when, at| due(when, "Europe/Berlin", at);
    assert_eq!(berlin(every(24, "02:30"), "2026-03-29T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(berlin(cron("cron(30 2 * * ? *)"), "2026-03-29T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(berlin(every(24, "02:30"), "2026-03-29T00:59:59Z"), "2026-03-28T01:30:00Z");
    assert_eq!(berlin(every(24, "02:30"), "2026-03-30T12:00:00Z"), "2026-03-30T00:30:00Z");
    let new_york = due(every(24, "02:30"), "America/New_York", "2026-03-08T12:00:00Z");
    assert_eq!(new_york, "2026-03-08T07:00:00Z");
    // Hour by hour: 02:00 and 03:00 are one instant, and one slot.
    let hourly =
        CreateRule { time_zone: zone("Europe/Berlin"), ..CreateRule::new(every(1, "00:00")) };
    let after = hourly.next(ts("2026-03-29T00:00:00Z")).unwrap();
    assert_eq!(after.to_string(), "2026-03-29T01:00:00Z");
    assert_eq!(hourly.next(after.timestamp()).unwrap().to_string(), "2026-03-29T02:00:00Z");
}

#[test]
fn a_slot_in_the_autumn_fold_runs_once() {
    // Berlin has 02:00 to 03:00 twice on October 25, 2026, New York 01:00 to 02:00 on November 1.
    let at = "2026-10-25T12:00:00Z";
    assert_eq!(due(every(24, "02:30"), "Europe/Berlin", at), "2026-10-25T00:30:00Z");
    assert_eq!(due(cron("cron(30 2 * * ? *)"), "Europe/Berlin", at), "2026-10-25T00:30:00Z");
    assert_eq!(
        next(every(24, "02:30"), "Europe/Berlin", "2026-10-25T00:30:00Z"),
        "2026-10-26T01:30:00Z"
    );
    let new_york = due(every(24, "01:30"), "America/New_York", "2026-11-01T12:00:00Z");
    assert_eq!(new_york, "2026-11-01T05:30:00Z");
    // Hour by hour: in the second pass the slots of the first are the latest.
    let hourly = || cron("cron(0 * * * ? *)");
    assert_eq!(due(hourly(), "Europe/Berlin", "2026-10-25T01:00:00Z"), "2026-10-25T00:00:00Z");
    assert_eq!(due(hourly(), "Europe/Berlin", "2026-10-25T01:59:59Z"), "2026-10-25T00:00:00Z");
    assert_eq!(next(hourly(), "Europe/Berlin", "2026-10-25T00:00:00Z"), "2026-10-25T02:00:00Z");
    let half_past = |at| due(cron("cron(30 * * * ? *)"), "Europe/Berlin", at);
    assert_eq!(half_past("2026-10-25T01:10:00Z"), "2026-10-25T00:30:00Z"); // and not 01:30
    // Havana goes from 01:00 back to midnight, and its second 00:30 is no slot either.
    let havana = |at| due(every(24, "00:30"), "America/Havana", at);
    assert_eq!(havana("2026-11-01T05:45:00Z"), "2026-11-01T04:30:00Z");
}

#[test]
fn a_day_that_a_zone_skipped_is_one_slot() {
    // Samoa went from December 29 to 31, 2011, at 10:00 UTC.
    let apia = |at| next(every(6, "00:00"), "Pacific/Apia", at);
    assert_eq!(apia("2011-12-30T04:00:00Z"), "2011-12-30T10:00:00Z");
    assert_eq!(apia("2011-12-30T10:00:00Z"), "2011-12-30T16:00:00Z");
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    for when in [every(1, "00:30"), every(24, "12:00"), cron("cron(0 0 L * ? *)")] {
        for time_zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
            let rule = CreateRule { time_zone: zone(time_zone), ..CreateRule::new(when.clone()) };
            for at in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                let (_, _) = (rule.due(at), rule.next(at));
            }
        }
    }
}

/// A cron expression, and what it means in the plainest words.
#[derive(Clone, Debug)]
struct Spec {
    minute: i8,
    hours: Option<Vec<i8>>,
    days: DaySpec,
    months: Option<Vec<i8>>,
}

/// Weekdays from Sunday, 1.
#[derive(Clone, Debug)]
enum DaySpec {
    Any,
    OfMonth(Vec<i8>),
    Last,
    LastWorking,
    Nearest(i8),
    OfWeek(Vec<i8>),
    Nth(i8, i8),
    LastOf(i8),
}

fn listed(values: &[i8]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl Spec {
    fn fields(&self) -> String {
        let (day, weekday) = match &self.days {
            DaySpec::Any => ("*".to_owned(), "?".to_owned()),
            DaySpec::OfMonth(days) => (listed(days), "?".to_owned()),
            DaySpec::Last => ("L".to_owned(), "?".to_owned()),
            DaySpec::LastWorking => ("LW".to_owned(), "?".to_owned()),
            DaySpec::Nearest(day) => (format!("{day}W"), "?".to_owned()),
            DaySpec::OfWeek(days) => ("?".to_owned(), listed(days)),
            DaySpec::Nth(day, n) => ("?".to_owned(), format!("{day}#{n}")),
            DaySpec::LastOf(day) => ("?".to_owned(), format!("{day}L")),
        };
        let hours = self.hours.as_deref().map_or_else(|| "*".to_owned(), listed);
        let months = self.months.as_deref().map_or_else(|| "*".to_owned(), listed);
        format!("{} {hours} {day} {months} {weekday} *", self.minute)
    }

    fn when(&self) -> When {
        cron(&format!("cron({})", self.fields()))
    }

    fn fires_at(&self, at: DateTime) -> bool {
        at.minute() == self.minute
            && self.hours.as_ref().is_none_or(|hours| hours.contains(&at.hour()))
            && self.months.as_ref().is_none_or(|months| months.contains(&at.month()))
            && self.fires_on(at.date())
    }

    fn fires_on(&self, date: civil::Date) -> bool {
        let is_working =
            |day: &civil::Date| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        let weekday = date.weekday().to_sunday_one_offset();
        let month =
            || (1..=date.days_in_month()).map(|day| civil::date(date.year(), date.month(), day));
        match &self.days {
            DaySpec::Any => true,
            DaySpec::OfMonth(days) => days.contains(&date.day()),
            DaySpec::Last => date == date.last_of_month(),
            DaySpec::LastWorking => month().rfind(is_working) == Some(date),
            DaySpec::Nearest(day) => {
                let distance = |it: &civil::Date| (it.day() - day).abs();
                *day <= date.days_in_month()
                    && month().filter(is_working).min_by_key(distance) == Some(date)
            }
            DaySpec::OfWeek(days) => days.contains(&weekday),
            DaySpec::Nth(day, n) => {
                weekday == *day
                    && month().filter(|it| it.weekday() == date.weekday() && *it <= date).count()
                        == usize::try_from(*n).unwrap()
            }
            DaySpec::LastOf(day) => {
                weekday == *day
                    && month().filter(|it| it.weekday() == date.weekday()).max() == Some(date)
            }
        }
    }
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let some = |range: std::ops::RangeInclusive<i8>| prop::collection::vec(range, 1..5);
    let days = prop_oneof![
        Just(DaySpec::Any),
        some(1..=31).prop_map(DaySpec::OfMonth),
        Just(DaySpec::Last),
        Just(DaySpec::LastWorking),
        (1_i8..=31).prop_map(DaySpec::Nearest),
        some(1..=7).prop_map(DaySpec::OfWeek),
        (1_i8..=7, 1_i8..=5).prop_map(|(day, n)| DaySpec::Nth(day, n)),
        (1_i8..=7).prop_map(DaySpec::LastOf),
    ];
    let hours = prop::option::of(some(0..=23));
    let months = prop::option::weighted(0.3, some(1..=12));
    (0_i8..60, hours, days, months).prop_map(|(minute, hours, days, months)| Spec {
        minute,
        hours,
        days,
        months,
    })
}

/// Half an hour of daylight saving, a fold at midnight, a day skipped, a negative saving, and the
/// plain ones.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Apia",
    "Europe/Dublin",
    "Asia/Kathmandu",
];

fn any_zone() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(&ZONES[..]).prop_map(zone)
}

/// Every rule, and a time in 1990 to 2060: half of them within hours of a change of the zone's
/// clock.
fn any_rule_and_time() -> impl Strategy<Value = (CreateRule, Timestamp)> {
    let interval = (prop::sample::select(&Interval::HOURS[..]), 0_i8..24, 0_i8..60);
    let when = prop_oneof![
        1 => Just(When::EveryRun),
        4 => interval.prop_map(|(hours, hour, minute)| {
            When::Interval(Interval::new(hours, civil::time(hour, minute, 0, 0)).unwrap())
        }),
        4 => any_spec().prop_map(|spec| spec.when()),
    ];
    (when, any_zone_and_time()).prop_map(|(when, (time_zone, at))| {
        (CreateRule { when, time_zone, start_window_minutes: None }, at)
    })
}

fn any_zone_and_time() -> impl Strategy<Value = (TimeZone, Timestamp)> {
    let from_change = prop::option::of(-10_800_i64..10_800);
    (any_zone(), 631_152_000_i64..2_840_140_800, from_change).prop_map(|(zone, second, off)| {
        let at = Timestamp::from_second(second).unwrap();
        let change = zone.following(at).next().map(|change| change.timestamp());
        let at = match (change, off) {
            (Some(change), Some(off)) => change.checked_add(off.seconds()).unwrap(),
            _ => at,
        };
        (zone, at)
    })
}

/// Every slot in the three days around `at`, found minute by minute: a wall clock time fires when
/// the zone's clock first shows it or more.
fn slots_around(spec: &Spec, zone: &TimeZone, at: Timestamp) -> BTreeSet<Slot> {
    let minute = |n: i64| Timestamp::from_second((at.as_second().div_euclid(60) + n) * 60).unwrap();
    // A clock a day and a half ahead of where we begin has not been put back from further.
    let mut latest = (-5760..-2160).map(|n| zone.to_datetime(minute(n))).max().unwrap();
    let mut slots = BTreeSet::new();
    for n in -2160..2160 {
        let shown = zone.to_datetime(minute(n));
        while latest < shown {
            latest = latest.checked_add(1.minute()).unwrap();
            if spec.fires_at(latest) {
                slots.insert(Slot::new(minute(n)));
            }
        }
    }
    slots
}

proptest! {
    #[test]
    fn due_is_monotone_and_stable(
        (rule, a) in any_rule_and_time(),
        later in prop_oneof![0_i64..7200, 0_i64..1_000_000_000],
    ) {
        let b = a.checked_add(later.seconds()).unwrap();
        prop_assert!(rule.due(a) <= rule.due(b));
        if let Some(slot) = rule.due(a) {
            prop_assert!(slot.timestamp() <= a);
            prop_assert_eq!(rule.due(slot.timestamp()), Some(slot));
            if let Some(next) = rule.next(slot.timestamp()) {
                prop_assert!(next.timestamp() > a);
                let before = next.timestamp().checked_sub(1.second()).unwrap();
                prop_assert_eq!(rule.due(before), Some(slot));
            }
        }
    }

    #[test]
    fn next_is_due_when_it_comes((rule, at) in any_rule_and_time()) {
        if let Some(next) = rule.next(at) {
            prop_assert!(next.timestamp() > at);
            prop_assert_eq!(rule.due(next.timestamp()), Some(next));
            prop_assert_eq!(next.to_string().parse::<Slot>(), Ok(next));
            let before = next.timestamp().checked_sub(1.second()).unwrap();
            prop_assert!(rule.due(before) < Some(next));
        }
    }

    #[test]
    fn another_library_agrees_in_utc(spec in any_spec(), (_, at) in any_zone_and_time()) {
        let oracle = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .build()
            .parse(&format!("0 {}", spec.fields()))
            .unwrap();
        let rule = CreateRule::new(spec.when());
        if spec.months.is_none() { // an oracle for what never fires would take its time
            let at = at.to_zoned(TimeZone::UTC);
            let previous = oracle.find_previous_occurrence(&at, true).unwrap().timestamp();
            let next = oracle.find_next_occurrence(&at, false).unwrap().timestamp();
            prop_assert_eq!(rule.due(at.timestamp()), Some(Slot::new(previous)));
            prop_assert_eq!(rule.next(at.timestamp()), Some(Slot::new(next)));
        }
    }

    #[test]
    fn parsing_is_total(text in ".{0,40}", fields in "[0-9A-Z*?/,#LW -]{0,40}") {
        let _ = text.parse::<Cron>();
        let _ = format!("cron({fields})").parse::<Cron>().map(|cron| cron.fires());
        let _ = text.parse::<Slot>();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))] // each looks at 7,920 minutes

    #[test]
    fn minute_by_minute_it_is_the_same(spec in any_spec(), (zone, at) in any_zone_and_time()) {
        let slots = slots_around(&spec, &zone, at);
        let rule = CreateRule { time_zone: zone, ..CreateRule::new(spec.when()) };
        let due = slots.range(..=Slot::new(at)).next_back().copied();
        prop_assert!(due.is_none() || rule.due(at) == due, "{:?}, not {due:?}", rule.due(at));
        let from = at.checked_sub(SignedDuration::from_hours(30)).unwrap();
        let until = at.checked_add(SignedDuration::from_hours(30)).unwrap();
        let mut found = BTreeSet::new();
        let mut next = from;
        while let Some(slot) = rule.next(next).filter(|slot| slot.timestamp() <= until) {
            found.insert(slot);
            next = slot.timestamp();
        }
        let expected = slots.into_iter().filter(|it| it.timestamp() > from && it.timestamp() <= until);
        prop_assert_eq!(found, expected.collect::<BTreeSet<_>>());
    }
}

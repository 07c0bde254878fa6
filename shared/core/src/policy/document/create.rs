//! `CreateRule`.

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::reader::{Node, Object};
use super::scripts::{self, Surroundings};
use crate::policy::Script;
use crate::schedule::{CreateRule, Cron, Interval, When};

/// And its script.
type Create = (CreateRule, Option<Script>);

pub(super) fn create(object: &mut Object<'_>, around: Surroundings) -> Option<Create> {
    match object.optional("CreateRule", |node| node.members(|rule| create_rule(rule, around))?) {
        Some(None) => Some((CreateRule::new(When::EveryRun), None)),
        rule => rule?,
    }
}

/// Whoever has an application stand still for a snapshot means it to be near its time.
const WINDOW_WITH_SCRIPTS: u32 = 60;

fn create_rule(object: &mut Object<'_>, around: Surroundings) -> Option<Create> {
    let location = object.optional("Location", |node| match node.string() {
        Some("CLOUD") => Some(()),
        Some("OUTPOST_LOCAL" | "LOCAL_ZONE") => {
            node.not_supported("it keeps snapshots on an Outpost or in a Local Zone")
        }
        _ => node.want("CLOUD"),
    });
    let script = scripts::read(object, around);
    let interval = object.optional("Interval", |node| hours(&node));
    let unit = object.optional("IntervalUnit", |node| match node.string() {
        Some("HOURS") => Some(()),
        _ => node.want("HOURS"),
    });
    let times = object.optional("Times", |node| node.list(1, "time (DLM)", |node| time(&node)));
    let cron = object.optional("CronExpression", |node| cron(&node));
    let zone = object.optional("TimeZone", |node| time_zone(&node));
    let window = object.integer("StartWindowMinutes", 1..=525_600);
    location?;
    let (times, zone, window) = (times?, zone?, window?);
    let when = match (interval?, cron?, unit?) {
        (Some(_), Some(_), _) => {
            return object.node().fail("want Interval or CronExpression, found both");
        }
        (None, Some(_), _) if times.is_some() => {
            return object.get("Times")?.fail("has its place beside Interval, not CronExpression");
        }
        // Recorded API output has a unit beside `"Interval": 0`.
        (None, Some(_), Some(())) if !object.is_written("Interval") => {
            return object
                .get("IntervalUnit")?
                .fail("has its place beside Interval, not CronExpression");
        }
        (None, Some(cron), _) => When::Cron(cron),
        (Some(hours), None, _) => {
            let start = times.and_then(|times| times.first().copied());
            When::Interval(Interval::new(hours, start.unwrap_or_else(Time::midnight))?)
        }
        (None, None, _) => return object.missing("Interval", RECURRENCE),
    };
    let time_zone = zone.unwrap_or(TimeZone::UTC);
    let script = script?;
    let start_window_minutes = window.or(script.is_some().then_some(WINDOW_WITH_SCRIPTS));
    Some((CreateRule { when, time_zone, start_window_minutes }, script))
}

const HOURS: &str = "1, 2, 3, 4, 6, 8, 12 or 24 hours";
const RECURRENCE: &str = "1, 2, 3, 4, 6, 8, 12 or 24 hours, or a CronExpression";

fn hours(node: &Node<'_>) -> Option<i8> {
    let is_one =
        |hours: &u32| Interval::HOURS.iter().any(|it| u32::from(it.unsigned_abs()) == *hours);
    i8::try_from(node.number_among(HOURS, is_one)?).ok()
}

fn time(node: &Node<'_>) -> Option<Time> {
    let parse = |text: &str| {
        let digits = |text: &str| match text.as_bytes() {
            [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => text.parse::<i8>().ok(),
            _ => None,
        };
        let (hour, minute) = text.split_once(':')?;
        Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()
    };
    node.string().and_then(parse).or_else(|| node.want("a time from 00:00 to 23:59"))
}

fn cron(node: &Node<'_>) -> Option<Cron> {
    let Some(text) = node.string().filter(|text| text.len() <= 106) else {
        return node.want("a cron expression of at most 106 characters (DLM)");
    };
    match text.parse::<Cron>() {
        Ok(cron) if cron.fires() => Some(cron),
        Ok(_) => node.want("an expression that fires at some time"),
        Err(err) => node.reject(err),
    }
}

fn time_zone(node: &Node<'_>) -> Option<TimeZone> {
    let zone = node.string().and_then(|name| TimeZone::get(name).ok());
    let zone = zone.filter(|zone| !zone.is_unknown());
    zone.or_else(|| node.want("an IANA time zone such as Europe/Berlin"))
}

//! `FastRestoreRule` and `ArchiveRule`: what a snapshot can do in the standard tier, and what comes after it.

use jiff::{SignedDuration, Timestamp};

use super::limits::{count_or_age, days};
use super::reader::{Node, Object};
use crate::ids::Region;
use crate::policy::{ArchiveRule, FastRestoreRule, RetainRule, Zones};
use crate::schedule::{CreateRule, When};

#[expect(clippy::option_option, reason = "invalid, absent, there")]
pub(super) fn fast_restore(object: &mut Object<'_>) -> Option<Option<FastRestoreRule>> {
    match object.given("FastRestoreRule") {
        None => Some(None),
        Some(node) => node.members(fast_restore_rule)?.map(Some),
    }
}

fn fast_restore_rule(object: &mut Object<'_>) -> Option<FastRestoreRule> {
    let limit = count_or_age(object);
    let names = object.optional("AvailabilityZones", |node| {
        node.list(10, "zones (DLM)", |node| zone(&node, zone_name_is_valid, "eu-central-1a"))
    });
    let ids = object.optional("AvailabilityZoneIds", |node| {
        node.list(10, "zones (DLM)", |node| zone(&node, zone_id_is_valid, "euc1-az2"))
    });
    let zones = match (names?, ids?) {
        (Some(names), None) => Zones::Names(names.into_iter().collect()),
        (None, Some(ids)) => Zones::Ids(ids.into_iter().collect()),
        (Some(_), Some(_)) => {
            let want = "want AvailabilityZones or AvailabilityZoneIds, found both";
            return object.node().fail(want);
        }
        (None, None) => {
            let want =
                "1 to 10 zones, or AvailabilityZoneIds: EC2 makes a snapshot fast zone by zone";
            return object.missing("AvailabilityZones", want);
        }
    };
    let (count, age) = limit?;
    Some(FastRestoreRule { count, age, zones })
}

fn zone(node: &Node<'_>, is_valid: fn(&str) -> bool, example: &str) -> Option<String> {
    match node.string() {
        Some(text) if is_valid(text) => Some(text.to_owned()),
        _ => node.want(format_args!("a zone such as {example}")),
    }
}

/// A Region and a letter.
fn zone_name_is_valid(text: &str) -> bool {
    text.strip_suffix(|c: char| c.is_ascii_lowercase())
        .is_some_and(|region| region.parse::<Region>().is_ok())
}

/// DLM's `[a-z]{3,4}\d-az\d+`.
fn zone_id_is_valid(text: &str) -> bool {
    let is_all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| is(&b));
    text.split_once("-az").is_some_and(|(region, number)| {
        region.strip_suffix(|c: char| c.is_ascii_digit()).is_some_and(|letters| {
            (3..=4).contains(&letters.len()) && is_all(letters, u8::is_ascii_lowercase)
        }) && is_all(number, u8::is_ascii_digit)
    })
}

#[expect(clippy::option_option, reason = "invalid, absent, there")]
pub(super) fn archive(object: &mut Object<'_>) -> Option<Option<ArchiveRule>> {
    match object.given("ArchiveRule") {
        None => Some(None),
        Some(node) => node.members(archive_rule)?.map(Some),
    }
}

fn archive_rule(object: &mut Object<'_>) -> Option<ArchiveRule> {
    let want = "RetentionArchiveTier with Count, or Interval and IntervalUnit";
    let tier = object.required("RetainRule", want)?.members(|rule| {
        rule.required("RetentionArchiveTier", "Count, or Interval and IntervalUnit")
    })??;
    tier.members(|tier| {
        let (count, age) = count_or_age(tier)?;
        if age.is_some_and(|age| days(age) < 90) {
            return tier.missing("Interval", "90 days or more, as the archive tier charges them");
        }
        Some(ArchiveRule { count, age })
    })?
}

/// What DLM wants of a schedule that archives.
pub(super) fn check_archive(
    object: &mut Object<'_>,
    archive: Option<&ArchiveRule>,
    create: Option<&CreateRule>,
    retain: Option<&RetainRule>,
) {
    if create.is_some_and(|create| !is_monthly(create)) {
        let want =
            "a CronExpression whose times are 28 days or more apart, beside ArchiveRule (DLM)";
        object.missing::<()>("CreateRule", want);
    }
    let cron = object.get("CreateRule").and_then(|node| node.single().member("CronExpression"));
    let is_nth_weekday = cron.and_then(|cron| cron.string()).is_some_and(|text| text.contains('#'));
    if is_nth_weekday
        && archive.is_some_and(|it| it.count.is_some_and(|n| n.get() < 4))
        && let Some(node) = object.get("ArchiveRule")
    {
        node.want::<()>("a Count of 4 or more where the day of the week has a # (DLM)");
    }
    if retain.is_some_and(RetainRule::is_unlimited) {
        for name in ["ShareRules", "FastRestoreRule", "CrossRegionCopyRules"] {
            if let Some(node) = object.given(name) {
                node.fail::<()>(
                    "want a RetainRule with a Count of 1 or more, or an Interval, beside it (DLM): \
                     the snapshots are archived at once",
                );
            }
        }
    }
}

/// Whether its slots are 28 days or more apart, less an hour for the clock that goes forward: 120 of them, which are
/// ten years of months.
fn is_monthly(create: &CreateRule) -> bool {
    if !matches!(create.when, When::Cron(_)) {
        return false;
    }
    let apart = SignedDuration::from_hours(28 * 24 - 1);
    let next = |after: Timestamp| create.next(after).map(crate::schedule::Slot::timestamp);
    let mut slots = std::iter::successors(next(SOME_START), |slot| next(*slot)).take(120);
    let Some(mut last) = slots.next() else { return true };
    slots.all(|slot| slot.duration_since(std::mem::replace(&mut last, slot)) >= apart)
}

/// 2024; what came before comes no more.
const SOME_START: Timestamp = Timestamp::constant(1_704_067_200, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_what_dlm_takes() {
        for good in ["us-east-1a", "us-gov-west-1b", "ap-southeast-4c"] {
            assert!(zone_name_is_valid(good), "{good}");
        }
        for bad in ["us-east-1", "us-east-1A", "us-west-2-lax-1a", "a", ""] {
            assert!(!zone_name_is_valid(bad), "{bad}");
        }
        for good in ["use1-az1", "euc1-az2", "apne1-az12"] {
            assert!(zone_id_is_valid(good), "{good}");
        }
        for bad in
            ["use1-az", "us1-az1", "apsouth1-az1", "use-az1", "USE1-az1", "use1-az1a", "é1-az1"]
        {
            assert!(!zone_id_is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn months_are_28_days_apart() {
        let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
        let create = |cron: &str| CreateRule {
            time_zone: zone.clone(),
            ..CreateRule::new(When::Cron(cron.parse().unwrap()))
        };
        for good in [
            "cron(0 9 1 * ? *)",
            "cron(0 9 L * ? *)",
            "cron(0 9 15W * ? *)",
            "cron(0 9 ? * SUN#2 *)",
            "cron(0 9 ? * FRIL *)",
            "cron(0 9 1 1 ? *)",
            "cron(0 9 1 1 ? 2030)",
            "cron(0 9 1 1 ? 2019)",
        ] {
            assert!(is_monthly(&create(good)), "{good}");
        }
        for bad in [
            "cron(0 9 ? * FRI *)",
            "cron(0 9 1,15 * ? *)",
            "cron(0 9 * * ? *)",
            "cron(0 9,10 1 * ? *)",
            "cron(0 9 ? * FRI#1,MON#3 *)",
            "cron(0 9 31,1 * ? *)",
        ] {
            if let Ok(cron) = bad.parse() {
                assert!(!is_monthly(&CreateRule::new(When::Cron(cron))), "{bad}");
            }
        }
        assert!(!is_monthly(&CreateRule::new(When::EveryRun)));
    }
}

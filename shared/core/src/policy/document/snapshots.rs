//! `EBS_SNAPSHOT_MANAGEMENT`.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::reader::{Node, Object};
use super::{DEFAULT_POLICY, DEFAULT_POLICY_MEMBERS, parts};
use crate::ids::AccountId;
use crate::policy::{RetainRule, Schedule, SnapshotPolicy};
use crate::schedule::{CreateRule, Cron, Interval, When};

/// The tags of our own on a snapshot: policy, schedule, slot, expires-at, shared-with.
const OUR_TAGS: usize = 5;

pub(super) fn read(object: &mut Object<'_>) -> Option<SnapshotPolicy> {
    let resource_types = resource_types(object);
    let locations = parts::resource_locations(object);
    let target_tags = object.optional("TargetTags", |node| parts::tags(&node, 50, "tags (DLM)"));
    let volume_ids =
        object.optional("TargetVolumeIds", |node| node.list(1000, "volumes", |node| node.id()));
    let exclude_tags = object.optional("ExcludeTags", |node| parts::tags(&node, 50, "tags"));
    object.optional("Parameters", |node| node.members(parameters));
    if object.get("TargetVolumeIds").is_none() {
        object.required("TargetTags", "tags, or TargetVolumeIds");
    }
    object.misplaced(&["EventSource", "Actions"], "an EVENT_BASED_POLICY");
    object.refuse("ResourceType", DEFAULT_POLICY);
    for member in DEFAULT_POLICY_MEMBERS {
        object.refuse(member, DEFAULT_POLICY);
    }
    let schedules = object.required("Schedules", "1 to 4 schedules").and_then(|node| {
        let mut others = Others::default();
        let mut position = 0;
        node.list(4, "schedules (DLM)", |node| {
            position += 1;
            node.members(|object| schedule(object, position, &mut others))?
        })
    });
    resource_types?;
    locations?;
    Some(SnapshotPolicy {
        target_tags: target_tags?.unwrap_or_default(),
        target_volume_ids: volume_ids?.unwrap_or_default().into_iter().collect(),
        exclude_tags: exclude_tags?.unwrap_or_default(),
        schedules: schedules?,
    })
}

/// DLM asks for it; where it is absent there is only one it can be.
fn resource_types(object: &mut Object<'_>) -> Option<()> {
    let types = object.optional("ResourceTypes", |node| {
        node.list(1, "resource type (DLM)", |node| match node.string() {
            Some("VOLUME") => Some(()),
            Some("INSTANCE") => {
                node.not_supported("it takes all volumes of an instance at one instant")
            }
            _ => node.want("VOLUME"),
        })
    });
    types.map(|_| ())
}

fn parameters(object: &mut Object<'_>) {
    object.refuse("ExcludeBootVolume", "it leaves out instances' boot volumes");
    object.refuse("ExcludeDataVolumeTags", "it leaves out instances' data volumes by tag");
    object.refuse("NoReboot", "it is for AMIs");
}

/// What schedules share with those before them.
#[derive(Default)]
struct Others {
    names: BTreeSet<String>,
    /// The first retention kind, and where it is.
    kind: Option<(&'static str, String)>,
}

fn schedule(object: &mut Object<'_>, position: usize, others: &mut Others) -> Option<Schedule> {
    let name = name(object, position, &mut others.names);
    let copy_tags = object.boolean("CopyTags");
    let tags_to_add = parts::tags_to_add(object, OUR_TAGS);
    let create = create(object);
    let archived = object.refuse(
        "ArchiveRule",
        "it moves snapshots to the archive tier when their retention is over",
    );
    let retain = retain(object, archived);
    if let Some(retain) = &retain {
        same_kind(object, retain, &mut others.kind);
    }
    let share_with = share_with(object);
    object
        .refuse("CrossRegionCopyRules", "it copies snapshots to other Regions of the same account");
    object.refuse("FastRestoreRule", "it makes restored volumes fast at once");
    object.refuse("LockRule", "it locks snapshots against deletion");
    object.refuse("DeprecateRule", "it deprecates AMIs");
    object.refuse("VariableTags", "it puts the instance's id and the time into tags");
    Some(Schedule {
        name: name?,
        copy_tags: copy_tags?,
        tags_to_add: tags_to_add?,
        create: create?,
        retain: retain?,
        share_with: share_with?,
    })
}

/// Unnamed schedules are called by their position.
fn name(object: &mut Object<'_>, position: usize, names: &mut BTreeSet<String>) -> Option<String> {
    let name = object.optional("Name", |node| match node.string() {
        Some(name) if name_is_valid(name) => Some(name.to_owned()),
        _ => node.want("1 to 120 of A-Z a-z 0-9 space _ - (DLM)"),
    });
    let name = name?.unwrap_or_else(|| format!("schedule-{position}"));
    if names.insert(name.clone()) {
        Some(name)
    } else {
        let want = format!("a name that no other schedule has (\"{name}\" is taken)");
        object.missing("Name", want)
    }
}

fn name_is_valid(name: &str) -> bool {
    name.len() <= 120 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b" _-".contains(&b))
}

fn create(object: &mut Object<'_>) -> Option<CreateRule> {
    match object.optional("CreateRule", |node| node.members(create_rule)?) {
        Some(None) => Some(CreateRule::new(When::EveryRun)),
        rule => rule?,
    }
}

fn create_rule(object: &mut Object<'_>) -> Option<CreateRule> {
    let location = object.optional("Location", |node| match node.string() {
        Some("CLOUD") => Some(()),
        Some("OUTPOST_LOCAL" | "LOCAL_ZONE") => {
            node.not_supported("it keeps snapshots on an Outpost or in a Local Zone")
        }
        _ => node.want("CLOUD"),
    });
    object.refuse("Scripts", "it runs commands on instances before and after");
    let interval = object.optional("Interval", |node| {
        let is_one =
            |hours: &u32| Interval::HOURS.iter().any(|it| u32::from(it.unsigned_abs()) == *hours);
        i8::try_from(node.number_among(HOURS, is_one)?).ok()
    });
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
    Some(CreateRule { when, time_zone, start_window_minutes: window })
}

const HOURS: &str = "1, 2, 3, 4, 6, 8, 12 or 24 hours";
const RECURRENCE: &str = "1, 2, 3, 4, 6, 8, 12 or 24 hours, or a CronExpression";

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

/// With an `ArchiveRule`, which is refused, DLM wants no retention in the standard tier; then its
/// absence is no further issue.
fn retain(object: &mut Object<'_>, archived: bool) -> Option<RetainRule> {
    let want = "Count, or Interval and IntervalUnit";
    let Some(node) = object.get("RetainRule") else {
        return if archived { None } else { object.missing("RetainRule", want) };
    };
    node.members(|rule| {
        let keep = rule.refuse("Keep", "it keeps the newest of each hour, day, week, month, year");
        let count = rule.integer("Count", 1..=1000);
        let age = parts::age(rule);
        let minimum_count = rule.integer("MinimumCount", 1..=1000);
        let (count, age) = (count?, age?);
        if count.is_none() && age.is_none() {
            return if keep || archived {
                None
            } else if rule.is_written("Count") {
                rule.missing("Count", "1 to 1000")
            } else if rule.is_written("Interval") {
                rule.missing("Interval", "1 or more")
            } else {
                rule.node().want(want)
            };
        }
        Some(RetainRule {
            count: count.and_then(NonZeroU32::new),
            age,
            minimum_count: minimum_count?.unwrap_or(1),
        })
    })?
}

/// DLM's rule: all schedules of a policy retain in the same way, for only then has "the highest
/// retention wins" a meaning where two of them coincide. Count and age together is a way of its
/// own.
fn same_kind(
    object: &mut Object<'_>,
    retain: &RetainRule,
    first: &mut Option<(&'static str, String)>,
) {
    let kind = match (retain.count, retain.age) {
        (Some(_), Some(_)) => "count and age",
        (Some(_), None) => "count",
        _ => "age",
    };
    let Some(node) = object.get("RetainRule") else {
        return;
    };
    match first {
        None => *first = Some((kind, node.pointer().to_owned())),
        Some((other, place)) if *other != kind => {
            node.fail::<()>(format_args!(
                "want retention by {other} as in {place} (DLM: all schedules alike), found {kind}"
            ));
        }
        Some(_) => {}
    }
}

fn share_with(object: &mut Object<'_>) -> Option<BTreeSet<AccountId>> {
    let rules = object.optional("ShareRules", |node| {
        node.list(1, "share rule (DLM)", |node| node.members(share_rule)?)
    });
    Some(rules?.into_iter().flatten().flatten().collect())
}

fn share_rule(object: &mut Object<'_>) -> Option<Vec<AccountId>> {
    let unshare = "it ends the sharing before the snapshot's retention is over";
    if object.refuse("UnshareInterval", unshare) {
        object.know(&["UnshareIntervalUnit"]); // the one issue says it
    } else if !object.is_written("UnshareInterval") {
        object.refuse("UnshareIntervalUnit", unshare);
    } else {
        object.know(&["UnshareIntervalUnit"]); // beside 0
    }
    let accounts = object.required("TargetAccounts", "at least one account")?;
    accounts.list(1000, "accounts", |node| node.account())
}

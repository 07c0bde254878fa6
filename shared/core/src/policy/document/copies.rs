//! `EVENT_BASED_POLICY`.

use std::collections::BTreeMap;

use super::reader::{Node, Object};
use super::text::escaped;
use super::{DEFAULT_POLICY, DEFAULT_POLICY_MEMBERS, parts};
use crate::ids::{AccountId, KmsKeyArn, Region};
use crate::policy::{Age, CopyPolicy, CopyRule, DescriptionRegex};

/// The tags of our own on a copy: policy, rule, source-snapshot, -account, -region and -volume,
/// slot, expires-at.
const OUR_TAGS: usize = 8;

pub(super) fn read(object: &mut Object<'_>) -> Option<CopyPolicy> {
    let locations = parts::resource_locations(object);
    let source = object
        .required("EventSource", "an event source with Parameters.SnapshotOwner")
        .and_then(|node| node.members(event_source)?);
    let rules = object.required("Actions", "one action with CrossRegionCopy").and_then(|node| {
        let actions = node.list(1, "action (DLM)", |node| node.members(action)?)?;
        Some(actions.into_iter().flatten().collect())
    });
    object.misplaced(
        &[
            "ExcludeTags",
            "Parameters",
            "ResourceTypes",
            "Schedules",
            "TargetTags",
            "TargetVolumeIds",
        ],
        "an EBS_SNAPSHOT_MANAGEMENT policy",
    );
    object.refuse("ResourceType", DEFAULT_POLICY);
    for member in DEFAULT_POLICY_MEMBERS {
        object.refuse(member, DEFAULT_POLICY);
    }
    locations?;
    let Source { owners, description, regions } = source?;
    let mut rules: Vec<CopyRule> = rules?;
    name_rules(&mut rules);
    Some(CopyPolicy {
        owners: owners.into_iter().collect(),
        description,
        source_regions: regions,
        rules,
    })
}

/// A rule is called by its Region, and where that has several, by its position among them too.
fn name_rules(rules: &mut [CopyRule]) {
    let mut totals: BTreeMap<Region, usize> = BTreeMap::new();
    for rule in &*rules {
        *totals.entry(rule.target.clone()).or_default() += 1;
    }
    let mut positions: BTreeMap<Region, usize> = BTreeMap::new();
    for rule in rules {
        let position = positions.entry(rule.target.clone()).or_default();
        *position += 1;
        rule.name = match totals.get(&rule.target) {
            Some(2..) => format!("{}/{position}", rule.target),
            _ => rule.target.to_string(),
        };
    }
}

struct Source {
    owners: Vec<AccountId>,
    description: Option<DescriptionRegex>,
    regions: Vec<Region>,
}

fn event_source(object: &mut Object<'_>) -> Option<Source> {
    let kind = object.optional("Type", |node| match node.string() {
        Some("MANAGED_CWE") => Some(()),
        _ => node.want("MANAGED_CWE"),
    });
    let source = object
        .required("Parameters", "parameters with SnapshotOwner")
        .and_then(|node| node.members(parameters)?);
    kind?;
    source
}

fn parameters(object: &mut Object<'_>) -> Option<Source> {
    let event = object.optional("EventType", |node| match node.string() {
        Some("shareSnapshot") => Some(()),
        _ => node.want("shareSnapshot"),
    });
    let owners = object
        .required("SnapshotOwner", "at least one account")
        .and_then(|node| node.list(50, "accounts (DLM)", |node| node.account()));
    let description = object.optional("DescriptionRegex", |node| description(&node));
    let regions = object.optional("SourceRegions", |node| {
        let mut seen = Vec::new();
        node.list(100, "Regions", |node| {
            let region: Region = node.id()?;
            if seen.contains(&region) {
                return node.want("each Region once");
            }
            seen.push(region.clone());
            Some(region)
        })
    });
    event?;
    Some(Source {
        owners: owners?,
        description: description?,
        regions: regions?.unwrap_or_default(),
    })
}

fn description(node: &Node<'_>) -> Option<DescriptionRegex> {
    let Some(pattern) = node.string().filter(|pattern| pattern.chars().count() <= 1000) else {
        return node.want("a regular expression of at most 1000 characters (DLM)");
    };
    match DescriptionRegex::new(pattern) {
        Ok(regex) => Some(regex),
        Err(err) => node.want(format_args!("a regular expression ({})", escaped(&err, 200))),
    }
}

fn action(object: &mut Object<'_>) -> Option<Vec<CopyRule>> {
    let name = object.optional("Name", |node| match node.string() {
        Some(name) if name.chars().count() <= 120 => Some(()), // a label
        _ => node.want("at most 120 characters (DLM)"),
    });
    // DLM: three Regions at most. There is no reason for that here.
    let rules = object
        .required("CrossRegionCopy", "at least one copy")
        .and_then(|node| node.list(50, "copies", |node| node.members(copy_rule)?));
    name?;
    rules
}

fn copy_rule(object: &mut Object<'_>) -> Option<CopyRule> {
    let target = target(object);
    let encryption = object.optional("EncryptionConfiguration", |node| {
        node.members(|object| encryption(object, target.as_ref()))?
    });
    let retain = object.optional("RetainRule", |node| node.members(retain_rule)?);
    let minimum_count = object.integer("MinimumCount", 1..=1000);
    let tags_to_add = parts::tags_to_add(object, OUR_TAGS);
    let completion = object.optional("CompletionDurationMinutes", |node| {
        let fits = |minutes: &u32| (15..=2880).contains(minutes) && minutes.is_multiple_of(15);
        let minutes = node.number_among("15 to 2880 in steps of 15", fits)?;
        u16::try_from(minutes).ok()
    });
    object
        .refuse("CopyTags", "an account cannot read the tags of a snapshot that is shared with it");
    object.refuse("LockRule", "it locks copies against deletion");
    let retain = retain?.unwrap_or_default();
    let minimum_count = match (retain.minimum_count, minimum_count?) {
        (Some(_), Some(_)) => {
            return object.get("MinimumCount")?.fail("want it here or in RetainRule, found both");
        }
        (inner, outer) => inner.or(outer),
    };
    if minimum_count.is_some() && retain.age.is_none() {
        return object.missing("RetainRule", "Interval and IntervalUnit beside MinimumCount");
    }
    let encryption = encryption?.unwrap_or_default();
    Some(CopyRule {
        name: String::new(), // `name_rules` knows
        target: target?,
        encrypted: encryption.encrypted,
        cmk_arn: encryption.cmk_arn,
        retain: retain.age,
        minimum_count: minimum_count.unwrap_or(1),
        tags_to_add: tags_to_add?,
        completion_duration_minutes: completion?,
    })
}

/// `Target`, or `TargetRegion` as AMI policies and old snapshot policies have it.
fn target(object: &mut Object<'_>) -> Option<Region> {
    match (object.get("Target"), object.get("TargetRegion")) {
        (Some(_), Some(other)) => other.fail("want Target or TargetRegion, found both"),
        (None, None) => object.missing("Target", "a Region such as eu-central-1"),
        (Some(node), None) | (None, Some(node)) => {
            if node.string().is_some_and(|text| text.contains(":outposts:")) {
                return node.not_supported("it copies to an Outpost");
            }
            node.id()
        }
    }
}

#[derive(Default)]
struct Encryption {
    encrypted: bool,
    cmk_arn: Option<KmsKeyArn>,
}

fn encryption(object: &mut Object<'_>, target: Option<&Region>) -> Option<Encryption> {
    let encrypted = object.boolean("Encrypted");
    let cmk_arn = object.optional("CmkArn", |node| {
        let key: KmsKeyArn = node.id()?;
        match target {
            Some(target) if key.region() != *target => node
                .want(format_args!("a key in {target}: EC2 takes the target Region's keys only")),
            _ => Some(key),
        }
    });
    let (encrypted, cmk_arn) = (encrypted?, cmk_arn?);
    if cmk_arn.is_some() && !encrypted {
        let want = "true beside CmkArn: EC2 takes a key only for an encrypted copy";
        return object.missing("Encrypted", want);
    }
    Some(Encryption { encrypted, cmk_arn })
}

#[derive(Default)]
struct Retain {
    age: Option<Age>,
    minimum_count: Option<u32>,
}

/// By age only. Without an age, copies never expire.
fn retain_rule(object: &mut Object<'_>) -> Option<Retain> {
    let by_count = object.refuse("Count", "it keeps the newest so many copies");
    let keep = "it keeps the newest copy of each hour, day, week, month, year";
    let by_period = object.refuse("Keep", keep);
    let age = parts::age(object);
    let minimum_count = object.integer("MinimumCount", 1..=1000);
    if by_count || by_period {
        return None;
    }
    Some(Retain { age: age?, minimum_count: minimum_count? })
}

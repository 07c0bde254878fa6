//! `EVENT_BASED_POLICY`.

use std::collections::BTreeMap;

use super::reader::{Node, Object};
use super::text::escaped;
use super::{SIMPLIFIED, SIMPLIFIED_MEMBERS, copy_rules, parts};
use crate::ids::{AccountId, Region};
use crate::policy::{CopyPolicy, CopyRule, DescriptionRegex};

/// The tags of our own on a copy: policy, rule, source-snapshot, -account, -region, -volume and -volume-by,
/// source-start-time, slot, expires-at.
const OUR_TAGS: usize = 10;

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
            "DefaultKeyRescue",
            "ExcludeTags",
            "Parameters",
            "ResourceTypes",
            "Schedules",
            "TargetTags",
            "TargetVolumeIds",
        ],
        "an EBS_SNAPSHOT_MANAGEMENT policy",
    );
    object.misplaced(&["ResourceType"], SIMPLIFIED);
    object.misplaced(&SIMPLIFIED_MEMBERS, SIMPLIFIED);
    locations?;
    let Source { owners, description, regions } = source?;
    let mut rules: Vec<CopyRule> = rules?;
    name_rules(&mut rules);
    Some(CopyPolicy {
        owners: owners.into_iter().collect(),
        description,
        source_regions: regions,
        rules,
        readers: Vec::new(), // they stand around the details
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
    let target = copy_rules::target(object);
    let encryption = object.optional("EncryptionConfiguration", |node| {
        node.members(|object| copy_rules::encryption(object, target.as_ref()))?
    });
    let copy_tags = object.boolean("CopyTags");
    let common = copy_rules::common(object, OUR_TAGS);
    let (encryption, common) = (encryption?.unwrap_or_default(), common?);
    Some(CopyRule {
        name: String::new(), // `name_rules` knows
        schedule: None,
        target: target?,
        encrypted: encryption.encrypted,
        cmk_arn: encryption.cmk_arn,
        retain: common.retain,
        copy_tags: copy_tags?,
        tags_to_add: common.tags_to_add,
        completion_duration_minutes: common.completion_duration_minutes,
        lock: common.lock,
    })
}

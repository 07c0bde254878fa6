//! Copies: what both kinds of policy say of them, and a schedule's `CrossRegionCopyRules`.

use std::collections::BTreeMap;

use super::reader::Object;
use super::{limits, parts};
use crate::ids::{KmsKeyArn, Region};
use crate::policy::{CopyRule, LockRule, RetainRule, Tags};

/// The tags of our own on a copy in the same account: policy, schedule, rule, source-snapshot, -account, -region and
/// -volume, source-start-time, slot, expires-at.
const OUR_TAGS: usize = 10;

/// `CrossRegionCopyRules` of one schedule. DLM: three at most. There is no reason for that here.
pub(super) fn read(object: &mut Object<'_>) -> Option<Vec<CopyRule>> {
    let rules = object.optional("CrossRegionCopyRules", |node| {
        let mut seen = BTreeMap::new();
        node.list(50, "copies", |node| {
            let rule = node.members(copy_rule)??;
            let place = node.pointer().to_owned();
            match seen.insert(destination(&rule), place) {
                None => Some(rule),
                Some(other) => node.fail(format_args!(
                    "want each Region once under the same key, found {} as in {other}",
                    rule.target
                )),
            }
        })
    });
    Some(rules?.unwrap_or_default())
}

fn copy_rule(object: &mut Object<'_>) -> Option<CopyRule> {
    let target = target(object);
    let encryption = encryption(object, target.as_ref());
    let copy_tags = object.boolean("CopyTags");
    let common = common(object, OUR_TAGS);
    object.refuse("DeprecateRule", "it deprecates AMIs");
    let (encryption, common) = (encryption?, common?);
    Some(CopyRule {
        name: String::new(), // `name_rules` knows
        schedule: None,      // the schedule knows
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

/// What makes one copy of a snapshot different from another.
type Destination = (Region, bool, Option<KmsKeyArn>);

fn destination(rule: &CopyRule) -> Destination {
    (rule.target.clone(), rule.encrypted, rule.cmk_arn.clone())
}

/// A rule is called by its Region, and where that has several keys, by the position of its key among them too. Rules
/// of several schedules have one name where they make one and the same copy.
pub(super) fn name_rules(rules: &mut [CopyRule]) {
    let mut destinations: BTreeMap<Region, Vec<Destination>> = BTreeMap::new();
    for rule in &*rules {
        let known = destinations.entry(rule.target.clone()).or_default();
        let destination = destination(rule);
        if !known.contains(&destination) {
            known.push(destination);
        }
    }
    for rule in rules {
        let own = destination(rule);
        let known = destinations.get(&rule.target).map(Vec::as_slice).unwrap_or_default();
        let position = known.iter().take_while(|other| **other != own).count() + 1;
        rule.name = match known.len() {
            0 | 1 => rule.target.to_string(),
            _ => format!("{}/{position}", rule.target),
        };
    }
}

/// `Target`, or `TargetRegion` as AMI policies and old snapshot policies have it.
pub(super) fn target(object: &mut Object<'_>) -> Option<Region> {
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

/// `Encrypted` and `CmkArn`.
#[derive(Default)]
pub(super) struct Encryption {
    pub(super) encrypted: bool,
    pub(super) cmk_arn: Option<KmsKeyArn>,
}

/// DLM wants `Encrypted`; published policies do without it.
pub(super) fn encryption(object: &mut Object<'_>, target: Option<&Region>) -> Option<Encryption> {
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

/// What copies of both kinds have.
pub(super) struct Common {
    pub(super) retain: Option<RetainRule>,
    pub(super) tags_to_add: Tags,
    pub(super) completion_duration_minutes: Option<u16>,
    pub(super) lock: Option<LockRule>,
}

/// `ours` of a copy's tags are this program's.
pub(super) fn common(object: &mut Object<'_>, ours: usize) -> Option<Common> {
    let retain = limits::retain_copies(object);
    let tags_to_add = parts::tags_to_add(object, ours);
    let completion = object.optional("CompletionDurationMinutes", |node| {
        let fits = |minutes: &u32| (15..=2880).contains(minutes) && minutes.is_multiple_of(15);
        let minutes = node.number_among("15 to 2880 in steps of 15", fits)?;
        u16::try_from(minutes).ok()
    });
    let lock = limits::lock(object);
    Some(Common {
        retain: retain?,
        tags_to_add: tags_to_add?,
        completion_duration_minutes: completion?,
        lock: lock?,
    })
}

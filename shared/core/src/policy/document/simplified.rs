//! Default policies: the language `SIMPLIFIED`. DLM takes their members in the request or in `PolicyDetails`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::reader::{Node, Object};
use super::{STANDARD, STANDARD_MEMBERS, copy_rules, parts};
use crate::ids::Region;
use crate::policy::{
    Age, CopyRule, IntervalUnit, RetainRule, Schedule, Selection, SnapshotPolicy, Tags,
};
use crate::schedule::{CreateRule, When};

/// `PolicyDetails`, and the request around them where that is another object.
struct Places<'o, 'a> {
    details: &'o mut Object<'a>,
    request: Option<&'o mut Object<'a>>,
}

impl<'a> Places<'_, 'a> {
    /// Whichever object has the member; where neither has it, the one that would.
    fn of(&mut self, name: &'static str) -> &mut Object<'a> {
        let inner = self.details.get(name);
        let outer = self.request.as_mut().and_then(|request| request.get(name));
        match (&inner, &outer, &mut self.request) {
            (Some(node), Some(_), _) => {
                node.fail::<()>(format_args!(
                    "want {name} here or in the request around PolicyDetails (DLM), found both"
                ));
                self.details
            }
            (None, Some(_), Some(request)) => request,
            _ => self.details,
        }
    }
}

/// `is_for_volumes`: the request has said so in `DefaultPolicy`.
pub(super) fn read<'a>(
    details: &mut Object<'a>,
    request: Option<&mut Object<'a>>,
    is_for_volumes: bool,
) -> Option<SnapshotPolicy> {
    details.misplaced(&STANDARD_MEMBERS, STANDARD);
    let resource = resource_type(details, is_for_volumes);
    let places = &mut Places { details, request };
    let create = places.of("CreateInterval").integer("CreateInterval", 1..=7);
    let retain = retain_interval(places, create.flatten().unwrap_or(1));
    let copy_tags = places.of("CopyTags").boolean("CopyTags");
    places.of("ExtendDeletion").refuse("ExtendDeletion", EXTEND_DELETION);
    let targets = places.of("CrossRegionCopyTargets").optional("CrossRegionCopyTargets", |node| {
        let mut seen = BTreeSet::new();
        node.list(3, "Regions (DLM)", |node| copy_target(&node, &mut seen))
    });
    let exclusions =
        places.of("Exclusions").optional("Exclusions", |node| node.members(exclusions)?);
    resource?;
    let (retain, copy_tags, exclusions) = (retain?, copy_tags?, exclusions?.unwrap_or_default());
    let targets = targets?.unwrap_or_default();
    Some(SnapshotPolicy {
        selection: Selection::Unprotected {
            create_interval_days: u8::try_from(create?.unwrap_or(1)).ok()?,
            exclude_boot_volumes: exclusions.boot_volumes,
            exclude_volume_types: exclusions.volume_types,
            exclude_tags: exclusions.tags,
        },
        exclude_tags: Vec::new(),
        default_key_rescue: None,
        copies: targets.into_iter().map(|target| copy(target, &retain, copy_tags)).collect(),
        schedules: vec![schedule(retain, copy_tags)],
    })
}

const EXTEND_DELETION: &str = "it deletes the last snapshot of a deleted volume too, and goes on \
    while the policy is disabled; snapferry never deletes the last good one";

pub(super) const MAKES_AMIS: &str = "it makes AMIs of instances, not snapshots of volumes";

fn resource_type(details: &mut Object<'_>, is_known: bool) -> Option<()> {
    match details.get("ResourceType") {
        None if is_known => Some(()),
        None => details.missing("ResourceType", "VOLUME"),
        Some(node) => match node.string() {
            Some("VOLUME") => Some(()),
            Some("INSTANCE") => node.not_supported(MAKES_AMIS),
            _ => node.want("VOLUME"),
        },
    }
}

fn retain_interval(places: &mut Places<'_, '_>, create_interval: u32) -> Option<RetainRule> {
    let object = places.of("RetainInterval");
    let days = object.integer("RetainInterval", 2..=14)?.unwrap_or(7);
    if days < create_interval {
        let want = format!("no less than CreateInterval, which is {create_interval} (DLM)");
        return object.missing("RetainInterval", want);
    }
    let age = Age { interval: NonZeroU32::new(days)?, unit: IntervalUnit::Days };
    Some(RetainRule { count: None, age: Some(age), keep: None, minimum_count: 1 })
}

fn copy_target(node: &Node<'_>, seen: &mut BTreeSet<Region>) -> Option<Region> {
    let target = node.members(copy_rules::target)??;
    if seen.insert(target.clone()) { Some(target) } else { node.want("each Region once") }
}

#[derive(Default)]
struct Exclusions {
    boot_volumes: bool,
    volume_types: BTreeSet<String>,
    tags: Vec<(String, String)>,
}

fn exclusions(object: &mut Object<'_>) -> Option<Exclusions> {
    let boot_volumes = object.boolean("ExcludeBootVolumes");
    let as_in_the_guide = object.boolean("ExcludeBootVolume");
    if object.get("ExcludeBootVolumes").is_some()
        && let Some(node) = object.get("ExcludeBootVolume")
    {
        node.fail::<()>("want it or ExcludeBootVolumes, found both");
    }
    let volume_types = object.optional("ExcludeVolumeTypes", |node| {
        node.list(6, "volume types (DLM)", |node| match node.string() {
            Some(known) if VOLUME_TYPES.contains(&known) => Some(known.to_owned()),
            _ => node.want(VOLUME_TYPES.join(", ")),
        })
    });
    let tags = object.optional("ExcludeTags", |node| parts::tags(&node, 50, "tags (DLM)"));
    Some(Exclusions {
        boot_volumes: boot_volumes? || as_in_the_guide?,
        volume_types: volume_types?.into_iter().flatten().collect(),
        tags: tags?.unwrap_or_default(),
    })
}

const VOLUME_TYPES: [&str; 7] = ["standard", "gp2", "gp3", "io1", "io2", "st1", "sc1"];

/// The only one's name.
const NAME: &str = "default";

fn schedule(retain: RetainRule, copy_tags: bool) -> Schedule {
    Schedule {
        name: NAME.to_owned(),
        copy_tags,
        tags_to_add: Tags::new(),
        variable_tags: BTreeMap::new(),
        create: CreateRule::new(When::EveryRun),
        retain,
        script: None,
        archive: None,
        share_with: BTreeSet::new(),
        unshare_after: None,
        unshare_when_copied: None,
        fast_restore: None,
        lock: None,
    }
}

fn copy(target: Region, retain: &RetainRule, copy_tags: bool) -> CopyRule {
    CopyRule {
        name: target.to_string(),
        schedule: Some(NAME.to_owned()),
        target,
        encrypted: false,
        cmk_arn: None,
        retain: Some(retain.clone()),
        copy_tags,
        tags_to_add: Tags::new(),
        completion_duration_minutes: None,
        lock: None,
    }
}

//! One of `Schedules`.

use std::collections::BTreeSet;

use super::reader::Object;
use super::scripts::Surroundings;
use super::{INSTANCES, VOLUMES, copy_rules, create, limits, parts, scripts, share, tiers};
use crate::policy::{CopyRule, RetainRule, Schedule, Tags, Variable};

/// What the policy says that bears on its schedules.
#[derive(Clone, Copy)]
pub(super) struct Policywide {
    /// It is for volumes, or could be.
    pub(super) volumes: bool,
    /// It is for instances, or could be.
    pub(super) instances: bool,
    pub(super) excludes_data_volumes: bool,
    /// How many schedules there are.
    pub(super) schedules: usize,
}

impl Policywide {
    /// The tags of our own on a snapshot: policy, schedule, slot, expires-at, shared-with; and of a set
    /// instance and volumes.
    fn our_tags(self) -> usize {
        if self.instances { 7 } else { 5 }
    }
}

/// What schedules share with those before them.
#[derive(Default)]
pub(super) struct Others {
    read: usize,
    names: BTreeSet<String>,
    /// The first retention kind, and where it is.
    kind: Option<(String, String)>,
}

pub(super) fn read(
    object: &mut Object<'_>,
    policy: Policywide,
    others: &mut Others,
) -> Option<(Schedule, Vec<CopyRule>)> {
    others.read += 1;
    let name = name(object, others);
    let copy_tags = object.boolean("CopyTags");
    let tags = tags(object, policy);
    let around = Surroundings {
        instances: policy.instances,
        excludes_data_volumes: policy.excludes_data_volumes,
        copy_tags: copy_tags == Some(true),
    };
    let create = create::create(object, around);
    let archives = object.given("ArchiveRule").is_some();
    let archive = tiers::archive(object);
    let retain = retain(object, archives);
    if archives && !policy.volumes {
        object.misplaced(&["ArchiveRule"], VOLUMES);
    } else if archives {
        if policy.schedules > 1 {
            object.misplaced(&["ArchiveRule"], "a policy with one schedule (DLM)");
        }
        let archive = archive.as_ref().and_then(Option::as_ref);
        let create = create.as_ref().map(|(create, _)| create);
        tiers::check_archive(object, archive, create, retain.as_ref());
    } else if let Some(retain) = &retain {
        same_kind(object, retain, &mut others.kind);
    }
    let share = share::read(object, retain.as_ref());
    let fast_restore = tiers::fast_restore(object);
    let copies = copy_rules::read(object);
    let lock = limits::lock(object);
    object.refuse("DeprecateRule", "it deprecates AMIs");
    let (name, (tags_to_add, variable_tags)) = (name?, tags?);
    let (create, script) = create?;
    scripts::check_tags(object, script.as_ref(), policy.our_tags())?;
    let share = share?;
    let mut copies = copies?;
    for rule in &mut copies {
        rule.schedule = Some(name.clone());
    }
    let schedule = Schedule {
        name,
        copy_tags: copy_tags?,
        tags_to_add,
        variable_tags,
        create,
        script,
        retain: retain?,
        archive: archive?,
        share_with: share.with,
        unshare_after: share.after,
        unshare_when_copied: share.when_copied,
        fast_restore: fast_restore?,
        lock: lock?,
    };
    Some((schedule, copies))
}

/// Unnamed schedules are called by their position.
fn name(object: &mut Object<'_>, others: &mut Others) -> Option<String> {
    let name = object.optional("Name", |node| match node.string() {
        Some(name) if name_is_valid(name) => Some(name.to_owned()),
        _ => node.want("1 to 120 of A-Z a-z 0-9 space _ - (DLM)"),
    });
    let name = name?.unwrap_or_else(|| format!("schedule-{}", others.read));
    if others.names.insert(name.clone()) {
        Some(name)
    } else {
        let want = format!("a name that no other schedule has (\"{name}\" is taken)");
        object.missing("Name", want)
    }
}

fn name_is_valid(name: &str) -> bool {
    name.len() <= 120 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b" _-".contains(&b))
}

type VariableTags = std::collections::BTreeMap<String, Variable>;

/// `TagsToAdd` and `VariableTags`.
fn tags(object: &mut Object<'_>, policy: Policywide) -> Option<(Tags, VariableTags)> {
    let ours = policy.our_tags();
    let to_add = parts::tags_to_add(object, ours);
    if !policy.instances {
        object.misplaced(&["VariableTags"], INSTANCES);
        return Some((to_add?, VariableTags::new()));
    }
    let variable = parts::variable_tags(object, to_add.as_ref().unwrap_or(&Tags::new()), ours);
    Some((to_add?, variable?))
}

/// Beside an `ArchiveRule` there need be no retention in the standard tier: then the snapshots are archived at once.
fn retain(object: &mut Object<'_>, archives: bool) -> Option<RetainRule> {
    let want = "Count, Interval and IntervalUnit, or Keep";
    let Some(node) = object.get("RetainRule") else {
        return if archives {
            Some(limits::Limits::default().into_rule())
        } else {
            object.missing("RetainRule", want)
        };
    };
    node.members(|rule| {
        let limits = limits::limits(rule)?;
        let is_at_once = archives && rule.has_any(&["Count", "Interval"]);
        if limits.has_any() || is_at_once {
            Some(limits.into_rule())
        } else if rule.is_written("Count") {
            rule.missing("Count", "1 to 1000")
        } else if rule.is_written("Interval") {
            rule.missing("Interval", "1 or more")
        } else {
            rule.node().want(want)
        }
    })?
}

/// DLM's rule: all schedules of a policy retain in the same way, for only then has "the highest retention wins" a
/// meaning where two of them coincide. Two ways together are a way of their own.
fn same_kind(object: &mut Object<'_>, retain: &RetainRule, first: &mut Option<(String, String)>) {
    let ways = [
        (retain.count.is_some(), "count"),
        (retain.age.is_some(), "age"),
        (retain.keep.is_some(), "keep"),
    ];
    let ways: Vec<_> = ways.into_iter().filter_map(|(is, way)| is.then_some(way)).collect();
    let kind = ways.join(" and ");
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

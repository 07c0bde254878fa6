//! Fast snapshot restore: which completed snapshots want it, in which zones, and which have had it long enough.

use std::collections::{BTreeMap, BTreeSet};

use super::rotate::{Draft, Own};
use super::view::View;
use crate::action::{Action, Hold, Reason};
use crate::ids::Region;
use crate::inventory::State;
use crate::policy::{FastRestoreRule, Policy, Schedule, SnapshotPolicy, Zones};

/// "FSR can be enabled on snapshots with a size of 16 TiB or less"
/// ([Fast snapshot restore](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-fast-snapshot-restore.html)).
const MAX_GIB: u32 = 16 * 1024;

const WITHOUT: &str = "fast snapshot restore is neither enabled nor disabled";

pub(super) fn plan(
    draft: &mut Draft<'_>,
    view: &View<'_>,
    policy: &Policy,
    details: &SnapshotPolicy,
) {
    let rules = || details.schedules.iter().filter_map(|schedule| schedule.fast_restore.as_ref());
    if rules().next().is_none() {
        return;
    }
    let inventory = draft.request.inventory;
    let (current, names_by_id) = match (&inventory.fast_restores, &inventory.zones) {
        (Ok(current), Ok(zones)) => (current, zones),
        (Err(unread), _) => {
            return draft.tell_unread(policy, "DescribeFastSnapshotRestores", unread, WITHOUT);
        }
        (_, Err(unread)) => {
            return draft.tell_unread(policy, "DescribeAvailabilityZones", unread, WITHOUT);
        }
    };
    let region = &draft.request.scope.region;
    let leaving = draft.leaving();
    let mut decided = Vec::new();
    for own in draft.own.iter().filter(|own| own.claim.policy == policy.name) {
        let snapshot = own.snapshot;
        if snapshot.state != State::Completed || draft.is_archived(own) {
            continue;
        }
        // EC2 deletes no snapshot that is fast to restore.
        let leaves = leaving.contains(&snapshot.id) || view.doubles.contains_key(&snapshot.id);
        // Of what is gone everything is left as it is: somebody may be about to restore it.
        let is_target = match draft.is_target(own, details) {
            Some(is_target) => is_target,
            None if leaves => false,
            None => continue,
        };
        let (mut named, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        for schedule in own.claim.schedules.iter().filter_map(|name| details.schedule(name)) {
            let Some(rule) = &schedule.fast_restore else {
                continue;
            };
            let zones = zones_here(rule, region, names_by_id);
            if !leaves && is_target && keeps(draft, view, own, schedule, rule) {
                wanted.extend(zones.iter().cloned());
            }
            named.extend(zones);
        }
        let empty = BTreeSet::new();
        let enabled = current.get(&snapshot.id).unwrap_or(&empty);
        let missing: BTreeSet<String> = wanted.difference(enabled).cloned().collect();
        // Only what a rule of ours names: what a person enabled elsewhere stays.
        let too_long: BTreeSet<String> =
            named.difference(&wanted).filter(|zone| enabled.contains(*zone)).cloned().collect();
        decided.push((own.subject(), snapshot.volume_size_gib, missing, too_long));
    }
    for (subject, size_gib, missing, too_long) in decided {
        let Some(snapshot) = subject.snapshot.clone() else {
            continue;
        };
        if !too_long.is_empty() {
            let action = Action::DisableFastRestore { snapshot: snapshot.clone(), zones: too_long };
            draft.act(action, subject.clone(), Reason::FastLongEnough);
        }
        if missing.is_empty() {
            continue;
        }
        if size_gib > MAX_GIB {
            draft.hold(subject, Hold::TooLargeForFastRestore(size_gib));
        } else {
            let action = Action::EnableFastRestore { snapshot, zones: missing };
            draft.act(action, subject, Reason::NotFastYet);
        }
    }
}

/// Whether the rule still wants the snapshot fast.
fn keeps(
    draft: &Draft<'_>,
    view: &View<'_>,
    own: &Own<'_>,
    schedule: &Schedule,
    rule: &FastRestoreRule,
) -> bool {
    let rank = view.standing(&own.snapshot.id, &schedule.name).rank;
    let by_count =
        rule.count.is_some_and(|count| rank <= usize::try_from(count.get()).unwrap_or(usize::MAX));
    let by_age = rule.age.is_some_and(|age| age.after(own.snapshot.start_time) > draft.request.now);
    by_count || by_age
}

/// The rule's zones that are in this Region, by name.
fn zones_here(
    rule: &FastRestoreRule,
    region: &Region,
    names_by_id: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    match &rule.zones {
        Zones::Names(zones) => zones.iter().filter(|zone| is_in(zone, region)).cloned().collect(),
        Zones::Ids(ids) => ids.iter().filter_map(|id| names_by_id.get(id)).cloned().collect(),
    }
}

/// `eu-central-1a` and `us-west-2-lax-1a` are in `eu-central-1` and `us-west-2`.
fn is_in(zone: &str, region: &Region) -> bool {
    let rest = zone.strip_prefix(region.as_str());
    rest.is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_ascii_lowercase()))
}

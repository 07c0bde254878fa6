//! Which slots lack a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rotate::{Draft, Own};
use crate::action::{Action, Hold, Reason, Subject};
use crate::description;
use crate::ec2::CreateSnapshot;
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{State, Volume};
use crate::policy::{Policy, Schedule, SnapshotPolicy, Tags};
use crate::schedule::Slot;
use crate::tags::{self, Claim};

pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    let mut due: BTreeMap<Slot, Vec<&Schedule>> = BTreeMap::new();
    for schedule in &details.schedules {
        if let Some(slot) = schedule.create.due(draft.request.at) {
            due.entry(slot).or_default().push(schedule);
        }
    }
    let mut world = Slots::default();
    for own in draft.own.iter().filter(|own| own.claim.policy == policy.name) {
        if due.contains_key(&own.claim.slot) {
            world.add(own);
        }
    }
    let mut decided = Vec::new();
    for volume in draft.targets(details) {
        for (slot, schedules) in &due {
            let lacking: Vec<&Schedule> = schedules
                .iter()
                .copied()
                .filter(|schedule| !world.served.contains(&(&volume.id, *slot, &schedule.name)))
                .collect();
            if !lacking.is_empty() {
                let failed = world.failed.get(&(&volume.id, *slot)).copied();
                decided.push(for_slot(draft, policy, volume, *slot, &lacking, failed));
            }
        }
    }
    for (subject, decision) in decided {
        match decision {
            Ok((action, reason)) => draft.act(action, subject, reason),
            Err(why) => draft.hold(subject, why),
        }
    }
}

/// Which slots the policy's snapshots serve, and where one failed.
#[derive(Default)]
struct Slots<'a> {
    served: BTreeSet<(&'a VolumeId, Slot, &'a String)>,
    failed: BTreeMap<(&'a VolumeId, Slot), &'a SnapshotId>,
}

impl<'a> Slots<'a> {
    fn add(&mut self, own: &'a Own<'_>) {
        let volume = &own.snapshot.volume_id;
        if own.snapshot.state == State::Error {
            self.failed.insert((volume, own.claim.slot), &own.snapshot.id);
        } else {
            self.served
                .extend(own.claim.schedules.iter().map(|name| (volume, own.claim.slot, name)));
        }
    }
}

type Decision = (Subject, Result<(Action, Reason), Hold>);

/// One snapshot for all of the policy's schedules that are due at this slot and lack one, as DLM does.
fn for_slot(
    draft: &Draft<'_>,
    policy: &Policy,
    volume: &Volume,
    slot: Slot,
    lacking: &[&Schedule],
    failed: Option<&SnapshotId>,
) -> Decision {
    let claim = Claim {
        policy: policy.name.clone(),
        schedules: lacking.iter().map(|schedule| schedule.name.clone()).collect(),
        slot,
    };
    let subject = Subject {
        policy: policy.name.clone(),
        schedule: claim.schedule_text(),
        slot: Some(slot),
        volume: Some(volume.id.clone()),
        ..Subject::default()
    };
    if !volume.usable {
        return (subject, Err(Hold::VolumeUnusable));
    }
    let reason = failed
        .map_or(Reason::SlotLacksSnapshot, |snapshot| Reason::SlotOnlyHasFailed(snapshot.clone()));
    let request = CreateSnapshot {
        volume: volume.id.clone(),
        description: description::write(
            &claim,
            &volume.id,
            volume.tags.get("Name").map(String::as_str),
        ),
        tags: tags_of(&claim, lacking, volume, draft.request.now),
    };
    (subject, Ok((Action::CreateSnapshot(request), reason)))
}

/// Ours, the schedules' own, then as many of the volume's as fit.
fn tags_of(claim: &Claim, schedules: &[&Schedule], volume: &Volume, now: Timestamp) -> Tags {
    let mut tags = claim.write();
    let ages: Option<Vec<_>> =
        schedules.iter().map(|schedule| schedule.retain.age.map(|age| age.after(now))).collect();
    if let Some(expires_at) = ages.and_then(|ages| ages.into_iter().max()) {
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(expires_at));
    }
    for schedule in schedules {
        tags.extend(schedule.tags_to_add.clone());
    }
    if schedules.iter().any(|schedule| schedule.copy_tags) {
        let taken: BTreeSet<&String> = tags.keys().collect();
        let mut of_volume = volume.tags.clone();
        of_volume.retain(|key, _| !taken.contains(key));
        let room = tags::MAX_TAGS.saturating_sub(tags.len() + 1); // one is for `shared-with`
        tags.extend(tags::copyable(&of_volume, room));
    }
    tags
}

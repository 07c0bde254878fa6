//! Which slots lack a snapshot, and which volumes have no recent one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::rotate::{Draft, Own, Protected};
use super::view::is_short;
use crate::action::{Action, Hold, Impossible, Reason, Subject};
use crate::description;
use crate::ec2::{CreateSnapshot, CreateSnapshots, ErrorKind};
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{Instance, State, Volume};
use crate::policy::{Policy, Schedule, Script, Selection, SnapshotPolicy, Tags, Variable};
use crate::schedule::Slot;
use crate::tags::{self, Claim, Pool};

pub(super) mod scripted;

pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    let mut due: BTreeMap<Slot, Vec<&Schedule>> = BTreeMap::new();
    for schedule in &details.schedules {
        let slot = schedule.create.due(draft.request.at);
        if let Some(slot) = slot.or_else(|| scripted::begun_in_time(draft, policy, schedule)) {
            due.entry(slot).or_default().push(schedule);
        }
    }
    let view: &Draft<'_> = draft;
    let world = Slots::of(view, policy, &due.keys().copied().collect());
    let pool = RefCell::new(Pool::new());
    let mut decided = Vec::new();
    for (slot, schedules) in &due {
        let lacking = |target: Protected<'_>| -> Vec<&Schedule> {
            let schedules = schedules.iter().copied();
            schedules.filter(|it| !world.served.contains(&(target, *slot, &it.name))).collect()
        };
        let make = |schedules, failed| Making {
            draft: view,
            policy,
            slot: *slot,
            schedules,
            failed,
            pool: &pool,
        };
        if let Selection::Instances { .. } = &details.selection {
            for instance in view.target_instances(details) {
                let target = Protected::Instance(&instance.id);
                let failed = world.failed.get(&(target, *slot)).copied();
                // What is not made in the same way is not made together.
                let mut alike: BTreeMap<Option<&Script>, Vec<&Schedule>> = BTreeMap::new();
                let may_yet = |it: &&Schedule| {
                    it.create.due(view.request.at) == Some(*slot)
                        || scripted::has_begun(view, policy, it, *slot, Some(&instance.id))
                };
                for schedule in lacking(target).into_iter().filter(may_yet) {
                    alike.entry(schedule.script.as_ref()).or_default().push(schedule);
                }
                for (script, schedules) in alike {
                    let making = make(schedules, failed);
                    decided.push(making.for_instance(instance, &details.selection, script));
                }
            }
            continue;
        }
        for volume in view.targets(details) {
            let target = Protected::Volume(&volume.id);
            let lacking = lacking(target);
            if lacking.is_empty() {
                continue;
            }
            let making = make(lacking, world.failed.get(&(target, *slot)).copied());
            match &details.selection {
                Selection::Unprotected { create_interval_days, .. } => {
                    decided.extend(making.if_unprotected(volume, *create_interval_days));
                }
                _ => decided.push(making.for_volume(volume)),
            }
        }
    }
    // Growing by doubling would take more than the decisions themselves.
    draft.plan.actions.reserve_exact(decided.len());
    for Decision { subject, notes, cannot, act } in decided {
        for note in notes {
            draft.hold(subject.clone(), note);
        }
        if let Some((kind, code, message)) = cannot.map(|it| *it) {
            draft.plan.impossible.push(Impossible {
                scope: draft.request.scope.clone(),
                operation: "SendCommand",
                subject: subject.clone(),
                kind,
                code,
                message,
            });
        }
        match act {
            Some(Ok((action, reason))) => draft.create(action, subject, reason),
            Some(Err(why)) => draft.hold(subject, why),
            None => {}
        }
    }
}

/// Which slots the policy's snapshots serve, and where one failed.
pub(super) struct Slots<'a> {
    pub(super) served: BTreeSet<(Protected<'a>, Slot, &'a String)>,
    failed: BTreeMap<(Protected<'a>, Slot), &'a SnapshotId>,
}

impl<'a> Slots<'a> {
    /// A set serves its slot as a whole or, once one of its snapshots has failed and none is pending, not at all. What is
    /// missing of a young one may just not be seen yet.
    pub(super) fn of(draft: &'a Draft<'_>, policy: &Policy, wanted: &BTreeSet<Slot>) -> Self {
        let mut slots = Self { served: BTreeSet::new(), failed: BTreeMap::new() };
        let mut sets: BTreeMap<_, Vec<&Own<'_>>> = BTreeMap::new();
        for own in &draft.own {
            if own.claim.policy == policy.name && wanted.contains(&own.claim.slot) {
                sets.entry(own.attempt()).or_default().push(own);
            }
        }
        for set in sets.into_values() {
            let failed = set.iter().filter(|own| own.snapshot.state == State::Error);
            let failed = failed.min_by_key(|own| &own.snapshot.id);
            let may_become = |state| matches!(state, State::Pending | State::Other);
            let is_pending = set.iter().any(|own| may_become(own.snapshot.state));
            let Some(first) = set.first() else {
                continue;
            };
            let (target, claim) = (first.protected(), &first.claim);
            let age = draft.request.now.duration_since(first.snapshot.start_time);
            match failed.filter(|_| !is_pending) {
                Some(own) => drop(slots.failed.insert((target, claim.slot), &own.snapshot.id)),
                None if !is_pending && is_short(&set) && age >= SEEN_BY_THEN => {}
                None => slots
                    .served
                    .extend(claim.schedules.iter().map(|name| (target, claim.slot, name))),
            }
        }
        slots
    }
}

/// After so long EC2 shows everything that it has made.
pub(super) const SEEN_BY_THEN: SignedDuration = SignedDuration::from_mins(15);

/// What to do about one volume or instance at one slot.
struct Decision {
    subject: Subject,
    /// What is not done beside it.
    notes: Vec<Hold>,
    /// What policy wants and somebody has to act on: kind, AWS's code, why and what to do.
    cannot: Option<Box<(ErrorKind, String, String)>>,
    /// `None`: nothing.
    act: Option<Result<(Action, Reason), Hold>>,
}

impl Decision {
    fn hold(subject: Subject, why: Hold) -> Self {
        Self { subject, notes: Vec::new(), cannot: None, act: Some(Err(why)) }
    }
}

/// One snapshot, or set, for all of the policy's schedules that are due at this slot and lack one, as DLM does.
struct Making<'a> {
    draft: &'a Draft<'a>,
    policy: &'a Policy,
    slot: Slot,
    schedules: Vec<&'a Schedule>,
    failed: Option<&'a SnapshotId>,
    /// Most tags of a night's snapshots are the same.
    pool: &'a RefCell<Pool>,
}

impl Making<'_> {
    fn for_volume(&self, volume: &Volume) -> Decision {
        let claim = self.claim(None);
        let mut subject = self.subject(&claim);
        subject.volume = Some(volume.id.clone());
        let mut decision = Decision::hold(subject, Hold::VolumeUnusable);
        if volume.usable {
            let name = volume.tags.get("Name").map(String::as_str);
            let request = CreateSnapshot {
                volume: volume.id.clone(),
                description: description::write(&claim, Some(&volume.id), name),
                tags: self
                    .pool
                    .borrow_mut()
                    .share(&self.with_volume_tags(self.tags(&claim), volume)),
            };
            decision.act = Some(Ok((Action::CreateSnapshot(request), self.reason())));
        }
        decision
    }

    /// DLM's default policies: "if there are no recent snapshots", made by whatever means, and volumes from their second
    /// day on. One of ours is as old as its slot, which every run of a rhythm has exactly so many days after; one that
    /// began some seconds late would put off the next by a whole run.
    fn if_unprotected(&self, volume: &Volume, interval_days: u8) -> Option<Decision> {
        let request = &self.draft.request;
        let newest = request.inventory.recent.get(&volume.id).copied();
        let interval = SignedDuration::from_hours(24 * i64::from(interval_days));
        let is_recent = newest.is_some_and(|newest| {
            let own = self.draft.slots_by_start.get(&(&volume.id, newest));
            let since = own.map_or(newest, |slot| slot.timestamp().min(newest));
            request.at.duration_since(since) < interval
        });
        if is_recent || self.draft.creating.contains(&volume.id) {
            return None;
        }
        let mut decision = self.for_volume(volume);
        let age = request.now.duration_since(volume.create_time);
        match &mut decision.act {
            act if age < SignedDuration::from_hours(24) => *act = Some(Err(Hold::TooYoung)),
            Some(Ok((_, reason))) => *reason = Reason::NotProtected(newest),
            _ => {}
        }
        Some(decision)
    }

    fn for_instance(
        &self,
        instance: &Instance,
        selection: &Selection,
        script: Option<&Script>,
    ) -> Decision {
        let claim = self.claim(Some(instance));
        let mut subject = self.subject(&claim);
        subject.instance = Some(instance.id.clone());
        let mut decision = Decision::hold(subject, Hold::InstanceUnusable);
        if !instance.usable {
            return decision;
        }
        let set = self.draft.set_of(instance, selection);
        if set.volumes.is_empty() {
            decision.act = Some(Err(Hold::NoVolumesLeft));
            return decision;
        }
        let mut tags = self.tags(&claim);
        for (key, variable) in self.schedules.iter().flat_map(|schedule| &schedule.variable_tags) {
            let value = match variable {
                Variable::InstanceId => instance.id.to_string(),
                Variable::Timestamp => self.slot.to_string(),
            };
            tags.insert(key.clone(), value);
        }
        if tags.len() + 1 < tags::MAX_TAGS {
            tags.insert(tags::VOLUMES.into(), set.volumes.len().to_string()); // one is for `shared-with`
        }
        let wanted = self.schedules.iter().any(|schedule| schedule.copy_tags);
        let unfit = set.volumes.iter().find(|id| !self.tags_fit(&tags, id)).filter(|_| wanted);
        decision.notes.extend(unfit.map(|id| Hold::TagsNotCopied(id.clone())));
        let name = instance.tags.get("Name").map(String::as_str);
        let request = CreateSnapshots {
            instance: instance.id.clone(),
            exclude_boot_volume: set.exclude_boot_volume,
            exclude_data_volumes: set.exclude_data_volumes,
            description: description::write(&claim, None, name),
            copy_tags: wanted && unfit.is_none(),
            tags,
            volumes: set.volumes,
            script: None,
        };
        if let Some(script) = script {
            return self.scripted(decision, instance, script, &claim, request);
        }
        decision.act = Some(Ok((Action::CreateSnapshots(request), self.reason())));
        decision
    }

    /// `CopyTagsFromSource` copies all or nothing, for the whole set.
    fn tags_fit(&self, ours: &Tags, volume: &VolumeId) -> bool {
        let Some(volume) = self.draft.request.inventory.volumes.get(volume) else {
            return true;
        };
        let own = || volume.tags.keys().filter(|key| !key.to_ascii_lowercase().starts_with("aws:"));
        let clash = own().any(|key| tags::is_reserved(key) || ours.contains_key(key));
        !clash && ours.len() + own().count() < tags::MAX_TAGS // one is for `shared-with`
    }

    fn claim(&self, instance: Option<&Instance>) -> Claim {
        Claim {
            policy: self.policy.name.clone(),
            schedules: self.schedules.iter().map(|schedule| schedule.name.clone()).collect(),
            slot: self.slot,
            instance: instance.map(|instance| instance.id.clone()),
        }
    }

    fn subject(&self, claim: &Claim) -> Subject {
        Subject {
            policy: self.policy.name.clone(),
            schedule: claim.schedule_text(),
            slot: Some(self.slot),
            ..Subject::default()
        }
    }

    fn reason(&self) -> Reason {
        self.failed
            .map_or(Reason::SlotLacksSnapshot, |failed| Reason::SlotOnlyHasFailed(failed.clone()))
    }

    /// Ours, then the schedules' own.
    fn tags(&self, claim: &Claim) -> Tags {
        let mut tags = claim.write();
        if let Some(expires_at) = self.expires_at(self.draft.request.now) {
            tags.insert(tags::EXPIRES_AT.into(), tags::instant(expires_at));
        }
        for schedule in &self.schedules {
            tags.add(&schedule.tags_to_add);
        }
        tags
    }

    /// The latest of the schedules, where retention is by age in all of them.
    fn expires_at(&self, start: Timestamp) -> Option<Timestamp> {
        let end = |schedule: &&Schedule| {
            let leaves_standard = match schedule.retain.age {
                Some(age) => age.after(start),
                None if schedule.archive.is_some() && schedule.retain.is_unlimited() => start,
                None => return None,
            };
            match &schedule.archive {
                Some(archive) => archive.age.map(|age| age.after(leaves_standard)),
                None => Some(leaves_standard),
            }
        };
        let ends: Option<Vec<_>> = self.schedules.iter().map(end).collect();
        ends?.into_iter().max()
    }

    /// As many of the volume's as fit.
    fn with_volume_tags(&self, mut tags: Tags, volume: &Volume) -> Tags {
        if self.schedules.iter().any(|schedule| schedule.copy_tags) {
            let mut of_volume = volume.tags.clone();
            of_volume.retain(|key, _| !tags.contains_key(key));
            let room = tags::MAX_TAGS.saturating_sub(tags.len() + 1); // one is for `shared-with`
            tags.add(&tags::copyable(&of_volume, room));
        }
        tags
    }
}

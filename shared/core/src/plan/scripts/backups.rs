//! VSS backups of which nobody has seen the end.

use std::collections::{BTreeMap, BTreeSet};

use super::super::create::{SEEN_BY_THEN, Slots};
use super::super::rotate::{Draft, Own, Protected};
use super::{ended, why};
use crate::action::{Impossible, Subject};
use crate::commands::{Command, Status, Step};
use crate::ec2::ErrorKind;
use crate::ids::InstanceId;
use crate::inventory::State;
use crate::policy::{Handler, Policy, Schedule, Script, SnapshotPolicy};
use crate::schedule::Slot;

/// VSS backups are not waited for: whatever slot they were for, the next run tells what became of them.
pub(in crate::plan) fn tell_failed_backups(
    draft: &mut Draft<'_>,
    policy: &Policy,
    details: &SnapshotPolicy,
) {
    let Ok(commands) = &draft.request.inventory.commands else {
        return;
    };
    for schedule in &details.schedules {
        let Some(script) = schedule.script.as_ref().filter(|it| is_vss(it)) else {
            continue;
        };
        let mut newest: BTreeMap<&InstanceId, &Command> = BTreeMap::new();
        let at = draft.request.at;
        // Of the latest slot the creation decides, and tells; of the one before, the runs of this one tell.
        let Some(due) = schedule.create.due(at) else {
            continue;
        };
        let is_before = |slot: Slot| {
            slot < due && schedule.create.latest(slot.timestamp()) == Some(slot.timestamp())
        };
        let is_its = |it: &&Command| {
            it.errand.policy == policy.name
                && it.errand.step == Step::VssBackup
                && it.is_of(script.document())
        };
        for command in commands.iter().filter(is_its) {
            let newest = newest.entry(&command.instance).or_insert(command);
            if (newest.errand.slot, newest.requested) < (command.errand.slot, command.requested) {
                *newest = command;
            }
        }
        let last_served = last_served(draft, policy, schedule);
        let slots: BTreeSet<Slot> = newest.values().map(|it| it.errand.slot).collect();
        let served = Slots::of(draft, policy, &slots).served;
        let mut told = Vec::new();
        for (instance, command) in newest {
            let slot = command.errand.slot;
            let is_served = served.contains(&(Protected::Instance(instance), slot, &schedule.name));
            // Retention may have deleted its set since, or nobody needs it any more.
            let is_past = last_served.get(instance).is_some_and(|later| *later > slot);
            let is_new = command.progress.status == Status::Success
                && draft.request.now.duration_since(ended(command, draft.request.now))
                    < SEEN_BY_THEN;
            let is_gone = !draft.request.inventory.instances.contains_key(instance);
            let has_expired = schedule
                .retain
                .age
                .is_some_and(|age| age.after(slot.timestamp()) <= draft.request.now);
            if is_served
                || is_past
                || is_new
                || is_gone
                || has_expired
                || !is_before(slot)
                || command.progress.status == Status::Running
            {
                continue;
            }
            let subject = Subject {
                policy: policy.name.clone(),
                schedule: schedule.name.clone(),
                slot: Some(slot),
                instance: Some(instance.clone()),
                ..Subject::default()
            };
            told.push((subject, why(command, "not all of its snapshots are there, or good")));
        }
        draft.plan.impossible.extend(told.into_iter().map(|(subject, message)| Impossible {
            scope: draft.request.scope.clone(),
            operation: "SendCommand",
            subject,
            kind: ErrorKind::ScriptFailed,
            code: String::new(),
            message,
        }));
    }
}

/// The latest slot of each instance of which the schedule has snapshots.
fn last_served(
    draft: &Draft<'_>,
    policy: &Policy,
    schedule: &Schedule,
) -> BTreeMap<InstanceId, Slot> {
    let mut last = BTreeMap::new();
    let is_its = |own: &&Own<'_>| {
        own.claim.policy == policy.name
            && own.claim.schedules.contains(&schedule.name)
            && own.snapshot.state != State::Error
    };
    for own in draft.own.iter().filter(is_its) {
        if let Some(instance) = &own.claim.instance {
            let slot = last.entry(instance.clone()).or_insert(own.claim.slot);
            *slot = own.claim.slot.max(*slot);
        }
    }
    last
}

fn is_vss(script: &Script) -> bool {
    matches!(script.handler, Handler::Vss(_))
}

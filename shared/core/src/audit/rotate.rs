//! The audit of a `rotate-snapshots` plan.

use std::num::NonZeroU32;

use super::{
    Action, Age, AuditedPlan, BTreeSet, Candidate, Claim, Findings, Plan, Planned, Policy,
    Schedule, Scope, Selection, SignedDuration, Snapshot, SnapshotId, SnapshotPolicy, State,
    Timestamp, Violation, at_least, deletable, delete_limit, deleted, surely_kept, tags, too_many,
};
use crate::ec2::{CreateSnapshot, CreateSnapshots};
use crate::ids::InstanceId;
use crate::inventory::ScopeInventory;
use crate::plan::PoliciesInForce;
use crate::policy::Tags;
use crate::schedule::Slot;
use world::{World, began};

mod changes;
mod commands;
mod stand_ins;
mod vaults;
mod world;

/// What the plan is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account and Region.
    pub scope: &'a Scope,
    /// The policies that target this scope.
    pub policies: &'a [(&'a Policy, &'a SnapshotPolicy)],
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a ScopeInventory,
    /// The wall clock.
    pub now: Timestamp,
    /// No more deletions than this in one run of one scope; `None`: three per volume, and 100 at the least.
    pub delete_limit: Option<usize>,
}

/// Checks every safety rule.
#[must_use]
pub fn audit(plan: Plan, facts: Facts<'_>) -> (AuditedPlan, Vec<Violation>) {
    let mut findings = Findings::default();
    let leaving = deleted(&plan);
    let world = World::of(&facts, &leaving, &slots(&plan));
    let mut created = BTreeSet::new();
    let mut rescued = BTreeSet::new();
    for (index, planned) in plan.actions.iter().enumerate() {
        if planned.scope != *facts.scope {
            findings.add(planned, "planned for another scope");
            findings.withheld.insert(index);
            continue;
        }
        let checked = match &planned.action {
            Action::DeleteSnapshot(snapshot) => world.delete(planned, snapshot),
            Action::RecordShare { .. } => Ok(()),
            // A creation too many costs money only: it is told, and done.
            Action::CreateSnapshot(request) => world.create(request, &mut created),
            Action::CreateSnapshots(request) if request.script.is_none() => {
                world.create_set(request, &mut created)
            }
            acting => {
                let checked = match acting {
                    Action::CreateSnapshots(request) => world.create_set(request, &mut created),
                    Action::SendCommand(request) => world.command(request, &mut created),
                    Action::RecordScripts { snapshots, tags } => {
                        world.record(planned, snapshots, tags)
                    }
                    Action::CopySnapshot(request) => world.rescue(planned, request, &mut rescued),
                    changing => world.change(planned, changing),
                };
                if checked.is_err() {
                    findings.withheld.insert(index);
                }
                checked
            }
        };
        if let Err(rule) = checked {
            findings.add(planned, rule);
        }
    }
    let limit = delete_limit(facts.delete_limit, facts.inventory.volumes.len());
    if leaving.len() > limit
        && let Some(planned) = plan.actions.iter().find(|it| it.action.is_destructive())
    {
        findings.add(planned, too_many(leaving.len(), limit));
    }
    findings.finish(plan)
}

/// The slots that the plan creates for.
fn slots(plan: &Plan) -> BTreeSet<Slot> {
    let slots = plan.actions.iter().filter_map(|planned| match &planned.action {
        Action::CreateSnapshot(request) => Some(Claim::read(&request.tags)?.slot),
        Action::CreateSnapshots(request) => Some(Claim::read(&request.tags)?.slot),
        Action::SendCommand(request) => Some(request.errand.slot),
        _ => None,
    });
    slots.collect()
}

/// What a creation serves: volume or instance, policy, schedule, slot.
type Serving = (String, String, String, Slot);

impl<'a> World<'a> {
    fn create(
        &self,
        request: &CreateSnapshot,
        created: &mut BTreeSet<Serving>,
    ) -> Result<(), String> {
        let (claim, details) = self.creating(&request.tags)?;
        let inventory = self.facts.inventory;
        let volume = inventory.volumes.get(&request.volume).ok_or("its volume was not seen")?;
        if claim.instance.is_some() || !details.targets(volume, || inventory.is_boot(&volume.id)) {
            return Err(format!("{} is no target of policy {}", volume.id, claim.policy));
        }
        self.is_lacking(volume.id.as_str(), &claim, created)
    }

    fn create_set(
        &self,
        request: &CreateSnapshots,
        created: &mut BTreeSet<Serving>,
    ) -> Result<(), String> {
        let (claim, details) = self.creating(&request.tags)?;
        self.of_target(&claim, &request.instance)?;
        if let Some(run) = &request.script {
            self.scripts(request, &claim, run)?;
        }
        let Selection::Instances { exclude_boot_volume, .. } = details.selection else {
            return Err(format!("policy {} is not for instances", claim.policy));
        };
        if request.exclude_boot_volume && !exclude_boot_volume {
            return Err("the policy does not exclude the boot volume".into());
        }
        self.is_lacking(request.instance.as_str(), &claim, created)
    }

    /// Whether the set is of that instance, and its policy targets it.
    fn of_target(&self, claim: &Claim, instance: &InstanceId) -> Result<(), String> {
        let instances = &self.facts.inventory.instances;
        let instance = instances.get(instance).ok_or("its instance was not seen")?;
        let (_, details) = self.policy(&claim.policy).ok_or("its policy is not in force here")?;
        if claim.instance.as_ref() != Some(&instance.id) || !details.targets_instance(instance) {
            return Err(format!("{} is no target of policy {}", instance.id, claim.policy));
        }
        Ok(())
    }

    /// Whose snapshot it will be.
    fn creating(&self, tags: &Tags) -> Result<(Claim, &'a SnapshotPolicy), String> {
        let claim = Claim::read(tags).ok_or("the new snapshot would not carry our tags")?;
        if tags.len() > tags::MAX_TAGS {
            return Err(format!("{} tags are more than EC2 takes", tags.len()));
        }
        let (_, details) = self
            .policy(&claim.policy)
            .filter(|(policy, _)| policy.enabled)
            .ok_or("its policy is not in force here")?;
        Ok((claim, details))
    }

    fn is_lacking(
        &self,
        of: &str,
        claim: &Claim,
        created: &mut BTreeSet<Serving>,
    ) -> Result<(), String> {
        for schedule in &claim.schedules {
            let line = (of, claim.policy.as_str(), schedule.as_str());
            if self.serving.contains(&(line, claim.slot)) {
                return Err(format!(
                    "slot {} of schedule {schedule} is served already",
                    claim.slot
                ));
            }
            let (policy, schedule) = (claim.policy.clone(), schedule.clone());
            if !created.insert((of.to_owned(), policy, schedule.clone(), claim.slot)) {
                return Err(format!("slot {} of schedule {schedule} is served twice", claim.slot));
            }
        }
        Ok(())
    }

    fn is_kept_in_standard(&self, snapshot: &Snapshot, claim: &Claim, schedule: &Schedule) -> bool {
        let slots = Self::newer(&self.lines, snapshot, claim, &schedule.name);
        let later = self.later(snapshot, claim, &schedule.name);
        let newer_moments: Vec<Timestamp> = later.iter().map(|slot| slot.timestamp()).collect();
        let candidate = Candidate {
            start: snapshot.start_time,
            moment: claim.slot.timestamp(),
            newer: slots.len(),
            newer_moments: &newer_moments,
        };
        let mut rule = schedule.retain.clone();
        if schedule.archive.is_some() {
            if rule.is_unlimited() {
                return false; // archived at once
            }
            rule.minimum_count = 0; // what is archived is not lost
        }
        surely_kept(&rule, &schedule.create.time_zone, candidate, self.facts.now)
    }

    /// Whether the archive tier surely still wants it, or would, had it got there.
    fn is_kept_in_archive(&self, snapshot: &Snapshot, claim: &Claim, schedule: &Schedule) -> bool {
        let Some(rule) = &schedule.archive else {
            return false;
        };
        let tiering = self.facts.inventory.tiering.as_ref().ok();
        let (newer, since) = if snapshot.archived {
            let since = tiering.and_then(|it| it.get(&snapshot.id)).and_then(|it| it.archived_at);
            (Self::newer(&self.archived, snapshot, claim, &schedule.name), since)
        } else {
            let standard = schedule.retain.age.map_or(SignedDuration::ZERO, at_least);
            let since = snapshot.start_time.checked_add(standard).ok();
            (self.newer_out(snapshot, schedule), since)
        };
        let by_count =
            |count: NonZeroU32| newer.len() < usize::try_from(count.get()).unwrap_or(usize::MAX);
        let by_age = |age: Age| {
            since.is_none_or(|since| self.facts.now.duration_since(since) < at_least(age))
        };
        rule.count.is_some_and(by_count) || rule.age.is_some_and(by_age)
    }

    /// Of what stays and is newer, the slots whose time in the standard tier is over.
    fn newer_out(&self, snapshot: &Snapshot, schedule: &Schedule) -> BTreeSet<Slot> {
        let is_out = |id: &SnapshotId| {
            let other = self.by_id.get(id).copied();
            let other = other.and_then(|it| Some((it, Claim::read(&it.tags)?)));
            other.is_none_or(|(it, claim)| !self.is_kept_in_standard(it, &claim, schedule))
        };
        let newer = Self::served(&self.lines, snapshot, &schedule.name);
        let newer = newer.iter().take_while(|(other, _)| *other > began(snapshot));
        newer.filter(|((_, id), _)| is_out(id)).map(|(_, slot)| *slot).collect()
    }

    fn delete(&self, planned: &Planned, id: &SnapshotId) -> Result<(), String> {
        let snapshot = self.by_id.get(id).copied();
        deletable(planned, snapshot, &self.facts.inventory.guards)?;
        let snapshot = snapshot.ok_or("it was not seen in this run")?;
        if let Some(claim) = self.stand_in(snapshot) {
            return self.drop_stand_in(snapshot, &claim);
        }
        let claim =
            Claim::read(&snapshot.tags).ok_or("it does not carry our complete set of tags")?;
        if snapshot.state == State::Error {
            let in_force = self.policy(&claim.policy).filter(|(policy, _)| policy.enabled);
            return in_force.map(drop).ok_or_else(|| "its policy is not in force here".into());
        }
        let of_volume = self.of_volume.get(&snapshot.volume_id).into_iter().flatten();
        let mut alike = of_volume.filter(|(of, _)| **of == claim).map(|(_, it)| *it);
        // A set that is not complete is replaced by any that serves the same slot, one that is complete by an older.
        let is_double = if self.is_broken(snapshot, &claim) {
            alike.next().is_some()
        } else {
            alike.any(|it| began(it) < began(snapshot) && !self.is_broken(it, &claim))
        };
        let newest = self.newest.get(&snapshot.volume_id);
        if !is_double && newest.is_none_or(|newest| *newest < began(snapshot)) {
            return Err("nothing newer of its volume would stay".into());
        }
        match self.policy(&claim.policy) {
            Some((policy, _)) if !policy.enabled => Err("its policy is disabled".into()),
            Some(_) if is_double => Ok(()),
            Some((_, details)) => self.by_rules(snapshot, &claim, details),
            None => self.orphan(snapshot, &claim),
        }
    }

    fn by_rules(
        &self,
        snapshot: &Snapshot,
        claim: &Claim,
        details: &SnapshotPolicy,
    ) -> Result<(), String> {
        if let (Some(_), Some(unread)) = (&claim.instance, &self.facts.inventory.instances_unread) {
            return Err(format!("its instance could not be looked at: {}", unread.message));
        }
        let schedules: Vec<&Schedule> =
            details.schedules.iter().filter(|it| claim.schedules.contains(&it.name)).collect();
        let is_of_minimum = |schedule: &Schedule| {
            let newer = Self::newer(&self.lines, snapshot, claim, &schedule.name).len();
            newer < usize::try_from(schedule.retain.minimum_count).unwrap_or(usize::MAX)
        };
        let has_left = self.has_left(snapshot, claim, details, &schedules);
        for schedule in &schedules {
            let is_kept = !has_left
                && (self.is_kept_in_standard(snapshot, claim, schedule)
                    || self.is_kept_in_archive(snapshot, claim, schedule));
            if is_kept || is_of_minimum(schedule) {
                return Err(format!("schedule {} still keeps it", schedule.name));
            }
        }
        let is_forgotten = schedules.len() < claim.schedules.len()
            || (snapshot.archived && schedules.iter().all(|schedule| schedule.archive.is_none()));
        if is_forgotten || has_left { self.orphan_by_tag(snapshot) } else { Ok(()) }
    }

    /// Whether the policy has let go of what the snapshot is of, so that only its own expiry counts.
    fn has_left(
        &self,
        snapshot: &Snapshot,
        claim: &Claim,
        details: &SnapshotPolicy,
        schedules: &[&Schedule],
    ) -> bool {
        let inventory = self.facts.inventory;
        let is_target = match &claim.instance {
            Some(instance) => {
                inventory.instances.get(instance).map(|it| details.targets_instance(it))
            }
            None => inventory
                .volumes
                .get(&snapshot.volume_id)
                .map(|volume| details.targets(volume, || inventory.is_boot(&volume.id))),
        };
        match is_target {
            Some(is_target) => !is_target,
            None => schedules.iter().all(|schedule| schedule.retain.age.is_none()),
        }
    }

    fn orphan(&self, snapshot: &Snapshot, claim: &Claim) -> Result<(), String> {
        match self.facts.in_force {
            None => Err("its policy is not among the documents of this run".into()),
            Some(names) if names.contains(&claim.policy) => {
                Err("its policy does not target this scope".into())
            }
            Some(_) => self.orphan_by_tag(snapshot),
        }
    }

    fn orphan_by_tag(&self, snapshot: &Snapshot) -> Result<(), String> {
        match tags::expires_at(&snapshot.tags) {
            Some(at) if at <= self.facts.now => Ok(()),
            _ => Err("its policy is gone and its own expiry is not over".into()),
        }
    }
}

//! The audit of a `rotate-snapshots` plan.

use std::cmp::Reverse;

use super::{
    Action, AuditedPlan, BTreeMap, BTreeSet, Claim, Findings, Plan, Planned, Policy, Scope,
    Snapshot, SnapshotId, SnapshotPolicy, State, Timestamp, Violation, deletable, delete_limit,
    deleted, surely_kept, tags, too_many,
};
use crate::ids::VolumeId;
use crate::inventory::ScopeInventory;
use crate::plan::PoliciesInForce;
use crate::schedule::Slot;

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
    let world = World::of(&facts, &leaving);
    let mut created = BTreeSet::new();
    for (index, planned) in plan.actions.iter().enumerate() {
        if planned.scope != *facts.scope {
            findings.add(planned, "planned for another scope");
            findings.withheld.insert(index);
            continue;
        }
        let checked = match &planned.action {
            Action::CreateSnapshot(request) => world.create(request, &mut created),
            Action::ShareSnapshot { snapshot, accounts, .. } => {
                let checked = world.share(snapshot, accounts);
                if checked.is_err() {
                    findings.withheld.insert(index);
                }
                checked
            }
            Action::RecordShare { .. } => Ok(()),
            Action::CopySnapshot(_) => {
                findings.withheld.insert(index);
                Err("rotation does not copy".into())
            }
            Action::DeleteSnapshot(snapshot) => world.delete(planned, snapshot),
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

/// When a snapshot began; the id settles a tie.
type Began<'a> = (Timestamp, &'a SnapshotId);

/// Newest first: how many slots are served from the newest down to this one.
type Served<'a> = Vec<(Began<'a>, usize)>;

/// What the rules are checked against, looked up once. But for `by_id` and `serving`, it is about completed snapshots
/// that the plan leaves alone.
struct World<'a> {
    facts: &'a Facts<'a>,
    by_id: BTreeMap<&'a SnapshotId, &'a Snapshot>,
    /// Volume, policy, schedule and slot of everything that did not fail.
    serving: BTreeSet<(&'a VolumeId, String, String, Slot)>,
    /// The newest of every volume, whoever made it.
    newest: BTreeMap<&'a VolumeId, Began<'a>>,
    /// The oldest of every volume with the same claim.
    oldest: BTreeMap<(&'a VolumeId, Claim), Began<'a>>,
    /// By volume, policy and schedule.
    slots: BTreeMap<(&'a VolumeId, String, String), Served<'a>>,
}

impl<'a> World<'a> {
    fn of(facts: &'a Facts<'a>, leaving: &BTreeSet<&SnapshotId>) -> Self {
        let mut world = Self {
            facts,
            by_id: BTreeMap::new(),
            serving: BTreeSet::new(),
            newest: BTreeMap::new(),
            oldest: BTreeMap::new(),
            slots: BTreeMap::new(),
        };
        let mut staying = Vec::new();
        for snapshot in &facts.inventory.snapshots {
            world.by_id.insert(&snapshot.id, snapshot);
            let Some(claim) = Claim::read(&snapshot.tags) else {
                continue;
            };
            if snapshot.state != State::Error && snapshot.owner == facts.scope.account {
                for schedule in &claim.schedules {
                    let (policy, schedule) = (claim.policy.clone(), schedule.clone());
                    world.serving.insert((&snapshot.volume_id, policy, schedule, claim.slot));
                }
            }
            if snapshot.state == State::Completed && !leaving.contains(&snapshot.id) {
                staying.push((began(snapshot), &snapshot.volume_id, claim));
            }
        }
        staying.sort_by_key(|(began, ..)| Reverse(*began));
        let mut served: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (began, volume, claim) in staying {
            world.newest.entry(volume).or_insert(began);
            for schedule in &claim.schedules {
                let key = (volume, claim.policy.clone(), schedule.clone());
                let served = served.entry(key.clone()).or_default();
                served.insert(claim.slot);
                let slots = world.slots.entry(key).or_default();
                slots.push((began, served.len()));
            }
            world.oldest.insert((volume, claim), began);
        }
        world
    }

    /// How many slots of a schedule are served by what stays and is newer.
    fn n_newer(&self, snapshot: &Snapshot, claim: &Claim, schedule: &str) -> usize {
        let key = (&snapshot.volume_id, claim.policy.clone(), schedule.to_owned());
        let slots = self.slots.get(&key).map_or(&[][..], Vec::as_slice);
        let n = slots.partition_point(|(other, _)| *other > began(snapshot));
        let last = n.checked_sub(1).and_then(|last| slots.get(last));
        last.map_or(0, |(_, served)| *served)
    }

    fn policy(&self, name: &str) -> Option<(&'a Policy, &'a SnapshotPolicy)> {
        self.facts.policies.iter().find(|(policy, _)| policy.name == name).copied()
    }

    fn create(
        &self,
        request: &crate::ec2::CreateSnapshot,
        created: &mut BTreeSet<(String, String, String)>,
    ) -> Result<(), String> {
        let claim =
            Claim::read(&request.tags).ok_or("the new snapshot would not carry our tags")?;
        let (policy, details) = self
            .policy(&claim.policy)
            .filter(|(policy, _)| policy.enabled)
            .ok_or("its policy is not in force here")?;
        let volume =
            self.facts.inventory.volumes.get(&request.volume).ok_or("its volume was not seen")?;
        if !details.targets(&volume.id, &volume.tags) {
            return Err(format!("{} is no target of policy {}", volume.id, policy.name));
        }
        if request.tags.len() > tags::MAX_TAGS {
            return Err(format!("{} tags are more than EC2 takes", request.tags.len()));
        }
        for schedule in &claim.schedules {
            let key = (
                volume.id.to_string(),
                schedule.clone(),
                format!("{} {}", claim.policy, claim.slot),
            );
            if !created.insert(key) {
                return Err(format!("slot {} of schedule {schedule} is served twice", claim.slot));
            }
            let serving = (&volume.id, claim.policy.clone(), schedule.clone(), claim.slot);
            if self.serving.contains(&serving) {
                return Err(format!(
                    "slot {} of schedule {schedule} is served already",
                    claim.slot
                ));
            }
        }
        Ok(())
    }

    fn share(
        &self,
        id: &SnapshotId,
        accounts: &BTreeSet<crate::ids::AccountId>,
    ) -> Result<(), String> {
        let snapshot = self.by_id.get(id).ok_or("it was not seen in this run")?;
        let claim = Claim::read(&snapshot.tags).ok_or("it does not carry our tags")?;
        let (_, details) = self.policy(&claim.policy).ok_or("its policy is not in force here")?;
        for account in accounts {
            let named = details.schedules.iter().any(|schedule| {
                claim.schedules.contains(&schedule.name) && schedule.share_with.contains(account)
            });
            if !named {
                return Err(format!("no ShareRules of its policy name {account}"));
            }
        }
        Ok(())
    }

    fn delete(&self, planned: &Planned, id: &SnapshotId) -> Result<(), String> {
        let snapshot = self.by_id.get(id).copied();
        deletable(planned, snapshot, &self.facts.inventory.guards)?;
        let snapshot = snapshot.ok_or("it was not seen in this run")?;
        let claim =
            Claim::read(&snapshot.tags).ok_or("it does not carry our complete set of tags")?;
        if snapshot.state == State::Error {
            let in_force = self.policy(&claim.policy).filter(|(policy, _)| policy.enabled);
            return in_force.map(drop).ok_or_else(|| "its policy is not in force here".into());
        }
        let before = |other: &Began<'_>| *other < began(snapshot);
        let after = |other: &Began<'_>| *other > began(snapshot);
        let volume = &snapshot.volume_id;
        let twin = self.oldest.get(&(volume, claim.clone()));
        let twin = twin.is_some_and(before);
        if !twin && !self.newest.get(volume).is_some_and(after) {
            return Err("nothing newer of its volume would stay".into());
        }
        match self.policy(&claim.policy) {
            Some((policy, _)) if !policy.enabled => Err("its policy is disabled".into()),
            Some((_, details)) => {
                if twin {
                    return Ok(());
                }
                self.by_rules(snapshot, &claim, details)
            }
            None => self.orphan(snapshot, &claim),
        }
    }

    fn by_rules(
        &self,
        snapshot: &Snapshot,
        claim: &Claim,
        details: &SnapshotPolicy,
    ) -> Result<(), String> {
        let mut known = false;
        for schedule in details.schedules.iter().filter(|it| claim.schedules.contains(&it.name)) {
            known = true;
            let newer = self.n_newer(snapshot, claim, &schedule.name);
            if surely_kept(&schedule.retain, snapshot.start_time, newer, self.facts.now) {
                return Err(format!("schedule {} still keeps it", schedule.name));
            }
        }
        if known { Ok(()) } else { self.orphan_by_tag(snapshot) }
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

fn began(snapshot: &Snapshot) -> Began<'_> {
    (snapshot.start_time, &snapshot.id)
}

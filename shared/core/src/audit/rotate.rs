//! The audit of a `rotate-snapshots` plan.

use super::{
    Action, AuditedPlan, BTreeMap, BTreeSet, Claim, Findings, Plan, Planned, Policy, Scope,
    Snapshot, SnapshotId, SnapshotPolicy, State, Timestamp, Violation, deletable, delete_limit,
    deleted, surely_kept, tags, too_many,
};
use crate::inventory::ScopeInventory;
use crate::plan::PoliciesInForce;

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
    let world = World::of(&facts);
    let mut created = BTreeSet::new();
    for (index, planned) in plan.actions.iter().enumerate() {
        if planned.scope != *facts.scope {
            findings.add(planned, "planned for another scope");
            findings.withheld.insert(index);
            continue;
        }
        let checked = match &planned.action {
            Action::CreateSnapshot(request) => world.create(request, &mut created),
            Action::ShareSnapshot {
                snapshot, accounts, ..
            } => {
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
            Action::DeleteSnapshot(snapshot) => world.delete(planned, snapshot, &leaving),
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

struct World<'a> {
    facts: &'a Facts<'a>,
    by_id: BTreeMap<&'a SnapshotId, &'a Snapshot>,
    /// Completed snapshots of every volume with their claims.
    good: BTreeMap<&'a str, Vec<(&'a Snapshot, Claim)>>,
}

impl<'a> World<'a> {
    fn of(facts: &'a Facts<'a>) -> Self {
        let mut by_id = BTreeMap::new();
        let mut good: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for snapshot in &facts.inventory.snapshots {
            by_id.insert(&snapshot.id, snapshot);
            if let (State::Completed, Some(claim)) = (snapshot.state, Claim::read(&snapshot.tags)) {
                good.entry(snapshot.volume_id.as_str())
                    .or_default()
                    .push((snapshot, claim));
            }
        }
        Self { facts, by_id, good }
    }

    fn policy(&self, name: &str) -> Option<(&'a Policy, &'a SnapshotPolicy)> {
        self.facts
            .policies
            .iter()
            .find(|(policy, _)| policy.name == name)
            .copied()
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
        let volume = self
            .facts
            .inventory
            .volumes
            .get(&request.volume)
            .ok_or("its volume was not seen")?;
        if !details.targets(&volume.id, &volume.tags) {
            return Err(format!(
                "{} is no target of policy {}",
                volume.id, policy.name
            ));
        }
        if request.tags.len() > tags::MAX_TAGS {
            return Err(format!(
                "{} tags are more than EC2 takes",
                request.tags.len()
            ));
        }
        for schedule in &claim.schedules {
            let key = (
                volume.id.to_string(),
                schedule.clone(),
                format!("{} {}", claim.policy, claim.slot),
            );
            if !created.insert(key) {
                return Err(format!(
                    "slot {} of schedule {schedule} is served twice",
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
        let (_, details) = self
            .policy(&claim.policy)
            .ok_or("its policy is not in force here")?;
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

    fn delete(
        &self,
        planned: &Planned,
        id: &SnapshotId,
        leaving: &BTreeSet<&SnapshotId>,
    ) -> Result<(), String> {
        let snapshot = self.by_id.get(id).copied();
        deletable(planned, snapshot, &self.facts.inventory.guards)?;
        let snapshot = snapshot.ok_or("it was not seen in this run")?;
        let claim =
            Claim::read(&snapshot.tags).ok_or("it does not carry our complete set of tags")?;
        if snapshot.state == State::Error {
            return Ok(());
        }
        let others: Vec<&(&Snapshot, Claim)> = self
            .good
            .get(snapshot.volume_id.as_str())
            .into_iter()
            .flatten()
            .filter(|(other, _)| other.id != *id && !leaving.contains(&other.id))
            .collect();
        let twin = others.iter().any(|(other, theirs)| {
            *theirs == claim && (other.start_time, &other.id) < (snapshot.start_time, id)
        });
        let newer_stays = others
            .iter()
            .any(|(other, _)| (other.start_time, &other.id) > (snapshot.start_time, id));
        if !twin && !newer_stays {
            return Err("nothing newer of its volume would stay".into());
        }
        match self.policy(&claim.policy) {
            Some((policy, _)) if !policy.enabled => Err("its policy is disabled".into()),
            Some((_, details)) => {
                if twin {
                    return Ok(());
                }
                self.by_rules(snapshot, &claim, details, &others)
            }
            None => self.orphan(snapshot, &claim),
        }
    }

    fn by_rules(
        &self,
        snapshot: &Snapshot,
        claim: &Claim,
        details: &SnapshotPolicy,
        others: &[&(&Snapshot, Claim)],
    ) -> Result<(), String> {
        let mut known = false;
        for schedule in details
            .schedules
            .iter()
            .filter(|it| claim.schedules.contains(&it.name))
        {
            known = true;
            let newer: BTreeSet<_> = others
                .iter()
                .filter(|(other, theirs)| {
                    theirs.policy == claim.policy
                        && theirs.schedules.contains(&schedule.name)
                        && (other.start_time, &other.id) > (snapshot.start_time, &snapshot.id)
                })
                .map(|(_, theirs)| theirs.slot)
                .collect();
            if surely_kept(
                &schedule.retain,
                snapshot.start_time,
                newer.len(),
                self.facts.now,
            ) {
                return Err(format!("schedule {} still keeps it", schedule.name));
            }
        }
        if known {
            Ok(())
        } else {
            self.orphan_by_tag(snapshot)
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

//! The audit of a `copy-shared-snapshots` plan.

use super::{
    Action, AuditedPlan, BTreeMap, BTreeSet, CopyClaim, CopyPolicy, Findings, Plan, Planned,
    Policy, Snapshot, SnapshotId, State, Timestamp, Violation, deletable, deleted, tags,
};
use crate::ec2::CopySnapshot;
use crate::inventory::{TargetInventory, VaultInventory};
use crate::plan::PoliciesInForce;

/// What the plan is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Every copy policy.
    pub policies: &'a [(&'a Policy, &'a CopyPolicy)],
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a VaultInventory,
    /// The wall clock.
    pub now: Timestamp,
    /// No more deletions than this in one run of one Region.
    pub delete_limit: usize,
}

/// Checks every safety rule.
#[must_use]
pub fn audit(plan: Plan, facts: Facts<'_>) -> (AuditedPlan, Vec<Violation>) {
    let mut findings = Findings::default();
    let leaving = deleted(&plan);
    let mut copied = BTreeSet::new();
    let mut deletions: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, planned) in plan.actions.iter().enumerate() {
        let checked = match &planned.action {
            Action::CopySnapshot(request) => {
                let checked = copy(planned, request, &facts, &mut copied);
                if checked.is_err() {
                    findings.withheld.insert(index);
                }
                checked
            }
            Action::DeleteSnapshot(snapshot) => {
                *deletions.entry(planned.scope.region.as_str()).or_default() += 1;
                delete(planned, snapshot, &facts, &leaving)
            }
            _ => {
                findings.withheld.insert(index);
                Err("the vault neither creates nor shares".into())
            }
        };
        if let Err(rule) = checked {
            findings.add(planned, rule);
        }
    }
    for (region, n) in deletions
        .into_iter()
        .filter(|(_, n)| *n > facts.delete_limit)
    {
        let of_region =
            |it: &&Planned| it.action.is_destructive() && it.scope.region.as_str() == region;
        if let Some(planned) = plan.actions.iter().find(of_region) {
            let rule = format!(
                "{n} deletions are planned and {} are the most for one run: if the policy means it, raise \
                 DELETE_LIMIT for one run",
                facts.delete_limit
            );
            findings.add(planned, rule);
        }
    }
    findings.finish(plan)
}

/// A copy goes where a rule says, under the rule's key, of a snapshot that a wanted owner shares.
fn copy(
    planned: &Planned,
    request: &CopySnapshot,
    facts: &Facts<'_>,
    copied: &mut BTreeSet<(String, String, String)>,
) -> Result<(), String> {
    let claim = CopyClaim::read(&request.tags).ok_or("the copy would not carry its lineage")?;
    let source = facts
        .inventory
        .sources
        .get(&request.source_region)
        .and_then(|sources| sources.iter().find(|source| source.id == request.source))
        .ok_or("the source was not seen in this run")?;
    let (policy, details) = facts
        .policies
        .iter()
        .find(|(policy, _)| policy.name == claim.policy && policy.enabled)
        .ok_or("its policy is not in force")?;
    if !details.owners.contains(&source.owner) {
        return Err(format!(
            "{} is no SnapshotOwner of policy {}",
            source.owner, policy.name
        ));
    }
    let rule = details
        .rules
        .iter()
        .find(|rule| rule.name == claim.rule)
        .ok_or("its policy has no such rule")?;
    if rule.target != planned.scope.region || planned.scope.account != facts.inventory.account {
        return Err(format!(
            "the rule copies to {}, not to {}",
            rule.target, planned.scope
        ));
    }
    if rule.encrypted != request.encrypted || rule.cmk_arn != request.kms_key {
        return Err("the rule says another encryption".into());
    }
    if source.owner != claim.source_account || request.source != claim.source_snapshot {
        return Err("its lineage would name another source".into());
    }
    if request.tags.len() > tags::MAX_TAGS {
        return Err(format!(
            "{} tags are more than EC2 takes",
            request.tags.len()
        ));
    }
    if !copied.insert((claim.policy, claim.rule, claim.source_snapshot.to_string())) {
        return Err("the same copy is planned twice".into());
    }
    Ok(())
}

fn delete(
    planned: &Planned,
    id: &SnapshotId,
    facts: &Facts<'_>,
    leaving: &BTreeSet<&SnapshotId>,
) -> Result<(), String> {
    let target = facts
        .inventory
        .targets
        .get(&planned.scope.region)
        .ok_or("its Region was not read")?;
    let snapshot = target.copies.iter().find(|copy| copy.id == *id);
    deletable(planned, snapshot, &target.guards)?;
    let snapshot = snapshot.ok_or("it was not seen in this run")?;
    let claim =
        CopyClaim::read(&snapshot.tags).ok_or("it does not carry our complete set of tags")?;
    let policy = facts
        .policies
        .iter()
        .find(|(policy, _)| policy.name == claim.policy);
    if policy.is_some_and(|(policy, _)| !policy.enabled) {
        return Err("its policy is disabled".into());
    }
    if snapshot.state == State::Error {
        return Ok(());
    }
    let stay = staying(target, leaving, id);
    let twin = stay.iter().any(|(other, theirs)| {
        theirs.source_snapshot == claim.source_snapshot
            && theirs.policy == claim.policy
            && theirs.rule == claim.rule
            && (other.start_time, &other.id) < (snapshot.start_time, id)
    });
    if twin {
        return Ok(());
    }
    if !facts.inventory.whole {
        return Err("only a sweep sees enough to judge a copy by its age".into());
    }
    match tags::expires_at(&snapshot.tags) {
        Some(at) if at <= facts.now => {}
        _ => return Err("its snapferry:expires-at is not over".into()),
    }
    let of_volume: Vec<_> = stay
        .iter()
        .filter(|(_, theirs)| {
            theirs.source_volume == claim.source_volume
                && theirs.source_account == claim.source_account
        })
        .collect();
    if of_volume.is_empty() {
        return Err("no completed copy of its source volume would stay in this Region".into());
    }
    match policy.map(|(_, details)| details.rules.iter().find(|rule| rule.name == claim.rule)) {
        Some(Some(rule)) => {
            let left = of_volume
                .iter()
                .filter(|(_, theirs)| theirs.policy == claim.policy && theirs.rule == claim.rule)
                .count();
            let minimum = usize::try_from(rule.minimum_count).unwrap_or(usize::MAX);
            if left < minimum {
                return Err(format!(
                    "{left} copies would stay, and MinimumCount is {minimum}"
                ));
            }
            Ok(())
        }
        Some(None) => Ok(()),
        None => match facts.in_force {
            Some(names) if !names.contains(&claim.policy) => Ok(()),
            _ => Err("its policy is not among the documents of this run".into()),
        },
    }
}

/// The completed copies that the plan leaves alone, without the one in question.
fn staying<'a>(
    target: &'a TargetInventory,
    leaving: &BTreeSet<&SnapshotId>,
    but: &SnapshotId,
) -> Vec<(&'a Snapshot, CopyClaim)> {
    target
        .copies
        .iter()
        .filter(|copy| {
            copy.state == State::Completed && copy.id != *but && !leaving.contains(&copy.id)
        })
        .filter_map(|copy| CopyClaim::read(&copy.tags).map(|claim| (copy, claim)))
        .collect()
}

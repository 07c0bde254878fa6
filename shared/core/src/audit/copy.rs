//! The audit of a `copy-shared-snapshots` plan.

use super::{
    Action, AuditedPlan, BTreeMap, BTreeSet, CopyClaim, CopyPolicy, Findings, Plan, Planned,
    Policy, Snapshot, SnapshotId, State, Timestamp, Violation, deletable, delete_limit, deleted,
    tags, too_many,
};
use crate::ec2::CopySnapshot;
use crate::ids::{AccountId, Region, VolumeId};
use crate::inventory::VaultInventory;
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
    /// No more deletions than this in one run of one Region; `None`: three per source volume, and 100 at the least.
    pub delete_limit: Option<usize>,
}

/// Checks every safety rule.
#[must_use]
pub fn audit(plan: Plan, facts: Facts<'_>) -> (AuditedPlan, Vec<Violation>) {
    let mut findings = Findings::default();
    let world = World::of(facts, &deleted(&plan));
    let mut copied = BTreeSet::new();
    let mut deletions: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, planned) in plan.actions.iter().enumerate() {
        let checked = match &planned.action {
            Action::CopySnapshot(request) => {
                let checked = world.copy(planned, request, &mut copied);
                if checked.is_err() {
                    findings.withheld.insert(index);
                }
                checked
            }
            Action::DeleteSnapshot(snapshot) => {
                *deletions.entry(planned.scope.region.as_str()).or_default() += 1;
                world.delete(planned, snapshot)
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
    for (region, n) in deletions {
        let limit = delete_limit(facts.delete_limit, world.n_volumes(region));
        let of_region =
            |it: &&Planned| it.action.is_destructive() && it.scope.region.as_str() == region;
        if n > limit
            && let Some(planned) = plan.actions.iter().find(of_region)
        {
            findings.add(planned, too_many(n, limit));
        }
    }
    findings.finish(plan)
}

/// Copies by Region, policy, rule and source.
type BySource<'a> = BTreeMap<(&'a str, String, String, SnapshotId), Vec<&'a Snapshot>>;

/// How new a copy is: by its own start, which EC2 tells. What its source's description says of a slot does not count.
type Newness<'a> = (Timestamp, &'a SnapshotId);

fn newness(copy: &Snapshot) -> Newness<'_> {
    (copy.start_time, &copy.id)
}

/// What the rules are checked against, looked up once.
struct World<'a> {
    facts: Facts<'a>,
    sources: BTreeMap<(&'a Region, &'a SnapshotId), &'a Snapshot>,
    copies: BTreeMap<(&'a str, &'a SnapshotId), &'a Snapshot>,
    /// Completed copies that the plan leaves alone.
    staying: BySource<'a>,
    /// The newest of them of every source volume in a Region.
    newest: BTreeMap<(&'a str, AccountId, VolumeId), Newness<'a>>,
    /// And how many there are by one rule.
    of_rule: BTreeMap<(&'a str, AccountId, VolumeId, String, String), usize>,
}

impl<'a> World<'a> {
    /// Source volumes with good copies in a Region, as often as rules copy them.
    fn n_volumes(&self, region: &str) -> usize {
        self.of_rule.keys().filter(|(of, ..)| *of == region).count()
    }

    fn of(facts: Facts<'a>, leaving: &BTreeSet<&SnapshotId>) -> Self {
        let mut world = Self {
            facts,
            sources: BTreeMap::new(),
            copies: BTreeMap::new(),
            staying: BTreeMap::new(),
            newest: BTreeMap::new(),
            of_rule: BTreeMap::new(),
        };
        for (region, sources) in &facts.inventory.sources {
            for source in sources {
                world.sources.insert((region, &source.id), source);
            }
        }
        for (region, target) in &facts.inventory.targets {
            for copy in &target.copies {
                world.copies.insert((region.as_str(), &copy.id), copy);
                if copy.state == State::Completed && !leaving.contains(&copy.id) {
                    world.stays(region.as_str(), copy);
                }
            }
        }
        world
    }

    fn stays(&mut self, region: &'a str, copy: &'a Snapshot) {
        let Some(claim) = CopyClaim::read(&copy.tags) else {
            return;
        };
        let (account, volume) = (claim.source_account, claim.source_volume);
        let newness = newness(copy);
        let newest =
            self.newest.entry((region, account.clone(), volume.clone())).or_insert(newness);
        *newest = (*newest).max(newness);
        let rule_key = (region, account, volume, claim.policy.clone(), claim.rule.clone());
        *self.of_rule.entry(rule_key).or_default() += 1;
        let source_key = (region, claim.policy, claim.rule, claim.source_snapshot);
        self.staying.entry(source_key).or_default().push(copy);
    }

    fn policy(&self, name: &str) -> Option<(&'a Policy, &'a CopyPolicy)> {
        let mut policies = self.facts.policies.iter();
        policies.find(|(policy, _)| policy.name == name).copied()
    }

    /// A copy goes where a rule says, under the rule's key, of a snapshot that a wanted owner shares.
    fn copy(
        &self,
        planned: &Planned,
        request: &CopySnapshot,
        copied: &mut BTreeSet<(String, String, SnapshotId)>,
    ) -> Result<(), String> {
        let claim = CopyClaim::read(&request.tags).ok_or("the copy would not carry its lineage")?;
        let source = self
            .sources
            .get(&(&request.source_region, &request.source))
            .ok_or("the source was not seen in this run")?;
        let (policy, details) = self
            .policy(&claim.policy)
            .filter(|(policy, _)| policy.enabled)
            .ok_or("its policy is not in force")?;
        if !details.owners.contains(&source.owner) {
            return Err(format!("{} is no SnapshotOwner of policy {}", source.owner, policy.name));
        }
        let rule = details
            .rules
            .iter()
            .find(|rule| rule.name == claim.rule)
            .ok_or("its policy has no such rule")?;
        let vault = &self.facts.inventory.account;
        if rule.target != planned.scope.region || planned.scope.account != *vault {
            return Err(format!("the rule copies to {}, not to {}", rule.target, planned.scope));
        }
        if rule.encrypted != request.encrypted || rule.cmk_arn != request.kms_key {
            return Err("the rule says another encryption".into());
        }
        if source.owner != claim.source_account || request.source != claim.source_snapshot {
            return Err("its lineage would name another source".into());
        }
        if request.tags.len() > tags::MAX_TAGS {
            return Err(format!("{} tags are more than EC2 takes", request.tags.len()));
        }
        if !copied.insert((claim.policy, claim.rule, claim.source_snapshot)) {
            return Err("the same copy is planned twice".into());
        }
        Ok(())
    }

    fn delete(&self, planned: &Planned, id: &SnapshotId) -> Result<(), String> {
        let region = planned.scope.region.as_str();
        let targets = &self.facts.inventory.targets;
        let target = targets.get(&planned.scope.region).ok_or("its Region was not read")?;
        let snapshot = self.copies.get(&(region, id)).copied();
        deletable(planned, snapshot, &target.guards)?;
        let snapshot = snapshot.ok_or("it was not seen in this run")?;
        let claim =
            CopyClaim::read(&snapshot.tags).ok_or("it does not carry our complete set of tags")?;
        let policy = self.policy(&claim.policy);
        if policy.is_some_and(|(policy, _)| !policy.enabled) {
            return Err("its policy is disabled".into());
        }
        let is_worthless = snapshot.state == State::Error;
        if is_worthless && policy.is_none() {
            return Err("its policy is not in force".into());
        }
        if is_worthless || self.has_older_twin(region, snapshot, &claim) {
            return Ok(());
        }
        self.judged_by_age(region, snapshot, claim, policy)
    }

    /// Whether an older completed copy of the same source by the same rule stays.
    fn has_older_twin(&self, region: &'a str, snapshot: &Snapshot, claim: &CopyClaim) -> bool {
        let key = (region, claim.policy.clone(), claim.rule.clone(), claim.source_snapshot.clone());
        self.staying.get(&key).is_some_and(|alike| {
            alike.iter().any(|it| (it.start_time, &it.id) < (snapshot.start_time, &snapshot.id))
        })
    }

    fn judged_by_age(
        &self,
        region: &'a str,
        snapshot: &Snapshot,
        claim: CopyClaim,
        policy: Option<(&'a Policy, &'a CopyPolicy)>,
    ) -> Result<(), String> {
        if !self.facts.inventory.whole {
            return Err("only a sweep sees enough to judge a copy by its age".into());
        }
        match tags::expires_at(&snapshot.tags) {
            Some(at) if at <= self.facts.now => {}
            _ => return Err("its snapferry:expires-at is not over".into()),
        }
        let (account, volume) = (claim.source_account, claim.source_volume);
        let volume_key = (region, account.clone(), volume.clone());
        let newest = self.newest.get(&volume_key);
        if newest.is_none_or(|newest| *newest < newness(snapshot)) {
            return Err("nothing newer of its source volume would stay in this Region".into());
        }
        let Some((_, details)) = policy else {
            return match self.facts.in_force {
                Some(names) if !names.contains(&claim.policy) => Ok(()),
                _ => Err("its policy is not among the documents of this run".into()),
            };
        };
        let Some(rule) = details.rules.iter().find(|rule| rule.name == claim.rule) else {
            return Ok(());
        };
        let rule_key = (region, account, volume, claim.policy, claim.rule);
        let left = self.of_rule.get(&rule_key).copied().unwrap_or(0);
        let minimum = usize::try_from(rule.minimum_count).unwrap_or(usize::MAX);
        if left < minimum {
            return Err(format!("{left} copies would stay, and MinimumCount is {minimum}"));
        }
        Ok(())
    }
}

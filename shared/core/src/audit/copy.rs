//! The audit of a plan for copies, in the vault or within an account.

use super::{
    Action, AuditedPlan, BTreeMap, BTreeSet, Candidate, Claim, Copies, CopyClaim, CopyRule,
    Findings, Origin, Plan, Planned, RetainRule, Snapshot, SnapshotId, State, TimeZone, Timestamp,
    Violation, deletable, delete_limit, deleted, lockable, surely_kept, tags, too_many,
};
use crate::ec2::{CopySnapshot, LockSnapshot};
use crate::ids::{AccountId, Region, VolumeId};
use crate::inventory::VaultInventory;
use crate::plan::PoliciesInForce;
use copying::Begun;

mod copying;

/// What the plan is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Every policy that wants copies.
    pub policies: &'a [Copies<'a>],
    /// Copies within the account, or (`false`) the vault's.
    pub within: bool,
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
    let mut copied = Begun::default();
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
                let region = planned.scope.region.as_str();
                // What failed holds no data. Counted, whoever shares what nobody can read could stop all expiry.
                if !world.has_failed(region, snapshot) {
                    *deletions.entry(region).or_default() += 1;
                }
                world.delete(planned, snapshot)
            }
            Action::LockSnapshot(request) => {
                let checked = world.lock(planned, request);
                if checked.is_err() {
                    findings.withheld.insert(index);
                }
                checked
            }
            _ => {
                findings.withheld.insert(index);
                Err("copying neither creates nor shares".into())
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
type BySource<'a> = BTreeMap<(&'a str, &'a str, &'a str, &'a str), Vec<&'a Snapshot>>;

/// How new a copy is: when its source began, as EC2 told when it was copied, and never later than the copy; then by
/// its own start. What its source's description says of a slot does not count.
type Newness<'a> = (Timestamp, Timestamp, &'a SnapshotId);

fn newness(copy: &Snapshot) -> Newness<'_> {
    let claimed = CopyClaim::read(&copy.tags).and_then(|claim| claim.source_start);
    let data = claimed.map_or(copy.start_time, |at| at.min(copy.start_time));
    (data, copy.start_time, &copy.id)
}

/// What a copy is of: the volume, whether only a description says so, and where nothing says it, the source itself.
type Generation = (VolumeId, bool, Option<SnapshotId>);

fn generation_of(claim: &CopyClaim) -> Generation {
    let volume = claim.source_volume.clone();
    let unknown = volume.is_placeholder().then(|| claim.source_snapshot.clone());
    (volume, claim.volume_described && unknown.is_none(), unknown)
}

/// Region, source account and volume, policy, rule, and within an account the schedule.
type OfRule<'a> = (&'a str, AccountId, Generation, String, String, Option<String>);

/// What the rules are checked against, looked up once.
struct World<'a> {
    facts: Facts<'a>,
    sources: BTreeMap<(&'a Region, &'a SnapshotId), &'a Snapshot>,
    copies: BTreeMap<(&'a str, &'a SnapshotId), &'a Snapshot>,
    /// Completed copies that the plan leaves alone.
    staying: BySource<'a>,
    /// The newest of them of every source volume in a Region.
    newest: BTreeMap<(&'a str, AccountId, Generation), Newness<'a>>,
    /// And all that there are by one rule.
    of_rule: BTreeMap<OfRule<'a>, Vec<Newness<'a>>>,
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
        let Some(claim) = CopyClaim::read(&copy.tags).filter(|claim| claim.rule != tags::RESCUE)
        else {
            return; // what stands in for a snapshot is there for a while only
        };
        let (account, volume) = (claim.source_account.clone(), generation_of(&claim));
        let newness = newness(copy);
        let newest =
            self.newest.entry((region, account.clone(), volume.clone())).or_insert(newness);
        *newest = (*newest).max(newness);
        let schedules: Vec<Option<String>> = if claim.schedules.is_empty() {
            vec![None]
        } else {
            claim.schedules.iter().cloned().map(Some).collect()
        };
        for schedule in schedules {
            let (policy, rule) = (claim.policy.clone(), claim.rule.clone());
            let key = (region, account.clone(), volume.clone(), policy, rule, schedule);
            self.of_rule.entry(key).or_default().push(newness);
        }
        let tag = |key: &str| copy.tags.get(key).map_or("", String::as_str);
        let source_key = (region, tag(tags::POLICY), tag(tags::RULE), tag(tags::SOURCE_SNAPSHOT));
        self.staying.entry(source_key).or_default().push(copy);
    }

    fn has_failed(&self, region: &'a str, id: &'a SnapshotId) -> bool {
        self.copies.get(&(region, id)).is_some_and(|copy| copy.state == State::Error)
    }

    fn policy(&self, name: &str) -> Option<&'a Copies<'a>> {
        self.facts.policies.iter().find(|copies| copies.policy.name == name)
    }

    /// A lock cannot always be taken back: only what a rule says, and no longer.
    fn lock(&self, planned: &Planned, request: &LockSnapshot) -> Result<(), String> {
        let region = planned.scope.region.as_str();
        let copy =
            self.copies.get(&(region, &request.snapshot)).ok_or("it was not seen in this run")?;
        let claim = CopyClaim::read(&copy.tags).ok_or("it does not carry our complete tags")?;
        let copies = self
            .policy(&claim.policy)
            .filter(|copies| copies.policy.enabled)
            .ok_or("its policy is not in force")?;
        let rules = rules_of(copies, &claim);
        let now = self.facts.now;
        lockable(copy, request, now, rules.iter().filter_map(|rule| rule.lock.as_ref()))
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
        if claim.schedules.is_empty() == self.facts.within {
            return Err("it is a copy of the other function".into());
        }
        if claim.rule == tags::RESCUE {
            return Err("it stands in for a snapshot, and rotation drops it".into());
        }
        let policy = self.policy(&claim.policy);
        if policy.is_some_and(|copies| !copies.policy.enabled) {
            return Err("its policy is disabled".into());
        }
        let is_worthless = snapshot.state == State::Error;
        let is_known = policy.is_some()
            || self.facts.in_force.as_ref().is_some_and(|names| !names.contains(&claim.policy));
        if is_worthless && !is_known {
            return Err("its policy is not among the documents of this run".into());
        }
        if is_worthless || self.has_older_twin(region, snapshot, &claim) {
            return Ok(());
        }
        self.judged_by_rules(region, snapshot, &claim, policy)
    }

    /// Whether an older completed copy of the same source by the same rule stays.
    fn has_older_twin(&self, region: &'a str, snapshot: &Snapshot, claim: &CopyClaim) -> bool {
        let source = claim.source_snapshot.as_str();
        let key = (region, claim.policy.as_str(), claim.rule.as_str(), source);
        self.staying.get(&key).is_some_and(|alike| {
            alike.iter().any(|it| (it.start_time, &it.id) < (snapshot.start_time, &snapshot.id))
        })
    }

    fn judged_by_rules(
        &self,
        region: &'a str,
        snapshot: &Snapshot,
        claim: &CopyClaim,
        policy: Option<&Copies<'_>>,
    ) -> Result<(), String> {
        if !self.facts.inventory.whole {
            return Err("only a sweep sees enough to judge a copy by its age".into());
        }
        self.is_over(region, snapshot, claim, policy)?;
        let volume_key = (region, claim.source_account.clone(), generation_of(claim));
        let newest = self.newest.get(&volume_key);
        if newest.is_none_or(|newest| *newest < newness(snapshot)) {
            return Err("nothing newer of its source volume would stay in this Region".into());
        }
        for rule in policy.map_or_else(Vec::new, |copies| rules_of(copies, claim)) {
            let minimum = rule.retain.as_ref().map_or(1, |retain| retain.minimum_count);
            let left = self.staying_by(region, claim, rule).len();
            if left < usize::try_from(minimum).unwrap_or(usize::MAX) {
                return Err(format!("{left} copies would stay, and MinimumCount is {minimum}"));
            }
        }
        Ok(())
    }

    /// Whether its rules, or where they are gone its own tag, let it go.
    fn is_over(
        &self,
        region: &'a str,
        snapshot: &Snapshot,
        claim: &CopyClaim,
        policy: Option<&Copies<'_>>,
    ) -> Result<(), String> {
        let over = match tags::expires_at(&snapshot.tags) {
            Some(at) if at <= self.facts.now => Ok(()),
            _ => Err("its snapferry:expires-at is not over".to_owned()),
        };
        let Some(copies) = policy else {
            return match self.facts.in_force {
                Some(names) if !names.contains(&claim.policy) => over,
                _ => Err("its policy is not among the documents of this run".into()),
            };
        };
        let rules = rules_of(copies, claim);
        if rules.is_empty() {
            return over;
        }
        for rule in rules {
            let retain = rule.retain.as_ref().ok_or("its rule keeps it for ever")?;
            if retain.age.is_some() {
                over.clone()?;
            }
            self.by_number(region, snapshot, claim, rule, retain)?;
        }
        Ok(())
    }

    /// What stays of the source volume by the rule.
    fn staying_by(&self, region: &'a str, claim: &CopyClaim, rule: &CopyRule) -> &[Newness<'a>] {
        let key = (
            region,
            claim.source_account.clone(),
            generation_of(claim),
            claim.policy.clone(),
            claim.rule.clone(),
            rule.schedule.clone(),
        );
        self.of_rule.get(&key).map_or(&[][..], Vec::as_slice)
    }

    fn by_number(
        &self,
        region: &'a str,
        snapshot: &Snapshot,
        claim: &CopyClaim,
        rule: &CopyRule,
        retain: &RetainRule,
    ) -> Result<(), String> {
        let staying = self.staying_by(region, claim, rule);
        let newer = staying.iter().filter(|other| **other > newness(snapshot));
        let newer_moments: Vec<Timestamp> = newer.map(|(data, ..)| *data).collect();
        let (moment, start, _) = newness(snapshot);
        let candidate =
            Candidate { start, moment, newer: newer_moments.len(), newer_moments: &newer_moments };
        // Its age was judged by its own tag.
        let by_number = RetainRule { age: None, minimum_count: 0, ..retain.clone() };
        let is_kept = !by_number.is_unlimited()
            && surely_kept(&by_number, &TimeZone::UTC, candidate, self.facts.now);
        if is_kept { Err(format!("rule {} still keeps it", rule.name)) } else { Ok(()) }
    }
}

/// The rules that the copy claims.
fn rules_of<'a>(copies: &Copies<'a>, claim: &CopyClaim) -> Vec<&'a CopyRule> {
    let of_schedule = |rule: &&CopyRule| match &rule.schedule {
        Some(name) => claim.schedules.contains(name),
        None => claim.schedules.is_empty(),
    };
    copies.rules.iter().filter(|rule| rule.name == claim.rule).filter(of_schedule).collect()
}

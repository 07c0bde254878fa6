//! The plan of `copy-shared-snapshots`: what the owners share with this account, against the copies we have.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{PoliciesInForce, by_age, duplicates, hold, in_order};
use crate::action::{
    Action, Coverage, Deferred, Held, Hold, Impossible, Plan, Planned, Reason, Subject,
};
use crate::description;
use crate::ec2::{Access, CopySnapshot, Ec2Error, ErrorKind};
use crate::ids::{AccountId, Region, SnapshotId, VolumeId};
use crate::inventory::{Key, Snapshot, State, VaultInventory};
use crate::policy::{CopyPolicy, CopyRule, Policy};
use crate::tags::{self, CopyClaim};

/// Copies in progress that EC2 allows per destination Region
/// ([CopySnapshot](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html)).
pub const CONCURRENT_COPIES: usize = 20;

/// Everything that the plan follows from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Every copy policy.
    pub policies: &'a [(&'a Policy, &'a CopyPolicy)],
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a VaultInventory,
    /// The wall clock.
    pub now: Timestamp,
}

struct Copy<'a> {
    snapshot: &'a Snapshot,
    claim: CopyClaim,
}

struct Draft<'a> {
    request: Request<'a>,
    /// Every copy of ours, by target Region.
    copies: BTreeMap<&'a Region, Vec<Copy<'a>>>,
    /// The copies by what they are of: policy, rule and source.
    by_source: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Snapshot>>,
    /// What else may be started, by target Region.
    room: BTreeMap<&'a Region, usize>,
    plan: Plan,
}

/// Decides what to do in the vault.
#[must_use]
pub fn plan(request: Request<'_>) -> Plan {
    let mut copies = BTreeMap::new();
    let mut room = BTreeMap::new();
    let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (region, target) in &request.inventory.targets {
        let here: Vec<Copy<'_>> = target
            .copies
            .iter()
            .filter(|snapshot| snapshot.owner == request.inventory.account)
            .filter_map(|snapshot| {
                CopyClaim::read(&snapshot.tags).map(|claim| Copy { snapshot, claim })
            })
            .collect();
        let pending = here
            .iter()
            .filter(|copy| copy.snapshot.state == State::Pending)
            .count();
        for snapshot in target
            .copies
            .iter()
            .filter(|it| it.owner == request.inventory.account)
        {
            if CopyClaim::read(&snapshot.tags).is_some() {
                let tag = |key: &str| snapshot.tags.get(key).map_or("", String::as_str);
                let key = (
                    tag(tags::POLICY),
                    tag(tags::RULE),
                    tag(tags::SOURCE_SNAPSHOT),
                );
                by_source.entry(key).or_default().push(snapshot);
            }
        }
        copies.insert(region, here);
        room.insert(region, CONCURRENT_COPIES.saturating_sub(pending));
    }
    let mut draft = Draft {
        request,
        copies,
        by_source,
        room,
        plan: Plan::default(),
    };
    let sources: Vec<(&Region, &Snapshot)> = request
        .inventory
        .sources
        .iter()
        .flat_map(|(region, sources)| by_age(sources.iter()).into_iter().map(move |s| (region, s)))
        .collect();
    for (region, source) in &sources {
        draft.source(region, source);
    }
    draft.failed_copies();
    if request.inventory.whole {
        draft.expire();
        draft.cover();
    }
    in_order(&mut draft.plan);
    draft.plan
}

impl<'a> Draft<'a> {
    /// Every policy's opinion of one shared snapshot.
    fn source(&mut self, region: &'a Region, source: &'a Snapshot) {
        let scope = self.request.inventory.scope(region);
        let held = |why| Held {
            scope: scope.clone(),
            subject: Subject {
                snapshot: Some(source.id.clone()),
                ..Subject::default()
            },
            why,
        };
        if source.owner == self.request.inventory.account {
            self.plan.held.push(held(Hold::OwnSnapshot));
            return;
        }
        let of_owner: Vec<_> = self
            .request
            .policies
            .iter()
            .filter(|(_, details)| details.owners.contains(&source.owner))
            .collect();
        if of_owner.is_empty() {
            self.plan
                .held
                .push(held(Hold::OwnerNotWanted(source.owner.clone())));
            return;
        }
        let wanting: Vec<_> = of_owner
            .into_iter()
            .filter(|(_, details)| {
                details
                    .description
                    .as_ref()
                    .is_none_or(|regex| regex.is_match(&source.description))
            })
            .collect();
        if wanting.is_empty() {
            self.plan.held.push(held(Hold::DescriptionNotWanted));
        }
        for (policy, details) in wanting {
            if !policy.enabled {
                self.plan.held.push(held(Hold::Disabled));
                continue;
            }
            for rule in &details.rules {
                self.by_rule(region, source, policy, rule);
            }
        }
    }

    fn by_rule(
        &mut self,
        region: &'a Region,
        source: &'a Snapshot,
        policy: &Policy,
        rule: &'a CopyRule,
    ) {
        let claim = claim_of(region, source, policy, rule);
        let key = (policy.name.as_str(), rule.name.as_str(), source.id.as_str());
        let existing = self.by_source.get(&key).map_or(&[][..], Vec::as_slice);
        if existing.iter().any(|copy| copy.state != State::Error) {
            return;
        }
        let reason = existing.first().map_or(Reason::NoCopy, |failed| {
            Reason::OnlyFailedCopies(failed.id.clone())
        });
        let scope = self.request.inventory.scope(&rule.target);
        let subject = subject_of(&claim);
        let hold = |why| Held {
            scope: scope.clone(),
            subject: subject.clone(),
            why,
        };
        if let Some(until) = rule.retain.map(|age| age.after(source.start_time))
            && until <= self.request.now
        {
            return self.plan.held.push(hold(Hold::PastRetention(until)));
        }
        let planned = Planned {
            scope: scope.clone(),
            access: Access::default(),
            action: Action::CopySnapshot(request_of(&claim, source, rule, self.request.now)),
            subject: subject.clone(),
            reason,
        };
        match source.state {
            State::Completed => {}
            State::Pending => {
                let waits_for = format!("{} is pending", source.id);
                return self.plan.deferred.push(Deferred { planned, waits_for });
            }
            State::Error | State::Other => {
                return self
                    .plan
                    .held
                    .push(hold(Hold::SourceState(source.state.to_string())));
            }
        }
        match key_problem(self.request.inventory, rule) {
            None => {}
            Some(KeyProblem::Passes(waits_for)) => {
                return self.plan.deferred.push(Deferred { planned, waits_for });
            }
            Some(KeyProblem::Stays {
                kind,
                code,
                message,
            }) => {
                let operation = "CopySnapshot";
                return self.plan.impossible.push(Impossible {
                    scope,
                    operation,
                    subject,
                    kind,
                    code,
                    message,
                });
            }
        }
        match self.room.get_mut(&rule.target) {
            Some(0) => {
                let waits_for = format!(
                    "{CONCURRENT_COPIES} copies are in progress in {}",
                    rule.target
                );
                self.plan.deferred.push(Deferred { planned, waits_for });
            }
            Some(room) => {
                *room -= 1;
                self.plan.actions.push(planned);
            }
            // The Region could not be read; that is reported, and nothing is done blindly there.
            None => {
                let waits_for = format!("{} could not be read", rule.target);
                self.plan.deferred.push(Deferred { planned, waits_for });
            }
        }
    }

    /// A copy that ended in `error` is told once, by the run that finds it, and deleted: it is worth nothing and
    /// counts against limits.
    fn failed_copies(&mut self) {
        let mut failed = Vec::new();
        for (region, copies) in &self.copies {
            for copy in copies
                .iter()
                .filter(|copy| copy.snapshot.state == State::Error)
            {
                let in_force = self
                    .rule(&copy.claim)
                    .is_some_and(|(policy, _)| policy.enabled);
                if in_force {
                    failed.push((*region, copy.snapshot, copy.claim.clone()));
                }
            }
        }
        for (region, copy, claim) in failed {
            let message = copy
                .state_message
                .clone()
                .unwrap_or_else(|| "no reason given".into());
            let subject = Subject {
                snapshot: Some(copy.id.clone()),
                ..subject_of(&claim)
            };
            self.plan.impossible.push(Impossible {
                scope: self.request.inventory.scope(region),
                operation: "CopySnapshot",
                subject: subject.clone(),
                kind: ErrorKind::KeyUnusable,
                code: "error".into(),
                message: failed_copy(&copy.id, &claim, &message),
            });
            self.delete(region, copy, subject, Reason::Failed(message), false);
        }
    }

    fn expire(&mut self) {
        let mut leaving = Vec::new();
        for (region, copies) in &self.copies {
            leaving.extend(self.expired_in(region, copies));
        }
        for (region, snapshot, claim, reason, is_last) in leaving {
            let subject = Subject {
                snapshot: Some(snapshot.id.clone()),
                ..subject_of(&claim)
            };
            self.delete(region, snapshot, subject, reason, is_last);
        }
    }

    fn expired_in(
        &self,
        region: &'a Region,
        copies: &[Copy<'a>],
    ) -> Vec<(&'a Region, &'a Snapshot, CopyClaim, Reason, bool)> {
        let completed: Vec<&Copy<'a>> = copies
            .iter()
            .filter(|copy| copy.snapshot.state == State::Completed)
            .collect();
        let duplicates = duplicates(completed.iter().map(|copy| {
            let claim = &copy.claim;
            (
                (&claim.policy, &claim.rule, &claim.source_snapshot),
                copy.snapshot,
            )
        }));
        let mut volumes: BTreeMap<(&AccountId, &VolumeId), Vec<&Copy<'a>>> = BTreeMap::new();
        for copy in completed
            .iter()
            .filter(|copy| !duplicates.contains_key(&copy.snapshot.id))
        {
            volumes
                .entry((&copy.claim.source_account, &copy.claim.source_volume))
                .or_default()
                .push(copy);
        }
        let mut leaving: Vec<_> = completed
            .iter()
            .filter_map(|copy| {
                let older = *duplicates.get(&copy.snapshot.id)?;
                let (policy, _) = self.rule(&copy.claim)?;
                let reason = Reason::Duplicate(older.clone());
                policy
                    .enabled
                    .then(|| (region, copy.snapshot, copy.claim.clone(), reason, false))
            })
            .collect();
        for mut group in volumes.into_values() {
            group.sort_by_key(|copy| std::cmp::Reverse(copy.age_key()));
            let mut ranks: BTreeMap<(&str, &str), u32> = BTreeMap::new();
            for (index, copy) in group.iter().enumerate() {
                let rank = ranks
                    .entry((&copy.claim.policy, &copy.claim.rule))
                    .or_default();
                *rank += 1;
                if let Some(reason) = self.expiry(copy, *rank) {
                    leaving.push((
                        region,
                        copy.snapshot,
                        copy.claim.clone(),
                        reason,
                        index == 0,
                    ));
                }
            }
        }
        leaving
    }

    /// Why a copy may go: its own tag says so, and the rule's minimum is kept by newer ones.
    fn expiry(&self, copy: &Copy<'_>, rank: u32) -> Option<Reason> {
        let at = tags::expires_at(&copy.snapshot.tags).filter(|at| *at <= self.request.now)?;
        match self.rule(&copy.claim) {
            Some((policy, _)) if !policy.enabled => None,
            Some((_, rule)) => (rank > rule.minimum_count).then_some(Reason::ExpiresAt(at)),
            None => {
                let policy_known =
                    |(policy, _): &&(&Policy, &CopyPolicy)| policy.name == copy.claim.policy;
                let gone = match self.request.policies.iter().find(policy_known) {
                    Some((policy, _)) => policy.enabled, // the rule is gone, not the policy
                    None => self
                        .request
                        .in_force
                        .as_ref()
                        .is_some_and(|names| !names.contains(&copy.claim.policy)),
                };
                gone.then_some(Reason::Orphan(at))
            }
        }
    }

    fn delete(
        &mut self,
        region: &Region,
        snapshot: &Snapshot,
        subject: Subject,
        reason: Reason,
        is_last: bool,
    ) {
        let scope = self.request.inventory.scope(region);
        let guards = self
            .request
            .inventory
            .targets
            .get(region)
            .map(|target| &target.guards);
        let veto = guards.and_then(|guards| hold(snapshot, guards));
        if let Some(why) = veto.or(is_last.then_some(Hold::LastGood)) {
            return self.plan.held.push(Held {
                scope,
                subject,
                why,
            });
        }
        self.plan.actions.push(Planned {
            scope,
            access: Access::default(),
            action: Action::DeleteSnapshot(snapshot.id.clone()),
            subject,
            reason,
        });
    }

    fn rule(&self, claim: &CopyClaim) -> Option<(&'a Policy, &'a CopyRule)> {
        let (policy, details) = self
            .request
            .policies
            .iter()
            .find(|(policy, _)| policy.name == claim.policy)?;
        details
            .rules
            .iter()
            .find(|rule| rule.name == claim.rule)
            .map(|rule| (*policy, rule))
    }

    /// Per source volume and rule: the newest completed copy.
    fn cover(&mut self) {
        let mut wanted: BTreeSet<(String, Region, VolumeId)> = BTreeSet::new();
        let mut since: BTreeMap<VolumeId, Timestamp> = BTreeMap::new();
        let mut newest: BTreeMap<(String, Region, VolumeId), Timestamp> = BTreeMap::new();
        for (policy, details) in self.request.policies {
            for (region, source) in self.sources_of(details) {
                for rule in &details.rules {
                    let volume = claim_of(region, source, policy, rule).source_volume;
                    let first = since.entry(volume.clone()).or_insert(source.start_time);
                    *first = (*first).min(source.start_time);
                    wanted.insert((policy.name.clone(), rule.target.clone(), volume));
                }
            }
        }
        for (region, copies) in &self.copies {
            for copy in copies
                .iter()
                .filter(|copy| copy.snapshot.state == State::Completed)
            {
                let claim = &copy.claim;
                let key = (
                    claim.policy.clone(),
                    (*region).clone(),
                    claim.source_volume.clone(),
                );
                if self.rule(claim).is_some() {
                    wanted.insert(key.clone());
                    let newest = newest.entry(key).or_insert(Timestamp::MIN);
                    *newest = (*newest).max(copy.data_time());
                }
            }
        }
        let coverage = wanted.into_iter().map(|key| {
            let newest_completed = newest.get(&key).copied();
            let (policy, region, volume) = key;
            Coverage {
                scope: self.request.inventory.scope(&region),
                policy,
                since: newest_completed
                    .is_none()
                    .then(|| since.get(&volume).copied())
                    .flatten(),
                volume,
                newest_completed,
            }
        });
        self.plan.coverage = coverage.collect();
    }

    fn sources_of(
        &self,
        details: &'a CopyPolicy,
    ) -> impl Iterator<Item = (&'a Region, &'a Snapshot)> + use<'a> {
        self.request
            .inventory
            .sources
            .iter()
            .flat_map(|(region, sources)| sources.iter().map(move |source| (region, source)))
            .filter(|(_, source)| {
                details.owners.contains(&source.owner)
                    && details
                        .description
                        .as_ref()
                        .is_none_or(|it| it.is_match(&source.description))
            })
    }
}

impl Copy<'_> {
    /// The moment whose data it holds, as far as we know: its slot, else its own start.
    fn data_time(&self) -> Timestamp {
        let start = self.snapshot.start_time;
        // A forged slot in the future must not pass for fresh data.
        self.claim
            .slot
            .map_or(start, |slot| slot.timestamp().min(start))
    }

    fn age_key(&self) -> (Timestamp, Timestamp, &SnapshotId) {
        (
            self.data_time(),
            self.snapshot.start_time,
            &self.snapshot.id,
        )
    }
}

fn claim_of(region: &Region, source: &Snapshot, policy: &Policy, rule: &CopyRule) -> CopyClaim {
    let described = description::read(&source.description);
    let volume = described
        .as_ref()
        .filter(|_| source.volume_id.is_placeholder())
        .map_or(&source.volume_id, |described| &described.volume);
    CopyClaim {
        policy: policy.name.clone(),
        rule: rule.name.clone(),
        source_snapshot: source.id.clone(),
        source_account: source.owner.clone(),
        source_region: region.clone(),
        source_volume: volume.clone(),
        slot: described.as_ref().map(|described| described.slot),
    }
}

fn subject_of(claim: &CopyClaim) -> Subject {
    Subject {
        policy: claim.policy.clone(),
        schedule: claim.rule.clone(),
        slot: claim.slot,
        volume: Some(claim.source_volume.clone()),
        snapshot: None,
        source: Some(claim.source_snapshot.clone()),
    }
}

fn request_of(
    claim: &CopyClaim,
    source: &Snapshot,
    rule: &CopyRule,
    now: Timestamp,
) -> CopySnapshot {
    let mut tags = claim.write();
    if let Some(age) = rule.retain {
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(age.after(now)));
    }
    tags.extend(rule.tags_to_add.clone());
    CopySnapshot {
        source: source.id.clone(),
        source_region: claim.source_region.clone(),
        description: description::of_copy(
            &source.id,
            &source.owner,
            &claim.source_region,
            &source.description,
        ),
        encrypted: rule.encrypted,
        kms_key: rule.cmk_arn.clone(),
        completion_duration_minutes: rule.completion_duration_minutes,
        tags,
    }
}

enum KeyProblem {
    /// The next run looks again.
    Passes(String),
    /// Someone has to act.
    Stays {
        kind: ErrorKind,
        code: String,
        message: String,
    },
}

/// EC2 checks the key of a copy only after it has said yes
/// ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)), so we look first.
fn key_problem(inventory: &VaultInventory, rule: &CopyRule) -> Option<KeyProblem> {
    let arn = rule.cmk_arn.as_ref()?;
    let stays = |kind, code: &str, what: String| {
        Some(KeyProblem::Stays {
            kind,
            code: code.to_owned(),
            message: what,
        })
    };
    if arn.region() != rule.target {
        let what = format!(
            "key {arn} is in {}, but copies in {} need a key of that Region",
            arn.region(),
            rule.target
        );
        return stays(ErrorKind::KeyUnusable, "WrongRegion", what);
    }
    match inventory.keys.get(arn.as_str()) {
        None => Some(KeyProblem::Passes(format!("key {arn} was not looked at"))),
        Some(Err(err)) if err.kind().passes() || err.kind() == ErrorKind::NoAnswer => Some(
            KeyProblem::Passes(format!("key {arn} could not be looked at: {err}")),
        ),
        Some(Err(err)) => {
            let what = unreadable_key(arn.as_str(), err);
            let code = err.code().map_or("NoAnswer", |(code, _)| code);
            stays(err.kind(), code, what)
        }
        Some(Ok(key)) => unusable_key(key).and_then(|(code, what)| {
            stays(ErrorKind::KeyUnusable, code, format!("key {arn} {what}"))
        }),
    }
}

fn unreadable_key(arn: &str, err: &Ec2Error) -> String {
    match err.kind() {
        ErrorKind::NotFound => format!(
            "key {arn} does not exist: correct CmkArn, or create the key in that account and Region"
        ),
        _ => format!(
            "key {arn} cannot be read: {err}; allow kms:DescribeKey on it to this function's role, in the role \
             and, for a key of another account, in the key policy"
        ),
    }
}

/// What is wrong with the key, and the remedy.
fn unusable_key(key: &Key) -> Option<(&'static str, String)> {
    match key.state.as_str() {
        "Enabled" => {}
        "Disabled" => {
            return Some((
                "Disabled",
                "is disabled: enable it with kms:EnableKey".into(),
            ));
        }
        "PendingDeletion" => {
            let what = "is pending deletion: cancel that with kms:CancelKeyDeletion and enable it, or name \
                        another key; copies under it become unreadable when it goes";
            return Some(("PendingDeletion", what.into()));
        }
        other => return Some(("KeyState", format!("is in state {other}, want Enabled"))),
    }
    if key.usage != "ENCRYPT_DECRYPT" || key.spec != "SYMMETRIC_DEFAULT" {
        let what = format!(
            "is for {} with {}: EBS wants a symmetric key, ENCRYPT_DECRYPT with SYMMETRIC_DEFAULT",
            key.usage, key.spec
        );
        return Some(("KeyUsage", what));
    }
    None
}

fn failed_copy(copy: &SnapshotId, claim: &CopyClaim, message: &str) -> String {
    format!(
        "copy {copy} of {} ended in error: {message}. Where a key is not accessible: the source key's policy has \
         to allow this account kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey* and \
         kms:CreateGrant, and this function's role the same on both keys",
        claim.source_snapshot
    )
}

//! The audit of what stands in for snapshots under an AWS managed key.

use std::collections::BTreeSet;

use super::world::World;
use crate::action::Planned;
use crate::audit::at_least;
use crate::description;
use crate::ec2::CopySnapshot;
use crate::ids::{AccountId, SnapshotId};
use crate::inventory::{Snapshot, State, TieringStatus};
use crate::policy::{Schedule, SnapshotPolicy};
use crate::tags::{self, Claim, CopyClaim};

impl World<'_> {
    /// What it stands in for, by its tags.
    pub(super) fn stand_in(&self, snapshot: &Snapshot) -> Option<CopyClaim> {
        let scope = self.facts.scope;
        CopyClaim::read(&snapshot.tags).filter(|claim| {
            claim.rule == tags::RESCUE
                && snapshot.owner == scope.account
                && claim.source_account == scope.account
                && claim.source_region == scope.region
        })
    }

    /// What it stands in for, if that is there and its policy's.
    pub(super) fn stood_for(&self, claim: &CopyClaim) -> Result<&Snapshot, String> {
        let source = self.by_id.get(&claim.source_snapshot).copied();
        let source = source.ok_or("what it stands in for was not seen in this run")?;
        let of =
            Claim::read(&source.tags).ok_or("what it stands in for does not carry our tags")?;
        if of.policy != claim.policy || source.owner != self.facts.scope.account {
            return Err("what it stands in for is another's".into());
        }
        Ok(source)
    }

    /// One copy of an own, completed snapshot that is under an AWS managed key, under the policy's key, to be shared.
    pub(super) fn rescue(
        &self,
        planned: &Planned,
        request: &CopySnapshot,
        rescued: &mut BTreeSet<SnapshotId>,
    ) -> Result<(), String> {
        let facts = self.facts;
        let claim = CopyClaim::read(&request.tags).ok_or("the copy would not carry its lineage")?;
        if claim.rule != tags::RESCUE {
            return Err("it has no place in the plan of a scope".into());
        }
        let source = self.stood_for(&claim)?;
        let of = Claim::read(&source.tags).ok_or("the source is not ours")?;
        let (_, details) = self
            .policy(&claim.policy)
            .filter(|(policy, _)| policy.enabled)
            .ok_or("its policy is not in force here")?;
        let key =
            details.default_key_rescue.as_ref().ok_or("its policy has no DefaultKeyRescue")?;
        let lineage_is_true = request.source == source.id
            && request.source_region == facts.scope.region
            && planned.scope == *facts.scope
            && claim.source_account == source.owner
            && claim.source_region == facts.scope.region
            && claim.source_volume == source.volume_id
            && claim.schedules == of.schedules
            && claim.slot == Some(of.slot)
            && claim.source_start.is_some_and(|at| at <= source.start_time);
        if !lineage_is_true {
            return Err("its lineage would name another source".into());
        }
        if source.state != State::Completed {
            return Err(format!("the source is {}", source.state));
        }
        let default = source.kms_key_id.as_deref().and_then(|arn| facts.inventory.keys.get(arn));
        if !default.is_some_and(|key| key.aws_managed) {
            return Err("the source is not under an AWS managed key".into());
        }
        let target = facts.inventory.rescue_keys.get(key).and_then(|key| key.as_ref().ok());
        let is_under_it = request.encrypted
            && target.is_some_and(|key| {
                let named = request.kms_key.as_ref().map(crate::ids::KmsKeyArn::as_str);
                !key.aws_managed && named == Some(&key.arn)
            });
        if !is_under_it {
            return Err(format!("it would not be under {key}, the key of DefaultKeyRescue"));
        }
        let shares = |it: &&Schedule| it.share_with.iter().any(|to| *to != facts.scope.account);
        if !schedules_of(details, &of).any(|it| shares(&it)) {
            return Err("no ShareRules of its policy are for the source".into());
        }
        let told = description::read(&request.description).and_then(|it| it.volume);
        if told.as_ref() != Some(&source.volume_id) {
            return Err("its description would not tell the vault its volume".into());
        }
        if request.tags.len() > tags::MAX_TAGS {
            return Err(format!("{} tags are more than EC2 takes", request.tags.len()));
        }
        // Another policy's is not shared by this one: the source was that policy's when it was made.
        let alike = self.stand_ins.get(&source.id).into_iter().flatten();
        let mut alike = alike.filter(|it| it.tags.get(tags::POLICY) == Some(&claim.policy));
        if alike.any(|it| it.state != State::Error) || !rescued.insert(source.id.clone()) {
            return Err("one stands in for the source already".into());
        }
        Ok(())
    }

    /// Nothing may need it any more, and what it holds must not be lost with it.
    pub(super) fn drop_stand_in(
        &self,
        snapshot: &Snapshot,
        claim: &CopyClaim,
    ) -> Result<(), String> {
        let details = match self.policy(&claim.policy) {
            Some((policy, _)) if !policy.enabled => return Err("its policy is disabled".into()),
            Some((_, details)) => Some(details),
            None => None,
        };
        if snapshot.state == State::Error {
            let is_gone =
                self.facts.in_force.as_ref().is_some_and(|it| !it.contains(&claim.policy));
            return match details {
                None if !is_gone => Err("its policy is not in force here".into()),
                _ => Ok(()),
            };
        }
        let is_older_twin = |it: &&Snapshot| {
            it.state == State::Completed
                && !self.leaving.contains(&it.id)
                && it.tags.get(tags::POLICY) == Some(&claim.policy)
                && (it.start_time, &it.id) < (snapshot.start_time, &snapshot.id)
        };
        let mut alike = self.stand_ins.get(&claim.source_snapshot).into_iter().flatten().copied();
        if details.is_some() && alike.any(|it| is_older_twin(&it)) {
            return Ok(());
        }
        let source = self.stood_for(claim).ok();
        match (details, source) {
            (None, _) => self.orphaned_stand_in(snapshot, claim)?,
            (Some(_), None) => {}
            (Some(details), Some(source)) => self.is_over(details, source)?,
        }
        let stays = |it: &Snapshot| it.state == State::Completed && !self.leaving.contains(&it.id);
        let original = self.by_id.get(&claim.source_snapshot).copied();
        let original = original.filter(|it| it.owner == snapshot.owner);
        let start = claim.source_start.unwrap_or(snapshot.start_time);
        let has_newer = self.newest.get(&claim.source_volume).is_some_and(|(at, _)| *at > start);
        if original.is_some_and(stays) || has_newer || self.is_held_by_a_vault(snapshot, claim) {
            return Ok(());
        }
        Err("neither its source nor anything newer of its volume would stay".into())
    }

    /// Whether nobody is to use the source through it any more.
    fn is_over(&self, details: &SnapshotPolicy, source: &Snapshot) -> Result<(), String> {
        let tiering = self.facts.inventory.tiering.as_ref().ok();
        let status = tiering.and_then(|it| it.get(&source.id)).map(|it| it.status);
        let is_archived = source.archived
            || matches!(status, Some(TieringStatus::Archiving | TieringStatus::Archived));
        if is_archived || details.default_key_rescue.is_none() {
            return Ok(());
        }
        let of =
            Claim::read(&source.tags).ok_or("what it stands in for does not carry our tags")?;
        for schedule in schedules_of(details, &of) {
            let others = schedule.share_with.iter().filter(|it| **it != self.facts.scope.account);
            for account in others {
                self.has_ended(schedule, source, account)?;
            }
        }
        Ok(())
    }

    fn has_ended(
        &self,
        schedule: &Schedule,
        source: &Snapshot,
        account: &AccountId,
    ) -> Result<(), String> {
        let age = self.facts.now.duration_since(source.start_time);
        if schedule.unshare_after.is_some_and(|after| age >= at_least(after)) {
            return Ok(());
        }
        let rule = schedule.unshare_when_copied.as_ref();
        if !rule.is_some_and(|rule| self.is_copied(source, rule, account)) {
            return Err(format!("schedule {} still shares it with {account}", schedule.name));
        }
        // Without this the next run would copy it again.
        let told = source.tags.get(tags::SHARED_WITH);
        if told.is_none_or(|told| told.split(',').any(|it| it == account.as_str())) {
            return Err(format!("{} does not say yet that {account} has had it", source.id));
        }
        Ok(())
    }

    fn is_held_by_a_vault(&self, snapshot: &Snapshot, claim: &CopyClaim) -> bool {
        let Some((_, details)) = self.policy(&claim.policy) else {
            return false;
        };
        let schedules = details.schedules.iter().filter(|it| claim.schedules.contains(&it.name));
        schedules.filter_map(|it| Some((it, it.unshare_when_copied.as_ref()?))).any(|(it, rule)| {
            it.share_with.iter().any(|vault| self.is_copied(snapshot, rule, vault))
        })
    }

    fn orphaned_stand_in(&self, snapshot: &Snapshot, claim: &CopyClaim) -> Result<(), String> {
        match self.facts.in_force {
            Some(names) if !names.contains(&claim.policy) => {}
            _ => return Err("its policy is not among the documents of this run".into()),
        }
        match tags::expires_at(&snapshot.tags) {
            Some(at) if at <= self.facts.now => Ok(()),
            _ => Err("its policy is gone and its own expiry is not over".into()),
        }
    }
}

fn schedules_of<'a>(
    details: &'a SnapshotPolicy,
    claim: &Claim,
) -> impl Iterator<Item = &'a Schedule> {
    details.schedules.iter().filter(|it| claim.schedules.contains(&it.name))
}

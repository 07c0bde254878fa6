//! `DefaultKeyRescue`: what stands in for snapshots under an AWS managed key, which no other account can use. It is copied
//! in the same account and Region under another key, shared in place of its source, and dropped when that is over.

use std::collections::{BTreeMap, BTreeSet};

use super::by_age;
use super::copied::{StandIns, was_unshared};
use super::copy::{REMEMBERED, message_of};
use super::hold;
use super::rotate::{Draft, Own, Request};
use super::sharing::{Ended, Sharing, Step};
use crate::action::{Action, Deferred, Hold, Impossible, Keeping, Reason, Subject};
use crate::ec2::ErrorKind;
use crate::ids::SnapshotId;
use crate::inventory::{Snapshot, State};
use crate::policy::SnapshotPolicy;
use crate::tags::{self, CopyClaim};

pub(super) use make::impossible;

mod make;

/// What stands in for a snapshot, or did not get so far.
pub(super) struct StandIn<'a> {
    snapshot: &'a Snapshot,
    claim: CopyClaim,
}

/// By policy and source, oldest first.
pub(super) type ByName<'a> = BTreeMap<(String, SnapshotId), Vec<StandIn<'a>>>;

pub(super) fn stand_ins(request: Request<'_>) -> ByName<'_> {
    let scope = request.scope;
    let mut found = ByName::new();
    let own = request.inventory.snapshots.iter().filter(|it| it.owner == scope.account);
    for snapshot in by_age(own) {
        let is_ours = |claim: &CopyClaim| {
            claim.stands_in()
                && claim.source_account == scope.account
                && claim.source_region == scope.region
        };
        if let Some(claim) = CopyClaim::read(&snapshot.tags).filter(is_ours) {
            let key = (claim.policy.clone(), claim.source_snapshot.clone());
            found.entry(key).or_default().push(StandIn { snapshot, claim });
        }
    }
    found
}

pub(super) fn plan(draft: &mut Draft<'_>) {
    let judge = Judge::of(draft);
    let mut steps = Vec::new();
    for ((policy, source), group) in &draft.stand_ins {
        match draft.policy(policy) {
            None => steps.extend(group.iter().map(|it| judge.without_policy(it))),
            Some((policy, _)) if !policy.enabled => {
                let keep = |it: &StandIn<'_>| Step::Keep(it.subject(), vec![Keeping::Disabled]);
                steps.extend(group.iter().map(keep));
            }
            Some((_, details)) => steps.extend(judge.by_policy(details, source, group)),
        }
    }
    steps.extend(make::plan(draft));
    draft.take(steps);
}

/// What is to become of a good stand-in.
enum Fate {
    /// It is shared, as its source would be.
    Shared(Sharing),
    /// Left as it is.
    Left,
    /// It has done its duty.
    Over(Reason),
}

struct Judge<'a> {
    draft: &'a Draft<'a>,
    own: BTreeMap<&'a SnapshotId, &'a Own<'a>>,
    /// What goes, or goes to the archive.
    leaving: BTreeSet<SnapshotId>,
    /// What goes.
    deleted: BTreeSet<SnapshotId>,
}

impl<'a> Judge<'a> {
    fn of(draft: &'a Draft<'a>) -> Self {
        let deletes = draft.plan.actions.iter().filter_map(|it| match &it.action {
            Action::DeleteSnapshot(id) => Some(id.clone()),
            _ => None,
        });
        Self {
            draft,
            own: draft.own.iter().map(|own| (&own.snapshot.id, own)).collect(),
            leaving: draft.leaving(),
            deleted: deletes.collect(),
        }
    }

    fn source(&self, it: &StandIn<'_>) -> Option<&'a Own<'a>> {
        let own = self.own.get(&it.claim.source_snapshot).copied();
        own.filter(|own| own.claim.policy == it.claim.policy)
    }

    fn by_policy(
        &self,
        details: &SnapshotPolicy,
        source: &SnapshotId,
        group: &[StandIn<'_>],
    ) -> Vec<Step> {
        let is = |state| move |it: &&&StandIn<'_>| it.snapshot.state == state;
        let good = || group.iter().filter(|it| it.snapshot.state != State::Error);
        let has_double =
            good().next().is_some_and(|first| first.snapshot.state == State::Completed)
                && good().skip(1).any(|it| it.snapshot.state == State::Completed);
        let mut steps = Vec::new();
        for (n, it) in good().enumerate() {
            steps.extend(match it.snapshot.state {
                State::Completed if n == 0 && has_double => {
                    vec![Step::Keep(it.subject(), vec![Keeping::TwinLeaves])]
                }
                State::Completed if n == 0 => self.completed(details, it),
                State::Completed if has_double => {
                    let first = good().next().map_or(source, |first| &first.snapshot.id);
                    vec![self.delete(it, Reason::Duplicate(first.clone()))]
                }
                State::Completed => vec![it.keep()],
                State::Pending if n == 0 => self.pending(details, it),
                state => vec![Step::Keep(it.subject(), vec![Keeping::Unfinished(state)])],
            });
        }
        let failed: Vec<&StandIn<'_>> = group.iter().filter(|it| is(State::Error)(&it)).collect();
        steps.extend(self.failed(source, good().next(), &failed));
        steps
    }

    fn fate(&self, details: &SnapshotPolicy, it: &StandIn<'_>) -> Fate {
        let draft = self.draft;
        let Some(own) = self.source(it) else {
            return Fate::Over(Reason::StandInOver("is gone"));
        };
        if details.default_key_rescue.is_none() {
            return Fate::Over(Reason::StandInOver("is not to be rescued any more"));
        }
        if draft.is_archived(own) {
            return Fate::Over(Reason::StandInOver("is in the archive tier, or on its way there"));
        }
        let is_settled =
            own.snapshot.state == State::Completed && !self.leaving.contains(&own.snapshot.id);
        if !is_settled || draft.is_target(own, details) == Some(false) {
            return Fate::Left;
        }
        let sharing = Sharing::of(draft, details, own);
        if !sharing.is_over() {
            return Fate::Shared(sharing);
        }
        // That the vault has had it has to be remembered before what it had it from goes.
        let is_forgotten = |(account, why): (&_, &Ended)| {
            matches!(why, Ended::Copied(_)) && !was_unshared(own.snapshot, account)
        };
        if sharing.ended().any(is_forgotten) {
            return Fate::Shared(sharing);
        }
        match sharing.ended().map(|(_, why)| why).max() {
            Some(why) => Fate::Over(why.clone().reason()),
            None => Fate::Over(Reason::StandInOver("is not to be shared any more")),
        }
    }

    fn completed(&self, details: &SnapshotPolicy, it: &StandIn<'_>) -> Vec<Step> {
        match self.fate(details, it) {
            Fate::Shared(sharing) => {
                let changes = sharing.changes(self.draft, it.snapshot, &it.subject());
                let acts = changes.now.into_iter().chain(changes.share).map(Step::Act);
                std::iter::once(it.keep()).chain(acts).collect()
            }
            Fate::Left => vec![it.keep()],
            Fate::Over(reason) if self.may_go(details, it) => vec![self.delete(it, reason)],
            Fate::Over(_) => vec![Step::Hold(it.subject(), Hold::LastGood)],
        }
    }

    fn pending(&self, details: &SnapshotPolicy, it: &StandIn<'_>) -> Vec<Step> {
        let mut steps = vec![Step::Keep(it.subject(), vec![Keeping::Unfinished(State::Pending)])];
        if let Fate::Shared(sharing) = self.fate(details, it) {
            let changes = sharing.changes(self.draft, it.snapshot, &it.subject());
            let waits_for = format!("{} is pending", it.snapshot.id);
            let wait = changes.share.map(|planned| Step::Wait(Deferred { planned, waits_for }));
            steps.extend(wait);
        }
        steps
    }

    /// It must not be the last good one: its source stays, or one of the volume that is newer, or the vault has it.
    fn may_go(&self, details: &SnapshotPolicy, it: &StandIn<'_>) -> bool {
        let is_in_vault = || {
            let schedules = it.claim.schedules.iter().filter_map(|name| details.schedule(name));
            schedules.filter_map(|it| Some((it, it.unshare_when_copied.as_ref()?))).any(
                |(schedule, rule)| {
                    let mut vaults = schedule.share_with.iter();
                    vaults.any(|vault| self.draft.vaults.has(rule, vault, &it.snapshot.id))
                },
            )
        };
        self.is_outdone(it) || is_in_vault()
    }

    /// Whether its source stays, or one of the volume that is newer.
    fn is_outdone(&self, it: &StandIn<'_>) -> bool {
        let start = it.claim.source_start.unwrap_or(it.snapshot.start_time);
        let serves = |own: &&Own<'_>| {
            own.snapshot.id == it.claim.source_snapshot
                || (own.snapshot.volume_id == it.claim.source_volume
                    && own.snapshot.start_time > start)
        };
        self.draft.own.iter().filter(serves).any(|own| {
            own.snapshot.state == State::Completed && !self.deleted.contains(&own.snapshot.id)
        })
    }

    /// As failed copies: two are kept while nothing better is there, as the memory of how often it was tried.
    fn failed(
        &self,
        source: &SnapshotId,
        good: Option<&StandIn<'_>>,
        failed: &[&StandIn<'_>],
    ) -> Vec<Step> {
        let is_wanted = good.is_none() && self.draft.to_rescue.contains(source);
        let waits = good.is_some_and(|it| it.snapshot.state != State::Completed);
        let mut steps = Vec::new();
        if let Some(newest) = failed.last().filter(|_| is_wanted) {
            let message = format!(
                "the copy {} of {source}, which was to be shared in its place, ended in error: {}. Where a key is not \
                 accessible: the policy of the key of DefaultKeyRescue, and the member role, have to allow that role \
                 kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey* and kms:CreateGrant",
                newest.snapshot.id,
                message_of(newest.snapshot)
            );
            steps.push(Step::Cannot(Impossible {
                scope: self.draft.request.scope.clone(),
                operation: "CopySnapshot",
                subject: newest.subject(),
                kind: ErrorKind::KeyUnusable,
                code: "error".into(),
                message,
            }));
        }
        let kept = if is_wanted || waits { REMEMBERED } else { 0 };
        for (n, it) in failed.iter().rev().enumerate() {
            steps.push(if n < kept {
                Step::Keep(it.subject(), vec![Keeping::FailedMemory])
            } else {
                self.delete(it, Reason::Failed(message_of(it.snapshot)))
            });
        }
        steps
    }

    /// As any snapshot of a policy that is gone: its own expiry counts, and the last good one stays.
    fn without_policy(&self, it: &StandIn<'_>) -> Step {
        let request = self.draft.request;
        let is_gone = request.in_force.as_ref().is_some_and(|all| !all.contains(&it.claim.policy));
        if !is_gone {
            return Step::Keep(it.subject(), vec![Keeping::NotOurs]);
        }
        match it.snapshot.state {
            State::Completed => {}
            State::Error => return self.delete(it, Reason::Failed(message_of(it.snapshot))),
            state => return Step::Keep(it.subject(), vec![Keeping::Unfinished(state)]),
        }
        match tags::expires_at(&it.snapshot.tags) {
            Some(at) if at > request.now => Step::Keep(it.subject(), vec![Keeping::OwnExpiry(at)]),
            Some(at) if self.is_outdone(it) => self.delete(it, Reason::Orphan(at)),
            Some(_) => Step::Hold(it.subject(), Hold::LastGood),
            None => {
                Step::Hold(it.subject(), Hold::Unclaimed(format!("policy {}", it.claim.policy)))
            }
        }
    }

    fn delete(&self, it: &StandIn<'_>, reason: Reason) -> Step {
        if let Some(why) = hold(it.snapshot, &self.draft.request.inventory.guards) {
            return Step::Hold(it.subject(), why);
        }
        let action = Action::DeleteSnapshot(it.snapshot.id.clone());
        Step::Act(self.draft.planned(action, it.subject(), reason))
    }
}

impl StandIn<'_> {
    fn keep(&self) -> Step {
        let why = Keeping::StandsIn(self.claim.source_snapshot.clone());
        Step::Keep(self.subject(), vec![why])
    }

    fn subject(&self) -> Subject {
        let claim = &self.claim;
        Subject {
            policy: claim.policy.clone(),
            schedule: tags::join(&claim.schedules),
            slot: claim.slot,
            volume: Some(claim.source_volume.clone()),
            instance: None,
            snapshot: Some(self.snapshot.id.clone()),
            source: Some(claim.source_snapshot.clone()),
        }
    }
}

impl Draft<'_> {
    /// Whether no other account can ever use the snapshot, as far as can be told.
    pub(super) fn has_default_key(&self, own: &Own<'_>) -> bool {
        own.snapshot.kms_key_id.as_deref().is_some_and(|key| self.is_aws_managed(key))
    }

    pub(super) fn is_aws_managed(&self, key: &str) -> bool {
        self.request.inventory.keys.get(key).is_some_and(|key| key.aws_managed)
    }

    fn of_source(&self, own: &Own<'_>) -> &[StandIn<'_>] {
        let key = (own.claim.policy.clone(), own.snapshot.id.clone());
        self.stand_ins.get(&key).map_or(&[], Vec::as_slice)
    }

    /// As what the vault may have copied a snapshot.
    pub(super) fn copied_as<'b>(&'b self, own: &'b Own<'_>) -> StandIns<'b> {
        let stand_ins = self.of_source(own);
        let ids = stand_ins.iter().map(|it| &it.snapshot.id);
        StandIns {
            copied_as: std::iter::once(&own.snapshot.id).chain(ids).collect(),
            are_needed: self.has_default_key(own),
            are_gone: self.has_default_key(own)
                && stand_ins.iter().all(|it| it.snapshot.state == State::Error),
        }
    }
}

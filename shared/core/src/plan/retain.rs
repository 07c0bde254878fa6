//! Which own snapshots have done their duty. A rule proposes, a guard vetoes, and every verdict has its reason.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::copy::message_of;
use super::hold;
use super::rotate::{Draft, Own};
use super::view::{Double, Standing, View};
use crate::action::{Action, ArchiveOver, Expired, Hold, Keeping, Kept, Reason, Subject};
use crate::ids::SnapshotId;
use crate::inventory::{State, TieringStatus};
use crate::policy::{ArchiveRule, Policy, Schedule, SnapshotPolicy};
use crate::tags;

/// What is to become of a snapshot.
enum Verdict {
    /// Rules keep it, or nobody has an opinion yet.
    Keep(Vec<Keeping>),
    /// It could go, and must not.
    Hold(Hold),
    /// It goes to the archive tier: its time in the standard tier was over then.
    Archive(Timestamp),
    /// It goes.
    Delete(Reason),
}

pub(super) fn plan(draft: &mut Draft<'_>, view: &View<'_>) {
    let judge = Judge { draft, view };
    let decided = draft.own.iter().filter_map(|own| match judge.verdict(own) {
        Verdict::Keep(_) if !draft.request.explain => None,
        verdict => Some((own.subject(), verdict)),
    });
    let decided: Vec<_> = decided.collect();
    // Of two that are the same never both go at once: the one stays while the other goes.
    let keepers: BTreeSet<SnapshotId> = decided
        .iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Delete(_)))
        .filter_map(|(subject, _)| match view.doubles.get(subject.snapshot.as_ref()?)? {
            Double::Younger(stays) | Double::OfBrokenSet(stays) => Some(stays.clone()),
        })
        .collect();
    tell_unread_tiering(draft);
    draft.plan.actions.reserve_exact(decided.len());
    for (subject, verdict) in decided {
        let Some(snapshot) = subject.snapshot.clone() else {
            continue;
        };
        match verdict {
            Verdict::Keep(why) => draft.keep(subject, why),
            Verdict::Hold(why) => draft.hold(subject, why),
            Verdict::Archive(at) => {
                let action = Action::ArchiveSnapshot(snapshot);
                draft.act(action, subject, Reason::LeavesStandardTier(at));
            }
            Verdict::Delete(_) if keepers.contains(&snapshot) => {
                draft.keep(subject, vec![Keeping::TwinLeaves]);
            }
            Verdict::Delete(reason) => {
                draft.act(Action::DeleteSnapshot(snapshot), subject, reason);
            }
        }
    }
}

/// Without it nothing can be archived, and somebody has to know.
fn tell_unread_tiering(draft: &mut Draft<'_>) {
    let Err(unread) = &draft.request.inventory.tiering else {
        return;
    };
    let archives = |(policy, details): &&(&Policy, &SnapshotPolicy)| {
        policy.enabled && details.schedules.iter().any(|schedule| schedule.archive.is_some())
    };
    for (policy, _) in draft.request.policies.iter().filter(archives) {
        let without = "nothing is moved to the archive tier or deleted from it";
        draft.tell_unread(policy, "DescribeSnapshotTierStatus", unread, without);
    }
}

struct Judge<'a> {
    draft: &'a Draft<'a>,
    view: &'a View<'a>,
}

impl Judge<'_> {
    fn verdict(&self, own: &Own<'_>) -> Verdict {
        let draft = self.draft;
        let verdict = match draft.policy(&own.claim.policy) {
            Some((policy, _)) if !policy.enabled => Verdict::Keep(vec![Keeping::Disabled]),
            Some((policy, details)) => self.by_policy(own, policy, details),
            None => self.without_policy(own),
        };
        let is_destructive = matches!(verdict, Verdict::Delete(_));
        if !is_destructive && !matches!(verdict, Verdict::Archive(_)) {
            return verdict;
        }
        match hold(own.snapshot, &draft.request.inventory.guards) {
            // A lock forbids deleting, not archiving.
            Some(Hold::Locked) if !is_destructive => verdict,
            Some(why) => Verdict::Hold(why),
            None if is_destructive && self.view.newest.contains(&own.snapshot.id) => {
                Verdict::Hold(Hold::LastGood)
            }
            None => verdict,
        }
    }

    fn by_policy(&self, own: &Own<'_>, policy: &Policy, details: &SnapshotPolicy) -> Verdict {
        let snapshot = own.snapshot;
        match snapshot.state {
            State::Pending | State::Other => {
                return Verdict::Keep(vec![Keeping::Unfinished(snapshot.state)]);
            }
            State::Error => {
                return Verdict::Delete(Reason::Failed(message_of(snapshot)));
            }
            State::Completed => {}
        }
        match self.view.doubles.get(&snapshot.id) {
            Some(Double::Younger(older)) => {
                return Verdict::Delete(Reason::Duplicate(older.clone()));
            }
            Some(Double::OfBrokenSet(stays)) => {
                return Verdict::Delete(Reason::OfBrokenSet(stays.clone()));
            }
            None => {}
        }
        let is_set = own.claim.instance.is_some();
        let unread = self.draft.request.inventory.instances_unread.as_ref();
        if let Some(unread) = unread.filter(|_| is_set) {
            return Verdict::Hold(Hold::InstanceUnknown(unread.message.clone()));
        }
        let schedules: Vec<&Schedule> =
            own.claim.schedules.iter().filter_map(|name| details.schedule(name)).collect();
        if schedules.is_empty() {
            let what = format!("schedule {} of policy {}", own.claim.schedule_text(), policy.name);
            return self.orphan(own, Hold::Unclaimed(what));
        }
        match self.draft.is_target(own, details) {
            Some(false) => {
                let why = if is_set { Hold::NoTargetInstance } else { Hold::NoTarget };
                self.left(own, &schedules, why)
            }
            None if schedules.iter().all(|schedule| schedule.retain.age.is_none()) => {
                let why = if is_set { Hold::InstanceGone } else { Hold::VolumeGone };
                self.left(own, &schedules, why)
            }
            target @ (Some(true) | None) => match self.by_schedules(own, &schedules) {
                Verdict::Delete(_) if target.is_none() && !self.is_expired(own) => {
                    let why = if is_set { Hold::InstanceGone } else { Hold::VolumeGone };
                    self.by_own_expiry(own, why, Reason::ExpiresAt)
                }
                verdict @ (Verdict::Delete(_) | Verdict::Archive(_)) => {
                    self.unless_somebody_is_gone(own, &schedules, verdict)
                }
                verdict => verdict,
            },
        }
    }

    /// What EC2 does not list may be gone, or a page of the list was missing: then it may well be no target any more, and
    /// only its own expiry counts. So nothing goes that both do not let go.
    fn is_expired(&self, own: &Own<'_>) -> bool {
        tags::expires_at(&own.snapshot.tags).is_some_and(|at| at <= self.draft.request.now)
    }

    /// A schedule that is not in the policy any more may have wanted it longer, and so may an `ArchiveRule`: DLM leaves
    /// alone what they made, and what carries its own expiry still expires.
    fn unless_somebody_is_gone(
        &self,
        own: &Own<'_>,
        schedules: &[&Schedule],
        verdict: Verdict,
    ) -> Verdict {
        let left = |name: &&String| schedules.iter().all(|schedule| schedule.name != **name);
        let archives = schedules.iter().any(|schedule| schedule.archive.is_some());
        let what = match own.claim.schedules.iter().find(left) {
            Some(name) => format!("schedule {name} of policy {}", own.claim.policy),
            None if own.snapshot.archived && !archives => {
                format!("the ArchiveRule of policy {}", own.claim.policy)
            }
            None => return verdict,
        };
        match tags::expires_at(&own.snapshot.tags) {
            Some(at) if at <= self.draft.request.now => verdict,
            Some(at) => Verdict::Keep(vec![Keeping::OwnExpiry(at)]),
            None => Verdict::Hold(Hold::Unclaimed(what)),
        }
    }

    /// It stays while any of its schedules keeps it.
    fn by_schedules(&self, own: &Own<'_>, schedules: &[&Schedule]) -> Verdict {
        let mut keepings = Vec::new();
        let mut expired = Expired::default();
        for schedule in schedules {
            match self.judge(own, schedule) {
                Ok(found) => keepings.extend(found),
                Err(limits) => {
                    expired.count = expired.count.max(limits.count);
                    expired.age = expired.age.max(limits.age);
                    expired.keep |= limits.keep;
                }
            }
        }
        if !keepings.is_empty() {
            return Verdict::Keep(keepings);
        }
        let archiving = schedules.iter().find_map(|schedule| Some((schedule, schedule.archive?)));
        match archiving {
            Some((schedule, rule)) => self.archived(own, schedule, rule, expired),
            None => Verdict::Delete(Reason::Retention(expired)),
        }
    }

    /// What keeps it in the standard tier; else every limit it is over.
    fn judge(&self, own: &Own<'_>, schedule: &Schedule) -> Result<Vec<Keeping>, Expired> {
        let rule = &schedule.retain;
        let name = || schedule.name.clone();
        let Standing { rank, periods, .. } = self.view.standing(&own.snapshot.id, &schedule.name);
        let at_most = |n: u32| rank <= usize::try_from(n).unwrap_or(usize::MAX);
        let mut keepings = Vec::new();
        let mut expired = Expired { keep: rule.keep.is_some(), ..Expired::default() };
        match rule.count.map(std::num::NonZeroU32::get) {
            Some(count) if at_most(count) => keepings.push(Keeping::Count(name(), rank, count)),
            Some(count) => expired.count = Some((rank, count)),
            None => {}
        }
        match rule.age.map(|age| age.after(own.snapshot.start_time)) {
            Some(until) if until > self.draft.request.now => {
                keepings.push(Keeping::Until(name(), until));
            }
            Some(until) => expired.age = Some(until),
            None => {}
        }
        keepings.extend(periods.into_iter().map(|period| Keeping::Period(name(), period)));
        if rule.is_unlimited() && schedule.archive.is_none() {
            keepings.push(Keeping::Forever(name()));
        }
        // What goes to the archive is not lost by it.
        if keepings.is_empty() && schedule.archive.is_none() && at_most(rule.minimum_count) {
            keepings.push(Keeping::MinimumCount(name(), rank, rule.minimum_count));
        }
        if keepings.is_empty() { Err(expired) } else { Ok(keepings) }
    }

    /// Its time in the standard tier is over, and its schedule has an `ArchiveRule`.
    fn archived(
        &self,
        own: &Own<'_>,
        schedule: &Schedule,
        rule: ArchiveRule,
        mut expired: Expired,
    ) -> Verdict {
        let now = self.draft.request.now;
        let name = || schedule.name.clone();
        let tiering = match &self.draft.request.inventory.tiering {
            Ok(tiering) => tiering.get(&own.snapshot.id).copied(),
            Err(unread) => return Verdict::Hold(Hold::TierUnknown(unread.message.clone())),
        };
        let standing = self.view.standing(&own.snapshot.id, &schedule.name);
        let left = expired.age.max(standing.out_since).unwrap_or(own.snapshot.start_time);
        let in_archive = own.snapshot.archived;
        let archived_at = tiering.and_then(|tiering| tiering.archived_at);
        let mut stays = Hold::ArchiveGivenUp;
        let since = match tiering.map(|tiering| tiering.status) {
            _ if in_archive => match archived_at {
                Some(at) => at,
                None => return Verdict::Hold(Hold::TierUnknown("since when it is there".into())),
            },
            Some(TieringStatus::Archiving | TieringStatus::Archived) => {
                return Verdict::Keep(vec![Keeping::Archiving(name())]);
            }
            // DLM tries for 24 hours.
            Some(TieringStatus::Failed) if now.duration_since(left) >= A_DAY => left,
            Some(TieringStatus::Restored) => {
                stays = Hold::RestoredFromArchive; // a person's wish
                left
            }
            Some(TieringStatus::Failed) | None => return Verdict::Archive(left),
        };
        if let Some(count) = rule.count.map(std::num::NonZeroU32::get) {
            let rank = if in_archive { standing.archive_rank } else { standing.out_rank };
            if rank > usize::try_from(count).unwrap_or(usize::MAX) {
                expired.archive = Some(ArchiveOver::Count(rank, count));
            } else if in_archive {
                let kept = ArchiveOver::Count(rank, count);
                return Verdict::Keep(vec![Keeping::Archive(name(), kept)]);
            }
        }
        match rule.age.map(|age| age.after(since)) {
            Some(until) if until <= now => expired.archive = Some(ArchiveOver::Age(until)),
            Some(until) if in_archive => {
                return Verdict::Keep(vec![Keeping::Archive(name(), ArchiveOver::Age(until))]);
            }
            _ => {}
        }
        let minimum = usize::try_from(schedule.retain.minimum_count).unwrap_or(usize::MAX);
        match expired.archive {
            None => Verdict::Hold(stays),
            Some(_) if standing.rank <= minimum => Verdict::Keep(vec![Keeping::MinimumCount(
                name(),
                standing.rank,
                schedule.retain.minimum_count,
            )]),
            Some(_) => Verdict::Delete(Reason::Retention(expired)),
        }
    }

    /// The policy does not target this scope, is not among the documents, or does not exist any more.
    fn without_policy(&self, own: &Own<'_>) -> Verdict {
        match self.draft.request.in_force {
            // The documents are a selection: others' snapshots are no matter of ours.
            None => Verdict::Keep(vec![Keeping::NotOurs]),
            Some(names) if names.contains(&own.claim.policy) => {
                Verdict::Keep(vec![Keeping::NotOurs])
            }
            Some(_) => self.orphan(own, Hold::Unclaimed(format!("policy {}", own.claim.policy))),
        }
    }

    /// Nobody speaks for it but its own tag.
    fn orphan(&self, own: &Own<'_>, otherwise: Hold) -> Verdict {
        match own.snapshot.state {
            State::Completed => self.by_own_expiry(own, otherwise, Reason::Orphan),
            state => Verdict::Keep(vec![Keeping::Unfinished(state)]),
        }
    }

    /// Its policy does not manage it any more, as DLM has it; what carries its own expiry still expires.
    fn left(&self, own: &Own<'_>, schedules: &[&Schedule], otherwise: Hold) -> Verdict {
        for Schedule { name, retain, .. } in schedules {
            let rank = self.view.standing(&own.snapshot.id, name).rank;
            if rank <= usize::try_from(retain.minimum_count).unwrap_or(usize::MAX) {
                return Verdict::Hold(otherwise);
            }
        }
        self.by_own_expiry(own, otherwise, Reason::ExpiresAt)
    }

    fn by_own_expiry(
        &self,
        own: &Own<'_>,
        otherwise: Hold,
        reason: fn(Timestamp) -> Reason,
    ) -> Verdict {
        match tags::expires_at(&own.snapshot.tags) {
            Some(at) if at <= self.draft.request.now => Verdict::Delete(reason(at)),
            Some(at) => Verdict::Keep(vec![Keeping::OwnExpiry(at)]),
            None => Verdict::Hold(otherwise),
        }
    }
}

const A_DAY: SignedDuration = SignedDuration::from_hours(24);

impl Draft<'_> {
    pub(super) fn keep(&mut self, subject: Subject, why: Vec<Keeping>) {
        if !self.request.explain {
            return;
        }
        let scope = self.request.scope.clone();
        self.plan.kept.push(Kept { scope, subject, why });
    }
}

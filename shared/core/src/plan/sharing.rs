//! Who is to be able to use a snapshot, and what has to be changed for that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::copied::Found;
use super::rotate::{Draft, Own};
use crate::action::{Action, Deferred, Hold, Impossible, Keeping, Planned, Reason, Subject};
use crate::ids::{AccountId, Region};
use crate::inventory::{Snapshot, State};
use crate::policy::{Schedule, SnapshotPolicy};
use crate::tags;

/// What to do about one snapshot.
pub(super) enum Step {
    Act(Planned),
    Wait(Deferred),
    Cannot(Impossible),
    Hold(Subject, Hold),
    Keep(Subject, Vec<Keeping>),
}

impl Draft<'_> {
    pub(super) fn take(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Act(planned) => self.plan.actions.push(planned),
                Step::Wait(deferred) => self.plan.deferred.push(deferred),
                Step::Cannot(impossible) => self.plan.impossible.push(impossible),
                Step::Hold(subject, why) => self.hold(subject, why),
                Step::Keep(subject, why) => self.keep(subject, why),
            }
        }
    }
}

/// Who is to be able to use a snapshot, and who not any more.
#[derive(Default)]
pub(super) struct Sharing {
    with: BTreeSet<AccountId>,
    /// Whoever can use it stays, and nobody is added.
    left: BTreeSet<AccountId>,
    ended: BTreeMap<AccountId, Ended>,
}

/// Why sharing ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ended {
    /// `UnshareInterval` was over at that time.
    At(Timestamp),
    /// `UnshareWhenCopied` found a copy in all of these Regions.
    Copied(BTreeSet<Region>),
}

impl Ended {
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::At(at) => Reason::SharedLongEnough(at),
            Self::Copied(regions) => Reason::Copied(regions),
        }
    }
}

impl Sharing {
    /// Where schedules coincide an account stays as long as the longest of them says.
    pub(super) fn of(draft: &Draft<'_>, details: &SnapshotPolicy, own: &Own<'_>) -> Self {
        let mut sharing = Self::default();
        for schedule in own.claim.schedules.iter().filter_map(|name| details.schedule(name)) {
            let accounts = schedule.share_with.iter();
            for account in accounts.filter(|account| **account != draft.request.scope.account) {
                sharing.add(draft, own, schedule, account);
            }
        }
        let Self { with, left, ended } = &mut sharing;
        ended.retain(|account, _| !with.contains(account) && !left.contains(account));
        sharing
    }

    fn add(&mut self, draft: &Draft<'_>, own: &Own<'_>, schedule: &Schedule, account: &AccountId) {
        let over = schedule.unshare_after.map(|age| age.after(own.snapshot.start_time));
        let over = over.filter(|at| *at <= draft.request.now).map(Ended::At);
        let ended = match &schedule.unshare_when_copied {
            None => over,
            Some(rule) => match draft.vaults.find(rule, account, own, &draft.copied_as(own)) {
                Found::Copied => Some(Ended::Copied(rule.regions.clone())),
                Found::Lacking => None,
                Found::Leave => {
                    self.left.insert(account.clone());
                    return;
                }
            },
        };
        match ended {
            None => {
                self.with.insert(account.clone());
            }
            Some(ended) => {
                let last = self.ended.entry(account.clone()).or_insert_with(|| ended.clone());
                if *last < ended {
                    *last = ended;
                }
            }
        }
    }

    /// Whether it is over for everybody.
    pub(super) fn is_over(&self) -> bool {
        self.with.is_empty() && self.left.is_empty()
    }

    /// With whom it ended, and why.
    pub(super) fn ended(&self) -> impl Iterator<Item = (&AccountId, &Ended)> {
        self.ended.iter()
    }

    /// What has to be changed of a snapshot, be it ours or one that stands in for it.
    pub(super) fn changes(
        self,
        draft: &Draft<'_>,
        snapshot: &Snapshot,
        subject: &Subject,
    ) -> Changes {
        let planned = |action, why| draft.planned(action, subject.clone(), why);
        let can_use = |account: &AccountId| {
            let shared = draft.request.inventory.shared.get(account);
            shared.is_some_and(|ids| ids.contains(&snapshot.id))
        };
        let missing: BTreeSet<AccountId> =
            self.with.iter().filter(|account| !can_use(account)).cloned().collect();
        let mut all = self.with;
        all.extend(self.left.into_iter().filter(can_use));
        let copied = self.ended.values().find(|why| matches!(why, Ended::Copied(_))).cloned();
        let over = self.ended.into_iter().filter(|(account, _)| can_use(account));
        let left: BTreeSet<AccountId> = all.difference(&missing).cloned().collect();
        let unshare = |(why, accounts): (Ended, BTreeSet<AccountId>)| {
            let (snapshot, all) = (snapshot.id.clone(), left.clone());
            planned(Action::UnshareSnapshot { snapshot, accounts, all }, why.reason())
        };
        let mut now: Vec<Planned> = calls(over).into_iter().map(unshare).collect();
        let snapshot_id = snapshot.id.clone();
        if !missing.is_empty() {
            let share = Action::ShareSnapshot { snapshot: snapshot_id, accounts: missing, all };
            return Changes { now, share: Some(planned(share, Reason::NotSharedYet)) };
        }
        if now.is_empty() && snapshot.state == State::Completed {
            let why = match snapshot.tags.get(tags::SHARED_WITH) {
                Some(text) => (*text != tags::join(&all)).then_some(Reason::ShareNotRecorded),
                None if !all.is_empty() => Some(Reason::ShareNotRecorded),
                // Or, when the copies are gone, it would pass for one that the vault has never had.
                None => copied.map(Ended::reason),
            };
            let record = Action::RecordShare { snapshot: snapshot_id, all };
            now.extend(why.map(|why| planned(record, why)));
        }
        Changes { now, share: None }
    }
}

/// What has to be changed of the sharing of one snapshot.
pub(super) struct Changes {
    /// Ends and records.
    pub(super) now: Vec<Planned>,
    /// For whoever cannot use it yet.
    pub(super) share: Option<Planned>,
}

/// One call for those whose time was over, were it not at once, and one for those that have copies.
fn calls(over: impl Iterator<Item = (AccountId, Ended)>) -> Vec<(Ended, BTreeSet<AccountId>)> {
    let mut by_reason: BTreeMap<Ended, BTreeSet<AccountId>> = BTreeMap::new();
    for (account, why) in over {
        by_reason.entry(why).or_default().insert(account);
    }
    let mut calls: Vec<(Ended, BTreeSet<AccountId>)> = Vec::new();
    for (why, accounts) in by_reason {
        match (calls.last_mut(), &why) {
            (Some((last @ Ended::At(_), of_last)), Ended::At(_)) => {
                *last = why; // the later
                of_last.extend(accounts);
            }
            _ => calls.push((why, accounts)),
        }
    }
    calls
}

//! Which completed snapshots other accounts cannot use yet, and which they could use long enough.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::copied::Found;
use super::rotate::{Draft, Own};
use crate::action::{Action, Deferred, Hold, Impossible, Planned, Reason, Subject};
use crate::ec2::ErrorKind;
use crate::ids::{AccountId, Region, VolumeId};
use crate::inventory::State;
use crate::policy::{Policy, Schedule, SnapshotPolicy};
use crate::tags;

/// What to do about one snapshot.
enum Step {
    Act(Planned),
    Wait(Deferred),
    Cannot(Impossible),
    Hold(Subject, Hold),
}

pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    if details.schedules.iter().all(|schedule| schedule.share_with.is_empty()) {
        return;
    }
    let leaving = draft.leaving();
    let mut steps = Vec::new();
    let mut told = BTreeSet::new(); // volumes whose unshareable key has been named
    let mut newest_first: Vec<&Own<'_>> = draft
        .own
        .iter()
        .filter(|own| own.claim.policy == policy.name && !leaving.contains(&own.snapshot.id))
        .filter(|own| !draft.is_archived(own))
        .collect();
    newest_first.sort_by_key(|own| (std::cmp::Reverse(own.snapshot.start_time), &own.snapshot.id));
    for own in newest_first {
        steps.extend(for_snapshot(draft, details, own, &mut told));
    }
    steps.extend(unshareable_volumes(draft, policy, details, &told));
    for step in steps {
        match step {
            Step::Act(planned) => draft.plan.actions.push(planned),
            Step::Wait(deferred) => draft.plan.deferred.push(deferred),
            Step::Cannot(impossible) => draft.plan.impossible.push(impossible),
            Step::Hold(subject, why) => draft.hold(subject, why),
        }
    }
}

/// Who is to be able to use a snapshot, and who not any more.
#[derive(Default)]
struct Sharing {
    with: BTreeSet<AccountId>,
    /// Whoever can use it stays, and nobody is added.
    left: BTreeSet<AccountId>,
    ended: BTreeMap<AccountId, Ended>,
}

/// Why sharing ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// `UnshareInterval` was over at that time.
    At(Timestamp),
    /// `UnshareWhenCopied` found a copy in all of these Regions.
    Copied(BTreeSet<Region>),
}

impl Ended {
    fn reason(self) -> Reason {
        match self {
            Self::At(at) => Reason::SharedLongEnough(at),
            Self::Copied(regions) => Reason::Copied(regions),
        }
    }
}

impl Sharing {
    /// Where schedules coincide an account stays as long as the longest of them says.
    fn of(draft: &Draft<'_>, details: &SnapshotPolicy, own: &Own<'_>) -> Self {
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
            Some(rule) => match draft.vaults.find(rule, account, own) {
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
}

fn for_snapshot(
    draft: &Draft<'_>,
    details: &SnapshotPolicy,
    own: &Own<'_>,
    told: &mut BTreeSet<VolumeId>,
) -> Vec<Step> {
    let snapshot = own.snapshot;
    if draft.is_target(own, details) == Some(false) {
        return Vec::new(); // no target any more: left as it is
    }
    let sharing = Sharing::of(draft, details, own);
    let can_use = |account: &AccountId| {
        let shared = draft.request.inventory.shared.get(account);
        shared.is_some_and(|ids| ids.contains(&snapshot.id))
    };
    let missing: BTreeSet<AccountId> =
        sharing.with.iter().filter(|account| !can_use(account)).cloned().collect();
    let mut all = sharing.with;
    all.extend(sharing.left.into_iter().filter(can_use));
    let copied = sharing.ended.values().find(|why| matches!(why, Ended::Copied(_)));
    let copied = copied.cloned().map(Ended::reason);
    let mut over: BTreeMap<Ended, BTreeSet<AccountId>> = BTreeMap::new();
    for (account, why) in sharing.ended.into_iter().filter(|(account, _)| can_use(account)) {
        over.entry(why).or_default().insert(account);
    }
    let mut steps = unshare(draft, own, over, &all.difference(&missing).cloned().collect());
    if !missing.is_empty() {
        steps.extend(share(draft, own, missing, all, told));
    } else if steps.is_empty() && snapshot.state == State::Completed {
        let why = match snapshot.tags.get(tags::SHARED_WITH) {
            Some(text) => (*text != tags::join(&all)).then_some(Reason::ShareNotRecorded),
            None if !all.is_empty() => Some(Reason::ShareNotRecorded),
            None => copied, // or, when the copies are gone, it would pass for one that the vault has never had
        };
        if let Some(why) = why {
            let action = Action::RecordShare { snapshot: snapshot.id.clone(), all };
            steps.push(Step::Act(draft.planned(action, own.subject(), why)));
        }
    }
    steps
}

/// One call for those whose time was over, were it not at once, and one for those that have copies; `all` can use it
/// afterwards.
fn unshare(
    draft: &Draft<'_>,
    own: &Own<'_>,
    over: BTreeMap<Ended, BTreeSet<AccountId>>,
    all: &BTreeSet<AccountId>,
) -> Vec<Step> {
    let mut calls: Vec<(Ended, BTreeSet<AccountId>)> = Vec::new();
    for (why, accounts) in over {
        match (calls.last_mut(), &why) {
            (Some((last @ Ended::At(_), of_last)), Ended::At(_)) => {
                *last = why; // the later
                of_last.extend(accounts);
            }
            _ => calls.push((why, accounts)),
        }
    }
    let step = |(why, accounts): (Ended, BTreeSet<AccountId>)| {
        let snapshot = own.snapshot.id.clone();
        let action = Action::UnshareSnapshot { snapshot, accounts, all: all.clone() };
        Step::Act(draft.planned(action, own.subject(), why.reason()))
    };
    calls.into_iter().map(step).collect()
}

fn share(
    draft: &Draft<'_>,
    own: &Own<'_>,
    accounts: BTreeSet<AccountId>,
    all: BTreeSet<AccountId>,
    told: &mut BTreeSet<VolumeId>,
) -> Option<Step> {
    let snapshot = own.snapshot;
    let share = Action::ShareSnapshot { snapshot: snapshot.id.clone(), accounts, all };
    let planned = draft.planned(share, own.subject(), Reason::NotSharedYet);
    let key = snapshot.kms_key_id.as_deref();
    match snapshot.state {
        State::Error | State::Other => None,
        _ if key.is_some_and(|key| aws_managed(draft, key)) => {
            let key = key.unwrap_or_default();
            if told.insert(snapshot.volume_id.clone()) {
                Some(Step::Cannot(unshareable(draft, own.subject(), &snapshot.volume_id, key)))
            } else {
                Some(Step::Hold(own.subject(), Hold::Unshareable(key.to_owned())))
            }
        }
        State::Pending => {
            let waits_for = format!("{} is pending", snapshot.id);
            Some(Step::Wait(Deferred { planned, waits_for }))
        }
        State::Completed => Some(Step::Act(planned)),
    }
}

/// Volumes whose first snapshot will not be shareable either: said from the first run on.
fn unshareable_volumes(
    draft: &Draft<'_>,
    policy: &Policy,
    details: &SnapshotPolicy,
    told: &BTreeSet<VolumeId>,
) -> Vec<Step> {
    let has_snapshot: BTreeSet<&VolumeId> = draft
        .own
        .iter()
        .filter(|own| own.claim.policy == policy.name)
        .map(|own| &own.snapshot.volume_id)
        .collect();
    let own_account = &draft.request.scope.account;
    let shares = details
        .schedules
        .iter()
        .any(|schedule| schedule.share_with.iter().any(|account| account != own_account));
    if !shares {
        return Vec::new();
    }
    draft
        .protected(details)
        .into_iter()
        .filter(|volume| !told.contains(&volume.id) && !has_snapshot.contains(&volume.id))
        .filter_map(|volume| {
            let key = volume.kms_key_id.as_deref().filter(|key| aws_managed(draft, key))?;
            let subject = Subject {
                policy: policy.name.clone(),
                volume: Some(volume.id.clone()),
                ..Subject::default()
            };
            Some(Step::Cannot(unshareable(draft, subject, &volume.id, key)))
        })
        .collect()
}

fn aws_managed(draft: &Draft<'_>, key: &str) -> bool {
    draft.request.inventory.keys.get(key).is_some_and(|key| key.aws_managed)
}

/// "Snapshots that are encrypted with the default AWS managed key can't be shared"
/// ([Share a snapshot](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modifying-snapshot-permissions.html)).
fn unshareable(draft: &Draft<'_>, subject: Subject, volume: &VolumeId, key: &str) -> Impossible {
    Impossible {
        scope: draft.request.scope.clone(),
        operation: "ModifySnapshotAttribute",
        subject,
        kind: ErrorKind::KeyUnusable,
        code: "DefaultKey".into(),
        message: format!(
            "snapshots of {volume} cannot be shared: they are encrypted under the AWS managed key {key}, which \
             no other account can use. Remedies: replace the volume by one encrypted under a customer managed \
             key (create it from a snapshot with that key), and set a customer managed key as the default for \
             EBS encryption in this Region so that it does not happen again; or exclude the volume from sharing"
        ),
    }
}

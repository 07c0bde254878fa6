//! Which completed snapshots other accounts cannot use yet.

use std::collections::BTreeSet;

use super::rotate::{Draft, Own};
use crate::action::{Action, Deferred, Hold, Impossible, Planned, Reason, Subject};

use crate::ec2::ErrorKind;
use crate::ids::{AccountId, SnapshotId, VolumeId};
use crate::inventory::State;
use crate::policy::{Policy, SnapshotPolicy};
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
    let leaving: BTreeSet<SnapshotId> = draft
        .plan
        .actions
        .iter()
        .filter(|planned| planned.action.is_destructive())
        .filter_map(|planned| planned.subject.snapshot.clone())
        .collect();
    let mut steps = Vec::new();
    let mut told = BTreeSet::new(); // volumes whose unshareable key has been named
    let mut newest_first: Vec<&Own<'_>> = draft
        .own
        .iter()
        .filter(|own| own.claim.policy == policy.name && !leaving.contains(&own.snapshot.id))
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

fn for_snapshot(
    draft: &Draft<'_>,
    details: &SnapshotPolicy,
    own: &Own<'_>,
    told: &mut BTreeSet<VolumeId>,
) -> Option<Step> {
    let inventory = draft.request.inventory;
    let snapshot = own.snapshot;
    let volume = inventory.volumes.get(&snapshot.volume_id);
    if volume.is_some_and(|volume| !details.targets(&volume.id, &volume.tags)) {
        return None; // no target any more: left as it is
    }
    let wanted: BTreeSet<AccountId> = own
        .claim
        .schedules
        .iter()
        .filter_map(|name| details.schedule(name))
        .flat_map(|schedule| schedule.share_with.iter())
        .filter(|account| **account != draft.request.scope.account)
        .cloned()
        .collect();
    let can_use = |account: &&AccountId| {
        inventory.shared.get(*account).is_some_and(|ids| ids.contains(&snapshot.id))
    };
    let missing: BTreeSet<AccountId> =
        wanted.iter().filter(|account| !can_use(account)).cloned().collect();
    if missing.is_empty() {
        let recorded = snapshot.tags.get(tags::SHARED_WITH);
        let record = !wanted.is_empty() && recorded != Some(&tags::join(&wanted));
        let action = Action::RecordShare { snapshot: snapshot.id.clone(), all: wanted };
        return (record && snapshot.state == State::Completed)
            .then(|| Step::Act(draft.planned(action, own.subject(), Reason::ShareNotRecorded)));
    }
    let share =
        Action::ShareSnapshot { snapshot: snapshot.id.clone(), accounts: missing, all: wanted };
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
        .targets(details)
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

//! Which completed snapshots other accounts cannot use yet, and which they could use long enough.

use std::collections::BTreeSet;

use super::rescue;
use super::rotate::{Draft, Own};
use super::sharing::{Sharing, Step};
use crate::action::{Deferred, Hold, Impossible, Planned, Subject};
use crate::ec2::ErrorKind;
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::State;
use crate::policy::{Policy, SnapshotPolicy};
use crate::tags::foreign_manager;

pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    if details.schedules.iter().all(|schedule| schedule.share_with.is_empty()) {
        return;
    }
    let leaving = draft.leaving();
    let mut steps = Vec::new();
    let mut sealed = Sealed::default();
    let mut newest_first: Vec<&Own<'_>> = draft
        .own
        .iter()
        .filter(|own| own.claim.policy == policy.name && !leaving.contains(&own.snapshot.id))
        .filter(|own| !draft.is_archived(own) && foreign_manager(&own.snapshot.tags).is_none())
        .collect();
    newest_first.sort_by_key(|own| (std::cmp::Reverse(own.snapshot.start_time), &own.snapshot.id));
    for own in newest_first {
        steps.extend(for_snapshot(draft, details, own, &mut sealed));
    }
    steps.extend(unshareable_volumes(draft, policy, details, &sealed.told));
    draft.to_rescue.extend(sealed.to_rescue);
    draft.take(steps);
}

/// What is under a key that no other account can use.
#[derive(Default)]
struct Sealed {
    /// Volumes whose key has been named.
    told: BTreeSet<VolumeId>,
    /// Snapshots that the policy wants copied under another key.
    to_rescue: BTreeSet<SnapshotId>,
}

fn for_snapshot(
    draft: &Draft<'_>,
    details: &SnapshotPolicy,
    own: &Own<'_>,
    sealed: &mut Sealed,
) -> Vec<Step> {
    if draft.is_target(own, details) == Some(false) {
        return Vec::new(); // no target any more: left as it is
    }
    let sharing = Sharing::of(draft, details, own);
    let changes = sharing.changes(draft, own.snapshot, &own.subject());
    let share = changes.share.and_then(|planned| share(draft, details, own, planned, sealed));
    changes.now.into_iter().map(Step::Act).chain(share).collect()
}

fn share(
    draft: &Draft<'_>,
    details: &SnapshotPolicy,
    own: &Own<'_>,
    planned: Planned,
    sealed: &mut Sealed,
) -> Option<Step> {
    let snapshot = own.snapshot;
    match snapshot.state {
        State::Error | State::Other => None,
        _ if draft.has_default_key(own) && details.default_key_rescue.is_some() => {
            sealed.to_rescue.insert(snapshot.id.clone());
            None
        }
        _ if draft.has_default_key(own) => {
            let key = snapshot.kms_key_id.as_deref().unwrap_or_default();
            if sealed.told.insert(snapshot.volume_id.clone()) {
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
            let key = volume.kms_key_id.as_deref().filter(|key| draft.is_aws_managed(key))?;
            let subject = Subject {
                policy: policy.name.clone(),
                volume: Some(volume.id.clone()),
                ..Subject::default()
            };
            Some(Step::Cannot(match &details.default_key_rescue {
                None => unshareable(draft, subject, &volume.id, key),
                Some(rescue) => rescue::impossible(draft, subject, &volume.id, key, rescue)?,
            }))
        })
        .collect()
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
             no other account can use. Remedies: give the policy a DefaultKeyRescue with a customer managed key, under \
             which they are copied to be shared; or replace the volume by one encrypted under a customer managed \
             key (create it from a snapshot with that key), and set a customer managed key as the default for \
             EBS encryption in this Region so that it does not happen again; or exclude the volume from sharing"
        ),
    }
}

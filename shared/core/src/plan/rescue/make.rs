//! The copies that `DefaultKeyRescue` makes.

use std::collections::BTreeSet;

use crate::action::{Action, Deferred, Hold, Impossible, Planned, Reason, Subject};
use crate::description;
use crate::ec2::{CopySnapshot, ErrorKind};
use crate::ids::{KmsKeyArn, KmsKeyId, SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State, Unread};
use crate::plan::copy::{CONCURRENT_COPIES, KeyProblem, retry_after, unusable};
use crate::plan::rotate::{Draft, Own};
use crate::plan::sharing::Step;
use crate::policy::{Policy, SnapshotPolicy};
use crate::schedule::Slot;
use crate::tags::{self, CopyClaim};

/// Oldest first, so that the vault sees them in the order of their slots; EC2's limit is for all copies into the Region.
pub(super) fn plan(draft: &Draft<'_>) -> Vec<Step> {
    let inventory = draft.request.inventory;
    let is_copying = |it: &&Snapshot| it.state == State::Pending && it.volume_id.is_placeholder();
    // One of ours that was just begun may be seen by one look and not yet by the other.
    let seen = inventory.snapshots.iter().filter(is_copying).map(|it| &it.id);
    let mut room = inventory.copies_in_progress.as_ref().map(|pending| {
        let in_progress: BTreeSet<&SnapshotId> = pending.iter().chain(seen).collect();
        CONCURRENT_COPIES.saturating_sub(in_progress.len())
    });
    let mut steps = Vec::new();
    for (policy, details) in draft.request.policies {
        let Some(key) = &details.default_key_rescue else {
            continue;
        };
        let lacking = lacking(draft, policy, details);
        match usable_key(draft, key) {
            Ok(arn) => {
                for own in lacking {
                    let planned = planned(draft, own, arn.as_str(), Some(arn.clone()));
                    if let Some(waits_for) = waits_for(draft, own, &room) {
                        steps.push(Step::Wait(Deferred { planned, waits_for }));
                    } else {
                        room = room.map(|n| n.saturating_sub(1));
                        steps.push(Step::Act(planned));
                    }
                }
            }
            Err(KeyProblem::Passes(waits_for)) => {
                for own in lacking {
                    let planned = planned(draft, own, key.as_str(), None);
                    steps.push(Step::Wait(Deferred { planned, waits_for: waits_for.clone() }));
                }
            }
            Err(KeyProblem::Stays { .. }) => steps.extend(untold(draft, &lacking, key)),
        }
    }
    steps
}

/// What is to be rescued and is not yet, oldest first.
fn lacking<'a>(
    draft: &'a Draft<'_>,
    policy: &Policy,
    details: &SnapshotPolicy,
) -> Vec<&'a Own<'a>> {
    let is_lacking = |own: &&Own<'_>| {
        own.claim.policy == policy.name
            && details.default_key_rescue.is_some()
            && draft.to_rescue.contains(&own.snapshot.id)
            && draft.of_source(own).iter().all(|it| it.snapshot.state == State::Error)
    };
    let mut lacking: Vec<&Own<'_>> = draft.own.iter().filter(is_lacking).collect();
    lacking.sort_by_key(|own| (own.snapshot.start_time, &own.snapshot.id));
    lacking
}

fn waits_for(draft: &Draft<'_>, own: &Own<'_>, room: &Result<usize, &Unread>) -> Option<String> {
    if own.snapshot.state != State::Completed {
        return Some(format!("{} is {}", own.snapshot.id, own.snapshot.state));
    }
    let failed: Vec<&Snapshot> = draft.of_source(own).iter().map(|it| it.snapshot).collect();
    if let Some(at) = retry_after(&failed).filter(|at| *at > draft.request.now) {
        return Some(format!("it has failed before; tried again after {}", tags::instant(at)));
    }
    match room {
        Ok(0) => Some(format!(
            "{CONCURRENT_COPIES} copies are in progress in {}",
            draft.request.scope.region
        )),
        Ok(_) => None,
        Err(unread) => {
            Some(format!("cannot tell how many copies are in progress: {}", unread.message))
        }
    }
}

/// `key` is for people.
fn planned(draft: &Draft<'_>, own: &Own<'_>, key: &str, arn: Option<KmsKeyArn>) -> Planned {
    let (scope, source) = (draft.request.scope, own.snapshot);
    let claim = CopyClaim {
        policy: own.claim.policy.clone(),
        rule: tags::RESCUE.to_owned(),
        schedules: own.claim.schedules.clone(),
        source_snapshot: source.id.clone(),
        source_account: scope.account.clone(),
        source_region: scope.region.clone(),
        source_volume: source.volume_id.clone(),
        volume_described: false,
        source_start: Some(Slot::new(source.start_time).timestamp()),
        slot: Some(own.claim.slot),
    };
    let mut tags = claim.write();
    tags.add(&source.tags.some(1, |key| key == tags::EXPIRES_AT));
    // The vault's reader looks for the user's tags here.
    let room = tags::MAX_TAGS.saturating_sub(tags.len() + 1); // shared-with
    tags.add(&tags::copyable(&source.tags, room));
    let request = CopySnapshot {
        source: source.id.clone(),
        source_region: scope.region.clone(),
        source_encrypted: source.encrypted,
        description: description::of_stand_in(&source.description, &own.claim, &source.volume_id),
        encrypted: true,
        kms_key: arn,
        completion_duration_minutes: None,
        tags,
    };
    let failed = draft.of_source(own).last().map(|it| it.snapshot.id.clone());
    let default = source.kms_key_id.as_deref().unwrap_or_default();
    let reason = failed.map_or_else(
        || Reason::Rescue(default.to_owned(), key.to_owned()),
        Reason::OnlyFailedCopies,
    );
    let subject = Subject { snapshot: None, source: Some(source.id.clone()), ..own.subject() };
    draft.planned(Action::CopySnapshot(request), subject, reason)
}

/// Once per volume, of its newest.
fn untold(draft: &Draft<'_>, lacking: &[&Own<'_>], key: &KmsKeyId) -> Vec<Step> {
    let mut told: BTreeSet<&VolumeId> = BTreeSet::new();
    let mut steps = Vec::new();
    for own in lacking.iter().rev() {
        let volume = &own.snapshot.volume_id;
        let default = own.snapshot.kms_key_id.as_deref().unwrap_or_default();
        if told.insert(volume) {
            let impossible = impossible(draft, own.subject(), volume, default, key);
            steps.extend(impossible.map(Step::Cannot));
        } else {
            steps.push(Step::Hold(own.subject(), Hold::Unshareable(default.to_owned())));
        }
    }
    steps
}

/// Why snapshots of the volume, which are under an AWS managed key, cannot be rescued; `None`: they can.
pub(in crate::plan) fn impossible(
    draft: &Draft<'_>,
    subject: Subject,
    volume: &VolumeId,
    default: &str,
    key: &KmsKeyId,
) -> Option<Impossible> {
    let Err(KeyProblem::Stays { kind, code, message }) = usable_key(draft, key) else {
        return None;
    };
    Some(Impossible {
        scope: draft.request.scope.clone(),
        operation: "CopySnapshot",
        subject,
        kind,
        code,
        message: format!(
            "snapshots of {volume} cannot be shared: they are encrypted under the AWS managed key {default}, which no \
             other account can use, and cannot be copied under another, as key {key} of DefaultKeyRescue {message}"
        ),
    })
}

/// EC2 takes the ARN of the key that an alias stands for now.
fn usable_key(draft: &Draft<'_>, id: &KmsKeyId) -> Result<KmsKeyArn, KeyProblem> {
    let stays = |kind, code: &str, message: String| {
        Err(KeyProblem::Stays { kind, code: code.to_owned(), message })
    };
    let region = &draft.request.scope.region;
    let key = match draft.request.inventory.rescue_keys.get(id) {
        None => return Err(KeyProblem::Passes(format!("key {id} was not looked at"))),
        Some(Err(unread)) if unread.kind.passes() || unread.kind == ErrorKind::NoAnswer => {
            let what = format!("key {id} could not be looked at: {}", unread.message);
            return Err(KeyProblem::Passes(what));
        }
        Some(Err(unread)) if unread.kind == ErrorKind::NotFound => {
            let what = "does not exist there: create it, or the alias, in that account and Region, or correct KmsKeyId";
            return stays(unread.kind, &unread.code, what.into());
        }
        Some(Err(unread)) => {
            let what = format!(
                "cannot be read: {}; allow kms:DescribeKey on it to the member role, in the role and, for a key of \
                 another account, in the key policy",
                unread.message
            );
            return stays(unread.kind, &unread.code, what);
        }
        Some(Ok(key)) => key,
    };
    if key.aws_managed {
        let what = "is an AWS managed key itself: name a customer managed one";
        return stays(ErrorKind::KeyUnusable, "DefaultKey", what.into());
    }
    if let Some((code, what)) = unusable(key) {
        return stays(ErrorKind::KeyUnusable, code, what);
    }
    match key.arn.parse::<KmsKeyArn>() {
        Ok(arn) if arn.region() == *region => Ok(arn),
        Ok(arn) => {
            let what = format!(
                "is in {}: name an alias, which may stand for another key in each Region",
                arn.region()
            );
            stays(ErrorKind::KeyUnusable, "WrongRegion", what)
        }
        Err(err) => stays(ErrorKind::Invalid, "KeyArn", format!("has no ARN of a key: {err}")),
    }
}

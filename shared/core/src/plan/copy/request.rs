//! What is copied within an account, and what a copy is asked for with: its lineage, tags and expiry.

use jiff::Timestamp;

use super::Rules;
use crate::action::Subject;
use crate::description;
use crate::ec2::CopySnapshot;
use crate::ids::{Region, Scope};
use crate::inventory::{ScopeInventory, Snapshot, State, VaultInventory};
use crate::plan::is_target;
use crate::policy::{CopyRule, Origin, Policy, SnapshotPolicy, Tags};
use crate::schedule::Slot;
use crate::tags::{self, Claim, CopyClaim};

pub(super) fn claim_of(
    region: &Region,
    source: &Snapshot,
    rules: &Rules<'_>,
    rule: &CopyRule,
) -> CopyClaim {
    let volume = source.told_volume();
    CopyClaim {
        policy: rules.policy.name.clone(),
        rule: rule.name.clone(),
        schedules: rules.schedules.clone(),
        source_snapshot: source.id.clone(),
        source_account: source.owner.clone(),
        source_region: region.clone(),
        volume_described: source.volume_id.is_placeholder() && !volume.is_placeholder(),
        source_volume: volume,
        source_start: Some(Slot::new(source.start_time).timestamp()),
        slot: description::read(&source.description).map(|described| described.slot),
    }
}

pub(super) fn subject_of(claim: &CopyClaim) -> Subject {
    Subject {
        policy: claim.policy.clone(),
        schedule: claim.rule.clone(),
        slot: claim.slot,
        volume: Some(claim.source_volume.clone()),
        instance: None,
        snapshot: None,
        source: Some(claim.source_snapshot.clone()),
    }
}

/// The tags that `CopyTags` copies. Of a shared snapshot, those that it has in its owner's account, where a reader of
/// the policy has told them; else the name in its description. The tags that this account sees on it are its own.
pub(super) fn tags_of(
    inventory: &VaultInventory,
    of: Origin<'_>,
    claim: &CopyClaim,
    source: &Snapshot,
) -> Tags {
    let Origin::Shared(details) = of else {
        return source.tags.clone();
    };
    let reader = details.reader(&source.owner, &claim.source_region);
    if let Some(tags) = reader.and_then(|_| inventory.source_tags.get(&source.id)) {
        return tags.clone();
    }
    let name = description::read(&source.description).and_then(|described| described.name);
    name.map(|name| ("Name".to_owned(), name)).into_iter().collect()
}

/// Of several rules the copy gets the longest expiry, all tags, and the shortest completion time. `of_source`: see
/// [`tags_of`].
pub(super) fn request_of(
    claim: &CopyClaim,
    source: &Snapshot,
    rules: &Rules<'_>,
    rule: &CopyRule,
    of_source: &Tags,
    now: Timestamp,
) -> CopySnapshot {
    let mut tags = claim.write();
    // Beside one that keeps it for ever there is no expiry; beside one that counts there is, as in a rule that does both.
    let is_for_ever = rules.all.iter().any(|rule| rule.retain.is_none());
    let ages = rules.all.iter().filter_map(|rule| Some(rule.retain.as_ref()?.age?.after(now)));
    if let Some(expires_at) = ages.max().filter(|_| !is_for_ever) {
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(expires_at));
    }
    for rule in &rules.all {
        tags.add(&rule.tags_to_add);
    }
    if rules.all.iter().any(|rule| rule.copy_tags) {
        let mut of_source = of_source.clone();
        of_source.retain(|key, _| !tags.contains_key(key));
        let room = tags::MAX_TAGS.saturating_sub(tags.len());
        tags.add(&tags::copyable(&of_source, room));
    }
    CopySnapshot {
        source: source.id.clone(),
        source_region: claim.source_region.clone(),
        source_encrypted: source.encrypted,
        description: description::of_copy(
            &source.id,
            &source.owner,
            &claim.source_region,
            &source.description,
        ),
        encrypted: rule.encrypted,
        kms_key: rule.cmk_arn.clone(),
        completion_duration_minutes: rules
            .all
            .iter()
            .filter_map(|rule| rule.completion_duration_minutes)
            .min(),
        tags,
    }
}

/// What may be copied within the account: made by a policy that still protects what it is of, or did when that went, and
/// in the standard tier.
pub fn sources<'a>(
    scope: &'a Scope,
    policies: &'a [(&Policy, &SnapshotPolicy)],
    inventory: &'a ScopeInventory,
) -> impl Iterator<Item = &'a Snapshot> {
    let archiving = inventory.tiering.as_ref().ok();
    inventory.snapshots.iter().filter(move |snapshot| {
        let Some(claim) = Claim::read(&snapshot.tags) else {
            return false;
        };
        let policy = policies.iter().find(|(policy, _)| policy.name == claim.policy);
        snapshot.owner == scope.account
            && matches!(snapshot.state, State::Pending | State::Completed)
            && !snapshot.archived
            && !archiving.is_some_and(|tiering| tiering.contains_key(&snapshot.id))
            // What is gone counts as a target still: its snapshots stay worth a copy.
            && policy.is_some_and(|(_, details)| {
                is_target(snapshot, &claim, details, inventory) != Some(false)
            })
    })
}

//! Port → inventory. A scope that cannot be read is an error, and nothing is planned for it.
//!
//! Architecture invariant: calls are per page of up to 1,000, never per volume or per snapshot.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join, join4, try_join};
use futures_util::stream::{self, StreamExt};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tracing::warn;

use crate::chain::Chain;
use crate::ec2::{Ec2, Ec2Error, InstanceFilter, SnapshotFilter, VolumeFilter};
use crate::ids::{AccountId, InstanceId, KmsKeyId, Scope, SnapshotId, VolumeId};
use crate::inventory::{Guards, Instance, Key, ScopeInventory, Snapshot, State, Unread, Volume};
use crate::policy::{Policy, Selection, SnapshotPolicy, Zones};
use crate::tags;

use vault::in_progress;

pub use copied::{Copied, Look, copied};
pub use full_copy::copies_of_volume;
pub use organization::{Members, UnreadableUnit, organization};
pub use source_tags::source_tags;
pub use vault::{Vault, Within, vault, within};

mod copied;
mod full_copy;
mod organization;
mod scripts;
mod source_tags;
mod vault;

/// What was not read, and why.
#[derive(Debug)]
pub struct Unreadable {
    /// Account and Region.
    pub scope: Scope,
    /// What AWS said.
    pub error: Ec2Error,
}

/// Reads one account in one Region for `rotate-snapshots`. `now` tells which snapshots are recent.
///
/// # Errors
/// When its volumes or snapshots cannot be read.
pub async fn scope<E: Ec2>(
    ec2: &E,
    policies: &[(&Policy, &SnapshotPolicy)],
    now: Timestamp,
) -> Result<ScopeInventory, Ec2Error> {
    let wants = Wants::of(policies);
    let own = SnapshotFilter::Tagged(tags::POLICY);
    let commands = scripts::commands(ec2, policies, now).await;
    let (instances, read) = join(
        target_instances(ec2, &wants),
        try_join(ec2.describe_snapshots(&own), recent(ec2, &wants, now)),
    )
    .await;
    let (snapshots, recent) = read?;
    let volumes = needed_volumes(ec2, &wants, &snapshots, instances.as_ref().ok()).await;
    let (volumes, instances) = match (volumes, instances) {
        // The wait for these may have left no time for the others, and they are what is to be told.
        (Err(_), Err(first)) => return Err(first),
        (volumes, instances) => (volumes?, instances),
    };
    // Volumes by themselves do not need them.
    let (instances, instances_unread) = match instances {
        Ok(instances) => (instances, None),
        Err(err) => (BTreeMap::new(), Some(Unread::from(&err))),
    };
    let managed = scripts::managed(ec2, policies, &instances).await;
    let managed = managed.map_err(|err| Unread::from(&err));
    let accounts: BTreeSet<&AccountId> = policies
        .iter()
        .filter(|(policy, _)| policy.enabled)
        .flat_map(|(_, details)| &details.schedules)
        .flat_map(|schedule| &schedule.share_with)
        .collect();
    let any_shares = !accounts.is_empty();
    let accounts = if snapshots.is_empty() { BTreeSet::new() } else { accounts };
    let keys: BTreeSet<&str> = if any_shares {
        let of_volumes = volumes.values().filter_map(|volume| volume.kms_key_id.as_deref());
        of_volumes.chain(snapshots.iter().filter_map(|it| it.kms_key_id.as_deref())).collect()
    } else {
        BTreeSet::new()
    };
    let any = !snapshots.is_empty();
    let (guards, (shared, keys), fast_restores, (zones, tiering)) = join4(
        guards(ec2, any),
        join(shared(ec2, accounts), readable_keys(ec2, keys)),
        unless_denied(wants.fast_restores && any, ec2.describe_fast_snapshot_restores()),
        join(
            unless_denied(wants.zones && any, ec2.describe_availability_zones()),
            unless_denied(wants.tiering && any, ec2.describe_snapshot_tier_status()),
        ),
    )
    .await;
    let (rescue_keys, copies_in_progress) = rescue(ec2, policies, &keys, &snapshots).await;
    Ok(ScopeInventory {
        volumes,
        instances,
        instances_unread,
        managed,
        commands,
        recent,
        shared: shared?,
        keys,
        guards,
        fast_restores,
        zones,
        tiering,
        rescue_keys,
        copies_in_progress,
        vaults: BTreeMap::new(), // looked at once per run, see `copied`
        snapshots,
    })
}

#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
/// What the policies of a scope have to know. A disabled policy's volumes are looked at too: it is reported.
#[derive(Default)]
struct Wants {
    volume_tag_keys: BTreeSet<String>,
    volume_ids: BTreeSet<VolumeId>,
    all_volumes: bool,
    instance_tag_keys: BTreeSet<String>,
    /// Some policy is for instances.
    instances: bool,
    /// Some policy has to tell boot volumes.
    all_instances: bool,
    /// The longest `CreateInterval` of default policies.
    recent_days: Option<u8>,
    fast_restores: bool,
    zones: bool,
    tiering: bool,
}

impl Wants {
    fn of(policies: &[(&Policy, &SnapshotPolicy)]) -> Self {
        let mut wants = Self::default();
        for (_, details) in policies {
            match &details.selection {
                Selection::Volumes { tags, ids } => {
                    wants.volume_tag_keys.extend(tags.iter().map(|(key, _)| key.clone()));
                    wants.volume_ids.extend(ids.iter().cloned());
                }
                Selection::Instances { tags, .. } => {
                    wants.instances = true;
                    wants.instance_tag_keys.extend(tags.iter().map(|(key, _)| key.clone()));
                }
                Selection::Unprotected { create_interval_days, exclude_boot_volumes, .. } => {
                    wants.all_volumes = true;
                    wants.all_instances |= exclude_boot_volumes;
                    wants.recent_days = wants.recent_days.max(Some(*create_interval_days));
                }
            }
            for schedule in &details.schedules {
                wants.tiering |= schedule.archive.is_some();
                if let Some(rule) = &schedule.fast_restore {
                    wants.fast_restores = true;
                    wants.zones |= matches!(rule.zones, Zones::Ids(_));
                }
            }
        }
        wants
    }
}

async fn target_instances<E: Ec2>(
    ec2: &E,
    wants: &Wants,
) -> Result<BTreeMap<InstanceId, Instance>, Ec2Error> {
    let filter = if wants.all_instances {
        InstanceFilter::All
    } else if wants.instances {
        InstanceFilter::TagKeys(wants.instance_tag_keys.clone())
    } else {
        return Ok(BTreeMap::new());
    };
    let found = ec2.describe_instances(&filter).await?;
    Ok(found.into_iter().map(|instance| (instance.id.clone(), instance)).collect())
}

/// When the newest snapshot of each volume began, by whatever means it was made; only those of the last days matter.
async fn recent<E: Ec2>(
    ec2: &E,
    wants: &Wants,
    now: Timestamp,
) -> Result<BTreeMap<VolumeId, Timestamp>, Ec2Error> {
    let mut recent = BTreeMap::new();
    let Some(days) = wants.recent_days else {
        return Ok(recent);
    };
    let today = now.to_zoned(TimeZone::UTC).date();
    let dates = (-1..=i64::from(days)).filter_map(|n| today.checked_sub(Span::new().days(n)).ok());
    let filter = SnapshotFilter::StartedOn(dates.collect());
    for snapshot in ec2.describe_snapshots(&filter).await? {
        if snapshot.state != State::Error && !snapshot.volume_id.is_placeholder() {
            let newest = recent.entry(snapshot.volume_id).or_insert(snapshot.start_time);
            *newest = (*newest).max(snapshot.start_time);
        }
    }
    Ok(recent)
}

/// EC2 joins different tag filters by "and", and a policy's target tags are any-of: so the keys are asked for, and
/// the values compared here.
async fn target_volumes<E: Ec2>(
    ec2: &E,
    wants: &Wants,
) -> Result<BTreeMap<VolumeId, Volume>, Ec2Error> {
    let mut filters = Vec::new();
    if wants.all_volumes {
        filters.push(VolumeFilter::All);
    } else {
        if !wants.volume_tag_keys.is_empty() {
            filters.push(VolumeFilter::TagKeys(wants.volume_tag_keys.clone()));
        }
        if !wants.volume_ids.is_empty() {
            filters.push(VolumeFilter::Ids(wants.volume_ids.clone()));
        }
    }
    let mut volumes = BTreeMap::new();
    for filter in filters {
        volumes.extend(by_id(ec2.describe_volumes(&filter).await?));
    }
    Ok(volumes)
}

/// The targets, and the volumes of sets and snapshots that are none: of a set, or gone, or without its tags? Retention
/// asks.
async fn needed_volumes<E: Ec2>(
    ec2: &E,
    wants: &Wants,
    snapshots: &[Snapshot],
    instances: Option<&BTreeMap<InstanceId, Instance>>,
) -> Result<BTreeMap<VolumeId, Volume>, Ec2Error> {
    let mut volumes = target_volumes(ec2, wants).await?;
    let attached = instances.into_iter().flatten().flat_map(|(_, instance)| &instance.volumes);
    let unseen: BTreeSet<VolumeId> = snapshots
        .iter()
        .map(|snapshot| &snapshot.volume_id)
        .chain(attached.filter(|_| wants.instances))
        .filter(|id| !volumes.contains_key(id) && !id.is_placeholder())
        .cloned()
        .collect();
    if !unseen.is_empty() && !wants.all_volumes {
        volumes.extend(by_id(ec2.describe_volumes(&VolumeFilter::Ids(unseen)).await?));
    }
    Ok(volumes)
}

fn by_id(volumes: Vec<Volume>) -> impl Iterator<Item = (VolumeId, Volume)> {
    volumes.into_iter().map(|volume| (volume.id.clone(), volume))
}

/// What only some rules need must not stop the others: where it cannot be read, they say so.
async fn unless_denied<T: Default>(
    needed: bool,
    read: impl Future<Output = Result<T, Ec2Error>>,
) -> Result<T, Unread> {
    if !needed {
        return Ok(T::default());
    }
    read.await.map_err(|err| Unread::from(&err))
}

/// Not knowing them must not stop creations, so this never fails: it says why nothing may be deleted.
async fn guards<E: Ec2>(ec2: &E, needed: bool) -> Result<Guards, String> {
    if !needed {
        return Ok(Guards::default());
    }
    match try_join(ec2.describe_images(), ec2.describe_locked_snapshots()).await {
        Ok((images, locked)) => Ok(Guards { images, locked }),
        Err(err) => Err(Chain(&err).to_string()),
    }
}

async fn shared<E: Ec2>(
    ec2: &E,
    accounts: BTreeSet<&AccountId>,
) -> Result<BTreeMap<AccountId, BTreeSet<SnapshotId>>, Ec2Error> {
    let mut shared = BTreeMap::new();
    for account in accounts {
        let found = ec2.describe_snapshots(&SnapshotFilter::SharedWith(account.clone())).await?;
        let ids = found.into_iter().map(|snapshot| snapshot.id).collect();
        shared.insert(account.clone(), ids);
    }
    Ok(shared)
}

type RescueKeys = BTreeMap<KmsKeyId, Result<Key, Unread>>;

/// What `DefaultKeyRescue` needs to know: nothing, where nothing is under an AWS managed key.
async fn rescue<E: Ec2>(
    ec2: &E,
    policies: &[(&Policy, &SnapshotPolicy)],
    keys: &BTreeMap<String, Key>,
    snapshots: &[Snapshot],
) -> (RescueKeys, Result<BTreeSet<SnapshotId>, Unread>) {
    let wanted = policies.iter().filter(|(policy, _)| policy.enabled);
    let wanted: BTreeSet<&KmsKeyId> =
        wanted.filter_map(|(_, details)| details.default_key_rescue.as_ref()).collect();
    let is_default = |arn: &str| keys.get(arn).is_some_and(|key| key.aws_managed);
    if wanted.is_empty() || !keys.keys().any(|arn| is_default(arn)) {
        return (RescueKeys::new(), Ok(BTreeSet::new()));
    }
    let any = snapshots.iter().any(|it| it.kms_key_id.as_deref().is_some_and(is_default));
    let looked_up = stream::iter(wanted).map(|id| async move {
        (id.clone(), ec2.describe_key(id.as_str()).await.map_err(|err| Unread::from(&err)))
    });
    let keys = async { looked_up.buffered(4).collect::<Vec<_>>().await };
    let (keys, in_progress) = join(keys, unless_denied(any, in_progress(ec2))).await;
    let in_progress = in_progress.map(|all| all.into_iter().map(|copy| copy.id).collect());
    (keys.into_iter().collect(), in_progress)
}

/// A key that cannot be read is left out: sharing is tried then, and EC2 says what is wrong.
async fn readable_keys<E: Ec2>(ec2: &E, arns: BTreeSet<&str>) -> BTreeMap<String, Key> {
    let looked_up = stream::iter(arns)
        .map(|arn| async move { (arn.to_owned(), ec2.describe_key(arn).await) })
        .buffered(4)
        .collect::<Vec<_>>()
        .await;
    let mut keys = BTreeMap::new();
    for (arn, found) in looked_up {
        match found {
            Ok(key) => drop(keys.insert(arn, key)),
            Err(err) => {
                warn!(kms_key_arn = arn, error = %Chain(&err), "key cannot be read");
            }
        }
    }
    keys
}

//! Port → inventory. A scope that cannot be read is an error, and nothing is planned for it.
//!
//! Architecture invariant: calls are per page of up to 1,000, never per volume or per snapshot.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join, join_all, try_join};
use futures_util::stream::{self, StreamExt};
use tracing::warn;

use crate::chain::Chain;
use crate::ec2::{Access, Ec2, Ec2Error, Ec2Provider, SnapshotFilter, VolumeFilter};
use crate::event::CopyScope;
use crate::ids::{AccountId, Region, Scope, SnapshotId, VolumeId};
use crate::inventory::{
    Guards, Key, ScopeInventory, Snapshot, State, TargetInventory, VaultInventory, Volume,
};
use crate::policy::{CopyPolicy, Policy, SnapshotPolicy};
use crate::tags;

/// What was not read, and why.
#[derive(Debug)]
pub struct Unreadable {
    /// Account and Region.
    pub scope: Scope,
    /// What AWS said.
    pub error: Ec2Error,
}

/// Reads one account in one Region for `rotate-snapshots`.
///
/// # Errors
/// When its volumes or snapshots cannot be read.
pub async fn scope<E: Ec2>(
    ec2: &E,
    policies: &[(&Policy, &SnapshotPolicy)],
) -> Result<ScopeInventory, Ec2Error> {
    let own = SnapshotFilter::Tagged(tags::POLICY);
    let (mut volumes, snapshots) =
        try_join(target_volumes(ec2, policies), ec2.describe_snapshots(&own)).await?;
    let unseen: BTreeSet<VolumeId> = snapshots
        .iter()
        .map(|snapshot| &snapshot.volume_id)
        .filter(|id| !volumes.contains_key(id) && !id.is_placeholder())
        .cloned()
        .collect();
    if !unseen.is_empty() {
        // Gone, or without its tags? Retention asks.
        let found = ec2.describe_volumes(&VolumeFilter::Ids(unseen)).await?;
        volumes.extend(found.into_iter().map(|volume| (volume.id.clone(), volume)));
    }
    let accounts: BTreeSet<&AccountId> = policies
        .iter()
        .filter(|(policy, _)| policy.enabled)
        .flat_map(|(_, details)| &details.schedules)
        .flat_map(|schedule| &schedule.share_with)
        .collect();
    let any_shares = !accounts.is_empty();
    let accounts = if snapshots.is_empty() { BTreeSet::new() } else { accounts };
    let keys: BTreeSet<&String> = if any_shares {
        let of_volumes = volumes.values().filter_map(|volume| volume.kms_key_id.as_ref());
        of_volumes.chain(snapshots.iter().filter_map(|it| it.kms_key_id.as_ref())).collect()
    } else {
        BTreeSet::new()
    };
    let (guards, (shared, keys)) = join(
        guards(ec2, !snapshots.is_empty()),
        join(shared(ec2, accounts), readable_keys(ec2, keys)),
    )
    .await;
    Ok(ScopeInventory { volumes, shared: shared?, keys, guards, snapshots })
}

/// EC2 joins different tag filters by "and", and a policy's target tags are any-of: so the keys are asked for, and
/// the values compared here.
async fn target_volumes<E: Ec2>(
    ec2: &E,
    policies: &[(&Policy, &SnapshotPolicy)],
) -> Result<BTreeMap<VolumeId, Volume>, Ec2Error> {
    let keys: BTreeSet<String> = policies
        .iter()
        .flat_map(|(_, details)| details.target_tags.iter().map(|(key, _)| key.clone()))
        .collect();
    let ids: BTreeSet<VolumeId> =
        policies.iter().flat_map(|(_, details)| details.target_volume_ids.clone()).collect();
    let mut volumes = BTreeMap::new();
    for filter in [VolumeFilter::TagKeys(keys), VolumeFilter::Ids(ids)] {
        let nothing = match &filter {
            VolumeFilter::TagKeys(keys) => keys.is_empty(),
            VolumeFilter::Ids(ids) => ids.is_empty(),
        };
        if !nothing {
            let found = ec2.describe_volumes(&filter).await?;
            volumes.extend(found.into_iter().map(|volume| (volume.id.clone(), volume)));
        }
    }
    Ok(volumes)
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

/// A key that cannot be read is left out: sharing is tried then, and EC2 says what is wrong.
async fn readable_keys<E: Ec2>(ec2: &E, arns: BTreeSet<&String>) -> BTreeMap<String, Key> {
    let looked_up = stream::iter(arns)
        .map(|arn| async move { (arn.clone(), ec2.describe_key(arn).await) })
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

/// What was seen in the vault, with the clients that saw it.
#[derive(Debug)]
pub struct Vault<E> {
    /// What was seen.
    pub inventory: VaultInventory,
    /// By Region; a Region that could not be reached has none.
    pub clients: BTreeMap<Region, E>,
    /// What was not seen.
    pub unreadable: Vec<Unreadable>,
}

/// Reads the vault for `copy-shared-snapshots`.
///
/// # Errors
/// When not even the own account can be told.
pub async fn vault<P: Ec2Provider>(
    provider: &P,
    policies: &[(&Policy, &CopyPolicy)],
    what: &CopyScope,
) -> Result<Vault<P::Ec2>, Ec2Error> {
    let account = provider.account().await?;
    let mut vault = Vault {
        inventory: VaultInventory {
            account,
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            keys: BTreeMap::new(),
            whole: matches!(what, CopyScope::Sweep),
        },
        clients: BTreeMap::new(),
        unreadable: Vec::new(),
    };
    let queries = source_queries(provider, policies, what);
    let targets: BTreeSet<Region> = policies
        .iter()
        .flat_map(|(_, details)| details.rules.iter().map(|rule| rule.target.clone()))
        .collect();
    let regions: BTreeSet<&Region> = queries.keys().chain(&targets).collect();
    for region in regions {
        match provider.connect(&Access::default(), region).await {
            Ok(ec2) => drop(vault.clients.insert(region.clone(), ec2)),
            Err(error) => vault.unreadable(region, error),
        }
    }
    vault.read_sources(queries).await;
    let named: Option<BTreeSet<String>> = match what {
        CopyScope::Sweep => None,
        _ => Some(
            vault
                .inventory
                .sources
                .values()
                .flatten()
                .map(|source| source.id.to_string())
                .collect(),
        ),
    };
    vault.read_targets(&targets, named).await;
    vault.read_keys(policies).await;
    Ok(vault)
}

/// Which Regions are asked for whose snapshots.
fn source_queries<P: Ec2Provider>(
    provider: &P,
    policies: &[(&Policy, &CopyPolicy)],
    what: &CopyScope,
) -> BTreeMap<Region, SnapshotFilter> {
    let mut owners: BTreeMap<Region, BTreeSet<AccountId>> = BTreeMap::new();
    let all_owners = || policies.iter().flat_map(|(_, details)| details.owners.clone());
    let ids = match what {
        CopyScope::Nothing => return BTreeMap::new(),
        CopyScope::One { region, snapshot, .. } => {
            owners.insert(region.clone(), all_owners().collect());
            Some(BTreeSet::from([snapshot.clone()]))
        }
        CopyScope::Sweep | CopyScope::Ids(_) => {
            for (_, details) in policies {
                let home = [provider.home()];
                let regions: &[Region] =
                    if details.source_regions.is_empty() { &home } else { &details.source_regions };
                for region in regions {
                    owners.entry(region.clone()).or_default().extend(details.owners.clone());
                }
            }
            match what {
                CopyScope::Ids(ids) => Some(ids.clone()),
                _ => None,
            }
        }
    };
    owners
        .into_iter()
        .map(|(region, owners)| (region, SnapshotFilter::SharedBy { owners, ids: ids.clone() }))
        .collect()
}

impl<E: Ec2> Vault<E> {
    /// A Region that is source and target fails twice, and is told once.
    fn unreadable(&mut self, region: &Region, error: Ec2Error) {
        let scope = self.inventory.scope(region);
        if self.unreadable.iter().all(|it| it.scope != scope) {
            self.unreadable.push(Unreadable { scope, error });
        }
    }

    async fn read_sources(&mut self, queries: BTreeMap<Region, SnapshotFilter>) {
        let reads = queries.into_iter().filter_map(|(region, filter)| {
            let ec2 = self.clients.get(&region)?;
            Some(async move { (region, ec2.describe_snapshots(&filter).await) })
        });
        for (region, read) in join_all(reads).await {
            match read {
                Ok(sources) => drop(self.inventory.sources.insert(region, sources)),
                Err(error) => self.unreadable(&region, error),
            }
        }
    }

    async fn read_targets(&mut self, targets: &BTreeSet<Region>, named: Option<BTreeSet<String>>) {
        if named.as_ref().is_some_and(BTreeSet::is_empty) {
            return; // nothing that an event named is shared with us: there is nothing to compare
        }
        let filter = match named {
            Some(sources) => SnapshotFilter::TagValues(tags::SOURCE_SNAPSHOT, sources),
            None => SnapshotFilter::Tagged(tags::SOURCE_SNAPSHOT),
        };
        let filter = &filter;
        let reads = targets.iter().filter_map(|region| {
            let ec2 = self.clients.get(region)?;
            Some(async move { (region, target(ec2, filter).await) })
        });
        for (region, read) in join_all(reads).await {
            match read {
                Ok(target) => drop(self.inventory.targets.insert(region.clone(), target)),
                Err(error) => self.unreadable(region, error),
            }
        }
    }

    async fn read_keys(&mut self, policies: &[(&Policy, &CopyPolicy)]) {
        if self.inventory.sources.values().all(Vec::is_empty) {
            return;
        }
        let rules = policies.iter().flat_map(|(_, details)| &details.rules);
        let arns: BTreeMap<&str, &Region> = rules
            .filter_map(|rule| rule.cmk_arn.as_ref().map(|arn| (arn.as_str(), &rule.target)))
            .collect();
        let reads = arns.into_iter().filter_map(|(arn, region)| {
            let ec2 = self.clients.get(region)?;
            Some(async move { (arn.to_owned(), ec2.describe_key(arn).await) })
        });
        self.inventory.keys = join_all(reads).await.into_iter().collect();
    }
}

async fn target<E: Ec2>(ec2: &E, filter: &SnapshotFilter) -> Result<TargetInventory, Ec2Error> {
    let copies: Vec<Snapshot> = ec2.describe_snapshots(filter).await?;
    // An event's run deletes failed and doubled copies only, and mostly there are none.
    let needed = match filter {
        SnapshotFilter::Tagged(_) => !copies.is_empty(),
        _ => copies.len() > 1 || copies.iter().any(|copy| copy.state == State::Error),
    };
    let guards = guards(ec2, needed).await;
    Ok(TargetInventory { copies, guards })
}

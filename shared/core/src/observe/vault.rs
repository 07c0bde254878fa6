//! What copies are made of and what there are, in the vault or within one account.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join_all, try_join};

use super::{Unreadable, guards};
use crate::ec2::{Access, Ec2, Ec2Error, Ec2Provider, SnapshotFilter};
use crate::event::CopyScope;
use crate::ids::{AccountId, Region, SnapshotId};
use crate::inventory::{Snapshot, State, TargetInventory, VaultInventory};
use crate::policy::{Copies, CopyPolicy, CopyRule, Policy};
use crate::tags::{self, CopyClaim};

mod keys;

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
        inventory: VaultInventory::new(account, matches!(what, CopyScope::Sweep)),
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
    let named = match what {
        CopyScope::Sweep => None,
        _ => Some(vault.inventory.sources.values().flatten().cloned().collect::<Vec<_>>()),
    };
    let rules: Vec<&CopyRule> = policies.iter().flat_map(|(_, details)| &details.rules).collect();
    vault.read_targets(&targets, named, &rules).await;
    vault.read_keys(&rules).await;
    if vault.has_to_name_its_role() {
        // Told already when the account was asked for; without it the remedies name the account.
        vault.inventory.caller = provider.caller().await.unwrap_or_default();
    }
    Ok(vault)
}

/// What is known already of an account whose policies copy within it.
#[derive(Debug)]
pub struct Within<'a> {
    /// The account.
    pub account: AccountId,
    /// The way into it.
    pub access: &'a Access,
    /// What may be copied.
    pub sources: BTreeMap<Region, Vec<Snapshot>>,
    /// Target Regions that have been read.
    pub targets: BTreeMap<Region, TargetInventory>,
}

/// Reads the target Regions of `CrossRegionCopyRules` for `rotate-snapshots`.
pub async fn within<P: Ec2Provider>(
    provider: &P,
    copies: &[Copies<'_>],
    known: Within<'_>,
) -> Vault<P::Ec2> {
    let rules: Vec<&CopyRule> = copies.iter().flat_map(|copies| copies.rules).collect();
    let unread: BTreeSet<Region> = rules
        .iter()
        .map(|rule| rule.target.clone())
        .filter(|region| !known.targets.contains_key(region))
        .collect();
    let regions: Vec<Region> = known.targets.keys().chain(&unread).cloned().collect();
    let mut vault = Vault {
        inventory: VaultInventory {
            sources: known.sources,
            targets: known.targets,
            ..VaultInventory::new(known.account, true)
        },
        clients: BTreeMap::new(),
        unreadable: Vec::new(),
    };
    for region in regions {
        match provider.connect(known.access, &region).await {
            Ok(ec2) => drop(vault.clients.insert(region, ec2)),
            Err(error) => vault.unreadable(&region, error),
        }
    }
    vault.read_targets(&unread, None, &rules).await;
    vault.count_in_progress(&rules, &unread).await;
    vault.read_keys(&rules).await;
    if vault.has_to_name_its_role() {
        vault.inventory.caller = match &known.access.role_arn {
            Some(role) => role.to_string(),
            None => provider.caller().await.unwrap_or_default(),
        };
    }
    vault
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
        CopyScope::Nothing | CopyScope::FullCopy { .. } => return BTreeMap::new(),
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

    async fn read_targets(
        &mut self,
        targets: &BTreeSet<Region>,
        named: Option<Vec<Snapshot>>,
        rules: &[&CopyRule],
    ) {
        if named.as_ref().is_some_and(Vec::is_empty) {
            return; // nothing that an event named is shared with us: there is nothing to compare
        }
        // Whether another copy of the volume is worth it, the others tell.
        let filter = match &named {
            Some(sources) => {
                let volumes = sources.iter().map(|source| source.told_volume().to_string());
                SnapshotFilter::TagValues(tags::SOURCE_VOLUME, volumes.collect())
            }
            None => SnapshotFilter::Tagged(tags::SOURCE_SNAPSHOT),
        };
        let named: Option<BTreeSet<SnapshotId>> =
            named.map(|sources| sources.into_iter().map(|source| source.id).collect());
        let named = named.as_ref();
        let filter = &filter;
        let locks = rules.iter().any(|rule| rule.lock.is_some());
        let reads = targets.iter().filter_map(|region| {
            let ec2 = self.clients.get(region)?;
            Some(async move { (region, target(ec2, filter, named, locks).await) })
        });
        for (region, read) in join_all(reads).await {
            match read {
                Ok(target) => drop(self.inventory.targets.insert(region.clone(), target)),
                Err(error) => self.unreadable(region, error),
            }
        }
    }

    /// In target Regions that had been read already, for another purpose.
    async fn count_in_progress(&mut self, rules: &[&CopyRule], counted: &BTreeSet<Region>) {
        let regions: BTreeSet<&Region> =
            rules.iter().map(|rule| &rule.target).filter(|it| !counted.contains(*it)).collect();
        let reads = regions.into_iter().filter_map(|region| {
            let ec2 = self.clients.get(region)?;
            Some(async move { (region, in_progress(ec2).await) })
        });
        for (region, read) in join_all(reads).await {
            match read {
                Ok(copies) => {
                    if let Some(target) = self.inventory.targets.get_mut(region) {
                        target.in_progress = copies;
                    }
                }
                Err(error) => {
                    // Nothing is begun blindly there, nor judged.
                    self.inventory.targets.remove(region);
                    self.unreadable(region, error);
                }
            }
        }
    }
}

async fn target<E: Ec2>(
    ec2: &E,
    filter: &SnapshotFilter,
    named: Option<&BTreeSet<SnapshotId>>,
    locks: bool,
) -> Result<TargetInventory, Ec2Error> {
    let (copies, in_progress) = try_join(ec2.describe_snapshots(filter), in_progress(ec2)).await?;
    // An event's run deletes failed and doubled copies of what it names only, and mostly there are none.
    let needed = match named {
        None => !copies.is_empty(),
        Some(_) if locks => !copies.is_empty(),
        Some(named) => {
            let of_named = copies.iter().filter(|copy| {
                CopyClaim::read(&copy.tags).is_some_and(|it| named.contains(&it.source_snapshot))
            });
            let of_named: Vec<&Snapshot> = of_named.collect();
            of_named.len() > named.len() || of_named.iter().any(|it| it.state == State::Error)
        }
    };
    let guards = guards(ec2, needed).await;
    Ok(TargetInventory { copies, in_progress, guards })
}

/// The volume of a copy is a placeholder, by which others' copies can be told from other pending snapshots
/// ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)).
pub(super) async fn in_progress<E: Ec2>(ec2: &E) -> Result<Vec<Snapshot>, Ec2Error> {
    let mut pending = ec2.describe_snapshots(&SnapshotFilter::Pending).await?;
    pending.retain(|snapshot| snapshot.volume_id.is_placeholder());
    Ok(pending)
}

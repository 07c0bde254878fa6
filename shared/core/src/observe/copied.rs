//! What vaults have of this function's snapshots, where `UnshareWhenCopied` asks: looked at once per run.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use super::Unreadable;
use crate::ec2::{Access, Ec2, Ec2Error, Ec2Provider, SnapshotFilter};
use crate::ids::{AccountId, Region, Scope};
use crate::inventory::{Snapshot, Unread, VaultCopies};
use crate::tags::{self, CopyClaim};

/// A way into a vault, and a Region of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Look {
    /// With whose credentials.
    pub access: Access,
    /// Where.
    pub region: Region,
    /// Whose account that is meant to be.
    pub vault: AccountId,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Copied {
    /// By what it is copied from.
    by_source: BTreeMap<Scope, BTreeMap<(Access, Region), Vec<Snapshot>>>,
    read: BTreeMap<(Access, Region), Result<(), Unread>>,
    /// What was not seen, each Region of a vault once.
    pub unreadable: Vec<Unreadable>,
}

/// Looks for copies of snapshots of `sources`, so many Regions at once.
pub async fn copied<P: Ec2Provider>(
    provider: &P,
    looks: BTreeSet<Look>,
    sources: &BTreeSet<Scope>,
    at_once: usize,
) -> Copied {
    let reads = stream::iter(looks)
        .map(|look| async move {
            let read = look_for(provider, &look, sources).await;
            (look, read)
        })
        .buffered(at_once.max(1))
        .collect::<Vec<_>>()
        .await;
    let mut copied = Copied::default();
    for (look, read) in reads {
        copied.add(look, read, sources);
    }
    copied
}

/// Of few accounts only their copies are read: a fleet has many runs, and the vault one bucket of requests.
async fn look_for<P: Ec2Provider>(
    provider: &P,
    look: &Look,
    sources: &BTreeSet<Scope>,
) -> Result<Vec<Snapshot>, Ec2Error> {
    /// Values of a filter ([DescribeSnapshots](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Filter.html)).
    const MOST: usize = 200;
    let accounts: BTreeSet<String> = sources.iter().map(|it| it.account.to_string()).collect();
    let which = if accounts.len() > MOST {
        SnapshotFilter::Tagged(tags::SOURCE_SNAPSHOT)
    } else {
        SnapshotFilter::TagValues(tags::SOURCE_ACCOUNT, accounts)
    };
    let ec2 = provider.connect(&look.access, &look.region).await?;
    ec2.describe_snapshots(&which).await
}

impl Copied {
    fn add(
        &mut self,
        Look { access, region, vault }: Look,
        read: Result<Vec<Snapshot>, Ec2Error>,
        sources: &BTreeSet<Scope>,
    ) {
        let place = (access, region);
        match read {
            Ok(copies) => {
                for (source, copy) in copies.into_iter().filter_map(of_source) {
                    if sources.contains(&source) {
                        let of = self.by_source.entry(source).or_default();
                        of.entry(place.clone()).or_default().push(copy);
                    }
                }
                self.read.insert(place, Ok(()));
            }
            Err(error) => {
                self.read.insert(place.clone(), Err(Unread::from(&error)));
                let scope = Scope { account: vault, region: place.1 };
                if self.unreadable.iter().all(|it| it.scope != scope) {
                    self.unreadable.push(Unreadable { scope, error });
                }
            }
        }
    }

    /// What was seen of one account's and Region's snapshots.
    #[must_use]
    pub fn of(&self, source: &Scope) -> VaultCopies {
        let of_source = self.by_source.get(source);
        let copies = |place| of_source.and_then(|it| it.get(place)).cloned().unwrap_or_default();
        let read = self.read.iter();
        read.map(|(place, it)| (place.clone(), it.clone().map(|()| copies(place)))).collect()
    }
}

/// A vault may have many copies, and nothing but what we wrote ourselves is looked at.
fn of_source(mut copy: Snapshot) -> Option<(Scope, Snapshot)> {
    let claim = CopyClaim::read(&copy.tags)?;
    copy.description.clear();
    copy.tags.retain(|key, _| tags::is_reserved(key));
    Some((Scope { account: claim.source_account, region: claim.source_region }, copy))
}

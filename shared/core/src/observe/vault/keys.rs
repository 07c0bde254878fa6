//! The keys that copies are read and written with. EC2 checks them only after it has said yes
//! ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)), so we look first.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::Vault;
use crate::ec2::{Ec2, Ec2Error, ErrorKind};
use crate::ids::{Region, SnapshotId};
use crate::inventory::{AWS_MANAGED_KEY, Snapshot, State, Unread};
use crate::policy::CopyRule;
use crate::tags::CopyClaim;

/// Keys looked at side by side.
const AT_ONCE: usize = 4;

impl<E: Ec2> Vault<E> {
    /// Where there is nothing to copy, no key is needed.
    pub(super) async fn read_keys(&mut self, rules: &[&CopyRule]) {
        if self.inventory.sources.values().all(Vec::is_empty) {
            return;
        }
        self.read_defaults(rules).await;
        let mut keys: BTreeMap<String, &Region> = self.source_keys();
        let defaults = self.inventory.encryption.iter().filter_map(|(region, read)| {
            let key = &read.as_ref().ok()?.key;
            // EC2 makes it on first use, and it can neither be disabled nor deleted.
            (key != AWS_MANAGED_KEY).then(|| (key.clone(), region))
        });
        keys.extend(defaults);
        let of_rules = rules.iter().filter_map(|rule| Some((rule.cmk_arn.as_ref()?, &rule.target)));
        keys.extend(of_rules.map(|(arn, region)| (arn.to_string(), region)));
        let clients = &self.clients;
        let reads = keys.into_iter().filter_map(|(arn, region)| {
            let ec2 = clients.get(region)?;
            Some(async move {
                let read = ec2.describe_key(&arn).await;
                (arn, read)
            })
        });
        let read = stream::iter(reads).buffered(AT_ONCE).collect::<BTreeMap<_, _>>().await;
        self.inventory.keys = read;
    }

    /// The keys of sources of which some target Region has no copy yet.
    fn source_keys(&self) -> BTreeMap<String, &Region> {
        let mut copied: BTreeMap<SnapshotId, usize> = BTreeMap::new();
        for target in self.inventory.targets.values() {
            let good = target.copies.iter().filter(|copy| copy.state != State::Error);
            let here: BTreeSet<SnapshotId> =
                good.filter_map(|it| Some(CopyClaim::read(&it.tags)?.source_snapshot)).collect();
            for source in here {
                *copied.entry(source).or_default() += 1;
            }
        }
        let n_targets = self.inventory.targets.len();
        let lacks = |id: &SnapshotId| copied.get(id).is_none_or(|n| *n < n_targets);
        let sources = self.inventory.sources.iter();
        sources
            .flat_map(|(region, sources)| sources.iter().map(move |source| (region, source)))
            .filter(|(_, source)| source.state == State::Completed && lacks(&source.id))
            .filter_map(|(region, source)| Some((source.kms_key_id.as_deref()?.to_owned(), region)))
            .collect()
    }

    /// What EC2 does where a rule names no key.
    async fn read_defaults(&mut self, rules: &[&CopyRule]) {
        let without = rules.iter().filter(|rule| rule.cmk_arn.is_none());
        let regions: BTreeSet<&Region> = without.map(|rule| &rule.target).collect();
        let clients = &self.clients;
        let reads = regions.into_iter().filter_map(|region| {
            let ec2 = clients.get(region)?;
            Some(async move { (region.clone(), ec2.ebs_encryption().await) })
        });
        let read = join_all(reads).await.into_iter();
        let read = read.map(|(region, it)| (region, it.map_err(|err| Unread::from(&err))));
        self.inventory.encryption = read.collect();
    }

    /// Whether somebody will have to be told whom to allow the use of a key.
    pub(super) fn has_to_name_its_role(&self) -> bool {
        let inventory = &self.inventory;
        let denied = |it: &Result<_, Ec2Error>| {
            it.as_ref().is_err_and(|err| err.kind() == ErrorKind::AccessDenied)
        };
        let failed = |it: &Snapshot| it.state == State::Error;
        inventory.keys.values().any(denied)
            || inventory.targets.values().any(|target| target.copies.iter().any(failed))
    }
}

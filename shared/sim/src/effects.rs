//! What EC2 and KMS do when asked: here, what they tell; changes are in the modules below.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use snapferry_core::ec2::{ErrorKind, InstanceFilter, SnapshotFilter, VolumeFilter};
use snapferry_core::ids::{AccountId, Scope, SnapshotId};
use snapferry_core::inventory::{
    EbsEncryption, FastRestores, Instance, Key, Snapshot, State, Tiering, Volume,
};
use snapferry_core::policy::Tags;
use snapferry_core::{description, tags};

use crate::calls::{Refusal, refuse};
use crate::record::{InstanceState, Record};
use crate::turns::Rng;
use crate::world::World;

mod change;
mod copy;
mod create;
mod fast;
mod protect;

/// The alias of the AWS managed key for EBS.
const DEFAULT_KEY: &str = "alias/aws/ebs";

/// Its ARN.
pub(crate) fn default_key(scope: &Scope) -> String {
    format!("arn:aws:kms:{}:{}:key/ebs", scope.region, scope.account)
}

impl World {
    pub(crate) fn describe_volumes(&self, scope: &Scope, which: &VolumeFilter) -> Vec<Volume> {
        let wanted = |volume: &&Volume| match which {
            VolumeFilter::TagKeys(keys) => keys.iter().any(|key| volume.tags.contains_key(key)),
            VolumeFilter::Ids(ids) => ids.contains(&volume.id),
            VolumeFilter::All => true,
        };
        let here = self.volumes.values().filter(|disk| disk.scope == *scope);
        self.pages(here.map(|disk| &disk.volume).filter(wanted).cloned().collect())
    }

    pub(crate) fn describe_instances(
        &self,
        scope: &Scope,
        which: &InstanceFilter,
    ) -> Vec<Instance> {
        let wanted = |tags: &Tags| match which {
            InstanceFilter::TagKeys(keys) => keys.iter().any(|key| tags.contains_key(key)),
            InstanceFilter::All => true,
        };
        let here = self
            .instances
            .iter()
            .filter(|(_, (at, it))| at == scope && it.state != InstanceState::Terminated)
            .filter(|(_, (_, it))| wanted(&it.tags));
        self.pages(here.map(|(id, (_, it))| it.seen(id)).collect())
    }

    pub(crate) fn describe_snapshots(
        &self,
        scope: &Scope,
        which: &SnapshotFilter,
        stale: usize,
    ) -> Vec<Snapshot> {
        let caller = &scope.account;
        let wanted = |record: &&Record| {
            let snapshot = &record.snapshot;
            let own = snapshot.owner == *caller;
            match which {
                SnapshotFilter::Tagged(key) => own && snapshot.tags.contains_key(key),
                SnapshotFilter::TagValues(key, values) => {
                    let value = snapshot.tags.get(key);
                    own && value.is_some_and(|value| values.contains(value))
                }
                SnapshotFilter::StartedOn(days) => {
                    own && days.contains(&snapshot.start_time.to_zoned(TimeZone::UTC).date())
                }
                SnapshotFilter::Ids(ids) => own && ids.contains(&snapshot.id),
                SnapshotFilter::Pending => own && snapshot.state == State::Pending,
                SnapshotFilter::SharedWith(account) => own && record.shared_with.contains(account),
                SnapshotFilter::SharedBy { owners, ids } => {
                    owners.contains(&snapshot.owner)
                        && (own || record.shared_with.contains(caller))
                        && ids.as_ref().is_none_or(|ids| ids.contains(&snapshot.id))
                }
            }
        };
        let here = self.as_of(stale).values();
        let seen =
            here.filter(|record| record.region == scope.region).filter(wanted).map(|record| {
                let mut seen = record.snapshot.clone();
                if seen.owner != *caller {
                    seen.tags.clear(); // another account's tags are invisible
                }
                seen
            });
        self.pages(seen.collect())
    }

    /// Every page of a list, but for one that is missing: up to a third of the list.
    fn pages<T>(&self, mut all: Vec<T>) -> Vec<T> {
        if let Some(which) = self.missing_page.filter(|_| !all.is_empty()) {
            let mut rng = Rng(which);
            let from = rng.below(all.len());
            let n = 1 + rng.below(all.len().div_ceil(3));
            all.drain(from..all.len().min(from + n));
        }
        all
    }

    fn own<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Record> {
        self.own_as_of(scope, 0)
    }

    fn own_as_of<'a>(&'a self, scope: &'a Scope, stale: usize) -> impl Iterator<Item = &'a Record> {
        let here = |record: &&Record| {
            record.region == scope.region && record.snapshot.owner == scope.account
        };
        self.as_of(stale).values().filter(here)
    }

    pub(crate) fn describe_images(
        &self,
        scope: &Scope,
        stale: usize,
    ) -> BTreeMap<SnapshotId, String> {
        let all = self
            .own_as_of(scope, stale)
            .filter_map(|record| Some((record.snapshot.id.clone(), record.image.clone()?)))
            .collect();
        self.pages(all).into_iter().collect()
    }

    pub(crate) fn describe_locked_snapshots(
        &self,
        scope: &Scope,
        stale: usize,
    ) -> BTreeSet<SnapshotId> {
        let all = self
            .own_as_of(scope, stale)
            .filter(|record| record.is_locked(self.now))
            .map(|record| record.snapshot.id.clone())
            .collect();
        self.pages(all).into_iter().collect()
    }

    pub(crate) fn describe_fast_snapshot_restores(
        &self,
        scope: &Scope,
        stale: usize,
    ) -> FastRestores {
        let all = self
            .own_as_of(scope, stale)
            .filter(|record| !record.fast_restores.is_empty())
            .map(|record| (record.snapshot.id.clone(), record.fast_restores.clone()))
            .collect();
        self.pages(all).into_iter().collect()
    }

    pub(crate) fn describe_snapshot_tier_status(
        &self,
        scope: &Scope,
        stale: usize,
    ) -> BTreeMap<SnapshotId, Tiering> {
        let all = self
            .own_as_of(scope, stale)
            .filter_map(|record| Some((record.snapshot.id.clone(), record.tiering?)))
            .collect();
        self.pages(all).into_iter().collect()
    }

    pub(crate) fn ebs_encryption(&self, scope: &Scope) -> EbsEncryption {
        self.encryption
            .get(scope)
            .cloned()
            .unwrap_or_else(|| EbsEncryption { by_default: false, key: DEFAULT_KEY.into() })
    }

    pub(crate) fn describe_key(&self, scope: &Scope, arn: &str) -> Result<Key, Refusal> {
        if arn == DEFAULT_KEY {
            return Ok(Key {
                arn: default_key(scope),
                aws_managed: true,
                state: "Enabled".into(),
                usage: "ENCRYPT_DECRYPT".into(),
                spec: "SYMMETRIC_DEFAULT".into(),
            });
        }
        let named = self.named(scope, arn);
        let arn = named.as_deref().unwrap_or(arn);
        match self.keys.get(arn) {
            Some(key) if in_region(arn, scope) => {
                if owner(arn) == scope.account.as_str() || key.users.contains(&scope.account) {
                    return Ok(key.key.clone());
                }
                let what = "not authorized to perform kms:DescribeKey";
                refuse(ErrorKind::AccessDenied, "AccessDeniedException", what)
            }
            _ => refuse(
                ErrorKind::NotFound,
                "NotFoundException",
                format!("Key '{arn}' does not exist"),
            ),
        }
    }

    /// The ARN of the key of an alias, by its name or ARN, or of the key of that id.
    fn named(&self, scope: &Scope, text: &str) -> Option<String> {
        let name = text.rsplit(':').next().unwrap_or_default();
        if name.starts_with("alias/") {
            let owner = if text == name { scope.account.as_str() } else { owner(text) };
            let is_here = text == name || in_region(text, scope);
            let scope = Scope { account: owner.parse().ok()?, region: scope.region.clone() };
            return self.aliases.get(&(scope, name.to_owned())).filter(|_| is_here).cloned();
        }
        let own = format!("arn:aws:kms:{}:{}:key/{text}", scope.region, scope.account);
        self.keys.contains_key(&own).then_some(own)
    }

    fn usable(&self, arn: &str, account: &AccountId) -> bool {
        self.keys.get(arn).is_some_and(|it| {
            it.key.state == "Enabled"
                && it.key.usage == "ENCRYPT_DECRYPT"
                && it.key.spec == "SYMMETRIC_DEFAULT"
                && !it.look_only.contains(account)
                && (owner(arn) == account.as_str()
                    || (it.users.contains(account) && !it.key.aws_managed))
        })
    }

    fn owned(&mut self, scope: &Scope, snapshot: &SnapshotId) -> Result<&mut Record, Refusal> {
        match self.snapshots.get_mut(snapshot) {
            Some(it) if it.region == scope.region && it.snapshot.owner == scope.account => Ok(it),
            _ => refuse(
                ErrorKind::NotFound,
                "InvalidSnapshot.NotFound",
                format!("The snapshot '{snapshot}' does not exist."),
            ),
        }
    }

    /// Whether the account may have one more snapshot in the Region.
    fn has_room(&self, scope: &Scope) -> Result<(), Refusal> {
        if self.own(scope).count() < self.settings.snapshots_at_most {
            return Ok(());
        }
        let what = "You have reached your limit of snapshots in this Region.";
        refuse(ErrorKind::Invalid, "SnapshotLimitExceeded", what)
    }

    /// Remembers the snapshots for stale reads.
    fn write(&mut self) {
        if self.settings.remember > 0 {
            self.before.push_front(self.snapshots.clone());
            self.before.truncate(self.settings.remember);
        }
    }
}

/// What is in the archive, or on its way there, cannot be used.
fn in_standard_tier(record: &Record) -> Result<(), Refusal> {
    if record.snapshot.archived || record.is_archiving() {
        let what = format!("{} is in the archive tier or on its way there", record.snapshot.id);
        return refuse(ErrorKind::NotReady, "IncorrectState", what);
    }
    Ok(())
}

fn completed(record: &Record) -> Result<(), Refusal> {
    if record.snapshot.state == State::Completed {
        return Ok(());
    }
    let what = format!("{} is {}", record.snapshot.id, record.snapshot.state);
    refuse(ErrorKind::NotReady, "IncorrectState", what)
}

fn acceptable(tags: &Tags, text: &str) -> Result<(), Refusal> {
    if tags.len() > tags::MAX_TAGS {
        return refuse(ErrorKind::Invalid, "TagLimitExceeded", "more than 50 tags");
    }
    if tags.keys().any(|key| key.starts_with("aws:")) {
        let what = "Tag keys starting with 'aws:' are reserved for internal use";
        return refuse(ErrorKind::Invalid, "InvalidParameterValue", what);
    }
    if text.chars().count() > description::MAX_CHARS || !text.is_ascii() {
        let what = "Character sets beyond ASCII are not supported, or longer than 255";
        return refuse(ErrorKind::Invalid, "InvalidParameterValue", what);
    }
    Ok(())
}

fn in_region(arn: &str, scope: &Scope) -> bool {
    arn.split(':').nth(3) == Some(scope.region.as_str())
}

fn owner(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

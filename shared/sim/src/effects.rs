//! What EC2 and KMS do when asked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ec2::{CopySnapshot, CreateSnapshot, ErrorKind, SnapshotFilter, VolumeFilter};
use snapferry_core::ids::{AccountId, KmsKeyArn, Scope, SnapshotId};
use snapferry_core::inventory::{Key, Snapshot, State, Volume};
use snapferry_core::policy::Tags;
use snapferry_core::{description, tags};

use crate::calls::{Refusal, refuse};
use crate::world::{Deletion, Record, Share, World, id};

impl World {
    pub(crate) fn describe_volumes(&self, scope: &Scope, which: &VolumeFilter) -> Vec<Volume> {
        let wanted = |volume: &&Volume| match which {
            VolumeFilter::TagKeys(keys) => keys.iter().any(|key| volume.tags.contains_key(key)),
            VolumeFilter::Ids(ids) => ids.contains(&volume.id),
        };
        let here = self.volumes.values().filter(|(at, _)| at == scope);
        here.map(|(_, volume)| volume).filter(wanted).cloned().collect()
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
                SnapshotFilter::Tagged(key) => own && snapshot.tags.contains_key(*key),
                SnapshotFilter::TagValues(key, values) => {
                    let value = snapshot.tags.get(*key);
                    own && value.is_some_and(|value| values.contains(value))
                }
                SnapshotFilter::SharedWith(account) => own && record.shared_with.contains(account),
                SnapshotFilter::SharedBy { owners, ids } => {
                    owners.contains(&snapshot.owner)
                        && (own || record.shared_with.contains(caller))
                        && ids.as_ref().is_none_or(|ids| ids.contains(&snapshot.id))
                }
            }
        };
        let here = self.as_of(stale).values();
        here.filter(|record| record.region == scope.region)
            .filter(wanted)
            .map(|record| {
                let mut seen = record.snapshot.clone();
                if seen.owner != *caller {
                    seen.tags.clear(); // another account's tags are invisible
                }
                seen
            })
            .collect()
    }

    fn own<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Record> {
        let here = |record: &&Record| {
            record.region == scope.region && record.snapshot.owner == scope.account
        };
        self.snapshots.values().filter(here)
    }

    pub(crate) fn describe_images(&self, scope: &Scope) -> BTreeMap<SnapshotId, String> {
        self.own(scope)
            .filter_map(|record| Some((record.snapshot.id.clone(), record.image.clone()?)))
            .collect()
    }

    pub(crate) fn describe_locked_snapshots(&self, scope: &Scope) -> BTreeSet<SnapshotId> {
        self.own(scope)
            .filter(|record| record.locked)
            .map(|record| record.snapshot.id.clone())
            .collect()
    }

    pub(crate) fn describe_key(&self, scope: &Scope, arn: &str) -> Result<Key, Refusal> {
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

    pub(crate) fn create_snapshot(
        &mut self,
        scope: &Scope,
        request: &CreateSnapshot,
    ) -> Result<SnapshotId, Refusal> {
        let volume = match self.volumes.get(&request.volume) {
            Some((at, volume)) if at == scope => volume.clone(),
            _ => {
                let what = format!("The volume '{}' does not exist.", request.volume);
                return refuse(ErrorKind::NotFound, "InvalidVolume.NotFound", what);
            }
        };
        if !volume.usable {
            let what = format!("{} is not available", request.volume);
            return refuse(ErrorKind::NotReady, "IncorrectState", what);
        }
        let last = self
            .own(scope)
            .filter(|record| record.snapshot.volume_id == volume.id)
            .map(|record| record.snapshot.start_time)
            .max();
        if last.is_some_and(|at| self.now.duration_since(at) < self.settings.snapshot_every) {
            return refuse(
                ErrorKind::QuotaExceeded,
                "SnapshotCreationPerVolumeRateExceeded",
                "The maximum per volume CreateSnapshot request rate has been exceeded.",
            );
        }
        acceptable(&request.tags, &request.description)?;
        let ends = (self.settings.snapshot_takes, State::Completed, None);
        let snapshot = Snapshot {
            id: self.new_id(),
            volume_id: volume.id,
            owner: scope.account.clone(),
            state: State::Pending,
            state_message: None,
            start_time: self.now,
            description: request.description.clone(),
            encrypted: volume.kms_key_id.is_some(),
            kms_key_id: volume.kms_key_id,
            tags: request.tags.clone(),
        };
        Ok(self.begin(scope, snapshot, None, ends))
    }

    pub(crate) fn copy_snapshot(
        &mut self,
        scope: &Scope,
        request: &CopySnapshot,
    ) -> Result<SnapshotId, Refusal> {
        let usable = |record: &&Record| {
            record.region == request.source_region
                && (record.snapshot.owner == scope.account
                    || record.shared_with.contains(&scope.account))
        };
        let Some(source) = self.snapshots.get(&request.source).filter(usable) else {
            let what = format!("The snapshot '{}' does not exist.", request.source);
            return refuse(ErrorKind::NotFound, "InvalidSnapshot.NotFound", what);
        };
        if source.snapshot.state != State::Completed {
            let what = format!("{} is {}", request.source, source.snapshot.state);
            return refuse(ErrorKind::NotReady, "IncorrectState", what);
        }
        if request.kms_key.is_some() && !request.encrypted {
            let what = "KmsKeyId needs Encrypted";
            return refuse(ErrorKind::Invalid, "InvalidParameterDependency", what);
        }
        let in_progress = self
            .own(scope)
            .filter(|it| it.copy_of.is_some() && it.snapshot.state == State::Pending)
            .count();
        if in_progress >= self.settings.copies_at_once {
            return refuse(
                ErrorKind::QuotaExceeded,
                "ResourceLimitExceeded",
                "Too many snapshot copies in progress.",
            );
        }
        acceptable(&request.tags, &request.description)?;
        let encrypted = request.encrypted || source.snapshot.encrypted;
        let default = || format!("arn:aws:kms:{}:{}:key/ebs", scope.region, scope.account);
        let key =
            encrypted.then(|| request.kms_key.as_ref().map_or_else(default, ToString::to_string));
        // EC2 says yes first, and looks at the keys later.
        let source_key = source.snapshot.kms_key_id.as_deref();
        let source_readable = source_key.is_none_or(|arn| self.usable(arn, &scope.account));
        let target = request.kms_key.as_ref().map(KmsKeyArn::as_str);
        let target_usable =
            target.is_none_or(|arn| in_region(arn, scope) && self.usable(arn, &scope.account));
        let (state, message) = if source_readable && target_usable {
            (State::Completed, None)
        } else {
            (State::Error, Some("Given key ID is not accessible".into()))
        };
        let snapshot = Snapshot {
            id: self.new_id(),
            volume_id: id("vol-ffffffff"),
            owner: scope.account.clone(),
            state: State::Pending,
            state_message: None,
            start_time: self.now,
            description: request.description.clone(),
            encrypted,
            kms_key_id: key,
            tags: request.tags.clone(),
        };
        let ends = (self.settings.copy_takes, state, message);
        Ok(self.begin(scope, snapshot, Some(request.source.clone()), ends))
    }

    fn begin(
        &mut self,
        scope: &Scope,
        snapshot: Snapshot,
        copy_of: Option<SnapshotId>,
        (takes, state, message): (SignedDuration, State, Option<String>),
    ) -> SnapshotId {
        self.write();
        let made = snapshot.id.clone();
        let at = self.now.checked_add(takes).unwrap_or(Timestamp::MAX);
        let record = Record {
            region: scope.region.clone(),
            snapshot,
            shared_with: BTreeSet::new(),
            image: None,
            locked: false,
            copy_of,
            ends: Some((at, state, message)),
        };
        self.snapshots.insert(made.clone(), record);
        // EC2 counts start times in milliseconds, and a call takes longer.
        let tick = SignedDuration::from_millis(1);
        self.now = self.now.checked_add(tick).unwrap_or(Timestamp::MAX);
        made
    }

    fn usable(&self, arn: &str, account: &AccountId) -> bool {
        self.keys.get(arn).is_some_and(|it| {
            it.key.state == "Enabled"
                && it.key.usage == "ENCRYPT_DECRYPT"
                && it.key.spec == "SYMMETRIC_DEFAULT"
                && (owner(arn) == account.as_str()
                    || (it.users.contains(account) && !it.key.aws_managed))
        })
    }

    pub(crate) fn share_snapshot(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Refusal> {
        let key = self.owned(scope, snapshot)?.snapshot.kms_key_id.clone();
        let managed = |arn: &String| self.keys.get(arn).is_some_and(|it| it.key.aws_managed);
        if key.as_ref().is_some_and(managed) {
            return refuse(
                ErrorKind::Invalid,
                "OperationNotPermitted",
                "Encrypted snapshots with EBS default key cannot be shared",
            );
        }
        self.write();
        let record = self.owned(scope, snapshot)?;
        let new: Vec<_> = accounts.difference(&record.shared_with).cloned().collect();
        record.shared_with.extend(new.iter().cloned());
        self.shares.extend(new.into_iter().map(|with| Share {
            region: scope.region.clone(),
            snapshot: snapshot.clone(),
            owner: scope.account.clone(),
            with,
        }));
        Ok(())
    }

    pub(crate) fn create_tags(
        &mut self,
        scope: &Scope,
        snapshots: &[SnapshotId],
        new: &Tags,
    ) -> Result<(), Refusal> {
        for snapshot in snapshots {
            let mut tags = self.owned(scope, snapshot)?.snapshot.tags.clone();
            tags.extend(new.clone());
            acceptable(&tags, "")?;
        }
        self.write();
        for snapshot in snapshots {
            self.owned(scope, snapshot)?.snapshot.tags.extend(new.clone());
        }
        Ok(())
    }

    pub(crate) fn delete_snapshot(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
    ) -> Result<(), Refusal> {
        let Ok(record) = self.owned(scope, snapshot).cloned() else {
            return Ok(());
        };
        if let Some(image) = &record.image {
            let what = format!("The snapshot {snapshot} is currently in use by {image}");
            return refuse(ErrorKind::InUse, "InvalidSnapshot.InUse", what);
        }
        if record.locked {
            let what = format!("The snapshot '{snapshot}' is locked.");
            return refuse(ErrorKind::Invalid, "OperationNotPermitted", what);
        }
        self.write();
        self.snapshots.remove(snapshot);
        let others = self.own(scope).cloned().collect();
        self.deletions.push(Deletion { record, others });
        Ok(())
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

    /// Remembers the snapshots for stale reads.
    fn write(&mut self) {
        if self.settings.remember > 0 {
            self.before.push_front(self.snapshots.clone());
            self.before.truncate(self.settings.remember);
        }
    }
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

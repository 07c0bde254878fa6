//! Sharing, tags, and the end.

use std::collections::BTreeSet;

use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::{AccountId, Scope, SnapshotId};
use snapferry_core::inventory::State;
use snapferry_core::policy::Tags;

use super::{acceptable, in_standard_tier};
use crate::calls::{Refusal, refuse};
use crate::record::{Deletion, Share};
use crate::world::World;

impl World {
    pub(crate) fn share_snapshot(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Refusal> {
        let record = self.owned(scope, snapshot)?;
        in_standard_tier(record)?;
        let key = record.snapshot.kms_key_id.clone();
        let managed = |arn: &str| self.keys.get(arn).is_some_and(|it| it.key.aws_managed);
        if key.as_deref().is_some_and(managed) {
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

    pub(crate) fn unshare_snapshot(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Refusal> {
        self.owned(scope, snapshot)?;
        self.write();
        self.owned(scope, snapshot)?.shared_with.retain(|with| !accounts.contains(with));
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
        if record.is_locked(self.now) {
            let what = format!("The snapshot '{snapshot}' is locked.");
            return refuse(ErrorKind::InUse, "OperationNotPermitted", what);
        }
        self.write();
        self.snapshots.remove(snapshot);
        let pending = record.snapshot.state == State::Pending && record.copy_of.is_none();
        let disk = self.volumes.get_mut(&record.snapshot.volume_id);
        if let (true, Some(disk), Some((until, ..))) = (pending, disk, &record.ends) {
            disk.leaving.push(*until);
        }
        let others = self.own(scope).cloned().collect();
        self.deletions.push(Deletion { at: self.now, record, others });
        Ok(())
    }
}

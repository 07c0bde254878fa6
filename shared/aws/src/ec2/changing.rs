//! What changes snapshots that exist. Doing it twice does no harm, so it may be sent again.

use std::collections::BTreeSet;

use aws_sdk_ec2::operation::RequestId;
use aws_sdk_ec2::types::{
    LockMode as SdkLockMode, OperationType, SnapshotAttributeName, TargetStorageTier,
};
use aws_smithy_types::DateTime;
use snapferry_core::ec2::{Ec2Error, ErrorKind, LockSnapshot};
use snapferry_core::ids::{AccountId, SnapshotId};
use snapferry_core::policy::{LockMode, Tags};

use super::AwsEc2;
use crate::classify::{ZoneError, zones_refused};
use crate::convert;

impl AwsEc2 {
    pub(super) async fn share(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        self.permit(snapshot, accounts, &OperationType::Add).await
    }

    pub(super) async fn unshare(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        self.permit(snapshot, accounts, &OperationType::Remove).await
    }

    /// One account per call: the IAM condition keys `ec2:Add/userId` and `ec2:Remove/userId`, by which the member role
    /// allows the vault only, have a single value.
    async fn permit(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
        what: &OperationType,
    ) -> Result<(), Ec2Error> {
        for account in accounts {
            let call = self
                .ec2
                .modify_snapshot_attribute()
                .snapshot_id(snapshot.as_str())
                .attribute(SnapshotAttributeName::CreateVolumePermission)
                .operation_type(what.clone())
                .user_ids(account.as_str());
            self.deadline.answer("ModifySnapshotAttribute", call.send()).await?;
        }
        Ok(())
    }

    pub(super) async fn archive(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        let call = self
            .ec2
            .modify_snapshot_tier()
            .snapshot_id(snapshot.as_str())
            .storage_tier(TargetStorageTier::Archive);
        self.deadline.answer("ModifySnapshotTier", call.send()).await.map(|_| ())
    }

    pub(super) async fn lock(&self, request: &LockSnapshot) -> Result<(), Ec2Error> {
        let call = self
            .ec2
            .lock_snapshot()
            .snapshot_id(request.snapshot.as_str())
            .lock_mode(match request.mode {
                LockMode::Governance => SdkLockMode::Governance,
                LockMode::Compliance => SdkLockMode::Compliance,
            })
            .expiration_date(DateTime::from_millis(request.until.as_millisecond()))
            .set_cool_off_period(request.cool_off_period_hours.map(i32::from));
        self.deadline.answer("LockSnapshot", call.send()).await.map(|_| ())
    }

    pub(super) async fn enable_fast_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> Result<(), Ec2Error> {
        const OPERATION: &str = "EnableFastSnapshotRestores";
        let call = self
            .ec2
            .enable_fast_snapshot_restores()
            .source_snapshot_ids(snapshot.as_str())
            .set_availability_zones(Some(zones.iter().cloned().collect()));
        let answer = self.deadline.answer(OPERATION, call.send()).await?;
        let mut errors = Vec::new();
        for failed in answer.unsuccessful() {
            errors.extend(failed.fast_snapshot_restore_state_errors().iter().map(|it| ZoneError {
                zone: it.availability_zone().or(it.availability_zone_id()),
                code: it.error().and_then(|error| error.code()),
                message: it.error().and_then(|error| error.message()),
            }));
        }
        if answer.unsuccessful().is_empty() {
            return Ok(());
        }
        Err(zones_refused(OPERATION, &errors, answer.request_id()))
    }

    pub(super) async fn disable_fast_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> Result<(), Ec2Error> {
        const OPERATION: &str = "DisableFastSnapshotRestores";
        let call = self
            .ec2
            .disable_fast_snapshot_restores()
            .source_snapshot_ids(snapshot.as_str())
            .set_availability_zones(Some(zones.iter().cloned().collect()));
        let answer = self.deadline.answer(OPERATION, call.send()).await?;
        let mut errors = Vec::new();
        for failed in answer.unsuccessful() {
            errors.extend(failed.fast_snapshot_restore_state_errors().iter().map(|it| ZoneError {
                zone: it.availability_zone().or(it.availability_zone_id()),
                code: it.error().and_then(|error| error.code()),
                message: it.error().and_then(|error| error.message()),
            }));
        }
        if answer.unsuccessful().is_empty() {
            return Ok(());
        }
        Err(zones_refused(OPERATION, &errors, answer.request_id()))
    }

    pub(super) async fn tag(&self, snapshots: &[SnapshotId], tags: &Tags) -> Result<(), Ec2Error> {
        let call = self
            .ec2
            .create_tags()
            .set_resources(Some(snapshots.iter().map(ToString::to_string).collect()))
            .set_tags(Some(convert::tag_list(tags)));
        self.deadline.answer("CreateTags", call.send()).await.map(|_| ())
    }

    pub(super) async fn delete(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        let call = self.ec2.delete_snapshot().snapshot_id(snapshot.as_str());
        match self.deadline.answer("DeleteSnapshot", call.send()).await {
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(()), // already gone
            result => result.map(|_| ()),
        }
    }
}

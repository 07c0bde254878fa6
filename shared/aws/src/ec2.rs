//! The port over the SDK's EC2, KMS and Systems Manager clients of one account and Region.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use snapferry_core::commands::{Command, CommandId, Managed, Progress, SendCommand};
use snapferry_core::ec2::{
    CommandFilter, CopySnapshot, CreateSnapshot, CreateSnapshots, Ec2, Ec2Error, InstanceFilter,
    LockSnapshot, SnapshotFilter, VolumeFilter,
};
use snapferry_core::ids::{AccountId, InstanceId, SnapshotId};
use snapferry_core::inventory::{
    EbsEncryption, FastRestores, Instance, Key, Snapshot, Tiering, Volume,
};
use snapferry_core::policy::Tags;

use crate::deadline::Deadline;
use crate::presign::Presigner;

mod changing;
mod commands;
mod creating;
mod reading;

/// EC2, KMS and Systems Manager in one account and Region.
#[derive(Clone, Debug)]
pub struct AwsEc2 {
    pub(crate) ec2: Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
    pub(crate) deadline: Deadline,
    /// `None`: `PresignedUrl` is switched off.
    pub(crate) presigner: Option<Presigner>,
}

impl Ec2 for AwsEc2 {
    async fn describe_volumes(&self, which: &VolumeFilter) -> Result<Vec<Volume>, Ec2Error> {
        self.volumes(which).await
    }

    async fn describe_instances(&self, which: &InstanceFilter) -> Result<Vec<Instance>, Ec2Error> {
        self.instances(which).await
    }

    async fn describe_snapshots(&self, which: &SnapshotFilter) -> Result<Vec<Snapshot>, Ec2Error> {
        self.snapshots(which).await
    }

    async fn describe_images(&self) -> Result<BTreeMap<SnapshotId, String>, Ec2Error> {
        self.images().await
    }

    async fn describe_locked_snapshots(&self) -> Result<BTreeSet<SnapshotId>, Ec2Error> {
        self.locked().await
    }

    async fn describe_fast_snapshot_restores(&self) -> Result<FastRestores, Ec2Error> {
        self.fast_restores().await
    }

    async fn describe_availability_zones(&self) -> Result<BTreeMap<String, String>, Ec2Error> {
        self.zones().await
    }

    async fn describe_snapshot_tier_status(
        &self,
    ) -> Result<BTreeMap<SnapshotId, Tiering>, Ec2Error> {
        self.tiering().await
    }

    async fn ebs_encryption(&self) -> Result<EbsEncryption, Ec2Error> {
        self.encryption().await
    }

    async fn describe_key(&self, key: &str) -> Result<Key, Ec2Error> {
        self.key(key).await
    }

    async fn create_snapshot(&self, request: &CreateSnapshot) -> Result<SnapshotId, Ec2Error> {
        self.create_one(request).await
    }

    async fn create_snapshots(
        &self,
        request: &CreateSnapshots,
    ) -> Result<Vec<SnapshotId>, Ec2Error> {
        self.create_set(request).await
    }

    async fn copy_snapshot(&self, request: &CopySnapshot) -> Result<SnapshotId, Ec2Error> {
        self.copy(request).await
    }

    async fn share_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        self.share(snapshot, accounts).await
    }

    async fn unshare_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        self.unshare(snapshot, accounts).await
    }

    async fn archive_snapshot(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        self.archive(snapshot).await
    }

    async fn lock_snapshot(&self, request: &LockSnapshot) -> Result<(), Ec2Error> {
        self.lock(request).await
    }

    async fn enable_fast_snapshot_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> Result<(), Ec2Error> {
        self.enable_fast_restores(snapshot, zones).await
    }

    async fn disable_fast_snapshot_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> Result<(), Ec2Error> {
        self.disable_fast_restores(snapshot, zones).await
    }

    async fn create_tags(&self, snapshots: &[SnapshotId], tags: &Tags) -> Result<(), Ec2Error> {
        self.tag(snapshots, tags).await
    }

    async fn describe_instance_information(
        &self,
        instances: &BTreeSet<InstanceId>,
    ) -> Result<BTreeMap<InstanceId, Managed>, Ec2Error> {
        self.instance_information(instances).await
    }

    async fn list_commands(&self, which: &CommandFilter) -> Result<Vec<Command>, Ec2Error> {
        self.known_commands(which).await
    }

    async fn get_command(
        &self,
        command: &CommandId,
        instance: &InstanceId,
    ) -> Result<Progress, Ec2Error> {
        self.progress(command, instance).await
    }

    async fn send_command(&self, request: &SendCommand) -> Result<CommandId, Ec2Error> {
        self.send(request).await
    }

    async fn cancel_command(&self, command: &CommandId) -> Result<(), Ec2Error> {
        self.cancel(command).await
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        self.delete(snapshot).await
    }
}

#[cfg(test)]
mod tests;

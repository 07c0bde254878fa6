//! What the functions get of the world: the port.

use std::collections::{BTreeMap, BTreeSet};

use snapferry_core::commands::{Command, CommandId, Managed, Progress, SendCommand};
use snapferry_core::ec2::{
    CommandFilter, CopySnapshot, CreateSnapshot, CreateSnapshots, Ec2, Ec2Error, InstanceFilter,
    LockSnapshot, SnapshotFilter, VolumeFilter,
};
use snapferry_core::ids::{AccountId, InstanceId, Scope, SnapshotId};
use snapferry_core::inventory::{
    EbsEncryption, FastRestores, Instance, Key, Snapshot, Tiering, Volume,
};
use snapferry_core::policy::Tags;

use crate::aws::Aws;
use crate::calls::Refusal;
use crate::world::World;
use crate::zones::zones;

/// EC2 in one account and Region.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) aws: Aws,
    pub(crate) scope: Scope,
}

impl Client {
    async fn call<T>(
        &self,
        operation: &'static str,
        object: &str,
        act: impl FnOnce(&mut World, usize) -> Result<T, Refusal> + Send,
    ) -> Result<T, Ec2Error> {
        self.aws.call(&self.scope, operation, object, act).await
    }
}

impl Ec2 for Client {
    async fn describe_volumes(&self, which: &VolumeFilter) -> Result<Vec<Volume>, Ec2Error> {
        self.call("DescribeVolumes", "", |world, _| Ok(world.describe_volumes(&self.scope, which)))
            .await
    }

    async fn describe_instances(&self, which: &InstanceFilter) -> Result<Vec<Instance>, Ec2Error> {
        self.call("DescribeInstances", "", |world, _| {
            Ok(world.describe_instances(&self.scope, which))
        })
        .await
    }

    async fn describe_snapshots(&self, which: &SnapshotFilter) -> Result<Vec<Snapshot>, Ec2Error> {
        self.call("DescribeSnapshots", "", |world, stale| {
            Ok(world.describe_snapshots(&self.scope, which, stale))
        })
        .await
    }

    async fn describe_images(&self) -> Result<BTreeMap<SnapshotId, String>, Ec2Error> {
        self.call(
            "DescribeImages",
            "",
            |world, stale| Ok(world.describe_images(&self.scope, stale)),
        )
        .await
    }

    async fn describe_locked_snapshots(&self) -> Result<BTreeSet<SnapshotId>, Ec2Error> {
        self.call("DescribeLockedSnapshots", "", |world, stale| {
            Ok(world.describe_locked_snapshots(&self.scope, stale))
        })
        .await
    }

    async fn describe_fast_snapshot_restores(&self) -> Result<FastRestores, Ec2Error> {
        self.call("DescribeFastSnapshotRestores", "", |world, stale| {
            Ok(world.describe_fast_snapshot_restores(&self.scope, stale))
        })
        .await
    }

    async fn describe_availability_zones(&self) -> Result<BTreeMap<String, String>, Ec2Error> {
        self.call("DescribeAvailabilityZones", "", |_, _| Ok(zones(&self.scope.region))).await
    }

    async fn describe_snapshot_tier_status(
        &self,
    ) -> Result<BTreeMap<SnapshotId, Tiering>, Ec2Error> {
        self.call("DescribeSnapshotTierStatus", "", |world, stale| {
            Ok(world.describe_snapshot_tier_status(&self.scope, stale))
        })
        .await
    }

    async fn ebs_encryption(&self) -> Result<EbsEncryption, Ec2Error> {
        self.call("GetEbsDefaultKmsKeyId", "", |world, _| Ok(world.ebs_encryption(&self.scope)))
            .await
    }

    async fn describe_key(&self, key: &str) -> Result<Key, Ec2Error> {
        self.call("DescribeKey", key, |world, _| world.describe_key(&self.scope, key)).await
    }

    async fn create_snapshot(&self, request: &CreateSnapshot) -> Result<SnapshotId, Ec2Error> {
        self.call("CreateSnapshot", request.volume.as_str(), |world, _| {
            world.create_snapshot(&self.scope, request)
        })
        .await
    }

    async fn create_snapshots(
        &self,
        request: &CreateSnapshots,
    ) -> Result<Vec<SnapshotId>, Ec2Error> {
        self.call("CreateSnapshots", request.instance.as_str(), |world, _| {
            world.create_snapshots(&self.scope, request)
        })
        .await
    }

    async fn copy_snapshot(&self, request: &CopySnapshot) -> Result<SnapshotId, Ec2Error> {
        self.call("CopySnapshot", request.source.as_str(), |world, _| {
            world.copy_snapshot(&self.scope, request)
        })
        .await
    }

    async fn share_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        self.call("ModifySnapshotAttribute", snapshot.as_str(), |world, _| {
            world.share_snapshot(&self.scope, snapshot, accounts)
        })
        .await
    }

    async fn unshare_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        self.call("ModifySnapshotAttribute", snapshot.as_str(), |world, _| {
            world.unshare_snapshot(&self.scope, snapshot, accounts)
        })
        .await
    }

    async fn archive_snapshot(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        self.call("ModifySnapshotTier", snapshot.as_str(), |world, _| {
            world.archive_snapshot(&self.scope, snapshot)
        })
        .await
    }

    async fn lock_snapshot(&self, request: &LockSnapshot) -> Result<(), Ec2Error> {
        self.call("LockSnapshot", request.snapshot.as_str(), |world, _| {
            world.lock_snapshot(&self.scope, request)
        })
        .await
    }

    async fn enable_fast_snapshot_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> Result<(), Ec2Error> {
        self.call("EnableFastSnapshotRestores", snapshot.as_str(), |world, _| {
            world.enable_fast_snapshot_restores(&self.scope, snapshot, zones)
        })
        .await
    }

    async fn disable_fast_snapshot_restores(
        &self,
        snapshot: &SnapshotId,
        zones: &BTreeSet<String>,
    ) -> Result<(), Ec2Error> {
        self.call("DisableFastSnapshotRestores", snapshot.as_str(), |world, _| {
            world.disable_fast_snapshot_restores(&self.scope, snapshot, zones)
        })
        .await
    }

    async fn create_tags(&self, snapshots: &[SnapshotId], tags: &Tags) -> Result<(), Ec2Error> {
        let first = snapshots.first().map_or("", SnapshotId::as_str);
        self.call("CreateTags", first, |world, _| world.create_tags(&self.scope, snapshots, tags))
            .await
    }

    async fn describe_instance_information(
        &self,
        instances: &BTreeSet<InstanceId>,
    ) -> Result<BTreeMap<InstanceId, Managed>, Ec2Error> {
        self.call("DescribeInstanceInformation", "", |world, _| {
            Ok(world.describe_instance_information(&self.scope, instances))
        })
        .await
    }

    async fn list_commands(&self, which: &CommandFilter) -> Result<Vec<Command>, Ec2Error> {
        self.call("ListCommandInvocations", &which.document, |world, _| {
            Ok(world.list_commands(&self.scope, which))
        })
        .await
    }

    async fn get_command(
        &self,
        command: &CommandId,
        instance: &InstanceId,
    ) -> Result<Progress, Ec2Error> {
        self.call("ListCommandInvocations", &command.0, |world, _| {
            world.get_command(command, instance)
        })
        .await
    }

    async fn send_command(&self, request: &SendCommand) -> Result<CommandId, Ec2Error> {
        self.call("SendCommand", request.instance.as_str(), |world, _| {
            world.send_command(&self.scope, request)
        })
        .await
    }

    async fn cancel_command(&self, command: &CommandId) -> Result<(), Ec2Error> {
        self.call("CancelCommand", &command.0, |world, _| {
            world.cancel_command(command);
            Ok(())
        })
        .await
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        self.call("DeleteSnapshot", snapshot.as_str(), |world, _| {
            world.delete_snapshot(&self.scope, snapshot)
        })
        .await
    }
}

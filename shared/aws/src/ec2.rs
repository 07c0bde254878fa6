//! The port over the SDK's EC2 and KMS clients of one account and Region.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder as ConfigOverride;
use aws_sdk_ec2::operation::copy_snapshot::CopySnapshotError;
use aws_sdk_ec2::operation::create_snapshot::CreateSnapshotError;
use aws_sdk_ec2::types::{Filter, LockState, OperationType, SnapshotAttributeName};
use snapferry_core::ec2::{
    CopySnapshot, CreateSnapshot, Ec2, Ec2Error, ErrorKind, SnapshotFilter, VolumeFilter,
};
use snapferry_core::ids::{AccountId, SnapshotId};
use snapferry_core::inventory::{Key, Snapshot, Volume};
use snapferry_core::policy::Tags;
use snapferry_core::tags;

use crate::convert;
use crate::deadline::Deadline;
use crate::only_refused::OnlyRefused;

/// Most results of one page.
const PAGE: i32 = 1000;

/// EC2 and KMS in one account and Region.
#[derive(Clone, Debug)]
pub struct AwsEc2 {
    pub(crate) ec2: Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) deadline: Deadline,
}

impl AwsEc2 {
    async fn volumes(&self, filter: Filter) -> Result<Vec<Volume>, Ec2Error> {
        let pages = self.ec2.describe_volumes().filters(filter).into_paginator().page_size(PAGE);
        let found: Vec<_> = self
            .deadline
            .answer("DescribeVolumes", pages.items().send().collect::<Result<_, _>>())
            .await?;
        found.iter().map(convert::volume).collect()
    }

    async fn snapshots(&self, query: Query<'_>) -> Result<Vec<Snapshot>, Ec2Error> {
        let pages = self
            .ec2
            .describe_snapshots()
            .set_owner_ids(Some(query.owners.to_vec()))
            .set_restorable_by_user_ids(query.restorable_by.map(|account| vec![account.to_owned()]))
            .set_filters(query.filter.map(|filter| vec![filter]))
            .into_paginator()
            .page_size(PAGE);
        let found: Vec<_> = self
            .deadline
            .answer("DescribeSnapshots", pages.items().send().collect::<Result<_, _>>())
            .await?;
        found.iter().map(convert::snapshot).collect()
    }
}

struct Query<'a> {
    owners: &'a [String],
    restorable_by: Option<&'a str>,
    filter: Option<Filter>,
}

fn own() -> [String; 1] {
    ["self".to_owned()]
}

impl Ec2 for AwsEc2 {
    async fn describe_volumes(&self, which: &VolumeFilter) -> Result<Vec<Volume>, Ec2Error> {
        let filters = match which {
            VolumeFilter::TagKeys(keys) => convert::filters("tag-key", keys),
            VolumeFilter::Ids(ids) => convert::filters("volume-id", ids),
        };
        let mut volumes = Vec::new();
        for filter in filters {
            volumes.extend(self.volumes(filter).await?);
        }
        Ok(volumes)
    }

    async fn describe_snapshots(&self, which: &SnapshotFilter) -> Result<Vec<Snapshot>, Ec2Error> {
        let ours = |key: &str| convert::filters("tag-key", &BTreeSet::from([key])).pop();
        match which {
            SnapshotFilter::Tagged(key) => {
                self.snapshots(Query { owners: &own(), restorable_by: None, filter: ours(key) })
                    .await
            }
            SnapshotFilter::SharedWith(account) => {
                let restorable_by = Some(account.as_str());
                let filter = ours(tags::POLICY);
                self.snapshots(Query { owners: &own(), restorable_by, filter }).await
            }
            SnapshotFilter::TagValues(key, values) => {
                let mut found = Vec::new();
                for filter in convert::filters(&format!("tag:{key}"), values) {
                    let filter = Some(filter);
                    found.extend(
                        self.snapshots(Query { owners: &own(), restorable_by: None, filter })
                            .await?,
                    );
                }
                Ok(found)
            }
            SnapshotFilter::SharedBy { owners, ids } => {
                let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
                if owners.is_empty() {
                    return Ok(Vec::new()); // EC2 would take no owner for every owner
                }
                let filters: Vec<Option<Filter>> = match ids {
                    None => vec![None],
                    Some(ids) => {
                        convert::filters("snapshot-id", ids).into_iter().map(Some).collect()
                    }
                };
                let mut found = Vec::new();
                for filter in filters {
                    let restorable_by = Some("self");
                    found.extend(
                        self.snapshots(Query { owners: &owners, restorable_by, filter }).await?,
                    );
                }
                Ok(found)
            }
        }
    }

    async fn describe_images(&self) -> Result<BTreeMap<SnapshotId, String>, Ec2Error> {
        let pages = self
            .ec2
            .describe_images()
            .owners("self")
            .include_disabled(true) // their snapshots are in use as well
            .into_paginator()
            .page_size(PAGE);
        let images: Vec<_> = self
            .deadline
            .answer("DescribeImages", pages.items().send().collect::<Result<_, _>>())
            .await?;
        let mut in_use = BTreeMap::new();
        for image in images {
            let name = image.image_id().unwrap_or("an AMI");
            for device in image.block_device_mappings() {
                let snapshot = device.ebs().and_then(|ebs| ebs.snapshot_id());
                if let Some(snapshot) = snapshot.filter(|id| !id.is_empty()) {
                    let id = convert::member(
                        "DescribeImages",
                        "a device of the snapshot",
                        Some(snapshot),
                    )?;
                    in_use.insert(id, name.to_owned());
                }
            }
        }
        Ok(in_use)
    }

    async fn describe_locked_snapshots(&self) -> Result<BTreeSet<SnapshotId>, Ec2Error> {
        const OPERATION: &str = "DescribeLockedSnapshots";
        let mut locked = BTreeSet::new();
        let mut token: Option<String> = None;
        loop {
            let call = self.ec2.describe_locked_snapshots().max_results(PAGE).set_next_token(token);
            let page = self.deadline.answer(OPERATION, call.send()).await?;
            for lock in page.snapshots() {
                if lock.lock_state() != Some(&LockState::Expired) {
                    locked.insert(convert::member(
                        OPERATION,
                        "a lock of the snapshot",
                        lock.snapshot_id(),
                    )?);
                }
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(locked);
            }
        }
    }

    async fn describe_key(&self, key: &str) -> Result<Key, Ec2Error> {
        const OPERATION: &str = "DescribeKey";
        let answer =
            self.deadline.answer(OPERATION, self.kms.describe_key().key_id(key).send()).await?;
        let found = answer
            .key_metadata()
            .ok_or_else(|| convert::malformed(OPERATION, "no metadata for the key", key))?;
        Ok(Key {
            arn: found.arn().unwrap_or(key).to_owned(),
            aws_managed: found.key_manager() == Some(&aws_sdk_kms::types::KeyManagerType::Aws),
            state: found.key_state().map_or("", |state| state.as_str()).to_owned(),
            usage: found.key_usage().map_or("", |usage| usage.as_str()).to_owned(),
            spec: found.key_spec().map_or("", |spec| spec.as_str()).to_owned(),
        })
    }

    async fn create_snapshot(&self, request: &CreateSnapshot) -> Result<SnapshotId, Ec2Error> {
        const OPERATION: &str = "CreateSnapshot";
        let call = self
            .ec2
            .create_snapshot()
            .volume_id(request.volume.as_str())
            .description(&request.description)
            .tag_specifications(convert::tag_specification(&request.tags))
            .customize()
            .config_override(
                ConfigOverride::default()
                    .retry_classifier(OnlyRefused::<CreateSnapshotError>::new()),
            );
        let answer = self.deadline.answer(OPERATION, call.send()).await?;
        convert::member(OPERATION, "the snapshot", answer.snapshot_id())
    }

    async fn copy_snapshot(&self, request: &CopySnapshot) -> Result<SnapshotId, Ec2Error> {
        const OPERATION: &str = "CopySnapshot";
        let call = self
            .ec2
            .copy_snapshot()
            .source_snapshot_id(request.source.as_str())
            .source_region(request.source_region.as_str())
            .description(&request.description)
            .set_encrypted(request.encrypted.then_some(true))
            .set_kms_key_id(request.kms_key.as_ref().map(ToString::to_string))
            .set_completion_duration_minutes(request.completion_duration_minutes.map(i32::from))
            .tag_specifications(convert::tag_specification(&request.tags))
            .customize()
            .config_override(
                ConfigOverride::default().retry_classifier(OnlyRefused::<CopySnapshotError>::new()),
            );
        let answer = self.deadline.answer(OPERATION, call.send()).await?;
        convert::member(OPERATION, "the snapshot", answer.snapshot_id())
    }

    async fn share_snapshot(
        &self,
        snapshot: &SnapshotId,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), Ec2Error> {
        // One account per call: the IAM condition key ec2:Add/userId, by which the member role allows the vault
        // only, has a single value.
        for account in accounts {
            let call = self
                .ec2
                .modify_snapshot_attribute()
                .snapshot_id(snapshot.as_str())
                .attribute(SnapshotAttributeName::CreateVolumePermission)
                .operation_type(OperationType::Add)
                .user_ids(account.as_str());
            self.deadline.answer("ModifySnapshotAttribute", call.send()).await?;
        }
        Ok(())
    }

    async fn create_tags(&self, snapshots: &[SnapshotId], tags: &Tags) -> Result<(), Ec2Error> {
        let call = self
            .ec2
            .create_tags()
            .set_resources(Some(snapshots.iter().map(ToString::to_string).collect()))
            .set_tags(Some(convert::tag_list(tags)));
        self.deadline.answer("CreateTags", call.send()).await.map(|_| ())
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        let call = self.ec2.delete_snapshot().snapshot_id(snapshot.as_str());
        match self.deadline.answer("DeleteSnapshot", call.send()).await {
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(()), // already gone
            result => result.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests;

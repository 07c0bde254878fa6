//! What makes snapshots: sent again only where EC2 said that it has not happened.

use aws_sdk_ec2::config::Builder as ConfigOverride;
use aws_sdk_ec2::operation::copy_snapshot::CopySnapshotError;
use aws_sdk_ec2::operation::create_snapshot::CreateSnapshotError;
use aws_sdk_ec2::operation::create_snapshots::CreateSnapshotsError;
use aws_sdk_ec2::types::{CopyTagsFromSource, InstanceSpecification};
use snapferry_core::ec2::{CopySnapshot, CreateSnapshot, CreateSnapshots, Ec2Error};
use snapferry_core::ids::SnapshotId;

use super::AwsEc2;
use crate::convert;
use crate::only_refused::OnlyRefused;
use crate::presign::without_url;

impl AwsEc2 {
    pub(super) async fn create_one(
        &self,
        request: &CreateSnapshot,
    ) -> Result<SnapshotId, Ec2Error> {
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

    pub(super) async fn create_set(
        &self,
        request: &CreateSnapshots,
    ) -> Result<Vec<SnapshotId>, Ec2Error> {
        const OPERATION: &str = "CreateSnapshots";
        let excluded: Vec<String> =
            request.exclude_data_volumes.iter().map(ToString::to_string).collect();
        let instance = InstanceSpecification::builder()
            .instance_id(request.instance.as_str())
            .set_exclude_boot_volume(request.exclude_boot_volume.then_some(true))
            .set_exclude_data_volume_ids(Some(excluded))
            .build();
        let call = self
            .ec2
            .create_snapshots()
            .instance_specification(instance)
            .description(&request.description)
            .set_copy_tags_from_source(request.copy_tags.then_some(CopyTagsFromSource::Volume))
            .tag_specifications(convert::tag_specification(&request.tags))
            .customize()
            .config_override(
                ConfigOverride::default()
                    .retry_classifier(OnlyRefused::<CreateSnapshotsError>::new()),
            );
        let answer = self.deadline.answer(OPERATION, call.send()).await?;
        if answer.snapshots().is_empty() {
            return Err(convert::malformed(OPERATION, "no snapshot of", request.instance.as_str()));
        }
        let ids = answer.snapshots().iter().map(|made| made.snapshot_id());
        ids.map(|id| convert::member(OPERATION, "the snapshot", id)).collect()
    }

    pub(super) async fn copy(&self, request: &CopySnapshot) -> Result<SnapshotId, Ec2Error> {
        const OPERATION: &str = "CopySnapshot";
        let presigner = self.presigner.as_ref().filter(|_| request.source_encrypted);
        let presigned_url = match presigner {
            Some(presigner) => Some(presigner.url(request, self.deadline).await?),
            None => None,
        };
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
            .set_destination_region(presigner.map(|it| it.destination().to_string()))
            .set_presigned_url(presigned_url.clone())
            .customize()
            .config_override(
                ConfigOverride::default().retry_classifier(OnlyRefused::<CopySnapshotError>::new()),
            );
        let answer = self.deadline.answer(OPERATION, call.send()).await;
        let answer = answer.map_err(|err| without_url(err, presigned_url.as_deref()))?;
        convert::member(OPERATION, "the snapshot", answer.snapshot_id())
    }
}

//! SDK types → ours, and ours → SDK types.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    Filter, Instance as SdkInstance, InstanceStateName, ResourceType, Snapshot as SdkSnapshot,
    SnapshotState, SnapshotTierStatus, StorageTier, Tag, TagSpecification,
    TieringOperationStatus as Operation, Volume as SdkVolume, VolumeState,
};
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use jiff::civil::Date;
use snapferry_core::ec2::Ec2Error;
use snapferry_core::ids::VolumeId;
use snapferry_core::inventory::{Instance, Snapshot, State, Tiering, TieringStatus, Volume};
use snapferry_core::policy::Tags;
use snapferry_core::tags::Pool;

/// EC2's limit of values in one filter
/// ([Filtering](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html)).
const FILTER_VALUES: usize = 200;

/// AWS answered with something that cannot be: a member that is always there is missing or malformed.
#[derive(Debug, thiserror::Error)]
#[error("the answer has {what} {found:?}")]
struct Malformed {
    what: &'static str,
    found: String,
}

pub(crate) fn malformed(
    operation: &'static str,
    what: &'static str,
    found: impl Into<String>,
) -> Ec2Error {
    Ec2Error::NoAnswer { operation, source: Box::new(Malformed { what, found: found.into() }) }
}

/// Reads a member that EC2 always sends.
pub(crate) fn member<T: std::str::FromStr>(
    operation: &'static str,
    what: &'static str,
    found: Option<&str>,
) -> Result<T, Ec2Error> {
    let text = found.unwrap_or_default();
    text.parse().map_err(|_| malformed(operation, what, text))
}

/// A list that AWS always sends, were it empty. Without it nobody knows what there is.
pub(crate) fn list<T>(
    operation: &'static str,
    name: &'static str,
    found: Option<Vec<T>>,
) -> Result<Vec<T>, Ec2Error> {
    found.ok_or_else(|| malformed(operation, "no", name))
}

/// A name that EC2 always sends.
pub(crate) fn text(
    operation: &'static str,
    what: &'static str,
    found: Option<&str>,
) -> Result<String, Ec2Error> {
    let text = found.filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| malformed(operation, what, ""))
}

pub(crate) fn volume(volume: SdkVolume, pool: &mut Pool) -> Result<Volume, Ec2Error> {
    const OPERATION: &str = "DescribeVolumes";
    Ok(Volume {
        id: member(OPERATION, "a volume with the id", volume.volume_id())?,
        create_time: time(OPERATION, volume.create_time())?,
        usable: matches!(volume.state(), Some(VolumeState::Available | VolumeState::InUse)),
        volume_type: volume.volume_type().map_or("", |it| it.as_str()).to_owned(),
        kms_key_id: volume.kms_key_id().map(|arn| pool.text(arn)),
        tags: tags(volume.tags, pool),
    })
}

pub(crate) fn instance(instance: SdkInstance, pool: &mut Pool) -> Result<Instance, Ec2Error> {
    const OPERATION: &str = "DescribeInstances";
    let mut devices: Vec<(&str, VolumeId)> = Vec::new();
    for device in instance.block_device_mappings() {
        let volume = device.ebs().and_then(|ebs| ebs.volume_id());
        if let Some(volume) = volume.filter(|id| !id.is_empty()) {
            let volume = member(OPERATION, "a device of the volume", Some(volume))?;
            devices.push((device.device_name().unwrap_or_default(), volume));
        }
    }
    devices.sort_unstable();
    let root = instance.root_device_name().filter(|name| !name.is_empty());
    let boot = devices.iter().find(|(name, _)| Some(*name) == root);
    let state = instance.state().and_then(|state| state.name());
    Ok(Instance {
        id: member(OPERATION, "an instance with the id", instance.instance_id())?,
        usable: matches!(
            state,
            Some(
                InstanceStateName::Running
                    | InstanceStateName::Stopping
                    | InstanceStateName::Stopped
            )
        ),
        running: state == Some(&InstanceStateName::Running),
        instance_type: instance.instance_type().map_or("", |it| it.as_str()).to_owned(),
        profile: instance.iam_instance_profile().and_then(|it| it.arn()).map(str::to_owned),
        boot_volume: boot.map(|(_, volume)| volume.clone()),
        volumes: devices.into_iter().map(|(_, volume)| volume).collect(),
        tags: tags(instance.tags, pool),
    })
}

pub(crate) fn snapshot(snapshot: SdkSnapshot, pool: &mut Pool) -> Result<Snapshot, Ec2Error> {
    const OPERATION: &str = "DescribeSnapshots";
    Ok(Snapshot {
        id: member(OPERATION, "a snapshot with the id", snapshot.snapshot_id())?,
        volume_id: member(OPERATION, "a snapshot of the volume", snapshot.volume_id())?,
        owner: member(OPERATION, "a snapshot of the owner", snapshot.owner_id())?,
        state: match snapshot.state() {
            Some(SnapshotState::Completed) => State::Completed,
            Some(SnapshotState::Pending) => State::Pending,
            Some(SnapshotState::Error) => State::Error,
            _ => State::Other,
        },
        state_message: snapshot.state_message().filter(|it| !it.is_empty()).map(str::to_owned),
        start_time: time(OPERATION, snapshot.start_time())?,
        description: snapshot.description().unwrap_or_default().to_owned(),
        volume_size_gib: snapshot
            .volume_size()
            .and_then(|gib| u32::try_from(gib).ok())
            .unwrap_or_default(),
        archived: snapshot.storage_tier() == Some(&StorageTier::Archive),
        encrypted: snapshot.encrypted().unwrap_or_default(),
        kms_key_id: snapshot.kms_key_id().map(|arn| pool.text(arn)),
        tags: tags(snapshot.tags, pool),
    })
}

/// `None` for a snapshot that was never moved: EC2 may list those too.
pub(crate) fn tiering(status: &SnapshotTierStatus) -> Result<Option<Tiering>, Ec2Error> {
    let operation = status.last_tiering_operation_status();
    let Some(operation) = operation.filter(|it| !it.as_str().is_empty()) else {
        return Ok(None);
    };
    let archived_at = status.archival_complete_time();
    let archived_at =
        archived_at.map(|at| time("DescribeSnapshotTierStatus", Some(at))).transpose()?;
    let status = match operation {
        Operation::ArchivalCompleted => TieringStatus::Archived,
        Operation::ArchivalFailed => TieringStatus::Failed,
        Operation::PermanentRestoreCompleted
        | Operation::PermanentRestoreFailed
        | Operation::PermanentRestoreInProgress
        | Operation::TemporaryRestoreCompleted
        | Operation::TemporaryRestoreFailed
        | Operation::TemporaryRestoreInProgress => TieringStatus::Restored,
        // A status of tomorrow too: what is on its way is neither archived (again) nor deleted, what failed or was
        // restored may be.
        _ => TieringStatus::Archiving,
    };
    Ok(Some(Tiering { status, archived_at }))
}

pub(crate) fn time(
    operation: &'static str,
    time: Option<&DateTime>,
) -> Result<Timestamp, Ec2Error> {
    let nanos = |time: &DateTime| i32::try_from(time.subsec_nanos()).unwrap_or_default();
    time.and_then(|time| Timestamp::new(time.secs(), nanos(time)).ok())
        .ok_or_else(|| malformed(operation, "the time", format!("{time:?}")))
}

fn tags(tags: Option<Vec<Tag>>, pool: &mut Pool) -> Tags {
    let tags = tags.unwrap_or_default().into_iter();
    pool.tags(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))))
}

pub(crate) fn tag_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Tags for the snapshot that the same call makes.
pub(crate) fn tag_specification(tags: &Tags) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(ResourceType::Snapshot)
        .set_tags(Some(tag_list(tags)))
        .build()
}

/// Filters of one name, each with as many values as EC2 takes. Without values there is none: EC2 would take an
/// empty filter for no filter at all.
pub(crate) fn filters<T: ToString>(name: &str, values: &BTreeSet<T>) -> Vec<Filter> {
    let values: Vec<String> = values.iter().map(|value| literal(&value.to_string())).collect();
    chunks(name, &values)
}

/// Filters for what began on one of these days (UTC).
pub(crate) fn started_on(dates: &BTreeSet<Date>) -> Vec<Filter> {
    let values: Vec<String> = dates.iter().map(|date| format!("{date}T*")).collect();
    chunks("start-time", &values)
}

fn chunks(name: &str, values: &[String]) -> Vec<Filter> {
    values
        .chunks(FILTER_VALUES)
        .map(|chunk| Filter::builder().name(name).set_values(Some(chunk.to_vec())).build())
        .collect()
}

/// `*` and `?` are wildcards in a filter value, and `\` takes that from them.
fn literal(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_literal_and_of_a_size_that_ec2_takes() {
        let values: BTreeSet<String> = (0..401).map(|n| format!("v{n:03}")).collect();
        let sizes: Vec<usize> =
            filters("tag-key", &values).iter().map(|it| it.values().len()).collect();
        assert_eq!(sizes, [200, 200, 1]);
        let odd = BTreeSet::from(["a*b?c\\d".to_owned()]);
        assert_eq!(filters("tag-key", &odd)[0].values(), ["a\\*b\\?c\\\\d"]);
        assert!(filters::<String>("tag-key", &BTreeSet::new()).is_empty());
    }

    #[test]
    fn what_ec2_always_sends_is_missed_by_name() {
        let err = snapshot(SdkSnapshot::builder().build(), &mut Pool::new()).unwrap_err();
        let text = snapferry_core::chain::Chain(&err).to_string();
        assert_eq!(
            text,
            "no answer to DescribeSnapshots: the answer has a snapshot with the id \"\""
        );
    }
}

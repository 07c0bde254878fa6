//! A copy that an event named, and what it could have been built on.

use std::collections::BTreeSet;

use crate::ec2::{Ec2, Ec2Error, SnapshotFilter};
use crate::ids::SnapshotId;
use crate::inventory::Snapshot;
use crate::tags;

/// The copy, and all own snapshots of the Region whose tag names the same source volume. `None`: it is gone, or no copy
/// of ours.
///
/// # Errors
/// When the Region's snapshots cannot be read.
pub async fn copies_of_volume<E: Ec2>(
    ec2: &E,
    copy: &SnapshotId,
) -> Result<Option<(Snapshot, Vec<Snapshot>)>, Ec2Error> {
    let named = SnapshotFilter::Ids(BTreeSet::from([copy.clone()]));
    let Some(copy) = ec2.describe_snapshots(&named).await?.into_iter().next() else {
        return Ok(None);
    };
    let Some(volume) = copy.tags.get(tags::SOURCE_VOLUME) else {
        return Ok(None);
    };
    let alike = SnapshotFilter::TagValues(tags::SOURCE_VOLUME, BTreeSet::from([volume.clone()]));
    let of_volume = ec2.describe_snapshots(&alike).await?;
    Ok(Some((copy, of_volume)))
}

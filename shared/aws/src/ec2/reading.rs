//! What only looks. Every call may be sent again. The SDK's types, of several times the size of ours, live for one page.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, LockState};
use snapferry_core::ec2::{Ec2Error, InstanceFilter, SnapshotFilter, VolumeFilter};
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::{
    EbsEncryption, FastRestores, Instance, Key, Snapshot, Tiering, Volume,
};
use snapferry_core::tags::{self, Pool};

use super::AwsEc2;
use crate::convert;
use crate::pages::Pages;

/// Most results of one page.
const PAGE: i32 = 1000;

/// Most results of one page of
/// [`DescribeFastSnapshotRestores`](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeFastSnapshotRestores.html).
/// Also for `DescribeSnapshotTierStatus`, of which AWS does not tell how many it takes.
const SMALL_PAGE: i32 = 200;

/// The filters of one call. A list of them is a list of calls: where it is empty, nothing is asked.
type Filters = Vec<Filter>;

/// One call for each filter.
fn one_each(filters: Vec<Filter>) -> Vec<Filters> {
    filters.into_iter().map(|filter| vec![filter]).collect()
}

/// One call, for everything.
fn everything() -> Vec<Filters> {
    vec![Filters::new()]
}

struct SnapshotQuery {
    owners: Vec<String>,
    restorable_by: Option<String>,
    calls: Vec<Filters>,
}

impl From<&SnapshotFilter> for SnapshotQuery {
    fn from(which: &SnapshotFilter) -> Self {
        let own = |calls| Self { owners: vec!["self".to_owned()], restorable_by: None, calls };
        let ours = |key: &str| one_each(convert::filters("tag-key", &BTreeSet::from([key])));
        match which {
            SnapshotFilter::Tagged(key) => own(ours(key)),
            SnapshotFilter::TagValues(key, values) => {
                own(one_each(convert::filters(&format!("tag:{key}"), values)))
            }
            SnapshotFilter::StartedOn(dates) => own(one_each(convert::started_on(dates))),
            SnapshotFilter::Ids(ids) => own(one_each(convert::filters("snapshot-id", ids))),
            SnapshotFilter::Pending => {
                own(one_each(convert::filters("status", &BTreeSet::from(["pending"]))))
            }
            SnapshotFilter::SharedWith(account) => {
                Self { restorable_by: Some(account.to_string()), ..own(ours(tags::POLICY)) }
            }
            SnapshotFilter::SharedBy { owners, ids } => Self {
                owners: owners.iter().map(ToString::to_string).collect(),
                restorable_by: Some("self".to_owned()),
                calls: match ids {
                    _ if owners.is_empty() => Vec::new(), // EC2 would take no owner for every owner
                    None => everything(),
                    Some(ids) => one_each(convert::filters("snapshot-id", ids)),
                },
            },
        }
    }
}

impl AwsEc2 {
    pub(super) async fn volumes(&self, which: &VolumeFilter) -> Result<Vec<Volume>, Ec2Error> {
        const OPERATION: &str = "DescribeVolumes";
        let calls = match which {
            VolumeFilter::TagKeys(keys) => one_each(convert::filters("tag-key", keys)),
            VolumeFilter::Ids(ids) => one_each(convert::filters("volume-id", ids)),
            VolumeFilter::All => everything(),
        };
        let (mut volumes, mut pool) = (Vec::new(), Pool::new());
        for filters in calls {
            let call = self.ec2.describe_volumes().set_filters(Some(filters)).into_paginator();
            let call = call.page_size(PAGE).stop_on_duplicate_token(false);
            let (mut read, mut pages) = (call.send(), Pages::default());
            while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
                pages.turn(OPERATION, page.next_token())?;
                for volume in convert::list(OPERATION, "volumeSet", page.volumes)? {
                    volumes.push(convert::volume(volume, &mut pool)?);
                }
            }
        }
        Ok(volumes)
    }

    pub(super) async fn instances(
        &self,
        which: &InstanceFilter,
    ) -> Result<Vec<Instance>, Ec2Error> {
        const OPERATION: &str = "DescribeInstances";
        let calls = match which {
            InstanceFilter::TagKeys(keys) => one_each(convert::filters("tag-key", keys)),
            InstanceFilter::All => everything(),
        };
        // Without those that are gone or going: EC2 shows them for an hour.
        let there = convert::filters(
            "instance-state-name",
            &BTreeSet::from(["pending", "running", "stopping", "stopped"]),
        );
        let (mut instances, mut pool) = (Vec::new(), Pool::new());
        for filters in calls {
            let filters = there.iter().cloned().chain(filters).collect();
            let call = self.ec2.describe_instances().set_filters(Some(filters)).into_paginator();
            let call = call.page_size(PAGE).stop_on_duplicate_token(false);
            let (mut read, mut pages) = (call.send(), Pages::default());
            while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
                pages.turn(OPERATION, page.next_token())?;
                let reservations = convert::list(OPERATION, "reservationSet", page.reservations)?;
                let reservations = reservations.into_iter();
                for instance in reservations.flat_map(|it| it.instances.unwrap_or_default()) {
                    instances.push(convert::instance(instance, &mut pool)?);
                }
            }
        }
        Ok(instances)
    }

    pub(super) async fn snapshots(
        &self,
        which: &SnapshotFilter,
    ) -> Result<Vec<Snapshot>, Ec2Error> {
        const OPERATION: &str = "DescribeSnapshots";
        let query = SnapshotQuery::from(which);
        let (mut snapshots, mut pool) = (Vec::new(), Pool::new());
        for filters in query.calls {
            let call = self
                .ec2
                .describe_snapshots()
                .set_owner_ids(Some(query.owners.clone()))
                .set_restorable_by_user_ids(query.restorable_by.clone().map(|it| vec![it]))
                .set_filters(Some(filters))
                .into_paginator()
                .page_size(PAGE)
                .stop_on_duplicate_token(false);
            let (mut read, mut pages) = (call.send(), Pages::default());
            while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
                pages.turn(OPERATION, page.next_token())?;
                for mut snapshot in convert::list(OPERATION, "snapshotSet", page.snapshots)? {
                    if which.is_without_texts() {
                        (snapshot.tags, snapshot.description) = (None, None);
                    }
                    snapshots.push(convert::snapshot(snapshot, &mut pool)?);
                }
            }
        }
        // What two pages have, or two filters, is there once: rules count.
        snapshots.sort_unstable_by(|one: &Snapshot, other| one.id.cmp(&other.id));
        snapshots.dedup_by(|one, other| one.id == other.id);
        Ok(snapshots)
    }

    pub(super) async fn images(&self) -> Result<BTreeMap<SnapshotId, String>, Ec2Error> {
        const OPERATION: &str = "DescribeImages";
        let call = self.ec2.describe_images().owners("self").include_disabled(true); // their snapshots are in use as well
        let call = call.into_paginator().page_size(PAGE).stop_on_duplicate_token(false);
        let (mut read, mut pages) = (call.send(), Pages::default());
        let mut in_use = BTreeMap::new();
        while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
            pages.turn(OPERATION, page.next_token())?;
            for image in convert::list(OPERATION, "imagesSet", page.images)? {
                let name = image.image_id().unwrap_or("an AMI");
                for device in image.block_device_mappings() {
                    let snapshot = device.ebs().and_then(|ebs| ebs.snapshot_id());
                    if let Some(snapshot) = snapshot.filter(|id| !id.is_empty()) {
                        let id =
                            convert::member(OPERATION, "a device of the snapshot", Some(snapshot))?;
                        in_use.insert(id, name.to_owned());
                    }
                }
            }
        }
        Ok(in_use)
    }

    pub(super) async fn locked(&self) -> Result<BTreeSet<SnapshotId>, Ec2Error> {
        const OPERATION: &str = "DescribeLockedSnapshots";
        let mut locked = BTreeSet::new();
        let (mut token, mut pages) = (None, Pages::default());
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
            pages.turn(OPERATION, page.next_token())?;
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(locked);
            }
        }
    }

    pub(super) async fn fast_restores(&self) -> Result<FastRestores, Ec2Error> {
        const OPERATION: &str = "DescribeFastSnapshotRestores";
        // Whose they are is not asked: owner-id does not take "self", and here it is who enabled them.
        let states = BTreeSet::from(["enabling", "optimizing", "enabled"]);
        let call = self
            .ec2
            .describe_fast_snapshot_restores()
            .set_filters(Some(convert::filters("state", &states)))
            .into_paginator()
            .page_size(SMALL_PAGE)
            .stop_on_duplicate_token(false);
        let (mut read, mut pages) = (call.send(), Pages::default());
        let mut restores = FastRestores::new();
        while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
            pages.turn(OPERATION, page.next_token())?;
            for it in page.fast_snapshot_restores() {
                let (id, zone) = (it.snapshot_id(), it.availability_zone());
                let id = convert::member(OPERATION, "a fast restore of the snapshot", id)?;
                let zone = convert::text(OPERATION, "a fast restore in the zone", zone)?;
                restores.entry(id).or_default().insert(zone);
            }
        }
        Ok(restores)
    }

    pub(super) async fn zones(&self) -> Result<BTreeMap<String, String>, Ec2Error> {
        const OPERATION: &str = "DescribeAvailabilityZones";
        let call = self.ec2.describe_availability_zones(); // has no pages
        let answer = self.deadline.answer(OPERATION, call.send()).await?;
        let pairs = answer.availability_zones().iter().map(|zone| {
            let id = convert::text(OPERATION, "a zone with the id", zone.zone_id())?;
            let name = convert::text(OPERATION, "a zone with the name", zone.zone_name())?;
            Ok((id, name))
        });
        pairs.collect()
    }

    pub(super) async fn tiering(&self) -> Result<BTreeMap<SnapshotId, Tiering>, Ec2Error> {
        const OPERATION: &str = "DescribeSnapshotTierStatus";
        let call = self.ec2.describe_snapshot_tier_status();
        let call = call.into_paginator().page_size(SMALL_PAGE).stop_on_duplicate_token(false);
        let (mut read, mut pages) = (call.send(), Pages::default());
        let mut tiering = BTreeMap::new();
        while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
            pages.turn(OPERATION, page.next_token())?;
            for it in page.snapshot_tier_statuses() {
                if let Some(moved) = convert::tiering(it)? {
                    let id =
                        convert::member(OPERATION, "a tier of the snapshot", it.snapshot_id())?;
                    tiering.insert(id, moved);
                }
            }
        }
        Ok(tiering)
    }

    pub(super) async fn encryption(&self) -> Result<EbsEncryption, Ec2Error> {
        const KEY: &str = "GetEbsDefaultKmsKeyId";
        let by_default = self.ec2.get_ebs_encryption_by_default().send();
        let by_default = self.deadline.answer("GetEbsEncryptionByDefault", by_default).await?;
        let key = self.ec2.get_ebs_default_kms_key_id().send();
        let key = self.deadline.answer(KEY, key).await?;
        Ok(EbsEncryption {
            by_default: by_default.ebs_encryption_by_default() == Some(true),
            key: convert::text(KEY, "the default key", key.kms_key_id())?,
        })
    }

    pub(super) async fn key(&self, key: &str) -> Result<Key, Ec2Error> {
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
}

//! An inventory as a file: what `aws ec2 describe-…` print, put together.
//!
//! | member | is |
//! | --- | --- |
//! | `Region` | where all of it is; or `Regions`: an object with one inventory per Region |
//! | `Account` | whose it is; absent: the owner of most snapshots |
//! | `Volumes`, `Reservations`, `Snapshots` | what `describe-volumes`, `-instances`, `-snapshots` print |
//! | `InstanceInformationList` | what `aws ssm describe-instance-information` prints, for policies with `Scripts` |
//! | `Images`, `LockedSnapshots` | what AMIs use (`describe-images --owners self`), and `describe-locked-snapshots`' `Snapshots` |
//! | `FastSnapshotRestores`, `SnapshotTierStatuses`, `AvailabilityZones` | as their commands print them |
//! | `SharedWith` | an object: account id to the ids of the snapshots that it can use |
//!
//! `Volumes` has to be there where there are own snapshots; whatever else is absent is taken for nothing there. Members that are not looked at may stand as EC2 prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use snapferry_core::commands::Managed;
use snapferry_core::ids::{AccountId, InstanceId, Region, SnapshotId, VolumeId};
use snapferry_core::inventory::{
    Guards, Instance, ScopeInventory, Snapshot, State, Tiering, TieringStatus, Volume,
};
use snapferry_core::policy::Tags;

/// One account with all of its Regions.
pub(crate) struct World {
    pub(crate) account: AccountId,
    pub(crate) regions: BTreeMap<Region, Seen>,
}

/// One Region.
pub(crate) struct Seen {
    /// As `rotate-snapshots` sees it.
    pub(crate) scope: ScopeInventory,
    /// Every snapshot in the file, whosever it is.
    pub(crate) all: Vec<Snapshot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    #[serde(default, deserialize_with = "optional")]
    account: Option<AccountId>,
    #[serde(default, deserialize_with = "optional")]
    region: Option<Region>,
    #[serde(default)]
    regions: BTreeMap<String, Everything>,
    #[serde(flatten)]
    here: Everything,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Everything {
    volumes: Option<Vec<Ec2Volume>>,
    reservations: Vec<Reservation>,
    instance_information_list: Vec<InstanceInformation>,
    snapshots: Vec<Ec2Snapshot>,
    images: Vec<Image>,
    locked_snapshots: Vec<LockedSnapshot>,
    fast_snapshot_restores: Vec<FastRestore>,
    snapshot_tier_statuses: Vec<TierStatus>,
    availability_zones: Vec<Zone>,
    shared_with: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ec2Volume {
    #[serde(deserialize_with = "id")]
    volume_id: VolumeId,
    #[serde(default, deserialize_with = "optional")]
    create_time: Option<Timestamp>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    volume_type: String,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reservation {
    instances: Vec<Ec2Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Profile {
    arn: String,
}

/// What `aws ssm describe-instance-information` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceInformation {
    #[serde(deserialize_with = "id")]
    instance_id: InstanceId,
    ping_status: String,
    platform_type: String,
    #[serde(default)]
    agent_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ec2Instance {
    #[serde(deserialize_with = "id")]
    instance_id: InstanceId,
    state: InstanceState,
    #[serde(default)]
    instance_type: String,
    iam_instance_profile: Option<Profile>,
    root_device_name: Option<String>,
    #[serde(default)]
    block_device_mappings: Vec<Mapping>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceState {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mapping {
    device_name: Option<String>,
    ebs: Option<Ebs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ebs {
    #[serde(default, deserialize_with = "optional")]
    volume_id: Option<VolumeId>,
    #[serde(default, deserialize_with = "optional")]
    snapshot_id: Option<SnapshotId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ec2Snapshot {
    #[serde(deserialize_with = "id")]
    snapshot_id: SnapshotId,
    #[serde(deserialize_with = "id")]
    volume_id: VolumeId,
    #[serde(deserialize_with = "id")]
    owner_id: AccountId,
    state: String,
    state_message: Option<String>,
    #[serde(deserialize_with = "id")]
    start_time: Timestamp,
    #[serde(default)]
    description: String,
    #[serde(default)]
    volume_size: u32,
    #[serde(default)]
    storage_tier: String,
    #[serde(default)]
    encrypted: bool,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    image_id: String,
    #[serde(default)]
    block_device_mappings: Vec<Mapping>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LockedSnapshot {
    #[serde(deserialize_with = "id")]
    snapshot_id: SnapshotId,
    #[serde(default)]
    lock_state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FastRestore {
    #[serde(deserialize_with = "id")]
    snapshot_id: SnapshotId,
    availability_zone: String,
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TierStatus {
    #[serde(deserialize_with = "id")]
    snapshot_id: SnapshotId,
    last_tiering_operation_status: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    archival_complete_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Zone {
    zone_id: String,
    zone_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

fn id<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    input: D,
) -> Result<T, D::Error> {
    String::deserialize(input)?.parse().map_err(de::Error::custom)
}

fn optional<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    input: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

/// Reads the file.
pub(crate) fn read(text: &str) -> Result<World, Box<dyn Error>> {
    let file: File = serde_json::from_str(text)?;
    let mut everything = BTreeMap::new();
    for (region, here) in file.regions {
        everything.insert(region.parse::<Region>()?, here);
    }
    match file.region {
        Some(region) => drop(everything.insert(region, file.here)),
        None if everything.is_empty() => {
            return Err("want Region, such as \"Region\": \"eu-central-1\", found none".into());
        }
        None => {}
    }
    let account = file.account.or_else(|| commonest_owner(&everything)).ok_or(
        "want Account, such as \"Account\": \"333333333333\": no snapshot tells whose inventory it is",
    )?;
    let mut regions = BTreeMap::new();
    for (region, here) in everything {
        regions.insert(region, here.seen(&account)?);
    }
    Ok(World { account, regions })
}

fn commonest_owner(everything: &BTreeMap<Region, Everything>) -> Option<AccountId> {
    let mut owners: BTreeMap<&AccountId, usize> = BTreeMap::new();
    for snapshot in everything.values().flat_map(|here| &here.snapshots) {
        *owners.entry(&snapshot.owner_id).or_default() += 1;
    }
    owners.into_iter().max_by_key(|(_, n)| *n).map(|(owner, _)| owner.clone())
}

impl Everything {
    fn seen(self, account: &AccountId) -> Result<Seen, Box<dyn Error>> {
        let all: Vec<Snapshot> = self.snapshots.into_iter().map(snapshot).collect();
        let own = || all.iter().filter(|snapshot| snapshot.owner == *account);
        if self.volumes.is_none() && own().next().is_some() {
            let want = "want Volumes beside Snapshots, found none: without them every volume would pass for deleted";
            return Err(want.into());
        }
        let mut recent = BTreeMap::new();
        for snapshot in own().filter(|it| it.state != State::Error) {
            let newest = recent.entry(snapshot.volume_id.clone()).or_insert(snapshot.start_time);
            *newest = (*newest).max(snapshot.start_time);
        }
        let mut fast_restores: BTreeMap<SnapshotId, BTreeSet<String>> = BTreeMap::new();
        let is_on = |state: &str| matches!(state, "enabling" | "optimizing" | "enabled");
        for restore in self.fast_snapshot_restores.into_iter().filter(|it| is_on(&it.state)) {
            fast_restores.entry(restore.snapshot_id).or_default().insert(restore.availability_zone);
        }
        let mut shared = BTreeMap::new();
        for (with, ids) in self.shared_with {
            let ids: Result<BTreeSet<SnapshotId>, _> = ids.iter().map(|id| id.parse()).collect();
            shared.insert(with.parse::<AccountId>()?, ids?);
        }
        let zones = self.availability_zones.into_iter().map(|zone| (zone.zone_id, zone.zone_name));
        let known = self.instance_information_list.into_iter().map(|it| {
            let managed = Managed {
                ping_status: it.ping_status,
                platform: it.platform_type,
                agent_version: it.agent_version,
            };
            (it.instance_id, managed)
        });
        let managed = known.collect();
        let instances = self.reservations.into_iter().flat_map(|it| it.instances);
        Ok(Seen {
            scope: ScopeInventory {
                volumes: by_id(
                    self.volumes.unwrap_or_default().into_iter().map(volume),
                    |volume| volume.id.clone(),
                ),
                instances: by_id(
                    instances.filter(|it| it.state.name != "terminated").map(instance),
                    |instance| instance.id.clone(),
                ),
                instances_unread: None,
                managed: Ok(managed),
                commands: Ok(Vec::new()),
                snapshots: own().cloned().collect(),
                recent,
                shared,
                keys: BTreeMap::new(),
                guards: Ok(Guards {
                    images: self.images.into_iter().flat_map(used_by).collect(),
                    locked: self
                        .locked_snapshots
                        .into_iter()
                        .filter(|lock| lock.lock_state != "expired")
                        .map(|lock| lock.snapshot_id)
                        .collect(),
                }),
                fast_restores: Ok(fast_restores),
                zones: Ok(zones.collect()),
                tiering: Ok(self.snapshot_tier_statuses.into_iter().filter_map(tiering).collect()),
                vaults: BTreeMap::new(),
                rescue_keys: BTreeMap::new(),
                copies_in_progress: Ok(BTreeSet::new()),
            },
            all,
        })
    }
}

fn by_id<K: Ord, V>(items: impl Iterator<Item = V>, id: impl Fn(&V) -> K) -> BTreeMap<K, V> {
    items.map(|item| (id(&item), item)).collect()
}

fn tags(tags: Vec<Tag>) -> Tags {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn volume(it: Ec2Volume) -> Volume {
    Volume {
        id: it.volume_id,
        create_time: it.create_time.unwrap_or(Timestamp::UNIX_EPOCH),
        usable: matches!(it.state.as_str(), "" | "available" | "in-use"),
        volume_type: it.volume_type,
        kms_key_id: it.kms_key_id.map(Into::into),
        tags: tags(it.tags),
    }
}

fn instance(it: Ec2Instance) -> Instance {
    let mut devices: Vec<(String, VolumeId)> = it
        .block_device_mappings
        .into_iter()
        .filter_map(|mapping| {
            Some((mapping.device_name.unwrap_or_default(), mapping.ebs?.volume_id?))
        })
        .collect();
    devices.sort();
    let root = it.root_device_name;
    Instance {
        id: it.instance_id,
        usable: matches!(it.state.name.as_str(), "running" | "stopping" | "stopped"),
        running: it.state.name == "running",
        instance_type: it.instance_type,
        profile: it.iam_instance_profile.map(|it| it.arn),
        boot_volume: devices
            .iter()
            .find(|(device, _)| Some(device) == root.as_ref())
            .map(|(_, volume)| volume.clone()),
        volumes: devices.into_iter().map(|(_, volume)| volume).collect(),
        tags: tags(it.tags),
    }
}

fn snapshot(it: Ec2Snapshot) -> Snapshot {
    Snapshot {
        id: it.snapshot_id,
        volume_id: it.volume_id,
        owner: it.owner_id,
        state: match it.state.as_str() {
            "pending" => State::Pending,
            "completed" => State::Completed,
            "error" => State::Error,
            _ => State::Other,
        },
        state_message: it.state_message,
        start_time: it.start_time,
        description: it.description,
        volume_size_gib: it.volume_size,
        archived: it.storage_tier == "archive",
        encrypted: it.encrypted,
        kms_key_id: it.kms_key_id.map(Into::into),
        tags: tags(it.tags),
    }
}

fn used_by(image: Image) -> impl Iterator<Item = (SnapshotId, String)> {
    let id = image.image_id;
    let snapshots = image.block_device_mappings.into_iter().filter_map(|it| it.ebs?.snapshot_id);
    snapshots.map(move |snapshot| (snapshot, id.clone()))
}

fn tiering(it: TierStatus) -> Option<(SnapshotId, Tiering)> {
    let status = match it.last_tiering_operation_status?.as_str() {
        "archival-in-progress" => TieringStatus::Archiving,
        "archival-completed" => TieringStatus::Archived,
        "archival-failed" => TieringStatus::Failed,
        _ => TieringStatus::Restored,
    };
    Some((it.snapshot_id, Tiering { status, archived_at: it.archival_complete_time }))
}

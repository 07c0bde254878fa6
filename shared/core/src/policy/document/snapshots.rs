//! `EBS_SNAPSHOT_MANAGEMENT`, in the language `STANDARD`.

use super::reader::Object;
use super::schedule::{self, Others, Policywide};
use super::{INSTANCES, SIMPLIFIED, SIMPLIFIED_MEMBERS, VOLUMES, copy_rules, parts};
use crate::ids::{KmsKeyId, VolumeId};
use crate::policy::{Schedule, Selection, SnapshotPolicy};

/// `ResourceTypes`
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Volume,
    Instance,
}

pub(super) fn read(object: &mut Object<'_>) -> Option<SnapshotPolicy> {
    let resource = resource_types(object);
    let is = |one| resource.is_none_or(|resource| resource == one); // or may be
    let locations = parts::resource_locations(object);
    let exclude_tags = object.optional("ExcludeTags", |node| parts::tags(&node, 50, "tags"));
    let selection = selection(object, resource);
    object.misplaced(&["EventSource", "Actions"], "an EVENT_BASED_POLICY");
    object.misplaced(&["ResourceType"], SIMPLIFIED);
    object.misplaced(&SIMPLIFIED_MEMBERS, SIMPLIFIED);
    let schedules = object.required("Schedules", "1 to 4 schedules").and_then(|node| {
        let policy = Policywide {
            volumes: is(Resource::Volume),
            instances: is(Resource::Instance),
            excludes_data_volumes: selection.as_ref().is_some_and(excludes_data_volumes),
            schedules: node.elements().len(),
        };
        let mut others = Others::default();
        node.list(4, "schedules (DLM)", |node| {
            node.members(|object| schedule::read(object, policy, &mut others))?
        })
    });
    let rescue = object.optional("DefaultKeyRescue", |node| node.members(rescue_key)?);
    resource?;
    locations?;
    let (schedules, copies): (Vec<_>, Vec<_>) = schedules?.into_iter().unzip();
    let mut copies: Vec<_> = copies.into_iter().flatten().collect();
    copy_rules::name_rules(&mut copies);
    let rescue = rescue?;
    if rescue.is_some() && schedules.iter().all(|it: &Schedule| it.share_with.is_empty()) {
        let place =
            "has its place beside ShareRules only: what is not shared may stay under its key";
        return object.get("DefaultKeyRescue")?.fail(place);
    }
    Some(SnapshotPolicy {
        selection: selection?,
        exclude_tags: exclude_tags?.unwrap_or_default(),
        schedules,
        copies,
        default_key_rescue: rescue,
    })
}

/// `DefaultKeyRescue`
fn rescue_key(object: &mut Object<'_>) -> Option<KmsKeyId> {
    let node = object.required("KmsKeyId", "a KMS key such as alias/snapferry-share")?;
    let key: KmsKeyId = node.id()?;
    if key.is_aws_managed() {
        return node.want("a customer managed key: no other account can use an AWS managed one");
    }
    Some(key)
}

/// DLM asks for it; where it is absent there is only one it can be.
fn resource_types(object: &mut Object<'_>) -> Option<Resource> {
    let types = object.optional("ResourceTypes", |node| {
        node.list(1, "resource type (DLM)", |node| match node.string() {
            Some("VOLUME") => Some(Resource::Volume),
            Some("INSTANCE") => Some(Resource::Instance),
            _ => node.want("VOLUME or INSTANCE"),
        })
    });
    Some(types?.and_then(|types| types.first().copied()).unwrap_or(Resource::Volume))
}

/// What is protected. `resource` is absent where it is wrong; then either kind will do.
fn selection(object: &mut Object<'_>, resource: Option<Resource>) -> Option<Selection> {
    let tags = object.optional("TargetTags", |node| parts::tags(&node, 50, "tags (DLM)"));
    if resource == Some(Resource::Instance) {
        object.misplaced(&["TargetVolumeIds"], VOLUMES);
        object.required("TargetTags", "tags");
        let parameters = object.optional("Parameters", |node| node.members(parameters)?);
        let parameters = parameters?.unwrap_or_default();
        return Some(Selection::Instances {
            tags: tags?.unwrap_or_default(),
            exclude_boot_volume: parameters.exclude_boot_volume,
            exclude_data_volume_tags: parameters.exclude_data_volume_tags,
        });
    }
    let ids = object.optional("TargetVolumeIds", |node| {
        node.list(1000, "volumes", |node| node.id::<VolumeId>())
    });
    object.optional("Parameters", |node| {
        node.members(|parameters| match resource {
            Some(_) => {
                parameters.misplaced(&["ExcludeBootVolume", "ExcludeDataVolumeTags"], INSTANCES);
                refuse_no_reboot(parameters);
            }
            None => {
                self::parameters(parameters);
            }
        })
    });
    if object.get("TargetVolumeIds").is_none() {
        object.required("TargetTags", "tags, or TargetVolumeIds");
    }
    Some(Selection::Volumes {
        tags: tags?.unwrap_or_default(),
        ids: ids?.unwrap_or_default().into_iter().collect(),
    })
}

/// `Parameters` of a policy for instances.
#[derive(Default)]
struct Parameters {
    exclude_boot_volume: bool,
    exclude_data_volume_tags: Vec<(String, String)>,
}

fn parameters(object: &mut Object<'_>) -> Option<Parameters> {
    let exclude_boot_volume = object.boolean("ExcludeBootVolume");
    let exclude_data_volume_tags =
        object.optional("ExcludeDataVolumeTags", |node| parts::tags(&node, 50, "tags (DLM)"));
    refuse_no_reboot(object);
    Some(Parameters {
        exclude_boot_volume: exclude_boot_volume?,
        exclude_data_volume_tags: exclude_data_volume_tags?.unwrap_or_default(),
    })
}

fn refuse_no_reboot(object: &mut Object<'_>) {
    object.refuse("NoReboot", "it is for AMIs");
}

fn excludes_data_volumes(selection: &Selection) -> bool {
    matches!(selection, Selection::Instances { exclude_data_volume_tags, .. }
        if !exclude_data_volume_tags.is_empty())
}

//! Event-based policies, and default policies.

use schemars::JsonSchema;

use super::{AccountId, CopyRetainRule, KmsKeyArn, Location, LockRule, OwnTag, Region, Tag};

/// Copies of what other accounts share, by copy-shared-snapshots.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct EventBasedPolicy {
    #[schemars(extend("enum" = ["EVENT_BASED_POLICY"]))]
    policy_type: Option<String>,
    #[schemars(extend("enum" = ["STANDARD"]))]
    policy_language: Option<String>,
    #[schemars(length(min = 1, max = 1))]
    resource_locations: Option<Vec<Location>>,
    event_source: EventSource,
    #[schemars(length(min = 1, max = 1))]
    actions: Vec<Action>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct EventSource {
    #[schemars(extend("enum" = ["MANAGED_CWE"]))]
    r#type: Option<String>,
    parameters: EventParameters,
}

/// Which snapshots are copied.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct EventParameters {
    #[schemars(extend("enum" = ["shareSnapshot"]))]
    event_type: Option<String>,
    /// Accounts whose snapshots are copied.
    #[schemars(length(min = 1, max = 50))]
    snapshot_owner: Vec<AccountId>,
    /// A regular expression that has to be found in the snapshot's description.
    #[schemars(length(max = 1000))]
    description_regex: Option<String>,
    /// Regions the sweep looks in. Default: the function's own.
    #[schemars(length(min = 1, max = 100))]
    source_regions: Option<Vec<Region>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Action {
    /// A label.
    #[schemars(length(max = 120))]
    name: Option<String>,
    #[schemars(length(min = 1, max = 50))]
    cross_region_copy: Vec<CrossRegionCopy>,
}

/// A copy of what another account shares.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct CrossRegionCopy {
    target: Region,
    encryption_configuration: Option<EncryptionConfiguration>,
    /// Which copies stay. Default: all.
    retain_rule: Option<CopyRetainRule>,
    /// Never fewer completed copies than this of each volume. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    minimum_count: Option<u32>,
    /// Copy the snapshot's tags: those that the role of Targets reads, or the name in the description.
    copy_tags: Option<bool>,
    /// Further tags for the copy.
    #[schemars(length(min = 1, max = 40))]
    tags_to_add: Option<Vec<OwnTag>>,
    /// A time-based copy.
    #[schemars(range(min = 15, max = 2880), extend("multipleOf" = 15))]
    completion_duration_minutes: Option<u32>,
    /// Every copy is locked, pending ones too.
    lock_rule: Option<LockRule>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct EncryptionConfiguration {
    /// Encrypt the copies of snapshots that are not; an encrypted one's copy is encrypted in any case.
    encrypted: Option<bool>,
    /// A key in the target Region. Default: the key of EBS encryption by default there.
    cmk_arn: Option<KmsKeyArn>,
}

/// DLM's default policy: every volume that nobody, by any means, has made a snapshot of lately.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct DefaultPolicy {
    #[schemars(extend("enum" = ["EBS_SNAPSHOT_MANAGEMENT"]))]
    policy_type: Option<String>,
    #[schemars(extend("enum" = ["SIMPLIFIED"]))]
    policy_language: Option<String>,
    #[schemars(extend("enum" = ["VOLUME"]))]
    resource_type: Option<String>,
    /// Days. Default: 1.
    #[schemars(range(min = 1, max = 7))]
    create_interval: Option<u32>,
    /// Days, no less than CreateInterval. Default: 7.
    #[schemars(range(min = 2, max = 14))]
    retain_interval: Option<u32>,
    /// Copy the source volume's tags to the snapshot.
    copy_tags: Option<bool>,
    /// The last snapshot of a deleted volume is never deleted.
    #[schemars(extend("enum" = [false]))]
    extend_deletion: Option<bool>,
    /// Where to copy the snapshots.
    #[schemars(length(min = 1, max = 3))]
    cross_region_copy_targets: Option<Vec<CrossRegionCopyTarget>>,
    exclusions: Option<Exclusions>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct CrossRegionCopyTarget {
    target_region: Region,
}

/// Volumes that a default policy leaves out.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Exclusions {
    exclude_boot_volumes: Option<bool>,
    #[schemars(length(min = 1, max = 6))]
    exclude_volume_types: Option<Vec<VolumeType>>,
    /// A volume with any of these tags.
    #[schemars(length(min = 1, max = 50))]
    exclude_tags: Option<Vec<Tag>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum VolumeType {
    Standard,
    Gp2,
    Gp3,
    Io1,
    Io2,
    St1,
    Sc1,
}

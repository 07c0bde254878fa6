//! The policy language as types, for the JSON Schema only: what an editor shows and checks. It describes the canonical
//! form, of which the reader takes more, and no rule between members, of which the reader knows more; `super::schema`
//! proves that they agree in everything else.

use schemars::JsonSchema;
use serde_json::Value;

use self::others::{CrossRegionCopyTarget, DefaultPolicy, EventBasedPolicy, Exclusions};

mod others;

/// A policy of snapferry: the request of AWS Data Lifecycle Manager's CreateLifecyclePolicy, and more members. Members
/// that are not described here are errors. https://docs.aws.amazon.com/dlm/latest/APIReference/API_CreateLifecyclePolicy.html
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct PolicyDocument {
    /// Where an editor finds this schema.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// The policy's identity, which its snapshots are tagged with. Default: the last part of the Parameter Store name,
    /// else PolicyId, else "default".
    #[schemars(regex(pattern = r"^[A-Za-z0-9 _.-]+$"), length(min = 1, max = 64))]
    name: Option<String>,
    /// For people.
    description: Option<String>,
    /// A disabled policy is observed and reported, and does nothing.
    state: Option<State>,
    /// The role of the only target, in the function's own Region. Instead of Targets. In event-based policies it has no
    /// effect.
    execution_role_arn: Option<RoleArn>,
    /// Accounts and Regions to act in. Without them: the function's own. In event-based policies: roles that read the
    /// tags of shared snapshots for CopyTags, at most one in each account of SnapshotOwner (without Regions: for all).
    #[schemars(length(min = 1, max = 1000))]
    targets: Option<Vec<Target>>,
    /// What the policy does.
    policy_details: Option<PolicyDetails>,
    /// A default policy, whose members may stand beside this one.
    #[schemars(extend("enum" = ["VOLUME", true, false]))]
    default_policy: Option<Value>,
    /// Of a default policy: see PolicyDetails.
    #[schemars(range(min = 1, max = 7))]
    create_interval: Option<u32>,
    /// Of a default policy: see PolicyDetails.
    #[schemars(range(min = 2, max = 14))]
    retain_interval: Option<u32>,
    /// Of a default policy: see PolicyDetails.
    copy_tags: Option<bool>,
    /// Of a default policy: see PolicyDetails.
    #[schemars(extend("enum" = [false]))]
    extend_deletion: Option<bool>,
    /// Of a default policy: see PolicyDetails.
    #[schemars(length(min = 1, max = 3))]
    cross_region_copy_targets: Option<Vec<CrossRegionCopyTarget>>,
    /// Of a default policy: see PolicyDetails.
    exclusions: Option<Exclusions>,
    /// Describes the DLM resource that the policy was exported from. PolicyId gives the name where there is none.
    policy_id: Option<String>,
    /// Describes the DLM resource that the policy was exported from.
    policy_arn: Option<Value>,
    /// Describes the DLM resource that the policy was exported from.
    status_message: Option<Value>,
    /// Describes the DLM resource that the policy was exported from.
    date_created: Option<Value>,
    /// Describes the DLM resource that the policy was exported from.
    date_modified: Option<Value>,
    /// Tags of the DLM resource.
    tags: Option<Value>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    Enabled,
    Disabled,
}

/// An account, and where in it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Target {
    /// The role to assume; its account is the account that is meant. With OrganizationalUnits: * for the account.
    role_arn: EveryRoleArn,
    /// Instead of one account: all active accounts of these units (or of the root), and of the units below them. Not in
    /// event-based policies.
    #[schemars(length(min = 1, max = 100))]
    organizational_units: Option<Vec<UnitId>>,
    /// Accounts of OrganizationalUnits that are no targets.
    #[schemars(length(min = 1, max = 1000))]
    exclude_accounts: Option<Vec<AccountId>>,
    /// The secret that the role's trust policy asks for.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_+=,.@:/-]+$"), length(min = 2, max = 1224))]
    external_id: Option<String>,
    /// Without them: the function's own Region.
    #[schemars(length(min = 1, max = 100))]
    regions: Option<Vec<Region>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum PolicyDetails {
    Snapshots(SnapshotPolicy),
    Copies(EventBasedPolicy),
    Default(DefaultPolicy),
}

/// Snapshots on schedules, by rotate-snapshots.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct SnapshotPolicy {
    #[schemars(extend("enum" = ["EBS_SNAPSHOT_MANAGEMENT"]))]
    policy_type: Option<String>,
    #[schemars(extend("enum" = ["STANDARD"]))]
    policy_language: Option<String>,
    /// VOLUME: every volume by itself. INSTANCE: all volumes of an instance at one instant.
    #[schemars(length(min = 1, max = 1))]
    resource_types: Option<Vec<ResourceType>>,
    #[schemars(length(min = 1, max = 1))]
    resource_locations: Option<Vec<Location>>,
    /// A volume (or instance) with any of these tags is a target.
    #[schemars(length(min = 1, max = 50))]
    target_tags: Option<Vec<Tag>>,
    /// These volumes are targets too.
    #[schemars(length(min = 1, max = 1000))]
    target_volume_ids: Option<Vec<VolumeId>>,
    /// A volume (or instance) with any of these tags is no target; * and ? in values.
    #[schemars(length(min = 1, max = 50))]
    exclude_tags: Option<Vec<Tag>>,
    /// Of a policy for instances.
    parameters: Option<Parameters>,
    /// Opt-in: what is under an AWS managed key, which no other account can use, is copied under another key to be
    /// shared.
    default_key_rescue: Option<DefaultKeyRescue>,
    /// Up to four.
    #[schemars(length(min = 1, max = 4))]
    schedules: Vec<Schedule>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct DefaultKeyRescue {
    /// A customer managed key that the accounts of ShareRules may use: the name or ARN of an alias, which may be another
    /// key in every account and Region, or the id or ARN of a key.
    kms_key_id: KmsKeyId,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum Location {
    Cloud,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum ResourceType {
    Volume,
    Instance,
}

/// Of a policy for instances.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Parameters {
    /// Leave out boot volumes.
    exclude_boot_volume: Option<bool>,
    /// Leave out data volumes with any of these tags.
    #[schemars(length(min = 1, max = 50))]
    exclude_data_volume_tags: Option<Vec<Tag>>,
}

/// When to make snapshots, and what becomes of them.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Schedule {
    /// Unique within the policy. Default: schedule-1, schedule-2 and so on.
    #[schemars(regex(pattern = r"^[A-Za-z0-9 _-]+$"), length(min = 1, max = 120))]
    name: Option<String>,
    /// Copy the source volume's tags to the snapshot.
    copy_tags: Option<bool>,
    /// Further tags for the snapshot.
    #[schemars(length(min = 1, max = 45))]
    tags_to_add: Option<Vec<OwnTag>>,
    /// Tags whose value is known when the snapshot is made. Policies for instances only.
    #[schemars(length(min = 1, max = 43))]
    variable_tags: Option<Vec<VariableTag>>,
    /// Without it, every run creates.
    create_rule: Option<CreateRule>,
    /// What stays. Required, except beside ArchiveRule.
    retain_rule: Option<RetainRule>,
    /// What leaves the standard tier goes to the archive tier.
    archive_rule: Option<ArchiveRule>,
    /// Which snapshots are restored fast, and where. Costs by the hour and zone.
    fast_restore_rule: Option<FastRestoreRule>,
    /// Copies in the same account.
    #[schemars(length(min = 1, max = 50))]
    cross_region_copy_rules: Option<Vec<CrossRegionCopyRule>>,
    /// Accounts that every completed snapshot is shared with.
    #[schemars(length(min = 1, max = 1))]
    share_rules: Option<Vec<ShareRule>>,
    /// Every snapshot is locked, pending ones too.
    lock_rule: Option<LockRule>,
}

/// By hours or by a cron expression.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateRule {
    location: Option<Location>,
    /// Every so many hours.
    #[schemars(extend("enum" = [1, 2, 3, 4, 6, 8, 12, 24]))]
    interval: Option<u32>,
    #[schemars(extend("enum" = ["HOURS"]))]
    interval_unit: Option<String>,
    /// When the day's first interval begins. Default: 00:00.
    #[schemars(
        length(min = 1, max = 1),
        inner(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))
    )]
    times: Option<Vec<String>>,
    /// EventBridge's six fields: cron(minute hour day-of-month month day-of-week year).
    #[schemars(regex(pattern = r"^cron\(.+\)$"), length(max = 106))]
    cron_expression: Option<String>,
    /// IANA name of the zone whose clock is meant. Default: UTC.
    time_zone: Option<String>,
    /// How long after its time a snapshot may still be begun. Default: until the next time; 60 beside Scripts.
    #[schemars(range(min = 1, max = 525_600))]
    start_window_minutes: Option<u32>,
    /// What makes the snapshots application-consistent. Policies for instances only.
    #[schemars(length(min = 1, max = 1))]
    scripts: Option<Vec<Script>>,
}

/// A VSS backup, or an SSM document that runs before and after the snapshots.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Script {
    /// `AWS_VSS_BACKUP`, or name or ARN of an SSM document with the parameters command and executionId.
    #[schemars(regex(pattern = r"^[a-zA-Z0-9_\-.:/]{3,128}$"))]
    execution_handler: String,
    #[schemars(extend("enum" = ["AWS_SYSTEMS_MANAGER"]))]
    execution_handler_service: Option<String>,
    /// Not beside `AWS_VSS_BACKUP`. Default: both.
    #[schemars(length(min = 1, max = 2))]
    stages: Option<Vec<Stage>>,
    /// Whether a crash-consistent snapshot is made where it cannot be application-consistent. Default: true.
    execute_operation_on_script_failure: Option<bool>,
    /// Seconds that each script may run; not beside `AWS_VSS_BACKUP`. Default: 10.
    #[schemars(range(min = 10, max = 120))]
    execution_timeout: Option<u32>,
    /// Default: 0.
    #[schemars(range(min = 0, max = 3))]
    maximum_retry_count: Option<u32>,
    /// Beside `AWS_VSS_BACKUP` only. Default: AWSEC2-VssInstallAndSnapshot.
    #[schemars(extend("enum" = ["AWSEC2-VssInstallAndSnapshot", "AWSEC2-CreateVssSnapshot"]))]
    vss_document_name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "only its schema is wanted")]
enum Stage {
    Pre,
    Post,
}

/// A snapshot stays while Count, Interval or Keep keeps it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct RetainRule {
    /// The newest so many of each volume (or instance). 0 only beside ArchiveRule: archived at once.
    #[schemars(range(min = 0, max = 1000))]
    count: Option<u32>,
    /// Until it is so old, 100 years at the most. 0 only beside ArchiveRule: archived at once.
    #[schemars(range(min = 0, max = 36_500))]
    interval: Option<u32>,
    interval_unit: Option<IntervalUnit>,
    /// The newest of each period.
    keep: Option<Keep>,
    /// Never fewer completed ones than this of each volume. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    minimum_count: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum IntervalUnit {
    Days,
    Weeks,
    Months,
    Years,
}

/// Grandfather, father, son: the newest of each period stays, for the newest so many periods that have any.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Keep {
    #[schemars(range(min = 0, max = 1000))]
    hourly: Option<u32>,
    #[schemars(range(min = 0, max = 1000))]
    daily: Option<u32>,
    /// ISO weeks.
    #[schemars(range(min = 0, max = 1000))]
    weekly: Option<u32>,
    #[schemars(range(min = 0, max = 1000))]
    monthly: Option<u32>,
    #[schemars(range(min = 0, max = 1000))]
    yearly: Option<u32>,
}

/// For volumes, in a policy with one schedule, whose times are 28 days or more apart.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct ArchiveRule {
    retain_rule: ArchiveRetainRule,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct ArchiveRetainRule {
    retention_archive_tier: RetentionArchiveTier,
}

/// Count, or Interval and IntervalUnit: 90 days or more.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct RetentionArchiveTier {
    #[schemars(range(min = 1, max = 1000))]
    count: Option<u32>,
    #[schemars(range(min = 1, max = 36_500))]
    interval: Option<u32>,
    interval_unit: Option<IntervalUnit>,
}

/// Count, or Interval and IntervalUnit; AvailabilityZones or AvailabilityZoneIds.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct FastRestoreRule {
    /// The newest so many of each volume.
    #[schemars(range(min = 1, max = 1000))]
    count: Option<u32>,
    /// Those younger than this.
    #[schemars(range(min = 1, max = 36_500))]
    interval: Option<u32>,
    interval_unit: Option<IntervalUnit>,
    #[schemars(
        length(min = 1, max = 10),
        inner(regex(pattern = r"^([a-z]+-){2,3}[0-9]{1,2}[a-z]$"))
    )]
    availability_zones: Option<Vec<String>>,
    #[schemars(length(min = 1, max = 10), inner(regex(pattern = r"^[a-z]{3,4}[0-9]-az[0-9]+$")))]
    availability_zone_ids: Option<Vec<String>>,
}

/// A copy in the same account.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct CrossRegionCopyRule {
    target: Region,
    /// Encrypt the copies of snapshots that are not; an encrypted one's copy is encrypted in any case.
    encrypted: Option<bool>,
    /// A key in the target Region. Default: the key of EBS encryption by default there.
    cmk_arn: Option<KmsKeyArn>,
    /// Copy the snapshot's tags.
    copy_tags: Option<bool>,
    /// Which copies stay. Default: all.
    retain_rule: Option<CopyRetainRule>,
    /// Never fewer completed copies than this of each volume. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    minimum_count: Option<u32>,
    /// Further tags for the copy.
    #[schemars(length(min = 1, max = 40))]
    tags_to_add: Option<Vec<OwnTag>>,
    /// A time-based copy.
    #[schemars(range(min = 15, max = 2880), extend("multipleOf" = 15))]
    completion_duration_minutes: Option<u32>,
    /// Every copy is locked, pending ones too.
    lock_rule: Option<LockRule>,
}

/// A copy stays while Count, Interval or Keep keeps it. Of each source volume.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct CopyRetainRule {
    /// The newest so many.
    #[schemars(range(min = 1, max = 1000))]
    count: Option<u32>,
    /// Until it is so old, 100 years at the most.
    #[schemars(range(min = 1, max = 36_500))]
    interval: Option<u32>,
    interval_unit: Option<IntervalUnit>,
    /// The newest of each period.
    keep: Option<Keep>,
    /// Never fewer completed ones than this. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    minimum_count: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct ShareRule {
    #[schemars(length(min = 1, max = 1000))]
    target_accounts: Vec<AccountId>,
    /// The sharing ends so long after the snapshot's start. Default: with the snapshot.
    #[schemars(range(min = 1, max = 36_500))]
    unshare_interval: Option<u32>,
    unshare_interval_unit: Option<IntervalUnit>,
    /// The sharing ends when the vault, the only one of TargetAccounts, has completed copies. Instead of
    /// UnshareInterval.
    unshare_when_copied: Option<UnshareWhenCopied>,
}

/// Where to look for the vault's copies.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct UnshareWhenCopied {
    /// A role of the vault that may describe snapshots. Default: the function's own credentials, where it runs in the
    /// vault.
    role_arn: Option<RoleArn>,
    /// The secret that the role's trust policy asks for.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_+=,.@:/-]+$"), length(min = 2, max = 1224))]
    external_id: Option<String>,
    /// The vault's Regions that all have to hold a completed copy.
    #[schemars(length(min = 1, max = 100))]
    regions: Vec<Region>,
}

/// Snapshot lock, from the snapshot's start.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct LockRule {
    /// GOVERNANCE: whoever has the permission can unlock. COMPLIANCE: nobody can.
    mode: LockMode,
    #[schemars(range(min = 1, max = 36_500))]
    duration_days: u32,
    /// For so long, a lock in compliance mode can still be taken back.
    #[schemars(range(min = 1, max = 72))]
    cool_off_period_hours: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum LockMode {
    Governance,
    Compliance,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    #[schemars(length(min = 1, max = 128))]
    key: String,
    #[schemars(length(max = 256))]
    value: String,
}

/// A tag whose key is the user's own: neither aws: nor snapferry: is in front of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct OwnTag {
    #[schemars(length(min = 1, max = 128))]
    key: String,
    #[schemars(length(max = 256))]
    value: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase", deny_unknown_fields)]
struct VariableTag {
    #[schemars(length(min = 1, max = 128))]
    key: String,
    #[schemars(extend("enum" = ["$(instance-id)", "$(timestamp)"]))]
    value: String,
}

macro_rules! text {
    ($($name:ident $pattern:literal $max:literal)*) => {
        $(
            #[derive(JsonSchema)]
            #[schemars(extend("pattern" = $pattern, "maxLength" = $max))]
            struct $name(String);
        )*
    };
}

text! {
    AccountId r"^[0-9]{12}$" 12
    Region r"^([a-z]+-){2,3}[0-9]{1,2}$" 25
    EveryRoleArn r"^arn:aws[^:]*:iam::([0-9]{12}|\*):role/.+$" 2048
    UnitId r"^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})$" 68
    RoleArn r"^arn:aws[^:]*:iam::[0-9]{12}:role/.+$" 2048
    KmsKeyArn r"^arn:aws[^:]*:kms:([a-z]+-){2,3}[0-9]{1,2}:[0-9]{12}:key/.+$" 2048
    KmsKeyId r"^(arn:aws[^:]*:kms:([a-z]+-){2,3}[0-9]{1,2}:[0-9]{12}:(key/.+|alias/[A-Za-z0-9/_-]+)|alias/[A-Za-z0-9/_-]+|mrk-[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$" 2048
    VolumeId r"^vol-([0-9a-f]{8}|[0-9a-f]{17})$" 21
}

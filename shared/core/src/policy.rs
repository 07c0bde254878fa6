//! What a user wants, valid by construction.
//!
//! A [`Policy`] comes only from [`document::read`], which reports everything that is wrong with a document at once.
//! The shapes are DLM's ([CreateLifecyclePolicy](https://docs.aws.amazon.com/dlm/latest/APIReference/API_CreateLifecyclePolicy.html))
//! with our additions, after its many spellings have been read.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use jiff::{Span, Timestamp, tz::TimeZone};

use crate::ec2::Access;
use crate::ids::{AccountId, EveryRoleArn, KmsKeyArn, KmsKeyId, Region, RoleArn, UnitId, VolumeId};
use crate::inventory::{Instance, Volume};
use crate::schedule::CreateRule;

pub use crate::tags::Tags;
pub use script::{DocumentScript, Handler, Script, Stages, VssDocument};

pub mod document;
mod script;

/// One policy document.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its identity, 1 to 64 of `[A-Za-z0-9 _.-]`: what the tag `snapferry:policy` says.
    pub name: String,
    /// `State` is `ENABLED`. A disabled policy is observed and reported, and does nothing.
    pub enabled: bool,
    /// Accounts and Regions. With `units` empty too: the function's own credentials and Region. Of an event policy always
    /// empty.
    pub targets: Vec<Target>,
    /// All accounts of organizational units. Of an event policy always empty.
    pub units: Vec<UnitTarget>,
    /// `EBS_SNAPSHOT_MANAGEMENT` or `EVENT_BASED_POLICY`.
    pub details: Details,
}

/// An account to act in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The role to assume; its account is the account that is meant.
    pub role_arn: RoleArn,
    /// The secret that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// Empty: the function's own Region.
    pub regions: Vec<Region>,
}

/// Accounts of an organization to act in, by where they are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitTarget {
    /// All active accounts of these, and of the units below them. Not empty.
    pub units: BTreeSet<UnitId>,
    /// But not these.
    pub exclude_accounts: BTreeSet<AccountId>,
    /// The role to assume in each.
    pub role_arn: EveryRoleArn,
    /// The secret that the roles' trust policies ask for.
    pub external_id: Option<String>,
    /// Empty: the function's own Region.
    pub regions: Vec<Region>,
}

/// The two kinds of policy.
#[derive(Clone, Debug)]
pub enum Details {
    /// `EBS_SNAPSHOT_MANAGEMENT`, for `rotate-snapshots`.
    Snapshots(SnapshotPolicy),
    /// `EVENT_BASED_POLICY`, for `copy-shared-snapshots`.
    Copies(CopyPolicy),
}

/// What is protected, and when.
#[derive(Clone, Debug)]
pub struct SnapshotPolicy {
    /// What is protected.
    pub selection: Selection,
    /// A volume (of a policy for instances: an instance) with any of these tags is no target; `*` and `?` in values.
    pub exclude_tags: Vec<(String, String)>,
    /// 1 to 4; a default policy has one, see [`Selection::Unprotected`].
    pub schedules: Vec<Schedule>,
    /// `CrossRegionCopyRules` of all schedules, in their order.
    pub copies: Vec<CopyRule>,
    /// `DefaultKeyRescue.KmsKeyId`: what is under an AWS managed key, which no other account can use, is copied under this
    /// one, and the copy is shared. An alias may be another key in every account and Region.
    pub default_key_rescue: Option<KmsKeyId>,
}

/// What a policy protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// `ResourceTypes` `VOLUME`: every volume by itself.
    Volumes {
        /// A volume with any of these tags is a target, case-sensitively
        /// ([DLM elements](https://docs.aws.amazon.com/ebs/latest/userguide/dlm-elements.html)).
        tags: Vec<(String, String)>,
        /// These volumes are targets too.
        ids: BTreeSet<VolumeId>,
    },
    /// `ResourceTypes` `INSTANCE`: all volumes of an instance at one instant.
    Instances {
        /// An instance with any of these tags is a target.
        tags: Vec<(String, String)>,
        /// `Parameters.ExcludeBootVolume`
        exclude_boot_volume: bool,
        /// `Parameters.ExcludeDataVolumeTags`: a data volume with any of these tags is left out.
        exclude_data_volume_tags: Vec<(String, String)>,
    },
    /// `PolicyLanguage` `SIMPLIFIED`: every volume that nobody, by any means, has made a snapshot of lately
    /// ([Default policies](https://docs.aws.amazon.com/ebs/latest/userguide/default-policies.html)).
    Unprotected {
        /// `CreateInterval`: so many days, 1 to 7.
        create_interval_days: u8,
        /// `Exclusions.ExcludeBootVolumes`
        exclude_boot_volumes: bool,
        /// `Exclusions.ExcludeVolumeTypes`: `standard`, `gp2`, `gp3`, `io1`, `io2`, `st1`, `sc1`.
        exclude_volume_types: BTreeSet<String>,
        /// `Exclusions.ExcludeTags`: a volume with any of these tags is left out.
        exclude_tags: Vec<(String, String)>,
    },
}

/// One of a policy's schedules.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Unique within the policy; what the tag `snapferry:schedule` says.
    pub name: String,
    /// Copy the source volume's tags to the snapshot.
    pub copy_tags: bool,
    /// Further tags for the snapshot.
    pub tags_to_add: Tags,
    /// Further tags whose value is known when the snapshot is made. Policies for instances only.
    pub variable_tags: BTreeMap<String, Variable>,
    /// When to create.
    pub create: CreateRule,
    /// What makes its snapshots application-consistent. Policies for instances only.
    pub script: Option<Script>,
    /// What stays in the standard tier.
    pub retain: RetainRule,
    /// What leaves the standard tier goes to the archive tier, and stays there while this keeps it.
    pub archive: Option<ArchiveRule>,
    /// Accounts that every completed snapshot is shared with.
    pub share_with: BTreeSet<AccountId>,
    /// The sharing ends so long after the snapshot's start. Without this and the next: with the snapshot.
    pub unshare_after: Option<Age>,
    /// The sharing ends when the vault has copies; `share_with` is the vault alone then, and there is no `unshare_after`.
    pub unshare_when_copied: Option<UnshareWhenCopied>,
    /// Which snapshots are restored fast, and where.
    pub fast_restore: Option<FastRestoreRule>,
    /// Every snapshot is locked, pending ones too.
    pub lock: Option<LockRule>,
}

/// `UnshareWhenCopied`: where the source side looks for the vault's copies, instead of trusting a message or a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnshareWhenCopied {
    /// The way into the vault, to read only. Without a role: the function's own credentials, which are the vault's then.
    pub access: Access,
    /// All of these have to hold a completed copy. Not empty.
    pub regions: BTreeSet<Region>,
}

/// DLM's `VariableTags` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$(instance-id)`
    InstanceId,
    /// `$(timestamp)`: the slot.
    Timestamp,
}

/// What stays: a snapshot stays while `count`, `age` or `keep` keeps it, and the newest `minimum_count` in any case.
/// Without any of the three everything stays, or, beside an [`ArchiveRule`], nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainRule {
    /// The newest so many per volume (per instance, of a policy for instances) stay, 1 to 1000.
    pub count: Option<NonZeroU32>,
    /// A snapshot stays until it is so old.
    pub age: Option<Age>,
    /// The newest of each period stays.
    pub keep: Option<Keep>,
    /// Never fewer completed ones than this per volume; 1 unless said otherwise.
    pub minimum_count: u32,
}

/// Grandfather, father, son: the newest of each hour, day, ISO week, month and year stays, for the newest so many
/// periods of each kind that have any. 0 to 1000, and not all 0. Periods are those of the schedule's time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Keep {
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
}

impl RetainRule {
    /// Whether it sets no limit at all.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.count.is_none() && self.age.is_none() && self.keep.is_none()
    }
}

/// `ArchiveRule.RetainRule.RetentionArchiveTier`; exactly one of the two is set
/// ([Archive EBS snapshots](https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-ami-policy.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveRule {
    /// The newest so many archived ones per volume stay, 1 to 1000.
    pub count: Option<NonZeroU32>,
    /// An archived snapshot stays so long in the archive, 90 days at the least.
    pub age: Option<Age>,
}

/// `FastRestoreRule`; exactly one of `count` and `age` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastRestoreRule {
    /// The newest so many per volume, 1 to 1000.
    pub count: Option<NonZeroU32>,
    /// Those younger than this.
    pub age: Option<Age>,
    /// Where. A zone matters in its own Region only.
    pub zones: Zones,
}

/// `AvailabilityZones` or `AvailabilityZoneIds`, 1 to 10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zones {
    /// Such as `eu-central-1a`.
    Names(BTreeSet<String>),
    /// Such as `euc1-az2`.
    Ids(BTreeSet<String>),
}

/// Snapshot lock ([LockSnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LockSnapshot.html)): from
/// the snapshot's start, so that it ends at the same moment whenever it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRule {
    /// Who can end it early.
    pub mode: LockMode,
    /// 1 to 36,500.
    pub duration_days: u32,
    /// In compliance mode, for so many hours (1 to 72) the lock can still be taken back.
    pub cool_off_period_hours: Option<u8>,
}

/// EC2's `LockMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Whoever has the permission can unlock.
    Governance,
    /// Nobody can.
    Compliance,
}

/// `Interval` and `IntervalUnit`: a length of time by the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// At least 1, and 100 years at the most.
    pub interval: NonZeroU32,
    /// What `interval` counts.
    pub unit: IntervalUnit,
}

/// DLM's `IntervalUnit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "DLM's words say it")]
pub enum IntervalUnit {
    Days,
    Weeks,
    Months,
    Years,
}

impl Age {
    /// The instant at which something that began at `start` is so old; months and years by the calendar in UTC,
    /// the last day of a month where there is no such day. `Timestamp::MAX` where the calendar ends first.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        let n = i64::from(self.interval.get());
        let span = match self.unit {
            IntervalUnit::Days => Span::new().try_days(n),
            IntervalUnit::Weeks => Span::new().try_weeks(n),
            IntervalUnit::Months => Span::new().try_months(n),
            IntervalUnit::Years => Span::new().try_years(n),
        };
        span.and_then(|span| start.to_zoned(TimeZone::UTC).checked_add(span))
            .map_or(Timestamp::MAX, |end| end.timestamp())
    }
}

/// What to copy, and where to.
#[derive(Clone, Debug)]
pub struct CopyPolicy {
    /// Whose snapshots are taken. Never empty.
    pub owners: BTreeSet<AccountId>,
    /// The description has to match this, anywhere in it, as DLM's unanchored examples need. `None`: any does.
    pub description: Option<DescriptionRegex>,
    /// Regions the sweep looks in. Empty: the function's own.
    pub source_regions: Vec<Region>,
    /// One per target Region, or several.
    pub rules: Vec<CopyRule>,
    /// `Targets`: roles by which the tags of shared snapshots are read, one per account at the most. No Regions: in all.
    pub readers: Vec<Target>,
}

impl CopyPolicy {
    /// The role that reads tags in an owner's Region, if there is one.
    #[must_use]
    pub fn reader(&self, owner: &AccountId, region: &Region) -> Option<&Target> {
        self.readers.iter().find(|target| {
            target.role_arn.account() == *owner
                && (target.regions.is_empty() || target.regions.contains(region))
        })
    }
}

/// One `CrossRegionCopy` entry.
#[derive(Clone, Debug)]
pub struct CopyRule {
    /// `<Region>`, or `<Region>/<n>` (from 1) where a Region occurs more than once: the tag `snapferry:rule`. Rules of
    /// coinciding schedules that copy to the same Region under the same key have the same name, and make one copy.
    pub name: String,
    /// Of a snapshot policy: the schedule whose snapshots it copies.
    pub schedule: Option<String>,
    /// Where to.
    pub target: Region,
    /// `EncryptionConfiguration.Encrypted`. An encrypted source stays encrypted whatever this says.
    pub encrypted: bool,
    /// The key for the copies; `None`: the key of EBS encryption by default in that Region.
    pub cmk_arn: Option<KmsKeyArn>,
    /// Which copies stay, per source volume; an age counts from the copy's own start. `None`: all of them, for ever.
    pub retain: Option<RetainRule>,
    /// Copy the source snapshot's tags; of another account's, as far as its read role tells them, and without one the
    /// name in its description.
    pub copy_tags: bool,
    /// Further tags for the copy.
    pub tags_to_add: Tags,
    /// Time-based copy: 15 to 2880, in steps of 15.
    pub completion_duration_minutes: Option<u16>,
    /// Every copy is locked, pending ones too.
    pub lock: Option<LockRule>,
}

/// A policy that wants copies.
#[derive(Clone, Copy, Debug)]
pub struct Copies<'a> {
    /// Whose wish it is.
    pub policy: &'a Policy,
    /// Where to, and how long.
    pub rules: &'a [CopyRule],
    /// Of what.
    pub of: Origin<'a>,
}

/// What a policy copies.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// What other accounts share with this one.
    Shared(&'a CopyPolicy),
    /// What the policy's own schedules made, within the account.
    Own,
}

impl<'a> Copies<'a> {
    /// What an event policy wants.
    #[must_use]
    pub fn of_shared(policy: &'a Policy, details: &'a CopyPolicy) -> Self {
        Self { policy, rules: &details.rules, of: Origin::Shared(details) }
    }

    /// What a snapshot policy wants within its accounts; without `CrossRegionCopyRules`, nothing.
    #[must_use]
    pub fn of_own(policy: &'a Policy, details: &'a SnapshotPolicy) -> Self {
        Self { policy, rules: &details.copies, of: Origin::Own }
    }
}

/// A compiled `DescriptionRegex`. The engine takes time linear in the description, whatever the pattern.
#[derive(Clone, Debug)]
pub struct DescriptionRegex(regex_lite::Regex);

impl DescriptionRegex {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// What is wrong with the pattern, in the engine's words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        regex_lite::RegexBuilder::new(pattern)
            .size_limit(1 << 20)
            .build()
            .map(Self)
            .map_err(|err| err.to_string())
    }

    /// Whether the pattern is found in `description`.
    #[must_use]
    pub fn is_match(&self, description: &str) -> bool {
        self.0.is_match(description)
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl SnapshotPolicy {
    /// Whether the policy is for volumes by themselves, and this is one of them. Some default policies further want to
    /// know whether it is a boot volume.
    #[must_use]
    pub fn targets(&self, volume: &Volume, is_boot: impl FnOnce() -> bool) -> bool {
        let wanted = match &self.selection {
            Selection::Volumes { tags, ids } => {
                ids.contains(&volume.id) || has_any(tags, &volume.tags)
            }
            Selection::Instances { .. } => false,
            Selection::Unprotected {
                exclude_boot_volumes,
                exclude_volume_types,
                exclude_tags,
                ..
            } => {
                let is_left_out = (*exclude_boot_volumes && is_boot())
                    || exclude_volume_types.contains(&volume.volume_type)
                    || has_any(exclude_tags, &volume.tags);
                !is_left_out
            }
        };
        wanted && !self.excludes(&volume.tags)
    }

    /// Whether the policy is for instances, and this is one of them.
    #[must_use]
    pub fn targets_instance(&self, instance: &Instance) -> bool {
        match &self.selection {
            Selection::Instances { tags, .. } => {
                has_any(tags, &instance.tags) && !self.excludes(&instance.tags)
            }
            _ => false,
        }
    }

    /// `TargetVolumeIds`
    pub fn volume_ids(&self) -> impl Iterator<Item = &VolumeId> {
        match &self.selection {
            Selection::Volumes { ids, .. } => Some(ids),
            _ => None,
        }
        .into_iter()
        .flatten()
    }

    fn excludes(&self, tags: &Tags) -> bool {
        let mut excluded = self.exclude_tags.iter();
        excluded.any(|(key, pattern)| tags.get(key).is_some_and(|value| wildcard(pattern, value)))
    }

    /// The schedule of that name.
    #[must_use]
    pub fn schedule(&self, name: &str) -> Option<&Schedule> {
        self.schedules.iter().find(|schedule| schedule.name == name)
    }
}

/// Whether any of these is among the tags.
fn has_any(wanted: &[(String, String)], tags: &Tags) -> bool {
    wanted.iter().any(|(key, value)| tags.get(key) == Some(value))
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters and `?` for any one.
#[must_use]
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else {
                    return false;
                };
                p = star_p + 1;
                t = star_t + 1;
                star = Some((star_p, t));
            }
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

//! What a user wants, valid by construction.
//!
//! A [`Policy`] comes only from [`document::read`], which reports everything that is wrong with a document at once.
//! The shapes are DLM's ([CreateLifecyclePolicy](https://docs.aws.amazon.com/dlm/latest/APIReference/API_CreateLifecyclePolicy.html))
//! with our additions, after its many spellings have been read.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use jiff::{Span, Timestamp, tz::TimeZone};

use crate::ids::{AccountId, KmsKeyArn, Region, RoleArn, VolumeId};
use crate::schedule::CreateRule;

pub mod document;

/// A user's tags, or an EC2 resource's: key to value, in order.
pub type Tags = BTreeMap<String, String>;

/// One policy document.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its identity, 1 to 64 of `[A-Za-z0-9 _.-]`: what the tag `snapferry:policy` says.
    pub name: String,
    /// `State` is `ENABLED`. A disabled policy is observed and reported, and does nothing.
    pub enabled: bool,
    /// Accounts and Regions. Empty: the function's own credentials and Region.
    pub targets: Vec<Target>,
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

/// The two kinds of policy.
#[derive(Clone, Debug)]
pub enum Details {
    /// `EBS_SNAPSHOT_MANAGEMENT`, for `rotate-snapshots`.
    Snapshots(SnapshotPolicy),
    /// `EVENT_BASED_POLICY`, for `copy-shared-snapshots`.
    Copies(CopyPolicy),
}

/// Which volumes, and when.
#[derive(Clone, Debug)]
pub struct SnapshotPolicy {
    /// A volume with any of these tags is a target, case-sensitively
    /// ([DLM elements](https://docs.aws.amazon.com/ebs/latest/userguide/dlm-elements.html)).
    pub target_tags: Vec<(String, String)>,
    /// These volumes are targets too.
    pub target_volume_ids: BTreeSet<VolumeId>,
    /// A volume with any of these tags is no target; `*` and `?` in values.
    pub exclude_tags: Vec<(String, String)>,
    /// 1 to 4.
    pub schedules: Vec<Schedule>,
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
    /// When to create.
    pub create: CreateRule,
    /// What stays.
    pub retain: RetainRule,
    /// Accounts that every completed snapshot is shared with.
    pub share_with: BTreeSet<AccountId>,
}

/// What stays: a snapshot stays while `count` or `age` keeps it, and the newest `minimum_count` in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainRule {
    /// The newest so many per volume stay, 1 to 1000.
    pub count: Option<NonZeroU32>,
    /// A snapshot stays until it is so old.
    pub age: Option<Age>,
    /// Never fewer completed ones than this per volume; 1 unless said otherwise.
    pub minimum_count: u32,
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
}

/// One `CrossRegionCopy` entry.
#[derive(Clone, Debug)]
pub struct CopyRule {
    /// `<Region>`, or `<Region>/<n>` (from 1) where a Region occurs more than once: the tag `snapferry:rule`.
    pub name: String,
    /// Where to.
    pub target: Region,
    /// `EncryptionConfiguration.Encrypted`. An encrypted source stays encrypted whatever this says.
    pub encrypted: bool,
    /// The key for the copies; `None`: the key of EBS encryption by default in that Region.
    pub cmk_arn: Option<KmsKeyArn>,
    /// A copy expires so long after its own start. `None`: never.
    pub retain: Option<Age>,
    /// Never fewer completed copies than this per source volume; 1 unless said otherwise.
    pub minimum_count: u32,
    /// Further tags for the copy.
    pub tags_to_add: Tags,
    /// Time-based copy: 15 to 2880, in steps of 15.
    pub completion_duration_minutes: Option<u16>,
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
    /// Whether a volume with this id and these tags is a target.
    #[must_use]
    pub fn targets(&self, id: &VolumeId, tags: &Tags) -> bool {
        let wanted = self.target_volume_ids.contains(id)
            || self.target_tags.iter().any(|(key, value)| tags.get(key) == Some(value));
        let excluded = self
            .exclude_tags
            .iter()
            .any(|(key, pattern)| tags.get(key).is_some_and(|value| wildcard(pattern, value)));
        wanted && !excluded
    }

    /// The schedule of that name.
    #[must_use]
    pub fn schedule(&self, name: &str) -> Option<&Schedule> {
        self.schedules.iter().find(|schedule| schedule.name == name)
    }
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

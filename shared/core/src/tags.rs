//! Tags: the only memory. What a run writes here, the next run reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};

use crate::ids::{AccountId, InstanceId, Region, SnapshotId, VolumeId};
use crate::schedule::Slot;

pub use map::{Pool, Tags};

mod map;

/// Name of the policy that made the snapshot.
pub const POLICY: &str = "snapferry:policy";
/// Name of the schedule; several, comma-separated, where schedules coincide. (Of VSS backups, with slashes.)
pub const SCHEDULE: &str = "snapferry:schedule";
/// The scheduled time that the snapshot serves.
pub const SLOT: &str = "snapferry:slot";
/// The instance whose volumes were taken together, where a policy for instances made the snapshot.
pub const INSTANCE: &str = "snapferry:instance";
/// Of how many volumes the set is: when one snapshot of it has failed and was deleted, the others must not pass for it.
pub const VOLUMES: &str = "snapferry:volumes";
/// When the snapshot has done its duty, where retention is by age.
pub const EXPIRES_AT: &str = "snapferry:expires-at";
/// Accounts the snapshot is shared with, comma-separated. A record for people: EC2 is asked what is true.
pub const SHARED_WITH: &str = "snapferry:shared-with";
/// Which document made the snapshot application-consistent, or was to.
pub const SCRIPT: &str = "snapferry:script";
/// Which run of its document it belongs to.
pub const EXECUTION_ID: &str = "snapferry:execution-id";
/// How the pre-script ended: `Success`, or what went wrong.
pub const PRE_SCRIPT: &str = "snapferry:pre-script";
/// How the post-script ended: `Success`, or what went wrong.
pub const POST_SCRIPT: &str = "snapferry:post-script";
/// `true` or `false`, once it is known.
pub const APP_CONSISTENT: &str = "snapferry:app-consistent";
/// What the VSS components say of it themselves.
pub const VSS_CONSISTENT: &str = "AppConsistent";
/// On a copy: which of the policy's rules.
pub const RULE: &str = "snapferry:rule";
/// On a copy: the snapshot that was copied.
pub const SOURCE_SNAPSHOT: &str = "snapferry:source-snapshot";
/// On a copy: who shared it.
pub const SOURCE_ACCOUNT: &str = "snapferry:source-account";
/// On a copy: where it was.
pub const SOURCE_REGION: &str = "snapferry:source-region";
/// On a copy: when the source began, as EC2 tells: the moment whose data it holds.
pub const SOURCE_START_TIME: &str = "snapferry:source-start-time";
/// On a copy: the volume it was made of.
pub const SOURCE_VOLUME: &str = "snapferry:source-volume";
/// On a copy: `description`, where not EC2 but the source's description told the volume.
pub const SOURCE_VOLUME_BY: &str = "snapferry:source-volume-by";

/// Data Lifecycle Manager's own mark, which has no `aws:` in front
/// ([DLM elements](https://docs.aws.amazon.com/ebs/latest/userguide/dlm-elements.html)).
pub const DLM_MANAGED: &str = "dlm:managed";

/// The rule of a stand-in: a copy in the same account and Region, under a key that other accounts can use, which is shared
/// in place of its source (`DefaultKeyRescue`). No rule has this name, as rules are called by Regions.
pub const RESCUE: &str = "rescue";

/// EC2 takes 50 tags on a resource
/// ([Tag restrictions](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html)).
pub const MAX_TAGS: usize = 50;

/// What the tags of a snapshot made by `rotate-snapshots` say: whose it is and which slot it serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The policy's name.
    pub policy: String,
    /// The schedules it serves; more than one where they coincide.
    pub schedules: BTreeSet<String>,
    /// The scheduled time.
    pub slot: Slot,
    /// Of which instance's set it is; `None`: it was made by itself.
    pub instance: Option<InstanceId>,
}

impl Claim {
    /// `None` for a snapshot that is not ours, whose set of tags is not complete, or that a newer version wrote.
    #[must_use]
    pub fn read(tags: &Tags) -> Option<Self> {
        if tags.contains_key(SOURCE_SNAPSHOT) {
            return None; // a copy: CopyClaim's
        }
        let schedules: BTreeSet<String> =
            tags.get(SCHEDULE)?.split([',', '/']).map(str::to_owned).collect();
        let policy = tags.get(POLICY)?.clone();
        let complete = !policy.is_empty() && schedules.iter().all(|name| !name.is_empty());
        let instance = match tags.get(INSTANCE) {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        let slot = tags.get(SLOT)?.parse().ok()?;
        complete.then_some(Self { policy, schedules, slot, instance })
    }

    /// The tags that say it.
    #[must_use]
    pub fn write(&self) -> Tags {
        let mut tags = Tags::from([
            (POLICY.into(), self.policy.clone()),
            (SCHEDULE.into(), self.schedule_text()),
            (SLOT.into(), self.slot.to_string()),
        ]);
        if let Some(instance) = &self.instance {
            tags.insert(INSTANCE.into(), instance.to_string());
        }
        tags
    }

    /// As [`write`](Self::write), for a VSS backup, whose documents take no commas.
    #[must_use]
    pub fn write_for_vss(&self) -> Tags {
        let mut tags = self.write();
        tags.insert(SCHEDULE.into(), self.schedule_text().replace(',', "/"));
        tags
    }

    /// The schedules' names, comma-separated.
    #[must_use]
    pub fn schedule_text(&self) -> String {
        join(&self.schedules)
    }
}

/// Claims that were read so far, so that equal ones are there once: a night's snapshots have the same one.
#[derive(Debug, Default)]
pub struct Claims(BTreeSet<Arc<Claim>>);

impl Claims {
    /// As [`Claim::read`].
    pub fn read(&mut self, tags: &Tags) -> Option<Arc<Claim>> {
        let claim = Claim::read(tags)?;
        let known = self.0.get(&claim).cloned();
        Some(known.unwrap_or_else(|| {
            let claim = Arc::new(claim);
            self.0.insert(Arc::clone(&claim));
            claim
        }))
    }
}

/// What the tags of a copy say: whose it is and where it comes from. A copy that `rotate-snapshots` made within the
/// account names schedules too; the vault's never do, so that neither function touches the other's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyClaim {
    /// The policy's name.
    pub policy: String,
    /// The rule's name, see [`crate::policy::CopyRule::name`].
    pub rule: String,
    /// Of a copy within the account: the schedules whose rule made it.
    pub schedules: BTreeSet<String>,
    /// What was copied.
    pub source_snapshot: SnapshotId,
    /// Who owned it.
    pub source_account: AccountId,
    /// Where it was.
    pub source_region: Region,
    /// What it was a snapshot of; a placeholder, where nobody tells.
    pub source_volume: VolumeId,
    /// Not EC2 told the volume but the source's description, which its owner wrote.
    pub volume_described: bool,
    /// When the source began, to the second; copies of older versions do not say it.
    pub source_start: Option<Timestamp>,
    /// The slot that the source served, where its description tells.
    pub slot: Option<Slot>,
}

/// What copies are generations of, within one source account. What EC2 tells and what an owner writes are kept apart:
/// nobody may push out the copies of a volume by claiming that something else is of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lineage {
    /// EC2 told the volume.
    Volume(VolumeId),
    /// The description did.
    Described(VolumeId),
    /// Nobody did: it may be the only one of its volume.
    Alone(SnapshotId),
}

/// The one value of [`SOURCE_VOLUME_BY`].
const DESCRIPTION: &str = "description";

impl CopyClaim {
    /// What it is a generation of.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        if self.source_volume.is_placeholder() {
            Lineage::Alone(self.source_snapshot.clone())
        } else if self.volume_described {
            Lineage::Described(self.source_volume.clone())
        } else {
            Lineage::Volume(self.source_volume.clone())
        }
    }

    /// `None` for a snapshot that is no copy of ours or whose set of tags is not complete.
    #[must_use]
    pub fn read(tags: &Tags) -> Option<Self> {
        Some(Self {
            policy: tags.get(POLICY).filter(|name| !name.is_empty())?.clone(),
            rule: tags.get(RULE).filter(|name| !name.is_empty())?.clone(),
            schedules: match tags.get(SCHEDULE) {
                Some(text) if text.split(',').all(|name| !name.is_empty()) => {
                    text.split(',').map(str::to_owned).collect()
                }
                Some(_) => return None,
                None => BTreeSet::new(),
            },
            source_snapshot: tags.get(SOURCE_SNAPSHOT)?.parse().ok()?,
            source_account: tags.get(SOURCE_ACCOUNT)?.parse().ok()?,
            source_region: tags.get(SOURCE_REGION)?.parse().ok()?,
            source_volume: tags.get(SOURCE_VOLUME)?.parse().ok()?,
            volume_described: match tags.get(SOURCE_VOLUME_BY).map(String::as_str) {
                None => false,
                Some(DESCRIPTION) => true,
                Some(_) => return None,
            },
            source_start: match tags.get(SOURCE_START_TIME) {
                Some(text) => Some(text.parse::<Slot>().ok()?.timestamp()),
                None => None,
            },
            slot: match tags.get(SLOT) {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            },
        })
    }

    /// Whether it is no copy that anybody keeps, but stands in for a snapshot of the same account and Region: see
    /// [`RESCUE`].
    #[must_use]
    pub fn stands_in(&self) -> bool {
        self.rule == RESCUE
    }

    /// The tags that say it.
    #[must_use]
    pub fn write(&self) -> Tags {
        let mut tags = Tags::from([
            (POLICY.into(), self.policy.clone()),
            (RULE.into(), self.rule.clone()),
            (SOURCE_SNAPSHOT.into(), self.source_snapshot.to_string()),
            (SOURCE_ACCOUNT.into(), self.source_account.to_string()),
            (SOURCE_REGION.into(), self.source_region.to_string()),
            (SOURCE_VOLUME.into(), self.source_volume.to_string()),
        ]);
        if self.volume_described {
            tags.insert(SOURCE_VOLUME_BY.into(), DESCRIPTION.into());
        }
        if let Some(start) = self.source_start {
            tags.insert(SOURCE_START_TIME.into(), instant(start));
        }
        if !self.schedules.is_empty() {
            tags.insert(SCHEDULE.into(), join(&self.schedules));
        }
        if let Some(slot) = self.slot {
            tags.insert(SLOT.into(), slot.to_string());
        }
        tags
    }
}

/// The instant in `snapferry:expires-at`; `None` where there is none that can be read.
#[must_use]
pub fn expires_at(tags: &Tags) -> Option<Timestamp> {
    tags.get(EXPIRES_AT)?.parse::<Slot>().ok().map(Slot::timestamp)
}

/// How many snapshots the whole set has, as far as one of them tells.
#[must_use]
pub fn set_size(tags: &Tags) -> usize {
    tags.get(VOLUMES).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// An instant as the tags have it: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn instant(at: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(0)).timestamp_to_string(&at)
}

/// Comma-separated.
#[must_use]
pub fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The user's tags that may be copied to another resource: `aws:` is reserved to AWS, `snapferry:` to us, and
/// [`DLM_MANAGED`] would make the copy Data Lifecycle Manager's, which nobody would ever delete. `room` says how many
/// still fit, in key order.
#[must_use]
pub fn copyable(tags: &Tags, room: usize) -> Tags {
    tags.some(room, |key| !is_reserved(key) && key != DLM_MANAGED)
}

/// Whether the key is AWS's or ours, so that no user may set it through us.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.starts_with("aws:") || key.starts_with("snapferry:")
}

/// The service that manages a snapshot with these tags instead of us. Only AWS itself can write `aws:`, so whatever
/// begins with it is somebody's.
#[must_use]
pub fn foreign_manager(tags: &Tags) -> Option<&'static str> {
    let known = tags.keys().find_map(|key| {
        if key.starts_with("aws:backup:") {
            Some("AWS Backup")
        } else if key.starts_with("aws:dlm:") || key == DLM_MANAGED {
            Some("Data Lifecycle Manager")
        } else {
            None
        }
    });
    known.or_else(|| tags.keys().any(|key| key.starts_with("aws:")).then_some("an AWS service"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot() -> impl Strategy<Value = Slot> {
        (0_i64..4_000_000_000).prop_map(|s| Slot::new(Timestamp::from_second(s).unwrap()))
    }

    proptest! {
        #[test]
        fn a_claim_survives_the_round_trip(
            policy in "[A-Za-z0-9 _.-]{1,64}",
            schedules in proptest::collection::btree_set("[0-9A-Za-z _-]{1,20}", 1..4),
            slot in slot(),
            instance in proptest::option::of(Just("i-0123456789abcdef0".parse().unwrap())),
        ) {
            let claim = Claim { policy, schedules, slot, instance };
            prop_assert_eq!(Claim::read(&claim.write()), Some(claim));
        }

        #[test]
        fn a_copy_claim_survives_the_round_trip(
            rule in "[a-z]{2}-[a-z]{4}-[1-9](/[1-9])?",
            n in 0_u64..u64::from(u32::MAX),
            slot in proptest::option::of(slot()),
            volume_described in any::<bool>(),
            schedules in proptest::collection::btree_set("[0-9A-Za-z _-]{1,20}", 0..4),
        ) {
            let claim = CopyClaim {
                policy: "vault".into(),
                rule,
                schedules,
                source_snapshot: format!("snap-{n:017x}").parse().unwrap(),
                source_account: AccountId::from_number(n).unwrap(),
                source_region: "eu-central-1".parse().unwrap(),
                source_volume: format!("vol-{n:017x}").parse().unwrap(),
                volume_described,
                source_start: slot.map(Slot::timestamp),
                slot,
            };
            prop_assert_eq!(CopyClaim::read(&claim.write()), Some(claim.clone()));
            prop_assert_eq!(Claim::read(&claim.write()), None);
        }

        #[test]
        fn without_any_one_of_its_tags_a_snapshot_is_not_ours(drop in 0_usize..3) {
            let claim = Claim {
                policy: "p".into(),
                schedules: BTreeSet::from(["s".to_owned()]),
                slot: Slot::new(Timestamp::UNIX_EPOCH),
                instance: None,
            };
            let mut tags = claim.write();
            let key = tags.keys().nth(drop).unwrap().clone();
            tags.remove(&key);
            prop_assert_eq!(Claim::read(&tags), None);
        }
    }

    #[test]
    fn reserved_keys_are_not_copied() {
        let tags = Tags::from([
            ("AWS:x".into(), "1".into()),
            ("aws:backup:source-resource".into(), "1".into()),
            ("snapferry:policy".into(), "forged".into()),
            ("dlm:managed".into(), "true".into()),
            ("Name".into(), "web".into()),
            ("Owner".into(), "me".into()),
        ]);
        assert_eq!(copyable(&tags, 1), Tags::from([("Name".into(), "web".into())]));
        assert_eq!(copyable(&tags, 9).len(), 2);
        assert_eq!(foreign_manager(&tags), Some("AWS Backup"));
        let manager = |key: &str| {
            let first = ("aws:a".to_owned(), String::new());
            foreign_manager(&Tags::from([(key.to_owned(), String::new()), first]))
        };
        assert_eq!(manager("aws:dlm:x"), Some("Data Lifecycle Manager"));
        assert_eq!(manager("aws:cloudformation:stack-name"), Some("an AWS service"));
        assert_eq!(foreign_manager(&Tags::from([("AWS:x".into(), String::new())])), None);
    }
}

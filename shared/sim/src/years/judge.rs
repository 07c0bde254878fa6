//! The judge: says from what has happened alone what must be there, what must not, and what may go. It shares nothing with
//! the planner: it reads raw tags by names of its own, and policies as their operator thinks of them.

use jiff::Timestamp;
use snapferry_core::ids::{Scope, SnapshotId, VolumeId};
use snapferry_core::inventory::State;

use super::wishes::Policy;
use crate::record::Record;

pub(super) mod birth;
pub(super) mod deletion;
pub(super) mod rest;
mod retention;
mod vault;

/// Seconds since 1970, or so many of them.
type Seconds = i64;

const HOUR: Seconds = 3600;
const DAY: Seconds = 24 * HOUR;

/// A snapshot that `rotate-snapshots` made, by its tags.
struct Own<'a> {
    record: &'a Record,
    policy: &'a str,
    schedules: Vec<&'a str>,
    slot: Seconds,
    start: Timestamp,
}

/// A copy that either function made, by its tags.
struct Copied<'a> {
    record: &'a Record,
    policy: &'a str,
    rule: &'a str,
    /// Empty: the vault's.
    schedules: Vec<&'a str>,
    source: &'a str,
    account: &'a str,
    volume: &'a str,
    /// When its source began.
    data: Seconds,
}

/// A volume as it really is.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) id: VolumeId,
    pub(super) scope: Scope,
    /// The policies whose tag it has. `None`: it is gone.
    pub(super) tags: Option<Vec<String>>,
    pub(super) has_default_key: bool,
    /// Its tags, or whether it is there, changed while the run was under way.
    pub(super) is_changing: bool,
}

impl Disk {
    /// Whether the policy wants it; `None`: it is gone.
    fn is_target(&self, policy: &Policy) -> Option<bool> {
        self.tags.as_ref().map(|tags| tags.iter().any(|it| it == policy.name))
    }
}

fn tag<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.snapshot.tags.get(&format!("snapferry:{name}")).map(String::as_str)
}

fn seconds(text: &str) -> Option<Seconds> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

impl<'a> Own<'a> {
    fn read(record: &'a Record) -> Option<Self> {
        if tag(record, "source-snapshot").is_some() {
            return None;
        }
        Some(Self {
            record,
            policy: tag(record, "policy")?,
            schedules: tag(record, "schedule")?.split(',').collect(),
            slot: seconds(tag(record, "slot")?)?,
            start: record.snapshot.start_time,
        })
    }

    fn id(&self) -> &'a SnapshotId {
        &self.record.snapshot.id
    }

    fn volume(&self) -> &'a VolumeId {
        &self.record.snapshot.volume_id
    }

    /// Later than the other; ids settle a tie.
    fn is_after(&self, other: &Self) -> bool {
        (self.start, self.id()) > (other.start, other.id())
    }

    /// Of one volume, for one purpose.
    fn is_twin(&self, other: &Self) -> bool {
        let purpose = |it: &Self| (it.volume().clone(), it.policy.to_owned(), it.slot);
        purpose(self) == purpose(other) && self.schedules == other.schedules
    }
}

impl<'a> Copied<'a> {
    fn read(record: &'a Record) -> Option<Self> {
        Some(Self {
            record,
            policy: tag(record, "policy")?,
            rule: tag(record, "rule")?,
            schedules: tag(record, "schedule").map_or_else(Vec::new, |it| it.split(',').collect()),
            source: tag(record, "source-snapshot")?,
            account: tag(record, "source-account")?,
            volume: tag(record, "source-volume")?,
            data: seconds(tag(record, "source-start-time")?)?,
        })
    }

    /// Begun later; ids settle a tie.
    fn is_younger(&self, other: &Self) -> bool {
        let age = |it: &Self| (it.record.snapshot.start_time, it.record.snapshot.id.clone());
        age(self) > age(other)
    }

    /// Made from later data; of the same data, begun later.
    fn is_after(&self, other: &Self) -> bool {
        self.data > other.data || (self.data == other.data && self.is_younger(other))
    }

    /// Of one source by one rule.
    fn is_twin(&self, other: &Self) -> bool {
        (self.policy, self.rule, self.source) == (other.policy, other.rule, other.source)
    }

    /// Of one volume.
    fn is_of_same(&self, other: &Self) -> bool {
        (self.account, self.volume) == (other.account, other.volume)
    }
}

fn expires_at(record: &Record) -> Option<Seconds> {
    seconds(tag(record, "expires-at")?)
}

fn is_good(record: &Record) -> bool {
    matches!(record.snapshot.state, State::Pending | State::Completed)
}

fn is_completed(record: &Record) -> bool {
    record.snapshot.state == State::Completed
}

/// An AMI or a lock needs it.
fn is_needed(record: &Record, now: Timestamp) -> bool {
    record.image.is_some() || record.is_locked(now)
}

/// One line about a snapshot.
fn about(record: &Record) -> String {
    let snapshot = &record.snapshot;
    let ours = |(key, value): (&String, &String)| {
        Some(format!("{}={value}", key.strip_prefix("snapferry:")?))
    };
    let tags: Vec<String> = snapshot.tags.iter().filter_map(ours).collect();
    format!(
        "{} of {} in {}/{}, {}, begun {}, {}",
        snapshot.id,
        snapshot.volume_id,
        snapshot.owner,
        record.region,
        snapshot.state,
        snapshot.start_time,
        tags.join(" ")
    )
}

#[cfg(test)]
mod tests {
    /// The judge would be worth little if it asked the planner.
    #[test]
    fn nothing_of_the_core_is_used_but_ids_and_states() {
        let files = [
            include_str!("judge.rs"),
            include_str!("judge/birth.rs"),
            include_str!("judge/deletion.rs"),
            include_str!("judge/rest.rs"),
            include_str!("judge/retention.rs"),
            include_str!("judge/vault.rs"),
            include_str!("wishes.rs"),
        ];
        let core = concat!("snapferry", "_core::");
        let used = files.iter().flat_map(|text| text.split(core).skip(1));
        let used: Vec<&str> = used.filter_map(|rest| rest.lines().next()).collect();
        assert!(used.len() > 5, "{used:?}");
        let allowed = |it: &str| it.starts_with("ids::") || it == "inventory::State;";
        assert!(used.iter().all(|it| allowed(it)), "{used:?}");
    }
}

//! What there is, as a test wants to read it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snapferry_core::ids::{InstanceId, VolumeId};
use snapferry_core::tags;
use snapferry_sim::{Record, Sim};

/// The snapshots of a volume, oldest first. Copies are not among them.
pub(crate) fn of_volume(sim: &Sim, volume: &VolumeId) -> Vec<Record> {
    let records = sim.records().into_iter();
    records.filter(|it| it.snapshot.volume_id == *volume).collect()
}

/// The snapshots that say that they were made of the instance, by slot; the older set first, and in it by volume.
pub(crate) fn of_instance(sim: &Sim, instance: &InstanceId) -> BTreeMap<String, Vec<Record>> {
    let mut sets: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in sim.records() {
        let tags = &record.snapshot.tags;
        if tags.get(tags::INSTANCE).is_some_and(|it| it == instance.as_str()) {
            let slot = tags.get(tags::SLOT).cloned().unwrap_or_default();
            sets.entry(slot).or_default().push(record);
        }
    }
    for set in sets.values_mut() {
        set.sort_by(|a, b| a.snapshot.volume_id.cmp(&b.snapshot.volume_id));
    }
    sets
}

/// Copies of the volume's snapshots, oldest first, wherever they are: by the tag that our copies carry.
pub(crate) fn copies_of_volume(sim: &Sim, volume: &VolumeId) -> Vec<Record> {
    let of_it = |record: &Record| {
        record.snapshot.tags.get(tags::SOURCE_VOLUME).is_some_and(|it| it == volume.as_str())
    };
    sim.records().into_iter().filter(of_it).collect()
}

/// One line for a snapshot: slot, state and whatever else is true, such as
/// `2026-11-22T02:00:00Z completed archive locked until 2026-11-23T00:00:00Z fast in eu-central-1a shared with
/// 222222222222`.
pub(crate) fn line(record: &Record, now: Timestamp) -> String {
    let slot = record.snapshot.tags.get(tags::SLOT).map_or("no slot", String::as_str);
    let mut parts = vec![slot.to_owned(), record.snapshot.state.to_string()];
    if record.snapshot.archived {
        parts.push("archive".into());
    } else if let Some(tiering) = record.tiering {
        parts.push(format!("{:?}", tiering.status).to_lowercase());
    }
    if let Some(lock) = record.lock.filter(|lock| lock.holds(now)) {
        parts.push(format!("locked until {}", tags::instant(lock.until)));
    }
    if !record.fast_restores.is_empty() {
        parts.push(format!("fast in {}", tags::join(&record.fast_restores)));
    }
    if !record.shared_with.is_empty() {
        parts.push(format!("shared with {}", tags::join(&record.shared_with)));
    }
    parts.join(" ")
}

/// The [`line`]s of a volume's snapshots, oldest first.
pub(crate) fn lines_of(sim: &Sim, volume: &VolumeId) -> Vec<String> {
    of_volume(sim, volume).iter().map(|record| line(record, sim.now())).collect()
}

/// How often each source was copied to each Region, since the journal was last taken.
pub(crate) fn times_copied(sim: &Sim) -> BTreeMap<(String, String), usize> {
    let mut times = BTreeMap::new();
    for call in sim.take_journal().into_iter().filter(|it| it.operation == "CopySnapshot") {
        *times.entry((call.object, call.scope.region.to_string())).or_default() += 1;
    }
    times
}

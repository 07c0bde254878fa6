//! `CreateSnapshot` and `CreateSnapshots`.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use snapferry_core::ec2::{CreateSnapshot, CreateSnapshots, ErrorKind};
use snapferry_core::ids::{Scope, SnapshotId, VolumeId};
use snapferry_core::inventory::{Snapshot, State};
use snapferry_core::policy::Tags;

use super::acceptable;
use crate::calls::{Refusal, refuse};
use crate::record::{Disk, Record, SimInstance};
use crate::world::World;

/// How many volumes a call can name to be left out.
const MAX_EXCLUDED: usize = 40;

impl World {
    pub(crate) fn create_snapshot(
        &mut self,
        scope: &Scope,
        request: &CreateSnapshot,
    ) -> Result<SnapshotId, Refusal> {
        let snapshot = self.new_snapshot(scope, &request.volume, &request.description)?;
        acceptable(&request.tags, &request.description)?;
        let made = self.begin_of_volume(Snapshot { tags: request.tags.clone(), ..snapshot });
        self.tick();
        Ok(made)
    }

    /// All or none.
    pub(crate) fn create_snapshots(
        &mut self,
        scope: &Scope,
        request: &CreateSnapshots,
    ) -> Result<Vec<SnapshotId>, Refusal> {
        let instance = match self.instances.get(&request.instance) {
            Some((at, instance)) if at == scope => instance,
            _ => {
                let what = format!("The instance ID '{}' does not exist", request.instance);
                return refuse(ErrorKind::NotFound, "InvalidInstanceID.NotFound", what);
            }
        };
        if !instance.state.is_usable() {
            let what = format!("{} is {:?}", request.instance, instance.state);
            return refuse(ErrorKind::NotReady, "IncorrectState", what);
        }
        let mut snapshots = Vec::new();
        for volume in volumes_of(instance, request)? {
            let mut snapshot = self.new_snapshot(scope, &volume, &request.description)?;
            if request.copy_tags {
                snapshot.tags = self.tags_to_copy(&volume);
            }
            snapshot.tags.extend(request.tags.clone());
            acceptable(&snapshot.tags, &request.description)?;
            snapshots.push(snapshot);
        }
        // No tick between them: they show one instant.
        let made = snapshots.into_iter().map(|it| self.begin_of_volume(it)).collect();
        self.tick();
        Ok(made)
    }

    /// Not EC2's own: nobody can write those.
    fn tags_to_copy(&self, volume: &VolumeId) -> Tags {
        let mut tags = self.volumes.get(volume).map(|it| it.volume.tags.clone());
        if let Some(tags) = &mut tags {
            tags.retain(|key, _| !key.starts_with("aws:"));
        }
        tags.unwrap_or_default()
    }

    /// A snapshot of the volume that could begin now.
    fn new_snapshot(
        &mut self,
        scope: &Scope,
        volume: &VolumeId,
        description: &str,
    ) -> Result<Snapshot, Refusal> {
        let id = self.new_id();
        let disk = match self.volumes.get(volume) {
            Some(disk) if disk.scope == *scope => disk,
            _ => {
                let what = format!("The volume '{volume}' does not exist.");
                return refuse(ErrorKind::NotFound, "InvalidVolume.NotFound", what);
            }
        };
        self.may_begin(disk)?;
        self.has_room(scope)?;
        Ok(Snapshot {
            id,
            volume_id: volume.clone(),
            owner: scope.account.clone(),
            state: State::Pending,
            state_message: None,
            start_time: self.now,
            description: description.to_owned(),
            volume_size_gib: disk.size_gib,
            archived: false,
            encrypted: disk.volume.kms_key_id.is_some(),
            kms_key_id: disk.volume.kms_key_id.clone(),
            tags: Tags::new(),
        })
    }

    fn may_begin(&self, disk: &Disk) -> Result<(), Refusal> {
        let volume = &disk.volume;
        if !volume.usable {
            let what = format!("{} is not available", volume.id);
            return refuse(ErrorKind::NotReady, "IncorrectState", what);
        }
        let every = self.settings.snapshot_every;
        if disk.last_snapshot.is_some_and(|at| self.now.duration_since(at) < every) {
            return refuse(
                ErrorKind::QuotaExceeded,
                "SnapshotCreationPerVolumeRateExceeded",
                "The maximum per volume CreateSnapshot request rate has been exceeded.",
            );
        }
        // Failed ones count too, and deleted ones until they would have been completed.
        let counts = |it: &&Record| {
            it.snapshot.volume_id == volume.id
                && matches!(it.snapshot.state, State::Pending | State::Error)
        };
        let concurrent = self.own(&disk.scope).filter(counts).count()
            + disk.leaving.iter().filter(|until| **until > self.now).count();
        let slow = matches!(volume.volume_type.as_str(), "st1" | "sc1");
        if concurrent >= if slow { 1 } else { 5 } {
            return refuse(
                ErrorKind::QuotaExceeded,
                "ConcurrentSnapshotLimitExceeded",
                format!("Maximum allowed in-progress snapshots for {} exceeded.", volume.id),
            );
        }
        Ok(())
    }

    fn begin_of_volume(&mut self, snapshot: Snapshot) -> SnapshotId {
        let now = self.now;
        let scope = self.volumes.get_mut(&snapshot.volume_id).map(|disk| {
            disk.last_snapshot = Some(now);
            disk.leaving.retain(|until| *until > now);
            disk.scope.clone()
        });
        let made = snapshot.id.clone();
        if let Some(scope) = scope {
            let ends = (self.settings.snapshot_takes, State::Completed, None);
            self.begin(Record::new(&scope.region, snapshot), ends);
        }
        made
    }

    pub(super) fn begin(
        &mut self,
        record: Record,
        (takes, state, message): (SignedDuration, State, Option<String>),
    ) {
        self.write();
        let ends = Some((self.after(takes), state, message));
        self.snapshots.insert(record.snapshot.id.clone(), Record { ends, ..record });
    }

    /// EC2 counts start times in milliseconds, and a call takes longer.
    pub(super) fn tick(&mut self) {
        self.now = self.after(SignedDuration::from_millis(1));
    }
}

/// What is attached to the instance and not left out.
fn volumes_of(instance: &SimInstance, request: &CreateSnapshots) -> Result<Vec<VolumeId>, Refusal> {
    let excluded = &request.exclude_data_volumes;
    if excluded.len() > MAX_EXCLUDED {
        let what = format!("more than {MAX_EXCLUDED} ExcludeDataVolumeIds");
        return refuse(ErrorKind::Invalid, "InvalidParameter", what);
    }
    let boot = instance.boot_volume();
    if boot.is_some_and(|boot| excluded.contains(boot)) {
        let what = "ExcludeDataVolumeIds has the root volume";
        return refuse(ErrorKind::Invalid, "InvalidParameterValue", what);
    }
    let mut seen = BTreeSet::new();
    let volumes: Vec<VolumeId> = instance
        .devices
        .values()
        .filter(|volume| !(request.exclude_boot_volume && boot == Some(*volume)))
        .filter(|volume| !excluded.contains(*volume) && seen.insert(*volume))
        .cloned()
        .collect();
    if volumes.is_empty() {
        let what = "every volume of the instance is left out";
        return refuse(ErrorKind::Invalid, "InvalidParameter", what);
    }
    Ok(volumes)
}

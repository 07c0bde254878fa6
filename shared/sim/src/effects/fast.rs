//! Fast snapshot restores.

use std::collections::BTreeSet;

use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::{Scope, SnapshotId};

use super::{completed, in_standard_tier};
use crate::calls::{Refusal, refuse};
use crate::world::World;
use crate::zones::zones;

/// 16 TiB
const MAX_GIB: u32 = 16 * 1024;

impl World {
    pub(crate) fn enable_fast_snapshot_restores(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
        names: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let record = self.owned(scope, snapshot)?;
        completed(record)?;
        in_standard_tier(record)?;
        if record.snapshot.volume_size_gib > MAX_GIB {
            let what = format!("{snapshot} is larger than 16 TiB");
            return refuse(ErrorKind::Invalid, "InvalidParameterValue", what);
        }
        known(scope, names)?;
        let others = self
            .own(scope)
            .filter(|it| !it.fast_restores.is_empty() && it.snapshot.id != *snapshot)
            .count();
        if others >= self.settings.fast_restores {
            let what = "Too many snapshots of the Region are fast to restore.";
            return refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded", what);
        }
        self.write();
        self.owned(scope, snapshot)?.fast_restores.extend(names.iter().cloned());
        Ok(())
    }

    pub(crate) fn disable_fast_snapshot_restores(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
        names: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        self.owned(scope, snapshot)?;
        known(scope, names)?;
        self.write();
        self.owned(scope, snapshot)?.fast_restores.retain(|zone| !names.contains(zone));
        Ok(())
    }
}

/// There is a zone, and every one is of the Region.
fn known(scope: &Scope, names: &BTreeSet<String>) -> Result<(), Refusal> {
    let here: BTreeSet<String> = zones(&scope.region).into_values().collect();
    if names.is_empty() {
        return refuse(ErrorKind::Invalid, "MissingParameter", "AvailabilityZones is missing");
    }
    match names.difference(&here).next() {
        Some(unknown) => {
            let what = format!("Invalid availability zone: {unknown}");
            refuse(ErrorKind::Invalid, "InvalidParameterValue", what)
        }
        None => Ok(()),
    }
}

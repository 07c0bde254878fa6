//! Locks and the archive.

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ec2::{ErrorKind, LockSnapshot};
use snapferry_core::ids::{Scope, SnapshotId};
use snapferry_core::inventory::{State, Tiering, TieringStatus};
use snapferry_core::policy::LockMode;

use super::{completed, in_standard_tier};
use crate::calls::{Refusal, refuse};
use crate::record::{Lock, Record};
use crate::world::World;

impl World {
    pub(crate) fn lock_snapshot(
        &mut self,
        scope: &Scope,
        request: &LockSnapshot,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let record = self.owned(scope, &request.snapshot)?;
        if !matches!(record.snapshot.state, State::Pending | State::Completed) {
            let what = format!("{} is {}", request.snapshot, record.snapshot.state);
            return refuse(ErrorKind::NotReady, "IncorrectState", what);
        }
        let lock = new_lock(record, request, now)?;
        self.write();
        self.owned(scope, &request.snapshot)?.lock = Some(lock);
        Ok(())
    }

    pub(crate) fn archive_snapshot(
        &mut self,
        scope: &Scope,
        snapshot: &SnapshotId,
    ) -> Result<(), Refusal> {
        let record = self.owned(scope, snapshot)?;
        completed(record)?;
        in_standard_tier(record)?;
        if let Some(image) = &record.image {
            let what = format!("The snapshot {snapshot} is currently in use by {image}");
            return refuse(ErrorKind::InUse, "InvalidSnapshot.InUse", what);
        }
        let volume = record.snapshot.volume_id.clone();
        let underway = self.own(scope).filter(|it| it.is_archiving()).count();
        let of_volume = |it: &&Record| {
            it.snapshot.volume_id == volume && (it.snapshot.archived || it.is_archiving())
        };
        let archived = self.own(scope).filter(of_volume).count();
        if underway >= self.settings.archivings_at_once
            || archived >= self.settings.archived_per_volume
        {
            let what = "Too many snapshots of the Region in progress, or of the volume archived.";
            return refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded", what);
        }
        self.write();
        let over = self.after(self.settings.archiving_takes);
        let arrives = !self.settings.archiving_fails;
        let record = self.owned(scope, snapshot)?;
        record.archives = Some((over, arrives));
        record.tiering = Some(Tiering { status: TieringStatus::Archiving, archived_at: None });
        Ok(())
    }
}

/// The lock that there is afterwards.
fn new_lock(record: &Record, request: &LockSnapshot, now: Timestamp) -> Result<Lock, Refusal> {
    if request.until <= now {
        let what = "ExpirationDate is over";
        return refuse(ErrorKind::Invalid, "InvalidParameterValue", what);
    }
    let cools_until = match (request.mode, request.cool_off_period_hours) {
        (_, None) => None,
        (LockMode::Compliance, Some(hours @ 1..=72)) => {
            let hours = SignedDuration::from_hours(i64::from(hours));
            Some(now.checked_add(hours).unwrap_or(Timestamp::MAX))
        }
        _ => {
            let what = "CoolOffPeriod is 1 to 72, in compliance mode only";
            return refuse(ErrorKind::Invalid, "InvalidParameterCombination", what);
        }
    };
    let asked = Lock { mode: request.mode, until: request.until, cools_until };
    match record.lock {
        Some(lock) if lock.is_final(now) => {
            let longer = asked.mode == lock.mode && asked.until >= lock.until;
            if !longer || cools_until.is_some() {
                let what = "A lock in compliance mode can only be extended.";
                return refuse(ErrorKind::Invalid, "OperationNotPermitted", what);
            }
            Ok(Lock { until: asked.until, ..lock })
        }
        _ => Ok(asked),
    }
}

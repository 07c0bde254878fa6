//! `CopySnapshot`.

use snapferry_core::ec2::{CopySnapshot, ErrorKind};
use snapferry_core::ids::{Scope, SnapshotId};
use snapferry_core::inventory::{EbsEncryption, Snapshot, State};

use super::{acceptable, completed, in_region, in_standard_tier};
use crate::calls::{Refusal, refuse};
use crate::record::Record;
use crate::world::{World, id};

impl World {
    pub(crate) fn copy_snapshot(
        &mut self,
        scope: &Scope,
        request: &CopySnapshot,
    ) -> Result<SnapshotId, Refusal> {
        let usable = |record: &&Record| {
            record.region == request.source_region
                && (record.snapshot.owner == scope.account
                    || record.shared_with.contains(&scope.account))
        };
        let Some(source) = self.snapshots.get(&request.source).filter(usable) else {
            let what = format!("The snapshot '{}' does not exist.", request.source);
            return refuse(ErrorKind::NotFound, "InvalidSnapshot.NotFound", what);
        };
        completed(source)?;
        in_standard_tier(source)?;
        if request.kms_key.is_some() && !request.encrypted {
            let what = "KmsKeyId needs Encrypted";
            return refuse(ErrorKind::Invalid, "InvalidParameterDependency", what);
        }
        let in_steps = |minutes| (15..=2880).contains(&minutes) && minutes % 15 == 0;
        if request.completion_duration_minutes.is_some_and(|minutes| !in_steps(minutes)) {
            let what = "CompletionDurationMinutes is 15 to 2880, in steps of 15";
            return refuse(ErrorKind::Invalid, "InvalidParameterValue", what);
        }
        self.may_copy_more(scope, request)?;
        self.has_room(scope)?;
        acceptable(&request.tags, &request.description)?;
        let EbsEncryption { by_default, key: default } = self.ebs_encryption(scope);
        let encrypted = request.encrypted || source.snapshot.encrypted || by_default;
        let default =
            if default == super::DEFAULT_KEY { super::default_key(scope) } else { default };
        let key = encrypted
            .then(|| request.kms_key.as_ref().map_or(default, |key| key.as_str().to_owned()));
        // EC2 says yes first, and looks at the keys later.
        let source_key = source.snapshot.kms_key_id.as_deref();
        let source_readable = source_key.is_none_or(|arn| self.usable(arn, &scope.account));
        let managed = super::default_key(scope);
        let target = key.as_deref().filter(|arn| *arn != managed);
        let target_usable =
            target.is_none_or(|arn| in_region(arn, scope) && self.usable(arn, &scope.account));
        let (state, message) = if source_readable && target_usable {
            (State::Completed, None)
        } else {
            (State::Error, Some("Given key ID is not accessible".into()))
        };
        let volume_size_gib = source.snapshot.volume_size_gib;
        let made = self.new_id();
        let snapshot = Snapshot {
            id: made.clone(),
            volume_id: id("vol-ffffffff"),
            owner: scope.account.clone(),
            state: State::Pending,
            state_message: None,
            start_time: self.now,
            description: request.description.clone(),
            volume_size_gib,
            archived: false,
            encrypted,
            kms_key_id: key.map(Into::into),
            tags: request.tags.clone(),
        };
        let by_size = self
            .settings
            .copy_takes_per_gib
            .saturating_mul(i32::try_from(volume_size_gib).unwrap_or(i32::MAX));
        let ends = (self.settings.copy_takes.saturating_add(by_size), state, message);
        let copy_of = Some(request.source.clone());
        let completion_duration_minutes = request.completion_duration_minutes;
        let record = Record::new(&scope.region, snapshot);
        self.begin(Record { copy_of, completion_duration_minutes, ..record }, ends);
        self.tick();
        Ok(made)
    }

    fn may_copy_more(&self, scope: &Scope, request: &CopySnapshot) -> Result<(), Refusal> {
        let in_progress = || {
            let own = self.own(scope);
            own.filter(|it| it.copy_of.is_some() && it.snapshot.state == State::Pending)
        };
        let full = |what: &str| refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded", what);
        if in_progress().count() >= self.settings.copies_at_once {
            return full("Too many snapshot copies in progress.");
        }
        let timed = in_progress().filter(|it| it.completion_duration_minutes.is_some()).count();
        if request.completion_duration_minutes.is_some()
            && timed >= self.settings.timed_copies_at_once
        {
            // AWS does not tell the code.
            return full("The snapshot copy throughput quota is used up.");
        }
        Ok(())
    }
}

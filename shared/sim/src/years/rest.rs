//! A world in which everything works has to come right, and then to get no more calls.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use snapferry_core::event::{CopyEvent, RotateEvent};
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;

use super::judge::rest::Rest;
use super::play::{Play, Wake};
use crate::calls::Call;
use crate::record::Record;

impl Play<'_> {
    /// Both functions, as scheduled for that time.
    fn both(&mut self, at: Timestamp) -> Result<[Run; 2], String> {
        let event = RotateEvent { scheduled_time: Some(at), ..RotateEvent::default() };
        let rotated = self.well(&Wake::Rotate(event))?;
        let mut calls = std::mem::take(&mut self.last_calls);
        let copied = self.well(&Wake::Copy(CopyEvent::default()))?;
        calls.append(&mut self.last_calls);
        self.last_calls = calls;
        Ok([rotated, copied])
    }

    /// No fault is left but what people have done to roles and keys: what is missing for that is told, each by itself.
    pub(super) fn tells_what_is_missing(&mut self) -> Result<(), String> {
        let (since, before) = (self.sim.now(), self.sim.records());
        let runs = self.both(since)?;
        let mut named: BTreeSet<String> = BTreeSet::new();
        for run in &runs {
            let told = run.report.actions.iter().filter(|it| it.outcome != OutcomeName::Done);
            for line in told {
                named.extend(line.volume_id.iter().map(ToString::to_string));
                named.extend(line.source_snapshot_id.iter().map(ToString::to_string));
            }
            for line in &run.report.held {
                named.extend(line.volume_id.iter().map(ToString::to_string));
                named.extend(line.source_snapshot_id.iter().map(ToString::to_string));
            }
            named.extend(run.unreadable.iter().map(|it| it.scope.account.to_string()));
        }
        let after = self.sim.records();
        let [before, after] = [&before, &after].map(|records| self.missing(records, since));
        // What ends in error while a run is under way is the next one's to tell.
        for (what, by) in after.into_iter().filter(|it| before.contains(it)) {
            if by.iter().all(|it| !named.contains(it)) {
                return Err(format!("nobody is told that {what}"));
            }
        }
        Ok(())
    }

    /// What is missing, each with the names of which one has to be told.
    fn missing(&self, records: &[Record], since: Timestamp) -> Vec<(String, Vec<String>)> {
        let rest = Rest {
            wishes: &self.wishes,
            records,
            disks: &self.disks,
            rotated: self.rotated,
            since,
            now: self.sim.now(),
        };
        let snapshots = rest.snapshots_due().into_iter().filter(|it| it.good == 0);
        let snapshots = snapshots.map(|it| {
            (format!("there is no snapshot of {}", it.what), vec![it.volume, it.account])
        });
        let copies = rest.copies_due().into_iter().filter(|it| it.good == 0);
        let copies = copies
            .map(|it| (format!("{} has no copy in {}", it.source, it.region), vec![it.source]));
        snapshots.chain(copies).collect()
    }

    /// The world is right, nobody has to act, and the next runs change nothing.
    pub(super) fn rests(&mut self) -> Result<(), String> {
        let since = self.settles()?;
        let records = self.sim.records();
        let rest = Rest {
            wishes: &self.wishes,
            records: &records,
            disks: &self.disks,
            rotated: self.rotated,
            since,
            now: self.sim.now(),
        };
        if let Some(wrong) = rest.wrong().first() {
            return Err(format!("at rest: {wrong}"));
        }
        for strange in &self.strange {
            if !records.iter().any(|it| it.snapshot.id == *strange) {
                return Err(format!("{strange}, which is not ours, is gone"));
            }
        }
        self.tally.rests += 1;
        Ok(())
    }

    /// Where no slot falls due any more, runs end that change nothing and leave nothing to do.
    fn settles(&mut self) -> Result<Timestamp, String> {
        let at = self.sim.now();
        let mut left = String::new();
        for _ in 0..60 {
            let since = self.sim.now();
            let runs = self.both(at)?;
            let changes = changes_of(&self.last_calls);
            let waits = runs.iter().any(|run| run.report.status == Status::Incomplete);
            if changes.is_empty() && !waits {
                return self.is_quiet(&runs).map(|()| since);
            }
            let waiting = runs.iter().flat_map(|run| &run.report.actions);
            let waiting = waiting.filter(|it| it.outcome == OutcomeName::Deferred).take(3);
            left = format!("{changes:?}, {:?}", waiting.collect::<Vec<_>>());
            self.sim.advance(SignedDuration::from_mins(30));
        }
        Err(format!("a world does not come to rest: {left}"))
    }

    /// But for volumes under `aws/ebs` that are to be shared, which can never be quiet, nobody has to act.
    fn is_quiet(&self, runs: &[Run; 2]) -> Result<(), String> {
        for run in runs {
            if let Some(unreadable) = run.unreadable.first() {
                return Err(format!("{} cannot be read", unreadable.scope));
            }
            for line in run.report.actions.iter().filter(|it| it.outcome == OutcomeName::Failed) {
                let of = line.volume_id.as_ref();
                let sealed = self.disks.iter().filter(|disk| disk.has_default_key);
                if !sealed.into_iter().any(|disk| of == Some(&disk.id)) {
                    return Err(format!("at rest somebody is told to act: {line:?}"));
                }
            }
        }
        Ok(())
    }
}

fn changes_of(calls: &[Call]) -> Vec<String> {
    let changes = calls.iter().filter(|it| it.mutates());
    changes.map(|call| format!("{} {}", call.operation, call.object)).collect()
}

//! Mishaps: what holds while they last, and that everything comes right when they are over.

use std::pin::Pin;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use snapferry_core::ec2::ErrorKind;
use snapferry_core::event::CopyScope;
use snapferry_core::inventory::{Snapshot, State};
use snapferry_core::run::Run;
use snapferry_core::tags::{Claim, CopyClaim};
use snapferry_sim::{Aws, Call, Deletion, Fault, Rng, Sim, drive, interleave};

use super::{copying, failure, is_good, minutes, mutations, rotation, vault};

/// Which function runs.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    Rotate,
    Sweep,
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

/// Both functions' documents are given to both, as a user's Parameter Store might.
pub(crate) struct Weather<'a> {
    pub(crate) sim: &'a Sim,
    pub(crate) documents: &'a [Value],
    pub(crate) functions: &'a [Function],
}

impl Weather<'_> {
    /// So many runs of every function, `step` apart, in which calls fail in every way, runs die and meet, and snapshots
    /// fail. Nothing is lost.
    pub(crate) fn storm(&self, seed: u64, runs: usize, step: SignedDuration) {
        let mut rng = Rng(seed);
        self.sim.set(|it| {
            it.turns = 3;
            it.remember = 6;
            if !seed.is_multiple_of(3) {
                it.snapshot_every = SignedDuration::ZERO; // more doubles
            }
        });
        for _ in 0..runs {
            self.sim.on_call(faults(rng.any(), 1 + rng.any() % 5));
            for function in self.functions {
                self.mishap(*function, &mut rng);
                assert_safe(self.sim);
            }
            if rng.below(4) == 0 {
                self.fail_one(&mut rng);
            }
            self.sim.advance(step);
        }
        self.sim.no_faults();
    }

    fn mishap(&self, function: Function, rng: &mut Rng) {
        let now = self.sim.now();
        if rng.below(4) == 0 {
            let dying = self.sim.aws_dying_after(&vault(), rng.below(30));
            drop(drive(self.running(function, &dying, now)));
            return;
        }
        let aws = self.sim.aws(&vault());
        let n = 1 + rng.below(2);
        let runs = (0..n).map(|_| self.running(function, &aws, now)).collect();
        for run in interleave(rng.any(), runs) {
            assert_eq!(run.unwrap().violations, []);
        }
    }

    fn running<'a>(&'a self, function: Function, aws: &'a Aws, now: Timestamp) -> Running<'a> {
        match function {
            Function::Rotate => Box::pin(rotation(aws, self.documents, now)),
            Function::Sweep => Box::pin(copying(aws, self.documents, CopyScope::Sweep, now)),
        }
    }

    /// One of the pending snapshots ends in error.
    fn fail_one(&self, rng: &mut Rng) {
        let pending = |it: &snapferry_sim::Record| it.snapshot.state == State::Pending;
        let pending: Vec<_> = self.sim.records().into_iter().filter(pending).collect();
        if let Some(record) = pending.get(rng.below(pending.len())) {
            self.sim.change(&record.snapshot.id, |it| {
                it.snapshot.state = State::Error;
                it.ends = None;
            });
        }
    }

    /// When everything works, runs and time make it right; and then nothing more is done.
    pub(crate) fn calm(&self, context: impl std::fmt::Display) {
        let aws = self.sim.aws(&vault());
        let run = |function: &Function| {
            let run = drive(self.running(*function, &aws, self.sim.now())).unwrap();
            assert_eq!(run.violations, [], "{context}");
            assert_eq!(run.n_withheld, 0, "{context}");
            assert_safe(self.sim);
            run
        };
        for _ in 0..10 {
            self.functions.iter().for_each(|it| drop(run(it)));
            self.sim.advance(minutes(25));
        }
        // A repetition goes before what it repeats, so at one time a few runs may be needed.
        for _ in 0..3 {
            self.functions.iter().for_each(|it| drop(run(it)));
        }
        drop(self.sim.take_journal());
        for function in self.functions {
            assert_eq!(failure(&run(function)), "", "{context}");
        }
        assert_eq!(mutations(self.sim), Vec::<String>::new(), "{context}");
    }
}

/// In so many of 16 calls something goes wrong.
pub(crate) fn faults(seed: u64, chance: u64) -> impl FnMut(&Call) -> Fault + Send {
    let mut rng = Rng(seed);
    move |call| {
        if rng.any() % 16 >= chance || call.operation == "GetCallerIdentity" {
            return Fault::None;
        }
        match rng.below(6) {
            0 => Fault::Refuse(ErrorKind::Throttled, "RequestLimitExceeded"),
            1 => Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation"),
            2 => Fault::NoAnswer,
            3 => Fault::DoButNoAnswer,
            n => Fault::StaleRead(n),
        }
    }
}

/// What every deletion since the last time has to be, whatever the policies: of ours, needed by nobody, and worthless
/// or with a completed one of the same volume that is newer, or the same.
pub(crate) fn assert_safe(sim: &Sim) {
    for deletion in sim.take_deletions() {
        let gone = &deletion.record;
        assert!(gone.image.is_none() && !gone.is_locked(sim.now()), "{gone:?}");
        let tags = &gone.snapshot.tags;
        if let Some(claim) = CopyClaim::read(tags).filter(CopyClaim::stands_in) {
            stand_in_may_go(sim, &deletion, &claim);
        } else if let Some(claim) = CopyClaim::read(tags) {
            copy_may_go(&deletion, &claim);
        } else {
            let claim = Claim::read(tags).expect("what is deleted carries our tags");
            snapshot_may_go(&deletion, &claim);
        }
    }
}

fn snapshot_may_go(deletion: &Deletion, claim: &Claim) {
    let gone = &deletion.record.snapshot;
    if gone.state == State::Error {
        return;
    }
    let of_volume = deletion.others.iter().filter(|it| it.snapshot.volume_id == gone.volume_id);
    let mut ours = of_volume.filter_map(|it| Some((it, Claim::read(&it.snapshot.tags)?)));
    let serves_it = |it: &Snapshot, theirs: &Claim| {
        let is_newer = it.state == State::Completed && age(it) > age(gone);
        (is_newer && gone.state == State::Completed) || theirs == claim
    };
    let is_left = ours.any(|(it, theirs)| is_good(it) && serves_it(&it.snapshot, &theirs));
    assert!(is_left, "nothing is left for {gone:?}");
}

/// What stood in for a snapshot: that is still there, or something newer of the volume, or another stands in, or it was
/// copied elsewhere.
fn stand_in_may_go(sim: &Sim, deletion: &Deletion, claim: &CopyClaim) {
    let gone = &deletion.record.snapshot;
    let is_left = |it: &snapferry_sim::Record| {
        let theirs = CopyClaim::read(&it.snapshot.tags);
        let is_twin = theirs.is_some_and(|it| {
            (it.stands_in(), &it.source_snapshot) == (true, &claim.source_snapshot)
        });
        let is_newer = it.snapshot.volume_id == claim.source_volume
            && claim.source_start.is_some_and(|at| it.snapshot.start_time >= at);
        is_twin || is_newer || it.snapshot.id == claim.source_snapshot
    };
    let mut others = deletion.others.iter().filter(|it| is_good(it));
    let records = sim.records();
    let mut copies = records.iter().filter(|it| it.snapshot.state == State::Completed);
    let is_left = gone.state == State::Error
        || others.any(is_left)
        || copies.any(|it| it.copy_of.as_ref() == Some(&gone.id));
    assert!(is_left, "nothing is left for {gone:?}");
}

/// What deleting a copy needs, whatever the policies.
pub(crate) fn copy_may_go(deletion: &Deletion, claim: &CopyClaim) {
    let gone = &deletion.record.snapshot;
    if gone.state == State::Error {
        return;
    }
    let copies = deletion.others.iter().filter_map(|it| {
        let theirs = CopyClaim::read(&it.snapshot.tags)?;
        let alike = theirs.source_volume == claim.source_volume
            && theirs.schedules.is_empty() == claim.schedules.is_empty();
        alike.then_some((it, theirs))
    });
    let mut good = copies.filter(|(it, _)| is_good(it));
    let is_left = good.any(|(it, theirs)| {
        let is_newer = it.snapshot.state == State::Completed
            && gone.state == State::Completed
            && data(&it.snapshot, &theirs) >= data(gone, claim);
        let same = (&theirs.policy, &theirs.rule, &theirs.source_snapshot)
            == (&claim.policy, &claim.rule, &claim.source_snapshot);
        is_newer || same
    });
    assert!(is_left, "nothing is left for {gone:?}");
}

fn age(it: &Snapshot) -> (Timestamp, &snapferry_core::ids::SnapshotId) {
    (it.start_time, &it.id)
}

/// When what it holds was the volume's.
fn data(it: &Snapshot, claim: &CopyClaim) -> Timestamp {
    claim.source_start.unwrap_or(it.start_time)
}

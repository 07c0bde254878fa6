//! The process dies at any call of a run, of which it never hears the answer: the runs after it end in the state of a
//! world in which nobody died.

use std::collections::BTreeMap;
use std::pin::Pin;

use jiff::Timestamp;
use serde_json::{Value, json};
use snapferry_core::event::CopyScope;
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::report::Status;
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Fault, Record, Sim, drive, interleave};

use crate::support::vaults::{
    assert_quiet, copies, for_days, rule, shared, told, vault_policy, volume,
};
use crate::support::{
    HOME, MEMBER, OTHER, copying, days, failure, minutes, mutations, scope, sim, sweep, vault,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

/// The copies in the first Region are locked for two days, those in the second counted.
fn policy() -> Value {
    let mut rules = [rule(REGIONS[0], &for_days(3)), rule(REGIONS[1], &json!({"Count": 2}))];
    rules[0]["LockRule"] = json!({"Mode": "COMPLIANCE", "DurationDays": 2});
    vault_policy(&[MEMBER, OTHER], &rules)
}

/// The same, before anybody thought of locks.
fn without_locks() -> Value {
    let mut policy = policy();
    let rules = policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"].as_array_mut().unwrap();
    for rule in rules {
        rule.as_object_mut().unwrap().remove("LockRule");
    }
    policy
}

fn share(sim: &Sim, owner: &str, n: usize) -> SnapshotId {
    shared(sim, &scope(owner, HOME), &volume(n), |_| {})
}

/// Everything at once: copies to make, of which some have failed once or twice, failed ones to clear away, doubles, copies
/// to lock, copies that expire, by age or by number, and some that somebody needs.
struct World {
    sim: Sim,
    /// What the policy says from now on.
    documents: [Value; 1],
    /// Not copied yet.
    fresh: SnapshotId,
}

impl World {
    fn new() -> Self {
        let sim = sim();
        for day in 0..5 {
            for owner in [MEMBER, OTHER] {
                share(&sim, owner, 1);
                share(&sim, owner, 2 + day % 2);
            }
            let run = sweep(&sim, &[without_locks()]);
            assert_eq!(failure(&run), "");
            sim.advance(days(1));
        }
        let fails_once = share(&sim, MEMBER, 4);
        let failed_and_mended = share(&sim, OTHER, 5);
        assert_eq!(failure(&sweep(&sim, &[without_locks()])), "");
        fail(&sim, &failed_and_mended);
        sim.advance(minutes(30));
        drop(sweep(&sim, &[without_locks()])); // tells of the failure
        fail(&sim, &fails_once);
        sim.advance(minutes(30));
        let fresh = share(&sim, MEMBER, 1);
        share(&sim, OTHER, 6);
        Self::double(&sim);
        Self::use_one(&sim);
        drop(sim.take_deletions());
        drop(sim.take_journal());
        Self { sim, documents: [policy()], fresh }
    }

    /// As if two runs had not seen each other.
    fn double(sim: &Sim) {
        let of_first = copies(sim).into_iter().filter(|it| it.is(State::Completed));
        for copy in of_first.rev().step_by(3).take(4) {
            sim.snapshot(&copy.record.scope(), &copy.record.snapshot.volume_id, |it| {
                let id = it.snapshot.id.clone();
                *it = copy.record.clone();
                it.snapshot.id = id;
                it.snapshot.start_time += minutes(1);
            });
        }
    }

    fn use_one(sim: &Sim) {
        let oldest = &copies(sim)[0].record.snapshot.id;
        sim.change(oldest, |it| it.image = Some("ami-1".into()));
    }

    /// Ten runs, half an hour apart, then one that does nothing.
    fn settle(&self, context: &str) {
        for _ in 0..10 {
            let run = sweep(&self.sim, &self.documents);
            assert_eq!((run.violations.len(), run.n_withheld), (0, 0), "{context}");
            self.sim.advance(minutes(30));
        }
        drop(self.sim.take_journal());
        let run = sweep(&self.sim, &self.documents);
        assert_quiet(&run, context);
        assert_eq!(run.report.status, Status::Succeeded, "{context}");
        assert_eq!(mutations(&self.sim), Vec::<String>::new(), "{context}");
    }

    /// What there is in the end, and what was deleted on the way.
    fn end(&self) -> End {
        let mut end = End::default();
        for record in self.sim.records() {
            *end.there.entry(told_of(&record, self.sim.now())).or_default() += 1;
        }
        for deletion in self.sim.take_deletions() {
            // Locks tell when they were made, and what is locked is not deleted.
            *end.gone.entry(told_of(&deletion.record, Timestamp::MAX)).or_default() += 1;
        }
        end
    }
}

/// Its copies end in error.
fn fail(sim: &Sim, source: &SnapshotId) {
    for copy in copies(sim).iter().filter(|it| it.claim.source_snapshot == *source) {
        sim.change(&copy.record.snapshot.id, |it| {
            it.snapshot.state = State::Error;
            it.ends = None;
        });
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

#[derive(Default)]
struct End {
    there: Told,
    gone: Told,
}

type Told = BTreeMap<String, usize>;

fn assert_same(found: &Told, wanted: &Told, context: &str) {
    let not_in = |other: &Told, (what, n): (&String, &usize)| {
        (other.get(what) != Some(n)).then(|| format!("{n} of {what}"))
    };
    let more: Vec<_> = found.iter().filter_map(|it| not_in(wanted, it)).collect();
    let less: Vec<_> = wanted.iter().filter_map(|it| not_in(found, it)).collect();
    assert!(more.is_empty() && less.is_empty(), "{context}: {more:#?} instead of {less:#?}");
}

/// What a snapshot is, but for its id and what follows from the minute it was made in.
fn told_of(record: &Record, now: Timestamp) -> String {
    let mut tags = record.snapshot.tags.clone();
    tags.remove(tags::EXPIRES_AT);
    let snapshot = &record.snapshot;
    let locked = if record.is_locked(now) { "locked" } else { "" };
    let image = record.image.as_deref().unwrap_or_default();
    format!(
        "{} {} of {:?} {} {locked} {image} {tags:?} {}",
        record.scope(),
        snapshot.state,
        record.copy_of,
        snapshot.volume_id,
        snapshot.description
    )
}

/// What a run in its own world of this kind would do, and how many calls it makes.
fn undisturbed(world: &World, what: impl Fn(&World) -> CopyScope) -> (End, usize) {
    let aws = world.sim.aws(&vault());
    let what = what(world);
    let run = drive(copying(&aws, &world.documents, what, world.sim.now())).unwrap();
    assert_eq!(run.violations, []);
    let calls = world.sim.take_journal().len();
    world.sim.advance(minutes(5));
    world.settle("undisturbed");
    (world.end(), calls)
}

/// Dies at every call of the run, and goes on with `then` before the sweeps.
fn dies_at_every_call(
    what: impl Fn(&World) -> CopyScope,
    then: impl Fn(&World) -> Option<CopyScope>,
) {
    let (wanted, calls) = undisturbed(&World::new(), &what);
    for n in 1..=calls {
        let context = format!("died at call {n} of {calls}");
        let world = World::new();
        let dying = world.sim.aws_dying_after(&vault(), n);
        let dead = drive(copying(&dying, &world.documents, what(&world), world.sim.now()));
        assert!(dead.is_none(), "{context}");
        assert_eq!(world.sim.take_journal().len(), n);
        world.sim.advance(minutes(5));
        if let Some(what) = then(&world) {
            let aws = world.sim.aws(&vault());
            drop(drive(copying(&aws, &world.documents, what, world.sim.now())).unwrap());
        }
        world.settle(&context);
        let end = world.end();
        assert_same(&end.there, &wanted.there, &context);
        assert_same(&end.gone, &wanted.gone, &context);
    }
}

#[test]
fn a_run_in_this_world_does_everything() {
    let world = World::new();
    drop(sweep(&world.sim, &world.documents));
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    for call in world.sim.take_journal().iter().filter(|it| it.mutates()) {
        *of.entry(call.operation).or_default() += 1;
    }
    assert!(
        ["CopySnapshot", "DeleteSnapshot", "LockSnapshot"].iter().all(|it| of[it] >= 4),
        "{of:?}"
    );
    let gone: Vec<_> = world.sim.take_deletions().into_iter().map(|it| it.record).collect();
    assert!(gone.iter().any(|it| it.snapshot.state == State::Error));
    assert!(gone.iter().any(|it| it.snapshot.state == State::Completed));
}

#[test]
fn a_sweep_that_dies_at_any_call_is_finished_by_the_next() {
    dies_at_every_call(|_| CopyScope::Sweep, |_| None);
}

#[test]
fn an_event_that_dies_at_any_call_is_finished_when_it_comes_again() {
    dies_at_every_call(
        |world| told(&world.sim, &world.fresh),
        |world| Some(told(&world.sim, &world.fresh)),
    );
}

#[test]
fn an_event_that_dies_at_any_call_and_does_not_come_again_is_finished_by_the_sweep() {
    dies_at_every_call(|world| told(&world.sim, &world.fresh), |_| None);
}

#[test]
fn one_that_dies_while_another_runs_leaves_no_double() {
    let (wanted, calls) = undisturbed(&World::new(), |_| CopyScope::Sweep);
    for n in 1..=calls {
        for seed in 0..2 {
            let context = format!("died at call {n} of {calls}, seed {seed}");
            let world = World::new();
            world.sim.set(|it| it.turns = 3);
            let dying = world.sim.aws_dying_after(&vault(), n);
            let other = world.sim.aws(&vault());
            let now = world.sim.now();
            let run = |aws| Box::pin(copying(aws, &world.documents, CopyScope::Sweep, now));
            let runs: Vec<Running<'_>> = vec![run(&dying), run(&other)];
            drop(interleave(seed, runs));
            world.sim.advance(minutes(5));
            world.settle(&context);
            assert_same(&world.end().there, &wanted.there, &context);
        }
    }
}

#[test]
fn what_one_that_died_has_doubled_is_not_locked_and_goes() {
    let sim = sim();
    sim.set(|it| it.remember = 100);
    let documents = [policy()];
    share(&sim, MEMBER, 1);
    // Two runs begin the copies without seeing each other's, and the second one dies right then.
    assert_quiet(&sweep(&sim, &documents), "");
    let calls = sim.take_journal().len();
    sim.on_call(|_| Fault::StaleRead(100));
    let dying = sim.aws_dying_after(&vault(), calls - 2);
    assert!(drive(copying(&dying, &documents, CopyScope::Sweep, sim.now())).is_none());
    sim.no_faults();
    assert_eq!(copies(&sim).len(), 4, "two in each Region");
    for _ in 0..4 {
        assert_quiet(&sweep(&sim, &documents), "");
        sim.advance(minutes(30));
    }
    let left = copies(&sim);
    assert_eq!(left.len(), 2);
    let locked = left.iter().filter(|it| it.record.is_locked(sim.now()));
    assert_eq!(locked.count(), 1, "in the Region whose rule says so");
}

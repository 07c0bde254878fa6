//! Shares whose events are lost, or come three times and at once: in the end there is one copy each, and nobody is
//! told of an error.

use std::collections::BTreeSet;
use std::pin::Pin;

use jiff::SignedDuration;
use serde_json::Value;
use snapferry_core::ec2::{Access, Ec2, Ec2Provider};
use snapferry_core::event::CopyScope;
use snapferry_core::ids::SnapshotId;
use snapferry_core::report::Status;
use snapferry_core::run::Run;
use snapferry_sim::{Aws, Call, Fault, Rng, Sim, drive, interleave};

use crate::support::vaults::{
    assert_quiet, copies, for_days, good_copies, rule, shared, told, vault_policy, volume,
};
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, answer_shares, copy, copying, hours, minutes, mutations,
    scope, sim, sweep, vault,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

fn policy() -> Value {
    vault_policy(&[MEMBER, OTHER], &REGIONS.map(|region| rule(region, &for_days(30))))
}

/// Two owners' snapshots: several of each of two volumes, an hour between them.
fn share(sim: &Sim, per_volume: usize) -> Vec<SnapshotId> {
    let mut sources = Vec::new();
    for n in 0..per_volume {
        let age = hours(i64::try_from(per_volume - n).unwrap());
        for owner in [MEMBER, OTHER] {
            for of in 0..2 {
                let made = shared(sim, &scope(owner, HOME), &volume(of), |it| {
                    it.snapshot.start_time -= age;
                });
                sources.push(made);
            }
        }
    }
    sources
}

/// One copy of each source in each Region, and a world that gets no more calls.
fn assert_each_once(sim: &Sim, sources: &[SnapshotId], context: impl std::fmt::Display) {
    let good = good_copies(sim);
    assert_eq!(good.len(), 2 * sources.len(), "{context}");
    assert!(good.values().all(|n| *n == 1), "{context}: {good:?}");
    assert_eq!(copies(sim).len(), 2 * sources.len(), "{context}: nothing is left over");
    drop(sim.take_journal());
    let run = sweep(sim, &[policy()]);
    assert_quiet(&run, &context);
    assert_eq!(run.report.status, Status::Succeeded, "{context}");
    assert_eq!(mutations(sim), Vec::<String>::new(), "{context}");
}

/// Sweeps, an hour apart.
fn sweeps(sim: &Sim, n: usize, context: impl std::fmt::Display) {
    for _ in 0..n {
        assert_quiet(&sweep(sim, &[policy()]), &context);
        sim.advance(hours(1));
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

fn at_once(sim: &Sim, aws: &Aws, seed: u64, what: Vec<CopyScope>) -> Vec<Run> {
    let documents = [policy()];
    let running = what
        .into_iter()
        .map(|what| Box::pin(copying(aws, &documents, what, sim.now())) as Running<'_>);
    let runs = interleave(seed, running.collect());
    runs.into_iter().map(Option::unwrap).collect()
}

#[test]
fn where_every_event_is_lost_the_sweep_alone_gets_there() {
    let sim = sim();
    let sources = share(&sim, 6);
    sweeps(&sim, 4, "");
    assert_each_once(&sim, &sources, "no event");
}

#[test]
fn where_there_is_no_sweep_every_event_gets_there() {
    let sim = sim();
    for n in 0..6 {
        share_and_tell(&sim, n);
        let runs = answer_shares(&sim, &[policy()]);
        assert_eq!(runs.len(), 1);
        for run in runs {
            assert_quiet(&run, "");
            assert_eq!(run.report.status, Status::Succeeded);
        }
        sim.advance(hours(1));
    }
    let sources: Vec<_> =
        sim.records().into_iter().filter(|it| !it.shared_with.is_empty()).collect();
    let sources: Vec<_> = sources.into_iter().map(|it| it.snapshot.id).collect();
    assert_eq!(sources.len(), 6);
    assert_each_once(&sim, &sources, "events only");
}

/// A snapshot whose share the vault is told of.
fn share_and_tell(sim: &Sim, n: usize) {
    let owner = scope(MEMBER, HOME);
    let made = shared(sim, &owner, &volume(n % 2), |it| it.shared_with.clear());
    let aws = sim.aws(&owner);
    let sharing = async {
        let ec2 = aws.connect(&Access::default(), &owner.region).await?;
        ec2.share_snapshot(&made, &BTreeSet::from([account(VAULT)])).await
    };
    drive(sharing).unwrap().unwrap();
}

#[test]
fn every_event_three_times_one_after_the_other() {
    let sim = sim();
    let sources = share(&sim, 2);
    for source in &sources {
        for _ in 0..3 {
            assert_quiet(&copy(&sim, &[policy()], told(&sim, source)), "");
            sim.advance(SignedDuration::from_secs(1));
        }
        sim.advance(hours(1));
    }
    sweeps(&sim, 2, "");
    assert_each_once(&sim, &sources, "three times");
}

#[test]
fn every_event_three_times_at_once() {
    for seed in 0..150 {
        let sim = sim();
        sim.set(|it| it.turns = 3);
        let sources = share(&sim, 1);
        let thrice = sources.iter().flat_map(|it| std::iter::repeat_n(told(&sim, it), 3));
        for run in at_once(&sim, &sim.aws(&vault()), seed, thrice.collect()) {
            assert_quiet(&run, format_args!("seed {seed}"));
        }
        // Whoever came second has seen the first one and taken its own back.
        let good = good_copies(&sim);
        assert!(good.len() == 8 && good.values().all(|n| *n == 1), "seed {seed}: {good:?}");
        sim.advance(hours(1));
        sweeps(&sim, 1, format_args!("seed {seed}"));
        assert_each_once(&sim, &sources, format_args!("seed {seed}"));
    }
}

/// In a part of the looks, what was seen is some writes old; so may be the look for duplicates.
fn stale(seed: u64, chance: u64) -> impl FnMut(&Call) -> Fault + Send {
    let mut rng = Rng(seed);
    move |call| {
        if call.operation.starts_with("Describe") && rng.any() % 16 < chance {
            return Fault::StaleRead(1 + rng.below(12));
        }
        Fault::None
    }
}

#[test]
fn every_event_three_times_at_once_with_stale_reads_and_a_sweep() {
    let mut doubled = 0;
    for seed in 0..150 {
        let sim = sim();
        sim.set(|it| {
            it.turns = 3;
            it.remember = 12;
        });
        let sources = share(&sim, 1);
        sim.on_call(stale(seed, 1 + seed % 16));
        let mut rng = Rng(seed);
        let mut all: Vec<_> =
            sources.iter().flat_map(|it| std::iter::repeat_n(told(&sim, it), 3)).collect();
        all.push(CopyScope::Sweep);
        while !all.is_empty() {
            let n = (1 + rng.below(6)).min(all.len());
            let some = (0..n).map(|_| all.swap_remove(rng.below(all.len()))).collect();
            for run in at_once(&sim, &sim.aws(&vault()), rng.any(), some) {
                assert_quiet(&run, format_args!("seed {seed}"));
            }
            sim.advance(minutes(7));
        }
        sim.no_faults();
        doubled += usize::from(copies(&sim).len() > 8);
        sim.advance(hours(1));
        sweeps(&sim, 3, format_args!("seed {seed}"));
        assert_each_once(&sim, &sources, format_args!("seed {seed}"));
    }
    assert!(doubled > 10, "the seeds do double: {doubled}");
}

#[test]
fn an_event_that_comes_days_later_copies_nothing_twice() {
    let sim = sim();
    let sources = share(&sim, 3);
    sweeps(&sim, 4, "");
    sim.advance(hours(24 * 5));
    drop(sim.take_journal());
    for source in &sources {
        let run = copy(&sim, &[policy()], told(&sim, source));
        assert_quiet(&run, "");
        assert_eq!(run.report.status, Status::Succeeded);
    }
    assert_eq!(mutations(&sim), Vec::<String>::new());
    assert_each_once(&sim, &sources, "late events");
}

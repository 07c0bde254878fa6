//! Two runs at once, call by call: the application goes on in the end, and the slot has one set.

use std::pin::Pin;

use jiff::SignedDuration;
use serde_json::json;
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::interleave;

use crate::support::scripts::{
    LOUD, agent, an_hour, assert_whole, database, scripted, stands_still, vss, windows,
};
use crate::support::{failure, minutes, rotation, sim, vault};

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

#[test]
fn two_runs_at_once_leave_nothing_standing_and_one_set() {
    for seed in 0..300_u64 {
        let sim = sim();
        sim.set(|it| {
            it.turns = 3;
            if seed.is_multiple_of(3) {
                it.snapshot_every = SignedDuration::ZERO;
            }
        });
        let more = json!({"MaximumRetryCount": seed % 2});
        let policy = [scripted(&more)];
        let server = database(&sim, |_| {});
        let aws = sim.aws(&vault());
        let run = |_| Box::pin(rotation(&aws, &policy, sim.now())) as Running<'_>;
        let runs = interleave(seed, (0..2 + seed % 2).map(run).collect());
        let context = format!("seed {seed}");
        let told = runs.iter().any(|it| failure(it.as_ref().unwrap()).contains(LOUD));
        assert!(told || !stands_still(&sim, &server.id), "{context}");
        sim.advance(minutes(5));
        for run in an_hour(&sim, &policy).iter().skip(2) {
            assert_eq!(failure(run), "", "{context}");
        }
        assert!(!stands_still(&sim, &server.id), "{context}");
        assert_eq!(agent(&sim, &server.id).stops, agent(&sim, &server.id).goes, "{context}");
        assert_whole(&sim, &server, &context);
        let said = crate::support::scripts::tag(&sim, &server, tags::APP_CONSISTENT);
        assert!(["true", "false"].contains(&said.as_str()), "{context}: {said}");
    }
}

#[test]
fn one_that_dies_beside_another_leaves_nothing_standing() {
    for seed in 0..200_u64 {
        let sim = sim();
        sim.set(|it| it.turns = 3);
        let policy = [scripted(&json!({}))];
        let server = database(&sim, |_| {});
        let dying = sim.aws_dying_after(&vault(), usize::try_from(seed % 22).unwrap());
        let other = sim.aws(&vault());
        let runs: Vec<Running<'_>> = vec![
            Box::pin(rotation(&dying, &policy, sim.now())),
            Box::pin(rotation(&other, &policy, sim.now())),
        ];
        drop(interleave(seed, runs));
        sim.advance(minutes(5));
        let context = format!("seed {seed}");
        for run in an_hour(&sim, &policy).iter().skip(2) {
            assert_eq!(failure(run), "", "{context}");
        }
        assert!(!stands_still(&sim, &server.id), "{context}");
        assert_whole(&sim, &server, &context);
    }
}

#[test]
fn two_runs_at_once_leave_one_vss_backup() {
    for seed in 0..100_u64 {
        let sim = sim();
        sim.set(|it| it.turns = 3);
        let policy = [vss(&json!({}))];
        let server = windows(&sim, |_| {});
        let aws = sim.aws(&vault());
        let run = |_| Box::pin(rotation(&aws, &policy, sim.now())) as Running<'_>;
        drop(interleave(seed, (0..2).map(run).collect()));
        sim.advance(minutes(20));
        let context = format!("seed {seed}");
        for run in an_hour(&sim, &policy).iter().skip(2) {
            assert_eq!(failure(run), "", "{context}");
        }
        assert_whole(&sim, &server, &context);
        assert_eq!(crate::support::scripts::tag(&sim, &server, tags::APP_CONSISTENT), "true");
    }
}

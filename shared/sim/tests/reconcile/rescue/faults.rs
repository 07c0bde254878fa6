//! What goes wrong on the way, and how it comes right.

use std::pin::Pin;

use snapferry_core::ec2::ErrorKind;
use snapferry_core::event::CopyScope;
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_core::tags::CopyClaim;
use snapferry_sim::{Fault, drive, interleave};

use super::{REGIONS, assert_settled, copies, in_vault, rescued, sealed, stand_ins, world};
use crate::support::storm::{Function, Weather, assert_safe};
use crate::support::together::{both, live, quiet};
use crate::support::{
    calls, copying, failure, hours, lines, member, minutes, rotate, rotation, sweep, target, vault,
};

#[test]
fn a_copy_that_ends_in_error_is_told_and_made_again() {
    let sim = world();
    sealed(&sim);
    let documents = [rescued(), copies(9)];
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    for n in 0..8 {
        let run = rotate(&sim, &documents);
        assert_safe(&sim);
        if n > 0 {
            let told = failure(&run);
            assert!(told.starts_with("ActionsFailed: CopySnapshot of "), "{told}");
            assert!(told.contains("ended in error: Given key ID is not accessible"), "{told}");
        }
        for record in stand_ins(&sim).iter().filter(|it| it.ends.is_some()) {
            sim.change(&record.snapshot.id, |it| {
                it.ends = None;
                it.snapshot.state = State::Error;
                it.snapshot.state_message = Some("Given key ID is not accessible".into());
            });
        }
        assert!(stand_ins(&sim).len() <= 3);
        sim.advance(minutes(25));
    }
    let tries = calls(&sim.take_journal(), "CopySnapshot");
    assert!((3..=5).contains(&tries), "{tries}: at once, then hourly");
    sim.advance(hours(2));
    drop(rotate(&sim, &documents)); // tells it once more, and tries again
    sim.advance(minutes(25));
    live(&sim, &documents);
    assert_settled(&sim, 1, "no failed one is left");
}

#[test]
fn a_copy_without_an_answer_is_looked_up() {
    for fault in [Fault::DoButNoAnswer, Fault::NoAnswer] {
        let sim = world();
        sealed(&sim);
        let documents = [rescued(), copies(9)];
        rotate(&sim, &documents);
        sim.advance(minutes(25));
        sim.on_call(move |call| if call.operation == "CopySnapshot" { fault } else { Fault::None });
        let run = rotate(&sim, &documents);
        let is_found = fault == Fault::DoButNoAnswer;
        assert_eq!(failure(&run).is_empty(), is_found, "{}", failure(&run));
        assert_eq!(stand_ins(&sim).len(), usize::from(is_found));
        quiet(&sweep(&sim, &documents));
        sim.no_faults();
        live(&sim, &documents);
        assert_settled(&sim, 1, "");
    }
}

#[test]
fn thirty_volumes_share_the_limit_of_copies_in_progress() {
    let sim = world();
    for _ in 0..30 {
        sealed(&sim);
    }
    let documents = [rescued(), copies(9)];
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    let run = rotate(&sim, &documents);
    quiet(&run);
    let n = |outcome| lines(&run, "CopySnapshot", outcome).len();
    assert_eq!((n(OutcomeName::Done), n(OutcomeName::Deferred)), (20, 10));
    sim.advance(minutes(25));
    live(&sim, &documents);
    assert_settled(&sim, 30, "");
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

#[test]
fn cut_off_after_any_call_of_any_run_it_ends_the_same() {
    for steps in 0..7 {
        for cut in 1..24 {
            let sim = world();
            sealed(&sim);
            let documents = [rescued(), copies(9)];
            for _ in 0..steps {
                both(&sim, &documents);
                sim.advance(minutes(25));
            }
            let dying = sim.aws_dying_after(&vault(), cut);
            let is_over = drive(rotation(&dying, &documents, sim.now())).is_some();
            assert_safe(&sim);
            let dying = sim.aws_dying_after(&vault(), cut);
            drop(drive(copying(&dying, &documents, CopyScope::Sweep, sim.now())));
            live(&sim, &documents);
            assert_settled(&sim, 1, format!("cut off run {steps} after {cut}"));
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn twice_at_once_each_is_rescued_once() {
    for seed in 0..40 {
        let sim = world();
        sim.set(|it| it.turns = 3);
        for _ in 0..2 {
            sealed(&sim);
        }
        let documents = [rescued(), copies(9)];
        for _ in 0..6 {
            let (aws, now) = (sim.aws(&vault()), sim.now());
            let runs: Vec<Running<'_>> = vec![
                Box::pin(rotation(&aws, &documents, now)),
                Box::pin(rotation(&aws, &documents, now)),
                Box::pin(copying(&aws, &documents, CopyScope::Sweep, now)),
            ];
            for run in interleave(seed, runs) {
                assert_eq!(run.unwrap().violations, [], "seed {seed}");
            }
            assert_safe(&sim);
            sim.advance(minutes(25));
        }
        live(&sim, &documents);
        assert_settled(&sim, 2, format!("seed {seed}"));
    }
}

#[test]
fn a_storm_of_both_comes_to_rest_and_leaves_nothing_behind() {
    for seed in 0..12 {
        let sim = world();
        for _ in 0..2 {
            sealed(&sim);
        }
        let documents = [rescued(), copies(3)];
        let functions = &[Function::Rotate, Function::Sweep];
        let weather = Weather { sim: &sim, documents: &documents, functions };
        weather.storm(seed, 16, hours(7));
        weather.calm(format!("seed {seed}"));
        for region in REGIONS {
            let n = in_vault(&sim, region).len();
            assert!((2 * 2..=2 * 3).contains(&n), "seed {seed}: {n}");
        }
        for record in stand_ins(&sim) {
            // The vault keeps newer ones and does not want it: it stays as long as its source.
            let claim = CopyClaim::read(&record.snapshot.tags).unwrap();
            assert!(sim.record(&claim.source_snapshot).is_some(), "seed {seed}");
            assert_eq!(record.snapshot.state, State::Completed, "seed {seed}");
        }
    }
}

#[test]
fn when_ec2_says_no_for_the_limit_it_waits_without_an_error() {
    let sim = world();
    sealed(&sim);
    let documents = [rescued(), copies(9)];
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    sim.on_call(|call| match call.operation {
        "CopySnapshot" => Fault::Refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded"),
        _ => Fault::None,
    });
    let run = rotate(&sim, &documents);
    quiet(&run);
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Deferred).len(), 1);
    sim.no_faults();
    live(&sim, &documents);
    assert_settled(&sim, 1, "");
}

#[test]
fn nothing_is_asked_where_nothing_is_under_the_default_key_and_others_copies_count() {
    let sim = world();
    target(&sim);
    let documents = [rescued(), copies(9)];
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    drop(sim.take_journal());
    quiet(&rotate(&sim, &documents));
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "DescribeKey"), 0);
    let looks =
        |it: &&snapferry_sim::Call| it.operation == "DescribeSnapshots" && it.scope == member();
    assert_eq!(journal.iter().filter(looks).count(), 2, "our own, and what is shared");
    for _ in 0..4 {
        sealed(&sim);
    }
    rotate(&sim, &documents);
    sim.advance(minutes(25));
    for _ in 0..17 {
        let placeholder = snapferry_sim::id("vol-ffffffff");
        sim.snapshot(&member(), &placeholder, |it| it.snapshot.state = State::Pending);
    }
    let run = rotate(&sim, &documents);
    quiet(&run);
    let n = |outcome| lines(&run, "CopySnapshot", outcome).len();
    assert_eq!((n(OutcomeName::Done), n(OutcomeName::Deferred)), (3, 1));
}

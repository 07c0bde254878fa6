//! An invocation that is about to end begins nothing, and ends what it has begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::event::RotateEvent;
use snapferry_core::execute::Limits;
use snapferry_core::reconcile;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_sim::{Call, Ending, Fault, Sim, drive};

use crate::support::scripts::{
    LOUD, an_hour, asked, assert_whole, database, scripted, stands_still, told,
};
use crate::support::{failure, limits, lines, minutes, read, sim, vault};
use snapferry_core::commands::Step;

/// One run with so many seconds left.
fn with_left(sim: &Sim, documents: &[Value], seconds: i64) -> Run {
    let aws = sim.aws(&vault());
    let pause = aws.pause();
    let end = sim.now() + SignedDuration::from_secs(seconds);
    let clock = sim.clone();
    let time_left = move || end.duration_since(clock.now());
    let clock = sim.clone();
    let out_of_time = move || clock.now() >= end;
    let limits = Limits { out_of_time: &out_of_time, time_left: &time_left, ..limits(&pause) };
    let event = RotateEvent::default();
    drive(reconcile::rotate(&aws, read(documents), &event, sim.now(), &limits)).unwrap().unwrap()
}

#[test]
fn without_time_enough_nothing_is_begun() {
    for (more, needed) in [
        // 60 for the snapshots, and 35 beside the time-out for each script.
        (json!({}), 60 + 2 * 45),
        (json!({"ExecutionTimeout": 120}), 60 + 2 * 155),
        (json!({"Stages": ["PRE"]}), 60 + 45),
        (json!({"Stages": ["POST"]}), 60 + 45),
    ] {
        let policy = [scripted(&more)];
        let sim = sim();
        let server = database(&sim, |_| {});
        let run = with_left(&sim, &policy, needed - 1);
        assert_eq!(asked(&sim, &server.id), Vec::<String>::new(), "{more}");
        assert_eq!((sim.records().len(), failure(&run)), (0, String::new()));
        assert_eq!(run.report.status, Status::Incomplete);
        let line = &lines(&run, "CreateSnapshots", OutcomeName::Deferred)[0];
        let why = &line.error.as_ref().unwrap().message;
        let said = format!(
            "out of time: the scripts of db-scripts and the snapshots may take {needed} seconds, and {} are left",
            needed - 1
        );
        assert_eq!(*why, said);
        drop(with_left(&sim, &policy, needed));
        assert_whole(&sim, &server, "");
    }
}

#[test]
fn an_attempt_for_which_no_time_is_left_is_not_made() {
    let policy = [scripted(&json!({"MaximumRetryCount": 3}))];
    let sim = sim();
    let server = database(&sim, |it| it.ends(Step::PreScript, &[Ending::Fails(201)]));
    let run = with_left(&sim, &policy, 150 + 5);
    assert_eq!(asked(&sim, &server.id), ["pre-script 1", "post-script 1"]);
    assert_eq!(failure(&run), "", "another run goes on");
    assert_eq!(sim.records().len(), 0);
    drop(an_hour(&sim, &policy));
    assert_whole(&sim, &server, "");
    assert_eq!(told(&sim, &server), "Success Success true");
    assert_eq!(asked(&sim, &server.id)[2..], ["pre-script 2", "post-script 2"]);
}

/// The time is over at every call after the pre-script was sent.
#[test]
fn what_was_begun_is_ended_though_the_time_is_over() {
    let policy = [scripted(&json!({}))];
    let mut ends = 0;
    for n in 0..30 {
        for ending in [Ending::Well, Ending::Hangs, Ending::FailsHalfWay(201), Ending::Lost] {
            let sim = sim();
            let server = database(&sim, |it| it.ends(Step::PreScript, &[ending]));
            let is_over = Arc::new(AtomicBool::new(false));
            let over = Arc::clone(&is_over);
            let mut begun = None;
            sim.on_call(move |call: &Call| {
                if call.operation == "SendCommand" {
                    begun.get_or_insert(call.number);
                }
                if begun.is_some_and(|begun| call.number >= begun + n) {
                    over.store(true, Ordering::Relaxed);
                }
                Fault::None
            });
            let aws = sim.aws(&vault());
            let pause = aws.pause();
            let over = Arc::clone(&is_over);
            let out_of_time = move || over.load(Ordering::Relaxed);
            let limits = Limits { out_of_time: &out_of_time, ..limits(&pause) };
            let event = RotateEvent::default();
            let run = reconcile::rotate(&aws, read(&policy), &event, sim.now(), &limits);
            let run = drive(run).unwrap().unwrap();
            let context = format!("{ending:?}, over {n} calls after the pre-script");
            assert!(asked(&sim, &server.id).contains(&"post-script 1".into()), "{context}");
            assert!(!stands_still(&sim, &server.id), "{context}");
            ends += usize::from(failure(&run).contains(LOUD));
            sim.no_faults();
            sim.advance(minutes(5));
            for run in an_hour(&sim, &policy).iter().skip(1) {
                assert_eq!(failure(run), "", "{context}");
            }
            assert_whole(&sim, &server, &context);
        }
    }
    assert!(ends > 0, "nobody waits for the end of a post-script when the time is over");
}

#[test]
fn a_post_script_that_is_missing_is_sent_however_little_time_is_left() {
    let policy = [scripted(&json!({}))];
    let sim = sim();
    let server = database(&sim, |_| {});
    let mut n = 1;
    while !stands_still(&sim, &server.id) {
        let dying = sim.aws_dying_after(&vault(), n);
        drop(drive(crate::support::rotation(&dying, &policy, sim.now())));
        n += 1;
    }
    sim.advance(minutes(5));
    drop(with_left(&sim, &policy, 1));
    assert!(!stands_still(&sim, &server.id));
}

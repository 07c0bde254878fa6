//! Time-based copies, and what becomes of them where EC2 does not take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::event::CopyEvent;
use snapferry_core::execute::Limits;
use snapferry_core::reconcile;
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_sim::{Fault, Sim, drive};

use crate::support::rules::{AWAY, event_policy, rule, shared_by};
use crate::support::{MEMBER, calls, failure, hours, limits, lines, read_good, sim, sweep, vault};

fn documents() -> [Value; 1] {
    [event_policy(&[rule(AWAY, &json!({"CompletionDurationMinutes": 45}))])]
}

fn world(snapshots: usize) -> Sim {
    let sim = sim();
    for n in 1..=snapshots {
        shared_by(&sim, MEMBER, &format!("vol-{n:08x}"), |_| {});
    }
    sim
}

/// Of all copies: those that are time-based, and those that are not.
fn copies(sim: &Sim) -> (usize, usize) {
    let made: Vec<_> = sim.records().into_iter().filter(|it| it.copy_of.is_some()).collect();
    let timed = made.iter().filter(|it| it.completion_duration_minutes == Some(45)).count();
    (timed, made.len() - timed)
}

/// Refuses the first so many copies, like this.
fn refusing(sim: &Sim, first: usize, fault: Fault) {
    let n = Arc::new(AtomicUsize::new(0));
    sim.on_call(move |call| match call.operation {
        "CopySnapshot" if n.fetch_add(1, Ordering::Relaxed) < first => fault,
        _ => Fault::None,
    });
}

fn copied(run: &Run) -> usize {
    lines(run, "CopySnapshot", OutcomeName::Done).len()
}

#[test]
fn beyond_the_throughput_quota_a_copy_becomes_a_standard_one_and_says_so() {
    let sim = world(5);
    sim.set(|it| it.timed_copies_at_once = 2);
    let run = sweep(&sim, &documents());
    assert_eq!((failure(&run).as_str(), copied(&run)), ("", 5));
    assert_eq!(copies(&sim), (2, 3));
    let reasons = lines(&run, "CopySnapshot", OutcomeName::Done).into_iter().map(|it| &it.reason);
    let told: Vec<_> = reasons.filter(|it| it.contains("standard copy")).collect();
    assert_eq!(told.len(), 3);
    let start = "shared with this account and not copied yet; sent as a standard copy, as EC2 did \
                 not take the time-based one: AWS refused CopySnapshot: The snapshot copy throughput \
                 quota is used up. (ResourceLimitExceeded, request ID request-";
    assert!(told.iter().all(|it| it.starts_with(start)), "{told:?}");
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 5 + 3, "each once more, at the most");
    sim.advance(hours(1));
    assert_eq!(copied(&sweep(&sim, &documents())), 0, "and once is enough");
}

#[test]
fn what_is_not_offered_is_done_without() {
    for code in ["UnsupportedOperation", "InvalidParameterCombination", "a code of tomorrow"] {
        let sim = world(1);
        refusing(&sim, 1, Fault::Refuse(ErrorKind::Invalid, code));
        let run = sweep(&sim, &documents());
        assert_eq!((failure(&run).as_str(), copied(&run)), ("", 1), "{code}");
        assert_eq!(copies(&sim), (0, 1));
    }
}

#[test]
fn a_standard_copy_that_is_refused_too_waits_or_is_told() {
    let sim = world(1);
    refusing(&sim, 2, Fault::Refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded"));
    let run = sweep(&sim, &documents());
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Deferred).len(), 1);
    assert_eq!((failure(&run).as_str(), copies(&sim)), ("", (0, 0)));
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 2, "once more, and not again");
    assert_eq!(copied(&sweep(&sim, &documents())), 1);
    assert_eq!(copies(&sim), (1, 0), "the next run asks for the time again");

    let sim = world(1);
    refusing(&sim, 2, Fault::Refuse(ErrorKind::Invalid, "InvalidParameterValue"));
    let told = failure(&sweep(&sim, &documents()));
    assert!(told.starts_with("ActionsFailed: CopySnapshot of snap-"), "{told}");
}

#[test]
fn any_other_refusal_is_the_copys_own() {
    for kind in [ErrorKind::AccessDenied, ErrorKind::Throttled, ErrorKind::NotReady] {
        let sim = world(1);
        refusing(&sim, 1, Fault::Refuse(kind, "Code"));
        let run = sweep(&sim, &documents());
        assert_eq!((copied(&run), copies(&sim)), (0, (0, 0)), "{kind:?}");
        assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 1);
    }
    // What has no duration is not sent twice.
    let sim = world(1);
    refusing(&sim, 1, Fault::Refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded"));
    let run = sweep(&sim, &[event_policy(&[rule(AWAY, &json!({}))])]);
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Deferred).len(), 1);
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 1);
}

#[test]
fn a_call_without_an_answer_may_have_happened_and_is_not_sent_again() {
    let sim = world(1);
    refusing(&sim, 1, Fault::DoButNoAnswer);
    let run = sweep(&sim, &documents());
    assert_eq!(
        (failure(&run).as_str(), copied(&run), copies(&sim)),
        ("", 1, (1, 0)),
        "it is found"
    );

    // Nor is the standard one.
    let sim = world(1);
    sim.set(|it| it.timed_copies_at_once = 0);
    let n = AtomicUsize::new(0);
    sim.on_call(move |call| match call.operation {
        "CopySnapshot" if n.fetch_add(1, Ordering::Relaxed) == 1 => Fault::DoButNoAnswer,
        _ => Fault::None,
    });
    let run = sweep(&sim, &documents());
    assert_eq!((failure(&run).as_str(), copied(&run), copies(&sim)), ("", 1, (0, 1)));
    let [line] = lines(&run, "CopySnapshot", OutcomeName::Done)[..] else { unreachable!() };
    assert!(line.reason.contains("; sent as a standard copy"), "{}", line.reason);
}

#[test]
fn when_time_is_out_nothing_is_sent_again() {
    let sim = world(1);
    let over = Arc::new(AtomicBool::new(false));
    let sent = over.clone();
    sim.on_call(move |call| match call.operation {
        "CopySnapshot" => {
            sent.store(true, Ordering::Relaxed);
            Fault::Refuse(ErrorKind::Invalid, "UnsupportedOperation")
        }
        _ => Fault::None,
    });
    let (aws, event) = (sim.aws(&vault()), CopyEvent::default());
    let (pause, out_of_time) = (aws.pause(), || over.load(Ordering::Relaxed));
    let limits = Limits { out_of_time: &out_of_time, ..limits(&pause) };
    let run = reconcile::copy(&aws, read_good(&documents()), &event, sim.now(), &limits);
    let run = drive(run).unwrap().unwrap();
    let waiting = lines(&run, "CopySnapshot", OutcomeName::Deferred);
    assert_eq!(waiting[0].error.as_ref().unwrap().message, "out of time");
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 1);
}

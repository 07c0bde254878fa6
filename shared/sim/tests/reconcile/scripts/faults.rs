//! Anything goes wrong with any call of a run: the application goes on, or somebody is told loudly that it may not, and
//! the next run sees to it.

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::commands::Step;
use snapferry_core::ec2::ErrorKind;
use snapferry_core::run::Run;
use snapferry_sim::{Call, Fault, Sim};

use crate::support::scripts::{
    LOUD, agent, an_hour, asked, database, scripted, stands_still, times,
};
use crate::support::servers::Server;
use crate::support::sets::whole_sets;
use crate::support::{failure, minutes, rotate, sim};

fn faults() -> Vec<Fault> {
    let seconds = SignedDuration::from_secs(30);
    let refusals = [
        (ErrorKind::Throttled, "ThrottlingException"),
        (ErrorKind::AccessDenied, "AccessDeniedException"),
        (ErrorKind::RegionDisabled, "OptInRequired"),
        (ErrorKind::QuotaExceeded, "SnapshotLimitExceeded"),
        (ErrorKind::NotReady, "IncorrectState"),
        (ErrorKind::NotFound, "InvalidInstanceID.NotFound"),
        (ErrorKind::Invalid, "InvalidInstanceId"),
        (ErrorKind::Internal, "InternalServerError"),
    ];
    let mut faults: Vec<_> =
        refusals.into_iter().map(|(kind, code)| Fault::Refuse(kind, code)).collect();
    faults.extend([Fault::NoAnswer, Fault::DoButNoAnswer, Fault::Slow(seconds)]);
    faults.extend([true, false].map(|happened| Fault::TimeOut { after: seconds, happened }));
    faults
}

/// How many of the calls after the `n`th go wrong.
#[derive(Clone, Copy, Debug)]
enum HowMany {
    One,
    AllOfThatOperation,
    All,
}

const HOW_MANY: [HowMany; 3] = [HowMany::One, HowMany::AllOfThatOperation, HowMany::All];

/// One run, of whose calls from the `n`th on (from 0) these go wrong.
fn one_run(n: usize, how_many: HowMany, fault: Fault, policy: &Value) -> (Sim, Server, Run) {
    let sim = sim();
    let server = database(&sim, |_| {});
    let mut operation = None;
    sim.on_call(move |call: &Call| {
        if call.number == n {
            operation = Some(call.operation);
        }
        let is_hit = match how_many {
            HowMany::One => call.number == n,
            HowMany::AllOfThatOperation => operation == Some(call.operation),
            HowMany::All => call.number >= n,
        };
        if is_hit { fault } else { Fault::None }
    });
    let run = rotate(&sim, std::slice::from_ref(policy));
    (sim, server, run)
}

fn calls_of_a_run(policy: &Value) -> usize {
    let (sim, ..) = one_run(usize::MAX, HowMany::One, Fault::None, policy);
    sim.take_journal().len()
}

/// No attempt has two pre-scripts, which nobody could tell from each other.
fn assert_none_twice(sim: &Sim, server: &Server, context: &str) {
    let mut before: Vec<String> = asked(sim, &server.id);
    before.retain(|it| it.starts_with("pre-script"));
    let n = before.len();
    before.dedup();
    assert_eq!(before.len(), n, "{context}: {before:?}");
}

#[test]
fn it_goes_on_or_somebody_is_told_and_the_next_run_mends_it() {
    let policy = scripted(&json!({}));
    let (mut tried, mut loud) = (0, 0);
    for n in 0..calls_of_a_run(&policy) {
        for how_many in HOW_MANY {
            for fault in faults() {
                let context = format!("{fault:?} of {how_many:?} from call {n} on");
                let (sim, server, run) = one_run(n, how_many, fault, &policy);
                let id = &server.id;
                tried += 1;
                let still = stands_still(&sim, id);
                let is_told = failure(&run).contains(LOUD);
                assert!(!still || is_told, "{context}: {}", failure(&run));
                loud += usize::from(still);
                if still {
                    let missing = crate::support::scripts::metric(&run, "PostScriptsMissing");
                    assert_eq!(missing, Some(1), "{context}");
                }
                sim.no_faults();
                sim.advance(minutes(5));
                drop(rotate(&sim, std::slice::from_ref(&policy)));
                assert!(!stands_still(&sim, id), "{context}: {:?}", asked(&sim, id));
                for run in an_hour(&sim, std::slice::from_ref(&policy)).iter().skip(1) {
                    assert_eq!(failure(run), "", "{context}");
                }
                assert_none_twice(&sim, &server, &context);
                let it = agent(&sim, id);
                assert_eq!(it.stops, it.goes, "{context}");
                assert!(it.stops <= times(&sim, id, Step::PreScript), "{context}");
                assert_eq!(whole_sets(&sim, id, 3).len(), 1, "{context}");
                assert_eq!(sim.records().len(), 3, "{context}");
            }
        }
    }
    assert!(tried > 300 && loud > 20, "{tried} tried, {loud} left standing");
}

/// What of the sets is known to be application-consistent is so, whatever was not answered.
#[test]
fn none_is_called_consistent_that_is_not() {
    let policy = scripted(&json!({"MaximumRetryCount": 1}));
    for n in 0..calls_of_a_run(&policy) {
        for fault in faults() {
            let context = format!("{fault:?} of call {n}");
            let (sim, server, _) = one_run(n, HowMany::One, fault, &policy);
            sim.no_faults();
            sim.advance(minutes(5));
            drop(an_hour(&sim, std::slice::from_ref(&policy)));
            let told = crate::support::scripts::told(&sim, &server);
            if told.ends_with("true") {
                let execution =
                    crate::support::scripts::tag(&sim, &server, "snapferry:execution-id");
                let of_it = |step| {
                    let sent = sim.commands().into_iter();
                    let mut sent = sent.filter(|it| {
                        it.request.errand.step == step
                            && it.request.parameters["executionId"] == execution
                    });
                    sent.next().unwrap().at
                };
                let start = sim.records()[0].snapshot.start_time;
                assert!(of_it(Step::PreScript) < start, "{context}");
                assert!(start <= of_it(Step::PostScript), "{context}");
            }
            assert_ne!(told.split(' ').next_back(), Some("-"), "{context}: {told}");
        }
    }
}

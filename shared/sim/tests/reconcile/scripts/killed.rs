//! The process dies at any call of a run, of which it never hears the answer: the application goes on with the next run
//! that may see to it, and the slot has one whole set in the end.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_core::commands::Step;
use snapferry_sim::{Sim, drive};

use crate::support::scripts::{
    agent, asked, assert_whole, database, disabled, scripted, stands_still, times, told,
};
use crate::support::servers::Server;
use crate::support::together::quiet;
use crate::support::{failure, minutes, mutations, rotate, rotation, sim, vault};

fn calls_of_a_run(policy: &Value) -> usize {
    let sim = sim();
    database(&sim, |_| {});
    quiet(&rotate(&sim, std::slice::from_ref(policy)));
    sim.take_journal().len()
}

/// A world in which a run has died after `n` calls.
fn died(n: usize, policy: &Value) -> (Sim, Server) {
    let sim = sim();
    let server = database(&sim, |_| {});
    let dying = sim.aws_dying_after(&vault(), n);
    let documents = std::slice::from_ref(policy);
    assert!(drive(rotation(&dying, documents, sim.now())).is_none(), "{n}");
    (sim, server)
}

/// The first run that comes after this long knows that the run that sent the pre-script is over: its timeout, and three
/// minutes.
const SURELY_DEAD: SignedDuration = SignedDuration::from_secs(10 + 3 * 60);

#[test]
fn the_next_run_lets_it_go_on_wherever_the_last_one_died() {
    let policy = scripted(&json!({}));
    let (mut left_standing, calls) = (0, calls_of_a_run(&policy));
    for n in 1..=calls {
        let context = format!("died at call {n} of {calls}");
        let (sim, server) = died(n, &policy);
        let id = &server.id;
        let was_asked = asked(&sim, id);
        let still = stands_still(&sim, id);
        left_standing += usize::from(still);
        // Too early: whoever sent the pre-script may be about to go on.
        if still {
            let begun = sim.commands()[0].at;
            wait_until(&sim, begun + SURELY_DEAD - SignedDuration::from_secs(5));
            quiet(&rotate(&sim, std::slice::from_ref(&policy)));
            assert_eq!(asked(&sim, id), was_asked, "{context}");
            assert!(stands_still(&sim, id), "{context}");
            wait_until(&sim, begun + SURELY_DEAD);
        }
        let run = rotate(&sim, std::slice::from_ref(&policy));
        assert!(!stands_still(&sim, id), "{context}");
        assert_eq!(failure(&run), "", "{context}");
        let missed = crate::support::scripts::metric(&run, "PostScriptsMissing").unwrap_or(0);
        assert_eq!(missed, i64::from(still), "{context}");
        for _ in 0..3 {
            sim.advance(minutes(5));
            quiet(&rotate(&sim, std::slice::from_ref(&policy)));
        }
        assert_whole(&sim, &server, &context);
        assert_eq!(told(&sim, &server), "Success Success true", "{context}");
        let (before, after) = (times(&sim, id, Step::PreScript), times(&sim, id, Step::PostScript));
        assert_eq!(before, after, "{context}: {:?}", asked(&sim, id));
        assert_eq!((agent(&sim, id).stops, agent(&sim, id).goes), (before, before), "{context}");
        drop(sim.take_journal());
        quiet(&rotate(&sim, std::slice::from_ref(&policy)));
        assert_eq!(mutations(&sim), Vec::<String>::new(), "{context}");
    }
    assert!(left_standing >= 4, "{left_standing} of {calls}");
}

#[test]
fn a_disabled_policy_has_it_go_on_too() {
    let policy = scripted(&json!({}));
    for n in 1..=calls_of_a_run(&policy) {
        let context = format!("died at call {n}");
        let (sim, server) = died(n, &policy);
        let n_made = sim.records().len();
        sim.advance(minutes(5));
        quiet(&rotate(&sim, &[disabled(&policy)]));
        assert!(!stands_still(&sim, &server.id), "{context}");
        assert_eq!(sim.records().len(), n_made, "{context}");
        let id = &server.id;
        assert_eq!(
            times(&sim, id, Step::PreScript),
            times(&sim, id, Step::PostScript),
            "{context}"
        );
    }
}

#[test]
fn a_target_no_more_goes_on_too() {
    let policy = scripted(&json!({}));
    for n in 1..=calls_of_a_run(&policy) {
        let (sim, server) = died(n, &policy);
        sim.change_instance(&server.id, |it| it.tags.clear());
        sim.advance(minutes(5));
        quiet(&rotate(&sim, std::slice::from_ref(&policy)));
        assert!(!stands_still(&sim, &server.id), "died at call {n}");
    }
}

#[test]
fn the_next_slot_is_not_too_late() {
    let policy = scripted(&json!({}));
    for n in 1..=calls_of_a_run(&policy) {
        let (sim, server) = died(n, &policy);
        sim.advance(minutes(24 * 60));
        quiet(&rotate(&sim, std::slice::from_ref(&policy)));
        assert!(!stands_still(&sim, &server.id), "died at call {n}");
        let it = agent(&sim, &server.id);
        assert_eq!(it.stops, it.goes, "died at call {n}");
    }
}

#[test]
fn one_that_dies_again_and_again_ends_what_it_began() {
    let policy = scripted(&json!({}));
    for n in 1..=calls_of_a_run(&policy) + 6 {
        let sim = sim();
        let server = database(&sim, |_| {});
        for _ in 0..4 {
            let dying = sim.aws_dying_after(&vault(), n);
            drop(drive(rotation(&dying, std::slice::from_ref(&policy), sim.now())));
            sim.advance(minutes(4));
        }
        for _ in 0..3 {
            quiet(&rotate(&sim, std::slice::from_ref(&policy)));
            assert!(!stands_still(&sim, &server.id), "died at call {n}");
            sim.advance(minutes(5));
        }
        assert_whole(&sim, &server, &format!("died at call {n}"));
        assert_eq!(told(&sim, &server), "Success Success true", "died at call {n}");
    }
}

fn wait_until(sim: &Sim, at: Timestamp) {
    sim.advance(at.duration_since(sim.now()));
}

#[test]
fn the_longest_timeout_of_a_document_is_waited_for() {
    let mut policy = scripted(&json!({"ExecutionTimeout": 10}));
    let mut slow = policy["PolicyDetails"]["Schedules"][0].clone();
    slow["Name"] = json!("slow");
    slow["CreateRule"]["Scripts"][0]["ExecutionTimeout"] = json!(120);
    let schedules = policy["PolicyDetails"]["Schedules"].as_array_mut().unwrap();
    schedules[0]["CreateRule"]["Times"] = json!(["14:00"]);
    schedules.push(slow);
    for n in 1..=calls_of_a_run(&policy) {
        let (sim, server) = died(n, &policy);
        if !stands_still(&sim, &server.id) {
            continue;
        }
        let begun = sim.commands()[0].at;
        wait_until(&sim, begun + SignedDuration::from_secs(3 * 60 + 115));
        quiet(&rotate(&sim, std::slice::from_ref(&policy)));
        assert!(stands_still(&sim, &server.id), "it may be alive");
        wait_until(&sim, begun + SignedDuration::from_secs(3 * 60 + 120));
        quiet(&rotate(&sim, std::slice::from_ref(&policy)));
        assert!(!stands_still(&sim, &server.id), "it may not");
    }
}

//! However the scripts end: what is made, what it says, and what is told.

use serde_json::{Value, json};
use snapferry_core::commands::Step;
use snapferry_core::tags;
use snapferry_sim::{Ending, Fault, Sim};

use crate::support::listing::of_instance;
use crate::support::scripts::{
    FIRST, LOUD, agent, all_held, an_hour, asked, commands, database, made, metrics, scripted,
    stands_still, told,
};
use crate::support::servers::Server;
use crate::support::{calls, failure, minutes, mutations, rotate, sim};
use Ending::{Fails, FailsHalfWay, Hangs, Late, Lost};

struct Row {
    pre: &'static [Ending],
    post: &'static [Ending],
    more: Value,
    /// What was asked for, by the first letters: `p1 e1`, pre-script 1 and post-script 1.
    asked: &'static str,
    /// Pre-script, post-script and what follows from them, or that nothing was made.
    told: &'static str,
    /// Of the failure; empty: there is none.
    failure: &'static [&'static str],
    metrics: [i64; 3],
}

fn row(
    pre: &'static [Ending],
    post: &'static [Ending],
    more: Value,
    wanted: (&'static str, &'static str, &'static [&'static str], [i64; 3]),
) -> Row {
    let (asked, told, failure, metrics) = wanted;
    Row { pre, post, more, asked, told, failure, metrics }
}

const STOPS: bool = false;

const FAILED: &str = "the pre-script of db-scripts on i-";
const POST: &str = "the post-script of db-scripts on i-";

fn all(n: usize) -> Value {
    json!({"MaximumRetryCount": n})
}

fn stops() -> Value {
    json!({"ExecuteOperationOnScriptFailure": STOPS})
}

fn stages(it: &str) -> Value {
    json!({"Stages": [it]})
}

fn table() -> impl Iterator<Item = Row> {
    of_pre_scripts().into_iter().chain(of_post_scripts()).chain(of_both())
}

fn of_pre_scripts() -> Vec<Row> {
    vec![
        row(&[], &[], json!({}), ("p1 e1", "Success Success true", &[], [0, 0, 0])),
        // A pre-script that failed may have got half-way: the post-script follows in any case.
        row(
            &[Fails(201)],
            &[],
            json!({}),
            (
                "p1 e1",
                "Failed 201 - false",
                &[FAILED, "failed: Failed, exit code 201 (the pre-script failed)"],
                [1, 0, 3],
            ),
        ),
        row(
            &[FailsHalfWay(206)],
            &[],
            json!({}),
            (
                "p1 e1",
                "Failed 206 - false",
                &[FAILED, "exit code 206 (the application was not ready)"],
                [1, 0, 3],
            ),
        ),
        row(
            &[FailsHalfWay(201)],
            &[],
            stops(),
            ("p1 e1", "nothing", &[FAILED, "exit code 201"], [1, 0, 0]),
        ),
        row(&[Fails(1)], &[], stops(), ("p1 e1", "nothing", &["exit code 1", FAILED], [1, 0, 0])),
        // Retries are of the whole creation.
        row(
            &[Fails(201), FailsHalfWay(201)],
            &[],
            all(2),
            ("p1 e1 p2 e2 p3 e3", "Success Success true", &[], [0, 0, 0]),
        ),
        row(
            &[Fails(201), Fails(201), Fails(201)],
            &[],
            all(2),
            ("p1 e1 p2 e2 p3 e3", "Failed 201 - false", &[FAILED], [1, 0, 3]),
        ),
        // One that does not end may have got half-way too, and may yet.
        row(
            &[Hangs],
            &[],
            json!({}),
            (
                "p1 e1",
                "In Progress - false",
                &[FAILED, "did not end within 45 seconds: In Progress"],
                [1, 0, 3],
            ),
        ),
        row(
            &[Lost],
            &[],
            json!({}),
            (
                "p1 e1",
                "Delivery Timed Out - false",
                &[FAILED, "failed: Delivery Timed Out", LOUD],
                [2, 1, 3],
            ),
        ),
        row(&[Hangs], &[], stops(), ("p1 e1", "nothing", &[FAILED], [1, 0, 0])),
    ]
}

fn of_post_scripts() -> Vec<Row> {
    vec![
        // They leave it standing; the snapshots are good.
        row(
            &[],
            &[Fails(202)],
            json!({}),
            (
                "p1 e1",
                "Success Failed 202 false",
                &[POST, LOUD, "exit code 202 (the post-script failed)"],
                [1, 1, 3],
            ),
        ),
        row(
            &[],
            &[Fails(202), FailsHalfWay(202)],
            all(2),
            ("p1 e1 e1 e1", "Success Success true", &[], [0, 0, 0]),
        ),
        row(
            &[],
            &[Fails(202), Fails(202), Fails(202)],
            all(2),
            ("p1 e1 e1 e1", "Success Failed 202 false", &[POST, LOUD], [1, 1, 3]),
        ),
        row(
            &[],
            &[Hangs],
            json!({}),
            (
                "p1 e1",
                "Success In Progress false",
                &[POST, "has not ended yet", LOUD, "In Progress"],
                [1, 1, 3],
            ),
        ),
        row(
            &[],
            &[Lost],
            json!({}),
            ("p1 e1", "Success In Progress false", &[POST, LOUD], [1, 1, 3]),
        ),
        // Gone on by itself: nothing stands still, and the snapshots may be worth less.
        row(
            &[],
            &[Fails(203)],
            json!({}),
            (
                "p1 e1",
                "Success Failed 203 false",
                &[POST, "came too late", "had gone on by itself before the post-script"],
                [1, 1, 3],
            ),
        ),
    ]
}

fn of_both() -> Vec<Row> {
    vec![
        row(
            &[FailsHalfWay(201)],
            &[Fails(202)],
            json!({}),
            ("p1 e1", "Failed 201 - false", &[FAILED, POST, LOUD], [2, 1, 3]),
        ),
        row(
            &[FailsHalfWay(201)],
            &[Fails(202)],
            stops(),
            ("p1 e1", "nothing", &[FAILED, POST, LOUD], [2, 1, 0]),
        ),
        // One stage only. What begins in a document of one stage ends by itself.
        row(&[], &[], stages("PRE"), ("p1", "Success - true", &[], [0, 0, 0])),
        row(
            &[FailsHalfWay(201)],
            &[],
            stages("PRE"),
            ("p1", "Failed 201 - false", &[FAILED], [1, 0, 3]),
        ),
        row(
            &[],
            &[Fails(202)],
            stages("POST"),
            ("e1", "- Failed 202 -", &[POST, "exit code 202"], [1, 1, 0]),
        ),
    ]
}

fn short(sim: &Sim, server: &Server) -> String {
    let words = asked(sim, &server.id);
    let short = words.iter().map(|it| it.replace("pre-script ", "p").replace("post-script ", "e"));
    short.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_ending_of_a_script_has_its_outcome() {
    for (n, row) in table().enumerate() {
        let context = format!("{n}: {:?} {:?} {}", row.pre, row.post, row.more);
        let sim = sim();
        let policy = [scripted(&row.more)];
        let server = database(&sim, |it| {
            it.ends(Step::PreScript, row.pre);
            it.ends(Step::PostScript, row.post);
        });
        let run = rotate(&sim, &policy);
        assert_eq!(short(&sim, &server), row.asked, "{context}");
        let set = of_instance(&sim, &server.id).remove(FIRST).unwrap_or_default();
        let said = if set.is_empty() { "nothing".into() } else { told(&sim, &server) };
        assert_eq!(said, row.told, "{context}");
        assert_eq!(made(&run), set.len(), "{context}");
        let failure = failure(&run);
        assert_eq!(failure.is_empty(), row.failure.is_empty(), "{context}: {failure}");
        for part in row.failure {
            assert!(failure.contains(part), "{context}: {part:?} is not in {failure:?}");
        }
        let is_loud = row.failure.contains(&LOUD);
        assert_eq!(failure.contains(LOUD), is_loud, "{context}: {failure}");
        let has_post = row.more["Stages"] != json!(["PRE"]);
        assert!(is_loud || !has_post || !stands_still(&sim, &server.id), "{context}");
        assert_eq!(metrics(&run), row.metrics.map(Some), "{context}: {:?}", commands(&run));
        if said == "nothing" {
            let why =
                "not made, as its pre-script failed and ExecuteOperationOnScriptFailure is false";
            assert!(all_held(&run).contains(&why), "{context}: {:?}", all_held(&run));
        }
        // Later runs have it go on, and do not make what was not to be made.
        let n_made = sim.records().len();
        drop(an_hour(&sim, &policy));
        if has_post {
            assert!(!stands_still(&sim, &server.id), "{context}");
        }
        assert_eq!(sim.records().len(), n_made, "{context}");
        let is_pre = |it: &String| it.starts_with("pre-script");
        let n_pre = asked(&sim, &server.id).iter().filter(|it| is_pre(it)).count();
        assert_eq!(n_pre, row.asked.matches('p').count(), "{context}: never again for this slot");
        drop(sim.take_journal());
        let last = rotate(&sim, &policy);
        assert_eq!(mutations(&sim), Vec::<String>::new(), "{context}");
        assert_eq!(crate::support::failure(&last), "", "{context}: over and done with");
    }
}

#[test]
fn what_a_policy_does_not_want_without_scripts_is_told_until_its_window_is_over() {
    let policy = [scripted(&json!({"ExecuteOperationOnScriptFailure": STOPS}))];
    let sim = sim();
    let server = database(&sim, |it| it.ends(Step::PreScript, &[Fails(201)]));
    drop(rotate(&sim, &policy));
    sim.advance(minutes(5));
    let told = failure(&rotate(&sim, &policy));
    let begins = format!(
        "ActionsFailed: SendCommand of {} in 333333333333/eu-central-1: the pre-script of db-scripts on {} at ",
        server.id, server.id
    );
    assert!(told.starts_with(&begins), "{told}");
    let ends =
        "MaximumRetryCount is 0. No snapshot is made, as ExecuteOperationOnScriptFailure is false";
    assert!(told.ends_with(ends), "{told}");
    sim.advance(minutes(60));
    assert_eq!(failure(&rotate(&sim, &policy)), "");
    assert_eq!(sim.records().len(), 0);
    sim.advance(minutes(23 * 60));
    assert_eq!(failure(&rotate(&sim, &policy)), "", "the next night is another");
    assert_eq!(sim.records().len(), 3);
}

/// A run that gave up on a pre-script leaves retries to the next.
#[test]
fn retries_go_on_where_the_last_run_left_off() {
    let policy = [scripted(&json!({"MaximumRetryCount": 1}))];
    let sim = sim();
    let server = database(&sim, |it| it.ends(Step::PreScript, &[FailsHalfWay(201)]));
    let mut sent = 0;
    sim.on_call(move |call| match call.operation {
        "SendCommand" => {
            sent += 1;
            // The second pre-script is refused; Systems Manager remembers nothing of it.
            if sent == 3 {
                Fault::Refuse(snapferry_core::ec2::ErrorKind::Internal, "InternalServerError")
            } else {
                Fault::None
            }
        }
        "CreateSnapshots" => Fault::NoAnswer,
        _ => Fault::None,
    });
    assert!(failure(&rotate(&sim, &policy)).contains("InternalServerError"));
    sim.no_faults();
    sim.advance(minutes(5));
    assert_eq!(failure(&rotate(&sim, &policy)), "");
    assert_eq!(short(&sim, &server), "p1 e1 p2 e2");
    assert_eq!(told(&sim, &server), "Success Success true");
}

/// Given up after 45 seconds, a pre-script takes its time and has the application stand still after the post-script.
#[test]
fn a_pre_script_that_comes_after_its_post_script_is_found_by_the_next_run() {
    for seconds in [49, 60, 150, 400] {
        let context = format!("{seconds} seconds");
        let policy = [scripted(&json!({}))];
        let sim = sim();
        let server = database(&sim, |it| it.ends(Step::PreScript, &[Late(seconds)]));
        let id = &server.id;
        let run = rotate(&sim, &policy);
        assert!(failure(&run).contains(LOUD), "{context}: {}", failure(&run));
        drop(an_hour(&sim, &policy));
        assert!(!stands_still(&sim, id), "{context}: {:?}", asked(&sim, id));
        assert_eq!((agent(&sim, id).stops, agent(&sim, id).goes), (1, 1), "{context}");
    }
}

/// Nobody says whether the pre-script was sent, and it is listed late.
#[test]
fn a_pre_script_without_an_answer_is_looked_for() {
    let policy = [scripted(&json!({}))];
    let sim = sim();
    let server = database(&sim, |_| {});
    let mut sent = 0;
    sim.on_call(move |call| {
        sent += usize::from(call.operation == "SendCommand");
        if call.operation == "SendCommand" && sent == 1 {
            Fault::DoButNoAnswer
        } else {
            Fault::None
        }
    });
    assert_eq!(failure(&rotate(&sim, &policy)), "");
    assert_eq!(told(&sim, &server), "Success Success true");
    assert_eq!(calls(&sim.take_journal(), "SendCommand"), 2);
    assert_eq!(of_instance(&sim, &server.id)[FIRST][0].snapshot.tags[tags::SCRIPT], "db-scripts");
}

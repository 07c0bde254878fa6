//! `Scripts` with a document of one's own: the application stands still while the snapshots are begun, and no longer.

mod at_once;
mod deadlines;
mod endings;
mod faults;
mod killed;
mod left_over;
mod neighbours;
mod obstacles;
mod vss;

use serde_json::json;
use snapferry_core::commands::Step;
use snapferry_core::tags;

use crate::support::listing::of_instance;
use crate::support::scripts::{
    BACKUP, FIRST, agent, asked, commands, database, metrics, scripted, stands_still, tag, told,
};
use crate::support::servers::server;
use crate::support::sets::whole_sets;
use crate::support::together::quiet;
use crate::support::{
    VAULT, account, calls, hours, member, minutes, mutations, rotate, rotate_and_look, sim,
};

#[test]
fn the_snapshots_begin_while_the_application_stands_still() {
    let sim = sim();
    let server = database(&sim, |_| {});
    let run = rotate(&sim, &[scripted(&json!({}))]);
    quiet(&run);
    assert_eq!(mutations(&sim), {
        let id = &server.id;
        let first = &run.report.actions[1].snapshot_ids[0];
        [
            format!("SendCommand {id}"),
            format!("CreateSnapshots {id}"),
            format!("SendCommand {id}"),
            format!("CreateTags {first}"),
        ]
    });
    let sent = sim.commands();
    let [before, after] = [&sent[0], &sent[1]];
    let found = of_instance(&sim, &server.id).remove(FIRST).unwrap();
    assert_eq!(found.len(), 3);
    for record in &found {
        let start = record.snapshot.start_time;
        assert!(start >= before.at + agent(&sim, &server.id).takes && start <= after.at, "{start}");
    }
    let of = |step: Step| sent.iter().find(|it| it.request.errand.step == step).unwrap();
    let parameters = |step: Step| of(step).request.parameters.clone();
    let id = tag(&sim, &server, tags::EXECUTION_ID);
    for (step, word) in [(Step::PreScript, "pre-script"), (Step::PostScript, "post-script")] {
        assert_eq!(of(step).request.document, "db-scripts");
        assert_eq!(parameters(step)["command"], word);
        assert_eq!(parameters(step)["executionId"], id);
    }
    assert_eq!((agent(&sim, &server.id).stops, agent(&sim, &server.id).goes), (1, 1));
    assert_eq!(tag(&sim, &server, tags::SCRIPT), "db-scripts");
    assert_eq!(told(&sim, &server), "Success Success true");
    assert_eq!(commands(&run), ["pre-script Done", "post-script Done"]);
    assert_eq!(metrics(&run), [Some(0); 3]);
}

#[test]
fn nights_of_them_are_shared_and_rotated_like_others() {
    let sim = sim();
    let server = database(&sim, |_| {});
    let mut policy = scripted(&json!({}));
    policy["PolicyDetails"]["Schedules"][0]["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    rotate_and_look(&sim, std::slice::from_ref(&policy), 10, hours(3), |run| {
        quiet(run);
        assert!(!stands_still(&sim, &server.id));
    });
    let kept = ["2026-11-29T02:00:00Z", "2026-11-30T02:00:00Z", "2026-12-01T02:00:00Z"];
    assert_eq!(whole_sets(&sim, &server.id, 3), kept);
    assert_eq!(sim.records().len(), 9);
    let mut executions: Vec<String> = Vec::new();
    for record in sim.records() {
        let told = &record.snapshot.tags;
        assert_eq!(told[tags::APP_CONSISTENT], "true");
        assert!(record.shared_with.contains(&account(VAULT)));
        executions.push(told[tags::EXECUTION_ID].clone());
    }
    executions.dedup();
    assert_eq!(executions.len(), 3, "one for each night");
    assert_eq!((agent(&sim, &server.id).stops, agent(&sim, &server.id).goes), (10, 10));
    let journal = sim.take_journal();
    assert_eq!((calls(&journal, "SendCommand"), calls(&journal, "CreateSnapshots")), (20, 10));
    for mutating in [4, 0] {
        rotate(&sim, std::slice::from_ref(&policy));
        assert_eq!(mutations(&sim).len(), mutating, "another night, once");
    }
}

#[test]
fn a_policy_without_scripts_asks_systems_manager_nothing() {
    let sim = sim();
    server(&sim, &member(), &BACKUP, 1);
    let run = rotate(&sim, &[crate::support::sets::sets(&json!({"Count": 1}))]);
    quiet(&run);
    let journal = sim.take_journal();
    for operation in ["ListCommandInvocations", "DescribeInstanceInformation", "SendCommand"] {
        assert_eq!(calls(&journal, operation), 0, "{operation}");
    }
    assert_eq!(metrics(&run), [None; 3]);
}

#[test]
fn schedules_that_coincide_share_a_set_where_their_scripts_are_the_same() {
    for (handlers, wanted) in [
        (["a-doc", "a-doc"], vec!["pre-script 1", "post-script 1"]),
        (
            ["a-doc", "b-doc"],
            vec!["pre-script 1", "post-script 1", "pre-script 1", "post-script 1"],
        ),
    ] {
        let sim = sim();
        let server = database(&sim, |_| {});
        let mut policy = scripted(&json!({}));
        let schedule = policy["PolicyDetails"]["Schedules"][0].clone();
        let named = |(name, handler): (&str, &str)| {
            let mut schedule = schedule.clone();
            schedule["Name"] = json!(name);
            schedule["CreateRule"]["Scripts"][0]["ExecutionHandler"] = json!(handler);
            schedule
        };
        let schedules = ["one", "two"].into_iter().zip(handlers).map(named).collect::<Vec<_>>();
        policy["PolicyDetails"]["Schedules"] = json!(schedules);
        for _ in 0..4 {
            quiet(&rotate(&sim, std::slice::from_ref(&policy)));
            assert!(!stands_still(&sim, &server.id));
            sim.advance(minutes(5));
        }
        assert_eq!(asked(&sim, &server.id), wanted);
        let documents: Vec<_> = sim.commands().into_iter().map(|it| it.request.document).collect();
        assert_eq!(documents[0], documents[1], "one ends before the other begins");
        assert_eq!(sim.records().len(), 3 * wanted.len() / 2);
        let consistent =
            |it: &snapferry_sim::Record| it.snapshot.tags[tags::APP_CONSISTENT].clone();
        assert!(sim.records().iter().all(|it| consistent(it) == "true"));
    }
}

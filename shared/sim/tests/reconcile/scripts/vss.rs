//! VSS backups: the instance makes the snapshots itself, and the next run sees what became of them.

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::commands::Step;
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Ending, Fault, InstanceState, Sim};

use crate::support::listing::of_instance;
use crate::support::scripts::{
    FIRST, all_held, an_hour, asked, assert_whole, commands, disabled, metrics, scripted, tag,
    times, vss, windows,
};
use crate::support::servers::Server;
use crate::support::sets::whole_sets;
use crate::support::together::quiet;
use crate::support::{
    VAULT, account, calls, failure, hours, minutes, mutations, rotate, rotate_and_look, sim,
};
use Ending::{Fails, FailsHalfWay, Hangs, LeavesOneOut, Lost, NotConsistent};

#[test]
fn it_is_asked_for_once_and_seen_by_the_next_run() {
    let sim = sim();
    let server = windows(&sim, |it| it.takes = SignedDuration::from_mins(3));
    let policy = [vss(&json!({}))];
    let run = rotate(&sim, &policy);
    quiet(&run);
    assert_eq!(commands(&run), ["VSS backup Done"]);
    let sent = sim.commands().remove(0);
    let line = run.report.actions[0].clone();
    assert_eq!(line.document_name.as_deref(), Some("AWSEC2-VssInstallAndSnapshot"));
    assert_eq!(line.command_id.as_deref(), Some("00000000-0000-4000-8000-000000000000"));
    let id = &server.id;
    let parameters: Vec<_> = sent.request.parameters.keys().map(String::as_str).collect();
    assert_eq!(parameters, ["ExcludeBootVolume", "description", "tags"]);
    assert_eq!(sent.request.parameters["ExcludeBootVolume"], "False");
    let execution = tag(&sim, &server, tags::EXECUTION_ID);
    assert_eq!(
        sent.request.parameters["tags"],
        format!(
            "Key=snapferry:execution-id,Value={execution};Key=snapferry:instance,Value={id};\
             Key=snapferry:policy,Value=sets;Key=snapferry:schedule,Value=nightly;\
             Key=snapferry:script,Value=AWSEC2-VssInstallAndSnapshot;\
             Key=snapferry:slot,Value={FIRST};Key=snapferry:volumes,Value=3"
        )
    );
    // Under way, it is neither asked for again nor held against anybody.
    sim.advance(minutes(1));
    quiet(&rotate(&sim, &policy));
    sim.advance(minutes(20));
    let run = rotate(&sim, &policy);
    quiet(&run);
    assert_eq!(metrics(&run), [None; 3], "nobody pays for metrics of what went well");
    assert_whole(&sim, &server, "");
    assert_eq!(tag(&sim, &server, tags::APP_CONSISTENT), "true");
    assert_eq!(times(&sim, id, Step::VssBackup), 1);
    drop(sim.take_journal());
    quiet(&rotate(&sim, &policy));
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn one_without_snapshots_yet_is_waited_for() {
    let sim = sim();
    let server = windows(&sim, |it| {
        it.takes = SignedDuration::from_mins(12);
        it.ends(Step::VssBackup, &[Fails(1)]);
    });
    let policy = [vss(&json!({"MaximumRetryCount": 1}))];
    quiet(&rotate(&sim, &policy));
    for _ in 0..2 {
        sim.advance(minutes(5));
        let run = rotate(&sim, &policy);
        quiet(&run);
        let id = "00000000-0000-4000-8000-000000000000";
        let said = format!("the VSS backup of 2026-11-22T02:01:00Z, command {id}, is In Progress");
        assert_eq!(all_held(&run), [said]);
    }
    sim.advance(minutes(5));
    let run = rotate(&sim, &policy);
    quiet(&run);
    assert_eq!(asked(&sim, &server.id), ["VSS backup 1", "VSS backup 2"], "it had failed");
    let why = &run.report.actions[0].reason;
    assert!(why.starts_with("no snapshot for this slot; the VSS backup of AWSEC2-Vss"), "{why}");
    assert!(why.contains("ended as Failed, and") || why.contains("exit code 1"), "{why}");
    drop(an_hour(&sim, &policy));
    assert_whole(&sim, &server, "");
}

/// One night of a VSS backup that ends so, with a run every ten minutes.
fn a_night(endings: &[Ending], more: &Value) -> (Sim, Server, Vec<Run>) {
    let sim = sim();
    let server = windows(&sim, |it| it.ends(Step::VssBackup, endings));
    let runs = an_hour(&sim, &[vss(more)]);
    (sim, server, runs)
}

fn said(runs: &[Run]) -> String {
    runs.iter().map(failure).filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Endings, policy, how often it is asked for, what the set says, what of the failure.
type Row = (&'static [Ending], Value, usize, &'static str, &'static [&'static str]);

#[test]
fn every_ending_of_a_vss_backup_has_its_outcome() {
    let stops = || json!({"ExecuteOperationOnScriptFailure": false});
    let once_more = || json!({"MaximumRetryCount": 1});
    let table: Vec<Row> = vec![
        (&[], json!({}), 1, "true", &[]),
        (&[NotConsistent], json!({}), 1, "false", &[]),
        (
            &[Fails(1)],
            json!({}),
            1,
            "false",
            &["ended as Failed, exit code 1", "A crash-consistent"],
        ),
        (&[Fails(1)], once_more(), 2, "true", &[]),
        (&[Fails(1), Fails(1)], once_more(), 2, "false", &["MaximumRetryCount is 1. A crash-con"]),
        (&[Fails(1)], stops(), 1, "nothing", &["No snapshot is made, as ExecuteOperationOn"]),
        // With snapshots that do not say that they are application-consistent, which is what they are.
        (&[FailsHalfWay(1)], json!({}), 1, "false", &[]),
        (&[Lost], json!({}), 1, "false", &["ended as Delivery Timed Out", "A crash-consistent"]),
        (&[Lost], once_more(), 2, "true", &[]),
        (
            &[LeavesOneOut],
            json!({}),
            1,
            "false",
            &["ended as Success, and not all of its snapshots are there", "A crash-consistent"],
        ),
        (&[LeavesOneOut], once_more(), 2, "true", &[]),
        (
            &[LeavesOneOut],
            stops(),
            1,
            "nothing",
            &["ended as Success, and not all of its snapshots are there", "No snapshot is made"],
        ),
    ];
    for (endings, more, n, wanted, parts) in table {
        let context = format!("{endings:?} {more}");
        let (sim, server, runs) = a_night(endings, &more);
        assert_eq!(times(&sim, &server.id, Step::VssBackup), n, "{context}");
        let said = said(&runs);
        assert_eq!(said.is_empty(), parts.is_empty(), "{context}: {said}");
        for part in parts {
            assert!(said.contains(part), "{context}: {part:?} is not in {said}");
        }
        let whole = whole_sets(&sim, &server.id, 3);
        if wanted == "nothing" {
            assert_eq!(whole.len(), 0, "{context}");
        } else {
            let sets = of_instance(&sim, &server.id);
            let last = sets[FIRST].iter().max_by_key(|it| it.snapshot.start_time).unwrap();
            assert_eq!(last.snapshot.tags[tags::APP_CONSISTENT], wanted, "{context}");
            let not: i64 = runs.iter().filter_map(|it| metrics(it)[2]).sum();
            assert_eq!(not > 0, wanted == "false", "{context}: {not}");
        }
    }
}

#[test]
fn one_that_hangs_is_told_by_nobody_while_its_snapshots_are_good() {
    let (sim, server, runs) = a_night(&[Hangs], &json!({}));
    assert_eq!(said(&runs), "");
    assert_eq!(tag(&sim, &server, tags::APP_CONSISTENT), "false", "nobody said that it is");
    assert_eq!(times(&sim, &server.id, Step::VssBackup), 1);
}

/// A set of which one is missing gives way to a whole one.
#[test]
fn a_part_of_a_set_does_not_stay_beside_a_whole_one() {
    for more in [json!({}), json!({"MaximumRetryCount": 1})] {
        let (sim, server, _) = a_night(&[LeavesOneOut], &more);
        sim.advance(minutes(30));
        rotate(&sim, &[vss(&more)]);
        rotate(&sim, &[vss(&more)]);
        assert_whole(&sim, &server, &format!("{more}"));
    }
}

#[test]
fn what_fails_after_the_last_run_of_its_window_is_told_by_the_next() {
    for ending in [Fails(1), Lost, LeavesOneOut] {
        let sim = sim();
        let policy = [vss(&json!({}))];
        windows(&sim, |it| it.ends(Step::VssBackup, &[ending]));
        sim.advance(minutes(58)); // the last minute of the window
        quiet(&rotate(&sim, &policy));
        sim.advance(minutes(30));
        let run = rotate(&sim, &policy);
        let said = failure(&run);
        assert!(said.contains("the VSS backup of AWSEC2-VssInstallAndSnapshot on i-"), "{said}");
        assert_eq!(metrics(&run)[0], Some(1), "{ending:?}");
        assert_eq!(failure(&rotate(&sim, &[disabled(&policy[0])])), "");
    }
}

/// What retention has deleted is no backup that failed.
#[test]
fn one_whose_set_has_been_rotated_out_is_not_told() {
    let sim = sim();
    let server = windows(&sim, |_| {});
    let mut policy = vss(&json!({}));
    policy["PolicyDetails"]["Schedules"][0]["RetainRule"] = json!({"Count": 1});
    let documents = [policy];
    for _ in 0..2 {
        quiet(&rotate(&sim, &documents));
        sim.advance(minutes(20));
    }
    sim.advance(minutes(23 * 60 + 20));
    // The next night it is stopped, and its snapshots need no command.
    sim.change_instance(&server.id, |it| it.state = InstanceState::Stopped);
    for _ in 0..8 {
        quiet(&rotate(&sim, &documents));
        sim.advance(minutes(60));
    }
    assert_eq!(whole_sets(&sim, &server.id, 3), ["2026-11-23T02:00:00Z"]);
}

#[test]
fn nights_of_them_are_shared_and_rotated_like_others() {
    let sim = sim();
    let server = windows(&sim, |_| {});
    let mut policy = vss(&json!({"VssDocumentName": "AWSEC2-CreateVssSnapshot"}));
    policy["PolicyDetails"]["Schedules"][0]["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    policy["PolicyDetails"]["Parameters"] = json!({"ExcludeBootVolume": true});
    rotate_and_look(&sim, &[policy], 6, hours(3), quiet);
    let kept = ["2026-11-25T02:00:00Z", "2026-11-26T02:00:00Z", "2026-11-27T02:00:00Z"];
    assert_eq!(whole_sets(&sim, &server.id, 2), kept);
    assert_eq!(sim.records().len(), 6);
    for record in sim.records() {
        assert_eq!(record.snapshot.tags[tags::APP_CONSISTENT], "true");
        assert!(record.shared_with.contains(&account(VAULT)));
        assert_ne!(record.snapshot.volume_id, server.boot);
    }
    assert_eq!(calls(&sim.take_journal(), "SendCommand"), 6);
    assert!(sim.commands().iter().all(|it| it.request.document == "AWSEC2-CreateVssSnapshot"));
}

/// What is not known to have been sent may have been, and is never sent blindly again.
#[test]
fn a_command_without_an_answer_is_not_repeated_where_it_happened() {
    for (fault, n) in [(Fault::DoButNoAnswer, 1), (Fault::NoAnswer, 2)] {
        let sim = sim();
        let server = windows(&sim, |_| {});
        let policy = [vss(&json!({}))];
        sim.on_call(move |call| if call.operation == "SendCommand" { fault } else { Fault::None });
        let run = rotate(&sim, &policy);
        assert!(failure(&run).contains("no answer to SendCommand"), "{}", failure(&run));
        sim.no_faults();
        sim.advance(minutes(5));
        for run in an_hour(&sim, &policy) {
            quiet(&run);
        }
        assert_eq!(calls(&sim.take_journal(), "SendCommand"), n);
        assert_whole(&sim, &server, "");
        assert_eq!(tag(&sim, &server, tags::APP_CONSISTENT), "true");
    }
}

#[test]
fn coinciding_schedules_share_a_backup_where_their_scripts_are_the_same() {
    for (same, n) in [(true, 1), (false, 2)] {
        let sim = sim();
        let server = windows(&sim, |it| it.takes = SignedDuration::from_secs(3));
        let mut policy = vss(&json!({}));
        let of = if same { policy.clone() } else { scripted(&json!({})) };
        let mut other = of["PolicyDetails"]["Schedules"][0].clone();
        other["Name"] = json!("weekly");
        policy["PolicyDetails"]["Schedules"].as_array_mut().unwrap().push(other);
        let runs = an_hour(&sim, &[policy]);
        assert_eq!(said(&runs), "");
        assert_eq!(sim.records().len(), 3 * n);
        for record in sim.records() {
            assert_eq!(record.snapshot.tags[tags::APP_CONSISTENT], "true");
            let schedules = record.snapshot.tags[tags::SCHEDULE].as_str();
            assert!(["nightly/weekly", "nightly", "weekly"].contains(&schedules), "{schedules}");
        }
        assert_eq!(times(&sim, &server.id, Step::VssBackup), 1);
    }
}

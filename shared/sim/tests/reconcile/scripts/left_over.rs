//! What others began, what the start window left, and who else wants the volumes.

use serde_json::json;
use snapferry_core::commands::Step;
use snapferry_core::ec2::ErrorKind;
use snapferry_core::report::Status;
use snapferry_core::tags;
use snapferry_sim::{Ending, Fault};

use crate::support::scripts::{
    LOUD, asked, assert_whole, database, disabled, made, scripted, stands_still, tag, times, told,
    vss, windows,
};
use crate::support::together::quiet;
use crate::support::{
    HOME, MEMBER, calls, days, failure, hours, minutes, role, rotate, rotate_and_look, sim,
};

/// Somebody else's, or another run's that the list does not show yet: a post-script now would come into its snapshots.
#[test]
fn what_stands_still_already_is_left_to_its_run_and_ended_by_the_next() {
    let sim = sim();
    let server = database(&sim, |_| {});
    let now = sim.now();
    sim.change_agent(&server.id, |it| it.still_since = Some(now));
    let policy = [scripted(&json!({"MaximumRetryCount": 3}))];
    let run = rotate(&sim, &policy);
    assert!(
        failure(&run).contains("exit code 204 (the application stood still already"),
        "{run:?}"
    );
    assert_eq!(asked(&sim, &server.id), ["pre-script 1"], "neither a post-script nor a retry");
    assert_eq!((made(&run), tag(&sim, &server, tags::APP_CONSISTENT)), (3, "false".into()));
    sim.advance(minutes(2));
    rotate(&sim, &policy);
    assert!(stands_still(&sim, &server.id), "it may be alive");
    sim.advance(minutes(5));
    quiet(&rotate(&sim, &policy));
    assert!(!stands_still(&sim, &server.id));
    assert_whole(&sim, &server, "");
}

#[test]
fn a_throttled_pre_script_waits_for_the_next_run() {
    let sim = sim();
    let server = database(&sim, |_| {});
    let policy = [scripted(&json!({}))];
    sim.on_call(|call| match call.operation {
        "SendCommand" => Fault::Refuse(ErrorKind::Throttled, "ThrottlingException"),
        _ => Fault::None,
    });
    let run = rotate(&sim, &policy);
    assert_eq!((failure(&run).as_str(), run.report.status), ("", Status::Incomplete));
    assert_eq!(sim.records().len(), 0, "it is not done without for that");
    sim.no_faults();
    sim.advance(minutes(5));
    quiet(&rotate(&sim, &policy));
    assert_whole(&sim, &server, "");
    assert_eq!(told(&sim, &server), "Success Success true");
}

/// Systems Manager is asked about two slots: the pre-script is forgotten long before.
#[test]
fn a_post_script_that_fails_is_sent_for_as_long_as_it_fails() {
    let sim = sim();
    let server = database(&sim, |it| it.ends(Step::PostScript, &[Ending::Fails(202); 200]));
    let policy = scripted(&json!({}));
    assert!(failure(&rotate(&sim, std::slice::from_ref(&policy))).contains(LOUD));
    let policy = [disabled(&policy)];
    for hour in 0..90 {
        sim.advance(hours(1));
        assert!(failure(&rotate(&sim, &policy)).contains(LOUD), "hour {hour}");
    }
    assert_eq!(times(&sim, &server.id, Step::PostScript), 91);
    sim.change_agent(&server.id, |it| it.endings.clear());
    sim.advance(hours(1));
    quiet(&rotate(&sim, &policy));
    assert!(!stands_still(&sim, &server.id));
    sim.advance(hours(1));
    quiet(&rotate(&sim, &policy));
    assert_eq!(times(&sim, &server.id, Step::PostScript), 92, "and no longer");
}

/// The next run may come when the start window is over.
#[test]
fn what_was_begun_within_the_window_comes_to_its_end_after_it() {
    for (retries, goes_on, wanted) in [(1, true, ""), (0, true, "false"), (0, false, "-")] {
        let sim = sim();
        let server = windows(&sim, |it| it.ends(Step::VssBackup, &[Ending::Fails(7)]));
        let script =
            json!({"MaximumRetryCount": retries, "ExecuteOperationOnScriptFailure": goes_on});
        let policy = [vss(&script)];
        quiet(&rotate(&sim, &policy));
        sim.advance(hours(2));
        let run = rotate(&sim, &policy);
        assert_eq!(failure(&run).contains("exit code 7"), retries == 0, "{run:?}");
        assert_eq!(times(&sim, &server.id, Step::VssBackup), 1 + retries);
        if wanted == "-" {
            assert_eq!(sim.records().len(), 0);
            sim.advance(hours(6));
            quiet(&rotate(&sim, &policy));
        } else {
            assert_whole(&sim, &server, wanted);
        }
        if wanted == "false" {
            assert_eq!(tag(&sim, &server, tags::APP_CONSISTENT), wanted);
        }
    }
    // What was not begun within it is not begun.
    let sim = sim();
    let server = windows(&sim, |_| {});
    sim.advance(hours(2));
    quiet(&rotate(&sim, &[vss(&json!({}))]));
    assert_eq!(times(&sim, &server.id, Step::VssBackup), 0);
}

/// A default policy takes what nobody else does, and EC2 wants 15 seconds between two snapshots of a volume.
#[test]
fn a_vss_backup_has_its_volumes_for_itself() {
    let sim = sim();
    let server = windows(&sim, |_| {});
    for volume in server.volumes() {
        sim.change_volume(&volume, |it| it.create_time -= days(2));
    }
    let default = json!({
        "Name": "default",
        "Targets": [{"RoleArn": role(MEMBER), "Regions": [HOME]}],
        "PolicyDetails": {
            "PolicyLanguage": "SIMPLIFIED", "ResourceType": "VOLUME",
            "CreateInterval": 1, "RetainInterval": 3,
        },
    });
    drop(sim.take_journal());
    quiet(&rotate(&sim, &[vss(&json!({})), default]));
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshot"), 0);
    assert_whole(&sim, &server, "");
}

/// Two policies of the same document and slot have their own commands, and do not tell of each other's.
#[test]
fn two_vss_schedules_of_a_policy_are_told_apart() {
    let sim = sim();
    let server = windows(&sim, |_| {});
    let mut policy = vss(&json!({}));
    let mut weekly = policy["PolicyDetails"]["Schedules"][0].clone();
    weekly["Name"] = json!("weekly");
    weekly["CreateRule"]["CronExpression"] = json!("cron(30 2 ? * SUN *)");
    weekly["CreateRule"].as_object_mut().unwrap().remove("Interval");
    weekly["CreateRule"].as_object_mut().unwrap().remove("IntervalUnit");
    weekly["CreateRule"].as_object_mut().unwrap().remove("Times");
    let schedules = policy["PolicyDetails"]["Schedules"].as_array_mut().unwrap();
    schedules.push(weekly);
    rotate_and_look(&sim, &[policy], 9, minutes(30), quiet);
    assert!(times(&sim, &server.id, Step::VssBackup) >= 10);
}

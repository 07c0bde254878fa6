//! Every scope by itself: what fails in one is no matter of the others, and time that runs out is no loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use snapferry_core::event::RotateEvent;
use snapferry_core::execute::Limits;
use snapferry_core::reconcile;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_sim::{Aws, Sim, drive};

use crate::support::{
    HOME, MEMBER, OTHER, account, every, failure, limits, lines, mutations, read_good, role,
    rotate, scope, sim, slots, vault,
};

const REGIONS: [&str; 2] = [HOME, "us-east-1"];

fn everywhere() -> Value {
    json!({
        "Name": "daily",
        "Targets": [
            {"RoleArn": role(MEMBER), "ExternalId": "a-secret", "Regions": REGIONS},
            {"RoleArn": role(OTHER), "Regions": REGIONS}
        ],
        "PolicyDetails": {
            "TargetTags": [{"Key": "Backup", "Value": "daily"}],
            "Schedules": [{"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 3}}]
        }
    })
}

fn world() -> Sim {
    let sim = sim();
    for account in [MEMBER, OTHER] {
        for region in REGIONS {
            for _ in 0..3 {
                sim.volume(&scope(account, region), &[("Backup", "daily")]);
            }
        }
    }
    sim
}

#[test]
fn a_role_and_a_region_that_are_shut_stop_nobody_else() {
    let sim = world();
    sim.lock_out(&account(OTHER), true);
    sim.disable_region(&scope(MEMBER, "us-east-1"), true);
    let run = rotate(&sim, &[everywhere()]);
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), 3);
    assert_eq!(slots(&sim, &scope(MEMBER, HOME)).len(), 3);
    let told = failure(&run);
    assert!(told.starts_with("ScopesUnreadable: "), "{told}");
    for wanted in [
        "333333333333/us-east-1: AWS refused Describe",
        "OptInRequired",
        "444444444444/eu-central-1: cannot assume arn:aws:iam::444444444444:role/snapferry-member \
         in account 444444444444 as arn:aws:sts::222222222222:assumed-role/function: check that the role exists",
        "444444444444/us-east-1: cannot assume",
        "(the document gives no ExternalId)",
        "not authorized to perform sts:AssumeRole (AccessDenied",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    assert!(!told.contains("a-secret"), "{told}");
    assert_eq!(told.lines().count(), 1);

    sim.lock_out(&account(MEMBER), true);
    let told = failure(&rotate(&sim, &[everywhere()]));
    assert!(told.contains("and the ExternalId of the policy document"), "{told}");
    assert!(!told.contains("a-secret"), "{told}");

    sim.lock_out(&account(MEMBER), false);
    sim.lock_out(&account(OTHER), false);
    sim.disable_region(&scope(MEMBER, "us-east-1"), false);
    assert_eq!(failure(&rotate(&sim, &[everywhere()])), "");
    assert_eq!(sim.records().len(), 12);
}

#[test]
fn a_policy_that_is_wrong_stops_nobody_else() {
    let sim = world();
    let mut wrong = everywhere();
    wrong["Name"] = json!("wrong");
    wrong["PolicyDetails"]["Schedules"][0]["RetainRule"] = json!({"Count": 0, "Interval": -1});
    let run = rotate(&sim, &[wrong, everywhere()]);
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), 12);
    let told = failure(&run);
    assert!(told.starts_with("InvalidPolicy: ") && told.contains("/RetainRule/"), "{told}");
}

#[test]
fn a_disabled_policys_account_need_not_be_reachable() {
    let sim = world();
    sim.lock_out(&account(OTHER), true);
    let mut disabled = everywhere();
    disabled["State"] = json!("DISABLED");
    let run = rotate(&sim, &[disabled]);
    assert_eq!(failure(&run), "");
    assert_eq!(mutations(&sim), Vec::<String>::new());
    let why = &run.report.held[0].reason;
    assert!(why.contains("its policies are disabled, and it cannot be read"), "{why}");
}

#[test]
fn an_event_that_names_scopes_leaves_the_others_alone() {
    let sim = world();
    let event = RotateEvent {
        scopes: [scope(MEMBER, HOME), scope("999999999999", HOME)].into(),
        ..RotateEvent::default()
    };
    let pause = sim.pause();
    let run = drive(reconcile::rotate(
        &sim.aws(&vault()),
        read_good(&[everywhere()]),
        &event,
        sim.now(),
        &limits(&pause),
    ));
    let run = run.unwrap().unwrap();
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), 3);
    assert_eq!(run.report.held[0].reason, "no policy targets this scope");
}

#[test]
fn a_dry_run_plans_and_does_nothing() {
    let sim = world();
    let mut event = RotateEvent::default();
    event.common.dry_run = true;
    let aws = sim.aws(&vault());
    let (documents, pause) = (read_good(&[everywhere()]), sim.pause());
    let run = drive(reconcile::rotate(&aws, documents, &event, sim.now(), &limits(&pause)));
    let run = run.unwrap().unwrap();
    assert_eq!(mutations(&sim), Vec::<String>::new());
    assert_eq!(run.report.status, Status::Planned);
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Planned).len(), 12);
}

/// A run whose time is over after so many looks at the clock.
fn run_with_time_for(aws: &Aws, sim: &Sim, looks: usize) -> Run {
    let left = Arc::new(AtomicUsize::new(looks));
    let out_of_time = move || {
        let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        spent.is_err()
    };
    let pause = sim.pause();
    let limits =
        Limits { scopes: 1, actions: 1, out_of_time: &out_of_time, ..self::limits(&pause) };
    let event = RotateEvent::default();
    let documents = read_good(&[everywhere()]);
    drive(reconcile::rotate(aws, documents, &event, sim.now(), &limits)).unwrap().unwrap()
}

#[test]
fn when_time_runs_out_the_next_run_goes_on() {
    for looks in 0.. {
        let sim = world();
        let aws = sim.aws(&vault());
        let run = run_with_time_for(&aws, &sim, looks);
        assert_eq!(failure(&run), "", "{looks}");
        let done = sim.records().len();
        assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), done, "{looks}");
        let complete = done == 12;
        let wanted = if complete { Status::Succeeded } else { Status::Incomplete };
        assert_eq!(run.report.status, wanted, "{looks}");
        for waiting in lines(&run, "CreateSnapshot", OutcomeName::Deferred) {
            assert_eq!(waiting.error.as_ref().unwrap().message, "out of time");
        }
        let run = rotate(&sim, &[everywhere()]);
        assert_eq!((failure(&run).as_str(), run.report.status), ("", Status::Succeeded));
        assert_eq!(sim.records().len(), 12, "{looks}");
        if complete {
            assert!(looks > 12, "{looks}");
            return;
        }
    }
}

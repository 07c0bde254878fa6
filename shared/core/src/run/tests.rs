//! What callers and operators see of a run.

use serde_json::{Value, json};

use super::{LEAST_PROTECTED, NAMED, Run};
use crate::action::{Action, Deferred};
use crate::action::{Coverage, Held, Hold, Impossible, Planned, Reason, Subject};
use crate::audit::Violation;
use crate::ec2::{Access, Ec2Error, ErrorKind};
use crate::execute::{Executed, Outcome};
use crate::observe::Unreadable;
use crate::policy::document::{InvalidPolicy, Issue};
use crate::report::{CoverageLine, Report, Status};
use crate::testing::{AWAY, HOME, MEMBER, SLOT, hours_ago, id, now, scope, snap, vol};

fn run(report: Report) -> Run {
    Run {
        report,
        invalid: Vec::new(),
        unreadable: Vec::new(),
        unreadable_units: Vec::new(),
        violations: Vec::new(),
        n_withheld: 0,
        full_copies: None,
        is_of_a_list: false,
    }
}

fn subject(policy: &str) -> Subject {
    Subject {
        policy: policy.into(),
        schedule: "s".into(),
        slot: Some(id(SLOT)),
        volume: Some(vol(1)),
        ..Subject::default()
    }
}

fn planned(policy: &str) -> Planned {
    Planned {
        scope: scope(MEMBER, HOME),
        access: Access::default(),
        action: Action::DeleteSnapshot(snap(1)),
        subject: subject(policy),
        reason: Reason::SlotLacksSnapshot,
    }
}

fn executed(outcome: Outcome) -> Executed {
    let planned = planned("p");
    Executed { planned, outcome }
}

fn refused() -> Ec2Error {
    Ec2Error::Refused {
        operation: "DeleteSnapshot",
        kind: ErrorKind::AccessDenied,
        code: "UnauthorizedOperation".into(),
        message: "You are not authorized.".into(),
        request_id: "59dbff89".into(),
    }
}

fn impossible(policy: &str) -> Impossible {
    Impossible {
        scope: scope(MEMBER, HOME),
        operation: "CopySnapshot",
        subject: subject(policy),
        kind: ErrorKind::KeyUnusable,
        code: "Disabled".into(),
        message: "key k is disabled".into(),
    }
}

fn unreadable() -> Unreadable {
    Unreadable { scope: scope(MEMBER, AWAY), error: refused() }
}

fn violation() -> Violation {
    Violation {
        scope: scope(MEMBER, HOME),
        subject: subject("p"),
        object: snap(1).to_string(),
        rule: "it is locked".into(),
    }
}

fn invalid() -> InvalidPolicy {
    let issues = vec![Issue { pointer: "/Name".into(), message: "want a name".into() }];
    InvalidPolicy { name: "x".into(), kind: None, issues }
}

#[test]
fn the_report_is_as_the_contract_has_it() {
    let mut report = Report::new(false);
    report.executed(&executed(Outcome::Done(vec![snap(7)])));
    report.executed(&executed(Outcome::Failed(refused())));
    report.executed(&executed(Outcome::Held("in use".into())));
    report.held(&Held {
        scope: scope(MEMBER, HOME),
        subject: Subject::default(),
        why: Hold::Locked,
    });
    report.cover(&coverage(Some(2)), now());
    let error = json!({
        "Kind": "AccessDenied", "Code": "UnauthorizedOperation", "RequestId": "59dbff89",
        "Message": "AWS refused DeleteSnapshot: You are not authorized. (UnauthorizedOperation, request ID 59dbff89)"
    });
    let line = |more: &Value| {
        let mut line = json!({
            "Action": "DeleteSnapshot", "Account": MEMBER, "Region": HOME, "Policy": "p",
            "Schedule": "s", "Slot": SLOT, "VolumeId": vol(1),
            "Reason": "no snapshot for this slot"
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        json!({
            "Status": "Succeeded", "DryRun": false,
            "Actions": [
                line(&json!({"SnapshotId": snap(7), "Outcome": "Done"})),
                line(&json!({"Outcome": "Failed", "Error": error}))
            ],
            "Held": [
                {"Account": MEMBER, "Region": HOME, "Policy": "p", "VolumeId": vol(1), "Reason": "in use"},
                {"Account": MEMBER, "Region": HOME, "Reason": "locked"}
            ],
            "Counts": {"DeleteSnapshot": 1, "Failed": 1, "Held": 2, "Deferred": 0},
            "Coverage": [{"VolumeId": vol(1), "Account": MEMBER, "Region": HOME, "Policy": "p",
                          "NewestCompleted": "2026-11-22T00:05:00Z", "AgeMinutes": 120}]
        })
    );
}

fn coverage(hours: Option<i64>) -> Coverage {
    Coverage {
        scope: scope(MEMBER, HOME),
        policy: "p".into(),
        volume: vol(1),
        newest_completed: hours.map(hours_ago),
        since: hours.is_none().then(|| hours_ago(30)),
        is_wanted: true,
    }
}

#[test]
fn the_status_says_whether_the_next_run_has_to_go_on() {
    let after = |dry_run: bool, outcome: Outcome| {
        let mut report = Report::new(dry_run);
        report.executed(&executed(outcome));
        report.status
    };
    assert_eq!(after(false, Outcome::Done(Vec::new())), Status::Succeeded);
    assert_eq!(after(false, Outcome::Deferred("x".into())), Status::Incomplete);
    assert_eq!(after(false, Outcome::Failed(refused())), Status::Succeeded);
    assert_eq!(after(true, Outcome::Planned), Status::Planned);
    let mut report = Report::new(true);
    let waits_for = "snap-1 is pending".into();
    report.deferred(&Deferred { planned: planned("p"), waits_for });
    assert_eq!(report.status, Status::Planned);
    let waiting = report.actions[0].error.as_ref().unwrap();
    assert_eq!((waiting.kind.as_str(), waiting.message.as_str()), ("Waiting", "snap-1 is pending"));
}

#[test]
fn a_report_is_cut_to_size_and_its_counts_are_whole() {
    let mut report = Report::new(false);
    for _ in 0..1000 {
        report.executed(&executed(Outcome::Done(Vec::new())));
        report.executed(&executed(Outcome::Held("in use".into())));
        report.cover(&coverage(None), now());
    }
    let size = |report: &Report| serde_json::to_string(report).unwrap().len();
    let whole = size(&report);
    report.fit(whole);
    assert!(!report.truncated);
    report.fit(50_000);
    assert!(report.truncated && size(&report) <= 50_000);
    assert!(size(&report) > 25_000, "no more than needed");
    assert!(!report.actions.is_empty() && !report.held.is_empty() && !report.coverage.is_empty());
    assert_eq!((report.counts["DeleteSnapshot"], report.counts["Held"]), (1000, 1000));
    report.fit(1);
    assert_eq!(report.actions.len() + report.held.len() + report.coverage.len(), 0);
}

#[test]
fn every_failure_is_told_and_the_first_of_the_contracts_order_names_it() {
    let told = |invalid_: bool, unreadable_: bool, failed: bool, violated: bool| {
        let mut run = run(Report::new(false));
        if invalid_ {
            run.invalid.push(invalid());
        }
        if unreadable_ {
            run.unreadable.push(unreadable());
        }
        if failed {
            run.report.impossible(&impossible("p"));
        }
        if violated {
            run.violations.push(violation());
        }
        run.failure().map(|it| format!("{}: {}", it.error_type, it.message))
    };
    assert_eq!(told(false, false, false, false), None);
    let policy = "InvalidPolicy: policy \"x\" is invalid: /Name: want a name";
    let scopes = "ScopesUnreadable: 333333333333/eu-west-1: AWS refused DeleteSnapshot: \
                  You are not authorized. (UnauthorizedOperation, request ID 59dbff89)";
    let actions = "ActionsFailed: CopySnapshot of vol-00000001 in 333333333333/eu-central-1: key k is disabled";
    let plan = "PlanRefused: snap-00000001 in 333333333333/eu-central-1: it is locked";
    assert_eq!(told(true, false, false, false).as_deref(), Some(policy));
    assert_eq!(told(false, true, false, false).as_deref(), Some(scopes));
    assert_eq!(told(false, false, true, false).as_deref(), Some(actions));
    assert_eq!(told(false, false, false, true).as_deref(), Some(plan));
    assert_eq!(told(true, true, true, true), Some([policy, scopes, actions, plan].join("; ")));
    assert_eq!(told(false, false, true, true), Some([actions, plan].join("; ")));
}

#[test]
fn a_message_names_so_many_and_counts_the_rest() {
    let mut run = run(Report::new(false));
    for _ in 0..NAMED + 5 {
        run.report.impossible(&impossible("p"));
    }
    let message = run.failure().unwrap().message;
    assert_eq!(message.matches("key k is disabled").count(), NAMED);
    assert!(message.ends_with("; and 5 more, which the log names"), "{message}");
}

#[test]
fn a_dry_run_fails_only_where_its_plan_is_not_whole() {
    let mut dry = run(Report::new(true));
    dry.report.impossible(&impossible("p"));
    dry.violations.push(violation());
    assert_eq!(dry.failure(), None);
    dry.unreadable.push(unreadable());
    assert_eq!(dry.failure().unwrap().error_type, "ScopesUnreadable");
}

#[test]
fn metrics_are_per_policy_and_for_the_function_as_a_whole() {
    let mut run = run(Report::new(false));
    run.report.executed(&executed(Outcome::Done(Vec::new())));
    run.report.impossible(&impossible("q"));
    run.report.cover(&coverage(Some(2)), now());
    run.report.cover(&coverage(None), now());
    run.unreadable.push(unreadable());
    run.n_withheld = 3;
    let names = ["p".to_owned(), "q".to_owned(), "idle".to_owned()];
    let lines = run.metrics("rotate-snapshots", &names, 1_700_000_000_000);
    let [whole, p, q, idle] = &lines[..] else {
        panic!("{lines:?}");
    };
    for (line, deleted, failed, oldest) in [
        (whole, 1, 1, json!(30 * 60)),
        (p, 1, 0, json!(30 * 60)),
        (q, 0, 1, Value::Null),
        (idle, 0, 0, Value::Null),
    ] {
        assert_eq!(line["SnapshotsDeleted"], deleted, "{line}");
        assert_eq!(line["ActionsFailed"], failed, "{line}");
        assert_eq!(line["OldestProtectionAgeMinutes"], oldest, "{line}");
        assert_eq!(line["Function"], "rotate-snapshots");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Snapferry");
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            assert!(line[name].is_number(), "{name} is announced and not there: {line}");
        }
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string(), "{line}");
        }
    }
    assert_eq!((&whole["ScopesUnreadable"], &whole["DeletionsWithheld"]), (&json!(1), &json!(3)));
    assert_eq!(whole.get("FullCopies"), None, "only where it is watched");
    assert_eq!(p["Policy"], "p");
    assert_eq!(whole.get("Policy"), None);
    run.full_copies = Some(vec!["q".into(), "gone".into()]);
    let lines = run.metrics("copy-shared-snapshots", &names, 1_700_000_000_000);
    let told: Vec<_> = lines.iter().map(|line| line["FullCopies"].as_u64().unwrap()).collect();
    assert_eq!(told, [2, 0, 1, 0]);
    let announced = lines[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
    assert!(announced.contains(r#""Name":"FullCopies","Unit":"Count""#), "{announced}");
}

/// As [`Run::least_protected`] tells them: policy, volume, age and reason.
fn least_protected(report: Report) -> Vec<(String, String, i64, Option<String>)> {
    let run = run(report);
    let told = run.least_protected().into_iter();
    told.map(|it| {
        let CoverageLine { policy, volume_id, .. } = it.line.clone();
        (policy, volume_id.to_string(), it.age_minutes, it.reason.map(str::to_owned))
    })
    .collect()
}

fn of(policy: &str, volume: u32, hours: Option<i64>) -> Coverage {
    Coverage { policy: policy.into(), volume: vol(volume), ..coverage(hours) }
}

#[test]
fn the_least_protected_volumes_are_the_oldest_and_of_every_policy_one() {
    let mut report = Report::new(false);
    for n in 0..1000 {
        report.cover(&of("old", n, Some(i64::from(1000 + n))), now());
    }
    report.cover(&of("young", 7, Some(2)), now());
    report.cover(&of("waiting", 8, None), now());
    let gone = Coverage { is_wanted: false, ..of("gone", 9, Some(9999)) };
    report.cover(&gone, now());
    let told = least_protected(report);
    let line = |policy: &str, volume: u32, hours: i64| {
        (policy.to_owned(), vol(volume).to_string(), hours * 60, None)
    };
    assert_eq!(told.len(), LEAST_PROTECTED, "of however many");
    let first = [
        line("old", 999, 1999),
        line("waiting", 8, 30),
        line("young", 7, 2),
        line("old", 998, 1998),
    ];
    assert_eq!(told[..4], first);
    assert_eq!(told.last(), Some(&line("old", 982, 1982)));
}

#[test]
fn the_least_protected_volumes_have_the_reason_that_the_run_knows() {
    let mut report = Report::new(false);
    for n in 1..=4 {
        report.cover(&of("p", n, Some(i64::from(100 - n))), now());
    }
    report.impossible(&impossible("p"));
    report.impossible(&Impossible { subject: subject("other"), ..impossible("other") });
    let of_volume = |n: u32| Subject { volume: Some(vol(n)), ..subject("p") };
    report.held_because(&scope(MEMBER, HOME), &of_volume(1), "not this".into());
    report.held_because(&scope(MEMBER, HOME), &of_volume(2), "its instance is gone".into());
    let of_snapshot = Subject { snapshot: Some(snap(1)), ..of_volume(3) };
    report.held_because(&scope(MEMBER, HOME), &of_snapshot, "locked".into());
    let reasons: Vec<_> = least_protected(report).into_iter().map(|it| it.3).collect();
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(reasons, [told("key k is disabled"), told("its instance is gone"), None, None]);
}

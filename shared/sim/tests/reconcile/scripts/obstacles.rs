//! What stands in the way of scripts is named, with the remedy, before anything stands still.

use serde_json::json;
use snapferry_core::ec2::ErrorKind;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::tags;
use snapferry_sim::{Fault, InstanceState, Sim, drive};

use crate::support::scripts::{
    LOUD, all_held, an_hour, assert_whole, database, disabled, scripted, stands_still, tag, told,
    vss, windows,
};
use crate::support::servers::Server;
use crate::support::together::quiet;
use crate::support::{calls, failure, lines, minutes, rotate, rotation, sim, vault};

type Change = fn(&Sim, &Server);

const PROFILE: &str = "arn:aws:iam::222222222222:instance-profile/app";

fn rows() -> Vec<(bool, Change, String)> {
    let no_agent: Change = |sim, it| sim.remove_agent(&it.id);
    let no_profile: Change = |sim, it| {
        sim.remove_agent(&it.id);
        sim.change_instance(&it.id, |it| it.profile = None);
    };
    let lost: Change =
        |sim, it| sim.change_agent(&it.id, |it| it.ping_status = "ConnectionLost".into());
    let t3_micro: Change =
        |sim, it| sim.change_instance(&it.id, |it| it.instance_type = "t3.micro".into());
    let linux: Change = |sim, it| sim.change_agent(&it.id, |it| it.platform = "Linux".into());
    let only_no_profile: Change = |sim, it| sim.change_instance(&it.id, |it| it.profile = None);
    let unknown = |document: &str| {
        format!(
            "Systems Manager does not know ID, so that {document} cannot run on it: install and start the SSM agent, \
             let it reach the Region's ssm and ssmmessages endpoints, and see that the role of {PROFILE} has \
             AmazonSSMManagedInstanceCore"
        )
    };
    let without = |document: &str, also: &str| {
        format!(
            "ID has no instance profile, so that {document} cannot run on it: attach one whose role has \
             AmazonSSMManagedInstanceCore{also} (instance-role.yaml makes one)"
        )
    };
    let offline = |document: &str| {
        format!(
            "the SSM agent of ID is ConnectionLost, so that {document} cannot run on it: start it, or see what keeps it \
             from Systems Manager"
        )
    };
    let install = "AWSEC2-VssInstallAndSnapshot";
    vec![
        (false, no_agent, unknown("db-scripts")),
        (false, no_profile, without("db-scripts", "")),
        (false, lost, offline("db-scripts")),
        (true, no_agent, unknown(install)),
        (true, no_profile, without(install, " and AWSEC2VssSnapshotPolicy")),
        (true, lost, offline(install)),
        (
            true,
            t3_micro,
            "ID is a t3.micro, on which VSS backups are not supported: make it larger, or leave AWS_VSS_BACKUP out"
                .into(),
        ),
        (
            true,
            linux,
            "ID runs Linux, and VSS backups are for Windows: name a document of your own as ExecutionHandler, or leave \
             it out"
                .into(),
        ),
        (
            true,
            only_no_profile,
            "ID has no instance profile, and makes the snapshots of a VSS backup itself: attach one whose role has \
             AWSEC2VssSnapshotPolicy (instance-role.yaml makes one)"
                .into(),
        ),
    ]
}

#[test]
fn an_obstacle_is_named_with_its_remedy_and_nothing_is_sent() {
    for (is_vss, change, message) in rows() {
        for goes_on in [true, false] {
            let sim = sim();
            let more = json!({"ExecuteOperationOnScriptFailure": goes_on});
            let (policy, server) = if is_vss {
                (vss(&more), windows(&sim, |_| {}))
            } else {
                (scripted(&more), database(&sim, |_| {}))
            };
            change(&sim, &server);
            let run = rotate(&sim, std::slice::from_ref(&policy));
            let instead = if goes_on {
                "A crash-consistent snapshot is made instead"
            } else {
                "No snapshot is made, as ExecuteOperationOnScriptFailure is false"
            };
            let message = message.replace("ID", server.id.as_str());
            assert_eq!(
                failure(&run),
                format!(
                    "ActionsFailed: SendCommand of {} in 333333333333/eu-central-1: {message}. {instead}",
                    server.id
                )
            );
            let line = &lines(&run, "SendCommand", OutcomeName::Failed)[0];
            assert_eq!(line.error.as_ref().unwrap().kind, "ScriptFailed");
            assert_eq!(sim.commands().len(), 0);
            let n = if goes_on { 3 } else { 0 };
            let metric = crate::support::scripts::metrics(&run);
            assert_eq!(metric, [Some(1), Some(0), Some(n)], "{message}");
            if goes_on {
                assert_whole(&sim, &server, &message);
                assert_eq!(told(&sim, &server), "- - false");
                sim.advance(minutes(10));
                quiet(&rotate(&sim, &[policy]));
            } else {
                assert_eq!(sim.records().len(), 0);
            }
        }
    }
}

/// What passes is waited for; what does not is an obstacle.
#[test]
fn without_systems_manager_nothing_is_begun() {
    for operation in ["ListCommandInvocations", "DescribeInstanceInformation"] {
        for (kind, code, waits) in [
            (ErrorKind::Throttled, "ThrottlingException", true),
            (ErrorKind::AccessDenied, "AccessDeniedException", false),
        ] {
            let context = format!("{operation} {code}");
            let sim = sim();
            let server = database(&sim, |_| {});
            let policy = [scripted(&json!({}))];
            sim.on_call(move |call| match call.operation {
                it if it == operation => Fault::Refuse(kind, code),
                _ => Fault::None,
            });
            let run = rotate(&sim, &policy);
            assert_eq!(sim.commands().len(), 0, "{context}");
            if waits {
                quiet(&run);
                assert_eq!(sim.records().len(), 0, "{context}");
                assert!(all_held(&run).iter().any(|it| it.contains(code)), "{context}");
                sim.no_faults();
                drop(an_hour(&sim, &policy));
                assert_eq!(told(&sim, &server), "Success Success true", "{context}");
            } else {
                let said = failure(&run);
                let of = format!("{operation} of Systems Manager is needed for Scripts: ");
                assert!(said.contains(&of) && said.contains(code), "{context}: {said}");
                assert_eq!(told(&sim, &server), "- - false", "{context}");
            }
            assert_whole(&sim, &server, &context);
        }
    }
}

/// A run that cannot look for post-scripts that are missing says so, though its slot is served.
#[test]
fn whoever_cannot_look_for_missing_post_scripts_is_told() {
    let policy = scripted(&json!({}));
    let sim = sim();
    let server = database(&sim, |_| {});
    let mut sent = 0;
    // The post-script is lost on its way.
    sim.on_call(move |call| {
        sent += usize::from(call.operation == "SendCommand");
        if call.operation == "SendCommand" && sent > 1 { Fault::NoAnswer } else { Fault::None }
    });
    assert!(failure(&rotate(&sim, std::slice::from_ref(&policy))).contains(LOUD));
    assert!(stands_still(&sim, &server.id) && sim.records().len() == 3);
    sim.advance(minutes(5));
    sim.on_call(|call| match call.operation {
        "ListCommandInvocations" => Fault::Refuse(ErrorKind::AccessDenied, "AccessDeniedException"),
        _ => Fault::None,
    });
    let said = failure(&rotate(&sim, std::slice::from_ref(&policy)));
    assert!(said.contains("AccessDeniedException") && said.contains(LOUD), "{said}");
    let run = rotate(&sim, &[disabled(&policy)]);
    assert_eq!(failure(&run), "", "not worth an alarm");
    assert!(all_held(&run).iter().any(|it| it.contains(LOUD)), "{:?}", all_held(&run));
    sim.no_faults();
    drop(rotate(&sim, &[policy]));
    assert!(!stands_still(&sim, &server.id));
}

#[test]
fn a_stopped_instance_needs_no_scripts() {
    for policy in [scripted(&json!({})), vss(&json!({"ExecuteOperationOnScriptFailure": false}))] {
        let sim = sim();
        let server = windows(&sim, |_| {});
        sim.change_instance(&server.id, |it| it.state = InstanceState::Stopped);
        let run = rotate(&sim, &[policy]);
        quiet(&run);
        assert_whole(&sim, &server, "");
        assert_eq!((tag(&sim, &server, tags::SCRIPT), told(&sim, &server)), {
            ("-".into(), "- - -".into())
        });
        let why = "the instance does not run, so that no script can run on it, and none is needed: nothing writes to its \
                   volumes";
        assert_eq!(all_held(&run), [why]);
        assert_eq!(calls(&sim.take_journal(), "SendCommand"), 0);
    }
}

/// Stopped in between, it has forgotten what it was asked.
#[test]
fn one_that_was_stopped_since_is_sent_no_post_script() {
    let sim = sim();
    let server = database(&sim, |_| {});
    let policy = [scripted(&json!({}))];
    let mut n = 1;
    while !stands_still(&sim, &server.id) {
        let dying = sim.aws_dying_after(&vault(), n);
        drop(drive(rotation(&dying, &policy, sim.now())));
        n += 1;
    }
    let sent = sim.commands().len();
    sim.advance(minutes(5));
    sim.change_instance(&server.id, |it| it.state = InstanceState::Stopped);
    let run = rotate(&sim, &policy);
    assert_eq!(sim.commands().len(), sent);
    assert_eq!(failure(&run), "");
    assert_ne!(run.report.status, Status::Incomplete);
}

//! Sets of which a snapshot fails: what is left of them never passes for a set.

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_sim::{Fault, Record, Sim};

use crate::support::listing::{lines_of, of_instance, of_volume};
use crate::support::servers::{Server, attach, server, volume_of_type};
use crate::support::sets::{sets, whole_sets};
use crate::support::{
    failure, hours, lines, member, minutes, mutations, nightly, rotate, rotate_and_look,
    rotate_for, sim,
};

const BACKUP: [(&str, &str); 1] = [("Backup", "daily")];
const FIRST: &str = "2026-11-22T02:00:00Z";

fn by_count(n: u32) -> [Value; 1] {
    [sets(&json!({"Count": n}))]
}

/// The snapshot ends in error, whatever it is.
fn fails(it: &mut Record) {
    it.snapshot.state = State::Error;
    it.ends = None;
}

/// Fails the snapshot of the server's first data volume in its newest set.
fn fail_one(sim: &Sim, server: &Server) {
    let newest = of_instance(sim, &server.id).pop_last().unwrap().1;
    let of_first = |it: &&Record| it.snapshot.volume_id == server.data[0];
    let one = newest.iter().find(of_first).unwrap();
    sim.change(&one.snapshot.id, fails);
}

#[test]
fn a_set_of_which_one_failed_is_replaced_as_a_whole() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    let policy = by_count(3);
    rotate(&sim, &policy);
    sim.advance(minutes(30));
    fail_one(&sim, &server);
    let run = rotate(&sim, &policy);
    assert_eq!(lines(&run, "CreateSnapshots", OutcomeName::Done).len(), 1);
    for _ in 0..4 {
        sim.advance(minutes(30));
        assert_eq!(failure(&rotate(&sim, &policy)), "");
    }
    assert_eq!(
        whole_sets(&sim, &server.id, 3),
        ["2026-11-22T02:00:00Z"],
        "{:?}",
        server.volumes().iter().map(|it| lines_of(&sim, it)).collect::<Vec<_>>()
    );
    drop(sim.take_journal());
    rotate(&sim, &policy);
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn a_failed_set_with_a_slow_disk_is_made_anew() {
    let sim = sim();
    let mut server = server(&sim, &member(), &BACKUP, 0);
    let slow = volume_of_type(&sim, &member(), "st1", &[]);
    attach(&sim, &mut server, slow);
    let policy = by_count(3);
    rotate(&sim, &policy);
    sim.advance(minutes(30));
    fail_one(&sim, &server);
    rotate_for(&sim, &policy, 1, hours(6));
    assert_eq!(whole_sets(&sim, &server.id, 2), ["2026-11-22T02:00:00Z"]);
}

/// What is left of a set that failed after the last run of its slot is no whole set, and takes no place of one.
#[test]
fn what_is_left_of_a_broken_set_takes_no_place() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    let policy = by_count(2);
    rotate_for(&sim, &policy, 3, hours(6));
    fail_one(&sim, &server);
    rotate_for(&sim, &policy, 1, hours(6));
    assert_eq!(whole_sets(&sim, &server.id, 3), ["2026-11-23T02:00:00Z", "2026-11-25T02:00:00Z"]);
}

#[test]
fn a_set_that_was_never_asked_for_names_its_instance() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    sim.on_call(|call| match call.operation {
        "CreateSnapshots" => Fault::NoAnswer,
        _ => Fault::None,
    });
    let told = failure(&rotate(&sim, &by_count(2)));
    assert!(told.contains(server.id.as_str()), "{told}");
}

#[test]
fn a_set_that_cannot_be_made_anew_at_once_is_made_later() {
    for code in ["RequestLimitExceeded", "UnauthorizedOperation"] {
        let sim = sim();
        let server = server(&sim, &member(), &BACKUP, 2);
        let policy = by_count(3);
        rotate(&sim, &policy);
        sim.advance(minutes(30));
        fail_one(&sim, &server);
        let kind = match code {
            "RequestLimitExceeded" => ErrorKind::Throttled,
            _ => ErrorKind::AccessDenied,
        };
        sim.on_call(move |call| match call.operation {
            "CreateSnapshots" => Fault::Refuse(kind, code),
            _ => Fault::None,
        });
        for _ in 0..3 {
            rotate(&sim, &policy);
            sim.advance(minutes(30));
        }
        sim.no_faults();
        for _ in 0..3 {
            rotate(&sim, &policy);
            sim.advance(minutes(30));
        }
        assert_eq!(whole_sets(&sim, &server.id, 3), [FIRST], "{code}");
    }
}

#[test]
fn every_snapshot_may_fail_in_turn() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    let policy = by_count(3);
    for n in 0..6 {
        rotate(&sim, &policy);
        sim.advance(minutes(30));
        let newest = of_instance(&sim, &server.id).remove(FIRST).unwrap();
        let youngest = newest.iter().map(|it| it.snapshot.start_time).max().unwrap();
        let mut newest = newest.iter().filter(|it| it.snapshot.start_time == youngest);
        sim.change(&newest.nth(n % 3).unwrap().snapshot.id, fails);
    }
    for _ in 0..4 {
        rotate(&sim, &policy);
        sim.advance(minutes(30));
    }
    assert_eq!(whole_sets(&sim, &server.id, 3), [FIRST]);
    assert_eq!(sim.records().len(), 3);
}

/// An older member role: volumes by themselves do not need `DescribeInstances`, and sets are left as they are.
#[test]
fn instances_that_cannot_be_read_stop_no_volume_policy_and_no_set_goes() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 1);
    let single = sim.volume(&member(), &BACKUP);
    let policies =
        [sets(&json!({"Interval": 2, "IntervalUnit": "DAYS"})), nightly(&json!({"Count": 2}))];
    rotate_for(&sim, &policies, 3, hours(6));
    let before = of_instance(&sim, &server.id).len();
    sim.on_call(|call| match call.operation {
        "DescribeInstances" => Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation"),
        _ => Fault::None,
    });
    let told = |run: &Run| {
        let told = failure(run);
        assert!(told.starts_with("ActionsFailed: DescribeInstances of policy sets in "), "{told}");
    };
    rotate_and_look(&sim, &policies, 5, hours(6), told);
    assert_eq!(of_instance(&sim, &server.id).len(), before);
    assert_eq!(of_volume(&sim, &single).len(), 2);
    let starts = of_volume(&sim, &single).into_iter().map(|it| it.snapshot.start_time);
    let newest = starts.max().unwrap();
    assert!(sim.now().duration_since(newest) < hours(30)); // one day, and the rhythm
    sim.no_faults();
    rotate_and_look(&sim, &policies, 3, hours(6), |run| assert_eq!(failure(run), ""));
    assert_eq!(whole_sets(&sim, &server.id, 2).len(), 2);
}

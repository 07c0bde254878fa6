//! Copies that EC2 refuses as soon as it is asked, and which leave nothing behind: others get their places.

use std::collections::BTreeSet;

use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::SnapshotId;
use snapferry_sim::{Fault, id};

use crate::support::vaults::{for_days, good_copies, rule, shared, vault_policy, volume};
use crate::support::{MEMBER, calls, hours, member, sim, sweep};

/// The oldest snapshots of `n` volumes are refused always; each volume has a newer one, and there is another volume.
fn refused_at_once(kind: ErrorKind, code: &'static str, n: usize) {
    let sim = sim();
    let region = "eu-west-1";
    let policy = [vault_policy(&[MEMBER], &[rule(region, &for_days(90))])];
    let of_each = || (0..n).map(|n| shared(&sim, &member(), &volume(n), |_| {}));
    let refused: BTreeSet<String> = of_each().map(|it| it.to_string()).collect();
    sim.advance(hours(1));
    let newer: Vec<SnapshotId> = of_each().collect();
    let other = shared(&sim, &member(), &volume(500), |_| {});
    sim.on_call(move |call| {
        let is_one = call.operation == "CopySnapshot" && refused.contains(&call.object);
        if is_one { Fault::Refuse(kind, code) } else { Fault::None }
    });
    for _ in 0..3 {
        drop(sim.take_journal());
        drop(sweep(&sim, &policy));
        let asked = calls(&sim.take_journal(), "CopySnapshot");
        assert!(asked <= 2 * n + 1, "{code}: nothing is asked for twice in one run: {asked}");
        sim.advance(hours(1));
    }
    let good = good_copies(&sim);
    let lacks: Vec<_> = newer
        .iter()
        .chain([&other])
        .filter(|it| !good.contains_key(&((*it).clone(), id(region))))
        .collect();
    assert_eq!(lacks, [] as [&SnapshotId; 0], "{n} {code}");
}

#[test]
fn what_is_refused_at_once_keeps_nothing_else_waiting() {
    for (kind, code) in [
        (ErrorKind::Invalid, "InvalidParameterValue"),
        (ErrorKind::NotFound, "InvalidSnapshot.NotFound"),
        (ErrorKind::NotReady, "IncorrectState"),
        (ErrorKind::AccessDenied, "UnauthorizedOperation"),
    ] {
        for n in [1, 20, 50] {
            refused_at_once(kind, code, n);
        }
    }
}

#[test]
fn what_is_refused_was_its_owners_turn() {
    let sim = sim();
    let policy = [vault_policy(&[MEMBER, "444444444444"], &[rule("eu-west-1", &for_days(90))])];
    let there = snapferry_core::ids::Scope { account: id("444444444444"), ..member() };
    let bad: BTreeSet<String> =
        (0..300).map(|n| shared(&sim, &member(), &volume(n), |_| {}).to_string()).collect();
    for n in 300..340 {
        shared(&sim, &there, &volume(n), |_| {});
    }
    sim.on_call(move |call| {
        let is_one = call.operation == "CopySnapshot" && bad.contains(&call.object);
        if is_one {
            Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation")
        } else {
            Fault::None
        }
    });
    let run = sweep(&sim, &policy);
    assert_eq!(run.report.counts["CopySnapshot"], 20, "every place is taken in the end");
    let asked = calls(&sim.take_journal(), "CopySnapshot");
    assert!(asked <= 8 * 20, "and not for any price: {asked}");
}

#[test]
fn a_limit_that_is_reached_is_not_tried_against() {
    let sim = sim();
    let policy = [vault_policy(&[MEMBER], &[rule("eu-west-1", &for_days(90))])];
    for n in 0..60 {
        shared(&sim, &member(), &volume(n), |_| {});
    }
    sim.on_call(|call| match call.operation {
        "CopySnapshot" => Fault::Refuse(ErrorKind::QuotaExceeded, "ResourceLimitExceeded"),
        _ => Fault::None,
    });
    drop(sweep(&sim, &policy));
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 20);
}

/// Another copy is refused, so that the run plans once more, and it cannot even look what became of the first.
#[test]
fn what_got_no_answer_is_not_sent_again_in_that_run() {
    let sim = sim();
    let policy = [vault_policy(&[MEMBER], &[rule("eu-west-1", &for_days(90))])];
    let [lost, refused] = [0, 1].map(|n| shared(&sim, &member(), &volume(n), |_| {}).to_string());
    let copied = std::sync::atomic::AtomicBool::new(false);
    sim.on_call(move |call| match call.operation {
        "CopySnapshot" if call.object == lost => {
            copied.store(true, std::sync::atomic::Ordering::Relaxed);
            Fault::DoButNoAnswer
        }
        "CopySnapshot" if call.object == refused => {
            Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation")
        }
        "DescribeSnapshots" if copied.load(std::sync::atomic::Ordering::Relaxed) => {
            Fault::Refuse(ErrorKind::Throttled, "RequestLimitExceeded")
        }
        _ => Fault::None,
    });
    drop(sweep(&sim, &policy));
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 2, "one call for each");
    sim.no_faults();
    sim.advance(hours(2));
    drop(sweep(&sim, &policy));
    assert!(good_copies(&sim).values().all(|n| *n == 1), "{:?}", good_copies(&sim));
}

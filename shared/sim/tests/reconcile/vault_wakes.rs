//! Events and sweeps side by side: what an event's run may do without having seen everything.

use serde_json::json;
use snapferry_core::event::CopyScope;
use snapferry_core::inventory::State;

use crate::support::vaults::{copies, for_days, rule, shared, told, vault_policy, volume};
use crate::support::{
    HOME, MEMBER, OTHER, calls, copy, days, failure, hours, member, minutes, scope, sim, sweep,
};

#[test]
fn events_take_no_more_than_their_share() {
    let sim = sim();
    sim.set(|it| it.copy_takes = minutes(10));
    let policy = [vault_policy(&[MEMBER, OTHER], &[rule("eu-west-1", &for_days(90))])];
    for n in 0..300 {
        shared(&sim, &scope(OTHER, HOME), &volume(n), |_| {});
    }
    // Three shares a minute of one account, whose events wake the function; a sweep every quarter of an hour.
    for n in 0..(8 * 15) {
        if n % 15 == 0 {
            drop(sweep(&sim, &policy));
        }
        sim.advance(minutes(1));
        for of in 0..3 {
            let one = shared(&sim, &member(), &volume(1000 + 3 * n + of), |_| {});
            drop(copy(&sim, &policy, told(&sim, &one)));
        }
    }
    let of = |account: &str| {
        copies(&sim).iter().filter(|it| it.claim.source_account.as_str() == account).count()
    };
    let (events, backlog) = (of(MEMBER), of(OTHER));
    assert!(2 * backlog >= events, "by events {events}, of the backlog {backlog}");
}

#[test]
fn an_event_copies_nothing_that_count_has_let_go() {
    let sim = sim();
    let policy = [vault_policy(&[MEMBER], &[rule("eu-west-1", &json!({"Count": 1}))])];
    let old = shared(&sim, &member(), &volume(1), |_| {});
    drop(sweep(&sim, &policy));
    sim.advance(hours(5));
    shared(&sim, &member(), &volume(1), |_| {});
    for _ in 0..3 {
        drop(sweep(&sim, &policy));
        sim.advance(hours(5));
    }
    drop(sim.take_journal());
    for _ in 0..4 {
        drop(copy(&sim, &policy, told(&sim, &old)));
        sim.advance(hours(5));
        drop(sweep(&sim, &policy));
    }
    let journal = sim.take_journal();
    assert_eq!((calls(&journal, "CopySnapshot"), calls(&journal, "DeleteSnapshot")), (0, 0));
}

#[test]
fn a_strangers_events_cost_no_look() {
    let sim = sim();
    let policy = [vault_policy(&[MEMBER], &[rule("eu-west-1", &for_days(9))])];
    let theirs = shared(&sim, &scope(OTHER, HOME), &volume(1), |_| {});
    let CopyScope::One { region, snapshot, .. } = told(&sim, &theirs) else {
        panic!("an event is about one snapshot");
    };
    let owner = Some(snapferry_sim::id(OTHER));
    drop(sim.take_journal());
    let run = copy(&sim, &policy, CopyScope::One { region, snapshot, owner });
    assert_eq!(failure(&run), "");
    let why: Vec<_> = run.report.held.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(why, [format!("no policy names {OTHER} as SnapshotOwner")]);
    let made: Vec<_> = sim.take_journal().iter().map(|it| it.operation).collect();
    assert_eq!(made, ["GetCallerIdentity"]);
}

#[test]
fn what_nobody_can_read_does_not_stop_expiry_when_it_is_taken_away() {
    let sim = sim();
    let retain = for_days(3);
    let policy = [vault_policy(&[MEMBER, OTHER], &[rule("eu-west-1", &retain)])];
    for _ in 0..2 {
        shared(&sim, &member(), &volume(1), |_| {});
        drop(sweep(&sim, &policy));
        sim.advance(days(1));
    }
    let key = format!("arn:aws:kms:{HOME}:{OTHER}:key/of-nobody-else");
    sim.key(&key, &[]);
    let unreadable: Vec<_> = (100..200)
        .map(|of| {
            shared(&sim, &scope(OTHER, HOME), &volume(of), |it| {
                it.snapshot.encrypted = true;
                it.snapshot.kms_key_id = Some(key.as_str().into());
            })
        })
        .collect();
    for _ in 0..24 {
        drop(sweep(&sim, &policy));
        sim.advance(hours(1));
    }
    let failed = || copies(&sim).iter().filter(|it| it.is(State::Error)).count();
    assert!(failed() > 100, "the world of this test: {}", failed());
    for it in &unreadable {
        sim.change(it, |it| it.shared_with.clear());
    }
    sim.advance(hours(1));
    assert_eq!(sweep(&sim, &policy).n_withheld, 0);
    assert_eq!(failed(), 0);
    sim.advance(days(3));
    drop(sweep(&sim, &policy));
    let run = sweep(&sim, &policy);
    assert_eq!(
        (failure(&run).as_str(), copies(&sim).len()),
        ("", 1),
        "the newest of the good ones"
    );
}

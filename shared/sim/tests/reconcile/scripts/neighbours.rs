//! Instances beside those whose scripts fail, hang or cannot run.

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::commands::Step;
use snapferry_core::inventory::State;
use snapferry_core::tags;
use snapferry_sim::{Ending, Sim, drive};

use crate::support::listing::of_instance;
use crate::support::scripts::{
    BACKUP, FIRST, database, disabled, scripted, stands_still, vss, windows,
};
use crate::support::servers::{Server, server};
use crate::support::sets::{sets, whole_sets};
use crate::support::together::quiet;
use crate::support::{failure, member, minutes, nightly, rotate, rotation, sim, target, vault};

/// A policy without scripts, for instances of another tag.
fn plain() -> Value {
    let mut policy = sets(&json!({"Count": 3}));
    policy["Name"] = json!("plain");
    policy["PolicyDetails"]["TargetTags"] = json!([{"Key": "Backup", "Value": "plain"}]);
    policy
}

fn neighbour(sim: &Sim) -> Server {
    server(sim, &member(), &[("Backup", "plain")], 1)
}

fn starts(sim: &Sim, server: &Server) -> Vec<SignedDuration> {
    let set = of_instance(sim, &server.id).remove(FIRST).unwrap_or_default();
    let begun = crate::support::at("2026-11-22T02:01:00Z");
    set.iter().map(|it| it.snapshot.start_time.duration_since(begun)).collect()
}

#[test]
fn others_are_made_at_once_whatever_hangs() {
    for step in [Step::PreScript, Step::PostScript] {
        let sim = sim();
        let hanging = database(&sim, |it| it.ends(step, &[Ending::Hangs]));
        let other = neighbour(&sim);
        let volume = target(&sim);
        let policies = [scripted(&json!({})), plain(), nightly(&json!({"Count": 3}))];
        drop(rotate(&sim, &policies));
        assert_eq!(whole_sets(&sim, &hanging.id, 3), [FIRST]);
        for begun in starts(&sim, &other) {
            assert!(begun < SignedDuration::from_secs(5), "{step}: {begun}");
        }
        assert_eq!(whole_sets(&sim, &other.id, 2), [FIRST]);
        assert_eq!(crate::support::listing::of_volume(&sim, &volume).len(), 1);
    }
}

/// A post-script that is missing may take two minutes.
#[test]
fn others_do_not_wait_for_post_scripts_that_were_missing() {
    let sim = sim();
    let standing = database(&sim, |_| {});
    let mut n = 1;
    while !stands_still(&sim, &standing.id) {
        let dying = sim.aws_dying_after(&vault(), n);
        drop(drive(rotation(&dying, &[scripted(&json!({}))], sim.now())));
        n += 1;
    }
    sim.advance(minutes(5));
    sim.change_agent(&standing.id, |it| it.ends(Step::PostScript, &[Ending::Hangs]));
    let other = neighbour(&sim);
    let run = rotate(&sim, &[disabled(&scripted(&json!({}))), plain()]);
    assert!(failure(&run).contains("has not ended yet"), "{}", failure(&run));
    for begun in starts(&sim, &other) {
        assert!(begun < SignedDuration::from_secs(5 * 60 + 30), "{begun}");
    }
    assert_eq!(whole_sets(&sim, &other.id, 2), [FIRST]);
}

#[test]
fn of_many_at_once_each_has_its_own_end() {
    let sim = sim();
    let servers: Vec<Server> = (0..30)
        .map(|n| {
            database(&sim, |it| match n % 3 {
                0 => it.ends(Step::PreScript, &[Ending::FailsHalfWay(201)]),
                1 => it.ends(Step::PostScript, &[Ending::Fails(202)]),
                _ => {}
            })
        })
        .collect();
    let policy = [scripted(&json!({}))];
    let run = rotate(&sim, &policy);
    let told = failure(&run);
    for (n, server) in servers.iter().enumerate() {
        assert_eq!(whole_sets(&sim, &server.id, 3), [FIRST]);
        assert_eq!(stands_still(&sim, &server.id), n % 3 == 1, "{n}");
        assert_eq!(told.contains(server.id.as_str()), n % 3 != 2, "{n}: {told}");
        let said = crate::support::scripts::tag(&sim, server, tags::APP_CONSISTENT);
        assert_eq!(said, if n % 3 == 2 { "true" } else { "false" }, "{n}");
    }
    sim.advance(minutes(5));
    drop(rotate(&sim, &policy));
    assert!(servers.iter().all(|it| !stands_still(&sim, &it.id)));
    sim.advance(minutes(5));
    quiet(&rotate(&sim, &policy));
}

/// Sets that are not application-consistent are rotated like others, and so is what failed in EC2.
#[test]
fn a_set_that_ends_in_error_is_made_again_with_its_scripts() {
    let sim = sim();
    let server = database(&sim, |_| {});
    let policy = [scripted(&json!({}))];
    quiet(&rotate(&sim, &policy));
    for record in sim.records() {
        sim.change(&record.snapshot.id, |it| {
            it.snapshot.state = State::Error;
            it.ends = None;
        });
    }
    for _ in 0..3 {
        sim.advance(minutes(10));
        drop(rotate(&sim, &policy));
    }
    assert_eq!(whole_sets(&sim, &server.id, 3), [FIRST]);
    assert_eq!(crate::support::scripts::told(&sim, &server), "Success Success true");
}

#[test]
fn a_policy_of_both_kinds_of_instances_makes_each_its_own() {
    let sim = sim();
    let (linux, windows) = (database(&sim, |_| {}), windows(&sim, |_| {}));
    let mut of_windows = vss(&json!({}));
    of_windows["Name"] = json!("vss");
    of_windows["PolicyDetails"]["TargetTags"] = json!([{"Key": "Backup", "Value": "vss"}]);
    sim.change_instance(&windows.id, |it| drop(it.tags.insert("Backup".into(), "vss".into())));
    assert_eq!(BACKUP.len(), 1);
    let policies = [scripted(&json!({})), of_windows];
    quiet(&rotate(&sim, &policies));
    sim.advance(minutes(20));
    quiet(&rotate(&sim, &policies));
    assert_eq!(whole_sets(&sim, &linux.id, 3), [FIRST]);
    assert_eq!(whole_sets(&sim, &windows.id, 3), [FIRST]);
    assert!(sim.records().iter().all(|it| it.snapshot.tags[tags::APP_CONSISTENT] == "true"));
}

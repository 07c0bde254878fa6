//! What AWS's limits let through: the formulas of `snapferry_sim::capacity` against the planner and the executor, over
//! EC2's token buckets, and against README.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::event::RotateEvent;
use snapferry_core::execute::Limits;
use snapferry_core::reconcile;
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_sim::{Sim, capacity, drive, drive_timed};

use crate::support::vaults::{for_days, rule, shared, vault_policy, volume};
use crate::support::{
    HOME, MEMBER, VAULT, account, days, every, lines, minutes, nightly, policy, read, role, scope,
    sim, sweep, target, vault,
};

/// One run with EC2's buckets, calls of so many milliseconds and a deadline; answers it and the seconds it took.
fn timed(sim: &Sim, documents: &[Value], latency: i64, seconds: i64) -> (Run, i64) {
    sim.set(|it| it.buckets = Some(1));
    sim.calls_take(SignedDuration::from_millis(latency));
    let start = sim.now();
    let (clock, end) = (sim.clone(), start + SignedDuration::from_secs(seconds));
    let out_of_time = move || clock.now() >= end;
    let pause = sim.pause();
    let limits = Limits {
        scopes: 8,
        actions: 8,
        deletions: Some(1_000_000),
        out_of_time: &out_of_time,
        time_left: &|| SignedDuration::MAX,
        pause: &pause,
    };
    let aws = sim.aws(&vault());
    let event = RotateEvent::default();
    let run = reconcile::rotate(&aws, read(documents), &event, start, &limits);
    let run = drive_timed(sim, run).unwrap().unwrap();
    (run, sim.now().duration_since(start).as_secs())
}

fn done(run: &Run, action: &str) -> i64 {
    i64::try_from(lines(run, action, OutcomeName::Done).len()).unwrap()
}

#[track_caller]
fn assert_close(found: i64, wanted: i64, percent: i64, what: &str) {
    let off = 100 * (found - wanted).abs();
    assert!(off <= percent * wanted, "{what}: {found}, and the formula says {wanted}");
}

/// So many volumes that are due.
fn world(n: usize) -> Sim {
    let sim = sim();
    for _ in 0..n {
        target(&sim);
    }
    sim
}

/// A night before this one: everything is created, and nothing counts.
fn night_before(sim: &Sim, documents: &[Value]) {
    crate::support::rotate(sim, documents);
    sim.advance(days(1));
}

fn sharing() -> Value {
    policy(
        "daily",
        &[json!({
            "Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 1},
            "ShareRules": [{"TargetAccounts": [VAULT]}],
        })],
    )
}

#[test]
fn capacity_of_the_buckets_is_reached_by_a_run() {
    let (seconds, latency) = (100, 300);
    let one = || vec![nightly(&json!({"Count": 1}))];

    let sim = world(900);
    let (run, took) = timed(&sim, &one(), latency, capacity::RUN_SECONDS);
    assert_close(done(&run, "CreateSnapshot"), 900, 3, "all are created");
    assert_close(900, capacity::taken("CreateSnapshot", took), 3, "as fast as EC2 lets them");

    let sim = world(900);
    let (run, took) = timed(&sim, &one(), latency, seconds);
    let wanted = capacity::taken("CreateSnapshot", seconds);
    assert_close(done(&run, "CreateSnapshot"), wanted, 3, "until the time is over");
    assert!(took <= seconds + 20, "{took}");

    // No slot is due, so that the run begins with what is measured.
    let sim = world(900);
    crate::support::rotate(&sim, &one());
    sim.advance(minutes(30));
    let (run, _) = timed(&sim, &[sharing()], latency, seconds);
    let wanted = capacity::taken("ModifySnapshotAttribute", seconds);
    assert_close(done(&run, "ModifySnapshotAttribute"), wanted, 3, "shared");

    let sim = world(900);
    night_before(&sim, &one());
    night_before(&sim, &one());
    crate::support::rotate(&sim, &[nightly(&json!({"Count": 9}))]);
    sim.advance(minutes(30));
    let (run, _) = timed(&sim, &one(), latency, seconds);
    let wanted = capacity::taken("DeleteSnapshot", seconds);
    assert_close(done(&run, "DeleteSnapshot"), wanted, 3, "deleted");
}

/// Calls of so many milliseconds, volumes that are due, and what of them one run creates in how many seconds.
const ONE_RUN: [[i64; 4]; 6] = [
    [50, 500, 499, 81],
    [50, 2000, 2000, 380],
    [150, 500, 500, 81],
    [150, 2000, 2000, 381],
    [300, 500, 500, 85],
    [300, 2000, 2000, 381],
];

#[test]
fn capacity_of_a_run_that_is_throttled() {
    for [latency, n, created, seconds] in ONE_RUN {
        let sim = world(usize::try_from(n).unwrap());
        let one = [nightly(&json!({"Count": 1}))];
        let (run, took) = timed(&sim, &one, latency, capacity::RUN_SECONDS);
        let found = done(&run, "CreateSnapshot");
        println!("calls of {latency} ms, {n} volumes: {found} created in {took} s");
        assert_close(found, created, 10, "created");
        assert_close(took, seconds, 10, "seconds");
        if found > 300 {
            assert_close(found, capacity::taken("CreateSnapshot", took), 5, "EC2's bucket");
        }
    }
}

#[test]
fn capacity_of_the_vault_is_reached_by_sweeps() {
    for (copy, every) in [(5, 15), (15, 15), (60, 15), (5, 5), (15, 5)] {
        let sim = sim();
        sim.set(|it| it.copy_takes = minutes(copy));
        for n in 0..300 {
            shared(&sim, &scope(MEMBER, HOME), &volume(n), |_| ());
        }
        let documents = [vault_policy(&[MEMBER], &[rule("eu-west-1", &for_days(90))])];
        for _ in 0..60 / every {
            sweep(&sim, &documents);
            sim.advance(minutes(every));
        }
        let copies = sim.records().into_iter().filter(|it| it.snapshot.owner == account(VAULT));
        let begun = i64::try_from(copies.count()).unwrap();
        let wanted = capacity::copies_per_hour(copy, every);
        assert_eq!(begun, wanted, "copies of {copy} minutes, sweeps every {every}");
    }
}

/// What one invocation gets done in accounts with 10 volumes each, calls taking 150 ms: of how many per minute.
const ACCOUNTS_A_MINUTE: [(&str, i64); 2] = [("every volume is due", 533), ("nothing is due", 800)];

#[test]
fn capacity_of_one_invocation() {
    let sim = sim();
    let accounts: Vec<String> = (0..160).map(|n| (700_000_000_000_u64 + n).to_string()).collect();
    for account in &accounts {
        for _ in 0..10 {
            sim.volume(&scope(account, HOME), &[("Backup", "daily")]);
        }
    }
    let mut document = nightly(&json!({"Count": 1}));
    let targets = accounts.iter().map(|it| json!({"RoleArn": role(it), "Regions": [HOME]}));
    document["Targets"] = targets.collect();
    for (what, a_minute) in ACCOUNTS_A_MINUTE {
        let (run, took) = timed(&sim, &[document.clone()], 150, capacity::RUN_SECONDS);
        let found = 160 * 60 / took;
        println!("{what}: {found} accounts a minute, {} created", done(&run, "CreateSnapshot"));
        assert_close(found, a_minute, 10, what);
    }
}

/// How many scopes fit in a list, by what `ListScopes` answers for 600 accounts of a unit.
fn most_in_a_list(per_run: usize, regions: &[&str]) -> usize {
    let sim = sim();
    let unit = "ou-ab12-12345678".parse().unwrap();
    sim.organize(&unit, |it| {
        let ids = (0..600).map(|n| (700_000_000_000_u64 + n).to_string());
        it.accounts = ids.map(|it| account(&it)).collect();
    });
    let mut document = nightly(&json!({"Count": 1}));
    document["Targets"] = json!([{
        "OrganizationalUnits": [unit.to_string()],
        "RoleArn": "arn:aws:iam::*:role/snapferry-member",
        "Regions": regions,
    }]);
    let per_run = NonZeroUsize::new(per_run).unwrap();
    let (aws, event) = (sim.aws(&vault()), RotateEvent::default());
    let listing = reconcile::list_scopes(&aws, read(&[document]), &event, per_run);
    let listing = drive(listing).unwrap().unwrap();
    assert_eq!(listing.scopes, 600 * regions.len());
    let bytes = serde_json::to_string(&listing).unwrap().len();
    capacity::PAYLOAD * listing.scopes / bytes / 100 * 100
}

#[test]
fn capacity_of_a_list_of_scopes() {
    let regions = ["eu-central-1", "us-east-1", "eu-west-1", "ap-south-1"];
    for per_run in [8, 50] {
        let most = [1, 2, 4].map(|n| grouped(most_in_a_list(per_run, &regions[..n])));
        let row = format!("| {per_run} | {} |\n", most.join(" | "));
        assert!(readme().contains(&row), "README lacks {row}");
    }
    let row = format!("| 1 | {} | · | · |\n", grouped(most_in_a_list(1, &regions[..1])));
    assert!(readme().contains(&row), "README lacks {row}");
}

fn grouped(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap()
}

#[test]
fn capacity_tables_are_readmes() {
    let mut one_run = String::from(
        "| a call takes | volumes due | created by one run | in |\n| --- | --- | --- | --- |\n",
    );
    for [latency, n, created, seconds] in ONE_RUN {
        writeln!(one_run, "| {latency} ms | {n} | {created} | {seconds} s |").unwrap();
    }
    let tables =
        [capacity::buckets(), one_run, capacity::copies(), capacity::fleet(), capacity::passed()];
    println!("{}", tables.join("\n"));
    for table in tables {
        assert!(readme().contains(&table), "README lacks\n{table}");
    }
}

//! How much AWS's limits let through, as formulas, and the tables that README shows. `tests/reconcile/capacity.rs` holds
//! them against the planner and the executor.

use std::fmt::Write as _;

use crate::buckets::limits;

/// How long a run begins new things: 900 seconds less the last 30.
pub const RUN_SECONDS: i64 = 870;
/// Copies in progress into a Region.
pub const COPIES_AT_ONCE: i64 = 20;
/// What Step Functions takes as a result.
pub const PAYLOAD: usize = 256 * 1024;
/// What one account may have in a Region.
const SNAPSHOTS: i64 = 100_000;
/// Characters of all inline policies of a role, what the vault's has beside accounts, and what an account adds.
const ROLE_POLICIES: [i64; 3] = [10_240, 3_215, 30];

/// How many requests EC2 takes in so many seconds, from a full bucket on.
#[must_use]
pub fn taken(operation: &'static str, seconds: i64) -> i64 {
    limits(operation).map_or(i64::MAX, |(_, capacity, refill)| capacity + refill * seconds)
}

/// Copies into a Region in an hour, where sweeps alone fill the places.
#[must_use]
pub fn copies_per_hour(copy_minutes: i64, sweep_minutes: i64) -> i64 {
    let sweeps = (copy_minutes + sweep_minutes - 1) / sweep_minutes;
    COPIES_AT_ONCE * 60 / (sweeps * sweep_minutes)
}

/// Calls of AWS Organizations for a unit with so many accounts and no unit below it.
#[must_use]
pub fn organization_calls(accounts: i64) -> i64 {
    1 + (accounts + 19) / 20
}

/// Source accounts that the vault's role has room for.
#[must_use]
pub fn source_accounts() -> i64 {
    let [most, others, each] = ROLE_POLICIES;
    (most - others) / each
}

fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// What one account takes in one Region.
#[must_use]
pub fn buckets() -> String {
    let mut table = String::from(
        "| calls of one account in one Region | bucket, and back per second | most in one run | most in an hour |\n\
         | --- | --- | --- | --- |\n",
    );
    for (what, operation) in [
        ("`CreateSnapshot`: volumes", "CreateSnapshot"),
        ("`CreateSnapshots`: instances", "CreateSnapshots"),
        ("`ModifySnapshotAttribute`: shared or unshared", "ModifySnapshotAttribute"),
        ("`CreateTags`, one for 500 shared", "CreateTags"),
        ("`DeleteSnapshot`", "DeleteSnapshot"),
        (
            "`CopySnapshot`, `LockSnapshot`, `ModifySnapshotTier`, fast restore, together",
            "LockSnapshot",
        ),
        ("`Describe…`, 1,000 objects each", "DescribeSnapshots"),
    ] {
        let Some((_, capacity, refill)) = limits(operation) else { continue };
        let (run, hour) = (taken(operation, RUN_SECONDS), taken(operation, 3600));
        let (run, hour) = (grouped(run), grouped(hour));
        let _ = writeln!(table, "| {what} | {capacity}, {refill} | {run} | {hour} |");
    }
    table
}

/// What EC2 copies into one Region for the vault.
#[must_use]
pub fn copies() -> String {
    let mut table = String::from(
        "| a copy takes | an hour, sweeps every 15 minutes | a day | an hour, sweeps every 5 minutes | a day |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for minutes in [5, 15, 60] {
        let _ = write!(table, "| {minutes} minutes");
        for sweep in [15, 5] {
            let an_hour = copies_per_hour(minutes, sweep);
            let _ = write!(table, " | {} | {}", grouped(an_hour), grouped(24 * an_hour));
        }
        table.push_str(" |\n");
    }
    table
}

/// What an execution of the fleet takes, where every account has one Region and nothing is run twice.
#[must_use]
pub fn fleet() -> String {
    let mut table = String::from(
        "| accounts | runs of 8 | started in, at 100 a second | policies read in, at 40 a second | Organizations read in, \
         at 5 a second | state transitions |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for accounts in [100, 1000, 5000] {
        let runs = (accounts + 7) / 8;
        let seconds = |calls: i64, rate: i64| format!("{} s", (calls + rate - 1) / rate);
        let columns = [
            grouped(accounts),
            grouped(runs),
            seconds(runs, 100),
            seconds(1 + runs, 40),
            seconds(organization_calls(accounts), 5),
            grouped(9 + 2 * runs),
        ];
        let _ = writeln!(table, "| {} |", columns.join(" | "));
    }
    table
}

/// Which limits are passed: one Region, nightly, seven kept in members and vault, copies of 5 minutes in one vault.
#[must_use]
pub fn passed() -> String {
    let mut table = String::from(
        "| accounts | volumes in all | EC2 lets the snapshots wait | one night's copies take | passed |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let copies = copies_per_hour(5, 15);
    let cases = [(1, 1000), (1, 10_000), (1, 20_000), (100, 1000), (1000, 10_000), (5000, 50_000)];
    for (accounts, volumes) in cases {
        let each = volumes / accounts;
        let seconds = (each - taken("CreateSnapshot", 0)).max(0) / 5;
        let hours = volumes / copies;
        let mut limits = Vec::new();
        for (kept, whose) in [(7 * each, "a member's"), (7 * volumes, "the vault's")] {
            if kept > SNAPSHOTS {
                limits.push(format!("{} snapshots in {whose} Region", grouped(SNAPSHOTS)));
            }
        }
        if hours >= 24 {
            limits.push(format!("{COPIES_AT_ONCE} copies: {} a day", grouped(24 * copies)));
        }
        if accounts > source_accounts() {
            limits.push(format!("{} `SourceAccounts`", source_accounts()));
        }
        let limits = if limits.is_empty() { "none".into() } else { limits.join("; ") };
        let [accounts, volumes, seconds] = [accounts, volumes, seconds].map(grouped);
        let _ = writeln!(table, "| {accounts} | {volumes} | {seconds} s | {hours} h | {limits} |");
    }
    table
}

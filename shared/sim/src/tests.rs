//! EC2's behaviour, call by call. What both functions make of it is in `tests/reconcile`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ec2::{Access, CreateSnapshot, Ec2, Ec2Error, Ec2Provider, ErrorKind};
use snapferry_core::ids::{AccountId, Scope, SnapshotId, VolumeId};
use snapferry_core::policy::Tags;

use crate::{Client, Sim, drive, id};

mod archiving;
mod copying;
mod creating;
mod fast;
mod faults;
mod locking;
mod pausing;
mod telling;

const MEMBER: &str = "333333333333";
const OTHER: &str = "444444444444";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn member() -> Scope {
    Scope { account: id(MEMBER), region: id("eu-central-1") }
}

fn accounts(names: &[&str]) -> BTreeSet<AccountId> {
    names.iter().map(|name| id(name)).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

fn sim() -> Sim {
    Sim::new(at("2026-11-22T02:01:00Z"))
}

fn client(sim: &Sim, scope: &Scope) -> Client {
    drive(sim.aws(scope).connect(&Access::default(), &scope.region)).unwrap().unwrap()
}

/// What a call answers.
fn done<T>(call: impl Future<Output = Result<T, Ec2Error>>) -> T {
    drive(call).unwrap().unwrap()
}

/// Why a call is refused.
fn refused<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Ec2Error>>) -> Refused {
    match drive(call).unwrap().unwrap_err() {
        Ec2Error::Refused { kind, code, .. } => (kind, code),
        err => panic!("{err}"),
    }
}

type Refused = (ErrorKind, String);

fn because(kind: ErrorKind, code: &str) -> Refused {
    (kind, code.to_owned())
}

fn not_ready() -> Refused {
    because(ErrorKind::NotReady, "IncorrectState")
}

fn of(volume: &VolumeId) -> CreateSnapshot {
    CreateSnapshot { volume: volume.clone(), description: String::new(), tags: Tags::new() }
}

/// A completed snapshot.
fn snapshot(sim: &Sim) -> SnapshotId {
    let volume = sim.volume(&member(), &[]);
    let made = done(client(sim, &member()).create_snapshot(&of(&volume)));
    sim.advance(minutes(10));
    made
}

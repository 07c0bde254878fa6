//! What a run takes back of what it made itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use futures_util::FutureExt;
use jiff::SignedDuration;
use serde_json::json;

use super::settle;
use crate::action::Planned;
use crate::commands::{Command, CommandId, Managed, Progress, SendCommand};
use crate::ec2::{
    CommandFilter, CopySnapshot, CreateSnapshot, CreateSnapshots, Ec2, Ec2Error, InstanceFilter,
    LockSnapshot, SnapshotFilter, VolumeFilter,
};
use crate::execute::{Executed, Outcome};
use crate::ids::{AccountId, InstanceId, SnapshotId};
use crate::inventory::{
    EbsEncryption, FastRestores, Instance, Key, Snapshot, State, Tiering, Volume,
};
use crate::policy::Tags;
use crate::testing::{Rotation, own, schedule, server, set, snap};

type Answer<T> = Result<T, Ec2Error>;

/// An EC2 that has these snapshots, can delete, and nothing else.
struct Fake {
    snapshots: Vec<Snapshot>,
    deleted: Mutex<Vec<SnapshotId>>,
}

#[rustfmt::skip]
impl Ec2 for Fake {
    async fn describe_snapshots(&self, _: &SnapshotFilter) -> Answer<Vec<Snapshot>> {
        Ok(self.snapshots.clone())
    }
    async fn delete_snapshot(&self, id: &SnapshotId) -> Answer<()> {
        self.deleted.lock().unwrap().push(id.clone());
        Ok(())
    }
    async fn describe_volumes(&self, _: &VolumeFilter) -> Answer<Vec<Volume>> { unreachable!() }
    async fn describe_instances(&self, _: &InstanceFilter) -> Answer<Vec<Instance>> { unreachable!() }
    async fn describe_images(&self) -> Answer<BTreeMap<SnapshotId, String>> { unreachable!() }
    async fn describe_locked_snapshots(&self) -> Answer<BTreeSet<SnapshotId>> { unreachable!() }
    async fn describe_fast_snapshot_restores(&self) -> Answer<FastRestores> { unreachable!() }
    async fn describe_availability_zones(&self) -> Answer<BTreeMap<String, String>> { unreachable!() }
    async fn describe_snapshot_tier_status(&self) -> Answer<BTreeMap<SnapshotId, Tiering>> { unreachable!() }
    async fn ebs_encryption(&self) -> Answer<EbsEncryption> { unreachable!() }
    async fn describe_key(&self, _: &str) -> Answer<Key> { unreachable!() }
    async fn create_snapshot(&self, _: &CreateSnapshot) -> Answer<SnapshotId> { unreachable!() }
    async fn create_snapshots(&self, _: &CreateSnapshots) -> Answer<Vec<SnapshotId>> { unreachable!() }
    async fn copy_snapshot(&self, _: &CopySnapshot) -> Answer<SnapshotId> { unreachable!() }
    async fn share_snapshot(&self, _: &SnapshotId, _: &BTreeSet<AccountId>) -> Answer<()> { unreachable!() }
    async fn unshare_snapshot(&self, _: &SnapshotId, _: &BTreeSet<AccountId>) -> Answer<()> { unreachable!() }
    async fn archive_snapshot(&self, _: &SnapshotId) -> Answer<()> { unreachable!() }
    async fn lock_snapshot(&self, _: &LockSnapshot) -> Answer<()> { unreachable!() }
    async fn enable_fast_snapshot_restores(&self, _: &SnapshotId, _: &BTreeSet<String>) -> Answer<()> { unreachable!() }
    async fn disable_fast_snapshot_restores(&self, _: &SnapshotId, _: &BTreeSet<String>) -> Answer<()> { unreachable!() }
    async fn describe_instance_information(&self, _: &BTreeSet<InstanceId>) -> Answer<BTreeMap<InstanceId, Managed>> { unreachable!() }
    async fn list_commands(&self, _: &CommandFilter) -> Answer<Vec<Command>> { unreachable!() }
    async fn get_command(&self, _: &CommandId, _: &InstanceId) -> Answer<Progress> { unreachable!() }
    async fn send_command(&self, _: &SendCommand) -> Answer<CommandId> { unreachable!() }
    async fn cancel_command(&self, _: &CommandId) -> Answer<()> { unreachable!() }
    async fn create_tags(&self, _: &[SnapshotId], _: &Tags) -> Answer<()> { unreachable!() }
}

/// What was taken back, and what the creation came to, after it ended like this and these snapshots are there.
fn settled(
    planned: &Planned,
    outcome: Outcome,
    there: Vec<Snapshot>,
) -> (Vec<SnapshotId>, Outcome) {
    let ec2 = Fake { snapshots: there, deleted: Mutex::default() };
    let mut executed = [Executed { planned: planned.clone(), outcome }];
    let back = settle(&ec2, &mut executed).now_or_never().unwrap();
    let deleted = ec2.deleted.into_inner().unwrap();
    assert_eq!(back.len(), deleted.len());
    let [Executed { outcome, .. }] = executed;
    (deleted, outcome)
}

fn pending(snapshots: Vec<Snapshot>, seconds: i64) -> Vec<Snapshot> {
    let began = |mut it: Snapshot| {
        it.start_time += SignedDuration::from_secs(seconds);
        it.state = State::Pending;
        it
    };
    snapshots.into_iter().map(began).collect()
}

fn creation(world: &Rotation) -> Planned {
    world.good_plan().actions.remove(0)
}

#[test]
fn of_two_snapshots_the_maker_of_the_younger_takes_it_back() {
    let planned = creation(&Rotation::new(&[schedule("s", &json!({}))], vec![]));
    let there = || [pending(vec![own(1, "s", 0)], 0), pending(vec![own(2, "s", 0)], 1)].concat();
    for (made, taken_back) in [(1, vec![]), (2, vec![snap(2)]), (9, vec![])] {
        let (deleted, _) = settled(&planned, Outcome::Done(vec![snap(made)]), there());
        assert_eq!(deleted, taken_back);
    }
    let mut failed = there();
    failed[0].state = State::Error;
    assert_eq!(settled(&planned, Outcome::Done(vec![snap(2)]), failed).0, []);
}

#[test]
fn of_two_sets_the_younger_goes_as_a_whole_if_the_older_is_whole() {
    let planned = creation(&server(&json!({}), vec![]));
    let (older, mine) = (set(1, 0, &[1, 2]), pending(set(2, 0, &[1, 2]), 60));
    let made = || Outcome::Done(vec![snap(21), snap(22)]);
    let taken_back = |older: &[Snapshot]| {
        let there = [older, &mine[..]].concat();
        settled(&planned, made(), there).0
    };
    assert_eq!(taken_back(&older), [snap(21), snap(22)]);
    assert_eq!(taken_back(&pending(older.clone(), 0)), [snap(21), snap(22)]);
    // One has failed, or has been deleted since: that is why this one was made.
    let mut broken = older.clone();
    broken[1].state = State::Error;
    assert_eq!(taken_back(&broken), []);
    assert_eq!(taken_back(&older[..1]), []);
    assert_eq!(taken_back(&[]), []);
    let other =
        settled(&planned, Outcome::Done(vec![snap(11), snap(12)]), [older, mine.clone()].concat());
    assert_eq!(other.0, [], "the older one's maker keeps it");
}

#[test]
fn a_creation_without_an_answer_is_looked_up() {
    let no_answer = || {
        let source = Box::new(std::io::Error::other("reset"));
        Outcome::Failed(Ec2Error::NoAnswer { operation: "CreateSnapshots", source })
    };
    let planned = creation(&server(&json!({}), vec![]));
    let made = |there: Vec<Snapshot>| match settled(&planned, no_answer(), there).1 {
        Outcome::Done(made) => Some(made),
        _ => None,
    };
    assert_eq!(made(pending(set(1, 0, &[1, 2]), 0)), Some(vec![snap(11), snap(12)]));
    assert_eq!(made(vec![]), None);
    // What is left of a set that failed before is not it.
    assert_eq!(made(set(1, 0, &[1, 2])[..1].to_vec()), None);
    let planned = creation(&Rotation::new(&[schedule("s", &json!({}))], vec![]));
    let (_, outcome) = settled(&planned, no_answer(), vec![own(1, "s", 0)]);
    assert!(matches!(outcome, Outcome::Done(made) if made == [snap(1)]));
}

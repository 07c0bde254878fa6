//! Sets: which of them stay.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::with;
use crate::ids::SnapshotId;
use crate::inventory::{Guards, Snapshot, State};
use crate::tags;
use crate::testing::{
    Rotation, actions, deleted, held, hours_ago, ins, instance, kept, map, server, set, snap,
};

/// Instance 1 with volumes 1 and 2, of which there is a set of each of these nights.
fn nights(retain: &Value, nights: &[u32]) -> Rotation {
    let sets = nights.iter().flat_map(|n| set(*n, (*n).into(), &[1, 2]));
    server(&json!({"RetainRule": retain}), sets.collect())
}

/// The snapshots of volumes 1 and 2 in these nights' sets.
fn all_of(nights: &[u32]) -> BTreeSet<SnapshotId> {
    nights.iter().flat_map(|n| [snap(n * 10 + 1), snap(n * 10 + 2)]).collect()
}

fn member(world: &mut Rotation, n: u32) -> &mut Snapshot {
    world.inventory.snapshots.iter_mut().find(|it| it.id == snap(n)).unwrap()
}

fn later(snapshots: Vec<Snapshot>, seconds: i64) -> Vec<Snapshot> {
    let delayed = |it: &mut Snapshot| it.start_time += SignedDuration::from_secs(seconds);
    snapshots.into_iter().map(|it| with(it, delayed)).collect()
}

#[test]
fn retention_counts_sets() {
    for (rule, gone) in [
        (json!({"Count": 1}), &[2, 3, 4][..]),
        (json!({"Count": 2}), &[3, 4]),
        (json!({"Count": 4}), &[]),
        (json!({"Interval": 3, "IntervalUnit": "DAYS"}), &[3, 4]),
        (json!({"Interval": 1, "IntervalUnit": "DAYS", "MinimumCount": 3}), &[4]),
        (json!({"Keep": {"Daily": 3}}), &[4]),
    ] {
        let plan = nights(&rule, &[1, 2, 3, 4]).good_plan();
        assert_eq!(deleted(&plan), all_of(gone), "{rule}");
    }
}

#[test]
fn every_instance_counts_its_own_even_of_a_volume_that_both_have() {
    let mut world = nights(&json!({"Count": 2}), &[1, 2, 3]);
    world.inventory.instances.insert(ins(2), instance(2, &[2]));
    for n in [1, 2] {
        let mut other = set(n + 4, n.into(), &[2]);
        other[0].tags.insert(tags::INSTANCE.into(), ins(2).to_string());
        world.inventory.snapshots.extend(other);
    }
    assert_eq!(deleted(&world.good_plan()), all_of(&[3]));
}

#[test]
fn a_set_that_is_not_complete_takes_no_place() {
    for (state, gone) in [(State::Error, &[22][..]), (State::Pending, &[]), (State::Other, &[])] {
        let mut world = nights(&json!({"Count": 2}), &[1, 2, 3, 4]);
        member(&mut world, 22).state = state;
        let mut gone: BTreeSet<_> = gone.iter().map(|n| snap(*n)).collect();
        gone.extend(all_of(&[4]));
        assert_eq!(deleted(&world.good_plan()), gone, "{state}");
        // And when the failed one is gone, the rest does not pass for a set.
        world.inventory.snapshots.retain(|it| it.id != snap(22));
        let plan = world.good_plan();
        assert_eq!(deleted(&plan), all_of(&[4]));
        assert!(kept(&plan).contains(&format!("{}: s: number 2 of the newest 2", snap(21))));
        // Once two newer ones are whole, it goes.
        world.inventory.snapshots.extend(set(9, 0, &[1, 2]));
        assert_eq!(deleted(&world.good_plan()), &all_of(&[3, 4]) | &[snap(21)].into());
    }
}

#[test]
fn keep_judges_a_set_that_is_not_complete_among_the_others() {
    // Of night 2 one is missing. It takes no place, so of the others one more stays.
    for (daily, gone) in [(3, &[][..]), (2, &[41, 42]), (1, &[21, 31, 32, 41, 42])] {
        let mut world = nights(&json!({"Keep": {"Daily": daily}}), &[1, 2, 3, 4]);
        world.inventory.snapshots.retain(|it| it.id != snap(22));
        let gone = gone.iter().map(|n| snap(*n)).collect();
        assert_eq!(deleted(&world.good_plan()), gone, "{daily}");
    }
}

#[test]
fn of_a_broken_set_what_is_good_goes_once_another_is_whole() {
    let mut world = nights(&json!({"Count": 9}), &[1]);
    member(&mut world, 12).state = State::Error;
    world.inventory.snapshots.extend(later(set(2, 1, &[1, 2]), 1800));
    let plan = world.good_plan();
    let why = format!(
        "DeleteSnapshot {}: its set is not complete, and {} of another set serves the same slot",
        snap(11),
        snap(21)
    );
    assert!(actions(&plan).contains(&why), "{:?}", actions(&plan));
    assert_eq!(deleted(&plan), all_of(&[1]));
    // When the failed one went first.
    let mut after = nights(&json!({"Count": 9}), &[1]);
    after.inventory.snapshots = world.inventory.snapshots.clone();
    after.inventory.snapshots.retain(|it| it.id != snap(12));
    assert_eq!(deleted(&after.good_plan()), [snap(11)].into());
    // Not while the other may fail too, nor when it has.
    member(&mut after, 22).state = State::Pending;
    assert_eq!(deleted(&after.good_plan()), [].into());
    member(&mut after, 22).state = State::Error;
    let plan = after.good_plan();
    assert_eq!(deleted(&plan), [snap(21), snap(22)].into(), "one of volume 1 is enough");
}

#[test]
fn what_of_a_broken_set_the_other_does_not_have_stays() {
    // The volume was detached in between.
    let mut world = nights(&json!({"Count": 9}), &[1]);
    member(&mut world, 11).state = State::Error;
    world.inventory.snapshots.extend(later(set(2, 1, &[1]), 1800));
    assert_eq!(deleted(&world.good_plan()), [snap(11)].into());
}

#[test]
fn of_two_whole_sets_of_one_slot_the_younger_goes_as_a_whole() {
    // Whatever the order of ids.
    for (older, younger) in [(1, 2), (2, 1)] {
        let mut world = nights(&json!({"Count": 9}), &[]);
        world.inventory.snapshots.extend(set(older, 1, &[1, 2]));
        world.inventory.snapshots.extend(later(set(younger, 1, &[1, 2]), 1));
        let plan = world.good_plan();
        assert_eq!(deleted(&plan), all_of(&[younger]));
        let why = format!("{} is the same and older", snap(older * 10 + 1));
        assert!(actions(&plan).iter().any(|it| it.ends_with(&why)), "{:?}", actions(&plan));
    }
}

#[test]
fn two_sets_that_are_the_same_do_not_leave_together() {
    let mut world = nights(&json!({"Count": 1}), &[1, 2]);
    world.inventory.snapshots.extend(later(set(3, 2, &[1, 2]), 60));
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), all_of(&[3]));
    let stays = format!("{}: a younger one that is the same leaves first", snap(21));
    assert!(kept(&plan).contains(&stays), "{:?}", kept(&plan));
    world.inventory.snapshots.truncate(4);
    assert_eq!(deleted(&world.good_plan()), all_of(&[2]));
}

#[test]
fn a_set_made_twice_at_one_moment_is_one_too_many() {
    let mut world = nights(&json!({"Count": 9}), &[1]);
    world.inventory.snapshots.extend(set(2, 1, &[1, 2]));
    for member in &mut world.inventory.snapshots {
        member.tags.remove(tags::VOLUMES);
    }
    assert_eq!(deleted(&world.good_plan()), all_of(&[2]));
}

#[test]
fn the_newest_of_a_volume_stays_when_it_was_detached() {
    let mut world = nights(&json!({"Count": 1}), &[2, 3]);
    world.inventory.snapshots.extend(set(1, 1, &[1]));
    world.inventory.instances.insert(ins(1), instance(1, &[1]));
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(21), snap(31), snap(32)].into());
    let why = format!("{}: the newest completed one of its volume always stays", snap(22));
    assert_eq!(held(&plan), [why]);
}

#[test]
fn of_an_instance_that_is_gone_sets_go_by_age_only() {
    let mut by_count = nights(&json!({"Count": 1}), &[1, 2, 3]);
    by_count.inventory.instances.clear();
    let plan = by_count.good_plan();
    assert_eq!(deleted(&plan), [].into());
    let why = "its instance is gone or no target any more, and retention by count ends with that";
    assert_eq!(held(&plan).len(), 6);
    assert!(held(&plan).iter().all(|it| it.ends_with(why)));
    let by_age = json!({"Interval": 2, "IntervalUnit": "DAYS"});
    for (there, gone) in [(&[1, 2, 3][..], &[2, 3][..]), (&[3, 4, 5], &[4, 5]), (&[5], &[])] {
        let mut world = nights(&by_age, there);
        world.inventory.instances.clear();
        assert_eq!(deleted(&world.good_plan()), [].into(), "nothing says that its time is over");
        for snapshot in &mut world.inventory.snapshots {
            snapshot.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(1)));
        }
        assert_eq!(deleted(&world.good_plan()), all_of(gone), "{there:?}");
    }
}

#[test]
fn of_an_instance_that_is_no_target_any_more_sets_go_by_their_own_expiry() {
    for (rule, gone) in
        [(json!({"Count": 1}), &[3][..]), (json!({"Count": 1, "MinimumCount": 3}), &[])]
    {
        let mut world = nights(&rule, &[1, 2, 3]);
        world.inventory.instances.get_mut(&ins(1)).unwrap().tags = map(&[("Backup", "weekly")]);
        let expired = tags::instant(hours_ago(1));
        for n in [31, 32, 11, 12] {
            member(&mut world, n).tags.insert(tags::EXPIRES_AT.into(), expired.clone());
        }
        let plan = world.good_plan();
        assert_eq!(deleted(&plan), all_of(gone), "{rule}");
        let why = "its instance is no target any more";
        assert_eq!(held(&plan).len(), 6 - 2 * gone.len());
        assert!(held(&plan).iter().all(|it| it.ends_with(why)), "{:?}", held(&plan));
    }
}

#[test]
fn what_an_ami_holds_of_a_set_takes_nobodys_place() {
    let mut world = nights(&json!({"Count": 1}), &[1, 2, 3]);
    let images = [(snap(21), "ami-1".to_owned())].into();
    world.inventory.guards = Ok(Guards { images, ..Guards::default() });
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), &all_of(&[2, 3]) - &[snap(21)].into());
    assert_eq!(held(&plan), [format!("{}: in use by ami-1", snap(21))]);
}

#[test]
fn what_a_second_attempt_left_over_gives_its_slot_no_younger_place() {
    // Night 3 was served, and tried again later than night 2; of that a snapshot is left, its other in the recycle bin.
    let mut world = nights(&json!({"Count": 2}), &[1, 2, 3]);
    let mut again = later(set(7, 3, &[1, 2]), 2 * 86_400);
    again[0].state = State::Other;
    world.inventory.snapshots.extend(again);
    assert_eq!(deleted(&world.good_plan()), all_of(&[3]));
}

#[test]
fn what_waits_of_a_slot_that_another_set_serves_stays_with_it() {
    // The first attempt is half in the recycle bin, the second is whole.
    let mut world = nights(&json!({"Count": 1}), &[1, 2]);
    member(&mut world, 11).state = State::Other;
    world.inventory.snapshots.extend(later(set(5, 1, &[1, 2]), 60));
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), all_of(&[2]));
    assert!(kept(&plan).contains(&format!("{}: s: number 1 of the newest 1", snap(12))));
}

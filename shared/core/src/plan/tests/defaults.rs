//! Default policies: every volume that nobody has made a snapshot of lately.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::inventory::Snapshot;
use crate::tags;
use crate::testing::{
    Rotation, actions, at, deleted, held, hours_ago, ins, instance, map, now, own, vol, volume,
};

/// Policy `p` for every volume, with these members more.
fn default_policy(more: &Value, snapshots: Vec<Snapshot>) -> Rotation {
    let mut world = Rotation::new(&[], snapshots);
    let mut document = json!({"Name": "p", "DefaultPolicy": "VOLUME"});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.documents = vec![document];
    world.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear();
    world
}

#[test]
fn what_is_recent_by_any_means_is_left_alone() {
    let none = format!("CreateSnapshot {}: no recent snapshot of the volume by any means", vol(1));
    let because = |hours: i64| {
        let newest = tags::instant(hours_ago(hours));
        vec![format!("CreateSnapshot {}: its newest snapshot by any means is of {newest}", vol(1))]
    };
    for (days, newest, wanted) in [
        (1, None, vec![none.clone()]),
        (1, Some(23), vec![]),
        (1, Some(24), because(24)),
        (1, Some(99), because(99)),
        (7, Some(7 * 24 - 1), vec![]),
        (7, Some(7 * 24), because(7 * 24)),
    ] {
        let more = json!({"CreateInterval": days, "RetainInterval": 14});
        let mut world = default_policy(&more, vec![]);
        world.inventory.recent =
            newest.map(|hours| (vol(1), hours_ago(hours))).into_iter().collect();
        assert_eq!(actions(&world.good_plan()), wanted, "{days} {newest:?}");
    }
    let mut world = default_policy(&json!({}), vec![]);
    world.inventory.recent = [(vol(1), hours_ago(24) + SignedDuration::from_secs(1))].into();
    assert_eq!(actions(&world.good_plan()), [""; 0]);
    // One of ours is as old as its slot: the same run of the next day makes the next, however late this one began.
    let mut ours = own(1, "default", 1);
    ours.start_time = at("2026-11-21T02:17:09Z");
    world.inventory.recent = [(vol(1), ours.start_time)].into();
    world.inventory.snapshots = vec![ours];
    world.at = at("2026-11-22T01:59:00Z");
    assert_eq!(actions(&world.good_plan()), [""; 0]);
    world.at = at("2026-11-22T02:00:00Z");
    assert_eq!(actions(&world.good_plan()).len(), 1);
    world = default_policy(&json!({}), vec![]);
    world.inventory.recent = [(vol(2), hours_ago(1))].into();
    assert_eq!(actions(&world.good_plan()), [none], "of another volume");
}

#[test]
fn of_two_that_began_at_one_moment_the_older_slot_counts_in_any_order() {
    let start = at("2026-11-21T02:17:09Z");
    let mut two = [own(1, "default", 1), own(2, "default", 1)];
    two[1].tags.insert(tags::SLOT.into(), "2026-11-21T02:17:00Z".into());
    for snapshot in &mut two {
        snapshot.start_time = start;
    }
    let mut world = default_policy(&json!({}), two.to_vec());
    world.inventory.recent = [(vol(1), start)].into();
    for _ in 0..2 {
        assert_eq!(actions(&world.good_plan()).len(), 1);
        world.inventory.snapshots.reverse();
    }
}

#[test]
fn the_event_says_what_is_recent_and_the_clock_what_is_young() {
    let mut world = default_policy(&json!({}), vec![]);
    world.at = hours_ago(5);
    world.inventory.recent = [(vol(1), hours_ago(27))].into();
    assert_eq!(actions(&world.good_plan()), [""; 0]);
    world.inventory.recent.clear();
    world.inventory.volumes.get_mut(&vol(1)).unwrap().create_time = hours_ago(25);
    assert_eq!(actions(&world.good_plan()).len(), 1);
}

#[test]
fn a_volume_waits_for_its_second_day() {
    let why = format!("{}: a default policy waits until a volume is 24 hours old", vol(1));
    let second = SignedDuration::from_secs(1);
    for (created, wanted) in [(hours_ago(24), None), (hours_ago(24) + second, Some(why))] {
        let mut world = default_policy(&json!({}), vec![]);
        world.inventory.volumes.get_mut(&vol(1)).unwrap().create_time = created;
        let plan = world.good_plan();
        assert_eq!(actions(&plan).len(), usize::from(wanted.is_none()));
        assert_eq!(held(&plan), Vec::from_iter(wanted));
    }
    // A young one that cannot be snapshotted is told for its youth; an old one for itself.
    let mut world = default_policy(&json!({}), vec![]);
    world.inventory.volumes.get_mut(&vol(1)).unwrap().usable = false;
    let why = format!("{}: the volume is neither available nor in use", vol(1));
    assert_eq!(held(&world.good_plan()), [why]);
}

#[test]
fn what_is_excluded() {
    let mut world = default_policy(&json!({}), vec![]);
    for (n, kind, tags) in [
        (2, "gp3", &[][..]),
        (3, "st1", &[]),
        (4, "gp3", &[("no", "way")]),
        (5, "gp3", &[("no", "x")]),
    ] {
        let mut volume = volume(n);
        volume.volume_type = kind.into();
        volume.tags = map(tags);
        world.inventory.volumes.insert(vol(n), volume);
    }
    world.inventory.instances.insert(ins(1), instance(1, &[2, 5]));
    for (exclusions, wanted) in [
        (json!({}), &[1, 2, 3, 4, 5][..]),
        (json!({"ExcludeBootVolumes": true}), &[1, 3, 4, 5]),
        (json!({"ExcludeVolumeTypes": ["st1", "sc1"]}), &[1, 2, 4, 5]),
        (json!({"ExcludeTags": [{"Key": "no", "Value": "way"}]}), &[1, 2, 3, 5]),
        (
            json!({"ExcludeBootVolumes": true, "ExcludeVolumeTypes": ["gp3"],
                   "ExcludeTags": [{"Key": "a", "Value": "b"}]}),
            &[3],
        ),
    ] {
        world.documents[0]["Exclusions"] = exclusions.clone();
        let plan = world.good_plan();
        let made = super::created(&plan).into_iter().map(|it| it.volume.clone());
        let volumes: Vec<_> = wanted.iter().map(|n| vol(*n)).collect();
        assert_eq!(made.collect::<Vec<_>>(), volumes, "{exclusions}");
        let covered: Vec<_> = plan.coverage.iter().map(|it| it.volume.clone()).collect();
        assert_eq!(covered, volumes, "{exclusions}");
    }
}

#[test]
fn they_go_by_age_and_the_last_one_stays() {
    let made = |n: u32| {
        let mut snapshot = own(n, "default", n.into());
        let expires = snapshot.start_time + SignedDuration::from_hours(48);
        snapshot.tags.insert(tags::EXPIRES_AT.into(), tags::instant(expires));
        snapshot
    };
    let recent = |n: u32| [(vol(1), made(n).start_time)].into();
    let ids = |numbers: &[u32]| numbers.iter().map(|n| crate::testing::snap(*n)).collect();
    for (there, gone) in [(&[1, 2, 3, 4][..], &[2, 3, 4][..]), (&[3, 4], &[4]), (&[4], &[])] {
        let snapshots = there.iter().map(|n| made(*n)).collect();
        let mut world = default_policy(&json!({"RetainInterval": 2}), snapshots);
        world.inventory.recent = recent(there[0]);
        assert_eq!(deleted(&world.good_plan()), ids(gone), "{there:?}");
        world.inventory.volumes.clear();
        assert_eq!(deleted(&world.good_plan()), ids(gone), "the volume is gone: {there:?}");
    }
    // Excluded since: by its own expiry, as what no policy manages any more.
    let mut world = default_policy(&json!({"RetainInterval": 2}), [1, 2, 3].map(made).into());
    world.documents[0]["Exclusions"] = json!({"ExcludeVolumeTypes": ["gp3"]});
    assert_eq!(deleted(&world.good_plan()), ids(&[2, 3]));
}

#[test]
fn the_expiry_is_the_retain_interval() {
    let mut world = default_policy(&json!({"CopyTags": true}), vec![]);
    world.inventory.volumes.get_mut(&vol(1)).unwrap().tags = map(&[("a", "b")]);
    let plan = world.good_plan();
    let tags = &super::created(&plan)[0].tags;
    assert_eq!(tags[tags::EXPIRES_AT], "2026-11-29T02:05:00Z");
    assert_eq!((tags["a"].as_str(), tags[tags::SCHEDULE].as_str()), ("b", "default"));
    assert_eq!(now(), at("2026-11-22T02:05:00Z"));
}

//! Sets: what is taken of an instance, and when.

use serde_json::{Value, json};

use super::with;
use crate::action::Plan;
use crate::ec2::{CreateSnapshots, ErrorKind};
use crate::inventory::{Snapshot, State, Unread};
use crate::tags;
use crate::testing::{
    Rotation, SLOT, actions, created_sets, deleted, held, ins, instance, map, now, schedule,
    server, set, snap, vol, volume,
};

fn made(world: &Rotation) -> CreateSnapshots {
    let plan = world.good_plan();
    let [request] = created_sets(&plan)[..] else {
        panic!("{:?} {:?}", actions(&plan), held(&plan));
    };
    request.clone()
}

#[test]
fn an_instance_is_taken_by_one_call() {
    let mut world = server(&json!({}), vec![]);
    let tags = map(&[("Backup", "daily"), ("Name", "web-1")]);
    world.inventory.instances.get_mut(&ins(1)).unwrap().tags = tags;
    let plan = world.good_plan();
    assert_eq!(
        actions(&plan),
        [format!("CreateSnapshots {}: no snapshot for this slot", ins(1))],
        "the volumes' own tags are no target's"
    );
    let wanted = CreateSnapshots {
        script: None,
        instance: ins(1),
        volumes: [vol(1), vol(2)].into(),
        exclude_boot_volume: false,
        exclude_data_volumes: [].into(),
        description: format!(
            "Created for policy: p schedule: s slot: {SLOT} instance: {} name: web-1",
            ins(1)
        ),
        copy_tags: false,
        tags: map(&[
            (tags::INSTANCE, ins(1).as_str()),
            (tags::POLICY, "p"),
            (tags::SCHEDULE, "s"),
            (tags::SLOT, SLOT),
            (tags::VOLUMES, "2"),
        ]),
    };
    assert_eq!(made(&world), wanted);
    assert_eq!(plan.actions[0].subject.instance, Some(ins(1)));
    let covered: Vec<_> = plan.coverage.iter().map(|it| it.volume.clone()).collect();
    assert_eq!(covered, [vol(1), vol(2)]);
}

#[test]
fn which_instances_are_targets() {
    let mut world = server(&json!({}), vec![]);
    for (n, pairs) in [
        (2, &[("Backup", "weekly")][..]),
        (3, &[]),
        (4, &[("Backup", "daily"), ("Skip", "")]),
        (5, &[("Backup", "daily"), ("backup", "x")]),
    ] {
        let mut other = instance(n, &[10 + n]);
        other.tags = map(pairs);
        world.inventory.instances.insert(ins(n), other);
        world.inventory.volumes.insert(vol(10 + n), volume(10 + n));
    }
    let instances = |world: &Rotation| -> Vec<_> {
        created_sets(&world.good_plan()).iter().map(|it| it.instance.clone()).collect()
    };
    assert_eq!(instances(&world), [ins(1), ins(5)]);
    world.documents[0]["State"] = json!("DISABLED");
    assert_eq!(instances(&world), []);
}

#[test]
fn what_parameters_exclude() {
    let temp = json!([{"Key": "code", "Value": "temp"}, {"Key": "a", "Value": "b"}]);
    for (parameters, marked, boot, excluded, taken) in [
        (json!({}), &[][..], false, &[][..], &[1, 2, 3][..]),
        (json!({"ExcludeBootVolume": true}), &[], true, &[], &[2, 3]),
        (json!({"ExcludeDataVolumeTags": temp}), &[2], false, &[2], &[1, 3]),
        (json!({"ExcludeDataVolumeTags": temp}), &[1, 2], false, &[2], &[1, 3]), // a boot volume is none of data
        (json!({"ExcludeBootVolume": true, "ExcludeDataVolumeTags": temp}), &[3], true, &[3], &[2]),
    ] {
        let mut world = server(&json!({}), vec![]);
        world.inventory.instances.insert(ins(1), instance(1, &[1, 2, 3]));
        world.inventory.volumes.insert(vol(3), volume(3));
        for n in marked {
            let tags = &mut world.inventory.volumes.get_mut(&vol(*n)).unwrap().tags;
            tags.insert("code".into(), "temp".into());
        }
        world.documents[0]["PolicyDetails"]["Parameters"] = parameters.clone();
        let request = made(&world);
        assert_eq!(request.exclude_boot_volume, boot, "{parameters}");
        let ids = |numbers: &[u32]| numbers.iter().map(|n| vol(*n)).collect();
        assert_eq!(request.exclude_data_volumes, ids(excluded), "{parameters}");
        assert_eq!(request.volumes, ids(taken), "{parameters}");
        assert_eq!(request.tags[tags::VOLUMES], taken.len().to_string());
        let covered = world.good_plan().coverage.into_iter().map(|it| it.volume).collect();
        assert_eq!(request.volumes, covered, "what is excluded is not waited for");
    }
}

#[test]
fn an_instance_of_which_nothing_can_be_taken_is_held() {
    let why = |change: fn(&mut Rotation)| {
        let mut world = server(&json!({}), vec![]);
        change(&mut world);
        let plan = world.good_plan();
        assert_eq!(actions(&plan), [""; 0]);
        assert_eq!(plan.held[0].subject.instance, Some(ins(1)));
        held(&plan)
    };
    let unusable = why(|it| it.inventory.instances.get_mut(&ins(1)).unwrap().usable = false);
    assert_eq!(unusable, [": the instance is neither running, stopping nor stopped"]);
    let nothing = ": Parameters exclude every volume of the instance, so there is none to snapshot";
    let excluded = why(|it| {
        it.documents[0]["PolicyDetails"]["Parameters"] = json!({
            "ExcludeBootVolume": true,
            "ExcludeDataVolumeTags": [{"Key": "Backup", "Value": "daily"}]
        });
    });
    assert_eq!(excluded, [nothing]);
    let without = why(|it| drop(it.inventory.instances.insert(ins(1), instance(1, &[]))));
    assert_eq!(without, [nothing]);
}

#[test]
fn tags_of_volumes_are_copied_where_all_of_them_fit() {
    // Of 50 tags 5 are ours in the call, and one is for the record of shares.
    let many = |n: u32| -> Vec<(String, String)> {
        (0..n).map(|n| (format!("key {n:02}"), String::new())).collect()
    };
    let one = |key: &str| vec![(key.to_owned(), String::new())];
    for (of_volume, fits) in [
        (vec![], true),
        (many(44), true),
        (many(45), false),
        (one("Made"), false), // the schedule sets it
        (one("snapferry:slot"), false),
        (one("Snapferry:x"), false),
        (one("aws:cloudformation:stack-name"), true), // EC2 leaves them out
    ] {
        let made_by = json!([{"Key": "Made", "Value": "here"}]);
        let mut world = server(&json!({"CopyTags": true, "TagsToAdd": made_by}), vec![]);
        if of_volume.len() > 40 {
            world = server(&json!({"CopyTags": true}), vec![]);
        }
        let tags = &mut world.inventory.volumes.get_mut(&vol(2)).unwrap().tags;
        tags.clear();
        tags.extend(of_volume.clone());
        let plan = world.good_plan();
        assert_eq!(created_sets(&plan)[0].copy_tags, fits, "{of_volume:?}");
        assert_eq!(held(&plan).len(), usize::from(!fits));
        if !fits {
            assert!(held(&plan)[0].starts_with(&format!(": tags of {} are not copied", vol(2))));
        }
    }
    let plan = server(&json!({}), vec![]).good_plan();
    assert!(!created_sets(&plan)[0].copy_tags, "nobody wants it");
}

#[test]
fn variable_tags_are_filled_in() {
    let variable = json!([
        {"Key": "of", "Value": "$(instance-id)"}, {"Key": "at", "Value": "$(timestamp)"}
    ]);
    let tags = made(&server(&json!({"VariableTags": variable}), vec![])).tags;
    assert_eq!((tags["of"].as_str(), tags["at"].as_str()), (ins(1).as_str(), SLOT));
}

#[test]
fn the_size_is_told_unless_schedules_that_coincide_leave_no_room() {
    let more = |from: u32, n: u32| -> Vec<Value> {
        (from..from + n).map(|n| json!({"Key": n.to_string(), "Value": ""})).collect()
    };
    let full =
        json!({"RetainRule": {"Interval": 9, "IntervalUnit": "DAYS"}, "TagsToAdd": more(0, 43)});
    let mut world = server(&full, vec![]);
    let tags = made(&world).tags;
    assert!(tags.contains_key(tags::VOLUMES));
    assert_eq!(tags.len() + 1, tags::MAX_TAGS, "one is for the record of shares");
    let mut second = full.clone();
    second["TagsToAdd"] = json!(more(43, 1));
    world.documents[0]["PolicyDetails"]["Schedules"] =
        json!([schedule("s", &full), schedule("t", &second)]);
    assert!(!made(&world).tags.contains_key(tags::VOLUMES));
}

#[test]
fn a_volume_that_two_instances_have_is_in_both_sets() {
    let mut world = server(&json!({}), vec![]);
    world.inventory.instances.insert(ins(2), instance(2, &[3, 2]));
    world.inventory.volumes.insert(vol(3), volume(3));
    let plan = world.good_plan();
    let volumes: Vec<_> = created_sets(&plan).iter().map(|it| it.volumes.clone()).collect();
    assert_eq!(volumes, [[vol(1), vol(2)].into(), [vol(2), vol(3)].into()]);
    // One of them is served.
    world.inventory.snapshots = set(1, 0, &[1, 2]);
    let plan = world.good_plan();
    assert_eq!(created_sets(&plan)[0].instance, ins(2));
    assert_eq!(created_sets(&plan).len(), 1);
}

/// Whether the night's set is made anew, where its two members are like this and began so many seconds ago.
fn again(first: Option<State>, second: Option<State>, seconds: i64) -> bool {
    let members = set(1, 0, &[1, 2]).into_iter().zip([first, second]);
    let members = members.filter_map(|(member, state)| {
        let start_time = now() - jiff::SignedDuration::from_secs(seconds);
        Some(Snapshot { state: state?, start_time, ..member })
    });
    let plan = server(&json!({}), members.collect()).good_plan();
    !created_sets(&plan).is_empty()
}

#[test]
fn a_set_serves_its_slot_as_a_whole_or_once_nothing_is_pending_not_at_all() {
    use State::{Completed, Error, Other, Pending};
    for (first, second, seconds, is_made) in [
        (Some(Completed), Some(Completed), 3600, false),
        (Some(Pending), Some(Completed), 3600, false),
        (Some(Pending), Some(Pending), 0, false),
        (Some(Other), Some(Completed), 3600, false),
        (Some(Error), Some(Pending), 3600, false),
        (Some(Error), Some(Completed), 0, true),
        (Some(Error), Some(Other), 3600, false),
        (Some(Error), Some(Error), 0, true),
        // The failed one was deleted; or it is just not seen yet.
        (Some(Completed), None, 900, true),
        (None, Some(Completed), 899, false),
        (Some(Pending), None, 3600, false),
        (Some(Error), None, 0, true),
        (None, None, 0, true),
    ] {
        assert_eq!(again(first, second, seconds), is_made, "{first:?} {second:?} {seconds}");
    }
}

#[test]
fn the_reason_names_the_one_that_failed() {
    let mut members = set(1, 0, &[1, 2]);
    members[1].state = State::Error;
    let plan = server(&json!({}), members).good_plan();
    let lines = actions(&plan);
    let anew = format!(
        "CreateSnapshots {}: no good snapshot for this slot, {} ended in error",
        ins(1),
        snap(12)
    );
    assert_eq!(lines[0], anew);
    assert_eq!(
        lines[1..],
        [format!("DeleteSnapshot {}: ended in error: no reason given", snap(12))]
    );
}

#[test]
fn a_second_attempt_serves_where_the_first_failed() {
    let attempts = |second: [State; 2]| {
        let mut members = set(1, 0, &[1, 2]);
        members[0].state = State::Error;
        for (member, state) in set(2, 0, &[1, 2]).into_iter().zip(second) {
            members.push(with(member, |it| {
                it.state = state;
                it.start_time += jiff::SignedDuration::from_secs(60);
            }));
        }
        server(&json!({}), members).good_plan()
    };
    let n_made = |plan: Plan| created_sets(&plan).len();
    assert_eq!(n_made(attempts([State::Pending; 2])), 0);
    assert_eq!(n_made(attempts([State::Completed; 2])), 0);
    assert_eq!(n_made(attempts([State::Completed, State::Error])), 1);
}

#[test]
fn coinciding_schedules_make_one_set_of_what_lacks() {
    let two = [schedule("a", &json!({})), schedule("b", &json!({}))];
    let mut world = server(&json!({}), vec![]);
    world.documents[0]["PolicyDetails"]["Schedules"] = json!(two);
    assert_eq!(made(&world).tags[tags::SCHEDULE], "a,b");
    world.inventory.snapshots = set(1, 0, &[1, 2]);
    for member in &mut world.inventory.snapshots {
        member.tags.insert(tags::SCHEDULE.into(), "b".into());
    }
    assert_eq!(made(&world).tags[tags::SCHEDULE], "a");
}

#[test]
fn what_is_not_known_of_instances_holds_sets_of_a_schedule_that_is_gone_too() {
    let mut sets = [set(1, 1, &[1, 2]), set(2, 3, &[1, 2])].concat();
    for snapshot in &mut sets {
        snapshot.tags.insert(tags::SCHEDULE.into(), "gone".into());
        snapshot.tags.insert(tags::EXPIRES_AT.into(), "2026-11-22T02:00:00Z".into());
    }
    let mut world = server(&json!({}), sets);
    assert_eq!(deleted(&world.good_plan()), [snap(21), snap(22)].into());
    world.inventory.instances.clear();
    let (kind, message) = (ErrorKind::AccessDenied, "denied".to_owned());
    world.inventory.instances_unread = Some(Unread { kind, code: String::new(), message });
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [].into());
    assert!(held(&plan).iter().any(|it| it.contains("instance: denied")), "{:?}", held(&plan));
}

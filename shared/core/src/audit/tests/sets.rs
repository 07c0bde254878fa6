//! Sets, against plans that no planner should make.

use serde_json::json;

use super::{rules, taken_back};
use crate::action::{Action, Plan};
use crate::ec2::{CreateSnapshot, CreateSnapshots};
use crate::inventory::State;
use crate::tags;
use crate::testing::{
    HOME, MEMBER, Rotation, SLOT, deleted, ins, instance, map, plan_of, scope, server, set, snap,
    vol,
};

fn create() -> CreateSnapshots {
    CreateSnapshots {
        script: None,
        instance: ins(1),
        volumes: [vol(1), vol(2)].into(),
        exclude_boot_volume: false,
        exclude_data_volumes: [].into(),
        description: String::new(),
        copy_tags: false,
        tags: map(&[
            (tags::POLICY, "p"),
            (tags::SCHEDULE, "s"),
            (tags::SLOT, SLOT),
            (tags::INSTANCE, ins(1).as_str()),
        ]),
    }
}

/// What is said of this creation; it is done all the same.
fn creating(change: fn(&mut CreateSnapshots, &mut Rotation)) -> String {
    let mut request = create();
    let mut world = server(&json!({}), vec![]);
    change(&mut request, &mut world);
    let audited = world.audit(plan_of(scope(MEMBER, HOME), Action::CreateSnapshots(request)));
    assert_eq!(audited.0.actions().len(), 1);
    rules(&audited).join("; ")
}

#[test]
fn a_doubtful_set_is_told() {
    assert_eq!(creating(|_, _| {}), "");
    let excluding = |it: &mut CreateSnapshots, world: &mut Rotation| {
        it.exclude_boot_volume = true;
        world.documents[0]["PolicyDetails"]["Parameters"] = json!({"ExcludeBootVolume": true});
    };
    assert_eq!(creating(excluding), "");
    let no_target = format!("{} is no target of policy p", ins(1));
    for (change, rule) in [
        (
            (|it, _| it.tags.clear()) as fn(&mut CreateSnapshots, &mut Rotation),
            "the new snapshot would not carry our tags",
        ),
        (|it, _| it.instance = ins(9), "its instance was not seen"),
        (|it, _| drop(it.tags.insert(tags::INSTANCE.into(), ins(9).to_string())), &*no_target),
        (|it, _| drop(it.tags.remove(tags::INSTANCE)), &no_target),
        (|_, it| it.inventory.instances.get_mut(&ins(1)).unwrap().tags.clear(), &no_target),
        (|_, it| it.documents[0]["State"] = json!("DISABLED"), "its policy is not in force here"),
        (|it, _| it.exclude_boot_volume = true, "the policy does not exclude the boot volume"),
        (
            |_, it| it.inventory.snapshots = set(1, 0, &[1, 2]),
            "slot 2026-11-22T02:00:00Z of schedule s is served already",
        ),
        (
            |_, it| {
                it.inventory.snapshots = set(1, 0, &[1, 2]);
                it.inventory.snapshots[0].state = State::Pending;
            },
            "slot 2026-11-22T02:00:00Z of schedule s is served already",
        ),
        // A set that is not complete, or of another instance, serves nothing.
        (
            |_, it| {
                it.inventory.snapshots = set(1, 0, &[1, 2]);
                it.inventory.snapshots[0].state = State::Error;
            },
            "",
        ),
        (|_, it| it.inventory.snapshots = set(1, 0, &[1, 2])[..1].to_vec(), ""),
        (
            |_, it| {
                it.inventory.snapshots = set(1, 0, &[1, 2]);
                for one in &mut it.inventory.snapshots {
                    one.tags.insert(tags::INSTANCE.into(), ins(2).to_string());
                }
            },
            "",
        ),
    ] {
        assert_eq!(creating(change), rule);
    }
}

#[test]
fn a_set_is_no_snapshot_of_a_volume() {
    let mut world = server(&json!({}), vec![]);
    let mut request =
        CreateSnapshot { volume: vol(1), description: String::new(), tags: create().tags };
    let told = |world: &Rotation, request: &CreateSnapshot| {
        let action = Action::CreateSnapshot(request.clone());
        rules(&world.audit(plan_of(scope(MEMBER, HOME), action))).join("; ")
    };
    let no_target = format!("{} is no target of policy p", vol(1));
    assert_eq!(told(&world, &request), no_target);
    world.documents[0]["PolicyDetails"]["ResourceTypes"] = json!(["VOLUME"]);
    assert_eq!(told(&world, &request), no_target);
    request.tags.remove(tags::INSTANCE);
    assert_eq!(told(&world, &request), "");
}

/// What is said of the deletion of these, where there is a set of each of these nights.
fn deleting(ids: &[u32], nights: &[u32], change: fn(&mut Rotation)) -> String {
    let sets = nights.iter().flat_map(|n| set(*n, (*n).into(), &[1, 2])).collect();
    let mut world = server(&json!({"RetainRule": {"Count": 1}}), sets);
    change(&mut world);
    let mut plan = Plan::default();
    for n in ids {
        plan.actions.extend(plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(*n))).actions);
    }
    let n_planned = deleted(&plan).len();
    let audited = world.audit(plan);
    let left = if audited.1.is_empty() { n_planned } else { 0 };
    assert_eq!(audited.0.actions().len(), left);
    rules(&audited).join("; ")
}

#[test]
fn a_set_that_is_not_complete_counts_for_nothing() {
    let none: fn(&mut Rotation) = |_| {};
    assert_eq!(deleting(&[21, 22], &[1, 2], none), "");
    assert_eq!(deleting(&[21], &[1, 2], none), "");
    let kept = "schedule s still keeps it";
    let broken = |it: &mut Rotation| it.inventory.snapshots[1].state = State::Error;
    assert_eq!(deleting(&[21], &[1, 2], broken), kept);
    let short = |it: &mut Rotation| drop(it.inventory.snapshots.remove(1));
    assert_eq!(deleting(&[21], &[1, 2], short), kept);
    assert_eq!(deleting(&[22], &[1, 2], short), "nothing newer of its volume would stay");
    assert_eq!(deleting(&[31], &[1, 2, 3], short), "", "night 2 stays");
    // Judged itself it is as any other.
    let second_broken = |it: &mut Rotation| it.inventory.snapshots[3].state = State::Error;
    assert_eq!(deleting(&[21, 22], &[1, 2], second_broken), "");
    let other = |it: &mut Rotation| {
        it.inventory.instances.insert(ins(2), instance(2, &[1, 2]));
        for one in &mut it.inventory.snapshots[..2] {
            one.tags.insert(tags::INSTANCE.into(), ins(2).to_string());
        }
    };
    assert_eq!(deleting(&[21], &[1, 2], other), kept, "another instance's set is newer");
}

#[test]
fn one_of_two_sets_of_a_slot_may_go() {
    fn again(it: &mut Rotation) {
        let mut again = set(5, 1, &[1, 2]);
        for it in &mut again {
            it.start_time += jiff::SignedDuration::from_secs(60);
        }
        it.inventory.snapshots.extend(again);
    }
    assert_eq!(deleting(&[51, 52], &[1], again), "");
    let kept = "schedule s still keeps it";
    assert_eq!(deleting(&[11], &[1], again), kept, "the older stays");
    assert_eq!(
        deleting(&[11, 51], &[1], again),
        ["nothing newer of its volume would stay"; 2].join("; ")
    );
    let first_broken = |it: &mut Rotation| {
        again(it);
        it.inventory.snapshots[1].state = State::Error;
    };
    assert_eq!(deleting(&[11, 12], &[1], first_broken), "");
    let last = "nothing newer of its volume would stay";
    assert_eq!(deleting(&[51], &[1], first_broken), last, "the older is none to stay for");
    let second_broken = |it: &mut Rotation| {
        again(it);
        it.inventory.snapshots.pop();
    };
    assert_eq!(deleting(&[51], &[1], second_broken), "");
    let disabled = |it: &mut Rotation| {
        again(it);
        it.documents[0]["State"] = json!("DISABLED");
    };
    assert_eq!(deleting(&[51], &[1], disabled), "its policy is disabled");
}

#[test]
fn of_an_instance_that_has_left_only_its_own_expiry_counts() {
    let own_expiry = "its policy is gone and its own expiry is not over";
    for change in [(|it| it.inventory.instances.clear()) as fn(&mut Rotation), |it| {
        it.inventory.instances.get_mut(&ins(1)).unwrap().tags.clear();
    }] {
        assert_eq!(deleting(&[21], &[1, 2], change), own_expiry);
    }
    let by_age = |it: &mut Rotation| {
        it.inventory.instances.clear();
        let rule = json!({"Interval": 2, "IntervalUnit": "DAYS"});
        it.documents[0]["PolicyDetails"]["Schedules"][0]["RetainRule"] = rule;
    };
    assert_eq!(deleting(&[21], &[1, 2], by_age), "");
}

#[test]
fn of_sets_only_one_of_the_same_instance_is_the_same() {
    let created = plan_of(scope(MEMBER, HOME), Action::CreateSnapshots(create())).actions.remove(0);
    let older = set(1, 0, &[1]).remove(0);
    let mut mine = set(2, 0, &[1]).remove(0);
    mine.start_time += jiff::SignedDuration::from_millis(1);
    assert_eq!(taken_back(&created, &mine.id, &mine, &older), Ok(()));
    mine.tags.insert(tags::INSTANCE.into(), ins(2).to_string());
    let other = Err(format!("{} serves another purpose", older.id));
    assert_eq!(taken_back(&created, &mine.id, &mine, &older), other);
    let mut mine = set(2, 0, &[1, 2]).remove(1);
    mine.start_time += jiff::SignedDuration::from_millis(1);
    assert_eq!(taken_back(&created, &mine.id, &mine, &older), other);
}

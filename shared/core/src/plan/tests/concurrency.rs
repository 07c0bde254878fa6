//! How many snapshots of one volume EC2 makes at once.

use serde_json::json;

use super::{plain, with};
use crate::inventory::State;
use crate::testing::{Rotation, actions, own, policy, schedule, server, set, vol};

/// What waits, where so many snapshots of volume 1, of this type, are in these states.
fn waiting(volume_type: &str, states: &[State]) -> Vec<String> {
    let snapshots = states.iter().zip(1..);
    let snapshots = snapshots.map(|(state, n)| with(own(n, "t", n.into()), |it| it.state = *state));
    let mut world = Rotation::new(&plain(), snapshots.collect());
    world.inventory.volumes.get_mut(&vol(1)).unwrap().volume_type = volume_type.into();
    let plan = world.good_plan();
    let n_made = plan.actions.iter().filter(|it| it.action.creates()).count();
    assert_eq!(n_made + plan.deferred.len(), 1);
    plan.deferred.into_iter().map(|it| it.waits_for).collect()
}

#[test]
fn five_at_once_and_one_of_slow_disks() {
    use State::{Completed, Error, Other, Pending};
    let why = |n: usize, most: usize| {
        vec![format!(
            "{n} snapshots of {} are pending or failed, and EC2 takes {most} at once",
            vol(1)
        )]
    };
    for (volume_type, states, wanted) in [
        ("gp3", &[Pending; 4][..], vec![]),
        ("gp3", &[Pending; 5], why(5, 5)),
        ("io2", &[Pending, Error, Pending, Error, Error], why(5, 5)),
        ("standard", &[Completed; 9], vec![]),
        ("st1", &[Completed, Other], vec![]),
        ("st1", &[Pending], why(1, 1)),
        ("sc1", &[Error], why(1, 1)),
    ] {
        assert_eq!(waiting(volume_type, states), wanted, "{volume_type} {states:?}");
    }
}

#[test]
fn two_policies_of_one_run_count_together() {
    for (volume_type, made) in [("gp3", 2), ("st1", 1), ("sc1", 1)] {
        let mut world = Rotation::new(&plain(), vec![]);
        world.documents.push(policy("q", &plain()));
        world.inventory.volumes.get_mut(&vol(1)).unwrap().volume_type = volume_type.into();
        let plan = world.good_plan();
        assert_eq!((actions(&plan).len(), plan.deferred.len()), (made, 2 - made), "{volume_type}");
        if let Some(deferred) = plan.deferred.first() {
            assert_eq!(deferred.planned.subject.policy, "q");
        }
    }
}

#[test]
fn a_set_waits_for_each_of_its_volumes_and_counts_for_all() {
    let mut world = server(&json!({}), vec![]);
    world.inventory.volumes.get_mut(&vol(2)).unwrap().volume_type = "st1".into();
    world.documents.push(policy("q", &[schedule("s", &json!({}))]));
    let plan = world.good_plan();
    // Policy p takes both of the instance, q each by itself.
    assert_eq!(actions(&plan).len(), 2);
    assert_eq!(plan.deferred.len(), 1);
    assert_eq!(plan.deferred[0].planned.subject.volume, Some(vol(2)));
    world.documents.pop();
    world.inventory.snapshots = set(1, 1, &[1, 2]);
    assert_eq!(world.good_plan().deferred.len(), 0);
    world.inventory.snapshots[1].state = State::Pending;
    let plan = world.good_plan();
    assert_eq!((plan.deferred.len(), actions(&plan).len()), (1, 0));
}

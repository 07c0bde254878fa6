//! What is done when.

use serde_json::json;

use super::waves;
use crate::action::{Action, Planned};
use crate::ids::SnapshotId;
use crate::testing::{
    HOME, MEMBER, Rotation, actions, ins, instance, plan_of, policy, schedule, scope, server, snap,
    vol, volume,
};

/// The waves of what a plan does, a line for each action.
fn lines(actions: impl Iterator<Item = Planned>) -> Vec<Vec<String>> {
    let line = |it: &Planned| match &it.action {
        Action::CreateSnapshot(request) => request.volume.to_string(),
        Action::CreateSnapshots(request) => request.instance.to_string(),
        other => other.operation().to_owned(),
    };
    waves(actions).iter().map(|wave| wave.iter().map(line).collect()).collect()
}

#[test]
fn no_wave_has_two_creations_of_one_volume() {
    // Policy p takes instances 1 (volumes 1 and 2) and 2 (2 and 3); policies q and r every volume by itself.
    let mut world = server(&json!({}), vec![]);
    world.inventory.instances.insert(ins(2), instance(2, &[3, 2]));
    world.inventory.volumes.insert(vol(3), volume(3));
    world.documents.push(policy("q", &[schedule("s", &json!({}))]));
    world.documents.push(policy("r", &[schedule("s", &json!({}))]));
    let plan = world.good_plan();
    assert_eq!(actions(&plan).len(), 8);
    let [one, two] = [1, 2].map(|n| ins(n).to_string());
    let [a, b, c] = [1, 2, 3].map(|n| vol(n).to_string());
    let wanted = [
        vec![one],                     // volumes 1 and 2
        vec![two, a.clone()],          // volumes 2 and 3; 1
        vec![b.clone(), c.clone(), a], // q's, and r's of 1
        vec![b, c],
    ];
    assert_eq!(lines(plan.actions.into_iter()), wanted);
}

#[test]
fn nothing_else_waits() {
    assert_eq!(lines([].into_iter()), [[""; 0]]);
    let share = |n: u32| {
        let snapshot: SnapshotId = snap(n);
        let action = Action::ShareSnapshot { snapshot, accounts: [].into(), all: [].into() };
        plan_of(scope(MEMBER, HOME), action).actions.remove(0)
    };
    let one = Rotation::new(&[schedule("s", &json!({}))], vec![]).good_plan().actions.remove(0);
    let all = vec![one.clone(), share(1), one, share(1)];
    let share = || "ModifySnapshotAttribute".to_owned();
    let wanted = [vec![vol(1).to_string(), share(), share()], vec![vol(1).to_string()]];
    assert_eq!(lines(all.into_iter()), wanted);
}

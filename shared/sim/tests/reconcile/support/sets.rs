//! Policies for instances, and what is to be true of their sets.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_core::ids::InstanceId;
use snapferry_core::inventory::State;
use snapferry_sim::Sim;

use super::listing::of_instance;
use super::{every, policy};

/// A policy for instances, nightly at 02:00.
pub(crate) fn sets(retain: &Value) -> Value {
    let mut policy = policy(
        "sets",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": retain})],
    );
    policy["PolicyDetails"]["ResourceTypes"] = json!(["INSTANCE"]);
    policy
}

/// The slots of an instance, oldest first, of each of which there is exactly one snapshot of every one of so many
/// volumes, good and of one moment.
pub(crate) fn whole_sets(sim: &Sim, instance: &InstanceId, volumes: usize) -> Vec<String> {
    let is_whole = |set: &[snapferry_sim::Record]| {
        let starts: BTreeSet<_> = set.iter().map(|it| it.snapshot.start_time).collect();
        let of: BTreeSet<_> = set.iter().map(|it| &it.snapshot.volume_id).collect();
        set.len() == volumes
            && of.len() == volumes
            && starts.len() == 1
            && set.iter().all(|it| matches!(it.snapshot.state, State::Pending | State::Completed))
    };
    let sets = of_instance(sim, instance).into_iter();
    sets.filter(|(_, set)| is_whole(set)).map(|(slot, _)| slot).collect()
}

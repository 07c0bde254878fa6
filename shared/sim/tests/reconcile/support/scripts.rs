//! Policies with `Scripts`, and applications that stand still.

use serde_json::{Value, json};
use snapferry_core::commands::Step;
use snapferry_core::ids::InstanceId;
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Agent, Sim};

use super::listing::of_instance;
use super::servers::{Server, server};
use super::sets::{sets, whole_sets};
use super::{lines, member, minutes, rotate};

pub(crate) const BACKUP: [(&str, &str); 1] = [("Backup", "daily")];

/// The first slot of [`super::sim`].
pub(crate) const FIRST: &str = "2026-11-22T02:00:00Z";

/// What an operator has to read when an application may stand still.
pub(crate) const LOUD: &str = "THE APPLICATION MAY STAND STILL";

/// A policy for instances, nightly, whose document runs before and after; `more` beside its name.
pub(crate) fn scripted(more: &Value) -> Value {
    with_script(&json!({"ExecutionHandler": "db-scripts"}), more)
}

/// Likewise, of VSS backups.
pub(crate) fn vss(more: &Value) -> Value {
    with_script(&json!({"ExecutionHandler": "AWS_VSS_BACKUP"}), more)
}

fn with_script(script: &Value, more: &Value) -> Value {
    let mut script = script.clone();
    let members = more.as_object().cloned().unwrap_or_default();
    script.as_object_mut().unwrap().extend(members);
    let mut policy = sets(&json!({"Count": 3}));
    policy["PolicyDetails"]["Schedules"][0]["CreateRule"]["Scripts"] = json!([script]);
    policy
}

pub(crate) fn disabled(policy: &Value) -> Value {
    let mut policy = policy.clone();
    policy["State"] = json!("DISABLED");
    policy
}

/// An instance of three volumes with an agent.
pub(crate) fn database(sim: &Sim, change: impl FnOnce(&mut Agent)) -> Server {
    let server = server(sim, &member(), &BACKUP, 2);
    sim.agent(&server.id, change);
    server
}

/// The same on Windows.
pub(crate) fn windows(sim: &Sim, change: impl FnOnce(&mut Agent)) -> Server {
    database(sim, |it| {
        it.platform = "Windows".into();
        change(it);
    })
}

pub(crate) fn agent(sim: &Sim, id: &InstanceId) -> Agent {
    sim.agent_of(id).unwrap()
}

pub(crate) fn stands_still(sim: &Sim, id: &InstanceId) -> bool {
    agent(sim, id).still_since.is_some()
}

/// What the instance was asked to do, oldest first: `pre-script 1`.
pub(crate) fn asked(sim: &Sim, id: &InstanceId) -> Vec<String> {
    let sent = sim.commands().into_iter().filter(|it| it.request.instance == *id);
    sent.map(|it| format!("{} {}", it.request.errand.step, it.request.errand.attempt)).collect()
}

/// How often it was asked for that.
pub(crate) fn times(sim: &Sim, id: &InstanceId, step: Step) -> usize {
    let sent = sim.commands().into_iter();
    sent.filter(|it| it.request.instance == *id && it.request.errand.step == step).count()
}

/// The value that all snapshots of the first slot have under this key; `-`: they have none, or there are no snapshots.
pub(crate) fn tag(sim: &Sim, server: &Server, key: &str) -> String {
    let set = of_instance(sim, &server.id).remove(FIRST).unwrap_or_default();
    let mut found: Vec<_> = set.iter().map(|it| it.snapshot.tags.get(key).cloned()).collect();
    found.dedup();
    assert!(found.len() <= 1, "{key}: {found:?}");
    found.pop().flatten().unwrap_or_else(|| "-".into())
}

/// `Success Success true`: pre-script, post-script and what follows from them.
pub(crate) fn told(sim: &Sim, server: &Server) -> String {
    [tags::PRE_SCRIPT, tags::POST_SCRIPT, tags::APP_CONSISTENT]
        .map(|key| tag(sim, server, key))
        .join(" ")
}

/// The first slot has one whole set, and nothing besides.
pub(crate) fn assert_whole(sim: &Sim, server: &Server, context: &str) {
    let slots = whole_sets(sim, &server.id, server.volumes().len());
    assert_eq!(slots, [FIRST], "{context}");
    assert_eq!(sim.records().len(), server.volumes().len(), "{context}");
}

/// Runs every ten minutes, for as long as the first slot may be served, and then some.
pub(crate) fn an_hour(sim: &Sim, documents: &[Value]) -> Vec<Run> {
    let run = |_| {
        let run = rotate(sim, documents);
        assert_eq!(run.violations, []);
        sim.advance(minutes(10));
        run
    };
    (0..7).map(run).collect()
}

/// A metric of the function as a whole; `None`: it is not told.
pub(crate) fn metric(run: &Run, name: &str) -> Option<i64> {
    run.metrics("rotate-snapshots", &[], 0)[0][name].as_i64()
}

/// `ScriptsFailed`, `PostScriptsMissing`, `SnapshotsNotAppConsistent`.
pub(crate) fn metrics(run: &Run) -> [Option<i64>; 3] {
    ["ScriptsFailed", "PostScriptsMissing", "SnapshotsNotAppConsistent"].map(|it| metric(run, it))
}

/// The commands of a report, such as `pre-script Done`.
pub(crate) fn commands(run: &Run) -> Vec<String> {
    let lines = run.report.actions.iter().filter(|it| it.action == "SendCommand");
    lines.map(|it| format!("{} {:?}", it.step.unwrap_or("none"), it.outcome)).collect()
}

/// Everything that the report holds, as it says.
pub(crate) fn all_held(run: &Run) -> Vec<&str> {
    run.report.held.iter().map(|it| it.reason.as_str()).collect()
}

/// How many snapshots the run made of instances.
pub(crate) fn made(run: &Run) -> usize {
    let done = lines(run, "CreateSnapshots", OutcomeName::Done);
    done.iter().map(|it| it.snapshot_ids.len()).sum()
}

//! Commands, against plans that no planner should make: they run as the administrator of somebody's instance.

use jiff::SignedDuration;
use serde_json::json;

use super::rules;
use crate::action::{Action, Plan};
use crate::commands::{Command, CommandId, Errand, Managed, Progress, SendCommand, Status, Step};
use crate::ec2::{CreateSnapshots, ScriptRun};
use crate::policy::{DocumentScript, Stages};
use crate::tags;
use crate::testing::{
    HOME, MEMBER, Rotation, SLOT, deleted, id, ins, instance, now, plan_of, scope, server, set,
    snap,
};

/// Policy `p` for instance 1 with a script; last night's set and the one before, which is to go.
fn world(handler: &str) -> Rotation {
    let mut world = server(&json!({"RetainRule": {"Count": 1}}), {
        [set(1, 1, &[1, 2]), set(2, 2, &[1, 2])].concat()
    });
    let create = &mut world.documents[0]["PolicyDetails"]["Schedules"][0]["CreateRule"];
    create["Scripts"] = json!([{"ExecutionHandler": handler}]);
    let managed = Managed {
        ping_status: "Online".into(),
        platform: "Windows".into(),
        agent_version: "3.3".into(),
    };
    world.inventory.managed = Ok([(ins(1), managed)].into());
    world
}

/// A pre-script of an hour ago, whose run has died.
fn begun(world: &mut Rotation) {
    let errand = Errand {
        policy: "p".into(),
        slot: SLOT.parse().unwrap(),
        attempt: 1,
        step: Step::PreScript,
    };
    world.inventory.commands = Ok(vec![Command {
        id: CommandId("c-1".into()),
        instance: ins(1),
        document: "db-scripts".into(),
        errand,
        requested: now() - SignedDuration::from_hours(1),
        finished: None,
        progress: Progress {
            status: Status::Success,
            details: "Success".into(),
            response_code: Some(0),
            output: String::new(),
        },
    }]);
}

/// The only action of its kind in the plan.
fn the<T>(plan: &Plan, of: impl Fn(&Action) -> Option<T>) -> T {
    let mut found = plan.actions.iter().filter_map(|it| of(&it.action));
    let one = found.next().unwrap();
    assert!(found.next().is_none());
    one
}

/// What is said of the action, which is withheld by itself, with the deletions of the scope; empty: it is done.
fn judged(world: &Rotation, action: Action) -> String {
    let mut plan = world.plan();
    plan.actions.retain(|it| it.action.is_destructive());
    let n = plan.actions.len();
    let operation = action.operation();
    plan.actions.extend(plan_of(scope(MEMBER, HOME), action).actions);
    let audited = world.audit(plan);
    let said = rules(&audited).join("; ");
    let left: Vec<_> = audited.0.actions().iter().map(|it| it.action.operation()).collect();
    let wanted = if said.is_empty() { n + 1 } else { 0 };
    assert_eq!(left.len(), wanted, "{said}: {left:?}");
    assert_eq!(left.contains(&operation), said.is_empty(), "{said}: {left:?}");
    said
}

fn sends(action: &Action) -> Option<SendCommand> {
    match action {
        Action::SendCommand(it) => Some(it.clone()),
        _ => None,
    }
}

type Change<T> = fn(&mut T, &mut Rotation);

#[test]
fn a_vss_backup_is_the_policys_own_or_is_not_sent() {
    let other = format!("{} is no target of policy p", ins(2));
    let table: Vec<(Change<SendCommand>, &str)> = vec![
        (|_, _| {}, ""),
        (
            |it, _| it.document = "AWS-RunPowerShellScript".into(),
            "the policy does not have AWS-RunPowerShellScript run",
        ),
        (
            |it, _| it.document = "AWSEC2-CreateVssSnapshot".into(),
            "the policy does not have AWSEC2-CreateVssSnapshot run",
        ),
        (|it, _| it.instance = ins(9), "its instance was not seen"),
        (
            |it, world| {
                it.instance = ins(2);
                world.inventory.instances.insert(ins(2), instance(2, &[1]));
            },
            &other,
        ),
        (
            |_, world| world.inventory.instances.get_mut(&ins(1)).unwrap().tags.clear(),
            "i-00000001 is no target of policy p",
        ),
        (
            |it, _| drop(it.parameters.insert("ExcludeBootVolume".into(), "True".into())),
            "the policy does not exclude the boot volume",
        ),
        (
            |it, _| drop(it.parameters.insert("ExcludeBootVolume".into(), "yes".into())),
            "the policy does not exclude the boot volume",
        ),
        (
            |it, world| {
                it.parameters.insert("ExcludeBootVolume".into(), "True".into());
                world.documents[0]["PolicyDetails"]["Parameters"] =
                    json!({"ExcludeBootVolume": true});
            },
            "",
        ),
        (
            |it, _| it.errand.slot = "2026-11-21T02:00:00Z".parse().unwrap(),
            "its snapshots would be another policy's, or slot's",
        ),
        (|it, _| it.errand.policy = "q".into(), "its policy does not target this scope"),
        (|it, _| drop(it.parameters.remove("tags")), "the new snapshot would not carry our tags"),
        (
            |it, _| drop(it.parameters.insert("CreateAmi".into(), "True".into())),
            "a VSS backup has no parameter CreateAmi here",
        ),
        (
            |it, _| drop(it.parameters.insert("description".into(), "a\"; rm".into())),
            "'\"' has no place in the parameter description of a command",
        ),
        (
            |it, _| drop(it.parameters.insert("description".into(), "$(whoami)".into())),
            "'$' has no place in the parameter description of a command",
        ),
        (
            |it, _| it.parameters.get_mut("tags").unwrap().push('\''),
            "'\\'' has no place in the parameter tags of a command",
        ),
        (
            |it, _| it.parameters.get_mut("tags").unwrap().push('`'),
            "'`' has no place in the parameter tags of a command",
        ),
        (
            |it, _| it.parameters.get_mut("tags").unwrap().push('\n'),
            "'\\n' has no place in the parameter tags of a command",
        ),
        (
            |_, world| world.inventory.snapshots.extend(set(3, 0, &[1, 2])),
            "slot 2026-11-22T02:00:00Z of schedule s is served already",
        ),
        (|it, _| it.errand.step = Step::PreScript, "a pre-script is sent only around a creation"),
        (
            |it, _| it.errand.step = Step::PostScript,
            "the policy has no post-script in AWSEC2-VssInstallAndSnapshot",
        ),
    ];
    assert_eq!(deleted(&world("AWS_VSS_BACKUP").plan()), [snap(21), snap(22)].into());
    for (change, rule) in table {
        let mut world = world("AWS_VSS_BACKUP");
        let mut command = the(&world.good_plan(), sends);
        change(&mut command, &mut world);
        assert_eq!(judged(&world, Action::SendCommand(command)), rule);
    }
}

#[test]
fn a_post_script_ends_what_was_begun_and_nothing_else() {
    let table: Vec<(Change<SendCommand>, &str)> = vec![
        (|_, _| {}, ""),
        (|_, world| world.inventory.instances.get_mut(&ins(1)).unwrap().tags.clear(), ""),
        (
            |it, _| it.document = "AWS-RunShellScript".into(),
            "the policy has no post-script in AWS-RunShellScript",
        ),
        (
            |_, world| {
                let schedule = &mut world.documents[0]["PolicyDetails"]["Schedules"][0];
                schedule["CreateRule"]["Scripts"][0]["Stages"] = json!(["PRE"]);
            },
            "the policy has no post-script in db-scripts",
        ),
        (
            |it, _| drop(it.parameters.insert("command".into(), "pre-script".into())),
            "its parameters are not those of a post-script",
        ),
        (
            |it, _| drop(it.parameters.insert("command".into(), "rm -rf /".into())),
            "its parameters are not those of a post-script",
        ),
        (
            |it, _| drop(it.parameters.insert("commands".into(), "reboot".into())),
            "its parameters are not those of a post-script",
        ),
        (
            |it, _| drop(it.parameters.insert("command".into(), "$(reboot)".into())),
            "'$' has no place in the parameter command of a command",
        ),
        (
            |it, _| *it = SendCommand::script(&ins(2), &it.document, it.errand.clone()),
            "no pre-script of it was sent",
        ),
        (
            |it, _| {
                let errand = Errand { attempt: 2, ..it.errand.clone() };
                *it = SendCommand::script(&ins(1), "db-scripts", errand);
            },
            "no pre-script of it was sent",
        ),
        (
            |it, _| {
                let slot = "2026-11-21T02:00:00Z".parse().unwrap();
                let errand = Errand { slot, ..it.errand.clone() };
                *it = SendCommand::script(&ins(1), "db-scripts", errand);
            },
            "no pre-script of it was sent",
        ),
        (|_, world| world.inventory.commands = Ok(vec![]), "no pre-script of it was sent"),
        (|it, _| it.errand.policy = "q".into(), "its policy does not target this scope"),
    ];
    for (change, rule) in table {
        let mut world = world("db-scripts");
        begun(&mut world);
        let mut command = the(&world.good_plan(), sends);
        assert_eq!(command.errand.step, Step::PostScript);
        change(&mut command, &mut world);
        assert_eq!(judged(&world, Action::SendCommand(command)), rule);
    }
}

fn creates(action: &Action) -> Option<CreateSnapshots> {
    match action {
        Action::CreateSnapshots(it) => Some(it.clone()),
        _ => None,
    }
}

fn run(request: &mut CreateSnapshots) -> &mut ScriptRun {
    request.script.as_mut().unwrap()
}

#[test]
fn the_scripts_around_a_set_are_those_of_its_schedules() {
    const OTHER: &str = "its scripts are not those of its schedules";
    let table: Vec<(Change<CreateSnapshots>, &str)> = vec![
        (|_, _| {}, ""),
        (
            |it, _| {
                run(it).document = DocumentScript {
                    name: "AWS-RunShellScript".into(),
                    stages: Stages::Both,
                    timeout_seconds: 10,
                }
            },
            OTHER,
        ),
        (|it, _| run(it).retries = 3, OTHER),
        (|it, _| drop(it.tags.insert(tags::SCHEDULE.into(), "t".into())), OTHER),
        (
            |_, world| {
                let schedule = &mut world.documents[0]["PolicyDetails"]["Schedules"][0];
                schedule["CreateRule"].as_object_mut().unwrap().remove("Scripts");
            },
            OTHER,
        ),
        (|it, _| run(it).policy = "q".into(), "its scripts are another policy's, or slot's"),
        (
            |it, _| run(it).slot = "2026-11-21T02:00:00Z".parse().unwrap(),
            "its scripts are another policy's, or slot's",
        ),
        (
            |_, world| world.inventory.instances.get_mut(&ins(1)).unwrap().running = false,
            "scripts cannot run on an instance that does not run",
        ),
        (|it, _| it.instance = ins(9), "its instance was not seen"),
        (|it, _| it.exclude_boot_volume = true, "the policy does not exclude the boot volume"),
    ];
    for (change, rule) in table {
        let mut world = world("db-scripts");
        let mut request = the(&world.good_plan(), creates);
        assert!(request.script.is_some());
        change(&mut request, &mut world);
        assert_eq!(judged(&world, Action::CreateSnapshots(request)), rule);
    }
}

#[test]
fn only_what_became_of_scripts_is_written_and_only_once_on_our_own() {
    type Tell = fn(&mut Vec<crate::ids::SnapshotId>, &mut tags::Tags, &mut Rotation);
    let table: Vec<(Tell, &str)> = vec![
        (|_, _, _| {}, ""),
        (
            |_, it, _| drop(it.insert(tags::SLOT.into(), "2027-01-01T00:00:00Z".into())),
            "snapferry:slot is not for what became of scripts",
        ),
        (
            |_, it, _| drop(it.insert("Name".into(), "x".into())),
            "Name is not for what became of scripts",
        ),
        (|it, _, _| it.push(snap(99)), "it was not seen in this run"),
        (|it, _, _| it.push(snap(12)), "snap-0000000c is no snapshot of ours with scripts"),
        (
            |_, _, world| world.inventory.snapshots[0].owner = id("444444444444"),
            "snap-0000000b is no snapshot of ours with scripts",
        ),
        (
            |_, _, world| drop(world.inventory.snapshots[0].tags.remove(tags::POLICY)),
            "snap-0000000b is no snapshot of ours with scripts",
        ),
        (
            |_, _, world| {
                let told = &mut world.inventory.snapshots[0].tags;
                told.insert(tags::APP_CONSISTENT.into(), "false".into());
            },
            "it is written on snap-0000000b already",
        ),
    ];
    for (change, rule) in table {
        let mut world = world("db-scripts");
        world.inventory.snapshots[0].tags.insert(tags::SCRIPT.into(), "db-scripts".into());
        let mut snapshots = vec![snap(11)];
        let mut told = crate::testing::map(&[(tags::APP_CONSISTENT, "true")]);
        change(&mut snapshots, &mut told, &mut world);
        let action = Action::RecordScripts { snapshots, tags: told };
        let audited = world.audit(plan_of(scope(MEMBER, HOME), action));
        assert_eq!(rules(&audited).join("; "), rule);
        assert_eq!(audited.0.actions().is_empty(), !rule.is_empty(), "{rule}");
    }
}

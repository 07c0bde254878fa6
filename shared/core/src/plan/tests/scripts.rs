//! What follows from the commands that Systems Manager remembers: what is missing, what is waited for, what is known.

use jiff::SignedDuration;
use serde_json::json;

use crate::action::Plan;
use crate::commands::{Command, CommandId, Errand, Managed, Progress, Status, Step};
use crate::inventory::{State, Unread};
use crate::tags;
use crate::testing::{Rotation, SLOT, actions, held, ins, now, server, set};

/// Policy `p` for instance 1, which has an agent, with this script.
fn world(script: &serde_json::Value) -> Rotation {
    let mut world = server(&json!({}), vec![]);
    let create = &mut world.documents[0]["PolicyDetails"]["Schedules"][0]["CreateRule"];
    create["Scripts"] = json!([script]);
    let platform = if script["ExecutionHandler"] == "AWS_VSS_BACKUP" { "Windows" } else { "Linux" };
    let managed = Managed {
        ping_status: "Online".into(),
        platform: platform.into(),
        agent_version: "3.3".into(),
    };
    world.inventory.managed = Ok([(ins(1), managed)].into());
    world
}

fn document() -> Rotation {
    world(&json!({"ExecutionHandler": "db-scripts", "MaximumRetryCount": 1}))
}

fn vss() -> Rotation {
    world(&json!({"ExecutionHandler": "AWS_VSS_BACKUP"}))
}

/// A command of the slot, sent so many seconds ago, which took three.
fn command(step: Step, seconds_ago: i64, status: Status, code: i32) -> Command {
    let requested = now() - SignedDuration::from_secs(seconds_ago);
    let document = match step {
        Step::VssBackup => "AWSEC2-VssInstallAndSnapshot",
        _ => "db-scripts",
    };
    let is_told = matches!(status, Status::Success | Status::Failed);
    Command {
        id: CommandId(format!("c-{seconds_ago}")),
        instance: ins(1),
        document: document.into(),
        errand: Errand { policy: "p".into(), slot: SLOT.parse().unwrap(), attempt: 1, step },
        requested,
        finished: is_told.then(|| requested + SignedDuration::from_secs(3)),
        progress: Progress {
            status,
            details: format!("{status:?}"),
            response_code: is_told.then_some(code),
            output: String::new(),
        },
    }
}

use Status::{Failed, NeverRan, Running, Success, Unclear};
use Step::{PostScript, PreScript, VssBackup};

/// What is done, by the steps: `post-script`, `set`, or nothing.
fn does(plan: &Plan) -> String {
    let lines = actions(plan).into_iter();
    let word = |line: String| {
        let known = ["post-script", "VSS backup", "CreateSnapshots", "CreateTags"];
        (*known.iter().find(|it| line.contains(**it)).unwrap()).to_owned()
    };
    let mut words: Vec<_> = lines.map(word).collect();
    words.sort();
    words.join(" ")
}

/// The application stands still from a pre-script until a post-script that came after the pre-script's end.
#[test]
fn a_post_script_is_missing_until_one_has_surely_let_the_application_go_on() {
    const LONG_AGO: i64 = 250; // with a time-out of 10 seconds, a run is over after 190
    for (pre, posts, missing) in [
        ((Success, LONG_AGO), &[][..], true),
        ((Failed, LONG_AGO), &[], true),
        ((Unclear, LONG_AGO), &[], true),
        ((Running, LONG_AGO), &[], true),
        ((NeverRan, LONG_AGO), &[], false),
        ((Success, 190), &[], true),
        ((Success, 189), &[], false),
        ((Success, LONG_AGO), &[(Success, 0, 240)], false),
        ((Success, LONG_AGO), &[(Running, 0, 189)], false),
        ((Success, LONG_AGO), &[(Running, 0, 190)], true),
        ((Success, LONG_AGO), &[(Failed, 202, 240)], true),
        ((Success, LONG_AGO), &[(Failed, 1, 240)], true),
        ((Success, LONG_AGO), &[(Unclear, 0, 240)], true),
        ((Success, LONG_AGO), &[(NeverRan, 0, 240)], true),
        // It had gone on already.
        ((Success, LONG_AGO), &[(Failed, 203, 240)], false),
        ((Success, LONG_AGO), &[(Failed, 205, 240)], false),
        // The last one says it.
        ((Success, LONG_AGO), &[(Failed, 202, 240), (Success, 0, 200)], false),
        ((Success, LONG_AGO), &[(Success, 0, 240), (Failed, 202, 200)], true),
        // One of an earlier run with the same errand.
        ((Success, LONG_AGO), &[(Success, 0, 300)], true),
        // Nobody knows how the pre-script ended: what came right behind it may have come too early.
        ((Unclear, LONG_AGO), &[(Failed, 205, 200)], true),
        ((Running, LONG_AGO), &[(Success, 0, 200)], true),
        ((Unclear, LONG_AGO), &[(Failed, 205, 60)], false),
        ((Running, LONG_AGO), &[(Success, 0, 60)], false),
        ((Unclear, 189), &[(Failed, 205, 140)], false),
    ] {
        let mut world = document();
        world.documents[0]["State"] = json!("DISABLED");
        let mut known = vec![command(PreScript, pre.1, pre.0, 0)];
        known.extend(posts.iter().map(|(it, code, ago)| command(PostScript, *ago, *it, *code)));
        world.inventory.commands = Ok(known);
        let wanted = if missing { "post-script" } else { "" };
        assert_eq!(does(&world.good_plan()), wanted, "{pre:?} {posts:?}");
    }
}

/// Its end was told, but later than any run waits for it, or after the post-script.
#[test]
fn a_pre_script_that_ended_after_its_post_script_is_followed_by_another() {
    for (lasted, post_after, missing) in
        [(3, 10, false), (30, 31, false), (30, 26, false), (30, 20, true), (60, 46, true)]
    {
        let mut world = document();
        world.documents[0]["State"] = json!("DISABLED");
        let mut pre = command(PreScript, 400, Success, 0);
        pre.finished = Some(pre.requested + SignedDuration::from_secs(lasted));
        let post = command(PostScript, 400 - post_after, Failed, 205);
        world.inventory.commands = Ok(vec![pre, post]);
        let wanted = if missing { "post-script" } else { "" };
        assert_eq!(does(&world.good_plan()), wanted, "{lasted} {post_after}");
    }
}

#[test]
fn commands_of_others_are_nobodys_business() {
    for change in [(|it| it.errand.policy = "q".into()) as fn(&mut Command), |it| {
        it.document = "other-scripts".into();
    }] {
        let mut world = document();
        let mut pre = command(PreScript, 250, Success, 0);
        change(&mut pre);
        world.inventory.commands = Ok(vec![pre]);
        assert_eq!(does(&world.good_plan()), "CreateSnapshots");
    }
}

#[test]
fn a_creation_waits_for_the_run_that_may_be_at_it() {
    let mut world = document();
    for (ago, status, wanted) in [
        (100, Success, ""),
        (100, Running, ""),
        (189, Failed, ""),
        (190, Failed, "CreateSnapshots post-script"),
        (250, NeverRan, "CreateSnapshots"),
    ] {
        world.inventory.commands = Ok(vec![command(PreScript, ago, status, 201)]);
        let plan = world.good_plan();
        assert_eq!(does(&plan), wanted, "{ago} {status:?}");
        let waits = held(&plan).iter().any(|it| it.contains("another run began its pre-script at"));
        assert_eq!(waits, wanted.is_empty(), "{ago} {status:?}");
    }
}

#[test]
fn a_vss_backup_is_waited_for_and_its_snapshots_are_seen() {
    for (status, ago, n, wanted, told) in [
        (Running, 250, 0, "", "is Running"),
        (Success, 250, 0, "", "has ended, and its snapshots are not seen yet"),
        (Success, 250, 2, "", ""),
        (Success, 250, 1, "", ""),
        (Failed, 250, 0, "CreateSnapshots", ""),
        (NeverRan, 250, 0, "CreateSnapshots", ""),
        (Unclear, 250, 0, "CreateSnapshots", ""),
        (Failed, 250, 2, "", ""),
    ] {
        let mut world = vss();
        world.inventory.commands = Ok(vec![command(VssBackup, ago, status, 1)]);
        let mut made = set(1, 0, &[1, 2]);
        made.truncate(n);
        world.inventory.snapshots = made;
        let plan = world.good_plan();
        let context = format!("{status:?}, {n} snapshots");
        assert_eq!(does(&plan), wanted, "{context}");
        let said = held(&plan).join("; ");
        assert!(if told.is_empty() { said.is_empty() } else { said.contains(told) }, "{said}");
        assert_eq!(plan.impossible.len(), usize::from(!wanted.is_empty()), "{context}");
    }
}

#[test]
fn what_the_components_say_is_written_once_it_is_certain() {
    let hour = SignedDuration::from_hours(1);
    let minute = SignedDuration::from_mins(1);
    for (said, age, wanted) in [
        (Some("true"), minute, Some("true")),
        (Some("True"), minute, Some("true")),
        (Some("false"), minute, None),
        (None, minute, None),
        (Some("false"), hour, Some("false")),
        (Some("maybe"), hour, Some("false")),
        (None, hour, Some("false")),
    ] {
        for state in [State::Completed, State::Pending, State::Error] {
            let mut world = vss();
            for mut it in set(1, 0, &[1, 2]) {
                it.tags.insert(tags::SCRIPT.into(), "AWSEC2-VssInstallAndSnapshot".into());
                it.tags.extend(said.map(|said| (tags::VSS_CONSISTENT.into(), said.into())));
                it.start_time = now() - age;
                it.state = state;
                world.inventory.snapshots.push(it);
            }
            let plan = world.good_plan();
            let records = actions(&plan).into_iter().filter(|it| it.starts_with("CreateTags"));
            let records: Vec<_> = records.collect();
            let wanted = wanted.filter(|_| state != State::Error);
            assert_eq!(records.len(), usize::from(wanted.is_some()), "{said:?} {age} {state}");
            if let Some(wanted) = wanted {
                assert!(records[0].contains(&format!("\"{wanted}\"")), "{}", records[0]);
            }
        }
    }
}

/// Whoever cannot look for post-scripts that are missing is told, though the slot is served.
#[test]
fn unread_commands_are_told_where_an_application_may_stand_still() {
    let unread = Unread {
        kind: crate::ec2::ErrorKind::AccessDenied,
        code: "AccessDeniedException".into(),
        message: "no".into(),
    };
    for (mut world, told) in [(document(), 1), (vss(), 0)] {
        world.inventory.snapshots = set(1, 0, &[1, 2]);
        world.inventory.commands = Err(unread.clone());
        let plan = world.good_plan();
        assert_eq!(plan.impossible.len(), told);
        assert!(plan.impossible.iter().all(|it| it.message.contains("MAY STAND STILL")));
        world.documents[0]["State"] = json!("DISABLED");
        let plan = world.good_plan();
        assert_eq!(plan.impossible.len(), 0);
    }
}

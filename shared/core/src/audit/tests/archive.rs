//! The archive tier, against plans that no planner should make.

use serde_json::{Value, json};

use super::rules;
use crate::action::Action;
use crate::inventory::{Guards, State, Tiering, TieringStatus};
use crate::tags;
use crate::testing::{HOME, MEMBER, Rotation, hours_ago, own, plan_of, schedule, scope, snap};

fn archiving(standard: &Value, archive: &Value) -> Value {
    json!({
        "CreateRule": {"CronExpression": "cron(0 2 22 * ? *)"},
        "RetainRule": standard,
        "ArchiveRule": {"RetainRule": {"RetentionArchiveTier": archive}}
    })
}

fn days(n: u32) -> Value {
    json!({"Interval": n, "IntervalUnit": "DAYS"})
}

/// Snapshots of 30, 60, 90 and 120 days ago, of which the last two are archived since 60 and 90 days.
fn world(standard: &Value, archive: &Value) -> Rotation {
    let snapshots = (1..=4).map(|n| own(n, "s", 30 * i64::from(n))).collect();
    let mut world = Rotation::new(&[schedule("s", &archiving(standard, archive))], snapshots);
    for n in [3_u32, 4] {
        world.inventory.snapshots[n as usize - 1].archived = true;
        let archived_at = Some(hours_ago(24 * 30 * (i64::from(n) - 1)));
        let tiering = Tiering { status: TieringStatus::Archived, archived_at };
        world.inventory.tiering.as_mut().unwrap().insert(snap(n), tiering);
    }
    world
}

fn told(world: &Rotation, action: Action) -> String {
    let audited = world.audit(plan_of(scope(MEMBER, HOME), action));
    assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
    rules(&audited).join("; ")
}

#[test]
fn only_what_an_archive_rule_says_is_archived() {
    let refused = |n: u32, standard: &Value, change: fn(&mut Rotation)| {
        let mut world = world(standard, &json!({"Count": 9}));
        change(&mut world);
        told(&world, Action::ArchiveSnapshot(snap(n)))
    };
    let none: fn(&mut Rotation) = |_| {};
    let (zero, one) = (json!({"Count": 0}), json!({"Count": 1}));
    let kept = "schedule s still keeps it";
    assert_eq!(refused(1, &zero, none), "");
    assert_eq!(refused(1, &one, none), kept);
    assert_eq!(refused(2, &one, none), "");
    assert_eq!(refused(1, &days(30), none), "", "MinimumCount is no matter of the archive");
    assert_eq!(refused(1, &days(31), none), kept);
    assert_eq!(refused(2, &json!({"Keep": {"Monthly": 1}}), none), "");
    assert_eq!(refused(1, &json!({"Keep": {"Monthly": 1}}), none), kept);
    let not_standard = "it is not completed in the standard tier";
    assert_eq!(refused(3, &zero, none), not_standard);
    for (change, rule) in [
        ((|it| it.inventory.snapshots[1].state = State::Error) as fn(&mut Rotation), not_standard),
        (|it| it.inventory.snapshots[1].state = State::Pending, "it is pending"),
        (
            |it| drop(it.inventory.snapshots[1].tags.insert("dlm:managed".into(), String::new())),
            "its tag dlm:managed says that another service manages it",
        ),
        (|it| it.inventory.guards = Err("x".into()), "its guards are unknown: x"),
        (
            |it| {
                let images = [(snap(2), "ami-1".to_owned())].into();
                it.inventory.guards = Ok(Guards { images, ..Guards::default() });
            },
            "ami-1 uses it",
        ),
        (
            |it| {
                let locked = [snap(2)].into();
                it.inventory.guards = Ok(Guards { locked, ..Guards::default() });
            },
            "",
        ),
        (
            |it| {
                it.inventory.snapshots[1].tags.insert(tags::SCHEDULE.into(), "gone".into());
            },
            "an ArchiveRule wants one schedule",
        ),
        (
            |it| {
                let schedules = &mut it.documents[0]["PolicyDetails"]["Schedules"];
                schedules[0] = schedule("s", &json!({"RetainRule": {"Count": 1}}));
            },
            "no ArchiveRule of its policy says so",
        ),
    ] {
        assert_eq!(refused(2, &one, change), rule);
    }
}

#[test]
fn what_is_archived_leaves_only_as_the_archive_says() {
    let refused = |n: u32, standard: &Value, archive: &Value, change: fn(&mut Rotation)| {
        let mut world = world(standard, archive);
        change(&mut world);
        told(&world, Action::DeleteSnapshot(snap(n)))
    };
    let none: fn(&mut Rotation) = |_| {};
    let kept = "schedule s still keeps it";
    let one = json!({"Count": 1});
    assert_eq!(refused(4, &one, &json!({"Count": 1}), none), "");
    assert_eq!(refused(4, &one, &json!({"Count": 2}), none), kept);
    assert_eq!(refused(3, &one, &json!({"Count": 1}), none), kept);
    assert_eq!(refused(4, &one, &days(90), none), "");
    assert_eq!(refused(4, &one, &days(91), none), kept);
    assert_eq!(refused(3, &one, &days(90), none), kept);
    let unread = |it: &mut Rotation| it.inventory.tiering = Ok([].into());
    assert_eq!(refused(4, &one, &days(90), unread), kept, "nothing says since when");
    let many = json!({"Count": 1, "MinimumCount": 4});
    assert_eq!(refused(4, &many, &days(90), none), kept);
    let locked = |it: &mut Rotation| {
        it.inventory.guards = Ok(Guards { locked: [snap(4)].into(), ..Guards::default() });
    };
    assert_eq!(refused(4, &one, &days(90), locked), "it is locked");
}

#[test]
fn what_never_got_there_leaves_as_if_it_had() {
    // None is archived: of the four one is kept in the standard tier.
    let refused = |n: u32, standard: &Value, archive: &Value| {
        let mut world = world(standard, archive);
        world.inventory.snapshots.iter_mut().for_each(|it| it.archived = false);
        told(&world, Action::DeleteSnapshot(snap(n)))
    };
    let kept = "schedule s still keeps it";
    let one = json!({"Count": 1});
    assert_eq!(refused(4, &one, &json!({"Count": 2})), "");
    assert_eq!(refused(4, &one, &json!({"Count": 3})), kept);
    assert_eq!(refused(3, &one, &json!({"Count": 2})), kept);
    assert_eq!(refused(4, &days(30), &days(90)), "");
    assert_eq!(refused(4, &days(30), &days(91)), kept);
    // Three are young enough for the standard tier and take no place in the archive.
    assert_eq!(refused(4, &days(100), &json!({"Count": 1})), kept);
    assert_eq!(refused(4, &days(80), &json!({"Count": 1})), "");
}

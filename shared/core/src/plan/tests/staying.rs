//! Why snapshots stay, and what goes of what nobody manages any more.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{plain, retain, with};
use crate::action::Action;
use crate::inventory::{Snapshot, State};
use crate::tags;
use crate::testing::{
    HOME, MEMBER, Rotation, actions, copies, deleted, held, hours_ago, kept, map, now, own,
    plan_of, schedule, scope, snap, vol,
};

fn expiring(n: u32, schedules: &str, hours: i64) -> Snapshot {
    with(own(n, schedules, n.into()), |it| {
        drop(it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(hours))));
    })
}

#[test]
fn what_stays_has_every_reason() {
    let stays = |rule: &Value, change: fn(&mut Rotation)| {
        let mut world = Rotation::new(&retain(rule), vec![own(1, "s", 1), own(2, "s", 2)]);
        change(&mut world);
        let plan = world.good_plan();
        assert_eq!(deleted(&plan), [].into());
        let lines = kept(&plan);
        lines.iter().find_map(|it| it.strip_prefix(&format!("{}: ", snap(2))).map(str::to_owned))
    };
    let none: fn(&mut Rotation) = |_| {};
    let weeks = json!({"Count": 2, "Interval": 1, "IntervalUnit": "WEEKS", "Keep": {"Daily": 2}});
    let all = "s: number 2 of the newest 2; s: until 2026-11-27T02:05:00Z; \
               s: newest of 2026-11-20, Daily number 2 of 2";
    assert_eq!(stays(&weeks, none).as_deref(), Some(all));
    let minimum = json!({"Interval": 1, "IntervalUnit": "DAYS", "MinimumCount": 2});
    assert_eq!(stays(&minimum, none).as_deref(), Some("s: number 2 of MinimumCount 2"));
    let one = json!({"Count": 1});
    for (change, why) in [
        (
            (|it| it.documents[0]["State"] = json!("DISABLED")) as fn(&mut Rotation),
            "its policy is disabled",
        ),
        (|it| it.inventory.snapshots[1].state = State::Pending, "it is pending"),
        (
            |it| it.inventory.snapshots[1].state = State::Other,
            "it is neither pending, completed nor error",
        ),
        (
            |it| {
                it.whole = false;
                it.inventory.snapshots[1].tags.insert(tags::POLICY.into(), "q".into());
            },
            "its policy is not among these documents, or not for this place",
        ),
        (
            |it| {
                it.documents.push(copies("q"));
                it.inventory.snapshots[1].tags.insert(tags::POLICY.into(), "q".into());
            },
            "its policy is not among these documents, or not for this place",
        ),
        (
            |it| {
                it.inventory.snapshots[1].state = State::Error;
                it.inventory.snapshots[1].tags.insert(tags::POLICY.into(), "gone".into());
            },
            "it is error",
        ),
    ] {
        assert_eq!(stays(&one, change).as_deref(), Some(why));
    }
}

#[test]
fn either_of_two_schedules_keeps() {
    let rule = |name: &str, n: u32| schedule(name, &json!({"RetainRule": {"Count": n}}));
    let snapshots = (1..=4).map(|n| own(n, if n == 3 { "a" } else { "a,b" }, n.into())).collect();
    let plan = Rotation::new(&[rule("a", 1), rule("b", 2)], snapshots).good_plan();
    assert_eq!(deleted(&plan), [snap(3), snap(4)].into());
    let lines = [
        format!("{}: a: number 1 of the newest 1; b: number 1 of the newest 2", snap(1)),
        format!("{}: b: number 2 of the newest 2", snap(2)),
    ];
    assert_eq!(kept(&plan), lines);
    let why = format!("DeleteSnapshot {}: number 4 by age, of which the newest 1 stay", snap(4));
    assert!(actions(&plan).contains(&why), "{:?}", actions(&plan));
}

#[test]
fn of_what_is_no_target_any_more_what_carries_its_expiry_expires() {
    for (change, why) in [
        (
            (|it| it.inventory.volumes.get_mut(&vol(1)).unwrap().tags = map(&[("Backup", "no")]))
                as fn(&mut Rotation),
            "its volume is no target any more",
        ),
        (
            |it| it.inventory.volumes.clear(),
            "its volume is gone, and retention by count ends with the volume",
        ),
    ] {
        for (rule, gone) in [
            (json!({"Count": 9}), &[3, 4][..]),
            (json!({"Count": 1, "MinimumCount": 3}), &[4]),
            (json!({"Count": 1, "MinimumCount": 4}), &[]),
        ] {
            let snapshots = vec![
                own(1, "s", 1),
                expiring(2, "s", -1),
                expiring(3, "s", 0),
                expiring(4, "s", 1),
                own(5, "s", 5),
            ];
            let mut world = Rotation::new(&retain(&rule), snapshots);
            change(&mut world);
            let plan = world.good_plan();
            assert_eq!(deleted(&plan), gone.iter().map(|n| snap(*n)).collect(), "{rule}");
            let is_held = |n: u32| held(&plan).contains(&format!("{}: {why}", snap(n)));
            assert!(is_held(1) && is_held(5), "{:?}", held(&plan));
            let own_expiry = format!("{}: its own expiry is at 2026-11-22T03:05:00Z", snap(2));
            assert_eq!(kept(&plan).contains(&own_expiry), !is_held(2));
        }
    }
}

#[test]
fn by_age_a_volume_that_is_gone_keeps_its_last() {
    for (there, gone) in [(&[1, 3, 4][..], &[3, 4][..]), (&[3, 4], &[4]), (&[9], &[])] {
        let rule = json!({"Interval": 2, "IntervalUnit": "DAYS"});
        let snapshots = there.iter().map(|n| expiring(*n, "s", 1)).collect();
        let mut world = Rotation::new(&retain(&rule), snapshots);
        world.inventory.volumes.clear();
        let ids = gone.iter().map(|n| snap(*n)).collect();
        assert_eq!(deleted(&world.good_plan()), ids, "{there:?}");
    }
}

/// EC2 may just not have listed it, and then it may be no target any more.
#[test]
fn of_a_volume_that_is_gone_nothing_goes_before_its_own_expiry() {
    let rule = json!({"Interval": 2, "IntervalUnit": "DAYS"});
    let snapshots = vec![own(1, "s", 1), own(3, "s", 3), expiring(4, "s", -1), expiring(5, "s", 1)];
    let mut world = Rotation::new(&retain(&rule), snapshots);
    assert_eq!(deleted(&world.good_plan()), [snap(3), snap(4), snap(5)].into());
    world.inventory.volumes.clear();
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(5)].into());
    let why = "its volume is gone, and retention by count ends with the volume";
    assert_eq!(held(&plan), [format!("{}: {why}", snap(3))]);
    assert!(
        kept(&plan).contains(&format!("{}: its own expiry is at 2026-11-22T03:05:00Z", snap(4)))
    );
}

#[test]
fn what_a_renamed_schedule_made_is_an_orphan() {
    let snapshots =
        vec![own(1, "s", 1), expiring(2, "old", 1), expiring(3, "old", -1), own(4, "old", 4)];
    let plan = Rotation::new(&plain(), snapshots).good_plan();
    let why = format!(
        "DeleteSnapshot {}: its policy or rule is gone, and it expired at 2026-11-22T01:05:00Z",
        snap(2)
    );
    assert_eq!(actions(&plan).last(), Some(&why));
    assert_eq!(deleted(&plan), [snap(2)].into());
    let unclaimed =
        format!("{}: schedule old of policy p is gone, and nothing says when it expires", snap(4));
    assert_eq!(held(&plan), [unclaimed]);
    assert!(
        kept(&plan).contains(&format!("{}: its own expiry is at 2026-11-22T03:05:00Z", snap(3)))
    );
    // One of its schedules is still there: that one speaks.
    let plan = Rotation::new(&plain(), vec![own(1, "s", 1), expiring(2, "old,s", 1)]).good_plan();
    assert_eq!(deleted(&plan), [].into());
}

#[test]
fn the_last_of_an_orphans_volume_stays() {
    let orphan = |n: u32| {
        with(expiring(n, "s", 1), |it| drop(it.tags.insert(tags::POLICY.into(), "gone".into())))
    };
    let plan = Rotation::new(&plain(), vec![orphan(1), orphan(2)]).good_plan();
    assert_eq!(deleted(&plan), [snap(2)].into());
    let last = format!("{}: the newest completed one of its volume always stays", snap(1));
    assert_eq!(held(&plan), [last]);
}

/// A schedule that is gone may have wanted it longer; so may an `ArchiveRule`.
#[test]
fn what_a_schedule_or_archive_rule_that_is_gone_made_goes_by_its_own_expiry() {
    let past = tags::instant(hours_ago(1));
    let future = tags::instant(now() + SignedDuration::from_hours(1));
    for (schedules, archived, what) in
        [("m,s", false, "schedule m of policy p"), ("s", true, "the ArchiveRule of policy p")]
    {
        for (expires_at, wanted) in [
            (Some(&past), "delete"),
            (Some(&future), "its own expiry is at 2026-11-22T03:05:00Z"),
            (None, "is gone, and nothing says when it expires"),
        ] {
            let mut old = own(2, schedules, 9);
            old.archived = archived;
            old.tags.extend(expires_at.map(|at| (tags::EXPIRES_AT.to_owned(), at.clone())));
            let rule = json!({"RetainRule": {"Count": 1}});
            let world = Rotation::new(&[schedule("s", &rule)], vec![own(1, "s", 0), old]);
            let plan = world.good_plan();
            assert_eq!(deleted(&plan).contains(&snap(2)), wanted == "delete", "{what} {wanted}");
            let lines = [held(&plan), kept(&plan)].concat();
            let is_told = lines
                .iter()
                .any(|line| line.starts_with(snap(2).as_str()) && line.contains(wanted));
            assert_eq!(is_told, wanted != "delete", "{what} {lines:?}");
            assert!(
                expires_at.is_some() || lines.iter().any(|line| line.contains(what)),
                "{lines:?}"
            );
            // A plan that deletes it all the same is refused.
            let (_, violations) =
                world.audit(plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(2))));
            assert_eq!(violations.is_empty(), wanted == "delete", "{what} {violations:?}");
        }
    }
}

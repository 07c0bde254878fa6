//! The archive tier.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{nightly, with};
use crate::ec2::ErrorKind;
use crate::inventory::{Guards, Snapshot, State, Tiering, TieringStatus, Unread};
use crate::tags;
use crate::testing::{
    Rotation, VAULT, actions, deleted, held, hours_ago, id, kept, map, own, snap, vol,
};

/// Monthly; this stays in the standard tier, and that in the archive.
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

fn days_ago(n: i64) -> Timestamp {
    hours_ago(24 * n)
}

/// The snapshot of so many times 30 days ago.
fn month(n: u32) -> Snapshot {
    own(n, "s", 30 * i64::from(n))
}

/// These months' snapshots, of which these are in the archive since the day given.
fn months(rule: &Value, there: &[u32], archived: &[(u32, i64)]) -> Rotation {
    let snapshots = there.iter().map(|n| {
        with(month(*n), |it| it.archived = archived.iter().any(|(archived, _)| archived == n))
    });
    let mut world = Rotation::new(&nightly(rule), snapshots.collect());
    let tierings = archived.iter().map(|(n, days)| {
        let archived_at = Some(days_ago(*days));
        (snap(*n), Tiering { status: TieringStatus::Archived, archived_at })
    });
    world.inventory.tiering = Ok(tierings.collect());
    world
}

fn tiering(world: &mut Rotation, n: u32, status: TieringStatus) {
    let tiering = Tiering { status, archived_at: None };
    world.inventory.tiering.as_mut().unwrap().insert(snap(n), tiering);
}

/// What happens but for the month's creation.
fn done(world: &Rotation) -> Vec<String> {
    let lines = actions(&world.good_plan()).into_iter();
    lines.filter(|it| !it.starts_with("CreateSnapshot")).collect()
}

fn to_archive(n: u32, since: Timestamp) -> String {
    let since = tags::instant(since);
    format!("ModifySnapshotTier {}: its time in the standard tier was over at {since}", snap(n))
}

#[test]
fn what_the_standard_tier_does_not_keep_goes_to_the_archive() {
    let ten = json!({"Count": 10});
    for (standard, there, wanted) in [
        // At once: from its own start.
        (
            json!({"Count": 0}),
            &[1, 2][..],
            vec![to_archive(1, days_ago(30)), to_archive(2, days_ago(60))],
        ),
        (json!({"Interval": 0, "IntervalUnit": "DAYS"}), &[1], vec![to_archive(1, days_ago(30))]),
        // By count: since the one began that took its place.
        (
            json!({"Count": 1}),
            &[1, 2, 3],
            vec![to_archive(2, days_ago(30)), to_archive(3, days_ago(60))],
        ),
        (json!({"Count": 2}), &[1, 2, 3], vec![to_archive(3, days_ago(30))]),
        // By age, whatever MinimumCount says: it is not lost.
        (days(30), &[1, 2], vec![to_archive(1, days_ago(0)), to_archive(2, days_ago(30))]),
        (days(31), &[1, 2], vec![to_archive(2, days_ago(29))]),
        (json!({"Keep": {"Monthly": 1}}), &[1, 2], vec![to_archive(2, days_ago(60))]),
    ] {
        let mut lines = done(&months(&archiving(&standard, &ten), there, &[]));
        lines.sort();
        assert_eq!(lines, wanted, "{standard}");
    }
}

#[test]
fn a_pending_or_failed_snapshot_is_not_archived() {
    for state in [State::Pending, State::Other, State::Error] {
        let mut world = months(&archiving(&json!({"Count": 0}), &json!({"Count": 1})), &[1], &[]);
        world.inventory.snapshots[0].state = state;
        assert!(!done(&world).iter().any(|it| it.starts_with("ModifySnapshotTier")), "{state}");
    }
}

#[test]
fn what_is_on_its_way_is_left_alone_and_what_failed_is_tried_for_a_day() {
    let by_age = |hours: i64| {
        // Its time in the standard tier was over so many hours ago.
        let mut world = months(&archiving(&days(30), &days(90)), &[1, 2], &[(2, 29)]);
        world.inventory.snapshots[0].start_time -= SignedDuration::from_hours(hours);
        world
    };
    for (status, hours, wanted) in [
        (TieringStatus::Archiving, 2, format!("{}: s: on its way into the archive tier", snap(1))),
        (TieringStatus::Archived, 2, format!("{}: s: on its way into the archive tier", snap(1))),
        (TieringStatus::Failed, 0, to_archive(1, hours_ago(0))),
        (TieringStatus::Failed, 23, to_archive(1, hours_ago(23))),
    ] {
        let mut world = by_age(hours);
        tiering(&mut world, 1, status);
        let lines = [kept(&world.good_plan()), done(&world)].concat();
        assert!(lines.contains(&wanted), "{status:?} {hours} {lines:?}");
    }
    let given_up = "it could not be archived within 24 hours";
    let back = "brought back from the archive";
    for (status, hours, why) in
        [(TieringStatus::Failed, 24, given_up), (TieringStatus::Restored, 0, back)]
    {
        let why =
            format!("{why}: it stays in the standard tier until it would have left the archive");
        let mut world = by_age(hours);
        tiering(&mut world, 1, status);
        assert_eq!(done(&world), [""; 0]);
        assert_eq!(held(&world.good_plan()), [format!("{}: {why}", snap(1))], "{status:?}");
    }
}

#[test]
fn what_could_not_be_archived_leaves_when_it_would_have_left_the_archive() {
    for (archive, there, gone) in [
        // A month in the standard tier and 90 days in the archive make 120.
        (days(90), &[1, 3][..], &[][..]),
        (days(90), &[1, 4], &[4]),
        (days(90), &[4], &[]), // the last one
    ] {
        for status in [TieringStatus::Failed, TieringStatus::Restored] {
            let mut world = months(&archiving(&days(30), &archive), there, &[]);
            tiering(&mut world, *there.last().unwrap(), status);
            let ids = gone.iter().map(|n| snap(*n)).collect();
            assert_eq!(deleted(&world.good_plan()), ids, "{there:?}");
        }
    }
    // One in the standard tier and two in the archive make three.
    for (there, gone) in [(&[1, 2, 3][..], &[][..]), (&[1, 2, 3, 4], &[4])] {
        let archive = json!({"Count": 2});
        let mut world = months(&archiving(&json!({"Count": 1}), &archive), there, &[]);
        tiering(&mut world, *there.last().unwrap(), TieringStatus::Failed);
        let ids = gone.iter().map(|n| snap(*n)).collect();
        assert_eq!(deleted(&world.good_plan()), ids, "{there:?}");
    }
}

#[test]
fn the_archive_keeps_by_count() {
    let rule = archiving(&json!({"Count": 1}), &json!({"Count": 2}));
    let world = months(&rule, &[1, 2, 3, 4], &[(2, 29), (3, 59), (4, 89)]);
    let plan = world.good_plan();
    let why = format!(
        "DeleteSnapshot {}: number 4 by age, of which the newest 1 stay; number 3 by age in the archive tier, of \
         which the newest 2 stay",
        snap(4)
    );
    assert_eq!(done(&world), [why]);
    let second = format!("{}: s: number 2 of the newest 2 in the archive tier", snap(3));
    assert!(kept(&plan).contains(&second), "{:?}", kept(&plan));
}

#[test]
fn the_archive_keeps_by_age_from_when_it_got_there() {
    for (since, gone) in [(89, false), (90, true), (91, true)] {
        let world = months(&archiving(&days(30), &days(90)), &[1, 4], &[(4, since)]);
        let plan = world.good_plan();
        assert_eq!(deleted(&plan).contains(&snap(4)), gone, "{since}");
        let until = tags::instant(days_ago(since - 90));
        let why = format!("{}: s: in the archive tier until {until}", snap(4));
        assert_eq!(kept(&plan).contains(&why), !gone, "{:?}", kept(&plan));
    }
    // Nothing says since when.
    let mut world = months(&archiving(&days(30), &days(90)), &[1, 9], &[(9, 300)]);
    tiering(&mut world, 9, TieringStatus::Archived);
    let why = "cannot tell how it stands in the archive tier: since when it is there";
    assert_eq!(held(&world.good_plan()), [format!("{}: {why}", snap(9))]);
}

#[test]
fn the_newest_of_a_volume_stays_in_the_archive_too() {
    let rule = archiving(&json!({"Count": 0}), &days(90));
    let world = months(&rule, &[8, 9], &[(8, 240), (9, 270)]);
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(9)].into());
    assert!(kept(&plan).contains(&format!("{}: s: number 1 of MinimumCount 1", snap(8))));
    let mut two = archiving(&json!({"Count": 0, "MinimumCount": 2}), &days(90));
    let three = |rule: &Value| months(rule, &[7, 8, 9], &[(7, 210), (8, 240), (9, 270)]);
    assert_eq!(deleted(&three(&two).good_plan()), [snap(9)].into());
    two["RetainRule"]["MinimumCount"] = json!(3);
    assert_eq!(deleted(&three(&two).good_plan()), [].into());
}

#[test]
fn guards_of_deletions_are_guards_of_archiving_but_for_locks() {
    let rule = archiving(&json!({"Count": 0}), &json!({"Count": 9}));
    let world = |guards: Result<Guards, String>| {
        let mut world = months(&rule, &[1], &[]);
        world.inventory.guards = guards;
        world
    };
    let locked = Ok(Guards { locked: [snap(1)].into(), ..Guards::default() });
    assert_eq!(done(&world(locked)), [to_archive(1, days_ago(30))]);
    let images = Ok(Guards { images: [(snap(1), "ami-1".into())].into(), ..Guards::default() });
    for (guards, why) in [
        (images, "in use by ami-1"),
        (Err("denied".into()), "cannot tell whether an AMI or a lock needs it: denied"),
    ] {
        let world = world(guards);
        assert_eq!(
            (done(&world), held(&world.good_plan())),
            (vec![], vec![format!("{}: {why}", snap(1))])
        );
    }
    let mut foreign = world(Ok(Guards::default()));
    foreign.inventory.snapshots[0].tags.insert("dlm:managed".into(), String::new());
    let why = format!("{}: managed by Data Lifecycle Manager", snap(1));
    assert_eq!(held(&foreign.good_plan()), [why]);
}

#[test]
fn what_leaves_the_archive_is_held_by_a_lock() {
    let rule = archiving(&json!({"Count": 1}), &json!({"Count": 1}));
    let mut world = months(&rule, &[1, 2, 3], &[(2, 29), (3, 59)]);
    assert_eq!(deleted(&world.good_plan()), [snap(3)].into());
    world.inventory.guards = Ok(Guards { locked: [snap(3)].into(), ..Guards::default() });
    assert_eq!(held(&world.good_plan()), [format!("{}: locked", snap(3))]);
}

#[test]
fn without_the_tier_status_nothing_goes_either_way() {
    let unread = |kind| Unread { kind, code: "Code".into(), message: "no answer".into() };
    for kind in [ErrorKind::AccessDenied, ErrorKind::Throttled] {
        let rule = archiving(&json!({"Count": 1}), &json!({"Count": 1}));
        let mut world = months(&rule, &[1, 2, 3], &[(3, 59)]);
        world.inventory.tiering = Err(unread(kind));
        let plan = world.good_plan();
        assert_eq!(done(&world), [""; 0]);
        let why = "cannot tell how it stands in the archive tier: no answer";
        let mut wanted = vec![format!("{}: {why}", snap(2)), format!("{}: {why}", snap(3))];
        if kind.passes() {
            wanted.insert(0, ": no answer".into());
        }
        assert_eq!(held(&plan), wanted);
        assert_eq!(plan.impossible.len(), usize::from(!kind.passes()));
        if let Some(told) = plan.impossible.first() {
            assert_eq!((told.operation, told.kind), ("DescribeSnapshotTierStatus", kind));
        }
        // It is no matter of a policy that does not archive, or does nothing.
        world.documents[0]["State"] = json!("DISABLED");
        let plan = world.good_plan();
        assert_eq!((plan.impossible.len(), plan.held.len()), (0, 0));
    }
}

#[test]
fn what_is_no_target_any_more_is_not_archived() {
    let rule = archiving(&json!({"Count": 0}), &json!({"Count": 9}));
    let mut world = months(&rule, &[1], &[]);
    world.inventory.volumes.get_mut(&vol(1)).unwrap().tags = map(&[("Backup", "no")]);
    assert_eq!((done(&world), held(&world.good_plan()).len()), (vec![], 1));
    world.inventory.volumes.clear();
    assert_eq!((done(&world), held(&world.good_plan()).len()), (vec![], 1));
    // By age it goes on; what is in the archive leaves when its own expiry is over too.
    let mut by_age = months(&archiving(&days(30), &days(90)), &[1, 4], &[(4, 90)]);
    by_age.inventory.volumes.clear();
    assert_eq!(done(&by_age).len(), 1);
    for snapshot in &mut by_age.inventory.snapshots {
        snapshot.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(1)));
    }
    assert_eq!(done(&by_age).len(), 2);
}

#[test]
fn what_is_archived_or_goes_there_is_not_shared() {
    let mut rule = archiving(&json!({"Count": 1}), &json!({"Count": 9}));
    rule["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    let mut world = months(&rule, &[1, 2, 3, 4], &[(4, 60)]);
    world.inventory.shared.insert(id(VAULT), [].into());
    tiering(&mut world, 3, TieringStatus::Archiving);
    let shares: Vec<_> =
        done(&world).into_iter().filter(|it| it.starts_with("ModifySnapshotAttribute")).collect();
    assert_eq!(
        shares,
        [format!("ModifySnapshotAttribute {}: completed and not shared yet", snap(1))]
    );
    assert!(done(&world).contains(&to_archive(2, days_ago(30))));
}

#[test]
fn the_expiry_is_that_of_both_tiers() {
    for (standard, archive, wanted) in [
        (days(10), days(90), Some("2027-03-02T02:05:00Z")),
        (json!({"Count": 0}), days(90), Some("2027-02-20T02:05:00Z")),
        (json!({"Count": 1}), days(90), None),
        (days(10), json!({"Count": 9}), None),
    ] {
        let world = months(&archiving(&standard, &archive), &[], &[]);
        let plan = world.good_plan();
        let found = super::created(&plan)[0].tags.get(tags::EXPIRES_AT).cloned();
        assert_eq!(found.as_deref(), wanted, "{standard} {archive}");
    }
}

#[test]
fn what_the_standard_tier_keeps_takes_no_place_in_the_archive() {
    // A person archived the newest, which the standard tier keeps.
    let rule = archiving(&json!({"Count": 1}), &json!({"Count": 1}));
    let mut world = months(&rule, &[1, 2, 3], &[(1, 9), (2, 29)]);
    tiering(&mut world, 3, TieringStatus::Failed);
    assert_eq!(deleted(&world.good_plan()), [snap(3)].into());
    world.inventory.snapshots.remove(2);
    assert_eq!(deleted(&world.good_plan()), [].into());
    // By age three are young: the fourth is the first of the archive, though it could not be moved there.
    let rule = archiving(&days(100), &json!({"Count": 1}));
    let mut world = months(&rule, &[1, 2, 3, 4, 5], &[]);
    tiering(&mut world, 4, TieringStatus::Failed);
    tiering(&mut world, 5, TieringStatus::Failed);
    assert_eq!(deleted(&world.good_plan()), [snap(5)].into());
}

#[test]
fn what_is_exactly_so_old_has_left_the_standard_tier() {
    let mut world = months(&archiving(&days(60), &json!({"Count": 1})), &[1, 2, 3], &[]);
    tiering(&mut world, 3, TieringStatus::Failed);
    assert_eq!(deleted(&world.good_plan()), [snap(3)].into());
}

#[test]
fn what_goes_to_the_archive_takes_its_place_once_it_is_there() {
    let rule = archiving(&json!({"Count": 0}), &json!({"Count": 1}));
    let world = months(&rule, &[1, 2], &[(2, 59)]);
    assert_eq!(done(&world), [to_archive(1, days_ago(30))]);
    let world = months(&rule, &[1, 2], &[(1, 0), (2, 59)]);
    assert_eq!(deleted(&world.good_plan()), [snap(2)].into());
}

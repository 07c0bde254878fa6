//! The plan of `rotate-snapshots`, decision by decision.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::action::{Action, Plan};
use crate::ec2::CreateSnapshot;
use crate::inventory::{Guards, Snapshot, State};
use crate::tags;
use crate::testing::{
    Rotation, SLOT, VAULT, actions, at, deleted, held, hours_ago, id, map, now, own, schedule,
    snap, vol, volume,
};

mod archive;
mod concurrency;
mod copied;
mod defaults;
mod fast;
mod instances;
mod keep;
mod locks;
mod properties;
mod rescue;
mod scripts;
mod sets;
mod sharing;
mod staying;

fn nightly(more: &Value) -> [Value; 1] {
    [schedule("s", more)]
}

fn plain() -> [Value; 1] {
    nightly(&json!({}))
}

fn retain(rule: &Value) -> [Value; 1] {
    nightly(&json!({"RetainRule": rule}))
}

fn with(mut snapshot: Snapshot, change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    change(&mut snapshot);
    snapshot
}

fn created(plan: &Plan) -> Vec<&CreateSnapshot> {
    let created = plan.actions.iter().filter_map(|it| match &it.action {
        Action::CreateSnapshot(request) => Some(request),
        _ => None,
    });
    created.collect()
}

// ---- create

#[test]
fn a_slot_is_served_by_what_is_or_may_become_good() {
    let lacks = format!("CreateSnapshot {}: no snapshot for this slot", vol(1));
    let failed = format!(
        "CreateSnapshot {}: no good snapshot for this slot, {} ended in error",
        vol(1),
        snap(1)
    );
    let cases = [
        (vec![], vec![lacks.clone()]),
        (vec![own(1, "s", 0)], vec![]),
        (vec![with(own(1, "s", 0), |it| it.state = State::Pending)], vec![]),
        (vec![with(own(1, "s", 0), |it| it.state = State::Other)], vec![]),
        (vec![with(own(1, "s", 0), |it| it.state = State::Error)], vec![failed]),
        // Another slot's, schedule's, policy's, volume's, account's.
        (vec![own(1, "s", 1)], vec![lacks.clone()]),
        (vec![own(1, "t", 0)], vec![lacks.clone()]),
        (
            vec![with(own(1, "s", 0), |it| {
                it.tags.insert(tags::POLICY.into(), "q".into());
            })],
            vec![lacks.clone()],
        ),
        (vec![with(own(1, "s", 0), |it| it.volume_id = vol(2))], vec![lacks.clone()]),
        (vec![with(own(1, "s", 0), |it| it.owner = id(VAULT))], vec![lacks]),
    ];
    for (snapshots, wanted) in cases {
        let world = Rotation::new(&plain(), snapshots);
        let plan = world.good_plan();
        let created = actions(&plan).into_iter();
        let created: Vec<_> = created.filter(|it| it.starts_with("Create")).collect();
        assert_eq!(created, wanted, "{:?}", world.inventory.snapshots);
    }
}

#[test]
fn who_is_snapshotted() {
    let mut world = Rotation::new(&plain(), vec![]);
    for (n, pairs) in [
        (2, &[("Backup", "weekly")][..]),
        (3, &[]),
        (4, &[("Backup", "daily"), ("Skip", "")]),
        (5, &[("Backup", "daily"), ("backup", "x")]),
        (6, &[("backup", "daily")]),
    ] {
        let mut volume = volume(n);
        volume.tags = map(pairs);
        world.inventory.volumes.insert(vol(n), volume);
    }
    let plan = world.good_plan();
    let volumes: Vec<_> = created(&plan).into_iter().map(|it| it.volume.clone()).collect();
    assert_eq!(volumes, [vol(1), vol(5)]);
}

#[test]
fn a_volume_that_cannot_be_snapshotted_is_held() {
    let mut world = Rotation::new(&plain(), vec![]);
    world.inventory.volumes.get_mut(&vol(1)).unwrap().usable = false;
    let plan = world.good_plan();
    assert_eq!(actions(&plan), [""; 0]);
    let why = format!("{}: the volume is neither available nor in use", vol(1));
    assert_eq!(held(&plan), [why]);
}

#[test]
fn a_disabled_policy_does_nothing_and_is_covered() {
    let mut world = Rotation::new(
        &retain(&json!({"Count": 1})),
        (1..5).map(|n| own(n, "s", n.into())).collect(),
    );
    world.documents[0]["State"] = json!("DISABLED");
    let plan = world.good_plan();
    assert_eq!((actions(&plan), held(&plan)), (vec![], vec![]));
    assert_eq!(plan.coverage.len(), 1);
    assert_eq!(plan.coverage[0].newest_completed, Some(hours_ago(24)));
}

#[test]
fn the_event_says_which_slot_and_the_clock_what_expires() {
    let window = json!({"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]});
    let mut windowed = schedule("s", &json!({"CreateRule": window}));
    windowed["CreateRule"]["StartWindowMinutes"] = json!(60);
    let mut world = Rotation::new(&[windowed], vec![]);
    for (event, served) in [
        ("2026-11-22T01:59:59Z", None), // yesterday's window is over
        (SLOT, Some(SLOT)),
        ("2026-11-22T03:00:00Z", Some(SLOT)),
        ("2026-11-22T03:00:01Z", None),
    ] {
        world.at = at(event);
        let plan = world.good_plan();
        let slots: Vec<_> = created(&plan).iter().map(|it| it.tags[tags::SLOT].clone()).collect();
        assert_eq!(slots, served.into_iter().collect::<Vec<_>>(), "{event}");
    }
}

#[test]
fn a_new_snapshot_carries_its_claim_its_expiry_and_the_users_tags() {
    let aged = |name: &str, days: u32| {
        schedule(
            name,
            &json!({
                "RetainRule": {"Interval": days, "IntervalUnit": "DAYS"}, "CopyTags": true,
                "TagsToAdd": [{"Key": "Made", "Value": name}]
            }),
        )
    };
    let mut world = Rotation::new(&[aged("a", 2), aged("b", 9)], vec![]);
    let volume = world.inventory.volumes.get_mut(&vol(1)).unwrap();
    volume.tags.extend(map(&[
        ("Name", "web-1"),
        ("Made", "by hand"),
        ("aws:cloudformation:stack-name", "x"),
        ("snapferry:policy", "forged"),
        ("Snapferry:slot", "forged"),
    ]));
    let plan = world.good_plan();
    let [request] = created(&plan)[..] else {
        panic!("{:?}", actions(&plan));
    };
    assert_eq!(
        request.tags,
        map(&[
            ("Backup", "daily"),
            ("Made", "b"),
            ("Name", "web-1"),
            (tags::EXPIRES_AT, "2026-12-01T02:05:00Z"),
            (tags::POLICY, "p"),
            (tags::SCHEDULE, "a,b"),
            (tags::SLOT, SLOT),
        ])
    );
    let wanted =
        format!("Created for policy: p schedule: a,b slot: {SLOT} volume: {} name: web-1", vol(1));
    assert_eq!(request.description, wanted);
}

#[test]
fn tags_are_cut_to_what_ec2_takes_with_room_for_the_record_of_shares() {
    let mut world = Rotation::new(&nightly(&json!({"CopyTags": true})), vec![]);
    let volume = world.inventory.volumes.get_mut(&vol(1)).unwrap();
    volume.tags.extend((0..49).map(|n| (format!("key {n:02}"), String::new())));
    let plan = world.good_plan();
    let tags = &created(&plan)[0].tags;
    assert_eq!(tags.len(), 49);
    assert!(tags.contains_key(tags::SLOT) && tags.contains_key("Backup"));
    assert!(tags.contains_key("key 44") && !tags.contains_key("key 45"));
}

#[test]
fn coinciding_schedules_share_one_snapshot_and_only_what_lacks_is_made() {
    let two = [schedule("a", &json!({})), schedule("b", &json!({}))];
    let plan = Rotation::new(&two, vec![]).good_plan();
    let names = |plan: &Plan| -> Vec<String> {
        let requests = created(plan).into_iter();
        requests.map(|it| it.tags[tags::SCHEDULE].clone()).collect()
    };
    assert_eq!(names(&plan), ["a,b"]);
    assert_eq!(names(&Rotation::new(&two, vec![own(1, "b", 0)]).good_plan()), ["a"]);
    assert_eq!(names(&Rotation::new(&two, vec![own(1, "a,b", 0)]).good_plan()), [""; 0]);
    // Other slots are other snapshots.
    let hourly = json!({"Interval": 1, "IntervalUnit": "HOURS", "Times": ["00:00"]});
    let apart = [schedule("a", &json!({})), schedule("b", &json!({"CreateRule": hourly}))];
    let mut world = Rotation::new(&apart, vec![]);
    world.at = at("2026-11-22T05:30:00Z");
    assert_eq!(names(&world.good_plan()), ["a", "b"]);
}

// ---- retain

/// Of nights 1 (last night) to 8, those that stay under this rule.
fn stay(rule: &Value) -> Vec<u32> {
    let snapshots = (1..=8).map(|n| own(n, "s", n.into())).collect();
    let plan = Rotation::new(&retain(rule), snapshots).good_plan();
    let gone = deleted(&plan);
    (1..=8).filter(|n| !gone.contains(&snap(*n))).collect()
}

#[test]
fn rules_keep_what_they_say() {
    let range = |last: u32| (1..=last).collect::<Vec<_>>();
    for (rule, last) in [
        (json!({"Count": 1}), 1),
        (json!({"Count": 3}), 3),
        (json!({"Count": 8}), 8),
        (json!({"Count": 1000}), 8),
        (json!({"Interval": 1, "IntervalUnit": "DAYS"}), 1), // the minimum
        (json!({"Interval": 3, "IntervalUnit": "DAYS"}), 2), // night 3 is exactly so old
        (json!({"Interval": 1, "IntervalUnit": "WEEKS"}), 6),
        (json!({"Interval": 1, "IntervalUnit": "MONTHS"}), 8),
        (json!({"Interval": 2, "IntervalUnit": "DAYS", "MinimumCount": 4}), 4),
        (json!({"Interval": 5, "IntervalUnit": "DAYS", "MinimumCount": 2}), 4),
        (json!({"Count": 5, "Interval": 2, "IntervalUnit": "DAYS"}), 5),
        (json!({"Count": 2, "Interval": 5, "IntervalUnit": "DAYS"}), 4),
    ] {
        assert_eq!(stay(&rule), range(last), "{rule}");
    }
}

#[test]
fn the_reason_names_every_limit() {
    let rule = json!({"Count": 1, "Interval": 1, "IntervalUnit": "DAYS"});
    let snapshots = vec![own(1, "s", 1), own(2, "s", 2)];
    let plan = Rotation::new(&retain(&rule), snapshots).good_plan();
    let last = actions(&plan).pop();
    let wanted = format!(
        "DeleteSnapshot {}: number 2 by age, of which the newest 1 stay; kept until 2026-11-21T02:05:00Z",
        snap(2)
    );
    assert_eq!(last, Some(wanted));
}

/// Night 2 could go, were it not for this.
fn held_back(change: impl FnOnce(&mut Rotation)) -> Vec<String> {
    let mut world =
        Rotation::new(&retain(&json!({"Count": 1})), vec![own(1, "s", 1), own(2, "s", 2)]);
    assert_eq!(deleted(&world.good_plan()), [snap(2)].into());
    change(&mut world);
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [].into(), "{:?}", actions(&plan));
    held(&plan)
}

#[test]
fn what_holds_a_snapshot_back() {
    let of = |why: &str| vec![format!("{}: {why}", snap(2))];
    let guard = |images: &[(u32, &str)], locked: &[u32]| {
        Ok(Guards {
            images: images.iter().map(|(n, ami)| (snap(*n), (*ami).into())).collect(),
            locked: locked.iter().map(|n| snap(*n)).collect(),
        })
    };
    let images = held_back(|it| it.inventory.guards = guard(&[(2, "ami-1")], &[]));
    assert_eq!(images, of("in use by ami-1"));
    assert_eq!(held_back(|it| it.inventory.guards = guard(&[], &[2])), of("locked"));
    let unknown = held_back(|it| it.inventory.guards = Err("denied".into()));
    assert_eq!(unknown, of("cannot tell whether an AMI or a lock needs it: denied"));
    let foreign = held_back(|it| {
        it.inventory.snapshots[1].tags.insert("aws:backup:x".into(), String::new());
    });
    assert_eq!(foreign, of("managed by AWS Backup"));
    let no_target = held_back(|it| it.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear());
    let why = "its volume is no target any more";
    assert_eq!(no_target, [format!("{}: {why}", snap(1)), format!("{}: {why}", snap(2))]);
    let gone = held_back(|it| it.inventory.volumes.clear());
    let why = "its volume is gone, and retention by count ends with the volume";
    assert_eq!(gone, [format!("{}: {why}", snap(1)), format!("{}: {why}", snap(2))]);
    // Silently: not ours to judge.
    for state in [State::Pending, State::Other] {
        assert_eq!(held_back(|it| it.inventory.snapshots[1].state = state), [""; 0]);
    }
    assert_eq!(held_back(|it| it.inventory.snapshots[1].owner = id(VAULT)), [""; 0]);
    let incomplete = held_back(|it| {
        it.inventory.snapshots[1].tags.remove(tags::SLOT);
    });
    assert_eq!(incomplete, [""; 0]);
}

#[test]
fn what_is_gone_and_what_expires_of_it() {
    let expired = |it: &mut Snapshot| {
        it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(now()));
    };
    let later = |it: &mut Snapshot| {
        let later = now() + SignedDuration::from_secs(1);
        it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(later));
    };
    let unreadable = |it: &mut Snapshot| {
        it.tags.insert(tags::EXPIRES_AT.into(), "soon".into());
    };
    let schedule_gone = |change: fn(&mut Snapshot), policy: &str| {
        let mut doomed = with(own(2, "gone", 2), change);
        doomed.tags.insert(tags::POLICY.into(), policy.into());
        Rotation::new(&plain(), vec![own(1, "s", 1), doomed])
    };
    for policy in ["p", "gone"] {
        let plan = schedule_gone(expired, policy).good_plan();
        assert_eq!(deleted(&plan), [snap(2)].into(), "{policy}");
        assert!(actions(&plan).last().unwrap().ends_with("expired at 2026-11-22T02:05:00Z"));
        let plan = schedule_gone(later, policy).good_plan();
        assert_eq!((deleted(&plan), held(&plan)), ([].into(), vec![]), "{policy}");
        for change in [unreadable, |_: &mut Snapshot| {}] {
            let plan = schedule_gone(change, policy).good_plan();
            assert_eq!(deleted(&plan), [].into());
            assert!(held(&plan)[0].ends_with("is gone, and nothing says when it expires"));
        }
    }
    // A policy may be elsewhere: in a document that this run was not given, or in another scope.
    let mut selection = schedule_gone(expired, "gone");
    selection.whole = false;
    assert_eq!(deleted(&selection.good_plan()), [].into());
    let mut elsewhere = schedule_gone(expired, "gone");
    elsewhere.documents.push(crate::testing::copies("gone"));
    assert_eq!(deleted(&elsewhere.good_plan()), [].into());
}

#[test]
fn one_in_error_goes_whatever_the_rule_and_counts_as_nothing() {
    let failed = with(own(1, "s", 1), |it| {
        it.state = State::Error;
        it.state_message = Some("no".into());
    });
    let snapshots = vec![failed, own(2, "s", 2), own(3, "s", 3)];
    let plan = Rotation::new(&retain(&json!({"Count": 1})), snapshots).good_plan();
    assert_eq!(deleted(&plan), [snap(1), snap(3)].into());
    let reason = format!("DeleteSnapshot {}: ended in error: no", snap(1));
    assert!(actions(&plan).contains(&reason));
}

#[test]
fn the_newest_of_a_volume_stays_whichever_policy_made_it() {
    // Policy q is gone and all of its snapshots have expired, but one is the newest.
    let of_q = |n: u32, days: i64| {
        with(own(n, "s", days), |it| {
            it.tags.insert(tags::POLICY.into(), "q".into());
            it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(1)));
        })
    };
    let snapshots = vec![of_q(1, 1), own(2, "s", 2), of_q(3, 3)];
    let plan = Rotation::new(&plain(), snapshots).good_plan();
    assert_eq!(deleted(&plan), [snap(3)].into());
    let wanted = format!("{}: the newest completed one of its volume always stays", snap(1));
    assert_eq!(held(&plan), [wanted]);
}

#[test]
fn of_two_that_are_the_same_the_younger_goes_and_the_older_not_with_it() {
    // Night 2 twice, and so old that neither is kept.
    let twin = with(own(9, "s", 2), |it| {
        it.start_time += SignedDuration::from_secs(30);
    });
    let snapshots = vec![own(1, "s", 1), own(2, "s", 2), twin];
    let mut world = Rotation::new(&retain(&json!({"Count": 1})), snapshots);
    assert_eq!(deleted(&world.good_plan()), [snap(9)].into());
    world.inventory.snapshots.pop();
    assert_eq!(deleted(&world.good_plan()), [snap(2)].into());
}

#[test]
fn twins_of_a_policy_that_is_gone_do_not_go_together() {
    let orphan = |n: u32, seconds: i64| {
        with(own(n, "s", 1), |it| {
            it.start_time += SignedDuration::from_secs(seconds);
            it.tags.insert(tags::POLICY.into(), "gone".into());
            it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(1)));
        })
    };
    let plan =
        Rotation::new(&plain(), vec![own(1, "s", 1), orphan(2, 0), orphan(3, 60)]).good_plan();
    assert_eq!(deleted(&plan), [snap(3)].into(), "of the two the younger, though it is the newest");
}

#[test]
fn a_slot_takes_one_place_however_many_snapshots_serve_it() {
    let two = ["a", "b"].map(|name| schedule(name, &json!({"RetainRule": {"Count": 2}})));
    // Night 1 was served by two snapshots, because schedule b came later.
    let snapshots = vec![own(1, "a", 1), own(2, "a,b", 1), own(3, "a,b", 2), own(4, "a,b", 3)];
    let plan = Rotation::new(&two, snapshots).good_plan();
    assert_eq!(deleted(&plan), [snap(4)].into());
}

// ---- the whole plan

#[test]
fn creations_come_first_and_deletions_last() {
    let two = [
        schedule("a", &json!({"ShareRules": [{"TargetAccounts": [VAULT]}]})),
        schedule("b", &json!({"RetainRule": {"Count": 1}})),
    ];
    let snapshots = vec![own(1, "a", 1), own(2, "b", 1), own(3, "b", 2)];
    let plan = Rotation::new(&two, snapshots).good_plan();
    let operations: Vec<_> = plan.actions.iter().map(|it| it.action.operation()).collect();
    assert_eq!(operations, ["CreateSnapshot", "ModifySnapshotAttribute", "DeleteSnapshot"]);
}

//! Fast snapshot restore.

use serde_json::{Value, json};

use super::nightly;
use crate::ec2::ErrorKind;
use crate::inventory::{Guards, Snapshot, State, Unread};
use crate::tags;
use crate::testing::{Rotation, actions, deleted, held, own, schedule, server, set, snap, vol};

const A: &str = "eu-central-1a";
const B: &str = "eu-central-1b";

fn fast(limit: &Value, zones: &Value, count: u32) -> Value {
    let mut rule = limit.clone();
    let key = if zones[0].as_str().unwrap().contains("-az") {
        "AvailabilityZoneIds"
    } else {
        "AvailabilityZones"
    };
    rule[key] = zones.clone();
    json!({"FastRestoreRule": rule, "RetainRule": {"Count": count}})
}

/// What is done about fast restores, of nights 0 to 3, where these are enabled.
fn done(rule: &Value, enabled: &[(u32, &[&str])], change: fn(&mut Rotation)) -> Vec<String> {
    let snapshots = (0..4).map(|n| own(n, "s", n.into())).collect();
    let mut world = Rotation::new(&nightly(rule), snapshots);
    let zones = |zones: &[&str]| zones.iter().map(|zone| (*zone).to_owned()).collect();
    world.inventory.fast_restores =
        Ok(enabled.iter().map(|(n, at)| (snap(*n), zones(at))).collect());
    change(&mut world);
    let lines = actions(&world.good_plan()).into_iter();
    lines.filter(|it| it.contains("FastSnapshotRestores")).collect()
}

fn enable(n: u32, zones: &str) -> String {
    let why = "FastRestoreRule wants it, and it is not enabled";
    format!("EnableFastSnapshotRestores {} in {zones}: {why}", snap(n))
}

fn disable(n: u32, zones: &str) -> String {
    let why = "no FastRestoreRule wants it any more";
    format!("DisableFastSnapshotRestores {} in {zones}: {why}", snap(n))
}

#[test]
fn the_newest_or_the_young_are_fast() {
    for (limit, wanted) in [
        (json!({"Count": 1}), &[0][..]),
        (json!({"Count": 2}), &[0, 1]),
        (json!({"Interval": 2, "IntervalUnit": "DAYS"}), &[0, 1]), // night 2 is exactly so old
        (json!({"Interval": 1, "IntervalUnit": "WEEKS"}), &[0, 1, 2, 3]),
    ] {
        let rule = fast(&limit, &json!([A]), 9);
        let lines: Vec<_> = wanted.iter().map(|n| enable(*n, A)).collect();
        assert_eq!(done(&rule, &[], |_| {}), lines, "{limit}");
        let enabled: Vec<(u32, &[&str])> = (0..4).map(|n| (n, &[A][..])).collect();
        let others = (0..4).filter(|n| !wanted.contains(n)).map(|n| disable(n, A));
        assert_eq!(done(&rule, &enabled, |_| {}), others.collect::<Vec<_>>(), "{limit}");
    }
}

#[test]
fn zones_are_this_regions_and_a_persons_own_stay() {
    let one = json!({"Count": 1});
    let all = json!([A, B, "us-east-1a", "eu-central-2a"]);
    assert_eq!(done(&fast(&one, &all, 9), &[], |_| {}), [enable(0, &format!("{A},{B}"))]);
    let rule = fast(&one, &all, 9);
    assert_eq!(done(&rule, &[(0, &[A])], |_| {}), [enable(0, B)]);
    assert_eq!(
        done(&rule, &[(0, &[A, B, "eu-central-1c"]), (1, &["eu-central-1c"])], |_| {}),
        [""; 0]
    );
    let both = done(&rule, &[(0, &[A, B]), (1, &[B, "eu-central-1c"])], |_| {});
    assert_eq!(both, [disable(1, B)]);
    assert_eq!(done(&fast(&one, &json!(["us-east-1a"]), 9), &[(1, &[A])], |_| {}), [""; 0]);
    // By id, which every account calls something else.
    let by_id = fast(&one, &json!(["euc1-az2", "use1-az1"]), 9);
    let known = |it: &mut Rotation| {
        it.inventory.zones =
            Ok([("euc1-az2".into(), B.into()), ("euc1-az1".into(), A.into())].into());
    };
    assert_eq!(done(&by_id, &[(1, &[A, B])], known), [enable(0, B), disable(1, B)]);
}

#[test]
fn coinciding_schedules_unite_their_zones() {
    let rules = [
        schedule("a", &fast(&json!({"Count": 2}), &json!([A]), 9)),
        schedule("b", &fast(&json!({"Count": 1}), &json!([A, B]), 9)),
    ];
    let snapshots = (0..3).map(|n| own(n, "a,b", n.into())).collect();
    let mut world = Rotation::new(&rules, snapshots);
    assert_eq!(actions(&world.good_plan()), [enable(0, &format!("{A},{B}")), enable(1, A)]);
    let ab = || [A.to_owned(), B.to_owned()].into();
    world.inventory.fast_restores = Ok([(snap(0), ab()), (snap(1), ab()), (snap(2), ab())].into());
    assert_eq!(actions(&world.good_plan()), [disable(1, B), disable(2, &format!("{A},{B}"))]);
}

#[test]
fn what_is_not_made_fast() {
    let rule = fast(&json!({"Count": 2}), &json!([A]), 9);
    let all = vec![enable(0, A), enable(1, A)];
    assert_eq!(done(&rule, &[], |_| {}), all);
    let second = vec![enable(1, A)];
    // What is not good takes no place either, so that night 2 is the second.
    let pending = |it: &mut Rotation| it.inventory.snapshots[0].state = State::Pending;
    assert_eq!(done(&rule, &[], pending), [enable(1, A), enable(2, A)]);
    let archived = |it: &mut Rotation| it.inventory.snapshots[0].archived = true;
    assert_eq!(done(&rule, &[], archived), second);
    let disabled = |it: &mut Rotation| it.documents[0]["State"] = json!("DISABLED");
    assert_eq!(done(&rule, &[(3, &[A])], disabled), [""; 0]);
    let others = |it: &mut Rotation| {
        it.inventory.snapshots[0].tags.insert(tags::POLICY.into(), "q".into());
    };
    assert_eq!(done(&rule, &[], others), [enable(1, A), enable(2, A)]);
}

#[test]
fn sixteen_tebibytes_are_the_most() {
    for (gib, n_fast) in [(16_384, 1), (16_385, 0)] {
        let mut snapshot = own(0, "s", 0);
        snapshot.volume_size_gib = gib;
        let rule = nightly(&fast(&json!({"Count": 1}), &json!([A]), 9));
        let plan = Rotation::new(&rule, vec![snapshot]).good_plan();
        assert_eq!(actions(&plan).len(), n_fast);
        let why = format!(
            "{}: {gib} GiB are more than the 16 TiB that fast snapshot restore takes",
            snap(0)
        );
        assert_eq!(held(&plan), if n_fast == 0 { vec![why] } else { vec![] });
    }
}

#[test]
fn what_leaves_is_made_slow_first() {
    let rule = nightly(&fast(&json!({"Count": 9}), &json!([A]), 1));
    let snapshots = (0..2).map(|n| own(n, "s", n.into())).collect();
    let mut world = Rotation::new(&rule, snapshots);
    let in_a = || -> std::collections::BTreeSet<String> { [A.to_owned()].into() };
    world.inventory.fast_restores = Ok([(snap(0), in_a()), (snap(1), in_a())].into());
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(1)].into());
    assert_eq!(actions(&plan)[0], disable(1, A));
    assert_eq!(actions(&plan).len(), 2);
    // Of two that are the same, too, and of what a set has too many.
    let mut sets = server(&fast(&json!({"Count": 9}), &json!([A]), 9), set(1, 0, &[1, 2]));
    let mut younger = set(2, 0, &[1, 2]);
    for it in &mut younger {
        it.start_time += jiff::SignedDuration::from_secs(9);
    }
    sets.inventory.snapshots.extend(younger);
    let all: Vec<&Snapshot> = sets.inventory.snapshots.iter().collect();
    sets.inventory.fast_restores = Ok(all.iter().map(|it| (it.id.clone(), in_a())).collect());
    let plan = sets.good_plan();
    assert_eq!(actions(&plan)[..2], [disable(21, A), disable(22, A)]);
    assert_eq!(actions(&plan).len(), 4);
}

#[test]
fn where_it_cannot_be_read_it_is_told_and_the_rest_goes_on() {
    let unread = |kind| Unread { kind, code: "Code".into(), message: "no answer".into() };
    let world = |kind, by_id: bool| {
        let zones = if by_id { json!(["euc1-az1"]) } else { json!([A]) };
        let rule = nightly(&fast(&json!({"Count": 1}), &zones, 1));
        let mut world = Rotation::new(&rule, (1..3).map(|n| own(n, "s", n.into())).collect());
        if by_id {
            world.inventory.zones = Err(unread(kind));
        } else {
            world.inventory.fast_restores = Err(unread(kind));
        }
        let plan = world.good_plan();
        assert_eq!(deleted(&plan), [snap(2)].into());
        assert!(actions(&plan)[0].starts_with(&format!("CreateSnapshot {}", vol(1))));
        assert_eq!(actions(&plan).len(), 2);
        plan
    };
    for (by_id, operation) in
        [(false, "DescribeFastSnapshotRestores"), (true, "DescribeAvailabilityZones")]
    {
        let plan = world(ErrorKind::AccessDenied, by_id);
        let told = &plan.impossible[0];
        assert_eq!(
            (told.operation, told.kind, told.code.as_str()),
            (operation, ErrorKind::AccessDenied, "Code")
        );
        assert!(told.message.starts_with("no answer: without it fast snapshot restore"));
        assert_eq!(plan.held.len(), 0);
        let plan = world(ErrorKind::Throttled, by_id);
        assert_eq!((plan.impossible.len(), held(&plan)), (0, vec![": no answer".to_owned()]));
    }
}

#[test]
fn what_is_one_too_many_or_no_target_any_more_is_slow() {
    let rule = nightly(&fast(&json!({"Count": 1}), &json!([A]), 9));
    let mut younger = own(2, "s", 0);
    younger.start_time += jiff::SignedDuration::from_secs(1);
    let mut world = Rotation::new(&rule, vec![own(1, "s", 0), younger]);
    // It cannot go yet.
    let images = [(snap(2), "ami-1".to_owned())].into();
    world.inventory.guards = Ok(Guards { images, ..Guards::default() });
    assert_eq!(actions(&world.good_plan()), [enable(1, A)]);
    world.inventory.fast_restores = Ok([(snap(1), [A.to_owned()].into())].into());
    world.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear();
    assert_eq!(actions(&world.good_plan()), [disable(1, A)]);
}

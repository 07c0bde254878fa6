//! Who may use a snapshot, and how long.

use serde_json::{Value, json};

use super::{nightly, with};
use crate::action::{Action, Plan};
use crate::inventory::{Key, Snapshot, State};
use crate::tags;
use crate::testing::{MEMBER, Rotation, VAULT, actions, held, id, own, schedule, snap, vol};

fn sharing() -> [Value; 1] {
    nightly(&json!({"ShareRules": [{"TargetAccounts": [VAULT, "444444444444"]}]}))
}

fn shared_plan(snapshot: Snapshot, shared_with: &[&str]) -> Plan {
    let mut world = Rotation::new(&sharing(), vec![snapshot]);
    for account in shared_with {
        let ids = [snap(1)].into();
        world.inventory.shared.insert(id(account), ids);
    }
    world.good_plan()
}

#[test]
fn completed_snapshots_are_shared_with_whom_they_are_not_yet() {
    let share = format!("ModifySnapshotAttribute {}: completed and not shared yet", snap(1));
    let record = format!("CreateTags {}: shared, but its tag does not say so", snap(1));
    let recorded = |it: &mut Snapshot| {
        let both = format!("{VAULT},444444444444");
        it.tags.insert(tags::SHARED_WITH.into(), both);
    };
    for (snapshot, shared_with, wanted) in [
        (own(1, "s", 0), &[][..], vec![share.clone()]),
        (own(1, "s", 0), &[VAULT], vec![share.clone()]),
        (own(1, "s", 0), &[VAULT, "444444444444"], vec![record]),
        (with(own(1, "s", 0), recorded), &[VAULT, "444444444444"], vec![]),
        // The record is for people; EC2 is asked what is true.
        (with(own(1, "s", 0), recorded), &[], vec![share]),
        (with(own(1, "s", 0), |it| it.state = State::Other), &[], vec![]),
        (
            with(own(1, "s", 0), |it| drop(it.tags.insert("aws:backup:x".into(), String::new()))),
            &[],
            vec![],
        ),
    ] {
        assert_eq!(actions(&shared_plan(snapshot, shared_with)), wanted);
    }
    let plan = shared_plan(own(1, "s", 0), &[VAULT]);
    let Action::ShareSnapshot { accounts, all, .. } = &plan.actions[0].action else {
        panic!("{:?}", plan.actions);
    };
    assert_eq!(*accounts, [id("444444444444")].into());
    assert_eq!(*all, [id(VAULT), id("444444444444")].into());
}

#[test]
fn a_pending_snapshot_is_shared_later() {
    let plan = shared_plan(with(own(1, "s", 0), |it| it.state = State::Pending), &[]);
    assert_eq!(actions(&plan), [""; 0]);
    assert_eq!(plan.deferred.len(), 1);
    assert_eq!(plan.deferred[0].waits_for, format!("{} is pending", snap(1)));
}

#[test]
fn what_leaves_is_not_shared_and_what_is_no_target_is_left_alone() {
    let mut world = Rotation::new(&sharing(), (0..5).map(|n| own(n, "s", n.into())).collect());
    let shares = |world: &Rotation| {
        let plan = world.good_plan();
        actions(&plan).iter().filter(|it| it.starts_with("Modify")).count()
    };
    assert_eq!(shares(&world), 3);
    world.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear();
    assert_eq!(shares(&world), 0);
    // With its own account a snapshot is shared already.
    let own_account = nightly(&json!({"ShareRules": [{"TargetAccounts": [MEMBER]}]}));
    assert_eq!(shares(&Rotation::new(&own_account, vec![own(1, "s", 0)])), 0);
}

#[test]
fn a_default_key_is_told_once_per_volume_even_before_its_first_snapshot() {
    let arn = format!("arn:aws:kms:eu-central-1:{MEMBER}:key/ebs");
    let sealed =
        |n: u32, days: i64| with(own(n, "s", days), |it| it.kms_key_id = Some(arn.as_str().into()));
    for snapshots in [vec![], vec![sealed(1, 0)], vec![sealed(1, 0), sealed(2, 1)]] {
        let n = snapshots.len();
        let mut world = Rotation::new(&sharing(), snapshots);
        world.inventory.volumes.get_mut(&vol(1)).unwrap().kms_key_id = Some(arn.as_str().into());
        let key = Key {
            arn: arn.clone(),
            aws_managed: true,
            state: "Enabled".into(),
            usage: "ENCRYPT_DECRYPT".into(),
            spec: "SYMMETRIC_DEFAULT".into(),
        };
        world.inventory.keys.insert(arn.clone(), key);
        let plan = world.good_plan();
        assert_eq!(plan.impossible.len(), 1);
        let told = &plan.impossible[0];
        assert!(told.message.contains(vol(1).as_str()) && told.message.contains(&arn));
        assert_eq!(told.subject.snapshot, (n > 0).then(|| snap(1)), "the newest");
        assert_eq!(held(&plan).len(), n.saturating_sub(1));
        assert!(actions(&plan).iter().all(|it| it.starts_with("Create")));
    }
}

// ---- unshare

const THIRD: &str = "444444444444";
const STRANGER: &str = "555555555555";

fn shares(accounts: &[&str], days: Option<u32>) -> Value {
    let mut rule = json!({"TargetAccounts": accounts});
    if let Some(days) = days {
        rule["UnshareInterval"] = json!(days);
        rule["UnshareIntervalUnit"] = json!("DAYS");
    }
    json!({"ShareRules": [rule], "RetainRule": {"Count": 9}})
}

/// Snapshot 1 of so many days ago, by these schedules, shared with these accounts.
fn shared(schedules: &[(&str, Value)], days: i64, with_whom: &[&str]) -> Rotation {
    let names: Vec<&str> = schedules.iter().map(|(name, _)| *name).collect();
    let schedules: Vec<Value> = schedules.iter().map(|(name, more)| schedule(name, more)).collect();
    let mut world = Rotation::new(&schedules, vec![own(1, &names.join(","), days)]);
    world.inventory.snapshots.push(own(9, &names.join(","), 0));
    world.inventory.snapshots[1].state = State::Other; // the night's: nothing to create
    world.inventory.snapshots[0].tags.insert(tags::SHARED_WITH.into(), with_whom.join(","));
    for account in [VAULT, THIRD, STRANGER] {
        let ids = with_whom.contains(&account).then(|| snap(1));
        world.inventory.shared.insert(id(account), ids.into_iter().collect());
    }
    world
}

#[test]
fn the_right_accounts_lose_it_when_their_time_is_over() {
    let over = |account: &str, at: &str| {
        let why = format!("UnshareInterval was over at {at}");
        vec![format!("ModifySnapshotAttribute {} not with {account}: {why}", snap(1))]
    };
    let both = format!("{VAULT},{THIRD}");
    for (days, with_whom, wanted) in [
        (1, &[VAULT, THIRD][..], vec![]),
        (2, &[VAULT, THIRD], over(&both, "2026-11-22T02:05:00Z")),
        (3, &[VAULT, THIRD], over(&both, "2026-11-21T02:05:00Z")),
        (3, &[VAULT], over(VAULT, "2026-11-21T02:05:00Z")),
        // A person's own share stays, and what ended is never shared again.
        (3, &[VAULT, STRANGER], over(VAULT, "2026-11-21T02:05:00Z")),
    ] {
        let world = shared(&[("s", shares(&[VAULT, THIRD], Some(2)))], days, with_whom);
        assert_eq!(actions(&world.good_plan()), wanted, "{days} {with_whom:?}");
    }
    let nobody = shared(&[("s", shares(&[VAULT], Some(2)))], 3, &[]);
    assert_eq!(actions(&nobody.good_plan()), [""; 0]);
}

#[test]
fn where_schedules_coincide_the_longest_counts() {
    for (a, b, days, with_whom, wanted) in [
        (shares(&[VAULT], Some(2)), shares(&[VAULT], Some(4)), 3, &[VAULT][..], None),
        (shares(&[VAULT], Some(2)), shares(&[VAULT], None), 9, &[VAULT], None),
        (
            shares(&[VAULT], Some(2)),
            shares(&[VAULT], Some(4)),
            4,
            &[VAULT],
            Some((VAULT, "2026-11-22T02:05:00Z")),
        ),
        (
            shares(&[VAULT, THIRD], Some(2)),
            shares(&[THIRD], Some(4)),
            3,
            &[VAULT, THIRD],
            Some((VAULT, "2026-11-21T02:05:00Z")),
        ),
    ] {
        let world = shared(&[("a", a), ("b", b)], days, with_whom);
        let wanted = wanted.map(|(account, at)| {
            let why = format!("UnshareInterval was over at {at}");
            format!("ModifySnapshotAttribute {} not with {account}: {why}", snap(1))
        });
        assert_eq!(actions(&world.good_plan()), Vec::from_iter(wanted));
    }
}

#[test]
fn the_record_says_who_is_left() {
    let two = [("a", shares(&[VAULT, THIRD], Some(2))), ("b", shares(&[THIRD], None))];
    let all = |plan: &Plan| -> Vec<Vec<String>> {
        let all = plan.actions.iter().map(|it| match &it.action {
            Action::ShareSnapshot { all, .. }
            | Action::UnshareSnapshot { all, .. }
            | Action::RecordShare { all, .. } => all.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        });
        all.collect()
    };
    let mut world = shared(&two, 3, &[VAULT, THIRD]);
    assert_eq!(all(&world.good_plan()), [[THIRD.to_owned()]]);
    // Not shared yet with the one that is to have it: that is another call.
    let plan = shared(&two, 3, &[VAULT]).good_plan();
    assert_eq!(all(&plan), [vec![], vec![THIRD.to_owned()]]);
    // Done, and not recorded: then it is.
    world.inventory.shared.insert(id(VAULT), [].into());
    let plan = world.good_plan();
    assert_eq!(
        (all(&plan), plan.actions[0].action.operation()),
        (vec![vec![THIRD.to_owned()]], "CreateTags")
    );
    world.inventory.snapshots[0].tags.insert(tags::SHARED_WITH.into(), THIRD.into());
    assert_eq!(actions(&world.good_plan()), [""; 0]);
    // Nobody is left: the tag says so, or is not there at all.
    let mut none = shared(&[("s", shares(&[VAULT], Some(2)))], 3, &[]);
    for (recorded, n) in [(Some(VAULT), 1), (Some(""), 0), (None, 0)] {
        let tags = &mut none.inventory.snapshots[0].tags;
        tags.remove(tags::SHARED_WITH);
        tags.extend(recorded.map(|text| (tags::SHARED_WITH.to_owned(), text.to_owned())));
        assert_eq!(actions(&none.good_plan()).len(), n, "{recorded:?}");
    }
}

#[test]
fn what_is_no_target_leaves_or_is_archived_is_neither_shared_nor_unshared() {
    for with_whom in [&[][..], &[VAULT]] {
        let rule = [("s", shares(&[VAULT, THIRD], None)), ("t", shares(&[VAULT], Some(2)))];
        for rule in rule {
            let acts = |change: fn(&mut Rotation)| {
                let mut world = shared(std::slice::from_ref(&rule), 3, with_whom);
                change(&mut world);
                let lines = actions(&world.good_plan());
                lines
                    .iter()
                    .filter(|it| !it.starts_with("Create") && !it.starts_with("Delete"))
                    .count()
            };
            let left = acts(|it| it.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear());
            assert_eq!(left, 0);
            assert_eq!(acts(|it| it.inventory.snapshots[0].archived = true), 0);
            assert_eq!(acts(|it| it.documents[0]["State"] = json!("DISABLED")), 0);
            let others = acts(|it| {
                it.inventory.snapshots[0].tags.insert(tags::POLICY.into(), "q".into());
            });
            assert_eq!(others, 0);
            // The volume is gone: what was shared stays worth sharing.
            let gone = acts(|it| it.inventory.volumes.clear());
            assert_eq!(gone, acts(|_| {}));
        }
    }
}

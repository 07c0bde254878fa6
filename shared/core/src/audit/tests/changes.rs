//! Sharing, locks and fast restores, against plans that no planner should make.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::rules;
use crate::action::Action;
use crate::ec2::LockSnapshot;
use crate::inventory::{Snapshot, State};
use crate::policy::LockMode;
use crate::tags;
use crate::testing::{
    AWAY, HOME, MEMBER, Rotation, VAULT, copied, hours_ago, id, own, plan_of, schedule, scope,
    snap, until_copied, vault_place,
};

const THIRD: &str = "444444444444";

fn world(a: &Value, b: &Value) -> Rotation {
    let schedules = [schedule("a", a), schedule("b", b)];
    Rotation::new(&schedules, vec![own(1, "a,b", 3), own(2, "a", 3), own(3, "gone", 3)])
}

/// What is said of a change, which then is not done; deletions go on in any case, as there are none.
fn told(world: &Rotation, action: Action) -> String {
    let audited = world.audit(plan_of(scope(MEMBER, HOME), action));
    assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
    rules(&audited).join("; ")
}

#[test]
fn nothing_changes_but_what_is_ours_in_a_policy_in_force() {
    let rule = json!({"LockRule": {"Mode": "GOVERNANCE", "DurationDays": 9}});
    let refused = |n: u32, change: fn(&mut Rotation)| {
        let mut world = world(&rule, &json!({}));
        change(&mut world);
        told(&world, lock(n, LockMode::Governance, 9, None))
    };
    assert_eq!(refused(1, |_| {}), "");
    assert_eq!(refused(9, |_| {}), "it was not seen in this run");
    assert_eq!(refused(3, |_| {}), "no LockRule of its policy says so");
    for (change, rule) in [
        (
            (|it| drop(it.inventory.snapshots[0].tags.remove(tags::SLOT))) as fn(&mut Rotation),
            "it does not carry our tags",
        ),
        (|it| it.documents[0]["State"] = json!("DISABLED"), "its policy is not in force here"),
        (|it| it.documents[0]["Name"] = json!("q"), "its policy is not in force here"),
        (|it| it.inventory.snapshots[0].owner = id(VAULT), "it belongs to 222222222222"),
    ] {
        assert_eq!(refused(1, change), rule);
    }
}

fn shares(accounts: &[&str], days: Option<u32>) -> Value {
    let mut rule = json!({"TargetAccounts": accounts});
    if let Some(days) = days {
        rule["UnshareInterval"] = json!(days);
        rule["UnshareIntervalUnit"] = json!("DAYS");
    }
    json!({"ShareRules": [rule]})
}

#[test]
fn a_share_ends_only_when_every_schedule_says_so() {
    let unshare = |n: u32, accounts: &[&str]| Action::UnshareSnapshot {
        snapshot: snap(n),
        accounts: accounts.iter().map(|account| id(account)).collect(),
        all: [].into(),
    };
    let still = format!("schedule b still shares it with {VAULT}");
    let nobody = format!("no ShareRules of its policy name {THIRD}");
    for (a, b, n, accounts, rule) in [
        (shares(&[VAULT], Some(3)), json!({}), 1, &[VAULT][..], ""), // exactly so old
        (shares(&[VAULT], Some(3)), shares(&[VAULT], Some(3)), 1, &[VAULT], ""),
        (shares(&[VAULT], Some(3)), shares(&[VAULT], Some(4)), 1, &[VAULT], &*still),
        (shares(&[VAULT], Some(3)), shares(&[VAULT], Some(4)), 2, &[VAULT], ""),
        (shares(&[VAULT], Some(3)), shares(&[VAULT], None), 1, &[VAULT], &still),
        (json!({}), json!({}), 1, &[THIRD], &nobody),
        (shares(&[VAULT], Some(3)), json!({}), 1, &[THIRD], &nobody),
        (shares(&[VAULT], Some(3)), json!({}), 1, &[VAULT, THIRD], &nobody),
        (json!({}), shares(&[THIRD], Some(1)), 2, &[THIRD], &nobody), // of another schedule
    ] {
        assert_eq!(told(&world(&a, &b), unshare(n, accounts)), rule, "{a} {b} {n}");
    }
    let mut young = world(&shares(&[VAULT], Some(3)), &json!({}));
    young.now -= SignedDuration::from_secs(1);
    let early = format!("schedule a still shares it with {VAULT}");
    assert_eq!(told(&young, unshare(1, &[VAULT])), early);
}

#[test]
fn a_snapshot_is_shared_by_its_own_schedules_only() {
    let share = |n: u32| Action::ShareSnapshot {
        snapshot: snap(n),
        accounts: [id(VAULT)].into(),
        all: [id(VAULT)].into(),
    };
    let world = world(&json!({}), &shares(&[VAULT], None));
    assert_eq!(told(&world, share(1)), "");
    let nobody = format!("no ShareRules of its policy name {VAULT}");
    assert_eq!(told(&world, share(2)), nobody);
    assert_eq!(told(&world, share(3)), nobody);
}

fn lock(n: u32, mode: LockMode, days: i64, hours: Option<u8>) -> Action {
    Action::LockSnapshot(LockSnapshot {
        snapshot: snap(n),
        mode,
        until: hours_ago(24 * (3 - days)),
        cool_off_period_hours: hours,
    })
}

#[test]
fn a_lock_is_what_one_rule_says() {
    use LockMode::{Compliance, Governance};
    let rule = |mode: &str, days: u32, hours: u32| json!({"LockRule": {"Mode": mode, "DurationDays": days, "CoolOffPeriodHours": hours}});
    let world = world(&rule("GOVERNANCE", 9, 0), &rule("COMPLIANCE", 5, 3));
    let wrong = "no LockRule of its policy says so";
    for (action, rule) in [
        (lock(1, Governance, 9, None), ""),
        (lock(1, Governance, 8, None), ""),
        (lock(1, Governance, 10, None), wrong),
        (lock(1, Governance, 9, Some(3)), wrong),
        (lock(1, Compliance, 5, Some(3)), ""),
        (lock(1, Compliance, 5, None), wrong),
        (lock(1, Compliance, 5, Some(4)), wrong),
        (lock(1, Compliance, 6, Some(3)), wrong),
        // Of schedule a only.
        (lock(2, Compliance, 5, Some(3)), wrong),
        (lock(2, Governance, 9, None), ""),
    ] {
        assert_eq!(told(&world, action.clone()), rule, "{action:?}");
    }
}

#[test]
fn fast_restores_change_in_zones_that_a_rule_names() {
    let names = json!({"FastRestoreRule": {"Count": 1, "AvailabilityZones": ["eu-central-1a"]}});
    let ids = json!({"FastRestoreRule": {"Count": 1, "AvailabilityZoneIds": ["euc1-az2"]}});
    let mut world = world(&names, &ids);
    world.inventory.zones = Ok([
        ("euc1-az2".to_owned(), "eu-central-1b".to_owned()),
        ("euc1-az3".to_owned(), "eu-central-1c".to_owned()),
    ]
    .into());
    let both = |n: u32, zones: &[&str]| {
        let zones: std::collections::BTreeSet<String> =
            zones.iter().map(|zone| (*zone).to_owned()).collect();
        let (snapshot, same) = (snap(n), zones.clone());
        let enabled = told(&world, Action::EnableFastRestore { snapshot, zones });
        let disable = Action::DisableFastRestore { snapshot: snap(n), zones: same };
        assert_eq!(told(&world, disable), enabled);
        enabled
    };
    assert_eq!(both(1, &["eu-central-1a", "eu-central-1b"]), "");
    let nobody = |zone: &str| format!("no FastRestoreRule of its policy names {zone}");
    assert_eq!(both(1, &["eu-central-1a", "eu-central-1c"]), nobody("eu-central-1c"));
    assert_eq!(both(2, &["eu-central-1b"]), nobody("eu-central-1b"));
}

#[test]
fn a_share_ends_for_a_copy_only_where_every_region_of_the_vault_proves_it() {
    let unshare = |account: &str| Action::UnshareSnapshot {
        snapshot: snap(1),
        accounts: [id(account)].into(),
        all: [].into(),
    };
    let in_world = told;
    let told = |change: &dyn Fn(&mut Snapshot), region: &str| {
        let mut world = world(&until_copied(), &until_copied());
        for region in [HOME, AWAY] {
            world.inventory.vaults.insert(vault_place(region), Ok(vec![copied(1, 101, 3)]));
        }
        if let Some(Ok(copies)) = world.inventory.vaults.get_mut(&vault_place(region)) {
            change(&mut copies[0]);
        }
        in_world(&world, unshare(VAULT))
    };
    assert_eq!(told(&|_| {}, HOME), "");
    let still = format!("schedule a still shares it with {VAULT}");
    for region in [HOME, AWAY] {
        for (key, value) in [
            (tags::SOURCE_SNAPSHOT, "snap-00000002"),
            (tags::SOURCE_ACCOUNT, THIRD),
            (tags::SOURCE_REGION, AWAY),
            (tags::SCHEDULE, "a"),
        ] {
            let forged = |it: &mut Snapshot| {
                it.tags.insert(key.into(), value.into());
            };
            assert_eq!(told(&forged, region), still, "{key}");
        }
        assert_eq!(told(&|it| it.state = State::Pending, region), still);
        assert_eq!(told(&|it| it.owner = id(MEMBER), region), still);
        assert_eq!(told(&|it| drop(it.tags.remove(tags::SOURCE_VOLUME)), region), still);
    }
    let mut unread = world(&until_copied(), &json!({}));
    unread.inventory.vaults.insert(vault_place(HOME), Ok(vec![copied(1, 101, 3)]));
    assert_eq!(in_world(&unread, unshare(VAULT)), still);
    // Beside a schedule that shares it as long as it lives, a copy ends nothing.
    let mut beside = world(&until_copied(), &shares(&[VAULT], None));
    for region in [HOME, AWAY] {
        beside.inventory.vaults.insert(vault_place(region), Ok(vec![copied(1, 101, 3)]));
    }
    let still = format!("schedule b still shares it with {VAULT}");
    assert_eq!(in_world(&beside, unshare(VAULT)), still);
}

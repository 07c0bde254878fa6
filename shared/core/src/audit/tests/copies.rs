//! Copies within an account, and locks of copies, against plans that no planner should make.

use serde_json::{Value, json};

use super::rules;
use crate::action::Action;
use crate::ec2::{CopySnapshot, LockSnapshot};
use crate::inventory::Snapshot;
use crate::policy::LockMode;
use crate::tags;
use crate::testing::{
    AWAY, Copying, HOME, MEMBER, VAULT, copy_of, hours_ago, id, own, plan_of, schedule, scope,
    snap, source, stand_in,
};

fn copying(name: &str, more: &Value) -> Value {
    let mut rule = json!({"Target": AWAY, "Encrypted": false});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schedule(name, &json!({"CrossRegionCopyRules": [rule]}))
}

/// Schedules `a` and `b` copy, `c` does not.
fn world() -> Copying {
    let schedules = [
        copying("a", &json!({"RetainRule": {"Count": 1}})),
        copying("b", &json!({"RetainRule": {"Count": 1}})),
        schedule("c", &json!({})),
    ];
    Copying::within(&schedules, vec![own(1, "a,b,c", 0), own(2, "a", 0), own(3, "c", 0)])
}

fn copy(n: u32, schedules: &str) -> Snapshot {
    let mut copy = copy_of(n, 100 + n, i64::from(n));
    copy.owner = id(MEMBER);
    for (key, value) in [
        (tags::POLICY, "p"),
        (tags::RULE, AWAY),
        (tags::SCHEDULE, schedules),
        (tags::SOURCE_SNAPSHOT, snap(n).as_str()),
    ] {
        copy.tags.insert(key.into(), value.into());
    }
    copy
}

fn request(n: u32, schedules: &str) -> CopySnapshot {
    let mut tags = copy(n, schedules).tags;
    tags.insert(tags::SOURCE_START_TIME.into(), tags::instant(hours_ago(0)));
    tags.remove(tags::EXPIRES_AT); // the rules only count
    CopySnapshot {
        source: snap(n),
        source_region: id(HOME),
        source_encrypted: false,
        description: String::new(),
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: None,
        tags,
    }
}

fn told(world: &Copying, action: Action) -> String {
    let of = scope(world.inventory.account.as_str(), AWAY);
    let audited = world.audit(plan_of(of, action));
    assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
    rules(&audited).join("; ")
}

#[test]
fn a_copy_within_an_account_is_of_the_schedules_that_made_its_source() {
    let refused = |request: CopySnapshot, change: fn(&mut Copying)| {
        let mut world = world();
        change(&mut world);
        told(&world, Action::CopySnapshot(request))
    };
    let none: fn(&mut Copying) = |_| {};
    assert_eq!(refused(request(1, "a,b"), none), "");
    assert_eq!(refused(request(1, "a"), none), "");
    let other = "the source is of another schedule";
    assert_eq!(refused(request(2, "a,b"), none), other);
    assert_eq!(refused(request(2, "b"), none), other);
    let of_other = |it: &mut Copying| {
        let source = &mut it.inventory.sources.get_mut(&id(HOME)).unwrap()[0];
        source.tags.insert(tags::POLICY.into(), "q".into());
    };
    assert_eq!(refused(request(1, "a"), of_other), other);
    let no_rule = "its policy has no such rule";
    assert_eq!(refused(request(1, "a,c"), none), no_rule);
    assert_eq!(refused(request(3, "c"), none), no_rule);
    let of_vault = CopySnapshot { tags: copy_of(1, 9, 0).tags, ..request(1, "a") };
    assert_eq!(refused(of_vault, none), "its policy is not in force");
    let mut untold = request(1, "a");
    untold.tags.remove(tags::SCHEDULE);
    assert_eq!(refused(untold, none), other);
    let foreign =
        |it: &mut Copying| it.inventory.sources.get_mut(&id(HOME)).unwrap()[0].owner = id(VAULT);
    assert_eq!(refused(request(1, "a"), foreign), "the source is not what the policy copies");
    let not_ours =
        |it: &mut Copying| it.inventory.sources.get_mut(&id(HOME)).unwrap()[0].tags.clear();
    assert_eq!(refused(request(1, "a"), not_ours), "the source is not ours");
    let mut newer = request(1, "a");
    newer.tags.insert(tags::SOURCE_START_TIME.into(), tags::instant(hours_ago(-1)));
    assert_eq!(refused(newer, none), "its lineage would tell another start of its source");
    let mut encrypted = request(1, "a");
    encrypted.encrypted = true;
    assert_eq!(refused(encrypted, none), "the rule says another encryption");
    // And the vault's names no schedule.
    let vault = Copying::new(vec![source(1, 1)], vec![]);
    let mut schedules = request(1, "a");
    schedules.tags.insert(tags::POLICY.into(), "v".into());
    assert_eq!(
        told(&vault, Action::CopySnapshot(schedules)),
        "the source is not what the policy copies"
    );
}

#[test]
fn a_copy_leaves_by_its_own_functions_rules_only() {
    let refused = |n: u32, change: fn(&mut Copying)| {
        let mut world = world();
        let copies = vec![copy(1, "a,b"), copy(2, "a,b"), copy(3, "b")];
        world.inventory.targets.get_mut(&id(AWAY)).unwrap().copies = copies;
        change(&mut world);
        told(&world, Action::DeleteSnapshot(snap(100 + n)))
    };
    let none: fn(&mut Copying) = |_| {};
    assert_eq!(refused(2, none), "");
    assert_eq!(refused(3, none), "");
    let kept = format!("rule {AWAY} still keeps it");
    assert_eq!(refused(1, none), kept);
    // The newest of schedule b is older than that of schedule a.
    let apart = |it: &mut Copying| {
        let target = it.inventory.targets.get_mut(&id(AWAY)).unwrap();
        target.copies[0] = copy(1, "a");
    };
    assert_eq!(refused(2, apart), kept);
    assert_eq!(refused(3, apart), "");
    let vaults = |it: &mut Copying| {
        let target = it.inventory.targets.get_mut(&id(AWAY)).unwrap();
        target.copies[1].tags.remove(tags::SCHEDULE);
    };
    assert_eq!(refused(2, vaults), "it is a copy of the other function");
    let minimum = |it: &mut Copying| {
        let schedules = &mut it.documents[0]["PolicyDetails"]["Schedules"];
        schedules[1] = copying("b", &json!({"RetainRule": {"Count": 1, "MinimumCount": 3}}));
    };
    assert_eq!(refused(3, minimum), "2 copies would stay, and MinimumCount is 3");
    let rule_gone = |it: &mut Copying| {
        let schedules = &mut it.documents[0]["PolicyDetails"]["Schedules"];
        schedules[0] = schedule("a", &json!({}));
        schedules[1] = schedule("b", &json!({}));
    };
    assert_eq!(refused(2, rule_gone), "its snapferry:expires-at is not over");
    let for_ever = |it: &mut Copying| {
        let schedules = &mut it.documents[0]["PolicyDetails"]["Schedules"];
        schedules[1] = copying("b", &json!({}));
    };
    assert_eq!(refused(3, for_ever), "its rule keeps it for ever");
}

#[test]
fn periods_are_those_of_sources() {
    let refused = |n: u32, daily: u32| {
        let mut world = Copying::within(
            &[copying("a", &json!({"RetainRule": {"Keep": {"Daily": daily}}}))],
            vec![],
        );
        let copies = (1..=3).map(|n| {
            let mut copy = copy(n, "a");
            let start = tags::instant(hours_ago(24 * i64::from(n)));
            copy.tags.insert(tags::SOURCE_START_TIME.into(), start);
            copy
        });
        world.inventory.targets.get_mut(&id(AWAY)).unwrap().copies = copies.collect();
        told(&world, Action::DeleteSnapshot(snap(100 + n)))
    };
    let kept = format!("rule {AWAY} still keeps it");
    assert_eq!(refused(2, 1), "");
    assert_eq!(refused(2, 2), kept);
    assert_eq!(refused(3, 2), "");
    assert_eq!(refused(3, 3), kept);
}

#[test]
fn a_copy_is_locked_as_its_rule_says() {
    let refused = |n: u32, days: i64, change: fn(&mut Copying)| {
        let lock = json!({"LockRule": {"Mode": "GOVERNANCE", "DurationDays": 9}});
        let mut world = Copying::within(&[copying("a", &lock)], vec![]);
        let copies = vec![copy(1, "a"), copy(2, "b")];
        world.inventory.targets.get_mut(&id(AWAY)).unwrap().copies = copies;
        change(&mut world);
        let request = LockSnapshot {
            snapshot: snap(100 + n),
            mode: LockMode::Governance,
            until: hours_ago(i64::from(n) - 24 * days),
            cool_off_period_hours: None,
        };
        told(&world, Action::LockSnapshot(request))
    };
    let none: fn(&mut Copying) = |_| {};
    assert_eq!(refused(1, 9, none), "");
    let wrong = "no LockRule of its policy says so";
    assert_eq!(refused(1, 10, none), wrong);
    assert_eq!(refused(2, 9, none), wrong);
    assert_eq!(refused(3, 9, none), "it was not seen in this run");
    let disabled = |it: &mut Copying| it.documents[0]["State"] = json!("DISABLED");
    assert_eq!(refused(1, 9, disabled), "its policy is not in force");
}

#[test]
fn what_stands_in_for_a_snapshot_neither_goes_as_a_copy_nor_counts_as_one() {
    let mut world = world();
    let target = world.inventory.targets.get_mut(&id(AWAY)).unwrap();
    let mut old = copy(3, "a");
    old.tags.insert(tags::EXPIRES_AT.into(), "2026-11-20T00:00:00Z".into());
    old.tags.insert(tags::RULE.into(), "of-old-1".into());
    let mut one = stand_in(1, 11, 0);
    one.tags.insert(tags::EXPIRES_AT.into(), "2026-11-20T00:00:00Z".into());
    target.copies = vec![old, one];
    let delete = |n| Action::DeleteSnapshot(snap(n));
    assert_eq!(told(&world, delete(11)), "it stands in for a snapshot, and rotation drops it");
    let lost = "nothing newer of its source volume would stay in this Region";
    assert_eq!(told(&world, delete(103)), lost);
    let newer = copy(1, "a");
    world.inventory.targets.get_mut(&id(AWAY)).unwrap().copies.push(newer);
    assert_eq!(told(&world, delete(103)), "");
}

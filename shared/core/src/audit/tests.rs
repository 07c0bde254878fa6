//! The auditor against plans that no planner should make.

use serde_json::json;

use super::{AuditedPlan, Violation, taken_back};
use crate::action::{Action, Plan};
use crate::ec2::{CopySnapshot, CreateSnapshot};
use crate::inventory::{Guards, Snapshot, State};
use crate::tags;
use crate::testing::{
    AWAY, Copying, HOME, MEMBER, Rotation, SLOT, VAULT, copies, copy_of, deleted, hours_ago, id,
    key, map, own, plan_of, schedule, scope, snap, source, vol,
};

mod archive;
mod changes;
mod copied_tags;
mod copies;
mod copying;
mod scripts;
mod sets;
mod stand_ins;

fn rules((_, violations): &(AuditedPlan, Vec<Violation>)) -> Vec<&str> {
    violations.iter().map(|it| it.rule.as_str()).collect()
}

fn rotation() -> Rotation {
    let shares = json!({"RetainRule": {"Count": 1}, "ShareRules": [{"TargetAccounts": [VAULT]}]});
    let snapshots = (1..=3).map(|n| own(n, "s", n.into())).collect();
    Rotation::new(&[schedule("s", &shares)], snapshots)
}

fn create() -> CreateSnapshot {
    CreateSnapshot {
        volume: vol(1),
        description: String::new(),
        tags: map(&[(tags::POLICY, "p"), (tags::SCHEDULE, "s"), (tags::SLOT, SLOT)]),
    }
}

/// A creation beside deletions that are fine: what the auditor says, and that it withholds the deletions only.
fn creating(requests: Vec<CreateSnapshot>) -> String {
    let world = rotation();
    let mut plan = world.plan();
    assert_eq!(deleted(&plan), [snap(2), snap(3)].into());
    plan.actions.retain(|it| it.action.is_destructive());
    let n = requests.len();
    for request in requests {
        let more = plan_of(scope(MEMBER, HOME), Action::CreateSnapshot(request));
        plan.actions.extend(more.actions);
    }
    let audited = world.audit(plan);
    let rules = rules(&audited).join("; ");
    let left = audited.0.actions();
    assert_eq!(left.iter().filter(|it| it.action.creates()).count(), n, "creations go on");
    let deletions = if rules.is_empty() { 2 } else { 0 };
    assert_eq!(left.len(), n + deletions, "{rules}");
    rules
}

#[test]
fn a_doubtful_creation_withholds_deletions_and_goes_on() {
    let changed = |change: fn(&mut CreateSnapshot)| {
        let mut request = create();
        change(&mut request);
        creating(vec![request])
    };
    assert_eq!(changed(|_| {}), "");
    for (change, rule) in [
        (
            (|it| it.tags.clear()) as fn(&mut CreateSnapshot),
            "the new snapshot would not carry our tags",
        ),
        (
            |it| drop(it.tags.insert(tags::POLICY.into(), "q".into())),
            "its policy is not in force here",
        ),
        (|it| it.volume = vol(9), "its volume was not seen"),
        (
            |it| {
                it.tags.extend((0..50).map(|n| (n.to_string(), "x".into())));
            },
            "53 tags are more than EC2 takes",
        ),
    ] {
        assert_eq!(changed(change), rule);
    }
    let twice = creating(vec![create(), create()]);
    assert_eq!(twice, format!("slot {SLOT} of schedule s is served twice"));
    let newest = changed(|it| {
        let slot = own(1, "s", 1).tags.remove(tags::SLOT).unwrap();
        it.tags.insert(tags::SLOT.into(), slot);
    });
    assert!(newest.ends_with(" of schedule s is served already"), "{newest}");
}

#[test]
fn one_that_failed_leaves_only_by_a_policy_in_force() {
    let refused = |change: fn(&mut Rotation)| {
        let mut world = rotation();
        world.inventory.snapshots[2].state = State::Error;
        change(&mut world);
        let plan = plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(3)));
        rules(&world.audit(plan)).join("; ")
    };
    assert_eq!(refused(|_| {}), "");
    let gone = "its policy is not in force here";
    assert_eq!(refused(|it| it.documents[0]["State"] = json!("DISABLED")), gone);
    assert_eq!(refused(|it| it.documents[0]["Name"] = json!("q")), gone);
    let refused = |change: fn(&mut Copying)| {
        let mut world = Copying::new(vec![], vec![copy_of(1, 1, 1), copy_of(2, 2, 2)]);
        world.target().copies[1].state = State::Error;
        change(&mut world);
        let plan = plan_of(scope(VAULT, HOME), Action::DeleteSnapshot(snap(2)));
        rules(&world.audit(plan)).join("; ")
    };
    assert_eq!(refused(|_| {}), "");
    assert_eq!(refused(|it| it.documents[0]["Name"] = json!("w")), "", "gone by all documents");
    let not_given = refused(|it| {
        it.documents[0]["Name"] = json!("w");
        it.whole = false;
    });
    assert_eq!(not_given, "its policy is not among the documents of this run");
}

#[test]
fn a_creation_for_what_is_no_target_is_told() {
    let mut world = rotation();
    world.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear();
    let plan = plan_of(scope(MEMBER, HOME), Action::CreateSnapshot(create()));
    let audited = world.audit(plan);
    assert_eq!(rules(&audited), [format!("{} is no target of policy p", vol(1))]);
}

#[test]
fn what_a_rotation_may_not_do_at_all_is_withheld() {
    let world = rotation();
    let share = |snapshot, account: &str| Action::ShareSnapshot {
        snapshot,
        accounts: [id(account)].into(),
        all: [id(account)].into(),
    };
    let copy = Action::CopySnapshot(copy_request());
    let here = scope(MEMBER, HOME);
    for (plan, rule) in [
        (
            plan_of(here.clone(), share(snap(1), "444444444444")),
            "no ShareRules of its policy name 444444444444",
        ),
        (plan_of(here.clone(), share(snap(9), VAULT)), "it was not seen in this run"),
        (plan_of(here, copy), "it has no place in the plan of a scope"),
        (plan_of(scope(MEMBER, AWAY), share(snap(1), VAULT)), "planned for another scope"),
        (
            plan_of(scope(VAULT, HOME), Action::CreateSnapshot(create())),
            "planned for another scope",
        ),
    ] {
        let audited = world.audit(plan);
        assert_eq!(rules(&audited), [rule]);
        assert_eq!(audited.0.actions(), []);
        assert_eq!(audited.0.into_parts().1.len(), 1);
    }
    let fine = plan_of(scope(MEMBER, HOME), share(snap(1), VAULT));
    assert_eq!(world.audit(fine).1, []);
}

#[test]
fn a_deletion_has_to_pass_every_rule() {
    let refused = |n: u32, change: fn(&mut Rotation)| {
        let mut world = rotation();
        change(&mut world);
        let audited = world.audit(plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(n))));
        assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
        rules(&audited).join("; ")
    };
    assert_eq!(refused(3, |_| {}), "");
    for (change, rule) in [
        (
            (|it| it.inventory.snapshots[2].owner = id(VAULT)) as fn(&mut Rotation),
            "it belongs to 222222222222",
        ),
        (|it| it.inventory.snapshots[2].state = State::Pending, "it is pending"),
        (
            |it| drop(it.inventory.snapshots[2].tags.remove(tags::SCHEDULE)),
            "it does not carry our complete set of tags",
        ),
        (|it| it.inventory.guards = Err("x".into()), "its guards are unknown: x"),
        (|it| it.inventory.snapshots.truncate(2), "it was not seen in this run"),
        (|it| it.documents[0]["State"] = json!("DISABLED"), "its policy is disabled"),
        (
            |it| {
                for other in &mut it.inventory.snapshots[..2] {
                    other.state = State::Pending;
                }
            },
            "nothing newer of its volume would stay",
        ),
        (
            |it| {
                it.documents[0]["PolicyDetails"]["Schedules"][0]["RetainRule"] =
                    json!({"Count": 3});
            },
            "schedule s still keeps it",
        ),
        (
            |it| {
                it.documents = vec![crate::testing::policy("q", &[schedule("s", &json!({}))])];
            },
            "its policy is gone and its own expiry is not over",
        ),
        (
            |it| {
                it.documents = vec![crate::testing::policy("q", &[schedule("s", &json!({}))])];
                it.whole = false;
            },
            "its policy is not among the documents of this run",
        ),
        (|it| it.documents.push(copies("p2")), ""),
    ] {
        assert_eq!(refused(3, change), rule);
    }
    assert_eq!(refused(1, |_| {}), "nothing newer of its volume would stay");
}

#[test]
fn deletions_are_judged_by_what_the_whole_plan_leaves() {
    let world = rotation();
    let mut plan = Plan::default();
    for n in 1..=3 {
        let one = plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(n)));
        plan.actions.extend(one.actions);
    }
    let audited = world.audit(plan);
    assert_eq!(rules(&audited), ["nothing newer of its volume would stay"; 3]);
    assert_eq!(audited.0.actions(), []);
}

// ---- the vault

fn copy_request() -> CopySnapshot {
    let mut tags = copy_of(1, 9, 0).tags;
    tags.insert(tags::SOURCE_START_TIME.into(), tags::instant(hours_ago(1)));
    CopySnapshot {
        source: snap(1),
        source_region: id(HOME),
        source_encrypted: false,
        description: String::new(),
        encrypted: true,
        kms_key: Some(id(&key(HOME))),
        completion_duration_minutes: None,
        tags,
    }
}

#[test]
fn a_copy_has_to_be_the_rules() {
    let refused = |change: fn(&mut CopySnapshot), world: fn(&mut Copying)| {
        let mut facts = Copying::new(vec![source(1, 1)], vec![]);
        world(&mut facts);
        let mut request = copy_request();
        change(&mut request);
        let audited = facts.audit(plan_of(scope(VAULT, HOME), Action::CopySnapshot(request)));
        assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
        rules(&audited).join("; ")
    };
    assert_eq!(refused(|_| {}, |_| {}), "");
    for (change, rule) in [
        (
            (|it| drop(it.tags.remove(tags::SOURCE_REGION))) as fn(&mut CopySnapshot),
            "the copy would not carry its lineage",
        ),
        (|it| it.source = snap(7), "the source was not seen in this run"),
        (|it| it.source_region = id(AWAY), "the source was not seen in this run"),
        (|it| it.kms_key = None, "the rule says another encryption"),
        (|it| it.kms_key = Some(id(&key(AWAY))), "the rule says another encryption"),
        (|it| it.encrypted = false, "the rule says another encryption"),
        (
            |it| {
                drop(it.tags.insert(tags::SOURCE_SNAPSHOT.into(), snap(7).to_string()));
            },
            "its lineage would name another source",
        ),
        (|it| drop(it.tags.insert(tags::RULE.into(), "x".into())), "its policy has no such rule"),
        (|it| drop(it.tags.insert(tags::POLICY.into(), "x".into())), "its policy is not in force"),
        (
            |it| drop(it.tags.insert(tags::RULE.into(), AWAY.into())),
            "the rule copies to eu-west-1, not to 222222222222/eu-central-1",
        ),
        (
            |it| {
                it.tags.extend((0..50).map(|n| (n.to_string(), "x".into())));
            },
            "58 tags are more than EC2 takes",
        ),
    ] {
        assert_eq!(refused(change, |_| {}), rule);
    }
    let stranger = |it: &mut Copying| {
        it.inventory.sources.get_mut(&id(HOME)).unwrap()[0].owner = id("444444444444");
    };
    assert_eq!(refused(|_| {}, stranger), "444444444444 is no SnapshotOwner of policy v");
    let disabled = |it: &mut Copying| it.documents[0]["State"] = json!("DISABLED");
    assert_eq!(refused(|_| {}, disabled), "its policy is not in force");
}

#[test]
fn the_vault_neither_creates_nor_shares_nor_copies_twice() {
    let world = Copying::new(vec![source(1, 1)], vec![]);
    let share = Action::RecordShare { snapshot: snap(1), all: [id(VAULT)].into() };
    for action in [Action::CreateSnapshot(create()), share] {
        let audited = world.audit(plan_of(scope(VAULT, HOME), action));
        assert_eq!(rules(&audited), ["copying neither creates nor shares"]);
        assert_eq!(audited.0.actions(), []);
    }
    let mut plan = plan_of(scope(VAULT, HOME), Action::CopySnapshot(copy_request()));
    plan.actions.push(plan.actions[0].clone());
    let audited = world.audit(plan);
    assert_eq!(rules(&audited), ["the same copy is planned twice"]);
    assert_eq!(audited.0.actions().len(), 1, "the first is done");
}

#[test]
fn the_end_of_a_copy_has_to_pass_every_rule() {
    let refused = |n: &[u32], change: fn(&mut Copying)| {
        let old = vec![copy_of(1, 1, 1), copy_of(2, 2, 60), copy_of(3, 3, 70)];
        let mut world = Copying::new(vec![], old);
        change(&mut world);
        let mut plan = Plan::default();
        for n in n {
            let one = plan_of(scope(VAULT, HOME), Action::DeleteSnapshot(snap(*n)));
            plan.actions.extend(one.actions);
        }
        let audited = world.audit(plan);
        assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
        rules(&audited).join("; ")
    };
    assert_eq!(refused(&[2, 3], |_| {}), "");
    assert_eq!(refused(&[1], |_| {}), "its snapferry:expires-at is not over");
    for (change, rule) in [
        (
            (|it| it.inventory.whole = false) as fn(&mut Copying),
            "only a sweep sees enough to judge a copy by its age",
        ),
        (|it| drop(it.target().copies.remove(2)), "it was not seen in this run"),
        (|it| it.inventory.targets.clear(), "its Region was not read"),
        (|it| it.target().copies[2].owner = id(MEMBER), "it belongs to 333333333333"),
        (|it| it.target().copies[2].state = State::Pending, "it is pending"),
        (
            |it| {
                let locked = [snap(3)].into();
                it.target().guards = Ok(Guards { locked, ..Guards::default() });
            },
            "it is locked",
        ),
        (
            |it| drop(it.target().copies[2].tags.remove(tags::SOURCE_ACCOUNT)),
            "it does not carry our complete set of tags",
        ),
        (|it| it.documents[0]["State"] = json!("DISABLED"), "its policy is disabled"),
        (
            |it| {
                it.documents = vec![copies("w")];
                it.whole = false;
            },
            "its policy is not among the documents of this run",
        ),
        (
            |it| {
                let rules = &mut it.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
                rules[0]["RetainRule"]["MinimumCount"] = json!(3);
            },
            "2 copies would stay, and MinimumCount is 3",
        ),
        // The newest of its volume: the others are older, of another volume, or not good.
        (
            |it| {
                let newer = &mut it.target().copies[..2];
                newer[0].state = State::Error;
                newer[1].tags.insert(tags::SOURCE_VOLUME.into(), vol(7).to_string());
            },
            "nothing newer of its source volume would stay in this Region",
        ),
        (
            |it| it.target().copies[2].start_time += jiff::SignedDuration::from_hours(70),
            "nothing newer of its source volume would stay in this Region",
        ),
    ] {
        assert_eq!(refused(&[3], change), rule);
    }
    let all_expired = |it: &mut Copying| it.now += jiff::SignedDuration::from_hours(100);
    let complaint = "nothing newer of its source volume would stay in this Region";
    assert_eq!(refused(&[1, 2, 3], all_expired), [complaint; 3].join("; "));
    assert_eq!(refused(&[2, 3], all_expired), "");
}

#[test]
fn a_violation_in_one_region_withholds_nothing_in_another() {
    let old = || vec![copy_of(1, 1, 1), copy_of(2, 2, 60)];
    let mut world = Copying::new(vec![], old());
    let mut away = world.target().clone();
    for (copy, n) in away.copies.iter_mut().zip(11..) {
        copy.id = snap(n);
        copy.tags.insert(tags::RULE.into(), AWAY.into());
    }
    world.inventory.targets.insert(id(AWAY), away);
    let mut plan = Plan::default();
    for (region, n) in [(HOME, 1), (HOME, 2), (AWAY, 12)] {
        plan.actions.extend(plan_of(scope(VAULT, region), Action::DeleteSnapshot(snap(n))).actions);
    }
    let (audited, violations) = world.audit(plan);
    assert!(violations.iter().all(|it| it.scope == scope(VAULT, HOME)) && !violations.is_empty());
    let left: Vec<_> = audited.actions().iter().map(|it| it.scope.clone()).collect();
    assert_eq!(left, [scope(VAULT, AWAY)]);
}

#[test]
fn a_repetition_may_go_while_the_older_stays() {
    let twins = || vec![copy_of(1, 1, 2), copy_of(1, 2, 1)];
    let audited = |n: &[u32]| {
        let mut world = Copying::new(vec![], twins());
        world.inventory.whole = false;
        let mut plan = Plan::default();
        for n in n {
            let one = plan_of(scope(VAULT, HOME), Action::DeleteSnapshot(snap(*n)));
            plan.actions.extend(one.actions);
        }
        world.audit(plan).1.len()
    };
    assert_eq!(audited(&[2]), 0);
    assert_eq!(audited(&[1]), 1, "the older is judged by its age");
    assert_eq!(audited(&[1, 2]), 2, "never both at once");
}

#[test]
fn a_mistaken_edit_is_more_than_one_run_may_delete() {
    // 60 generations of 40 volumes, and the policy suddenly keeps one.
    let mut snapshots = Vec::new();
    for volume in 0..40 {
        for night in 1..=60 {
            let mut snapshot = own(volume * 100 + night, "s", night.into());
            snapshot.volume_id = vol(volume);
            snapshots.push(snapshot);
        }
    }
    let mut world =
        Rotation::new(&[schedule("s", &json!({"RetainRule": {"Count": 1}}))], snapshots);
    world.inventory.volumes = (0..40).map(|n| (vol(n), crate::testing::volume(n))).collect();
    let audited = world.audit(world.plan());
    let rules = rules(&audited).join("");
    assert!(rules.starts_with("2360 deletions are planned and 120 are the most"), "{rules}");
    assert_eq!(audited.0.actions().len(), 40, "creations go on");
    assert_eq!(audited.0.into_parts().1.len(), 2360);
}

// ---- what a run made itself

#[test]
fn only_what_this_run_made_and_another_has_too_is_taken_back() {
    let created = plan_of(scope(MEMBER, HOME), Action::CreateSnapshot(create())).actions.remove(0);
    let copied =
        plan_of(scope(VAULT, HOME), Action::CopySnapshot(copy_request())).actions.remove(0);
    let shared = plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(2))).actions.remove(0);
    let younger = |mut snapshot: Snapshot| {
        snapshot.start_time += jiff::SignedDuration::from_millis(1);
        snapshot
    };
    let mine = younger(own(2, "s", 0));
    let older = own(1, "s", 0);
    assert_eq!(taken_back(&created, &snap(2), &mine, &older), Ok(()));
    assert_eq!(
        taken_back(&copied, &snap(2), &younger(copy_of(1, 2, 1)), &copy_of(1, 1, 1)),
        Ok(())
    );
    let changed = |snapshot: &Snapshot, change: fn(&mut Snapshot)| {
        let mut snapshot = snapshot.clone();
        change(&mut snapshot);
        snapshot
    };
    let refused = |mine: &Snapshot, older: &Snapshot| {
        taken_back(&created, &snap(2), mine, older).unwrap_err()
    };
    assert_eq!(refused(&older, &mine), "it is not the one that this run made");
    assert_eq!(refused(&mine, &mine), "it is not the one that this run made");
    for (theirs, rule) in [
        (changed(&older, |it| it.state = State::Error), "snap-00000001 is error"),
        (
            changed(&older, |it| it.state = State::Other),
            "snap-00000001 is neither pending, completed nor error",
        ),
        (changed(&older, |it| it.owner = id(VAULT)), "it belongs to another account"),
        (younger(younger(older.clone())), "snap-00000001 is not older"),
        (changed(&older, |it| it.volume_id = vol(2)), "snap-00000001 serves another purpose"),
        (
            changed(&older, |it| drop(it.tags.remove(tags::SLOT))),
            "snap-00000001 serves another purpose",
        ),
    ] {
        assert_eq!(refused(&mine, &theirs), rule);
    }
    let untagged = |snapshot: &Snapshot| changed(snapshot, |it| it.tags.clear());
    assert_eq!(
        refused(&untagged(&mine), &untagged(&older)),
        "snap-00000001 serves another purpose"
    );
    assert_eq!(
        taken_back(&shared, &snap(2), &mine, &older),
        Err("this run did not make it".into())
    );
}

//! What copies are generations of, where EC2 does not tell.

use serde_json::{Value, json};

use super::{copied, with};
use crate::action::{Action, Plan};
use crate::inventory::{Snapshot, State};
use crate::policy::Tags;
use crate::tags;
use crate::testing::{
    Copying, HOME, actions, copy_of, deleted, held, id, key, now, snap, source, vol,
};

/// To one Region only, kept by this rule.
fn world(rule: &Value, sources: Vec<Snapshot>, copies: Vec<Snapshot>) -> Copying {
    let mut world = Copying::new(sources, copies);
    let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules.as_array_mut().unwrap().pop();
    rules[0]["RetainRule"] = rule.clone();
    world
}

/// A snapshot that its owner made as a copy: EC2 shows a placeholder for the volume.
fn itself_a_copy(source: Snapshot, description: &str) -> Snapshot {
    with(source, |it| {
        it.volume_id = id("vol-ffffffff");
        it.description = format!("Created for policy: {description}");
    })
}

fn described(copy: Snapshot) -> Snapshot {
    with(copy, |it| {
        drop(it.tags.insert(tags::SOURCE_VOLUME_BY.into(), "description".into()));
    })
}

fn unknown(copy: Snapshot) -> Snapshot {
    with(copy, |it| {
        drop(it.tags.insert(tags::SOURCE_VOLUME.into(), "vol-ffffffff".into()));
    })
}

fn told(plan: &Plan) -> Option<&str> {
    plan.actions.first().and_then(|it| match &it.action {
        Action::CopySnapshot(request) => {
            Some(request.tags.get(tags::SOURCE_VOLUME_BY).map_or("", String::as_str))
        }
        _ => None,
    })
}

#[test]
fn a_copy_tells_who_told_the_volume() {
    let with_volume = format!("p schedule: s slot: 2026-11-22T02:00:00Z volume: {}", vol(1));
    for (shared, by) in [
        (source(1, 1), ""),
        (itself_a_copy(source(1, 1), &with_volume), "description"),
        (itself_a_copy(source(1, 1), "by hand"), ""),
    ] {
        let plan = Copying::new(vec![shared], vec![]).good_plan();
        assert_eq!(told(&plan), Some(by));
    }
}

#[test]
fn what_is_described_pushes_nothing_out_that_ec2_told() {
    for rule in [json!({"Count": 1}), json!({"Interval": 2, "IntervalUnit": "DAYS"})] {
        // Older than the rule keeps, and the last that EC2 told of the volume; three forged ones are newer.
        let real = copy_of(1, 101, 50);
        let forged = (2..5).map(|n| described(copy_of(n, 100 + n, i64::from(n))));
        let plan = world(&rule, vec![], forged.chain([real]).collect()).good_plan();
        assert!(!deleted(&plan).contains(&snap(101)), "{rule}");
        // Among themselves they count.
        let expected = if rule["Count"] == 1 { 2 } else { 0 };
        assert_eq!(deleted(&plan).len(), expected);
    }
}

#[test]
fn of_volumes_that_nobody_tells_every_copy_may_be_the_last() {
    let sources = || (1..=3).map(|n| itself_a_copy(source(n, i64::from(n)), "by hand")).collect();
    for rule in [json!({"Count": 1}), json!({"Interval": 2, "IntervalUnit": "DAYS"})] {
        let plan = world(&rule, sources(), vec![]).good_plan();
        assert_eq!(copied(&plan).len(), 3, "none is another's generation: {rule}");
        let copies = (1..=3).map(|n| unknown(copy_of(n, 100 + n, 50 + i64::from(n)))).collect();
        let plan = world(&rule, vec![], copies).good_plan();
        assert_eq!(deleted(&plan).len(), 0, "{rule}");
        let why = held(&plan);
        let expected = if rule["Count"] == 1 { 0 } else { 3 };
        let unknown = why.iter().filter(|it| it.contains("nothing tells which volume it is of"));
        assert_eq!(unknown.count(), expected, "{why:?}");
    }
}

#[test]
fn nobody_makes_anothers_volume_look_fresh() {
    let old = copy_of(1, 101, 40);
    let other = with(described(copy_of(2, 102, 1)), |it| {
        drop(it.tags.insert(tags::SOURCE_ACCOUNT.into(), "444444444444".into()));
    });
    let own_words = described(copy_of(3, 103, 2));
    let plan = world(&json!({"Count": 9}), vec![], vec![old, other, own_words]).good_plan();
    let mut newest: Vec<_> = plan.coverage.iter().filter_map(|it| it.newest_completed).collect();
    newest.sort();
    let hours: Vec<i64> = newest.iter().map(|at| now().duration_since(*at).as_hours()).collect();
    assert_eq!(hours, [40, 2, 1], "each by itself");
    assert!(plan.coverage.iter().all(|it| it.volume == vol(1)));
}

#[test]
fn a_repetition_is_not_locked() {
    let lock = json!({"Mode": "COMPLIANCE", "DurationDays": 30});
    let locked = |copies: Vec<Snapshot>| {
        let mut world = world(&json!({"Count": 9}), vec![], copies);
        world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0]["LockRule"] =
            lock.clone();
        let plan = world.good_plan();
        let locks = plan.actions.iter().filter(|it| it.action.operation() == "LockSnapshot");
        locks.filter_map(|it| it.subject.snapshot.clone()).collect::<Vec<_>>()
    };
    let pending = |copy: Snapshot| with(copy, |it| it.state = State::Pending);
    let failed = |copy: Snapshot| with(copy, |it| it.state = State::Error);
    let (older, younger) = (copy_of(1, 101, 2), copy_of(1, 102, 1));
    assert_eq!(locked(vec![pending(older.clone()), pending(younger.clone())]), [snap(101)]);
    assert_eq!(locked(vec![failed(older.clone()), pending(younger.clone())]), [snap(102)]);
    assert_eq!(locked(vec![older, younger]), [snap(101)]);
}

#[test]
fn the_audit_wants_the_volume_that_ec2_tells() {
    let refused = |shared: Snapshot, change: &dyn Fn(&mut Tags)| {
        let world = Copying::new(vec![shared], vec![]);
        let mut plan = world.plan();
        for planned in &mut plan.actions {
            if let Action::CopySnapshot(request) = &mut planned.action {
                change(&mut request.tags);
            }
        }
        let (_, violations) = world.audit(plan);
        !violations.is_empty()
            && violations.iter().all(|it| it.rule.contains("the volume that EC2 tells"))
    };
    let by = |tags: &mut Tags| {
        drop(tags.insert(tags::SOURCE_VOLUME_BY.into(), "description".into()));
    };
    let other = |tags: &mut Tags| {
        drop(tags.insert(tags::SOURCE_VOLUME.into(), vol(7).to_string()));
    };
    assert!(refused(source(1, 1), &by));
    assert!(refused(source(1, 1), &other));
    assert!(refused(itself_a_copy(source(1, 1), "by hand"), &by));
    assert!(refused(itself_a_copy(source(1, 1), "by hand"), &other));
    assert!(!refused(source(1, 1), &|_| {}));
}

#[test]
fn copies_that_are_not_encrypted_as_the_rule_says_are_told_and_stay() {
    let under = |n: u32, arn: Option<&str>| {
        with(copy_of(n, 100 + n, i64::from(n)), |it| {
            it.encrypted = arn.is_some();
            it.kms_key_id = arn.map(Into::into);
        })
    };
    let ours = key(HOME);
    let copies = vec![
        under(1, Some(&ours)),
        under(2, Some("arn:aws:kms:eu-central-1:222222222222:key/before")),
        under(3, None),
        with(under(4, None), |it| it.state = State::Pending),
    ];
    let rule = json!({"Count": 9});
    let mut world = world(&rule, vec![], copies);
    let plan = world.good_plan();
    let why = |n: u32, key: &str| {
        format!(
            ": {n} completed copies by rule eu-central-1 are not under {key}, as the rule has it; new ones are, these \
             stay until their time"
        )
    };
    assert_eq!((held(&plan), actions(&plan)), (vec![why(2, &ours)], vec![]));
    let encryption = |world: &mut Copying, value: Value| {
        let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
        rules[0]["EncryptionConfiguration"] = value;
        held(&world.good_plan())
    };
    assert_eq!(encryption(&mut world, json!({"Encrypted": true})), [why(1, "a key")]);
    assert_eq!(encryption(&mut world, json!({"Encrypted": false})), [""; 0]);
}

#[test]
fn failures_are_remembered_while_their_source_cannot_be_looked_for() {
    let failed = |n, hours| with(copy_of(1, n, hours), |it| it.state = State::Error);
    let rule = json!({"Count": 9});
    let mut world = world(&rule, vec![source(1, 5)], vec![failed(8, 2), failed(9, 0)]);
    world.inventory.sources.clear();
    let plan = world.good_plan();
    assert_eq!((deleted(&plan).len(), plan.impossible.len()), (0, 0), "its Region was not read");
    world.inventory.sources.insert(id(HOME), vec![source(2, 5)]);
    world.inventory.whole = false;
    assert_eq!(deleted(&world.good_plan()).len(), 0, "an event names another");
    world.inventory.whole = true;
    assert_eq!(deleted(&world.good_plan()).len(), 2, "it is not shared any more");
}

/// Nobody writes that, but anybody can: such a copy is of what its source is, for planner and auditor alike.
#[test]
fn a_description_that_told_no_volume_is_as_none() {
    let of_gone = |copy: Snapshot| {
        with(unknown(copy), |it| {
            drop(it.tags.insert(tags::POLICY.into(), "gone".into()));
        })
    };
    let older = described(of_gone(copy_of(1, 11, 60)));
    let newer = with(of_gone(copy_of(1, 12, 10)), |it| {
        drop(it.tags.insert(tags::RULE.into(), "eu-central-1/2".into()));
    });
    let plan = Copying::new(vec![], vec![older, newer]).good_plan();
    assert_eq!(deleted(&plan), [snap(11)].into(), "{:?}", held(&plan));
}

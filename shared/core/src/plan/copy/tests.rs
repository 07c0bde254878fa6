//! The plan of `copy-shared-snapshots`, decision by decision.

use jiff::SignedDuration;
use serde_json::json;

use crate::action::{Action, Plan};
use crate::ec2::{Ec2Error, ErrorKind};
use crate::ids::{Region, SnapshotId};
use crate::inventory::{Guards, Snapshot, State};
use crate::tags;
use crate::testing::{
    AWAY, Copying, HOME, VAULT, actions, copies, copy_of, deleted, held, hours_ago, id, key, now,
    snap, source, vol,
};

mod counts;
mod keys;
mod lineage;
mod locks;
mod queue;
mod source_tags;
mod within;

fn with(mut snapshot: Snapshot, change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    change(&mut snapshot);
    snapshot
}

fn copied(plan: &Plan) -> Vec<String> {
    let actions = actions(plan).into_iter();
    actions.filter(|it| it.starts_with("CopySnapshot")).collect()
}

/// Also what waits for a place.
fn wanted(plan: &Plan) -> Vec<String> {
    let waiting = plan.deferred.iter().map(|it| it.planned.clone());
    let actions = plan.actions.iter().cloned().chain(waiting).collect();
    copied(&Plan { actions, ..Plan::default() })
}

/// A source of another volume.
fn of_volume(n: u32, source: Snapshot) -> Snapshot {
    with(source, |it| it.volume_id = vol(n))
}

#[test]
fn a_rule_is_served_by_what_is_or_may_become_good() {
    let here = |why: &str| format!("CopySnapshot {} to {HOME}: {why}", snap(1));
    let away =
        format!("CopySnapshot {} to {AWAY}: shared with this account and not copied yet", snap(1));
    let none = here("shared with this account and not copied yet");
    let failed = here(&format!("the only copy, {}, ended in error", snap(2)));
    let tagged = |tag: &str, value: &str| {
        with(copy_of(1, 2, 1), |it| {
            drop(it.tags.insert(tag.into(), value.into()));
        })
    };
    let cases = [
        (vec![], vec![none.clone()]),
        (vec![copy_of(1, 2, 1)], vec![]),
        (vec![with(copy_of(1, 2, 1), |it| it.state = State::Pending)], vec![]),
        (vec![with(copy_of(1, 2, 1), |it| it.state = State::Other)], vec![]),
        (vec![with(copy_of(1, 2, 1), |it| it.state = State::Error)], vec![failed]),
        (vec![with(copy_of(1, 2, 1), |it| it.state = State::Error), copy_of(1, 3, 1)], vec![]),
        // Of another source, by another policy or rule, of another account, without all of its tags.
        (vec![copy_of(9, 2, 1)], vec![none.clone()]),
        (vec![tagged(tags::POLICY, "w")], vec![none.clone()]),
        (vec![tagged(tags::RULE, "eu-central-1/1")], vec![none.clone()]),
        (vec![tagged(tags::SOURCE_VOLUME, "")], vec![none.clone()]),
        (vec![with(copy_of(1, 2, 1), |it| it.owner = id("333333333333"))], vec![none]),
    ];
    for (copies, mut wanted) in cases {
        let world = Copying::new(vec![source(1, 1)], copies);
        wanted.push(away.clone());
        assert_eq!(copied(&world.good_plan()), wanted, "{:?}", world.inventory.targets);
    }
}

#[test]
fn the_request_is_the_rules_and_the_lineage_is_the_sources() {
    let mut world = Copying::new(vec![source(1, 1)], vec![]);
    let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[1]["TagsToAdd"] = json!([{"Key": "Cost", "Value": "7"}]);
    rules[1]["CompletionDurationMinutes"] = json!(45);
    let plan = world.good_plan();
    let Action::CopySnapshot(request) = &plan.actions[1].action else {
        panic!("{:?}", actions(&plan));
    };
    assert_eq!((request.encrypted, request.kms_key.as_ref()), (true, Some(&id(&key(AWAY)))));
    assert_eq!(request.completion_duration_minutes, Some(45));
    assert_eq!((request.source.clone(), request.source_region.clone()), (snap(1), id(HOME)));
    assert!(
        request
            .description
            .starts_with("Copied snap-00000001 of 333333333333 from eu-central-1. Created")
    );
    assert_eq!(request.tags["Cost"], "7");
    assert_eq!(request.tags[tags::EXPIRES_AT], "2026-11-24T02:05:00Z");
    assert_eq!(request.tags[tags::SOURCE_VOLUME], vol(1).as_str());
}

#[test]
fn a_copied_source_tells_its_volume_in_its_description() {
    // Of a copy EC2 shows a placeholder for the volume.
    let placeholder = |it: &mut Snapshot| it.volume_id = id("vol-ffffffff");
    for (shared, volume) in [
        (with(source(1, 1), placeholder), vol(1)),
        (
            with(source(1, 1), |it| {
                placeholder(it);
                it.description = "Created for policy: by hand".into();
            }),
            id("vol-ffffffff"),
        ),
        // What EC2 tells is believed rather than what the owner wrote.
        (with(source(1, 1), |it| it.volume_id = vol(7)), vol(7)),
    ] {
        let plan = Copying::new(vec![shared], vec![]).good_plan();
        assert_eq!(plan.actions[0].subject.volume, Some(volume));
    }
}

#[test]
fn what_is_not_copied_and_why() {
    let mut world = Copying::new(vec![], vec![]);
    for (shared, why) in [
        (
            with(source(1, 1), |it| it.owner = id(VAULT)),
            "this account's own snapshot, not a shared one",
        ),
        (
            with(source(1, 1), |it| it.owner = id("444444444444")),
            "no policy names 444444444444 as SnapshotOwner",
        ),
        (
            with(source(1, 1), |it| it.description.clear()),
            "no policy's DescriptionRegex matches its description",
        ),
        (source(1, 48), "past its retention, which ended at 2026-11-22T02:05:00Z"),
        (with(source(1, 1), |it| it.state = State::Error), "the source is error"),
    ] {
        world.inventory.sources.insert(id(HOME), vec![shared]);
        let plan = world.good_plan();
        assert_eq!(actions(&plan), [""; 0], "{why}");
        let expected = format!("{}: {why}", snap(1));
        let lines: Vec<String> = plan
            .held
            .iter()
            .map(|it| {
                let subject = &it.subject;
                let about = subject.snapshot.as_ref().or(subject.source.as_ref());
                format!("{}: {}", about.unwrap(), it.why)
            })
            .collect();
        assert!(lines.iter().all(|it| *it == expected) && !lines.is_empty(), "{lines:?}");
    }
    world.inventory.sources.insert(id(HOME), vec![source(1, 1)]);
    world.documents[0]["State"] = json!("DISABLED");
    let plan = world.good_plan();
    assert_eq!(
        (actions(&plan), held(&plan)),
        (vec![], vec![format!("{}: its policy is disabled", snap(1))])
    );
}

#[test]
fn one_second_before_its_retention_ends_a_source_is_copied() {
    let young = with(source(1, 48), |it| {
        it.start_time += SignedDuration::from_secs(1);
    });
    assert_eq!(copied(&Copying::new(vec![young], vec![]).good_plan()).len(), 2);
}

#[test]
fn what_waits_and_for_what() {
    let waits = |world: &Copying| -> Vec<String> {
        let plan = world.good_plan();
        plan.deferred.iter().map(|it| it.waits_for.clone()).collect()
    };
    let pending = with(source(1, 1), |it| it.state = State::Pending);
    let world = Copying::new(vec![pending], vec![]);
    assert_eq!(
        waits(&world),
        [format!("{} is pending", snap(1)), format!("{} is pending", snap(1))]
    );
    let mut world = Copying::new(vec![source(1, 1)], vec![]);
    world.inventory.targets.remove(&id(AWAY));
    assert_eq!(waits(&world), ["eu-west-1 could not be read"]);
    let mut world = Copying::new(vec![source(1, 1)], vec![]);
    world.inventory.keys.remove(&key(AWAY));
    assert_eq!(waits(&world), [format!("key {} was not looked at", key(AWAY))]);
    for kind in [ErrorKind::Throttled, ErrorKind::NotReady] {
        let mut world = Copying::new(vec![source(1, 1)], vec![]);
        world.inventory.keys.insert(key(AWAY), Err(refused(kind)));
        assert!(waits(&world)[0].contains("could not be looked at"));
    }
    // Nineteen are on their way, whoever of ours began them: one more may.
    let on_their_way = (100..119).map(|n| with(copy_of(n, n, 1), |it| it.state = State::Pending));
    let two = vec![source(1, 1), of_volume(2, source(2, 1))];
    let world = Copying::new(two, on_their_way.map(|it| of(7, it)).collect());
    assert_eq!(waits(&world), ["20 copies are in progress in eu-central-1"]);
    assert_eq!(copied(&world.good_plan()).len(), 3);
}

/// A copy of another volume.
fn of(n: u32, copy: Snapshot) -> Snapshot {
    with(copy, |it| drop(it.tags.insert(tags::SOURCE_VOLUME.into(), vol(n).to_string())))
}

fn refused(kind: ErrorKind) -> Ec2Error {
    Ec2Error::Refused {
        operation: "DescribeKey",
        kind,
        code: "Code".into(),
        message: "message".into(),
        request_id: "r-1".into(),
    }
}

#[test]
fn a_key_that_stays_unusable_is_told_for_every_source_that_needs_it() {
    for (kind, wanted) in [
        (ErrorKind::NotFound, "does not exist"),
        (ErrorKind::AccessDenied, "root lacks [{\"Action\":[\"kms:DescribeKey\""),
        (ErrorKind::Invalid, "cannot be read"),
    ] {
        let two = vec![source(1, 1), of_volume(2, source(2, 1))];
        let mut world = Copying::new(two, vec![]);
        world.inventory.keys.insert(key(AWAY), Err(refused(kind)));
        let plan = world.good_plan();
        assert_eq!(copied(&plan).len(), 2, "the other Region is served");
        assert_eq!(plan.impossible.len(), 2);
        let told = &plan.impossible[0];
        assert_eq!((told.kind, told.code.as_str()), (kind, "Code"));
        assert!(told.message.contains(wanted), "{}", told.message);
    }
}

/// Does what the plan says: copies are completed at once. Returns what was copied.
fn apply(world: &mut Copying, plan: &Plan) -> Vec<(SnapshotId, Region)> {
    let mut copied = Vec::new();
    for planned in &plan.actions {
        let account = world.inventory.account.clone();
        let targets = &mut world.inventory.targets;
        let n = targets.values().flat_map(|it| &it.copies).map(|it| it.volume_size_gib).max();
        let n = n.unwrap_or(0).max(1000) + 1;
        let here = &mut targets.get_mut(&planned.scope.region).unwrap().copies;
        match &planned.action {
            Action::CopySnapshot(request) => {
                copied.push((request.source.clone(), planned.scope.region.clone()));
                here.push(Snapshot {
                    owner: account,
                    volume_size_gib: n, // remembers the last id
                    start_time: world.now,
                    tags: request.tags.clone(),
                    ..copy_of(1, n, 0)
                });
            }
            Action::DeleteSnapshot(id) => here.retain(|it| it.id != *id),
            _ => {}
        }
    }
    copied
}

// ---- expire

/// Of copies of one volume begun so many hours ago, those that go.
fn go(hours: &[i64], change: impl FnOnce(&mut Copying)) -> Vec<i64> {
    let copies =
        hours.iter().map(|n| copy_of(u32::try_from(*n).unwrap(), u32::try_from(*n).unwrap(), *n));
    let mut world = Copying::new(vec![], copies.collect());
    change(&mut world);
    let gone = deleted(&world.good_plan());
    hours.iter().copied().filter(|n| gone.contains(&snap(u32::try_from(*n).unwrap()))).collect()
}

fn minimum(n: u32) -> impl FnOnce(&mut Copying) {
    move |world| {
        let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
        rules[0]["RetainRule"]["MinimumCount"] = json!(n);
    }
}

#[test]
fn copies_go_at_their_own_expiry_down_to_the_minimum() {
    assert_eq!(go(&[1, 47, 48, 49, 90], |_| {}), [48, 49, 90]);
    assert_eq!(go(&[60, 70, 80], |_| {}), [70, 80], "the newest stays");
    assert_eq!(go(&[60, 70, 80], minimum(2)), [80]);
    assert_eq!(go(&[60, 70, 80], minimum(9)), [0; 0]);
    assert_eq!(go(&[1, 60], |it| it.inventory.whole = false), [0; 0], "an event sees too little");
}

#[test]
fn what_holds_a_copy_back() {
    let all = &[1, 60, 70][..];
    assert_eq!(go(all, |_| {}), [60, 70]);
    let image = |it: &mut Copying| {
        let images = [(snap(60), "ami-1".to_owned())].into();
        it.target().guards = Ok(Guards { images, ..Guards::default() });
    };
    assert_eq!(go(all, image), [70]);
    let locked = |it: &mut Copying| {
        let locked = [snap(70)].into();
        it.target().guards = Ok(Guards { locked, ..Guards::default() });
    };
    assert_eq!(go(all, locked), [60]);
    assert_eq!(go(all, |it| it.target().guards = Err("denied".into())), [0; 0]);
    assert_eq!(go(all, |it| it.documents[0]["State"] = json!("DISABLED")), [0; 0]);
    for tag in [tags::SOURCE_VOLUME, tags::EXPIRES_AT, tags::RULE] {
        let without = |it: &mut Copying| drop(it.target().copies[1].tags.remove(tag));
        assert_eq!(go(all, without), [70], "{tag}");
    }
    for state in [State::Pending, State::Other] {
        assert_eq!(go(all, |it| it.target().copies[1].state = state), [70]);
    }
    // The newest is pending: it is not good yet, and the second newest stays.
    assert_eq!(go(all, |it| it.target().copies[0].state = State::Pending), [70]);
}

#[test]
fn of_a_rule_or_policy_that_is_gone_copies_go_by_their_own_tag() {
    let rule_gone = |it: &mut Copying| {
        let rules = &mut it.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
        rules.as_array_mut().unwrap().remove(0);
    };
    let policy_gone = |it: &mut Copying| it.documents = vec![copies("w")];
    let policy_not_given = |it: &mut Copying| {
        it.documents = vec![copies("w")];
        it.whole = false;
    };
    assert_eq!(go(&[1, 60, 70], rule_gone), [60, 70]);
    assert_eq!(go(&[60, 70], rule_gone), [70], "the newest stays");
    assert_eq!(go(&[60, 70], policy_gone), [70]);
    assert_eq!(go(&[60, 70], policy_not_given), [0; 0]);
    // What failed is worth nothing, and remembers nothing any more.
    let left = |change: fn(&mut Copying)| {
        let failed = with(failed(9, 1), |it| it.id = snap(9));
        let mut world = Copying::new(vec![], vec![copy_of(1, 8, 1), failed]);
        change(&mut world);
        let plan = world.good_plan();
        (deleted(&plan), plan.impossible.len())
    };
    assert_eq!(left(rule_gone), ([snap(9)].into(), 0));
    assert_eq!(left(policy_gone), ([snap(9)].into(), 0));
    assert_eq!(left(policy_not_given), ([].into(), 0));
}

#[test]
fn of_two_that_are_the_same_the_younger_goes_and_the_older_not_with_it() {
    let twins = vec![copy_of(1, 2, 1), copy_of(1, 3, 60), copy_of(1, 4, 59)];
    let mut world = Copying::new(vec![], twins);
    assert_eq!(deleted(&world.good_plan()), [snap(2), snap(4)].into());
    // Nor where it is not the last.
    world.target().copies.push(copy_of(9, 5, 1));
    assert_eq!(deleted(&world.good_plan()), [snap(2), snap(4)].into());
    world.inventory.whole = false;
    assert_eq!(deleted(&world.good_plan()), [].into(), "an event that names nothing");
}

fn failed(n: u32, hours: i64) -> Snapshot {
    with(copy_of(1, n, hours), |it| {
        it.state = State::Error;
        it.state_message = Some(format!("failure {n}"));
    })
}

#[test]
fn a_failed_copy_is_told_and_stays_until_there_is_a_good_one() {
    let away = |it: &mut Copying| {
        let copy = with(copy_of(1, 99, 1), |it| {
            drop(it.tags.insert(tags::RULE.into(), AWAY.into()));
        });
        it.inventory.targets.get_mut(&id(AWAY)).unwrap().copies = vec![copy];
    };
    let told = |plan: &Plan| -> Vec<String> {
        let told = plan.impossible.iter();
        told.map(|it| it.message.split(". ").next().unwrap().to_owned()).collect()
    };
    let told_of = |n: u32| format!("copy {} of {} ended in error: failure {n}", snap(n), snap(1));

    // The first failure is tried again at once, the second an hour later.
    let mut world = Copying::new(vec![source(1, 5)], vec![failed(2, 1)]);
    away(&mut world);
    let plan = world.good_plan();
    assert_eq!((copied(&plan).len(), deleted(&plan).len()), (1, 0));
    assert_eq!(told(&plan), [told_of(2)]);
    world.target().copies.push(failed(3, 0));
    let plan = world.good_plan();
    assert_eq!((copied(&plan).len(), plan.deferred.len(), deleted(&plan).len()), (0, 1, 0));
    assert_eq!(told(&plan), [told_of(3)]);
    world.target().copies[1] = failed(3, 1);
    let plan = world.good_plan();
    assert_eq!((copied(&plan).len(), plan.deferred.len()), (1, 0));
    // Two are remembered, and none once there is a good one.
    world.target().copies.push(failed(4, 0));
    assert_eq!(deleted(&world.good_plan()), [snap(2)].into());
    world.target().copies.push(copy_of(1, 5, 0));
    let plan = world.good_plan();
    assert_eq!((told(&plan).len(), deleted(&plan)), (0, [snap(2), snap(3), snap(4)].into()));
}

#[test]
fn a_failed_copy_of_what_nobody_shares_any_more_is_told_once() {
    let mut world = Copying::new(vec![], vec![failed(2, 1)]);
    let plan = world.good_plan();
    assert_eq!((plan.impossible.len(), deleted(&plan)), (1, [snap(2)].into()));
    // What must not be deleted would be told for ever.
    world.target().guards = Err("denied".into());
    let plan = world.good_plan();
    assert_eq!((plan.impossible.len(), plan.held.len(), deleted(&plan).len()), (0, 1, 0));
}

#[test]
fn every_wanted_volume_is_covered_in_every_region() {
    let world = Copying::new(vec![source(1, 5)], vec![copy_of(1, 2, 1), copy_of(3, 4, 30)]);
    let coverage = world.good_plan().coverage;
    let lines: Vec<_> = coverage
        .iter()
        .map(|it| (it.scope.region.as_str(), it.newest_completed, it.since))
        .collect();
    assert_eq!(lines, [(HOME, Some(hours_ago(1)), None), (AWAY, None, Some(hours_ago(5)))]);
    assert!(hours_ago(0) == now() && coverage.iter().all(|it| it.volume == vol(1)));
}

//! Copies within the account that made the snapshots.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{apply, copied, wanted, with};
use crate::action::{Action, Plan};
use crate::ec2::CopySnapshot;
use crate::inventory::{Snapshot, State};
use crate::tags;
use crate::testing::{
    AWAY, Copying, HOME, MEMBER, VAULT, actions, copy_of, deleted, held, hours_ago, id, kept, map,
    own, schedule, snap, source, stand_in, vol,
};

/// A rule that copies there, with these members more.
fn to(region: &str, more: &Value) -> Value {
    let mut rule = json!({"Target": region, "Encrypted": false});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn copying(name: &str, rules: &[Value]) -> Value {
    schedule(name, &json!({"CrossRegionCopyRules": rules}))
}

fn days(n: u32) -> Value {
    json!({"RetainRule": {"Interval": n, "IntervalUnit": "DAYS"}})
}

fn requests(plan: &Plan) -> Vec<&CopySnapshot> {
    let requests = plan.actions.iter().filter_map(|it| match &it.action {
        Action::CopySnapshot(request) => Some(request),
        _ => None,
    });
    requests.collect()
}

fn line(n: u32, region: &str) -> String {
    format!("CopySnapshot {} to {region}: completed and not copied yet", snap(n))
}

#[test]
fn what_the_schedule_made_is_copied() {
    let by = |n: u32, schedules: &str, policy: &str| {
        with(own(n, schedules, n.into()), |it| {
            drop(it.tags.insert(tags::POLICY.into(), policy.into()));
        })
    };
    let sources = vec![
        by(1, "s", "p"),
        by(2, "t", "p"),
        by(3, "s,t", "p"),
        by(4, "gone", "p"),
        by(5, "s", "q"),
    ];
    let schedules = [copying("s", &[to(AWAY, &json!({}))]), copying("t", &[])];
    let mut world = Copying::within(&schedules, sources);
    assert_eq!(wanted(&world.good_plan()), [line(3, AWAY), line(1, AWAY)]);
    world.documents[0]["State"] = json!("DISABLED");
    assert_eq!(actions(&world.good_plan()), [""; 0]);
}

#[test]
fn nothing_is_copied_to_where_it_is() {
    let schedules = [copying("s", &[to(HOME, &json!({})), to(AWAY, &json!({}))])];
    let mut world = Copying::within(&schedules, vec![own(1, "s", 1)]);
    world.inventory.sources.insert(id(AWAY), vec![own(2, "s", 1)]);
    let mut lines = copied(&world.good_plan());
    lines.sort();
    assert_eq!(lines, [line(1, AWAY), line(2, HOME)]);
}

#[test]
fn coinciding_schedules_make_one_copy_of_all_they_want() {
    let a = json!({"TagsToAdd": [{"Key": "a", "Value": "1"}], "CompletionDurationMinutes": 60,
                   "RetainRule": {"Interval": 9, "IntervalUnit": "DAYS"}});
    let b = json!({"TagsToAdd": [{"Key": "b", "Value": "2"}], "CompletionDurationMinutes": 30,
                   "RetainRule": {"Interval": 2, "IntervalUnit": "DAYS"}});
    let schedules = [copying("a", &[to(AWAY, &a)]), copying("b", &[to(AWAY, &b)])];
    let plan = Copying::within(&schedules, vec![own(1, "a,b", 0)]).good_plan();
    let [request] = requests(&plan)[..] else {
        panic!("{:?}", actions(&plan));
    };
    let tags = &request.tags;
    assert_eq!((tags["a"].as_str(), tags["b"].as_str()), ("1", "2"));
    assert_eq!(tags[tags::SCHEDULE], "a,b");
    assert_eq!((tags[tags::RULE].as_str(), tags[tags::SOURCE_ACCOUNT].as_str()), (AWAY, MEMBER));
    assert_eq!(tags[tags::EXPIRES_AT], "2026-12-01T02:05:00Z");
    assert_eq!(tags[tags::SOURCE_START_TIME], "2026-11-22T02:05:00Z");
    assert_eq!(tags[tags::SOURCE_VOLUME], vol(1).as_str());
    assert_eq!(request.completion_duration_minutes, Some(30));
    assert!(!request.encrypted && request.kms_key.is_none());
    // One of them only.
    let plan = Copying::within(&schedules, vec![own(1, "b", 0)]).good_plan();
    assert_eq!(requests(&plan)[0].tags[tags::EXPIRES_AT], "2026-11-24T02:05:00Z");
    assert_eq!(requests(&plan)[0].tags[tags::SCHEDULE], "b");
}

#[test]
fn another_key_is_another_copy() {
    let key = |n: u32| json!({"Encrypted": true, "CmkArn": format!("arn:aws:kms:{AWAY}:{MEMBER}:key/{n}")});
    let schedules =
        [copying("a", &[to(AWAY, &key(1))]), copying("b", &[to(AWAY, &key(2)), to(AWAY, &key(1))])];
    let mut world = Copying::within(&schedules, vec![own(1, "a,b", 0)]);
    for n in [1, 2] {
        let arn = key(n)["CmkArn"].as_str().unwrap().to_owned();
        let good = world.inventory.keys.values().next().unwrap().as_ref().unwrap().clone();
        world.inventory.keys.insert(arn.clone(), Ok(crate::inventory::Key { arn, ..good }));
    }
    let plan = world.good_plan();
    let found: Vec<_> = requests(&plan)
        .iter()
        .map(|it| (it.tags[tags::RULE].clone(), it.tags[tags::SCHEDULE].clone()))
        .collect();
    let wanted = [("eu-west-1/1", "a,b"), ("eu-west-1/2", "b")];
    assert_eq!(found, wanted.map(|(rule, schedules)| (rule.to_owned(), schedules.to_owned())));
}

#[test]
fn tags_are_copied_where_any_rule_says_so_as_far_as_they_fit() {
    let tagged = |n: u32| {
        with(own(1, "a,b", 0), |it| {
            it.tags.extend(map(&[("Name", "web"), ("aws:x", ""), ("Made", "by hand")]));
            it.tags.extend((0..n).map(|n| (format!("key {n:02}"), String::new())));
        })
    };
    let made = json!({"TagsToAdd": [{"Key": "Made", "Value": "here"}]});
    let tags_of = |copies: bool, n: u32| {
        let schedules = [
            copying("a", &[to(AWAY, &json!({"CopyTags": copies}))]),
            copying("b", &[to(AWAY, &made)]),
        ];
        let plan = Copying::within(&schedules, vec![tagged(n)]).good_plan();
        requests(&plan)[0].tags.clone()
    };
    let tags = tags_of(true, 1);
    assert_eq!((tags["Name"].as_str(), tags["Made"].as_str()), ("web", "here"));
    assert!(!tags.contains_key("aws:x") && tags.contains_key("key 00"));
    assert!(!tags_of(false, 1).contains_key("Name"));
    let tags = tags_of(true, 60);
    assert_eq!(tags.len(), 50);
    assert!(tags.contains_key("Name") && tags.contains_key(tags::SOURCE_SNAPSHOT));
}

/// After so many days, what of the copies of last night's snapshot is still there.
fn left_after(rules: &[Value; 2], n_days: i64) -> (Option<String>, usize) {
    let schedules = [copying("a", &rules[..1]), copying("b", &rules[1..])];
    let mut world = Copying::within(&schedules, vec![own(1, "a,b", 0)]);
    let plan = world.good_plan();
    let told = requests(&plan)[0].tags.get(tags::EXPIRES_AT).cloned();
    apply(&mut world, &plan);
    // Newer ones, so that it is not the last.
    for n in 2..6 {
        let source =
            with(own(n, "a,b", 0), |it| it.start_time += SignedDuration::from_hours(n.into()));
        world.inventory.sources.insert(id(HOME), vec![source]);
        world.now += SignedDuration::from_hours(1);
        let plan = world.good_plan();
        apply(&mut world, &plan);
    }
    world.inventory.sources.clear();
    world.now += SignedDuration::from_hours(24 * n_days);
    let plan = world.good_plan();
    apply(&mut world, &plan);
    let there = &world.inventory.targets[&id(AWAY)].copies;
    (told, there.iter().filter(|it| it.tags[tags::SOURCE_SNAPSHOT] == snap(1).as_str()).count())
}

#[test]
fn beside_a_rule_that_counts_an_age_ends_too() {
    let count = json!({"RetainRule": {"Count": 2}});
    let age = || to(AWAY, &days(3));
    let expiry = Some("2026-11-25T02:05:00Z".to_owned());
    assert_eq!(left_after(&[age(), to(AWAY, &count)], 2), (expiry.clone(), 1));
    assert_eq!(left_after(&[age(), to(AWAY, &count)], 3), (expiry, 0));
    assert_eq!(left_after(&[age(), to(AWAY, &json!({}))], 9), (None, 1), "one keeps for ever");
    assert_eq!(left_after(&[to(AWAY, &count), to(AWAY, &count)], 0), (None, 0));
}

/// A copy of source 1 by policy `p`, rule `eu-west-1` and these schedules, which expired an hour ago.
fn copy(n: u32, schedules: &str) -> Snapshot {
    with(copy_of(1, n, i64::from(n)), |it| {
        it.owner = id(MEMBER);
        it.tags.insert(tags::POLICY.into(), "p".into());
        it.tags.insert(tags::RULE.into(), AWAY.into());
        it.tags.insert(tags::SCHEDULE.into(), schedules.into());
        it.tags.insert(tags::SOURCE_SNAPSHOT.into(), snap(n).to_string());
        it.tags.insert(tags::EXPIRES_AT.into(), tags::instant(hours_ago(1)));
    })
}

fn with_copies(schedules: &[Value], copies: Vec<Snapshot>) -> Copying {
    let mut world = Copying::within(schedules, vec![]);
    world.inventory.targets.get_mut(&id(AWAY)).unwrap().copies = copies;
    world
}

#[test]
fn each_function_leaves_the_others_copies_alone() {
    let rules = [copying("s", &[to(AWAY, &days(1))])];
    let strange = |n: u32| with(copy(n, "s"), |it| drop(it.tags.remove(tags::SCHEDULE)));
    let mut world = with_copies(&rules, vec![copy(1, "s"), copy(2, "s"), strange(3), strange(4)]);
    assert_eq!(deleted(&world.good_plan()), [snap(2)].into());
    assert!(!kept(&world.good_plan()).iter().any(|it| it.starts_with(snap(3).as_str())));
    // Failed ones too, and as good ones they serve nobody's rule.
    let target = world.inventory.targets.get_mut(&id(AWAY)).unwrap();
    target.copies[2].state = State::Error;
    assert_eq!(deleted(&world.good_plan()), [snap(2)].into());
    world.inventory.sources.insert(id(HOME), vec![own(4, "s", 0)]);
    assert_eq!(copied(&world.good_plan()), [line(4, AWAY)]);
    // The vault, whose policy has the same name and rule.
    let mut vault = Copying::new(vec![source(7, 1)], vec![copy_of(2, 12, 50), copy_of(1, 11, 1)]);
    let of_rotation = |n: u32, source: u32, hours: i64| {
        with(copy_of(source, n, hours), |it| {
            drop(it.tags.insert(tags::SCHEDULE.into(), "s".into()));
        })
    };
    vault.target().copies.extend([of_rotation(13, 7, 60), of_rotation(14, 2, 60)]);
    let plan = vault.good_plan();
    assert_eq!(deleted(&plan), [snap(12)].into());
    assert_eq!(copied(&plan).len(), 2);
    assert_eq!(vault.inventory.account, id(VAULT));
}

#[test]
fn copies_of_a_rule_that_is_gone_go_by_their_own_expiry() {
    let copies = || vec![copy(1, "s"), copy(2, "s"), copy(3, "s")];
    let gone = |schedules: &[Value], change: fn(&mut Copying)| {
        let mut world = with_copies(schedules, copies());
        change(&mut world);
        let plan = world.good_plan();
        (deleted(&plan).len(), plan.kept.len(), plan.held.len())
    };
    let none: fn(&mut Copying) = |_| {};
    assert_eq!(gone(&[copying("s", &[])], none), (2, 0, 1), "the last one stays");
    assert_eq!(gone(&[copying("t", &[to(AWAY, &json!({}))])], none), (2, 0, 1));
    assert_eq!(gone(&[copying("s", &[to(HOME, &json!({}))])], none), (2, 0, 1));
    assert_eq!(gone(&[copying("s", &[])], |it| it.documents[0]["Name"] = json!("q")), (2, 0, 1));
    let selection = |it: &mut Copying| {
        it.documents[0]["Name"] = json!("q");
        it.whole = false;
    };
    assert_eq!(gone(&[copying("s", &[])], selection), (0, 3, 0));
    // There is a rule: it says what stays.
    assert_eq!(gone(&[copying("s", &[to(AWAY, &json!({}))])], none), (0, 3, 0));
    let later = |it: &mut Copying| it.now -= SignedDuration::from_secs(3601);
    assert_eq!(gone(&[copying("s", &[])], later), (0, 3, 0));
    let untold = |it: &mut Copying| {
        let target = it.inventory.targets.get_mut(&id(AWAY)).unwrap();
        target.copies.iter_mut().for_each(|it| drop(it.tags.remove(tags::EXPIRES_AT)));
    };
    assert_eq!(gone(&[copying("s", &[])], untold), (0, 0, 3));
    let mut world = with_copies(&[copying("s", &[])], copies());
    untold(&mut world);
    let why =
        format!("{}: rule {AWAY} of policy p is gone, and nothing says when it expires", snap(1));
    assert!(held(&world.good_plan()).contains(&why));
}

#[test]
fn of_two_schedules_the_one_that_is_left_speaks() {
    let week = || to(AWAY, &json!({"RetainRule": {"Count": 2}}));
    let copies = || vec![copy(1, "a,b"), copy(2, "a,b"), copy(3, "a,b")];
    let gone = |schedules: &[Value]| deleted(&with_copies(schedules, copies()).good_plan()).len();
    assert_eq!(gone(&[copying("a", &[week()]), copying("b", &[to(AWAY, &json!({}))])]), 0);
    assert_eq!(gone(&[copying("a", &[week()]), copying("b", &[])]), 1);
    assert_eq!(gone(&[copying("a", &[to(AWAY, &days(1))]), copying("b", &[week()])]), 1);
}

#[test]
fn a_pending_source_waits_and_a_copy_in_progress_is_enough() {
    let rules = [copying("s", &[to(AWAY, &json!({}))])];
    let pending = with(own(1, "s", 0), |it| it.state = State::Pending);
    let plan = Copying::within(&rules, vec![pending]).good_plan();
    assert_eq!((plan.actions.len(), plan.deferred.len()), (0, 1));
    let mut world = with_copies(&rules, vec![with(copy(1, "s"), |it| it.state = State::Pending)]);
    world.inventory.sources.insert(id(HOME), vec![own(1, "s", 0)]);
    assert_eq!(actions(&world.good_plan()), [""; 0]);
    world.inventory.targets.get_mut(&id(AWAY)).unwrap().copies[0].state = State::Error;
    assert_eq!(copied(&world.good_plan()).len(), 1);
}

#[test]
fn what_stands_in_for_a_snapshot_is_no_copy_of_these_rules() {
    let mut world = Copying::within(&[copying("s", &[to(HOME, &days(2))])], vec![]);
    for (n, state) in [(11, State::Completed), (12, State::Completed), (13, State::Error)] {
        let mut one = Snapshot { state, ..stand_in(1, n, 9) };
        one.tags.insert(tags::EXPIRES_AT.into(), "2026-11-20T00:00:00Z".into());
        world.target().copies.push(one);
    }
    for within in [true, false] {
        world.within = within;
        if !within {
            world.documents = vec![crate::testing::copies("p")];
        }
        let plan = world.good_plan();
        assert_eq!((actions(&plan).len(), held(&plan).len(), kept(&plan).len()), (0, 0, 0));
        assert_eq!((plan.impossible.len(), plan.coverage.len()), (0, 0));
    }
}

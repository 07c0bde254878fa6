//! What a copy may not begin with, whatever the planner thinks.

use serde_json::{Value, json};

use super::{copy_request, rules};
use crate::action::Action;
use crate::ec2::CopySnapshot;
use crate::inventory::{Snapshot, State};
use crate::policy::Tags;
use crate::tags;
use crate::testing::{Copying, HOME, VAULT, copy_of, hours_ago, id, plan_of, scope, source};

/// The rule that the request breaks in this world; empty: none.
fn told(change: impl FnOnce(&mut CopySnapshot), world: impl FnOnce(&mut Copying)) -> String {
    let mut facts = Copying::new(vec![source(1, 1)], vec![]);
    world(&mut facts);
    let mut request = copy_request();
    change(&mut request);
    let audited = facts.audit(plan_of(scope(VAULT, HOME), Action::CopySnapshot(request)));
    assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
    rules(&audited).join("; ")
}

fn tag(key: &str, value: &str) -> impl FnOnce(&mut CopySnapshot) {
    let (key, value) = (key.to_owned(), value.to_owned());
    move |it| drop(it.tags.insert(key, value))
}

fn of_source(change: fn(&mut Snapshot)) -> impl FnOnce(&mut Copying) {
    move |it| change(&mut it.inventory.sources.get_mut(&id(HOME)).unwrap()[0])
}

fn nothing(_: &mut CopySnapshot) {}

fn same(_: &mut Copying) {}

#[test]
fn its_tags_say_the_truth() {
    let start = "its lineage would tell another start of its source";
    assert_eq!(told(tag(tags::SOURCE_START_TIME, "1970-01-01T00:00:00Z"), same), start);
    assert_eq!(told(|it| drop(it.tags.remove(tags::SOURCE_START_TIME)), same), start);
    let later = tags::instant(hours_ago(0));
    assert_eq!(told(tag(tags::SOURCE_START_TIME, &later), same), start);
    let other = "its lineage would name another source";
    assert_eq!(told(tag(tags::SOURCE_REGION, "us-west-2"), same), other);
    let slot = "its lineage would tell another slot than the description";
    assert_eq!(told(tag(tags::SLOT, "2099-01-01T00:00:00Z"), same), slot);
    assert_eq!(told(tag(tags::SLOT, "2026-11-22T02:00:00Z"), same), "");
    assert_eq!(told(|it| drop(it.tags.remove(tags::SLOT)), same), "");
}

#[test]
fn it_ends_when_its_rule_says() {
    let no_rule = |at: &str| format!("it would expire at {at}, which no rule says");
    let over = tags::instant(hours_ago(1));
    assert_eq!(told(tag(tags::EXPIRES_AT, &over), same), no_rule(&over));
    let late = tags::instant(hours_ago(-49));
    assert_eq!(told(tag(tags::EXPIRES_AT, &late), same), no_rule(&late));
    assert_eq!(told(|it| drop(it.tags.remove(tags::EXPIRES_AT)), same), no_rule("no time"));
    let rule = |retain: Value| {
        move |it: &mut Copying| {
            it.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0]["RetainRule"] =
                retain;
        }
    };
    let right = tags::instant(hours_ago(-48));
    assert_eq!(told(nothing, rule(json!({"Count": 3}))), no_rule(&right));
    let never = |it: &mut CopySnapshot| drop(it.tags.remove(tags::EXPIRES_AT));
    assert_eq!(told(never, rule(json!({"Count": 3}))), "");
    assert_eq!(told(never, rule(json!(null))), "");
}

#[test]
fn it_is_asked_for_as_it_has_to_be() {
    let encrypted = "it would not be asked for as encrypted as its source is";
    assert_eq!(told(nothing, of_source(|it| it.encrypted = true)), encrypted);
    assert_eq!(told(|it| it.source_encrypted = true, same), encrypted);
    let timed = "no rule says CompletionDurationMinutes like that";
    assert_eq!(told(|it| it.completion_duration_minutes = Some(15), same), timed);
    let rule = |it: &mut Copying| {
        let rules = &mut it.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
        rules[0]["CompletionDurationMinutes"] = json!(15);
    };
    assert_eq!(told(|it| it.completion_duration_minutes = Some(15), rule), "");
    let long = "a description of 256 characters is more than EC2 takes";
    assert_eq!(told(|it| it.description = "ü".repeat(256), same), long);
    assert_eq!(told(|it| it.description = "ü".repeat(255), same), "");
}

#[test]
fn it_is_wanted_and_there_is_a_place_and_none_yet() {
    let state = told(nothing, of_source(|it| it.state = State::Pending));
    assert_eq!(state, "the source is pending");
    let description = told(nothing, of_source(|it| it.description = "by hand".into()));
    assert_eq!(description, "DescriptionRegex of policy v does not want it");
    let unread = told(nothing, |it: &mut Copying| {
        it.inventory.targets.remove(&id(HOME));
    });
    assert_eq!(unread, "its Region was not read");
    let there = "there is a copy by the same rule already";
    let with = |change: fn(&mut Snapshot)| {
        told(nothing, move |it: &mut Copying| {
            let mut copy = copy_of(1, 99, 1);
            change(&mut copy);
            it.target().copies = vec![copy];
        })
    };
    assert_eq!(with(|_| {}), there);
    assert_eq!(with(|it| it.state = State::Pending), there);
    assert_eq!(with(|it| it.state = State::Error), "");
    assert_eq!(with(|it| it.owner = id("444444444444")), "");
    assert_eq!(with(|it| drop(it.tags.insert(tags::POLICY.into(), "w".into()))), "");
    let pending = |n: u32| {
        told(nothing, move |it: &mut Copying| {
            let one = |n| Snapshot { tags: Tags::new(), ..copy_of(n, n, 1) };
            it.target().in_progress = (100..100 + n).map(one).collect();
        })
    };
    assert_eq!(pending(19), "");
    assert_eq!(pending(20), "EC2 has 20 copies in progress in eu-central-1, and no more");
}

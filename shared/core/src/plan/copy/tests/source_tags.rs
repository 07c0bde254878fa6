//! `CopyTags` in an event policy.

use serde_json::{Value, json};

use super::with;
use crate::action::{Action, Plan};
use crate::policy::Tags;
use crate::tags;
use crate::testing::{AWAY, Copying, HOME, MEMBER, SLOT, copy_of, id, map, snap, source, vol};

/// Policy `v` with `CopyTags` in its rule for [`HOME`], and a role in the member's account for these Regions.
fn reading(regions: &Value) -> Copying {
    let described = with(source(1, 1), |it| it.description += " name: web 1");
    let mut world = Copying::new(vec![described], vec![]);
    let document = &mut world.documents[0];
    document["Targets"] = json!([{"RoleArn": reader(), "Regions": regions}]);
    let rules = &mut document["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["CopyTags"] = json!(true);
    rules[0]["TagsToAdd"] = json!([{"Key": "Owner", "Value": "vault"}]);
    world
}

fn reader() -> String {
    format!("arn:aws:iam::{MEMBER}:role/snapferry-source-reader")
}

/// The tags of the planned copies that are not ours, of the rule for [`HOME`] and for [`AWAY`].
fn tagged(plan: &Plan) -> [Tags; 2] {
    let of = |region: &str| {
        let mut found = plan.actions.iter().filter(|it| it.scope.region.as_str() == region);
        let Some(Action::CopySnapshot(request)) = found.next().map(|it| &it.action) else {
            panic!("no copy to {region}");
        };
        let mut tags = request.tags.clone();
        tags.retain(|key, _| !key.starts_with("snapferry:"));
        tags
    };
    [of(HOME), of(AWAY)]
}

#[test]
fn the_tags_that_the_owner_sees_go_to_the_copy() {
    let mut world = reading(&json!([HOME]));
    let of_source = map(&[
        ("App", "shop"),
        ("Owner", "member"),
        ("aws:backup:source-resource", "x"),
        ("Snapferry:policy", "forged"),
        (tags::EXPIRES_AT, "2026-01-01T00:00:00Z"),
        (tags::POLICY, "daily"),
        ("dlm:managed", "true"),
    ]);
    world.inventory.source_tags.insert(snap(1), of_source);
    let plan = world.good_plan();
    let [home, away] = tagged(&plan);
    // Without a `Name` of its own there is none: the description is for want of tags.
    assert_eq!(home, map(&[("App", "shop"), ("Owner", "vault")]));
    assert_eq!(away, Tags::new(), "that rule copies none");
    let Action::CopySnapshot(request) = &plan.actions[0].action else { panic!("{plan:?}") };
    assert_eq!(request.tags[tags::POLICY], "v");
    assert_eq!(request.tags[tags::EXPIRES_AT], "2026-11-24T02:05:00Z");
}

#[test]
fn no_more_tags_are_copied_than_fit() {
    let mut world = reading(&json!([]));
    let many = (0..60).map(|n| (format!("k{n:02}"), String::new())).collect();
    world.inventory.source_tags.insert(snap(1), many);
    let plan = world.good_plan();
    let Action::CopySnapshot(request) = &plan.actions[0].action else { panic!("{plan:?}") };
    assert_eq!(request.tags.len(), tags::MAX_TAGS);
    assert!(request.tags.contains_key("k00") && !request.tags.contains_key("k59"));
}

#[test]
fn what_nobody_reads_has_the_name_in_its_description() {
    let name = map(&[("Name", "web 1"), ("Owner", "vault")]);
    let told = map(&[("App", "shop")]);
    // Not read; not there for this Region; there is no role.
    let mut elsewhere = reading(&json!([AWAY]));
    elsewhere.inventory.source_tags.insert(snap(1), told.clone());
    let mut none = reading(&json!([]));
    none.documents[0].as_object_mut().unwrap().remove("Targets");
    none.inventory.source_tags.insert(snap(1), told);
    for world in [reading(&json!([])), elsewhere, none] {
        assert_eq!(tagged(&world.good_plan())[0], name, "{:?}", world.documents);
    }
    let mut world = reading(&json!([]));
    let rule = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0];
    rule["TagsToAdd"] = json!([{"Key": "Name", "Value": "of the vault"}]);
    assert_eq!(tagged(&world.good_plan())[0], map(&[("Name", "of the vault")]));
}

#[test]
fn the_vaults_own_tags_on_a_shared_snapshot_are_not_its_owners() {
    let mut world = reading(&json!([]));
    let own = |it: &mut crate::inventory::Snapshot| it.tags = map(&[("seen", "yes")]);
    world.inventory.sources.insert(id(HOME), vec![with(source(1, 1), own)]);
    assert_eq!(tagged(&world.good_plan())[0], map(&[("Owner", "vault")]));
}

#[test]
fn tags_decide_nothing_else() {
    let mut world = reading(&json!([]));
    let plain = world.good_plan();
    let lies = map(&[
        (tags::SOURCE_VOLUME, vol(9).as_str()),
        (tags::SLOT, SLOT),
        (tags::RULE, AWAY),
        (tags::EXPIRES_AT, "9999-01-01T00:00:00Z"),
        ("Name", "web 1"),
    ]);
    world.inventory.source_tags.insert(snap(1), lies);
    assert_eq!(world.good_plan(), plain);
    // Nor whether there is a copy already.
    world.target().copies.push(copy_of(1, 2, 1));
    assert_eq!(world.good_plan().actions.len(), 1);
}

//! Tags of copies that nothing explains.

use serde_json::{Value, json};

use super::{copy_request, rules};
use crate::action::Action;
use crate::tags;
use crate::testing::{
    Copying, HOME, VAULT, id, map, now, own, plan_of, schedule, scope, snap, source,
};

fn told(world: &Copying, key: &str, value: &str) -> String {
    let mut request = copy_request();
    request.tags.insert(key.into(), value.into());
    let audited = world.audit(plan_of(scope(VAULT, HOME), Action::CopySnapshot(request)));
    assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty());
    rules(&audited).join("; ")
}

fn world(rule: &Value) -> Copying {
    let mut world = Copying::new(vec![source(1, 1)], vec![]);
    let of_policy = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0];
    of_policy.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    world
}

#[test]
fn a_tag_of_the_vaults_copies_is_ours_the_rules_or_the_sources() {
    let unexplained = |key: &str| format!("nothing explains its tag {key}");
    let read =
        map(&[("App", "shop"), ("dlm:managed", "true"), ("snapferry:x", "y"), ("Aws:x", "y")]);
    let mut plain = world(&json!({"TagsToAdd": [{"Key": "Cost", "Value": "7"}]}));
    plain.inventory.source_tags.insert(snap(1), read.clone());
    assert_eq!(told(&plain, "Cost", "7"), "");
    for (key, value) in [("Cost", "8"), ("App", "shop"), ("Name", "web"), ("snapferry:x", "y")] {
        assert_eq!(told(&plain, key, value), unexplained(key), "no CopyTags");
    }
    let mut copying = world(&json!({"CopyTags": true}));
    copying.inventory.sources.get_mut(&id(HOME)).unwrap()[0].description.push_str(" name: web");
    assert_eq!(told(&copying, "Name", "web"), "", "in its description");
    assert_eq!(told(&copying, "Name", "db"), unexplained("Name"), "not in its description");
    assert_eq!(told(&copying, "App", "shop"), unexplained("App"), "not read");
    // Tags that the vault has put on the shared snapshot.
    copying.inventory.sources.get_mut(&id(HOME)).unwrap()[0].tags = read.clone();
    assert_eq!(told(&copying, "App", "shop"), unexplained("App"), "not its owner's");
    copying.inventory.source_tags.insert(snap(2), read.clone());
    assert_eq!(told(&copying, "App", "shop"), unexplained("App"), "of another source");
    copying.inventory.source_tags.insert(snap(1), read);
    assert_eq!(told(&copying, "App", "shop"), "");
    for (key, value) in
        [("App", "bar"), ("dlm:managed", "true"), ("snapferry:x", "y"), ("Aws:x", "y")]
    {
        assert_eq!(told(&copying, key, value), unexplained(key));
    }
}

#[test]
fn within_an_account_they_are_the_snapshots() {
    let told = |copies_tags: bool, key: &str, value: &str| {
        let rule = json!({"Target": HOME, "CopyTags": copies_tags});
        let schedules = [schedule("s", &json!({"CrossRegionCopyRules": [rule]}))];
        let mut source = own(1, "s", 0);
        source.tags.insert("App".into(), "shop".into());
        let mut world = Copying::within(&schedules, vec![source]);
        // They are for shared snapshots.
        world.inventory.source_tags.insert(snap(1), map(&[("Other", "x")]));
        let mut request = copy_request();
        request.tags.insert("snapferry:policy".into(), "p".into());
        request.tags.insert("snapferry:schedule".into(), "s".into());
        request.tags.insert("snapferry:source-account".into(), world.inventory.account.to_string());
        (request.encrypted, request.kms_key) = (false, None);
        request.tags.insert(tags::SOURCE_START_TIME.into(), tags::instant(now()));
        request.tags.remove(tags::EXPIRES_AT); // the rule has no end
        request.tags.insert(key.into(), value.into());
        let at = scope(world.inventory.account.as_str(), HOME);
        rules(&world.audit(plan_of(at, Action::CopySnapshot(request)))).join("; ")
    };
    assert_eq!(told(true, "App", "shop"), "");
    for (copies_tags, key, value) in
        [(false, "App", "shop"), (true, "App", "bar"), (true, "Name", "web"), (true, "Other", "x")]
    {
        assert_eq!(told(copies_tags, key, value), format!("nothing explains its tag {key}"));
    }
}

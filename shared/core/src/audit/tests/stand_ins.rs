//! What stands in for snapshots, against plans that no planner should make.

use serde_json::{Value, json};

use super::rules;
use crate::action::Action;
use crate::ec2::CopySnapshot;
use crate::inventory::{Snapshot, State, Tiering, TieringStatus};
use crate::tags;
use crate::testing::{
    AWAY, HOME, MEMBER, RESCUE_KEY, Rotation, SEALED, VAULT, cmk, copied, id, own, plan_of,
    rescuing, scope, sealed, snap, stand_in, until_copied, vault_place, vol,
};

fn told(world: &Rotation, action: Action) -> String {
    let audited = world.audit(plan_of(scope(MEMBER, HOME), action));
    assert_eq!(audited.0.actions().is_empty(), !audited.1.is_empty(), "it is withheld");
    rules(&audited).join("; ")
}

/// Snapshot 1, sealed and three days old, and what stands in for it; both Regions of the vault have that.
fn done(rules: &Value) -> Rotation {
    let mut source = sealed(1, 3);
    source.tags.insert(tags::SHARED_WITH.into(), String::new());
    let mut world = rescuing(rules, vec![source, stand_in(1, 11, 3)]);
    for region in [HOME, AWAY] {
        world.inventory.vaults.insert(vault_place(region), Ok(vec![copied(11, 101, 3)]));
    }
    world
}

/// The copy of snapshot 1 that the planner would make.
fn request() -> CopySnapshot {
    let plan = rescuing(&until_copied(), vec![sealed(1, 3), own(9, "s", 0)]).good_plan();
    let copy = plan.actions.into_iter().find_map(|it| match it.action {
        Action::CopySnapshot(request) => Some(request),
        _ => None,
    });
    copy.unwrap()
}

type ChangeWorld<'a> = &'a dyn Fn(&mut Rotation);
type ChangeRequest = Box<dyn Fn(&mut CopySnapshot)>;

#[test]
fn a_copy_is_of_a_sealed_snapshot_of_the_policy_under_its_key_once() {
    let copying = |change: &dyn Fn(&mut Rotation), request: CopySnapshot| {
        let mut world = rescuing(&until_copied(), vec![sealed(1, 3)]);
        change(&mut world);
        told(&world, Action::CopySnapshot(request))
    };
    assert_eq!(copying(&|_| {}, request()), "");
    let worlds: [(ChangeWorld<'_>, &str); 12] = [
        (&|it| it.documents[0]["State"] = json!("DISABLED"), "its policy is not in force here"),
        (
            &|it| it.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!(null),
            "its policy has no DefaultKeyRescue",
        ),
        (&|it| it.inventory.snapshots.clear(), "what it stands in for was not seen in this run"),
        (&|it| it.inventory.snapshots[0].owner = id(VAULT), "what it stands in for is another's"),
        (
            &|it| drop(it.inventory.snapshots[0].tags.insert(tags::POLICY.into(), "q".into())),
            "what it stands in for is another's",
        ),
        (
            &|it| drop(it.inventory.snapshots[0].tags.remove(tags::SLOT)),
            "what it stands in for does not carry our tags",
        ),
        (&|it| it.inventory.snapshots[0].state = State::Pending, "the source is pending"),
        (
            &|it| it.inventory.snapshots[0].kms_key_id = Some(RESCUE_KEY.into()),
            "the source is not under an AWS managed key",
        ),
        (
            &|it| it.inventory.snapshots[0].kms_key_id = None,
            "the source is not under an AWS managed key",
        ),
        (
            &|it| drop(it.inventory.rescue_keys.insert(id("alias/share"), Ok(cmk(SEALED)))),
            "it would not be under alias/share, the key of DefaultKeyRescue",
        ),
        (
            &|it| it.inventory.snapshots.push(stand_in(1, 11, 3)),
            "one stands in for the source already",
        ),
        (
            &|it| {
                let pending = Snapshot { state: State::Pending, ..stand_in(1, 11, 3) };
                it.inventory.snapshots.push(pending);
            },
            "one stands in for the source already",
        ),
    ];
    for (change, rule) in worlds {
        assert_eq!(copying(change, request()), rule);
    }
    let wrong = "its lineage would name another source";
    let under = "it would not be under alias/share, the key of DefaultKeyRescue";
    let tag = |key: &'static str, value: &'static str| {
        move |it: &mut CopySnapshot| drop(it.tags.insert(key.into(), value.into()))
    };
    let requests: [(ChangeRequest, &str); 13] = [
        (Box::new(|it| it.source = snap(2)), wrong),
        (Box::new(|it| it.source_region = id(AWAY)), wrong),
        (Box::new(tag(tags::SOURCE_REGION, AWAY)), wrong),
        (Box::new(tag(tags::SOURCE_ACCOUNT, VAULT)), wrong),
        (Box::new(tag(tags::SOURCE_VOLUME, "vol-00000002")), wrong),
        (Box::new(tag(tags::SCHEDULE, "s,t")), wrong),
        (Box::new(tag(tags::SLOT, "2026-11-22T02:00:00Z")), wrong),
        (Box::new(tag(tags::SOURCE_START_TIME, "2026-11-22T02:00:00Z")), wrong),
        (Box::new(tag(tags::RULE, AWAY)), "it has no place in the plan of a scope"),
        (Box::new(|it| it.kms_key = None), under),
        (Box::new(|it| it.kms_key = Some(id(SEALED))), under),
        (Box::new(|it| it.encrypted = false), under),
        (
            Box::new(|it| it.description = "mine".into()),
            "its description would not tell the vault its volume",
        ),
    ];
    for (n, (change, rule)) in requests.iter().enumerate() {
        let mut request = request();
        change(&mut request);
        assert_eq!(copying(&|_| {}, request), *rule, "{n}");
    }
    let failed = Snapshot { state: State::Error, ..stand_in(1, 11, 3) };
    assert_eq!(copying(&|it| it.inventory.snapshots.push(failed.clone()), request()), "");
    let mut own_account = rescuing(&until_copied(), vec![sealed(1, 3)]);
    own_account.documents[0]["PolicyDetails"]["Schedules"][0]["ShareRules"] =
        json!([{"TargetAccounts": [MEMBER]}]);
    let nobody = "no ShareRules of its policy are for the source";
    assert_eq!(told(&own_account, Action::CopySnapshot(request())), nobody);
    let mut circle = rescuing(&until_copied(), vec![sealed(1, 3)]);
    circle.inventory.rescue_keys.insert(id("alias/share"), Ok(cmk(SEALED)));
    let to_itself = CopySnapshot { kms_key: Some(id(SEALED)), ..request() };
    assert_eq!(told(&circle, Action::CopySnapshot(to_itself)), under);
    // Twice in one plan.
    let world = rescuing(&until_copied(), vec![sealed(1, 3)]);
    let mut plan = plan_of(scope(MEMBER, HOME), Action::CopySnapshot(request()));
    plan.actions.extend(plan.actions.clone());
    let audited = world.audit(plan);
    assert_eq!(rules(&audited), ["one stands in for the source already"]);
    assert_eq!(audited.0.actions().len(), 1);
}

#[test]
fn it_is_shared_and_unshared_as_its_source_may_be_and_nothing_else() {
    let world = done(&until_copied());
    let of = |account: &str| ([id(account)].into(), [id(account)].into());
    let share = |account: &str| {
        let (accounts, all) = of(account);
        Action::ShareSnapshot { snapshot: snap(11), accounts, all }
    };
    let unshare = |account: &str| {
        let (accounts, all) = of(account);
        Action::UnshareSnapshot { snapshot: snap(11), accounts, all }
    };
    let third = "444444444444";
    let nobody = format!("no ShareRules of its policy name {third}");
    assert_eq!(told(&world, share(VAULT)), "");
    assert_eq!(told(&world, share(third)), nobody);
    assert_eq!(told(&world, unshare(VAULT)), "");
    assert_eq!(told(&world, unshare(third)), nobody);
    let mut lacking = done(&until_copied());
    lacking.inventory.vaults.insert(vault_place(AWAY), Ok(vec![copied(2, 101, 3)]));
    let still = format!("schedule s still shares it with {VAULT}");
    assert_eq!(told(&lacking, unshare(VAULT)), still);
    let mut gone = done(&until_copied());
    gone.inventory.snapshots.remove(0);
    assert_eq!(told(&gone, share(VAULT)), "what it stands in for was not seen in this run");
    assert_eq!(told(&world, Action::ArchiveSnapshot(snap(11))), "it only stands in for a snapshot");
}

#[test]
fn it_is_dropped_only_when_nothing_needs_it_and_nothing_is_lost() {
    let dropping = |rules: &Value, change: &dyn Fn(&mut Rotation)| {
        let mut world = done(rules);
        change(&mut world);
        told(&world, Action::DeleteSnapshot(snap(11)))
    };
    let mut days = until_copied();
    days["ShareRules"] =
        json!([{"TargetAccounts": [VAULT], "UnshareInterval": 3, "UnshareIntervalUnit": "DAYS"}]);
    let mut longer = days.clone();
    longer["ShareRules"][0]["UnshareInterval"] = json!(4);
    let still = format!("schedule s still shares it with {VAULT}");
    let lost = "neither its source nor anything newer of its volume would stay";
    let no_copies = |it: &mut Rotation| {
        it.inventory.vaults.values_mut().flatten().for_each(Vec::clear);
    };
    assert_eq!(dropping(&until_copied(), &|_| {}), "");
    assert_eq!(dropping(&days, &no_copies), "");
    assert_eq!(dropping(&longer, &no_copies), still);
    assert_eq!(dropping(&until_copied(), &no_copies), still);
    for region in [HOME, AWAY] {
        let unread = |it: &mut Rotation| drop(it.inventory.vaults.remove(&vault_place(region)));
        assert_eq!(dropping(&until_copied(), &unread), still);
    }
    let forgets = |text: Option<&'static str>| {
        move |it: &mut Rotation| {
            let tags = &mut it.inventory.snapshots[0].tags;
            tags.remove(tags::SHARED_WITH);
            tags.extend(text.map(|text| (tags::SHARED_WITH.to_owned(), text.to_owned())));
        }
    };
    let not_said = format!("{} does not say yet that {VAULT} has had it", snap(1));
    assert_eq!(dropping(&until_copied(), &forgets(None)), not_said);
    assert_eq!(dropping(&until_copied(), &forgets(Some(VAULT))), not_said);
    assert_eq!(dropping(&until_copied(), &forgets(Some("444444444444"))), "");
    // Without the member, or in the archive, nobody uses it.
    let no_member = |it: &mut Rotation| {
        no_copies(it);
        it.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!(null);
    };
    assert_eq!(dropping(&until_copied(), &no_member), "");
    let tier = |status| {
        move |it: &mut Rotation| {
            no_copies(it);
            let tiering = Tiering { status, archived_at: None };
            it.inventory.tiering = Ok([(snap(1), tiering)].into());
        }
    };
    assert_eq!(dropping(&until_copied(), &tier(TieringStatus::Archiving)), "");
    assert_eq!(dropping(&until_copied(), &tier(TieringStatus::Restored)), still);
    assert_eq!(
        dropping(&until_copied(), &|it| it.documents[0]["State"] = json!("DISABLED")),
        "its policy is disabled"
    );
    // The source is gone.
    let gone = |it: &mut Rotation| drop(it.inventory.snapshots.remove(0));
    assert_eq!(dropping(&until_copied(), &gone), "", "the vault has it");
    let gone_and_lost = |it: &mut Rotation| {
        gone(it);
        no_copies(it);
    };
    assert_eq!(dropping(&until_copied(), &gone_and_lost), lost);
    for (days, rule) in [(2, ""), (4, lost)] {
        let other = |it: &mut Rotation| {
            gone_and_lost(it);
            it.inventory.snapshots.push(sealed(2, days));
        };
        assert_eq!(dropping(&until_copied(), &other), rule);
        let of_another = |it: &mut Rotation| {
            other(it);
            it.inventory.snapshots[1].volume_id = vol(2);
        };
        assert_eq!(dropping(&until_copied(), &of_another), lost);
    }
    // Both at once.
    let world = {
        let mut world = done(&longer);
        no_member(&mut world);
        world
    };
    let mut plan = plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(11)));
    plan.actions.extend(plan_of(scope(MEMBER, HOME), Action::DeleteSnapshot(snap(1))).actions);
    let audited = world.audit(plan);
    assert!(rules(&audited).contains(&lost), "{:?}", rules(&audited));
    assert!(audited.0.actions().is_empty());
}

#[test]
fn of_two_the_younger_may_go_and_failed_ones_by_a_policy_in_force() {
    let dropping = |n: u32, change: &dyn Fn(&mut Rotation)| {
        let mut world = done(&until_copied());
        world.inventory.vaults.clear();
        world.inventory.snapshots.push(Snapshot { id: snap(12), ..stand_in(1, 11, 3) });
        change(&mut world);
        told(&world, Action::DeleteSnapshot(snap(n)))
    };
    let still = format!("schedule s still shares it with {VAULT}");
    assert_eq!(dropping(12, &|_| {}), "");
    assert_eq!(dropping(11, &|_| {}), still);
    assert_eq!(dropping(12, &|it| it.inventory.snapshots[1].state = State::Pending), still);
    let other = |it: &mut Rotation| {
        it.inventory.snapshots[1].tags.insert(tags::POLICY.into(), "q".into());
    };
    assert_eq!(dropping(12, &other), still);
    let failed = |it: &mut Rotation| it.inventory.snapshots[1].state = State::Error;
    assert_eq!(dropping(11, &failed), "");
    let gone = |it: &mut Rotation| {
        failed(it);
        it.documents[0]["Name"] = json!("q");
    };
    assert_eq!(dropping(11, &gone), "");
    let elsewhere = |it: &mut Rotation| {
        gone(it);
        it.whole = false;
    };
    assert_eq!(dropping(11, &elsewhere), "its policy is not in force here");
}

#[test]
fn without_its_policy_only_its_own_expiry_lets_it_go() {
    let dropping = |at: Option<&str>, whole: bool| {
        let mut world = done(&until_copied());
        world.documents[0]["Name"] = json!("q");
        world.whole = whole;
        let at = at.map(|at| (tags::EXPIRES_AT.to_owned(), at.to_owned()));
        world.inventory.snapshots[1].tags.extend(at);
        told(&world, Action::DeleteSnapshot(snap(11)))
    };
    assert_eq!(dropping(Some("2026-11-22T02:00:00Z"), true), "");
    let selection = "its policy is not among the documents of this run";
    assert_eq!(dropping(Some("2026-11-22T02:00:00Z"), false), selection);
    let not_over = "its policy is gone and its own expiry is not over";
    assert_eq!(dropping(Some("2026-11-22T03:00:00Z"), true), not_over);
    assert_eq!(dropping(None, true), not_over);
}

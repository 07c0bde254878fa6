//! `UnshareWhenCopied`: what the vault has, and what it had.

use serde_json::json;

use super::with;
use crate::ec2::ErrorKind;
use crate::inventory::{Snapshot, State, Unread};
use crate::tags;
use crate::testing::{
    AWAY, HOME, Rotation, VAULT, actions, copied, id, own, schedule, snap, until_copied,
    vault_place, vol,
};

/// Snapshot 1 of yesterday, shared or not, and what the vault has in both Regions.
fn world(is_shared: bool, record: Option<&str>, vault: [Vec<Snapshot>; 2]) -> Rotation {
    let mut first = own(1, "s", 1);
    first.tags.extend(record.map(|text| (tags::SHARED_WITH.to_owned(), text.to_owned())));
    let mut world = Rotation::new(&[schedule("s", &until_copied())], vec![first, own(9, "s", 0)]);
    world.inventory.snapshots[1].state = State::Other; // the night's: nothing to create
    let ids = is_shared.then(|| snap(1)).into_iter().collect();
    world.inventory.shared.insert(id(VAULT), ids);
    for (region, copies) in [HOME, AWAY].into_iter().zip(vault) {
        world.inventory.vaults.insert(vault_place(region), Ok(copies));
    }
    world
}

fn both(copy: &Snapshot) -> [Vec<Snapshot>; 2] {
    [vec![copy.clone()], vec![copy.clone()]]
}

fn unshare() -> Vec<String> {
    let why = format!("copied to {HOME} and {AWAY}");
    vec![format!("ModifySnapshotAttribute {} not with {VAULT}: {why}", snap(1))]
}

fn share() -> Vec<String> {
    vec![format!("ModifySnapshotAttribute {}: completed and not shared yet", snap(1))]
}

#[test]
fn what_every_region_of_the_vault_has_is_unshared_and_not_shared_again() {
    let good = copied(1, 101, 1);
    let acts = |world: &Rotation| actions(&world.good_plan());
    assert_eq!(acts(&world(true, Some(VAULT), both(&good))), unshare());
    let nothing: Vec<String> = Vec::new();
    assert_eq!(acts(&world(false, Some(""), both(&good))), nothing);
    // The record is made up for: it is the memory of what the vault has had.
    for (record, why) in [
        (None, format!("copied to {HOME} and {AWAY}")),
        (Some(VAULT), "shared, but its tag does not say so".to_owned()),
    ] {
        let wanted = vec![format!("CreateTags {}: {why}", snap(1))];
        assert_eq!(acts(&world(false, record, both(&good))), wanted);
    }
}

type Change = Box<dyn Fn(&mut Snapshot)>;

#[test]
fn only_the_vaults_own_good_copy_of_this_very_snapshot_counts() {
    let tag = |key: &'static str, value: &'static str| {
        move |it: &mut Snapshot| drop(it.tags.insert(key.into(), value.into()))
    };
    let changes: [Change; 8] = [
        Box::new(|it| it.state = State::Pending),
        Box::new(|it| it.state = State::Error),
        Box::new(|it| it.owner = id("444444444444")),
        Box::new(tag(tags::SOURCE_SNAPSHOT, "snap-00000002")),
        Box::new(tag(tags::SOURCE_ACCOUNT, "444444444444")),
        Box::new(tag(tags::SOURCE_REGION, AWAY)),
        Box::new(tag(tags::SCHEDULE, "s")), // made within the vault's account
        Box::new(|it| drop(it.tags.remove(tags::RULE))),
    ];
    for (n, change) in changes.iter().enumerate() {
        let good = copied(1, 101, 1);
        let bad = with(copied(1, 102, 1), change);
        for vault in [both(&bad), [vec![good.clone()], vec![bad]]] {
            let shared = world(true, Some(VAULT), vault.clone());
            assert_eq!(actions(&shared.good_plan()), [""; 0], "{n}");
            assert_eq!(actions(&world(false, None, vault).good_plan()), share(), "{n}");
        }
    }
    // Of the same volume and slot, as the description of any snapshot can say.
    let mut alike = copied(2, 102, 1);
    alike.tags.insert(tags::SLOT.into(), own(1, "s", 1).tags[tags::SLOT].clone());
    let shared = world(true, Some(VAULT), both(&alike));
    assert_eq!(actions(&shared.good_plan()), [""; 0]);
    let one_region = world(true, Some(VAULT), [vec![copied(1, 101, 1)], vec![]]);
    assert_eq!(actions(&one_region.good_plan()), [""; 0]);
}

#[test]
fn what_the_vault_has_rotated_is_not_shared_again_and_what_it_has_lost_is() {
    let newer = copied(2, 102, 0);
    for (record, vault, wanted) in [
        (Some(""), both(&newer), vec![]),
        (Some(""), [vec![newer.clone()], vec![]], share()),
        (Some(""), [vec![], vec![]], share()),
        (Some(""), both(&copied(2, 102, 2)), share()), // an older one
        (Some(""), both(&copied(2, 102, 1)), share()), // of the same moment
        (Some(VAULT), both(&newer), share()),
        (None, both(&newer), share()), // it has never had it
    ] {
        let mut world = world(false, record, vault.clone());
        assert_eq!(actions(&world.good_plan()), wanted, "{record:?}");
        // What an owner writes of the volume tells nothing ...
        let mut described = self::world(false, record, vault);
        for copies in described.inventory.vaults.values_mut() {
            for copy in copies.as_mut().unwrap() {
                copy.tags.insert(tags::SOURCE_VOLUME_BY.into(), "description".into());
            }
        }
        assert_eq!(actions(&described.good_plan()), share(), "{record:?}");
        // ... and of another volume nothing is told by it.
        for copies in world.inventory.vaults.values_mut() {
            for copy in copies.as_mut().unwrap() {
                copy.tags.insert(tags::SOURCE_VOLUME.into(), vol(2).to_string());
            }
        }
        assert_eq!(actions(&world.good_plan()), share(), "{record:?}");
    }
    // What somebody shares by hand is let stand, and told.
    let by_hand = world(true, Some(""), both(&newer));
    let told = format!("CreateTags {}: shared, but its tag does not say so", snap(1));
    assert_eq!(actions(&by_hand.good_plan()), [told]);
}

#[test]
fn a_vault_that_cannot_be_read_ends_nothing_and_stops_nothing() {
    let unread =
        Unread { kind: ErrorKind::AccessDenied, code: String::new(), message: String::new() };
    let good = copied(1, 101, 1);
    let acts = |is_shared, record, looked_at: bool| {
        let mut world = world(is_shared, record, both(&good));
        if looked_at {
            world.inventory.vaults.insert(vault_place(AWAY), Err(unread.clone()));
        } else {
            world.inventory.vaults.remove(&vault_place(AWAY));
        }
        actions(&world.good_plan())
    };
    for looked_at in [true, false] {
        assert_eq!(acts(true, Some(VAULT), looked_at), [""; 0]);
        assert_eq!(acts(false, None, looked_at), share());
        assert_eq!(acts(false, Some(VAULT), looked_at), share());
        assert_eq!(acts(false, Some(""), looked_at), [""; 0], "it was unshared: left as it is");
    }
}

#[test]
fn where_schedules_coincide_the_account_stays_while_one_wants_it() {
    let plain = json!({"ShareRules": [{"TargetAccounts": [VAULT]}], "RetainRule": {"Count": 9}});
    let mut days = plain.clone();
    days["ShareRules"][0]["UnshareInterval"] = json!(1);
    days["ShareRules"][0]["UnshareIntervalUnit"] = json!("DAYS");
    let mut longer = days.clone();
    longer["ShareRules"][0]["UnshareInterval"] = json!(2);
    for (other, has_copies, wanted) in [
        (&plain, true, 0),
        (&longer, true, 0),
        (&days, true, 1),
        (&days, false, 0), // the vault lacks it
    ] {
        let copies = if has_copies { both(&copied(1, 101, 1)) } else { [vec![], vec![]] };
        let mut world = world(true, Some(VAULT), copies);
        let schedules = [schedule("s", &until_copied()), schedule("t", other)];
        world.documents = vec![crate::testing::policy("p", &schedules)];
        for snapshot in &mut world.inventory.snapshots {
            snapshot.tags.insert(tags::SCHEDULE.into(), "s,t".into());
        }
        assert_eq!(actions(&world.good_plan()).len(), wanted, "{other}");
    }
}

//! `DefaultKeyRescue`: what stands in for snapshots that no other account can use.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::with;
use crate::action::{Action, Plan};
use crate::ec2::{CopySnapshot, ErrorKind};
use crate::ids::AccountId;
use crate::inventory::{Guards, Snapshot, State, Tiering, TieringStatus, Unread};
use crate::tags::{self, CopyClaim};
use crate::testing::{
    AWAY, HOME, RESCUE_KEY, Rotation, SEALED, VAULT, actions, cmk, copied, deleted, held, id, kept,
    now, own, rescuing, sealed, snap, stand_in, until_copied, vault_place, vol,
};

fn plain() -> Value {
    json!({"ShareRules": [{"TargetAccounts": [VAULT]}], "RetainRule": {"Count": 9}})
}

/// Snapshots, and the night's that nothing is to be done with.
fn world(rules: &Value, mut snapshots: Vec<Snapshot>) -> Rotation {
    snapshots.push(with(own(99, "s", 0), |it| it.state = State::Other));
    rescuing(rules, snapshots)
}

/// Both Regions of the vault have a copy of it.
fn give(world: &mut Rotation, copy: &Snapshot) {
    for region in [HOME, AWAY] {
        world
            .inventory
            .vaults
            .get_mut(&vault_place(region))
            .unwrap()
            .as_mut()
            .unwrap()
            .push(copy.clone());
    }
}

fn shared(world: &mut Rotation, ids: &[u32]) {
    world.inventory.shared.insert(id(VAULT), ids.iter().map(|n| snap(*n)).collect());
}

type Change<'a> = &'a dyn Fn(&mut Rotation);

fn copies(plan: &Plan) -> Vec<&CopySnapshot> {
    let copies = plan.actions.iter().filter_map(|it| match &it.action {
        Action::CopySnapshot(request) => Some(request),
        _ => None,
    });
    copies.collect()
}

fn waits(plan: &Plan) -> Vec<String> {
    plan.deferred.iter().map(|it| it.waits_for.clone()).collect()
}

fn told(plan: &Plan) -> Vec<String> {
    plan.impossible.iter().map(|it| format!("{} {}", it.code, it.message)).collect()
}

#[test]
fn what_cannot_be_shared_is_copied_under_the_key_that_the_alias_stands_for() {
    let mut source = sealed(1, 1);
    source.tags.insert(tags::EXPIRES_AT.into(), "2026-12-01T00:00:00Z".into());
    source.tags.insert("Name".into(), "web".into());
    let plan = world(&plain(), vec![source.clone()]).good_plan();
    let wanted = format!(
        "CopySnapshot {} to {HOME}: under {SEALED}, which no other account can use: copied under {RESCUE_KEY} to \
         be shared",
        snap(1)
    );
    assert_eq!(actions(&plan), [wanted]);
    assert_eq!(told(&plan), [""; 0]);
    let [request] = copies(&plan)[..] else { panic!("one copy") };
    assert_eq!((&request.source, request.source_region.as_str()), (&snap(1), HOME));
    assert!(request.encrypted && request.source_encrypted);
    assert_eq!(request.kms_key, Some(id(RESCUE_KEY)));
    assert_eq!(request.description, source.description, "unchanged: the vault reads it");
    let claim = CopyClaim::read(&request.tags).unwrap();
    assert!(claim.stands_in() && claim.policy == "p" && claim.schedules.contains("s"));
    assert_eq!((&claim.source_snapshot, &claim.source_volume), (&snap(1), &vol(1)));
    assert_eq!(claim.slot.unwrap().to_string(), source.tags[tags::SLOT]);
    assert_eq!(claim.source_start, Some(source.start_time));
    assert_eq!(request.tags.len(), claim.write().len() + 2);
    assert_eq!(request.tags["Name"], "web", "for whoever copies tags");
    assert_eq!(request.tags[tags::EXPIRES_AT], "2026-12-01T00:00:00Z");
    let subject = &plan.actions[0].subject;
    assert_eq!((&subject.source, &subject.snapshot), (&Some(snap(1)), &None));
    assert_eq!(subject.volume, Some(vol(1)));
}

#[test]
fn a_users_tags_go_with_it_as_far_as_they_fit_beside_the_record_of_sharing() {
    let mut source = sealed(1, 1);
    source.tags.extend((0..47).map(|n| (format!("user-{n:02}"), String::new())));
    let plan = world(&plain(), vec![source]).good_plan();
    assert_eq!(copies(&plan)[0].tags.len(), 49);
}

#[test]
fn of_a_set_the_description_gets_the_volume() {
    let mut source = sealed(1, 1);
    let slot = source.tags[tags::SLOT].clone();
    source.tags.insert(tags::INSTANCE.into(), "i-00000001".into());
    source.description =
        format!("Created for policy: p schedule: s slot: {slot} instance: i-00000001 name: web");
    let plan = world(&plain(), vec![source]).good_plan();
    assert_eq!(
        copies(&plan)[0].description,
        format!(
            "Created for policy: p schedule: s slot: {slot} volume: {} instance: i-00000001 name: web",
            vol(1)
        )
    );
}

#[test]
fn only_what_is_to_be_shared_and_cannot_be_is_copied_once() {
    let copying = |change: &dyn Fn(&mut Rotation)| {
        let mut world = world(&plain(), vec![sealed(1, 1)]);
        change(&mut world);
        copies(&world.good_plan()).len()
    };
    assert_eq!(copying(&|_| {}), 1);
    let changes: [(&str, Change<'_>); 9] = [
        ("disabled", &|it| it.documents[0]["State"] = json!("DISABLED")),
        ("without it", &|it| it.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!(null)),
        ("another key", &|it| it.inventory.snapshots[0].kms_key_id = Some(RESCUE_KEY.into())),
        ("no target", &|it| it.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear()),
        ("archived", &|it| it.inventory.snapshots[0].archived = true),
        ("another's", &|it| it.inventory.snapshots[0].owner = id(VAULT)),
        ("failed", &|it| it.inventory.snapshots[0].state = State::Error),
        ("completed", &|it| it.inventory.snapshots.push(stand_in(1, 11, 1))),
        ("pending", &|it| {
            it.inventory.snapshots.push(with(stand_in(1, 11, 1), |it| it.state = State::Pending));
        }),
    ];
    for (name, change) in changes {
        assert_eq!(copying(change), 0, "{name}");
    }
    let pending = with(sealed(1, 1), |it| it.state = State::Pending);
    let plan = world(&plain(), vec![pending]).good_plan();
    assert_eq!(waits(&plan), [format!("{} is pending", snap(1))]);
    // What the vault has, or has had, needs none.
    let mut world = world(&until_copied(), vec![sealed(1, 1)]);
    assert_eq!(copies(&world.good_plan()).len(), 1);
    give(&mut world, &copied(2, 102, 0));
    assert_eq!(copies(&world.good_plan()).len(), 1, "it has had a newer one only");
    world.inventory.snapshots[0].tags.insert(tags::SHARED_WITH.into(), String::new());
    assert_eq!(actions(&world.good_plan()), [""; 0]);
    // EC2 tells no volume of what was copied of a stand-in; its description does.
    for copies in world.inventory.vaults.values_mut().flatten() {
        copies[0].tags.insert(tags::SOURCE_VOLUME_BY.into(), "description".into());
    }
    assert_eq!(actions(&world.good_plan()), [""; 0]);
}

#[test]
fn twenty_copies_are_in_progress_at_the_most_and_the_oldest_come_first() {
    let mut world = world(&plain(), (1..=5).map(|n| sealed(n, n.into())).collect());
    let sources =
        |plan: &Plan| -> Vec<_> { copies(plan).iter().map(|it| it.source.clone()).collect() };
    world.inventory.copies_in_progress = Ok((200..217).map(snap).collect());
    let plan = world.good_plan();
    assert_eq!(sources(&plan), [snap(5), snap(4), snap(3)]);
    let full = format!("20 copies are in progress in {HOME}");
    assert_eq!(waits(&plan), [full.clone(), full]);
    // One that the other look does not see yet counts too.
    world.inventory.copies_in_progress = Ok([snap(121), snap(122)].into());
    for n in 20..38 {
        let pending = with(stand_in(n, 100 + n, 9), |it| it.state = State::Pending);
        world.inventory.snapshots.push(pending);
    }
    assert_eq!(sources(&world.good_plan()), [snap(5), snap(4)]);
    let message = "DescribeSnapshots: throttled".to_owned();
    world.inventory.copies_in_progress =
        Err(Unread { kind: ErrorKind::Throttled, code: String::new(), message });
    let plan = world.good_plan();
    assert_eq!(sources(&plan), []);
    assert!(waits(&plan)[0].starts_with("cannot tell how many copies are in progress: Desc"));
}

#[test]
fn a_key_that_cannot_be_used_is_told_once_per_volume_with_the_remedy() {
    let unread = |kind, message: &str| {
        Err(Unread { kind, code: "Code".into(), message: message.to_owned() })
    };
    let state = |state: &str| {
        let mut key = cmk(RESCUE_KEY);
        state.clone_into(&mut key.state);
        Ok(key)
    };
    let away = format!("arn:aws:kms:{AWAY}:333333333333:key/share");
    for (key, wanted) in [
        (unread(ErrorKind::NotFound, "gone"), Some("Code|does not exist there: create it")),
        (
            unread(ErrorKind::AccessDenied, "no"),
            Some("Code|cannot be read: no; allow kms:DescribeKey"),
        ),
        (unread(ErrorKind::Throttled, "slow"), None),
        (unread(ErrorKind::NoAnswer, "lost"), None),
        (state("Disabled"), Some("Disabled|is disabled: enable it with kms:EnableKey")),
        (state("PendingDeletion"), Some("PendingDeletion|is pending deletion")),
        (Ok(cmk(SEALED)), Some("DefaultKey|is an AWS managed key itself")),
        (Ok(cmk(&away)), Some("WrongRegion|is in eu-west-1: name an alias")),
        (Ok(cmk("nonsense")), Some("KeyArn|has no ARN of a key")),
    ] {
        for n in 0..=2 {
            let mut world = world(&plain(), (1..=n).map(|n| sealed(n, n.into())).collect());
            if n == 0 {
                world.inventory.snapshots.clear();
            }
            world.inventory.rescue_keys.insert(id("alias/share"), key.clone());
            let plan = world.good_plan();
            assert!(copies(&plan).is_empty());
            let found = told(&plan);
            match wanted {
                None => {
                    assert_eq!(found, [""; 0]);
                    assert_eq!(waits(&plan).len(), usize::try_from(n).unwrap());
                }
                Some(wanted) => {
                    let (code, what) = wanted.split_once('|').unwrap();
                    assert_eq!(found.len(), 1, "{found:?}");
                    let begin = format!("{code} snapshots of {} cannot be shared: ", vol(1));
                    assert!(found[0].starts_with(&begin) && found[0].contains(SEALED), "{found:?}");
                    let end = format!("as key alias/share of DefaultKeyRescue {what}");
                    assert!(found[0].contains(&end), "{found:?}");
                    let newest = (n > 0).then(|| snap(1));
                    assert_eq!(plan.impossible[0].subject.snapshot, newest);
                    assert_eq!(held(&plan).len(), usize::try_from(n.saturating_sub(1)).unwrap());
                }
            }
        }
    }
    // Without the member its name is a remedy.
    let mut world = world(&plain(), vec![sealed(1, 1)]);
    world.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!(null);
    assert!(told(&world.good_plan())[0].contains("give the policy a DefaultKeyRescue"));
}

#[test]
fn one_that_failed_is_told_and_tried_again_with_patience_and_cleared_away() {
    let failed = |n: u32, minutes: i64| {
        with(stand_in(1, n, 1), |it| {
            it.state = State::Error;
            it.state_message = Some("Given key ID is not accessible".into());
            it.start_time = now() - SignedDuration::from_mins(minutes);
        })
    };
    let plan =
        |more: Vec<Snapshot>| world(&plain(), [vec![sealed(1, 1)], more].concat()).good_plan();
    let first = plan(vec![failed(11, 20)]);
    let again =
        format!("CopySnapshot {} to {HOME}: the only copy, {}, ended in error", snap(1), snap(11));
    assert_eq!(actions(&first), [again]);
    assert!(told(&first)[0].contains("ended in error: Given key ID is not accessible"));
    let second = plan(vec![failed(11, 40), failed(12, 20)]);
    assert_eq!((actions(&second).len(), told(&second).len()), (0, 1));
    assert!(
        waits(&second)[0].starts_with("it has failed before; tried again after 2026-11-22T02:45")
    );
    let third = plan(vec![failed(11, 180), failed(12, 120), failed(13, 61)]);
    assert_eq!(copies(&third).len(), 1);
    assert_eq!(deleted(&third), [snap(11)].into(), "two are remembered");
    let waiting = with(stand_in(1, 14, 1), |it| it.state = State::Pending);
    let fourth = plan(vec![failed(11, 180), failed(12, 120), waiting]);
    assert_eq!((deleted(&fourth).len(), told(&fourth).len()), (0, 0));
    let good = plan(vec![failed(11, 180), failed(12, 120), stand_in(1, 14, 1)]);
    assert_eq!(deleted(&good), [snap(11), snap(12)].into());
    // Nobody wants it any more.
    let gone = world(&plain(), vec![sealed(2, 1), failed(11, 180)]).good_plan();
    assert_eq!((deleted(&gone), told(&gone).len()), ([snap(11)].into(), 0));
}

#[test]
fn a_stand_in_is_shared_as_its_source_would_be() {
    let mut rescued = world(&until_copied(), vec![sealed(1, 1), stand_in(1, 11, 1)]);
    let share = format!("ModifySnapshotAttribute {}: completed and not shared yet", snap(11));
    let plan = rescued.good_plan();
    assert_eq!(actions(&plan), [share]);
    assert_eq!(plan.actions[0].subject.source, Some(snap(1)));
    let line = format!("{}: stands in for {}, which no other account can use", snap(11), snap(1));
    assert!(kept(&plan).contains(&line), "{:?}", kept(&plan));
    shared(&mut rescued, &[11]);
    let record = format!("CreateTags {}: shared, but its tag does not say so", snap(11));
    assert_eq!(actions(&rescued.good_plan()), [record]);
    rescued.inventory.snapshots[1].tags.insert(tags::SHARED_WITH.into(), VAULT.into());
    assert_eq!(actions(&rescued.good_plan()), [""; 0]);
    rescued.inventory.snapshots[1].state = State::Pending;
    shared(&mut rescued, &[]);
    assert_eq!(waits(&rescued.good_plan()), [format!("{} is pending", snap(11))]);
}

/// A rescued snapshot, and what the vault has of it.
fn done(record: Option<&str>, copy: &Snapshot) -> Rotation {
    let mut copy = copy.clone();
    copy.tags.insert(tags::SOURCE_VOLUME_BY.into(), "description".into());
    let mut world = world(&until_copied(), vec![sealed(1, 1), stand_in(1, 11, 1)]);
    world.inventory.snapshots[1].tags.insert(tags::SHARED_WITH.into(), VAULT.into());
    let record = record.map(|text| (tags::SHARED_WITH.to_owned(), text.to_owned()));
    world.inventory.snapshots[0].tags.extend(record);
    shared(&mut world, &[11]);
    give(&mut world, &copy);
    world
}

#[test]
fn it_goes_when_the_vault_has_it_and_the_source_says_so() {
    let why = format!("copied to {HOME} and {AWAY}");
    let unshare = format!("ModifySnapshotAttribute {} not with {VAULT}: {why}", snap(11));
    let remember = format!("CreateTags {}: {why}", snap(1));
    let drop = format!("DeleteSnapshot {}: {why}", snap(11));
    let copy = copied(11, 101, 1);
    assert_eq!(actions(&done(None, &copy).good_plan()), [unshare, remember]);
    assert_eq!(actions(&done(Some(""), &copy).good_plan()), std::slice::from_ref(&drop));
    // As it does when the vault has the source itself, or one Region the one and the other the other.
    assert_eq!(actions(&done(Some(""), &copied(1, 101, 1)).good_plan()), [drop]);
    // Afterwards the copies are known by volume and slot.
    let mut after = done(Some(""), &copy);
    after.inventory.snapshots.remove(1);
    let slot = after.inventory.snapshots[0].tags[tags::SLOT].clone();
    for copies in after.inventory.vaults.values_mut().flatten() {
        copies[0].tags.insert(tags::SLOT.into(), slot.clone());
    }
    assert_eq!(actions(&after.good_plan()), [""; 0]);
    let lost = |change: &dyn Fn(&mut Rotation)| {
        let mut world = done(Some(""), &copy);
        world.inventory.snapshots.remove(1);
        change(&mut world);
        copies(&world.good_plan()).len()
    };
    let only_there = |it: &mut Rotation| {
        *it.inventory.vaults.get_mut(&vault_place(HOME)).unwrap() = Ok(vec![]);
    };
    assert_eq!(lost(&only_there), 1, "the vault lost it: it is rescued again");
}

#[test]
fn it_stays_while_anything_needs_it() {
    let copy = copied(11, 101, 1);
    let fate = |change: &dyn Fn(&mut Rotation)| {
        let mut world = done(Some(""), &copy);
        change(&mut world);
        let plan = world.good_plan();
        let of = |lines: Vec<String>| {
            let prefix = format!("{}: ", snap(11));
            lines.into_iter().find_map(|it| it.strip_prefix(&prefix).map(str::to_owned))
        };
        if deleted(&plan).contains(&snap(11)) {
            "deleted".to_owned()
        } else {
            of(held(&plan)).or_else(|| of(kept(&plan))).unwrap_or_default()
        }
    };
    let ami = Guards { images: [(snap(11), "ami-1".to_owned())].into(), ..Guards::default() };
    let locked = Guards { locked: [snap(11)].into(), ..Guards::default() };
    let stands_in = format!("stands in for {}, which no other account can use", snap(1));
    let only_the_slot = |it: &mut Rotation| {
        let slot = it.inventory.snapshots[0].tags[tags::SLOT].clone();
        for copies in it.inventory.vaults.values_mut().flatten() {
            copies[0] = copied(77, 101, 1);
            copies[0].tags.insert(tags::SLOT.into(), slot.clone());
        }
    };
    let changes: [(Change<'_>, &str); 12] = [
        (&only_the_slot, &stands_in),
        (&|_| {}, "deleted"),
        (&|it| it.inventory.guards = Ok(ami.clone()), "in use by ami-1"),
        (&|it| it.inventory.guards = Ok(locked.clone()), "locked"),
        (
            &|it| drop(it.inventory.snapshots[1].tags.insert("aws:backup:x".into(), String::new())),
            "managed by AWS Backup",
        ),
        (
            &|it| it.inventory.guards = Err("denied".into()),
            "cannot tell whether an AMI or a lock needs it: denied",
        ),
        (&|it| it.documents[0]["State"] = json!("DISABLED"), "its policy is disabled"),
        (&|it| it.inventory.snapshots[0].state = State::Other, &stands_in),
        (&|it| it.inventory.volumes.get_mut(&vol(1)).unwrap().tags.clear(), &stands_in),
        (&|it| it.inventory.vaults.clear(), &stands_in),
        (
            &|it| {
                it.inventory.vaults.values_mut().flatten().for_each(Vec::clear);
            },
            &stands_in,
        ),
        // A person has said otherwise.
        (
            &|it| {
                drop(it.inventory.snapshots[0].tags.insert(tags::SHARED_WITH.into(), VAULT.into()));
            },
            &stands_in,
        ),
    ];
    for (n, (change, wanted)) in changes.into_iter().enumerate() {
        assert_eq!(fate(change), wanted, "{n}");
    }
}

#[test]
fn without_a_need_it_goes_but_never_as_the_last_good_one() {
    let why = |rules: &Value, change: &dyn Fn(&mut Rotation)| {
        let mut world = world(rules, vec![sealed(1, 3), stand_in(1, 11, 3)]);
        shared(&mut world, &[11]);
        world.inventory.snapshots[1].tags.insert(tags::SHARED_WITH.into(), VAULT.into());
        change(&mut world);
        let plan = world.good_plan();
        let line = format!("DeleteSnapshot {}: ", snap(11));
        let of_it = |it: &String| it.strip_prefix(&line).map(str::to_owned);
        let held = held(&plan).into_iter().find(|it| it.starts_with(snap(11).as_str()));
        actions(&plan).iter().find_map(of_it).or(held).unwrap_or_default()
    };
    let mut days = plain();
    days["ShareRules"][0]["UnshareInterval"] = json!(2);
    days["ShareRules"][0]["UnshareIntervalUnit"] = json!("DAYS");
    assert_eq!(why(&plain(), &|_| {}), "");
    assert_eq!(why(&days, &|_| {}), "UnshareInterval was over at 2026-11-21T02:05:00Z");
    let no_member =
        |it: &mut Rotation| it.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!(null);
    assert_eq!(why(&plain(), &no_member), "what it stands in for is not to be rescued any more");
    let unshared = |it: &mut Rotation| {
        no_member(it);
        it.documents[0]["PolicyDetails"]["Schedules"][0]["ShareRules"] = json!(null);
    };
    assert_eq!(why(&plain(), &unshared), "what it stands in for is not to be rescued any more");
    let other_schedule = |it: &mut Rotation| {
        let schedules = it.documents[0]["PolicyDetails"]["Schedules"].as_array_mut().unwrap();
        schedules.push(schedules[0].clone());
        schedules[1]["Name"] = json!("t");
        schedules[0]["ShareRules"] = json!(null);
    };
    assert_eq!(
        why(&plain(), &other_schedule),
        "what it stands in for is not to be shared any more"
    );
    let archived = "what it stands in for is in the archive tier, or on its way there";
    assert_eq!(why(&plain(), &|it| it.inventory.snapshots[0].archived = true), archived);
    let archiving = |it: &mut Rotation| {
        let tiering = Tiering { status: TieringStatus::Archiving, archived_at: None };
        it.inventory.tiering = Ok([(snap(1), tiering)].into());
    };
    assert_eq!(why(&plain(), &archiving), archived);
    // The source has become another policy's, and stays.
    let taken_over = |it: &mut Rotation| {
        drop(it.inventory.snapshots[0].tags.insert(tags::POLICY.into(), "q".into()));
    };
    assert_eq!(why(&plain(), &taken_over), "what it stands in for is gone");
    // The source is gone.
    let gone = |it: &mut Rotation| drop(it.inventory.snapshots.remove(0));
    let last = format!("{}: the newest completed one of its volume always stays", snap(11));
    assert_eq!(why(&plain(), &gone), last);
    let newer = |days: i64| move |it: &mut Rotation| it.inventory.snapshots[0] = sealed(2, days);
    assert_eq!(why(&plain(), &newer(2)), "what it stands in for is gone");
    assert_eq!(why(&plain(), &newer(4)), last, "an older one holds less");
    assert_eq!(
        why(&plain(), &|it| {
            newer(2)(it);
            it.inventory.snapshots[0].state = State::Pending;
        }),
        last
    );
    assert_eq!(why(&until_copied(), &gone), last);
    assert_eq!(
        why(&until_copied(), &|it| {
            gone(it);
            give(it, &copied(11, 101, 3));
        }),
        "what it stands in for is gone"
    );
}

#[test]
fn of_two_the_younger_goes_and_the_older_stays_meanwhile() {
    let mut world = done(Some(""), &copied(11, 101, 1));
    let younger = with(stand_in(1, 12, 1), |it| it.start_time += SignedDuration::from_mins(1));
    world.inventory.snapshots.push(younger);
    let plan = world.good_plan();
    assert_eq!(
        actions(&plan),
        [format!("DeleteSnapshot {}: {} is the same and older", snap(12), snap(11))]
    );
    assert!(
        kept(&plan).contains(&format!("{}: a younger one that is the same leaves first", snap(11)))
    );
    world.inventory.snapshots[1].state = State::Pending;
    assert!(deleted(&world.good_plan()).is_empty(), "the older may fail yet");
}

#[test]
fn what_is_rotated_takes_its_stand_in_with_it_a_run_later() {
    let rules = json!({"ShareRules": [{"TargetAccounts": [VAULT]}], "RetainRule": {"Count": 1}});
    let mut world = world(&rules, vec![sealed(1, 3), stand_in(1, 11, 3), sealed(2, 2)]);
    world.inventory.snapshots.push(stand_in(2, 12, 2));
    shared(&mut world, &[11, 12]);
    assert_eq!(deleted(&world.good_plan()), [snap(1)].into());
    shared(&mut world, &[]);
    let lines = actions(&world.good_plan());
    assert!(
        !lines.iter().any(|it| it.contains(snap(11).as_str())),
        "what leaves is not shared: {lines:?}"
    );
    shared(&mut world, &[11, 12]);
    world.inventory.snapshots.remove(0);
    assert_eq!(deleted(&world.good_plan()), [snap(11)].into());
    world.inventory.snapshots.remove(0);
    assert_eq!(deleted(&world.good_plan()), [].into());
}

#[test]
fn without_its_policy_its_own_expiry_counts() {
    let fate = |expires_at: Option<&str>, whole: bool| {
        let mut world = world(&plain(), vec![sealed(1, 3), stand_in(1, 11, 3)]);
        world.documents[0]["Name"] = json!("q");
        world.whole = whole;
        let at = expires_at.map(|at| (tags::EXPIRES_AT.to_owned(), at.to_owned()));
        world.inventory.snapshots[1].tags.extend(at);
        deleted(&world.good_plan()).contains(&snap(11))
    };
    let mut failed = world(&plain(), vec![sealed(1, 3), stand_in(1, 11, 3)]);
    failed.documents[0]["Name"] = json!("q");
    failed.inventory.snapshots[1].state = State::Error;
    assert_eq!(deleted(&failed.good_plan()), [snap(11)].into());
    failed.whole = false;
    assert_eq!(deleted(&failed.good_plan()), [].into());
    assert!(fate(Some("2026-11-22T02:00:00Z"), true));
    assert!(!fate(Some("2026-11-22T02:00:00Z"), false));
    assert!(!fate(Some("2026-11-22T03:00:00Z"), true));
    assert!(!fate(None, true));
}

#[test]
fn without_its_policy_the_last_good_one_stays_and_stops_nothing_else() {
    let mut world = world(&plain(), vec![stand_in(1, 11, 3), own(20, "s", 2), own(21, "s", 1)]);
    world.documents[0]["Name"] = json!("q");
    let over = (tags::EXPIRES_AT.to_owned(), "2026-11-22T02:00:00Z".to_owned());
    for snapshot in &mut world.inventory.snapshots {
        snapshot.tags.extend([over.clone()]);
    }
    for other in &mut world.inventory.snapshots[1..] {
        other.volume_id = vol(2);
    }
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [snap(20)].into());
    let why = "snap-0000000b: the newest completed one of its volume always stays";
    assert!(held(&plan).contains(&why.to_owned()), "{:?}", held(&plan));
}

#[test]
fn what_another_policy_has_taken_over_gets_a_stand_in_of_its_own() {
    let mut of_before = stand_in(1, 11, 3);
    of_before.tags.insert(tags::POLICY.into(), "before".into());
    let plan = world(&plain(), vec![sealed(1, 3), of_before]).good_plan();
    assert_eq!(copies(&plan).len(), 1, "{:?}", actions(&plan));
    assert!(
        copies(&world(&plain(), vec![sealed(1, 3), stand_in(1, 11, 3)]).good_plan()).is_empty()
    );
}

#[test]
fn an_account_that_the_copies_are_not_for_keeps_it() {
    let third = "444444444444";
    let mut world = done(Some(""), &copied(11, 101, 1));
    let schedules = world.documents[0]["PolicyDetails"]["Schedules"].as_array_mut().unwrap();
    schedules.push(schedules[0].clone());
    schedules[1]["Name"] = json!("t");
    schedules[1]["ShareRules"] = json!([{"TargetAccounts": [third]}]);
    for snapshot in &mut world.inventory.snapshots {
        snapshot.tags.insert(tags::SCHEDULE.into(), "s,t".into());
    }
    let plan = world.good_plan();
    assert_eq!(deleted(&plan), [].into());
    let shares: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|it| match &it.action {
            Action::ShareSnapshot { snapshot, accounts, .. } => Some((snapshot, accounts)),
            _ => None,
        })
        .collect();
    assert_eq!(shares, [(&snap(11), &[id::<AccountId>(third)].into())]);
}

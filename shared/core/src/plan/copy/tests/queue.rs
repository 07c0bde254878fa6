//! Who gets the 20 places.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::{of, of_volume, with};
use crate::action::{Action, Plan};
use crate::ids::{AccountId, SnapshotId, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::plan::copy::CONCURRENT_COPIES;
use crate::tags;
use crate::testing::{AWAY, Copying, HOME, copy_of, id, snap, source, vol};

/// The accounts of these tests, whose ids sort as they are numbered.
fn account(n: usize) -> AccountId {
    id(&format!("3333333333{n:02}"))
}

fn owned_by(n: usize, source: Snapshot) -> Snapshot {
    with(source, |it| it.owner = account(n))
}

/// Copies to [`HOME`] only, for ever, from the first ten accounts.
fn world(sources: Vec<Snapshot>, copies: Vec<Snapshot>) -> Copying {
    let mut world = Copying::new(sources, copies);
    let details = &mut world.documents[0]["PolicyDetails"];
    details["EventSource"]["Parameters"]["SnapshotOwner"] =
        (0..10).map(|n| json!(account(n).as_str())).collect();
    let rules = &mut details["Actions"][0]["CrossRegionCopy"];
    rules.as_array_mut().unwrap().pop();
    rules[0].as_object_mut().unwrap().remove("RetainRule");
    world
}

/// What is copied, in order.
fn begun(plan: &Plan) -> Vec<SnapshotId> {
    let requests = plan.actions.iter().filter_map(|it| match &it.action {
        Action::CopySnapshot(request) => Some(request.source.clone()),
        _ => None,
    });
    requests.collect()
}

fn waits(plan: &Plan) -> Vec<String> {
    let line = |it: &crate::action::Deferred| {
        format!("{}: {}", it.planned.subject.source.clone().unwrap(), it.waits_for)
    };
    plan.deferred.iter().map(line).collect()
}

fn pending(copy: Snapshot) -> Snapshot {
    with(copy, |it| it.state = State::Pending)
}

#[test]
fn places_are_shared_between_accounts_not_between_snapshots() {
    // Account 0 has shared 60 volumes long ago, account 1 three, account 2 one, just now.
    let of_account =
        |account: usize, n: u32, hours| owned_by(account, of_volume(100 + n, source(n, hours)));
    let mut sources: Vec<_> = (1..=60).map(|n| of_account(0, n, 90)).collect();
    sources.extend((61..=63).map(|n| of_account(1, n, 9)));
    sources.push(of_account(2, 64, 1));
    let plan = world(sources, vec![]).good_plan();
    let begun: BTreeSet<_> = begun(&plan).into_iter().collect();
    assert_eq!(begun.len(), CONCURRENT_COPIES);
    assert!((61..=64).all(|n| begun.contains(&snap(n))), "the small ones do not wait: {begun:?}");
}

#[test]
fn copies_in_progress_count_for_their_account() {
    let first = |account, n| owned_by(account, of_volume(100 + n, source(n, 9)));
    let sources = vec![first(0, 1), first(0, 2), first(1, 3), first(1, 4)];
    let on_its_way = |account: usize, n: u32| {
        let copy = pending(of(200 + n, copy_of(50 + n, 100 + n, 1)));
        with(copy, |it| {
            drop(it.tags.insert(tags::SOURCE_ACCOUNT.into(), account_text(account)));
        })
    };
    // Eleven of account 0 and seven of account 1 are on their way: two places, both for account 1.
    let copies = (0..11).map(|n| on_its_way(0, n)).chain((11..18).map(|n| on_its_way(1, n)));
    let plan = world(sources, copies.collect()).good_plan();
    assert_eq!(begun(&plan), [snap(3), snap(4)]);
    let full = format!("20 copies are in progress in {HOME}");
    assert_eq!(waits(&plan), [1, 2].map(|n| format!("{}: {full}", snap(n))));
}

fn account_text(n: usize) -> String {
    account(n).to_string()
}

#[test]
fn copies_that_others_began_take_places_too() {
    let sources = (1..=4).map(|n| owned_by(0, of_volume(n, source(n, 9)))).collect();
    let mut world = world(sources, vec![]);
    let foreign = |n| {
        with(pending(copy_of(n, n, 1)), |it| {
            it.tags.clear();
        })
    };
    world.target().in_progress = (100..119).map(foreign).collect();
    assert_eq!(begun(&world.good_plan()), [snap(1)]);
    world.target().in_progress.push(foreign(119));
    assert_eq!(begun(&world.good_plan()), []);
    // One that both looks show takes one place.
    let mine = pending(of(9, copy_of(9, 9, 1)));
    world.target().in_progress = (100..118).map(foreign).chain([mine.clone()]).collect();
    world.target().copies.push(mine);
    assert_eq!(begun(&world.good_plan()), [snap(1)]);
}

#[test]
fn the_volume_that_is_protected_worst_goes_first() {
    // Volume 1 has a copy of an hour ago, volume 2 one of a day ago, volume 3 none; 18 copies are on their way.
    let copied = |volume: u32, n: u32, hours| {
        let copy = of(volume, copy_of(n, 100 + n, hours));
        with(copy, |it| drop(it.tags.insert(tags::SOURCE_ACCOUNT.into(), account_text(0))))
    };
    let sources = [(1, 40), (2, 30), (3, 20)];
    let sources = sources.map(|(n, hours)| owned_by(0, of_volume(n, source(n, hours))));
    let mut world = world(sources.into(), vec![copied(1, 11, 1), copied(2, 12, 24)]);
    for (places, order) in [(1, &[3][..]), (2, &[3, 2]), (3, &[3, 2, 1])] {
        let others =
            (places..20).map(|n| with(pending(copy_of(99, 300 + n, 1)), |it| it.tags.clear()));
        world.target().in_progress = others.collect();
        let expected: Vec<_> = order.iter().map(|n| snap(*n)).collect();
        assert_eq!(begun(&world.good_plan()), expected);
    }
}

#[test]
fn a_second_copy_waits_for_the_first_of_the_volume() {
    let sources = || (1..=4).map(|n| owned_by(0, source(n, i64::from(10 - n)))).collect::<Vec<_>>();
    let first = format!("the first copy of {} is in progress in {HOME}", vol(1));
    let plan = world(sources(), vec![]).good_plan();
    assert_eq!(begun(&plan), [snap(1)], "the oldest");
    assert_eq!(waits(&plan), [2, 3, 4].map(|n| format!("{}: {first}", snap(n))));
    let by = |n: u32| {
        with(copy_of(n, 100 + n, 1), |it| {
            drop(it.tags.insert(tags::SOURCE_ACCOUNT.into(), account_text(0)));
        })
    };
    let plan = world(sources(), vec![pending(by(1))]).good_plan();
    assert_eq!((begun(&plan), waits(&plan).len()), (vec![], 3));
    // Once there is one to build on, the others follow in order.
    let plan = world(sources(), vec![by(1)]).good_plan();
    assert_eq!(begun(&plan), [snap(2), snap(3), snap(4)]);
    // A failed one is nothing to build on, and what has failed does not keep the others waiting.
    let plan = world(sources(), vec![with(by(1), |it| it.state = State::Error)]).good_plan();
    assert_eq!(begun(&plan), [snap(2)]);
    let plan = world(
        vec![owned_by(0, source(1, 9)), owned_by(0, of_volume(2, source(5, 1)))],
        vec![with(by(1), |it| it.state = State::Error)],
    )
    .good_plan();
    assert_eq!(begun(&plan), [snap(5), snap(1)], "nor other volumes");
}

#[test]
fn an_event_leaves_places_to_the_sweep() {
    let sources = vec![owned_by(0, source(1, 1))];
    let mut world = world(sources, vec![]);
    world.inventory.whole = false;
    let other = |n| with(pending(copy_of(n, n, 1)), |it| it.tags.clear());
    world.target().in_progress = (100..114).map(other).collect();
    assert_eq!(begun(&world.good_plan()), [snap(1)]);
    world.target().in_progress.push(other(114));
    let plan = world.good_plan();
    let why = format!(
        "15 copies are in progress in {HOME}, or its account's share of them: more the next sweep begins"
    );
    assert_eq!((begun(&plan), waits(&plan)), (vec![], vec![format!("{}: {why}", snap(1))]));
    // Nor does it begin a second first copy, though it has not looked at the copies of other sources.
    let mine = with(pending(copy_of(2, 102, 1)), |it| {
        drop(it.tags.insert(tags::SOURCE_ACCOUNT.into(), account_text(0)));
    });
    world.target().in_progress = vec![mine];
    let plan = world.good_plan();
    let why = format!("the first copy of {} is in progress in {HOME}", vol(1));
    assert_eq!((begun(&plan), waits(&plan)), (vec![], vec![format!("{}: {why}", snap(1))]));
}

#[test]
fn an_events_account_gets_no_more_than_if_all_waited() {
    let of = |account: usize, n: u32| {
        with(pending(super::of(n, copy_of(n, 100 + n, 1))), |it| {
            drop(it.tags.insert(tags::SOURCE_ACCOUNT.into(), account_text(account)));
        })
    };
    let begins = |in_progress: Vec<Snapshot>| {
        let mut world = world(vec![owned_by(0, source(1, 1))], vec![]);
        world.inventory.whole = false;
        world.target().in_progress = in_progress;
        begun(&world.good_plan()).len()
    };
    // Of ten accounts each gets one of the fifteen.
    assert_eq!(begins((20..30).map(|n| of(1, n)).collect()), 1);
    assert_eq!(begins(vec![of(0, 20)]), 0);
}

#[test]
fn every_region_has_its_own_places() {
    let sources = (1..=30).map(|n| of_volume(n, source(n, 1))).collect();
    let mut world = Copying::new(sources, vec![]);
    world.target().in_progress =
        (100..120).map(|n| with(pending(copy_of(n, n, 1)), |it| it.tags.clear())).collect();
    let plan = world.good_plan();
    let regions: Vec<&str> = plan.actions.iter().map(|it| it.scope.region.as_str()).collect();
    assert_eq!(regions, [AWAY; 20]);
    assert_eq!(plan.deferred.len(), 30 + 10);
}

/// Account and volume, from 0, of every source; ids and ages follow from the position.
fn backlog() -> impl Strategy<Value = Vec<(usize, u32)>> {
    proptest::collection::vec((0_usize..6, 0_u32..4), 0..80)
}

proptest! {
    #[test]
    fn places_are_filled_and_filled_fairly(backlog in backlog(), taken in 0_u32..25) {
        let sources: Vec<_> = (1..).zip(&backlog).map(|(n, (account, volume))| {
            let volume = 10 * u32::try_from(*account).unwrap() + volume;
            owned_by(*account, of_volume(volume, source(n, i64::from(200 - n))))
        }).collect();
        let mut world = world(sources.clone(), vec![]);
        let other = |n| with(pending(copy_of(n, n, 1)), |it| it.tags.clear());
        world.target().in_progress = (500..500 + taken).map(other).collect();
        let plan = world.good_plan();
        let begun = begun(&plan);
        let chains: BTreeSet<(AccountId, VolumeId)> =
            sources.iter().map(|it| (it.owner.clone(), it.volume_id.clone())).collect();
        let room = CONCURRENT_COPIES.saturating_sub(taken.try_into().unwrap());
        // No place stays empty while something could begin, and none is given twice.
        prop_assert_eq!(begun.len(), room.min(chains.len()));
        prop_assert_eq!(begun.len() + plan.deferred.len(), sources.len());
        let mut of_account: BTreeMap<AccountId, usize> = BTreeMap::new();
        let by_id: BTreeMap<_, _> = sources.iter().map(|it| (it.id.clone(), it)).collect();
        for id in &begun {
            let it = by_id[id];
            *of_account.entry(it.owner.clone()).or_default() += 1;
            // The oldest of its volume.
            let older = sources.iter().filter(|other| {
                (&other.owner, &other.volume_id) == (&it.owner, &it.volume_id)
                    && other.start_time < it.start_time
            });
            prop_assert_eq!(older.count(), 0);
        }
        // Nobody who could use more has two places less than anybody else.
        let could = |account: &AccountId| chains.iter().filter(|(of, _)| of == account).count();
        for account in chains.iter().map(|(account, _)| account) {
            let has = of_account.get(account).copied().unwrap_or_default();
            let most = of_account.values().copied().max().unwrap_or_default();
            prop_assert!(has == could(account) || has + 1 >= most, "{of_account:?}");
        }
    }
}

//! What is true of every plan: random policies, random worlds.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::with;
use crate::action::{Action, Hold, Keeping, Plan, Reason};
use crate::ids::{SnapshotId, VolumeId};
use crate::inventory::{Guards, Snapshot, State, Tiering, TieringStatus};
use crate::tags::{self, CopyClaim};
use crate::testing::{
    AWAY, HOME, Rotation, VAULT, actions, at, copied, deleted, held, hours_ago, id, ins, instance,
    kept, now, own, rescuing, schedule, sealed, set, snap, stand_in, until_copied, vault_place,
    vol, volume,
};

fn retain() -> impl Strategy<Value = Value> {
    let age = || (1_u32..9).prop_map(|n| json!({"Interval": n, "IntervalUnit": "DAYS"}));
    let count = || (1_u32..5).prop_map(|n| json!({"Count": n}));
    let keep = || {
        (0_u32..3, 1_u32..4, 0_u32..3, 0_u32..2).prop_map(|(hourly, daily, weekly, yearly)| {
            json!({"Keep": {"Hourly": hourly, "Daily": daily, "Weekly": weekly, "Yearly": yearly}})
        })
    };
    let both = |(mut a, b): (Value, Value)| {
        a.as_object_mut().unwrap().extend(b.as_object().unwrap().clone());
        a
    };
    let rule = prop_oneof![
        age(),
        count(),
        keep(),
        (age(), count()).prop_map(both),
        (count(), keep()).prop_map(both),
    ];
    (rule, 1_u32..4).prop_map(|(mut rule, minimum)| {
        rule["MinimumCount"] = json!(minimum);
        rule
    })
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        12 => Just(State::Completed), 1 => Just(State::Pending), 1 => Just(State::Error),
        1 => Just(State::Other),
    ]
}

/// Its own expiry so many hours from now, if it has one.
fn expiry() -> impl Strategy<Value = Option<i64>> {
    proptest::option::weighted(0.4, -60_i64..60)
}

fn expires(snapshot: &mut Snapshot, hours: Option<i64>) {
    let at = hours.map(|hours| tags::instant(hours_ago(-hours)));
    snapshot.tags.extend(at.map(|at| (tags::EXPIRES_AT.to_owned(), at)));
}

/// By policy `p` or one that is gone, its schedules or one that is gone, punctual or late, often twice for one slot.
fn snapshots() -> impl Strategy<Value = Vec<Snapshot>> {
    let one = (
        0_i64..10,
        prop_oneof![5 => 0_i64..20, 1 => 0_i64..3000],
        state(),
        proptest::sample::select(vec!["a", "a", "a", "b", "a,b", "gone"]),
        proptest::sample::select(vec!["p", "p", "p", "p", "q"]),
        1_u32..4,
        expiry(),
    );
    proptest::collection::vec(one, 0..16).prop_map(|all| {
        let made = all.into_iter().zip(1..);
        made.map(|((days, late, state, schedules, policy, volume, hours), n)| {
            with(own(n, schedules, days), |it| {
                it.start_time = (it.start_time + SignedDuration::from_mins(late)).min(now());
                it.state = state;
                it.volume_id = vol(volume);
                it.tags.insert(tags::POLICY.into(), policy.into());
                expires(it, hours);
            })
        })
        .collect()
    })
}

/// Sets of instance 1, whole and broken, tried again and again.
fn sets() -> impl Strategy<Value = Vec<Snapshot>> {
    let member = || proptest::option::weighted(0.95, state());
    let one = (0_i64..8, 0_i64..300, member(), member(), any::<bool>(), expiry());
    proptest::collection::vec(one, 0..8).prop_map(|all| {
        let made = all.into_iter().zip(1..);
        made.flat_map(|((days, late, first, second, tells, hours), n)| {
            let members = set(n, days, &[1, 2]).into_iter().zip([first, second]);
            members.filter_map(move |(member, state)| {
                let state = state?;
                Some(with(member, |it| {
                    it.start_time = (it.start_time + SignedDuration::from_mins(late)).min(now());
                    it.state = state;
                    if !tells {
                        it.tags.remove(tags::VOLUMES);
                    }
                    expires(it, hours);
                }))
            })
        })
        .collect()
    })
}

/// Of snapshots 1 to 15 those that AMIs use, and those that are locked.
fn guards() -> impl Strategy<Value = Guards> {
    let few = || proptest::collection::btree_set((1_u32..90).prop_map(snap), 0..3);
    (few(), few()).prop_map(|(images, locked)| Guards {
        images: images.into_iter().map(|id| (id, "ami-1".to_owned())).collect(),
        locked,
    })
}

/// Which of volumes (or instances) 1 to 3 are there, and which of these are targets.
fn presence() -> impl Strategy<Value = [(bool, bool); 3]> {
    let one = || (proptest::bool::weighted(0.8), proptest::bool::weighted(0.8));
    [one(), one(), one()]
}

/// Policy `p` for volumes, with schedules `a` and `b`.
fn rotations() -> impl Strategy<Value = Rotation> {
    let rules = (retain(), 1_u32..3);
    (rules, snapshots(), guards(), presence(), any::<bool>()).prop_map(
        |((a, n), snapshots, guards, presence, whole)| {
            let mut b = a.clone();
            if let Some(count) = b.get("Count").and_then(Value::as_u64) {
                b["Count"] = json!(count + u64::from(n));
            }
            let zone = json!({"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"],
                              "TimeZone": "America/New_York"});
            let schedules = [
                schedule("a", &json!({"RetainRule": a})),
                schedule("b", &json!({"RetainRule": b, "CreateRule": zone})),
            ];
            let mut world = Rotation::new(&schedules, snapshots);
            world.whole = whole;
            world.inventory.guards = Ok(guards);
            world.inventory.volumes.clear();
            for (n, (is_there, is_target)) in (1..).zip(presence) {
                let mut volume = volume(n);
                if !is_target {
                    volume.tags.clear();
                }
                if is_there {
                    world.inventory.volumes.insert(vol(n), volume);
                }
            }
            world
        },
    )
}

/// Policy `p` for instances, with schedule `s`.
fn servers() -> impl Strategy<Value = Rotation> {
    (retain(), sets(), guards(), presence()).prop_map(|(rule, snapshots, guards, presence)| {
        let mut world = crate::testing::server(&json!({"RetainRule": rule}), snapshots);
        world.inventory.guards = Ok(guards);
        let (is_there, is_target) = presence[0];
        let mut server = instance(1, &[1, 2]);
        if !is_target {
            server.tags.clear();
        }
        world.inventory.instances.clear();
        if is_there {
            world.inventory.instances.insert(ins(1), server);
        }
        world
    })
}

/// Policy `p` with an `ArchiveRule`: snapshots of volume 1 in every tier and on every way.
fn archives() -> impl Strategy<Value = Rotation> {
    let standard = prop_oneof![
        Just(json!({"Count": 0})),
        (1_u32..4).prop_map(|n| json!({"Count": n})),
        (1_u32..60).prop_map(|n| json!({"Interval": n, "IntervalUnit": "DAYS"})),
        (1_u32..4).prop_map(|n| json!({"Keep": {"Monthly": n}})),
    ];
    let archive = prop_oneof![
        (1_u32..4).prop_map(|n| json!({"Count": n})),
        (90_u32..200).prop_map(|n| json!({"Interval": n, "IntervalUnit": "DAYS"})),
    ];
    let status = proptest::sample::select(vec![
        None,
        Some(TieringStatus::Archiving),
        Some(TieringStatus::Archived),
        Some(TieringStatus::Failed),
        Some(TieringStatus::Restored),
    ]);
    let one = (0_i64..400, state(), any::<bool>(), status, proptest::option::of(0_i64..400));
    let many = proptest::collection::vec(one, 0..10);
    (standard, 1_u32..3, archive, many, guards()).prop_map(
        |(mut standard, minimum, archive, many, guards)| {
            standard["MinimumCount"] = json!(minimum);
            let rule = json!({
                "CreateRule": {"CronExpression": "cron(0 2 22 * ? *)"}, "RetainRule": standard,
                "ArchiveRule": {"RetainRule": {"RetentionArchiveTier": archive}}
            });
            let mut world = Rotation::new(&[schedule("s", &rule)], vec![]);
            world.inventory.guards = Ok(guards);
            let mut tierings = BTreeMap::new();
            for ((days, state, archived, status, since), n) in many.into_iter().zip(1..) {
                let snapshot = own(n, "s", days);
                let archived = archived && state == State::Completed;
                let archived_at = since.map(|since| hours_ago(24 * since.min(days)));
                let status = if archived { Some(TieringStatus::Archived) } else { status };
                let tiering = status.map(|status| (snap(n), Tiering { status, archived_at }));
                tierings.extend(tiering.filter(|_| state == State::Completed));
                world.inventory.snapshots.push(Snapshot { state, archived, ..snapshot });
            }
            world.inventory.tiering = Ok(tierings);
            world
        },
    )
}

/// Policy `p` with a `DefaultKeyRescue`: snapshots with what stands in for them, and a vault that has some of either.
fn rescues() -> impl Strategy<Value = Rotation> {
    let share = |more: Value| {
        let mut rule = json!({"TargetAccounts": [VAULT]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([rule])
    };
    let rule = prop_oneof![
        3 => Just(until_copied()["ShareRules"].clone()),
        1 => Just(share(json!({}))),
        1 => (1_u32..4).prop_map(move |n| share(json!({"UnshareInterval": n, "UnshareIntervalUnit": "DAYS"}))),
    ];
    let record = || proptest::sample::select(vec![None, None, Some(""), Some(VAULT)]);
    let in_vault = || proptest::collection::vec(any::<bool>(), 2);
    let one_stand_in = (state(), in_vault(), record(), any::<bool>());
    let one = (
        proptest::option::weighted(0.9, state()),
        proptest::bool::weighted(0.8),
        record(),
        in_vault(),
        any::<bool>(),
        proptest::collection::vec(one_stand_in, 0..3),
    );
    let many = proptest::collection::vec(one, 0..6);
    let flags = (proptest::bool::weighted(0.8), proptest::bool::weighted(0.9), any::<bool>());
    (rule, 1_u32..6, many, guards(), presence(), flags).prop_map(
        |(rule, count, many, guards, presence, (has_member, has_vault, whole))| {
            let rules = json!({"ShareRules": rule, "RetainRule": {"Count": count}});
            let mut world = rescuing(&rules, vec![]);
            if !has_member {
                world.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!(null);
            }
            world.whole = whole;
            world.inventory.guards = Ok(guards);
            let (mut shared, mut vault) = (BTreeSet::new(), [vec![], vec![]]);
            let mut copy = |n: u32, days, places: Vec<bool>| {
                for (copies, _) in vault.iter_mut().zip(places).filter(|(_, is_there)| *is_there) {
                    copies.push(copied(n, 100 + n, days));
                }
            };
            let tag = |record: Option<&str>| {
                record.map(|it| (tags::SHARED_WITH.to_owned(), it.to_owned()))
            };
            for ((state, is_sealed, record, places, is_shared, ones), n) in
                many.into_iter().zip(1..)
            {
                let days = i64::from(n) - 1;
                for ((state, places, record, is_shared), m) in ones.into_iter().zip(1..) {
                    let mut one = stand_in(n, 10 * n + m, days);
                    one.state = state;
                    one.start_time += SignedDuration::from_mins(m.into());
                    one.start_time = one.start_time.min(now());
                    one.tags.extend(tag(record));
                    copy(10 * n + m, days, places);
                    shared.extend(is_shared.then(|| one.id.clone()));
                    world.inventory.snapshots.push(one);
                }
                let mut source = if is_sealed { sealed(n, days) } else { own(n, "s", days) };
                source.tags.extend(tag(record));
                copy(n, days, places);
                shared.extend((is_shared && !is_sealed).then(|| source.id.clone()));
                let source = state.map(|state| Snapshot { state, ..source });
                world.inventory.snapshots.extend(source);
            }
            world.inventory.shared.insert(id(VAULT), shared);
            for (region, copies) in [HOME, AWAY].into_iter().zip(vault) {
                world.inventory.vaults.insert(vault_place(region), Ok(copies));
            }
            if !has_vault {
                world.inventory.vaults.remove(&vault_place(AWAY));
            }
            let (is_there, is_target) = presence[0];
            let volume = world.inventory.volumes.get_mut(&vol(1)).unwrap();
            if !is_target {
                volume.tags.clear();
            }
            if !is_there {
                world.inventory.volumes.clear();
            }
            world
        },
    )
}

fn worlds() -> impl Strategy<Value = Rotation> {
    prop_oneof![3 => rotations(), 2 => servers(), 2 => archives(), 3 => rescues()]
}

/// Snapshots that are deleted or archived, held, and kept; one that occurs twice is in there twice.
fn decided(plan: &Plan) -> Vec<SnapshotId> {
    let leaves =
        |action: &Action| matches!(action, Action::DeleteSnapshot(_) | Action::ArchiveSnapshot(_));
    let leaving = plan.actions.iter().filter(|it| leaves(&it.action)).map(|it| &it.subject);
    // That it cannot be shared is told beside.
    let held =
        plan.held.iter().filter(|it| !matches!(it.why, Hold::Unshareable(_))).map(|it| &it.subject);
    let kept = plan.kept.iter().map(|it| &it.subject);
    let mut ids: Vec<_> =
        leaving.chain(held).chain(kept).filter_map(|it| it.snapshot.clone()).collect();
    ids.sort();
    ids
}

fn sorted(plan: &Plan) -> [Vec<String>; 4] {
    let deferred = plan.deferred.iter().map(|it| it.waits_for.clone()).collect();
    let mut all = [actions(plan), held(plan), kept(plan), deferred];
    for lines in &mut all {
        lines.sort();
    }
    all
}

/// The good ones of every volume that stay.
fn good(world: &Rotation, gone: &BTreeSet<SnapshotId>) -> BTreeMap<VolumeId, usize> {
    let mut good = BTreeMap::new();
    let completed = world.inventory.snapshots.iter().filter(|it| it.state == State::Completed);
    for it in completed.filter(|it| !it.volume_id.is_placeholder()) {
        *good.entry(it.volume_id.clone()).or_default() += usize::from(!gone.contains(&it.id));
    }
    good
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_auditor_has_nothing_against_any_plan(world in worlds()) {
        let plan = world.good_plan();
        // Every snapshot of ours is decided about, once, with a reason.
        let ours: Vec<_> = world.inventory.snapshots.iter().map(|it| it.id.clone()).collect();
        let ours: BTreeSet<_> = ours.into_iter().collect();
        prop_assert_eq!(decided(&plan), Vec::from_iter(ours));
        prop_assert!(plan.kept.iter().all(|it| !it.why.is_empty()));
        // No volume loses all that is good.
        for (volume, n) in good(&world, &deleted(&plan)) {
            prop_assert!(n > 0, "{} {:?}", volume, actions(&plan));
        }
        prop_assert_eq!(&world.plan(), &plan);
        // What stands in for a snapshot goes only where that stays, or something newer, or another, or the vault has it.
        let gone = deleted(&plan);
        for it in world.inventory.snapshots.iter().filter(|it| gone.contains(&it.id)) {
            let Some(claim) = CopyClaim::read(&it.tags).filter(|_| it.state == State::Completed) else {
                continue;
            };
            let stays = |other: &&Snapshot| other.state == State::Completed && !gone.contains(&other.id);
            let is_left = world.inventory.snapshots.iter().filter(stays).any(|other| {
                let twin = CopyClaim::read(&other.tags);
                twin.is_some_and(|twin| twin.source_snapshot == claim.source_snapshot)
                    || (other.volume_id == vol(1) && Some(other.start_time) >= claim.source_start)
            });
            let is_copy = |copy: &Snapshot| copy.tags[tags::SOURCE_SNAPSHOT] == it.id.as_str();
            let mut places = world.inventory.vaults.values();
            let has_it = places.len() == 2 && places.all(|it| it.as_ref().unwrap().iter().any(is_copy));
            prop_assert!(is_left || has_it, "{} {:?}", it.id, actions(&plan));
        }
        // A snapshot has one stand-in at the most that is on its way or good.
        let mut made = BTreeSet::new();
        for planned in plan.actions.iter().filter(|it| matches!(it.action, Action::CopySnapshot(_))) {
            let source = planned.subject.source.clone().unwrap();
            let lives = |it: &&Snapshot| CopyClaim::read(&it.tags).is_some_and(|it| it.source_snapshot == source);
            prop_assert!(world.inventory.snapshots.iter().filter(lives).all(|it| it.state == State::Error));
            prop_assert!(made.insert(source));
        }
    }

    #[test]
    fn the_order_of_what_was_seen_does_not_matter(world in worlds(), seed in any::<u64>()) {
        let plan = sorted(&world.plan());
        let mut shuffled = world;
        // Some order: by a hash of the id.
        let hash = |it: &Snapshot| {
            let bytes = it.id.as_str().bytes();
            bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        };
        shuffled.inventory.snapshots.sort_by_key(hash);
        prop_assert_eq!(sorted(&shuffled.plan()), plan);
    }

    /// A good snapshot more, for a slot that has none yet, makes no rule keep what no rule has kept.
    #[test]
    fn retention_verdicts_never_grow(world in prop_oneof![rotations(), servers()], minutes in 10_i64..9000) {
        let before = world.good_plan();
        let gone = before.actions.iter().filter(|it| matches!(it.reason, Reason::Retention(_)));
        let gone: BTreeSet<_> = gone.filter_map(|it| it.subject.snapshot.clone()).collect();
        let mut more = world;
        let start = now() - SignedDuration::from_mins(minutes);
        let slot = tags::instant(start - SignedDuration::from_secs(77));
        let is_set = !more.inventory.instances.is_empty();
        let added = if is_set { set(50, 0, &[1, 2]) } else { vec![own(501, "a,b", 0)] };
        for mut snapshot in added {
            snapshot.start_time = start;
            snapshot.tags.insert(tags::SLOT.into(), slot.clone());
            more.inventory.snapshots.push(snapshot);
        }
        let after = more.good_plan();
        for kept in &after.kept {
            let is_rule = kept.why.iter().any(|why| !matches!(why, Keeping::TwinLeaves));
            let id = kept.subject.snapshot.as_ref().unwrap();
            prop_assert!(!is_rule || !gone.contains(id), "{} {:?}", id, kept.why);
        }
    }
}

#[test]
fn slots_of_the_generators_are_slots() {
    assert_eq!(at(&own(1, "s", 3).tags[tags::SLOT]), at("2026-11-19T02:00:00Z"));
}

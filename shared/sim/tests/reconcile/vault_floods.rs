//! An owner who takes everything away, shares far too much, or what cannot be copied: other copies stay, and nobody waits.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::tags;
use snapferry_sim::{Record, Sim, id};

use crate::support::attacks::{REGIONS, honest, hostile, ids, live, of_owner, policy, world};
use crate::support::vaults::{assert_quiet, copies, for_days, good_copies, shared, volume};
use crate::support::{HOME, OTHER, VAULT, account, calls, days, hours, minutes, sweep};

#[test]
fn an_owner_who_deletes_or_unshares_everything_changes_nothing() {
    for retain in
        [for_days(3), json!({"Count": 2}), json!({"Keep": {"Daily": 2}, "MinimumCount": 2})]
    {
        for deletes in [true, false] {
            let sim = world(&retain, 3);
            let before = copies(&sim);
            assert!(before.iter().all(|it| it.is(State::Completed)));
            let sources =
                sim.records().into_iter().filter(|it| it.snapshot.owner != account(VAULT));
            for source in sources {
                if deletes {
                    sim.remove(&source.snapshot.id);
                } else {
                    sim.change(&source.snapshot.id, |it| it.shared_with.clear());
                }
            }
            let run = sweep(&sim, &[policy(&retain)]);
            assert_quiet(&run, "");
            let gone: Vec<_> = sim.take_deletions();
            let by_age =
                |it: &Record| tags::expires_at(&it.snapshot.tags).is_some_and(|at| at <= sim.now());
            assert!(gone.iter().all(|it| by_age(&it.record)), "only what was due anyway");
            // A year later the newest of every volume is there still; by number all are.
            for _ in 0..12 {
                sim.advance(days(30));
                assert_quiet(&sweep(&sim, &[policy(&retain)]), "");
            }
            let left = copies(&sim);
            let newest: BTreeSet<_> = before
                .iter()
                .filter(|it| {
                    it.claim.source_start.unwrap()
                        == before.last().unwrap().claim.source_start.unwrap()
                })
                .map(|it| it.record.snapshot.id.clone())
                .collect();
            assert_eq!(newest.len(), 2 * 2 * 2);
            let left: BTreeSet<_> = left.into_iter().map(|it| it.record.snapshot.id).collect();
            assert!(newest.is_subset(&left));
            let is_by_age = retain.get("Interval").is_some();
            assert_eq!(left.len(), if is_by_age { 8 } else { 16 }, "{retain}");
        }
    }
}

/// So many snapshots of one of the hostile owner's volumes, a second apart.
fn flood(sim: &Sim, n: usize) {
    for _ in 0..n {
        shared(sim, &hostile(), &volume(1), |_| {});
        sim.advance(SignedDuration::from_secs(1));
    }
}

#[test]
fn a_flood_under_a_count_touches_no_other_volume() {
    let retain = json!({"Count": 3});
    let sim = world(&retain, 4);
    let honest_before = of_owner(&sim, &honest());
    let others_before: BTreeSet<_> = of_owner(&sim, &hostile())
        .into_values()
        .filter(|it| it.snapshot.tags[tags::SOURCE_VOLUME] != volume(1).as_str())
        .map(|it| it.snapshot.id)
        .collect();
    drop(sim.take_journal());
    flood(&sim, 300);
    live(&sim, &policy(&retain), 5);
    assert_eq!(of_owner(&sim, &honest()), honest_before);
    assert!(others_before.is_subset(&ids(&of_owner(&sim, &hostile()))));
    // What is not worth a copy costs none: three newest in each Region, not three hundred.
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 2 * 3);
    let left = copies(&sim).into_iter().filter(|it| it.claim.source_volume == volume(1));
    let left = left.filter(|it| it.claim.source_account == hostile().account);
    assert_eq!(left.count(), 2 * 3, "the newest three, as the rule says");
}

#[test]
fn a_flood_under_a_count_beside_an_age_pushes_nothing_out_before_its_time() {
    let retain = json!({"Count": 3, "Interval": 14, "IntervalUnit": "DAYS"});
    let sim = world(&retain, 4);
    let before = copies(&sim);
    flood(&sim, 50);
    live(&sim, &policy(&retain), 5);
    assert_eq!(sim.take_deletions().len(), 0);
    let left: BTreeSet<_> = copies(&sim).into_iter().map(|it| it.record.snapshot.id).collect();
    assert!(before.iter().all(|it| left.contains(&it.record.snapshot.id)));
}

#[test]
fn a_flood_pushes_no_locked_copy_out() {
    let retain = json!({"Count": 2});
    let sim = world(&retain, 2);
    let mut document = policy(&retain);
    let rules = document["PolicyDetails"]["Actions"][0]["CrossRegionCopy"].as_array_mut().unwrap();
    for rule in rules {
        rule["LockRule"] = json!({"Mode": "COMPLIANCE", "DurationDays": 20});
    }
    assert_quiet(&sweep(&sim, std::slice::from_ref(&document)), "");
    let before = copies(&sim);
    flood(&sim, 30);
    live(&sim, &document, 10);
    let left: BTreeSet<_> = copies(&sim).into_iter().map(|it| it.record.snapshot.id).collect();
    assert!(before.iter().all(|it| left.contains(&it.record.snapshot.id)));
    assert_eq!(sim.take_deletions().len(), 0);
}

#[test]
fn a_flood_keeps_nobody_waiting() {
    let retain = for_days(30);
    let sim = world(&retain, 1);
    flood(&sim, 400);
    assert_quiet(&sweep(&sim, &[policy(&retain)]), "");
    sim.advance(hours(1));
    let mine: Vec<_> = (0..5).map(|n| shared(&sim, &honest(), &volume(n), |_| {})).collect();
    let run = sweep(&sim, &[policy(&retain)]);
    assert_quiet(&run, "");
    let good = good_copies(&sim);
    for source in mine {
        for region in REGIONS {
            assert!(good.contains_key(&(source.clone(), id(region))), "before the flood's");
        }
    }
}

#[test]
fn copies_that_are_made_to_fail_keep_nobody_waiting() {
    let sim = world(&for_days(30), 1);
    let key = format!("arn:aws:kms:{HOME}:{OTHER}:key/of-nobody-else");
    sim.key(&key, &[]);
    for of in 0..200 {
        shared(&sim, &hostile(), &volume(of), |it| {
            it.snapshot.encrypted = true;
            it.snapshot.kms_key_id = Some(key.as_str().into());
        });
    }
    let mut mine = Vec::new();
    for n in 0..24 {
        mine.push(shared(&sim, &honest(), &volume(n % 3), |_| {}));
        let run = sweep(&sim, &[policy(&for_days(30))]);
        let failed = run.report.actions.iter().filter(|it| it.outcome == OutcomeName::Failed);
        let is_mine = |it: &SnapshotId| mine.contains(it);
        assert!(failed.filter_map(|it| it.source_snapshot_id.as_ref()).all(|it| !is_mine(it)));
        sim.advance(minutes(30));
        let good = good_copies(&sim);
        for source in &mine {
            for region in REGIONS {
                assert!(good.contains_key(&(source.clone(), id(region))), "at once");
            }
        }
    }
    // What fails is tried at once, and then once an hour; two failed ones of each are remembered.
    let failed = copies(&sim).into_iter().filter(|it| it.is(State::Error)).count();
    assert!(failed <= 2 * 2 * 200, "{failed}");
    let journal = sim.take_journal();
    let asked = calls(&journal, "CopySnapshot");
    assert!(asked <= 2 * 24 * 20, "no more than there are places: {asked}");
}

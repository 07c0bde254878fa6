//! `ArchiveRule`: from the standard tier into the archive, and out of it, over years.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::VolumeId;
use snapferry_core::inventory::{Tiering, TieringStatus};
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_sim::{Fault, Record, Sim};

use crate::support::listing::{lines_of, of_volume};
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    VAULT, account, at, calls, days, failure, held, hours, lines, mutations, policy, rotate,
    rotate_and_look, rotate_for, target,
};

/// Monthly at 02:00 on the first.
fn monthly(retain: &Value, archive: &Value) -> Value {
    let mut schedule = json!({
        "Name": "monthly", "CreateRule": {"CronExpression": "cron(0 2 1 * ? *)"},
        "ArchiveRule": {"RetainRule": {"RetentionArchiveTier": archive}}
    });
    if !retain.is_null() {
        schedule["RetainRule"] = retain.clone();
    }
    policy("tiers", &[schedule])
}

fn months(n: u32) -> Value {
    json!({"Interval": n, "IntervalUnit": "MONTHS"})
}

/// The first of January, shortly after the first slot.
fn sim() -> (Sim, VolumeId) {
    let sim = Sim::new(at("2026-01-01T02:01:00Z"));
    let volume = target(&sim);
    (sim, volume)
}

fn age(record: &Record, now: Timestamp) -> i64 {
    now.duration_since(record.snapshot.start_time).as_hours() / 24
}

/// The months of the snapshots in the standard tier and in the archive.
fn tiers(sim: &Sim, volume: &VolumeId) -> [Vec<String>; 2] {
    let lines = lines_of(sim, volume);
    [false, true].map(|archived| {
        let here = lines.iter().filter(|line| line.ends_with(" archive") == archived);
        here.map(|line| line[..7].to_owned()).collect()
    })
}

fn assert_settled(sim: &Sim, policy: &[Value]) {
    drop(sim.take_journal());
    quiet(&rotate(sim, policy));
    assert_eq!(mutations(sim), Vec::<String>::new());
}

#[test]
fn three_years_by_age() {
    let (sim, volume) = sim();
    let policy = [monthly(&months(2), &months(6))];
    rotate_and_look(&sim, &policy, 3 * 365, days(1), |run| {
        quiet(run);
        for record in of_volume(&sim, &volume) {
            let days = age(&record, sim.now());
            let archived = record.snapshot.archived;
            assert!(days > 58 || !archived, "archived after {days} days");
            assert!(days <= 64 || archived, "in the standard tier for {days} days");
            assert!(days <= 62 + 184 + 4, "{days} days old");
        }
    });
    let [standard, archive] = tiers(&sim, &volume);
    assert_eq!(standard, ["2028-11", "2028-12"]);
    assert_eq!(archive, ["2028-05", "2028-06", "2028-07", "2028-08", "2028-09", "2028-10"]);
    assert_settled(&sim, &policy);
    let journal = calls(&sim.take_journal(), "ModifySnapshotTier");
    assert_eq!(journal, 0);
}

#[test]
fn three_years_by_count() {
    let (sim, volume) = sim();
    let policy = [monthly(&json!({"Count": 2}), &json!({"Count": 5}))];
    rotate_and_look(&sim, &policy, 3 * 365, days(1), quiet);
    let [standard, archive] = tiers(&sim, &volume);
    assert_eq!(standard, ["2028-11", "2028-12"]);
    assert_eq!(archive, ["2028-06", "2028-07", "2028-08", "2028-09", "2028-10"]);
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "CreateSnapshot"), 36);
    assert_eq!(calls(&journal, "ModifySnapshotTier"), 34, "each once");
    assert_eq!(calls(&journal, "DeleteSnapshot"), 29, "each once");
    assert_settled(&sim, &policy);
}

#[test]
fn archived_at_once_and_weekly_runs_will_do() {
    let (sim, volume) = sim();
    let policy = [monthly(&Value::Null, &json!({"Interval": 90, "IntervalUnit": "DAYS"}))];
    rotate_and_look(&sim, &policy, 2 * 365, days(7), quiet);
    let [standard, archive] = tiers(&sim, &volume);
    assert!(standard.is_empty() && (3..=4).contains(&archive.len()), "{archive:?}");
    // The volume goes, and of its snapshots the newest stays, in the archive.
    sim.delete_volume(&volume);
    rotate_and_look(&sim, &policy, 365, days(7), quiet);
    let [_, left] = tiers(&sim, &volume);
    assert_eq!(left, archive[archive.len() - 1..]);
    assert_settled(&sim, &policy);
}

#[test]
fn what_cannot_be_archived_within_a_day_stays_as_long_in_the_standard_tier() {
    let (sim, volume) = sim();
    let policy = [monthly(&months(1), &months(3))];
    sim.set(|it| it.archiving_fails = true);
    rotate_and_look(&sim, &policy, 45, hours(2), quiet);
    let first = of_volume(&sim, &volume)[0].snapshot.id.clone();
    let journal = sim.take_journal();
    let tries = journal.iter().filter(|call| call.operation == "ModifySnapshotTier");
    let tries = tries.inspect(|call| assert_eq!(call.object, first.as_str())).count();
    assert!((10..=13).contains(&tries), "{tries} tries in a day of a run every two hours");
    let run = rotate(&sim, &policy);
    let why = held(&run, &first).join("");
    assert!(why.starts_with("it could not be archived within 24 hours"), "{why}");
    // It works again: the next ones get there, and the first goes when it would have left the archive.
    sim.set(|it| it.archiving_fails = false);
    rotate_and_look(&sim, &policy, 70, days(1), quiet);
    assert!(sim.record(&first).is_some_and(|it| !it.snapshot.archived), "115 days old");
    assert_eq!(tiers(&sim, &volume)[1], ["2026-02", "2026-03"]);
    rotate_and_look(&sim, &policy, 10, days(1), quiet);
    assert!(sim.record(&first).is_none(), "four months old");
    assert_settled(&sim, &policy);
}

#[test]
fn archiving_that_fails_for_some_hours_is_made_up_for() {
    for retain in [months(1), json!({"Count": 1})] {
        let (sim, volume) = sim();
        let policy = [monthly(&retain, &months(3))];
        rotate_for(&sim, &policy, 31, hours(6));
        sim.set(|it| it.archiving_fails = true);
        for _ in 0..5 {
            quiet(&rotate(&sim, &policy));
            sim.advance(hours(3));
        }
        assert_eq!(tiers(&sim, &volume)[1], [""; 0]);
        sim.set(|it| it.archiving_fails = false);
        rotate_for(&sim, &policy, 1, hours(1));
        assert_eq!(tiers(&sim, &volume)[1], ["2026-01"], "{retain}");
    }
}

#[test]
fn by_count_what_could_not_be_archived_goes_when_it_would_have_left() {
    let (sim, volume) = sim();
    let policy = [monthly(&json!({"Count": 1}), &json!({"Count": 2}))];
    sim.set(|it| it.archiving_fails = true);
    rotate_and_look(&sim, &policy, 365, hours(12), |run| {
        quiet(run);
        assert!(of_volume(&sim, &volume).len() <= 4, "{:?}", lines_of(&sim, &volume));
    });
    let [standard, archive] = tiers(&sim, &volume);
    assert_eq!((standard.len(), archive.len()), (3, 0), "{standard:?}");
}

#[test]
fn sharing_and_fast_restore_end_with_the_standard_tier() {
    let (sim, volume) = sim();
    let mut policy = monthly(&json!({"Count": 1}), &json!({"Count": 3}));
    let schedule = &mut policy["PolicyDetails"]["Schedules"][0];
    schedule["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
    schedule["FastRestoreRule"] = json!({"Count": 2, "AvailabilityZones": ["eu-central-1a"]});
    let policy = [policy];
    rotate_and_look(&sim, &policy, 130, hours(6), quiet);
    let records = of_volume(&sim, &volume);
    assert_eq!(tiers(&sim, &volume)[1], ["2026-02", "2026-03", "2026-04"]);
    for record in &records {
        let archived = record.snapshot.archived;
        assert_eq!(record.shared_with.contains(&account(VAULT)), !archived);
        assert_eq!(record.fast_restores.is_empty(), archived);
    }
    let mut shared: BTreeMap<String, usize> = BTreeMap::new();
    for call in
        sim.take_journal().into_iter().filter(|it| it.operation == "ModifySnapshotAttribute")
    {
        *shared.entry(call.object).or_default() += 1;
    }
    assert!(shared.values().all(|n| *n == 1), "{shared:?}");
    assert_settled(&sim, &policy);
}

#[test]
fn more_than_may_be_on_their_way_wait() {
    let (sim, first) = sim();
    let mut volumes = vec![first];
    volumes.extend((0..6).map(|_| target(&sim)));
    sim.set(|it| {
        it.archivings_at_once = 2;
        it.archiving_takes = SignedDuration::from_hours(5);
    });
    let policy = [monthly(&json!({"Count": 1}), &months(3))];
    rotate_for(&sim, &policy, 31, days(1));
    rotate(&sim, &policy);
    sim.advance(hours(1));
    let run = rotate(&sim, &policy);
    assert_eq!(failure(&run), "");
    assert_eq!(lines(&run, "ModifySnapshotTier", OutcomeName::Deferred).len(), 5);
    rotate_for(&sim, &policy, 2, hours(3));
    for volume in &volumes {
        assert_eq!(tiers(&sim, volume)[1], ["2026-01"]);
    }
    assert_settled(&sim, &policy);
}

#[test]
fn without_the_tiers_status_nothing_is_archived_or_goes_and_somebody_is_told() {
    let (sim, volume) = sim();
    let policy = [monthly(&json!({"Count": 1}), &json!({"Count": 1}))];
    rotate_for(&sim, &policy, 70, days(1));
    sim.on_call(|call| match call.operation {
        "DescribeSnapshotTierStatus" => {
            Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation")
        }
        _ => Fault::None,
    });
    drop(sim.take_journal());
    let told = |run: &Run| {
        let told = failure(run);
        assert!(told.starts_with("ActionsFailed: DescribeSnapshotTierStatus"), "{told}");
    };
    rotate_and_look(&sim, &policy, 60, days(1), told);
    let journal = sim.take_journal();
    assert_eq!((calls(&journal, "CreateSnapshot"), calls(&journal, "DeleteSnapshot")), (2, 0));
    assert_eq!(calls(&journal, "ModifySnapshotTier"), 0);
    sim.no_faults();
    rotate_and_look(&sim, &policy, 3, hours(6), quiet);
    assert_eq!(tiers(&sim, &volume), [["2026-05"], ["2026-04"]]);
}

#[test]
fn what_a_person_restores_is_not_archived_again() {
    let (sim, volume) = sim();
    let policy = [monthly(&months(1), &months(6))];
    rotate_for(&sim, &policy, 100, days(1));
    let restored = of_volume(&sim, &volume)[1].snapshot.id.clone();
    assert!(sim.record(&restored).unwrap().snapshot.archived);
    sim.change(&restored, |it| {
        it.snapshot.archived = false;
        it.tiering = Some(Tiering { status: TieringStatus::Restored, archived_at: None });
    });
    drop(sim.take_journal());
    rotate_and_look(&sim, &policy, 60, days(1), quiet);
    let again = sim.take_journal().into_iter().filter(|it| it.operation == "ModifySnapshotTier");
    assert_eq!(again.filter(|it| it.object == restored.as_str()).count(), 0);
    rotate_and_look(&sim, &policy, 100, days(1), quiet);
    assert!(sim.record(&restored).is_none(), "seven months after it began");
}

#[test]
fn a_storm_archives_nothing_too_early_and_loses_nothing() {
    for seed in 0..8 {
        let (sim, _) = sim();
        target(&sim);
        let policy = [monthly(&json!({"Count": 1}), &json!({"Count": 4}))];
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 30, days(6));
        weather.calm(format!("seed {seed}"));
        for record in sim.records().iter().filter(|it| it.snapshot.archived) {
            let newer = sim.records().into_iter().filter(|it| {
                it.snapshot.volume_id == record.snapshot.volume_id
                    && it.snapshot.start_time > record.snapshot.start_time
            });
            assert!(newer.count() >= 1, "seed {seed}: the newest is archived");
        }
    }
}

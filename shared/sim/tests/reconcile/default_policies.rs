//! Default policies: every volume that nobody has backed up lately.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_core::ids::VolumeId;
use snapferry_core::inventory::State;
use snapferry_core::tags;
use snapferry_sim::Sim;

use crate::support::listing::{copies_of_volume, of_volume};
use crate::support::servers::{server, volume_of_type};
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    HOME, MEMBER, calls, days, hours, member, minutes, mutations, nightly, role, rotate,
    rotate_and_look, rotate_for, sim,
};

fn unprotected(create: u32, retain: u32, more: &Value) -> [Value; 1] {
    let mut details = json!({
        "PolicyLanguage": "SIMPLIFIED", "ResourceType": "VOLUME",
        "CreateInterval": create, "RetainInterval": retain
    });
    for (key, value) in more.as_object().unwrap() {
        details[key] = value.clone();
    }
    [json!({
        "Name": "default",
        "Targets": [{"RoleArn": role(MEMBER), "Regions": [HOME]}],
        "PolicyDetails": details
    })]
}

/// A volume a day ago.
fn old_volume(sim: &Sim) -> VolumeId {
    let volume = sim.volume(&member(), &[]);
    sim.change_volume(&volume, |it| it.create_time -= days(1));
    volume
}

fn starts(sim: &Sim, volume: &VolumeId) -> Vec<Timestamp> {
    of_volume(sim, volume).iter().map(|it| it.snapshot.start_time).collect()
}

/// Somebody else's snapshot, now.
fn foreign(sim: &Sim, volume: &VolumeId) {
    sim.snapshot(&member(), volume, |it| it.snapshot.description = "by hand".into());
}

/// The gaps between snapshots over so many days of runs; those that went are remembered.
fn gaps(create: u32, n_days: i64, step: SignedDuration) -> Vec<SignedDuration> {
    let sim = sim();
    let volume = old_volume(&sim);
    let policy = unprotected(create, 14, &json!({}));
    let mut seen = std::collections::BTreeSet::new();
    rotate_and_look(&sim, &policy, n_days, step, |run| {
        quiet(run);
        seen.extend(starts(&sim, &volume));
    });
    let seen: Vec<_> = seen.into_iter().collect();
    seen.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect()
}

#[test]
fn intervals_hold_for_sixty_days() {
    for (create, step) in [(1, hours(1)), (2, hours(4)), (7, hours(6))] {
        let wanted = days(i64::from(create));
        let found = gaps(create, 60, step);
        let n = 60 / usize::try_from(create).unwrap();
        assert!((n - 1..=n).contains(&found.len()), "{create}: {}", found.len());
        for gap in found {
            assert!(gap <= wanted + step && gap >= wanted - minutes(1), "{create}: {gap:?}");
        }
    }
}

#[test]
fn with_quicker_runs_the_interval_is_the_same() {
    for (create, step) in [(1, minutes(15)), (2, minutes(11))] {
        let wanted = days(i64::from(create));
        let found = gaps(create, 5, step);
        assert!(!found.is_empty());
        for gap in found {
            assert!(gap <= wanted + step && gap >= wanted - minutes(1), "{create}: {gap:?}");
        }
    }
}

#[test]
fn a_run_a_day_is_enough_for_an_interval_of_a_day() {
    // The snapshot begins some seconds after its run: the next day's must not find it too recent.
    let found = gaps(1, 30, days(1));
    assert_eq!(found.len(), 29);
    assert!(found.iter().all(|gap| *gap < days(1) + minutes(1)));
}

#[test]
fn a_new_volume_waits_for_its_second_day() {
    let sim = sim();
    let policy = unprotected(1, 7, &json!({}));
    rotate_for(&sim, &policy, 1, hours(1));
    sim.advance(minutes(30));
    let volume = sim.volume(&member(), &[]);
    let born = sim.now();
    let run = rotate(&sim, &policy);
    quiet(&run);
    let why: Vec<_> = run.report.held.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(why, ["a default policy waits until a volume is 24 hours old"]);
    rotate_and_look(&sim, &policy, 2, hours(1), quiet);
    let first = starts(&sim, &volume)[0];
    assert!(first >= born + days(1) && first < born + days(1) + hours(1), "{first}");
}

#[test]
fn what_others_back_up_is_left_to_them() {
    let sim = sim();
    let (theirs, ours) = (old_volume(&sim), old_volume(&sim));
    let policy = unprotected(2, 7, &json!({}));
    for _ in 0..10 {
        foreign(&sim, &theirs);
        rotate_and_look(&sim, &policy, 1, hours(1), quiet);
    }
    assert_eq!(of_volume(&sim, &theirs).len(), 10);
    assert_eq!(of_volume(&sim, &ours).len(), 3, "of a week, every other day");
    // They stop, or only fail.
    let stopped = *starts(&sim, &theirs).last().unwrap();
    let fail = |sim: &Sim| {
        sim.snapshot(&member(), &theirs, |it| it.snapshot.state = State::Error);
    };
    for _ in 0..3 {
        fail(&sim);
        rotate_and_look(&sim, &policy, 1, hours(1), quiet);
    }
    let tagged = of_volume(&sim, &theirs);
    let tagged: Vec<_> =
        tagged.iter().filter(|it| it.snapshot.tags.contains_key(tags::POLICY)).collect();
    let gap = tagged[0].snapshot.start_time.duration_since(stopped);
    assert!(gap <= days(2) + hours(1) && gap >= days(2) - minutes(1), "{gap:?}");
    assert_eq!(of_volume(&sim, &theirs).len(), 10 + 3 + tagged.len(), "no stranger's is deleted");
}

#[test]
fn the_time_of_day_does_not_drift() {
    let sim = sim();
    let volume = old_volume(&sim);
    rotate_for(&sim, &unprotected(1, 7, &json!({})), 5, minutes(15));
    let slots = of_volume(&sim, &volume).into_iter();
    let slots: Vec<String> = slots.map(|it| it.snapshot.tags[tags::SLOT].clone()).collect();
    assert_eq!(slots.len(), 5);
    assert!(slots.iter().all(|it| it.ends_with("T02:01:00Z")), "{slots:?}");
}

#[test]
fn what_is_excluded_is_left_alone() {
    let sim = sim();
    let server = server(&sim, &member(), &[], 1);
    let slow = volume_of_type(&sim, &member(), "sc1", &[]);
    let tagged = sim.volume(&member(), &[("Backup", "no")]);
    let almost = sim.volume(&member(), &[("Backup", "No")]);
    sim.advance(days(1));
    let policy = unprotected(
        1,
        7,
        &json!({"Exclusions": {"ExcludeBootVolumes": true, "ExcludeVolumeTypes": ["sc1", "st1"],
                               "ExcludeTags": [{"Key": "Backup", "Value": "no"}]}}),
    );
    rotate_for(&sim, &policy, 3, hours(1));
    for excluded in [&server.boot, &slow, &tagged] {
        assert_eq!(of_volume(&sim, excluded).len(), 0);
    }
    for included in [&server.data[0], &almost] {
        assert!((3..=4).contains(&of_volume(&sim, included).len()));
    }
    // What is excluded from now on keeps what it has until that expires, down to the last.
    sim.change_volume(&almost, |it| drop(it.tags.insert("Backup".into(), "no".into())));
    rotate_and_look(&sim, &policy, 12, hours(6), quiet);
    assert_eq!(of_volume(&sim, &almost).len(), 1);
}

#[test]
fn retention_is_by_age_and_the_last_of_a_deleted_volume_stays() {
    let sim = sim();
    let (alive, dead) = (old_volume(&sim), old_volume(&sim));
    let policy = unprotected(1, 3, &json!({"CopyTags": true}));
    rotate_and_look(&sim, &policy, 10, hours(1), |run| {
        quiet(run);
        assert!(of_volume(&sim, &alive).len() <= 4);
        let old = |it: &Timestamp| sim.now().duration_since(*it) > days(3) + hours(1);
        assert_eq!(starts(&sim, &alive).into_iter().filter(old).count(), 0);
    });
    let last = *starts(&sim, &dead).last().unwrap();
    sim.delete_volume(&dead);
    rotate_and_look(&sim, &policy, 10, hours(1), quiet);
    assert_eq!(starts(&sim, &dead), [last]);
    // Disabled, nothing happens at all.
    let mut disabled = policy.clone();
    disabled[0]["State"] = json!("DISABLED");
    drop(sim.take_journal());
    rotate_for(&sim, &disabled, 10, hours(6));
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn copies_in_other_regions_expire_as_the_snapshots_do() {
    let sim = sim();
    let volume = old_volume(&sim);
    let targets = json!({"CrossRegionCopyTargets": [{"TargetRegion": "eu-west-1"},
                                                    {"TargetRegion": "us-east-1"}]});
    let policy = unprotected(1, 3, &targets);
    rotate_and_look(&sim, &policy, 12, hours(1), quiet);
    let copies = copies_of_volume(&sim, &volume);
    for region in ["eu-west-1", "us-east-1"] {
        let n = copies.iter().filter(|it| it.region.as_str() == region).count();
        assert!((3..=4).contains(&n), "{n}");
    }
    let journal = sim.take_journal();
    let made = calls(&journal, "CreateSnapshot");
    assert_eq!(calls(&journal, "CopySnapshot"), 2 * made, "each once to each Region");
}

#[test]
fn a_storm_passes_and_every_volume_is_backed_up() {
    for seed in 0..8 {
        let sim = sim();
        let volumes = [old_volume(&sim), old_volume(&sim)];
        foreign(&sim, &volumes[0]);
        let strangers: Vec<_> = sim.records().into_iter().map(|it| it.snapshot.id).collect();
        let policy = unprotected(1, 3, &json!({}));
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 24, hours(5));
        weather.calm(format!("seed {seed}"));
        for volume in &volumes {
            let last = starts(&sim, volume).into_iter().max().unwrap();
            assert!(sim.now().duration_since(last) < days(1) + hours(1), "seed {seed}");
        }
        assert!(strangers.iter().all(|it| sim.record(it).is_some()));
    }
}

#[test]
fn what_another_policy_of_ours_backs_up_is_left_to_it() {
    for step in [minutes(15), hours(1)] {
        let sim = sim();
        let volume = sim.volume(&member(), &[("Backup", "daily")]);
        sim.change_volume(&volume, |it| it.create_time -= days(1));
        let nightly = nightly(&json!({"Count": 3}));
        rotate_for(&sim, std::slice::from_ref(&nightly), 1, hours(1));
        let [default] = unprotected(1, 7, &json!({}));
        rotate_and_look(&sim, &[nightly, default], 8, step, quiet);
        let of = |name: &str| {
            let records = of_volume(&sim, &volume).into_iter();
            records.filter(|it| it.snapshot.tags[tags::POLICY] == name).count()
        };
        assert_eq!((of("daily"), of("default")), (3, 0), "every {step:?}");
    }
}

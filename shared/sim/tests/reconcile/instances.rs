//! Policies for instances: sets of one moment, kept and given up as a whole.

use std::pin::Pin;

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_core::tags;
use snapferry_sim::{Call, Fault, InstanceState, Sim, drive, interleave};

use crate::support::listing::{of_instance, of_volume};
use crate::support::servers::{Server, attach_to_all, server, volume_of_type};
use crate::support::sets::{sets, whole_sets};
use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    calls, days, failure, held, hours, lines, member, minutes, mutations, rotate, rotate_and_look,
    rotate_for, rotation, sim, vault,
};

const BACKUP: [(&str, &str); 1] = [("Backup", "daily")];
const FIRST: &str = "2026-11-22T02:00:00Z";

fn by_count(n: u32) -> [Value; 1] {
    [sets(&json!({"Count": n}))]
}

fn by_days(n: u32) -> [Value; 1] {
    [sets(&json!({"Interval": n, "IntervalUnit": "DAYS"}))]
}

/// All slots of the instance have one whole set; these are they.
fn slots_of(sim: &Sim, server: &Server) -> Vec<String> {
    let found = of_instance(sim, &server.id);
    let whole = whole_sets(sim, &server.id, server.volumes().len());
    assert_eq!(whole.len(), found.len(), "{found:?}");
    whole
}

#[test]
fn weeks_of_sets_are_whole_at_any_time() {
    let sim = sim();
    let servers = [server(&sim, &member(), &BACKUP, 2), server(&sim, &member(), &BACKUP, 0)];
    let other = server(&sim, &member(), &[("Backup", "weekly")], 1);
    let mut night = 0;
    rotate_and_look(&sim, &by_count(5), 21, hours(3), |run| {
        quiet(run);
        night += 1;
        for server in &servers {
            let n = slots_of(&sim, server).len();
            // The newest is pending in the run that makes it.
            assert!(n == 5 || n == 6 || n == usize::div_ceil(night, 8), "{n} sets");
        }
    });
    let kept: Vec<String> = (8..=12).map(|day| format!("2026-12-{day:02}T02:00:00Z")).collect();
    for server in &servers {
        assert_eq!(slots_of(&sim, server), kept);
    }
    assert_eq!(of_instance(&sim, &other.id).len(), 0);
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshots"), 2 * 21);
}

#[test]
fn sets_go_by_age_too() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 1);
    rotate_for(&sim, &by_days(3), 9, hours(6));
    let kept: Vec<String> = (28..=30).map(|day| format!("2026-11-{day:02}T02:00:00Z")).collect();
    assert_eq!(slots_of(&sim, &server), kept);
    for record in sim.records() {
        let slot = record.snapshot.tags[tags::SLOT].clone();
        let expires_at = record.snapshot.tags[tags::EXPIRES_AT].clone();
        assert!(slot < expires_at && expires_at.contains("T02:01:"), "{slot} {expires_at}");
    }
}

#[test]
fn what_parameters_exclude_is_in_no_set() {
    let sim = sim();
    let server = server(&sim, &member(), &[("Backup", "daily"), ("Name", "db-1")], 3);
    let scratch = &server.data[1];
    sim.change_volume(scratch, |it| drop(it.tags.insert("Use".into(), "scratch".into())));
    sim.change_volume(&server.data[0], |it| drop(it.tags.insert("Use".into(), "data".into())));
    let mut policy = sets(&json!({"Count": 2}));
    policy["PolicyDetails"]["Parameters"] = json!({
        "ExcludeBootVolume": true,
        "ExcludeDataVolumeTags": [{"Key": "Use", "Value": "scratch"}]
    });
    let schedule = &mut policy["PolicyDetails"]["Schedules"][0];
    schedule["CopyTags"] = json!(true);
    schedule["VariableTags"] = json!([
        {"Key": "of", "Value": "$(instance-id)"}, {"Key": "at", "Value": "$(timestamp)"}]);
    quiet(&rotate(&sim, &[policy.clone()]));
    let set = of_instance(&sim, &server.id).remove(FIRST).unwrap();
    assert_eq!(set.len(), 2);
    for record in &set {
        let snapshot = &record.snapshot;
        assert!([&server.data[0], &server.data[2]].contains(&&snapshot.volume_id));
        assert_eq!((&*snapshot.tags["of"], &*snapshot.tags["at"]), (server.id.as_str(), FIRST));
        let is_data = snapshot.volume_id == server.data[0];
        assert_eq!(snapshot.tags.contains_key("Use"), is_data);
        assert!(snapshot.description.ends_with(" name: db-1"), "{}", snapshot.description);
    }
    for volume in &server.data {
        sim.change_volume(volume, |it| drop(it.tags.insert("Use".into(), "scratch".into())));
    }
    sim.advance(days(1));
    let run = rotate(&sim, &[policy]);
    assert_eq!(failure(&run), "");
    let why = run.report.held.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>();
    assert!(
        why.contains(
            &"Parameters exclude every volume of the instance, so there is none to snapshot"
        ),
        "{why:?}"
    );
}

#[test]
fn a_set_without_an_answer_is_looked_up_and_not_repeated() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    sim.on_call(|call| match call.operation {
        "CreateSnapshots" => Fault::DoButNoAnswer,
        _ => Fault::None,
    });
    let run = rotate(&sim, &by_count(2));
    quiet(&run);
    let done = lines(&run, "CreateSnapshots", OutcomeName::Done);
    assert_eq!((done.len(), done[0].snapshot_ids.len()), (1, 3));
    quiet(&rotate(&sim, &by_count(2)));
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshots"), 1);
    assert_eq!(slots_of(&sim, &server), [FIRST]);
}

#[test]
fn a_set_that_was_never_asked_for_is_told_and_made_by_the_next_run() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    sim.on_call(|call| match call.operation {
        "CreateSnapshots" => Fault::NoAnswer,
        _ => Fault::None,
    });
    let told = failure(&rotate(&sim, &by_count(2)));
    assert!(told.contains("no answer to CreateSnapshots"), "{told}");
    assert_eq!(calls(&sim.take_journal(), "CreateSnapshots"), 1, "never sent again blindly");
    sim.no_faults();
    quiet(&rotate(&sim, &by_count(2)));
    assert_eq!(slots_of(&sim, &server), [FIRST]);
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

#[test]
fn twice_at_once_leaves_one_whole_set() {
    for seed in 0..150_u64 {
        let sim = sim();
        sim.set(|it| {
            it.turns = 3;
            if !seed.is_multiple_of(3) {
                it.snapshot_every = SignedDuration::ZERO;
            }
        });
        let servers = [server(&sim, &member(), &BACKUP, 2), server(&sim, &member(), &BACKUP, 1)];
        let policy = by_count(2);
        let aws = sim.aws(&vault());
        let run = |_| Box::pin(rotation(&aws, &policy, sim.now())) as Running<'_>;
        for run in interleave(seed, (0..2 + seed % 2).map(run).collect()) {
            quiet(&run.unwrap());
        }
        for server in &servers {
            assert_eq!(slots_of(&sim, server), [FIRST], "seed {seed}");
        }
    }
}

#[test]
fn what_two_runs_doubled_unseen_leaves_the_older_set() {
    let sim = sim();
    sim.set(|it| it.remember = 100);
    let server = server(&sim, &member(), &BACKUP, 2);
    rotate(&sim, &by_count(2));
    sim.advance(minutes(1));
    sim.on_call(|_| Fault::StaleRead(100)); // as if the first run had not been
    rotate(&sim, &by_count(2));
    sim.no_faults();
    let made = of_instance(&sim, &server.id).remove(FIRST).unwrap();
    assert_eq!(made.len(), 6);
    let oldest = made.iter().map(|it| it.snapshot.start_time).min();
    sim.advance(minutes(30));
    quiet(&rotate(&sim, &by_count(2)));
    assert_eq!(slots_of(&sim, &server), [FIRST]);
    assert!(sim.records().iter().all(|it| Some(it.snapshot.start_time) == oldest));
}

#[test]
fn a_run_cut_off_after_any_call_is_finished_by_the_next() {
    for n in 0.. {
        let sim = sim();
        let servers = [server(&sim, &member(), &BACKUP, 2), server(&sim, &member(), &BACKUP, 0)];
        let dying = sim.aws_dying_after(&vault(), n);
        let is_cut = drive(rotation(&dying, &by_count(1), sim.now())).is_none();
        quiet(&rotate(&sim, &by_count(1)));
        sim.advance(days(1));
        let dying = sim.aws_dying_after(&vault(), n);
        drop(drive(rotation(&dying, &by_count(1), sim.now())));
        quiet(&rotate(&sim, &by_count(1)));
        sim.advance(minutes(30));
        quiet(&rotate(&sim, &by_count(1)));
        for server in &servers {
            assert_eq!(slots_of(&sim, server), ["2026-11-23T02:00:00Z"], "after {n} calls");
        }
        drop(sim.take_journal());
        rotate(&sim, &by_count(1));
        assert_eq!(mutations(&sim), Vec::<String>::new());
        if !is_cut {
            assert!(n > 6, "{n}");
            return;
        }
    }
}

#[test]
fn a_volume_of_two_instances_is_in_both_sets() {
    let sim = sim();
    let mut servers = [server(&sim, &member(), &BACKUP, 0), server(&sim, &member(), &BACKUP, 0)];
    let both = attach_to_all(&sim, &member(), &mut servers, &[]);
    rotate_and_look(&sim, &by_count(3), 8, hours(6), quiet);
    for server in &servers {
        assert_eq!(slots_of(&sim, server).len(), 3);
    }
    assert_eq!(of_volume(&sim, &both).len(), 2 * 3);
}

#[test]
fn of_a_terminated_instance_all_sets_stay_by_count_and_the_last_by_age() {
    for (policy, left) in [(by_count(3), 3), (by_days(3), 1)] {
        let sim = sim();
        let server = server(&sim, &member(), &BACKUP, 2);
        rotate_for(&sim, &policy, 6, hours(6));
        assert_eq!(slots_of(&sim, &server).len(), 3);
        sim.terminate(&server.id);
        for volume in server.volumes() {
            sim.delete_volume(&volume);
        }
        rotate_and_look(&sim, &policy, 12, hours(12), quiet);
        let slots = slots_of(&sim, &server);
        assert_eq!(slots.len(), left);
        assert_eq!(slots.last().unwrap(), "2026-11-27T02:00:00Z");
        drop(sim.take_journal());
        rotate(&sim, &policy);
        assert_eq!(mutations(&sim), Vec::<String>::new());
    }
}

#[test]
fn a_detached_volume_leaves_the_sets_and_keeps_its_last_snapshot() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    rotate_for(&sim, &by_count(3), 4, hours(6));
    sim.change_instance(&server.id, |it| {
        it.devices.remove("/dev/sdf");
    });
    let detached = &server.data[0];
    rotate_and_look(&sim, &by_count(3), 8, hours(6), quiet);
    let newest: Vec<_> = (1..=3).map(|day| format!("2026-12-{day:02}T02:00:00Z")).collect();
    assert_eq!(whole_sets(&sim, &server.id, 2), newest);
    let left = of_volume(&sim, detached);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].snapshot.tags[tags::SLOT], "2026-11-25T02:00:00Z");
    assert_eq!(sim.records().len(), 3 * 2 + 1);
    let run = rotate(&sim, &by_count(3));
    let why = held(&run, &left[0].snapshot.id);
    assert_eq!(why, ["the newest completed one of its volume always stays"]);
}

#[test]
fn an_instance_that_is_no_target_any_more_keeps_its_sets() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 1);
    rotate_for(&sim, &by_count(2), 4, hours(6));
    sim.change_instance(&server.id, |it| drop(it.tags.insert("Backup".into(), "no".into())));
    drop(sim.take_journal());
    rotate_for(&sim, &by_count(1), 4, hours(6));
    assert_eq!(mutations(&sim), Vec::<String>::new());
    assert_eq!(slots_of(&sim, &server).len(), 2);
}

#[test]
fn a_starting_instance_waits_and_a_stopped_one_does_not() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 1);
    sim.change_instance(&server.id, |it| it.state = InstanceState::Pending);
    let run = rotate(&sim, &by_count(2));
    quiet(&run);
    let why: Vec<_> = run.report.held.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(why, ["the instance is neither running, stopping nor stopped"]);
    sim.change_instance(&server.id, |it| it.state = InstanceState::Stopped);
    quiet(&rotate(&sim, &by_count(2)));
    assert_eq!(slots_of(&sim, &server), [FIRST]);
}

#[test]
fn a_volume_that_a_policy_for_volumes_takes_too_is_in_both() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 1);
    sim.change_volume(&server.data[0], |it| drop(it.tags.insert("Backup".into(), "daily".into())));
    let slow = volume_of_type(&sim, &member(), "st1", &BACKUP);
    let policies = [sets(&json!({"Count": 2})), crate::support::nightly(&json!({"Count": 2}))];
    rotate_and_look(&sim, &policies, 5, hours(1), quiet);
    assert_eq!(whole_sets(&sim, &server.id, 2).len(), 2);
    assert_eq!(of_volume(&sim, &server.data[0]).len(), 4);
    assert_eq!(of_volume(&sim, &slow).len(), 2);
}

#[test]
fn nothing_is_lost_in_a_storm_and_every_slot_is_whole_after_it() {
    for seed in 0..10 {
        let sim = sim();
        let mut servers =
            [server(&sim, &member(), &BACKUP, 1), server(&sim, &member(), &BACKUP, 0)];
        attach_to_all(&sim, &member(), &mut servers, &[]);
        let policy = by_count(3);
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 16, hours(5));
        weather.calm(format!("seed {seed}"));
        for _ in 0..4 {
            sim.advance(days(1));
            rotate(&sim, &policy);
        }
        weather.calm(format!("seed {seed}, days later"));
        for server in &servers {
            assert_eq!(slots_of(&sim, server).len(), 3, "seed {seed}");
        }
    }
}

#[test]
fn a_call_asks_for_a_whole_instance() {
    let sim = sim();
    for _ in 0..3 {
        server(&sim, &member(), &BACKUP, 4);
    }
    rotate(&sim, &by_count(2));
    let journal = sim.take_journal();
    let of = |operation| journal.iter().filter(move |it: &&Call| it.operation == operation).count();
    assert_eq!((of("CreateSnapshots"), of("CreateSnapshot"), of("DescribeInstances")), (3, 0, 1));
}

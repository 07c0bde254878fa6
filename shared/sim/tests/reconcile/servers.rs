//! Worlds with instances, Multi-Attach and slow disks, and snapshots that people protect: rotation of volumes lives
//! with all of it.

use std::collections::BTreeSet;

use serde_json::json;
use snapferry_core::ec2::{Access, CopySnapshot, CreateSnapshots, Ec2, Ec2Provider, LockSnapshot};
use snapferry_core::inventory::State;
use snapferry_core::policy::LockMode;
use snapferry_core::report::OutcomeName;
use snapferry_core::tags::{self, Claim};
use snapferry_sim::{Client, Sim, drive, id};

use crate::support::listing::{copies_of_volume, lines_of, of_instance, of_volume};
use crate::support::servers::{attach_to_all, server, volume_of_type};
use crate::support::{
    OTHER, account, days, failure, hours, lines, member, minutes, nightly, rotate, rotate_and_look,
    rotate_for, scope, sim,
};

const BACKUP: [(&str, &str); 1] = [("Backup", "daily")];

fn client(sim: &Sim, region: &str) -> Client {
    let scope = scope(member().account.as_str(), region);
    drive(sim.aws(&scope).connect(&Access::default(), &scope.region)).unwrap().unwrap()
}

#[test]
fn volumes_of_instances_are_volumes() {
    let sim = sim();
    let mut servers = [server(&sim, &member(), &[], 2), server(&sim, &member(), &[], 1)];
    let both = attach_to_all(&sim, &member(), &mut servers, &BACKUP);
    let slow = volume_of_type(&sim, &member(), "st1", &BACKUP);
    sim.change_volume(&servers[0].boot, |it| {
        it.tags.insert("Backup".into(), "daily".into());
    });
    let policy = [nightly(&json!({"Count": 2}))];
    let mut runs = 0;
    rotate_and_look(&sim, &policy, 4, hours(1), |run| {
        runs += 1;
        assert_eq!(failure(run), "");
    });
    assert_eq!(runs, 4 * 24);
    for volume in [&both, &slow, &servers[0].boot] {
        let kept = ["2026-11-24T02:00:00Z completed", "2026-11-25T02:00:00Z completed"];
        assert_eq!(lines_of(&sim, volume), kept);
    }
    assert_eq!(of_volume(&sim, &servers[1].boot).len(), 0);
    assert_eq!(servers[1].volumes().len(), 3);
}

#[test]
fn a_set_is_found_by_its_instance() {
    let sim = sim();
    let server = server(&sim, &member(), &BACKUP, 2);
    let claim = Claim {
        policy: "sets".into(),
        schedules: ["s".to_owned()].into(),
        slot: "2026-11-22T02:00:00Z".parse().unwrap(),
        instance: Some(server.id.clone()),
    };
    let set = CreateSnapshots {
        script: None,
        instance: server.id.clone(),
        volumes: server.volumes().into_iter().collect(),
        exclude_boot_volume: true,
        exclude_data_volumes: BTreeSet::new(),
        description: String::new(),
        copy_tags: true,
        tags: claim.write(),
    };
    drive(client(&sim, "eu-central-1").create_snapshots(&set)).unwrap().unwrap();
    let sets = of_instance(&sim, &server.id);
    let found: BTreeSet<_> =
        sets["2026-11-22T02:00:00Z"].iter().map(|it| it.snapshot.volume_id.clone()).collect();
    assert_eq!(found, server.data.into_iter().collect());
    assert_eq!(sets.len(), 1);
}

#[test]
fn what_people_do_with_a_snapshot_is_seen_and_respected() {
    let sim = sim();
    let volume = sim.volume(&member(), &BACKUP);
    rotate_for(&sim, &[nightly(&json!({"Count": 9}))], 3, days(1));
    let ec2 = client(&sim, "eu-central-1");
    let [locked, fast, archived] =
        [0, 1, 2].map(|n: usize| of_volume(&sim, &volume)[n].snapshot.id.clone());
    let until = sim.now() + days(1);
    let mode = LockMode::Governance;
    let lock = LockSnapshot { snapshot: locked.clone(), mode, until, cool_off_period_hours: None };
    drive(ec2.lock_snapshot(&lock)).unwrap().unwrap();
    let zones = ["eu-central-1a".to_owned(), "eu-central-1b".to_owned()].into();
    drive(ec2.enable_fast_snapshot_restores(&fast, &zones)).unwrap().unwrap();
    drive(ec2.share_snapshot(&fast, &[account(OTHER)].into())).unwrap().unwrap();
    let copy = CopySnapshot {
        source: fast,
        source_region: id("eu-central-1"),
        source_encrypted: false,
        description: String::new(),
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: None,
        tags: [(tags::SOURCE_VOLUME.into(), volume.to_string())].into(),
    };
    drive(client(&sim, "us-east-1").copy_snapshot(&copy)).unwrap().unwrap();
    assert_eq!(copies_of_volume(&sim, &volume)[0].region.as_str(), "us-east-1");
    drive(ec2.archive_snapshot(&archived)).unwrap().unwrap();
    let seen = lines_of(&sim, &volume);
    assert_eq!(
        seen,
        [
            "2026-11-22T02:00:00Z completed locked until 2026-11-26T02:01:00Z",
            "2026-11-23T02:00:00Z completed fast in eu-central-1a,eu-central-1b shared with 444444444444",
            "2026-11-24T02:00:00Z completed archiving",
        ]
    );
    sim.advance(minutes(60));
    assert!(lines_of(&sim, &volume)[2].ends_with(" completed archive"));

    // Only the lock keeps anything from a rule that keeps one.
    let policy = [nightly(&json!({"Count": 1}))];
    assert_eq!(failure(&rotate(&sim, &policy)), "");
    sim.advance(minutes(30));
    assert_eq!(failure(&rotate(&sim, &policy)), "");
    assert!(sim.record(&locked).is_some());
    sim.advance(days(1));
    rotate(&sim, &policy);
    assert!(sim.record(&locked).is_none(), "{:?}", lines_of(&sim, &volume));
}

#[test]
fn a_failed_snapshot_of_a_slow_disk_makes_way_for_the_next() {
    let sim = sim();
    let slow = volume_of_type(&sim, &member(), "sc1", &BACKUP);
    let policy = [nightly(&json!({"Count": 3}))];
    rotate(&sim, &policy);
    let failed = of_volume(&sim, &slow)[0].snapshot.id.clone();
    sim.change(&failed, |it| {
        it.snapshot.state = State::Error;
        it.ends = None;
    });
    sim.advance(hours(1));
    let run = rotate(&sim, &policy);
    let waiting = lines(&run, "CreateSnapshot", OutcomeName::Deferred);
    let why = &waiting[0].error.as_ref().unwrap().message;
    assert!(why.ends_with("are pending or failed, and EC2 takes 1 at once"), "{why}");
    assert_eq!(lines(&run, "DeleteSnapshot", OutcomeName::Done).len(), 1);
    assert_eq!(failure(&run), "");
    rotate(&sim, &policy);
    assert_eq!(lines_of(&sim, &slow), ["2026-11-22T02:00:00Z pending"]);
}

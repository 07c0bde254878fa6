use snapferry_core::ec2::{CreateSnapshots, Ec2, ErrorKind};
use snapferry_core::ids::{InstanceId, SnapshotId, VolumeId};
use snapferry_core::inventory::State;
use snapferry_core::policy::Tags;

use super::{because, client, done, member, minutes, not_ready, of, refused, sim};
use crate::{InstanceState, Sim, id};

fn all_of(instance: &InstanceId) -> CreateSnapshots {
    CreateSnapshots {
        script: None,
        instance: instance.clone(),
        volumes: [].into(),
        exclude_boot_volume: false,
        exclude_data_volumes: [].into(),
        description: "set".into(),
        copy_tags: false,
        tags: [("a".into(), "ours".into())].into(),
    }
}

/// An instance with a boot volume and two others.
fn server(sim: &Sim) -> (InstanceId, [VolumeId; 3]) {
    let instance = sim.instance(&member(), &[]);
    let volumes = ["/dev/xvda", "/dev/sdg", "/dev/sdf"].map(|device| {
        let volume = sim.volume(&member(), &[("a", "its own"), ("b", device)]);
        sim.attach(&instance, device, &volume);
        volume
    });
    (instance, volumes)
}

fn volumes_of(sim: &Sim, made: &[SnapshotId]) -> Vec<VolumeId> {
    made.iter().map(|it| sim.record(it).unwrap().snapshot.volume_id).collect()
}

#[test]
fn a_set_shows_one_instant() {
    let sim = sim();
    let (instance, [boot, g, f]) = server(&sim);
    sim.resize(&g, 100);
    sim.change_volume(&f, |it| it.kms_key_id = Some("key".into()));
    let now = sim.now();
    let made = done(client(&sim, &member()).create_snapshots(&all_of(&instance)));
    assert_eq!(volumes_of(&sim, &made), [f, g, boot], "in the order of devices");
    let records = sim.records();
    for record in &records {
        let snapshot = &record.snapshot;
        assert_eq!((snapshot.start_time, snapshot.state), (now, State::Pending));
        assert_eq!(snapshot.tags, Tags::from([("a".into(), "ours".into())]));
        assert_eq!(snapshot.description, "set");
    }
    let of = |n: usize| sim.record(&made[n]).unwrap().snapshot;
    assert_eq!((of(0).encrypted, of(0).kms_key_id.as_deref()), (true, Some("key")));
    assert_eq!((of(1).volume_size_gib, of(2).volume_size_gib), (100, 8));
    sim.advance(minutes(10));
    assert!(sim.records().iter().all(|it| it.snapshot.state == State::Completed));
}

#[test]
fn what_is_left_out_of_a_set_is_not_in_it() {
    let sim = sim();
    let (instance, [boot, g, f]) = server(&sim);
    let mut request = all_of(&instance);
    request.exclude_boot_volume = true;
    request.exclude_data_volumes = [g.clone()].into();
    request.copy_tags = true;
    sim.change_volume(&f, |it| {
        it.tags.insert("aws:x".into(), "not copied".into());
    });
    let ec2 = client(&sim, &member());
    let made = done(ec2.create_snapshots(&request));
    assert_eq!(volumes_of(&sim, &made), [f]);
    let tags: Vec<_> = sim.records()[0].snapshot.tags.clone().into_iter().collect();
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(tags, [("a", "ours"), ("b", "/dev/sdf")]);

    sim.advance(minutes(1));
    request.exclude_data_volumes.insert(boot);
    let (kind, _) = refused(ec2.create_snapshots(&request));
    assert_eq!(kind, ErrorKind::Invalid, "the root volume has a member of its own");
    request.exclude_data_volumes = (0..41).map(|n| id(&format!("vol-{n:017x}"))).collect();
    let too_many = because(ErrorKind::Invalid, "InvalidParameter");
    assert_eq!(refused(ec2.create_snapshots(&request)), too_many);
}

#[test]
fn a_set_is_all_or_none() {
    let sim = sim();
    let (instance, [boot, _, f]) = server(&sim);
    let ec2 = client(&sim, &member());
    let everything = all_of(&instance);
    for state in [InstanceState::Pending, InstanceState::ShuttingDown, InstanceState::Terminated] {
        sim.change_instance(&instance, |it| it.state = state);
        assert_eq!(refused(ec2.create_snapshots(&everything)), not_ready());
    }
    sim.change_instance(&instance, |it| it.state = InstanceState::Stopped);
    sim.change_volume(&boot, |it| it.usable = false);
    assert_eq!(refused(ec2.create_snapshots(&everything)), not_ready());
    sim.change_volume(&boot, |it| it.usable = true);

    let mut request = all_of(&instance);
    request.copy_tags = true;
    request.tags = (0..49).map(|n| (n.to_string(), String::new())).collect();
    let too_many = because(ErrorKind::Invalid, "TagLimitExceeded");
    assert_eq!(refused(ec2.create_snapshots(&request)), too_many, "with the volumes' own");
    request.instance = id("i-0123456789abcdef0");
    let gone = because(ErrorKind::NotFound, "InvalidInstanceID.NotFound");
    assert_eq!(refused(ec2.create_snapshots(&request)), gone);
    assert_eq!(sim.records().len(), 0);

    done(ec2.create_snapshot(&of(&f)));
    let too_soon = because(ErrorKind::QuotaExceeded, "SnapshotCreationPerVolumeRateExceeded");
    assert_eq!(refused(ec2.create_snapshots(&everything)), too_soon);
    assert_eq!(sim.records().len(), 1);
    sim.advance(jiff::SignedDuration::from_secs(15));
    assert_eq!(done(ec2.create_snapshots(&everything)).len(), 3);
    assert_eq!(refused(ec2.create_snapshot(&of(&f))), too_soon);
}

#[test]
fn two_instances_with_one_volume_wait_for_each_other() {
    let sim = sim();
    let [(one, [_, shared, _]), (two, _)] = [server(&sim), server(&sim)];
    sim.attach(&two, "/dev/sdh", &shared);
    let ec2 = client(&sim, &member());
    done(ec2.create_snapshots(&all_of(&one)));
    let (kind, _) = refused(ec2.create_snapshots(&all_of(&two)));
    assert_eq!(kind, ErrorKind::QuotaExceeded);
    sim.advance(minutes(1));
    assert_eq!(done(ec2.create_snapshots(&all_of(&two))).len(), 4);
}

#[test]
fn a_volume_takes_so_many_snapshots_at_once() {
    let full = because(ErrorKind::QuotaExceeded, "ConcurrentSnapshotLimitExceeded");
    for (volume_type, n) in [("gp3", 5), ("io2", 5), ("standard", 5), ("st1", 1), ("sc1", 1)] {
        let sim = sim();
        let volume = sim.volume(&member(), &[]);
        sim.change_volume(&volume, |it| volume_type.clone_into(&mut it.volume_type));
        let ec2 = client(&sim, &member());
        let mut made = Vec::new();
        for _ in 0..n {
            made.push(done(ec2.create_snapshot(&of(&volume))));
            sim.advance(minutes(1));
        }
        assert_eq!(refused(ec2.create_snapshot(&of(&volume))), full, "{volume_type}");
        // A deletion ends a pending one no earlier.
        done(ec2.delete_snapshot(&made[0]));
        assert_eq!(refused(ec2.create_snapshot(&of(&volume))), full, "{volume_type}");
        sim.advance(minutes(10));
        let failed = done(ec2.create_snapshot(&of(&volume)));
        sim.change(&failed, |it| {
            it.snapshot.state = State::Error;
            it.ends = None;
        });
        sim.advance(minutes(60));
        if n == 1 {
            assert_eq!(refused(ec2.create_snapshot(&of(&volume))), full, "failed ones count");
        }
        done(ec2.delete_snapshot(&failed));
        done(ec2.create_snapshot(&of(&volume)));
    }
}

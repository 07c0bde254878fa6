use std::collections::BTreeSet;

use snapferry_core::ec2::{Ec2, ErrorKind, InstanceFilter, SnapshotFilter, VolumeFilter};
use snapferry_core::ids::{InstanceId, Scope};

use super::{
    MEMBER, OTHER, accounts, because, client, done, member, minutes, names, refused, sim, snapshot,
};
use crate::{InstanceState, id};

#[test]
fn instances_have_their_volumes_in_the_order_of_device_names() {
    let sim = sim();
    let [a, b, both] = [0; 3].map(|_| sim.volume(&member(), &[]));
    let tagged = sim.instance(&member(), &[("Backup", "daily")]);
    let bare = sim.instance(&member(), &[]);
    sim.attach(&tagged, "/dev/xvda", &a);
    sim.attach(&tagged, "/dev/sdg", &b);
    for instance in [&tagged, &bare] {
        sim.attach(instance, "/dev/sdf", &both);
    }
    let elsewhere = Scope { account: id(OTHER), ..member() };
    let _ = sim.instance(&elsewhere, &[("Backup", "daily")]);
    let ec2 = client(&sim, &member());
    let by_tag = InstanceFilter::TagKeys(names(&["Other", "Backup"]));
    let seen = done(ec2.describe_instances(&by_tag));
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].id, seen[0].usable), (&tagged, true));
    assert_eq!(seen[0].volumes, [both.clone(), b, a.clone()]);
    assert_eq!(seen[0].boot_volume, Some(a.clone()));
    assert_eq!(seen[0].tags["Backup"], "daily");

    let all = || done(ec2.describe_instances(&InstanceFilter::All));
    let by_id = |instance: &InstanceId| all().into_iter().find(|it| it.id == *instance);
    assert_eq!(by_id(&bare).unwrap().volumes, std::slice::from_ref(&both));
    assert_eq!(by_id(&bare).unwrap().boot_volume, None);
    sim.change_instance(&bare, |it| it.state = InstanceState::ShuttingDown);
    assert!(!by_id(&bare).unwrap().usable);
    sim.terminate(&bare);
    assert_eq!(by_id(&bare), None);
    sim.delete_volume(&a);
    assert_eq!(by_id(&tagged).unwrap().boot_volume, None);
    assert_eq!(by_id(&tagged).unwrap().volumes.len(), 2);
}

#[test]
fn every_volume_is_told_with_its_type() {
    let sim = sim();
    let volume = sim.volume(&member(), &[]);
    let disk = sim.volume(&member(), &[("a", "b")]);
    sim.change_volume(&disk, |it| it.volume_type = "st1".into());
    sim.volume(&Scope { account: id(OTHER), ..member() }, &[]);
    let all = done(client(&sim, &member()).describe_volumes(&VolumeFilter::All));
    let types: BTreeSet<_> =
        all.iter().map(|it| (it.id.clone(), it.volume_type.as_str())).collect();
    assert_eq!(types, [(volume, "gp3"), (disk, "st1")].into());
}

#[test]
fn snapshots_are_told_by_day_whoever_made_them() {
    let sim = sim();
    let volume = sim.volume(&member(), &[]);
    for start in ["2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z"] {
        sim.snapshot(&member(), &volume, |it| it.snapshot.start_time = super::at(start));
    }
    sim.snapshot(&Scope { account: id(OTHER), ..member() }, &volume, |it| {
        it.snapshot.start_time = super::at("2026-11-21T12:00:00Z");
        it.shared_with = accounts(&[super::MEMBER]);
    });
    let on = |days: &[i8]| {
        let days = days.iter().map(|day| jiff::civil::date(2026, 11, *day)).collect();
        let seen = client(&sim, &member());
        done(seen.describe_snapshots(&SnapshotFilter::StartedOn(days))).len()
    };
    assert_eq!((on(&[20]), on(&[21]), on(&[20, 21]), on(&[22])), (1, 2, 3, 0));
}

#[test]
fn a_share_ends_as_often_as_it_is_ended() {
    let sim = sim();
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    done(ec2.share_snapshot(&it, &accounts(&[OTHER, "555555555555"])));
    for _ in 0..2 {
        done(ec2.unshare_snapshot(&it, &accounts(&[OTHER, "666666666666"])));
        assert_eq!(sim.record(&it).unwrap().shared_with, accounts(&["555555555555"]));
    }
    let left = SnapshotFilter::SharedWith(id("555555555555"));
    assert_eq!(done(ec2.describe_snapshots(&left)).len(), 1);
    assert_eq!(done(ec2.describe_snapshots(&SnapshotFilter::SharedWith(id(OTHER)))).len(), 0);
    sim.advance(minutes(1));
}

#[test]
fn a_key_is_told_by_its_alias_its_id_and_their_arns() {
    let sim = sim();
    let arn = format!("arn:aws:kms:eu-central-1:{MEMBER}:key/8af79514-350d-4c52-bac8-8985e84171c7");
    sim.key(&arn, &[id(OTHER)]);
    sim.alias(&member(), "alias/share", &arn);
    let alias_arn = format!("arn:aws:kms:eu-central-1:{MEMBER}:alias/share");
    let here = client(&sim, &member());
    for name in ["alias/share", &alias_arn, &arn, "8af79514-350d-4c52-bac8-8985e84171c7"] {
        assert_eq!(done(here.describe_key(name)).arn, arn, "{name}");
    }
    let other = client(&sim, &Scope { account: id(OTHER), ..member() });
    assert_eq!(done(other.describe_key(&alias_arn)).arn, arn);
    let not_found = because(ErrorKind::NotFound, "NotFoundException");
    assert_eq!(refused(other.describe_key("alias/share")), not_found);
    let away = client(&sim, &Scope { region: id("eu-west-1"), ..member() });
    for name in ["alias/share", &alias_arn] {
        assert_eq!(refused(away.describe_key(name)), not_found);
    }
}

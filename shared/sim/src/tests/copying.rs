use snapferry_core::ec2::{Access, CopySnapshot, Ec2, Ec2Provider, ErrorKind, SnapshotFilter};
use snapferry_core::ids::{Scope, SnapshotId};
use snapferry_core::inventory::State;
use snapferry_core::policy::Tags;

use super::{
    MEMBER, because, client, done, member, minutes, not_ready, of, refused, sim, snapshot,
};
use crate::{Sim, drive, id};

fn of_source(source: &SnapshotId) -> CopySnapshot {
    CopySnapshot {
        source: source.clone(),
        source_region: id("eu-central-1"),
        source_encrypted: false,
        description: "copy".into(),
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: Some(60),
        tags: Tags::from([("a".into(), "b".into())]),
    }
}

/// The vault's function, in the member's account by its role.
fn by_role(sim: &Sim, region: &str) -> crate::Client {
    let vault = Scope { account: id("222222222222"), region: id("eu-central-1") };
    let role = Some(id(&format!("arn:aws:iam::{MEMBER}:role/snapferry-member")));
    let access = Access { role_arn: role, external_id: None };
    drive(sim.aws(&vault).connect(&access, &id(region))).unwrap().unwrap()
}

#[test]
fn an_account_copies_its_own_into_another_region() {
    let sim = sim();
    let volume = sim.volume(&member(), &[]);
    sim.resize(&volume, 77);
    let key = format!("arn:aws:kms:eu-central-1:{MEMBER}:key/ebs");
    sim.key(&key, &[]);
    sim.change_key(&key, |it| it.key.aws_managed = true);
    sim.change_volume(&volume, |it| it.kms_key_id = Some(key.into()));
    let source = done(client(&sim, &member()).create_snapshot(&of(&volume)));
    let there = by_role(&sim, "us-east-1");
    assert_eq!(refused(there.copy_snapshot(&of_source(&source))), not_ready(), "it is pending");
    sim.advance(minutes(10));
    let made = done(there.copy_snapshot(&of_source(&source)));
    sim.advance(minutes(20));
    let tagged = done(there.describe_snapshots(&SnapshotFilter::Tagged("a")));
    assert_eq!(tagged.len(), 1);
    let copy = &tagged[0];
    assert_eq!((&copy.id, copy.owner.as_str(), copy.state), (&made, MEMBER, State::Completed));
    assert!(copy.encrypted && copy.volume_id.is_placeholder());
    assert_eq!((copy.volume_size_gib, copy.description.as_str()), (77, "copy"));
    // One's own default key is no hindrance, and the source is not in that Region.
    let own = done(there.describe_snapshots(&SnapshotFilter::StartedOn(
        [copy.start_time.to_zoned(jiff::tz::TimeZone::UTC).date()].into(),
    )));
    assert_eq!(own.len(), 1);
}

#[test]
fn what_is_not_there_or_asked_wrongly_is_not_copied() {
    let sim = sim();
    let source = snapshot(&sim);
    let there = by_role(&sim, "us-east-1");
    let mut request = of_source(&source);
    request.completion_duration_minutes = Some(20);
    assert_eq!(refused(there.copy_snapshot(&request)).0, ErrorKind::Invalid);
    request.completion_duration_minutes = None;
    request.source_region = id("eu-west-1");
    let gone = because(ErrorKind::NotFound, "InvalidSnapshot.NotFound");
    assert_eq!(refused(there.copy_snapshot(&request)), gone);
    sim.change(&source, |it| it.snapshot.archived = true);
    assert_eq!(refused(there.copy_snapshot(&of_source(&source))), not_ready());
    sim.change(&source, |it| it.snapshot.owner = id("555555555555"));
    assert_eq!(refused(there.copy_snapshot(&of_source(&source))), gone);
}

#[test]
fn the_throughput_of_timed_copies_is_limited_and_standard_ones_go_on() {
    let sim = sim();
    sim.set(|it| it.timed_copies_at_once = 1);
    let source = snapshot(&sim);
    let there = by_role(&sim, "us-east-1");
    let standard = CopySnapshot { completion_duration_minutes: None, ..of_source(&source) };
    let first = done(there.copy_snapshot(&of_source(&source)));
    assert_eq!(sim.record(&first).unwrap().completion_duration_minutes, Some(60));
    let full = because(ErrorKind::QuotaExceeded, "ResourceLimitExceeded");
    assert_eq!(refused(there.copy_snapshot(&of_source(&source))), full);
    let second = done(there.copy_snapshot(&standard));
    assert_eq!(sim.record(&second).unwrap().completion_duration_minutes, None);
    sim.advance(minutes(20));
    done(there.copy_snapshot(&of_source(&source)));
}

#[test]
fn a_copy_takes_as_long_as_its_volume_is_large() {
    let sim = sim();
    sim.set(|it| it.copy_takes_per_gib = minutes(2));
    let volume = sim.volume(&member(), &[]);
    sim.resize(&volume, 30);
    let source = done(client(&sim, &member()).create_snapshot(&of(&volume)));
    sim.advance(minutes(10));
    let made = done(by_role(&sim, "us-east-1").copy_snapshot(&of_source(&source)));
    sim.advance(minutes(20 + 2 * 30 - 1));
    assert_eq!(sim.record(&made).unwrap().snapshot.state, State::Pending);
    sim.advance(minutes(1));
    assert_eq!(sim.record(&made).unwrap().snapshot.state, State::Completed);
}

#[test]
fn a_key_that_may_only_be_looked_at_fails_a_copy_in_the_end() {
    let sim = sim();
    let key = format!("arn:aws:kms:us-east-1:{MEMBER}:key/mine");
    sim.key(&key, &[]);
    sim.change_key(&key, |it| {
        it.look_only.insert(id(MEMBER));
    });
    let there = by_role(&sim, "us-east-1");
    assert_eq!(done(there.describe_key(&key)).state, "Enabled");
    let mut request = of_source(&snapshot(&sim));
    request.encrypted = true;
    request.kms_key = Some(id(&key));
    let made = done(there.copy_snapshot(&request));
    sim.advance(minutes(20));
    let made = sim.record(&made).unwrap().snapshot;
    assert_eq!(made.state, State::Error);
    assert_eq!(made.state_message.as_deref(), Some("Given key ID is not accessible"));
}

use snapferry_core::ec2::{CopySnapshot, Ec2, ErrorKind};
use snapferry_core::inventory::{State, Tiering, TieringStatus};
use snapferry_core::policy::Tags;

use super::{
    OTHER, accounts, because, client, done, member, minutes, names, not_ready, of, refused, sim,
    snapshot,
};
use crate::id;

#[test]
fn the_archive_ends_shares_and_fast_restores() {
    let sim = sim();
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    let (other, zone) = (accounts(&[OTHER]), names(&["eu-central-1a"]));
    done(ec2.share_snapshot(&it, &other));
    done(ec2.enable_fast_snapshot_restores(&it, &zone));
    assert_eq!(done(ec2.describe_snapshot_tier_status()), [].into());
    done(ec2.archive_snapshot(&it));
    let underway = Tiering { status: TieringStatus::Archiving, archived_at: None };
    assert_eq!(done(ec2.describe_snapshot_tier_status()), [(it.clone(), underway)].into());
    let record = sim.record(&it).unwrap();
    assert!(!record.snapshot.archived && record.is_archiving());
    assert_eq!(record.shared_with, other, "usable until it is there");

    let copy = CopySnapshot {
        source: it.clone(),
        source_region: id("eu-central-1"),
        source_encrypted: false,
        description: String::new(),
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: None,
        tags: Tags::new(),
    };
    for _ in 0..2 {
        assert_eq!(refused(ec2.archive_snapshot(&it)), not_ready());
        assert_eq!(refused(ec2.share_snapshot(&it, &other)), not_ready());
        assert_eq!(refused(ec2.enable_fast_snapshot_restores(&it, &zone)), not_ready());
        assert_eq!(refused(ec2.copy_snapshot(&copy)), not_ready());
        sim.advance(minutes(60));
    }
    let record = sim.record(&it).unwrap();
    assert!(record.snapshot.archived && !record.is_archiving());
    assert_eq!((record.shared_with, record.fast_restores), ([].into(), [].into()));
    let there = done(ec2.describe_snapshot_tier_status())[&it];
    assert_eq!(there.status, TieringStatus::Archived);
    let began = record.snapshot.start_time;
    let took = there.archived_at.unwrap().duration_since(began).as_mins();
    assert_eq!(took, 10 + 60, "pending, then on its way");
    done(ec2.delete_snapshot(&it));
    assert!(sim.record(&it).is_none());
}

#[test]
fn archiving_may_fail() {
    let sim = sim();
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    sim.set(|it| it.archiving_fails = true);
    done(ec2.share_snapshot(&it, &accounts(&[OTHER])));
    done(ec2.archive_snapshot(&it));
    sim.set(|it| it.archiving_fails = false);
    sim.advance(minutes(60));
    let failed = Tiering { status: TieringStatus::Failed, archived_at: None };
    assert_eq!(done(ec2.describe_snapshot_tier_status())[&it], failed);
    let record = sim.record(&it).unwrap();
    assert!(!record.snapshot.archived && !record.shared_with.is_empty());
    done(ec2.archive_snapshot(&it));
    sim.advance(minutes(60));
    assert!(sim.record(&it).unwrap().snapshot.archived);
}

#[test]
fn only_what_is_complete_own_and_free_is_archived() {
    let sim = sim();
    let ec2 = client(&sim, &member());
    for state in [State::Pending, State::Error, State::Other] {
        let it = snapshot(&sim);
        sim.change(&it, |it| it.snapshot.state = state);
        assert_eq!(refused(ec2.archive_snapshot(&it)), not_ready());
    }
    let it = snapshot(&sim);
    sim.change(&it, |it| it.image = Some("ami-1".into()));
    let in_use = because(ErrorKind::InUse, "InvalidSnapshot.InUse");
    assert_eq!(refused(ec2.archive_snapshot(&it)), in_use);
    sim.change(&it, |it| {
        it.image = None;
        it.snapshot.owner = id(OTHER);
        it.shared_with = accounts(&[super::MEMBER]);
    });
    let not_ours = because(ErrorKind::NotFound, "InvalidSnapshot.NotFound");
    assert_eq!(refused(ec2.archive_snapshot(&it)), not_ours);
}

#[test]
fn the_archive_has_limits() {
    let sim = sim();
    let ec2 = client(&sim, &member());
    let volume = sim.volume(&member(), &[]);
    let full = because(ErrorKind::QuotaExceeded, "ResourceLimitExceeded");
    for n in 0..26 {
        let it = done(ec2.create_snapshot(&of(&volume)));
        sim.advance(minutes(10));
        if n == 25 {
            assert_eq!(refused(ec2.archive_snapshot(&it)), full, "25 of a volume");
        } else {
            done(ec2.archive_snapshot(&it));
            sim.advance(minutes(60));
        }
    }
    sim.set(|it| it.archivings_at_once = 1);
    let [one, two] = [snapshot(&sim), snapshot(&sim)];
    done(ec2.archive_snapshot(&one));
    assert_eq!(refused(ec2.archive_snapshot(&two)), full);
    sim.advance(minutes(60));
    done(ec2.archive_snapshot(&two));
}

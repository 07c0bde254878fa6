use jiff::{SignedDuration, Timestamp};
use snapferry_core::ec2::{Ec2, ErrorKind, LockSnapshot};
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::policy::LockMode;

use super::{because, client, done, member, minutes, not_ready, of, refused, sim, snapshot};

fn lock(it: &SnapshotId, mode: LockMode, until: Timestamp, cool_off: Option<u8>) -> LockSnapshot {
    LockSnapshot { snapshot: it.clone(), mode, until, cool_off_period_hours: cool_off }
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

#[test]
fn a_lock_holds_until_it_is_over() {
    let sim = sim();
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    let until = sim.now() + hours(24);
    done(ec2.lock_snapshot(&lock(&it, LockMode::Governance, until, None)));
    let locked = because(ErrorKind::InUse, "OperationNotPermitted");
    assert_eq!(refused(ec2.delete_snapshot(&it)), locked);
    assert_eq!(done(ec2.describe_locked_snapshots()), [it.clone()].into());
    sim.advance(hours(24) - minutes(1));
    assert_eq!(refused(ec2.delete_snapshot(&it)), locked);
    sim.advance(minutes(1));
    assert_eq!(done(ec2.describe_locked_snapshots()), [].into());
    let over = lock(&it, LockMode::Governance, sim.now(), None);
    assert_eq!(refused(ec2.lock_snapshot(&over)).0, ErrorKind::Invalid, "in the past");
    done(ec2.delete_snapshot(&it));
    assert!(sim.record(&it).is_none());
}

#[test]
fn governance_can_be_changed_and_compliance_only_extended() {
    let sim = sim();
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    let after = |n| sim.now() + hours(n);
    done(ec2.lock_snapshot(&lock(&it, LockMode::Governance, after(48), None)));
    done(ec2.lock_snapshot(&lock(&it, LockMode::Governance, after(24), None)));
    let cool_off = lock(&it, LockMode::Governance, after(24), Some(1));
    assert_eq!(refused(ec2.lock_snapshot(&cool_off)).0, ErrorKind::Invalid);
    let cool_off = lock(&it, LockMode::Compliance, after(24), Some(73));
    assert_eq!(refused(ec2.lock_snapshot(&cool_off)).0, ErrorKind::Invalid);

    done(ec2.lock_snapshot(&lock(&it, LockMode::Compliance, after(48), Some(2))));
    sim.advance(hours(1)); // it cools
    done(ec2.lock_snapshot(&lock(&it, LockMode::Compliance, after(24), Some(2))));
    sim.advance(hours(2)); // it is cold
    let until = sim.record(&it).unwrap().lock.unwrap().until;
    let no = because(ErrorKind::Invalid, "OperationNotPermitted");
    for refusal in [
        lock(&it, LockMode::Compliance, until - minutes(1), None),
        lock(&it, LockMode::Governance, until + minutes(1), None),
        lock(&it, LockMode::Compliance, until + minutes(1), Some(1)),
    ] {
        assert_eq!(refused(ec2.lock_snapshot(&refusal)), no, "{refusal:?}");
    }
    done(ec2.lock_snapshot(&lock(&it, LockMode::Compliance, until, None)));
    done(ec2.lock_snapshot(&lock(&it, LockMode::Compliance, until + hours(1), None)));
    assert_eq!(sim.record(&it).unwrap().lock.unwrap().until, until + hours(1));
    // The archive takes locked ones, and they stay locked.
    done(ec2.archive_snapshot(&it));
    sim.advance(hours(2));
    assert_eq!(refused(ec2.delete_snapshot(&it)).0, ErrorKind::InUse);
    assert!(sim.record(&it).unwrap().snapshot.archived);
}

#[test]
fn a_pending_one_can_be_locked_and_a_failed_one_loses_its_lock() {
    let sim = sim();
    let volume = sim.volume(&member(), &[]);
    let ec2 = client(&sim, &member());
    let it = done(ec2.create_snapshot(&of(&volume)));
    let compliance = lock(&it, LockMode::Compliance, sim.now() + hours(24), None);
    done(ec2.lock_snapshot(&compliance));
    assert_eq!(refused(ec2.delete_snapshot(&it)).0, ErrorKind::InUse);
    sim.change(&it, |it| it.ends = it.ends.take().map(|(at, ..)| (at, State::Error, None)));
    sim.advance(minutes(10));
    assert_eq!(refused(ec2.lock_snapshot(&compliance)), not_ready());
    assert_eq!(done(ec2.describe_locked_snapshots()), [].into());
    done(ec2.delete_snapshot(&it));
    let gone = because(ErrorKind::NotFound, "InvalidSnapshot.NotFound");
    assert_eq!(refused(ec2.lock_snapshot(&compliance)), gone);
}

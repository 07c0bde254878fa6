use jiff::SignedDuration;
use snapferry_core::ec2::{
    CreateSnapshots, Ec2, Ec2Error, ErrorKind, InstanceFilter, LockSnapshot,
};
use snapferry_core::ids::Scope;
use snapferry_core::policy::LockMode;

use super::{accounts, because, client, done, member, minutes, names, refused, sim, snapshot};
use crate::{Call, Client, Fault, Sim, drive, id};

/// Every call that came with instances, archives, locks and fast restores, once, and what each was answered.
fn all(sim: &Sim, ec2: &Client) -> Vec<Result<(), Ec2Error>> {
    let none = |call: Option<Result<(), Ec2Error>>| call.unwrap();
    let instance = sim.instance(&member(), &[]);
    sim.attach(&instance, "/dev/xvda", &sim.volume(&member(), &[]));
    let [it, archived] =
        [0; 2].map(|_| sim.snapshot(&member(), &sim.volume(&member(), &[]), |_| {}));
    let set = CreateSnapshots {
        script: None,
        instance,
        volumes: [].into(),
        exclude_boot_volume: false,
        exclude_data_volumes: [].into(),
        description: String::new(),
        copy_tags: false,
        tags: [].into(),
    };
    let lock = LockSnapshot {
        snapshot: it.clone(),
        mode: LockMode::Governance,
        until: sim.now() + minutes(60),
        cool_off_period_hours: None,
    };
    let zone = names(&["eu-central-1a"]);
    vec![
        none(drive(async { ec2.describe_instances(&InstanceFilter::All).await.map(drop) })),
        none(drive(async { ec2.describe_fast_snapshot_restores().await.map(drop) })),
        none(drive(async { ec2.describe_availability_zones().await.map(drop) })),
        none(drive(async { ec2.describe_snapshot_tier_status().await.map(drop) })),
        none(drive(async { ec2.create_snapshots(&set).await.map(drop) })),
        none(drive(ec2.unshare_snapshot(&it, &accounts(&[super::OTHER])))),
        none(drive(ec2.archive_snapshot(&archived))),
        none(drive(ec2.lock_snapshot(&lock))),
        none(drive(ec2.enable_fast_snapshot_restores(&it, &zone))),
        none(drive(ec2.disable_fast_snapshot_restores(&it, &zone))),
    ]
}

const OPERATIONS: [&str; 10] = [
    "DescribeInstances",
    "DescribeFastSnapshotRestores",
    "DescribeAvailabilityZones",
    "DescribeSnapshotTierStatus",
    "CreateSnapshots",
    "ModifySnapshotAttribute",
    "ModifySnapshotTier",
    "LockSnapshot",
    "EnableFastSnapshotRestores",
    "DisableFastSnapshotRestores",
];

#[test]
fn every_call_is_counted_and_can_go_wrong() {
    for (fault, happens, answered) in [
        (Fault::None, true, true),
        (Fault::StaleRead(1), true, true),
        (Fault::Refuse(ErrorKind::Throttled, "RequestLimitExceeded"), false, false),
        (Fault::NoAnswer, false, false),
        (Fault::DoButNoAnswer, true, false),
    ] {
        let sim = sim();
        sim.on_call(move |_| fault);
        let answers = all(&sim, &client(&sim, &member()));
        assert!(answers.iter().all(|it| it.is_ok() == answered), "{fault:?}: {answers:?}");
        let journal = sim.take_journal();
        let operations: Vec<_> = journal.iter().map(|it| it.operation).collect();
        assert_eq!(operations, OPERATIONS);
        assert!(journal.iter().all(|it| it.happened == happens), "{fault:?}: {journal:?}");
        assert_eq!(journal.iter().filter(|it| Call::mutates(it)).count(), 6);
        assert_eq!(sim.records().len(), if happens { 3 } else { 2 }, "{fault:?}");
    }
    let sim = sim();
    sim.disable_region(&member(), true);
    let answers = all(&sim, &client(&sim, &member()));
    let shut = |it: &Result<(), Ec2Error>| {
        it.as_ref().is_err_and(|err| err.kind() == ErrorKind::RegionDisabled)
    };
    assert!(answers.iter().all(shut), "{answers:?}");
}

#[test]
fn a_stale_read_shows_what_was_before() {
    let sim = sim();
    sim.set(|it| it.remember = 10);
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    done(ec2.enable_fast_snapshot_restores(&it, &names(&["eu-central-1a"])));
    let until = sim.now() + minutes(60);
    let mode = LockMode::Governance;
    let lock = LockSnapshot { snapshot: it.clone(), mode, until, cool_off_period_hours: None };
    done(ec2.lock_snapshot(&lock));
    done(ec2.archive_snapshot(&it));
    let seen = |stale| {
        sim.on_call(move |_| Fault::StaleRead(stale));
        let seen = (
            done(ec2.describe_fast_snapshot_restores()).len(),
            done(ec2.describe_locked_snapshots()).len(),
            done(ec2.describe_snapshot_tier_status()).len(),
        );
        sim.no_faults();
        seen
    };
    assert_eq!([0, 1, 2, 3].map(seen), [(1, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 0)]);
    // Changes are made to what is there.
    sim.on_call(|_| Fault::StaleRead(10));
    let locked = because(ErrorKind::InUse, "OperationNotPermitted");
    assert_eq!(refused(ec2.delete_snapshot(&it)), locked);
}

#[test]
fn calls_take_time_where_that_is_told_and_slow_ones_take_more() {
    let sim = sim();
    let (begun, ec2) = (sim.now(), client(&sim, &member()));
    done(ec2.describe_images());
    assert_eq!(sim.now(), begun, "by default none");
    sim.set(|it| it.call_takes = minutes(1));
    done(ec2.describe_images());
    assert_eq!(sim.now(), begun + minutes(1));
    sim.on_call(|_| Fault::Slow(minutes(5)));
    done(ec2.describe_images());
    assert_eq!(sim.now(), begun + minutes(7));
}

#[test]
fn a_time_out_takes_its_time_whether_or_not_it_has_happened() {
    for happened in [false, true] {
        let sim = sim();
        let volume = sim.volume(&member(), &[]);
        let begun = sim.now();
        sim.on_call(move |_| Fault::TimeOut { after: minutes(3), happened });
        let ec2 = client(&sim, &member());
        let answer = drive(ec2.create_snapshot(&super::of(&volume))).unwrap();
        assert!(matches!(answer, Err(Ec2Error::NoAnswer { .. })), "{answer:?}");
        assert!(sim.now() >= begun + minutes(3));
        assert_eq!(sim.records().len(), usize::from(happened));
    }
}

#[test]
fn of_a_list_with_a_page_missing_the_rest_is_told() {
    let sim = sim();
    for _ in 0..9 {
        snapshot(&sim);
    }
    let ec2 = client(&sim, &member());
    let all = snapferry_core::ec2::SnapshotFilter::StartedOn(
        [sim.now().to_zoned(jiff::tz::TimeZone::UTC).date()].into(),
    );
    let mut seen = std::collections::BTreeSet::new();
    for which in 0..40 {
        sim.on_call(move |_| Fault::MissingPage(which));
        let listed = done(ec2.describe_snapshots(&all));
        assert!((6..9).contains(&listed.len()), "{}", listed.len());
        seen.extend(listed.into_iter().map(|it| it.id));
    }
    assert_eq!(seen.len(), 9, "not always the same one");
}

#[test]
fn buckets_run_dry_and_fill_up_by_account_and_operation() {
    let sim = sim();
    sim.set(|it| it.buckets = Some(20)); // 5 of the 100, and 1 of the 20 a second
    let here = client(&sim, &member());
    let there = client(&sim, &Scope { account: id(super::OTHER), ..member() });
    for _ in 0..5 {
        done(here.describe_images());
    }
    let dry = because(ErrorKind::Throttled, "RequestLimitExceeded");
    assert_eq!(refused(here.describe_images()), dry);
    assert_eq!(refused(here.describe_locked_snapshots()), dry, "they share one");
    done(there.describe_images());
    sim.advance(SignedDuration::from_secs(2));
    done(here.describe_images());
    done(here.describe_images());
    assert_eq!(refused(here.describe_images()), dry);
}

#[test]
fn a_region_takes_so_many_snapshots() {
    let sim = sim();
    sim.set(|it| it.snapshots_at_most = 1);
    snapshot(&sim);
    let volume = sim.volume(&member(), &[]);
    let full = because(ErrorKind::Invalid, "SnapshotLimitExceeded");
    assert_eq!(refused(client(&sim, &member()).create_snapshot(&super::of(&volume))), full);
}

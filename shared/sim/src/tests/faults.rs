use snapferry_core::ec2::{
    CreateSnapshots, Ec2, Ec2Error, ErrorKind, InstanceFilter, LockSnapshot,
};
use snapferry_core::policy::LockMode;

use super::{accounts, because, client, done, member, minutes, names, refused, sim, snapshot};
use crate::{Call, Client, Fault, Sim, drive};

/// Every call that came with instances, archives, locks and fast restores, once, and what each was answered.
fn all(sim: &Sim, ec2: &Client) -> Vec<Result<(), Ec2Error>> {
    let none = |call: Option<Result<(), Ec2Error>>| call.unwrap();
    let instance = sim.instance(&member(), &[]);
    sim.attach(&instance, "/dev/xvda", &sim.volume(&member(), &[]));
    let [it, archived] =
        [0; 2].map(|_| sim.snapshot(&member(), &sim.volume(&member(), &[]), |_| {}));
    let set = CreateSnapshots {
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

//! Three accounts, two Regions, fifty volumes in each: every volume gets its slot, none gets two, and the calls are few.

use std::thread;

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{AWAY, EXTERNAL_ID, HOME, MEMBERS, Stage, role_arn};

use crate::common::{calls, count, night, nightly, per_volume_and_slot, slot};

const ACCOUNTS: [&str; 3] = [MEMBERS[0], MEMBERS[1], "333333333333"];
const VOLUMES: usize = 50;
const ALL: usize = ACCOUNTS.len() * 2 * VOLUMES;

#[test]
fn every_volume_has_its_slot_once_however_often_the_event_comes() -> Result<()> {
    let stage = Stage::new("scale")?;
    stage.role(ACCOUNTS[2], EXTERNAL_ID)?;
    for account in ACCOUNTS {
        for region in [HOME, AWAY] {
            let place = Place { account, region };
            stage.aws.volumes(place, VOLUMES, &json!({"tags": {"Backup": "daily"}}))?;
        }
    }
    let mut policy = nightly(&[], &json!({"Count": 3}));
    policy["Targets"] = ACCOUNTS
        .iter()
        .map(|account| {
            json!({"RoleArn": role_arn(account), "ExternalId": EXTERNAL_ID, "Regions": [HOME, AWAY]})
        })
        .collect();
    let one = stage.function("rotate-snapshots", &policy)?;
    let other = stage.function("rotate-snapshots", &policy)?;

    stage.aws.clear("calls")?;
    let report = one.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), u64::try_from(ALL)?);
    let first = calls(&stage.aws)?;
    assert_eq!(first["CreateSnapshot"], ALL, "one create per volume");
    assert_eq!(first["AssumeRole"], ACCOUNTS.len(), "one per role, not per Region");
    let describes: usize =
        first.iter().filter(|(name, _)| name.starts_with("Describe")).map(|(_, n)| n).sum();
    assert!(describes <= 6 * 4, "{describes} describes for 6 scopes: {first:?}");
    assert_eq!(first.values().sum::<usize>(), ALL + ACCOUNTS.len() + describes, "{first:?}");
    stage.aws.settle()?;

    stage.aws.clear("calls")?;
    let report = one.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 0);
    assert_eq!(count(&report, "ModifySnapshotAttribute"), u64::try_from(ALL)?);
    let second = calls(&stage.aws)?;
    assert_eq!(second["CreateTags"], 6, "one per scope records all its shares");
    assert_eq!(second.get("CreateSnapshot"), None);

    stage.aws.clear("calls")?;
    one.invoke(&night(1))?.report()?;
    let third = calls(&stage.aws)?;
    let reads = third.iter().all(|(name, _)| name.starts_with("Describe") || name == "AssumeRole");
    assert!(reads, "a settled world gets no changes: {third:?}");

    let both = |first: &Lambda, second: &Lambda| -> Result<()> {
        let event = night(2);
        thread::scope(|scope| {
            let here = scope.spawn(|| first.invoke(&event));
            let there = scope.spawn(|| second.invoke(&event));
            for run in [here, there] {
                run.join().map_err(|_| "an invocation panicked")??.report()?;
            }
            Ok(())
        })
    };
    both(&one, &other)?;
    let made = per_volume_and_slot(&stage.aws.snapshots()?);
    let of_slot = |day| made.iter().filter(move |((_, of), _)| *of == slot(day));
    assert_eq!((of_slot(1).count(), of_slot(2).count()), (ALL, ALL), "no volume without its slot");
    let twice: Vec<_> = made.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "two runs at once left doubles: {twice:?}");
    println!(
        "EC2 and STS calls per volume: first run {:.2}, sharing run {:.2}, settled run {:.2}",
        per_volume(&first),
        per_volume(&second),
        per_volume(&third)
    );
    Ok(())
}

fn per_volume(calls: &std::collections::BTreeMap<String, usize>) -> f64 {
    let n: usize = calls.values().sum();
    f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / f64::from(u32::try_from(ALL).unwrap_or(1))
}

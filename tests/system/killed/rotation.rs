//! `rotate-snapshots`: snapshots of volumes and of an instance to create, others to share, to copy to another Region, to
//! lock and to delete.

use std::collections::BTreeMap;

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{AWAY, Stage, VAULT};

use super::{Scene, Story, at_every_call, victim};
use crate::common::{MEMBER, age, night, of_volumes, run, slot};
use crate::instances::{instance, sets};

const FUNCTION: &str = "rotate-snapshots";

/// In the end two volumes have two snapshots each, and four copies, which are locked; the instance has one set of two.
fn story() -> Story {
    Story { function: FUNCTION, event: night(3), scene, snapshots: 14, may_say: |_| false }
}

fn scene(name: &str) -> Result<Scene> {
    let stage = Stage::new(name)?;
    let aws = &stage.aws;
    aws.post("config", &json!({"snapshot_seconds": 0.02, "copy_seconds": 0.02}))?;
    let with_snapshot = json!({
        "tags": {"Backup": "full"},
        "snapshots": 1,
        "snapshot_tags": {
            "snapferry:policy": "full", "snapferry:schedule": "nightly", "snapferry:slot": slot(1),
        },
    });
    let volumes = aws.volumes(MEMBER, 2, &with_snapshot)?;
    age(aws, 1)?;
    let server = instance(&stage, &json!({"Backup": "set"}), &json!([{}]))?;
    let key = stage.key(Place { account: MEMBER.account, region: AWAY })?;
    let retain = json!({"Count": 2});
    let full = of_volumes(
        "full",
        &json!({
            "RetainRule": retain,
            "ShareRules": [{"TargetAccounts": [VAULT]}],
            "CrossRegionCopyRules": [{
                "Target": AWAY, "Encrypted": true, "CmkArn": key, "RetainRule": retain,
                "LockRule": {"Mode": "GOVERNANCE", "DurationDays": 9},
            }],
        }),
    );
    let policies = json!([full, sets(&json!({"Count": 1}))]);
    let victim = victim(&stage, FUNCTION, &policies)?;
    for day in 1..=2 {
        run(&stage, &victim, &night(day))?;
        age(aws, 1)?;
    }
    let mut names = BTreeMap::from([(key, "<key>".to_owned()), (server.id, "<server>".to_owned())]);
    names.extend(server.volumes.into_iter().zip(["<root>".to_owned(), "<data>".to_owned()]));
    names.extend(volumes.into_iter().zip(["<one>".to_owned(), "<two>".to_owned()]));
    Ok(Scene { stage, victim, policies, names })
}

at_every_call! {
    call_01 = 1
    call_02 = 2
    call_03 = 3
    call_04 = 4
    call_05 = 5
    call_06 = 6
    call_07 = 7
    call_08 = 8
    call_09 = 9
    call_10 = 10
    call_11 = 11
    call_12 = 12
    call_13 = 13
    call_14 = 14
    call_15 = 15
    call_16 = 16
    call_17 = 17
    call_18 = 18
    call_19 = 19
    call_20 = 20
    call_21 = 21
    call_22 = 22
    call_23 = 23
    call_24 = 24
    call_25 = 25
    call_26 = 26
    call_27 = 27
    call_28 = 28
    call_29 = 29
    call_30 = 30
    call_31 = 31
    call_32 = 32
}

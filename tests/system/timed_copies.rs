//! Time-based copies, and the standard ones that are made where EC2 does not take them.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT};

use crate::common::{MEMBER, count, lines, run, shared, vault_policy};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// A vault that wants its copies within a quarter of an hour, of so many volumes of this size in GiB.
fn copied(name: &str, volumes: usize, size: u32, knobs: &Value) -> Result<(Stage, Value)> {
    let stage = Stage::new(name)?;
    shared(&stage.aws, MEMBER, volumes, &json!({"size": size}))?;
    let mut policy = vault_policy(&[(TARGETS[0], &stage.key(TARGET)?)]);
    policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0]["CompletionDurationMinutes"] =
        json!(15);
    stage.aws.post("config", knobs)?;
    let copy = stage.function("copy-shared-snapshots", &policy)?;
    let report = run(&stage, &copy, &json!({}))?;
    let again = run(&stage, &copy, &json!({}))?;
    assert_eq!((&again["Status"], &again["Actions"]), (&json!("Succeeded"), &json!([])), "at rest");
    Ok((stage, report))
}

/// Of every copy that was asked for, in order: the minutes, and EC2's code if it said no.
fn asked(stage: &Stage) -> Result<Vec<(Option<String>, Option<String>)>> {
    let answer = stage.aws.get("calls?action=CopySnapshot")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let calls = answer["calls"].as_array().into_iter().flatten();
    Ok(calls
        .map(|call| (text(&call["params"]["CompletionDurationMinutes"]), text(&call["error"])))
        .collect())
}

fn copies(stage: &Stage) -> Result<Vec<Snapshot>> {
    let mut copies = stage.aws.snapshots()?;
    copies.retain(|it| it.copied);
    Ok(copies)
}

fn reasons(report: &Value) -> Vec<&str> {
    lines(report, "CopySnapshot").iter().filter_map(|line| line["Reason"].as_str()).collect()
}

#[test]
fn beyond_the_throughput_quota_a_standard_copy_is_made() -> Result<()> {
    let (stage, report) = copied("timed-none", 1, 8, &json!({"copy_throughput": 0}))?;
    let minutes = Some("15".to_owned());
    let refused = Some("ResourceLimitExceeded".to_owned());
    assert_eq!(asked(&stage)?, [(minutes, refused), (None, None)], "once more, and no third time");
    let made = copies(&stage)?;
    let found: Vec<_> = made.iter().map(|it| (it.state.as_str(), it.transfer.as_str())).collect();
    assert_eq!(found, [("completed", "standard")]);
    assert_eq!((&report["Status"], count(&report, "CopySnapshot")), (&json!("Succeeded"), 1));
    let wanted = format!(
        "shared with this account and not copied yet; sent as a standard copy, as EC2 did not take the time-based \
         one: AWS refused CopySnapshot: The snapshot copy throughput quota from {HOME} to {} is used up. \
         (ResourceLimitExceeded, request ID ",
        TARGETS[0]
    );
    assert!(matches!(&reasons(&report)[..], [one] if one.starts_with(&wanted)), "{report}");
    Ok(())
}

#[test]
fn what_the_quota_leaves_is_used() -> Result<()> {
    // 600 GiB in a quarter of an hour would take 683 MiB/s, and no copy gets more than 500.
    let knobs = json!({"copy_throughput": 900, "copy_seconds": 2});
    let (stage, report) = copied("timed-some", 3, 600, &knobs)?;
    let mut transfers: Vec<_> = copies(&stage)?.into_iter().map(|it| it.transfer).collect();
    transfers.sort();
    assert_eq!(transfers, ["standard", "time-based", "time-based"]);
    assert_eq!(asked(&stage)?.len(), 4);
    let told = reasons(&report).iter().filter(|it| it.contains("standard copy")).count();
    assert_eq!((told, count(&report, "CopySnapshot")), (1, 3), "{report}");
    Ok(())
}

#[test]
fn where_time_based_copies_are_not_known_a_standard_one_is_made() -> Result<()> {
    let stage = Stage::new("timed-unknown")?;
    shared(&stage.aws, MEMBER, 1, &json!({}))?;
    let mut policy = vault_policy(&[(TARGETS[0], &stage.key(TARGET)?)]);
    let rule = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0];
    rule["CompletionDurationMinutes"] = json!(2880);
    stage.aws.post("faults", &json!({
        "action": "CopySnapshot", "match": "CompletionDurationMinutes=2880", "code": "UnsupportedOperation",
        "message": "Time-based copies are not supported here",
    }))?;
    let copy = stage.function("copy-shared-snapshots", &policy)?;
    let report = run(&stage, &copy, &json!({}))?;
    let refused = Some("UnsupportedOperation".to_owned());
    assert_eq!(asked(&stage)?, [(Some("2880".to_owned()), refused), (None, None)]);
    assert!(reasons(&report)[0].contains("standard copy"), "{report}");
    stage.aws.clear("faults")?;
    shared(&stage.aws, MEMBER, 1, &json!({}))?;
    let report = run(&stage, &copy, &json!({}))?;
    assert!(!reasons(&report)[0].contains("standard copy"), "{report}");
    let mut transfers: Vec<_> = copies(&stage)?.into_iter().map(|it| it.transfer).collect();
    transfers.sort();
    assert_eq!(transfers, ["standard", "time-based"], "the next one is asked for in time again");
    Ok(())
}

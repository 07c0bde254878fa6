//! The watch for full copies: from EC2's event, through the template's rule, to the line, the log and the metric.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT, vault};

use crate::common::{MEMBER, only_looked, shared, shared_again, vault_policy};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };
const NAME: &str = "copy-shared-snapshots";

/// The template's rule in the Region of the stack, and the events of the target Region forwarded to it.
fn watch(stage: &Stage) -> Result<()> {
    let template = stage.template("template.yaml", &[])?;
    let pattern = template.event_pattern("CopySharedSnapshotsFunction", "CopyFull")?;
    let function = format!("arn:aws:lambda:{HOME}:{VAULT}:function:{NAME}");
    stage.put_rule(vault(), "copy-full", &pattern, &function)?;
    let all = json!({"detail-type": ["EBS Snapshot Notification"]});
    let bus = format!("arn:aws:events:{HOME}:{VAULT}:event-bus/default");
    stage.put_rule(TARGET, "forward", &all, &bus)
}

/// Copies under this key from now on.
fn start(stage: &Stage, key: &str) -> Result<Lambda> {
    let copy = stage.function(NAME, &vault_policy(&[(TARGETS[0], key)]))?;
    stage.aws.post("functions", &json!({NAME: [copy.url]}))?;
    Ok(copy)
}

/// A sweep, which copies one snapshot; answers the copy, and the reports for the events that came of it.
fn sweep(stage: &Stage) -> Result<(String, Vec<Value>)> {
    // Through the queue: events come while it is at work.
    let sweep = stage.aws.post("invoke", &json!({"function": NAME, "event": {}}))?;
    let made = &sweep["answer"]["Actions"];
    assert_eq!(made.as_array().map(Vec::len), Some(1), "{sweep}");
    stage.aws.settle()?;
    let deliveries = stage.aws.get(&format!("deliveries?function={NAME}"))?;
    stage.aws.clear("deliveries")?;
    let of_rule = format!("rule/{VAULT}/{HOME}/copy-full");
    let deliveries = deliveries["deliveries"].as_array().into_iter().flatten();
    let reports = deliveries.filter(|it| it["source"] == of_rule).map(|it| it["answer"].clone());
    let copy = made[0]["SnapshotId"].as_str().ok_or_else(|| format!("no id: {made}"))?;
    Ok((copy.to_owned(), reports.collect()))
}

/// Log lines that are JSON.
fn log(function: &Lambda) -> Result<Vec<Value>> {
    let printed = function.printed()?;
    Ok(printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// What CloudWatch makes of the log: the sum of `FullCopies` for each set of dimensions.
fn full_copies(function: &Lambda) -> Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for line in log(function)? {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            let mut names = directive["Metrics"].as_array().into_iter().flatten();
            if names.any(|it| it["Name"] == "FullCopies") && directive["Namespace"] == "Snapferry" {
                *sums.entry(directive["Dimensions"][0].to_string()).or_default() +=
                    line["FullCopies"].as_u64().ok_or("no number")?;
            }
        }
    }
    Ok(sums)
}

#[test]
fn a_full_copy_without_need_is_told_once_and_what_was_due_is_not() -> Result<()> {
    let stage = Stage::new("full-copies")?;
    let volume = shared(&stage.aws, MEMBER, 1, &json!({}))?.remove(0).volume;
    let copy = start(&stage, &stage.key(TARGET)?)?;
    watch(&stage)?;
    let told = |reports: &[Value]| -> Vec<Value> {
        assert!(reports.iter().all(|it| it["Status"] == "Succeeded"), "{reports:?}");
        reports.iter().flat_map(|it| it["Held"].as_array().cloned().unwrap_or_default()).collect()
    };

    let (_, reports) = sweep(&stage)?;
    assert_eq!((reports.len(), told(&reports)), (1, vec![]), "the first is a full one, and quiet");
    shared_again(&stage.aws, MEMBER, &volume)?;
    let (base, reports) = sweep(&stage)?;
    assert_eq!(reports.len(), 0, "an incremental one wakes nobody");
    let both = [(r#"["Function","Policy"]"#.to_owned(), 0), (r#"["Function"]"#.to_owned(), 0)];
    assert_eq!(full_copies(&copy)?, both.clone().into());

    stage.aws.post("config", &json!({"full_copies": 1}))?;
    let source = shared_again(&stage.aws, MEMBER, &volume)?;
    let (full, reports) = sweep(&stage)?;
    let held = told(&reports);
    assert_eq!((reports.len(), held.len()), (1, 1), "{reports:?}");
    let reason = held[0]["Reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with(&format!("a full copy, though {base} was there to build on: ")),
        "{reason}"
    );
    for (member, value) in [
        ("Account", VAULT),
        ("Region", TARGETS[0]),
        ("Policy", "vault"),
        ("VolumeId", &volume),
        ("SnapshotId", &full),
    ] {
        assert_eq!(held[0][member], *value, "{member} of {held:?}");
    }
    let warned: Vec<Value> =
        log(&copy)?.into_iter().filter(|it| it["fields"]["message"] == "full copy").collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    for (member, value) in
        [("snapshot_id", &full), ("source_snapshot_id", &source), ("volume_id", &volume)]
    {
        assert_eq!(warned[0]["fields"][member], **value, "{member} of {warned:?}");
    }
    assert_eq!(full_copies(&copy)?, both.map(|(of, _)| (of, 1)).into());

    // Under another key a full copy is due.
    let _other = start(&stage, &stage.key(TARGET)?)?;
    shared_again(&stage.aws, MEMBER, &volume)?;
    let (_, reports) = sweep(&stage)?;
    assert_eq!((reports.len(), told(&reports)), (1, vec![]), "due, and quiet");
    stage.aws.clear("calls")?;
    stage.aws.post(
        "emit",
        &json!({
            "account": VAULT, "region": TARGETS[0],
            "detail": {"event": "copySnapshot", "result": "succeeded", "Incremental": "False",
                       "snapshot_id": format!("arn:aws:ec2::{}:snapshot/{full}", TARGETS[0])},
        }),
    )?;
    stage.aws.settle()?;
    assert!(only_looked(&stage.aws)?, "nothing is done about it");
    let deliveries = stage.aws.get("deliveries")?;
    let held = &deliveries["deliveries"][0]["answer"]["Held"];
    assert_eq!(held.as_array().map(Vec::len), Some(1), "the older spelling, too: {deliveries}");
    Ok(())
}

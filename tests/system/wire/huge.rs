//! Pages as large as EC2 can make them.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::stage::{HOME, Stage};

use crate::common::{MEMBER, count, night, nightly};

/// Snapshots of one page, with 50 tags each as long as tags can be: some 20 MB.
#[test]
fn a_page_of_1000_snapshots_with_50_long_tags_is_read_whole() -> Result<()> {
    let stage = Stage::new("wire-huge")?;
    let mut tags = json!({
        "snapferry:policy": "gone", "snapferry:schedule": "nightly",
        "snapferry:slot": "2026-01-01T02:00:00Z",
    });
    for n in 0..47 {
        tags[format!("{n:0>128}")] = Value::String("v".repeat(256));
    }
    stage.aws.volumes(MEMBER, 1, &json!({"snapshots": 1000, "snapshot_tags": tags}))?;
    stage.aws.volumes(MEMBER, 2, &json!({"tags": {"Backup": "daily"}}))?;
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 2, "{report}");
    assert_eq!(stage.aws.snapshots()?.len(), 1002, "nothing was deleted");
    Ok(())
}

//! The dashboard of on-demand backups, which has metrics of Step Functions only.

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::stage::Stage;

use crate::dashboard::{Of, check_alarms, check_queries, check_structure, dashboards, template};

const BACKUP: Of = Of { function: "on-demand backups", prefix: "OnDemandBackup", always_zero: &[] };

#[test]
fn the_dashboard_of_on_demand_backups_asks_for_what_there_is() -> Result<()> {
    let stage = Stage::new("dashboard-backup")?;
    let of = BACKUP;
    let mut names = vec![("OnDemandBackupMachine", json!(format!("fleet of {}", of.function)))];
    for alarm in ["OnDemandBackupFailedAlarm.Arn", "OnDemandBackupAbortedAlarm.Arn"] {
        names.push((alarm, json!(format!("arn of {}", alarm.trim_end_matches(".Arn")))));
    }
    let template = template(&stage, "backup", &names)?;
    let mut dashboards = dashboards(&template)?;
    let body = dashboards.remove("OnDemandBackupDashboard").ok_or("no dashboard")?;
    assert!(dashboards.is_empty(), "of what is not there: {dashboards:?}");
    println!("{}", check_structure(&body)?);
    println!("{}", check_queries(of, &body, &[])?.1);
    println!("{}", check_alarms(of, &template, &body, &[])?);
    Ok(())
}

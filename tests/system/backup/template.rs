//! What the template says of on-demand backups: the dashboard, which has metrics of Step Functions only; the vault; what
//! parameters are refused together.

use serde_json::{Value, json};
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

#[test]
fn the_vault_is_locked_as_the_parameters_say() -> Result<()> {
    let stage = Stage::new("backup-vault")?;
    let lock = |days: u32, after: &str| -> Result<Value> {
        let id = "arn:aws:cloudformation:eu-central-1:1:stack/snapferry/0a1b2c3d-e4f5";
        let all = [
            ("Role", json!("backup")),
            ("AWS::StackId", json!(id)),
            ("OnDemandBackupKey.Arn", json!("key")),
            ("BackupVaultMinRetentionDays", json!(days)),
            ("BackupVaultLockAfterDays", json!(after)),
        ];
        let vault = stage.template("template.yaml", &all)?.resource("OnDemandBackupVault")?;
        let (name, key) = (&vault["BackupVaultName"], &vault["EncryptionKeyArn"]);
        assert_eq!((name, key), (&json!("snapferry-0a1b2c3d"), &json!("key")));
        let statement = &vault["AccessPolicy"]["Statement"][0];
        assert_eq!((&statement["Effect"], &statement["Principal"]), (&json!("Deny"), &json!("*")));
        Ok(vault["LockConfiguration"].clone())
    };
    assert_eq!(lock(0, "0")?, Value::Null);
    assert_eq!(lock(7, "0")?, json!({"MinRetentionDays": 7}));
    assert_eq!(lock(7, "3")?, json!({"MinRetentionDays": 7, "ChangeableForDays": "3"}));
    Ok(())
}

#[test]
fn parameters_that_make_no_sense_together_are_refused() -> Result<()> {
    let stage = Stage::new("backup-rules")?;
    let refused = |role: &str, more: &[(&str, &str)]| {
        let more = more.iter().map(|(name, value)| (*name, json!(value)));
        let all: Vec<_> = more.chain([("Role", json!(role))]).collect();
        stage.template("template.yaml", &all)?.refused()
    };
    let nothing = Vec::<String>::new();
    let (nightly, named) = (("BackupSchedule", "rate(1 day)"), ("BackupDefaults", "{ }"));
    assert_eq!(refused("backup", &[])?, nothing);
    assert_eq!(refused("backup", &[nightly, named])?, nothing);
    assert_eq!(refused("central", &[nightly, named, ("OnDemandBackup", "true")])?, nothing);
    let said = |text: &str| vec![text.to_owned()];
    let needs = "BackupSchedule needs OnDemandBackup, or Role backup.";
    assert_eq!(refused("central", &[nightly, named])?, said(needs));
    let what = "BackupSchedule backs up the ResourceArns of BackupDefaults; name them there.";
    assert_eq!(refused("backup", &[nightly])?, said(what));
    let lock =
        "BackupVaultLockAfterDays is of the lock that BackupVaultMinRetentionDays above 0 makes.";
    assert_eq!(refused("backup", &[("BackupVaultLockAfterDays", "3")])?, said(lock));
    let members =
        "MemberOrganizationalUnits is for Role central or both; leave it empty otherwise.";
    let units =
        [("MemberOrganizationalUnits", "ou-ab12-cd34ef56"), ("OrganizationId", "o-0123456789")];
    assert_eq!(refused("backup", &units)?, said(members));
    Ok(())
}

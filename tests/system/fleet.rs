//! The fleet as the template deploys it: its state machine lists the accounts of an organizational unit, and runs the
//! built function for all of them, in the roles of the templates.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::cloud::{Cloud, Wanted};
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{AWAY, HOME, Stage};

use crate::common::calls;
use crate::deployed::{CENTRAL, VAULT, assert_nothing_refused};
use crate::stack::UNSUPPORTED;

const STACK: &[(&str, &str)] = &[
    ("Role", "central"),
    ("OrganizationId", "o-0123456789"),
    ("FleetConcurrency", "10"),
    ("FleetScopesPerRun", "1"),
    ("FleetWaitSeconds", "10"), // 0.5 seconds here
];
const UNIT: &str = "ou-ab12-workloads";
const SECRET: &str = "example-external-id-1";
const REGIONS: [&str; 2] = [HOME, AWAY];
const ACCOUNTS: usize = 100;

struct Fleet {
    stage: Stage,
    cloud: Cloud,
    machine: String,
    central_role: String,
    accounts: Vec<String>,
}

impl Fleet {
    /// So many accounts, all but the first few of which have the member role; a volume in both Regions of each.
    fn new(name: &str, n: usize, without_role: usize) -> Result<Self> {
        let stage = Stage::new(name)?;
        stage.aws.post("config", &json!({"identity_policies": true, "snapshot_seconds": 0.1}))?;
        let cloud = stage.cloud()?;
        let place = Place { account: CENTRAL, region: HOME };
        let template = "template.yaml";
        let made = cloud.create(Wanted {
            place,
            name: "snapferry",
            template,
            parameters: STACK,
            without: &UNSUPPORTED,
        })?;
        let role = made.outputs["RotateSnapshotsRoleArn"].as_str().ok_or("no role")?;
        let path = made.outputs["PolicyPath"].as_str().ok_or("no path")?;
        let document = json!({"Name": format!("{path}daily"), "Type": "String", "Value": policy().to_string()});
        stage.aws.json(place, "ssm", "AmazonSSM.PutParameter", &document)?;
        let machine =
            made.outputs["RotateSnapshotsFleetArn"].as_str().ok_or("no fleet")?.to_owned();
        let accounts: Vec<String> = (1..=n).map(|n| format!("7{n:011}")).collect();
        let units = json!({
            "r-ab12": {"accounts": [CENTRAL, VAULT], "units": [UNIT]},
            UNIT: {"accounts": accounts, "suspended": ["666666666666"]},
        });
        stage.aws.post("organization", &json!({"account": CENTRAL, "units": units}))?;
        let fleet = Self { stage, cloud, machine, central_role: role.to_owned(), accounts };
        for (n, account) in fleet.accounts.iter().enumerate() {
            if n >= without_role {
                fleet.member_role(account)?;
            }
            for region in REGIONS {
                let place = Place { account, region };
                fleet.stage.aws.volumes(place, 1, &json!({"tags": {"Backup": "daily"}}))?;
            }
        }
        fleet.stage.aws.clear("calls")?;
        Ok(fleet)
    }

    fn member_role(&self, account: &str) -> Result<()> {
        let parameters = [
            ("CentralRoleArn", json!(self.central_role)),
            ("ExternalId", json!(SECRET)),
            ("VaultAccounts", json!([VAULT])),
            ("AWS::AccountId", json!(account)),
        ];
        let template =
            self.stage.template("functions/rotate-snapshots/member-role.yaml", &parameters)?;
        self.stage.create_role(account, "snapferry-member", &template.trust("MemberRole")?)?;
        self.stage.put_policy(account, "snapferry-member", &template.policy("MemberRole")?)
    }

    /// One execution: how it ended, and its summary.
    fn execute(&self, input: &Value) -> Result<(String, Value)> {
        let place = Place { account: CENTRAL, region: HOME };
        let told = self.cloud.execute(place, &self.machine, input)?;
        let status = told["status"].as_str().unwrap_or_default().to_owned();
        let member = if status == "SUCCEEDED" { "output" } else { "cause" };
        let text = told[member].as_str().unwrap_or_default();
        let summary = serde_json::from_str(text).map_err(|err| format!("{err} in {told}"))?;
        Ok((status, summary))
    }
}

fn policy() -> Value {
    json!({"PolicyDetails": {
        "TargetTags": [{"Key": "Backup", "Value": "daily"}],
        "Schedules": [{
            "Name": "nightly",
            "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]},
            "RetainRule": {"Count": 1}, "ShareRules": [{"TargetAccounts": [VAULT]}],
        }],
    }, "Targets": [{
        "OrganizationalUnits": [UNIT], "RoleArn": "arn:aws:iam::*:role/snapferry-member", "ExternalId": SECRET,
        "Regions": REGIONS,
    }]})
}

fn shown(what: &str, status: &str, summary: &Value) {
    let of = |name: &str| summary[name].as_u64().unwrap_or_default();
    println!(
        "{what}: {status}; {} scopes in {} runs: {} done, {} deferred, {} failed, {} lost; {} invocations; \
         {} created, {} shared, {} deleted",
        of("Scopes"),
        of("Runs"),
        of("Done"),
        of("Deferred"),
        of("Failed"),
        of("Lost"),
        of("Invocations"),
        of("Created"),
        of("Shared"),
        of("Deleted"),
    );
}

#[test]
fn two_hundred_scopes_of_which_five_fail() -> Result<()> {
    let fleet = Fleet::new("fleet", ACCOUNTS, 1)?;
    let aws = &fleet.stage.aws;
    let shut = |enabled: bool| -> Result<()> {
        for account in &fleet.accounts[1..4] {
            let region = json!({"account": account, "region": AWAY, "code": "AuthFailure", "enabled": enabled});
            aws.post("regions", &region)?;
        }
        Ok(())
    };
    shut(false)?;
    let input = json!({"ScheduledTime": "2026-03-01T02:15:00Z"});
    let (status, summary) = fleet.execute(&input)?;
    shown("first night", &status, &summary);
    let calls = calls(aws)?;
    let total: usize = calls.values().sum();
    println!("calls of AWS: {total}: {calls:?}");
    assert_eq!(status, "FAILED");
    let numbers =
        |names: &[&str]| names.iter().map(|name| summary[*name].as_u64()).collect::<Vec<_>>();
    assert_eq!(
        numbers(&["Scopes", "Runs", "Done", "Deferred", "Failed", "Lost", "Created", "Shared"]),
        [200, 200, 195, 0, 5, 0, 195, 195].map(Some)
    );
    // Sharing waits for the snapshot's completion, so that every good one is run twice at least.
    let invocations = summary["Invocations"].as_u64().unwrap_or_default();
    assert!((2 * 195 + 5..=3 * 195 + 5).contains(&invocations), "{summary}");
    let failures = summary["Failures"].as_array().ok_or("no failures")?;
    assert_eq!(failures.len(), 5, "{summary}");
    let told = |n: usize| failures[n].to_string();
    assert!(
        told(0).contains("ScopesUnreadable") && told(0).contains(&fleet.accounts[0]),
        "{}",
        told(0)
    );
    assert_eq!(aws.snapshots()?.len(), 195);
    assert!(u64::try_from(total)? < invocations * 13, "{calls:?}");
    // 100 accounts are five pages; no run looks again.
    let looks = ["ListAccountsForParent", "ListOrganizationalUnitsForParent"];
    assert_eq!(looks.map(|action| calls.get(action)), [Some(&6), Some(&1)], "{calls:?}");

    shut(true)?;
    fleet.member_role(&fleet.accounts[0])?;
    aws.clear("calls")?;
    let (status, summary) = fleet.execute(&input)?;
    shown("mended", &status, &summary);
    let done = ["Created", "Shared", "Done", "Failed"].map(|name| summary[name].as_u64());
    assert_eq!((status.as_str(), done), ("SUCCEEDED", [5, 5, 200, 0].map(Some)), "{summary}");
    assert_nothing_refused(aws)?;
    assert_eq!(summary["Failures"], json!([]));
    assert_eq!(aws.snapshots()?.len(), 200);
    Ok(())
}

#[test]
fn what_is_started_by_hand_is_passed_on() -> Result<()> {
    let fleet = Fleet::new("fleet-by-hand", 3, 0)?;
    let aws = &fleet.stage.aws;
    let (status, summary) = fleet.execute(&json!({"DryRun": true}))?;
    assert_eq!((status.as_str(), &summary["Created"]), ("SUCCEEDED", &json!(6)), "{summary}");
    assert_eq!((aws.snapshots()?.len(), &summary["Invocations"]), (0, &json!(6)), "planned only");
    let one = format!("{}/{HOME}", fleet.accounts[1]);
    let (status, summary) = fleet.execute(&json!({"Scopes": [one]}))?;
    assert_eq!(
        (status.as_str(), &summary["Scopes"], &summary["Created"]),
        ("SUCCEEDED", &json!(1), &json!(1))
    );
    let mut wrong = policy();
    wrong["Name"] = json!("wrong");
    wrong["PolicyDetails"]["Schedules"] = json!([]);
    let mut right = policy();
    right["Name"] = json!("right");
    let (status, summary) = fleet.execute(&json!({"Policies": [wrong, right], "DryRun": true}))?;
    assert_eq!(
        (status.as_str(), &summary["Done"], &summary["Failed"]),
        ("FAILED", &json!(6), &json!(0))
    );
    let failures = summary["Failures"].as_array().ok_or("no failures")?;
    assert_eq!(
        (failures.len(), &failures[0]["ErrorType"]),
        (1, &json!("InvalidPolicy")),
        "told once: {summary}"
    );
    let (status, summary) = fleet.execute(&json!({"Scopes": ["999999999999/eu-west-1"]}))?;
    assert_eq!((status.as_str(), &summary["Runs"]), ("FAILED", &json!(0)), "{summary}");
    assert_eq!(summary["Failures"][0]["Message"], "no policy targets 999999999999/eu-west-1");
    assert_eq!(calls(aws)?.get("DeleteSnapshot"), None);
    Ok(())
}

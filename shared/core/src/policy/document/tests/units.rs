//! `Targets[].OrganizationalUnits`.

use serde_json::json;

use super::rules::check;
use super::{copies, read, snapshots, with, wrong};

const UNIT: &str = "ou-ab12-cd34ef56";
const ROLE: &str = "arn:aws:iam::*:role/snapferry-member";

#[test]
fn a_target_is_an_account_or_units() {
    let targets = json!([
        { "RoleArn": "arn:aws:iam::333333333333:role/member" },
        { "OrganizationalUnits": UNIT, "RoleArn": ROLE },
        { "OrganizationalUnits": ["r-ab12", UNIT], "RoleArn": ROLE, "ExternalId": "secret",
          "ExcludeAccounts": ["222222222222"], "Regions": ["eu-west-1"] },
    ]);
    let policy = read(&with(snapshots(), "/Targets", targets), "").unwrap();
    assert_eq!((policy.targets.len(), policy.units.len()), (1, 2));
    let last = &policy.units[1];
    assert_eq!(last.units, ["r-ab12", UNIT].map(|id| id.parse().unwrap()).into());
    assert_eq!(last.exclude_accounts, ["222222222222".parse().unwrap()].into());
    assert_eq!((last.role_arn.as_str(), last.external_id.as_deref()), (ROLE, Some("secret")));
    assert_eq!(last.regions, ["eu-west-1".parse().unwrap()]);
}

#[test]
fn every_rule_of_units() {
    let role =
        "want a role ARN with * for the account such as arn:aws:iam::*:role/snapferry-member";
    let one = json!({ "OrganizationalUnits": [UNIT], "RoleArn": ROLE, "Regions": ["eu-west-1"] });
    let with = |member: &str, value| {
        let mut target = one.clone();
        target[member] = value;
        target
    };
    check(
        snapshots,
        "/Targets/0",
        vec![
            ("", one.clone(), ""),
            (
                "",
                with("OrganizationalUnits", json!(["Workloads"])),
                "/OrganizationalUnits/0: want an organizational unit such as ou-ab12-cd34ef56, or the root such as \
                 r-ab12, found \"Workloads\"",
            ),
            (
                "",
                with("RoleArn", json!("arn:aws:iam::333333333333:role/member")),
                &format!("/RoleArn: {role}, found \"arn:aws:iam::333333333333:role/member\""),
            ),
            (
                "",
                with("RoleArn", json!(null)),
                "/RoleArn: want the role to assume in each account, found null",
            ),
            (
                "",
                with("ExcludeAccounts", json!(["1"])),
                "/ExcludeAccounts/0: want an account id of 12 digits, found \"1\"",
            ),
            (
                "",
                json!({ "RoleArn": "arn:aws:iam::333333333333:role/member", "ExcludeAccounts": "333333333333" }),
                "/ExcludeAccounts: want it only beside OrganizationalUnits, found it without",
            ),
            (
                "",
                with("Regions", json!(["eu-west-1", "eu-west-1"])),
                &format!("/Regions/1: want each Region of unit {UNIT} once, found \"eu-west-1\""),
            ),
        ],
    );
}

#[test]
fn a_unit_is_named_once_in_a_region() {
    let target = json!({ "OrganizationalUnits": [UNIT, "r-ab12"], "RoleArn": ROLE });
    let document = with(snapshots(), "/Targets", json!([target, target]));
    assert_eq!(
        wrong(&document),
        format!(
            "/Targets/1: want unit {UNIT} once in the function's own Region, found it in two targets"
        )
    );
}

#[test]
fn tags_at_the_source_are_read_account_by_account() {
    let target = json!({ "OrganizationalUnits": [UNIT], "RoleArn": ROLE });
    let found = wrong(&with(copies(), "/Targets", json!([target])));
    let want = "/Targets/0/OrganizationalUnits: want one target for each SnapshotOwner in an event-based policy";
    assert!(found.starts_with(want), "{found}");
}

//! `Targets` and `CopyTags` in event policies.

use serde_json::{Value, json};

use super::super::read;
use super::{copies, copy_policy, snapshots, with};

fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/snapferry-source-reader")
}

fn targets(targets: &Value) -> Value {
    let owners = json!(["333333333333", "444444444444"]);
    let parameters = "/PolicyDetails/EventSource/Parameters/SnapshotOwner";
    with(with(copies(), parameters, owners), "/Targets", targets.clone())
}

#[test]
fn a_target_reads_tags_in_the_account_of_its_role() {
    let document = targets(&json!([
        {"RoleArn": role("333333333333"), "ExternalId": "secret"},
        {"RoleArn": role("444444444444"), "Regions": ["eu-west-1", "eu-west-2"]},
    ]));
    assert!(read(&document, "").unwrap().targets.is_empty(), "nothing is done there");
    let policy = copy_policy(&document);
    let reader = |account: &str, region: &str| {
        let account = account.parse().unwrap();
        let found = policy.reader(&account, &region.parse().unwrap());
        found.map(|it| (it.role_arn.as_str().to_owned(), it.external_id.clone()))
    };
    let of_first = Some((role("333333333333"), Some("secret".to_owned())));
    assert_eq!(reader("333333333333", "us-east-1"), of_first, "in every Region");
    assert_eq!(reader("444444444444", "eu-west-2"), Some((role("444444444444"), None)));
    assert_eq!(reader("444444444444", "us-east-1"), None);
    assert_eq!(reader("555555555555", "eu-west-1"), None);
    assert!(!policy.rules[0].copy_tags);
    // One that is no list.
    let one = json!({"RoleArn": role("333333333333")});
    assert_eq!(copy_policy(&targets(&one)).readers.len(), 1);
    assert_eq!(copy_policy(&copies()).readers, []);
}

#[test]
fn dlms_own_role_may_stand_without_effect() {
    let dlm = json!("arn:aws:iam::222222222222:role/AWSDataLifecycleManagerDefaultRole");
    let alone = with(copies(), "/ExecutionRoleArn", dlm.clone());
    assert!(read(&alone, "").unwrap().targets.is_empty(), "DLM's own role is no target");
    assert_eq!(copy_policy(&alone).readers, []);
    let both = targets(&json!([{"RoleArn": role("333333333333")}]));
    let policy = copy_policy(&with(both, "/ExecutionRoleArn", dlm));
    assert_eq!(policy.readers.len(), 1);
    assert_eq!(policy.readers[0].role_arn.as_str(), role("333333333333"));
}

#[test]
fn every_rule_of_the_readers() {
    let said = |found: &Value| {
        read(&targets(found), "")
            .unwrap_err()
            .issues
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let twice = json!([
        {"RoleArn": role("333333333333"), "Regions": ["eu-west-1"]},
        {"RoleArn": role("333333333333"), "Regions": ["eu-west-2"]},
    ]);
    assert_eq!(
        said(&twice),
        ["/Targets/1: want one role of account 333333333333, which reads the tags of all its \
          snapshots, found it in two targets"]
    );
    let stranger = json!([{"RoleArn": role("333333333333")}, {"RoleArn": role("555555555555")}]);
    assert_eq!(
        said(&stranger),
        ["/Targets/1/RoleArn: want a role in an account that SnapshotOwner names, found \
          \"arn:aws:iam::555555555555:role/snapferry-source-reader\""]
    );
    let wrong = json!([{
        "RoleArn": "reader", "ExternalId": "x", "Regions": ["eu-west-1", "eu-west-1"], "Region": 1
    }]);
    assert_eq!(
        said(&wrong),
        [
            "/Targets/0/RoleArn: want a role ARN such as \
             arn:aws:iam::111111111111:role/snapferry-member, found \"reader\"",
            "/Targets/0/ExternalId: want 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / - (the value is not shown)",
            "/Targets/0/Regions/1: want each Region once, found \"eu-west-1\"",
            "/Targets/0/Region: unknown member, did you mean \"Regions\"?",
        ]
    );
    // A target where none can stand is shown, its secret is not.
    let nested = json!([[[{"ExternalId": "secret", "RoleArn": role("333333333333")}, 7], 8]]);
    let issues = said(&nested);
    assert!(
        issues[0].contains("want an object, found [[{\"ExternalId\":\"(not shown)\""),
        "{issues:?}"
    );
    assert!(!issues.iter().any(|it| it.contains("secret")), "{issues:?}");
    let many: Vec<_> = (0..51).map(|n| json!({"RoleArn": role(&format!("{n:012}"))})).collect();
    let issues = said(&json!(many));
    assert_eq!(issues[0], "/Targets: want 1 to 50 targets (one for each SnapshotOwner), found 51");
    let role_of_dlm = with(copies(), "/ExecutionRoleArn", json!("dlm"));
    assert_eq!(read(&role_of_dlm, "").unwrap_err().issues[0].pointer, "/ExecutionRoleArn");
}

/// An exported snapshot policy may have the members of an event policy, empty.
#[test]
fn the_targets_of_a_snapshot_policy_are_where_it_acts() {
    let empty = with(
        with(snapshots(), "/PolicyDetails/EventSource", json!({})),
        "/PolicyDetails/Actions",
        json!([]),
    );
    for document in [empty.clone(), with(empty, "/PolicyDetails/PolicyType", json!(null))] {
        assert_eq!(read(&document, "").unwrap().targets.len(), 1);
    }
}

/// An event has room for hundreds of thousands, of which each Region would be compared with all before it.
#[test]
fn what_is_far_over_the_limit_of_a_list_is_not_looked_at() {
    let regions: Vec<_> = (0..2000).map(|n| json!(format!("{n}"))).collect();
    let at = "/PolicyDetails/EventSource/Parameters/SourceRegions";
    let issues = read(&with(copies(), at, json!(regions)), "").unwrap_err().issues;
    assert_eq!(issues[0].message, "want 1 to 100 Regions, found 2000");
    assert_eq!(issues.len(), 201);
}

#[test]
fn copy_tags_is_a_rules_own() {
    let mut document = copies();
    let rules = document.pointer_mut("/PolicyDetails/Actions/0/CrossRegionCopy").unwrap();
    let plain = json!({"Target": "eu-west-1"});
    rules.as_array_mut().unwrap().push(plain);
    rules[0]["CopyTags"] = json!("true");
    let copied: Vec<_> = copy_policy(&document).rules.iter().map(|rule| rule.copy_tags).collect();
    assert_eq!(copied, [true, false]);
}

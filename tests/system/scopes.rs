//! Accounts and Regions fail alone.

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{AWAY, HOME, MEMBERS, Stage, role_arn};

use crate::common::{count, failed, night, nightly};

#[test]
fn a_role_and_a_region_fail_and_everything_else_is_done() -> Result<()> {
    let stage = Stage::new("isolation")?;
    for account in MEMBERS {
        for region in [HOME, AWAY] {
            let place = Place { account, region };
            stage.aws.volumes(place, 3, &json!({"tags": {"Backup": "daily"}}))?;
        }
    }
    let closed = json!({"account": MEMBERS[1], "region": AWAY, "code": "OptInRequired"});
    stage.aws.post("regions", &closed)?;
    let mut policy = nightly(&[HOME, AWAY], &json!({"Count": 2}));
    let stranger = json!({"RoleArn": role_arn("444444444444"), "Regions": [HOME]});
    policy["Targets"].as_array_mut().ok_or("no targets")?.push(stranger);
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let message = failed(&rotate.invoke(&night(1))?, "ScopesUnreadable");
    for part in [
        "444444444444/eu-central-1: cannot assume arn:aws:iam::444444444444:role/snapferry-member",
        "in account 444444444444 as arn:aws:iam::999999999999:root",
        "the role exists",
        "trust policy",
        "(the document gives no ExternalId)",
        "AccessDenied",
        "222222222222/us-east-1: AWS refused Describe",
        "OptInRequired",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(stage.aws.snapshots()?.len(), 9, "three scopes of three volumes were done");
    assert!(!message.contains("correct-horse"), "external ids are secrets");
    Ok(())
}

#[test]
fn only_the_scopes_of_the_event_are_done() -> Result<()> {
    let stage = Stage::new("scopes")?;
    for account in MEMBERS {
        let place = Place { account, region: HOME };
        stage.aws.volumes(place, 1, &json!({"tags": {"Backup": "daily"}}))?;
    }
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    let mut event = night(1);
    event["Scopes"] = json!([format!("{}/{HOME}", MEMBERS[1]), "555555555555/eu-central-1"]);
    let report = rotate.invoke(&event)?.report()?;
    assert_eq!(count(&report, "CreateSnapshot"), 1);
    assert_eq!(report["Actions"][0]["Account"], MEMBERS[1]);
    assert_eq!(report["Held"][0]["Reason"], "no policy targets this scope");
    Ok(())
}

#[test]
fn a_disabled_policy_whose_role_is_missing_raises_no_alarm() -> Result<()> {
    let stage = Stage::new("disabled")?;
    let mut policy = nightly(&[HOME], &json!({"Count": 2}));
    policy["State"] = json!("DISABLED");
    policy["Targets"] = json!([{"RoleArn": role_arn("444444444444")}]);
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let report = rotate.invoke(&night(1))?.report()?;
    assert_eq!(report["Status"], "Succeeded");
    let why = report["Held"][0]["Reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("its policies are disabled, and it cannot be read: "), "{why}");
    Ok(())
}

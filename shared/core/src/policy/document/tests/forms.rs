//! What is free in a document's form.

use serde_json::json;

use super::{copies, snapshots, with, wrong};

#[test]
fn every_envelope_is_opened() {
    let policy = snapshots();
    let resource = json!({ "Type": "AWS::DLM::LifecyclePolicy", "Properties": policy });
    let exported = json!({
        "PolicyId": "policy-0123456789abcdef0", "PolicyArn": "arn:…", "StatusMessage": "ENABLED",
        "DateCreated": 1.5e9, "DateModified": "2019", "Tags": { "a": "b" }, "Description": "x",
        "DefaultPolicy": false, "PolicyDetails": policy["PolicyDetails"],
    });
    let mut flat = policy["PolicyDetails"].clone();
    flat["Targets"] = policy["Targets"].clone();
    for document in [
        json!({ "Policy": policy, "ResponseMetadata": {} }),
        json!({ "Policy": exported }),
        resource.clone(),
        json!({ "Resources": { "Other": { "Type": "AWS::SNS::Topic" }, "One": resource } }),
        policy["PolicyDetails"].clone(),
        flat,
    ] {
        assert_eq!(wrong(&document), "", "{document}");
    }
    for (document, expected) in [
        (json!(null), "the document: want a policy document (a JSON object), found null"),
        (json!([]), "the document: want a policy document (a JSON object), found []"),
        (json!({}), "/PolicyDetails: want the policy's details, found nothing"),
        (json!({ "Policy": null }), "/Policy: want a policy, found null"),
        (json!({ "Policy": policy, "Targets": [] }), "/Targets: unknown member"),
        (
            json!({ "Resources": { "One": resource, "Two": resource } }),
            "/Resources: want exactly one AWS::DLM::LifecyclePolicy, found 2",
        ),
        (json!({ "Resources": {}, "Outputs": {} }), "/Resources: want resources, found {}"),
        (
            json!({ "Resources": { "a/b": with(resource.clone(), "/Properties/State", json!("ON")) } }),
            "/Resources/a~1b/Properties/State: want ENABLED or DISABLED, found \"ON\"",
        ),
        (
            with(resource.clone(), "/Condition", json!("IsProduction")),
            "/Condition: CloudFormation's conditions are not evaluated here",
        ),
    ] {
        assert_eq!(wrong(&document), expected, "{document}");
    }
}

#[test]
fn form_is_free() {
    let schedule = "/PolicyDetails/Schedules/0";
    for (pointer, value) in [
        ("/State", json!(null)),
        ("/State", json!("DISABLED")),
        ("/Description", json!("anything")),
        ("/PolicyDetails/PolicyType", json!("")),
        ("/PolicyDetails/PolicyLanguage", json!("STANDARD")),
        ("/PolicyDetails/ResourceTypes", json!("VOLUME")),
        ("/PolicyDetails/ResourceTypes", json!(null)),
        ("/PolicyDetails/ResourceLocations", json!("CLOUD")),
        ("/PolicyDetails/Parameters", json!({})),
        ("/PolicyDetails/Parameters", json!({ "ExcludeBootVolume": false })),
        ("/PolicyDetails/TargetTags", json!({ "Key": "a", "Value": "b" })),
        ("/PolicyDetails/TargetVolumeIds", json!("vol-0123456789abcdef0")),
        ("/PolicyDetails/ExcludeTags", json!([{ "Key": "backup", "Value": "no*" }])),
        ("/PolicyDetails/CreateInterval", json!(0)),
        ("/PolicyDetails/EventSource", json!({ "Type": "" })),
    ] {
        assert_eq!(wrong(&with(snapshots(), pointer, value.clone())), "", "{pointer} = {value}");
    }
    for (pointer, value) in [
        ("/CopyTags", json!("true")),
        ("/TagsToAdd", json!({ "Key": "a", "Value": "" })),
        ("/VariableTags", json!([])),
        ("/CrossRegionCopyRules", json!([])),
        ("/FastRestoreRule", json!({ "Count": 0, "Interval": 0, "AvailabilityZones": [] })),
        ("/ArchiveRule", json!(null)),
        ("/CreateRule", json!({})),
        ("/CreateRule/Interval", json!("24")),
        ("/CreateRule/Interval", json!([12])),
        ("/CreateRule/IntervalUnit", json!("")),
        ("/CreateRule/Times", json!("03:00")),
        ("/CreateRule/Times", json!([])),
        ("/CreateRule/Location", json!(["CLOUD"])),
        ("/CreateRule/Scripts", json!([])),
        ("/CreateRule/TimeZone", json!("Europe/Berlin")),
        ("/CreateRule/StartWindowMinutes", json!("90")),
        (
            "/CreateRule",
            json!({ "Interval": 0, "IntervalUnit": "HOURS", "CronExpression": "cron(0 2 * * ? *)" }),
        ),
        ("/RetainRule", json!({ "Count": 4, "Interval": 0 })),
        ("/RetainRule", json!({ "Count": "4", "Interval": 0, "IntervalUnit": "DAYS" })),
        ("/RetainRule", json!({ "Count": 4, "Interval": "0", "IntervalUnit": "DAYS" })),
        ("/RetainRule/MinimumCount", json!(0)),
        ("/ShareRules", json!({ "TargetAccounts": "222222222222", "UnshareInterval": 0 })),
        ("/ShareRules", json!([{ "TargetAccounts": [222_222_222_222_u64] }])),
    ] {
        let pointer = format!("{schedule}{pointer}");
        assert_eq!(wrong(&with(snapshots(), &pointer, value.clone())), "", "{pointer} = {value}");
    }
    let copy = "/PolicyDetails/Actions/0/CrossRegionCopy/0";
    for (pointer, value) in [
        ("/EncryptionConfiguration", json!({})),
        ("/EncryptionConfiguration/CmkArn", json!("")),
        ("/RetainRule", json!(null)),
        ("/RetainRule", json!({ "Count": 0, "Interval": 0 })),
        ("/RetainRule", json!({ "Interval": 36_500, "IntervalUnit": "DAYS" })),
        ("/RetainRule", json!({ "Interval": 5200, "IntervalUnit": "WEEKS" })),
        ("/RetainRule", json!({ "Interval": 1200, "IntervalUnit": "MONTHS" })),
        ("/RetainRule", json!({ "Interval": 100, "IntervalUnit": "YEARS" })),
        ("/RetainRule/MinimumCount", json!(3)),
        ("/MinimumCount", json!(3)),
        ("/CopyTags", json!(false)),
        ("/CompletionDurationMinutes", json!(2880)),
        ("/TagsToAdd", json!([{ "Key": "a", "Value": "b" }])),
    ] {
        let pointer = format!("{copy}{pointer}");
        assert_eq!(wrong(&with(copies(), &pointer, value.clone())), "", "{pointer} = {value}");
    }
}

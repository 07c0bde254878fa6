//! `CreateRule.Scripts`.

use serde_json::{Value, json};

use super::{instances, snapshot_policy, snapshots, with, wrong};
use crate::policy::{DocumentScript, Handler, Script, Stages, VssDocument};

fn scripted() -> Value {
    let pointer = "/PolicyDetails/Schedules/0/CreateRule/Scripts";
    let script = json!({ "ExecutionHandler": "own-document" });
    with(instances(), pointer, json!([script]))
}

const SCRIPTS: &str = "/PolicyDetails/Schedules/0/CreateRule/Scripts";

fn read(script: Value) -> Script {
    let document = with(with(instances(), SCRIPTS, script), "/PolicyDetails/Parameters", json!({}));
    snapshot_policy(&document).schedules[0].script.clone().unwrap()
}

fn own(stages: Stages, timeout_seconds: u8) -> Handler {
    Handler::Document(DocumentScript { name: "own-document".into(), stages, timeout_seconds })
}

#[test]
fn a_script_says_what_it_says() {
    let arn = "arn:aws:ssm:eu-west-1:111111111111:document/own";
    let of_arn = Handler::Document(DocumentScript {
        name: arn.into(),
        stages: Stages::Both,
        timeout_seconds: 120,
    });
    let vss = |document| Handler::Vss(document);
    for (script, handler, goes_on, retries) in [
        (json!([{ "ExecutionHandler": "own-document" }]), own(Stages::Both, 10), true, 0),
        (
            json!({ "ExecutionHandler": "own-document", "MaximumRetryCount": 0, "ExecutionTimeout": 0 }),
            own(Stages::Both, 10),
            true,
            0,
        ),
        (
            json!({
                "ExecutionHandler": arn,
                "ExecutionHandlerService": "AWS_SYSTEMS_MANAGER",
                "Stages": ["POST", "PRE"],
                "ExecuteOperationOnScriptFailure": false,
                "ExecutionTimeout": 120,
                "MaximumRetryCount": 3,
            }),
            of_arn,
            false,
            3,
        ),
        (
            json!({ "ExecutionHandler": "own-document", "Stages": "POST", "ExecutionTimeout": 45 }),
            own(Stages::Post, 45),
            true,
            0,
        ),
        (
            json!({ "ExecutionHandler": "own-document", "Stages": "PRE", "ExecuteOperationOnScriptFailure": false }),
            own(Stages::Pre, 10),
            false,
            0,
        ),
        (
            json!([{ "ExecutionHandler": "AWS_VSS_BACKUP", "MaximumRetryCount": 3 }]),
            vss(VssDocument::InstallAndSnapshot),
            true,
            3,
        ),
        (
            json!({ "ExecutionHandler": "AWS_VSS_BACKUP", "VssDocumentName": "AWSEC2-CreateVssSnapshot" }),
            vss(VssDocument::CreateSnapshot),
            true,
            0,
        ),
    ] {
        assert_eq!(read(script.clone()), Script { handler, goes_on, retries }, "{script}");
    }
    let window =
        |document: &Value| snapshot_policy(document).schedules[0].create.start_window_minutes;
    assert_eq!(window(&instances()), None);
    assert_eq!(window(&scripted()), Some(60));
    let rule = "/PolicyDetails/Schedules/0/CreateRule/StartWindowMinutes";
    assert_eq!(window(&with(scripted(), rule, json!(5))), Some(5));
}

#[test]
fn what_a_vss_backup_cannot_write_on_its_snapshots_is_refused() {
    let tagged = |handler: &str, key: &str, value: &str| {
        let document = with(instances(), SCRIPTS, json!([{ "ExecutionHandler": handler }]));
        let document = with(document, "/PolicyDetails/Parameters", json!({}));
        let tags = json!([{ "Key": key, "Value": value }]);
        wrong(&with(document, "/PolicyDetails/Schedules/0/TagsToAdd", tags))
    };
    let tag = "/PolicyDetails/Schedules/0/TagsToAdd/0";
    let vss = |key: &str, value: &str| tagged("AWS_VSS_BACKUP", key, value).replace(tag, "");
    for (key, value) in [("Owner", "me@example.com"), ("a:b", "(x) ./-_+"), ("Empty", "")] {
        assert_eq!(vss(key, value), "", "{key} {value}");
    }
    for key in ["Device", "AppConsistent", "AwsVssConfig"] {
        let want =
            format!("/Key: want a key that AWS_VSS_BACKUP does not set itself, found {key:?}");
        assert_eq!(vss(key, "x"), want);
        assert_eq!(tagged("own-document", key, "x"), "");
    }
    let chars =
        "want A-Z a-z 0-9 space and ( ) . / - @ _ + : only, beside AWS_VSS_BACKUP (SSM document)";
    for bad in
        ["a,b", "a;b", "$(Remove-Item)", "a\"b", "a'b", "a`b", "ü", "a=b", "a{b", "a|b", "a\nb"]
    {
        assert!(
            vss("Owner", bad).starts_with(&format!("/Value: {chars}")),
            "{}",
            vss("Owner", bad)
        );
        assert!(vss(bad, "x").starts_with(&format!("/Key: {chars}")), "{}", vss(bad, "x"));
        assert_eq!(tagged("own-document", "Owner", bad), "");
    }
}

#[test]
fn scripts_need_room_for_their_tags() {
    let tags: Vec<Value> =
        (0..39).map(|n| json!({ "Key": format!("k{n}"), "Value": "x" })).collect();
    let schedule = "/PolicyDetails/Schedules/0";
    let many = |n: usize, document| {
        let document = with(document, &format!("{schedule}/TagsToAdd"), json!(tags[..n]));
        wrong(&with(document, &format!("{schedule}/VariableTags"), json!([])))
    };
    assert_eq!(many(39, instances()), "");
    assert_eq!(many(38, scripted()), "");
    assert_eq!(
        many(39, scripted()),
        format!(
            "{schedule}: want at most 38 tags in TagsToAdd and VariableTags beside Scripts (EC2 takes 50), found 39"
        )
    );
}

#[test]
fn every_rule_of_scripts() {
    let vss = |name: &str, value: Value| {
        with(json!([{ "ExecutionHandler": "AWS_VSS_BACKUP" }]), &format!("/0/{name}"), value)
    };
    let scripts = "/PolicyDetails/Schedules/0/CreateRule/Scripts";
    let cases = vec![
        (
            "",
            json!([{ "MaximumRetryCount": 1 }, { "Stages": "PRE" }]),
            ": want 1 to 1 script (DLM), found 2; /0/ExecutionHandler: want \
          AWS_VSS_BACKUP, or the name or ARN of an SSM document, found nothing; \
          /1/ExecutionHandler: want AWS_VSS_BACKUP, or the name or ARN of an SSM document, found \
          nothing",
        ),
        (
            "/0/Stages",
            json!(["PRE", "PRE", "POST"]),
            "/0/Stages: want 1 to 2 stages (DLM), found 3; \
          /0/Stages/1: want each stage once, found \"PRE\"",
        ),
        ("/0/Stages", json!(["DURING"]), "/0/Stages/0: want PRE or POST, found \"DURING\""),
        (
            "/0/ExecutionHandlerService",
            json!("AWS_LAMBDA"),
            "/0/ExecutionHandlerService: want \
          AWS_SYSTEMS_MANAGER, found \"AWS_LAMBDA\"",
        ),
        (
            "/0/ExecutionHandler",
            json!("a b"),
            "/0/ExecutionHandler: want AWS_VSS_BACKUP, or the \
          name or ARN of an SSM document, found \"a b\"",
        ),
        ("/0/ExecutionTimeout", json!(9), "/0/ExecutionTimeout: want 10 to 120, found 9"),
        ("/0/MaximumRetryCount", json!(4), "/0/MaximumRetryCount: want 0 to 3, found 4"),
        (
            "/0/ExecuteOperationOnScriptFailure",
            json!("no"),
            "/0/ExecuteOperationOnScriptFailure: \
          want true or false, found \"no\"",
        ),
        (
            "",
            json!({"ExecutionHandler": "own", "Stages": ["POST"], "ExecuteOperationOnScriptFailure": false}),
            "/ExecuteOperationOnScriptFailure: want true where Stages has no PRE (DLM), found false",
        ),
        ("/0/Timeout", json!(10), "/0/Timeout: unknown member"),
        (
            "/0/VssDocumentName",
            json!("AWSEC2-CreateVssSnapshot"),
            "/0/VssDocumentName: has its place beside AWS_VSS_BACKUP only",
        ),
        (
            "",
            vss("VssDocumentName", json!("AWSEC2-ManageVssIO")),
            "/0/VssDocumentName: want AWSEC2-VssInstallAndSnapshot or AWSEC2-CreateVssSnapshot, found \
             \"AWSEC2-ManageVssIO\"; \
             /0/ExecutionHandler: want another handler beside Parameters.ExcludeDataVolumeTags (DLM), \
             found \"AWS_VSS_BACKUP\"",
        ),
        (
            "",
            vss("Stages", json!(["PRE"])),
            "/0/Stages: has no place beside AWS_VSS_BACKUP (DLM); \
          /0/ExecutionHandler: want another handler beside Parameters.ExcludeDataVolumeTags (DLM), \
          found \"AWS_VSS_BACKUP\"",
        ),
        (
            "",
            vss("ExecutionTimeout", json!(60)),
            "/0/ExecutionTimeout: has no place beside \
          AWS_VSS_BACKUP (DLM); \
          /0/ExecutionHandler: want another handler beside Parameters.ExcludeDataVolumeTags (DLM), \
          found \"AWS_VSS_BACKUP\"",
        ),
    ];
    for (pointer, value, expected) in cases {
        let found = wrong(&with(scripted(), &format!("{scripts}{pointer}"), value.clone()));
        assert_eq!(found.replace(scripts, ""), expected, "{pointer} = {value}");
    }
    let mut document =
        with(instances(), scripts, json!([{ "ExecutionHandler": "AWS_VSS_BACKUP" }]));
    document = with(document, "/PolicyDetails/Parameters", json!({}));
    document = with(document, "/PolicyDetails/Schedules/0/CopyTags", json!(true));
    assert_eq!(
        wrong(&document).replace(scripts, ""),
        "/0/ExecutionHandler: want another handler beside CopyTags (DLM), found \"AWS_VSS_BACKUP\""
    );
    let elsewhere =
        with(snapshots(), scripts, json!([{ "ExecutionHandler": "own", "Stages": ["X"] }]));
    assert_eq!(
        wrong(&elsewhere).replace(scripts, ""),
        ": has its place in a policy with ResourceTypes INSTANCE only"
    );
}

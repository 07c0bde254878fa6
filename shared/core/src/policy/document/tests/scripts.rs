//! `CreateRule.Scripts`.

use serde_json::{Value, json};

use super::{instances, snapshots, with, wrong};

const REFUSED: &str = "/PolicyDetails/Schedules/0/CreateRule/Scripts: Scripts is not supported by \
    this version of snapferry: it runs commands on instances before and after";

fn scripted() -> Value {
    let pointer = "/PolicyDetails/Schedules/0/CreateRule/Scripts";
    let script = json!({ "ExecutionHandler": "own-document" });
    with(instances(), pointer, json!([script]))
}

#[test]
fn scripts_are_read_to_the_end_and_refused() {
    for script in [
        json!({ "ExecutionHandler": "own-document" }),
        json!({ "ExecutionHandler": "A", "MaximumRetryCount": 0, "ExecutionTimeout": 0 }),
        json!({
            "ExecutionHandler": "arn:aws:ssm:eu-west-1:111111111111:document/own",
            "ExecutionHandlerService": "AWS_SYSTEMS_MANAGER",
            "Stages": ["POST", "PRE"],
            "ExecuteOperationOnScriptFailure": false,
            "ExecutionTimeout": 120,
            "MaximumRetryCount": 3,
        }),
        json!({ "ExecutionHandler": "own-document", "Stages": "POST" }),
        json!({ "ExecutionHandler": "own-document", "Stages": "PRE", "ExecuteOperationOnScriptFailure": false }),
    ] {
        let document =
            with(instances(), "/PolicyDetails/Schedules/0/CreateRule/Scripts", script.clone());
        assert_eq!(wrong(&document), REFUSED, "{script}");
    }
    let vss = json!([{ "ExecutionHandler": "AWS_VSS_BACKUP", "MaximumRetryCount": 3 }]);
    let document = with(instances(), "/PolicyDetails/Schedules/0/CreateRule/Scripts", vss);
    let document = with(document, "/PolicyDetails/Parameters", json!({}));
    assert_eq!(wrong(&document), REFUSED);
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

//! State machines on a real engine, with many processes of the built function behind them.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{AWAY, HOME, MEMBERS, Stage, VAULT, vault};

use crate::common::{calls, nightly};

/// `{"Scopes": [account/Region], "Policies": [document]}` in, one line for each scope out.
fn definition(function: &str) -> Value {
    let scope = "{% $states.input.Scope %}";
    let event = json!({
        "ScheduledTime": "2026-03-01T02:15:00Z", "DryRun": true,
        "Scopes": [scope], "Policies": "{% $states.input.Policies %}",
    });
    let look = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": event},
        "Output": {"Scope": scope, "Planned": "{% $count($states.result.Payload.Actions) %}"},
        "Retry": [{"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 2, "MaxAttempts": 8}],
        "Catch": [{
            "ErrorEquals": ["ScopesUnreadable"],
            "Output": {
                "Scope": scope, "Error": "{% $states.errorOutput.Error %}",
                "Message": "{% $parse($states.errorOutput.Cause).errorMessage %}",
            },
            "Next": "Told",
        }],
        "End": true,
    });
    let map = json!({
        "Type": "Map",
        "Items": "{% $states.input.Scopes %}",
        "ItemSelector": {"Scope": "{% $states.context.Map.Item.Value %}", "Policies": "{% $states.input.Policies %}"},
        "MaxConcurrency": 10,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Look",
            "States": {"Look": look, "Told": {"Type": "Pass", "End": true}},
        },
        "Assign": {"lines": "{% $states.result %}"},
        "Next": "Sum",
    });
    let sum = json!({
        "Type": "Succeed",
        "Output": {
            "Succeeded": "{% $count($lines[$exists(Planned)]) %}",
            "Failed": "{% $count($lines[$exists(Error)]) %}",
            "Planned": "{% $sum($lines.Planned) %}",
            "Errors": "{% [$distinct($lines.Error)] %}",
            "Messages": "{% [$lines.Message] %}",
        },
    });
    json!({
        "QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": map, "Sum": sum},
    })
}

#[test]
fn a_distributed_map_calls_the_function_for_every_scope_and_catches_errors_by_name() -> Result<()> {
    let stage = Stage::new("fanout")?;
    let cloud = stage.cloud()?;
    let accounts: Vec<String> = (0..10).map(|n| format!("{}", 400_000_000_000_u64 + n)).collect();
    let (there, missing) = accounts.split_at(8);
    let mut targets = Vec::new();
    for account in &accounts {
        let arn = format!("arn:aws:iam::{account}:role/snapferry-member");
        targets.push(json!({"RoleArn": arn, "ExternalId": "secret", "Regions": [HOME, AWAY]}));
    }
    for account in there {
        stage.role(account, "secret")?;
        for region in [HOME, AWAY] {
            stage.aws.volumes(
                Place { account, region },
                2,
                &json!({"tags": {"Backup": "daily"}}),
            )?;
        }
    }
    let policy = json!({"Name": "daily", "Targets": targets, "PolicyDetails": {
        "ResourceTypes": ["VOLUME"],
        "TargetTags": [{"Key": "Backup", "Value": "daily"}],
        "Schedules": [{
            "Name": "nightly",
            "CreateRule": {"CronExpression": "cron(0 2 * * ? *)"},
            "RetainRule": {"Count": 7},
        }],
    }});
    let function = cloud.function(vault(), "rotate-snapshots", &json!({}))?;
    let machine = cloud.machine(vault(), "fanout", &definition(&function))?;
    let in_regions = |account: &String| [HOME, AWAY].map(|region| format!("{account}/{region}"));
    let scopes: Vec<String> = accounts.iter().flat_map(in_regions).collect();

    let ended =
        cloud.execute(vault(), &machine, &json!({"Scopes": scopes, "Policies": [policy]}))?;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    let output: Value = serde_json::from_str(ended["output"].as_str().unwrap_or_default())?;
    for (name, count) in [("Succeeded", 16), ("Failed", 4), ("Planned", 32)] {
        assert_eq!(output[name], count, "{name}: {output}");
    }
    assert_eq!(output["Errors"], json!(["ScopesUnreadable"]));
    let messages = output["Messages"].to_string();
    for account in missing {
        let caller = format!("in account {account} as arn:aws:iam::{VAULT}:root");
        assert!(messages.contains(&caller), "{caller} is not in {messages}");
    }
    assert!(stage.aws.snapshots()?.is_empty(), "a dry run");
    // One scope each: every call to another account is made by the one run that was asked for it.
    assert_eq!(calls(&stage.aws)?.get("AssumeRole"), Some(&20));
    Ok(())
}

#[test]
fn a_function_at_its_limit_is_called_again() -> Result<()> {
    let stage = Stage::new("limit")?;
    let cloud = stage.cloud()?;
    let policy = json!([nightly(&[HOME], &json!({"Count": 2}))]);
    let function = cloud.function(vault(), "rotate-snapshots", &json!({}))?;
    let limit = json!({"FunctionName": function, "ReservedConcurrentExecutions": 1});
    cloud.call(vault(), "lambda", "put_function_concurrency", &limit)?;
    // The first one to come takes longer than the others wait before they try again.
    let slow = json!({"action": "AssumeRole", "times": 1, "delay": 0.3});
    stage.aws.post("faults", &slow)?;
    let scopes = MEMBERS.map(|account| format!("{account}/{HOME}"));
    let machine = cloud.machine(vault(), "limit", &definition(&function))?;
    let ended = cloud.execute(vault(), &machine, &json!({"Scopes": scopes, "Policies": policy}))?;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    let output: Value = serde_json::from_str(ended["output"].as_str().unwrap_or_default())?;
    assert_eq!((&output["Succeeded"], &output["Failed"]), (&json!(2), &json!(0)));

    let mut once = definition(&function);
    once["States"]["Each"]["ItemProcessor"]["States"]["Look"]["Retry"] = json!([]);
    stage.aws.post("faults", &slow)?;
    let machine = cloud.machine(vault(), "once", &once)?;
    let ended = cloud.execute(vault(), &machine, &json!({"Scopes": scopes, "Policies": policy}))?;
    assert_eq!(
        ended["error"], "States.ExceedToleratedFailureThreshold",
        "the limit is one: {ended}"
    );
    Ok(())
}

#[test]
fn the_children_of_a_distributed_map_do_not_see_the_variables_outside() -> Result<()> {
    let cloud = Stage::new("variables")?.cloud()?;
    let read = json!({"Type": "Pass", "Output": "{% $outer %}", "End": true});
    for (mode, status) in [("INLINE", "SUCCEEDED"), ("DISTRIBUTED", "FAILED")] {
        let states = json!({
            "Set": {"Type": "Pass", "Assign": {"outer": 1}, "Next": "Each"},
            "Each": {
                "Type": "Map", "Items": [1], "End": true,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": mode}, "StartAt": "Read", "States": {"Read": read},
                },
            },
        });
        let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Set", "States": states});
        let machine = cloud.machine(vault(), mode, &definition)?;
        let ended = cloud.execute(vault(), &machine, &json!({}))?;
        assert_eq!(ended["status"], status, "{mode}: {ended}");
    }
    Ok(())
}

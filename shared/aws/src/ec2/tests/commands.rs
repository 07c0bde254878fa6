//! Systems Manager as it is asked, and what becomes of its answers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_core::commands::{CommandId, Errand, Managed, Progress, SendCommand, Status, Step};
use snapferry_core::ec2::{CommandFilter, Ec2, Ec2Error, ErrorKind};
use snapferry_core::ids::InstanceId;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, id, json};

const ID: &str = "0831e1a8-a1ac-4257-a1fd-c831bEXAMPLE";
const INSTANCE: &str = "i-0123456789abcdef0";

fn errand(step: Step) -> Errand {
    Errand {
        policy: "sets".into(),
        slot: "2026-11-22T02:00:00Z".parse().unwrap(),
        attempt: 1,
        step,
    }
}

fn script(step: Step) -> SendCommand {
    SendCommand::script(&id(INSTANCE), "db-scripts", errand(step))
}

fn vss() -> SendCommand {
    SendCommand {
        volumes: BTreeSet::new(),
        instance: id(INSTANCE),
        document: "AWSEC2-VssInstallAndSnapshot".into(),
        parameters: [("ExcludeBootVolume", "True"), ("tags", "Key=a,Value=b;Key=c,Value=d")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        errand: errand(Step::VssBackup),
        delivery_seconds: 600,
    }
}

fn sent() -> Answer {
    json(200, json!({"Command": {"CommandId": ID, "Status": "Pending"}}))
}

fn error(status: u16, code: &str) -> Answer {
    json(status, json!({"__type": code, "message": "said so"}))
}

#[tokio::test]
async fn a_command_is_sent_to_one_instance_and_says_what_it_is_for() {
    let execution = "executionId";
    for (request, body) in [
        (
            script(Step::PreScript),
            json!({
                "Comment": "snapferry pre1 2026-11-22T02:00:00Z sets", "DocumentName": "db-scripts",
                "InstanceIds": [INSTANCE], "TimeoutSeconds": 30,
                "Parameters": {"command": ["pre-script"]},
            }),
        ),
        (
            script(Step::PostScript),
            json!({
                "Comment": "snapferry end1 2026-11-22T02:00:00Z sets", "DocumentName": "db-scripts",
                "InstanceIds": [INSTANCE], "TimeoutSeconds": 600,
                "Parameters": {"command": ["post-script"]},
            }),
        ),
        (
            vss(),
            json!({
                "Comment": "snapferry vss1 2026-11-22T02:00:00Z sets",
                "DocumentName": "AWSEC2-VssInstallAndSnapshot",
                "InstanceIds": [INSTANCE], "TimeoutSeconds": 600,
                "Parameters": {"ExcludeBootVolume": ["True"],
                               "tags": ["Key=a,Value=b;Key=c,Value=d"]},
            }),
        ),
    ] {
        let aws = Script::default().on("SendCommand", [sent()]);
        let made = aws.ec2().await.send_command(&request).await.unwrap();
        assert_eq!(made, CommandId(ID.into()));
        let sent = &aws.sent("SendCommand")[0];
        assert_eq!(sent.host, "ssm.eu-central-1.amazonaws.com");
        assert_eq!(sent.headers["x-amz-target"], "AmazonSSM.SendCommand");
        let mut found = sent.json();
        let told = found["Parameters"].as_object_mut().unwrap().remove(execution);
        let wanted = request.parameters.get(execution).map(|it| json!([it]));
        assert_eq!((found, told), (body, wanted));
    }
}

#[tokio::test]
async fn where_it_may_have_happened_only_a_post_script_is_sent_again() {
    let answers = [
        Answer::TimedOut,
        Answer::Reset,
        error(500, "InternalServerError"),
        error(503, "ServiceUnavailable"),
        Answer::Http(502, "<html>".into()),
    ];
    for answer in answers {
        for request in [script(Step::PreScript), vss()] {
            let aws = Script::default().on("SendCommand", [answer.clone()]);
            let err = aws.ec2().await.send_command(&request).await.unwrap_err();
            assert_eq!(aws.actions(), ["SendCommand"], "{answer:?}");
            assert_no_answer(&err, "SendCommand", "");
        }
        let aws = Script::default().on("SendCommand", [answer.clone(), answer.clone(), sent()]);
        aws.ec2().await.send_command(&script(Step::PostScript)).await.unwrap();
        assert_eq!(aws.actions().len(), 3, "{answer:?}");
    }
}

#[tokio::test]
async fn throttled_anything_is_sent_again() {
    for request in [script(Step::PreScript), script(Step::PostScript), vss()] {
        let throttled = || error(400, "ThrottlingException");
        let aws = Script::default().on("SendCommand", [throttled(), throttled(), sent()]);
        aws.ec2().await.send_command(&request).await.unwrap();
        let sent = aws.sent("SendCommand");
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|it| it.body == sent[0].body));
    }
}

#[tokio::test]
async fn an_answer_without_a_command_may_have_sent_one() {
    for body in [json!({}), json!({"Command": {}}), json!({"Command": {"CommandId": ""}})] {
        let aws = Script::default().on("SendCommand", [json(200, body.clone())]);
        let err = aws.ec2().await.send_command(&vss()).await.unwrap_err();
        assert_no_answer(&err, "SendCommand", "the command");
        assert_eq!(aws.actions().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn what_systems_manager_refuses_has_a_kind() {
    for (code, kind) in [
        ("InvalidInstanceId", ErrorKind::Invalid),
        ("InvalidDocument", ErrorKind::Invalid),
        ("InvalidDocumentVersion", ErrorKind::Invalid),
        ("InvalidParameters", ErrorKind::Invalid),
        ("UnsupportedPlatformType", ErrorKind::Invalid),
        ("MaxDocumentSizeExceeded", ErrorKind::Invalid),
        ("DuplicateInstanceId", ErrorKind::Invalid),
        ("InvalidOutputFolder", ErrorKind::Invalid),
        ("AccessDeniedException", ErrorKind::AccessDenied),
        ("ExpiredTokenException", ErrorKind::AccessDenied),
    ] {
        for code_as in [code.to_owned(), format!("com.amazonaws.ssm#{code}")] {
            let aws = Script::default().on("SendCommand", [error(400, &code_as)]);
            let err = aws.ec2().await.send_command(&script(Step::PreScript)).await.unwrap_err();
            let text =
                format!("AWS refused SendCommand: said so ({code}, request ID {REQUEST_ID})");
            assert_refused(&err, kind, &text);
            assert_eq!(aws.actions().len(), 1);
        }
    }
    // An instance that went away between two looks is no reason for an alarm.
    let gone = error(400, "InvalidInstanceId");
    let aws = Script::default().on("DescribeInstanceInformation", [gone]);
    let asked = [id(INSTANCE)].into();
    let err = aws.ec2().await.describe_instance_information(&asked).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotReady);
}

fn invocation(more: &Value) -> Value {
    let mut invocation = json!({
        "CommandId": ID, "InstanceId": INSTANCE, "DocumentName": "db-scripts",
        "Comment": "snapferry pre1 2026-11-22T02:00:00Z sets",
        "RequestedDateTime": 1_795_312_861.5, "Status": "Success", "StatusDetails": "Success",
        "CommandPlugins": [plugin("run", 0, "done")],
    });
    for (name, value) in more.as_object().unwrap() {
        invocation[name] = value.clone();
    }
    invocation
}

fn plugin(name: &str, code: i32, output: &str) -> Value {
    json!({
        "Name": name, "ResponseCode": code, "Output": output,
        "ResponseFinishDateTime": 1_795_312_864.5,
    })
}

fn page(invocations: &[Value], next: Option<&str>) -> Answer {
    let mut body = json!({"CommandInvocations": invocations});
    if let Some(next) = next {
        body["NextToken"] = json!(next);
    }
    json(200, body)
}

const LIST: &str = "ListCommandInvocations";
const INFORMATION: &str = "DescribeInstanceInformation";

fn which(document: &str) -> CommandFilter {
    CommandFilter {
        document: document.into(),
        since: "2026-11-20T02:00:00Z".parse().unwrap(),
        instance: None,
    }
}

#[tokio::test]
async fn commands_of_ours_are_found_on_every_page() {
    let others = [json!({"Comment": "by hand"}), json!({"Comment": null})];
    let first = page(&[invocation(&json!({})), invocation(&others[0])], Some("2"));
    let second = error(500, "InternalServerError");
    let third = page(&[invocation(&others[1]), invocation(&json!({"CommandId": "c-2"}))], Some(""));
    let aws = Script::default().on(LIST, [first, second, third]);
    let found = aws.ec2().await.list_commands(&which("db-scripts")).await.unwrap();
    let ids: Vec<_> = found.iter().map(|it| it.id.0.as_str()).collect();
    assert_eq!(ids, [ID, "c-2"]);
    let one = &found[0];
    assert_eq!((&one.errand, one.instance.as_str()), (&errand(Step::PreScript), INSTANCE));
    assert_eq!(one.document, "db-scripts");
    let lasted = one.finished.unwrap().duration_since(one.requested).as_secs();
    assert!((2..=3).contains(&lasted), "{lasted}");
    let wanted = json!({
        "Details": true, "MaxResults": 50,
        "Filters": [{"key": "InvokedAfter", "value": "2026-11-20T02:00:00Z"},
                    {"key": "DocumentName", "value": "db-scripts"}],
    });
    let sent: Vec<_> = aws.sent(LIST).iter().map(crate::testing::Sent::json).collect();
    assert_eq!((sent.len(), &sent[0]), (3, &wanted));
    assert_eq!(sent[2]["NextToken"], "2");
}

/// By which name AWS files another account's document is not told.
#[tokio::test]
async fn another_accounts_document_is_looked_for_by_both_its_names() {
    let arn = "arn:aws:ssm:eu-central-1:444444444444:document/db-scripts";
    let of = |document: &str| invocation(&json!({"DocumentName": document}));
    let all = ["db-scripts", arn, "other"].map(of);
    let aws = Script::default().on(LIST, [page(&all, None)]);
    let found = aws.ec2().await.list_commands(&which(arn)).await.unwrap();
    assert_eq!(found.len(), 2);
    let filters = aws.sent(LIST)[0].json()["Filters"].as_array().unwrap().len();
    assert_eq!(filters, 1, "since when");
}

#[tokio::test]
async fn what_is_missing_of_a_command_is_not_passed_over() {
    for (member, text) in [
        ("CommandId", "a command with the id"),
        ("InstanceId", "a command on the instance"),
        ("DocumentName", "a command of the document"),
        ("RequestedDateTime", "time"),
    ] {
        let aws = Script::default().on(LIST, [page(&[invocation(&json!({member: null}))], None)]);
        let err = aws.ec2().await.list_commands(&which("db-scripts")).await.unwrap_err();
        assert_no_answer(&err, LIST, text);
    }
    let aws = Script::default().on(LIST, [json(200, json!({}))]);
    let err = aws.ec2().await.list_commands(&which("db-scripts")).await.unwrap_err();
    assert_no_answer(&err, LIST, "CommandInvocations");
}

#[tokio::test]
async fn pages_that_lead_back_are_no_list() {
    let pages = || ["a", "b", "a"].map(|next| page(&[], Some(next)));
    let aws = Script::default().on(LIST, pages());
    let err = aws.ec2().await.list_commands(&which("db-scripts")).await.unwrap_err();
    assert_no_answer(&err, LIST, "page 3 leads back to an earlier one");
    let pages =
        ["a", "a"].map(|next| json(200, json!({"InstanceInformationList": [], "NextToken": next})));
    let aws = Script::default().on("DescribeInstanceInformation", pages);
    let asked = [id(INSTANCE)].into();
    let err = aws.ec2().await.describe_instance_information(&asked).await.unwrap_err();
    assert_no_answer(&err, "DescribeInstanceInformation", "leads back to an earlier one");
}

async fn progress(answer: Answer) -> (Result<Progress, Ec2Error>, Value) {
    let aws = Script::default().on(LIST, [answer]);
    let command = CommandId(ID.into());
    let found = aws.ec2().await.get_command(&command, &id(INSTANCE)).await;
    (found, aws.sent(LIST)[0].json())
}

#[tokio::test]
async fn how_far_a_command_is_says_the_step_that_failed() {
    let long = "x".repeat(600) + "the end";
    for (more, status, details, code, output) in [
        (json!({}), Status::Success, "Success", Some(0), "done"),
        (
            json!({"Status": "Failed", "StatusDetails": "Failed",
                   "CommandPlugins": [plugin("a", 0, "fine"), plugin("b", 201, "bad"), plugin("c", -1, "")]}),
            Status::Failed,
            "Failed",
            Some(201),
            "bad",
        ),
        (
            json!({"Status": "Success", "CommandPlugins": [plugin("a", 0, "one"), plugin("b", 0, "two")]}),
            Status::Success,
            "Success",
            Some(0),
            "two",
        ),
        (
            json!({"Status": "InProgress", "StatusDetails": "In Progress", "CommandPlugins": []}),
            Status::Running,
            "In Progress",
            None,
            "",
        ),
        (
            json!({"Status": "InProgress", "StatusDetails": "InProgress",
                   "CommandPlugins": [plugin("windows", 0, "Step execution skipped due to …")]}),
            Status::Running,
            "InProgress",
            Some(0),
            "Step execution skipped due to …",
        ),
        (
            json!({"Status": "Success", "StatusDetails": "Success",
                   "CommandPlugins": [plugin("windows", 0, "Step execution skipped due to …")]}),
            Status::NeverRan,
            "Success",
            Some(0),
            "Step execution skipped due to …",
        ),
        (
            json!({"Status": "Pending", "StatusDetails": "", "CommandPlugins": [plugin("a", -1, "")]}),
            Status::Running,
            "Pending",
            None,
            "",
        ),
        (
            json!({"Status": "TimedOut", "StatusDetails": "Delivery Timed Out", "CommandPlugins": []}),
            Status::Unclear,
            "Delivery Timed Out",
            None,
            "",
        ),
        (
            json!({"Status": "Failed", "StatusDetails": "Failed", "CommandPlugins": [plugin("a", 1, &long)]}),
            Status::Failed,
            "Failed",
            Some(1),
            &long[long.len() - 200..],
        ),
    ] {
        let (found, asked) = progress(page(&[invocation(&more)], None)).await;
        let wanted = Progress {
            status,
            details: details.into(),
            response_code: code,
            output: output.into(),
        };
        assert_eq!(found.unwrap(), wanted, "{more}");
        let wanted = json!({
            "CommandId": ID, "InstanceId": INSTANCE, "Details": true, "MaxResults": 50,
        });
        assert_eq!(asked, wanted);
    }
}

#[tokio::test]
async fn a_command_that_is_not_listed_yet_is_not_ready() {
    let (found, _) = progress(page(&[], None)).await;
    let text = format!(
        "AWS refused {LIST}: command {ID} is not known on {INSTANCE} yet (InvocationDoesNotExist, request ID none)"
    );
    assert_refused(&found.unwrap_err(), ErrorKind::NotReady, &text);
}

#[tokio::test]
async fn a_command_is_cancelled() {
    let aws = Script::default().on("CancelCommand", [json(200, json!({}))]);
    aws.ec2().await.cancel_command(&CommandId(ID.into())).await.unwrap();
    assert_eq!(aws.sent("CancelCommand")[0].json(), json!({"CommandId": ID}));
}

#[tokio::test]
async fn instances_are_asked_for_a_hundred_at_a_time() {
    let ids: BTreeSet<InstanceId> = (0..201).map(|n| id(&format!("i-{n:017x}"))).collect();
    let known = |n: usize, more: Value| {
        let mut one = json!({"InstanceId": format!("i-{n:017x}"), "PingStatus": "Online",
                             "PlatformType": "Windows", "AgentVersion": "3.3.1"});
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one
    };
    let page = |list: &[Value], next: &str| {
        json(200, json!({"InstanceInformationList": list, "NextToken": next}))
    };
    let bare = json!({"PingStatus": null, "PlatformType": null, "AgentVersion": null});
    let aws = Script::default().on(
        INFORMATION,
        [
            page(&[known(0, json!({}))], "more"),
            error(500, "InternalServerError"),
            page(&[known(1, json!({"PingStatus": "ConnectionLost"}))], ""),
            page(&[], ""),
            page(&[known(200, bare)], ""),
        ],
    );
    let found = aws.ec2().await.describe_instance_information(&ids).await.unwrap();
    let one = |ping_status: &str, platform: &str, agent_version: &str| Managed {
        ping_status: ping_status.into(),
        platform: platform.into(),
        agent_version: agent_version.into(),
    };
    let wanted = [
        (0, one("Online", "Windows", "3.3.1")),
        (1, one("ConnectionLost", "Windows", "3.3.1")),
        (200, one("unknown", "unknown", "unknown")),
    ];
    assert_eq!(found, wanted.map(|(n, it)| (id(&format!("i-{n:017x}")), it)).into());
    let asked: Vec<_> = aws.sent(INFORMATION).iter().map(crate::testing::Sent::json).collect();
    let sizes: Vec<_> =
        asked.iter().map(|it| it["Filters"][0]["Values"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [100, 100, 100, 100, 1]);
    assert_eq!(
        (&asked[0]["Filters"][0]["Key"], &asked[0]["MaxResults"]),
        (&json!("InstanceIds"), &json!(50))
    );
    assert_eq!(asked[2]["NextToken"], "more");
    let aws = Script::default().on(INFORMATION, [page(&[json!({"PingStatus": "Online"})], "")]);
    let err = aws.ec2().await.describe_instance_information(&ids).await.unwrap_err();
    assert_no_answer(&err, INFORMATION, "an instance with the id");
}

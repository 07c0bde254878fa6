use std::sync::{Arc, Mutex};

use aws_config::Region;
use serde_json::json;
use snapferry_core::ec2::Ec2Provider;
use snapferry_core::report::{ActionLine, CoverageLine, ErrorLine, OutcomeName, Report};
use tracing::field::{Field, Visit};
use tracing::span;

use super::*;
use crate::testing::{Answer, REQUEST_ID, Script, Sent, id, json, refused_by_sts};

const PATH: &str = "GetParametersByPath";

fn function(variables: &[(&str, &str)], sdk: SdkConfig) -> Function {
    let function = Function::from_env("rotate-snapshots", |name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    function.sdk.set(sdk).unwrap();
    function
}

fn no_pause(_: SignedDuration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(std::future::ready(()))
}

async fn begin(function: &Function) -> Invocation<'_> {
    let left = Duration::from_mins(1);
    function.begin(left, "0f9b2a6c").await.unwrap()
}

/// What becomes of `POLICIES`.
async fn documents(policies: &str, aws: &Script) -> Result<Documents, Failure> {
    let function = function(&[("POLICIES", policies)], aws.sdk());
    begin(&function).await.documents(&Common::default()).await
}

fn said(result: Result<Documents, Failure>) -> String {
    let failure = result.unwrap_err();
    format!("{}: {}", failure.error_type, failure.message)
}

fn policy(volume: &str) -> serde_json::Value {
    json!({"PolicyDetails": {
        "TargetVolumeIds": [volume], "Schedules": [{"RetainRule": {"Count": 1}}],
    }})
}

fn page(parameters: &[(&str, &str)], next: Option<&str>) -> Answer {
    let parameter = |(name, value): &(&str, &str)| {
        json!({
            "ARN": format!("arn:aws:ssm:eu-central-1:111111111111:parameter{name}"),
            "DataType": "text", "LastModifiedDate": 1_767_607_200.123, "Name": name,
            "Type": "SecureString", "Value": value, "Version": 1,
        })
    };
    let parameters: Vec<_> = parameters.iter().map(parameter).collect();
    json(200, json!({"Parameters": parameters, "NextToken": next}))
}

#[tokio::test]
async fn a_wrong_environment_names_the_variable() {
    let aws = Script::default();
    let text = said(documents("{", &aws).await);
    let want = "InvalidConfiguration: environment variable POLICIES: want policy";
    assert!(text.starts_with(want), "{text}");
    for nothing in ["", " ", "[]"] {
        let text = said(documents(nothing, &aws).await);
        let found = if nothing == "[]" { "no document" } else { "nothing" };
        assert!(text.ends_with(&format!("found {found}")), "{text}");
    }

    let nowhere = SdkConfig::builder().build();
    let failure = function(&[], nowhere).begin(Duration::from_secs(9), "id").await.unwrap_err();
    assert_eq!(failure.error_type, "InvalidConfiguration");
    assert!(failure.message.contains("AWS_REGION"), "{failure:?}");

    let function = function(&[("DELETE_LIMIT", "many")], aws.sdk());
    let Err(failure) = begin(&function).await.limits(&|| false, &|| SignedDuration::MAX, &no_pause)
    else {
        panic!("no limit")
    };
    assert_eq!(failure.error_type, "InvalidConfiguration");
    assert!(failure.message.contains("DELETE_LIMIT: want the most"), "{failure:?}");
    assert_eq!(aws.actions(), [""; 0]);
}

#[tokio::test]
async fn presigned_urls_are_on_or_off() {
    for (text, want) in [("", true), (" ", true), ("on", true), (" off ", false)] {
        let function = function(&[("PRESIGNED_URL", text)], Script::default().sdk());
        let ec2 = crate::testing::home_ec2(&begin(&function).await.aws).await;
        assert_eq!(ec2.presigner.is_some(), want, "{text:?}");
    }
    for text in ["no", "ON", "true", "1"] {
        let function = function(&[("PRESIGNED_URL", text)], Script::default().sdk());
        let failure = function.begin(Duration::from_mins(1), "id").await.unwrap_err();
        assert_eq!(failure.error_type, "InvalidConfiguration");
        let want = format!(
            "environment variable PRESIGNED_URL: want on or off: whether copies of encrypted snapshots \
             carry one, found {text:?}"
        );
        assert_eq!(failure.message, want);
    }
}

#[tokio::test]
async fn a_limit_is_a_number_or_absent() {
    for (text, want) in [(" 7 ", Some(7)), ("0", Some(0)), ("", None)] {
        let function = function(&[("DELETE_LIMIT", text)], Script::default().sdk());
        let limits = begin(&function)
            .await
            .limits(&|| false, &|| SignedDuration::MAX, &no_pause)
            .unwrap()
            .deletions;
        assert_eq!(limits, want);
    }
}

#[tokio::test]
async fn documents_of_the_event_come_before_the_configured_ones() {
    let aws = Script::default();
    let function = function(&[("POLICIES", "{")], aws.sdk());
    let common = Common { policies: Some(vec![policy("vol-00000001")]), ..Common::default() };
    let documents = begin(&function).await.documents(&common).await.unwrap();
    assert_eq!(documents.policies.len(), 1);
    assert!(!documents.whole, "there may be others, so nothing may be taken for abandoned");
}

#[tokio::test]
async fn documents_may_be_in_the_variable() {
    let aws = Script::default();
    let text = policy("vol-00000001").to_string();
    let documents = documents(&text, &aws).await.unwrap();
    assert_eq!(documents.policies[0].name, "default");
    assert!(documents.whole);
    assert_eq!(aws.actions(), [""; 0]);
}

#[tokio::test]
async fn every_parameter_below_the_path_is_a_document() {
    let (one, two) = (policy("vol-00000001").to_string(), policy("vol-00000002").to_string());
    let throttled = json(400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}));
    let aws = Script::default().on(
        PATH,
        [
            page(&[("/snapferry/policies/daily", &one)], Some("2")),
            throttled,
            page(&[], Some("3")),
            page(
                &[("/snapferry/policies/eu/weekly", &two), ("/snapferry/policies/bad", "{")],
                None,
            ),
        ],
    );
    let documents = documents("ssm:/snapferry/policies", &aws).await.unwrap();
    let names: Vec<_> = documents.policies.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["daily", "weekly"]);
    assert_eq!(documents.invalid.len(), 1, "one wrong document stops no other");
    assert!(documents.whole);
    let sent = aws.sent(PATH);
    let asked = |token: Option<&str>| {
        let mut body = json!({
            "Path": "/snapferry/policies/", "Recursive": true, "WithDecryption": true,
            "MaxResults": 10,
        });
        if let Some(token) = token {
            body["NextToken"] = token.into();
        }
        body
    };
    let bodies: Vec<_> = sent.iter().map(Sent::json).collect();
    assert_eq!(bodies, [asked(None), asked(Some("2")), asked(Some("2")), asked(Some("3"))]);
    assert_eq!(sent[0].host, "ssm.eu-central-1.amazonaws.com");
    assert!(sent[0].headers["authorization"].contains("Credential=AKIAOWN/"));
}

#[tokio::test]
async fn a_path_that_cannot_be_read_gives_no_documents_at_all() {
    let one = policy("vol-00000001").to_string();
    let message = "User is not authorized to perform: ssm:GetParametersByPath";
    let aws = Script::default().on(
        PATH,
        [
            page(&[("/p/daily", &one)], Some("2")),
            json(400, json!({"__type": "AccessDeniedException", "message": message})),
        ],
    );
    assert_eq!(
        said(documents("ssm:/p/", &aws).await),
        "InvalidConfiguration: environment variable POLICIES: cannot be read: AWS refused \
         GetParametersByPath: User is not authorized to perform: ssm:GetParametersByPath \
         (AccessDeniedException, request ID 59dbff89-35bd-4eac-99ed-be587EXAMPLE)"
    );
    let aws = Script::default().on(PATH, [page(&[], None)]);
    let text = said(documents("ssm:/p/", &aws).await);
    assert!(text.ends_with("found no document"), "{text}");
}

#[tokio::test]
async fn documents_of_which_some_may_be_missing_are_none() {
    let one = policy("vol-00000001").to_string();
    let first = || page(&[("/p/daily", &one)], Some("2"));
    for (answers, text) in [
        (vec![first(), first()], "page 2 leads back to an earlier one"),
        (vec![first(), Answer::Http(200, String::new())], "the answer has no \"Parameters\""),
        (
            vec![first(), json(200, json!({"Parameters": [{"Value": one}]}))],
            "the answer has a parameter with the name \"\"",
        ),
        (
            vec![json(200, json!({"Parameters": [{"Name": "/p/daily"}]}))],
            "the answer has no value of the parameter \"/p/daily\"",
        ),
    ] {
        let aws = Script::default().on(PATH, answers);
        let said = said(documents("ssm:/p/", &aws).await);
        let want = format!("POLICIES: cannot be read: no answer to {PATH}: {text}");
        assert!(said.ends_with(&want), "{said}");
    }
}

#[tokio::test]
async fn a_document_on_two_pages_is_there_once() {
    let one = policy("vol-00000001").to_string();
    let aws = Script::default()
        .on(PATH, [page(&[("/p/daily", &one)], Some("2")), page(&[("/p/daily", &one)], None)]);
    let documents = documents("ssm:/p/", &aws).await.unwrap();
    assert_eq!(documents.snapshot_policies().len(), 1);
    assert!(documents.invalid.is_empty());
}

#[tokio::test]
async fn a_path_that_is_never_answered_ends_before_the_invocation_does() {
    let aws = Script::default().on(PATH, [Answer::Never]);
    let function = function(&[("POLICIES", "ssm:/p/")], aws.sdk());
    let begun = function.begin(Duration::from_millis(300), "id").await.unwrap();
    let text = said(begun.documents(&Common::default()).await);
    let want = "POLICIES: cannot be read: no answer to GetParametersByPath: deadline has elapsed";
    assert!(text.ends_with(want), "{text}");
    assert!(begun.is_out_of_time()());
}

#[tokio::test]
async fn every_invocation_uses_the_configuration_of_the_first() {
    let sdk = Script::default().sdk().into_builder();
    let function = function(&[], sdk.region(Region::new("eu-west-1")).build());
    for _ in 0..2 {
        let invocation = begin(&function).await;
        assert!(!invocation.is_out_of_time()(), "of its minute");
        let home = invocation.aws.own_config().region().cloned();
        assert_eq!(home, Some(Region::new("eu-west-1")));
    }
}

#[tokio::test]
async fn a_pause_is_as_long_as_asked_and_no_longer_than_there_is_time() {
    let function = function(&[], Script::default().sdk());
    let begun = std::time::Instant::now();
    begin(&function).await.pause()(SignedDuration::from_millis(20)).await;
    assert!(begun.elapsed() >= Duration::from_millis(20));

    let invocation = function.begin(Duration::from_millis(25), "id").await.unwrap();
    let pause = invocation.pause();
    let fifteen_seconds = pause(SignedDuration::from_secs(15));
    tokio::time::timeout(Duration::from_secs(9), fifteen_seconds).await.unwrap();
    assert!(invocation.is_out_of_time()());

    let no_time = pause(SignedDuration::from_secs(-1));
    tokio::time::timeout(Duration::from_secs(9), no_time).await.unwrap();
}

fn run(failed: bool) -> Run {
    let mut report = Report::new(false);
    report.actions.push(ActionLine {
        step: None,
        document_name: None,
        command_id: None,
        stands_still: false,
        not_app_consistent: 0,
        action: "CreateSnapshot",
        account: id("222222222222"),
        region: id("eu-central-1"),
        policy: "daily".into(),
        schedule: "nightly".into(),
        slot: None,
        volume_id: Some(id("vol-00000001")),
        instance_id: None,
        snapshot_ids: Vec::new(),
        operation_type: None,
        snapshot_id: None,
        source_snapshot_id: None,
        reason: "no snapshot for this slot".into(),
        outcome: if failed { OutcomeName::Failed } else { OutcomeName::Done },
        error: failed.then(|| ErrorLine {
            kind: "AccessDenied".into(),
            code: "UnauthorizedOperation".into(),
            message: "AWS refused CreateSnapshot".into(),
            request_id: REQUEST_ID.into(),
        }),
    });
    report.counts.insert("CreateSnapshot", usize::from(!failed));
    report.counts.insert("Failed", usize::from(failed));
    Run {
        report,
        invalid: Vec::new(),
        unreadable: Vec::new(),
        unreadable_units: Vec::new(),
        violations: Vec::new(),
        n_withheld: 0,
        full_copies: None,
        is_of_a_list: false,
    }
}

/// Keeps what is logged, field by field.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let text = format!("{} ", event.metadata().level());
        self.0.lock().unwrap().push_str(&text);
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Log {
    fn record_str(&mut self, field: &Field, value: &str) {
        let text = format!("{field}={value}\n");
        self.0.lock().unwrap().push_str(&text);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

async fn finish(run: Run) -> (Result<serde_json::Value, Failure>, String) {
    let function = function(&[], Script::default().sdk());
    let invocation = begin(&function).await;
    let log = Log::default();
    let answer = tracing::subscriber::with_default(log.clone(), || {
        invocation.finish(run, &["daily".to_owned()], Timestamp::UNIX_EPOCH)
    });
    let logged = log.0.lock().unwrap().clone();
    (answer, logged)
}

#[tokio::test]
async fn a_run_that_nobody_has_to_act_on_answers_its_report() {
    let (answer, logged) = finish(run(false)).await;
    assert_eq!(
        answer.unwrap(),
        json!({
            "Status": "Succeeded", "DryRun": false,
            "Actions": [{
                "Action": "CreateSnapshot", "Account": "222222222222", "Region": "eu-central-1",
                "Policy": "daily", "Schedule": "nightly", "VolumeId": "vol-00000001",
                "Reason": "no snapshot for this slot", "Outcome": "Done",
            }],
            "Held": [], "Coverage": [],
            "Counts": {"CreateSnapshot": 1, "Deferred": 0, "Failed": 0, "Held": 0},
        })
    );
    assert!(logged.contains("INFO message=run ended\n"), "{logged}");
    assert!(logged.contains("n_created=1\n"), "{logged}");
    assert!(!logged.contains("ERROR"), "{logged}");
}

#[tokio::test]
async fn the_least_protected_volumes_are_logged_but_not_by_dry_runs() {
    let covered = |dry_run: bool| {
        let mut run = run(false);
        run.report.dry_run = dry_run;
        run.report.coverage.push(CoverageLine {
            volume_id: "vol-00000001".parse().unwrap(),
            account: "222222222222".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            policy: "daily".into(),
            newest_completed: Some("2026-11-21T02:15:07Z".into()),
            age_minutes: Some(1440),
            unprotected_minutes: Some(1440),
        });
        run
    };
    let (_, logged) = finish(covered(false)).await;
    let line = "INFO message=least protected\naccount=222222222222\nregion=eu-central-1\n\
                policy=daily\nvolume_id=vol-00000001\n";
    assert!(logged.contains(line), "{logged}");
    assert!(logged.contains("newest_completed=2026-11-21T02:15:07Z\n"), "{logged}");
    let (_, logged) = finish(covered(true)).await;
    assert!(!logged.contains("least protected"), "{logged}");
}

#[tokio::test]
async fn a_run_that_somebody_has_to_act_on_fails_and_logs_its_report() {
    let (answer, logged) = finish(run(true)).await;
    let failure = answer.unwrap_err();
    assert_eq!(failure.error_type, "ActionsFailed");
    let message =
        "CreateSnapshot of vol-00000001 in 222222222222/eu-central-1: AWS refused CreateSnapshot";
    assert_eq!(failure.message, message);
    assert!(logged.contains("INFO message=run ended\n"), "{logged}");
    assert!(logged.contains("n_failed=1\n"), "{logged}");
    assert!(logged.contains("ERROR message=run failed\n"), "{logged}");
    assert!(logged.contains("error_type=ActionsFailed\n"), "{logged}");
    assert!(logged.contains(&format!("error={message}\n")), "{logged}");
    let report = logged.split("report=").nth(1).unwrap().lines().next().unwrap();
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["Actions"][0]["Error"]["RequestId"], REQUEST_ID);
}

#[tokio::test]
async fn a_report_that_is_too_long_for_the_log_is_cut_and_its_counts_stay() {
    let mut run = run(true);
    let line = run.report.actions[0].clone();
    run.report.actions = vec![line; 2_000];
    run.report.counts.insert("Failed", 2_000);
    let (answer, logged) = finish(run).await;
    assert!(answer.unwrap_err().message.ends_with("and 1980 more, which the log names"));
    assert!(logged.len() < 256 * 1024, "CloudWatch takes no longer event: {}", logged.len());
    assert!(logged.contains("\"Truncated\":true"));
    assert!(logged.contains("\"Failed\":2000"));
}

#[tokio::test]
async fn an_account_that_cannot_be_told_is_a_scope_that_cannot_be_read() {
    let refusal = refused_by_sts(403, "AccessDenied", "No.");
    let aws = Script::default().on("GetCallerIdentity", [refusal]);
    let err = aws.aws().account().await.unwrap_err();
    let failure = Invocation::unreadable(&err);
    assert_eq!(failure.error_type, "ScopesUnreadable");
    let want =
        format!("AWS refused GetCallerIdentity: No. (AccessDenied, request ID {REQUEST_ID})");
    assert_eq!(failure.message, want);
}

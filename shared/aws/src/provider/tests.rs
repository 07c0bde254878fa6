use std::time::{Duration, Instant};

use snapferry_core::chain::Chain;
use snapferry_core::ec2::{CreateSnapshot, Ec2, ErrorKind, ExternalId, VolumeFilter};

use super::*;
use crate::testing::{
    Answer, REQUEST_ID, Script, cut, home_ec2, id, invocation, ok, refused_by_sts, throttled,
};

const ROLE: &str = "arn:aws:iam::222222222222:role/snapferry-member";
const CALLER: &str = "arn:aws:sts::111111111111:assumed-role/snapferry/rotate";

fn member() -> Access {
    Access { role_arn: Some(id(ROLE)), external_id: Some(ExternalId("seat 7+1/é".into())) }
}

fn assumed() -> Answer {
    let members = "<AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId>\
        <Arn>arn:aws:sts::222222222222:assumed-role/snapferry-member/s</Arn></AssumedRoleUser>\
        <Credentials><AccessKeyId>ASIAMEMBER</AccessKeyId>\
        <SecretAccessKey>secret</SecretAccessKey><SessionToken>token-of-member==</SessionToken>\
        <Expiration>2026-11-22T03:00:00Z</Expiration></Credentials></AssumeRoleResult>";
    ok("AssumeRole", members)
}

fn identity() -> Answer {
    let members = format!(
        "<GetCallerIdentityResult><Arn>{CALLER}</Arn><UserId>AROA:rotate</UserId>\
         <Account>111111111111</Account></GetCallerIdentityResult>"
    );
    ok("GetCallerIdentity", &members)
}

fn volumes() -> Answer {
    ok("DescribeVolumes", "<volumeSet/>")
}

async fn look(ec2: &AwsEc2) {
    let which = VolumeFilter::TagKeys(["Backup".to_owned()].into());
    ec2.describe_volumes(&which).await.unwrap();
}

#[tokio::test]
async fn a_role_is_assumed_once_for_regions_that_connect_at_the_same_time() {
    let script = Script::default()
        .on("AssumeRole", [assumed()])
        .on("DescribeVolumes", [volumes(), volumes(), volumes()]);
    let aws = script.aws();
    let access = member();
    let (frankfurt, ireland) = (id("eu-central-1"), id("eu-west-1"));
    let (one, two) = tokio::join!(aws.connect(&access, &frankfurt), aws.connect(&access, &ireland));
    look(&one.unwrap()).await;
    look(&two.unwrap()).await;
    look(&aws.connect(&access, &ireland).await.unwrap()).await;
    assert_eq!(script.sent("AssumeRole").len(), 1);

    let sent = &script.sent("AssumeRole")[0];
    assert_eq!(sent.host, "sts.eu-central-1.amazonaws.com");
    let signature = &sent.headers["authorization"];
    assert!(signature.contains("Credential=AKIAOWN/"), "{signature}");
    assert_eq!(
        sent.parameters(),
        [
            "DurationSeconds=3600",
            "ExternalId=seat 7+1/é",
            &format!("RoleArn={ROLE}"),
            "RoleSessionName=snapferry-0f9b2a6c",
        ]
    );
    let sent = script.sent("DescribeVolumes");
    for (sent, region) in sent.iter().zip(["eu-central-1", "eu-west-1", "eu-west-1"]) {
        let signature = &sent.headers["authorization"];
        assert!(signature.contains("Credential=ASIAMEMBER/"), "{signature}");
        assert!(signature.contains(&format!("/{region}/ec2/aws4_request")), "{signature}");
        assert_eq!(sent.headers["x-amz-security-token"], "token-of-member==");
        assert_eq!(sent.host, format!("ec2.{region}.amazonaws.com"));
    }
}

#[tokio::test]
async fn other_roles_and_other_external_ids_are_assumed_for_themselves() {
    let script = Script::default().on("AssumeRole", [assumed(), assumed(), assumed()]);
    let aws = script.aws();
    let bare = Access { external_id: None, ..member() };
    let role = id("arn:aws:iam::333333333333:role/snapferry-member");
    let other = Access { role_arn: Some(role), external_id: None };
    for access in [&member(), &bare, &other, &bare, &other] {
        aws.connect(access, &aws.home()).await.unwrap();
    }
    let sent = script.sent("AssumeRole");
    assert_eq!(sent.len(), 3);
    for sent in &sent[1..] {
        let parameters = sent.parameters();
        assert!(!parameters.iter().any(|it| it.starts_with("ExternalId")), "{parameters:?}");
    }
}

#[tokio::test]
async fn the_own_account_needs_no_role() {
    let script =
        Script::default().on("DescribeVolumes", [volumes()]).on("GetCallerIdentity", [identity()]);
    let aws = script.aws();
    look(&aws.connect(&Access::default(), &id("eu-west-1")).await.unwrap()).await;
    assert_eq!(aws.account().await.unwrap(), id("111111111111"));
    assert_eq!(aws.account().await.unwrap(), id("111111111111"));
    assert_eq!(aws.home(), id("eu-central-1"));
    assert_eq!(script.actions(), ["DescribeVolumes", "GetCallerIdentity"]);
    let sent = &script.sent("DescribeVolumes")[0];
    assert!(sent.headers["authorization"].contains("Credential=AKIAOWN/"));
    assert!(!sent.headers.contains_key("x-amz-security-token"));
}

#[tokio::test]
async fn who_is_calling_is_asked_once_with_its_account() {
    let script = Script::default().on("GetCallerIdentity", [identity()]);
    let aws = script.aws();
    assert_eq!(aws.caller().await.unwrap(), CALLER);
    assert_eq!(aws.account().await.unwrap(), id("111111111111"));
    assert_eq!(aws.caller().await.unwrap(), CALLER);
    assert_eq!(script.actions(), ["GetCallerIdentity"]);
}

#[tokio::test]
async fn a_caller_that_sts_does_not_tell_is_an_error_and_asked_for_again() {
    let bare = "<GetCallerIdentityResult><Account>111111111111</Account></GetCallerIdentityResult>";
    let answers = [refused_by_sts(403, "AccessDenied", "No."), ok("GetCallerIdentity", bare)];
    let script = Script::default().on("GetCallerIdentity", answers);
    let aws = script.aws();
    let err = aws.caller().await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::AccessDenied);
    let want =
        format!("AWS refused GetCallerIdentity: No. (AccessDenied, request ID {REQUEST_ID})");
    assert_eq!(Chain(&err).to_string(), want);
    // Only messages use it: an answer without the ARN must not stop a run.
    assert_eq!(aws.caller().await.unwrap(), "an unknown principal");
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_says_what_to_check() {
    let message =
        format!("User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {ROLE}");
    let refusal = || refused_by_sts(403, "AccessDenied", &message);
    let script = Script::default()
        .on("AssumeRole", [refusal(), refusal()])
        .on("GetCallerIdentity", [identity()]);
    let aws = script.aws();
    let err = aws.connect(&member(), &aws.home()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::AccessDenied);
    assert_eq!(err.code(), Some(("AccessDenied", REQUEST_ID)));
    assert_eq!(
        Chain(&err).to_string(),
        "cannot assume arn:aws:iam::222222222222:role/snapferry-member in account 222222222222 as \
         arn:aws:sts::111111111111:assumed-role/snapferry/rotate: check that the role exists, that \
         its trust policy names this principal and the ExternalId of the policy document, and that \
         no service control policy or permissions boundary forbids sts:AssumeRole: AWS refused \
         AssumeRole: User: arn:aws:sts::111111111111:assumed-role/snapferry/rotate is not \
         authorized to perform: sts:AssumeRole on resource: \
         arn:aws:iam::222222222222:role/snapferry-member (AccessDenied, request ID \
         59dbff89-35bd-4eac-99ed-be587EXAMPLE)"
    );
    assert!(!format!("{err:?}").contains("seat 7"), "the external id is a secret: {err:?}");

    let bare = Access { external_id: None, ..member() };
    let err = aws.connect(&bare, &aws.home()).await.unwrap_err();
    let text = Chain(&err).to_string();
    assert!(text.contains("principal (the document gives no ExternalId), and that no"), "{text}");
    assert_eq!(script.sent("GetCallerIdentity").len(), 1);
}

#[tokio::test]
async fn who_tried_is_said_as_far_as_it_is_known() {
    let refusal = || refused_by_sts(403, "AccessDenied", "No.");
    let script =
        Script::default().on("AssumeRole", [refusal()]).on("GetCallerIdentity", [refusal()]);
    let aws = script.aws();
    let err = aws.connect(&member(), &aws.home()).await.unwrap_err();
    let text = Chain(&err).to_string();
    let want = " as a principal that GetCallerIdentity does not tell: check that";
    assert!(text.contains(want), "{text}");
    assert!(text.ends_with(&format!("AssumeRole: No. (AccessDenied, request ID {REQUEST_ID})")));
}

#[tokio::test]
async fn sts_is_asked_again_after_a_fault() {
    let throttled = refused_by_sts(400, "Throttling", "Rate exceeded");
    let script = Script::default()
        .on("AssumeRole", [Answer::Reset, throttled, assumed()])
        .on("GetCallerIdentity", [Answer::TimedOut, identity()]);
    let aws = script.aws();
    aws.connect(&member(), &aws.home()).await.unwrap();
    aws.account().await.unwrap();
    assert_eq!(script.actions().len(), 5);
}

#[tokio::test]
async fn a_role_that_was_refused_may_be_tried_again_by_the_next_region() {
    let refusal = refused_by_sts(403, "RegionDisabledException", "STS is not activated.");
    let script = Script::default()
        .on("AssumeRole", [refusal, assumed()])
        .on("GetCallerIdentity", [identity()]);
    let aws = script.aws();
    let err = aws.connect(&member(), &aws.home()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::RegionDisabled);
    aws.connect(&member(), &aws.home()).await.unwrap();
}

#[tokio::test]
async fn sts_answers_that_cannot_be_are_none() {
    let empty = |action| ok(action, &format!("<{action}Result/>"));
    let cut = cut(&assumed(), "</AssumeRoleResponse>");
    let script = Script::default()
        .on("AssumeRole", [empty("AssumeRole")])
        .on("AssumeRole", vec![cut; 5])
        .on("GetCallerIdentity", [empty("GetCallerIdentity"), identity()]);
    let aws = script.aws();
    let err = aws.account().await.unwrap_err();
    let want = "no answer to GetCallerIdentity: the answer has the account \"\"";
    assert_eq!(Chain(&err).to_string(), want);

    let err = aws.connect(&member(), &aws.home()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NoAnswer);
    let text = Chain(&err).to_string();
    let want = format!("the answer has no credentials for \"{ROLE}\"");
    assert!(text.contains(&want), "{text}");

    let err = aws.connect(&member(), &aws.home()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NoAnswer);
    for text in [format!("{err:?}"), Chain(&err).to_string()] {
        assert!(!text.contains("token-of-member"), "a secret: {text}");
    }
}

#[test]
fn a_session_name_is_what_sts_takes() {
    for (request_id, name) in [
        ("8476a536-e9f4-11e8-9739-2dfe598c3fcd", "snapferry-8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("", "snapferry-"),
        ("a b/c:é_+=,.@-", "snapferry-a-b-c--_+=,.@-"),
    ] {
        assert_eq!(session_name(request_id), name);
    }
    assert_eq!(session_name(&"x".repeat(99)).len(), 64);
}

#[tokio::test]
async fn another_endpoint_is_used_for_everything() {
    let script = Script::default()
        .on("AssumeRole", [assumed()])
        .on("GetCallerIdentity", [identity()])
        .on("DescribeVolumes", [volumes()])
        .on("DescribeKey", [Answer::Http(400, "{\"__type\":\"NotFoundException\"}".into())]);
    let local = "http://127.0.0.1:4566";
    let sdk = script.sdk().into_builder().endpoint_url(local).build();
    let aws = invocation(sdk, Duration::from_mins(1));
    aws.account().await.unwrap();
    let ec2 = aws.connect(&member(), &id("eu-west-1")).await.unwrap();
    look(&ec2).await;
    ec2.describe_key("alias/vault").await.unwrap_err();
    for action in ["AssumeRole", "GetCallerIdentity", "DescribeVolumes", "DescribeKey"] {
        assert_eq!(script.sent(action)[0].host, "127.0.0.1:4566", "{action}");
    }
}

/// The deadline comes before this many answers that never come.
async fn in_time<T>(aws: impl Future<Output = Result<T, Ec2Error>>) -> Ec2Error {
    let begun = Instant::now();
    let Err(err) = aws.await else { panic!("an answer that never came") };
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(err.kind(), ErrorKind::NoAnswer);
    err
}

/// A client that has 300 ms for answers that never come.
async fn never(action: &'static str) -> (Script, Aws, AwsEc2) {
    let script = Script::default().on(action, [Answer::Never]);
    let aws = invocation(script.sdk(), Duration::from_millis(300));
    let ec2 = home_ec2(&aws).await;
    (script, aws, ec2)
}

#[tokio::test]
async fn a_creation_that_is_never_answered_ends_before_the_invocation_does() {
    let begun = Instant::now();
    let (_, aws, ec2) = never("CreateSnapshot").await;
    let request = CreateSnapshot {
        volume: id("vol-00000001"),
        description: String::new(),
        tags: [("a".to_owned(), "1".to_owned())].into(),
    };
    let err = in_time(ec2.create_snapshot(&request)).await;
    assert!(begun.elapsed() >= Duration::from_millis(280), "it was given its time");
    assert!(aws.deadline().is_over());
    let want = "no answer to CreateSnapshot: deadline has elapsed";
    assert_eq!(Chain(&err).to_string(), want);
}

#[tokio::test]
async fn a_question_that_is_never_answered_ends_before_the_invocation_does() {
    let (_, _, ec2) = never("DescribeVolumes").await;
    in_time(ec2.describe_volumes(&VolumeFilter::Ids([id("vol-00000001")].into()))).await;
    let (_, _, ec2) = never("DescribeKey").await;
    in_time(ec2.describe_key("alias/vault")).await;
}

#[tokio::test]
async fn an_sts_that_never_answers_ends_before_the_invocation_does() {
    let (_, aws, _) = never("GetCallerIdentity").await;
    in_time(aws.account()).await;
    let (script, aws, _) = never("AssumeRole").await;
    let _ = script.on("GetCallerIdentity", [Answer::Never]);
    let err = in_time(aws.connect(&member(), &id("eu-west-1"))).await;
    let text = Chain(&err).to_string();
    assert!(text.ends_with("no answer to AssumeRole: deadline has elapsed"), "{text}");
}

#[tokio::test]
async fn throttling_does_not_use_up_the_retries_of_a_scope() {
    const CALLS: usize = 60;
    let four_times = || std::iter::repeat_n(throttled(), 4).chain([volumes()]);
    let script = Script::default()
        .on("DescribeVolumes", std::iter::repeat_with(four_times).take(CALLS).flatten());
    let ec2 = home_ec2(&script.aws()).await;
    for _ in 0..CALLS {
        look(&ec2).await; // the SDK's own allowance ends after a hundred retries
    }
    assert_eq!(script.sent("DescribeVolumes").len(), 5 * CALLS);
}

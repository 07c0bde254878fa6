use std::time::Duration;

use aws_smithy_types::timeout::TimeoutConfig;
use snapferry_core::ec2::{CreateSnapshot, Ec2, ErrorKind};
use snapferry_core::policy::Tags;

use super::{assert_no_answer, assert_refused};
use crate::testing::{
    Answer, REQUEST_ID, Script, broken, cut, home_ec2, id, invocation, ok, refused, throttled,
};

fn request() -> CreateSnapshot {
    let tag = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    CreateSnapshot {
        volume: id("vol-0123456789abcdef0"),
        description: "Created for policy: daily & more=100% +ä".into(),
        tags: [("snapferry:slot", "2026-11-22T02:00:00Z"), ("Name", "web 1"), ("empty", "")]
            .map(tag)
            .into_iter()
            .collect::<Tags>(),
    }
}

fn created() -> Answer {
    let members = "<snapshotId>snap-0a1b2c3d4e5f60718</snapshotId>\
        <volumeId>vol-0123456789abcdef0</volumeId><status>pending</status>\
        <startTime>2026-11-22T02:00:07.123Z</startTime><progress/>\
        <ownerId>012345678901</ownerId><volumeSize>8</volumeSize>";
    ok("CreateSnapshot", members)
}

#[tokio::test]
async fn the_snapshot_is_made_with_its_tags_in_one_call() {
    let aws = Script::default().on("CreateSnapshot", [created()]);
    let made = aws.ec2().await.create_snapshot(&request()).await.unwrap();
    assert_eq!(made, id("snap-0a1b2c3d4e5f60718"));
    assert_eq!(aws.actions(), ["CreateSnapshot"]);
    let sent = &aws.sent("CreateSnapshot")[0];
    assert_eq!(sent.method, "POST");
    assert_eq!(sent.host, "ec2.eu-central-1.amazonaws.com");
    assert!(sent.body.starts_with("Action=CreateSnapshot&Version=2016-11-15&"), "{}", sent.body);
    assert_eq!(
        sent.parameters(),
        [
            "Description=Created for policy: daily & more=100% +ä",
            "TagSpecification.1.ResourceType=snapshot",
            "TagSpecification.1.Tag.1.Key=Name",
            "TagSpecification.1.Tag.1.Value=web 1",
            "TagSpecification.1.Tag.2.Key=empty",
            "TagSpecification.1.Tag.2.Value=",
            "TagSpecification.1.Tag.3.Key=snapferry:slot",
            "TagSpecification.1.Tag.3.Value=2026-11-22T02:00:00Z",
            "VolumeId=vol-0123456789abcdef0",
        ]
    );
}

#[tokio::test]
async fn throttled_twice_it_is_sent_again_and_makes_one() {
    let aws = Script::default().on("CreateSnapshot", [throttled(), throttled(), created()]);
    let made = aws.ec2().await.create_snapshot(&request()).await.unwrap();
    assert_eq!(made, id("snap-0a1b2c3d4e5f60718"));
    let sent = aws.sent("CreateSnapshot");
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|it| it.body == sent[0].body));
}

#[tokio::test]
async fn throttled_five_times_it_is_left_to_the_next_run() {
    let aws = Script::default().on("CreateSnapshot", vec![throttled(); 5]);
    let err = aws.ec2().await.create_snapshot(&request()).await.unwrap_err();
    assert!(err.kind().passes());
    assert_refused(
        &err,
        ErrorKind::Throttled,
        "AWS refused CreateSnapshot: Request limit exceeded. (RequestLimitExceeded, request ID \
         59dbff89-35bd-4eac-99ed-be587EXAMPLE)",
    );
}

#[tokio::test]
async fn where_it_may_have_happened_it_is_sent_once() {
    let page = "<html><body><h1>503 Service Unavailable</h1></body></html>";
    for (answer, text) in [
        (Answer::TimedOut, "no byte for 20 s"),
        (Answer::Reset, "connection reset by peer"),
        (broken(), REQUEST_ID),
        (refused(503, "Unavailable", "The server is overloaded."), "The server is overloaded."),
        (refused(500, "CodeOfTomorrow", "Whatever."), "CodeOfTomorrow"),
        (refused(400, "InternalFailure", "Odd."), "InternalFailure"),
        (Answer::Http(503, page.into()), "CreateSnapshot: HTTP status 503: "),
        (Answer::Http(502, String::new()), "CreateSnapshot: HTTP status 502: "),
        // What is left of its id is a whole id, of an older form.
        (cut(&created(), "4e5f60718"), "the answer breaks off after "),
        (Answer::Http(200, String::new()), "the answer breaks off after 0 bytes"),
        (
            Answer::Http(200, page.into()),
            "the answer is a <html> and not a <CreateSnapshotResponse>",
        ),
        (ok("CreateSnapshot", ""), "the answer has the snapshot \"\""),
    ] {
        let aws = Script::default().on("CreateSnapshot", [answer.clone()]);
        let err = aws.ec2().await.create_snapshot(&request()).await.unwrap_err();
        assert_eq!(aws.actions(), ["CreateSnapshot"], "{answer:?}");
        assert_no_answer(&err, "CreateSnapshot", text);
    }
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_not_repeated() {
    let aws = Script::default().on("CreateSnapshot", [Answer::Never]);
    let soon =
        TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300)).build();
    let sdk = aws.sdk().into_builder().timeout_config(soon).build();
    let ec2 = home_ec2(&invocation(sdk, Duration::from_mins(1))).await;
    let err = ec2.create_snapshot(&request()).await.unwrap_err();
    assert_eq!(aws.actions(), ["CreateSnapshot"]);
    assert_no_answer(&err, "CreateSnapshot", "timeout");
}

#[tokio::test]
async fn a_refusal_brings_awss_words_and_the_request_id_of_the_header() {
    let message = "You are not authorized to perform this operation. User: arn:aws:sts::\
        111111111111:assumed-role/snapferry/rotate is not authorized to perform: ec2:CreateSnapshot";
    let answer = refused(403, "UnauthorizedOperation", message);
    let aws = Script::default().on("CreateSnapshot", [answer]);
    let err = aws.ec2().await.create_snapshot(&request()).await.unwrap_err();
    let code = ("UnauthorizedOperation", "59dbff89-35bd-4eac-99ed-be587EXAMPLE");
    assert_eq!(err.code(), Some(code));
    assert_refused(
        &err,
        ErrorKind::AccessDenied,
        &format!(
            "AWS refused CreateSnapshot: {message} (UnauthorizedOperation, request ID \
             59dbff89-35bd-4eac-99ed-be587EXAMPLE)"
        ),
    );
}

#[tokio::test]
async fn a_quota_is_not_tried_again_within_the_run() {
    for code in [
        "SnapshotCreationPerVolumeRateExceeded",
        "ConcurrentSnapshotLimitExceeded",
        "PendingSnapshotLimitExceeded",
    ] {
        let answer = refused(400, code, "The maximum per volume has been exceeded.");
        let aws = Script::default().on("CreateSnapshot", [answer]);
        let err = aws.ec2().await.create_snapshot(&request()).await.unwrap_err();
        assert_eq!(aws.actions(), ["CreateSnapshot"]);
        assert_eq!(err.kind(), ErrorKind::QuotaExceeded);
    }
}

#[tokio::test]
async fn the_throttling_of_one_client_costs_another_no_retries() {
    let storm = 26 * 5; // the SDK's allowance is 500, a retry after throttling takes 5, so 25 calls empty it
    let aws = Script::default().on("CreateSnapshot", vec![throttled(); storm]);
    let one = aws.ec2().await;
    while aws.sent("CreateSnapshot").len() < storm - 4 {
        one.create_snapshot(&request()).await.unwrap_err();
    }
    let other = Script::default().on("CreateSnapshot", [throttled(), created()]);
    other.ec2().await.create_snapshot(&request()).await.unwrap();
}

use std::time::Duration;

use aws_smithy_types::timeout::TimeoutConfig;
use snapferry_core::ec2::{CreateSnapshots, Ec2, ErrorKind};
use snapferry_core::ids::SnapshotId;

use super::{assert_no_answer, assert_refused};
use crate::testing::{
    Answer, REQUEST_ID, Script, broken, cut, home_ec2, id, ids, invocation, ok, refused, throttled,
};

const ACTION: &str = "CreateSnapshots";

fn request() -> CreateSnapshots {
    CreateSnapshots {
        script: None,
        instance: id("i-0123456789abcdef0"),
        volumes: ids(&["vol-00000001", "vol-00000002"]),
        exclude_boot_volume: true,
        exclude_data_volumes: ids(&["vol-00000004", "vol-00000003"]),
        description: "Created for policy: daily".into(),
        copy_tags: true,
        tags: [("snapferry:slot".to_owned(), "2026-11-22T02:00:00Z".to_owned())].into(),
    }
}

fn item(snapshot: &str, volume: &str) -> String {
    format!(
        "<item><description>Created for policy: daily</description><tagSet/>\
         <encrypted>false</encrypted><volumeId>{volume}</volumeId><state>pending</state>\
         <volumeSize>8</volumeSize><startTime>2026-11-22T02:00:07.123Z</startTime><progress/>\
         <ownerId>012345678901</ownerId><snapshotId>{snapshot}</snapshotId></item>"
    )
}

fn answer(items: &str) -> Answer {
    ok(ACTION, &format!("<snapshotSet>{items}</snapshotSet>"))
}

fn created() -> Answer {
    let one = item("snap-0a1b2c3d4e5f60718", "vol-00000001");
    answer(&(one + &item("snap-0a1b2c3d4e5f60719", "vol-00000002")))
}

fn made() -> Vec<SnapshotId> {
    ids(&["snap-0a1b2c3d4e5f60718", "snap-0a1b2c3d4e5f60719"])
}

#[tokio::test]
async fn the_snapshots_are_made_with_their_tags_in_one_call() {
    let aws = Script::default().on(ACTION, [created()]);
    assert_eq!(aws.ec2().await.create_snapshots(&request()).await.unwrap(), made());
    assert_eq!(aws.actions(), [ACTION]);
    assert_eq!(
        aws.sent(ACTION)[0].parameters(),
        [
            "CopyTagsFromSource=volume",
            "Description=Created for policy: daily",
            "InstanceSpecification.ExcludeBootVolume=true",
            "InstanceSpecification.ExcludeDataVolumeId.1=vol-00000003",
            "InstanceSpecification.ExcludeDataVolumeId.2=vol-00000004",
            "InstanceSpecification.InstanceId=i-0123456789abcdef0",
            "TagSpecification.1.ResourceType=snapshot",
            "TagSpecification.1.Tag.1.Key=snapferry:slot",
            "TagSpecification.1.Tag.1.Value=2026-11-22T02:00:00Z",
        ]
    );
}

#[tokio::test]
async fn what_is_not_wanted_is_not_sent() {
    let aws = Script::default().on(ACTION, [created()]);
    let plain = CreateSnapshots {
        exclude_boot_volume: false,
        exclude_data_volumes: ids(&[]),
        copy_tags: false,
        ..request()
    };
    aws.ec2().await.create_snapshots(&plain).await.unwrap();
    let sent = aws.sent(ACTION)[0].parameters();
    let others = sent.iter().filter(|it| !it.starts_with("TagSpecification.")).collect::<Vec<_>>();
    assert_eq!(
        others,
        [
            "Description=Created for policy: daily",
            "InstanceSpecification.InstanceId=i-0123456789abcdef0",
        ]
    );
}

#[tokio::test]
async fn throttled_twice_it_is_sent_again_and_makes_one_set() {
    let aws = Script::default().on(ACTION, [throttled(), throttled(), created()]);
    assert_eq!(aws.ec2().await.create_snapshots(&request()).await.unwrap(), made());
    let sent = aws.sent(ACTION);
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|it| it.body == sent[0].body));

    let aws = Script::default().on(ACTION, vec![throttled(); 5]);
    let err = aws.ec2().await.create_snapshots(&request()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn where_it_may_have_happened_it_is_sent_once() {
    let page = "<html><body><h1>503 Service Unavailable</h1></body></html>";
    let nameless = created();
    let Answer::Http(_, body) = &nameless else { panic!("no body") };
    let nameless = Answer::Http(200, body.replace("snap-0a1b2c3d4e5f60719", ""));
    for (answer, text) in [
        (Answer::TimedOut, "no byte for 20 s"),
        (Answer::Reset, "connection reset by peer"),
        (broken(), REQUEST_ID),
        (refused(503, "Unavailable", "The server is overloaded."), "The server is overloaded."),
        (refused(500, "CodeOfTomorrow", "Whatever."), "CodeOfTomorrow"),
        (Answer::Http(503, page.into()), ""),
        // What is left is a whole list with a whole id, of an older form.
        (cut(&created(), "4e5f60719"), "the answer breaks off after "),
        (Answer::Http(200, String::new()), "the answer breaks off after 0 bytes"),
        (answer(""), "the answer has no snapshot of \"i-0123456789abcdef0\""),
        (nameless, "the answer has the snapshot \"\""),
    ] {
        let aws = Script::default().on(ACTION, [answer.clone()]);
        let err = aws.ec2().await.create_snapshots(&request()).await.unwrap_err();
        assert_eq!(aws.actions(), [ACTION], "{answer:?}");
        assert_no_answer(&err, ACTION, text);
    }
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_not_repeated() {
    let aws = Script::default().on(ACTION, [Answer::Never]);
    let soon =
        TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300)).build();
    let sdk = aws.sdk().into_builder().timeout_config(soon).build();
    let ec2 = home_ec2(&invocation(sdk, Duration::from_mins(1))).await;
    let err = ec2.create_snapshots(&request()).await.unwrap_err();
    assert_eq!(aws.actions(), [ACTION]);
    assert_no_answer(&err, ACTION, "timeout");
}

#[tokio::test]
async fn no_attempt_outlives_the_invocation() {
    let aws = Script::default().on(ACTION, [Answer::Never]);
    let ec2 = home_ec2(&invocation(aws.sdk(), Duration::from_millis(300))).await;
    let err = ec2.create_snapshots(&request()).await.unwrap_err();
    assert_eq!(aws.actions(), [ACTION]);
    assert_no_answer(&err, ACTION, "deadline has elapsed");
}

#[tokio::test]
async fn a_refusal_is_final_within_the_run() {
    for (status, code, kind) in [
        (400, "SnapshotCreationPerVolumeRateExceeded", ErrorKind::QuotaExceeded),
        (400, "ConcurrentSnapshotLimitExceeded", ErrorKind::QuotaExceeded),
        (400, "SnapshotLimitExceeded", ErrorKind::Invalid),
        (400, "IncorrectInstanceState", ErrorKind::NotReady),
        (400, "InvalidInstanceID.NotFound", ErrorKind::NotFound),
        (400, "InvalidVolume.NotFound", ErrorKind::NotFound),
        (400, "InvalidParameterValue", ErrorKind::Invalid),
        (403, "UnauthorizedOperation", ErrorKind::AccessDenied),
    ] {
        let aws = Script::default().on(ACTION, [refused(status, code, "Why.")]);
        let err = aws.ec2().await.create_snapshots(&request()).await.unwrap_err();
        let text = format!("AWS refused {ACTION}: Why. ({code}, request ID {REQUEST_ID})");
        assert_refused(&err, kind, &text);
        assert_eq!(aws.actions(), [ACTION]);
    }
}

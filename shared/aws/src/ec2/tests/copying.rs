use snapferry_core::ec2::{Access, CopySnapshot, Ec2, Ec2Provider, ErrorKind};

use super::{assert_no_answer, assert_refused};
use crate::ec2::AwsEc2;
use crate::testing::{Answer, Script, broken, cut, id, ok, refused, throttled};

const KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7";

pub(super) fn request() -> CopySnapshot {
    CopySnapshot {
        source: id("snap-0123456789abcdef0"),
        source_region: id("eu-central-1"),
        source_encrypted: false,
        description: "Copied".into(),
        encrypted: true,
        kms_key: Some(id(KEY)),
        completion_duration_minutes: Some(90),
        tags: [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into(),
    }
}

pub(super) fn copied() -> Answer {
    ok("CopySnapshot", "<snapshotId>snap-0a1b2c3d4e5f60718</snapshotId>")
}

async fn in_ireland(aws: &Script) -> AwsEc2 {
    let access = Access::default();
    aws.aws().connect(&access, &id("eu-west-1")).await.unwrap()
}

#[tokio::test]
async fn the_destination_is_asked_and_told_the_source() {
    let aws = Script::default().on("CopySnapshot", [copied()]);
    let made = in_ireland(&aws).await.copy_snapshot(&request()).await.unwrap();
    assert_eq!(made, id("snap-0a1b2c3d4e5f60718"));
    let sent = &aws.sent("CopySnapshot")[0];
    assert_eq!(sent.host, "ec2.eu-west-1.amazonaws.com");
    let signature = &sent.headers["authorization"];
    assert!(signature.contains("/eu-west-1/ec2/aws4_request"), "{signature}");
    assert_eq!(
        sent.parameters(),
        [
            "CompletionDurationMinutes=90",
            "Description=Copied",
            "Encrypted=true",
            &format!("KmsKeyId={KEY}"),
            "SourceRegion=eu-central-1",
            "SourceSnapshotId=snap-0123456789abcdef0",
            "TagSpecification.1.ResourceType=snapshot",
            "TagSpecification.1.Tag.1.Key=a",
            "TagSpecification.1.Tag.1.Value=1",
            "TagSpecification.1.Tag.2.Key=b",
            "TagSpecification.1.Tag.2.Value=2",
        ]
    );
}

#[tokio::test]
async fn what_is_not_wanted_is_not_sent() {
    let aws = Script::default().on("CopySnapshot", [copied()]);
    let plain = CopySnapshot {
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: None,
        tags: [("a".to_owned(), "1".to_owned())].into(),
        ..request()
    };
    aws.ec2().await.copy_snapshot(&plain).await.unwrap();
    assert_eq!(
        aws.sent("CopySnapshot")[0].parameters(),
        [
            "Description=Copied",
            "SourceRegion=eu-central-1", // above all no Encrypted=false, which EC2 does not take
            "SourceSnapshotId=snap-0123456789abcdef0",
            "TagSpecification.1.ResourceType=snapshot",
            "TagSpecification.1.Tag.1.Key=a",
            "TagSpecification.1.Tag.1.Value=1",
        ]
    );
}

#[tokio::test]
async fn only_throttling_is_tried_again() {
    let aws = Script::default().on("CopySnapshot", [throttled(), throttled(), copied()]);
    in_ireland(&aws).await.copy_snapshot(&request()).await.unwrap();
    assert_eq!(aws.actions().len(), 3);
    for answer in [
        Answer::TimedOut,
        Answer::Reset,
        broken(),
        refused(500, "CodeOfTomorrow", "Whatever."),
        cut(&copied(), "4e5f60718"),
        ok("CopySnapshot", ""),
    ] {
        let aws = Script::default().on("CopySnapshot", [answer]);
        let err = in_ireland(&aws).await.copy_snapshot(&request()).await.unwrap_err();
        assert_no_answer(&err, "CopySnapshot", "");
        assert_eq!(aws.actions().len(), 1, "{err:?}");
    }
}

#[tokio::test]
async fn the_limit_of_copies_in_progress_passes() {
    let message = "Too many snapshot copies in progress. The limit is 20.";
    let answer = refused(400, "ResourceLimitExceeded", message);
    let aws = Script::default().on("CopySnapshot", [answer]);
    let err = in_ireland(&aws).await.copy_snapshot(&request()).await.unwrap_err();
    assert_eq!(aws.actions().len(), 1);
    assert!(err.kind().passes());
    assert_refused(
        &err,
        ErrorKind::QuotaExceeded,
        &format!(
            "AWS refused CopySnapshot: {message} (ResourceLimitExceeded, request ID \
             59dbff89-35bd-4eac-99ed-be587EXAMPLE)"
        ),
    );
}

#[tokio::test]
async fn every_partition_has_its_own_hosts() {
    for (region, host) in [
        ("eu-west-1", "ec2.eu-west-1.amazonaws.com"),
        ("cn-north-1", "ec2.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "ec2.us-gov-west-1.amazonaws.com"),
    ] {
        let aws = Script::default().on("CopySnapshot", [copied()]);
        let ec2 = aws.aws().connect(&Access::default(), &id(region)).await.unwrap();
        ec2.copy_snapshot(&request()).await.unwrap();
        assert_eq!(aws.sent("CopySnapshot")[0].host, host);
    }
}

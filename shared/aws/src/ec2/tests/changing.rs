use snapferry_core::ec2::{Ec2, ErrorKind};
use snapferry_core::ids::SnapshotId;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, broken, id, ok, refused, throttled};

fn done(action: &str) -> Answer {
    ok(action, "<return>true</return>")
}

#[tokio::test]
async fn many_snapshots_are_tagged_in_one_call() {
    let aws = Script::default().on("CreateTags", [done("CreateTags")]);
    let snapshots: Vec<SnapshotId> = (0..500).map(|n| id(&format!("snap-{n:08x}"))).collect();
    let tags = [("snapferry:shared-with", "2"), ("a", "1")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    aws.ec2().await.create_tags(&snapshots, &tags.into()).await.unwrap();
    let mut want: Vec<String> = snapshots
        .iter()
        .zip(1..)
        .map(|(snapshot, n)| format!("ResourceId.{n}={snapshot}"))
        .collect();
    want.extend(["Tag.1.Key=a", "Tag.1.Value=1"].map(str::to_owned));
    want.extend(["Tag.2.Key=snapferry:shared-with", "Tag.2.Value=2"].map(str::to_owned));
    want.sort_unstable();
    assert_eq!(aws.sent("CreateTags")[0].parameters(), want);
    assert_eq!(aws.actions().len(), 1);
}

#[tokio::test]
async fn one_snapshot_is_deleted() {
    let aws = Script::default().on("DeleteSnapshot", [done("DeleteSnapshot")]);
    aws.ec2().await.delete_snapshot(&id("snap-00000001")).await.unwrap();
    assert_eq!(aws.sent("DeleteSnapshot")[0].parameters(), ["SnapshotId=snap-00000001"]);
}

#[tokio::test]
async fn a_snapshot_that_is_gone_is_deleted() {
    let message = "The snapshot 'snap-00000001' does not exist.";
    let gone = || refused(400, "InvalidSnapshot.NotFound", message);
    // The second: it happened, the answer was lost, and the SDK asked again.
    for answers in [vec![gone()], vec![Answer::Reset, gone()]] {
        let aws = Script::default().on("DeleteSnapshot", answers.clone());
        aws.ec2().await.delete_snapshot(&id("snap-00000001")).await.unwrap();
        assert_eq!(aws.actions().len(), answers.len());
    }
}

#[tokio::test]
async fn what_cannot_be_deleted_says_why() {
    let in_use = "The snapshot snap-00000001 is currently in use by ami-00000001";
    for (code, status, message, kind) in [
        ("InvalidSnapshot.InUse", 400, in_use, ErrorKind::InUse),
        ("UnauthorizedOperation", 403, "You are not authorized.", ErrorKind::AccessDenied),
        ("OperationNotPermitted", 400, "It is locked.", ErrorKind::InUse),
    ] {
        let aws = Script::default().on("DeleteSnapshot", [refused(status, code, message)]);
        let ec2 = aws.ec2().await;
        let err = ec2.delete_snapshot(&id("snap-00000001")).await.unwrap_err();
        let text =
            format!("AWS refused DeleteSnapshot: {message} ({code}, request ID {REQUEST_ID})");
        assert_refused(&err, kind, &text);
        assert_eq!(aws.actions().len(), 1);
    }
}

#[tokio::test]
async fn what_changes_nothing_the_second_time_is_tried_again() {
    for fault in [Answer::Reset, Answer::TimedOut, broken(), throttled()] {
        let aws = Script::default()
            .on("CreateTags", [fault.clone(), done("CreateTags")])
            .on("DeleteSnapshot", [fault, done("DeleteSnapshot")]);
        let ec2 = aws.ec2().await;
        let snapshot = id("snap-00000001");
        let tags = [("a".to_owned(), "1".to_owned())].into();
        ec2.create_tags(std::slice::from_ref(&snapshot), &tags).await.unwrap();
        ec2.delete_snapshot(&snapshot).await.unwrap();
        assert_eq!(aws.actions().len(), 4);
    }
}

#[tokio::test]
async fn a_deletion_that_is_never_answered_may_have_happened() {
    let aws = Script::default().on("DeleteSnapshot", vec![Answer::TimedOut; 5]);
    let ec2 = aws.ec2().await;
    let err = ec2.delete_snapshot(&id("snap-00000001")).await.unwrap_err();
    assert_eq!(aws.actions().len(), 5);
    assert_no_answer(&err, "DeleteSnapshot", "no byte for 20 s");
}

use snapferry_core::ec2::{Ec2, ErrorKind};
use snapferry_core::ids::SnapshotId;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, Sent, broken, id, ids, ok, refused, throttled};

fn images(items: &str, next: &str) -> Answer {
    ok("DescribeImages", &format!("<imagesSet>{items}</imagesSet>{next}"))
}

fn image(id: &str, snapshot: &str) -> String {
    format!(
        "<item><imageId>{id}</imageId><imageState>available</imageState><blockDeviceMapping>\
         <item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>{snapshot}</snapshotId>\
         <volumeSize>8</volumeSize></ebs></item>\
         <item><deviceName>/dev/sdb</deviceName><virtualName>ephemeral0</virtualName></item>\
         <item><deviceName>/dev/sdc</deviceName><ebs><volumeSize>8</volumeSize></ebs></item>\
         </blockDeviceMapping></item>"
    )
}

#[tokio::test]
async fn snapshots_of_images_are_found_on_every_page() {
    let first = images(&image("ami-00000001", "snap-00000001"), "<nextToken>2</nextToken>");
    let bare = "<item><imageId>ami-00000003</imageId></item>";
    let last = image("ami-00000002", "snap-00000002") + bare;
    let last = images(&last, "<nextToken/>");
    let aws = Script::default().on("DescribeImages", [first, broken(), last]);
    let found = aws.ec2().await.describe_images().await.unwrap();
    let pair = |n| (id(&format!("snap-0000000{n}")), format!("ami-0000000{n}"));
    assert_eq!(found, [1, 2].map(pair).into());
    let sent: Vec<_> = aws.sent("DescribeImages").iter().map(Sent::parameters).collect();
    let mut want = vec!["IncludeDisabled=true", "MaxResults=1000", "Owner.1=self"];
    assert_eq!(sent[0], want);
    want.insert(2, "NextToken=2");
    assert_eq!(sent[2], want);
    assert_eq!(sent.len(), 3);
}

#[tokio::test]
async fn an_image_of_no_snapshot_that_can_be_is_not_passed_over() {
    let answer = images(&image("ami-00000001", "snap-of-tomorrow"), "");
    let aws = Script::default().on("DescribeImages", [answer]);
    let err = aws.ec2().await.describe_images().await.unwrap_err();
    assert_no_answer(&err, "DescribeImages", "a device of the snapshot \"snap-of-tomorrow\"");
}

fn locks(locks: &[(&str, &str)], next: &str) -> Answer {
    let item = |(id, state): &(&str, &str)| {
        format!(
            "<item><ownerId>012345678901</ownerId><snapshotId>{id}</snapshotId>\
             <lockState>{state}</lockState><lockDuration>30</lockDuration></item>"
        )
    };
    let items: String = locks.iter().map(item).collect();
    ok("DescribeLockedSnapshots", &format!("<snapshotSet>{items}</snapshotSet>{next}"))
}

#[tokio::test]
async fn locked_snapshots_are_found_on_every_page_unless_the_lock_has_expired() {
    let first = [
        ("snap-00000001", "governance"),
        ("snap-00000002", "expired"),
        ("snap-00000003", "compliance-cooloff"),
    ];
    let last = [("snap-00000004", "compliance"), ("snap-00000005", "tomorrow")];
    let answers = [
        locks(&first, "<nextToken>2</nextToken>"),
        throttled(),
        locks(&[], "<nextToken>3</nextToken>"),
        locks(&last, "<nextToken/>"),
    ];
    let aws = Script::default().on("DescribeLockedSnapshots", answers);
    let found = aws.ec2().await.describe_locked_snapshots().await.unwrap();
    let numbers = ["snap-00000001", "snap-00000003", "snap-00000004", "snap-00000005"];
    assert_eq!(found, ids(&numbers));
    let sent: Vec<_> = aws.sent("DescribeLockedSnapshots").iter().map(Sent::parameters).collect();
    let all = ["MaxResults=1000"].as_slice();
    let second = ["MaxResults=1000", "NextToken=2"].as_slice();
    let third = ["MaxResults=1000", "NextToken=3"].as_slice();
    assert_eq!(sent, [all, second, second, third]);
}

#[tokio::test]
async fn locks_that_cannot_be_read_are_not_no_locks() {
    let action = "DescribeLockedSnapshots";
    let message = "You are not authorized to perform this operation.";
    let aws = Script::default().on(
        action,
        [
            locks(&[("snap-00000001", "governance")], "<nextToken>2</nextToken>"),
            refused(403, "UnauthorizedOperation", message),
        ],
    );
    let err = aws.ec2().await.describe_locked_snapshots().await.unwrap_err();
    let text =
        format!("AWS refused {action}: {message} (UnauthorizedOperation, request ID {REQUEST_ID})");
    assert_refused(&err, ErrorKind::AccessDenied, &text);
    let aws = Script::default().on(action, [locks(&[("", "governance")], "")]);
    let err = aws.ec2().await.describe_locked_snapshots().await.unwrap_err();
    assert_no_answer(&err, action, "a lock of the snapshot \"\"");
    let none = Script::default().on(action, [locks(&[], "")]);
    let found = none.ec2().await.describe_locked_snapshots().await.unwrap();
    assert_eq!(found, ids::<SnapshotId, _>(&[]));
}

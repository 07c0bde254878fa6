use snapferry_core::ec2::{Ec2, ErrorKind};
use snapferry_core::inventory::{Tiering, TieringStatus};

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, Sent, broken, id, ok, refused, throttled};

const DESCRIBE: &str = "DescribeSnapshotTierStatus";
const MODIFY: &str = "ModifySnapshotTier";

/// `more` is what EC2 tells of a snapshot that was moved.
fn item(id: &str, more: &str) -> String {
    format!(
        "<item><snapshotId>{id}</snapshotId><volumeId>vol-00000001</volumeId>\
         <status>completed</status><ownerId>012345678901</ownerId><tagSet/>\
         <storageTier>standard</storageTier>{more}</item>"
    )
}

fn moved(id: &str, status: &str) -> String {
    let more = format!(
        "<lastTieringStartTime>2026-11-22T02:00:07.000Z</lastTieringStartTime>\
         <lastTieringProgress>42</lastTieringProgress>\
         <lastTieringOperationStatus>{status}</lastTieringOperationStatus>"
    );
    item(id, &more)
}

fn page(items: &[String], next: &str) -> Answer {
    let items = items.concat();
    ok(DESCRIBE, &format!("<snapshotTierStatusSet>{items}</snapshotTierStatusSet>{next}"))
}

#[tokio::test]
async fn every_status_has_a_meaning_and_one_of_tomorrow_is_left_alone() {
    for (status, want) in [
        ("archival-in-progress", TieringStatus::Archiving),
        ("archival-completed", TieringStatus::Archived),
        ("archival-failed", TieringStatus::Failed),
        ("temporary-restore-in-progress", TieringStatus::Restored),
        ("temporary-restore-completed", TieringStatus::Restored),
        ("temporary-restore-failed", TieringStatus::Restored),
        ("permanent-restore-in-progress", TieringStatus::Restored),
        ("permanent-restore-completed", TieringStatus::Restored),
        ("permanent-restore-failed", TieringStatus::Restored),
        ("tomorrow", TieringStatus::Archiving),
    ] {
        let aws = Script::default().on(DESCRIBE, [page(&[moved("snap-00000001", status)], "")]);
        let found = aws.ec2().await.describe_snapshot_tier_status().await.unwrap();
        let want = Tiering { status: want, archived_at: None };
        assert_eq!(found, [(id("snap-00000001"), want)].into(), "{status}");
    }
}

#[tokio::test]
async fn every_page_is_read_and_what_never_moved_is_left_out() {
    let archived = moved("snap-00000003", "archival-completed").replace(
        "</item>",
        "<archivalCompleteTime>2026-11-23T01:02:03.456Z</archivalCompleteTime></item>",
    );
    let never = [item("snap-00000004", ""), item("snap-00000005", "<lastTieringOperationStatus/>")];
    let answers = [
        page(&[moved("snap-00000001", "archival-failed")], "<nextToken>2</nextToken>"),
        broken(),
        page(&never, "<nextToken>3</nextToken>"),
        page(&[archived], "<nextToken/>"),
    ];
    let aws = Script::default().on(DESCRIBE, answers);
    let found = aws.ec2().await.describe_snapshot_tier_status().await.unwrap();
    let archived_at = Some("2026-11-23T01:02:03.456Z".parse().unwrap());
    let want = [
        (id("snap-00000001"), Tiering { status: TieringStatus::Failed, archived_at: None }),
        (id("snap-00000003"), Tiering { status: TieringStatus::Archived, archived_at }),
    ];
    assert_eq!(found, want.into());
    let sent: Vec<_> = aws.sent(DESCRIBE).iter().map(Sent::parameters).collect();
    let all = ["MaxResults=200"].as_slice();
    let second = ["MaxResults=200", "NextToken=2"].as_slice();
    let third = ["MaxResults=200", "NextToken=3"].as_slice();
    assert_eq!(sent, [all, second, second, third]);
}

#[tokio::test]
async fn tiers_that_cannot_be_read_are_not_no_tiers() {
    let message = "You are not authorized to perform this operation.";
    let denied = refused(403, "UnauthorizedOperation", message);
    let first = page(&[moved("snap-00000001", "archival-failed")], "<nextToken>2</nextToken>");
    let aws = Script::default().on(DESCRIBE, [first, denied]);
    let err = aws.ec2().await.describe_snapshot_tier_status().await.unwrap_err();
    let text = format!(
        "AWS refused {DESCRIBE}: {message} (UnauthorizedOperation, request ID {REQUEST_ID})"
    );
    assert_refused(&err, ErrorKind::AccessDenied, &text);
    let aws = Script::default().on(DESCRIBE, [page(&[moved("", "archival-failed")], "")]);
    let err = aws.ec2().await.describe_snapshot_tier_status().await.unwrap_err();
    assert_no_answer(&err, DESCRIBE, "the answer has a tier of the snapshot \"\"");
}

fn archiving() -> Answer {
    let members = "<snapshotId>snap-00000001</snapshotId>\
        <tieringStartTime>2026-11-22T02:00:07.000Z</tieringStartTime>";
    ok(MODIFY, members)
}

#[tokio::test]
async fn a_snapshot_is_sent_to_the_archive() {
    for fault in [Answer::Reset, Answer::TimedOut, broken(), throttled()] {
        let aws = Script::default().on(MODIFY, [fault, archiving()]);
        aws.ec2().await.archive_snapshot(&id("snap-00000001")).await.unwrap();
        let want = ["SnapshotId=snap-00000001", "StorageTier=archive"];
        let sent: Vec<_> = aws.sent(MODIFY).iter().map(Sent::parameters).collect();
        assert_eq!(sent, [want, want]);
    }
}

#[tokio::test]
async fn what_cannot_be_archived_says_why() {
    for (code, kind) in [
        ("IncorrectState", ErrorKind::NotReady), // on its way already: an answer was lost
        ("ResourceLimitExceeded", ErrorKind::QuotaExceeded),
        ("ArchivalsInProgressLimitExceeded", ErrorKind::QuotaExceeded), // AWS does not tell its name
        ("InvalidSnapshot.InUse", ErrorKind::InUse),
        ("InvalidSnapshot.NotFound", ErrorKind::NotFound),
        ("OperationNotPermitted", ErrorKind::Invalid),
        ("UnauthorizedOperation", ErrorKind::AccessDenied),
    ] {
        let aws = Script::default().on(MODIFY, [refused(400, code, "Why.")]);
        let err = aws.ec2().await.archive_snapshot(&id("snap-00000001")).await.unwrap_err();
        let text = format!("AWS refused {MODIFY}: Why. ({code}, request ID {REQUEST_ID})");
        assert_refused(&err, kind, &text);
        assert_eq!(aws.actions().len(), 1);
    }
    let aws = Script::default().on(MODIFY, vec![Answer::TimedOut; 5]);
    let err = aws.ec2().await.archive_snapshot(&id("snap-00000001")).await.unwrap_err();
    assert_no_answer(&err, MODIFY, "no byte for 20 s");
}

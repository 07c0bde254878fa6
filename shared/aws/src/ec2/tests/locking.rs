use snapferry_core::ec2::{Ec2, ErrorKind, LockSnapshot};
use snapferry_core::policy::LockMode;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, broken, id, ok, refused, throttled};

const ACTION: &str = "LockSnapshot";

fn request(mode: LockMode, cool_off_period_hours: Option<u8>) -> LockSnapshot {
    let until = "2026-12-22T02:00:07.123Z".parse().unwrap();
    LockSnapshot { snapshot: id("snap-00000001"), mode, until, cool_off_period_hours }
}

fn locked() -> Answer {
    let members = "<snapshotId>snap-00000001</snapshotId><lockState>governance</lockState>\
        <lockDuration>30</lockDuration><lockCreatedOn>2026-11-22T02:00:07.000Z</lockCreatedOn>\
        <lockExpiresOn>2026-12-22T02:00:07.123Z</lockExpiresOn>";
    ok(ACTION, members)
}

#[tokio::test]
async fn a_snapshot_is_locked_until_a_moment() {
    let until = "ExpirationDate=2026-12-22T02:00:07.123Z";
    let of = "SnapshotId=snap-00000001";
    for (mode, cool_off, want) in [
        (LockMode::Governance, None, vec![until, "LockMode=governance", of]),
        (LockMode::Compliance, None, vec![until, "LockMode=compliance", of]),
        (
            LockMode::Compliance,
            Some(72),
            vec!["CoolOffPeriod=72", until, "LockMode=compliance", of],
        ),
    ] {
        let aws = Script::default().on(ACTION, [locked()]);
        aws.ec2().await.lock_snapshot(&request(mode, cool_off)).await.unwrap();
        assert_eq!(aws.sent(ACTION)[0].parameters(), want); // above all no LockDuration
        assert_eq!(aws.actions().len(), 1);
    }
}

#[tokio::test]
async fn a_lock_may_be_sent_again() {
    for fault in [Answer::Reset, Answer::TimedOut, broken(), throttled()] {
        let aws = Script::default().on(ACTION, [fault, locked()]);
        aws.ec2().await.lock_snapshot(&request(LockMode::Governance, None)).await.unwrap();
        let sent = aws.sent(ACTION);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].body, sent[1].body, "until the same moment");
    }
}

#[tokio::test]
async fn what_cannot_be_locked_says_why() {
    for (code, kind) in [
        ("IncorrectState", ErrorKind::NotReady),
        ("InvalidSnapshot.NotFound", ErrorKind::NotFound),
        ("InvalidParameterValue", ErrorKind::Invalid),
        ("UnauthorizedOperation", ErrorKind::AccessDenied),
    ] {
        let aws = Script::default().on(ACTION, [refused(400, code, "Why.")]);
        let ec2 = aws.ec2().await;
        let err = ec2.lock_snapshot(&request(LockMode::Compliance, None)).await.unwrap_err();
        let text = format!("AWS refused {ACTION}: Why. ({code}, request ID {REQUEST_ID})");
        assert_refused(&err, kind, &text);
        assert_eq!(aws.actions().len(), 1);
    }
    let aws = Script::default().on(ACTION, vec![Answer::TimedOut; 5]);
    let ec2 = aws.ec2().await;
    let err = ec2.lock_snapshot(&request(LockMode::Compliance, None)).await.unwrap_err();
    assert_no_answer(&err, ACTION, "no byte for 20 s");
}

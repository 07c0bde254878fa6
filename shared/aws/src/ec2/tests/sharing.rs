use std::collections::BTreeSet;

use snapferry_core::ec2::{Ec2, Ec2Error, ErrorKind};
use snapferry_core::ids::AccountId;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, broken, id, ids, ok, refused, throttled};

const ACTION: &str = "ModifySnapshotAttribute";

/// Both ways, by the name that EC2 has for them.
const WAYS: [&str; 2] = ["add", "remove"];

fn done() -> Answer {
    ok(ACTION, "<return>true</return>")
}

async fn change(aws: &Script, way: &str, accounts: &BTreeSet<AccountId>) -> Result<(), Ec2Error> {
    let (ec2, snapshot) = (aws.ec2().await, id("snap-00000001"));
    match way {
        "add" => ec2.share_snapshot(&snapshot, accounts).await,
        _ => ec2.unshare_snapshot(&snapshot, accounts).await,
    }
}

#[tokio::test]
async fn a_snapshot_is_shared_and_unshared_with_one_account_per_call() {
    for way in WAYS {
        let aws = Script::default().on(ACTION, [done(), done()]);
        change(&aws, way, &ids(&["999999999999", "012345678901"])).await.unwrap();
        let sent = aws.sent(ACTION);
        for (sent, account) in sent.iter().zip(["012345678901", "999999999999"]) {
            assert_eq!(
                sent.parameters(),
                [
                    "Attribute=createVolumePermission",
                    &format!("OperationType={way}"),
                    "SnapshotId=snap-00000001",
                    &format!("UserId.1={account}"),
                ]
            );
        }
        assert_eq!(sent.len(), 2);
    }
}

#[tokio::test]
async fn it_ends_with_the_first_refusal() {
    let message = "Encrypted snapshots with EBS default key cannot be shared";
    for way in WAYS {
        let aws = Script::default().on(ACTION, [refused(400, "OperationNotPermitted", message)]);
        let err = change(&aws, way, &ids(&["999999999999", "012345678901"])).await.unwrap_err();
        assert_eq!(aws.actions().len(), 1);
        assert_refused(
            &err,
            ErrorKind::Invalid,
            &format!(
                "AWS refused {ACTION}: {message} (OperationNotPermitted, request ID {REQUEST_ID})"
            ),
        );
    }
}

#[tokio::test]
async fn both_change_nothing_the_second_time_and_are_tried_again() {
    let accounts = ids(&["999999999999"]);
    for way in WAYS {
        for fault in [Answer::Reset, Answer::TimedOut, broken(), throttled()] {
            let aws = Script::default().on(ACTION, [fault, done()]);
            change(&aws, way, &accounts).await.unwrap();
            assert_eq!(aws.actions().len(), 2);
        }
        let aws = Script::default().on(ACTION, vec![Answer::TimedOut; 5]);
        let err = change(&aws, way, &accounts).await.unwrap_err();
        assert_no_answer(&err, ACTION, "no byte for 20 s");
    }
}

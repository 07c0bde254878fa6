//! Lists that are not what they seem: of what is missing in them, too much would be made or deleted.

use snapferry_core::ec2::{Ec2, Ec2Error, SnapshotFilter, VolumeFilter};
use snapferry_core::tags;

use super::assert_no_answer;
use crate::ec2::AwsEc2;
use crate::testing::{Answer, Script, ids, ok};

/// Every list of EC2, the element that holds it, and whether that has to be there.
const LISTS: [(&str, &str, bool); 7] = [
    ("DescribeVolumes", "volumeSet", true),
    ("DescribeInstances", "reservationSet", true),
    ("DescribeSnapshots", "snapshotSet", true),
    ("DescribeImages", "imagesSet", true),
    // Where these are missing nothing is done that EC2 does not refuse, or that does harm.
    ("DescribeLockedSnapshots", "snapshotSet", false),
    ("DescribeFastSnapshotRestores", "fastSnapshotRestoreSet", false),
    ("DescribeSnapshotTierStatus", "snapshotTierStatusSet", false),
];

async fn list(ec2: &AwsEc2, action: &str) -> Result<(), Ec2Error> {
    match action {
        "DescribeVolumes" => ec2.describe_volumes(&VolumeFilter::All).await.map(drop),
        "DescribeInstances" => {
            ec2.describe_instances(&snapferry_core::ec2::InstanceFilter::All).await.map(drop)
        }
        "DescribeSnapshots" => {
            ec2.describe_snapshots(&SnapshotFilter::Tagged(tags::POLICY)).await.map(drop)
        }
        "DescribeImages" => ec2.describe_images().await.map(drop),
        "DescribeLockedSnapshots" => ec2.describe_locked_snapshots().await.map(drop),
        "DescribeFastSnapshotRestores" => ec2.describe_fast_snapshot_restores().await.map(drop),
        _ => ec2.describe_snapshot_tier_status().await.map(drop),
    }
}

#[tokio::test]
async fn pages_that_lead_back_to_themselves_are_no_list() {
    for (action, set, _) in LISTS {
        let page = |token: &str| ok(action, &format!("<{set}/><nextToken>{token}</nextToken>"));
        // The same page for ever, of which the SDK makes a list of one page; and a longer way round.
        for (circle, n) in [(vec!["a", "a"], 2), (vec!["a", "b", "c", "b"], 4)] {
            let aws = Script::default().on(action, circle.into_iter().map(page));
            let err = list(&aws.ec2().await, action).await.unwrap_err();
            assert_no_answer(&err, action, &format!("page {n} leads back to an earlier one"));
        }
        let aws = Script::default().on(action, [page("a"), page("b"), page("")]);
        list(&aws.ec2().await, action).await.unwrap();
        assert_eq!(aws.actions().len(), 3, "pages may be empty");
    }
}

#[tokio::test]
async fn a_list_that_is_missing_is_not_empty() {
    for (action, set, needed) in LISTS {
        let aws = Script::default().on(action, [ok(action, "")]);
        let found = list(&aws.ec2().await, action).await;
        assert_eq!(found.is_err(), needed, "{action}");
        if let Err(err) = found {
            assert_no_answer(&err, action, &format!("the answer has no {set:?}"));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_garbled_in_the_middle_is_no_shorter_list() {
    for (action, set, _) in LISTS {
        for (body, text) in [
            (format!("<{set}><item></{set}>"), "the answer is garbled: "),
            (format!("<{set}><item>< </item></{set}>"), "the answer is no XML: "),
        ] {
            let aws = Script::default().on(action, (0..5).map(|_| ok(action, &body)));
            let err = list(&aws.ec2().await, action).await.unwrap_err();
            assert_no_answer(&err, action, text);
            assert_eq!(aws.actions().len(), 5, "it may come right the next time");
        }
        let another = ok("DescribeRegions", &format!("<{set}/>"));
        let aws = Script::default().on(action, (0..5).map(|_| another.clone()));
        let err = list(&aws.ec2().await, action).await.unwrap_err();
        let want =
            format!("the answer is a <DescribeRegionsResponse> and not a <{action}Response>");
        assert_no_answer(&err, action, &want);
    }
}

#[tokio::test]
async fn changes_that_are_answered_by_somebody_else_have_not_been_answered() {
    let page = "<html><body>Sign in to the network</body></html>";
    let aws = Script::default()
        .on("DeleteSnapshot", (0..5).map(|_| Answer::Http(200, page.into())))
        .on("ModifySnapshotAttribute", (0..5).map(|_| Answer::Http(200, page.into())));
    let ec2 = aws.ec2().await;
    let snapshot = "snap-00000001".parse().unwrap();
    let err = ec2.delete_snapshot(&snapshot).await.unwrap_err();
    assert_no_answer(&err, "DeleteSnapshot", "the answer is a <html>");
    let err = ec2.share_snapshot(&snapshot, &ids(&["012345678901"])).await.unwrap_err();
    assert_no_answer(&err, "ModifySnapshotAttribute", "the answer is a <html>");
}

#[tokio::test]
async fn a_snapshot_on_two_pages_is_there_once() {
    let page = |ids: &[&str], token: &str| {
        let item = |id: &&str| {
            format!(
                "<item><snapshotId>{id}</snapshotId><volumeId>vol-00000001</volumeId>\
                 <startTime>2026-11-22T02:00:07.000Z</startTime><ownerId>012345678901</ownerId></item>"
            )
        };
        let items: String = ids.iter().map(item).collect();
        ok(
            "DescribeSnapshots",
            &format!("<snapshotSet>{items}</snapshotSet><nextToken>{token}</nextToken>"),
        )
    };
    let answers = [page(&["snap-00000002", "snap-00000001"], "2"), page(&["snap-00000002"], "")];
    let aws = Script::default().on("DescribeSnapshots", answers);
    let found = aws.ec2().await.describe_snapshots(&SnapshotFilter::Tagged(tags::POLICY)).await;
    let found: Vec<String> = found.unwrap().iter().map(|it| it.id.to_string()).collect();
    assert_eq!(found, ["snap-00000001", "snap-00000002"]);
}

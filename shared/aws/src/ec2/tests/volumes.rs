use std::collections::BTreeSet;
use std::time::Duration;

use aws_smithy_types::timeout::TimeoutConfig;
use snapferry_core::ec2::{Ec2, VolumeFilter};

use super::assert_no_answer;
use crate::testing::{
    Answer, Script, Sent, broken, cut, home_ec2, id, ids, invocation, ok, throttled,
};

fn page(volumes: &[(&str, &str)], next: &str) -> Answer {
    let item = |(id, status): &(&str, &str)| {
        format!(
            "<item><volumeId>{id}</volumeId><size>8</size><snapshotId/><status>{status}</status>\
             <createTime>2026-01-05T10:00:00.123Z</createTime><attachmentSet/>\
             <tagSet><item><key>Backup</key><value>daily</value></item>\
             <item><key>empty</key><value/></item></tagSet><volumeType>gp3</volumeType>\
             <encrypted>true</encrypted><kmsKeyId>arn:aws:kms:key</kmsKeyId></item>"
        )
    };
    let items: String = volumes.iter().map(item).collect();
    ok("DescribeVolumes", &format!("<volumeSet>{items}</volumeSet>{next}"))
}

fn last() -> Answer {
    page(&[("vol-00000002", "in-use")], "<nextToken/>")
}

fn by_key() -> VolumeFilter {
    VolumeFilter::TagKeys(["Backup".to_owned()].into())
}

#[tokio::test]
async fn every_page_is_read_and_a_throttled_one_is_asked_for_again() {
    let first = page(&[("vol-00000001", "available")], "<nextToken>to=ken&amp;2</nextToken>");
    let aws = Script::default().on("DescribeVolumes", [first, throttled(), last()]);
    let found = aws.ec2().await.describe_volumes(&by_key()).await.unwrap();
    let sent: Vec<_> = aws.sent("DescribeVolumes").iter().map(Sent::parameters).collect();
    let mut want = vec!["Filter.1.Name=tag-key", "Filter.1.Value.1=Backup", "MaxResults=1000"];
    assert_eq!(sent[0], want);
    want.push("NextToken=to=ken&2");
    assert_eq!(sent[1], want);
    assert_eq!(sent[2], want);
    assert_eq!(sent.len(), 3);

    let [one, two] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&one.id, &two.id), (&id("vol-00000001"), &id("vol-00000002")));
    assert_eq!(one.create_time.to_string(), "2026-01-05T10:00:00.123Z");
    assert_eq!(one.kms_key_id.as_deref(), Some("arn:aws:kms:key"));
    assert_eq!(one.volume_type, "gp3");
    assert_eq!(one.tags["Backup"], "daily");
    assert_eq!(one.tags["empty"], "");
}

#[tokio::test]
async fn volumes_on_their_way_in_or_out_are_not_usable() {
    for (states, usable) in [
        (["available", "in-use"].as_slice(), true),
        (&["creating", "deleting", "deleted", "error", "tomorrow", ""], false),
    ] {
        for state in states {
            let aws =
                Script::default().on("DescribeVolumes", [page(&[("vol-00000001", state)], "")]);
            let found = aws.ec2().await.describe_volumes(&by_key()).await.unwrap();
            assert_eq!(found[0].usable, usable, "{state}");
        }
    }
    let item = "<volumeSet><item><volumeId>vol-00000001</volumeId>\
        <createTime>2026-01-05T10:00:00.123Z</createTime></item></volumeSet>";
    let stateless = ok("DescribeVolumes", item);
    let aws = Script::default().on("DescribeVolumes", [stateless]);
    let found = aws.ec2().await.describe_volumes(&by_key()).await.unwrap();
    assert!(!found[0].usable);
}

#[tokio::test]
async fn ids_that_may_be_gone_are_a_filter() {
    let aws = Script::default().on("DescribeVolumes", [last()]);
    let ids = ids(&["vol-00000002", "vol-00000001"]);
    aws.ec2().await.describe_volumes(&VolumeFilter::Ids(ids)).await.unwrap();
    assert_eq!(
        aws.sent("DescribeVolumes")[0].parameters(), // VolumeId.1 would be an error where it is gone
        [
            "Filter.1.Name=volume-id",
            "Filter.1.Value.1=vol-00000001",
            "Filter.1.Value.2=vol-00000002",
            "MaxResults=1000"
        ]
    );
}

#[tokio::test]
async fn all_are_asked_for_without_a_filter() {
    let first = page(&[("vol-00000001", "available")], "<nextToken>2</nextToken>");
    let aws = Script::default().on("DescribeVolumes", [first, last()]);
    let found = aws.ec2().await.describe_volumes(&VolumeFilter::All).await.unwrap();
    assert_eq!(found.len(), 2);
    let sent: Vec<_> = aws.sent("DescribeVolumes").iter().map(Sent::parameters).collect();
    let (first, second) = (["MaxResults=1000"].as_slice(), ["MaxResults=1000", "NextToken=2"]);
    assert_eq!(sent, [first, &second]);
}

#[tokio::test]
async fn more_than_200_are_several_calls_and_none_is_no_call() {
    let answers = ["vol-00000001", "vol-00000002", "vol-00000003"];
    let answers = answers.map(|id| page(&[(id, "in-use")], ""));
    let aws = Script::default().on("DescribeVolumes", answers);
    let ec2 = aws.ec2().await;
    let ids = (0..401).map(|n| id(&format!("vol-{n:08x}"))).collect();
    let found = ec2.describe_volumes(&VolumeFilter::Ids(ids)).await.unwrap();
    assert_eq!(found.len(), 3);
    let sent = aws.sent("DescribeVolumes");
    let values = |n: usize| sent[n].parameters().iter().filter(|it| it.contains(".Value.")).count();
    assert_eq!([values(0), values(1), values(2)], [200, 200, 1]);

    for nothing in [VolumeFilter::Ids(BTreeSet::new()), VolumeFilter::TagKeys(BTreeSet::new())] {
        assert_eq!(ec2.describe_volumes(&nothing).await.unwrap(), []);
    }
    assert_eq!(aws.actions().len(), 3, "EC2 would take no filter for all volumes");
}

#[tokio::test]
async fn reads_are_tried_again() {
    let shorter = cut(&last(), "</volumeSet>");
    for fault in [Answer::Reset, Answer::TimedOut, broken(), throttled(), shorter] {
        let aws = Script::default().on("DescribeVolumes", [fault.clone(), fault, last()]);
        let found = aws.ec2().await.describe_volumes(&by_key()).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(aws.actions().len(), 3);
    }
    let aws = Script::default().on("DescribeVolumes", [Answer::Never, last()]);
    let soon =
        TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300)).build();
    let sdk = aws.sdk().into_builder().timeout_config(soon).build();
    home_ec2(&invocation(sdk, Duration::from_mins(1)))
        .await
        .describe_volumes(&by_key())
        .await
        .unwrap();
    assert_eq!(aws.actions().len(), 2);
}

#[tokio::test]
async fn half_a_list_is_no_list() {
    let first = page(&[("vol-00000001", "in-use")], "<nextToken>2</nextToken>");
    let aws =
        Script::default().on("DescribeVolumes", [first].into_iter().chain(vec![Answer::Reset; 5]));
    let err = aws.ec2().await.describe_volumes(&by_key()).await.unwrap_err();
    assert_no_answer(&err, "DescribeVolumes", "connection reset by peer");
    assert_eq!(aws.actions().len(), 6);
}

#[tokio::test]
async fn a_volume_that_cannot_be_is_named() {
    let timeless = "<volumeSet><item><volumeId>vol-00000001</volumeId></item></volumeSet>";
    for (answer, text) in [
        (page(&[("vol-", "in-use")], ""), "the answer has a volume with the id \"vol-\""),
        (ok("DescribeVolumes", timeless), "the answer has the time \"None\""),
    ] {
        let aws = Script::default().on("DescribeVolumes", [answer]);
        let err = aws.ec2().await.describe_volumes(&by_key()).await.unwrap_err();
        assert_no_answer(&err, "DescribeVolumes", text);
    }
}

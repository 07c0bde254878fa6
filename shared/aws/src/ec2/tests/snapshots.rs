use std::collections::BTreeSet;

use snapferry_core::ec2::{Ec2, SnapshotFilter};
use snapferry_core::inventory::State;
use snapferry_core::tags;

use super::assert_no_answer;
use crate::testing::{Answer, Script, Sent, id, ids, ok, throttled};

fn item(id: &str, more: &str) -> String {
    format!(
        "<item><snapshotId>{id}</snapshotId><volumeId>vol-00000001</volumeId>\
         <startTime>2026-11-22T02:00:07.000Z</startTime><progress>100%</progress>\
         <ownerId>012345678901</ownerId><volumeSize>8</volumeSize>{more}</item>"
    )
}

fn page(items: &str, next: &str) -> Answer {
    let members = format!("<snapshotSet>{items}</snapshotSet>{next}");
    ok("DescribeSnapshots", &members)
}

fn nothing() -> Answer {
    page("", "")
}

/// The parameters of every call that asks for `which`.
async fn asked(which: SnapshotFilter, n_calls: usize) -> Vec<Vec<String>> {
    let aws = Script::default().on("DescribeSnapshots", vec![nothing(); n_calls]);
    let found = aws.ec2().await.describe_snapshots(&which).await.unwrap();
    assert_eq!(found, []);
    let sent = aws.sent("DescribeSnapshots");
    assert_eq!(sent.len(), n_calls);
    sent.iter().map(Sent::parameters).collect()
}

#[tokio::test]
async fn own_ones_are_found_by_tag_key() {
    let sent = asked(SnapshotFilter::Tagged(tags::POLICY), 1).await;
    let want = [
        "Filter.1.Name=tag-key",
        "Filter.1.Value.1=snapferry:policy",
        "MaxResults=1000",
        "Owner.1=self",
    ];
    assert_eq!(sent, [want]);
}

#[tokio::test]
async fn own_ones_are_found_by_who_may_use_them() {
    let sent = asked(SnapshotFilter::SharedWith(id("012345678901")), 1).await;
    let want = [
        "Filter.1.Name=tag-key",
        "Filter.1.Value.1=snapferry:policy",
        "MaxResults=1000",
        "Owner.1=self",
        "RestorableBy.1=012345678901",
    ];
    assert_eq!(sent, [want]);
}

#[tokio::test]
async fn own_ones_are_found_by_the_value_of_a_tag_and_nothing_is_a_wildcard() {
    let values = ["a*b?c\\d", "web 1"].map(str::to_owned).into();
    let sent = asked(SnapshotFilter::TagValues("snapferry:slot", values), 1).await;
    let want = [
        "Filter.1.Name=tag:snapferry:slot",
        "Filter.1.Value.1=a\\*b\\?c\\\\d",
        "Filter.1.Value.2=web 1",
        "MaxResults=1000",
        "Owner.1=self",
    ];
    assert_eq!(sent, [want]);
}

#[tokio::test]
async fn own_ones_are_found_by_the_day_on_which_they_began() {
    let days = ["2026-11-22", "2026-11-21"].map(|day| day.parse().unwrap()).into();
    let sent = asked(SnapshotFilter::StartedOn(days), 1).await;
    let want = [
        "Filter.1.Name=start-time",
        "Filter.1.Value.1=2026-11-21T*", // here it is a wildcard
        "Filter.1.Value.2=2026-11-22T*",
        "MaxResults=1000",
        "Owner.1=self",
    ];
    assert_eq!(sent, [want]);
}

#[tokio::test]
async fn own_ones_are_found_by_id_and_one_that_is_gone_is_no_error() {
    let some = ids(&["snap-00000002", "snap-00000001"]);
    let want = [
        "Filter.1.Name=snapshot-id", // SnapshotId.1 would be an error where it is gone
        "Filter.1.Value.1=snap-00000001",
        "Filter.1.Value.2=snap-00000002",
        "MaxResults=1000",
        "Owner.1=self",
    ];
    assert_eq!(asked(SnapshotFilter::Ids(some), 1).await, [want]);
}

#[tokio::test]
async fn own_ones_that_are_pending_are_found_whoever_made_them() {
    let sent = asked(SnapshotFilter::Pending, 1).await;
    let want =
        ["Filter.1.Name=status", "Filter.1.Value.1=pending", "MaxResults=1000", "Owner.1=self"];
    assert_eq!(sent, [want]);
}

#[tokio::test]
async fn what_others_share_is_found_by_owner() {
    let owners = ids(&["999999999999", "012345678901"]);
    let sent = asked(SnapshotFilter::SharedBy { owners, ids: None }, 1).await;
    let want =
        ["MaxResults=1000", "Owner.1=012345678901", "Owner.2=999999999999", "RestorableBy.1=self"];
    assert_eq!(sent, [want]);
}

#[tokio::test]
async fn what_others_share_is_found_by_owner_and_id() {
    let owners = ids(&["012345678901"]);
    let which =
        SnapshotFilter::SharedBy { owners, ids: Some(ids(&["snap-00000002", "snap-00000001"])) };
    let want = [
        "Filter.1.Name=snapshot-id", // SnapshotId.1 would be an error where it is gone
        "Filter.1.Value.1=snap-00000001",
        "Filter.1.Value.2=snap-00000002",
        "MaxResults=1000",
        "Owner.1=012345678901",
        "RestorableBy.1=self",
    ];
    assert_eq!(asked(which, 1).await, [want]);
}

#[tokio::test]
async fn more_than_200_are_several_calls() {
    let values = (0..401).map(|n| format!("v{n:03}")).collect();
    let by_value = asked(SnapshotFilter::TagValues("snapferry:slot", values), 3).await;
    let which = SnapshotFilter::SharedBy {
        owners: ids(&["012345678901"]),
        ids: Some((0..401).map(|n| id(&format!("snap-{n:08x}"))).collect()),
    };
    let by_id = asked(which, 3).await;
    let own = (0..401).map(|n| id(&format!("snap-{n:08x}"))).collect();
    let own_by_id = asked(SnapshotFilter::Ids(own), 3).await;
    for sent in [by_value, by_id, own_by_id] {
        let values = |call: &Vec<String>| call.iter().filter(|it| it.contains(".Value.")).count();
        assert_eq!(sent.iter().map(values).collect::<Vec<_>>(), [200, 200, 1]);
        let others: BTreeSet<Vec<String>> = sent
            .into_iter()
            .map(|call| call.into_iter().filter(|it| !it.contains(".Value.")).collect())
            .collect();
        assert_eq!(others.len(), 1, "but for the values they are the same: {others:?}");
    }
}

#[tokio::test]
async fn nobody_and_nothing_is_no_call() {
    // To EC2 no owner is every owner, and no filter is every snapshot.
    let some = Some(ids(&["snap-00000001"]));
    let nobody = BTreeSet::new;
    asked(SnapshotFilter::SharedBy { owners: nobody(), ids: None }, 0).await;
    asked(SnapshotFilter::SharedBy { owners: nobody(), ids: some }, 0).await;
    let owners = ids(&["012345678901"]);
    asked(SnapshotFilter::SharedBy { owners, ids: Some(BTreeSet::new()) }, 0).await;
    asked(SnapshotFilter::TagValues("snapferry:slot", BTreeSet::new()), 0).await;
    asked(SnapshotFilter::StartedOn(BTreeSet::new()), 0).await;
    asked(SnapshotFilter::Ids(BTreeSet::new()), 0).await;
}

#[tokio::test]
async fn every_page_is_read_and_a_throttled_one_is_asked_for_again() {
    let first = page(&item("snap-00000001", ""), "<nextToken>2</nextToken>");
    let last = page(&item("snap-00000002", ""), "<nextToken/>");
    let aws = Script::default().on("DescribeSnapshots", [first, throttled(), last]);
    let ec2 = aws.ec2().await;
    let found = ec2.describe_snapshots(&SnapshotFilter::Tagged(tags::POLICY)).await.unwrap();
    let found: Vec<_> = found.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(found, ["snap-00000001", "snap-00000002"]);
    let tokens: Vec<_> = aws
        .sent("DescribeSnapshots")
        .iter()
        .map(|sent| sent.parameters().iter().any(|it| it == "NextToken=2"))
        .collect();
    assert_eq!(tokens, [false, true, true]);
}

#[tokio::test]
async fn every_member_arrives() {
    let more = "<status>error</status><statusMessage>Given key ID is not accessible</statusMessage>\
        <description>Created for policy: daily</description><encrypted>true</encrypted>\
        <kmsKeyId>arn:aws:kms:key</kmsKeyId>\
        <tagSet><item><key>Name</key><value>web &amp; 1</value></item></tagSet>";
    let answer = page(&item("snap-0a1b2c3d4e5f60718", more), "");
    let aws = Script::default().on("DescribeSnapshots", [answer]);
    let ec2 = aws.ec2().await;
    let found = ec2.describe_snapshots(&SnapshotFilter::Tagged(tags::POLICY)).await.unwrap();
    let [snapshot] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(snapshot.id, id("snap-0a1b2c3d4e5f60718"));
    assert_eq!(snapshot.volume_id, id("vol-00000001"));
    assert_eq!(snapshot.owner.as_str(), "012345678901", "with its leading zero");
    assert_eq!(snapshot.state, State::Error);
    assert_eq!(snapshot.state_message.as_deref(), Some("Given key ID is not accessible"));
    assert_eq!(snapshot.start_time.to_string(), "2026-11-22T02:00:07Z");
    assert_eq!(snapshot.description, "Created for policy: daily");
    assert_eq!(snapshot.volume_size_gib, 8);
    assert!(!snapshot.archived);
    assert!(snapshot.encrypted);
    assert_eq!(snapshot.kms_key_id.as_deref(), Some("arn:aws:kms:key"));
    assert_eq!(snapshot.tags, [("Name".to_owned(), "web & 1".to_owned())].into());
}

#[tokio::test]
async fn a_state_of_tomorrow_is_none_of_ours() {
    let states = ["completed", "pending", "error", "recoverable", "recovering", "tomorrow", ""];
    let items: String = states
        .iter()
        .enumerate()
        .map(|(n, it)| {
            item(&format!("snap-0000000{n}"), &format!("<status>{it}</status><statusMessage/>"))
        })
        .collect();
    let aws = Script::default().on("DescribeSnapshots", [page(&items, "")]);
    let ec2 = aws.ec2().await;
    let found = ec2.describe_snapshots(&SnapshotFilter::Tagged(tags::POLICY)).await.unwrap();
    let states: Vec<_> = found.iter().map(|it| it.state).collect();
    let other = State::Other;
    let want = [State::Completed, State::Pending, State::Error, other, other, other, other];
    assert_eq!(states, want);
    assert!(found.iter().all(|it| it.state_message.is_none()));
}

#[tokio::test]
async fn the_tier_tells_what_is_archived() {
    for (tier, archived) in [("archive", true), ("standard", false), ("tomorrow", false)] {
        let more = format!("<storageTier>{tier}</storageTier>");
        let answer = page(&item("snap-00000001", &more), "");
        let aws = Script::default().on("DescribeSnapshots", [answer]);
        let ec2 = aws.ec2().await;
        let found = ec2.describe_snapshots(&SnapshotFilter::Tagged(tags::POLICY)).await.unwrap();
        assert_eq!(found[0].archived, archived, "{tier}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let whole = item("snap-00000001", "");
    for (part, left, text) in [
        ("snap-00000001", "", "the answer has a snapshot with the id \"\""),
        ("vol-00000001", "vol-", "the answer has a snapshot of the volume \"vol-\""),
        ("012345678901", "12345678901", "the answer has a snapshot of the owner \"12345678901\""),
        ("<startTime>2026-11-22T02:00:07.000Z</startTime>", "", "the answer has the time \"None\""),
    ] {
        let answer = page(&whole.replace(part, left), "");
        let aws = Script::default().on("DescribeSnapshots", [answer]);
        let ec2 = aws.ec2().await;
        let which = SnapshotFilter::Tagged(tags::POLICY);
        let err = ec2.describe_snapshots(&which).await.unwrap_err();
        assert_no_answer(&err, "DescribeSnapshots", text);
    }
}

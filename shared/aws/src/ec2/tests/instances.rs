use std::collections::BTreeSet;

use snapferry_core::ec2::{Ec2, ErrorKind, InstanceFilter};
use snapferry_core::ids::VolumeId;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, Sent, id, ids, ok, refused, throttled};

const ACTION: &str = "DescribeInstances";

/// The states that are asked for.
const STATES: [&str; 5] = [
    "Filter.1.Name=instance-state-name",
    "Filter.1.Value.1=pending",
    "Filter.1.Value.2=running",
    "Filter.1.Value.3=stopped",
    "Filter.1.Value.4=stopping",
];

fn item(id: &str, state: &str, root: &str, devices: &[(&str, &str)]) -> String {
    let device = |(name, volume): &(&str, &str)| {
        format!(
            "<item><deviceName>{name}</deviceName><ebs><volumeId>{volume}</volumeId>\
             <status>attached</status><attachTime>2026-01-05T10:00:00.000Z</attachTime>\
             <deleteOnTermination>true</deleteOnTermination></ebs></item>"
        )
    };
    let devices: String = devices.iter().map(device).collect();
    format!(
        "<item><instanceId>{id}</instanceId><imageId>ami-00000001</imageId>\
         <instanceState><code>16</code><name>{state}</name></instanceState>\
         <rootDeviceType>ebs</rootDeviceType><rootDeviceName>{root}</rootDeviceName>\
         <blockDeviceMapping>{devices}</blockDeviceMapping>\
         <tagSet><item><key>Backup</key><value>daily</value></item></tagSet></item>"
    )
}

fn page(reservations: &[&[String]], next: &str) -> Answer {
    let reservation = |instances: &&[String]| {
        let instances = instances.concat();
        format!(
            "<item><reservationId>r-00000001</reservationId><ownerId>012345678901</ownerId>\
             <groupSet/><instancesSet>{instances}</instancesSet></item>"
        )
    };
    let reservations: String = reservations.iter().map(reservation).collect();
    ok(ACTION, &format!("<reservationSet>{reservations}</reservationSet>{next}"))
}

fn some(id: &str) -> String {
    item(id, "running", "/dev/xvda", &[("/dev/xvda", "vol-00000001")])
}

fn by_key() -> InstanceFilter {
    InstanceFilter::TagKeys(["Backup".to_owned()].into())
}

#[tokio::test]
async fn every_reservation_of_every_page_is_read() {
    let first = page(
        &[&[some("i-00000001"), some("i-00000002")], &[some("i-00000003")]],
        "<nextToken>2</nextToken>",
    );
    let last = page(&[&[some("i-00000004")]], "<nextToken/>");
    let aws = Script::default().on(ACTION, [first, throttled(), last]);
    let found = aws.ec2().await.describe_instances(&by_key()).await.unwrap();
    let found: Vec<_> = found.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(found, ["i-00000001", "i-00000002", "i-00000003", "i-00000004"]);
    let sent: Vec<_> = aws.sent(ACTION).iter().map(Sent::parameters).collect();
    let mut want = STATES.to_vec();
    want.extend(["Filter.2.Name=tag-key", "Filter.2.Value.1=Backup", "MaxResults=1000"]);
    assert_eq!(sent[0], want);
    want.push("NextToken=2");
    assert_eq!(sent[1], want);
    assert_eq!(sent[2], want);
    assert_eq!(sent.len(), 3);
}

#[tokio::test]
async fn all_are_those_that_are_there() {
    let aws = Script::default().on(ACTION, [page(&[], "")]);
    let found = aws.ec2().await.describe_instances(&InstanceFilter::All).await.unwrap();
    assert_eq!(found, []);
    let mut want = STATES.to_vec();
    want.push("MaxResults=1000");
    assert_eq!(aws.sent(ACTION)[0].parameters(), want);
}

#[tokio::test]
async fn more_than_200_keys_are_several_calls_and_none_is_no_call() {
    let aws = Script::default().on(ACTION, vec![page(&[], ""); 3]);
    let ec2 = aws.ec2().await;
    let keys = (0..401).map(|n| format!("key{n:03}")).collect();
    ec2.describe_instances(&InstanceFilter::TagKeys(keys)).await.unwrap();
    let values = |sent: &Sent| {
        let parameters = sent.parameters();
        parameters.iter().filter(|it| it.starts_with("Filter.2.Value.")).count()
    };
    let sent = aws.sent(ACTION);
    assert_eq!(sent.iter().map(values).collect::<Vec<_>>(), [200, 200, 1]);
    assert!(sent.iter().all(|it| it.parameters().iter().any(|it| it == STATES[0])));
    let nothing = InstanceFilter::TagKeys(BTreeSet::new());
    assert_eq!(ec2.describe_instances(&nothing).await.unwrap(), []);
    assert_eq!(aws.actions().len(), 3);
}

#[tokio::test]
async fn volumes_are_in_order_of_their_devices_and_the_root_is_the_boot_volume() {
    let devices =
        [("/dev/sdf", "vol-00000001"), ("/dev/xvda", "vol-00000003"), ("/dev/sdb", "vol-00000002")];
    let rootless = item("i-00000003", "running", "", &[("", "vol-00000001")]);
    let items = [
        item("i-00000001", "running", "/dev/xvda", &devices),
        item("i-00000002", "running", "/dev/sda1", &devices),
        rootless.replace("<rootDeviceName></rootDeviceName>", ""),
        rootless,
        // Instance store has no volume.
        some("i-00000004").replace("<volumeId>vol-00000001</volumeId>", ""),
        "<item><instanceId>i-00000005</instanceId></item>".to_owned(),
    ];
    let aws = Script::default().on(ACTION, [page(&[&items], "")]);
    let found = aws.ec2().await.describe_instances(&by_key()).await.unwrap();
    let volumes: Vec<VolumeId> = ids(&["vol-00000002", "vol-00000001", "vol-00000003"]);
    assert_eq!((&found[0].volumes, &found[1].volumes), (&volumes, &volumes));
    assert_eq!(found[0].boot_volume, Some(id("vol-00000003")));
    assert_eq!(found[0].tags["Backup"], "daily");
    assert!(found[1..].iter().all(|it| it.boot_volume.is_none()), "{found:?}");
    assert!(found[4..].iter().all(|it| it.volumes.is_empty()), "{found:?}");
}

#[tokio::test]
async fn instances_on_their_way_in_or_out_are_not_usable() {
    for (states, usable) in [
        (["running", "stopping", "stopped"].as_slice(), true),
        (&["pending", "shutting-down", "terminated", "tomorrow", ""], false),
    ] {
        for state in states {
            let items = [item("i-00000001", state, "/dev/xvda", &[])];
            let aws = Script::default().on(ACTION, [page(&[&items], "")]);
            let found = aws.ec2().await.describe_instances(&by_key()).await.unwrap();
            assert_eq!(found[0].usable, usable, "{state}");
        }
    }
    let stateless = "<item><instanceId>i-00000001</instanceId></item>".to_owned();
    let aws = Script::default().on(ACTION, [page(&[&[stateless]], "")]);
    let found = aws.ec2().await.describe_instances(&by_key()).await.unwrap();
    assert!(!found[0].usable);
}

#[tokio::test]
async fn what_cannot_be_is_named() {
    for (part, text) in [
        ("i-00000001", "the answer has an instance with the id \"\""),
        ("00000001</volumeId>", "the answer has a device of the volume \"vol-\""),
    ] {
        let left = if part.ends_with('>') { "</volumeId>" } else { "" };
        let items = [some("i-00000001").replace(part, left)];
        let aws = Script::default().on(ACTION, [page(&[&items], "")]);
        let err = aws.ec2().await.describe_instances(&by_key()).await.unwrap_err();
        assert_no_answer(&err, ACTION, text);
    }
}

#[tokio::test]
async fn half_a_list_is_no_list() {
    let first = || page(&[&[some("i-00000001")]], "<nextToken>2</nextToken>");
    let message = "You are not authorized to perform this operation.";
    let denied = refused(403, "UnauthorizedOperation", message);
    let aws = Script::default().on(ACTION, [first(), denied]);
    let err = aws.ec2().await.describe_instances(&by_key()).await.unwrap_err();
    let text =
        format!("AWS refused {ACTION}: {message} (UnauthorizedOperation, request ID {REQUEST_ID})");
    assert_refused(&err, ErrorKind::AccessDenied, &text);

    let answers = [first()].into_iter().chain(vec![Answer::Reset; 5]);
    let aws = Script::default().on(ACTION, answers);
    let err = aws.ec2().await.describe_instances(&by_key()).await.unwrap_err();
    assert_no_answer(&err, ACTION, "connection reset by peer");
}

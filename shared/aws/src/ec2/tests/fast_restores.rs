use std::collections::BTreeSet;

use snapferry_core::ec2::{Ec2, Ec2Error, ErrorKind};
use snapferry_core::inventory::FastRestores;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, Sent, broken, id, ok, refused, throttled};

const DESCRIBE: &str = "DescribeFastSnapshotRestores";
const ZONES: &str = "DescribeAvailabilityZones";
const WAYS: [&str; 2] = ["EnableFastSnapshotRestores", "DisableFastSnapshotRestores"];

fn names(zones: &[&str]) -> BTreeSet<String> {
    zones.iter().map(|&zone| zone.to_owned()).collect()
}

fn success(snapshot: &str, zone: &str) -> String {
    format!(
        "<item><snapshotId>{snapshot}</snapshotId><availabilityZone>{zone}</availabilityZone>\
         <availabilityZoneId>euc1-az2</availabilityZoneId><state>enabling</state>\
         <stateTransitionReason>Client.UserInitiated</stateTransitionReason>\
         <ownerId>012345678901</ownerId><enablingTime>2026-11-22T02:00:07.000Z</enablingTime></item>"
    )
}

fn page(restores: &[(&str, &str)], next: &str) -> Answer {
    let items: String = restores.iter().map(|(snapshot, zone)| success(snapshot, zone)).collect();
    let members = format!("<fastSnapshotRestoreSet>{items}</fastSnapshotRestoreSet>{next}");
    ok(DESCRIBE, &members)
}

#[tokio::test]
async fn what_is_enabled_is_found_on_every_page() {
    let (one, two) = ("snap-00000001", "snap-00000002");
    let answers = [
        page(&[(one, "eu-central-1a"), (two, "eu-central-1a")], "<nextToken>2</nextToken>"),
        throttled(),
        page(&[], "<nextToken>3</nextToken>"),
        page(&[(one, "eu-central-1b")], "<nextToken/>"),
    ];
    let aws = Script::default().on(DESCRIBE, answers);
    let found = aws.ec2().await.describe_fast_snapshot_restores().await.unwrap();
    let want = [
        (id(one), names(&["eu-central-1a", "eu-central-1b"])),
        (id(two), names(&["eu-central-1a"])),
    ];
    assert_eq!(found, FastRestores::from(want));
    let sent: Vec<_> = aws.sent(DESCRIBE).iter().map(Sent::parameters).collect();
    let mut want = vec![
        "Filter.1.Name=state",
        "Filter.1.Value.1=enabled",
        "Filter.1.Value.2=enabling",
        "Filter.1.Value.3=optimizing",
        "MaxResults=200", // it takes no more
    ];
    assert_eq!(sent[0], want);
    want.push("NextToken=2");
    assert_eq!(sent[2], want);
    assert_eq!(sent.len(), 4);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_nothing() {
    let message = "You are not authorized to perform this operation.";
    let denied = refused(403, "UnauthorizedOperation", message);
    let first = page(&[("snap-00000001", "eu-central-1a")], "<nextToken>2</nextToken>");
    let aws = Script::default().on(DESCRIBE, [first, denied]);
    let err = aws.ec2().await.describe_fast_snapshot_restores().await.unwrap_err();
    let text = format!(
        "AWS refused {DESCRIBE}: {message} (UnauthorizedOperation, request ID {REQUEST_ID})"
    );
    assert_refused(&err, ErrorKind::AccessDenied, &text);
    for (snapshot, zone, text) in [
        ("", "eu-central-1a", "the answer has a fast restore of the snapshot \"\""),
        ("snap-00000001", "", "the answer has a fast restore in the zone \"\""),
    ] {
        let aws = Script::default().on(DESCRIBE, [page(&[(snapshot, zone)], "")]);
        let err = aws.ec2().await.describe_fast_snapshot_restores().await.unwrap_err();
        assert_no_answer(&err, DESCRIBE, text);
    }
}

fn zones(zones: &[(&str, &str)]) -> Answer {
    let item = |(id, name): &(&str, &str)| {
        format!(
            "<item><optInStatus>opt-in-not-required</optInStatus><messageSet/>\
             <regionName>eu-central-1</regionName><zoneName>{name}</zoneName><zoneId>{id}</zoneId>\
             <zoneState>available</zoneState></item>"
        )
    };
    let items: String = zones.iter().map(item).collect();
    ok(ZONES, &format!("<availabilityZoneInfo>{items}</availabilityZoneInfo>"))
}

#[tokio::test]
async fn zones_are_found_by_id() {
    let answer = zones(&[("euc1-az2", "eu-central-1a"), ("euc1-az3", "eu-central-1b")]);
    let aws = Script::default().on(ZONES, [Answer::Reset, throttled(), answer]);
    let found = aws.ec2().await.describe_availability_zones().await.unwrap();
    let want = [("euc1-az2", "eu-central-1a"), ("euc1-az3", "eu-central-1b")];
    assert_eq!(found, want.map(|(id, name)| (id.to_owned(), name.to_owned())).into());
    assert_eq!(aws.sent(ZONES)[0].parameters(), [""; 0]);
    assert_eq!(aws.actions().len(), 3);
}

#[tokio::test]
async fn zones_that_cannot_be_read_are_not_no_zones() {
    let aws = Script::default().on(ZONES, [refused(403, "UnauthorizedOperation", "No.")]);
    let err = aws.ec2().await.describe_availability_zones().await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::AccessDenied);
    for (zone, text) in [
        (("", "eu-central-1a"), "the answer has a zone with the id \"\""),
        (("euc1-az2", ""), "the answer has a zone with the name \"\""),
    ] {
        let aws = Script::default().on(ZONES, [zones(&[zone])]);
        let err = aws.ec2().await.describe_availability_zones().await.unwrap_err();
        assert_no_answer(&err, ZONES, text);
    }
}

async fn change(aws: &Script, way: &str) -> Result<(), Ec2Error> {
    let (ec2, snapshot) = (aws.ec2().await, id("snap-00000001"));
    let zones = names(&["eu-central-1b", "eu-central-1a"]);
    match way {
        "EnableFastSnapshotRestores" => ec2.enable_fast_snapshot_restores(&snapshot, &zones).await,
        _ => ec2.disable_fast_snapshot_restores(&snapshot, &zones).await,
    }
}

/// The answer: done in one zone, and in these not, with code and message.
fn partly(way: &str, failed: &[(&str, &str, &str)]) -> Answer {
    let item = |(zone, code, message): &(&str, &str, &str)| {
        format!(
            "<item><availabilityZone>{zone}</availabilityZone>\
             <error><code>{code}</code><message>{message}</message></error></item>"
        )
    };
    let errors: String = failed.iter().map(item).collect();
    let unsuccessful = format!(
        "<item><snapshotId>snap-00000001</snapshotId><fastSnapshotRestoreStateErrorSet>{errors}\
         </fastSnapshotRestoreStateErrorSet></item>"
    );
    let unsuccessful = if failed.is_empty() { "" } else { &unsuccessful };
    let successful = success("snap-00000001", "eu-central-1c");
    let members =
        format!("<successful>{successful}</successful><unsuccessful>{unsuccessful}</unsuccessful>");
    ok(way, &members)
}

#[tokio::test]
async fn one_snapshot_in_all_its_zones_is_one_call_which_may_be_sent_again() {
    for way in WAYS {
        for fault in [Answer::Reset, Answer::TimedOut, broken(), throttled()] {
            let aws = Script::default().on(way, [fault, partly(way, &[])]);
            change(&aws, way).await.unwrap();
            let want = [
                "AvailabilityZone.1=eu-central-1a",
                "AvailabilityZone.2=eu-central-1b",
                "SourceSnapshotId.1=snap-00000001",
            ];
            let sent: Vec<_> = aws.sent(way).iter().map(Sent::parameters).collect();
            assert_eq!(sent, [want, want]);
        }
    }
}

#[tokio::test]
async fn a_success_that_names_a_failed_zone_is_a_refusal() {
    let (a, b) = ("eu-central-1a", "eu-central-1b");
    let limit = "FastSnapshotRestoresPerRegionLimitExceeded"; // AWS does not tell its name
    for way in WAYS {
        for (failed, kind, code, text) in [
            (
                [(a, "Server.InsufficientCapacity", "Later."), (b, "IncorrectState", "Pending.")],
                ErrorKind::QuotaExceeded,
                "Server.InsufficientCapacity",
                "eu-central-1a: Later.; eu-central-1b: Pending.",
            ),
            (
                // The one that somebody has to act on, wherever it stands.
                [(a, "IncorrectState", "Pending."), (b, "UnsupportedOperation", "Too large.")],
                ErrorKind::Invalid,
                "UnsupportedOperation",
                "eu-central-1a: Pending.; eu-central-1b: Too large.",
            ),
            (
                [(a, "Client.InvalidSnapshot.InvalidState", "Error"), (b, limit, "5.")],
                ErrorKind::NotReady,
                "Client.InvalidSnapshot.InvalidState",
                "eu-central-1a: Error; eu-central-1b: 5.",
            ),
        ] {
            if way != WAYS[0] && failed.iter().any(|(_, code, _)| *code == limit) {
                continue; // a limit forbids no end
            }
            let aws = Script::default().on(way, [partly(way, &failed)]);
            let err = change(&aws, way).await.unwrap_err();
            let text = format!("AWS refused {way}: {text} ({code}, request ID {REQUEST_ID})");
            assert_refused(&err, kind, &text);
            assert_eq!(aws.actions(), [way], "the answer is final");
        }
    }
}

#[tokio::test]
async fn a_failed_zone_without_a_reason_is_one_too() {
    let item = |errors: &str| {
        let item = format!("<item><snapshotId>snap-00000001</snapshotId>{errors}</item>");
        format!("<unsuccessful>{item}</unsuccessful>")
    };
    let nameless = "<fastSnapshotRestoreStateErrorSet><item/></fastSnapshotRestoreStateErrorSet>";
    for way in WAYS {
        for (errors, text) in [("", "no zone and no message"), (nameless, "a zone: no message")] {
            let aws = Script::default().on(way, [ok(way, &item(errors))]);
            let err = change(&aws, way).await.unwrap_err();
            let text = format!("AWS refused {way}: {text} (no code, request ID {REQUEST_ID})");
            assert_refused(&err, ErrorKind::Invalid, &text);
        }
    }
}

#[tokio::test]
async fn a_refusal_as_a_whole_is_one_as_anywhere() {
    for way in WAYS {
        for (code, kind) in [
            ("InvalidSnapshot.NotFound", ErrorKind::NotFound),
            ("InvalidZone.NotFound", ErrorKind::Invalid),
            ("UnauthorizedOperation", ErrorKind::AccessDenied),
        ] {
            let aws = Script::default().on(way, [refused(400, code, "Why.")]);
            let err = change(&aws, way).await.unwrap_err();
            let text = format!("AWS refused {way}: Why. ({code}, request ID {REQUEST_ID})");
            assert_refused(&err, kind, &text);
        }
        let aws = Script::default().on(way, vec![Answer::TimedOut; 5]);
        let err = change(&aws, way).await.unwrap_err();
        assert_no_answer(&err, way, "no byte for 20 s");
    }
}

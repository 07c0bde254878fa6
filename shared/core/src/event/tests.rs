//! Every shape of event.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn share(detail: &Value) -> Value {
    json!({"detail-type": "EBS Snapshot Notification", "region": "us-east-1",
           "resources": ["arn:aws:ec2::us-east-1:snapshot/snap-0a1b2c3d4e5f60718"], "detail": detail})
}

fn one(region: &str, snapshot: &str, owner: Option<&str>) -> CopyScope {
    CopyScope::One {
        region: region.parse().unwrap(),
        snapshot: snapshot.parse().unwrap(),
        owner: owner.map(|owner| owner.parse().unwrap()),
    }
}

#[test]
fn a_share_is_read_in_every_published_shape() {
    for (arn, source) in [
        ("arn:aws:ec2::us-east-1:snapshot/snap-0a1b2c3d4e5f60718", json!("012345678901")),
        ("arn:aws:ec2:us-east-1::snapshot/snap-0a1b2c3d4e5f60718", json!("012345678901")),
        ("arn:aws-cn:ec2:us-east-1:1:snapshot/snap-0a1b2c3d4e5f60718", json!(12_345_678_901_u64)),
    ] {
        let event = share(&json!({"event": "shareSnapshot", "result": "succeeded",
                                 "snapshot_id": arn, "source": source}));
        let what = CopyEvent::parse(&event).unwrap().what;
        assert_eq!(what, one("us-east-1", "snap-0a1b2c3d4e5f60718", Some("012345678901")), "{arn}");
    }
}

#[test]
fn a_failed_copy_is_looked_for_where_its_source_is() {
    let event = share(&json!({"event": "copySnapshot", "result": "failed",
                             "source": "arn:aws:ec2::eu-west-1:snapshot/snap-76543210"}));
    assert_eq!(CopyEvent::parse(&event).unwrap().what, one("eu-west-1", "snap-76543210", None));
}

#[test]
fn a_full_copy_is_told_from_an_incremental_one_in_every_published_spelling() {
    let told = |name: &str, value: Value| {
        let mut event = share(&json!({
            "event": "copySnapshot", "result": "succeeded", "transferType": "standard",
            "snapshot_id": "arn:aws:ec2::us-east-1:snapshot/snap-01234567",
            "source": "arn:aws:ec2::eu-west-1:snapshot/snap-76543210",
        }));
        event["detail"][name] = value;
        CopyEvent::parse(&event).unwrap().what
    };
    let full = CopyScope::FullCopy {
        region: "us-east-1".parse().unwrap(),
        copy: "snap-01234567".parse().unwrap(),
    };
    for value in [json!("false"), json!("False"), json!(false)] {
        assert_eq!(told("incremental", value.clone()), full, "{value}");
        assert_eq!(told("Incremental", value.clone()), full, "{value}");
    }
    for value in [json!("true"), json!("True"), json!(true), json!(null), json!(0), json!("")] {
        assert_eq!(told("incremental", value.clone()), CopyScope::Nothing, "{value}");
        assert_eq!(told("Incremental", value.clone()), CopyScope::Nothing, "{value}");
    }
    let event = share(&json!({"event": "copySnapshot", "result": "succeeded",
                              "incremental": "false", "snapshot_id": "vol-1"}));
    let said = CopyEvent::parse(&event).unwrap_err().to_string();
    assert!(said.contains("/detail/snapshot_id: want the ARN of a snapshot"), "{said}");
}

#[test]
fn other_kinds_are_no_matter_of_ours() {
    for event in [
        share(&json!({"event": "shareSnapshot", "result": "failed"})),
        share(&json!({"event": "copySnapshot", "result": "succeeded"})),
        share(&json!({"event": "createSnapshot", "result": "succeeded"})),
        json!({"detail-type": "EBS Volume Notification", "detail": {}}),
        json!({"detail-type": "EBS Snapshot Block Public Access Enabled"}),
    ] {
        assert_eq!(CopyEvent::parse(&event).unwrap().what, CopyScope::Nothing, "{event}");
    }
}

#[test]
fn garbage_is_named() {
    let said = |event: Value| CopyEvent::parse(&event).unwrap_err().to_string();
    assert_eq!(said(json!(7)), "event is invalid: /: want an object, found 7");
    assert_eq!(
        said(json!({"DryRun": "yes"})),
        "event is invalid: /DryRun: want true or false, found \"yes\""
    );
    assert_eq!(
        said(json!({"SnapshotIds": ["vol-1"]})),
        "event is invalid: /SnapshotIds/0: want a list of snapshot ids, found \"vol-1\""
    );
    assert!(
        said(json!({"Snapshotids": []}))
            .starts_with("event is invalid: /Snapshotids: want an EventBridge event, or any")
    );
    assert_eq!(
        said(share(
            &json!({"event": "shareSnapshot", "snapshot_id": "snap-01234567", "source": -1})
        )),
        "event is invalid: /detail/source: want the account id of the snapshot's owner, found -1"
    );
    assert!(said(json!({"Now": "2026-01-01T00:00:00Z"})).contains("only together with \"DryRun\""));
}

#[test]
fn what_is_wrong_is_told_on_one_short_line_and_without_secrets() {
    let told = |event: &Value| RotateEvent::parse(event).unwrap_err();
    let long = told(&json!({"n/".repeat(9000): 1}));
    assert!(long.to_string().len() < 500, "{}", long.to_string().len());
    assert!(long.pointer.starts_with("/n~1n~1"), "{}", long.pointer);
    let lines = told(&json!({"Now": "a\u{2028}b\u{2029}c\nd"})).to_string();
    assert!(lines.ends_with("found \"a b c\\nd\""), "{lines}");
    let secret = told(&json!([{"Policies": [{"Targets": [{"ExternalId": "very-secret"}]}]}]));
    assert!(!secret.to_string().contains("very-secret"), "{secret}");
    assert!(secret.found.contains("not shown"), "{secret}");
}

#[test]
fn a_schedule_gives_its_time() {
    let at = "2024-06-13T12:30:00Z";
    for detail in [json!({}), json!("{}")] {
        let event = json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "time": at,
                           "detail": detail});
        let parsed = RotateEvent::parse(&event).unwrap();
        assert_eq!(parsed.scheduled_time, Some(at.parse().unwrap()));
        assert_eq!(CopyEvent::parse(&event).unwrap().what, CopyScope::Sweep);
    }
    let direct = json!({"ScheduledTime": at, "Scopes": ["333333333333/eu-central-1"]});
    assert_eq!(RotateEvent::parse(&direct).unwrap().scopes.len(), 1);
    let unreplaced = json!({"ScheduledTime": "<aws.scheduler.scheduled-time>"});
    assert!(RotateEvent::parse(&unreplaced).unwrap_err().to_string().contains("<aws.scheduler"));
    assert_eq!(RotateEvent::parse(&json!({})).unwrap(), RotateEvent::default());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(kind in ".{0,30}", detail in ".{0,60}", id in any::<i64>()) {
        for event in [
            json!({"detail-type": kind, "detail": detail}),
            share(&json!({"event": "shareSnapshot", "snapshot_id": detail, "source": id})),
            json!({kind: detail}),
        ] {
            let _ = CopyEvent::parse(&event);
            let _ = RotateEvent::parse(&event);
        }
    }
}

#[test]
fn scopes_are_listed_and_a_list_is_given_back() {
    let event = RotateEvent::parse(&json!({"ListScopes": 8})).unwrap();
    assert_eq!(event.list_scopes.unwrap().get(), 8);
    assert_eq!(event.listed, None);
    let event = json!({"Listed": {"ou-ab12-cd34ef56": ["333333333333"]}, "ListScopes": null});
    let event = RotateEvent::parse(&event).unwrap();
    let listed = event.listed.unwrap();
    assert_eq!(listed[&"ou-ab12-cd34ef56".parse().unwrap()].len(), 1);
    let empty = RotateEvent::parse(&json!({"Listed": {}})).unwrap();
    assert_eq!(empty.listed, Some(BTreeMap::new()));
    for (event, want) in [
        (
            json!({"ListScopes": 0}),
            "/ListScopes: want how many scopes a run takes, 1 to 1000, found 0",
        ),
        (
            json!({"ListScopes": true}),
            "/ListScopes: want how many scopes a run takes, 1 to 1000, found true",
        ),
        (json!({"Listed": []}), "/Listed: want organizational units with their accounts"),
        (json!({"Listed": {"x": []}}), "/Listed: want organizational units with their accounts"),
        (json!({"Listed": {"r-ab12": ["1"]}}), "/Listed/r-ab12/0: want organizational units"),
    ] {
        let said = RotateEvent::parse(&event).unwrap_err().to_string();
        assert!(said.contains(want), "{said}");
    }
}

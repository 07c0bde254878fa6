//! Events in: what woke a function, in every shape that AWS has published, and direct calls.
//!
//! An event is a hint, never an authority: it narrows the scope and shortens the delay. Owner, state, description
//! and encryption are read from EC2.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::chain::one_line;
use crate::ids::{AccountId, Region, Scope, SnapshotId};

/// The event is none that the function knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event is invalid: {pointer}: want {want}, found {found}")]
pub struct InvalidEvent {
    /// JSON pointer to the member.
    pub pointer: String,
    /// What would have been right.
    pub want: &'static str,
    /// What was there, shortened.
    pub found: String,
}

/// What both functions take in a direct call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// Policy documents instead of the configured ones.
    pub policies: Option<Vec<Value>>,
    /// Plan and audit, and do nothing.
    pub dry_run: bool,
    /// What would happen at that time; only together with `dry_run`.
    pub now: Option<Timestamp>,
}

/// What woke `rotate-snapshots`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RotateEvent {
    /// See [`Common`].
    pub common: Common,
    /// Decides which slot is due; `None`: now.
    pub scheduled_time: Option<Timestamp>,
    /// Only these; empty: all.
    pub scopes: BTreeSet<Scope>,
}

/// What woke `copy-shared-snapshots`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyEvent {
    /// See [`Common`].
    pub common: Common,
    /// What to look at.
    pub what: CopyScope,
}

/// How much of the world a run of `copy-shared-snapshots` looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CopyScope {
    /// Everything that is shared with this account, and every copy.
    #[default]
    Sweep,
    /// One snapshot in one Region, as an event named it.
    One {
        /// Where it is.
        region: Region,
        /// Which.
        snapshot: SnapshotId,
        /// Who shared it, as the event says.
        owner: Option<AccountId>,
    },
    /// These snapshots, in any of the source Regions.
    Ids(BTreeSet<SnapshotId>),
    /// A copy that has ended well and was a full one, as an event says: whether that had to be.
    FullCopy {
        /// Where it is.
        region: Region,
        /// Which.
        copy: SnapshotId,
    },
    /// An event that is no matter of ours.
    Nothing,
}

impl RotateEvent {
    /// Reads an event: a direct call, a scheduled-rule event, or the default event of
    /// `EventBridge` Scheduler.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(event: &Value) -> Result<Self, InvalidEvent> {
        let event = object(event)?;
        if is_from_event_bridge(event) {
            return Ok(Self { scheduled_time: Some(scheduled(event)?), ..Self::default() });
        }
        only(
            event,
            &["ScheduledTime", "Policies", "Scopes", "DryRun", "Now"],
            "an EventBridge schedule, or any of ScheduledTime, Policies, Scopes, DryRun, Now",
        )?;
        let scopes =
            strings(event, "Scopes", "a list of account/Region such as 333333333333/eu-central-1")?;
        Ok(Self {
            common: common(event)?,
            scheduled_time: time(event, "ScheduledTime")?,
            scopes: scopes.into_iter().collect(),
        })
    }
}

impl CopyEvent {
    /// Reads an event: `EBS Snapshot Notification` in any published shape, a scheduled event, or a direct call.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(event: &Value) -> Result<Self, InvalidEvent> {
        let event = object(event)?;
        if !is_from_event_bridge(event) {
            only(
                event,
                &["Policies", "SnapshotIds", "DryRun", "Now"],
                "an EventBridge event, or any of Policies, SnapshotIds, DryRun, Now",
            )?;
            let ids = strings(event, "SnapshotIds", "a list of snapshot ids")?;
            let what = if ids.is_empty() {
                CopyScope::Sweep
            } else {
                CopyScope::Ids(ids.into_iter().collect())
            };
            return Ok(Self { common: common(event)?, what });
        }
        let kind = text(event, "detail-type");
        let what = match kind {
            Some("Scheduled Event") => {
                scheduled(event)?;
                CopyScope::Sweep
            }
            Some("EBS Snapshot Notification") => notification(event)?,
            _ => CopyScope::Nothing,
        };
        Ok(Self { common: Common::default(), what })
    }
}

/// `EBS Snapshot Notification`
/// ([EventBridge events for EBS](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html)).
fn notification(event: &Map<String, Value>) -> Result<CopyScope, InvalidEvent> {
    let empty = Map::new();
    let detail = match event.get("detail") {
        Some(Value::Object(detail)) => detail,
        None | Some(Value::Null) => &empty,
        Some(other) => return Err(invalid("/detail", "an object", other)),
    };
    let result = text(detail, "result").unwrap_or_default();
    match text(detail, "event") {
        Some("shareSnapshot") if result == "succeeded" || result.is_empty() => {
            let snapshot = arn(event, detail, "snapshot_id")?;
            Ok(CopyScope::One { region: region(event)?, snapshot, owner: Some(owner(detail)?) })
        }
        Some("copySnapshot") if result == "failed" => {
            // `source` is the ARN of what was copied, which may be in another Region than the event's.
            let source = text(detail, "source").unwrap_or_default();
            let snapshot = SnapshotId::from_arn(source).map_err(|err| {
                invalid_text("/detail/source", "the ARN of a snapshot", &err.found)
            })?;
            let region = match region_of_arn(source) {
                Some(region) => region,
                None => region(event)?,
            };
            Ok(CopyScope::One { region, snapshot, owner: None })
        }
        Some("copySnapshot") if result == "succeeded" && is_full(detail) => {
            Ok(CopyScope::FullCopy {
                region: region(event)?, // the destination's
                copy: arn(event, detail, "snapshot_id")?,
            })
        }
        _ => Ok(CopyScope::Nothing),
    }
}

/// Whether the event of a copy says that it was not incremental: `"incremental": "false"`, and in older texts
/// `"Incremental": "False"`.
fn is_full(detail: &Map<String, Value>) -> bool {
    match detail.get("incremental").or_else(|| detail.get("Incremental")) {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
        Some(Value::Bool(incremental)) => !incremental,
        _ => false,
    }
}

fn arn(
    event: &Map<String, Value>,
    detail: &Map<String, Value>,
    member: &str,
) -> Result<SnapshotId, InvalidEvent> {
    let of_detail = text(detail, member);
    let of_event = event
        .get("resources")
        .and_then(Value::as_array)
        .and_then(|resources| resources.first())
        .and_then(Value::as_str);
    let found = of_detail.or(of_event).unwrap_or_default();
    SnapshotId::from_arn(found)
        .map_err(|_| invalid_text("/detail/snapshot_id", "the ARN of a snapshot", found))
}

/// The account as text, or as a number that has lost its leading zeros.
fn owner(detail: &Map<String, Value>) -> Result<AccountId, InvalidEvent> {
    const WANT: &str = "the account id of the snapshot's owner";
    let parsed = match detail.get("source") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Number(number)) => {
            number.as_u64().and_then(|number| AccountId::from_number(number).ok())
        }
        _ => None,
    };
    parsed.ok_or_else(|| match detail.get("source") {
        Some(found) => invalid("/detail/source", WANT, found),
        None => invalid_text("/detail/source", WANT, "nothing"),
    })
}

fn region(event: &Map<String, Value>) -> Result<Region, InvalidEvent> {
    let found = text(event, "region").unwrap_or_default();
    found.parse().map_err(|_| invalid_text("/region", "a Region such as eu-central-1", found))
}

/// The Region in a snapshot ARN, which AWS puts into the Region's or the account's place.
fn region_of_arn(arn: &str) -> Option<Region> {
    arn.split(':').skip(3).take(2).find_map(|part| part.parse().ok())
}

fn is_from_event_bridge(event: &Map<String, Value>) -> bool {
    event.contains_key("detail-type")
}

fn scheduled(event: &Map<String, Value>) -> Result<Timestamp, InvalidEvent> {
    let kind = text(event, "detail-type").unwrap_or_default();
    if kind != "Scheduled Event" {
        return Err(invalid_text("/detail-type", "Scheduled Event", kind));
    }
    time(event, "time")?.ok_or_else(|| invalid_text("/time", TIME, "nothing"))
}

const TIME: &str = "a time such as 2026-11-22T02:10:00Z";

fn time(event: &Map<String, Value>, member: &str) -> Result<Option<Timestamp>, InvalidEvent> {
    match event.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(found) => match found.as_str().and_then(|text| text.parse().ok()) {
            Some(time) => Ok(Some(time)),
            None => Err(invalid(&format!("/{member}"), TIME, found)),
        },
    }
}

fn common(event: &Map<String, Value>) -> Result<Common, InvalidEvent> {
    let policies = match event.get("Policies") {
        None | Some(Value::Null) => None,
        Some(Value::Array(documents)) if !documents.is_empty() => Some(documents.clone()),
        Some(document @ Value::Object(_)) => Some(vec![document.clone()]),
        Some(other) => return Err(invalid("/Policies", "at least one policy document", other)),
    };
    let dry_run = match event.get("DryRun") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => *dry_run,
        Some(other) => return Err(invalid("/DryRun", "true or false", other)),
    };
    let now = time(event, "Now")?;
    if now.is_some() && !dry_run {
        return Err(invalid_text("/Now", "it only together with \"DryRun\": true", "it alone"));
    }
    Ok(Common { policies, dry_run, now })
}

fn strings<T: std::str::FromStr>(
    event: &Map<String, Value>,
    member: &str,
    want: &'static str,
) -> Result<Vec<T>, InvalidEvent> {
    let items = match event.get(member) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(invalid(&format!("/{member}"), want, other)),
    };
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            item.as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| invalid(&format!("/{member}/{index}"), want, item))
        })
        .collect()
}

fn object(event: &Value) -> Result<&Map<String, Value>, InvalidEvent> {
    event.as_object().ok_or_else(|| invalid("/", "an object", event))
}

fn only(
    event: &Map<String, Value>,
    known: &[&'static str],
    want: &'static str,
) -> Result<(), InvalidEvent> {
    match event.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(InvalidEvent {
            pointer: format!("/{}", one_line(key).replace('~', "~0").replace('/', "~1")),
            want,
            found: format!(
                "the unknown member {}",
                one_line(key).chars().take(80).collect::<String>()
            ),
        }),
    }
}

fn text<'a>(map: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    map.get(member).and_then(Value::as_str)
}

fn invalid(pointer: &str, want: &'static str, found: &Value) -> InvalidEvent {
    invalid_text(pointer, want, &found.to_string())
}

fn invalid_text(pointer: &str, want: &'static str, found: &str) -> InvalidEvent {
    let found: String = one_line(found).chars().take(80).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found };
    InvalidEvent { pointer: pointer.to_owned(), want, found }
}

#[cfg(test)]
mod tests {
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
            (
                "arn:aws-cn:ec2:us-east-1:1:snapshot/snap-0a1b2c3d4e5f60718",
                json!(12_345_678_901_u64),
            ),
        ] {
            let event = share(&json!({"event": "shareSnapshot", "result": "succeeded",
                                     "snapshot_id": arn, "source": source}));
            let what = CopyEvent::parse(&event).unwrap().what;
            assert_eq!(
                what,
                one("us-east-1", "snap-0a1b2c3d4e5f60718", Some("012345678901")),
                "{arn}"
            );
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
        assert!(
            said(json!({"Now": "2026-01-01T00:00:00Z"})).contains("only together with \"DryRun\"")
        );
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
        assert!(
            RotateEvent::parse(&unreplaced).unwrap_err().to_string().contains("<aws.scheduler")
        );
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
}

//! Events in: what woke a function, in every shape that AWS has published, and direct calls.
//!
//! An event is a hint, never an authority: it narrows the scope and shortens the delay. Owner, state, description
//! and encryption are read from EC2.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::chain::one_line;
use crate::ids::{AccountId, Region, Scope, SnapshotId, UnitId};
use crate::policy::document::without_secrets;

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
    /// Do nothing but list the scopes, so many to a run.
    pub list_scopes: Option<NonZeroUsize>,
    /// Such a list was made before, and this is what it has of the accounts of organizational units.
    pub listed: Option<BTreeMap<UnitId, BTreeSet<AccountId>>>,
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
            &["ScheduledTime", "Policies", "Scopes", "DryRun", "Now", "ListScopes", "Listed"],
            "an EventBridge schedule, or any of ScheduledTime, Policies, Scopes, DryRun, Now, ListScopes, Listed",
        )?;
        let scopes =
            strings(event, "Scopes", "a list of account/Region such as 333333333333/eu-central-1")?;
        Ok(Self {
            common: common(event)?,
            scheduled_time: time(event, "ScheduledTime")?,
            scopes: scopes.into_iter().collect(),
            list_scopes: list_scopes(event)?,
            listed: listed(event)?,
        })
    }
}

fn list_scopes(event: &Map<String, Value>) -> Result<Option<NonZeroUsize>, InvalidEvent> {
    let found = event.get("ListScopes").filter(|found| !found.is_null());
    let number = |found: &Value| {
        let number = found.as_u64().filter(|number| (1..=1000).contains(number));
        let number = number.and_then(|number| usize::try_from(number).ok());
        let number = number.and_then(NonZeroUsize::new);
        number
            .ok_or_else(|| invalid("/ListScopes", "how many scopes a run takes, 1 to 1000", found))
    };
    found.map(number).transpose()
}

fn listed(
    event: &Map<String, Value>,
) -> Result<Option<BTreeMap<UnitId, BTreeSet<AccountId>>>, InvalidEvent> {
    const WANT: &str = "organizational units with their accounts, as ListScopes answers them";
    let units = match event.get("Listed") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(units)) => units,
        Some(other) => return Err(invalid("/Listed", WANT, other)),
    };
    let unit = |name: &String| {
        let unit = name.parse().map_err(|_| invalid_text("/Listed", WANT, name))?;
        let accounts = strings(units, name, WANT);
        let accounts = accounts
            .map_err(|err| InvalidEvent { pointer: format!("/Listed{}", err.pointer), ..err });
        Ok((unit, accounts?.into_iter().collect()))
    };
    units.keys().map(unit).collect::<Result<_, _>>().map(Some)
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
        Some(key) => {
            let key = shortened(key);
            Err(InvalidEvent {
                pointer: format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                want,
                found: format!("the unknown member {key}"),
            })
        }
    }
}

fn text<'a>(map: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    map.get(member).and_then(Value::as_str)
}

fn invalid(pointer: &str, want: &'static str, found: &Value) -> InvalidEvent {
    invalid_text(pointer, want, &without_secrets(found).to_string())
}

fn invalid_text(pointer: &str, want: &'static str, found: &str) -> InvalidEvent {
    let found = shortened(found);
    let found = if found.is_empty() { "nothing".to_owned() } else { found };
    InvalidEvent { pointer: pointer.to_owned(), want, found }
}

/// On one line, and not too long.
fn shortened(text: &str) -> String {
    one_line(text).chars().take(80).collect()
}

#[cfg(test)]
mod tests;

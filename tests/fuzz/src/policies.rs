//! Policy documents: text as from Parameter Store or the environment, JSON as from an event, lists and envelopes.

use jiff::Timestamp;
use serde_json::{Value, json};
use snapferry_core::documents::{Content, Documents, Raw, Source};
use snapferry_core::policy::document::{self, InvalidPolicy};
use snapferry_core::policy::{CopyRule, Details, Policy, RetainRule, Schedule};
use snapferry_core::strict_json;

use crate::{Verdict, check};

/// Reads a document in every way in which one comes.
pub fn run(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let value = match strict_json::parse(&text) {
        Ok(value) => value,
        Err(err) => {
            check::one_line(&err.to_string());
            refused_for_a_reason(&text, &err.to_string());
            let documents = read(Content::Text(text.clone().into_owned()));
            assert!(documents.policies.is_empty() && documents.invalid.len() == 1);
            documents.invalid.iter().for_each(|it| check::one_line(&it.to_string()));
            return Verdict::Refused;
        }
    };
    is_json(&text, &value);
    let documents = read(Content::Text(text.clone().into_owned()));
    let shown = format!("{documents:?}");
    check::same("a document as JSON", &shown, &format!("{:?}", read(Content::Json(value.clone()))));
    documents.invalid.iter().for_each(|it| told_well(&value, it));
    if let Some(policy) = documents.policies.first() {
        assert!(documents.policies.len() == 1 && documents.invalid.is_empty(), "{shown}");
        holds(policy);
        enveloped(&value, policy);
    }
    configured(&text, &value);
    Verdict::of(!documents.policies.is_empty())
}

/// Documents as an event brings them.
pub fn of_event(documents: &[Value]) {
    let raw = documents.iter().map(|document| Raw {
        default_name: String::new(),
        content: Content::Json(document.clone()),
    });
    let read = Documents::read(raw.collect(), false);
    assert_eq!(read.in_force(), None, "a selection is not all there is");
    for invalid in &read.invalid {
        check::one_line(&invalid.to_string());
        invalid.issues.iter().for_each(|issue| check::pointer(&issue.pointer));
    }
    read.policies.iter().for_each(holds);
}

fn read(content: Content) -> Documents {
    Documents::read(vec![Raw { default_name: "parameter".into(), content }], true)
}

/// What is refused is no JSON, or has a member twice.
fn refused_for_a_reason(text: &str, err: &str) {
    let is_json = serde_json::from_str::<Value>(text).is_ok();
    assert!(!is_json || err.contains("stands there twice"), "refused for {err}: {text}");
}

/// What is taken is what any other reader makes of it, and reads the same again.
fn is_json(text: &str, value: &Value) {
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let other: Value = serde_json::from_str(bare).expect("no JSON was taken");
    check::same("JSON", value, &other);
    if !has_fraction(value) {
        let again = strict_json::parse(&value.to_string()).expect("what was written is not read");
        check::same("JSON written and read", value, &again);
    }
}

/// The last digit of a fraction need not survive.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(elements) => elements.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}

fn told_well(value: &Value, invalid: &InvalidPolicy) {
    check::one_line(&invalid.to_string());
    assert!(!invalid.issues.is_empty(), "invalid, and nothing is wrong");
    for issue in &invalid.issues {
        check::one_line(&issue.message);
        check::pointer_into(value, &issue.pointer);
        check::keeps_secrets(value, &issue.to_string());
        assert!(issue.message.len() <= 2000, "not shortened: {:.300}", issue.message);
    }
}

/// The same document, wrapped.
fn enveloped(value: &Value, policy: &Policy) {
    let shown = format!("{policy:?}");
    let list = document::read(&json!([value]), "parameter");
    let is_list = value.as_array().is_some();
    assert!(is_list || format!("{list:?}") == format!("Ok({shown})"), "in a list: {list:?}");
    let is_envelope = ["Type", "Resources", "Policy"].iter().any(|it| value.get(it).is_some());
    if value.is_object() && !is_envelope {
        let wrapped = document::read(&json!({"Policy": value}), "parameter");
        assert_eq!(format!("{wrapped:?}"), format!("Ok({shown})"), "in an envelope");
    }
}

/// As the variable `POLICIES` would have it.
fn configured(text: &str, value: &Value) {
    match Source::parse(text) {
        Ok(Source::Inline(documents)) => match value {
            Value::Array(elements) => check::same("a list", &documents, elements),
            other => check::same("a document", &documents, &vec![other.clone()]),
        },
        Ok(Source::ParameterStore(path)) => {
            assert!(path.starts_with('/') && path.ends_with('/'), "{path}");
        }
        Err(err) => check::one_line(&err.to_string()),
    }
}

/// Valid by construction.
fn holds(policy: &Policy) {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b" _.-".contains(&b);
    assert!((1..=64).contains(&policy.name.len()) && policy.name.bytes().all(is_plain));
    match &policy.details {
        Details::Snapshots(details) => {
            assert!((1..=4).contains(&details.schedules.len()), "{:?}", details.schedules);
            for (n, schedule) in details.schedules.iter().enumerate() {
                let is_other = |it: &Schedule| it.name != schedule.name;
                assert!(details.schedules.iter().take(n).all(is_other), "{}", schedule.name);
                schedule_holds(schedule);
            }
            details.copies.iter().for_each(copy_holds);
        }
        Details::Copies(details) => {
            assert!(!details.owners.is_empty() && !details.rules.is_empty());
            details.rules.iter().for_each(copy_holds);
        }
    }
}

fn schedule_holds(schedule: &Schedule) {
    assert!(!schedule.name.is_empty() && !schedule.name.contains([',', ':']), "{}", schedule.name);
    retain_holds(&schedule.retain);
    assert!(schedule.unshare_when_copied.is_none() || schedule.share_with.len() == 1);
    for at in ["1970-01-01T00:00:00Z", "2026-03-29T01:30:00Z", "2026-11-22T02:05:00Z"] {
        slots_hold(schedule, at.parse().expect("a time"));
    }
    for at in [Timestamp::MIN, Timestamp::MAX] {
        slots_hold(schedule, at);
    }
}

/// Slots are behind, and ahead, and the next one is due when it comes.
pub(crate) fn slots_hold(schedule: &Schedule, at: Timestamp) {
    if let Some(due) = schedule.create.due(at) {
        assert!(due.timestamp() <= at, "{due} is due at {at}");
        assert_eq!(due.to_string().parse(), Ok(due), "a slot does not read as it prints");
    }
    if let Some(next) = schedule.create.next(at) {
        assert!(next.timestamp() > at, "{next} is next after {at}");
        assert_eq!(schedule.create.due(next.timestamp()), Some(next), "next, and not due");
    }
}

fn retain_holds(retain: &RetainRule) {
    let counts = retain.count.map(std::num::NonZero::get);
    let keep = retain.keep.map(|it| [it.hourly, it.daily, it.weekly, it.monthly, it.yearly]);
    let mut all = counts.into_iter().chain(keep.into_iter().flatten());
    assert!(all.all(|n| n <= 1000) && retain.minimum_count >= 1, "{retain:?}");
}

fn copy_holds(rule: &CopyRule) {
    assert!(!rule.name.is_empty(), "{rule:?}");
    if let Some(key) = &rule.cmk_arn {
        assert!(rule.encrypted && key.region() == rule.target, "{rule:?}");
    }
    rule.retain.iter().for_each(retain_holds);
}

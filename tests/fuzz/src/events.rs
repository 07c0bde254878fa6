//! Both functions' events, from the JSON text that Lambda gives.

use std::collections::BTreeSet;

use serde_json::Value;
use snapferry_core::event::{Common, CopyEvent, CopyScope, InvalidEvent, RotateEvent};

use crate::{Verdict, check, policies};

/// Reads an event as the runtime does, and has both functions parse it.
pub fn run(data: &[u8]) -> Verdict {
    let Ok(event) = serde_json::from_slice::<Value>(data) else {
        return Verdict::Refused;
    };
    let (rotate, copy) = (RotateEvent::parse(&event), CopyEvent::parse(&event));
    check::same("a rotate event", &rotate, &RotateEvent::parse(&event));
    check::same("a copy event", &copy, &CopyEvent::parse(&event));
    for invalid in [rotate.as_ref().err(), copy.as_ref().err()].into_iter().flatten() {
        told_well(&event, invalid);
    }
    let commons =
        [rotate.as_ref().map(|it| &it.common).ok(), copy.as_ref().map(|it| &it.common).ok()];
    for common in commons.into_iter().flatten() {
        common_holds(common);
    }
    if let Ok(rotate) = &rotate {
        let scopes = texts(event.get("Scopes"));
        for scope in &rotate.scopes {
            assert!(scopes.contains(scope.to_string().as_str()), "{scope} is not in {scopes:?}");
        }
    }
    if let Ok(copy) = &copy {
        named(&event, &copy.what);
    }
    Verdict::of(rotate.is_ok() || copy.is_ok())
}

fn told_well(event: &Value, invalid: &InvalidEvent) {
    check::one_line(&invalid.to_string());
    check::one_line(&invalid.found);
    check::pointer_into(event, &invalid.pointer);
    check::keeps_secrets(event, &invalid.to_string());
    assert!(invalid.to_string().len() <= 2000, "not shortened: {:.300}", invalid.to_string());
}

fn common_holds(common: &Common) {
    assert!(common.now.is_none() || common.dry_run, "{common:?}");
    if let Some(documents) = &common.policies {
        assert!(!documents.is_empty(), "no policies rather than none given");
        policies::of_event(documents);
    }
}

/// The texts of a list.
fn texts(list: Option<&Value>) -> BTreeSet<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An event names no more than what stands in it.
fn named(event: &Value, what: &CopyScope) {
    let text = event.to_string();
    match what {
        CopyScope::Sweep | CopyScope::Nothing => {}
        CopyScope::One { region, snapshot, owner } => {
            assert!(text.contains(snapshot.as_str()) && text.contains(region.as_str()));
            let owner = owner.as_ref().map_or("", |it| it.as_str().trim_start_matches('0'));
            assert!(text.contains(owner), "{owner} is not in {text}");
        }
        CopyScope::FullCopy { region, copy } => {
            assert!(text.contains(copy.as_str()) && text.contains(region.as_str()));
        }
        CopyScope::Ids(ids) => {
            let named = texts(event.get("SnapshotIds"));
            assert!(!ids.is_empty() && ids.iter().all(|id| named.contains(id.as_str())));
        }
    }
}

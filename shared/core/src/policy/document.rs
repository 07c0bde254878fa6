//! From a JSON document to a [`Policy`], or to everything that is wrong with it.
//!
//! Liberal in form: a string where DLM has a list of one, and the reverse; `0`, `""`, `null`, `[]`
//! and `{}` for what is absent, as recorded API output has them; numbers and booleans in strings;
//! five envelopes. Strict in meaning: what a document says is honoured, or refused by name. Nothing
//! is passed over in silence, except what only describes the DLM resource that a document was
//! exported from (`DESCRIPTIVE`).

use std::fmt;

use serde_json::Value;

use self::reader::{Issues, Node, Object};
use self::text::escaped;
pub(crate) use self::text::without_secrets;
use super::{CopyPolicy, Details, Policy};

mod copies;
mod copy_rules;
mod create;
mod envelope;
mod limits;
mod parts;
mod reader;
mod readers;
mod schedule;
mod scripts;
mod share;
mod simplified;
mod snapshots;
mod targets;
#[cfg(test)]
mod tests;
mod text;
mod tiers;

/// A document that is no policy, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidPolicy {
    /// The name it has, or would have had.
    pub name: String,
    /// Which function it was meant for, where that much can be told.
    pub kind: Option<Kind>,
    /// Everything that is wrong, in the order of reading. Never empty.
    pub issues: Vec<Issue>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Where: a JSON pointer (RFC 6901) from the top of the document as it was given.
    pub pointer: String,
    /// What is wanted, and what was found.
    pub message: String,
}

/// DLM's `PolicyType`, as far as we have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `EBS_SNAPSHOT_MANAGEMENT`
    Snapshots,
    /// `EVENT_BASED_POLICY`
    Copies,
}

/// How many issues the one line of `Display` shows; `issues` has them all.
const SHOWN_ISSUES: usize = 100;

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy \"{}\" is invalid", escaped(&self.name, 80))?;
        for (n, issue) in self.issues.iter().take(SHOWN_ISSUES).enumerate() {
            write!(f, "{} {issue}", if n == 0 { ":" } else { ";" })?;
        }
        match self.issues.len().saturating_sub(SHOWN_ISSUES) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the document" } else { &self.pointer };
        write!(f, "{}: {}", escaped(pointer, 400), self.message)
    }
}

/// Members beside `PolicyDetails` that say nothing about what to do: they describe the DLM resource
/// that a document was exported from.
const DESCRIPTIVE: [&str; 7] = [
    "DateCreated",
    "DateModified",
    "Description",
    "PolicyArn",
    "PolicyId", // it may give the name, though
    "StatusMessage",
    "Tags", // of the DLM policy itself
];

/// Reads a document. `default_name` is for a policy without `Name`: the last part of the
/// parameter's name, or nothing, which stands for its `PolicyId`, and without one for `default`.
///
/// # Errors
///
/// Everything that is wrong with the document.
pub fn read(document: &Value, default_name: &str) -> Result<Policy, InvalidPolicy> {
    let issues = Issues::default();
    let found = envelope::open(&Node::root(document, &issues))
        .and_then(|body| body.members(|object| policy(object, default_name)))
        .unwrap_or_else(|| Found { name: default_name.to_owned(), kind: None, policy: None });
    let mut issues = issues.into_inner();
    match found.policy {
        Some(policy) if issues.is_empty() => Ok(policy),
        _ => {
            if issues.is_empty() {
                let message = "want a policy document".to_owned();
                issues.push(Issue { pointer: String::new(), message });
            }
            Err(InvalidPolicy { name: found.name, kind: found.kind, issues })
        }
    }
}

/// What could be told of a document, valid or not.
struct Found {
    name: String,
    kind: Option<Kind>,
    policy: Option<Policy>,
}

/// Reads a policy: `CreateLifecyclePolicy`'s members, with `PolicyDetails` as a member or its
/// members among them.
fn policy(object: &mut Object<'_>, default_name: &str) -> Found {
    let (name, valid_name) = name(object, default_name);
    let enabled = enabled(object);
    object.know(&["$schema"]); // an editor's
    let default = default_policy(object);
    let (kind, details) = if let Some(inner) = object.get("PolicyDetails") {
        object.know(&DESCRIPTIVE);
        inner.members(|inner| details(inner, Some(object), default)).unwrap_or((None, None))
    } else if default != DefaultPolicy::No || object.has_any(&DETAILS) {
        object.know(if default == DefaultPolicy::No { &["Description"] } else { &DESCRIPTIVE });
        details(object, None, default)
    } else {
        object.know(&DESCRIPTIVE);
        object.missing::<()>("PolicyDetails", "the policy's details");
        (None, None)
    };
    let is_copies = kind == Some(Kind::Copies);
    let targets = if is_copies {
        readers::read(object).map(|readers| (readers, Vec::new()))
    } else {
        targets::read(object)
    };
    let details = match (details, targets) {
        (Some(Details::Copies(details)), Some((readers, _))) => {
            let of_owners = object
                .get("Targets")
                .is_none_or(|node| readers::of_owners(&node, &readers, &details).is_some());
            let details = Details::Copies(CopyPolicy { readers, ..details });
            of_owners.then(|| (details, Default::default()))
        }
        (Some(details), Some(targets)) => Some((details, targets)),
        _ => None,
    };
    let policy = || {
        let (details, (targets, units)) = details?;
        Some(Policy { name: valid_name?, enabled: enabled?, targets, units, details })
    };
    Found { policy: policy(), name, kind }
}

/// The name to report, and the name if it is one.
fn name(object: &mut Object<'_>, default_name: &str) -> (String, Option<String>) {
    let want = "1 to 64 of A-Z a-z 0-9 space _ . -";
    let member =
        if object.get("Name").is_some() || !default_name.is_empty() { "Name" } else { "PolicyId" };
    if let Some(node) = object.get(member) {
        let name = node.string().unwrap_or_default();
        return if name_is_valid(name) {
            (name.to_owned(), Some(name.to_owned()))
        } else {
            (name.to_owned(), node.want(want))
        };
    }
    let name = if default_name.is_empty() { "default" } else { default_name };
    if name_is_valid(name) {
        return (name.to_owned(), Some(name.to_owned()));
    }
    let shown = escaped(name, 80);
    object.missing::<()>("Name", format_args!("{want} (\"{shown}\" will not do as a name)"));
    (name.to_owned(), None)
}

fn name_is_valid(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b" _.-".contains(&b))
}

/// `ERROR` is refused: it is what DLM says of its own resource, and whoever pastes an exported
/// policy has to say whether it shall act. Guessing would either act unasked or leave volumes
/// unprotected without a word.
fn enabled(object: &mut Object<'_>) -> Option<bool> {
    let state = object.optional("State", |node| match node.string() {
        Some("ENABLED") => Some(true),
        Some("DISABLED") => Some(false),
        _ => node.want("ENABLED or DISABLED"),
    });
    Some(state?.unwrap_or(true))
}

/// Where members have their place that are found elsewhere.
const SIMPLIFIED: &str = "a SIMPLIFIED policy";
const STANDARD: &str = "a STANDARD policy";
const VOLUMES: &str = "a policy with ResourceTypes VOLUME";
const INSTANCES: &str = "a policy with ResourceTypes INSTANCE";

/// Default policies have them, in the request or in `PolicyDetails`.
const SIMPLIFIED_MEMBERS: [&str; 6] = [
    "CreateInterval",
    "RetainInterval",
    "CopyTags",
    "ExtendDeletion",
    "CrossRegionCopyTargets",
    "Exclusions",
];

/// Default policies do not have them.
const STANDARD_MEMBERS: [&str; 10] = [
    "ResourceTypes",
    "ResourceLocations",
    "TargetTags",
    "TargetVolumeIds",
    "ExcludeTags",
    "Schedules",
    "DefaultKeyRescue",
    "Parameters",
    "EventSource",
    "Actions",
];

/// Every member of `PolicyDetails`.
const DETAILS: [&str; 19] = [
    "PolicyType",
    "PolicyLanguage",
    "ResourceTypes",
    "ResourceType",
    "ResourceLocations",
    "TargetTags",
    "TargetVolumeIds",
    "ExcludeTags",
    "Schedules",
    "DefaultKeyRescue",
    "Parameters",
    "EventSource",
    "Actions",
    "CreateInterval",
    "RetainInterval",
    "CopyTags",
    "ExtendDeletion",
    "CrossRegionCopyTargets",
    "Exclusions",
];

/// The request's `DefaultPolicy`: a type of resource, or, in what DLM prints, whether it is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DefaultPolicy {
    No,
    Yes,
    Volume,
    /// Refused: the one issue says it.
    Instance,
}

fn default_policy(object: &mut Object<'_>) -> DefaultPolicy {
    let Some(node) = object.given("DefaultPolicy") else {
        return DefaultPolicy::No;
    };
    match node.string() {
        Some("VOLUME") => DefaultPolicy::Volume,
        Some("INSTANCE") => {
            node.not_supported::<()>(simplified::MAKES_AMIS);
            DefaultPolicy::Instance
        }
        Some("true") => DefaultPolicy::Yes,
        None if node.is_true() => DefaultPolicy::Yes,
        _ => {
            node.want::<()>("VOLUME");
            DefaultPolicy::No
        }
    }
}

/// `request` is the object around `PolicyDetails`, if it is another one.
fn details<'a>(
    object: &mut Object<'a>,
    mut request: Option<&mut Object<'a>>,
    default: DefaultPolicy,
) -> (Option<Kind>, Option<Details>) {
    let is_simplified = is_simplified(object, default);
    let kind = kind(object, is_simplified).filter(|_| default != DefaultPolicy::Instance);
    let details = match kind {
        None => None,
        Some(_) if is_simplified => {
            simplified::read(object, request.as_deref_mut(), default == DefaultPolicy::Volume)
                .map(Details::Snapshots)
        }
        Some(kind) => {
            if let Some(request) = &mut request {
                request.misplaced(&SIMPLIFIED_MEMBERS, SIMPLIFIED);
            }
            match kind {
                Kind::Snapshots => snapshots::read(object).map(Details::Snapshots),
                Kind::Copies => copies::read(object).map(Details::Copies),
            }
        }
    };
    // Where one issue has said it, the rest of the document speaks another language.
    object.know(&DETAILS);
    if let Some(request) = &mut request
        && (is_simplified || kind.is_none())
    {
        request.know(&SIMPLIFIED_MEMBERS);
    }
    (kind, details)
}

fn is_simplified(object: &mut Object<'_>, default: DefaultPolicy) -> bool {
    let is_default = default != DefaultPolicy::No;
    let language = object.optional("PolicyLanguage", |node| match node.string() {
        Some("STANDARD") if is_default => node.want("SIMPLIFIED beside DefaultPolicy"),
        Some("STANDARD") => Some(false),
        Some("SIMPLIFIED") => Some(true),
        _ => node.want("STANDARD or SIMPLIFIED"),
    });
    language.flatten().unwrap_or(is_default)
}

fn kind(object: &mut Object<'_>, is_simplified: bool) -> Option<Kind> {
    let Some(node) = object.get("PolicyType") else {
        let is_event = object.get("EventSource").is_some() || object.get("Actions").is_some();
        return Some(if is_event && !is_simplified { Kind::Copies } else { Kind::Snapshots });
    };
    match node.string() {
        Some("EBS_SNAPSHOT_MANAGEMENT") => Some(Kind::Snapshots),
        Some("IMAGE_MANAGEMENT") => node.not_supported(simplified::MAKES_AMIS),
        Some("EVENT_BASED_POLICY") if !is_simplified => Some(Kind::Copies),
        _ if is_simplified => {
            node.want::<()>("EBS_SNAPSHOT_MANAGEMENT in a SIMPLIFIED policy");
            Some(Kind::Snapshots)
        }
        _ => {
            node.want::<()>("EBS_SNAPSHOT_MANAGEMENT or EVENT_BASED_POLICY");
            let is_event = object.get("EventSource").is_some() || object.get("Actions").is_some();
            Some(if is_event { Kind::Copies } else { Kind::Snapshots })
        }
    }
}

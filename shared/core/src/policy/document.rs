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
use super::{Details, Policy};

mod copies;
mod envelope;
mod parts;
mod reader;
mod snapshots;
#[cfg(test)]
mod tests;
mod text;

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
    let targets = parts::targets(object);
    let (kind, details) = if object.refuse("DefaultPolicy", DEFAULT_POLICY) {
        object.know(&DESCRIPTIVE);
        object.know(&DETAILS);
        object.know(&["PolicyDetails"]);
        (None, None) // the one issue says it
    } else if let Some(inner) = object.get("PolicyDetails") {
        object.know(&DESCRIPTIVE);
        for member in DEFAULT_POLICY_MEMBERS {
            object.refuse(member, DEFAULT_POLICY);
        }
        inner.members(details).unwrap_or((None, None))
    } else if object.has_any(&DETAILS) {
        object.know(&["Description"]);
        details(object)
    } else {
        object.know(&DESCRIPTIVE);
        object.missing::<()>("PolicyDetails", "the policy's details");
        (None, None)
    };
    let is_copies = kind == Some(Kind::Copies);
    if is_copies && let Some(node) = object.get("Targets") {
        node.fail::<()>(TARGETS_OF_COPIES);
    }
    let policy = || {
        Some(Policy {
            name: valid_name?,
            enabled: enabled?,
            targets: if is_copies { Vec::new() } else { targets? },
            details: details?,
        })
    };
    Found { policy: policy(), name, kind }
}

/// DLM asks for `ExecutionRoleArn` in every policy, so that one is let stand in an event policy.
const TARGETS_OF_COPIES: &str = "is not supported by this version of snapferry in an EVENT_BASED_POLICY: \
    copy-shared-snapshots works with its own role, in its own account";

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

const DEFAULT_POLICY: &str =
    "it belongs to DLM's default policies, which back up whatever has no recent backup";

/// `PolicyLanguage` `SIMPLIFIED`; DLM takes them in the request or in `PolicyDetails`.
const DEFAULT_POLICY_MEMBERS: [&str; 6] = [
    "CreateInterval",
    "RetainInterval",
    "CopyTags",
    "ExtendDeletion",
    "CrossRegionCopyTargets",
    "Exclusions",
];

/// Every member of `PolicyDetails`.
const DETAILS: [&str; 18] = [
    "PolicyType",
    "PolicyLanguage",
    "ResourceTypes",
    "ResourceType",
    "ResourceLocations",
    "TargetTags",
    "TargetVolumeIds",
    "ExcludeTags",
    "Schedules",
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

fn details(object: &mut Object<'_>) -> (Option<Kind>, Option<Details>) {
    let simplified = object.optional("PolicyLanguage", |node| match node.string() {
        Some("STANDARD") => Some(false),
        Some("SIMPLIFIED") => {
            node.not_supported::<()>(DEFAULT_POLICY);
            Some(true)
        }
        _ => node.want("STANDARD or SIMPLIFIED"),
    });
    let written = object.get("PolicyType");
    let kind = match written.as_ref().map(|node| (node, node.string())) {
        Some((_, Some("EBS_SNAPSHOT_MANAGEMENT"))) => Some(Kind::Snapshots),
        Some((_, Some("EVENT_BASED_POLICY"))) => Some(Kind::Copies),
        Some((node, Some("IMAGE_MANAGEMENT"))) => {
            node.not_supported("it makes AMIs of instances, not snapshots of volumes")
        }
        wrong => {
            if let Some((node, _)) = wrong {
                node.want::<()>("EBS_SNAPSHOT_MANAGEMENT or EVENT_BASED_POLICY");
            }
            let event = object.get("EventSource").is_some() || object.get("Actions").is_some();
            Some(if event { Kind::Copies } else { Kind::Snapshots })
        }
    };
    if simplified == Some(Some(true)) {
        // The one issue says it; the rest of the document speaks another language.
        object.know(&DETAILS);
        return (kind, None);
    }
    let details = match kind {
        Some(Kind::Snapshots) => snapshots::read(object).map(Details::Snapshots),
        Some(Kind::Copies) => copies::read(object).map(Details::Copies),
        None => {
            object.know(&DETAILS);
            None
        }
    };
    (kind, details)
}

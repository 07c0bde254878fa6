//! `CreateRule.Scripts`: read to the end, and then refused, so that nothing is left to say once it is honoured.

use std::collections::BTreeSet;

use super::INSTANCES;
use super::reader::{Node, Object};

/// What of a policy bears on its scripts.
#[derive(Clone, Copy, Default)]
pub(super) struct Surroundings {
    /// `ResourceTypes` is `INSTANCE`.
    pub(super) instances: bool,
    /// `Parameters.ExcludeDataVolumeTags`
    pub(super) excludes_data_volumes: bool,
    /// The schedule's `CopyTags`.
    pub(super) copy_tags: bool,
}

pub(super) fn refuse(object: &mut Object<'_>, around: Surroundings) {
    let Some(node) = object.given("Scripts") else {
        return;
    };
    if !around.instances {
        object.misplaced(&["Scripts"], INSTANCES);
        return;
    }
    let before = node.issues_so_far();
    node.list(1, "script (DLM)", |node| node.members(|it| script(it, around))?);
    if node.issues_so_far() == before {
        object.refuse("Scripts", "it runs commands on instances before and after");
    }
}

/// DLM's name for `AWSEC2-CreateVssSnapshot`.
const VSS: &str = "AWS_VSS_BACKUP";

fn script(object: &mut Object<'_>, around: Surroundings) -> Option<()> {
    let stages = object.optional("Stages", |node| {
        let mut seen = BTreeSet::new();
        node.list(2, "stages (DLM)", |node| match node.string() {
            Some(stage @ ("PRE" | "POST")) if seen.insert(stage) => Some(stage == "PRE"),
            Some("PRE" | "POST") => node.want("each stage once"),
            _ => node.want("PRE or POST"),
        })
    });
    let service = object.optional("ExecutionHandlerService", |node| match node.string() {
        Some("AWS_SYSTEMS_MANAGER") => Some(()),
        _ => node.want("AWS_SYSTEMS_MANAGER"),
    });
    let handler = object.required("ExecutionHandler", HANDLER).and_then(|node| handler(&node));
    let goes_on = object.optional("ExecuteOperationOnScriptFailure", |node| node.boolean());
    let timeout = object.integer("ExecutionTimeout", 10..=120);
    let retries = object.integer("MaximumRetryCount", 0..=3);
    let fits = match handler {
        Some(VSS) => vss(object, around),
        _ => Some(()),
    };
    let has_pre = stages
        .as_ref()
        .is_none_or(|stages| stages.as_ref().is_none_or(|stages| stages.contains(&true)));
    if goes_on == Some(Some(false)) && !has_pre {
        let node = object.get("ExecuteOperationOnScriptFailure")?;
        return node.want("true where Stages has no PRE (DLM)");
    }
    stages?;
    service?;
    handler?;
    goes_on?;
    timeout?;
    retries?;
    fits
}

const HANDLER: &str = "AWS_VSS_BACKUP, or the name or ARN of an SSM document";

/// DLM's `([a-zA-Z0-9_\-.]{3,128}|[a-zA-Z0-9_\-.:/]{3,200}|[A-Z0-9_]+)`, 200 characters at the most.
fn handler<'a>(node: &Node<'a>) -> Option<&'a str> {
    let is_document = |text: &str| {
        text.len() >= 3 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b))
    };
    let is_word = |text: &str| {
        text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    match node.string() {
        Some(text) if text.len() <= 200 && (is_document(text) || is_word(text)) => Some(text),
        _ => node.want(HANDLER),
    }
}

/// A VSS backup has its own stages and its own time, and tags nothing by the volume.
fn vss(object: &mut Object<'_>, around: Surroundings) -> Option<()> {
    let mut fits = Some(());
    for name in ["Stages", "ExecutionHandlerService", "ExecutionTimeout"] {
        if let Some(node) = object.given(name) {
            fits = node.fail(format_args!("has no place beside {VSS} (DLM)"));
        }
    }
    let barred = [
        (around.copy_tags, "CopyTags"),
        (around.excludes_data_volumes, "Parameters.ExcludeDataVolumeTags"),
    ];
    for (is_there, name) in barred {
        if is_there && let Some(node) = object.get("ExecutionHandler") {
            fits = node.want(format_args!("another handler beside {name} (DLM)"));
        }
    }
    fits
}

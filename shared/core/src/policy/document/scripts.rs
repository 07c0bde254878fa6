//! `CreateRule.Scripts`.

use std::collections::BTreeSet;

use super::INSTANCES;
use super::reader::{Node, Object};
use crate::policy::{DocumentScript, Handler, Script, Stages, VssDocument};

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

#[expect(clippy::option_option, reason = "as every reader of an optional member")]
/// `None` within: there are none.
pub(super) fn read(object: &mut Object<'_>, around: Surroundings) -> Option<Option<Script>> {
    if !around.instances && object.given("Scripts").is_some() {
        object.misplaced(&["Scripts"], INSTANCES);
        return None;
    }
    let scripts = object.optional("Scripts", |node| {
        node.list(1, "script (DLM)", |node| node.members(|it| script(it, around))?)
    });
    scripts.map(|scripts| scripts.and_then(|scripts| scripts.into_iter().next()))
}

/// DLM's name for `AWSEC2-CreateVssSnapshot`.
const VSS: &str = "AWS_VSS_BACKUP";

fn script(object: &mut Object<'_>, around: Surroundings) -> Option<Script> {
    let stages = object.optional("Stages", |node| stages(&node));
    let service = object.optional("ExecutionHandlerService", |node| match node.string() {
        Some("AWS_SYSTEMS_MANAGER") => Some(()),
        _ => node.want("AWS_SYSTEMS_MANAGER"),
    });
    let handler = object.required("ExecutionHandler", HANDLER).and_then(|node| handler(&node));
    let goes_on = object.optional("ExecuteOperationOnScriptFailure", |node| node.boolean());
    let timeout = object.integer("ExecutionTimeout", 10..=120);
    let retries = object.integer("MaximumRetryCount", 0..=3);
    let vss_document = object.optional("VssDocumentName", |node| match node.string() {
        Some("AWSEC2-VssInstallAndSnapshot") => Some(VssDocument::InstallAndSnapshot),
        Some("AWSEC2-CreateVssSnapshot") => Some(VssDocument::CreateSnapshot),
        _ => node.want("AWSEC2-VssInstallAndSnapshot or AWSEC2-CreateVssSnapshot"),
    });
    let fits = match handler {
        Some(VSS) => vss(object, around),
        Some(_) => document(object),
        None => Some(()),
    };
    let has_pre = stages.is_none_or(|stages| stages.is_none_or(|stages: Stages| stages.has_pre()));
    if goes_on == Some(Some(false)) && !has_pre {
        let node = object.get("ExecuteOperationOnScriptFailure")?;
        return node.want("true where Stages has no PRE (DLM)");
    }
    let (stages, timeout, vss_document) = (stages?, timeout?, vss_document?);
    service?;
    fits?;
    let handler = match handler? {
        VSS => Handler::Vss(vss_document.unwrap_or(VssDocument::InstallAndSnapshot)),
        name => Handler::Document(DocumentScript {
            name: name.to_owned(),
            stages: stages.unwrap_or(Stages::Both),
            timeout_seconds: timeout.and_then(|it| it.try_into().ok()).unwrap_or(10),
        }),
    };
    let retries = retries?.and_then(|it| it.try_into().ok()).unwrap_or(0);
    Some(Script { handler, goes_on: goes_on?.unwrap_or(true), retries })
}

fn stages(node: &Node<'_>) -> Option<Stages> {
    let mut seen = BTreeSet::new();
    let stages = node.list(2, "stages (DLM)", |node| match node.string() {
        Some(stage @ ("PRE" | "POST")) if seen.insert(stage) => Some(stage == "PRE"),
        Some("PRE" | "POST") => node.want("each stage once"),
        _ => node.want("PRE or POST"),
    })?;
    Some(match (stages.contains(&true), stages.contains(&false)) {
        (true, false) => Stages::Pre,
        (false, true) => Stages::Post,
        _ => Stages::Both,
    })
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

/// DLM takes more characters than Systems Manager does
/// ([SendCommand](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html)).
fn document(object: &mut Object<'_>) -> Option<()> {
    if let Some(node) = object.given("VssDocumentName") {
        return node.fail(format_args!("has its place beside {VSS} only"));
    }
    let node = object.get("ExecutionHandler")?;
    match node.string() {
        Some(name) if name.len() > 128 => node.want("at most 128 characters (Systems Manager)"),
        _ => Some(()),
    }
}

/// Of our own on a snapshot, beside those of any set: script, execution-id, pre-script, post-script, app-consistent.
const OUR_TAGS: usize = 5;

/// With VSS: script, execution-id, app-consistent, and four of its own.
const VSS_TAGS: usize = 7;

/// What VSS backups set themselves: naming one of them is an error of theirs
/// ([VSS parameters](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-vss-snapshots-ssm.html)).
const OF_VSS: [&str; 3] = ["Device", "AppConsistent", "AwsVssConfig"];

/// Whether the schedule's own tags go together with its script; `ours` are this program's on any snapshot of a set.
pub(super) fn check_tags(
    object: &mut Object<'_>,
    script: Option<&Script>,
    ours: usize,
) -> Option<()> {
    let Some(script) = script else {
        return Some(());
    };
    let lists = ["TagsToAdd", "VariableTags"].map(|name| object.get(name));
    let tags: Vec<Node<'_>> = lists.into_iter().flatten().flat_map(|it| it.elements()).collect();
    let is_vss = matches!(script.handler, Handler::Vss(_));
    let max = 50 - ours - if is_vss { VSS_TAGS } else { OUR_TAGS };
    if tags.len() > max {
        return object.node().fail(format_args!(
            "want at most {max} tags in TagsToAdd and VariableTags beside Scripts (EC2 takes 50), found {}",
            tags.len()
        ));
    }
    let mut fit = Some(());
    if is_vss {
        for tag in &tags {
            fit = fit.and(vss_tag(tag));
        }
    }
    fit
}

/// The instance gets its tags as one text (`Key=…,Value=…;Key=…`), which it puts into a command of PowerShell.
fn vss_tag(tag: &Node<'_>) -> Option<()> {
    let key = tag.member("Key");
    let is_of_vss = |key: &&Node<'_>| key.string().is_some_and(|name| OF_VSS.contains(&name));
    if let Some(key) = key.as_ref().filter(is_of_vss) {
        return key.want(format_args!("a key that {VSS} does not set itself"));
    }
    let is_variable = |text: &str| matches!(text, "$(instance-id)" | "$(timestamp)");
    for node in key.into_iter().chain(tag.member("Value")) {
        if !node.string().is_none_or(|text| is_variable(text) || fits_vss(text)) {
            return node.want(format_args!(
                "A-Z a-z 0-9 space and ( ) . / - @ _ + : only, beside {VSS} (SSM document)"
            ));
        }
    }
    Some(())
}

/// What the documents take in tags, without what would end a tag or a text in PowerShell.
fn fits_vss(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b" ()./-@_+:".contains(&b))
}

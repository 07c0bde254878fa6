//! What snapshot and event policies have in common.

use std::collections::{BTreeMap, BTreeSet};

use super::reader::{Node, Object};
use crate::policy::{Tags, Variable};

pub(super) fn external_id(node: &Node<'_>) -> Option<String> {
    let id = node.string().filter(|id| external_id_is_valid(id));
    id.map(str::to_owned).or_else(|| node.fail(EXTERNAL_ID))
}

/// What was found is not shown: it is a secret, and the message goes to logs.
const EXTERNAL_ID: &str =
    "want 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / - (the value is not shown)";

/// STS's rule.
fn external_id_is_valid(id: &str) -> bool {
    (2..=1224).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b))
}

/// A list of `{Key, Value}`.
pub(super) fn tags(node: &Node<'_>, max: usize, what: &str) -> Option<Vec<(String, String)>> {
    node.list(max, what, |node| tag(&node))
}

fn tag(node: &Node<'_>) -> Option<(String, String)> {
    node.members(|tag| {
        let key = tag.text("Key").and_then(|key| match key.chars().count() {
            1..=128 => Some(key.to_owned()),
            _ => tag.missing("Key", "1 to 128 characters (EC2)"),
        });
        let value = tag.text("Value").and_then(|value| match value.chars().count() {
            0..=256 => Some(value.to_owned()),
            _ => tag.missing("Value", "at most 256 characters (EC2)"),
        });
        Some((key?, value?))
    })?
}

/// `TagsToAdd`. EC2 takes 50 tags; `ours` of them are this program's.
pub(super) fn tags_to_add(object: &mut Object<'_>, ours: usize) -> Option<Tags> {
    let tags = object.optional("TagsToAdd", |node| {
        let max = 50 - ours;
        let what = format!("tags (EC2 takes 50 and {ours} are snapferry's own)");
        let mut seen = BTreeSet::new();
        node.list(max, &what, |node| free_tag(&node, &mut seen))
    });
    Some(tags?.unwrap_or_default().into_iter().collect())
}

/// A tag whose key is a user's own, and new.
fn free_tag(node: &Node<'_>, seen: &mut BTreeSet<String>) -> Option<(String, String)> {
    let (key, value) = tag(node)?;
    let prefix = key.split_inclusive(':').next().unwrap_or_default().to_ascii_lowercase();
    let at_key = node.single().member("Key").unwrap_or_else(|| node.clone());
    match prefix.as_str() {
        "aws:" => at_key.want("a key without aws:, which is AWS's own"),
        "snapferry:" => at_key.want("a key without snapferry:, which is snapferry's own"),
        _ if !seen.insert(key.clone()) => at_key.want("each key once"),
        _ => Some((key, value)),
    }
}

/// `VariableTags`, beside these `TagsToAdd`.
pub(super) fn variable_tags(
    object: &mut Object<'_>,
    others: &Tags,
    ours: usize,
) -> Option<BTreeMap<String, Variable>> {
    let tags = object.optional("VariableTags", |node| {
        let max = 50 - ours;
        let what = format!("tags (EC2 takes 50 and {ours} are snapferry's own)");
        let mut seen: BTreeSet<String> = others.keys().cloned().collect();
        let tags = node.list(max, &what, |node| {
            let (key, value) = free_tag(&node, &mut seen)?;
            match value.as_str() {
                "$(instance-id)" => Some((key, Variable::InstanceId)),
                "$(timestamp)" => Some((key, Variable::Timestamp)),
                _ => {
                    let at_value = node.single().member("Value").unwrap_or_else(|| node.clone());
                    at_value.want("$(instance-id) or $(timestamp) (DLM)")
                }
            }
        })?;
        match tags.len() + others.len() {
            total if total > max => node.fail(format_args!(
                "want at most {max} tags together with TagsToAdd (EC2 takes 50 and {ours} are \
                 snapferry's own), found {total}"
            )),
            _ => Some(tags),
        }
    });
    Some(tags?.unwrap_or_default().into_iter().collect())
}

/// `ResourceLocations`: the cloud, or nothing.
pub(super) fn resource_locations(object: &mut Object<'_>) -> Option<()> {
    let locations = object.optional("ResourceLocations", |node| {
        node.list(1, "location (DLM)", |node| match node.string() {
            Some("CLOUD") => Some(()),
            Some("OUTPOST" | "LOCAL_ZONE") => {
                node.not_supported("it takes the volumes of an Outpost or a Local Zone")
            }
            _ => node.want("CLOUD"),
        })
    });
    locations.map(|_| ())
}

//! Where the tags of a copy come from: from us, from its rules, or, as `CopyTags` has it, from its source.

use super::{CopyClaim, CopyRule, CopySnapshot, Origin, Snapshot, tags};
use crate::inventory::VaultInventory;

/// What a copy is asked for with, and what for.
pub(super) struct Copying<'a> {
    pub(super) request: &'a CopySnapshot,
    pub(super) claim: &'a CopyClaim,
    pub(super) source: &'a Snapshot,
    pub(super) of: Origin<'a>,
    pub(super) rules: &'a [&'a CopyRule],
}

impl Copying<'_> {
    /// No tag is there that nobody wants, or that makes the copy somebody else's: tags decide who may delete it.
    pub(super) fn explained(&self, inventory: &VaultInventory) -> Result<(), String> {
        let ours = self.claim.write();
        let wanted = self.rules.iter().any(|rule| rule.copy_tags);
        for (key, value) in &self.request.tags {
            let added = self.rules.iter().any(|rule| rule.tags_to_add.get(key) == Some(value));
            if ours.get(key) == Some(value) || key == tags::EXPIRES_AT || added {
                continue;
            }
            let copied = wanted && self.is_of_source(inventory, key, value);
            let lower = key.to_ascii_lowercase();
            let reserved = lower.starts_with("aws:") || lower.starts_with("snapferry:");
            if !copied || reserved || key == "dlm:managed" {
                return Err(format!("nothing explains its tag {key}"));
            }
        }
        Ok(())
    }

    fn is_of_source(&self, inventory: &VaultInventory, key: &str, value: &String) -> bool {
        match self.of {
            Origin::Own => self.source.tags.get(key) == Some(value),
            Origin::Shared(_) => {
                let told = inventory.source_tags.get(&self.source.id);
                // The description carries a name, too.
                key == "Name" || told.is_some_and(|tags| tags.get(key) == Some(value))
            }
        }
    }
}

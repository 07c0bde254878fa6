//! The proof that a vault has a snapshot: from its own copies, as they were seen there.

use std::collections::BTreeMap;

use super::Facts;
use super::world::World;
use crate::ec2::Access;
use crate::ids::{AccountId, Region, SnapshotId};
use crate::inventory::{Snapshot, State};
use crate::policy::UnshareWhenCopied;
use crate::tags::{self, CopyClaim};

/// Copies by the way into the vault, its Region, and the snapshot that they say they are of.
pub(super) type CopiesBySource<'a> = BTreeMap<(&'a Access, &'a Region, &'a str), Vec<&'a Snapshot>>;

pub(super) fn by_source<'a>(facts: &Facts<'a>) -> CopiesBySource<'a> {
    let mut found = CopiesBySource::new();
    for ((access, region), copies) in &facts.inventory.vaults {
        for copy in copies.iter().flatten() {
            if let Some(source) = copy.tags.get(tags::SOURCE_SNAPSHOT) {
                found.entry((access, region, source)).or_default().push(copy);
            }
        }
    }
    found
}

impl World<'_> {
    /// Whether the vault has a completed copy of the snapshot, or of what stands in for it, in every Region that the rule
    /// names.
    pub(super) fn is_copied(
        &self,
        snapshot: &Snapshot,
        rule: &UnshareWhenCopied,
        vault: &AccountId,
    ) -> bool {
        let stand_ins = self.stand_ins.get(&snapshot.id).into_iter().flatten();
        let ids: Vec<&SnapshotId> =
            stand_ins.map(|it| &it.id).chain(std::iter::once(&snapshot.id)).collect();
        !rule.regions.is_empty()
            && rule
                .regions
                .iter()
                .all(|region| ids.iter().any(|id| self.is_in(&rule.access, region, vault, id)))
    }

    fn is_in(
        &self,
        access: &Access,
        region: &Region,
        vault: &AccountId,
        source: &SnapshotId,
    ) -> bool {
        let scope = self.facts.scope;
        let proves = |copy: &&Snapshot| {
            let claim = CopyClaim::read(&copy.tags);
            copy.owner == *vault
                && copy.state == State::Completed
                && !copy.tags.contains_key(tags::SCHEDULE)
                && claim.is_some_and(|it| {
                    it.source_snapshot == *source
                        && it.source_account == scope.account
                        && it.source_region == scope.region
                })
        };
        let copies = self.copied.get(&(access, region, source.as_str()));
        copies.is_some_and(|copies| copies.iter().any(&proves))
    }
}

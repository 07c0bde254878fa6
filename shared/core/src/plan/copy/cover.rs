//! How well the vault protects every volume that it has or should have copies of.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Draft, claim_of};
use crate::action::Coverage;
use crate::ids::{Region, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::policy::CopyPolicy;

impl<'a> Draft<'a> {
    /// Per source volume and rule: the newest completed copy. What nobody shares any more is told, but cannot become
    /// fresher, so it does not count as wanted.
    pub(super) fn cover(&mut self) {
        let mut wanted: BTreeSet<(String, Region, VolumeId)> = BTreeSet::new();
        let mut known: BTreeSet<(String, Region, VolumeId)> = BTreeSet::new();
        let mut since: BTreeMap<VolumeId, Timestamp> = BTreeMap::new();
        let mut newest: BTreeMap<(String, Region, VolumeId), Timestamp> = BTreeMap::new();
        for (policy, details) in self.request.policies {
            for (region, source) in self.sources_of(details) {
                for rule in &details.rules {
                    let volume = claim_of(region, source, policy, rule).source_volume;
                    let first = since.entry(volume.clone()).or_insert(source.start_time);
                    *first = (*first).min(source.start_time);
                    let key = (policy.name.clone(), rule.target.clone(), volume);
                    if policy.enabled {
                        wanted.insert(key.clone());
                    }
                    known.insert(key);
                }
            }
        }
        for (region, copies) in &self.copies {
            for copy in copies.iter().filter(|copy| copy.snapshot.state == State::Completed) {
                let claim = &copy.claim;
                let key = (claim.policy.clone(), (*region).clone(), claim.source_volume.clone());
                if self.rule(claim).is_some() {
                    known.insert(key.clone());
                    let newest = newest.entry(key).or_insert(Timestamp::MIN);
                    *newest = (*newest).max(copy.data_time());
                }
            }
        }
        let coverage = known.into_iter().map(|key| {
            let is_wanted = wanted.contains(&key);
            let newest_completed = newest.get(&key).copied();
            let (policy, region, volume) = key;
            Coverage {
                scope: self.request.inventory.scope(&region),
                policy,
                is_wanted,
                since: newest_completed.is_none().then(|| since.get(&volume).copied()).flatten(),
                volume,
                newest_completed,
            }
        });
        self.plan.coverage = coverage.collect();
    }

    fn sources_of(
        &self,
        details: &'a CopyPolicy,
    ) -> impl Iterator<Item = (&'a Region, &'a Snapshot)> + use<'a> {
        self.request
            .inventory
            .sources
            .iter()
            .flat_map(|(region, sources)| sources.iter().map(move |source| (region, source)))
            .filter(|(_, source)| {
                details.owners.contains(&source.owner)
                    && details
                        .description
                        .as_ref()
                        .is_none_or(|it| it.is_match(&source.description))
            })
    }
}

//! How well the vault protects every volume that it has or should have copies of.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Copies, Draft, claim_of};
use crate::action::Coverage;
use crate::ids::{AccountId, Region, VolumeId};
use crate::inventory::{Snapshot, State};
use crate::tags::CopyClaim;

/// Whose volume, whether only a description says that it is that one, and which: nobody can make another's volume, nor
/// one that EC2 tells, look fresh by what he writes.
type Of = (AccountId, bool, VolumeId);

fn of(claim: &CopyClaim) -> Of {
    (claim.source_account.clone(), claim.volume_described, claim.source_volume.clone())
}

/// Policy, target Region and what of.
type Key = (String, Region, Of);

impl<'a> Draft<'a> {
    /// Per source volume and rule: the newest completed copy. What nobody shares any more is told, but cannot become
    /// fresher, so it does not count as wanted.
    pub(super) fn cover(&mut self) {
        let mut wanted: BTreeSet<Key> = BTreeSet::new();
        let mut known: BTreeSet<Key> = BTreeSet::new();
        let mut since: BTreeMap<Of, Timestamp> = BTreeMap::new();
        let mut newest: BTreeMap<Key, Timestamp> = BTreeMap::new();
        for copies in self.request.policies {
            for (region, source) in self.sources_of(copies) {
                for rules in copies.rules_for(region, source) {
                    let Some(rule) = rules.first() else {
                        continue;
                    };
                    let of = of(&claim_of(region, source, &rules, rule));
                    let first = since.entry(of.clone()).or_insert(source.start_time);
                    *first = (*first).min(source.start_time);
                    let key = (copies.policy.name.clone(), rule.target.clone(), of);
                    if copies.policy.enabled {
                        wanted.insert(key.clone());
                    }
                    known.insert(key);
                }
            }
        }
        for (region, copies) in &self.copies {
            for copy in copies.iter().filter(|copy| copy.snapshot.state == State::Completed) {
                let claim = &copy.claim;
                let key = (claim.policy.clone(), (*region).clone(), of(claim));
                if !self.rules(claim).is_empty() {
                    known.insert(key.clone());
                    let newest = newest.entry(key).or_insert(Timestamp::MIN);
                    *newest = (*newest).max(copy.told_data_time());
                }
            }
        }
        let coverage = known.into_iter().map(|key| {
            let is_wanted = wanted.contains(&key);
            let newest_completed = newest.get(&key).copied();
            let (policy, region, of) = key;
            Coverage {
                scope: self.request.inventory.scope(&region),
                policy,
                is_wanted,
                since: newest_completed.is_none().then(|| since.get(&of).copied()).flatten(),
                volume: of.2,
                newest_completed,
            }
        });
        self.plan.coverage = coverage.collect();
    }

    fn sources_of(
        &self,
        copies: &'a Copies<'a>,
    ) -> impl Iterator<Item = (&'a Region, &'a Snapshot)> + use<'a> {
        let sources = &self.request.inventory.sources;
        sources
            .iter()
            .flat_map(|(region, sources)| sources.iter().map(move |source| (region, source)))
            .filter(|(region, source)| copies.wants(region, source))
    }
}

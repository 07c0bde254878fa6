//! Copies that are not as their rule has them any more. They stay until their time: copying everything again would cost
//! a full copy of every volume, and the old ones are good.

use std::collections::BTreeMap;

use super::Draft;
use crate::action::{Held, Hold, Subject};
use crate::inventory::State;
use crate::policy::CopyRule;

impl Draft<'_> {
    /// One line for all of them, by rule.
    pub(super) fn stale(&mut self) {
        let mut held = Vec::new();
        for (region, copies) in &self.copies {
            let mut stale: BTreeMap<(&str, &str), (usize, &CopyRule)> = BTreeMap::new();
            for copy in copies.iter().filter(|it| it.snapshot.state == State::Completed) {
                let snapshot = copy.snapshot;
                let rules = self.rules(&copy.claim);
                let other_key = |rule: &CopyRule| {
                    rule.cmk_arn
                        .as_ref()
                        .is_some_and(|arn| snapshot.kms_key_id.as_deref() != Some(arn.as_str()))
                };
                let is_stale =
                    |rule: &&CopyRule| rule.encrypted && (!snapshot.encrypted || other_key(rule));
                if let Some(rule) = rules.into_iter().find(is_stale) {
                    let key = (copy.claim.policy.as_str(), rule.name.as_str());
                    stale.entry(key).or_insert((0, rule)).0 += 1;
                }
            }
            for ((policy, name), (n, rule)) in stale {
                let key = rule.cmk_arn.as_ref().map(ToString::to_string);
                held.push(Held {
                    scope: self.request.inventory.scope(region),
                    subject: Subject {
                        policy: policy.to_owned(),
                        schedule: name.to_owned(),
                        ..Subject::default()
                    },
                    why: Hold::NotAsEncrypted(n, name.to_owned(), key),
                });
            }
        }
        self.plan.held.extend(held);
    }
}

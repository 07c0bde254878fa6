//! Which copies a `LockRule` wants locked.

use super::{Copy, Draft, subject_of};
use crate::action::{Action, Deferred, Planned, Reason, Subject};
use crate::inventory::{Guards, Snapshot, State};
use crate::plan::{leaving, lock};
use crate::policy::CopyRule;
use crate::tags::CopyClaim;

impl Draft<'_> {
    /// Whether an older good copy of the same source by the same rule is there.
    fn has_older_twin(&self, copy: &Copy<'_>) -> bool {
        let CopyClaim { policy, rule, source_snapshot, .. } = &copy.claim;
        let key = (policy.as_str(), rule.as_str(), source_snapshot.as_str());
        let alike = self.by_source.get(&key).map_or(&[][..], Vec::as_slice).iter();
        let is_good = |it: &&&Snapshot| matches!(it.state, State::Pending | State::Completed);
        let age = |it: &Snapshot| (it.start_time, it.id.clone());
        alike.filter(is_good).any(|it| age(it) < age(copy.snapshot))
    }

    pub(super) fn lock(&mut self) {
        let wants_locks = |rules: &[CopyRule]| rules.iter().any(|rule| rule.lock.is_some());
        if !self.request.policies.iter().any(|copies| wants_locks(copies.rules)) {
            return;
        }
        let leaves = leaving(&self.plan);
        let (mut actions, mut deferred) = (Vec::new(), Vec::new());
        for (region, copies) in &self.copies {
            let Some(target) = self.request.inventory.targets.get(*region) else {
                continue;
            };
            let unknown = Guards::default();
            let guards = target.guards.as_ref();
            for copy in copies {
                // A repetition is to go, and a lock would keep it.
                if leaves.contains(&copy.snapshot.id)
                    || !self.is_in_force(&copy.claim)
                    || self.has_older_twin(copy)
                {
                    continue;
                }
                let rules = self.rules(&copy.claim);
                let rules = rules.iter().filter_map(|rule| rule.lock.as_ref());
                let now = self.request.now;
                let Some(lock) = lock::due(copy.snapshot, guards.unwrap_or(&unknown), rules, now)
                else {
                    continue;
                };
                let planned = Planned {
                    scope: self.request.inventory.scope(region),
                    access: self.request.access.clone(),
                    reason: Reason::NotLockedYet(lock.until),
                    action: Action::LockSnapshot(lock),
                    subject: Subject {
                        snapshot: Some(copy.snapshot.id.clone()),
                        ..subject_of(&copy.claim)
                    },
                };
                match guards {
                    Ok(_) => actions.push(planned),
                    Err(why) => deferred.push(Deferred {
                        planned,
                        waits_for: format!("cannot tell whether it is locked already: {why}"),
                    }),
                }
            }
        }
        self.plan.actions.extend(actions);
        self.plan.deferred.extend(deferred);
    }
}

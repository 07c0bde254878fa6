//! Which copies a `LockRule` wants locked.

use super::{Draft, subject_of};
use crate::action::{Action, Deferred, Planned, Reason, Subject};
use crate::inventory::Guards;
use crate::plan::{leaving, lock};
use crate::policy::CopyRule;

impl Draft<'_> {
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
                if leaves.contains(&copy.snapshot.id) || !self.is_in_force(&copy.claim) {
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

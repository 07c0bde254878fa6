//! The audit of what neither creates nor deletes: sharing, locks, fast restores, the archive.

use std::collections::BTreeSet;

use super::world::World;
use crate::action::{Action, Planned};
use crate::audit::{at_least, deletable, lockable};
use crate::ids::AccountId;
use crate::inventory::{Guards, Snapshot, State};
use crate::policy::{Schedule, Zones};
use crate::tags::Claim;

impl World<'_> {
    /// What neither creates nor deletes, but cannot always be taken back: each only as a rule says.
    pub(super) fn change(&self, planned: &Planned, action: &Action) -> Result<(), String> {
        let id = match action {
            Action::ShareSnapshot { snapshot, .. }
            | Action::UnshareSnapshot { snapshot, .. }
            | Action::EnableFastRestore { snapshot, .. }
            | Action::DisableFastRestore { snapshot, .. }
            | Action::ArchiveSnapshot(snapshot) => snapshot,
            Action::LockSnapshot(request) => &request.snapshot,
            _ => return Err("it has no place in the plan of a scope".into()),
        };
        let snapshot = self.by_id.get(id).copied().ok_or("it was not seen in this run")?;
        // What stands in for a snapshot is shared as that would be.
        let stood_for = self.stand_in(snapshot).map(|claim| self.stood_for(&claim)).transpose()?;
        let of = stood_for.unwrap_or(snapshot);
        let is_sharing =
            matches!(action, Action::ShareSnapshot { .. } | Action::UnshareSnapshot { .. });
        if stood_for.is_some() && !is_sharing {
            return Err("it only stands in for a snapshot".into());
        }
        let claim = Claim::read(&of.tags).ok_or("it does not carry our tags")?;
        let (_, details) = self
            .policy(&claim.policy)
            .filter(|(policy, _)| policy.enabled)
            .ok_or("its policy is not in force here")?;
        if snapshot.owner != planned.scope.account {
            return Err(format!("it belongs to {}", snapshot.owner));
        }
        let schedules = details.schedules.iter().filter(|it| claim.schedules.contains(&it.name));
        let schedules: Vec<&Schedule> = schedules.collect();
        match action {
            Action::ShareSnapshot { accounts, .. } => shareable(&schedules, accounts),
            Action::UnshareSnapshot { accounts, .. } => self.unshareable(of, &schedules, accounts),
            Action::EnableFastRestore { zones, .. } | Action::DisableFastRestore { zones, .. } => {
                self.fast(&schedules, zones)
            }
            Action::LockSnapshot(request) => {
                let rules = schedules.iter().filter_map(|it| it.lock.as_ref());
                lockable(snapshot, request, self.facts.now, rules)
            }
            _ => self.archivable(planned, snapshot, &claim, &schedules),
        }
    }

    /// No schedule may still share it with the account.
    fn unshareable(
        &self,
        snapshot: &Snapshot,
        schedules: &[&Schedule],
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), String> {
        for account in accounts {
            let mut sharing =
                schedules.iter().filter(|it| it.share_with.contains(account)).peekable();
            if sharing.peek().is_none() {
                return Err(format!("no ShareRules of its policy name {account}"));
            }
            let still = |schedule: &&Schedule| {
                let is_over = schedule.unshare_after.is_some_and(|after| {
                    self.facts.now.duration_since(snapshot.start_time) >= at_least(after)
                });
                let when_copied = schedule.unshare_when_copied.as_ref();
                !is_over && !when_copied.is_some_and(|it| self.is_copied(snapshot, it, account))
            };
            if let Some(schedule) = sharing.find(|schedule| still(schedule)) {
                return Err(format!("schedule {} still shares it with {account}", schedule.name));
            }
        }
        Ok(())
    }

    fn fast(&self, schedules: &[&Schedule], zones: &BTreeSet<String>) -> Result<(), String> {
        let ids = self.facts.inventory.zones.as_ref();
        let names = |zone: &String| {
            schedules.iter().filter_map(|it| it.fast_restore.as_ref()).any(|rule| {
                match &rule.zones {
                    Zones::Names(names) => names.contains(zone),
                    Zones::Ids(wanted) => ids.is_ok_and(|ids| {
                        ids.iter().any(|(id, name)| name == zone && wanted.contains(id))
                    }),
                }
            })
        };
        match zones.iter().find(|zone| !names(zone)) {
            Some(zone) => Err(format!("no FastRestoreRule of its policy names {zone}")),
            None => Ok(()),
        }
    }

    /// What goes to the archive has done its duty in the standard tier, by one schedule that says so.
    fn archivable(
        &self,
        planned: &Planned,
        snapshot: &Snapshot,
        claim: &Claim,
        schedules: &[&Schedule],
    ) -> Result<(), String> {
        let unlocked = self.facts.inventory.guards.clone().map(|guards| Guards {
            locked: BTreeSet::new(), // a lock forbids deleting, not archiving
            ..guards
        });
        deletable(planned, Some(snapshot), &unlocked)?;
        if snapshot.archived || snapshot.state != State::Completed {
            return Err("it is not completed in the standard tier".into());
        }
        let [schedule] = schedules else {
            return Err("an ArchiveRule wants one schedule".into());
        };
        if schedule.archive.is_none() {
            return Err("no ArchiveRule of its policy says so".into());
        }
        if self.is_kept_in_standard(snapshot, claim, schedule) {
            return Err(format!("schedule {} still keeps it", schedule.name));
        }
        Ok(())
    }
}

fn shareable(schedules: &[&Schedule], accounts: &BTreeSet<AccountId>) -> Result<(), String> {
    let named = |account: &AccountId| schedules.iter().any(|it| it.share_with.contains(account));
    match accounts.iter().find(|account| !named(account)) {
        Some(account) => Err(format!("no ShareRules of its policy name {account}")),
        None => Ok(()),
    }
}

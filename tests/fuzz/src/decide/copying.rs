//! One account with all its Regions, where copies are made: the vault, or a member with `CrossRegionCopyRules`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snapferry_core::action::Plan;
use snapferry_core::audit;
use snapferry_core::documents::Documents;
use snapferry_core::ec2::Access;
use snapferry_core::ids::Region;
use snapferry_core::inventory::{
    EbsEncryption, Guards, Snapshot, State, TargetInventory, VaultInventory,
};
use snapferry_core::plan;
use snapferry_core::policy::Copies;
use snapferry_core::tags::{CopyClaim, Tags};

use super::snapshots::{
    AWAY, HOME, Kind, MEMBER, OTHER, SEALED, VAULT, a_key, guards, id, key, now, refused, region,
    snap, snapshot, some_ids, unread,
};
use super::{Choices, documents, rotation, rules};
use crate::{Verdict, check};

const REGIONS: [&str; 3] = [HOME, AWAY, "us-east-1"];

struct World {
    documents: Documents,
    within: bool,
    account: &'static str,
    inventory: VaultInventory,
    now: Timestamp,
}

pub(super) fn run(choices: &mut Choices<'_>, within: bool) -> Verdict {
    let documents = documents::read(choices, !within);
    let now = now(choices);
    let account = if within { MEMBER } else { VAULT };
    let mut inventory =
        if within { of_account(choices, &documents, now) } else { of_vault(choices, now) };
    looked_at(choices, &mut inventory, account);
    let mut world = World { documents, within, account, inventory, now };
    if copies_of(&world.documents, within).is_empty() {
        return Verdict::Refused;
    }
    let plan = world.plan();
    check::same("a plan", &plan, &world.plan());
    rules::told_well(&plan);
    for (region, target) in &world.inventory.targets {
        let here = rules::of_region(&plan, region);
        rules::deletions(&here, &target.copies, &target.guards, account);
        rules::never_the_newest_copy(&here, &target.copies);
        rules::room(&here, target);
    }
    rules::creations(&plan);
    world.audited(&plan);
    world.forged(choices, &plan);
    let sorted = rules::sorted(&plan);
    world.reverse();
    check::same("a plan of the same in another order", &rules::sorted(&world.plan()), &sorted);
    Verdict::Accepted
}

fn copies_of(documents: &Documents, within: bool) -> Vec<Copies<'_>> {
    if within {
        let policies = documents.snapshot_policies();
        policies.iter().map(|(policy, details)| Copies::of_own(policy, details)).collect()
    } else {
        let policies = documents.copy_policies();
        policies.iter().map(|(policy, details)| Copies::of_shared(policy, details)).collect()
    }
}

impl World {
    fn plan(&self) -> Plan {
        plan::copy::plan(plan::copy::Request {
            policies: &copies_of(&self.documents, self.within),
            within: self.within,
            access: &Access::default(),
            in_force: &self.documents.in_force(),
            inventory: &self.inventory,
            now: self.now,
            explain: true,
        })
    }

    fn audit(&self, plan: Plan) -> (audit::AuditedPlan, Vec<audit::Violation>) {
        let facts = audit::copy::Facts {
            policies: &copies_of(&self.documents, self.within),
            within: self.within,
            in_force: &self.documents.in_force(),
            inventory: &self.inventory,
            now: self.now,
            delete_limit: Some(usize::MAX),
        };
        audit::copy::audit(plan, facts)
    }

    /// The auditor has nothing against the planner's own plan.
    fn audited(&self, plan: &Plan) {
        let (audited, violations) = self.audit(plan.clone());
        let sources = self.inventory.sources.values().flatten();
        let copies = self.inventory.targets.values().flat_map(|it| &it.copies);
        rules::no_violation(plan, &violations, sources.chain(copies));
        check::same("what is done", &audited.actions(), &&plan.actions[..]);
    }

    /// Whatever a mistaken planner would delete, the auditor refuses what is not ours.
    fn forged(&self, choices: &mut Choices<'_>, plan: &Plan) {
        for (region, target) in &self.inventory.targets {
            let n = usize::try_from(choices.upto(20)).unwrap_or(0);
            let Some(victim) = target.copies.get(n).or(target.copies.first()) else {
                continue;
            };
            let scope = self.inventory.scope(region);
            let (audited, _) = self.audit(rules::with_deletion(plan, &scope, &victim.id));
            let here = audited.actions().iter().filter(|it| it.scope.region == *region).cloned();
            let deleted = rules::deleted(&here.collect::<Vec<_>>());
            rules::each_is_ours(&deleted, &target.copies, &target.guards, self.account);
        }
    }

    fn reverse(&mut self) {
        self.inventory.sources.values_mut().for_each(|it| it.reverse());
        for target in self.inventory.targets.values_mut() {
            target.copies.reverse();
            target.in_progress.reverse();
        }
    }
}

/// What the vault sees.
fn of_vault(choices: &mut Choices<'_>, now: Timestamp) -> VaultInventory {
    let mut inventory = VaultInventory::new(id(VAULT), !choices.once_in(4));
    let mut n = 0;
    for name in REGIONS.into_iter().take(if choices.once_in(3) { 2 } else { 1 }) {
        let sources = choices.many(20, |choices| {
            n += 1;
            let owner = choices.pick(&[MEMBER, MEMBER, OTHER]);
            let mut source = snapshot(choices, n, Kind::Own, owner, now);
            if !choices.once_in(10) {
                source.tags = Tags::new(); // another account's are invisible
            }
            source
        });
        inventory.sources.insert(region(name), sources);
    }
    let mut n = 1000;
    for name in REGIONS {
        if choices.once_in(8) {
            continue;
        }
        let copies = choices.many(15, |choices| {
            n += 1;
            snapshot(choices, n, Kind::Copy { within: false }, VAULT, now)
        });
        let target = TargetInventory {
            in_progress: in_progress(choices, &copies, VAULT, now),
            guards: target_guards(choices, &copies),
            copies,
        };
        inventory.targets.insert(region(name), target);
    }
    inventory
}

/// What `rotate-snapshots` goes on with after it has looked at every Region of an account.
fn of_account(choices: &mut Choices<'_>, documents: &Documents, now: Timestamp) -> VaultInventory {
    let mut inventory = VaultInventory::new(id(MEMBER), true);
    let policies = documents.snapshot_policies();
    let mut before = 0;
    for name in [HOME, AWAY] {
        let seen = rotation::inventory(choices, now, before);
        before += 100;
        let scope = inventory.scope(&region(name));
        let sources: Vec<Snapshot> =
            plan::copy::sources(&scope, &policies, &seen).cloned().collect();
        let is_copy = |it: &&Snapshot| {
            let claim = CopyClaim::read(&it.tags);
            it.owner == scope.account && claim.is_some_and(|claim| !claim.stands_in())
        };
        let copies: Vec<Snapshot> = seen.snapshots.iter().filter(is_copy).cloned().collect();
        let target = TargetInventory {
            in_progress: in_progress(choices, &copies, MEMBER, now),
            guards: target_guards(choices, &copies),
            copies,
        };
        inventory.sources.insert(region(name), sources);
        inventory.targets.insert(region(name), target);
    }
    inventory
}

/// More of what is pending, by whoever.
fn in_progress(
    choices: &mut Choices<'_>,
    copies: &[Snapshot],
    account: &str,
    now: Timestamp,
) -> Vec<Snapshot> {
    let mut n = 5000;
    let mut all = choices.many(22, |choices| {
        n += 1;
        snapshot(choices, n, Kind::Copy { within: false }, account, now)
    });
    let pending = |it: &&Snapshot| it.state == State::Pending;
    all.extend(copies.iter().filter(pending).cloned());
    all
}

fn target_guards(choices: &mut Choices<'_>, copies: &[Snapshot]) -> Result<Guards, String> {
    let mut guards = guards(choices)?;
    if let Some(copy) = copies.first().filter(|_| choices.once_in(4)) {
        guards.locked.insert(copy.id.clone());
    }
    Ok(guards)
}

/// Keys, default keys, the tags of sources, and what EC2 has refused.
fn looked_at(choices: &mut Choices<'_>, inventory: &mut VaultInventory, account: &str) {
    let arns = REGIONS.map(|region| key(account, region));
    for arn in arns.into_iter().chain([SEALED.to_owned(), key(MEMBER, HOME)]) {
        let looked =
            if choices.once_in(8) { Err(refused(choices)) } else { Ok(a_key(choices, &arn)) };
        if !choices.once_in(10) {
            inventory.keys.insert(arn, looked);
        }
    }
    let encryption: BTreeMap<Region, _> = REGIONS
        .into_iter()
        .map(|name| {
            let default = EbsEncryption {
                by_default: choices.once_in(2),
                key: if choices.once_in(2) { "alias/aws/ebs".into() } else { key(account, name) },
            };
            (region(name), if choices.once_in(6) { Err(unread()) } else { Ok(default) })
        })
        .collect();
    inventory.encryption = encryption;
    let callers = ["", "arn:aws:sts::222222222222:assumed-role/r/s", "x\ny", ":::::/"];
    choices.pick(&callers).clone_into(&mut inventory.caller);
    inventory.refused =
        choices.many(2, |choices| (region(HOME), snap(1 + choices.upto(20)))).into_iter().collect();
    for source in some_ids(choices, 4) {
        let mut tags = Tags::from([("Owner".to_owned(), choices.text())]);
        tags.insert(choices.pick(&["aws:x", "snapferry:policy", "k"]).to_owned(), "x".to_owned());
        tags.extend((0..choices.upto(60)).map(|n| (format!("t{n}"), "x".to_owned())));
        inventory.source_tags.insert(source, tags);
    }
}

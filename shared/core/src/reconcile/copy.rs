//! `copy-shared-snapshots`: the vault as a whole, all its Regions together.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::full_copy::full_copy;
use super::gathered::Gathered;
use super::{Done, carry_out, places};
use crate::action::{Held, Hold, Plan, Subject};
use crate::audit;
use crate::documents::Documents;
use crate::ec2::{Access, Ec2Error, Ec2Provider};
use crate::event::{CopyEvent, CopyScope};
use crate::execute::Limits;
use crate::ids::{AccountId, Region, Scope};
use crate::inventory::VaultInventory;
use crate::observe::{self, Unreadable};
use crate::plan::{self, copy::Request};
use crate::policy::Copies;
use crate::policy::document::Kind;
use crate::run::Run;

/// Runs `copy-shared-snapshots` once.
///
/// # Errors
/// When the own account cannot be told: then nothing was done.
pub async fn copy<P: Ec2Provider>(
    provider: &P,
    documents: Documents,
    event: &CopyEvent,
    now: Timestamp,
    limits: &Limits<'_>,
) -> Result<Run, Ec2Error> {
    let now = event.common.now.unwrap_or(now);
    let mut run = Gathered::new(event.common.dry_run);
    let policies = documents.copy_policies();
    if event.what == CopyScope::Nothing || policies.is_empty() {
        return Ok(watched(run.finish(documents.into_invalid(Kind::Copies)), Vec::new()));
    }
    if let CopyScope::One { region, snapshot, owner: Some(owner) } = &event.what
        && policies.iter().all(|(_, details)| !details.owners.contains(owner))
    {
        // Whoever likes may share with this account, as often as he likes: that costs no look.
        let scope = Scope { account: provider.account().await?, region: region.clone() };
        let is_own = scope.account == *owner;
        let why = if is_own { Hold::OwnSnapshot } else { Hold::OwnerNotWanted(owner.clone()) };
        let subject = Subject { snapshot: Some(snapshot.clone()), ..Subject::default() };
        let plan = Plan { held: vec![Held { scope, subject, why }], ..Plan::default() };
        run.add(Done { plan, ..Done::default() }, now);
        return Ok(watched(run.finish(documents.into_invalid(Kind::Copies)), Vec::new()));
    }
    if let CopyScope::FullCopy { region, copy } = &event.what {
        let done = full_copy(provider, region, copy).await?;
        let full = done.plan.held.iter().map(|held| held.subject.policy.clone()).collect();
        run.add(done, now);
        return Ok(watched(run.finish(documents.into_invalid(Kind::Copies)), full));
    }
    let in_force = documents.in_force();
    let mut vault = observe::vault(provider, &policies, &event.what).await?;
    let copies: Vec<Copies<'_>> =
        policies.iter().map(|(policy, details)| Copies::of_shared(policy, details)).collect();
    let access = Access::default();
    let plan_of = |inventory: &VaultInventory| {
        let in_force = &in_force;
        let (policies, access) = (copies.as_slice(), &access);
        plan::copy::plan(Request {
            policies,
            within: false,
            access,
            in_force,
            inventory,
            now,
            explain: false,
        })
    };
    let owners: BTreeSet<&AccountId> =
        policies.iter().flat_map(|(_, details)| &details.owners).collect();
    let dry_run = event.common.dry_run;
    let mut done = Done::default();
    for round in 0..places::ROUNDS {
        let mut plan = plan_of(&vault.inventory);
        // Only what is about to be copied needs its tags. With them, the same plan is made again: they decide nothing.
        if observe::source_tags(provider, &copies, &plan, &mut vault, limits.scopes).await {
            plan = plan_of(&vault.inventory);
        }
        if round == 0 {
            let what = &event.what;
            plan.held.extend(not_shared(&vault.inventory, what, &vault.unreadable, &owners));
        } else {
            plan = places::only_copies(plan);
        }
        let (audited, violations) = audit::copy::audit(
            plan,
            audit::copy::Facts {
                policies: &copies,
                within: false,
                in_force: &in_force,
                inventory: &vault.inventory,
                now,
                delete_limit: limits.deletions,
            },
        );
        let more = carry_out(audited, violations, &vault.clients, limits, dry_run).await;
        let is_refused = places::note(&more, &mut vault.inventory, now);
        done.go_on(round, more);
        if !is_refused || (limits.out_of_time)() {
            break;
        }
    }
    done.unreadable = vault.unreadable;
    run.add(done, now);
    Ok(watched(run.finish(documents.into_invalid(Kind::Copies)), Vec::new()))
}

/// The metric is there in every run of this function; what there is none of is 0.
fn watched(run: Run, full_copies: Vec<String>) -> Run {
    Run { full_copies: Some(full_copies), ..run }
}

/// What was named and is not there: gone, unshared, or of an owner that no policy wants.
fn not_shared(
    inventory: &VaultInventory,
    what: &CopyScope,
    unreadable: &[Unreadable],
    owners: &BTreeSet<&AccountId>,
) -> Vec<Held> {
    let seen: BTreeSet<_> = inventory.sources.values().flatten().map(|source| &source.id).collect();
    let held = |region: &Region, snapshot, why| Held {
        scope: inventory.scope(region),
        subject: Subject { snapshot: Some(snapshot), ..Subject::default() },
        why,
    };
    match what {
        CopyScope::One { region, snapshot, owner } if !seen.contains(snapshot) => {
            if unreadable.iter().any(|it| it.scope.region == *region) {
                return Vec::new(); // said already, and louder
            }
            let why = match owner {
                Some(owner) if *owner == inventory.account => Hold::OwnSnapshot,
                Some(owner) if !owners.contains(owner) => Hold::OwnerNotWanted(owner.clone()),
                _ => Hold::NotShared,
            };
            vec![held(region, snapshot.clone(), why)]
        }
        CopyScope::Ids(ids) => {
            let region = inventory.sources.keys().next();
            let missing = ids.iter().filter(|id| !seen.contains(id));
            missing.filter_map(|id| Some(held(region?, id.clone(), Hold::NotShared))).collect()
        }
        _ => Vec::new(),
    }
}

//! `CrossRegionCopyRules`: after its Regions have been looked at one by one, the copies within each account.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use super::rotate::{Context, Scoped};
use super::{Done, carry_out, places};
use crate::action::{Action, Held, Hold, Plan, Subject};
use crate::audit;
use crate::ec2::{Access, Ec2Provider};
use crate::execute::Outcome;
use crate::ids::{AccountId, Region, Scope, SnapshotId};
use crate::inventory::{ScopeInventory, Snapshot, TargetInventory};
use crate::observe::{self, Within};
use crate::plan;
use crate::policy::{Copies, Policy, SnapshotPolicy};
use crate::tags::CopyClaim;

/// One account, with one way into it.
struct Account<'a> {
    id: AccountId,
    access: Access,
    policies: BTreeMap<&'a str, (&'a Policy, &'a SnapshotPolicy)>,
    sources: BTreeMap<Region, Vec<Snapshot>>,
    targets: BTreeMap<Region, TargetInventory>,
}

/// Copies what the policies of every account want copied, and lets expire what they do not want any more.
pub(super) async fn copies<P: Ec2Provider>(
    context: &Context<'_, P>,
    scopes: &mut [Scoped<'_>],
) -> Vec<Done> {
    stream::iter(accounts(scopes))
        .map(|account| async move { one_account(context, account).await })
        .buffered(context.limits.scopes.max(1))
        .collect()
        .await
}

/// Only those that copy, or have copied.
fn accounts<'a>(scopes: &mut [Scoped<'a>]) -> Vec<Account<'a>> {
    let mut accounts: BTreeMap<(AccountId, Access), Account<'a>> = BTreeMap::new();
    for scoped in scopes {
        let Some(inventory) = scoped.inventory.take() else {
            continue;
        };
        let key = (scoped.scope.account.clone(), scoped.access.clone());
        let account = accounts.entry(key).or_insert_with(|| Account {
            id: scoped.scope.account.clone(),
            access: scoped.access.clone(),
            policies: BTreeMap::new(),
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
        });
        let named = scoped.policies.iter().map(|of| (of.0.name.as_str(), *of));
        account.policies.extend(named);
        let region = scoped.scope.region.clone();
        let (sources, target) = split(scoped, inventory);
        account.sources.insert(region.clone(), sources);
        account.targets.insert(region, target);
    }
    let copies = |account: &Account<'_>| {
        account.policies.values().any(|(_, details)| !details.copies.is_empty())
            || account.targets.values().any(|target| !target.copies.is_empty())
    };
    accounts.into_values().filter(copies).collect()
}

/// What may be copied, but for what was just deleted; and the copies in a Region that has been read: like all of ours they
/// carry the policy's tag.
fn split(scoped: &Scoped<'_>, inventory: ScopeInventory) -> (Vec<Snapshot>, TargetInventory) {
    let gone: BTreeSet<&SnapshotId> = scoped
        .done
        .executed
        .iter()
        .filter(|it| matches!(it.outcome, Outcome::Done(_) | Outcome::Planned))
        .filter_map(|it| match &it.planned.action {
            Action::DeleteSnapshot(id) | Action::ArchiveSnapshot(id) => Some(id),
            _ => None,
        })
        .collect();
    let sources: BTreeSet<SnapshotId> =
        plan::copy::sources(&scoped.scope, &scoped.policies, &inventory)
            .filter(|snapshot| !gone.contains(&snapshot.id))
            .map(|snapshot| snapshot.id.clone())
            .collect();
    let is_copy = |snapshot: &Snapshot| {
        let claim = CopyClaim::read(&snapshot.tags);
        snapshot.owner == scoped.scope.account && claim.is_some_and(|claim| !claim.stands_in())
    };
    let mut snapshots = inventory.snapshots;
    snapshots.retain(|it| sources.contains(&it.id) || is_copy(it));
    let copies = snapshots.extract_if(.., |it| !sources.contains(&it.id)).collect();
    let in_progress = Vec::new(); // looked at where something is to be copied
    (snapshots, TargetInventory { copies, in_progress, guards: inventory.guards })
}

async fn one_account<P: Ec2Provider>(context: &Context<'_, P>, account: Account<'_>) -> Done {
    let copies: Vec<Copies<'_>> = account
        .policies
        .values()
        .map(|(policy, details)| Copies::of_own(policy, details))
        .collect();
    if (context.limits.out_of_time)() {
        let region = account.sources.keys().next().cloned();
        let scope = Scope {
            account: account.id,
            region: region.unwrap_or_else(|| context.provider.home()),
        };
        let why = "out of time before its copies were looked at; the next run goes on";
        let held = Held { scope, subject: Subject::default(), why: Hold::Ec2(why.into()) };
        let plan = Plan { held: vec![held], ..Plan::default() };
        return Done { plan, out_of_time: true, ..Done::default() };
    }
    let access = &account.access;
    let known =
        Within { account: account.id, access, sources: account.sources, targets: account.targets };
    let mut vault = observe::within(context.provider, &copies, known).await;
    let mut done = Done::default();
    for round in 0..places::ROUNDS {
        let plan = plan::copy::plan(plan::copy::Request {
            policies: &copies,
            within: true,
            access,
            in_force: context.in_force,
            inventory: &vault.inventory,
            now: context.now,
            explain: false,
        });
        let plan = if round == 0 { plan } else { places::only_copies(plan) };
        let (audited, violations) = audit::copy::audit(
            plan,
            audit::copy::Facts {
                policies: &copies,
                within: true,
                in_force: context.in_force,
                inventory: &vault.inventory,
                now: context.now,
                delete_limit: context.limits.deletions,
            },
        );
        let (limits, dry_run) = (context.limits, context.dry_run);
        let more = carry_out(audited, violations, &vault.clients, limits, dry_run).await;
        let is_refused = places::note(&more, &mut vault.inventory, context.now);
        done.go_on(round, more);
        if !is_refused || (limits.out_of_time)() {
            break;
        }
    }
    done.unreadable = vault.unreadable;
    done
}

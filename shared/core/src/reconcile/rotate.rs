//! `rotate-snapshots`: every account and Region by itself, side by side.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::gathered::Gathered;
use super::{Done, aimless, carry_out, vaults, within};
use crate::action::{Held, Hold, Plan, Subject};
use crate::audit;
use crate::chain::Chain;
use crate::documents::Documents;
use crate::ec2::{Access, Ec2Error, Ec2Provider, ExternalId};
use crate::event::RotateEvent;
use crate::execute::Limits;
use crate::ids::{Scope, UnitId, VolumeId};
use crate::inventory::{ScopeInventory, VaultCopies};
use crate::observe::{self, Copied, Members, Unreadable};
use crate::plan;
use crate::policy::document::Kind;
use crate::policy::{Policy, SnapshotPolicy};
use crate::run::Run;
use crate::tags;

/// Runs `rotate-snapshots` once.
///
/// # Errors
/// When the account of the own credentials is needed and cannot be told: then nothing was done.
pub async fn rotate<P: Ec2Provider>(
    provider: &P,
    documents: Documents,
    event: &RotateEvent,
    now: Timestamp,
    limits: &Limits<'_>,
) -> Result<Run, Ec2Error> {
    let now = event.common.now.unwrap_or(now);
    let at = scheduled(event, now);
    let in_force = documents.in_force();
    let mut run = Gathered::new(event.common.dry_run);
    let policies = documents.snapshot_policies();
    let members = members(provider, &policies, event).await;
    let units = units(provider, &policies, &members).await?;
    for scope in &event.scopes {
        if !units.iter().any(|unit| unit.scope == *scope) {
            run.hold(scope, Hold::Ec2("no policy targets this scope".into()));
        }
    }
    let wanted: Vec<Unit<'_>> = units
        .into_iter()
        .filter(|unit| event.scopes.is_empty() || event.scopes.contains(&unit.scope))
        .collect();
    let (in_force, dry_run) = (&in_force, event.common.dry_run);
    let any_copies = policies.iter().any(|(_, details)| !details.copies.is_empty());
    let context = Context { provider, in_force, at, now, limits, dry_run, any_copies };
    let context = &context;
    let (copied, looked) = vaults::look(context, &wanted).await?;
    let copied = &copied;
    let mut done = stream::iter(wanted)
        .map(|unit| async move { one_scope(context, unit, copied).await })
        .buffer_unordered(limits.scopes.max(1))
        .collect::<Vec<_>>()
        .await;
    done.sort_by(|a, b| a.scope.cmp(&b.scope));
    let within = within::copies(context, &mut done).await;
    let is_whole = event.scopes.is_empty();
    let known: Vec<_> =
        policies.iter().filter(|(policy, _)| members.is_whole(named(policy))).copied().collect();
    let (impossible, held) =
        if is_whole { aimless::find(&known, &done) } else { Default::default() };
    for unit in done {
        run.add(unit.done, now);
    }
    for done in within.into_iter().chain([looked]) {
        run.add(done, now);
    }
    run.add(Done { plan: Plan { impossible, held, ..Plan::default() }, ..Done::default() }, now);
    run.units(members.unreadable);
    let run = run.finish(documents.into_invalid(Kind::Snapshots));
    Ok(if event.listed.is_some() { run.of_a_list() } else { run })
}

/// The time whose slot is served. The last runs of a long list are as late as the first ones take: what they make is of
/// now, and a later execution may have overtaken them, so that the scheduled time would be served twice.
fn scheduled(event: &RotateEvent, now: Timestamp) -> Timestamp {
    /// As long as `EventBridge` Scheduler tries to deliver it, by the template.
    const LATE: SignedDuration = SignedDuration::from_mins(15);
    let at = event.scheduled_time.map_or(now, |at| at.min(now));
    if event.listed.is_some() && now.duration_since(at) > LATE { now } else { at }
}

/// The organizational units that a policy names.
fn named(policy: &Policy) -> impl Iterator<Item = &UnitId> {
    policy.units.iter().flat_map(|target| &target.units)
}

/// The accounts of all units that policies name: as they were listed before, else as they are. What cannot be read of
/// units that only disabled policies name is not worth an alarm.
pub(super) async fn members<P: Ec2Provider>(
    provider: &P,
    policies: &[(&Policy, &SnapshotPolicy)],
    event: &RotateEvent,
) -> Members {
    if let Some(accounts) = &event.listed {
        return Members { accounts: accounts.clone(), unreadable: Vec::new() };
    }
    let units = |enabled: bool| -> BTreeSet<UnitId> {
        let policies = policies.iter().filter(|(policy, _)| policy.enabled || !enabled);
        policies.flat_map(|(policy, _)| named(policy)).cloned().collect()
    };
    let mut members = observe::organization(provider, units(false)).await;
    let worth_an_alarm = units(true);
    members.unreadable.retain(|it| worth_an_alarm.contains(&it.unit));
    members
}

/// One account in one Region, with one way into it.
pub(super) struct Unit<'a> {
    pub(super) scope: Scope,
    access: Access,
    pub(super) policies: Vec<(&'a Policy, &'a SnapshotPolicy)>,
}

pub(super) struct Context<'a, P> {
    pub(super) provider: &'a P,
    pub(super) in_force: &'a plan::PoliciesInForce,
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
    pub(super) limits: &'a Limits<'a>,
    pub(super) dry_run: bool,
    /// Some policy copies within its account.
    any_copies: bool,
}

/// Policies grouped by where and how they act: a scope is read once, whatever the number of policies.
/// An account that several targets of a policy name in a Region belongs to the first: those that name accounts, then
/// those that name units.
pub(super) async fn units<'a, P: Ec2Provider>(
    provider: &P,
    policies: &[(&'a Policy, &'a SnapshotPolicy)],
    members: &Members,
) -> Result<Vec<Unit<'a>>, Ec2Error> {
    let mut units: BTreeMap<(Scope, Access), Vec<(&Policy, &SnapshotPolicy)>> = BTreeMap::new();
    for (policy, details) in policies {
        if policy.targets.is_empty() && policy.units.is_empty() {
            let scope = Scope { account: provider.account().await?, region: provider.home() };
            units.entry((scope, Access::default())).or_default().push((policy, details));
        }
        let accounts = policy
            .targets
            .iter()
            .map(|it| (it.role_arn.clone(), it.external_id.clone(), &it.regions));
        let of_units = policy.units.iter().flat_map(|it| {
            let accounts = members.of(&it.units);
            let accounts = accounts.filter(|account| !it.exclude_accounts.contains(*account));
            accounts.map(|account| (it.role_arn.of(account), it.external_id.clone(), &it.regions))
        });
        let mut taken = BTreeSet::new();
        for (role_arn, external_id, regions) in accounts.chain(of_units) {
            let home = [provider.home()];
            let regions = if regions.is_empty() { &home[..] } else { regions };
            let account = role_arn.account();
            let external_id = external_id.map(ExternalId);
            let access = Access { role_arn: Some(role_arn), external_id };
            for region in regions {
                let scope = Scope { account: account.clone(), region: region.clone() };
                if taken.insert(scope.clone()) {
                    units.entry((scope, access.clone())).or_default().push((policy, details));
                }
            }
        }
        if taken.is_empty() && !policy.units.is_empty() {
            warn!(policy = policy.name, "no account is in the organizational units of the policy");
        }
    }
    let unit = |((scope, access), policies)| Unit { scope, access, policies };
    Ok(units.into_iter().map(unit).collect())
}

/// What became of one scope.
pub(super) struct Scoped<'a> {
    pub(super) scope: Scope,
    pub(super) access: Access,
    pub(super) policies: Vec<(&'a Policy, &'a SnapshotPolicy)>,
    pub(super) done: Done,
    /// What was seen before anything was done, as far as copies need it; `None`: it was not read.
    pub(super) inventory: Option<ScopeInventory>,
}

async fn one_scope<'a, P: Ec2Provider>(
    context: &Context<'_, P>,
    unit: Unit<'a>,
    copied: &Copied,
) -> Scoped<'a> {
    let mut inventory = None;
    let done = if (context.limits.out_of_time)() {
        let held = Held {
            scope: unit.scope.clone(),
            subject: Subject::default(),
            why: Hold::Ec2("out of time before this scope was read; the next run goes on".into()),
        };
        Done {
            plan: Plan { held: vec![held], ..Plan::default() },
            out_of_time: true,
            ..Done::default()
        }
    } else {
        match read_and_do(context, &unit, copied).await {
            Ok((done, seen)) => {
                inventory = Some(seen);
                done
            }
            Err(error) => not_read(&unit, error),
        }
    };
    Scoped { scope: unit.scope, access: unit.access, policies: unit.policies, done, inventory }
}

/// A scope in which every policy is disabled is not worth an alarm: it may not even be set up yet.
fn not_read(unit: &Unit<'_>, error: Ec2Error) -> Done {
    let scope = unit.scope.clone();
    if unit.policies.iter().any(|(policy, _)| policy.enabled) {
        return Done { unreadable: vec![Unreadable { scope, error }], ..Done::default() };
    }
    let why =
        Hold::Ec2(format!("its policies are disabled, and it cannot be read: {}", Chain(&error)));
    let held = Held { scope, subject: Subject::default(), why };
    Done { plan: Plan { held: vec![held], ..Plan::default() }, ..Done::default() }
}

async fn read_and_do<P: Ec2Provider>(
    context: &Context<'_, P>,
    unit: &Unit<'_>,
    copied: &Copied,
) -> Result<(Done, ScopeInventory), Ec2Error> {
    let ec2 = context.provider.connect(&unit.access, &unit.scope.region).await?;
    let inventory = observe::scope(&ec2, &unit.policies, context.now).await?;
    let inventory = ScopeInventory { vaults: copied.of(&unit.scope), ..inventory };
    let plan = plan::rotate::plan(plan::rotate::Request {
        scope: &unit.scope,
        access: &unit.access,
        policies: &unit.policies,
        in_force: context.in_force,
        inventory: &inventory,
        at: context.at,
        now: context.now,
        explain: false,
    });
    let (audited, violations) = audit::rotate::audit(
        plan,
        audit::rotate::Facts {
            scope: &unit.scope,
            policies: &unit.policies,
            in_force: context.in_force,
            inventory: &inventory,
            now: context.now,
            delete_limit: context.limits.deletions,
        },
    );
    let clients = BTreeMap::from([(unit.scope.region.clone(), ec2)]);
    let seen = seen(&inventory, &unit.policies);
    let inventory = without_what_is_done_with(inventory, context.any_copies);
    let done = carry_out(audited, violations, &clients, context.limits, context.dry_run).await;
    Ok((Done { seen: Some(seen), ..done }, inventory))
}

/// What only copies within the account still need. The rest may be large, and what is done takes its own.
fn without_what_is_done_with(mut inventory: ScopeInventory, any_copies: bool) -> ScopeInventory {
    inventory.vaults = VaultCopies::new();
    inventory.shared = BTreeMap::new();
    if !any_copies {
        inventory.volumes = BTreeMap::new();
        // Old copies expire, whether or not a policy still copies.
        inventory.snapshots.retain(|it| it.tags.contains_key(tags::SOURCE_SNAPSHOT));
        inventory.snapshots.shrink_to_fit();
    }
    inventory
}

/// Which of the volumes that policies name are here, or have been: a snapshot of ours tells.
fn seen(inventory: &ScopeInventory, policies: &[(&Policy, &SnapshotPolicy)]) -> BTreeSet<VolumeId> {
    let of_snapshots: BTreeSet<&VolumeId> =
        inventory.snapshots.iter().map(|snapshot| &snapshot.volume_id).collect();
    policies
        .iter()
        .flat_map(|(_, details)| details.volume_ids())
        .filter(|id| inventory.volumes.contains_key(*id) || of_snapshots.contains(id))
        .cloned()
        .collect()
}

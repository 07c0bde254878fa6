//! The five steps in order: observe → plan → audit → execute → report. What both handlers call.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tracing::{debug, info, warn};

use crate::action::{Held, Hold, Plan, Planned, Subject};
use crate::audit::{self, AuditedPlan, Violation};
use crate::chain::Chain;
use crate::documents::Documents;
use crate::ec2::{Access, Ec2, Ec2Error, Ec2Provider, ExternalId};
use crate::event::{CopyEvent, CopyScope, RotateEvent};
use crate::execute::{Executed, Limits, Outcome, execute};
use crate::ids::{Region, Scope};
use crate::inventory::VaultInventory;
use crate::observe::{self, Unreadable};
use crate::plan;
use crate::policy::document::{InvalidPolicy, Kind};
use crate::policy::{Policy, SnapshotPolicy};
use crate::report::Report;
use crate::run::Run;
use crate::settle::settle;

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
    let at = event.scheduled_time.map_or(now, |at| at.min(now));
    let in_force = documents.in_force();
    let mut run = Gathered::new(event.common.dry_run);
    let policies = documents.snapshot_policies();
    let units = units(provider, &policies).await?;
    for scope in &event.scopes {
        if !units.iter().any(|unit| unit.scope == *scope) {
            run.hold(scope, Hold::Ec2("no policy targets this scope".into()));
        }
    }
    let wanted = units
        .into_iter()
        .filter(|unit| event.scopes.is_empty() || event.scopes.contains(&unit.scope));
    let context = Context {
        provider,
        in_force: &in_force,
        at,
        now,
        limits,
        dry_run: event.common.dry_run,
    };
    let context = &context;
    let mut done = stream::iter(wanted)
        .map(|unit| async move { one_scope(context, unit).await })
        .buffer_unordered(limits.scopes.max(1))
        .collect::<Vec<_>>()
        .await;
    done.sort_by(|a, b| a.scope.cmp(&b.scope));
    for unit in done {
        run.add(unit.done, now);
    }
    Ok(run.finish(documents.into_invalid(Kind::Snapshots)))
}

/// One account in one Region, with one way into it.
struct Unit<'a> {
    scope: Scope,
    access: Access,
    policies: Vec<(&'a Policy, &'a SnapshotPolicy)>,
}

struct Context<'a, P> {
    provider: &'a P,
    in_force: &'a plan::PoliciesInForce,
    at: Timestamp,
    now: Timestamp,
    limits: &'a Limits<'a>,
    dry_run: bool,
}

/// Policies grouped by where and how they act: a scope is read once, whatever the number of policies.
async fn units<'a, P: Ec2Provider>(
    provider: &P,
    policies: &[(&'a Policy, &'a SnapshotPolicy)],
) -> Result<Vec<Unit<'a>>, Ec2Error> {
    let mut units: BTreeMap<(Scope, Access), Vec<(&Policy, &SnapshotPolicy)>> = BTreeMap::new();
    for (policy, details) in policies {
        if policy.targets.is_empty() {
            let scope = Scope {
                account: provider.account().await?,
                region: provider.home(),
            };
            units
                .entry((scope, Access::default()))
                .or_default()
                .push((policy, details));
        }
        for target in &policy.targets {
            let home = [provider.home()];
            let regions = if target.regions.is_empty() {
                &home[..]
            } else {
                &target.regions
            };
            let access = Access {
                role_arn: Some(target.role_arn.clone()),
                external_id: target.external_id.clone().map(ExternalId),
            };
            for region in regions {
                let scope = Scope {
                    account: target.role_arn.account(),
                    region: region.clone(),
                };
                units
                    .entry((scope, access.clone()))
                    .or_default()
                    .push((policy, details));
            }
        }
    }
    let unit = |((scope, access), policies)| Unit {
        scope,
        access,
        policies,
    };
    Ok(units.into_iter().map(unit).collect())
}

/// What became of one scope.
struct Scoped {
    scope: Scope,
    done: Done,
}

#[derive(Default)]
struct Done {
    plan: Plan,
    executed: Vec<Executed>,
    withheld: Vec<Planned>,
    violations: Vec<Violation>,
    unreadable: Vec<Unreadable>,
    out_of_time: bool,
}

async fn one_scope<P: Ec2Provider>(context: &Context<'_, P>, unit: Unit<'_>) -> Scoped {
    let done = if (context.limits.out_of_time)() {
        let held = Held {
            scope: unit.scope.clone(),
            subject: Subject::default(),
            why: Hold::Ec2("out of time before this scope was read; the next run goes on".into()),
        };
        Done {
            plan: Plan {
                held: vec![held],
                ..Plan::default()
            },
            out_of_time: true,
            ..Done::default()
        }
    } else {
        match read_and_do(context, &unit).await {
            Ok(done) => done,
            Err(error) => not_read(&unit, error),
        }
    };
    Scoped {
        scope: unit.scope,
        done,
    }
}

/// A scope in which every policy is disabled is not worth an alarm: it may not even be set up yet.
fn not_read(unit: &Unit<'_>, error: Ec2Error) -> Done {
    let scope = unit.scope.clone();
    if unit.policies.iter().any(|(policy, _)| policy.enabled) {
        return Done {
            unreadable: vec![Unreadable { scope, error }],
            ..Done::default()
        };
    }
    let why = Hold::Ec2(format!(
        "its policies are disabled, and it cannot be read: {}",
        Chain(&error)
    ));
    let held = Held {
        scope,
        subject: Subject::default(),
        why,
    };
    Done {
        plan: Plan {
            held: vec![held],
            ..Plan::default()
        },
        ..Done::default()
    }
}

async fn read_and_do<P: Ec2Provider>(
    context: &Context<'_, P>,
    unit: &Unit<'_>,
) -> Result<Done, Ec2Error> {
    let ec2 = context
        .provider
        .connect(&unit.access, &unit.scope.region)
        .await?;
    let inventory = observe::scope(&ec2, &unit.policies).await?;
    let plan = plan::rotate::plan(plan::rotate::Request {
        scope: &unit.scope,
        access: &unit.access,
        policies: &unit.policies,
        in_force: context.in_force,
        inventory: &inventory,
        at: context.at,
        now: context.now,
    });
    let (audited, violations) = audit::rotate::audit(
        plan,
        audit::rotate::Facts {
            scope: &unit.scope,
            policies: &unit.policies,
            in_force: context.in_force,
            inventory: &inventory,
            now: context.now,
            delete_limit: delete_limit(context.limits, inventory.volumes.len()),
        },
    );
    let clients = BTreeMap::from([(unit.scope.region.clone(), ec2)]);
    Ok(carry_out(
        audited,
        violations,
        &clients,
        context.limits,
        context.dry_run,
    )
    .await)
}

/// Three generations of every volume in one run is more than any rotation needs, and much less than what a mistaken
/// edit of a policy would delete.
fn delete_limit(limits: &Limits<'_>, n_volumes: usize) -> usize {
    limits.deletions.unwrap_or_else(|| (3 * n_volumes).max(100))
}

async fn carry_out<E: Ec2>(
    audited: AuditedPlan,
    violations: Vec<Violation>,
    clients: &BTreeMap<Region, E>,
    limits: &Limits<'_>,
    dry_run: bool,
) -> Done {
    log_plan(&audited);
    let executed = if dry_run {
        audited
            .actions()
            .iter()
            .map(|planned| Executed {
                planned: planned.clone(),
                outcome: Outcome::Planned,
            })
            .collect()
    } else {
        let mut executed = execute(&audited, clients, limits).await;
        for (region, ec2) in clients {
            let (mut here, elsewhere): (Vec<_>, Vec<_>) = executed
                .into_iter()
                .partition(|done| done.planned.scope.region == *region);
            let taken_back = if (limits.out_of_time)() {
                Vec::new()
            } else {
                settle(ec2, &mut here).await
            };
            executed = elsewhere;
            executed.extend(here);
            executed.extend(taken_back);
        }
        executed
    };
    let (plan, withheld) = audited.into_parts();
    Done {
        plan,
        executed,
        withheld,
        violations,
        ..Done::default()
    }
}

/// The history: what was decided goes to the log before it is done.
fn log_plan(audited: &AuditedPlan) {
    for planned in audited.actions() {
        let subject = &planned.subject;
        debug!(
            action = planned.action.operation(),
            account = %planned.scope.account,
            region = %planned.scope.region,
            policy = subject.policy,
            volume_id = subject.volume.as_ref().map(tracing::field::display),
            snapshot_id = subject.snapshot.as_ref().map(tracing::field::display),
            reason = %planned.reason,
            "planned"
        );
    }
}

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
        return Ok(run.finish(documents.into_invalid(Kind::Copies)));
    }
    let in_force = documents.in_force();
    let vault = observe::vault(provider, &policies, &event.what).await?;
    let mut plan = plan::copy::plan(plan::copy::Request {
        policies: &policies,
        in_force: &in_force,
        inventory: &vault.inventory,
        now,
    });
    plan.held
        .extend(not_shared(&vault.inventory, &event.what, &vault.unreadable));
    let (audited, violations) = audit::copy::audit(
        plan,
        audit::copy::Facts {
            policies: &policies,
            in_force: &in_force,
            inventory: &vault.inventory,
            now,
            delete_limit: delete_limit(limits, 0),
        },
    );
    let mut done = carry_out(
        audited,
        violations,
        &vault.clients,
        limits,
        event.common.dry_run,
    )
    .await;
    done.unreadable = vault.unreadable;
    run.add(done, now);
    Ok(run.finish(documents.into_invalid(Kind::Copies)))
}

/// What was named and is not there: gone, unshared, or of an owner that no policy wants.
fn not_shared(
    inventory: &VaultInventory,
    what: &CopyScope,
    unreadable: &[Unreadable],
) -> Vec<Held> {
    let seen: BTreeSet<_> = inventory
        .sources
        .values()
        .flatten()
        .map(|source| &source.id)
        .collect();
    let held = |region: &Region, snapshot, why| Held {
        scope: inventory.scope(region),
        subject: Subject {
            snapshot: Some(snapshot),
            ..Subject::default()
        },
        why,
    };
    match what {
        CopyScope::One {
            region,
            snapshot,
            owner,
        } if !seen.contains(snapshot) => {
            if unreadable.iter().any(|it| it.scope.region == *region) {
                return Vec::new(); // said already, and louder
            }
            let why = match owner {
                Some(owner) if *owner == inventory.account => Hold::OwnSnapshot,
                _ => Hold::NotShared,
            };
            vec![held(region, snapshot.clone(), why)]
        }
        CopyScope::Ids(ids) => {
            let region = inventory.sources.keys().next();
            let missing = ids.iter().filter(|id| !seen.contains(id));
            missing
                .filter_map(|id| Some(held(region?, id.clone(), Hold::NotShared)))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The scopes' results, gathered into one.
struct Gathered {
    report: Report,
    unreadable: Vec<Unreadable>,
    violations: Vec<Violation>,
    n_withheld: usize,
}

impl Gathered {
    fn new(dry_run: bool) -> Self {
        Self {
            report: Report::new(dry_run),
            unreadable: Vec::new(),
            violations: Vec::new(),
            n_withheld: 0,
        }
    }

    fn hold(&mut self, scope: &Scope, why: Hold) {
        self.report.held(&Held {
            scope: scope.clone(),
            subject: Subject::default(),
            why,
        });
    }

    fn add(&mut self, done: Done, now: Timestamp) {
        for executed in &done.executed {
            log_outcome(executed);
            self.report.executed(executed);
        }
        for deferred in &done.plan.deferred {
            self.report.deferred(deferred);
        }
        for impossible in &done.plan.impossible {
            self.report.impossible(impossible);
        }
        for held in &done.plan.held {
            debug!(
                account = %held.scope.account,
                region = %held.scope.region,
                policy = held.subject.policy,
                snapshot_id = held.subject.snapshot.as_ref().map(tracing::field::display),
                reason = %held.why,
                "held"
            );
            self.report.held(held);
        }
        for planned in &done.withheld {
            let reason = format!(
                "withheld by the audit, though planned because: {}",
                planned.reason
            );
            self.report
                .held_because(&planned.scope, &planned.subject, reason);
        }
        for coverage in &done.plan.coverage {
            self.report.cover(coverage, now);
        }
        for unreadable in &done.unreadable {
            warn!(
                account = %unreadable.scope.account,
                region = %unreadable.scope.region,
                error_kind = ?unreadable.error.kind(),
                error = %Chain(&unreadable.error),
                "scope cannot be read"
            );
        }
        for violation in &done.violations {
            warn!(account = %violation.scope.account, region = %violation.scope.region,
                  object = violation.object, rule = violation.rule, "the audit refuses the plan");
        }
        if done.out_of_time {
            self.report.incomplete();
        }
        self.n_withheld += done
            .withheld
            .iter()
            .filter(|it| it.action.is_destructive())
            .count();
        self.unreadable.extend(done.unreadable);
        self.violations.extend(done.violations);
    }

    fn finish(mut self, invalid: Vec<InvalidPolicy>) -> Run {
        self.report.fit(crate::report::MAX_BYTES);
        Run {
            report: self.report,
            invalid,
            unreadable: self.unreadable,
            violations: self.violations,
            n_withheld: self.n_withheld,
        }
    }
}

/// One line per action, readable alone, with its identifiers as fields.
fn log_outcome(executed: &Executed) {
    let Planned {
        scope,
        action,
        subject,
        reason,
        ..
    } = &executed.planned;
    let (outcome, detail) = match &executed.outcome {
        Outcome::Done(made) => ("done", made.as_ref().map(ToString::to_string)),
        Outcome::Planned => ("planned", None),
        Outcome::Deferred(why) => ("deferred", Some(why.clone())),
        Outcome::Held(why) => ("held", Some(why.clone())),
        Outcome::Failed(err) => ("failed", Some(Chain(err).to_string())),
    };
    macro_rules! line {
        ($level:ident) => {
            $level!(
                action = action.operation(),
                outcome,
                detail,
                account = %scope.account,
                region = %scope.region,
                policy = subject.policy,
                schedule = subject.schedule,
                slot = subject.slot.as_ref().map(tracing::field::display),
                volume_id = subject.volume.as_ref().map(tracing::field::display),
                snapshot_id = subject.snapshot.as_ref().map(tracing::field::display),
                source_snapshot_id = subject.source.as_ref().map(tracing::field::display),
                reason = %reason,
                "{} {outcome}", action.operation()
            )
        };
    }
    if matches!(executed.outcome, Outcome::Failed(_)) {
        line!(warn);
    } else {
        line!(info);
    }
}

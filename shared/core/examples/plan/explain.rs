//! From a plan to text: a line per snapshot, and one per thing to do that is about no snapshot yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;
use snapferry_core::action::{Action, Plan, Planned, Subject};
use snapferry_core::audit::{self, Violation};
use snapferry_core::documents::Documents;
use snapferry_core::ec2::Access;
use snapferry_core::ids::{Region, Scope, SnapshotId};
use snapferry_core::inventory::{Guards, Snapshot, State, TargetInventory, VaultInventory};
use snapferry_core::plan::{self, PoliciesInForce};
use snapferry_core::policy::document::InvalidPolicy;
use snapferry_core::policy::{Copies, Policy};
use snapferry_core::tags::{self, Claim, CopyClaim};

use crate::inventory::{Seen, World};

/// Every problem on a line of its own.
pub(crate) fn invalid(invalid: &InvalidPolicy) -> String {
    let mut text = format!("policy \"{}\" is invalid", invalid.name);
    for issue in &invalid.issues {
        let _ = write!(text, "\n  {issue}"); // a String takes it
    }
    text
}

/// What the policies would do in the world, and why.
pub(crate) fn explain(documents: &Documents, world: &World, now: Timestamp) -> String {
    let all =
        world.regions.iter().flat_map(|(region, seen)| seen.all.iter().map(move |it| (region, it)));
    let seen = all.map(|(region, it)| (it.id.clone(), region.clone())).collect();
    let mut told = Told { seen, ..Told::default() };
    let mut sources: BTreeMap<Region, Vec<Snapshot>> = BTreeMap::new();
    let snapshot_policies = documents.snapshot_policies();
    let in_force = documents.in_force();
    let access = Access::default();
    for (region, seen) in &world.regions {
        let scope = Scope { account: world.account.clone(), region: region.clone() };
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            snapshot_policies.iter().copied().partition(|(policy, _)| targets(policy, &scope));
        for (policy, _) in elsewhere {
            let why = format!("elsewhere policy {}: its Targets do not name {scope}", policy.name);
            told.others.entry(region.clone()).or_default().push(why);
        }
        sources.insert(
            region.clone(),
            plan::copy::sources(&scope, &here, &seen.scope).cloned().collect(),
        );
        let plan = plan::rotate::plan(plan::rotate::Request {
            scope: &scope,
            access: &access,
            policies: &here,
            in_force: &in_force,
            inventory: &seen.scope,
            at: now,
            now,
            explain: true,
        });
        let facts = audit::rotate::Facts {
            scope: &scope,
            policies: &here,
            in_force: &in_force,
            inventory: &seen.scope,
            now,
            delete_limit: None,
        };
        let (audited, violations) = audit::rotate::audit(plan, facts);
        told.add(audited, violations);
    }
    let own: Vec<Copies<'_>> =
        snapshot_policies.iter().map(|(policy, details)| Copies::of_own(policy, details)).collect();
    for sources in sources.values_mut() {
        sources.retain(|snapshot| !told.leaving.contains(&snapshot.id));
    }
    told.copies(&own, true, world, &in_force, now, sources);
    let copy_policies = documents.copy_policies();
    let shared: Vec<Copies<'_>> =
        copy_policies.iter().map(|(policy, details)| Copies::of_shared(policy, details)).collect();
    let of_others = |seen: &Seen| {
        seen.all.iter().filter(|it| it.owner != world.account).cloned().collect::<Vec<_>>()
    };
    let sources =
        world.regions.iter().map(|(region, seen)| (region.clone(), of_others(seen))).collect();
    told.copies(&shared, false, world, &in_force, now, sources);
    told.text(world, now)
}

/// Whether the policy acts there; one without targets acts where the function is, which nobody knows here.
fn targets(policy: &Policy, scope: &Scope) -> bool {
    policy.targets.is_empty()
        || policy.targets.iter().any(|target| {
            target.role_arn.account() == scope.account
                && (target.regions.is_empty() || target.regions.contains(&scope.region))
        })
}

/// What an action is about beside the snapshot.
fn with_what(action: &Action) -> String {
    match action {
        Action::CreateSnapshots(request) => format!(" ({})", tags::join(&request.volumes)),
        Action::ShareSnapshot { accounts, .. } => format!(" (with {})", tags::join(accounts)),
        Action::UnshareSnapshot { accounts, .. } => format!(" (from {})", tags::join(accounts)),
        Action::EnableFastRestore { zones, .. } | Action::DisableFastRestore { zones, .. } => {
            format!(" (in {})", tags::join(zones))
        }
        Action::LockSnapshot(request) => format!(" ({:?})", request.mode),
        _ => String::new(),
    }
}

/// What was decided, by what it is about.
#[derive(Default)]
struct Told {
    /// The verdict, and the reasons.
    of: BTreeMap<(Region, SnapshotId), Vec<(&'static str, String)>>,
    /// What is about no snapshot that exists.
    others: BTreeMap<Region, Vec<String>>,
    leaving: BTreeSet<SnapshotId>,
    /// Every snapshot in the file, and where it is.
    seen: BTreeMap<SnapshotId, Region>,
}

impl Told {
    /// Plans copies.
    fn copies(
        &mut self,
        copies: &[Copies<'_>],
        within: bool,
        world: &World,
        in_force: &PoliciesInForce,
        now: Timestamp,
        sources: BTreeMap<Region, Vec<Snapshot>>,
    ) {
        if copies.is_empty() {
            return; // as the function: without such a policy nothing is looked at
        }
        let of_copies = |it: &&Snapshot| {
            let claim = CopyClaim::read(&it.tags);
            it.owner == world.account && claim.is_some_and(|claim| !claim.stands_in())
        };
        let mut inventory =
            VaultInventory { sources, ..VaultInventory::new(world.account.clone(), true) };
        for (region, seen) in &world.regions {
            let copies = seen.all.iter().filter(of_copies).cloned().collect();
            let is_in_progress = |it: &&Snapshot| {
                it.owner == world.account
                    && it.state == State::Pending
                    && it.volume_id.is_placeholder()
            };
            let in_progress = seen.all.iter().filter(is_in_progress).cloned().collect();
            let guards = seen.scope.guards.clone();
            let target = TargetInventory { copies, in_progress, guards };
            inventory.targets.insert(region.clone(), target);
        }
        // A Region that the file does not have is taken for an empty one, and every key for a good one.
        for rule in copies.iter().flat_map(|copies| copies.rules) {
            let empty = TargetInventory {
                copies: Vec::new(),
                in_progress: Vec::new(),
                guards: Ok(Guards::default()),
            };
            inventory.targets.entry(rule.target.clone()).or_insert(empty);
            if let Some(arn) = &rule.cmk_arn {
                inventory.keys.insert(arn.to_string(), Ok(good_key(arn.as_str())));
            }
        }
        let access = Access::default();
        let plan = plan::copy::plan(plan::copy::Request {
            policies: copies,
            within,
            access: &access,
            in_force,
            inventory: &inventory,
            now,
            explain: true,
        });
        let facts = audit::copy::Facts {
            policies: copies,
            within,
            in_force,
            inventory: &inventory,
            now,
            delete_limit: None,
        };
        let (audited, violations) = audit::copy::audit(plan, facts);
        self.add(audited, violations);
    }

    fn add(&mut self, audited: audit::AuditedPlan, violations: Vec<Violation>) {
        let (plan, withheld) = audited.into_parts();
        let Plan { actions, deferred, impossible, held, kept, copied, .. } = plan;
        for Planned { scope, action, subject, reason, .. } in &actions {
            let verdict = verdict(action);
            if matches!(action, Action::DeleteSnapshot(_) | Action::ArchiveSnapshot(_)) {
                self.leaving.extend(subject.snapshot.clone());
            }
            self.tell(scope, subject, verdict, format!("{reason}{}", with_what(action)));
        }
        for it in deferred {
            let Planned { scope, action, subject, .. } = &it.planned;
            let what = format!("{} waits: {}", action.operation(), it.waits_for);
            self.tell(scope, subject, "later", what);
        }
        for it in impossible {
            let what = format!("{}: {}", it.operation, it.message);
            self.tell(&it.scope, &it.subject, "cannot", what);
        }
        for it in held {
            self.tell(&it.scope, &it.subject, "hold", it.why.to_string());
        }
        for it in kept {
            let why: Vec<String> = it.why.iter().map(ToString::to_string).collect();
            self.tell(&it.scope, &it.subject, "keep", why.join("; "));
        }
        for it in copied {
            let verdict = if it.state == State::Completed { "copied" } else { "copying" };
            let copy = it.subject.snapshot.as_ref().map_or("", SnapshotId::as_str).to_owned();
            let subject = Subject { snapshot: None, ..it.subject };
            self.tell(&it.scope, &subject, verdict, copy);
        }
        for it in withheld {
            let what = format!("the audit withholds: {}", it.reason);
            self.tell(&it.scope, &it.subject, "hold", what);
        }
        for it in violations {
            self.tell(&it.scope, &it.subject, "audit", format!("refuses the plan: {}", it.rule));
        }
    }

    fn tell(&mut self, scope: &Scope, subject: &Subject, verdict: &'static str, why: String) {
        if let Some(snapshot) = &subject.snapshot {
            let key = (scope.region.clone(), snapshot.clone());
            self.of.entry(key).or_default().push((verdict, why));
            return;
        }
        // Every source tells what becomes of it, Region by Region.
        if let Some((source, at)) =
            subject.source.as_ref().and_then(|it| self.seen.get_key_value(it))
        {
            let Subject { policy, schedule, .. } = subject;
            let why = format!("to {schedule} by {policy}: {why}");
            self.of.entry((at.clone(), source.clone())).or_default().push((verdict, why));
            return;
        }
        let object = match (&subject.source, &subject.instance, &subject.volume) {
            (Some(source), ..) => source.to_string(),
            (None, Some(instance), _) => instance.to_string(),
            (None, None, Some(volume)) => volume.to_string(),
            (None, None, None) => "everything".to_owned(),
        };
        let Subject { policy, schedule, .. } = subject;
        let slot = subject.slot.map_or_else(String::new, |slot| format!(" of {slot}"));
        let line = format!("{verdict:<8} {object}, {policy} {schedule}{slot}: {why}");
        self.others.entry(scope.region.clone()).or_default().push(line);
    }

    fn text(mut self, world: &World, now: Timestamp) -> String {
        let mut text = format!("account {} at {}\n", world.account, tags::instant(now));
        let mut regions: BTreeSet<Region> = world.regions.keys().cloned().collect();
        regions.extend(self.others.keys().cloned());
        for region in regions {
            let _ = writeln!(text, "\n{region}"); // a String takes it, here and below
            let seen = world.regions.get(&region);
            let mut snapshots: Vec<&Snapshot> =
                seen.map_or_else(Vec::new, |seen| seen.all.iter().collect());
            snapshots.sort_by_key(|it| (volume_of(it), std::cmp::Reverse(it.start_time)));
            let mut volume = None;
            for snapshot in snapshots {
                if volume != Some(volume_of(snapshot)) {
                    volume = Some(volume_of(snapshot));
                    let _ = writeln!(text, "  {}", volume_of(snapshot));
                }
                let told = self.of.remove(&(region.clone(), snapshot.id.clone()));
                let mut verdicts = told.unwrap_or_default();
                if verdicts.is_empty() {
                    verdicts.push(("leave", left_alone(snapshot, world)));
                }
                // First what becomes of it, then what else is done with it.
                let fates = ["keep", "delete", "archive", "hold", "leave"];
                verdicts.sort_by_key(|(verdict, _)| !fates.contains(verdict));
                for (n, (verdict, why)) in verdicts.iter().enumerate() {
                    let id = if n == 0 { snapshot.id.as_str() } else { "" };
                    let began =
                        if n == 0 { tags::instant(snapshot.start_time) } else { String::new() };
                    let _ = writeln!(text, "    {id:<22} {began:<20}  {verdict:<8} {why}");
                }
            }
            for line in self.others.remove(&region).unwrap_or_default() {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }
}

/// Of a copy, the source's.
fn volume_of(snapshot: &Snapshot) -> String {
    match CopyClaim::read(&snapshot.tags) {
        Some(claim) => format!("{} (copies)", claim.source_volume),
        None => snapshot.volume_id.to_string(),
    }
}

fn verdict(action: &Action) -> &'static str {
    match action {
        Action::CreateSnapshot(_) | Action::CreateSnapshots(_) => "create",
        Action::ShareSnapshot { .. } => "share",
        Action::RecordShare { .. } | Action::RecordScripts { .. } => "tag",
        Action::SendCommand(_) => "command",
        Action::UnshareSnapshot { .. } => "unshare",
        Action::EnableFastRestore { .. } => "fast",
        Action::DisableFastRestore { .. } => "not fast",
        Action::LockSnapshot(_) => "lock",
        Action::ArchiveSnapshot(_) => "archive",
        Action::CopySnapshot(_) => "copy",
        Action::DeleteSnapshot(_) => "delete",
    }
}

/// Why nobody has an opinion.
fn left_alone(snapshot: &Snapshot, world: &World) -> String {
    if snapshot.owner != world.account {
        return format!("it is {}'s", snapshot.owner);
    }
    if let Some(who) = tags::foreign_manager(&snapshot.tags) {
        return format!("managed by {who}");
    }
    match (Claim::read(&snapshot.tags), CopyClaim::read(&snapshot.tags)) {
        (None, None) => "it does not carry snapferry's complete set of tags".into(),
        (_, Some(_)) if snapshot.state == State::Error => "a failed copy of another policy".into(),
        (Some(claim), _) => format!("policy {} is not among the documents", claim.policy),
        (_, Some(claim)) => format!("policy {} is not among the documents", claim.policy),
    }
}

fn good_key(arn: &str) -> snapferry_core::inventory::Key {
    snapferry_core::inventory::Key {
        arn: arn.to_owned(),
        aws_managed: false,
        state: "Enabled".into(),
        usage: "ENCRYPT_DECRYPT".into(),
        spec: "SYMMETRIC_DEFAULT".into(),
    }
}

//! One account and Region, as `rotate-snapshots` sees it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use snapferry_core::action::Plan;
use snapferry_core::audit;
use snapferry_core::commands::{Command, CommandId, Errand, Managed, Progress, Status, Step};
use snapferry_core::documents::Documents;
use snapferry_core::ec2::Access;
use snapferry_core::ids::{InstanceId, Region, Scope, SnapshotId};
use snapferry_core::inventory::{
    Instance, ScopeInventory, Snapshot, Tiering, TieringStatus, VaultCopies, Volume,
};
use snapferry_core::plan;
use snapferry_core::schedule::Slot;
use snapferry_core::tags::Tags;

use super::snapshots::{
    AWAY, HOME, Kind, MEMBER, SEALED, VAULT, a_key, guards, id, key, now, region, snap, snapshot,
    some_ids, time, unread, vol,
};
use super::{Choices, documents, rules};
use crate::{Verdict, check};

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ScopeInventory { volumes, instances, shared, guards, tiering, .. } = &self.inventory;
        writeln!(f, "now {} at {}", self.now, self.at)?;
        writeln!(f, "{:?}", self.documents)?;
        writeln!(f, "{volumes:?}\n{instances:?}\n{shared:?}\n{guards:?}\n{tiering:?}")
    }
}

struct World {
    documents: Documents,
    scope: Scope,
    inventory: ScopeInventory,
    at: Timestamp,
    now: Timestamp,
}

pub(super) fn run(choices: &mut Choices<'_>) -> Verdict {
    let documents = documents::read(choices, false);
    if documents.snapshot_policies().is_empty() {
        return Verdict::Refused;
    }
    let now = now(choices);
    let at = if choices.once_in(6) { time(choices, now) } else { now };
    let inventory = inventory(choices, now, 0);
    let scope = Scope { account: id(MEMBER), region: id(HOME) };
    let mut world = World { documents, scope, inventory, at, now };
    let plan = world.plan();
    check::same("a plan", &plan, &world.plan());
    rules::told_well(&plan);
    rules::deletions(&plan, &world.inventory.snapshots, &world.inventory.guards, MEMBER);
    rules::never_the_newest(&plan, &world.inventory.snapshots);
    rules::creations(&plan);
    world.audited(&plan);
    world.forged(choices, &plan);
    let sorted = rules::sorted(&plan);
    world.inventory.snapshots.reverse();
    check::same("a plan of the same in another order", &rules::sorted(&world.plan()), &sorted);
    Verdict::Accepted
}

impl World {
    fn plan(&self) -> Plan {
        plan::rotate::plan(plan::rotate::Request {
            scope: &self.scope,
            access: &Access::default(),
            policies: &self.documents.snapshot_policies(),
            in_force: &self.documents.in_force(),
            inventory: &self.inventory,
            at: self.at,
            now: self.now,
            explain: true,
        })
    }

    fn audit(&self, plan: Plan) -> (audit::AuditedPlan, Vec<audit::Violation>) {
        let facts = audit::rotate::Facts {
            scope: &self.scope,
            policies: &self.documents.snapshot_policies(),
            in_force: &self.documents.in_force(),
            inventory: &self.inventory,
            now: self.now,
            delete_limit: Some(usize::MAX),
        };
        audit::rotate::audit(plan, facts)
    }

    /// The auditor has nothing against the planner's own plan.
    fn audited(&self, plan: &Plan) {
        let (audited, violations) = self.audit(plan.clone());
        if !violations.is_empty() {
            eprintln!("{self:?}");
        }
        rules::no_violation(plan, &violations, self.inventory.snapshots.iter());
        check::same("what is done", &audited.actions(), &&plan.actions[..]);
    }

    /// Whatever a mistaken planner would delete, the auditor refuses what is not ours.
    fn forged(&self, choices: &mut Choices<'_>, plan: &Plan) {
        let ids: Vec<&Snapshot> = self.inventory.snapshots.iter().collect();
        let Some(first) = ids.first() else {
            return;
        };
        let victim = usize::try_from(choices.upto(60)).ok().and_then(|n| ids.get(n));
        let victim = victim.unwrap_or(first);
        let forged = rules::with_deletion(plan, &self.scope, &victim.id);
        let (audited, _) = self.audit(forged);
        let deleted = rules::deleted(audited.actions());
        rules::each_is_ours(&deleted, &self.inventory.snapshots, &self.inventory.guards, MEMBER);
    }
}

fn user_tags(choices: &mut Choices<'_>) -> Tags {
    let mut tags = Tags::new();
    if !choices.once_in(4) {
        tags.insert("Backup".into(), "daily".into());
    }
    if choices.once_in(5) {
        tags.insert("Skip".into(), choices.pick(&["x", "", "\0"]).to_owned());
    }
    if choices.once_in(6) {
        tags.insert("Name".into(), choices.text());
    }
    if choices.once_in(10) {
        tags.extend((0..50).map(|n| (format!("k{n}"), "x".to_owned())));
    }
    if choices.once_in(10) {
        let keys = ["aws:x", "snapferry:policy", "snapferry:slot", "SNAPFERRY:x", "dlm:managed"];
        tags.insert(choices.pick(&keys).to_owned(), choices.text());
    }
    tags
}

fn volume(choices: &mut Choices<'_>, n: i64, now: Timestamp) -> Volume {
    let keys = [SEALED, "arn:aws:kms:eu-central-1:333333333333:key/k"];
    Volume {
        id: vol(n),
        create_time: time(choices, now),
        usable: !choices.once_in(6),
        volume_type: choices.pick(&["gp3", "st1", "sc1", "io2", ""]).to_owned(),
        kms_key_id: choices.once_in(2).then(|| choices.pick(&keys).into()),
        tags: user_tags(choices),
    }
}

fn instance(choices: &mut Choices<'_>, n: i64) -> (InstanceId, Instance) {
    let volumes = choices.many(4, |choices| vol(1 + choices.upto(4)));
    let instance = Instance {
        id: id(&format!("i-{n:08x}")),
        usable: !choices.once_in(6),
        running: !choices.once_in(6),
        instance_type: choices.pick(&["m7i.large", "t3.micro"]).to_owned(),
        profile: choices.once_in(3).then(|| "arn:aws:iam::333333333333:instance-profile/p".into()),
        boot_volume: volumes.first().filter(|_| !choices.once_in(4)).cloned(),
        volumes,
        tags: user_tags(choices),
    };
    (instance.id.clone(), instance)
}

fn managed(choices: &mut Choices<'_>) -> BTreeMap<InstanceId, Managed> {
    let one = |choices: &mut Choices<'_>| Managed {
        ping_status: choices.pick(&["Online", "Online", "ConnectionLost"]).to_owned(),
        platform: choices.pick(&["Windows", "Linux"]).to_owned(),
        agent_version: "3.3.2299.0".into(),
    };
    (1..=2)
        .filter(|_| !choices.once_in(4))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|n| (id(&format!("i-{n:08x}")), one(choices)))
        .collect()
}

fn commands(choices: &mut Choices<'_>, now: Timestamp) -> Vec<Command> {
    choices.many(4, |choices| {
        let steps = [Step::PreScript, Step::PostScript, Step::VssBackup];
        let statuses =
            [Status::Running, Status::Success, Status::Failed, Status::NeverRan, Status::Unclear];
        let n = 1 + choices.upto(2);
        let errand = Errand {
            policy: choices.pick(&["instances", "a", "b"]).to_owned(),
            slot: Slot::new(time(choices, now)),
            attempt: u8::try_from(1 + choices.upto(3)).unwrap_or(1),
            step: choices.pick(&steps),
        };
        let document = choices.pick(&["own", "AWSEC2-VssInstallAndSnapshot"]).to_owned();
        Command {
            id: CommandId(choices.pick(&["c-1", "c-2", "c-3"]).to_owned()),
            instance: id(&format!("i-{n:08x}")),
            document,
            errand,
            requested: time(choices, now),
            finished: choices.once_in(2).then_some(now),
            progress: Progress {
                status: choices.pick(&statuses),
                details: "Failed".into(),
                response_code: choices.once_in(2).then_some(choices.pick(&[0, 201, 202, 205])),
                output: String::new(),
            },
        }
    })
}

/// `before` is the number before the first snapshot's.
pub(super) fn inventory(choices: &mut Choices<'_>, now: Timestamp, before: i64) -> ScopeInventory {
    let volumes = (1..=3).filter(|_| !choices.once_in(5)).collect::<Vec<_>>();
    let volumes = volumes.into_iter().map(|n| (vol(n), volume(choices, n, now))).collect();
    let unread_instances = choices.once_in(12);
    let instances = (1..=2).filter(|_| !unread_instances && !choices.once_in(4));
    let instances: Vec<i64> = instances.collect();
    let mut n = before;
    let snapshots = choices.many(25, |choices| {
        n += 1;
        let kinds = [Kind::Own, Kind::Own, Kind::Own, Kind::StandIn, Kind::Copy { within: true }];
        let kind = choices.pick(&kinds);
        snapshot(choices, n, kind, MEMBER, now)
    });
    ScopeInventory {
        volumes,
        instances: instances.into_iter().map(|n| instance(choices, n)).collect(),
        instances_unread: unread_instances.then(unread),
        managed: if choices.once_in(12) { Err(unread()) } else { Ok(managed(choices)) },
        commands: if choices.once_in(12) { Err(unread()) } else { Ok(commands(choices, now)) },
        snapshots,
        recent: choices
            .many(2, |choices| (vol(1 + choices.upto(2)), time(choices, now)))
            .into_iter()
            .collect(),
        shared: shared(choices),
        keys: keys(choices),
        guards: guards(choices),
        fast_restores: if choices.once_in(12) { Err(unread()) } else { Ok(fast(choices)) },
        zones: if choices.once_in(12) {
            Err(unread())
        } else {
            Ok(BTreeMap::from([("euc1-az1".to_owned(), "eu-central-1a".to_owned())]))
        },
        tiering: if choices.once_in(12) { Err(unread()) } else { Ok(tiering(choices, now)) },
        vaults: vaults(choices, now),
        rescue_keys: BTreeMap::from([(
            id("alias/share"),
            if choices.once_in(6) { Err(unread()) } else { Ok(a_key(choices, &key(MEMBER, HOME))) },
        )]),
        copies_in_progress: if choices.once_in(8) {
            Err(unread())
        } else {
            Ok(some_ids(choices, 22))
        },
    }
}

fn shared(
    choices: &mut Choices<'_>,
) -> BTreeMap<snapferry_core::ids::AccountId, BTreeSet<SnapshotId>> {
    let accounts = [VAULT, super::snapshots::OTHER];
    let mut shared = BTreeMap::new();
    for account in accounts {
        if !choices.once_in(5) {
            shared.insert(id(account), some_ids(choices, 12));
        }
    }
    shared
}

fn keys(choices: &mut Choices<'_>) -> BTreeMap<String, snapferry_core::inventory::Key> {
    let mut keys = BTreeMap::new();
    for arn in [SEALED.to_owned(), key(MEMBER, HOME)] {
        if !choices.once_in(5) {
            keys.insert(arn.clone(), a_key(choices, &arn));
        }
    }
    keys
}

fn fast(choices: &mut Choices<'_>) -> BTreeMap<SnapshotId, BTreeSet<String>> {
    let zones = BTreeSet::from([choices.pick(&["eu-central-1a", "eu-central-1b"]).to_owned()]);
    some_ids(choices, 4).into_iter().map(|id| (id, zones.clone())).collect()
}

fn tiering(choices: &mut Choices<'_>, now: Timestamp) -> BTreeMap<SnapshotId, Tiering> {
    let statuses = [
        TieringStatus::Archiving,
        TieringStatus::Archived,
        TieringStatus::Failed,
        TieringStatus::Restored,
    ];
    let one = |choices: &mut Choices<'_>| {
        let archived_at = choices.once_in(2).then(|| time(choices, now));
        (snap(1 + choices.upto(24)), Tiering { status: choices.pick(&statuses), archived_at })
    };
    choices.many(6, one).into_iter().collect()
}

fn vaults(choices: &mut Choices<'_>, now: Timestamp) -> VaultCopies {
    let role = id(&format!("arn:aws:iam::{VAULT}:role/reader"));
    let access = Access { role_arn: Some(role), external_id: None };
    let mut vaults = VaultCopies::new();
    for name in [HOME, AWAY] {
        let place: (Access, Region) = (access.clone(), region(name));
        match choices.upto(5) {
            0 => {}
            1 => drop(vaults.insert(place, Err(unread()))),
            _ => {
                let mut n = 100;
                let copies = choices.many(8, |choices| {
                    n += 1;
                    snapshot(choices, n, Kind::Copy { within: false }, VAULT, now)
                });
                vaults.insert(place, Ok(copies));
            }
        }
    }
    vaults
}

//! Small worlds for the tests of the planner and the auditor: one member account, one vault, ids by number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::action::{Action, Plan, Planned, Reason, Subject};
use crate::audit::{self, AuditedPlan, Violation};
use crate::documents::{Content, Documents, Raw};
use crate::ec2::{Access, CreateSnapshots};
use crate::ids::{InstanceId, Region, Scope, SnapshotId, VolumeId};
use crate::inventory::{
    FastRestores, Guards, Instance, Key, ScopeInventory, Snapshot, State, TargetInventory,
    VaultInventory, Volume,
};
use crate::plan;
use crate::policy::{Copies, Tags};
use crate::tags;

pub(crate) const MEMBER: &str = "333333333333";
pub(crate) const VAULT: &str = "222222222222";
pub(crate) const HOME: &str = "eu-central-1";
pub(crate) const AWAY: &str = "eu-west-1";

pub(crate) fn id<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The night's slot.
pub(crate) const SLOT: &str = "2026-11-22T02:00:00Z";

/// Some minutes after [`SLOT`].
pub(crate) fn now() -> Timestamp {
    at("2026-11-22T02:05:00Z")
}

pub(crate) fn hours_ago(n: i64) -> Timestamp {
    now() - SignedDuration::from_hours(n)
}

pub(crate) fn snap(n: u32) -> SnapshotId {
    id(&format!("snap-{n:08x}"))
}

pub(crate) fn vol(n: u32) -> VolumeId {
    id(&format!("vol-{n:08x}"))
}

pub(crate) fn scope(account: &str, region: &str) -> Scope {
    Scope { account: id(account), region: id(region) }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Tags {
    let pairs = pairs.iter();
    pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn documents(documents: &[Value], whole: bool) -> Documents {
    let raw = documents.iter().map(|document| Raw {
        default_name: "unnamed".into(),
        content: Content::Json(document.clone()),
    });
    let documents = Documents::read(raw.collect(), whole);
    assert!(documents.invalid.is_empty(), "{:?}", documents.invalid);
    documents
}

/// A policy for volumes with the tag `Backup`.
pub(crate) fn policy(name: &str, schedules: &[Value]) -> Value {
    json!({"Name": name, "PolicyDetails": {
        "TargetTags": [{"Key": "Backup", "Value": "daily"}],
        "ExcludeTags": [{"Key": "Skip", "Value": "*"}],
        "Schedules": schedules
    }})
}

/// Nightly at 02:00, with these members more.
pub(crate) fn schedule(name: &str, more: &Value) -> Value {
    let mut schedule = json!({
        "Name": name,
        "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]},
        "RetainRule": {"Count": 3}
    });
    for (key, value) in more.as_object().unwrap() {
        schedule[key] = value.clone();
    }
    schedule
}

pub(crate) fn volume(n: u32) -> Volume {
    Volume {
        id: vol(n),
        create_time: hours_ago(1000),
        usable: true,
        volume_type: "gp3".into(),
        kms_key_id: None,
        tags: map(&[("Backup", "daily")]),
    }
}

pub(crate) fn ins(n: u32) -> InstanceId {
    id(&format!("i-{n:08x}"))
}

/// A running instance with the tag `Backup`, which boots from the first of these volumes.
pub(crate) fn instance(n: u32, volumes: &[u32]) -> Instance {
    Instance {
        id: ins(n),
        usable: true,
        running: true,
        instance_type: "m7i.large".into(),
        profile: Some("arn:aws:iam::222222222222:instance-profile/app".into()),
        volumes: volumes.iter().map(|n| vol(*n)).collect(),
        boot_volume: volumes.first().map(|n| vol(*n)),
        tags: map(&[("Backup", "daily")]),
    }
}

/// As [`own`], one of a set of instance 1.
pub(crate) fn of_set(n: u32, volume: u32, days: i64) -> Snapshot {
    let mut snapshot = Snapshot { volume_id: vol(volume), ..own(n, "s", days) };
    snapshot.tags.insert(tags::INSTANCE.into(), ins(1).to_string());
    snapshot
}

/// The completed set of these volumes of instance 1, so many days ago; ids are ten times `n` and the volume's number.
pub(crate) fn set(n: u32, days: i64, volumes: &[u32]) -> Vec<Snapshot> {
    let one = |volume: &u32| {
        let mut snapshot = of_set(n * 10 + volume, *volume, days);
        snapshot.tags.insert(tags::VOLUMES.into(), volumes.len().to_string());
        snapshot
    };
    volumes.iter().map(one).collect()
}

/// Policy `p` for instances with this schedule, instance 1 with volumes 1 and 2, and these snapshots.
pub(crate) fn server(more: &Value, snapshots: Vec<Snapshot>) -> Rotation {
    let mut world = Rotation::new(&[schedule("s", more)], snapshots);
    world.documents[0]["PolicyDetails"]["ResourceTypes"] = json!(["INSTANCE"]);
    world.inventory.instances.insert(ins(1), instance(1, &[1, 2]));
    world.inventory.volumes.insert(vol(2), volume(2));
    world
}

/// A completed snapshot of volume 1 that policy `p` made for the slot so many days before [`SLOT`].
pub(crate) fn own(n: u32, schedules: &str, days: i64) -> Snapshot {
    let start_time = now() - SignedDuration::from_hours(24 * days);
    let slot = at(SLOT) - SignedDuration::from_hours(24 * days);
    Snapshot {
        id: snap(n),
        volume_id: vol(1),
        owner: id(MEMBER),
        state: State::Completed,
        state_message: None,
        start_time,
        description: String::new(),
        volume_size_gib: 100,
        archived: false,
        encrypted: false,
        kms_key_id: None,
        tags: map(&[
            (tags::POLICY, "p"),
            (tags::SCHEDULE, schedules),
            (tags::SLOT, &slot.to_string()),
        ]),
    }
}

/// What `rotate-snapshots` decides from.
pub(crate) struct Rotation {
    pub(crate) documents: Vec<Value>,
    pub(crate) whole: bool,
    pub(crate) inventory: ScopeInventory,
    pub(crate) at: Timestamp,
    pub(crate) now: Timestamp,
}

impl fmt::Debug for Rotation {
    /// What a decision depends on, a line for each thing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inventory = &self.inventory;
        writeln!(f, "now {}, at {}, whole {}", self.now, self.at, self.whole)?;
        self.documents.iter().try_for_each(|it| writeln!(f, "{it}"))?;
        writeln!(f, "{:?}", inventory.instances.values().collect::<Vec<_>>())?;
        let volumes = inventory.volumes.values().map(|it| (&it.id, &it.volume_type, &it.tags));
        writeln!(f, "{:?}", volumes.collect::<Vec<_>>())?;
        writeln!(f, "{:?} {:?}", inventory.guards, inventory.tiering)?;
        for it in &inventory.snapshots {
            let archived = if it.archived { " archived" } else { "" };
            let Snapshot { id, volume_id, state, start_time, tags, .. } = it;
            writeln!(f, "{id} of {volume_id} {state}{archived} {start_time} {tags:?}")?;
        }
        Ok(())
    }
}

impl Rotation {
    /// Policy `p` with these schedules, volume 1, and these snapshots.
    pub(crate) fn new(schedules: &[Value], snapshots: Vec<Snapshot>) -> Self {
        Self {
            documents: vec![policy("p", schedules)],
            whole: true,
            inventory: ScopeInventory {
                volumes: BTreeMap::from([(vol(1), volume(1))]),
                instances: BTreeMap::new(),
                instances_unread: None,
                managed: Ok(BTreeMap::new()),
                commands: Ok(Vec::new()),
                snapshots,
                recent: BTreeMap::new(),
                shared: BTreeMap::new(),
                keys: BTreeMap::new(),
                guards: Ok(Guards::default()),
                fast_restores: Ok(FastRestores::new()),
                zones: Ok(BTreeMap::new()),
                tiering: Ok(BTreeMap::new()),
                vaults: BTreeMap::new(),
                rescue_keys: BTreeMap::new(),
                copies_in_progress: Ok(BTreeSet::new()),
            },
            at: now(),
            now: now(),
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        let documents = documents(&self.documents, self.whole);
        plan::rotate::plan(plan::rotate::Request {
            scope: &scope(MEMBER, HOME),
            access: &Access::default(),
            policies: &documents.snapshot_policies(),
            in_force: &documents.in_force(),
            inventory: &self.inventory,
            at: self.at,
            now: self.now,
            explain: true,
        })
    }

    pub(crate) fn audit(&self, plan: Plan) -> (AuditedPlan, Vec<Violation>) {
        let documents = documents(&self.documents, self.whole);
        let facts = audit::rotate::Facts {
            scope: &scope(MEMBER, HOME),
            policies: &documents.snapshot_policies(),
            in_force: &documents.in_force(),
            inventory: &self.inventory,
            now: self.now,
            delete_limit: None,
        };
        audit::rotate::audit(plan, facts)
    }

    /// The plan, which the auditor has nothing against.
    pub(crate) fn good_plan(&self) -> Plan {
        let (audited, violations) = self.audit(self.plan());
        assert_eq!(violations, []);
        audited.into_parts().0
    }
}

pub(crate) fn key(region: &str) -> String {
    format!("arn:aws:kms:{region}:{VAULT}:key/k")
}

/// A policy that copies from the member to both Regions, kept for two days.
pub(crate) fn copies(name: &str) -> Value {
    let rule = |region| {
        json!({"Target": region,
               "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key(region)},
               "RetainRule": {"Interval": 2, "IntervalUnit": "DAYS"}})
    };
    json!({"Name": name, "PolicyDetails": {
        "PolicyType": "EVENT_BASED_POLICY",
        "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
            "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER],
            "DescriptionRegex": "^Created for policy: "}},
        "Actions": [{"Name": "copy", "CrossRegionCopy": [rule(HOME), rule(AWAY)]}]
    }})
}

/// What the member shares.
pub(crate) fn source(n: u32, hours: i64) -> Snapshot {
    Snapshot {
        description: format!("Created for policy: p schedule: s slot: {SLOT} volume: {}", vol(1)),
        start_time: hours_ago(hours),
        tags: Tags::new(),
        ..own(n, "s", 0)
    }
}

/// A completed copy of a source by policy `v` in [`HOME`], begun so many hours ago and to be kept for 48.
pub(crate) fn copy_of(source: u32, n: u32, hours: i64) -> Snapshot {
    let expires_at = hours_ago(hours) + SignedDuration::from_hours(48);
    Snapshot {
        owner: id(VAULT),
        volume_id: id("vol-ffffffff"),
        start_time: hours_ago(hours),
        tags: map(&[
            (tags::POLICY, "v"),
            (tags::RULE, HOME),
            (tags::SOURCE_SNAPSHOT, snap(source).as_str()),
            (tags::SOURCE_ACCOUNT, MEMBER),
            (tags::SOURCE_REGION, HOME),
            (tags::SOURCE_VOLUME, vol(1).as_str()),
            (tags::EXPIRES_AT, &tags::instant(expires_at)),
        ]),
        ..own(n, "s", 0)
    }
}

/// `ShareRules` that end when the vault has copies in both Regions.
pub(crate) fn until_copied() -> Value {
    json!({"ShareRules": [{"TargetAccounts": [VAULT], "UnshareWhenCopied": {
        "RoleArn": READER, "Regions": [HOME, AWAY]}}], "RetainRule": {"Count": 9}})
}

const READER: &str = "arn:aws:iam::222222222222:role/reader";

/// What the reader's look into a Region of the vault finds.
pub(crate) fn vault_place(region: &str) -> (Access, Region) {
    (Access { role_arn: Some(id(READER)), external_id: None }, id(region))
}

/// As [`copy_of`], of the snapshot of so many days ago.
pub(crate) fn copied(source: u32, n: u32, days: i64) -> Snapshot {
    let mut copy = copy_of(source, n, 0);
    let start = tags::instant(now() - SignedDuration::from_hours(24 * days));
    copy.tags.insert(tags::SOURCE_START_TIME.into(), start);
    copy
}

/// The AWS managed key of the member.
pub(crate) const SEALED: &str = "arn:aws:kms:eu-central-1:333333333333:key/ebs";

/// What the alias `alias/share` stands for there.
pub(crate) const RESCUE_KEY: &str = "arn:aws:kms:eu-central-1:333333333333:key/share";

pub(crate) fn cmk(arn: &str) -> Key {
    Key {
        arn: arn.to_owned(),
        aws_managed: arn == SEALED,
        state: "Enabled".into(),
        usage: "ENCRYPT_DECRYPT".into(),
        spec: "SYMMETRIC_DEFAULT".into(),
    }
}

/// As [`own`], under the AWS managed key.
pub(crate) fn sealed(n: u32, days: i64) -> Snapshot {
    let slot = own(n, "s", days).tags[tags::SLOT].clone();
    let description =
        format!("Created for policy: p schedule: s slot: {slot} volume: {} name: web", vol(1));
    Snapshot { encrypted: true, kms_key_id: Some(SEALED.into()), description, ..own(n, "s", days) }
}

/// What stands in for a sealed snapshot of so many days ago, completed and begun an hour after it.
pub(crate) fn stand_in(source: u32, n: u32, days: i64) -> Snapshot {
    let of = sealed(source, days);
    Snapshot {
        id: snap(n),
        volume_id: id("vol-ffffffff"),
        start_time: of.start_time + SignedDuration::from_hours(1),
        kms_key_id: Some(RESCUE_KEY.into()),
        tags: map(&[
            (tags::POLICY, "p"),
            (tags::SCHEDULE, "s"),
            (tags::SLOT, &of.tags[tags::SLOT]),
            (tags::RULE, tags::RESCUE),
            (tags::SOURCE_SNAPSHOT, of.id.as_str()),
            (tags::SOURCE_ACCOUNT, MEMBER),
            (tags::SOURCE_REGION, HOME),
            (tags::SOURCE_VOLUME, vol(1).as_str()),
            (tags::SOURCE_START_TIME, &tags::instant(of.start_time)),
        ]),
        ..of
    }
}

/// Policy `p` with a `DefaultKeyRescue`, sealed volume 1, and these snapshots; the vault has nothing.
pub(crate) fn rescuing(rules: &Value, snapshots: Vec<Snapshot>) -> Rotation {
    let mut world = Rotation::new(&[schedule("s", rules)], snapshots);
    world.documents[0]["PolicyDetails"]["DefaultKeyRescue"] = json!({"KmsKeyId": "alias/share"});
    let inventory = &mut world.inventory;
    inventory.volumes.get_mut(&vol(1)).unwrap().kms_key_id = Some(SEALED.into());
    inventory.keys = [SEALED, RESCUE_KEY].map(|arn| (arn.to_owned(), cmk(arn))).into();
    inventory.rescue_keys.insert(id("alias/share"), Ok(cmk(RESCUE_KEY)));
    inventory.shared.insert(id(VAULT), BTreeSet::new());
    for region in [HOME, AWAY] {
        inventory.vaults.insert(vault_place(region), Ok(Vec::new()));
    }
    world
}

/// What `copy-shared-snapshots` decides from.
pub(crate) struct Copying {
    pub(crate) documents: Vec<Value>,
    pub(crate) whole: bool,
    /// Within the account of `inventory`, by snapshot policies.
    pub(crate) within: bool,
    pub(crate) inventory: VaultInventory,
    pub(crate) now: Timestamp,
}

impl Copying {
    /// Policy `v`, these sources, and these copies in [`HOME`]; a sweep.
    pub(crate) fn new(sources: Vec<Snapshot>, copies_here: Vec<Snapshot>) -> Self {
        let good = |region| Key {
            arn: key(region),
            aws_managed: false,
            state: "Enabled".into(),
            usage: "ENCRYPT_DECRYPT".into(),
            spec: "SYMMETRIC_DEFAULT".into(),
        };
        let target = |copies| TargetInventory {
            copies,
            in_progress: Vec::new(),
            guards: Ok(Guards::default()),
        };
        Self {
            documents: vec![copies("v")],
            whole: true,
            within: false,
            inventory: VaultInventory {
                sources: BTreeMap::from([(id(HOME), sources)]),
                targets: BTreeMap::from([
                    (id(HOME), target(copies_here)),
                    (id(AWAY), target(Vec::new())),
                ]),
                keys: [HOME, AWAY].map(|region| (key(region), Ok(good(region)))).into(),
                ..VaultInventory::new(id(VAULT), true)
            },
            now: now(),
        }
    }

    /// Snapshot policy `p` with these schedules, within the member's account, and its own snapshots in [`HOME`].
    pub(crate) fn within(schedules: &[Value], sources: Vec<Snapshot>) -> Self {
        let mut world = Self::new(sources, vec![]);
        world.documents = vec![policy("p", schedules)];
        world.within = true;
        world.inventory.account = id(MEMBER);
        world
    }

    fn copies<'a>(&self, documents: &'a Documents) -> Vec<Copies<'a>> {
        if self.within {
            let policies = documents.snapshot_policies();
            policies.iter().map(|(policy, details)| Copies::of_own(policy, details)).collect()
        } else {
            let policies = documents.copy_policies();
            policies.iter().map(|(policy, details)| Copies::of_shared(policy, details)).collect()
        }
    }

    pub(crate) fn target(&mut self) -> &mut TargetInventory {
        self.inventory.targets.get_mut(&id(HOME)).unwrap()
    }

    pub(crate) fn plan(&self) -> Plan {
        let documents = documents(&self.documents, self.whole);
        plan::copy::plan(plan::copy::Request {
            policies: &self.copies(&documents),
            within: self.within,
            access: &Access::default(),
            in_force: &documents.in_force(),
            inventory: &self.inventory,
            now: self.now,
            explain: true,
        })
    }

    pub(crate) fn audit(&self, plan: Plan) -> (AuditedPlan, Vec<Violation>) {
        let documents = documents(&self.documents, self.whole);
        let facts = audit::copy::Facts {
            policies: &self.copies(&documents),
            within: self.within,
            in_force: &documents.in_force(),
            inventory: &self.inventory,
            now: self.now,
            delete_limit: None,
        };
        audit::copy::audit(plan, facts)
    }

    /// The plan, which the auditor has nothing against.
    pub(crate) fn good_plan(&self) -> Plan {
        let (audited, violations) = self.audit(self.plan());
        assert_eq!(violations, []);
        audited.into_parts().0
    }
}

/// `CreateSnapshot vol-… because …`: one line per action.
pub(crate) fn actions(plan: &Plan) -> Vec<String> {
    let line = |planned: &Planned| {
        let object = match &planned.action {
            Action::CreateSnapshot(request) => request.volume.to_string(),
            Action::CreateSnapshots(request) => request.instance.to_string(),
            Action::SendCommand(request) => {
                format!("{} on {}", request.errand.step, request.instance)
            }
            Action::RecordScripts { snapshots, tags } => format!("{snapshots:?} {tags:?}"),
            Action::EnableFastRestore { snapshot, zones }
            | Action::DisableFastRestore { snapshot, zones } => {
                format!("{snapshot} in {}", tags::join(zones))
            }
            Action::UnshareSnapshot { snapshot, accounts, .. } => {
                format!("{snapshot} not with {}", tags::join(accounts))
            }
            Action::LockSnapshot(request) => {
                format!("{} {:?} until {}", request.snapshot, request.mode, request.until)
            }
            Action::CopySnapshot(request) => {
                format!("{} to {}", request.source, planned.scope.region)
            }
            Action::ShareSnapshot { snapshot, .. }
            | Action::RecordShare { snapshot, .. }
            | Action::ArchiveSnapshot(snapshot)
            | Action::DeleteSnapshot(snapshot) => snapshot.to_string(),
        };
        format!("{} {object}: {}", planned.action.operation(), planned.reason)
    };
    plan.actions.iter().map(line).collect()
}

/// `snap-… reason`: one line per decision not to act.
pub(crate) fn held(plan: &Plan) -> Vec<String> {
    let line = |held: &crate::action::Held| {
        let subject = &held.subject;
        let snapshot = subject.snapshot.as_ref().map(ToString::to_string);
        let volume = subject.volume.as_ref().map(ToString::to_string);
        let object = snapshot.or(volume).unwrap_or_default();
        format!("{object}: {}", held.why)
    };
    plan.held.iter().map(line).collect()
}

/// Which snapshots a plan deletes.
pub(crate) fn deleted(plan: &Plan) -> BTreeSet<SnapshotId> {
    let deletions = plan.actions.iter().filter_map(|it| match &it.action {
        Action::DeleteSnapshot(snapshot) => Some(snapshot.clone()),
        _ => None,
    });
    deletions.collect()
}

/// The sets that a plan makes.
pub(crate) fn created_sets(plan: &Plan) -> Vec<&CreateSnapshots> {
    let created = plan.actions.iter().filter_map(|it| match &it.action {
        Action::CreateSnapshots(request) => Some(request),
        _ => None,
    });
    created.collect()
}

/// Why a snapshot stays: `snap-… rule; rule`.
pub(crate) fn kept(plan: &Plan) -> Vec<String> {
    let line = |kept: &crate::action::Kept| {
        let snapshot = kept.subject.snapshot.as_ref().map(ToString::to_string).unwrap_or_default();
        let why: Vec<_> = kept.why.iter().map(ToString::to_string).collect();
        format!("{snapshot}: {}", why.join("; "))
    };
    plan.kept.iter().map(line).collect()
}

/// A plan of one action.
pub(crate) fn plan_of(scope: Scope, action: Action) -> Plan {
    let snapshot = match &action {
        Action::DeleteSnapshot(snapshot) => Some(snapshot.clone()),
        _ => None,
    };
    let planned = Planned {
        scope,
        access: Access::default(),
        action,
        subject: Subject { snapshot, ..Subject::default() },
        reason: Reason::NoCopy,
    };
    Plan { actions: vec![planned], ..Plan::default() }
}

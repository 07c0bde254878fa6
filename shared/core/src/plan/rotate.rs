//! The plan of `rotate-snapshots` for one scope.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::copied::Vaults;
use super::view::View;
use super::{PoliciesInForce, create, fast, in_order, lock, rescue, retain, scripts, share};
use crate::action::{
    Action, Coverage, Deferred, Held, Hold, Impossible, Plan, Planned, Reason, Subject,
};
use crate::ec2::Access;
use crate::ids::{InstanceId, Scope, SnapshotId, VolumeId};
use crate::inventory::{Instance, ScopeInventory, Snapshot, State, TieringStatus, Unread, Volume};
use crate::policy::{Policy, Selection, SnapshotPolicy};
use crate::schedule::Slot;
use crate::tags::{Claim, Claims};

/// Everything that the plan of a scope follows from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The account and Region.
    pub scope: &'a Scope,
    /// The credentials its actions will use.
    pub access: &'a Access,
    /// The policies that target this scope.
    pub policies: &'a [(&'a Policy, &'a SnapshotPolicy)],
    /// See [`PoliciesInForce`].
    pub in_force: &'a PoliciesInForce,
    /// What was seen.
    pub inventory: &'a ScopeInventory,
    /// The scheduled time of the event: decides which slot is due.
    pub at: Timestamp,
    /// The wall clock: decides what has expired.
    pub now: Timestamp,
    /// Tell also why each snapshot stays ([`Plan::kept`]), which takes as much memory as the snapshots do.
    pub explain: bool,
}

/// An own snapshot with what its tags say.
pub(super) struct Own<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) claim: Arc<Claim>,
}

/// What retention counts by: a set counts once, for its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protected<'a> {
    Volume(&'a VolumeId),
    Instance(&'a InstanceId),
}

/// What was made by one call: for what, when, and which one where a call makes one only.
pub(super) type Attempt<'a> = (Protected<'a>, &'a Claim, Timestamp, Option<&'a SnapshotId>);

/// What is to be taken of an instance.
pub(super) struct Set {
    pub(super) volumes: BTreeSet<VolumeId>,
    pub(super) exclude_boot_volume: bool,
    pub(super) exclude_data_volumes: BTreeSet<VolumeId>,
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) request: Request<'a>,
    pub(super) own: Vec<Own<'a>>,
    pub(super) vaults: Vaults<'a>,
    pub(super) stand_ins: rescue::ByName<'a>,
    /// Snapshots that are to be shared, and are under an AWS managed key of which their policy rescues them.
    pub(super) to_rescue: BTreeSet<SnapshotId>,
    /// For default policies: the slot of the own snapshot of a volume that began at that time.
    pub(super) slots_by_start: BTreeMap<(&'a VolumeId, Timestamp), Slot>,
    /// How many snapshots of a volume are being made: EC2 counts failed ones too.
    unfinished: BTreeMap<VolumeId, usize>,
    /// Volumes that the plan so far makes a snapshot of.
    pub(super) creating: BTreeSet<VolumeId>,
    pub(super) plan: Plan,
}

/// Decides what to do in one scope.
#[must_use]
pub fn plan(request: Request<'_>) -> Plan {
    let mut claims = Claims::default();
    let own: Vec<_> = request
        .inventory
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.owner == request.scope.account)
        .filter_map(|snapshot| claims.read(&snapshot.tags).map(|claim| Own { snapshot, claim }))
        .collect();
    let mut unfinished: BTreeMap<VolumeId, usize> = BTreeMap::new();
    for own in own.iter().filter(|it| matches!(it.snapshot.state, State::Pending | State::Error)) {
        *unfinished.entry(own.snapshot.volume_id.clone()).or_default() += 1;
    }
    let is_default =
        |of: &&(&Policy, &SnapshotPolicy)| matches!(of.1.selection, Selection::Unprotected { .. });
    let mut slots_by_start: BTreeMap<_, Slot> = BTreeMap::new();
    for own in own.iter().filter(|_| request.policies.iter().any(|of| is_default(&of))) {
        // Of two that began at one moment the older slot, so that rather too much is made than too little.
        let key = (&own.snapshot.volume_id, own.snapshot.start_time);
        let slot = slots_by_start.entry(key).or_insert(own.claim.slot);
        *slot = own.claim.slot.min(*slot);
    }
    let mut draft = Draft {
        request,
        own,
        vaults: Vaults::of(request),
        stand_ins: rescue::stand_ins(request),
        to_rescue: BTreeSet::new(),
        slots_by_start,
        unfinished,
        creating: BTreeSet::new(),
        plan: Plan::default(),
    };
    draft.tell_unread_instances();
    // Default policies take what nobody else does, so they come last.
    let (last, first): (Vec<_>, Vec<_>) = request.policies.iter().partition(is_default);
    for (policy, details) in first.into_iter().chain(last).filter(|(policy, _)| policy.enabled) {
        create::plan(&mut draft, policy, details);
    }
    for (policy, details) in request.policies {
        scripts::thaw(&mut draft, policy, details);
        draft.cover(policy, details);
    }
    let view = View::of(&draft);
    retain::plan(&mut draft, &view);
    for (policy, details) in request.policies {
        if policy.enabled {
            share::plan(&mut draft, policy, details);
            fast::plan(&mut draft, &view, policy, details);
            lock::plan(&mut draft, policy, details);
            scripts::tell_failed_backups(&mut draft, policy, details);
            scripts::record(&mut draft, policy, details);
        }
    }
    rescue::plan(&mut draft);
    in_order(&mut draft.plan);
    draft.plan
}

impl<'a> Draft<'a> {
    /// The volumes that the policy protects by themselves.
    pub(super) fn targets(
        &self,
        details: &'a SnapshotPolicy,
    ) -> impl Iterator<Item = &'a Volume> + use<'a> {
        let inventory = self.request.inventory;
        let boot: BTreeSet<&VolumeId> =
            inventory.instances.values().filter_map(|it| it.boot_volume.as_ref()).collect();
        let volumes = inventory.volumes.values();
        volumes.filter(move |volume| details.targets(volume, || boot.contains(&volume.id)))
    }

    /// The instances whose volumes the policy protects together.
    pub(super) fn target_instances(
        &self,
        details: &'a SnapshotPolicy,
    ) -> impl Iterator<Item = &'a Instance> + use<'a> {
        self.request.inventory.instances.values().filter(|it| details.targets_instance(it))
    }

    fn tell_unread_instances(&mut self) {
        let Some(unread) = &self.request.inventory.instances_unread else {
            return;
        };
        for (policy, details) in self.request.policies.iter().filter(|(policy, _)| policy.enabled) {
            let without = match details.selection {
                Selection::Instances { .. } => "its instances are left as they are",
                Selection::Unprotected { exclude_boot_volumes: true, .. } => {
                    "boot volumes cannot be told, and are not left out"
                }
                _ => continue,
            };
            self.tell_unread(policy, "DescribeInstances", unread, without);
        }
    }

    /// Every volume that the policy protects, in whichever way.
    pub(super) fn protected(&self, details: &'a SnapshotPolicy) -> Vec<&'a Volume> {
        let mut of_sets = BTreeSet::new();
        for instance in self.target_instances(details) {
            of_sets.extend(self.set_of(instance, &details.selection).volumes);
        }
        let of_sets = of_sets.iter().filter_map(|id| self.request.inventory.volumes.get(id));
        self.targets(details).chain(of_sets).collect()
    }

    /// EC2 excludes data volumes by id only, so their tags are compared here.
    pub(super) fn set_of(&self, instance: &Instance, selection: &Selection) -> Set {
        let mut set = Set {
            volumes: BTreeSet::new(),
            exclude_boot_volume: false,
            exclude_data_volumes: BTreeSet::new(),
        };
        let Selection::Instances { exclude_boot_volume, exclude_data_volume_tags, .. } = selection
        else {
            return set;
        };
        for id in &instance.volumes {
            let tags = self.request.inventory.volumes.get(id).map(|volume| &volume.tags);
            let is_excluded = || {
                tags.is_some_and(|tags| {
                    exclude_data_volume_tags.iter().any(|(key, value)| tags.get(key) == Some(value))
                })
            };
            if instance.boot_volume.as_ref() == Some(id) {
                set.exclude_boot_volume = *exclude_boot_volume;
                if !exclude_boot_volume {
                    set.volumes.insert(id.clone());
                }
            } else if is_excluded() {
                set.exclude_data_volumes.insert(id.clone());
            } else {
                set.volumes.insert(id.clone());
            }
        }
        set
    }

    /// See [`super::is_target`].
    pub(super) fn is_target(&self, own: &Own<'_>, details: &SnapshotPolicy) -> Option<bool> {
        super::is_target(own.snapshot, &own.claim, details, self.request.inventory)
    }

    /// The policy of that name, if it targets this scope.
    pub(super) fn policy(&self, name: &str) -> Option<(&'a Policy, &'a SnapshotPolicy)> {
        self.request.policies.iter().find(|(policy, _)| policy.name == name).copied()
    }

    pub(super) fn planned(&self, action: Action, subject: Subject, reason: Reason) -> Planned {
        Planned {
            scope: self.request.scope.clone(),
            access: self.request.access.clone(),
            action,
            subject,
            reason,
        }
    }

    pub(super) fn act(&mut self, action: Action, subject: Subject, reason: Reason) {
        let planned = self.planned(action, subject, reason);
        self.plan.actions.push(planned);
    }

    /// See [`super::leaving`].
    pub(super) fn leaving(&self) -> BTreeSet<SnapshotId> {
        super::leaving(&self.plan)
    }

    /// Whether it is in the archive tier, or on its way: sharing and fast restore have ended with that.
    pub(super) fn is_archived(&self, own: &Own<'_>) -> bool {
        let tiering = self.request.inventory.tiering.as_ref().ok();
        let status = tiering.and_then(|it| it.get(&own.snapshot.id)).map(|it| it.status);
        own.snapshot.archived
            || matches!(status, Some(TieringStatus::Archiving | TieringStatus::Archived))
    }

    /// What a policy needs to know and nobody answers: somebody has to act, unless it passes. `without` says what is not
    /// done meanwhile.
    pub(super) fn tell_unread(
        &mut self,
        policy: &Policy,
        operation: &'static str,
        unread: &Unread,
        without: &str,
    ) {
        let subject = Subject { policy: policy.name.clone(), ..Subject::default() };
        if unread.kind.passes() {
            return self.hold(subject, Hold::Ec2(unread.message.clone()));
        }
        self.plan.impossible.push(Impossible {
            scope: self.request.scope.clone(),
            operation,
            subject,
            kind: unread.kind,
            code: unread.code.clone(),
            message: format!("{}: without it {without}", unread.message),
        });
    }

    /// A creation, as far as EC2 takes one more of each volume: 5 at once, 1 on `st1` and `sc1`
    /// ([EBS quotas](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-resource-quotas.html)).
    pub(super) fn create(&mut self, action: Action, subject: Subject, reason: Reason) {
        let volumes: Vec<VolumeId> = match &action {
            Action::CreateSnapshot(request) => vec![request.volume.clone()],
            Action::CreateSnapshots(request) => request.volumes.iter().cloned().collect(),
            Action::SendCommand(request) => request.volumes.iter().cloned().collect(),
            _ => Vec::new(),
        };
        let most = |id: &VolumeId| {
            let volume = self.request.inventory.volumes.get(id);
            let is_hdd = volume.is_some_and(|it| matches!(it.volume_type.as_str(), "st1" | "sc1"));
            if is_hdd { 1 } else { 5 }
        };
        let at_once = |id: &VolumeId| self.unfinished.get(id).copied().unwrap_or_default();
        if let Some(id) = volumes.iter().find(|id| at_once(id) >= most(id)) {
            let waits_for = format!(
                "{} snapshots of {id} are pending or failed, and EC2 takes {} at once",
                at_once(id),
                most(id)
            );
            let planned = self.planned(action, subject, reason);
            return self.plan.deferred.push(Deferred { planned, waits_for });
        }
        for id in volumes {
            *self.unfinished.entry(id.clone()).or_default() += 1;
            self.creating.insert(id);
        }
        self.act(action, subject, reason);
    }

    pub(super) fn hold(&mut self, subject: Subject, why: Hold) {
        self.plan.held.push(Held { scope: self.request.scope.clone(), subject, why });
    }

    /// The newest completed snapshot of every target, by any policy in force here.
    fn cover(&mut self, policy: &Policy, details: &'a SnapshotPolicy) {
        let mut newest: BTreeMap<&VolumeId, Timestamp> = BTreeMap::new();
        for own in self.own.iter().filter(|own| {
            own.snapshot.state == State::Completed && self.policy(&own.claim.policy).is_some()
        }) {
            let newest = newest.entry(&own.snapshot.volume_id).or_insert(own.snapshot.start_time);
            *newest = (*newest).max(own.snapshot.start_time);
        }
        let coverage: Vec<_> = self
            .protected(details)
            .into_iter()
            .map(|volume| {
                let newest_completed = newest.get(&volume.id).copied();
                Coverage {
                    scope: self.request.scope.clone(),
                    policy: policy.name.clone(),
                    is_wanted: policy.enabled,
                    volume: volume.id.clone(),
                    newest_completed,
                    since: newest_completed.is_none().then_some(volume.create_time),
                }
            })
            .collect();
        self.plan.coverage.extend(coverage);
    }
}

impl Own<'_> {
    pub(super) fn protected(&self) -> Protected<'_> {
        match &self.claim.instance {
            Some(instance) => Protected::Instance(instance),
            None => Protected::Volume(&self.snapshot.volume_id),
        }
    }

    /// The snapshots of a set have the same start time, which tells a repeated set from the one before
    /// ([CreateSnapshots](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshots.html)).
    pub(super) fn attempt(&self) -> Attempt<'_> {
        let single = self.claim.instance.is_none().then_some(&self.snapshot.id);
        (self.protected(), &self.claim, self.snapshot.start_time, single)
    }

    pub(super) fn subject(&self) -> Subject {
        Subject {
            policy: self.claim.policy.clone(),
            schedule: self.claim.schedule_text(),
            slot: Some(self.claim.slot),
            volume: Some(self.snapshot.volume_id.clone()),
            instance: self.claim.instance.clone(),
            snapshot: Some(self.snapshot.id.clone()),
            source: None,
        }
    }
}

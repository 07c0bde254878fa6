//! What no plan may do, told again without the planner's or the auditor's code: tags are read here by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use jiff::Timestamp;
use snapferry_core::action::{Action, Plan, Planned, Reason, Subject};
use snapferry_core::audit::Violation;
use snapferry_core::ec2::Access;
use snapferry_core::ids::{Region, Scope, SnapshotId};
use snapferry_core::inventory::{Guards, Snapshot, State, TargetInventory};
use snapferry_core::tags::{self, Tags};

use crate::check;
use crate::tags::is_instant;

/// EC2's limits.
const MAX_TAGS: usize = 50;
const MAX_DESCRIPTION: usize = 255;
const MAX_COPIES: usize = 20;

fn tag<'a>(tags: &'a Tags, key: &str) -> &'a str {
    tags.get(key).map_or("", String::as_str)
}

/// Whether the tags are all that a snapshot, or a copy, of ours has.
fn is_complete(tags: &Tags) -> bool {
    let has = |key: &str| !tag(tags, key).is_empty();
    let names = tag(tags, tags::SCHEDULE);
    let is_list = !names.is_empty() && names.split(',').all(|name| !name.is_empty());
    let copy = [
        tags::RULE,
        tags::SOURCE_SNAPSHOT,
        tags::SOURCE_ACCOUNT,
        tags::SOURCE_REGION,
        tags::SOURCE_VOLUME,
    ];
    if tags.contains_key(tags::SOURCE_SNAPSHOT) {
        return has(tags::POLICY) && copy.iter().all(|key| has(key));
    }
    has(tags::POLICY) && is_list && is_instant(tag(tags, tags::SLOT))
}

/// What a list of actions deletes.
pub(super) fn deleted(actions: &[Planned]) -> BTreeSet<SnapshotId> {
    let deletions = actions.iter().filter_map(|it| match &it.action {
        Action::DeleteSnapshot(snapshot) => Some(snapshot.clone()),
        _ => None,
    });
    deletions.collect()
}

/// Nothing is deleted twice, and only what [`each_is_ours`] says.
pub(super) fn deletions(
    plan: &Plan,
    snapshots: &[Snapshot],
    guards: &Result<Guards, String>,
    account: &str,
) {
    let deleted = deleted(&plan.actions);
    let n = plan.actions.iter().filter(|it| it.action.is_destructive()).count();
    assert_eq!(n, deleted.len(), "something is deleted twice");
    each_is_ours(&deleted, snapshots, guards, account);
}

/// What is deleted was seen, is ours by all of its tags, finished, and nobody needs it.
pub(super) fn each_is_ours(
    deleted: &BTreeSet<SnapshotId>,
    snapshots: &[Snapshot],
    guards: &Result<Guards, String>,
    account: &str,
) {
    for id in deleted {
        let snapshot = snapshots.iter().find(|it| it.id == *id).expect("seen");
        assert_eq!(snapshot.owner.as_str(), account, "{snapshot:?}");
        assert!(is_complete(&snapshot.tags), "{snapshot:?}");
        assert!(matches!(snapshot.state, State::Completed | State::Error), "{snapshot:?}");
        let is_foreign = |key: &String| key.starts_with("aws:") || key == "dlm:managed";
        assert!(!snapshot.tags.keys().any(is_foreign), "{snapshot:?}");
        let guards = guards.as_ref().expect("deleted, and guards unknown");
        assert!(!guards.images.contains_key(id) && !guards.locked.contains(id), "{snapshot:?}");
    }
}

/// Good, ours, and no copy.
fn is_good(snapshot: &Snapshot) -> bool {
    snapshot.state == State::Completed
        && is_complete(&snapshot.tags)
        && !snapshot.tags.contains_key(tags::SOURCE_SNAPSHOT)
}

/// Of a volume something stays that is newer than what goes, or serves the very same slot.
pub(super) fn never_the_newest(plan: &Plan, snapshots: &[Snapshot]) {
    let deleted = deleted(&plan.actions);
    for gone in snapshots.iter().filter(|it| is_good(it) && deleted.contains(&it.id)) {
        let purpose = [tags::POLICY, tags::SLOT, tags::INSTANCE];
        let schedules = |it: &Snapshot| -> BTreeSet<String> {
            tag(&it.tags, tags::SCHEDULE).split(',').map(str::to_owned).collect()
        };
        let stays = snapshots.iter().any(|it| {
            let is_newer = (it.start_time, &it.id) > (gone.start_time, &gone.id);
            let same = || {
                purpose.iter().all(|key| it.tags.get(key) == gone.tags.get(key))
                    && schedules(it) == schedules(gone)
            };
            is_good(it)
                && it.owner == gone.owner
                && it.volume_id == gone.volume_id
                && !deleted.contains(&it.id)
                && (is_newer || same())
        });
        if !stays {
            show(plan, snapshots.iter());
        }
        assert!(stays, "the newest of its volume goes: {gone:?}");
    }
}

/// When the moment began whose data a copy holds, as far as anybody tells.
fn newness(copy: &Snapshot) -> (Timestamp, Timestamp, &SnapshotId) {
    let told = tag(&copy.tags, tags::SOURCE_START_TIME);
    let told = told.parse().ok().filter(|_| is_instant(told)).unwrap_or(copy.start_time);
    (told.min(copy.start_time), copy.start_time, &copy.id)
}

/// Of what the copies in a Region are of, a newer one stays, or another of the same source.
pub(super) fn never_the_newest_copy(plan: &Plan, copies: &[Snapshot]) {
    let deleted = deleted(&plan.actions);
    let is_good = |it: &&Snapshot| it.state == State::Completed && is_complete(&it.tags);
    for gone in copies.iter().filter(is_good).filter(|it| deleted.contains(&it.id)) {
        let lineage = [tags::SOURCE_ACCOUNT, tags::SOURCE_VOLUME, tags::SOURCE_VOLUME_BY];
        let source = [tags::SOURCE_SNAPSHOT]; // there is no other of that id, whatever else is told
        let is_unknown = tag(&gone.tags, tags::SOURCE_VOLUME) == "vol-ffffffff";
        let of = if is_unknown { &source[..] } else { &lineage[..] };
        let stays = copies.iter().filter(is_good).any(|it| {
            let same =
                |keys: &[&str]| keys.iter().all(|key| it.tags.get(key) == gone.tags.get(key));
            let is_newer = newness(it) > newness(gone) && same(of);
            it.owner == gone.owner && !deleted.contains(&it.id) && (is_newer || same(&source))
        });
        if !stays {
            show(plan, copies.iter());
        }
        assert!(stays, "the newest copy goes: {gone:?}");
    }
}

/// What is made is complete, and as EC2 takes it; nothing is made twice.
pub(super) fn creations(plan: &Plan) {
    let mut made = BTreeSet::new();
    for planned in &plan.actions {
        let (of, description, tags) = match &planned.action {
            Action::CreateSnapshot(it) => (it.volume.to_string(), &it.description, &it.tags),
            Action::CreateSnapshots(it) => (it.instance.to_string(), &it.description, &it.tags),
            Action::CopySnapshot(it) => {
                (format!("{} to {}", it.source, planned.scope), &it.description, &it.tags)
            }
            _ => continue,
        };
        assert!(is_complete(tags) && tags.len() <= MAX_TAGS, "{tags:?}");
        assert!(!tags.keys().any(|key| key.to_lowercase().starts_with("aws:")), "{tags:?}");
        let is_printable = description.bytes().all(|b| (b' '..=b'~').contains(&b));
        assert!(description.len() <= MAX_DESCRIPTION && is_printable, "{description:?}");
        let purpose =
            [tags::POLICY, tags::SCHEDULE, tags::SLOT, tags::RULE].map(|it| tag(tags, it));
        let is_new = made.insert((of.clone(), purpose.map(str::to_owned)));
        assert!(is_new, "made twice: {of} {purpose:?}");
    }
}

/// No more copies at once than EC2 allows.
pub(super) fn room(plan: &Plan, target: &TargetInventory) {
    let pending = target.copies.iter().filter(|it| it.state == State::Pending);
    let ids: BTreeSet<_> = pending.chain(&target.in_progress).map(|it| &it.id).collect();
    let copies = plan.actions.iter().filter(|it| matches!(it.action, Action::CopySnapshot(_)));
    assert!(copies.count() <= MAX_COPIES.saturating_sub(ids.len()), "more than EC2 allows");
}

/// Every reason is a line.
pub(super) fn told_well(plan: &Plan) {
    plan.actions.iter().for_each(|it| check::one_line(&it.reason.to_string()));
    for it in &plan.deferred {
        check::one_line(&it.waits_for);
    }
    for it in &plan.impossible {
        check::one_line(&it.message);
    }
    plan.held.iter().for_each(|it| check::one_line(&it.why.to_string()));
    for kept in &plan.kept {
        assert!(!kept.why.is_empty(), "{kept:?}");
        kept.why.iter().for_each(|why| check::one_line(&why.to_string()));
    }
}

/// The auditor has found nothing.
pub(super) fn no_violation<'a>(
    plan: &Plan,
    violations: &[Violation],
    snapshots: impl Iterator<Item = &'a Snapshot>,
) {
    if violations.is_empty() {
        return;
    }
    show(plan, snapshots);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "the auditor refuses the planner's plan: {told:#?}");
}

/// What a failure needs to be understood.
fn show<'a>(plan: &Plan, snapshots: impl Iterator<Item = &'a Snapshot>) {
    for it in &plan.actions {
        eprintln!("{} {:?} {}", it.action.operation(), it.subject, it.reason);
    }
    for it in snapshots {
        let Snapshot { id, owner, volume_id, state, start_time, archived, tags, .. } = it;
        eprintln!("{id} {owner} {volume_id} {state} {archived} {start_time} {tags:?}");
    }
}

/// The same plan, in no order.
pub(super) fn sorted(plan: &Plan) -> BTreeMap<&'static str, Vec<String>> {
    fn lines<T: Debug>(items: &[T]) -> Vec<String> {
        let mut lines: Vec<String> = items.iter().map(|it| format!("{it:?}")).collect();
        lines.sort();
        lines
    }
    BTreeMap::from([
        ("actions", lines(&plan.actions)),
        ("deferred", lines(&plan.deferred)),
        ("impossible", lines(&plan.impossible)),
        ("held", lines(&plan.held)),
        ("kept", lines(&plan.kept)),
        ("copied", lines(&plan.copied)),
        ("coverage", lines(&plan.coverage)),
    ])
}

/// What of a plan is for one Region.
pub(super) fn of_region(plan: &Plan, region: &Region) -> Plan {
    let actions = plan.actions.iter().filter(|it| it.scope.region == *region);
    Plan { actions: actions.cloned().collect(), ..Plan::default() }
}

/// The plan, and one deletion more.
pub(super) fn with_deletion(plan: &Plan, scope: &Scope, victim: &SnapshotId) -> Plan {
    let mut plan = plan.clone();
    plan.actions.push(Planned {
        scope: scope.clone(),
        access: Access::default(),
        action: Action::DeleteSnapshot(victim.clone()),
        subject: Subject { snapshot: Some(victim.clone()), ..Subject::default() },
        reason: Reason::NoCopy,
    });
    plan
}

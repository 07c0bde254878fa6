//! After creating: did another run create the same at the same time?
//!
//! `CreateSnapshot` and `CopySnapshot` have no client token, and two runs that look at once both see nothing. So a run
//! that has created looks again, one call per page, and takes back what it made itself when an older one serves the
//! same purpose. The older one's maker does not see itself as the younger, so exactly one goes. Likewise a creation
//! that got no answer is looked up, and found or reported.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use crate::action::{Action, Planned, Reason, Subject};
use crate::audit;
use crate::chain::Chain;
use crate::ec2::{Ec2, Ec2Error, SnapshotFilter};
use crate::execute::{Executed, Outcome};
use crate::ids::{InstanceId, SnapshotId};
use crate::inventory::{Snapshot, State};
use crate::policy::Tags;
use crate::tags::{self, Claim, CopyClaim};

#[cfg(test)]
mod tests;

/// What a snapshot is for: two of one volume with the same purpose are one too many.
fn purpose(tags: &Tags) -> Option<String> {
    if let Some(claim) = CopyClaim::read(tags) {
        return Some(format!("{}\n{}\n{}", claim.policy, claim.rule, claim.source_snapshot));
    }
    let claim = Claim::read(tags)?;
    let instance = claim.instance.as_ref().map_or("", InstanceId::as_str);
    Some(format!("{}\n{}\n{}\n{instance}", claim.policy, claim.schedule_text(), claim.slot))
}

/// A creation: what for, and the tag by which all like it are found.
struct Wanted {
    purpose: String,
    key: &'static str,
    value: String,
}

fn wanted(action: &Action) -> Option<Wanted> {
    let (tags, key) = match action {
        Action::CreateSnapshot(request) => (&request.tags, tags::SLOT),
        Action::CreateSnapshots(request) => (&request.tags, tags::SLOT),
        Action::CopySnapshot(request) => (&request.tags, tags::SOURCE_SNAPSHOT),
        _ => return None,
    };
    Some(Wanted { purpose: purpose(tags)?, key, value: tags.get(key)?.clone() })
}

/// Whether a snapshot is of a volume that the action is for; the volume of a copy is arbitrary.
fn is_of(action: &Action, snapshot: &Snapshot) -> bool {
    match action {
        Action::CreateSnapshot(request) => request.volume == snapshot.volume_id,
        _ => true,
    }
}

/// Whether it is of a set of which not everything is good, or seen yet: nobody's place is taken by that.
fn is_short(snapshot: &Snapshot, alike: &[&Snapshot]) -> bool {
    let of_its_set = alike.iter().filter(|it| it.start_time == snapshot.start_time);
    of_its_set.count() < tags::set_size(&snapshot.tags)
}

/// Looks again in one Region and mends `executed`. Returns what was taken back.
///
/// This is the one deletion that is not planned by retention; it proves each time that the snapshot was made by this
/// very run and that an older one, pending or completed, serves the same purpose.
pub async fn settle<E: Ec2>(ec2: &E, executed: &mut [Executed]) -> Vec<Executed> {
    let mut values: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for done in executed.iter() {
        let made = matches!(&done.outcome, Outcome::Done(made) if !made.is_empty());
        let unknown = matches!(done.outcome, Outcome::Failed(Ec2Error::NoAnswer { .. }));
        if let (true, Some(wanted)) = (made || unknown, wanted(&done.planned.action)) {
            values.entry(wanted.key).or_default().insert(wanted.value);
        }
    }
    let mut taken_back = Vec::new();
    for (key, values) in values {
        match ec2.describe_snapshots(&SnapshotFilter::TagValues(key, values)).await {
            Ok(seen) => taken_back.extend(compare(ec2, executed, &seen).await),
            // The next run looks anyway, and deletes the younger then.
            Err(err) => warn!(error = %Chain(&err), "cannot look for duplicates after creating"),
        }
    }
    taken_back
}

async fn compare<E: Ec2>(ec2: &E, executed: &mut [Executed], seen: &[Snapshot]) -> Vec<Executed> {
    let mut by_purpose: BTreeMap<String, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in seen.iter().filter(|it| matches!(it.state, State::Pending | State::Completed)) {
        if let Some(purpose) = purpose(&snapshot.tags) {
            by_purpose.entry(purpose).or_default().push(snapshot);
        }
    }
    for alike in by_purpose.values_mut() {
        alike.sort_by_key(|snapshot| (snapshot.start_time, &snapshot.id));
    }
    let mut taken_back = Vec::new();
    for done in executed {
        let action = &done.planned.action;
        let Some(alike) = wanted(action).and_then(|wanted| by_purpose.get(&wanted.purpose)) else {
            continue;
        };
        let is_set = matches!(action, Action::CreateSnapshots(_));
        let alike: Vec<&Snapshot> = alike
            .iter()
            .copied()
            .filter(|snapshot| is_of(action, snapshot) && !(is_set && is_short(snapshot, alike)))
            .collect();
        match &done.outcome {
            Outcome::Done(made) => {
                for made in made {
                    let Some(mine) = alike.iter().find(|snapshot| snapshot.id == *made) else {
                        continue;
                    };
                    // All of a set began at one moment, so that of two sets the younger goes as a whole.
                    let older = alike.iter().find(|it| !is_set || it.volume_id == mine.volume_id);
                    if let Some(older) = older.filter(|older| older.id != mine.id) {
                        taken_back.push(take_back(ec2, &done.planned, made, mine, older).await);
                    }
                }
            }
            Outcome::Failed(Ec2Error::NoAnswer { .. }) if !alike.is_empty() => {
                // No answer, and yet there it is: made by that call, or by another run. Either is what we want.
                let mut volumes = BTreeSet::new();
                let oldest =
                    alike.iter().filter(|it| volumes.insert(is_set.then_some(&it.volume_id)));
                done.outcome = Outcome::Done(oldest.map(|it| it.id.clone()).collect());
            }
            _ => {}
        }
    }
    taken_back
}

async fn take_back<E: Ec2>(
    ec2: &E,
    created: &Planned,
    made: &SnapshotId,
    mine: &Snapshot,
    older: &Snapshot,
) -> Executed {
    let planned = Planned {
        action: Action::DeleteSnapshot(made.clone()),
        subject: Subject { snapshot: Some(made.clone()), ..created.subject.clone() },
        reason: Reason::Duplicate(older.id.clone()),
        ..created.clone()
    };
    let outcome = match audit::taken_back(created, made, mine, older) {
        // It stays a duplicate, which the next run deletes once it is completed.
        Err(rule) => Outcome::Deferred(rule),
        Ok(()) => match ec2.delete_snapshot(made).await {
            Ok(()) => Outcome::Done(Vec::new()),
            Err(err) => Outcome::Deferred(err.to_string()),
        },
    };
    Executed { planned, outcome }
}

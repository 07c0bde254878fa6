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
use crate::ids::SnapshotId;
use crate::inventory::{Snapshot, State};
use crate::policy::Tags;
use crate::tags::{self, Claim, CopyClaim};

/// What a snapshot is for: two with the same purpose are one too many.
fn purpose(tags: &Tags, volume: &str) -> Option<String> {
    if let Some(claim) = CopyClaim::read(tags) {
        return Some(format!("{}\n{}\n{}", claim.policy, claim.rule, claim.source_snapshot));
    }
    let claim = Claim::read(tags)?;
    Some(format!("{}\n{}\n{}\n{volume}", claim.policy, claim.schedule_text(), claim.slot))
}

/// The purpose of a creation, and the tag by which all like it are found.
fn wanted(action: &Action) -> Option<(String, &'static str, String)> {
    let (tags, volume, key) = match action {
        Action::CreateSnapshot(request) => (&request.tags, request.volume.as_str(), tags::SLOT),
        Action::CopySnapshot(request) => (&request.tags, "", tags::SOURCE_SNAPSHOT),
        _ => return None,
    };
    Some((purpose(tags, volume)?, key, tags.get(key)?.clone()))
}

/// Looks again in one Region and mends `executed`. Returns what was taken back.
///
/// This is the one deletion that is not planned by retention; it proves each time that the snapshot was made by this
/// very run and that an older one, pending or completed, serves the same purpose.
pub async fn settle<E: Ec2>(ec2: &E, executed: &mut [Executed]) -> Vec<Executed> {
    let mut values: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for done in executed.iter() {
        let made = matches!(done.outcome, Outcome::Done(Some(_)));
        let unknown = matches!(done.outcome, Outcome::Failed(Ec2Error::NoAnswer { .. }));
        if let (true, Some((_, key, value))) = (made || unknown, wanted(&done.planned.action)) {
            values.entry(key).or_default().insert(value);
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
        let is_copy = snapshot.tags.contains_key(tags::SOURCE_SNAPSHOT);
        let volume = if is_copy { "" } else { snapshot.volume_id.as_str() };
        if let Some(purpose) = purpose(&snapshot.tags, volume) {
            by_purpose.entry(purpose).or_default().push(snapshot);
        }
    }
    let mut taken_back = Vec::new();
    for done in executed {
        let Some((purpose, ..)) = wanted(&done.planned.action) else {
            continue;
        };
        let Some(alike) = by_purpose.get(&purpose) else {
            continue;
        };
        let made = match &done.outcome {
            Outcome::Done(Some(made)) => made,
            Outcome::Failed(Ec2Error::NoAnswer { .. }) => {
                // No answer, and yet there it is: made by that call, or by another run. Either is what we want.
                done.outcome = Outcome::Done(alike.first().map(|snapshot| snapshot.id.clone()));
                continue;
            }
            _ => continue,
        };
        let Some(mine) = alike.iter().find(|snapshot| snapshot.id == *made) else {
            continue;
        };
        let older =
            alike.iter().find(|other| (other.start_time, &other.id) < (mine.start_time, &mine.id));
        if let Some(older) = older {
            taken_back.push(take_back(ec2, &done.planned, made, mine, older).await);
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
            Ok(()) => Outcome::Done(None),
            Err(err) => Outcome::Deferred(err.to_string()),
        },
    };
    Executed { planned, outcome }
}

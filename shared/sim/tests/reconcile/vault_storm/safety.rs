//! What every deletion in a vault has to be, whatever went wrong around it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::tags::{self, CopyClaim, Lineage};
use snapferry_sim::{Deletion, Record};

use super::steps::Rule;
use crate::support::is_good;

/// What deleting a copy needs, given what its rule is now.
pub(super) fn may_go(deletion: &Deletion, claim: &CopyClaim, rule: Option<&Rule>, now: Timestamp) {
    let gone = &deletion.record.snapshot;
    if gone.state == State::Error {
        return;
    }
    let others: Vec<(&Record, CopyClaim)> = deletion
        .others
        .iter()
        .filter_map(|it| Some((it, CopyClaim::read(&it.snapshot.tags)?)))
        .filter(|(_, theirs)| of(theirs) == of(claim))
        .collect();
    let same = |theirs: &CopyClaim| {
        (&theirs.rule, &theirs.source_snapshot) == (&claim.rule, &claim.source_snapshot)
    };
    let began = |it: &Record| (it.snapshot.start_time, it.snapshot.id.clone());
    if others
        .iter()
        .any(|(it, theirs)| is_good(it) && same(theirs) && began(it) < began(&deletion.record))
    {
        return;
    }
    assert_eq!(gone.state, State::Completed, "{gone:?}");
    let completed = others.iter().filter(|(it, _)| it.snapshot.state == State::Completed);
    let newer: Vec<_> = completed
        .filter(|(it, theirs)| newness(it, theirs) > newness(&deletion.record, claim))
        .collect();
    assert!(!newer.is_empty(), "the newest of its volume: {gone:?}");
    let Some(rule) = rule else {
        let over = tags::expires_at(&gone.tags).is_some_and(|at| at <= now);
        return assert!(over, "its rule is gone, and its time is not over: {gone:?}");
    };
    let by_rule = newer.iter().filter(|(_, theirs)| theirs.rule == claim.rule);
    let sources: BTreeSet<_> = by_rule.map(|(_, theirs)| &theirs.source_snapshot).collect();
    let n = sources.len();
    assert!(n >= rule.minimum, "{n} newer than {gone:?} stay, under {rule:?}");
    assert!(rule.count.is_none_or(|count| n >= count), "{n} newer, under {rule:?}: {gone:?}");
    assert!(rule.days.is_some() || rule.count.is_some() || rule.keep.is_some(), "for ever");
    if rule.days.is_some() {
        let over = tags::expires_at(&gone.tags).is_some_and(|at| at <= now);
        assert!(over, "{gone:?} under {rule:?}");
    }
}

/// The source account and what it is a generation of.
fn of(claim: &CopyClaim) -> (String, Lineage) {
    (claim.source_account.to_string(), claim.lineage())
}

/// When its data were the volume's, then its own start.
fn newness(record: &Record, claim: &CopyClaim) -> (Timestamp, Timestamp, SnapshotId) {
    let start = record.snapshot.start_time;
    let data = claim.source_start.map_or(start, |at| at.min(start));
    (data, start, record.snapshot.id.clone())
}

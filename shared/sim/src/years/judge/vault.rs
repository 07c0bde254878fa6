//! Copies in the vault: what may go, and what has to be there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use snapferry_core::inventory::State;

use super::deletion::{Court, Verdict};
use super::retention::Among;
use super::{Copied, Seconds, about, expires_at, is_completed, is_good, is_needed};
use crate::record::{Deletion, Record};
use crate::years::places::{HOME, MEMBER, OTHER, VAULT};
use crate::years::wishes::{Rule, Wishes};

/// Whether a copy is worth nothing: it failed, or repeats an older one. Else it has to be completed, and a newer
/// completed one of the volume has to be there.
pub(super) fn is_superfluous(gone: &Copied<'_>, of_volume: &[&Copied<'_>]) -> Result<bool, String> {
    if gone.record.snapshot.state == State::Error {
        return Ok(true);
    }
    if of_volume.iter().any(|it| it.is_twin(gone) && gone.is_younger(it) && is_good(it.record)) {
        return Ok(true);
    }
    if !is_completed(gone.record) {
        return Err("it is not even completed".into());
    }
    if !of_volume.iter().any(|it| is_completed(it.record) && it.is_after(gone)) {
        return Err("it is the newest completed copy of its volume there".into());
    }
    Ok(false)
}

pub(super) fn may_go(court: &Court<'_>, gone: &Copied<'_>, deletion: &Deletion) -> Verdict {
    let others = deletion.others.iter().filter_map(Copied::read);
    let others: Vec<Copied<'_>> =
        others.filter(|it| it.is_of_same(gone) && it.schedules.is_empty()).collect();
    let others: Vec<&Copied<'_>> = others.iter().collect();
    if is_superfluous(gone, &others)? {
        return Ok(());
    }
    if gone.policy != "vault" {
        return court.by_own_expiry(gone.record);
    }
    if !court.wishes.vault.enabled {
        return Err("its policy is disabled".into());
    }
    match court.wishes.vault.rule(gone.rule) {
        None => court.by_own_expiry(gone.record),
        Some(rule)
            if among_copies(gone, &others).is_kept(&rule.retain, court.now.as_millisecond()) =>
        {
            Err(format!("the rule for {} keeps it", rule.region))
        }
        Some(_) => {
            let due = court.seen.map(|seen| due(court.wishes, seen, court.seconds()));
            let again = due.into_iter().flatten().any(|it| {
                (it.source.as_str(), it.region) == (gone.source, gone.rule) && it.good == 0
            });
            if again { Err("its source would be copied again".into()) } else { Ok(()) }
        }
    }
}

/// How a copy stands among the completed ones of its volume and rule.
fn among_copies(one: &Copied<'_>, of_volume: &[&Copied<'_>]) -> Among {
    let alike = || {
        of_volume.iter().filter(|it| {
            is_completed(it.record)
                && (it.policy, it.rule) == (one.policy, one.rule)
                && it.record.snapshot.id != one.record.snapshot.id
        })
    };
    let newer = alike().filter(|it| it.is_after(one) && it.source != one.source);
    let newer: BTreeSet<&str> = newer.map(|it| it.source).collect();
    Among {
        start: one.data,
        until_ms: expires_at(one.record).map(|at| at * 1000),
        moment: one.data,
        newer: newer.len(),
        tied: alike().any(|it| it.data == one.data && it.is_after(one)),
        all: alike().map(|it| it.data).chain([one.data]).collect(),
    }
}

/// A copy that has to be there, and how many there are.
#[derive(Debug)]
pub(in crate::years) struct Due {
    pub(in crate::years) source: String,
    pub(in crate::years) region: &'static str,
    pub(in crate::years) good: usize,
}

/// When the snapshots of a volume began, those that are shared and those that were copied.
type Moments<'a> = BTreeMap<&'a str, Seconds>;

/// Every copy that the vault has to have, given what is shared with it.
pub(super) fn due(wishes: &Wishes, records: &[Record], now: Seconds) -> Vec<Due> {
    let mut due = Vec::new();
    let copies: Vec<Copied<'_>> = in_vault(records).collect();
    for rule in wishes.vault.rules.iter().filter(|_| wishes.vault.enabled) {
        let good = || copies.iter().filter(|it| it.rule == rule.region && is_good(it.record));
        let mut volumes: BTreeMap<(&str, &str), Moments<'_>> = BTreeMap::new();
        for source in records.iter().filter(|it| is_shared(it)) {
            let moment = source.snapshot.start_time.as_second();
            volumes
                .entry(volume_of(source))
                .or_default()
                .insert(source.snapshot.id.as_str(), moment);
        }
        for copy in good() {
            let volume = volumes.entry((copy.account, copy.volume)).or_default();
            volume.entry(copy.source).or_insert(copy.data);
        }
        for source in records.iter().filter(|it| is_shared(it) && is_completed(it)) {
            let id = source.snapshot.id.as_str();
            if volumes.get(&volume_of(source)).is_some_and(|it| is_worth(rule, id, it, now)) {
                let of_it = || good().filter(|it| it.source == id);
                // Doubles that an AMI or a lock needs have to stay.
                let is_needed =
                    of_it().any(|it| it.record.image.is_some() || it.record.lock.is_some());
                let good = if is_needed { 1 } else { of_it().count() };
                due.push(Due { source: id.to_owned(), region: rule.region, good });
            }
        }
    }
    due
}

fn volume_of(source: &Record) -> (&str, &str) {
    (source.snapshot.owner.as_str(), source.snapshot.volume_id.as_str())
}

fn is_worth(rule: &Rule, source: &str, moments: &Moments<'_>, now: Seconds) -> bool {
    let Some(own) = moments.get(source).copied() else {
        return false;
    };
    let newer = moments.iter().filter(|(id, at)| (**at, **id) > (own, source));
    let among = Among {
        start: own,
        until_ms: None,
        moment: own,
        newer: newer.clone().count(),
        tied: newer.clone().any(|(_, at)| *at == own),
        all: moments.values().copied().collect(),
    };
    among.is_worth_a_copy(&rule.retain, now)
}

fn is_shared(record: &Record) -> bool {
    let owner = record.snapshot.owner.as_str();
    record.shared_with.iter().any(|it| it.as_str() == VAULT)
        && record.region.as_str() == HOME
        && [MEMBER, OTHER].contains(&owner)
        && is_good(record)
        && record.snapshot.description.starts_with("Created for policy: ")
}

fn in_vault(records: &[Record]) -> impl Iterator<Item = Copied<'_>> {
    let of_vault = records.iter().filter(|it| it.snapshot.owner.as_str() == VAULT);
    of_vault.filter_map(Copied::read).filter(|it| it.schedules.is_empty() && it.policy == "vault")
}

/// Copies that have to be gone.
pub(super) fn left_over(wishes: &Wishes, records: &[Record], now: Timestamp) -> Vec<String> {
    let due = due(wishes, records, now.as_second());
    let is_due = |copy: &Copied<'_>| {
        due.iter().any(|it| (it.source.as_str(), it.region) == (copy.source, copy.rule))
    };
    let copies: Vec<Copied<'_>> = in_vault(records).filter(|_| wishes.vault.enabled).collect();
    let mut wrong = Vec::new();
    for copy in copies.iter().filter(|it| !is_needed(it.record, now)) {
        let Some(rule) = wishes.vault.rule(copy.rule) else {
            continue;
        };
        if copy.record.snapshot.state == State::Error {
            wrong.push(format!("a failed copy is left over: {}", about(copy.record)));
            continue;
        }
        let of_volume = copies.iter().filter(|it| it.is_of_same(copy));
        let of_volume: Vec<&Copied<'_>> =
            of_volume.filter(|it| it.record.region == copy.record.region).collect();
        let newest = !of_volume.iter().any(|it| is_completed(it.record) && it.is_after(copy));
        let is_kept = newest
            || is_due(copy)
            || among_copies(copy, &of_volume).is_kept(&rule.retain, now.as_millisecond());
        if is_completed(copy.record) && !is_kept {
            wrong.push(format!("a copy that nothing keeps is left over: {}", about(copy.record)));
        }
        let twins = of_volume
            .iter()
            .filter(|it| it.is_twin(copy) && is_good(it.record) && !is_needed(it.record, now));
        let twins: BTreeSet<_> = twins.map(|it| &it.record.snapshot.id).collect();
        if twins.len() > 1 {
            wrong.push(format!("{twins:?} are copies of one source by one rule"));
        }
    }
    wrong
}

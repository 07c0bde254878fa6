//! A second opinion: re-derives every safety rule from the policy and the inventory, sharing no code with
//! [`crate::plan`], and is the only maker of what [`crate::execute`] accepts.
//!
//! It fails asymmetrically. One violation withholds every deletion of its scope, and no creation: a snapshot too
//! many costs money, a snapshot too few costs data. A share or a copy that breaks a rule is withheld by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::action::{Action, Plan, Planned, Subject};
use crate::ec2::LockSnapshot;
use crate::ids::{Scope, SnapshotId};
use crate::inventory::{Guards, Snapshot, State};
use crate::policy::{
    Age, Copies, CopyRule, IntervalUnit, Keep, LockRule, Origin, Policy, RetainRule, Schedule,
    Selection, SnapshotPolicy,
};
use crate::tags::{self, Claim, CopyClaim};

pub mod copy;
pub mod rotate;
#[cfg(test)]
mod tests;

/// A plan that may be executed. Only this module makes one.
#[derive(Debug, Default)]
pub struct AuditedPlan {
    plan: Plan,
    withheld: Vec<Planned>,
}

impl AuditedPlan {
    /// What may be done, in order.
    #[must_use]
    pub fn actions(&self) -> &[Planned] {
        &self.plan.actions
    }

    /// Takes what may be done, in order: a plan may be large, and is done once.
    #[must_use]
    pub fn take_actions(&mut self) -> Vec<Planned> {
        std::mem::take(&mut self.plan.actions)
    }

    /// The plan's parts, and what the audit took out of it.
    #[must_use]
    pub fn into_parts(self) -> (Plan, Vec<Planned>) {
        (self.plan, self.withheld)
    }
}

/// A safety rule that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub scope: Scope,
    /// What the refused action was about.
    pub subject: Subject,
    /// The snapshot or volume it was about.
    pub object: String,
    /// Which rule, and what was found.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.object, self.scope, self.rule)
    }
}

/// Collects violations; knows which actions they concern.
#[derive(Default)]
struct Findings {
    violations: Vec<Violation>,
    /// Index of actions that are withheld whatever they are.
    withheld: BTreeSet<usize>,
}

impl Findings {
    fn add(&mut self, planned: &Planned, rule: impl Into<String>) {
        let subject = &planned.subject;
        let object = match (&subject.snapshot, &subject.volume, &subject.instance) {
            (Some(snapshot), ..) => snapshot.to_string(),
            (None, Some(volume), _) => volume.to_string(),
            (None, None, Some(instance)) => instance.to_string(),
            (None, None, None) => planned.action.operation().to_owned(),
        };
        let rule = rule.into();
        self.violations.push(Violation {
            scope: planned.scope.clone(),
            subject: subject.clone(),
            object,
            rule,
        });
    }

    fn finish(self, mut plan: Plan) -> (AuditedPlan, Vec<Violation>) {
        let refused: BTreeSet<&Scope> = self.violations.iter().map(|it| &it.scope).collect();
        let mut index = 0..;
        let is_withheld = |planned: &mut Planned| {
            let refused = planned.action.is_destructive() && refused.contains(&planned.scope);
            index.next().is_some_and(|index| self.withheld.contains(&index)) || refused
        };
        let withheld = plan.actions.extract_if(.., is_withheld).collect();
        (AuditedPlan { plan, withheld }, self.violations)
    }
}

/// What every deletion has to satisfy, whoever planned it.
fn deletable(
    planned: &Planned,
    snapshot: Option<&Snapshot>,
    guards: &Result<Guards, String>,
) -> Result<(), String> {
    let snapshot = snapshot.ok_or("it was not seen in this run")?;
    if snapshot.owner != planned.scope.account {
        return Err(format!("it belongs to {}", snapshot.owner));
    }
    if matches!(snapshot.state, State::Pending | State::Other) {
        return Err(format!("it is {}", snapshot.state));
    }
    for key in snapshot.tags.keys() {
        if key.starts_with("aws:") || key == "dlm:managed" {
            return Err(format!("its tag {key} says that another service manages it"));
        }
    }
    let guards = guards.as_ref().map_err(|why| format!("its guards are unknown: {why}"))?;
    if let Some(image) = guards.images.get(&snapshot.id) {
        return Err(format!("{image} uses it"));
    }
    if guards.locked.contains(&snapshot.id) {
        return Err("it is locked".into());
    }
    Ok(())
}

/// What every lock has to satisfy: a mode that a rule names, and an end that one of that mode allows, or some minutes
/// more than the day that EC2 locks for at the least.
fn lockable<'a>(
    snapshot: &Snapshot,
    request: &LockSnapshot,
    now: Timestamp,
    mut rules: impl Iterator<Item = &'a LockRule>,
) -> Result<(), String> {
    let allows = |rule: &LockRule| {
        let longest = SignedDuration::from_hours(24 * i64::from(rule.duration_days));
        rule.mode == request.mode
            && now.duration_since(snapshot.start_time) < longest
            && (request.until.duration_since(snapshot.start_time) <= longest
                || request.until.duration_since(now) <= SignedDuration::from_hours(25))
            && request.cool_off_period_hours == rule.cool_off_period_hours
    };
    if rules.any(allows) { Ok(()) } else { Err("no LockRule of its policy says so".into()) }
}

/// How many deletions one run may do in one scope: what the caller says, else three generations of every volume, and
/// 100 at the least. That is more than any rotation needs, and much less than what a mistaken edit of a policy would
/// delete.
fn delete_limit(told: Option<usize>, n_volumes: usize) -> usize {
    told.unwrap_or_else(|| n_volumes.saturating_mul(3).max(100))
}

/// The rule that more than `limit` deletions break.
fn too_many(n: usize, limit: usize) -> String {
    format!(
        "{n} deletions are planned and {limit} are the most for one run: if the policy means it, raise \
         DELETE_LIMIT for one run"
    )
}

/// The ids that a plan would delete.
fn deleted(plan: &Plan) -> BTreeSet<&SnapshotId> {
    plan.actions
        .iter()
        .filter_map(|planned| match &planned.action {
            Action::DeleteSnapshot(snapshot) => Some(snapshot),
            _ => None,
        })
        .collect()
}

/// The shortest that the calendar can make of an age: months of 28 days, years of 365.
fn at_least(age: Age) -> SignedDuration {
    let days = match age.unit {
        IntervalUnit::Days => 1,
        IntervalUnit::Weeks => 7,
        IntervalUnit::Months => 28,
        IntervalUnit::Years => 365,
    };
    SignedDuration::from_hours(24 * days * i64::from(age.interval.get()))
}

/// A good snapshot, as retention looks at it.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    /// When it began.
    start: Timestamp,
    /// The moment that `Keep` files it under.
    moment: Timestamp,
    /// How many generations that stay are newer.
    newer: usize,
    /// What stays of later moments.
    newer_moments: &'a [Timestamp],
}

/// Whether the rule surely still wants it.
fn surely_kept(rule: &RetainRule, zone: &TimeZone, it: Candidate<'_>, now: Timestamp) -> bool {
    let by_count = |count: u32| it.newer < usize::try_from(count).unwrap_or(usize::MAX);
    let by_age = rule.age.is_some_and(|age| now.duration_since(it.start) < at_least(age));
    by_count(rule.minimum_count)
        || by_age
        || rule.count.is_some_and(|count| by_count(count.get()))
        || rule.keep.is_some_and(|keep| is_newest_of_a_period(&keep, zone, it))
        || rule.is_unlimited()
}

/// Whether nothing that stays and is newer falls into one of its periods, of which less than so many newer ones have
/// something: what a person would do who crosses out periods in a calendar.
fn is_newest_of_a_period(keep: &Keep, zone: &TimeZone, it: Candidate<'_>) -> bool {
    let hour = |at: Timestamp| {
        let local = zone.to_datetime(at);
        (local.date(), local.hour(), zone.to_offset(at).seconds())
    };
    let date = |at: Timestamp| zone.to_datetime(at).date();
    let monday = |at: Timestamp| {
        let date = date(at);
        let back = Span::new().days(date.weekday().to_monday_zero_offset());
        date.checked_sub(back).unwrap_or(date)
    };
    holds(keep.hourly, it, hour)
        || holds(keep.daily, it, date)
        || holds(keep.weekly, it, monday)
        || holds(keep.monthly, it, |at| (date(at).year(), date(at).month()))
        || holds(keep.yearly, it, |at| date(at).year())
}

fn holds<P: Ord>(wanted: u32, it: Candidate<'_>, period: impl Fn(Timestamp) -> P) -> bool {
    let newer: BTreeSet<P> = it.newer_moments.iter().map(|at| period(*at)).collect();
    !newer.contains(&period(it.moment))
        && newer.len() < usize::try_from(wanted).unwrap_or(usize::MAX)
}

/// Whether this run may take back the snapshot `made`, which it made itself for `created`, because `older` is the same.
/// Nothing is lost by it: both hold the same moment's data, and `older` is as far as any snapshot that young can be.
///
/// # Errors
/// The rule that it would break.
pub fn taken_back(
    created: &Planned,
    made: &SnapshotId,
    mine: &Snapshot,
    older: &Snapshot,
) -> Result<(), String> {
    if !created.action.creates() {
        return Err("this run did not make it".into());
    }
    if mine.id != *made || older.id == *made {
        return Err("it is not the one that this run made".into());
    }
    if mine.owner != created.scope.account || older.owner != created.scope.account {
        return Err("it belongs to another account".into());
    }
    if !matches!(older.state, State::Pending | State::Completed) {
        return Err(format!("{} is {}", older.id, older.state));
    }
    if (older.start_time, &older.id) >= (mine.start_time, &mine.id) {
        return Err(format!("{} is not older", older.id));
    }
    let same = |key: &str| mine.tags.get(key) == older.tags.get(key);
    let keys = match &created.action {
        Action::CopySnapshot(_) => &[tags::POLICY, tags::RULE, tags::SOURCE_SNAPSHOT][..],
        Action::CreateSnapshots(_) => {
            &[tags::POLICY, tags::SCHEDULE, tags::SLOT, tags::INSTANCE][..]
        }
        _ => &[tags::POLICY, tags::SCHEDULE, tags::SLOT][..],
    };
    let of_one_volume =
        matches!(created.action, Action::CopySnapshot(_)) || mine.volume_id == older.volume_id;
    if !of_one_volume || !keys.iter().all(|key| mine.tags.contains_key(key) && same(key)) {
        return Err(format!("{} serves another purpose", older.id));
    }
    Ok(())
}

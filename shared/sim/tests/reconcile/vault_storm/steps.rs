//! What a random vault is asked to do, and what happens to it.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::TARGETS;

/// One `CrossRegionCopy` entry.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) target: usize,
    pub(super) count: Option<usize>,
    pub(super) days: Option<i64>,
    /// `Keep`, so many days.
    pub(super) keep: Option<usize>,
    pub(super) minimum: usize,
    pub(super) locked: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// By which owner, of which volume, where; and who tells the volume: EC2, the description, nobody.
    Share(usize, usize, usize, u8),
    /// So many of one volume.
    Flood(usize, usize),
    Sweep,
    SweepsAtOnce(u64),
    SweepAndDie(usize),
    /// Of one of the sources.
    Event(Index),
    EventsAtOnce(Index, u64),
    EventAndDie(Index, usize),
    Advance(i64),
    /// Chance in 16 that something goes wrong with a call.
    Faults(u64, u64),
    Edit(Vec<Rule>),
    /// The first owner's key can or cannot be used.
    Key(bool),
    Withdraw(Index),
    Delete(Index),
    Fail(Index),
    UseByImage(Index),
    Lock(Index),
    Free(Index),
    Double(Index),
    Remove(Index),
    Disown(Index),
}

pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (0_usize..2, 0_u8..5, 1_usize..4, 1_i64..4, 1_usize..4, any::<bool>());
    let rule = rule.prop_map(|(target, kind, count, days, minimum, locked)| Rule {
        target,
        count: matches!(kind, 0 | 2).then_some(count),
        days: matches!(kind, 1 | 2).then_some(days),
        keep: matches!(kind, 3).then_some(count),
        minimum,
        locked: locked && kind == 1,
    });
    proptest::collection::vec(rule, 1..4)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        10 => (0_usize..3, 0_usize..3, 0_usize..2, 0_u8..4)
            .prop_map(|(owner, of, at, teller)| Step::Share(owner, of, at, teller)),
        1 => (0_usize..2, 0_usize..3).prop_map(|(owner, of)| Step::Flood(owner, of)),
        8 => Just(Step::Sweep),
        3 => any::<u64>().prop_map(Step::SweepsAtOnce),
        3 => (0_usize..30).prop_map(Step::SweepAndDie),
        3 => index().prop_map(Step::Event),
        3 => (index(), any::<u64>()).prop_map(|(of, seed)| Step::EventsAtOnce(of, seed)),
        2 => (index(), 0_usize..15).prop_map(|(of, calls)| Step::EventAndDie(of, calls)),
        12 => (1_i64..30).prop_map(Step::Advance),
        4 => (any::<u64>(), 0_u64..6).prop_map(|(seed, chance)| Step::Faults(seed, chance)),
        2 => rules().prop_map(Step::Edit),
        2 => any::<bool>().prop_map(Step::Key),
        2 => index().prop_map(Step::Withdraw),
        1 => index().prop_map(Step::Delete),
        2 => index().prop_map(Step::Fail),
        1 => index().prop_map(Step::UseByImage),
        1 => index().prop_map(Step::Lock),
        2 => index().prop_map(Step::Free),
        2 => index().prop_map(Step::Double),
        1 => index().prop_map(Step::Remove),
        1 => index().prop_map(Step::Disown),
    ]
}

impl Rule {
    pub(super) fn document(&self) -> Value {
        let mut retain = json!({"MinimumCount": self.minimum});
        if let Some(count) = self.count {
            retain["Count"] = json!(count);
        }
        if let Some(days) = self.days {
            retain["Interval"] = json!(days);
            retain["IntervalUnit"] = json!("DAYS");
        }
        if let Some(days) = self.keep {
            retain["Keep"] = json!({"Daily": days});
        }
        let mut rule = json!({
            "Target": TARGETS[self.target], "EncryptionConfiguration": {"Encrypted": false}
        });
        if self.count.is_some() || self.days.is_some() || self.keep.is_some() {
            rule["RetainRule"] = retain;
        }
        if self.locked {
            rule["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": 1});
        }
        rule
    }
}

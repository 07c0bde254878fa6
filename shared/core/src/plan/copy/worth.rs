//! Which snapshots are worth a copy: those that their rule's retention would keep, were they copied. Counting copies
//! alone would copy an old snapshot, let it go, and copy it again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Draft, Rules, claim_of};
use crate::action::Hold;
use crate::ids::{AccountId, SnapshotId};
use crate::inventory::{Snapshot, State};
use crate::plan::keep;
use crate::policy::CopyRule;
use crate::tags::{CopyClaim, Lineage};

/// Policy, rule and, within an account, schedule.
type RuleKey = (String, String, Option<String>);

/// What was copied or could be, of one source volume: the moment whose data each holds.
type Moments = BTreeMap<SnapshotId, Timestamp>;

/// How every source stands among sources and copies, where a rule counts them.
#[derive(Default)]
pub(super) struct Worth {
    /// From 1, the newest, and whether `Keep` wants it.
    standings: BTreeMap<(RuleKey, SnapshotId), (usize, bool)>,
}

impl Worth {
    pub(super) fn of(draft: &Draft<'_>) -> Self {
        let mut groups: BTreeMap<(RuleKey, AccountId, Lineage), (&CopyRule, Moments)> =
            BTreeMap::new();
        let mut add = |claim: &CopyClaim, rule, moment: Timestamp| {
            let key = (key(claim, rule), claim.source_account.clone(), claim.lineage());
            let group = groups.entry(key).or_insert((rule, Moments::new()));
            // Of a source that is seen, its own word counts: an older copy may not tell when it began.
            group.1.entry(claim.source_snapshot.clone()).or_insert(moment);
        };
        for (region, sources) in &draft.request.inventory.sources {
            for source in sources.iter().filter(|source| is_good(source.state)) {
                let wanting = draft.request.policies.iter().filter(|it| it.wants(region, source));
                for rules in wanting.flat_map(|copies| copies.rules_for(region, source)) {
                    for rule in rules.all.iter().filter(|rule| counts(rule)) {
                        let claim = claim_of(region, source, &rules, rule);
                        add(&claim, rule, claim.source_start.unwrap_or(source.start_time));
                    }
                }
            }
        }
        for copy in draft.copies.values().flatten().filter(|it| is_good(it.snapshot.state)) {
            for rule in draft.rules(&copy.claim).into_iter().filter(|rule| counts(rule)) {
                add(&copy.claim, rule, copy.data_time());
            }
        }
        let mut worth = Self::default();
        for ((key, ..), (rule, moments)) in groups {
            worth.stand(&key, rule, moments);
        }
        worth
    }

    fn stand(&mut self, key: &RuleKey, rule: &CopyRule, moments: Moments) {
        let newest_first: BTreeSet<_> = moments.into_iter().map(|(id, at)| (at, id)).collect();
        let newest_first: Vec<_> = newest_first.into_iter().rev().collect();
        let times: Vec<Timestamp> = newest_first.iter().map(|(at, _)| *at).collect();
        let keep = rule.retain.as_ref().and_then(|retain| retain.keep);
        let periods = keep.map(|keep| keep::periods(&keep, &TimeZone::UTC, &times));
        let mut periods = periods.into_iter().flatten();
        for (index, (_, id)) in newest_first.into_iter().enumerate() {
            let is_kept = periods.next().is_some_and(|periods| !periods.is_empty());
            self.standings.insert((key.clone(), id), (index + 1, is_kept));
        }
    }

    /// Why no rule would keep the copy.
    pub(super) fn not_worth(
        &self,
        claim: &CopyClaim,
        source: &Snapshot,
        rules: &Rules<'_>,
        now: Timestamp,
    ) -> Option<Hold> {
        let mut ended = None;
        for rule in &rules.all {
            let retain = rule.retain.as_ref()?;
            let (rank, is_kept) = self
                .standings
                .get(&(key(claim, rule), source.id.clone()))
                .copied()
                .unwrap_or((1, retain.keep.is_some()));
            let until = retain.age.map(|age| age.after(source.start_time));
            let by_count = retain
                .count
                .is_some_and(|count| rank <= usize::try_from(count.get()).unwrap_or(usize::MAX));
            if by_count || is_kept || until.is_some_and(|until| until > now) {
                return None;
            }
            ended = ended.max(until);
        }
        Some(ended.map_or(Hold::EnoughNewer, Hold::PastRetention))
    }
}

fn key(claim: &CopyClaim, rule: &CopyRule) -> RuleKey {
    (claim.policy.clone(), rule.name.clone(), rule.schedule.clone())
}

fn counts(rule: &CopyRule) -> bool {
    rule.retain.as_ref().is_some_and(|retain| retain.count.is_some() || retain.keep.is_some())
}

fn is_good(state: State) -> bool {
    matches!(state, State::Pending | State::Completed)
}

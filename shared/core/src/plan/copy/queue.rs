//! Who gets the few places that EC2 has for copies in progress.
//!
//! Places of a Region are given one by one, to the account that has the fewest: so nobody waits because another shares
//! much. Within an account the volume goes first that is protected worst, and within a volume the oldest snapshot, so
//! that every copy can build on the one before. The first copy of a volume is the whole volume; until there is one, a
//! second would be the whole volume again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::{CONCURRENT_COPIES, Draft};
use crate::action::{Deferred, Planned};
use crate::ids::{AccountId, Region, SnapshotId};
use crate::inventory::State;
use crate::policy::Origin;
use crate::tags::{CopyClaim, Lineage};

/// So many places an event's run leaves to the sweep, which alone knows who has waited longest.
const LEFT_TO_THE_SWEEP: usize = 5;

/// A copy that could begin at once, were there a place.
pub(super) struct Waiting {
    pub(super) planned: Planned,
    pub(super) claim: CopyClaim,
    pub(super) start: Timestamp,
    /// It has been tried before, in vain: what has not goes first, or a source that nobody can read would keep all that
    /// came after it waiting for ever.
    pub(super) failed: bool,
}

/// What is copied one after the other: policy, rule, and the source's account and volume.
type Chain = (String, String, AccountId, Lineage);

fn chain_of(claim: &CopyClaim) -> Chain {
    let CopyClaim { policy, rule, source_account, .. } = claim;
    (policy.clone(), rule.clone(), source_account.clone(), claim.lineage())
}

/// One Region's queue.
#[derive(Default)]
struct Queue {
    /// Oldest first.
    waiting: BTreeMap<Chain, VecDeque<Waiting>>,
    /// The moment whose data the newest completed copy holds.
    protected: BTreeMap<Chain, Timestamp>,
    /// Copies in progress, and those that begin now.
    in_progress: BTreeMap<Chain, usize>,
    of_account: BTreeMap<AccountId, usize>,
    /// No account gets more than this.
    share: Option<usize>,
}

impl Draft<'_> {
    /// Gives the places away; what gets none waits.
    pub(super) fn fill(&mut self, waiting: Vec<Waiting>) {
        let mut queues: BTreeMap<Region, Queue> = BTreeMap::new();
        for it in waiting {
            let queue = queues.entry(it.planned.scope.region.clone()).or_default();
            queue.waiting.entry(chain_of(&it.claim)).or_default().push_back(it);
        }
        for (region, mut queue) in queues {
            queue.look(self, &region);
            let Some(room) = self.room.get(&region).copied() else {
                // The Region could not be read; that is reported, and nothing is done blindly there.
                self.defer(queue, |_| format!("{region} could not be read"));
                continue;
            };
            let is_sweep = self.request.inventory.whole;
            let kept_back = if is_sweep { 0 } else { LEFT_TO_THE_SWEEP };
            let room = room.saturating_sub(kept_back);
            if !is_sweep {
                queue.share = Some(self.share());
            }
            for _ in 0..room {
                let Some(next) = queue.next() else {
                    break;
                };
                self.plan.actions.push(next.planned);
            }
            let limit = CONCURRENT_COPIES - kept_back;
            let first = |chain: &Chain| match &chain.3 {
                Lineage::Volume(volume) | Lineage::Described(volume) => {
                    format!("the first copy of {volume} is in progress in {region}")
                }
                Lineage::Alone(source) => format!("a copy of {source} is in progress in {region}"),
            };
            let full = if is_sweep {
                format!("{limit} copies are in progress in {region}")
            } else {
                format!(
                    "{limit} copies are in progress in {region}, or its account's share of them: more the next \
                     sweep begins"
                )
            };
            queue.share = None;
            let free: Vec<Chain> = queue.open(true).cloned().collect();
            self.defer(
                queue,
                |chain| if free.contains(chain) { full.clone() } else { first(chain) },
            );
        }
    }

    /// An event's run does not see who else waits, so that an account gets no more than if all did.
    fn share(&self) -> usize {
        let owners = self.request.policies.iter().filter_map(|copies| match copies.of {
            Origin::Shared(details) => Some(&details.owners),
            Origin::Own => None,
        });
        let n = owners.flatten().collect::<BTreeSet<_>>().len().max(1);
        ((CONCURRENT_COPIES - LEFT_TO_THE_SWEEP) / n).max(1)
    }

    fn defer(&mut self, queue: Queue, waits_for: impl Fn(&Chain) -> String) {
        for (chain, waiting) in queue.waiting {
            let waits_for = waits_for(&chain);
            let deferred = waiting
                .into_iter()
                .map(|it| Deferred { planned: it.planned, waits_for: waits_for.clone() });
            self.plan.deferred.extend(deferred);
        }
    }
}

impl Queue {
    /// Takes in what there is of copies, and puts every volume's sources in order.
    fn look(&mut self, draft: &Draft<'_>, region: &Region) {
        let copies = draft.copies.get(region).into_iter().flatten();
        let mut in_progress: BTreeMap<&SnapshotId, CopyClaim> = BTreeMap::new();
        for copy in copies {
            match copy.snapshot.state {
                State::Pending => drop(in_progress.insert(&copy.snapshot.id, copy.claim.clone())),
                State::Completed => {
                    let newest =
                        self.protected.entry(chain_of(&copy.claim)).or_insert(Timestamp::MIN);
                    *newest = (*newest).max(copy.data_time());
                }
                State::Error | State::Other => {}
            }
        }
        // An event's run has not looked at the copies of other sources.
        let others = draft.request.inventory.targets.get(region);
        for copy in others.into_iter().flat_map(|target| &target.in_progress) {
            if let Some(claim) = draft.request.claim_of_ours(copy) {
                in_progress.insert(&copy.id, claim);
            }
        }
        for claim in in_progress.values() {
            self.begins(&chain_of(claim));
        }
        // What was refused in this run was its owner's turn all the same.
        let inventory = draft.request.inventory;
        for source in inventory.sources.values().flatten() {
            if inventory.refused.contains(&(region.clone(), source.id.clone())) {
                *self.of_account.entry(source.owner.clone()).or_default() += 1;
            }
        }
        for waiting in self.waiting.values_mut() {
            waiting.make_contiguous().sort_by(|a, b| a.order().cmp(&b.order()));
        }
    }

    fn begins(&mut self, chain: &Chain) {
        *self.in_progress.entry(chain.clone()).or_default() += 1;
        *self.of_account.entry(chain.2.clone()).or_default() += 1;
    }

    /// Volumes of which a copy may begin. Unless `crowded`, only those of which none is in progress. Only a sweep knows
    /// which are protected already.
    fn open(&self, crowded: bool) -> impl Iterator<Item = &Chain> {
        self.waiting
            .iter()
            .filter(|(_, waiting)| !waiting.is_empty())
            .map(|(chain, _)| chain)
            .filter(move |chain| {
                let of_account = self.of_account.get(&chain.2).copied().unwrap_or_default();
                let n = self.in_progress.get(*chain).copied().unwrap_or_default();
                self.share.is_none_or(|share| of_account < share)
                    && (n == 0 || (crowded && self.protected.contains_key(*chain)))
            })
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<Waiting> {
        let turn = |chain: &&Chain| {
            let of_account = self.of_account.get(&chain.2).copied().unwrap_or_default();
            let in_progress = self.in_progress.get(*chain).copied().unwrap_or_default();
            let protected = self.protected.get(*chain).copied();
            let first = self.waiting.get(*chain).and_then(VecDeque::front);
            let failed = first.is_some_and(|it| it.failed);
            let first = first.map(Waiting::order);
            (of_account, in_progress, failed, protected, first, (*chain).clone())
        };
        let chain = self.open(false).min_by_key(turn).or_else(|| self.open(true).min_by_key(turn));
        let chain = chain?.clone();
        self.begins(&chain);
        self.waiting.get_mut(&chain)?.pop_front()
    }
}

impl Waiting {
    /// The id settles a tie, so that two runs agree.
    fn order(&self) -> (bool, Timestamp, &SnapshotId) {
        (self.failed, self.start, &self.claim.source_snapshot)
    }
}

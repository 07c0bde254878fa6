//! Random vaults: owners, volumes, rules, mishaps and meddling, for days. While they last no copy is lost that should
//! stay; when they end everything that is shared arrives, once, and then nothing more is done.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use snapferry_core::event::CopyScope;
use snapferry_core::ids::{Scope, SnapshotId};
use snapferry_core::inventory::State;
use snapferry_core::report::Status;
use snapferry_core::run::Run;
use snapferry_core::schedule::Slot;
use snapferry_core::tags::{self, CopyClaim, Lineage};
use snapferry_sim::{Lock, Record, Sim, drive, id, interleave};

use crate::support::storm::faults;
use crate::support::vaults::{Copied, assert_quiet, copies, shared, told, vault_policy, volume};
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, copying, hours, minutes, mutations, scope, sim, sweep,
    vault,
};

use safety::may_go;
use steps::{Rule, Step, rules, step};

mod safety;
mod steps;

const STRANGER: &str = "999999999999";
const OWNERS: [&str; 3] = [MEMBER, OTHER, STRANGER];
/// Where sources are.
const SOURCES: [&str; 2] = [HOME, "eu-west-3"];
const TARGETS: [&str; 2] = ["eu-west-1", HOME];

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

struct Story {
    sim: Sim,
    rules: Vec<Rule>,
    /// Not ours, whatever they look like.
    strange: BTreeSet<SnapshotId>,
}

fn key() -> String {
    format!("arn:aws:kms:{HOME}:{MEMBER}:key/mine")
}

impl Story {
    fn begin(rules: Vec<Rule>) -> Self {
        let sim = sim();
        sim.set(|it| {
            it.turns = 3;
            it.remember = 6;
            it.copy_takes = minutes(10);
            it.copy_takes_per_gib = minutes(2);
        });
        sim.key(&key(), &[account(VAULT)]);
        let mut strange = BTreeSet::new();
        // A copy by hand, one whose tags are not complete, and somebody else's with all of ours.
        for (owner, kept) in [(VAULT, 0), (VAULT, 4), (STRANGER, 9)] {
            let claimed = [
                (tags::POLICY, "vault"),
                (tags::RULE, TARGETS[0]),
                (tags::SOURCE_SNAPSHOT, "snap-01234567"),
                (tags::SOURCE_REGION, HOME),
                (tags::SOURCE_ACCOUNT, MEMBER),
                (tags::SOURCE_VOLUME, "vol-00000000000000001"),
                (tags::EXPIRES_AT, "2020-01-01T00:00:00Z"),
            ];
            let made = sim.snapshot(&scope(owner, TARGETS[0]), &id("vol-ffffffff"), |it| {
                let claimed = claimed.into_iter().take(kept);
                let claimed = claimed.map(|(key, value)| (key.to_owned(), value.to_owned()));
                it.snapshot.tags.extend(claimed);
                it.snapshot.start_time -= hours(2000);
                it.shared_with.insert(account(VAULT));
            });
            strange.insert(made);
        }
        Self { sim, rules, strange }
    }

    fn documents(&self) -> [Value; 1] {
        let rules: Vec<Value> = self.rules.iter().map(Rule::document).collect();
        let mut policy = vault_policy(&[MEMBER, OTHER], &rules);
        policy["PolicyDetails"]["EventSource"]["Parameters"]["SourceRegions"] = json!(SOURCES);
        [policy]
    }

    /// A rule's name is its Region, and where that has several its place among them.
    fn rule(&self, name: &str) -> Option<&Rule> {
        let (region, place) = name.split_once('/').unwrap_or((name, "1"));
        let place: usize = place.parse().unwrap();
        let mut of_region = self.rules.iter().filter(|it| TARGETS[it.target] == region);
        let several = of_region.clone().count() > 1;
        of_region.nth(place - 1).filter(|_| several == name.contains('/'))
    }

    fn share(&self, owner: usize, of: usize, at: usize, teller: u8) {
        let of = volume(of);
        let owner = scope(OWNERS[owner], SOURCES[at]);
        shared(&self.sim, &owner, &of, |it| {
            if teller > 1 {
                it.snapshot.volume_id = id("vol-ffffffff");
            }
            if teller > 2 {
                it.snapshot.description = "by hand".into();
            }
            it.snapshot.volume_size_gib = 1 << teller;
            if teller == 1 && owner == scope(MEMBER, HOME) {
                it.snapshot.encrypted = true;
                it.snapshot.kms_key_id = Some(key().into());
            }
        });
        self.sim.advance(minutes(1));
    }

    fn sources(&self) -> Vec<Record> {
        let records = self.sim.records().into_iter();
        records
            .filter(|it| it.snapshot.owner != account(VAULT))
            .filter(|it| !self.strange.contains(&it.snapshot.id))
            .collect()
    }

    fn source(&self, index: Index) -> Option<SnapshotId> {
        let sources = self.sources();
        (!sources.is_empty()).then(|| index.get(&sources).snapshot.id.clone())
    }

    fn copy(&self, index: Index) -> Option<Copied> {
        let copies = copies(&self.sim);
        (!copies.is_empty()).then(|| index.get(&copies).clone())
    }

    fn meddle(&self, index: Index, change: impl FnOnce(&mut Record)) {
        if let Some(copy) = self.copy(index) {
            self.sim.change(&copy.record.snapshot.id, change);
        }
    }

    fn take(&mut self, step: &Step) {
        let sim = self.sim.clone();
        match step {
            Step::Share(owner, of, at, teller) => self.share(*owner, *of, *at, *teller),
            Step::Flood(owner, of) => (0..8).for_each(|_| self.share(*owner, *of, 0, 0)),
            Step::Sweep => self.at_once(0, &[CopyScope::Sweep]),
            Step::SweepsAtOnce(seed) => self.at_once(*seed, &[CopyScope::Sweep, CopyScope::Sweep]),
            Step::SweepAndDie(calls) => self.die(&CopyScope::Sweep, *calls),
            Step::Event(of) => {
                self.source(*of).into_iter().for_each(|of| self.at_once(0, &[told(&sim, &of)]));
            }
            Step::EventsAtOnce(of, seed) => {
                if let Some(of) = self.source(*of) {
                    let event = told(&sim, &of);
                    self.at_once(*seed, &[event.clone(), event.clone(), CopyScope::Sweep, event]);
                }
            }
            Step::EventAndDie(of, calls) => {
                self.source(*of).into_iter().for_each(|of| self.die(&told(&sim, &of), *calls));
            }
            Step::Advance(n) => sim.advance(hours(*n)),
            Step::Faults(seed, chance) => sim.on_call(faults(*seed, *chance)),
            Step::Edit(rules) => self.rules.clone_from(rules),
            Step::Key(works) => sim.change_key(&key(), |it| {
                it.look_only = if *works { BTreeSet::new() } else { [account(VAULT)].into() };
            }),
            Step::Withdraw(of) => {
                if let Some(of) = self.source(*of) {
                    sim.change(&of, |it| it.shared_with.clear());
                }
            }
            Step::Delete(of) => self.source(*of).into_iter().for_each(|of| sim.remove(&of)),
            Step::Fail(of) => self.meddle(*of, |it| {
                if it.ends.take().is_some() {
                    it.snapshot.state = State::Error;
                }
            }),
            Step::UseByImage(of) => self.meddle(*of, |it| it.image = Some("ami-1".into())),
            Step::Lock(of) => self.meddle(*of, |it| it.lock = Some(Lock::forever())),
            Step::Free(of) => self.meddle(*of, |it| {
                it.image = None;
                it.lock = None;
            }),
            Step::Double(of) => self.double(*of),
            Step::Remove(of) => {
                if let Some(copy) = self.copy(*of) {
                    sim.remove(&copy.record.snapshot.id);
                }
            }
            Step::Disown(of) => {
                if let Some(copy) = self.copy(*of) {
                    let id = copy.record.snapshot.id;
                    sim.change(&id, |it| drop(it.snapshot.tags.remove(tags::RULE)));
                    self.strange.insert(id);
                }
            }
        }
    }

    /// As if two runs long ago had not seen each other.
    fn double(&self, index: Index) {
        let Some(Copied { record, .. }) = self.copy(index) else {
            return;
        };
        self.sim.snapshot(&record.scope(), &id("vol-ffffffff"), |it| {
            let id = it.snapshot.id.clone();
            *it = record;
            it.snapshot.id = id;
            it.snapshot.start_time += minutes(1);
        });
    }

    fn at_once(&self, seed: u64, what: &[CopyScope]) {
        let (documents, aws) = (self.documents(), self.sim.aws(&vault()));
        let run = |what: &CopyScope| {
            Box::pin(copying(&aws, &documents, what.clone(), self.sim.now())) as Running<'_>
        };
        for run in interleave(seed, what.iter().map(run).collect()) {
            agree(&run.unwrap());
        }
    }

    fn die(&self, what: &CopyScope, calls: usize) {
        let aws = self.sim.aws_dying_after(&vault(), calls);
        drop(drive(copying(&aws, &self.documents(), what.clone(), self.sim.now())));
    }

    /// What every deletion has to be, whatever went wrong around it.
    fn assert_safe(&self) {
        for deletion in self.sim.take_deletions() {
            let gone = &deletion.record;
            let id = &gone.snapshot.id;
            assert_eq!(gone.snapshot.owner, account(VAULT), "{id}");
            assert!(!self.strange.contains(id), "{id} is not ours");
            assert!(!gone.is_locked(self.sim.now()) && gone.image.is_none(), "{id} is needed");
            let claim = CopyClaim::read(&gone.snapshot.tags).expect("what goes is a copy of ours");
            may_go(&deletion, &claim, self.rule(&claim.rule), self.sim.now());
        }
    }

    /// From now on everything works, and runs make it right.
    fn settle(&self) {
        self.sim.no_faults();
        self.sim.change_key(&key(), |it| it.look_only.clear());
        for copy in copies(&self.sim) {
            self.sim.change(&copy.record.snapshot.id, |it| {
                it.image = None;
                it.lock = None;
            });
        }
        for _ in 0..16 {
            agree(&sweep(&self.sim, &self.documents()));
            self.assert_safe();
            self.sim.advance(minutes(30));
        }
        // A repetition goes before what it repeats, so at one time a few runs may be needed.
        for _ in 0..3 {
            agree(&sweep(&self.sim, &self.documents()));
        }
        self.assert_safe();
        drop(self.sim.take_journal());
        let run = sweep(&self.sim, &self.documents());
        assert_quiet(&run, "settled");
        assert_eq!(run.report.status, Status::Succeeded);
        assert_eq!(
            mutations(&self.sim),
            Vec::<String>::new(),
            "a settled world gets no more calls"
        );
    }

    fn assert_right(&self) {
        let all = copies(&self.sim);
        assert!(all.iter().all(|it| !it.claim.source_account.as_str().eq(STRANGER)));
        let mut served: BTreeMap<(String, SnapshotId), usize> = BTreeMap::new();
        for copy in &all {
            let in_force = self.rule(&copy.claim.rule).is_some();
            let free = copy.record.lock.is_none() && in_force;
            // Where no rule copies to any more, nobody looks.
            let mut targets = self.rules.iter().map(|it| TARGETS[it.target]);
            let is_seen = targets.any(|it| it == copy.record.region.as_str());
            assert!(!(copy.is(State::Error) && is_seen), "{copy:?} is left over");
            *served
                .entry((copy.claim.rule.clone(), copy.claim.source_snapshot.clone()))
                .or_default() += usize::from(free);
        }
        assert!(served.values().all(|n| *n <= 1), "{served:?}");
        let newest = self.newest_sources();
        for rule in &self.rules {
            for source in &newest {
                if rule.days.is_some_and(|days| self.is_old(source, days)) {
                    continue; // by its age it is not worth a copy any more
                }
                let there = all.iter().any(|it| {
                    it.record.region.as_str() == TARGETS[rule.target]
                        && it.claim.source_account == source.snapshot.owner
                        && it.claim.lineage() == Lineage::Volume(source.snapshot.volume_id.clone())
                        && it.claim.source_start >= Some(whole_second(source))
                });
                assert!(there, "{rule:?} has no copy of {source:?}, nor a newer one");
            }
        }
    }

    fn is_old(&self, source: &Record, days: i64) -> bool {
        source.snapshot.start_time + hours(24 * days) <= self.sim.now()
    }

    /// The newest of each wanted volume that is still shared.
    fn newest_sources(&self) -> Vec<Record> {
        let mut newest: BTreeMap<(Scope, String), Record> = BTreeMap::new();
        for source in self.sources() {
            let wanted = source.snapshot.owner.as_str() != STRANGER
                && source.shared_with.contains(&account(VAULT));
            if wanted && !source.snapshot.volume_id.is_placeholder() {
                let scope = scope(source.snapshot.owner.as_str(), HOME);
                // Oldest first.
                newest.insert((scope, source.snapshot.volume_id.to_string()), source);
            }
        }
        newest.into_values().collect()
    }
}

/// As tags have it.
fn whole_second(source: &Record) -> Timestamp {
    Slot::new(source.snapshot.start_time).timestamp()
}

/// The planner and the auditor share no code and never disagree.
fn agree(run: &Run) {
    assert_eq!(run.violations, []);
    assert_eq!(run.n_withheld, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_vault_loses_nothing_and_comes_right(
        rules in rules(),
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let mut story = Story::begin(rules);
        for step in &steps {
            story.take(step);
            story.assert_safe();
        }
        story.settle();
        story.assert_right();
        for it in &story.strange {
            let gone_by_hand = steps.iter().any(|it| matches!(it, Step::Remove(_)));
            prop_assert!(story.sim.record(it).is_some() || gone_by_hand);
        }
    }
}

//! Random worlds, policies, mishaps and meddling. While they last, nothing is lost; when they end, everything comes
//! right; and a world that is right gets no more calls.

use std::collections::BTreeSet;
use std::pin::Pin;

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use snapferry_core::event::CopyScope;
use snapferry_core::ids::{SnapshotId, VolumeId};
use snapferry_core::inventory::State;
use snapferry_core::run::Run;
use snapferry_core::tags::{self, Claim, CopyClaim};
use snapferry_sim::{Deletion, Lock, Record, Sim, drive, interleave};

use crate::support::storm::{self, faults};
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, answer_shares, at, copying, every, failure, hours,
    is_good, member, minutes, mutations, policy, rotate, rotation, scope, sweep, target, vault,
};

const REGIONS: [&str; 2] = ["eu-west-1", HOME];
/// Where the member's copies within the account go.
const AWAY: &str = "eu-west-1";

/// A schedule's rules.
#[derive(Clone, Debug)]
struct Rules {
    every: u32,
    count: Option<u32>,
    days: Option<u32>,
    /// `Keep`: days and weeks.
    keep: Option<(u32, u32)>,
    minimum: usize,
    shared: bool,
    /// `UnshareInterval`
    unshare: bool,
    /// `LockRule`: so many days.
    lock: Option<u32>,
    /// A copy within the account, so many kept.
    copied: Option<u32>,
}

/// What the policies say at the moment.
#[derive(Clone, Debug)]
struct Wishes {
    /// Of policies `a` and `b`, their schedules `1` and `2`.
    policies: [Vec<Rules>; 2],
    enabled: [bool; 2],
    /// Whether policy `b` is there at all.
    both: bool,
    copies_days: u32,
    copies_minimum: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Rotate,
    RotateTwiceAtOnce(u64),
    RotateAndDie(usize),
    Sweep,
    SweepTwiceAtOnce(u64),
    SweepAndDie(usize),
    AnswerShares,
    Advance(i64),
    /// Chance in 16 that something goes wrong with a call.
    Faults(u64, u64),
    Edit(Box<Wishes>),
    Fail(Index),
    UseByImage(Index),
    Lock(Index),
    Unlock(Index),
    Remove(Index),
    Disown(Index),
    Unshare(Index),
    Double(Index),
    DeleteVolume(Index),
    Untag(Index),
    NewVolume,
}

/// A policy's schedules: DLM wants all by count, or all by age; ours may be by both.
fn schedules() -> impl Strategy<Value = Vec<Rules>> {
    let hours = prop_oneof![Just(6_u32), Just(12), Just(24)];
    let limits = (1_u32..4, 1_u32..4, 1_u32..4, 1_usize..4);
    let lock = prop_oneof![4 => Just(None), 1 => (2_u32..4).prop_map(Some)];
    let copied = proptest::option::of(1_u32..4);
    let rules = (hours, limits, any::<bool>(), any::<bool>(), lock, copied);
    let rules = proptest::collection::vec(rules, 1..3);
    (rules, 0_u8..5).prop_map(|(rules, kind)| {
        let rules = rules.into_iter();
        rules
            .map(|(every, (count, days, weeks, minimum), shared, unshare, lock, copied)| Rules {
                every,
                count: matches!(kind, 1 | 2 | 4).then_some(count),
                days: matches!(kind, 0 | 2).then_some(days),
                keep: matches!(kind, 3 | 4).then_some((days, weeks)),
                minimum,
                shared,
                unshare: unshare && kind != 0, // an age has to be longer than it
                lock,
                copied,
            })
            .collect()
    })
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let enabled = prop_oneof![4 => Just(true), 1 => Just(false)];
    ([schedules(), schedules()], [enabled.clone(), enabled], any::<bool>(), 1_u32..4, 1_usize..3)
        .prop_map(|(policies, enabled, both, copies_days, copies_minimum)| Wishes {
            policies,
            enabled,
            both,
            copies_days,
            copies_minimum,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        8 => Just(Step::Rotate),
        3 => any::<u64>().prop_map(Step::RotateTwiceAtOnce),
        3 => (0_usize..30).prop_map(Step::RotateAndDie),
        4 => Just(Step::Sweep),
        2 => any::<u64>().prop_map(Step::SweepTwiceAtOnce),
        2 => (0_usize..30).prop_map(Step::SweepAndDie),
        4 => Just(Step::AnswerShares),
        12 => (1_i64..30).prop_map(Step::Advance),
        4 => (any::<u64>(), 0_u64..6).prop_map(|(seed, chance)| Step::Faults(seed, chance)),
        2 => wishes().prop_map(|wishes| Step::Edit(Box::new(wishes))),
        2 => index().prop_map(Step::Fail),
        1 => index().prop_map(Step::UseByImage),
        1 => index().prop_map(Step::Lock),
        1 => index().prop_map(Step::Unlock),
        1 => index().prop_map(Step::Remove),
        1 => index().prop_map(Step::Disown),
        1 => index().prop_map(Step::Unshare),
        2 => index().prop_map(Step::Double),
        1 => index().prop_map(Step::DeleteVolume),
        1 => index().prop_map(Step::Untag),
        1 => Just(Step::NewVolume),
    ]
}

impl Wishes {
    fn documents(&self) -> Vec<Value> {
        let mut documents = vec![self.vault()];
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            let schedules: Vec<Value> = self.policies[index]
                .iter()
                .zip(["1", "2"])
                .map(|(rules, name)| rules.schedule(name))
                .collect();
            let mut document = policy(name, &schedules);
            if !self.enabled[index] {
                document["State"] = json!("DISABLED");
            }
            if name == "a" || self.both {
                documents.push(document);
            }
        }
        documents
    }

    fn vault(&self) -> Value {
        let rule = |region| {
            json!({
                "Target": region, "EncryptionConfiguration": {"Encrypted": false},
                "RetainRule": {"Interval": self.copies_days, "IntervalUnit": "DAYS",
                               "MinimumCount": self.copies_minimum}
            })
        };
        json!({
            "Name": "vault",
            "PolicyDetails": {
                "PolicyType": "EVENT_BASED_POLICY",
                "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                    "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER],
                    "DescriptionRegex": "^Created for policy: "}},
                "Actions": [{"Name": "copy", "CrossRegionCopy": REGIONS.map(rule)}]
            }
        })
    }

    /// The rules that a claim falls under now.
    fn rules_of(&self, claim: &Claim) -> Vec<&Rules> {
        let index = match claim.policy.as_str() {
            "a" => 0,
            "b" if self.both => 1,
            _ => return Vec::new(),
        };
        let named = |name: &String| {
            let place = name.parse::<usize>().ok()?.checked_sub(1)?;
            self.policies[index].get(place)
        };
        claim.schedules.iter().filter_map(named).collect()
    }
}

impl Rules {
    fn schedule(&self, name: &str) -> Value {
        let mut retain = json!({"MinimumCount": self.minimum});
        if let Some(count) = self.count {
            retain["Count"] = json!(count);
        }
        if let Some(days) = self.days {
            retain["Interval"] = json!(days);
            retain["IntervalUnit"] = json!("DAYS");
        }
        if let Some((days, weeks)) = self.keep {
            retain["Keep"] = json!({"Daily": days, "Weekly": weeks});
        }
        let mut schedule =
            json!({"Name": name, "CreateRule": every(self.every), "RetainRule": retain});
        if self.shared {
            schedule["ShareRules"] = json!([{"TargetAccounts": [VAULT]}]);
            if self.unshare {
                schedule["ShareRules"][0]["UnshareInterval"] = json!(1);
                schedule["ShareRules"][0]["UnshareIntervalUnit"] = json!("DAYS");
            }
        }
        if let Some(days) = self.lock {
            schedule["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": days});
        }
        if let Some(count) = self.copied {
            schedule["CrossRegionCopyRules"] =
                json!([{"Target": AWAY, "Encrypted": false, "RetainRule": {"Count": count}}]);
        }
        schedule
    }
}

struct Story {
    sim: Sim,
    wishes: Wishes,
    volumes: Vec<VolumeId>,
    strangers: BTreeSet<SnapshotId>,
}

type Running<'a> = Pin<Box<dyn Future<Output = Run> + 'a>>;

impl Story {
    fn begin(wishes: Wishes, volumes: usize, rule: bool) -> Self {
        let sim = Sim::new(at("2026-11-22T02:01:00Z"));
        sim.set(|it| {
            it.turns = 3;
            it.remember = 6;
            if !rule {
                it.snapshot_every = SignedDuration::ZERO; // more doubles
            }
        });
        let volumes: Vec<_> = (0..volumes).map(|_| target(&sim)).collect();
        let mut strangers = BTreeSet::new();
        let tagged = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        for (account, tags) in [
            (MEMBER, tagged(&[])),
            (MEMBER, tagged(&[(tags::POLICY, "a"), (tags::SCHEDULE, "1")])),
            (
                MEMBER,
                tagged(&[
                    (tags::POLICY, "z"),
                    (tags::SCHEDULE, "1"),
                    (tags::SLOT, "2020-01-01T00:00:00Z"),
                ]),
            ),
            (
                OTHER,
                tagged(&[
                    (tags::POLICY, "a"),
                    (tags::SCHEDULE, "1"),
                    (tags::SLOT, "2020-01-01T00:00:00Z"),
                ]),
            ),
            (
                VAULT,
                tagged(&[
                    (tags::POLICY, "vault"),
                    (tags::RULE, HOME),
                    (tags::SOURCE_SNAPSHOT, "snap-01234567"),
                ]),
            ),
        ] {
            strangers.insert(sim.snapshot(&scope(account, HOME), &volumes[0], |it| {
                it.snapshot.tags.extend(tags);
                it.snapshot.start_time = at("2020-01-01T00:00:00Z");
                if account == OTHER {
                    it.shared_with.extend([self::account(MEMBER), self::account(VAULT)]);
                }
            }));
        }
        Self { sim, wishes, volumes, strangers }
    }

    fn record(&self, index: Index) -> Option<SnapshotId> {
        let ours = |it: &Record| !self.strangers.contains(&it.snapshot.id);
        let records: Vec<_> = self.sim.records().into_iter().filter(ours).collect();
        (!records.is_empty()).then(|| index.get(&records).snapshot.id.clone())
    }

    fn take(&mut self, step: &Step) {
        let sim = self.sim.clone();
        let documents = self.wishes.documents();
        match step {
            Step::Rotate => self.rotate_at_once(1, 0),
            Step::RotateTwiceAtOnce(seed) => self.rotate_at_once(2, *seed),
            Step::RotateAndDie(calls) => {
                let aws = sim.aws_dying_after(&vault(), *calls);
                drop(drive(rotation(&aws, &documents, sim.now())));
            }
            Step::Sweep => self.sweep_at_once(1, 0),
            Step::SweepTwiceAtOnce(seed) => self.sweep_at_once(2, *seed),
            Step::SweepAndDie(calls) => {
                let aws = sim.aws_dying_after(&vault(), *calls);
                drop(drive(copying(&aws, &documents, CopyScope::Sweep, sim.now())));
            }
            Step::AnswerShares => drop(answer_shares(&sim, &documents)),
            Step::Advance(n) => sim.advance(hours(*n)),
            Step::Faults(seed, chance) => sim.on_call(faults(*seed, *chance)),
            Step::Edit(wishes) => self.wishes = (**wishes).clone(),
            Step::NewVolume => self.volumes.push(target(&sim)),
            Step::DeleteVolume(index) => sim.delete_volume(index.get(&self.volumes)),
            Step::Untag(index) => {
                sim.change_volume(index.get(&self.volumes), |it| {
                    it.tags.remove("Backup");
                });
            }
            Step::Double(index) => self.double(*index),
            Step::Fail(index) => self.meddle(*index, |it| {
                it.snapshot.state = State::Error;
                it.ends = None;
            }),
            Step::UseByImage(index) => self.meddle(*index, |it| it.image = Some("ami-1".into())),
            Step::Lock(index) => self.meddle(*index, |it| it.lock = Some(Lock::forever())),
            Step::Unlock(index) => self.meddle(*index, |it| {
                it.lock = None;
                it.image = None;
            }),
            Step::Unshare(index) => self.meddle(*index, |it| it.shared_with.clear()),
            Step::Disown(index) => {
                if let Some(id) = self.record(*index) {
                    sim.change(&id, |it| {
                        it.snapshot.tags.remove(tags::POLICY);
                    });
                    self.strangers.insert(id);
                }
            }
            Step::Remove(index) => {
                if let Some(id) = self.record(*index) {
                    sim.remove(&id);
                }
            }
        }
    }

    fn meddle(&self, index: Index, change: impl FnOnce(&mut Record)) {
        if let Some(id) = self.record(index) {
            self.sim.change(&id, change);
        }
    }

    /// As if two runs long ago had not seen each other.
    fn double(&self, index: Index) {
        let Some(original) = self.record(index).and_then(|id| self.sim.record(&id)) else {
            return;
        };
        let volume = original.snapshot.volume_id.clone();
        self.sim.snapshot(&original.scope(), &volume, |it| {
            let id = it.snapshot.id.clone();
            *it = original;
            it.snapshot.id = id;
            it.snapshot.start_time += minutes(1);
        });
    }

    fn rotate_at_once(&self, n: usize, seed: u64) {
        let documents = self.wishes.documents();
        let aws = self.sim.aws(&vault());
        let run = |_| Box::pin(rotation(&aws, &documents, self.sim.now())) as Running<'_>;
        for run in interleave(seed, (0..n).map(run).collect()) {
            agree(&run.unwrap());
        }
    }

    fn sweep_at_once(&self, n: usize, seed: u64) {
        let documents = self.wishes.documents();
        let aws = self.sim.aws(&vault());
        let run = |_| {
            let run = copying(&aws, &documents, CopyScope::Sweep, self.sim.now());
            Box::pin(run) as Running<'_>
        };
        for run in interleave(seed, (0..n).map(run).collect()) {
            agree(&run.unwrap());
        }
    }

    /// What every deletion has to be, whatever went wrong around it.
    fn assert_safe(&self) {
        for deletion in self.sim.take_deletions() {
            let id = &deletion.record.snapshot.id;
            assert!(!self.strangers.contains(id), "{id} is not ours");
            assert!(!deletion.record.is_locked(self.sim.now()), "{id} is locked");
            let tags = &deletion.record.snapshot.tags;
            if let Some(claim) = CopyClaim::read(tags) {
                storm::copy_may_go(&deletion, &claim);
                if !claim.schedules.is_empty() {
                    continue;
                }
                self.copy_may_go(&deletion, &claim);
                continue;
            }
            let claim = Claim::read(tags);
            let claim = claim.expect("what is deleted carries our tags");
            self.snapshot_may_go(&deletion, &claim);
        }
    }

    fn snapshot_may_go(&self, deletion: &Deletion, claim: &Claim) {
        let gone = &deletion.record.snapshot;
        if gone.state == State::Error {
            return;
        }
        let of_volume = |it: &&Record| it.snapshot.volume_id == gone.volume_id;
        let others: Vec<_> = deletion.others.iter().filter(of_volume).collect();
        let twin = |it: &&Record| {
            Claim::read(&it.snapshot.tags).as_ref() == Some(claim)
                && older(it, &deletion.record)
                && is_good(it)
        };
        if others.iter().any(twin) {
            return;
        }
        assert_eq!(gone.state, State::Completed, "{gone:?}");
        let newer: Vec<_> = others
            .iter()
            .filter(|it| it.snapshot.state == State::Completed && older(&deletion.record, it))
            .filter_map(|it| Claim::read(&it.snapshot.tags))
            .collect();
        assert!(!newer.is_empty(), "the newest of its volume: {gone:?}");
        for rules in self.wishes.rules_of(claim) {
            let alike = newer.iter().filter(|it| {
                it.policy == claim.policy && !it.schedules.is_disjoint(&claim.schedules)
            });
            let n = alike.count();
            assert!(n >= rules.minimum, "{n} newer than {gone:?} stay, under {rules:?}");
        }
    }

    fn copy_may_go(&self, deletion: &Deletion, claim: &CopyClaim) {
        let gone = &deletion.record.snapshot;
        if gone.state == State::Error {
            return;
        }
        let claims = |it: &Record| CopyClaim::read(&it.snapshot.tags);
        let twin = |it: &Record| {
            claims(it).is_some_and(|theirs| {
                theirs.source_snapshot == claim.source_snapshot && theirs.rule == claim.rule
            }) && older(it, &deletion.record)
                && is_good(it)
        };
        if deletion.others.iter().any(twin) {
            return;
        }
        assert_eq!(gone.state, State::Completed, "{gone:?}");
        let completed = deletion.others.iter().filter(|it| {
            it.snapshot.state == State::Completed
                && claims(it).is_some_and(|theirs| theirs.source_volume == claim.source_volume)
        });
        let n = completed.count();
        assert!(n >= self.wishes.copies_minimum, "{n} copies of the volume stay: {gone:?}");
        let expires_at = tags::expires_at(&gone.tags);
        assert!(expires_at.is_some_and(|it| it <= self.sim.now()), "{gone:?}");
    }

    /// From now on everything works: runs and time make it right.
    fn settle(&self) {
        self.sim.no_faults();
        let documents = self.wishes.documents();
        for _ in 0..5 {
            agree(&rotate(&self.sim, &documents));
            self.assert_safe();
            agree(&sweep(&self.sim, &documents));
            self.assert_safe();
            self.sim.advance(minutes(25));
        }
        // A repetition goes before what it repeats, so at one time a few runs may be needed.
        for _ in 0..3 {
            rotate(&self.sim, &documents);
            sweep(&self.sim, &documents);
        }
        self.assert_safe();
        drop(self.sim.take_journal());
        for run in [rotate(&self.sim, &documents), sweep(&self.sim, &documents)] {
            assert_eq!(failure(&run), "");
        }
        assert_eq!(
            mutations(&self.sim),
            Vec::<String>::new(),
            "a settled world gets no more calls"
        );
    }

    fn assert_right(&self) {
        let records = self.sim.records();
        let ours: Vec<_> = records
            .iter()
            .filter(|it| it.scope() == member() && is_good(it))
            .filter_map(|it| Some((it, Claim::read(&it.snapshot.tags)?)))
            .collect();
        for (record, claim) in &ours {
            let free = record.image.is_none() && record.lock.is_none();
            let in_force = claim.policy == "a" || self.wishes.both;
            let enabled = self.wishes.enabled[usize::from(claim.policy == "b")];
            let repeats = ours.iter().any(|(it, theirs)| {
                it.snapshot.volume_id == record.snapshot.volume_id
                    && theirs == claim
                    && older(it, record)
            });
            let may_go = free && in_force && enabled;
            assert!(!(repeats && may_go), "{record:?} is a repetition");
        }
        for volume in &self.volumes {
            let target = self.sim.volume_tags(volume);
            if target.is_none_or(|tags| !tags.contains_key("Backup")) {
                continue;
            }
            for (index, name) in ["a", "b"].into_iter().enumerate() {
                if !self.wishes.enabled[index] || (name == "b" && !self.wishes.both) {
                    continue;
                }
                let has = ours
                    .iter()
                    .any(|(it, claim)| it.snapshot.volume_id == *volume && claim.policy == name);
                assert!(has, "{volume} has no snapshot of {name}");
            }
        }
    }
}

/// The planner and the auditor share no code and never disagree.
fn agree(run: &Run) {
    assert_eq!(run.violations, []);
    assert_eq!(run.n_withheld, 0);
}

fn older(a: &Record, b: &Record) -> bool {
    (a.snapshot.start_time, &a.snapshot.id) < (b.snapshot.start_time, &b.snapshot.id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_everything_comes_right(
        wishes in wishes(),
        volumes in 1_usize..4,
        rule in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut story = Story::begin(wishes, volumes, rule);
        for step in &steps {
            story.take(step);
            story.assert_safe();
        }
        story.settle();
        story.assert_right();
        for stranger in &story.strangers {
            prop_assert!(story.sim.record(stranger).is_some() || steps.iter().any(|it| matches!(it, Step::Remove(_))));
        }
    }
}

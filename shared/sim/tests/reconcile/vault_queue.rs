//! 500 snapshots of 5 accounts for 3 Regions, 20 copies at once in each: everything arrives, in as few sweeps as there
//! can be, in the right order, and nobody waits longer than a fair share makes it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;
use snapferry_core::ids::{AccountId, VolumeId};
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_sim::{Record, Rng, Sim, id};

use crate::support::queue::{LIMIT, Line, Place, assert_in_order, line, places};
use crate::support::vaults::{
    assert_quiet, copies, for_days, good_copies, refused, rule, shared, told, vault_policy, volume,
};
use crate::support::{
    HOME, MEMBER, VAULT, account, at, calls, copy, hours, lines, minutes, scope, sim, sweep,
};

const REGIONS: [&str; 3] = ["eu-west-1", "us-west-2", "ap-south-1"];
const ACCOUNTS: [&str; 5] =
    ["333333333333", "444444444444", "555555555555", "666666666666", "777777777777"];
/// Snapshots of each account.
const SHARED: [usize; 5] = [300, 100, 50, 40, 10];

fn policy(regions: &[&str]) -> Value {
    let rules: Vec<Value> = regions.iter().map(|region| rule(region, &for_days(90))).collect();
    vault_policy(&ACCOUNTS, &rules)
}

/// The accounts share their snapshots, so many of them of each volume; 1 to 64 GiB large, of the last weeks.
fn fleet(per_volume: [usize; 5]) -> Sim {
    let sim = sim();
    let mut rng = Rng(7);
    for (index, n) in SHARED.into_iter().enumerate() {
        let n_volumes = n.div_ceil(per_volume[index]);
        for i in 0..n {
            let of = volume(1000 * (index + 1) + i % n_volumes);
            let age = minutes(i64::try_from(1 + rng.below(30_000)).unwrap());
            let size = 1 << rng.below(7);
            shared(&sim, &scope(ACCOUNTS[index], HOME), &of, |it| {
                it.snapshot.start_time -= age;
                it.snapshot.volume_size_gib = size;
            });
        }
    }
    sim
}

/// What the sweeps came to.
struct Story {
    /// How many sweeps began copies.
    sweeps: usize,
    /// Per account: the sweep (from 1) that began its last copy, the worst Region.
    last: BTreeMap<AccountId, usize>,
    /// Per account: the sweep that left none of its volumes without a copy, the worst Region.
    covered: BTreeMap<AccountId, usize>,
}

/// Sweeps so far apart until nothing waits, and `look` at every Region before and after each.
fn until_all_arrive(
    sim: &Sim,
    regions: &[&str],
    every: SignedDuration,
    look: impl Fn(&Place, &Place),
) -> Story {
    let mut story = Story { sweeps: 0, last: BTreeMap::new(), covered: BTreeMap::new() };
    let documents = [policy(regions)];
    loop {
        let before = places(sim, regions);
        drop(sim.take_journal());
        let run = sweep(sim, &documents);
        let after = places(sim, regions);
        assert_quiet(&run, format_args!("sweep {}", story.sweeps + 1));
        assert_eq!(refused(&sim.take_journal()), 0, "EC2 is not even asked");
        let waits = after.iter().any(|it| !it.waiting.is_empty());
        let status = if waits { Status::Incomplete } else { Status::Succeeded };
        assert_eq!(run.report.status, status);
        assert_waits_for_places(&run, &after);
        for (before, after) in before.iter().zip(&after) {
            look(before, after);
        }
        if before.iter().all(|it| it.waiting.is_empty()) {
            return story;
        }
        story.sweeps += 1;
        assert!(story.sweeps <= 500, "it does not come to an end");
        story.note(&before, &after);
        sim.advance(every);
    }
}

/// Everything that waits is told, and nothing else is.
fn assert_waits_for_places(run: &Run, after: &[Place]) {
    let waiting = lines(run, "CopySnapshot", OutcomeName::Deferred);
    assert_eq!(waiting.len(), after.iter().map(|it| it.waiting.len()).sum::<usize>());
    assert!(waiting.iter().all(|it| it.error.as_ref().is_some_and(|it| !it.message.is_empty())));
}

impl Story {
    fn note(&mut self, before: &[Place], after: &[Place]) {
        for (before, after) in before.iter().zip(after) {
            for account in before.backlog().keys() {
                self.last.insert(account.clone(), self.sweeps);
            }
            let served: BTreeSet<Line> = after.copies.iter().map(Place::line_of).collect();
            for source in before.waiting.iter().filter(|it| !served.contains(&line(it))) {
                self.covered.insert(source.owner.clone(), self.sweeps + 1);
            }
        }
    }

    /// In sweeps; `fair` is when each account's last copy would begin, where that can be said.
    fn tell(&self, title: &str, minimum: usize, fair: &BTreeMap<AccountId, usize>) {
        println!("{title}: {} sweeps, at least {minimum} are needed", self.sweeps);
        println!("  account       snapshots  every volume begun  last copy begun  fair share");
        for (name, n) in ACCOUNTS.into_iter().zip(SHARED) {
            let account = account(name);
            let covered = self.covered.get(&account).copied().unwrap_or(1);
            let last = self.last[&account];
            let fair = fair.get(&account).map_or(String::new(), ToString::to_string);
            println!("  {name}  {n:>9}  {covered:>18}  {last:>15}  {fair:>10}");
        }
    }
}

/// In which sweep each account's last copy begins where 20 places are shared out evenly and unused shares passed on.
fn fair() -> BTreeMap<AccountId, usize> {
    let mut left: BTreeMap<AccountId, usize> =
        ACCOUNTS.iter().zip(SHARED).map(|(name, n)| (account(name), n)).collect();
    let mut ends = BTreeMap::new();
    for n in 1.. {
        let mut room = LIMIT;
        while room > 0 && !left.is_empty() {
            for account in left.keys().cloned().collect::<Vec<_>>() {
                if room == 0 {
                    break;
                }
                room -= 1;
                left.entry(account.clone()).and_modify(|it| *it -= 1);
                if left[&account] == 0 {
                    left.remove(&account);
                    ends.insert(account, n);
                }
            }
        }
        if left.is_empty() {
            break;
        }
    }
    ends
}

/// While copies are done before the next sweep: with k accounts waiting, each gets a k-th of the places at the least,
/// or one for each of its volumes.
fn assert_fair_share(before: &Place, after: &Place) {
    let mut waiting: BTreeMap<AccountId, BTreeSet<VolumeId>> = BTreeMap::new();
    for source in &before.waiting {
        waiting.entry(source.owner.clone()).or_default().insert(source.volume_id.clone());
    }
    let in_progress = after.in_progress();
    assert_eq!(before.pending().count(), 0);
    for (account, volumes) in &waiting {
        let share = (LIMIT / waiting.len()).min(volumes.len());
        let got = in_progress.get(account).copied().unwrap_or_default();
        assert!(got >= share, "{account} got {got} of {share} with {volumes:?} waiting");
    }
}

fn assert_all_there(sim: &Sim, n: usize) {
    sim.advance(hours(12));
    let good = good_copies(sim);
    assert_eq!(good.len(), n);
    assert!(good.values().all(|n| *n == 1));
    assert!(copies(sim).iter().all(|it| it.is(State::Completed)));
}

#[test]
fn all_arrive_in_as_few_sweeps_as_there_can_be() {
    let sim = fleet([5, 5, 5, 4, 2]);
    let story = until_all_arrive(&sim, &REGIONS, hours(1), |before, after| {
        assert_in_order(before, after);
        assert_fair_share(before, after);
    });
    let minimum = 500_usize.div_ceil(LIMIT);
    story.tell("Copies done between sweeps", minimum, &fair());
    assert_eq!(story.sweeps, minimum);
    // Places that do not divide evenly go to the least protected volumes: a sweep sooner or later.
    for (account, ends) in fair() {
        let last = story.last[&account];
        assert!(last <= ends + 1, "{account} ends in sweep {last}, its fair share is {ends}");
    }
    assert_all_there(&sim, 1500);
}

#[test]
fn copies_that_take_hours_keep_every_place_busy() {
    let sim = fleet([5, 5, 5, 4, 2]);
    // 15 minutes and 3 more for every GiB: 18 minutes to 3 h 27.
    sim.set(|it| {
        it.copy_takes = minutes(15);
        it.copy_takes_per_gib = minutes(3);
    });
    let story = until_all_arrive(&sim, &REGIONS[..1], minutes(30), assert_in_order);
    // A copy holds its place until the first sweep after its end; when the last one begins, the others may be under way.
    let takes = |it: &Record| (15 + 3 * it.snapshot.volume_size_gib).div_ceil(30);
    let sources = sim.records().into_iter().filter(|it| it.snapshot.owner != account(VAULT));
    let work: usize = sources.map(|it| usize::try_from(takes(&it)).unwrap()).sum();
    let longest = usize::try_from((15_u32 + 3 * 64).div_ceil(30)).unwrap();
    let minimum = work.div_ceil(LIMIT) - (longest - 1);
    story.tell("Copies of 18 minutes to 3 h 27, a sweep every 30", minimum, &BTreeMap::new());
    assert!(story.sweeps <= minimum + 2 * longest, "{} sweeps, {minimum} are needed", story.sweeps);
    assert_all_there(&sim, 500);
}

#[test]
fn few_volumes_with_many_snapshots_do_not_leave_places_empty() {
    // One to three volumes each.
    let sim = fleet([100, 50, 50, 40, 5]);
    let story = until_all_arrive(&sim, &REGIONS[..1], hours(1), assert_in_order);
    // Until the first copies are done there is one of each of the 9 volumes.
    let minimum = 1 + (500_usize - 9).div_ceil(LIMIT);
    story.tell("Nine volumes", minimum, &fair());
    assert!(story.sweeps <= minimum + 1, "{}", story.sweeps);
    assert_all_there(&sim, 500);
}

#[test]
fn a_newcomer_does_not_wait_behind_a_backlog() {
    let sim = sim();
    for n in 0..200 {
        shared(&sim, &scope(MEMBER, HOME), &volume(n), |it| it.snapshot.start_time -= hours(48));
    }
    let documents = [policy(&REGIONS)];
    for _ in 0..3 {
        assert_quiet(&sweep(&sim, &documents), "");
        sim.advance(hours(1));
    }
    let newcomers: Vec<_> = (0..10)
        .map(|n| shared(&sim, &scope(ACCOUNTS[1], HOME), &volume(500 + n), |_| {}))
        .collect();
    assert_quiet(&sweep(&sim, &documents), "");
    let good = good_copies(&sim);
    for source in &newcomers {
        for region in REGIONS {
            assert!(good.contains_key(&(source.clone(), id(region))), "half of the places");
        }
    }
}

/// Somebody else's copies in the vault account, which are under way for so long.
fn others(sim: &Sim, region: &str, n: usize, takes: SignedDuration) {
    let until = sim.now() + takes;
    for _ in 0..n {
        sim.snapshot(&scope(VAULT, region), &id("vol-ffffffff"), |it| {
            it.snapshot.state = State::Pending;
            it.copy_of = Some(id("snap-0123456789abcdef0"));
            it.ends = Some((until, State::Completed, None));
        });
    }
}

#[test]
fn copies_of_others_take_places() {
    let sim = fleet([5, 5, 5, 4, 2]);
    others(&sim, REGIONS[0], 13, hours(5));
    others(&sim, REGIONS[1], 25, hours(5));
    // Snapshots in the making are no copies.
    for n in 0..30 {
        sim.snapshot(&scope(VAULT, REGIONS[2]), &volume(n), |it| {
            it.snapshot.state = State::Pending;
        });
    }
    drop(sim.take_journal());
    let run = sweep(&sim, &[policy(&REGIONS)]);
    assert_quiet(&run, "");
    assert_eq!(refused(&sim.take_journal()), 0, "EC2 is not even asked");
    let begun = |region: &str| {
        lines(&run, "CopySnapshot", OutcomeName::Done)
            .iter()
            .filter(|it| it.region.as_str() == region)
            .count()
    };
    assert_eq!(REGIONS.map(begun), [7, 0, 20]);
    assert_eq!(run.report.status, Status::Incomplete);
    // When theirs are done, their places are free.
    sim.advance(hours(6));
    let run = sweep(&sim, &[policy(&REGIONS)]);
    assert_quiet(&run, "");
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Done).len(), 3 * LIMIT);
}

#[test]
fn what_ec2_says_of_unseen_copies_is_waited_for_too() {
    let sim = fleet([5, 5, 5, 4, 2]);
    // In between look and call they come from elsewhere.
    sim.set(|it| it.copies_at_once = 12);
    let run = sweep(&sim, &[policy(&REGIONS)]);
    assert_quiet(&run, "");
    let waiting = lines(&run, "CopySnapshot", OutcomeName::Deferred);
    assert_eq!(waiting.len(), 3 * (500 - 12));
    let told = waiting.iter().filter_map(|it| it.error.as_ref());
    let by_ec2 = told.filter(|it| it.message.contains("ResourceLimitExceeded")).count();
    assert_eq!(by_ec2, 3 * 8);
    assert_eq!(run.report.status, Status::Incomplete);
    // And made up for when it says it no more.
    sim.set(|it| it.copies_at_once = LIMIT);
    sim.advance(hours(1));
    let run = sweep(&sim, &[policy(&REGIONS)]);
    assert_quiet(&run, "");
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Done).len(), 3 * LIMIT);
}

#[test]
fn an_event_leaves_places_for_the_sweep() {
    let sim = sim();
    others(&sim, REGIONS[0], 14, hours(1));
    others(&sim, REGIONS[1], 15, hours(1));
    let source = shared(&sim, &scope(MEMBER, HOME), &volume(1), |_| {});
    let run = copy(&sim, &[policy(&REGIONS)], told(&sim, &source));
    assert_quiet(&run, "");
    let regions = |outcome| -> Vec<String> {
        lines(&run, "CopySnapshot", outcome).iter().map(|it| it.region.to_string()).collect()
    };
    assert_eq!(regions(OutcomeName::Deferred), [REGIONS[1]]);
    let mut begun = regions(OutcomeName::Done);
    begun.sort();
    assert_eq!(begun, [REGIONS[2], REGIONS[0]]);
    assert_eq!(run.report.status, Status::Incomplete);
    assert_quiet(&sweep(&sim, &[policy(&REGIONS)]), "");
    assert_eq!(good_copies(&sim).len(), 3);
}

#[test]
fn two_rules_for_one_region_share_its_places() {
    let sim = sim();
    for n in 0..15 {
        shared(&sim, &scope(MEMBER, HOME), &volume(n), |_| {});
    }
    let twice = [rule(REGIONS[0], &for_days(90)), rule(REGIONS[0], &for_days(30))];
    let documents = [vault_policy(&[MEMBER], &twice)];
    drop(sim.take_journal());
    for begun in [20, 10, 0] {
        let run = sweep(&sim, &documents);
        assert_quiet(&run, "");
        assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Done).len(), begun);
        sim.advance(hours(1));
    }
    let journal = sim.take_journal();
    assert_eq!((calls(&journal, "CopySnapshot"), refused(&journal)), (30, 0));
    assert_eq!(copies(&sim).len(), 30);
    let since = at("2026-11-22T00:00:00Z");
    assert!(copies(&sim).iter().all(|it| it.record.snapshot.start_time > since));
}

//! The world that a story begins with, and what people do to it in the middle.

use std::collections::BTreeSet;
use std::pin::Pin;

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ec2::Ec2Error;
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::run::Run;

use super::judge::Disk;
use super::places::{
    AWAY, HOME, MEMBER, OTHER, STRANGER, VAULT, default_key, home, member_key, vault_key,
};
use super::play::{Mishap, Play, Wake};
use super::story::{Event, Which};
use crate::record::{Lock, Record};
use crate::turns::{Rng, turns};
use crate::world::{Sim, id};

/// Keys, and snapshots that are not ours, whatever they look like.
pub(super) fn set(seed: u64) -> (Sim, BTreeSet<SnapshotId>) {
    let sim = Sim::new(Timestamp::from_second(1_800_000_000).unwrap_or_default());
    sim.set(|it| {
        it.turns = 3;
        it.remember = 4;
        it.call_takes = SignedDuration::from_millis(200);
        // Large ones take hours, and are still pending when the next runs come.
        let hours = i64::try_from(seed % 3).unwrap_or(0) * 2;
        it.snapshot_takes = SignedDuration::from_mins(10 + 60 * hours);
        it.copy_takes = SignedDuration::from_mins(20);
        it.copy_takes_per_gib = SignedDuration::from_mins(1);
        if seed.is_multiple_of(2) {
            it.snapshot_every = SignedDuration::ZERO; // more doubles
        }
    });
    for account in [MEMBER, OTHER] {
        sim.key(&member_key(account), &[id(VAULT)]);
        sim.key(&default_key(account), &[]);
        sim.change_key(&default_key(account), |it| it.key.aws_managed = true);
    }
    for region in [AWAY, HOME] {
        sim.key(&vault_key(region), &[]);
    }
    let old = [
        ("policy", "a"),
        ("schedule", "1"),
        ("expires-at", "2020-01-02T00:00:00Z"),
        ("slot", "2020-01-01T00:00:00Z"),
    ];
    let copied = [
        ("policy", "vault"),
        ("rule", HOME),
        ("source-snapshot", "snap-01234567"),
        ("source-region", HOME),
        ("source-account", MEMBER),
        ("expires-at", "2020-01-02T00:00:00Z"),
    ];
    // By hand; with some of our tags; another account's with all of them, which it shares.
    let strange: [(&str, &[(&str, &str)]); 9] = [
        (MEMBER, &[]),
        (MEMBER, &old[..3]),
        (MEMBER, &old[..3]),
        (MEMBER, &old[..3]),
        (MEMBER, &old[..3]),
        (STRANGER, &old),
        (VAULT, &copied),
        (VAULT, &copied),
        (STRANGER, &copied),
    ];
    let made = strange.into_iter().enumerate().map(|(n, (owner, tags))| {
        sim.snapshot(&home(owner), &id("vol-0123456789abcdef0"), |it| {
            let ours =
                |(key, value): &(&str, &str)| (format!("snapferry:{key}"), (*value).to_owned());
            it.snapshot.tags.extend(tags.iter().map(ours));
            let begun = 1_577_836_800 + i64::try_from(n).unwrap_or(0);
            it.snapshot.start_time = Timestamp::from_second(begun).unwrap_or_default();
            if owner == STRANGER {
                it.snapshot.description = "Created for policy: a".into();
                it.shared_with.extend([id(VAULT), id(MEMBER)]);
            }
        })
    });
    let made = made.collect();
    (sim, made)
}

/// Somebody changes volumes and roles while a run is under way.
pub(super) fn meddler<'a>(
    sim: &'a Sim,
    disks: &'a [Disk],
    seed: u64,
) -> Pin<Box<dyn Future<Output = Result<Run, Ec2Error>> + 'a>> {
    Box::pin(async move {
        let mut rng = Rng(seed);
        for _ in 0..4 {
            turns(rng.below(40)).await;
            if let Some(disk) = disks.get(rng.below(disks.len())) {
                match rng.below(6) {
                    0 => sim.delete_volume(&disk.id),
                    1 | 2 => sim.change_volume(&disk.id, |it| drop(it.tags.remove("a"))),
                    _ => sim.change_volume(&disk.id, |it| {
                        it.tags.insert("a".into(), "yes".into());
                    }),
                }
            }
        }
        // It is no run, and nobody waits for it.
        std::future::pending().await
    })
}

impl Play<'_> {
    fn ours(&self, which: Which, wanted: impl Fn(&Record) -> bool) -> Option<SnapshotId> {
        let ours = |it: &Record| !self.strange.contains(&it.snapshot.id) && wanted(it);
        let mut ours: Vec<Record> = self.sim.records().into_iter().filter(ours).collect();
        let n = ours.len();
        (n > 0).then(|| ours.swap_remove(usize::from(which) % n).snapshot.id)
    }

    fn change(&self, which: Which, change: impl FnOnce(&mut Record)) {
        if let Some(id) = self.ours(which, |_| true) {
            self.sim.change(&id, change);
        }
    }

    /// Neither an AMI nor a lock is to be had for anything but a completed one.
    fn change_good(&self, which: Which, change: impl FnOnce(&mut Record)) {
        let completed = |it: &Record| it.snapshot.state == State::Completed;
        if let Some(id) = self.ours(which, completed) {
            self.sim.change(&id, change);
        }
    }

    fn disk(&self, which: Which) -> Option<&Disk> {
        let there: Vec<&Disk> = self.disks.iter().filter(|it| it.tags.is_some()).collect();
        let n = there.len();
        (n > 0).then(|| there.get(usize::from(which) % n).copied()).flatten()
    }

    /// Something happens.
    ///
    /// # Errors
    /// What is wrong with a world that had time to come right.
    pub(super) fn happens(&mut self, event: &Event) -> Result<(), String> {
        let sim = self.sim.clone();
        match event {
            Event::Weather(weather) => {
                sim.set(|it| it.buckets = weather.buckets.then_some(20));
                self.weather = Some(weather.clone());
            }
            Event::Calm => return self.calm(),
            Event::Edit(wishes) => self.edit(wishes),
            Event::NewVolume(volume) => self.add_volume(volume),
            Event::DeleteVolume(which) => {
                if let Some(disk) = self.disk(*which) {
                    sim.delete_volume(&disk.id);
                }
            }
            Event::Tag(which, tag, on) => {
                if let Some(disk) = self.disk(*which) {
                    sim.change_volume(&disk.id, |it| {
                        it.tags.remove(tag);
                        it.tags.extend(on.then(|| ((*tag).to_owned(), "yes".to_owned())));
                    });
                }
            }
            Event::Role(account, works) => sim.lock_out(&id(account), !works),
            Event::SourceKey(account, works) => sim.change_key(&member_key(account), |it| {
                it.look_only = if *works { BTreeSet::new() } else { [id(VAULT)].into() };
            }),
            Event::VaultKey(which, works) => {
                let region = if *which == 0 { AWAY } else { HOME };
                sim.change_key(&vault_key(region), |it| {
                    it.key.state = if *works { "Enabled".into() } else { "Disabled".into() };
                });
            }
            Event::Fail(which) => {
                let pending = |it: &Record| it.snapshot.state == State::Pending;
                if let Some(id) = self.ours(*which, pending) {
                    sim.change(&id, |it| {
                        it.snapshot.state = State::Error;
                        it.lock = None;
                        it.ends = None;
                    });
                }
            }
            Event::UseByImage(which) => {
                self.change_good(*which, |it| it.image = Some("ami-1".into()));
            }
            Event::Lock(which) => {
                self.change_good(*which, |it| it.lock = Some(Lock::forever()));
            }
            Event::Free(which) => self.change(*which, |it| {
                it.image = None;
                it.lock = None;
            }),
            Event::Unshare(which) => self.change(*which, |it| it.shared_with.clear()),
            Event::Remove(which) => {
                self.ours(*which, |_| true).into_iter().for_each(|id| sim.remove(&id));
            }
            Event::Disown(which) => {
                if let Some(id) = self.ours(*which, |_| true) {
                    sim.change(&id, |it| drop(it.snapshot.tags.remove("snapferry:policy")));
                    self.strange.insert(id);
                }
            }
            Event::Double(which) => self.double(*which),
        }
        self.born(); // that a person made
        self.look_at_disks();
        Ok(())
    }

    fn double(&self, which: Which) {
        let completed = |it: &Record| it.snapshot.state == State::Completed;
        let Some(original) = self.ours(which, completed).and_then(|id| self.sim.record(&id)) else {
            return;
        };
        let volume = original.snapshot.volume_id.clone();
        self.sim.snapshot(&original.scope(), &volume, |it| {
            let id = it.snapshot.id.clone();
            *it = original;
            it.snapshot.id = id;
            it.snapshot.start_time += SignedDuration::from_mins(1);
            it.image = None;
            it.lock = None;
        });
    }

    /// First what is missing must be told, then everything works, and the world has to come right and rest.
    pub(super) fn calm(&mut self) -> Result<(), String> {
        let sim = self.sim.clone();
        let weather = self.weather.take();
        sim.set(|it| it.buckets = None);
        self.wake_soon();
        let a_while = SignedDuration::from_hours(4);
        self.live_until(sim.now() + a_while)?;
        self.tells_what_is_missing()?;
        for account in [MEMBER, OTHER] {
            sim.lock_out(&id(account), false);
            sim.change_key(&member_key(account), |it| it.look_only.clear());
        }
        for region in [AWAY, HOME] {
            sim.change_key(&vault_key(region), |it| it.key.state = "Enabled".into());
        }
        self.wake_soon();
        self.live_until(sim.now() + SignedDuration::from_hours(30))?;
        self.rests()?;
        sim.set(|it| it.buckets = weather.as_ref().and_then(|it| it.buckets.then_some(20)));
        self.weather = weather;
        Ok(())
    }

    pub(super) fn well(&mut self, wake: &Wake) -> Result<Run, String> {
        let run = self.run(wake, Mishap::None, &mut Rng(1))?;
        run.ok_or_else(|| "a run without any fault did not end".into())
    }
}

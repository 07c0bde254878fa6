//! Plays a story: wakes both functions as schedules and events would, lets happen what happens, and has every run judged.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use snapferry_core::documents::{Content, Documents, Raw};
use snapferry_core::ec2::Ec2Error;
use snapferry_core::event::{CopyEvent, RotateEvent};
use snapferry_core::execute::Limits;
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::reconcile;
use snapferry_core::run::Run;

use super::judge::deletion::Court;
use super::judge::{Disk, birth};
use super::places::{VAULT, home, member_key};
use super::story::{Story, VolumeKey, Weather};
use super::tally::Tally;
use super::weather::{Seen, faults};
use super::wishes::Wishes;
use super::{stage, telling};
use crate::aws::Aws;
use crate::calls::Call;
use crate::record::{Deletion, Record};
use crate::turns::{Rng, drive, interleave};
use crate::world::Sim;

/// A run under way; that AWS cannot even say whose account it is, is an answer too.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Run, Ec2Error>> + 'a>>;

/// What wakes a function.
#[derive(Clone, Debug)]
pub(super) enum Wake {
    Rotate(RotateEvent),
    Copy(CopyEvent),
}

/// How a run fares beside the faults of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    None,
    Missed,
    Late,
    Dies(usize),
    Hurried(SignedDuration),
    Twice,
    Skewed(SignedDuration),
    Meddled(u64),
}

/// How long an invocation has.
const DEADLINE: SignedDuration = SignedDuration::from_mins(15);

/// Nothing is begun after the deadline; what is under way then, side by side, may still take its time.
const LONGEST: SignedDuration = SignedDuration::from_mins(15 + 15);

/// A story that is being played.
pub(super) struct Play<'a> {
    pub(super) story: &'a Story,
    pub(super) sim: Sim,
    pub(super) wishes: Wishes,
    pub(super) disks: Vec<Disk>,
    pub(super) strange: BTreeSet<SnapshotId>,
    pub(super) weather: Option<Weather>,
    pub(super) tally: Tally,
    pub(super) rotated: Timestamp,
    /// The calls of the run before.
    pub(super) last_calls: Vec<Call>,
    documents: Option<Documents>,
    /// Events under way, by when they arrive.
    coming: BTreeMap<(Timestamp, u64), Value>,
    next: [Timestamp; 2],
    /// Snapshots whose birth was looked at.
    known: BTreeSet<SnapshotId>,
    /// Failed copies that were told of.
    told: BTreeSet<SnapshotId>,
    seen: Seen,
    n_runs: u64,
}

impl<'a> Play<'a> {
    pub(super) fn begin(story: &'a Story) -> Self {
        let (sim, strange) = stage::set(story.seed);
        let now = sim.now();
        let mut play = Self {
            story,
            sim,
            wishes: story.wishes.clone(),
            disks: Vec::new(),
            strange,
            weather: None,
            tally: Tally::default(),
            rotated: now,
            last_calls: Vec::new(),
            documents: None,
            coming: BTreeMap::new(),
            next: [now, now],
            known: BTreeSet::new(),
            told: BTreeSet::new(),
            seen: Seen::default(),
            n_runs: 0,
        };
        for volume in &story.volumes {
            play.add_volume(volume);
        }
        play.born();
        play.weather = Some(story.weather.clone());
        play
    }

    pub(super) fn edit(&mut self, wishes: &Wishes) {
        self.wishes = wishes.clone();
        self.documents = None;
    }

    /// Lets the clock go on, with everything that is due until then.
    ///
    /// # Errors
    /// What was done that must not be.
    pub(super) fn live_until(&mut self, end: Timestamp) -> Result<(), String> {
        loop {
            let [rotate, sweep] = self.next;
            let event = self.coming.keys().next().map(|(at, _)| *at);
            let first = rotate.min(sweep).min(event.unwrap_or(Timestamp::MAX));
            if first >= end {
                break;
            }
            self.pass_until(first);
            if event == Some(first) {
                if let Some((_, event)) = self.coming.pop_first() {
                    let event = telling::read(&event).map_err(|err| err.to_string())?;
                    self.wake(&Wake::Copy(event), first)?;
                }
            } else if rotate == first {
                self.next[0] = first + self.every(self.story.rotate_every);
                let event = RotateEvent { scheduled_time: Some(first), ..RotateEvent::default() };
                self.wake(&Wake::Rotate(event), first)?;
            } else {
                self.next[1] = first + self.every(self.story.sweep_every);
                self.wake(&Wake::Copy(CopyEvent::default()), first)?;
            }
        }
        self.pass_until(end);
        Ok(())
    }

    /// While everything works, two hours at the most.
    fn every(&self, minutes: i64) -> SignedDuration {
        let at_most = if self.weather.is_none() { 120 } else { i64::MAX };
        SignedDuration::from_mins(minutes.min(at_most))
    }

    /// Both functions are due at once, and then in their rhythm.
    pub(super) fn wake_soon(&mut self) {
        self.next = [self.sim.now(); 2];
    }

    fn pass_until(&mut self, at: Timestamp) {
        let now = self.sim.now();
        if at > now {
            self.sim.advance(at.duration_since(now));
        }
        self.tell_failures();
    }

    /// `copySnapshot` events of copies that have failed.
    fn tell_failures(&mut self) {
        let mut events = Vec::new();
        {
            let world = self.sim.world();
            for copy in world.snapshots.values() {
                if copy.snapshot.state != State::Error || copy.snapshot.owner.as_str() != VAULT {
                    continue;
                }
                let source = copy.copy_of.as_ref().and_then(|it| world.snapshots.get(it));
                if let Some(source) = source.filter(|_| self.told.insert(copy.snapshot.id.clone()))
                {
                    events.push(telling::failed(copy, source));
                }
            }
        }
        for event in events {
            self.send(&event);
        }
    }

    /// An event sets out; it may be lost, come late, come twice, and be overtaken.
    fn send(&mut self, event: &Value) {
        let mut rng = self.rng("event");
        let chance = self.weather.as_ref().map_or(0, |weather| weather.events);
        let minutes = if chance == 0 { 1 } else { 240 };
        for n in 0..2 {
            let is_lost = rng.any() % 100 < chance;
            let is_doubled = rng.any() % 100 < chance;
            let late = i64::try_from(rng.below(minutes)).unwrap_or(0);
            if n == 0 && is_lost {
                self.tally.note("event lost", 1);
                return;
            }
            if n == 0 || is_doubled {
                if late > 30 {
                    self.tally.note("event late, out of order", 1);
                }
                self.tally.note("event doubled", n);
                let at = self.sim.now() + SignedDuration::from_mins(late);
                self.coming.insert((at, rng.any()), event.clone());
            }
        }
    }

    /// Chance that depends on the moment alone, so that a story that is cut short goes on as it did.
    fn rng(&self, what: &str) -> Rng {
        let now = u64::try_from(self.sim.now().as_millisecond()).unwrap_or(0);
        let mut rng = Rng(self.story.seed ^ now.rotate_left(20));
        for byte in what.bytes() {
            rng.0 ^= u64::from(byte);
            rng.any();
        }
        rng
    }

    fn mishap(&self, rng: &mut Rng) -> Mishap {
        let chance = self.weather.as_ref().map_or(0, |weather| weather.mishaps);
        if rng.any() % 100 >= chance {
            return Mishap::None;
        }
        let number = i64::try_from(rng.below(21)).unwrap_or(0);
        match rng.below(9) {
            0 => Mishap::Missed,
            1 => Mishap::Late,
            2 | 3 => Mishap::Dies(rng.below(40)),
            4 => Mishap::Hurried(SignedDuration::from_secs(number)),
            5 | 6 => Mishap::Twice,
            7 => Mishap::Skewed(SignedDuration::from_mins(number - 10)),
            _ => Mishap::Meddled(rng.any()),
        }
    }

    fn wake(&mut self, wake: &Wake, due: Timestamp) -> Result<(), String> {
        let mut rng = self.rng(match wake {
            Wake::Rotate(_) => "rotate",
            Wake::Copy(_) => "copy",
        });
        let mishap = self.mishap(&mut rng);
        if let Some(name) = mishap.name() {
            self.tally.note(name, 1);
        }
        match (mishap, wake) {
            (Mishap::Missed, _) => return Ok(()),
            (Mishap::Late, Wake::Rotate(event)) => {
                // Its scheduled time stays.
                self.pass_until(due + SignedDuration::from_mins(55));
                return self.run(&Wake::Rotate(event.clone()), Mishap::None, &mut rng).map(drop);
            }
            _ => {}
        }
        self.run(wake, mishap, &mut rng).map(drop)
    }

    /// Runs a function, once or twice at once, and has it judged. `None`: it died, or could not even begin.
    pub(super) fn run(
        &mut self,
        wake: &Wake,
        mishap: Mishap,
        rng: &mut Rng,
    ) -> Result<Option<Run>, String> {
        self.n_runs += 1;
        self.last_calls.clear();
        if let Wake::Rotate(RotateEvent { scheduled_time: Some(at), .. }) = wake {
            self.rotated = self.rotated.max(*at);
        }
        self.arm();
        let documents = self.read()?;
        let clock = self.sim.now();
        let skew = if let Mishap::Skewed(by) = mishap { by } else { SignedDuration::ZERO };
        let now = clock + skew;
        let vault = home(VAULT);
        let aws = match mishap {
            Mishap::Dies(calls) => self.sim.aws_dying_after(&vault, calls),
            _ => self.sim.aws(&vault),
        };
        let deadline = match mishap {
            Mishap::Hurried(by) => clock + by,
            _ => clock + DEADLINE,
        };
        let sim = self.sim.clone();
        let out_of_time = move || sim.now() >= deadline;
        let n = if mishap == Mishap::Twice { 2 } else { 1 };
        let mut running: Vec<Running<'_>> =
            (0..n).map(|_| running(&aws, copy_of(&documents), wake, now, &out_of_time)).collect();
        if let Mishap::Meddled(seed) = mishap {
            for disk in &mut self.disks {
                disk.is_changing = true;
            }
            running.push(stage::meddler(&self.sim, &self.disks, seed));
        }
        let ended = to_their_ends(running, rng.any());
        self.judge(now, &ended)?;
        if self.sim.now().duration_since(clock) > LONGEST {
            return Err("a run went on long after its deadline".into());
        }
        self.look_at_disks();
        self.after_run(ended)
    }

    fn arm(&mut self) {
        match &self.weather {
            None => self.sim.no_faults(),
            Some(weather) => self.sim.on_call(faults(weather, self.n_runs, self.seen.clone())),
        }
    }

    fn read(&mut self) -> Result<Documents, String> {
        if self.documents.is_none() {
            let raw = self.wishes.documents().into_iter().map(|document| Raw {
                default_name: "unnamed".into(),
                content: Content::Json(document),
            });
            let documents = Documents::read(raw.collect(), true);
            if let Some(invalid) = documents.invalid.first() {
                return Err(invalid.to_string());
            }
            self.documents = Some(documents);
        }
        Ok(self.documents.as_ref().map(copy_of).unwrap_or_default())
    }

    /// Whatever was deleted must have been free to go, and whatever was made is marked from its first moment.
    fn judge(
        &mut self,
        now: Timestamp,
        ended: &[Option<Result<Run, Ec2Error>>],
    ) -> Result<(), String> {
        let deletions = self.sim.take_deletions();
        let is_clear = self.weather.is_none() && !deletions.is_empty();
        let records = is_clear.then(|| self.sim.records());
        let court = Court {
            wishes: &self.wishes,
            now,
            disks: &self.disks,
            strange: &self.strange,
            seen: records.as_deref(),
        };
        for deletion in deletions {
            self.tally.deletions += 1;
            court
                .may_go(&deletion)
                .map_err(|why| format!("{why}; said of it: {}", said(ended, &deletion)))?;
        }
        let born = self.born();
        self.tally.snapshots += born.len();
        birth::are_right(&born, &self.wishes, ended.len())
    }

    /// What was made since this was last asked.
    pub(super) fn born(&mut self) -> Vec<Record> {
        let world = self.sim.world();
        let new = world.snapshots.iter().filter(|(id, _)| !self.known.contains(*id));
        let new: Vec<Record> = new.map(|(_, record)| record.clone()).collect();
        drop(world);
        self.known.extend(new.iter().map(|it| it.snapshot.id.clone()));
        new
    }

    fn after_run(
        &mut self,
        ended: Vec<Option<Result<Run, Ec2Error>>>,
    ) -> Result<Option<Run>, String> {
        self.tally.runs += 1;
        self.last_calls.extend(self.sim.take_journal());
        self.tally.calls += self.last_calls.len();
        let seen = self.seen.take();
        self.tally.survived(&seen);
        for share in self.sim.take_shares().into_iter().filter(|it| it.with.as_str() == VAULT) {
            let event = telling::shared(&share, &mut self.rng(share.snapshot.as_str()));
            self.send(&event);
        }
        let mut last = None;
        for run in ended.into_iter().flatten().flatten() {
            if let Some(violation) = run.violations.first() {
                return Err(format!("the planner and the auditor disagree: {violation}"));
            }
            last = Some(run);
        }
        Ok(last)
    }

    pub(super) fn look_at_disks(&mut self) {
        for disk in &mut self.disks {
            let tags = self.sim.volume_tags(&disk.id);
            disk.tags = tags.map(|tags| tags.keys().cloned().collect());
            disk.is_changing = false;
        }
    }

    pub(super) fn add_volume(&mut self, new: &super::story::NewVolume) {
        let scope = home(new.account);
        let tags: Vec<(&str, &str)> = new.tags.iter().map(|tag| (*tag, "yes")).collect();
        let id = self.sim.volume(&scope, &tags);
        self.sim.resize(&id, new.gib);
        self.sim.change_volume(&id, |it| {
            it.volume_type = new.volume_type.into();
            it.kms_key_id = match new.key {
                VolumeKey::None => None,
                VolumeKey::Customer => Some(member_key(new.account).into()),
                VolumeKey::Default => Some(super::places::default_key(new.account).into()),
            };
        });
        self.disks.push(Disk {
            id,
            scope,
            tags: Some(new.tags.iter().map(|it| (*it).to_owned()).collect()),
            has_default_key: new.key == VolumeKey::Default,
            is_changing: false,
        });
    }
}

impl Mishap {
    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Missed => "run missed",
            Self::Late => "run late",
            Self::Dies(_) => "killed between two calls",
            Self::Hurried(_) => "deadline in the middle",
            Self::Twice => "two invocations at once",
            Self::Skewed(_) => "clock skew",
            Self::Meddled(_) => "operator in the middle",
        })
    }
}

fn copy_of(documents: &Documents) -> Documents {
    let Documents { policies, invalid, whole } = documents;
    Documents { policies: policies.clone(), invalid: invalid.clone(), whole: *whole }
}

/// The reason that the report gives for a deletion.
fn said(ended: &[Option<Result<Run, Ec2Error>>], deletion: &Deletion) -> String {
    let runs = ended.iter().flatten().flatten();
    let mut lines = runs.flat_map(|run| &run.report.actions);
    let of_it = lines.find(|it| it.snapshot_id.as_ref() == Some(&deletion.record.snapshot.id));
    of_it.map_or_else(|| "nothing, as the run died".into(), |it| it.reason.clone())
}

fn to_their_ends(mut running: Vec<Running<'_>>, seed: u64) -> Vec<Option<Result<Run, Ec2Error>>> {
    match running.pop() {
        Some(run) if running.is_empty() => vec![drive(run)],
        last => interleave(seed, running.into_iter().chain(last).collect()),
    }
}

fn running<'a>(
    aws: &'a Aws,
    documents: Documents,
    wake: &'a Wake,
    now: Timestamp,
    out_of_time: &'a (dyn Fn() -> bool + Send + Sync),
) -> Running<'a> {
    Box::pin(async move {
        let pause = aws.pause();
        let limits = Limits {
            scopes: 4,
            actions: 4,
            deletions: Some(1000),
            out_of_time,
            time_left: &|| SignedDuration::MAX,
            pause: &pause,
        };
        match wake {
            Wake::Rotate(event) => reconcile::rotate(aws, documents, event, now, &limits).await,
            Wake::Copy(event) => reconcile::copy(aws, documents, event, now, &limits).await,
        }
    })
}

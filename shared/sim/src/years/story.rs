//! What a seed stands for: policies, volumes, and what happens to them for months.

use std::fmt;

use proptest::prelude::*;

use super::places::{MEMBER, OTHER};
use super::wishes::{Wishes, wishes};

/// A story. The same one always ends the same way.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// Decides what chance decides while it is played.
    pub(super) seed: u64,
    /// How often each function is woken, in minutes.
    pub(super) rotate_every: i64,
    pub(super) sweep_every: i64,
    pub(super) weather: Weather,
    pub(super) wishes: Wishes,
    pub(super) volumes: Vec<NewVolume>,
    /// What happens, and how many hours after what came before it.
    pub(super) events: Vec<(i64, Event)>,
}

/// A volume to be made.
#[derive(Clone, Debug)]
pub(super) struct NewVolume {
    pub(super) account: &'static str,
    /// The policies whose tag it has.
    pub(super) tags: Vec<&'static str>,
    pub(super) key: VolumeKey,
    pub(super) gib: u32,
    pub(super) volume_type: &'static str,
}

/// What a volume is encrypted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VolumeKey {
    None,
    Customer,
    Default,
}

/// The so-many-th of whatever there is then.
pub(super) type Which = u16;

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// How AWS behaves from now on.
    Weather(Weather),
    /// Everything works, for as long as it takes; then the world has to be right.
    Calm,
    /// An operator edits the policies.
    Edit(Box<Wishes>),
    NewVolume(NewVolume),
    DeleteVolume(Which),
    /// Takes a policy's tag off a volume, or puts it on.
    Tag(Which, &'static str, bool),
    /// Whether the account's role can be assumed.
    Role(&'static str, bool),
    /// Whether the vault can use the account's key.
    SourceKey(&'static str, bool),
    /// Whether the vault's own key in its n-th Region is enabled.
    VaultKey(u8, bool),
    /// A pending snapshot or copy ends in error.
    Fail(Which),
    UseByImage(Which),
    Lock(Which),
    /// Nothing hinders deleting any more.
    Free(Which),
    /// Somebody deletes a snapshot by hand.
    Remove(Which),
    /// Somebody takes our tag off.
    Disown(Which),
    Unshare(Which),
    /// As if two runs long ago had not seen each other.
    Double(Which),
}

/// How AWS behaves.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) seed: u64,
    /// Of a thousand calls, so many go wrong.
    pub(super) faults: u64,
    /// In which ways: bits of [`super::weather::KINDS`].
    pub(super) kinds: u32,
    /// Of a hundred runs, so many meet with a mishap.
    pub(super) mishaps: u64,
    /// Of a hundred EBS events, so many are lost, and as many come twice; all come late.
    pub(super) events: u64,
    /// Whether EC2's token buckets are a twentieth of what they are.
    pub(super) buckets: bool,
}

fn volume() -> impl Strategy<Value = NewVolume> {
    let key = prop_oneof![
        5 => Just(VolumeKey::None),
        3 => Just(VolumeKey::Customer),
        1 => Just(VolumeKey::Default),
    ];
    let tags = prop_oneof![
        4 => Just(vec!["a"]),
        2 => Just(vec!["a", "b"]),
        1 => Just(vec!["b"]),
        1 => Just(vec![]),
    ];
    let volume_type = prop_oneof![4 => Just("gp3"), 1 => Just("st1")];
    (account(), tags, key, 1_u32..64, volume_type).prop_map(
        |(account, tags, key, gib, volume_type)| NewVolume { account, tags, key, gib, volume_type },
    )
}

fn account() -> impl Strategy<Value = &'static str> {
    prop_oneof![2 => Just(MEMBER), 1 => Just(OTHER)]
}

fn weather() -> impl Strategy<Value = Weather> {
    let faults = prop_oneof![Just(0_u64), 1_u64..30, 30_u64..400];
    (any::<u64>(), faults, any::<u32>(), 0_u64..60, 0_u64..50, any::<bool>()).prop_map(
        |(seed, faults, kinds, mishaps, events, buckets)| Weather {
            seed,
            faults,
            kinds,
            mishaps,
            events,
            buckets,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let which = any::<Which>;
    let tag = prop_oneof![Just("a"), Just("b")];
    prop_oneof![
        8 => weather().prop_map(Event::Weather),
        1 => Just(Event::Calm),
        4 => wishes().prop_map(|it| Event::Edit(Box::new(it))),
        3 => volume().prop_map(Event::NewVolume),
        2 => which().prop_map(Event::DeleteVolume),
        3 => (which(), tag, any::<bool>()).prop_map(|(of, tag, on)| Event::Tag(of, tag, on)),
        2 => (account(), any::<bool>()).prop_map(|(of, works)| Event::Role(of, works)),
        2 => (account(), any::<bool>()).prop_map(|(of, works)| Event::SourceKey(of, works)),
        2 => (0_u8..2, any::<bool>()).prop_map(|(of, works)| Event::VaultKey(of, works)),
        4 => which().prop_map(Event::Fail),
        2 => which().prop_map(Event::UseByImage),
        2 => which().prop_map(Event::Lock),
        3 => which().prop_map(Event::Free),
        3 => which().prop_map(Event::Remove),
        1 => which().prop_map(Event::Disown),
        2 => which().prop_map(Event::Unshare),
        3 => which().prop_map(Event::Double),
    ]
}

/// Stories of about so many days.
pub(super) fn story(seed: u64, days: i64) -> impl Strategy<Value = Story> {
    let gap = prop_oneof![3 => 1_i64..6, 3 => 6_i64..30, 1 => 30_i64..120];
    let n = usize::try_from(days).unwrap_or(0);
    let events = proptest::collection::vec((gap, event()), n / 2..=n.max(1));
    let rotate = proptest::sample::select(vec![180_i64, 240, 240, 360, 480]);
    let sweep = proptest::sample::select(vec![180_i64, 360, 480, 720, 720]);
    let volumes = proptest::collection::vec(volume(), 1..5);
    (rotate, sweep, weather(), wishes(), volumes, events).prop_map(
        move |(rotate_every, sweep_every, weather, wishes, volumes, events)| Story {
            seed,
            rotate_every,
            sweep_every,
            weather,
            wishes,
            volumes,
            events,
        },
    )
}

impl Story {
    /// Without so many events. What comes after them happens when it did.
    pub(super) fn without(&self, from: usize, n: usize) -> Self {
        let mut story = self.clone();
        let gone = story.events.drain(from..story.events.len().min(from + n));
        let hours: i64 = gone.map(|(hours, _)| hours).sum();
        if let Some((gap, _)) = story.events.get_mut(from) {
            *gap += hours;
        }
        story
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rotate-snapshots every {} minutes, copy-shared-snapshots every {}",
            self.rotate_every, self.sweep_every
        )?;
        writeln!(f, "{:?}", self.weather)?;
        for document in self.wishes.documents() {
            writeln!(f, "{document}")?;
        }
        for volume in &self.volumes {
            writeln!(f, "{volume:?}")?;
        }
        for (hours, event) in &self.events {
            write!(f, "{hours} h later: ")?;
            match event {
                Event::Edit(wishes) => {
                    writeln!(f, "edited to")?;
                    for document in wishes.documents() {
                        writeln!(f, "    {document}")?;
                    }
                }
                other => writeln!(f, "{other:?}")?,
            }
        }
        Ok(())
    }
}

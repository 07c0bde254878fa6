//! Descriptions of snapshots, which whoever shares one writes.

use std::collections::BTreeSet;

use snapferry_core::description::{self, Described, MAX_CHARS};
use snapferry_core::ids::{AccountId, InstanceId, Region, SnapshotId, VolumeId};
use snapferry_core::tags::Claim;

use crate::{Verdict, check};

/// Reads a description, and writes others with what it says.
pub fn run(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let described = description::read(&text);
    check::same("a description", &described, &description::read(&text));
    let volume: VolumeId = "vol-0123456789abcdef0".parse().expect("an id");
    let claim = claim(&text, described.as_ref());
    copied(&text, described.as_ref());
    stood_in(&text, &claim, &volume);
    written(&claim, &text);
    if let Some(described) = &described {
        is_in(&text, described);
        fixed(&claim, described);
    }
    Verdict::of(described.is_some())
}

/// A claim with a policy and a schedule as they may be called.
fn claim(text: &str, described: Option<&Described>) -> Claim {
    let mut letters = text.chars().filter(|c| c.is_ascii_alphanumeric() || " _-".contains(*c));
    let policy: String = "p".chars().chain(letters.by_ref().take(63)).collect();
    let schedule: String = "s".chars().chain(letters.take(119)).collect();
    let epoch = "1970-01-01T00:00:00Z".parse().expect("a slot");
    let slot = described.map_or(epoch, |it| it.slot);
    Claim { policy, schedules: BTreeSet::from([schedule]), slot, instance: None }
}

fn printable(text: &str) {
    let is_printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    assert!(text.len() <= MAX_CHARS && is_printable, "EC2 would not take {text:?}");
}

fn is_in(text: &str, described: &Described) {
    assert!(text.contains(&described.slot.to_string()), "{described:?}");
    if let Some(volume) = &described.volume {
        assert!(text.contains(volume.as_str()), "{described:?}");
    }
    if let Some(name) = &described.name {
        printable(name);
        assert!(!name.is_empty() && name.trim() == name, "{name:?}");
    }
}

/// What was read, written again, reads the same, as far as there is room.
fn fixed(claim: &Claim, described: &Described) {
    let instance: InstanceId = "i-0123456789abcdef0".parse().expect("an id");
    let short = Claim {
        policy: "p".into(),
        schedules: BTreeSet::from(["s".to_owned()]),
        instance: described.volume.is_none().then_some(instance),
        ..claim.clone()
    };
    let write = |it: &Described| {
        let text = description::write(&short, it.volume.as_ref(), it.name.as_deref());
        printable(&text);
        description::read(&text).expect("what was written is not read")
    };
    let once = write(described);
    assert_eq!((once.slot, &once.volume), (described.slot, &described.volume));
    let whole = described.name.as_deref().unwrap_or_default();
    assert!(whole.starts_with(once.name.as_deref().unwrap_or_default()), "{once:?}");
    check::same("a description written twice", &write(&once), &once);
}

/// What the description of a copy tells is what its source's told.
fn copied(text: &str, described: Option<&Described>) {
    let source: SnapshotId = "snap-0123456789abcdef0".parse().expect("an id");
    let account: AccountId = "111111111111".parse().expect("an id");
    let region: Region = "eu-central-1".parse().expect("a Region");
    let copy = description::of_copy(&source, &account, &region, text);
    printable(&copy);
    let told = description::read(&copy);
    // What begins with it has its slot elsewhere, seen from behind a space.
    let is_whole = copy.len() < MAX_CHARS && !text.starts_with("slot: ");
    if is_whole && text.bytes().all(|b| (b' '..=b'~').contains(&b)) && described.is_some() {
        check::same("a copy's description", &told.as_ref(), &described);
    }
}

/// The description of a stand-in tells the volume, whatever its source's was.
fn stood_in(text: &str, claim: &Claim, volume: &VolumeId) {
    let text = description::of_stand_in(text, claim, volume);
    printable(&text);
    let told = description::read(&text).expect("a stand-in tells nothing");
    assert_eq!(told.volume.as_ref(), Some(volume));
}

/// Whatever the volume is called.
fn written(claim: &Claim, name: &str) {
    let volume: VolumeId = "vol-01234567".parse().expect("an id");
    let text = description::write(claim, Some(&volume), Some(name));
    printable(&text);
    if let Some(told) = description::read(&text) {
        assert_eq!((told.slot, told.volume), (claim.slot, Some(volume)), "{text}");
    }
}

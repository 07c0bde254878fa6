//! The snapshot's description: the only channel between accounts, because tags of a shared snapshot stay invisible
//! ([Tag your EC2 resources](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html)).
//!
//! DLM's wording comes first so that regular expressions written for DLM match. What a description says is used for
//! lineage and look-up only, never for retention, keys or targets: the source account writes it.

use std::fmt::Write;

use crate::ids::{AccountId, InstanceId, Region, SnapshotId, VolumeId};
use crate::schedule::Slot;
use crate::tags::Claim;

/// EC2's limit, in characters.
pub const MAX_CHARS: usize = 255;

/// What a description of ours tells about its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The slot it serves.
    pub slot: Slot,
    /// The volume it was made of; `None` where one text stands for a set of snapshots.
    pub volume: Option<VolumeId>,
    /// The `Name` tag of the volume, or of a set's instance: printable ASCII, and what fits into a description.
    pub name: Option<String>,
}

/// `Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z volume: vol-0123… name: web-1`.
/// `name` is the volume's `Name` tag; what would be over the limit is cut from the end. The snapshots of a set have one
/// description, with `instance: i-…` and the instance's name.
#[must_use]
pub fn write(claim: &Claim, volume: Option<&VolumeId>, name: Option<&str>) -> String {
    let mut text = format!(
        "Created for policy: {} schedule: {} slot: {}",
        claim.policy,
        claim.schedule_text(),
        claim.slot
    );
    if let Some(volume) = volume {
        let _ = write!(text, " volume: {volume}"); // a String takes it
    }
    if let Some(instance) = &claim.instance {
        let _ = write!(text, " instance: {instance}");
    }
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        text.push_str(" name: ");
        text.push_str(name);
    }
    printable(&text)
}

/// The description of a stand-in: that of what it stands in for, from which the vault reads policy, slot and volume. The
/// volume of a copy being a placeholder, it has to be in there, also where the snapshot is of a set, or where long
/// names leave no room for it: then the schedule's is cut.
#[must_use]
pub fn of_stand_in(description: &str, claim: &Claim, volume: &VolumeId) -> String {
    let of_set = " instance: i-";
    let with_volume = description.replacen(of_set, &format!(" volume: {volume}{of_set}"), 1);
    for text in [printable(description), printable(&with_volume)] {
        if read(&text).is_some_and(|told| told.volume.as_ref() == Some(volume)) {
            return text;
        }
    }
    let before = format!("Created for policy: {} schedule: ", claim.policy);
    let after = format!(" slot: {} volume: {volume}", claim.slot);
    // One character less than the limit: at the limit it would look cut.
    let room = MAX_CHARS.saturating_sub(1 + before.chars().count() + after.chars().count());
    let schedule: String = claim.schedule_text().chars().take(room).collect();
    printable(&format!("{before}{schedule}{after}"))
}

/// Reads what [`write()`] wrote. `None` for anything else, which any snapshot of another tool is.
#[must_use]
pub fn read(description: &str) -> Option<Described> {
    let (_, rest) = description.split_once(" slot: ")?;
    let (slot, rest) = rest.split_once(' ')?;
    let mut parts = rest.splitn(3, ' ');
    let volume = match (parts.next()?, parts.next()?) {
        ("volume:", volume) => Some(volume.parse().ok()?),
        ("instance:", instance) => {
            instance.parse::<InstanceId>().ok()?;
            None
        }
        _ => return None,
    };
    let rest = parts.next();
    if rest.is_none() && description.chars().count() >= MAX_CHARS {
        return None; // cut, perhaps within the id: what is left of a long one may look like a short one
    }
    let name = rest.and_then(|rest| rest.strip_prefix("name: "));
    let name = name.map(|name| printable(name).trim().to_owned()).filter(|name| !name.is_empty());
    Some(Described { slot: slot.parse().ok()?, volume, name })
}

/// The description of a copy: where it comes from, then what the source said of itself.
#[must_use]
pub fn of_copy(
    source: &SnapshotId,
    account: &AccountId,
    region: &Region,
    description: &str,
) -> String {
    printable(&format!("Copied {source} of {account} from {region}. {description}"))
}

/// ASCII without control characters, cut to EC2's limit: the text may come from another account.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' '..='~' => c,
            c if c.is_control() => ' ',
            _ => '?',
        })
        .take(MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn claim(policy: String, schedule: String) -> Claim {
        Claim {
            policy,
            schedules: BTreeSet::from([schedule]),
            slot: "2026-11-22T02:00:00Z".parse().unwrap(),
            instance: None,
        }
    }

    #[test]
    fn it_reads_as_dlm_writes() {
        let volume = "vol-0123456789abcdef0".parse().unwrap();
        assert_eq!(
            write(&claim("daily".into(), "nightly".into()), Some(&volume), Some("web-1")),
            "Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z \
             volume: vol-0123456789abcdef0 name: web-1"
        );
        let set = Claim {
            instance: Some("i-0123456789abcdef0".parse().unwrap()),
            ..claim("daily".into(), "nightly".into())
        };
        let text = write(&set, None, Some("web"));
        assert_eq!(
            text,
            "Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z \
             instance: i-0123456789abcdef0 name: web"
        );
        let name = Some("web".to_owned());
        assert_eq!(read(&text), Some(Described { slot: set.slot, volume: None, name }));
    }

    #[test]
    fn a_cut_volume_is_not_taken_for_another() {
        let volume: VolumeId = "vol-0123456789abcdef0".parse().unwrap();
        for n in 100..230 {
            let text = write(&claim("p".into(), "s".repeat(n)), Some(&volume), None);
            let read = read(&text);
            assert!(read.is_none_or(|it| it.volume == Some(volume.clone())), "{text}");
        }
    }

    #[test]
    fn the_name_is_what_stands_behind_the_volume() {
        let name = |rest: &str| {
            let slot =
                "Copied snap-1 of x. Created for policy: p schedule: s slot: 2026-11-22T02:00:00Z ";
            read(&format!("{slot}{rest}")).unwrap().name
        };
        assert_eq!(name("volume: vol-01234567 name: web 1 name: x").unwrap(), "web 1 name: x");
        assert_eq!(name("volume: vol-01234567 name: a\u{7}\u{e9}b ").unwrap(), "a ?b");
        for rest in ["", " ", " name:", " name: ", " name:  ", " alias: web", " names: web"] {
            assert_eq!(name(&format!("volume: vol-01234567{rest}")), None, "{rest:?}");
        }
        assert_eq!(
            name(&format!("volume: vol-01234567 name: {}", "x".repeat(999))).unwrap().len(),
            MAX_CHARS
        );
    }

    proptest! {
        #[test]
        fn it_survives_the_round_trip(
            policy in "[A-Za-z0-9 _.-]{1,64}",
            schedule in "[0-9A-Za-z _-]{1,60}",
            name in proptest::option::of(any::<String>()),
        ) {
            let volume: VolumeId = "vol-0123456789abcdef0".parse().unwrap();
            let text = write(&claim(policy, schedule), Some(&volume), name.as_deref());
            prop_assert!(text.chars().count() <= MAX_CHARS);
            let slot = "2026-11-22T02:00:00Z".parse().unwrap();
            let described = read(&text).unwrap();
            prop_assert_eq!((described.slot, described.volume), (slot, Some(volume)));
            let told = printable(name.as_deref().unwrap_or_default());
            let cut = described.name.unwrap_or_default();
            prop_assert!(told.trim().starts_with(&cut), "{told:?} {cut:?}");
            prop_assert!(told.trim() == cut || text.len() == MAX_CHARS, "{told:?} {cut:?}");
        }

        #[test]
        fn a_stand_in_tells_the_volume_whatever_its_source_told(
            policy in "[A-Za-z0-9 _.-]{1,64}",
            schedule in "[0-9A-Za-z _-]{1,200}",
            name in proptest::option::of("[ -~]{0,300}"),
            is_set in any::<bool>(),
            hostile in proptest::option::of("[ -~]{0,255}"),
        ) {
            let volume: VolumeId = "vol-0123456789abcdef0".parse().unwrap();
            let instance = is_set.then(|| "i-0123456789abcdef0".parse().unwrap());
            let claim = Claim { instance, ..claim(policy, schedule) };
            let written = write(&claim, (!is_set).then_some(&volume), name.as_deref());
            // What is cut may still read as an id of eight digits.
            let told = read(&written).map(|told| told.volume);
            let is_whole = told == Some((!is_set).then(|| volume.clone()));
            let source = hostile.unwrap_or_else(|| written.clone());
            let text = of_stand_in(&source, &claim, &volume);
            prop_assert!(text.len() <= MAX_CHARS);
            let told = read(&text).unwrap();
            prop_assert_eq!(told.volume.as_ref(), Some(&volume));
            if source == written {
                prop_assert_eq!(told.slot, claim.slot);
            }
            if source == written && is_whole && !is_set {
                prop_assert_eq!(text, source);
            } else if source == written && is_whole && written.len() < 200 {
                let volume = " volume: vol-0123456789abcdef0 instance: i-";
                prop_assert_eq!(text, source.replacen(" instance: i-", volume, 1));
            }
        }

        #[test]
        fn a_hostile_description_neither_panics_nor_grows(text in any::<String>()) {
            let _ = read(&text);
            let copy = of_copy(
                &"snap-01234567".parse().unwrap(),
                &"111111111111".parse().unwrap(),
                &"eu-central-1".parse().unwrap(),
                &text,
            );
            prop_assert!(copy.len() <= MAX_CHARS && copy.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
    }
}

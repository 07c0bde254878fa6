//! Tags of snapshots and volumes: whoever may call `CreateTags` writes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snapferry_core::tags::{
    self, Claim, CopyClaim, EXPIRES_AT, INSTANCE, Lineage, POLICY, Pool, RULE, SCHEDULE, SLOT,
    SOURCE_ACCOUNT, SOURCE_REGION, SOURCE_SNAPSHOT, SOURCE_VOLUME, Tags,
};

use crate::{Verdict, check};

/// Between tags: a record separator, which neither a key nor a value of EC2's can have.
pub const SEPARATOR: char = '\u{1e}';

/// Reads tags in every way in which they are read. An input is `key=value`, separated by [`SEPARATOR`].
pub fn run(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let pairs: Vec<(String, String)> = text
        .split(SEPARATOR)
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
    let tags: Tags = pairs.iter().cloned().collect();
    assert!(tags.iter().eq(map.iter()), "{tags:?} are not {map:?}");
    let mut pool = Pool::new();
    check::same("tags of a pool", &pool.tags(pairs), &tags);
    check::same("shared tags", &pool.share(&tags), &tags);
    let (claim, copy) = (Claim::read(&tags), CopyClaim::read(&tags));
    assert!(claim.is_none() || copy.is_none(), "a snapshot and a copy: {tags:?}");
    if let Some(claim) = &claim {
        claim_holds(&tags, claim);
    }
    if let Some(claim) = &copy {
        copy_holds(&tags, claim);
    }
    others_hold(&tags);
    Verdict::of(claim.is_some() || copy.is_some())
}

/// Whether it is a time as a tag has it.
#[must_use]
pub fn is_instant(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok_and(|at| at.to_string() == text && at.subsec_nanosecond() == 0)
}

/// Without any one of these a snapshot is nobody's.
fn needs(tags: &Tags, keys: &[&str], is_claim: impl Fn(&Tags) -> bool) {
    for key in keys {
        let mut fewer = tags.clone();
        assert!(fewer.remove(key).is_some(), "{key} is not there: {tags:?}");
        assert!(!is_claim(&fewer), "complete without {key}: {tags:?}");
    }
}

fn claim_holds(tags: &Tags, claim: &Claim) {
    let written = claim.write();
    check::same("a claim", &Claim::read(&written).as_ref(), &Some(claim));
    assert_eq!(CopyClaim::read(&written), None, "it reads as a copy");
    for key in [POLICY, SLOT, INSTANCE] {
        check::same(key, &written.get(key), &tags.get(key));
    }
    needs(tags, &[POLICY, SCHEDULE, SLOT], |fewer| Claim::read(fewer).is_some());
    assert!(is_instant(&tags[SLOT]), "{tags:?}");
    assert!(!claim.policy.is_empty() && !claim.schedules.contains(""), "{claim:?}");
    let mut copied = tags.clone();
    copied.insert(SOURCE_SNAPSHOT.into(), String::new());
    assert_eq!(Claim::read(&copied), None, "a copy");
}

fn copy_holds(tags: &Tags, claim: &CopyClaim) {
    let written = claim.write();
    check::same("a copy's claim", &CopyClaim::read(&written).as_ref(), &Some(claim));
    assert_eq!(Claim::read(&written), None, "it reads as no copy");
    let keys = [POLICY, RULE, SOURCE_SNAPSHOT, SOURCE_ACCOUNT, SOURCE_REGION, SOURCE_VOLUME];
    needs(tags, &keys, |fewer| CopyClaim::read(fewer).is_some());
    for (key, value) in &written {
        assert!(key == SCHEDULE || tags.get(key) == Some(value), "{key} {value}: {tags:?}");
    }
    match claim.lineage() {
        Lineage::Volume(volume) => assert!(!claim.volume_described && !volume.is_placeholder()),
        Lineage::Described(volume) => assert!(claim.volume_described && !volume.is_placeholder()),
        Lineage::Alone(source) => assert_eq!(source, claim.source_snapshot),
    }
}

fn others_hold(tags: &Tags) {
    match tags::expires_at(tags) {
        Some(at) => assert_eq!(tags.get(EXPIRES_AT), Some(&tags::instant(at))),
        None => assert!(tags.get(EXPIRES_AT).is_none_or(|text| !is_instant(text))),
    }
    check::same("the size of a set", &tags::set_size(tags), &tags::set_size(&tags.clone()));
    for room in [0, 1, 3, tags::MAX_TAGS] {
        let copyable = tags::copyable(tags, room);
        assert!(copyable.len() <= room, "{room}: {copyable:?}");
        for (key, value) in &copyable {
            let lower = key.to_lowercase();
            let is_ours = lower.starts_with("aws:") || lower.starts_with("snapferry:");
            assert!(!is_ours && key != tags::DLM_MANAGED, "{key} is copied");
            assert_eq!(tags.get(key), Some(value));
        }
    }
    let managed = ["aws:backup:", "aws:dlm:"];
    let is_managed =
        tags.keys().any(|key| managed.iter().any(|it| key.starts_with(it)) || key == "dlm:managed");
    assert!(!is_managed || tags::foreign_manager(tags).is_some(), "{tags:?}");
}

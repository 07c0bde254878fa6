//! Whether a copy that was a full one should have been incremental.
//!
//! EC2 copies into another account or Region incrementally where the volume was copied there before, the most recent
//! copy is still there and not archived, and all copies there are under one key, or none is encrypted
//! ([Copy a snapshot](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html)).

use super::by_age;
use crate::action::Subject;
use crate::inventory::{Snapshot, State};
use crate::tags::{CopyClaim, Lineage};

/// What `copy` is, and the most recent of the copies `of_volume` before it, where by EC2's conditions that was there to
/// build on. `None`: a full copy was due; or it is no copy of ours; or nobody can tell.
#[must_use]
pub fn judge<'a>(copy: &Snapshot, of_volume: &'a [Snapshot]) -> Option<(Subject, &'a Snapshot)> {
    let claim = CopyClaim::read(&copy.tags).filter(|claim| !claim.stands_in())?;
    if let Lineage::Alone(_) = claim.lineage() {
        return None; // nobody knows of which volume it is
    }
    // By whatever rule. What is in error has no data, and what is pending was no base.
    let is_earlier = |it: &&Snapshot| {
        it.state == State::Completed
            && (it.start_time, &it.id) < (copy.start_time, &copy.id)
            && CopyClaim::read(&it.tags).is_some_and(|of| {
                of.source_account == claim.source_account
                    && of.lineage() == claim.lineage()
                    && !of.stands_in()
            })
    };
    let earlier = by_age(of_volume.iter().filter(is_earlier));
    let one_key = earlier.iter().all(|it| it.kms_key_id == copy.kms_key_id);
    let base = earlier.last().copied().filter(|latest| one_key && !latest.archived)?;
    let subject = Subject {
        policy: claim.policy,
        schedule: claim.rule,
        slot: claim.slot,
        volume: Some(claim.source_volume),
        instance: None,
        snapshot: Some(copy.id.clone()),
        source: Some(claim.source_snapshot),
    };
    Some((subject, base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags;
    use crate::testing::{VAULT, copy_of, id, map, snap, vol};

    /// The base of a copy begun an hour ago, with what was made before and after it.
    fn base(change: impl FnOnce(&mut Snapshot, &mut Vec<Snapshot>)) -> Option<u32> {
        let mut copy = copy_of(9, 9, 1);
        let mut others = vec![copy_of(7, 7, 49), copy_of(8, 8, 25)];
        change(&mut copy, &mut others);
        others.push(copy.clone());
        let found = judge(&copy, &others).map(|(subject, base)| {
            assert_eq!((subject.policy.as_str(), subject.snapshot), ("v", Some(snap(9))));
            assert_eq!((subject.source, subject.volume), (Some(snap(9)), Some(vol(1))));
            base.id.clone()
        });
        found.map(|found| (1..=9).find(|n| snap(*n) == found).unwrap())
    }

    fn tag(snapshot: &mut Snapshot, key: &str, value: &str) {
        snapshot.tags.extend(map(&[(key, value)]));
    }

    #[test]
    fn the_most_recent_copy_before_is_what_to_build_on() {
        assert_eq!(base(|_, _| {}), Some(8));
        assert_eq!(base(|_, others| others.push(copy_of(6, 6, 0))), Some(8), "younger");
        // Whatever rule or function made it.
        assert_eq!(base(|_, others| tag(&mut others[1], tags::RULE, "eu-central-1/2")), Some(8));
        assert_eq!(base(|_, others| tag(&mut others[1], tags::POLICY, "w")), Some(8));
        assert_eq!(base(|_, others| tag(&mut others[1], tags::SCHEDULE, "s")), Some(8));
        let key = |it: &mut Snapshot| it.kms_key_id = Some("k".into());
        let all = |copy: &mut Snapshot, others: &mut Vec<Snapshot>| {
            key(copy);
            others.iter_mut().for_each(key);
        };
        assert_eq!(base(all), Some(8), "all under one key");
        // Of no account but the vault's.
        assert_eq!(copy_of(9, 9, 1).owner, id(VAULT));
    }

    #[test]
    fn what_is_no_base_is_passed_over() {
        for state in [State::Pending, State::Error, State::Other] {
            assert_eq!(base(|_, others| others[1].state = state), Some(7), "{state}");
        }
        assert_eq!(
            base(|_, others| tag(&mut others[1], tags::SOURCE_VOLUME, "vol-01234567")),
            Some(7)
        );
        assert_eq!(base(|_, others| tag(&mut others[1], tags::SOURCE_ACCOUNT, VAULT)), Some(7));
        assert_eq!(base(|_, others| drop(others[1].tags.remove(tags::RULE))), Some(7), "disowned");
        let stands_in = |it: &mut Snapshot| tag(it, tags::RULE, tags::RESCUE);
        assert_eq!(base(|_, others| stands_in(&mut others[1])), Some(7), "it stands in for one");
        assert_eq!(base(|copy, _| stands_in(copy)), None, "what stands in is always a full copy");
        let told = |it: &mut Snapshot| tag(it, tags::SOURCE_VOLUME_BY, "description");
        assert_eq!(base(|_, others| told(&mut others[1])), Some(7), "its owner says so");
    }

    #[test]
    fn where_a_full_copy_is_due_there_is_none() {
        assert_eq!(base(|_, others| others.clear()), None, "the first");
        assert_eq!(
            base(|_, others| others[1].archived = true),
            None,
            "the most recent is archived"
        );
        assert_eq!(
            base(|_, others| others[0].archived = true),
            Some(8),
            "an older one is no matter"
        );
        let key = |it: &mut Snapshot| it.kms_key_id = Some("k".into());
        assert_eq!(base(|copy, _| key(copy)), None, "the key has changed");
        assert_eq!(
            base(|_, others| key(&mut others[1])),
            None,
            "the most recent is under another key"
        );
        assert_eq!(base(|_, others| key(&mut others[0])), None, "not all are under one key");
        let placeholder = "vol-ffffffff";
        let unknown = |copy: &mut Snapshot, others: &mut Vec<Snapshot>| {
            tag(copy, tags::SOURCE_VOLUME, placeholder);
            for it in others {
                tag(it, tags::SOURCE_VOLUME, placeholder);
            }
        };
        assert_eq!(base(unknown), None, "nobody knows of which volumes");
        assert_eq!(base(|copy, _| drop(copy.tags.remove(tags::POLICY))), None, "no copy of ours");
    }
}

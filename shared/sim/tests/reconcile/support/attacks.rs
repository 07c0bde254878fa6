//! Two owners of whom one has fallen into the wrong hands.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use snapferry_core::ids::{Scope, SnapshotId};
use snapferry_sim::{Record, Sim, id};

use super::vaults::{Copied, assert_quiet, copies, rule, shared, vault_policy, volume};
use super::{HOME, MEMBER, OTHER, days, hours, scope, sim, sweep};

pub(crate) const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

pub(crate) fn honest() -> Scope {
    scope(MEMBER, HOME)
}

/// The account that has fallen into the wrong hands.
pub(crate) fn hostile() -> Scope {
    scope(OTHER, HOME)
}

pub(crate) fn policy(retain: &Value) -> Value {
    vault_policy(&[MEMBER, OTHER], &REGIONS.map(|region| rule(region, retain)))
}

/// Both owners have shared two volumes nightly, and all is copied.
pub(crate) fn world(retain: &Value, nights: usize) -> Sim {
    let sim = sim();
    for _ in 0..nights {
        for owner in [honest(), hostile()] {
            for of in 0..2 {
                shared(&sim, &owner, &volume(of), |_| {});
            }
        }
        assert_quiet(&sweep(&sim, &[policy(retain)]), "");
        sim.advance(days(1));
    }
    assert_quiet(&sweep(&sim, &[policy(retain)]), "");
    drop(sim.take_deletions());
    drop(sim.take_journal());
    sim
}

/// The copies of what this account owned: Region, source volume and source, with what EC2 and we have to say.
pub(crate) fn of_owner(sim: &Sim, owner: &Scope) -> BTreeMap<SnapshotId, Record> {
    let of_it = |it: &Copied| it.claim.source_account == owner.account;
    let copies = copies(sim).into_iter().filter(of_it);
    copies.map(|it| (it.record.snapshot.id.clone(), it.record)).collect()
}

pub(crate) fn ids(copies: &BTreeMap<SnapshotId, Record>) -> BTreeSet<SnapshotId> {
    copies.keys().cloned().collect()
}

/// Sweeps, six hours apart.
pub(crate) fn live(sim: &Sim, policy: &Value, n_days: i64) {
    for _ in 0..n_days * 4 {
        assert_quiet(&sweep(sim, std::slice::from_ref(policy)), "");
        sim.advance(hours(6));
    }
}

/// A snapshot as the hostile owner can have them: of a volume, or itself a copy, whose volume EC2 does not tell.
pub(crate) fn hostile_share(sim: &Sim, text: &str, is_copy: bool) -> SnapshotId {
    let of = if is_copy { id("vol-ffffffff") } else { volume(1) };
    shared(sim, &hostile(), &of, |it| text.clone_into(&mut it.snapshot.description))
}

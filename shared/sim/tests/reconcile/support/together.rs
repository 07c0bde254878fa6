//! Both functions, one after the other.

use serde_json::Value;
use snapferry_core::run::Run;
use snapferry_sim::Sim;

use super::storm::assert_safe;
use super::{failure, minutes, mutations, rotate, sweep};

/// Nothing failed, and nothing was withheld.
pub(crate) fn quiet(run: &Run) {
    assert_eq!(failure(run), "");
    assert_eq!((run.n_withheld, run.violations.len()), (0, 0));
}

/// The member's, then the vault's.
pub(crate) fn both(sim: &Sim, documents: &[Value]) {
    quiet(&rotate(sim, documents));
    quiet(&sweep(sim, documents));
    assert_safe(sim);
}

/// Both until nothing more is done.
pub(crate) fn live(sim: &Sim, documents: &[Value]) {
    for _ in 0..10 {
        both(sim, documents);
        sim.advance(minutes(25));
    }
    drop(sim.take_journal());
    both(sim, documents);
    assert_eq!(mutations(sim), Vec::<String>::new());
}

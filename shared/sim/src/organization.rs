//! AWS Organizations: which accounts and units are in a unit.

use std::collections::BTreeSet;

use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::{AccountId, UnitId};

use crate::calls::{Refusal, refuse};
use crate::world::{Sim, World};

/// An organizational unit, or the root.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// Directly in it.
    pub accounts: BTreeSet<AccountId>,
    /// Directly below it.
    pub units: BTreeSet<UnitId>,
}

impl World {
    pub(crate) fn unit(&self, unit: &UnitId) -> Result<&Unit, Refusal> {
        let what = "You specified parent that doesn't exist.";
        let unknown = || refuse(ErrorKind::NotFound, "ParentNotFoundException", what);
        self.organization.get(unit).map_or_else(unknown, Ok)
    }
}

impl Sim {
    /// Makes an organizational unit, or changes it.
    pub fn organize(&self, unit: &UnitId, change: impl FnOnce(&mut Unit)) {
        change(self.world().organization.entry(unit.clone()).or_default());
    }
}

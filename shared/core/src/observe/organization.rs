//! Which accounts organizational units have.

use std::collections::{BTreeMap, BTreeSet};

use crate::ec2::{Ec2Error, Ec2Provider};
use crate::ids::{AccountId, UnitId};

/// The accounts of organizational units.
#[derive(Debug, Default)]
pub struct Members {
    /// Of each unit that was asked for: all active accounts in it and in the units below it, as far as they were read.
    pub accounts: BTreeMap<UnitId, BTreeSet<AccountId>>,
    /// Of a unit that was asked for, what could not be read of it or of a unit below it.
    pub unreadable: Vec<UnreadableUnit>,
}

/// What was not read, and why.
#[derive(Debug)]
pub struct UnreadableUnit {
    /// The unit that was asked for.
    pub unit: UnitId,
    /// What AWS said.
    pub error: Ec2Error,
}

impl Members {
    /// The accounts of these units, each once.
    pub fn of<'a>(
        &'a self,
        units: impl IntoIterator<Item = &'a UnitId>,
    ) -> impl Iterator<Item = &'a AccountId> {
        let units = units.into_iter();
        let accounts = units.filter_map(|unit| self.accounts.get(unit)).flatten();
        accounts.collect::<BTreeSet<_>>().into_iter()
    }

    /// Whether everything was read of all of these units.
    pub fn is_whole<'a>(&self, units: impl IntoIterator<Item = &'a UnitId>) -> bool {
        units.into_iter().all(|unit| self.unreadable.iter().all(|it| it.unit != *unit))
    }
}

/// Reads units, and the units below them: every one once, two calls per page each.
pub async fn organization<P: Ec2Provider>(provider: &P, wanted: BTreeSet<UnitId>) -> Members {
    let mut members = Members::default();
    let mut read: BTreeMap<UnitId, (BTreeSet<AccountId>, BTreeSet<UnitId>)> = BTreeMap::new();
    for top in wanted {
        let mut accounts = BTreeSet::new();
        let mut left = vec![top.clone()];
        let mut seen = BTreeSet::new();
        while let Some(unit) = left.pop() {
            if !seen.insert(unit.clone()) {
                continue;
            }
            if !read.contains_key(&unit) {
                match one(provider, &unit).await {
                    Ok(found) => drop(read.insert(unit.clone(), found)),
                    Err(error) => {
                        members.unreadable.push(UnreadableUnit { unit: top.clone(), error });
                    }
                }
            }
            if let Some((inside, below)) = read.get(&unit) {
                accounts.extend(inside.iter().cloned());
                left.extend(below.iter().cloned());
            }
        }
        members.accounts.insert(top, accounts);
    }
    members
}

async fn one<P: Ec2Provider>(
    provider: &P,
    unit: &UnitId,
) -> Result<(BTreeSet<AccountId>, BTreeSet<UnitId>), Ec2Error> {
    Ok((provider.accounts_in(unit).await?, provider.units_in(unit).await?))
}

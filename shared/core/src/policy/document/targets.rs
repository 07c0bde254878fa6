//! Accounts and Regions of a snapshot policy: `Targets`, or DLM's `ExecutionRoleArn`.

use std::collections::BTreeSet;

use super::parts;
use super::reader::{Node, Object};
use crate::ids::{AccountId, EveryRoleArn, Region, RoleArn, UnitId};
use crate::policy::{Target, UnitTarget};

/// `ExecutionRoleArn` is one target in the function's Region.
pub(super) fn read(object: &mut Object<'_>) -> Option<(Vec<Target>, Vec<UnitTarget>)> {
    let role = object.optional("ExecutionRoleArn", |node| node.id());
    let mut seen = Seen::default();
    let (mut accounts, mut units) = (Vec::new(), Vec::new());
    let targets = object.optional("Targets", |node| {
        node.list(1000, "targets", |node| {
            node.members(|target| {
                match one(target, &mut seen)? {
                    Either::Account(target) => accounts.push(target),
                    Either::Units(target) => units.push(target),
                }
                Some(())
            })?
        })
    });
    match (role?, targets?) {
        (None, _) => Some((accounts, units)),
        (Some(role_arn), None) => {
            Some((vec![Target { role_arn, external_id: None, regions: Vec::new() }], Vec::new()))
        }
        (Some(_), Some(_)) => {
            let node = object.get("ExecutionRoleArn")?;
            node.fail("want either ExecutionRoleArn or Targets, found both")
        }
    }
}

enum Either {
    Account(Target),
    Units(UnitTarget),
}

/// The accounts, units and Regions of the targets before; no Region stands for the function's own.
#[derive(Default)]
struct Seen {
    accounts: BTreeSet<(AccountId, Option<Region>)>,
    units: BTreeSet<(UnitId, Option<Region>)>,
}

fn one(object: &mut Object<'_>, seen: &mut Seen) -> Option<Either> {
    let units = object.optional("OrganizationalUnits", |node| {
        node.list(100, "organizational units", |node| node.id::<UnitId>())
    });
    let exclude = object
        .optional("ExcludeAccounts", |node| node.list(1000, "accounts", |node| node.account()));
    let external_id = object.optional("ExternalId", |node| parts::external_id(&node));
    match units {
        Some(None) => {
            if exclude.is_some_and(|it| it.is_some()) {
                let node = object.get("ExcludeAccounts")?;
                node.fail::<()>("want it only beside OrganizationalUnits, found it without");
            }
            let role = object.required("RoleArn", "the role to assume").and_then(|it| it.id());
            let account = role.as_ref().map(RoleArn::account);
            let name = |account: &AccountId| format!("account {account}");
            let regions = regions(object, account.as_slice(), name, &mut seen.accounts)?;
            Some(Either::Account(Target { role_arn: role?, external_id: external_id?, regions }))
        }
        units => {
            let role = object.required("RoleArn", "the role to assume in each account");
            let role = role.and_then(|node| node.id::<EveryRoleArn>());
            let units = units.flatten();
            let name = |unit: &UnitId| format!("unit {unit}");
            let of_units = units.as_deref().unwrap_or_default();
            let regions = regions(object, of_units, name, &mut seen.units)?;
            Some(Either::Units(UnitTarget {
                units: units?.into_iter().collect(),
                exclude_accounts: exclude?.unwrap_or_default().into_iter().collect(),
                role_arn: role?,
                external_id: external_id?,
                regions,
            }))
        }
    }
}

/// `Regions`, each of them once for each of `whose` in all targets.
fn regions<T: Clone + Ord>(
    object: &mut Object<'_>,
    whose: &[T],
    name: impl Fn(&T) -> String,
    seen: &mut BTreeSet<(T, Option<Region>)>,
) -> Option<Vec<Region>> {
    let mut again = |region: Option<&Region>| {
        let mut again = whose.iter().filter(|it| !seen.insert(((*it).clone(), region.cloned())));
        let first = again.next().map(&name);
        again.for_each(drop);
        first
    };
    let regions = object.optional("Regions", |node| {
        node.list(100, "Regions", |node: Node<'_>| {
            let region: Region = node.id()?;
            match again(Some(&region)) {
                Some(whose) => node.want(format_args!("each Region of {whose} once")),
                None => Some(region),
            }
        })
    })?;
    if regions.is_none()
        && let Some(whose) = again(None)
    {
        object.node().fail::<()>(format_args!(
            "want {whose} once in the function's own Region, found it in two targets"
        ));
    }
    Some(regions.unwrap_or_default())
}

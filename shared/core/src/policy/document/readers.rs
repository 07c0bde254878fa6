//! `Targets` of an `EVENT_BASED_POLICY`: the roles by which the vault reads the tags of what is shared with it.

use std::collections::BTreeSet;

use super::parts;
use super::reader::{Node, Object};
use crate::ids::{AccountId, Region, RoleArn};
use crate::policy::{CopyPolicy, Target};

/// DLM asks for `ExecutionRoleArn` in every policy. It is the role of the DLM policy, in the vault's own account, so
/// that it may stand beside `Targets`, and has no effect.
pub(super) fn read(object: &mut Object<'_>) -> Option<Vec<Target>> {
    let role = object.optional("ExecutionRoleArn", |node| node.id::<RoleArn>());
    let targets = object.optional("Targets", |node| {
        let mut seen = BTreeSet::new();
        node.list(50, "targets (one for each SnapshotOwner)", |node| {
            node.members(|target| one(target, &mut seen))?
        })
    });
    role?;
    Some(targets?.unwrap_or_default())
}

/// `seen` has the accounts of the targets before.
fn one(object: &mut Object<'_>, seen: &mut BTreeSet<AccountId>) -> Option<Target> {
    for member in ["OrganizationalUnits", "ExcludeAccounts"] {
        if let Some(node) = object.get(member) {
            node.fail::<()>("want one target for each SnapshotOwner in an event-based policy");
        }
    }
    let role =
        object.required("RoleArn", "the role to assume").and_then(|node| node.id::<RoleArn>());
    let external_id = object.optional("ExternalId", |node| parts::external_id(&node));
    let regions = object.optional("Regions", |node| {
        let mut seen = BTreeSet::new();
        node.list(100, "Regions", |node| {
            let region: Region = node.id()?;
            if seen.insert(region.clone()) { Some(region) } else { node.want("each Region once") }
        })
    });
    if let Some(account) = role.as_ref().map(RoleArn::account)
        && !seen.insert(account.clone())
    {
        return object.node().fail(format_args!(
            "want one role of account {account}, which reads the tags of all its snapshots, found it in two targets"
        ));
    }
    Some(Target {
        role_arn: role?,
        external_id: external_id?,
        regions: regions?.unwrap_or_default(),
    })
}

/// Nobody else's snapshots are copied, so nobody else's tags are read. `targets` is what was read of `node`.
pub(super) fn of_owners(node: &Node<'_>, targets: &[Target], details: &CopyPolicy) -> Option<()> {
    let mut all = Some(());
    for (element, target) in node.elements().iter().zip(targets) {
        let account = target.role_arn.account();
        if !details.owners.contains(&account) {
            let element = element.single();
            let place = element.member("RoleArn").unwrap_or(element);
            all = place.want("a role in an account that SnapshotOwner names");
        }
    }
    all
}

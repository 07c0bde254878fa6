//! `ListScopes`: the scopes of a run, cut into runs, for a state machine that invokes one function for each.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use serde::Serialize;

use super::rotate::{members, units};
use crate::chain::{Chain, one_line};
use crate::documents::Documents;
use crate::ec2::{Ec2Error, Ec2Provider};
use crate::event::RotateEvent;
use crate::ids::{AccountId, Scope, UnitId};
use crate::observe::Members;
use crate::policy::document::Kind;

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listing {
    /// Each is the part of an event that makes a run of it.
    pub items: Vec<Item>,
    /// How many scopes there are in all items.
    pub scopes: usize,
    /// What somebody has to act on; it is told here, and not again by every run of the list.
    pub failures: Vec<ListingFailure>,
}

/// The scopes of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Item {
    /// Where it acts.
    #[serde(serialize_with = "as_texts")]
    pub scopes: Vec<Scope>,
    /// The accounts among them, by the organizational units that policies name.
    pub listed: BTreeMap<UnitId, BTreeSet<AccountId>>,
}

/// What keeps a list from being whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListingFailure {
    /// As Lambda's `errorType` of a run would be.
    pub error_type: &'static str,
    /// One line.
    pub message: String,
}

fn as_texts<S: serde::Serializer>(scopes: &[Scope], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(scopes.iter().map(ToString::to_string))
}

/// Lists the scopes of a run of `rotate-snapshots`, at most `per_item` to an item. An account is not cut in two unless
/// it is too large for an item by itself: its Regions share what is read of it once.
///
/// # Errors
/// When the account of the own credentials is needed and cannot be told.
pub async fn list_scopes<P: Ec2Provider>(
    provider: &P,
    documents: Documents,
    event: &RotateEvent,
    per_item: NonZeroUsize,
) -> Result<Listing, Ec2Error> {
    let policies = documents.snapshot_policies();
    let members = members(provider, &policies, event).await;
    let units = units(provider, &policies, &members).await?;
    let scopes: BTreeSet<Scope> = units
        .into_iter()
        .map(|unit| unit.scope)
        .filter(|scope| event.scopes.is_empty() || event.scopes.contains(scope))
        .collect();
    let items = packed(&scopes, per_item.get());
    let items = items.into_iter().map(|scopes| Item { listed: listed(&members, &scopes), scopes });
    let items = items.collect();
    let unreadable = members.unreadable.iter().map(|it| ListingFailure {
        error_type: "ScopesUnreadable",
        message: one_line(&format!("organizational unit {}: {}", it.unit, Chain(&it.error))),
    });
    let aimless = event.scopes.difference(&scopes).map(|scope| ListingFailure {
        error_type: "InvalidEvent",
        message: format!("no policy targets {scope}"),
    });
    let unreadable: Vec<_> = aimless.chain(unreadable).collect();
    let invalid = documents.into_invalid(Kind::Snapshots).into_iter().map(|it| ListingFailure {
        error_type: "InvalidPolicy",
        message: one_line(&it.to_string()),
    });
    let failures = invalid.chain(unreadable).collect();
    Ok(Listing { items, scopes: scopes.len(), failures })
}

fn packed(scopes: &BTreeSet<Scope>, most: usize) -> Vec<Vec<Scope>> {
    let scopes: Vec<&Scope> = scopes.iter().collect();
    let mut items: Vec<Vec<Scope>> = Vec::new();
    for account in scopes.chunk_by(|a, b| a.account == b.account) {
        for part in account.chunks(most) {
            let part = part.iter().copied().cloned();
            match items.last_mut().filter(|last| last.len() + part.len() <= most) {
                Some(last) => last.extend(part),
                None => items.push(part.collect()),
            }
        }
    }
    items
}

fn listed(members: &Members, scopes: &[Scope]) -> BTreeMap<UnitId, BTreeSet<AccountId>> {
    let here: BTreeSet<&AccountId> = scopes.iter().map(|scope| &scope.account).collect();
    let of_unit = |(unit, accounts): (&UnitId, &BTreeSet<AccountId>)| {
        let accounts: BTreeSet<_> =
            accounts.iter().filter(|account| here.contains(account)).cloned().collect();
        (!accounts.is_empty()).then(|| (unit.clone(), accounts))
    };
    members.accounts.iter().filter_map(of_unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> BTreeSet<Scope> {
        let scope = |text: &&str| format!("{text}{}", "-central-1").parse().unwrap();
        texts.iter().map(scope).collect()
    }

    #[test]
    fn accounts_stay_together_where_they_fit() {
        let all = scopes(&[
            "111111111111/eu",
            "111111111111/us",
            "222222222222/eu",
            "222222222222/us",
            "333333333333/ap",
            "333333333333/eu",
            "333333333333/sa",
            "333333333333/us",
        ]);
        let sizes = |most| packed(&all, most).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(1), [1; 8]);
        assert_eq!(sizes(3), [2, 2, 3, 1]);
        assert_eq!(sizes(5), [4, 4]);
        assert_eq!(sizes(8), [8]);
        for most in 1..9 {
            let parts: Vec<Scope> = packed(&all, most).concat();
            assert_eq!(parts, all.iter().cloned().collect::<Vec<_>>(), "each once, {most}");
        }
    }
}

//! AWS Organizations: which accounts and units are in a unit. Read by the function's own credentials, which have to be
//! the management account's or a delegated administrator's.

use std::collections::BTreeSet;

use aws_sdk_organizations::Client;
use aws_sdk_organizations::types::AccountState;
use snapferry_core::ec2::Ec2Error;
use snapferry_core::ids::{AccountId, UnitId};

use crate::bounded::Bounded;
use crate::convert;
use crate::in_time::InTime;
use crate::pages::Pages;
use crate::provider::Aws;

/// The accounts directly in a unit. Suspended and closed ones are not worth an attempt; AWS does not say which state an
/// account without one has.
pub(crate) async fn accounts(aws: &Aws, unit: &UnitId) -> Result<BTreeSet<AccountId>, Ec2Error> {
    const OPERATION: &str = "ListAccountsForParent";
    let call = client(aws).list_accounts_for_parent().parent_id(unit.as_str());
    let call = call.into_paginator().page_size(20).stop_on_duplicate_token(false);
    let (mut read, mut pages, mut found) = (call.send(), Pages::default(), BTreeSet::new());
    while let Some(page) = aws.deadline().answer(OPERATION, read.try_next()).await? {
        pages.turn(OPERATION, page.next_token())?;
        for account in convert::list(OPERATION, "Accounts", page.accounts)? {
            let id = convert::member(OPERATION, "an account with the id", account.id())?;
            if account.state().is_none_or(|state| *state == AccountState::Active) {
                found.insert(id);
            }
        }
    }
    Ok(found)
}

/// The units directly below a unit.
pub(crate) async fn units(aws: &Aws, unit: &UnitId) -> Result<BTreeSet<UnitId>, Ec2Error> {
    const OPERATION: &str = "ListOrganizationalUnitsForParent";
    let call = client(aws).list_organizational_units_for_parent().parent_id(unit.as_str());
    let call = call.into_paginator().page_size(20).stop_on_duplicate_token(false);
    let (mut read, mut pages, mut found) = (call.send(), Pages::default(), BTreeSet::new());
    while let Some(page) = aws.deadline().answer(OPERATION, read.try_next()).await? {
        pages.turn(OPERATION, page.next_token())?;
        for unit in convert::list(OPERATION, "OrganizationalUnits", page.organizational_units)? {
            found.insert(convert::member(OPERATION, "a unit with the id", unit.id())?);
        }
    }
    Ok(found)
}

fn client(aws: &Aws) -> Client {
    let config = aws_sdk_organizations::config::Builder::from(aws.own_config())
        .retry_classifier(InTime(aws.deadline()))
        .interceptor(Bounded)
        .build();
    Client::from_conf(config)
}

#[cfg(test)]
mod tests;

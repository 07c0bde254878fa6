//! `ShareRules`.

use std::collections::BTreeSet;

use super::reader::Object;
use super::{limits, parts};
use crate::ec2::{Access, ExternalId};
use crate::ids::{AccountId, Region, RoleArn};
use crate::policy::{Age, RetainRule, UnshareWhenCopied};

/// With whom a schedule's snapshots are shared, and when that ends.
#[derive(Default)]
pub(super) struct Share {
    pub(super) with: BTreeSet<AccountId>,
    pub(super) after: Option<Age>,
    pub(super) when_copied: Option<UnshareWhenCopied>,
}

pub(super) fn read(object: &mut Object<'_>, retain: Option<&RetainRule>) -> Option<Share> {
    let rules = object.optional("ShareRules", |node| {
        node.list(1, "share rule (DLM)", |node| node.members(|rule| share_rule(rule, retain))?)
    });
    Some(rules?.and_then(|mut rules| rules.pop()).unwrap_or_default())
}

fn share_rule(object: &mut Object<'_>, retain: Option<&RetainRule>) -> Option<Share> {
    let after = limits::age_of(object, "UnshareInterval", "UnshareIntervalUnit");
    let accounts = object
        .required("TargetAccounts", "at least one account")
        .and_then(|node| node.list(1000, "accounts", |node| node.account()));
    let when_copied = object.get("UnshareWhenCopied");
    let (given, when_copied) = match when_copied {
        None => (false, Some(None)),
        Some(node) => (true, node.members(unshare_when_copied)?.map(Some)),
    };
    let after = after?;
    if let (Some(after), Some(stays)) = (after, retain.and_then(age_alone))
        && limits::days(after) >= limits::days(stays)
    {
        let stays = limits::shown(stays);
        let want = format!("less than the {stays} that the snapshots stay (DLM)");
        return object.missing("UnshareInterval", want);
    }
    if given && after.is_some() {
        let both = "want either UnshareInterval or UnshareWhenCopied, found both";
        return object.get("UnshareWhenCopied")?.fail(both);
    }
    let (accounts, when_copied) = (accounts?, when_copied?);
    if let Some(rule) = &when_copied {
        only_the_vault(object, &accounts, rule)?;
    }
    Some(Share { with: accounts.into_iter().collect(), after, when_copied })
}

fn unshare_when_copied(object: &mut Object<'_>) -> Option<UnshareWhenCopied> {
    let role_arn = object.optional("RoleArn", |node| node.id::<RoleArn>());
    let external_id = object.optional("ExternalId", |node| parts::external_id(&node));
    let regions = object.required("Regions", REGIONS).and_then(|node| {
        let mut seen = BTreeSet::new();
        node.list(100, "Regions", |node| {
            let region: Region = node.id()?;
            if seen.insert(region.clone()) { Some(region) } else { node.want("each Region once") }
        })
    });
    let (role_arn, external_id) = (role_arn?, external_id?);
    if role_arn.is_none() && external_id.is_some() {
        return object.get("ExternalId")?.fail("has its place beside RoleArn only");
    }
    Some(UnshareWhenCopied {
        access: Access { role_arn, external_id: external_id.map(ExternalId) },
        regions: regions?.into_iter().collect(),
    })
}

const REGIONS: &str = "the Regions of the vault that all have to hold a copy";

/// One look sees one vault.
fn only_the_vault(
    object: &mut Object<'_>,
    accounts: &[AccountId],
    rule: &UnshareWhenCopied,
) -> Option<()> {
    let node = object.get("TargetAccounts")?;
    let vault = rule.access.role_arn.as_ref().map(RoleArn::account);
    match (accounts, vault) {
        ([account], Some(vault)) if *account != vault => {
            node.want(format_args!("{vault} beside UnshareWhenCopied, the account of its RoleArn"))
        }
        ([_], _) => Some(()),
        (_, Some(vault)) => node
            .want(format_args!("{vault} alone beside UnshareWhenCopied: it looks into one vault")),
        (_, None) => node.want("one account beside UnshareWhenCopied: it looks into one vault"),
    }
}

/// The age, where nothing but it keeps a snapshot.
fn age_alone(retain: &RetainRule) -> Option<Age> {
    retain.age.filter(|_| retain.count.is_none() && retain.keep.is_none())
}

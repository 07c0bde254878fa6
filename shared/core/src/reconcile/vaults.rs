//! `UnshareWhenCopied`: before any scope is looked at, what the vaults have of their snapshots.

use std::collections::BTreeSet;

use super::Done;
use super::rotate::{Context, Unit};
use crate::action::{Impossible, Subject};
use crate::ec2::{Ec2Error, Ec2Provider, ErrorKind};
use crate::ids::{AccountId, Region, Scope};
use crate::observe::{self, Copied, Look};

/// Every vault's Region that a policy in force names is read once, whatever the number of scopes. Also what is to be
/// told of it.
///
/// # Errors
/// When the account of the own credentials is needed and cannot be told: then nothing was done.
pub(super) async fn look<P: Ec2Provider>(
    context: &Context<'_, P>,
    units: &[Unit<'_>],
) -> Result<(Copied, Done), Ec2Error> {
    let mut looks = BTreeSet::new();
    let mut done = Done::default();
    let mut told = BTreeSet::new();
    let mut own = None;
    for (policy, details) in units.iter().flat_map(|unit| &unit.policies) {
        for schedule in details.schedules.iter().filter(|_| policy.enabled) {
            let Some(rule) = &schedule.unshare_when_copied else {
                continue;
            };
            for vault in &schedule.share_with {
                if rule.access.role_arn.is_none() {
                    if own.is_none() {
                        own = Some(context.provider.account().await?);
                    }
                    if let Some(own) = own.as_ref().filter(|own| *own != vault) {
                        let region = rule.regions.first().filter(|_| told.insert(&policy.name));
                        let of_policy =
                            Subject { policy: policy.name.clone(), ..Subject::default() };
                        done.plan
                            .impossible
                            .extend(region.map(|it| no_vault(of_policy, own, vault, it)));
                        continue; // what is not looked at is not unshared
                    }
                }
                looks.extend(rule.regions.iter().map(|region| Look {
                    access: rule.access.clone(),
                    region: region.clone(),
                    vault: vault.clone(),
                }));
            }
        }
    }
    let sources = units.iter().map(|unit| unit.scope.clone()).collect();
    let mut copied =
        observe::copied(context.provider, looks, &sources, context.limits.scopes).await;
    done.unreadable = std::mem::take(&mut copied.unreadable);
    Ok((copied, done))
}

fn no_vault(subject: Subject, own: &AccountId, vault: &AccountId, region: &Region) -> Impossible {
    Impossible {
        scope: Scope { account: vault.clone(), region: region.clone() },
        operation: "DescribeSnapshots",
        kind: ErrorKind::Invalid,
        code: "NoVault".into(),
        message: format!(
            "UnshareWhenCopied names no RoleArn, so that the vault is looked at with the function's own credentials, \
             but those are {own}'s and TargetAccounts names {vault}: name a role of {vault} that may describe \
             snapshots (functions/rotate-snapshots/vault-reader-role.yaml). Nothing is unshared until then"
        ),
        subject,
    }
}

//! Tags of shared snapshots, as their owners see them: sharing does not show them
//! ([Tag your EC2 resources](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html)), so a role in the
//! owner's account reads them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use super::{Unreadable, Vault};
use crate::action::{Action, Plan};
use crate::ec2::{Access, Ec2, Ec2Error, Ec2Provider, ExternalId, SnapshotFilter};
use crate::ids::{Scope, SnapshotId};
use crate::inventory::VaultInventory;
use crate::policy::{Copies, Origin, Tags};

/// Whose tags are asked for, and by which role.
type Asked = BTreeMap<(Scope, Access), BTreeSet<SnapshotId>>;

/// Reads the tags of what `plan` is about to copy by rules with `CopyTags`, where a policy has a role for that: one call
/// for each role and Region, `at_once` of them side by side. Whether there is anything new to plan with.
///
/// No copy waits for its tags: what could not be read is told, and planned with what the description carries.
pub async fn source_tags<P: Ec2Provider>(
    provider: &P,
    policies: &[Copies<'_>],
    plan: &Plan,
    vault: &mut Vault<P::Ec2>,
    at_once: usize,
) -> bool {
    let asked = asked(policies, plan, &vault.inventory);
    let read = stream::iter(asked)
        .map(|((scope, access), ids)| async move {
            let read = tags_of(provider, &access, &scope, ids).await;
            (scope, read)
        })
        .buffered(at_once.max(1))
        .collect::<Vec<_>>()
        .await;
    for (scope, read) in read {
        match read {
            Ok(tags) => vault.inventory.source_tags.extend(tags),
            Err(error) if vault.unreadable.iter().all(|it| it.scope != scope) => {
                vault.unreadable.push(Unreadable { scope, error });
            }
            Err(_) => {} // two policies, two roles of one account, and it is told once
        }
    }
    !vault.inventory.source_tags.is_empty()
}

fn asked(policies: &[Copies<'_>], plan: &Plan, inventory: &VaultInventory) -> Asked {
    let mut asked = Asked::new();
    for planned in &plan.actions {
        let Action::CopySnapshot(request) = &planned.action else {
            continue;
        };
        let named = policies.iter().find(|it| it.policy.name == planned.subject.policy);
        let Some((Origin::Shared(details), rules)) = named.map(|it| (it.of, it.rules)) else {
            continue;
        };
        let mut of_rule = rules.iter().filter(|rule| rule.name == planned.subject.schedule);
        let sources = inventory.sources.get(&request.source_region);
        let source = sources.into_iter().flatten().find(|it| it.id == request.source);
        if let Some(source) = source
            && of_rule.any(|rule| rule.copy_tags)
            && let Some(reader) = details.reader(&source.owner, &request.source_region)
        {
            let access = Access {
                role_arn: Some(reader.role_arn.clone()),
                external_id: reader.external_id.clone().map(ExternalId),
            };
            let region = request.source_region.clone();
            let scope = Scope { account: source.owner.clone(), region };
            asked.entry((scope, access)).or_default().insert(source.id.clone());
        }
    }
    asked
}

async fn tags_of<P: Ec2Provider>(
    provider: &P,
    access: &Access,
    scope: &Scope,
    ids: BTreeSet<SnapshotId>,
) -> Result<BTreeMap<SnapshotId, Tags>, Ec2Error> {
    let ec2 = provider.connect(access, &scope.region).await?;
    let seen = ec2.describe_snapshots(&SnapshotFilter::Ids(ids)).await?;
    Ok(seen.into_iter().map(|snapshot| (snapshot.id, snapshot.tags)).collect())
}

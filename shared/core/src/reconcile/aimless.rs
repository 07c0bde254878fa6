//! Policies that aim at nothing: a mistyped volume id, tag or Region must not pass for success.

use super::rotate::Scoped;
use crate::action::{Held, Hold, Impossible, Subject};
use crate::ec2::ErrorKind;
use crate::policy::{CopyRule, Policy, SnapshotPolicy};

/// What is to be told of policies whose every scope was read.
pub(super) fn find(
    policies: &[(&Policy, &SnapshotPolicy)],
    scopes: &[Scoped<'_>],
) -> (Vec<Impossible>, Vec<Held>) {
    let (mut impossible, mut held) = (Vec::new(), Vec::new());
    for (policy, details) in policies {
        let aimed_at = |it: &&Scoped<'_>| it.policies.iter().any(|(of, _)| of.name == policy.name);
        let scopes: Vec<&Scoped<'_>> = scopes.iter().filter(aimed_at).collect();
        let Some(first) = scopes.first().filter(|_| scopes.iter().all(|it| it.done.seen.is_some()))
        else {
            continue;
        };
        let subject = Subject { policy: policy.name.clone(), ..Subject::default() };
        let about = |why| Held { scope: first.scope.clone(), subject: subject.clone(), why };
        if !policy.enabled {
            held.push(about(Hold::Disabled));
            continue;
        }
        let seen =
            |id| scopes.iter().filter_map(|it| it.done.seen.as_ref()).any(|it| it.contains(id));
        for id in details.volume_ids().filter(|id| !seen(id)) {
            impossible.push(Impossible {
                scope: first.scope.clone(),
                operation: "CreateSnapshot",
                subject: Subject { volume: Some(id.clone()), ..subject.clone() },
                kind: ErrorKind::NotFound,
                code: "InvalidVolume.NotFound".into(),
                message: format!(
                    "there is no volume {id}, nor a snapshot of it, in any account and Region of policy {}: \
                     correct TargetVolumeIds, or the role or Regions of the policy",
                    policy.name
                ),
            });
        }
        let nowhere = |rule: &&CopyRule| scopes.iter().all(|it| it.scope.region == rule.target);
        for rule in details.copies.iter().filter(nowhere) {
            let schedule = rule.schedule.clone().unwrap_or_default();
            impossible.push(Impossible {
                scope: first.scope.clone(),
                operation: "CopySnapshot",
                kind: ErrorKind::Invalid,
                code: "SameRegion".into(),
                message: format!(
                    "schedule {schedule} copies to {}, the only Region of policy {}, so that there is no copy: \
                     correct the rule's Target, or the Regions of the policy",
                    rule.target, policy.name
                ),
                subject: Subject { schedule, ..subject.clone() },
            });
        }
        let covers =
            |it: &&Scoped<'_>| it.done.plan.coverage.iter().any(|line| line.policy == policy.name);
        if details.volume_ids().next().is_none() && !scopes.iter().any(covers) {
            held.push(about(Hold::NoVolumes));
        }
    }
    (impossible, held)
}

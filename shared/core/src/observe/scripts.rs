//! What Systems Manager tells of instances and of commands, where policies have `Scripts`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::commands::{Command, Managed};
use crate::ec2::{CommandFilter, Ec2, Ec2Error};
use crate::ids::InstanceId;
use crate::inventory::{Instance, Unread};
use crate::policy::{Policy, Schedule, SnapshotPolicy};

/// Systems Manager keeps commands for 30 days
/// ([Quotas](https://docs.aws.amazon.com/general/latest/gr/ssm.html)).
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// However often a schedule comes round, what is left by a run is found, though the next may be hours later.
const AT_LEAST: SignedDuration = SignedDuration::from_hours(6);

type Scripted<'a> = Vec<(&'a Policy, &'a SnapshotPolicy)>;

fn scripted<'a>(policies: &[(&'a Policy, &'a SnapshotPolicy)]) -> Scripted<'a> {
    let has_scripts =
        |details: &SnapshotPolicy| details.schedules.iter().any(|it| it.script.is_some());
    policies.iter().filter(|(_, details)| has_scripts(details)).copied().collect()
}

/// Commands of ours, those of disabled policies too. To be read before the snapshots are, so that a command that has ended
/// has its snapshots seen.
pub(super) async fn commands<E: Ec2>(
    ec2: &E,
    policies: &[(&Policy, &SnapshotPolicy)],
    now: Timestamp,
) -> Result<Vec<Command>, Unread> {
    let mut documents: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for schedule in scripted(policies).into_iter().flat_map(|(_, details)| &details.schedules) {
        if let Some(script) = &schedule.script {
            let since = documents.entry(script.document()).or_insert(now);
            *since = (*since).min(two_slots_ago(schedule, now));
        }
    }
    let mut commands = Vec::new();
    for (document, since) in documents {
        let filter = CommandFilter { document: document.to_owned(), since, instance: None };
        let found = ec2.list_commands(&filter).await;
        commands.extend(found.map_err(|err| Unread::from(&err))?);
    }
    Ok(commands)
}

/// What a run began at the slot before, the run at this one ends.
fn two_slots_ago(schedule: &Schedule, now: Timestamp) -> Timestamp {
    let second = SignedDuration::from_secs(1);
    let latest = schedule.create.latest(now);
    let before = latest.and_then(|at| schedule.create.latest(at.checked_sub(second).ok()?));
    let ago = |by: SignedDuration| now.checked_sub(by).unwrap_or(Timestamp::MIN);
    before.unwrap_or(Timestamp::MIN).min(ago(AT_LEAST)).max(ago(REMEMBERED))
}

/// Those of the policies' instances that Systems Manager knows.
pub(super) async fn managed<E: Ec2>(
    ec2: &E,
    policies: &[(&Policy, &SnapshotPolicy)],
    instances: &BTreeMap<InstanceId, Instance>,
) -> Result<BTreeMap<InstanceId, Managed>, Ec2Error> {
    let scripted = scripted(policies);
    let is_target = |it: &&Instance| {
        let mut policies = scripted.iter().filter(|(policy, _)| policy.enabled);
        it.running && policies.any(|(_, details)| details.targets_instance(it))
    };
    let targets: BTreeSet<InstanceId> =
        instances.values().filter(is_target).map(|it| it.id.clone()).collect();
    if targets.is_empty() {
        return Ok(BTreeMap::new());
    }
    ec2.describe_instance_information(&targets).await
}

//! Does what an audited plan says. It makes no choices: bounded concurrency, one outcome per action, and when time
//! runs out the rest is left for the next run. Where an action names what to send instead ([`Action::instead`]), that
//! is sent.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{BoxFuture, join};
use futures_util::stream::{self, StreamExt};
use jiff::SignedDuration;

use crate::action::{Action, Planned, Reason};
use crate::audit::AuditedPlan;
use crate::commands::{CommandId, Step};
use crate::ec2::{CreateSnapshots, Ec2, Ec2Error, ErrorKind};
use crate::ids::{AccountId, InstanceId, Region, SnapshotId, VolumeId};
use crate::policy::Tags;
use crate::tags;

mod scripts;
#[cfg(test)]
mod tests;

/// How much at once, and how long.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Scopes side by side.
    pub scopes: usize,
    /// Calls side by side in one scope.
    pub actions: usize,
    /// No more deletions than this in one run of one scope; `None`: as many as the audit thinks fit.
    pub deletions: Option<usize>,
    /// Whether nothing new may be begun, because the invocation ends soon.
    pub out_of_time: &'a (dyn Fn() -> bool + Send + Sync),
    /// How long it is until then.
    pub time_left: &'a (dyn Fn() -> SignedDuration + Send + Sync),
    /// Waits.
    pub pause: &'a Pause,
}

/// Waits so long: the crate has no clock of its own.
pub type Pause = dyn Fn(SignedDuration) -> BoxFuture<'static, ()> + Send + Sync;

/// EC2 wants so much time between two snapshots of one volume
/// ([`SnapshotCreationPerVolumeRateExceeded`](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html)).
const BETWEEN_SNAPSHOTS: SignedDuration = SignedDuration::from_secs(15);

/// An action and what became of it.
#[derive(Debug)]
pub struct Executed {
    /// What was to be done.
    pub planned: Planned,
    /// What happened.
    pub outcome: Outcome,
}

/// What became of an action.
#[derive(Debug)]
pub enum Outcome {
    /// It happened; with the snapshots that it made.
    Done(Vec<SnapshotId>),
    /// It was sent, under this id.
    Sent(CommandId),
    /// A dry run.
    Planned,
    /// The next run goes on with it.
    Deferred(String),
    /// Likewise, and it is the object that is not ready: others may go ahead.
    NotReady(String),
    /// It turned out that it must not be done, or need not.
    Held(String),
    /// It did not happen, or may not have.
    Failed(Ec2Error),
}

/// Performs the actions in order, at most [`Limits::actions`] at once: first what makes and changes (second snapshots of a
/// volume 15 seconds after the first; post-scripts that are missing before other scripts), then the records of shares in as
/// few calls as there are distinct ones, then deletions. They are taken out of the plan.
pub async fn execute<E: Ec2>(
    plan: &mut AuditedPlan,
    clients: &BTreeMap<Region, E>,
    limits: &Limits<'_>,
) -> Vec<Executed> {
    let mut making = plan.take_actions();
    let is_record = |it: &mut Planned| matches!(it.action, Action::RecordShare { .. });
    let records: Vec<Planned> = making.extract_if(.., is_record).collect();
    let is_destructive = |it: &mut Planned| it.action.is_destructive();
    let deletions: Vec<Planned> = making.extract_if(.., is_destructive).collect();
    let is_post_script = |it: &mut Planned| matches!(&it.action, Action::SendCommand(it) if it.errand.step == Step::PostScript);
    let mut post_scripts: Vec<Planned> = making.extract_if(.., is_post_script).collect();
    let mut executed = Vec::new();
    for (n, wave) in waves(making.into_iter()).into_iter().enumerate() {
        if n > 0 && !(limits.out_of_time)() {
            (limits.pause)(BETWEEN_SNAPSHOTS).await;
        }
        // Scripts take their time, and nobody else's.
        let (scripted, others): (Vec<_>, Vec<_>) = wave.into_iter().partition(has_scripts);
        let missing = std::mem::take(&mut post_scripts);
        let scripted = async {
            let mut executed = with_scripts(missing.into_iter(), clients, limits).await;
            executed.extend(with_scripts(scripted.into_iter(), clients, limits).await);
            executed
        };
        let others = side_by_side(others.into_iter(), clients, limits);
        let (scripted, others) = join(scripted, others).await;
        executed.extend(scripted);
        executed.extend(others);
    }
    // The record that a share implies is part of the share: only its failure is worth a line of its own.
    let implied = last_words(executed.iter().filter_map(record_of_share));
    let implied = record_shares(implied, clients, limits).await.into_iter();
    executed.extend(implied.filter(|record| !matches!(record.outcome, Outcome::Done(_))));
    executed.extend(record_shares(records, clients, limits).await);
    executed.extend(side_by_side(deletions.into_iter(), clients, limits).await);
    executed
}

/// No wave has two creations of the same volume, nor scripts or VSS backups on the same instance.
fn waves(actions: impl Iterator<Item = Planned>) -> Vec<Vec<Planned>> {
    let mut waves = vec![Vec::new()];
    let mut creations: BTreeMap<String, usize> = BTreeMap::new();
    for planned in actions {
        let (volumes, instance): (Vec<&VolumeId>, Option<&InstanceId>) = match &planned.action {
            Action::CreateSnapshot(request) => (vec![&request.volume], None),
            Action::CreateSnapshots(request) => {
                let instance = request.script.is_some().then_some(&request.instance);
                (request.volumes.iter().collect(), instance)
            }
            Action::SendCommand(request) => {
                (request.volumes.iter().collect(), Some(&request.instance))
            }
            _ => (Vec::new(), None),
        };
        let used = volumes.iter().map(ToString::to_string);
        let used: Vec<String> = used.chain(instance.map(ToString::to_string)).collect();
        let wave =
            used.iter().filter_map(|id| creations.get(id)).max().copied().unwrap_or_default();
        creations.extend(used.into_iter().map(|id| (id, wave + 1)));
        if waves.len() <= wave {
            waves.resize_with(wave + 1, Vec::new);
        }
        if let Some(wave) = waves.get_mut(wave) {
            wave.push(planned);
        }
    }
    waves
}

async fn side_by_side<E: Ec2>(
    actions: impl Iterator<Item = Planned>,
    clients: &BTreeMap<Region, E>,
    limits: &Limits<'_>,
) -> Vec<Executed> {
    stream::iter(actions)
        .map(|planned| async move {
            let outcome = match clients.get(&planned.scope.region) {
                _ if (limits.out_of_time)() => Outcome::Deferred(OUT_OF_TIME.into()),
                Some(ec2) => return one(ec2, planned, limits).await,
                None => Outcome::Deferred(format!("{} could not be read", planned.scope)),
            };
            Executed { planned, outcome }
        })
        .buffered(limits.actions.max(1))
        .collect()
        .await
}

fn has_scripts(planned: &Planned) -> bool {
    matches!(&planned.action, Action::CreateSnapshots(request) if request.script.is_some())
}

/// So many at once: they mostly wait.
const SCRIPTS: usize = 20;

/// Creations with scripts, and post-scripts. Each may come to several lines.
async fn with_scripts<E: Ec2>(
    actions: impl Iterator<Item = Planned>,
    clients: &BTreeMap<Region, E>,
    limits: &Limits<'_>,
) -> Vec<Executed> {
    let executed = stream::iter(actions)
        .map(|planned| async move {
            match (clients.get(&planned.scope.region), &planned.action) {
                (Some(ec2), Action::SendCommand(request)) => {
                    let outcome = match scripts::post_script(ec2, request, limits).await {
                        Ok(id) => Outcome::Sent(id),
                        Err(err) => Outcome::Failed(err),
                    };
                    vec![Executed { planned, outcome }]
                }
                (
                    Some(ec2),
                    Action::CreateSnapshots(request @ CreateSnapshots { script: Some(run), .. }),
                ) => scripts::create(ec2, &planned, request, run, limits).await,
                (Some(ec2), _) => vec![one(ec2, planned, limits).await],
                (None, _) => {
                    let why = format!("{} could not be read", planned.scope);
                    vec![Executed { planned, outcome: Outcome::Deferred(why) }]
                }
            }
        })
        .buffered(SCRIPTS)
        .collect::<Vec<_>>()
        .await;
    executed.into_iter().flatten().collect()
}

async fn one<E: Ec2>(ec2: &E, planned: Planned, limits: &Limits<'_>) -> Executed {
    let done = perform(ec2, &planned.action).await;
    let instead = match &done {
        // Nothing has happened.
        Err(err @ Ec2Error::Refused { kind, .. }) => {
            planned.action.instead(*kind).map(|it| (it, err.to_string()))
        }
        _ => None,
    };
    let Some((action, refused)) = instead else {
        return Executed { outcome: outcome(&planned.action, done), planned };
    };
    if (limits.out_of_time)() {
        return Executed { outcome: Outcome::Deferred(OUT_OF_TIME.into()), planned };
    }
    let done = perform(ec2, &action).await;
    let outcome = outcome(&action, done);
    let reason = Reason::AsStandardCopy(Box::new(planned.reason), refused);
    Executed { planned: Planned { action, reason, ..planned }, outcome }
}

const OUT_OF_TIME: &str = "out of time";

async fn perform<E: Ec2>(ec2: &E, action: &Action) -> Result<Outcome, Ec2Error> {
    let changed = |()| Outcome::Done(Vec::new());
    let made = |id| Outcome::Done(vec![id]);
    match action {
        Action::CreateSnapshot(request) => ec2.create_snapshot(request).await.map(made),
        Action::CreateSnapshots(request) => ec2.create_snapshots(request).await.map(Outcome::Done),
        Action::CopySnapshot(request) => ec2.copy_snapshot(request).await.map(made),
        Action::ShareSnapshot { snapshot, accounts, .. } => {
            ec2.share_snapshot(snapshot, accounts).await.map(changed)
        }
        Action::UnshareSnapshot { snapshot, accounts, .. } => {
            ec2.unshare_snapshot(snapshot, accounts).await.map(changed)
        }
        Action::EnableFastRestore { snapshot, zones } => {
            ec2.enable_fast_snapshot_restores(snapshot, zones).await.map(changed)
        }
        Action::DisableFastRestore { snapshot, zones } => {
            ec2.disable_fast_snapshot_restores(snapshot, zones).await.map(changed)
        }
        Action::LockSnapshot(request) => ec2.lock_snapshot(request).await.map(changed),
        Action::ArchiveSnapshot(snapshot) => ec2.archive_snapshot(snapshot).await.map(changed),
        Action::RecordShare { snapshot, all } => {
            let ids = std::slice::from_ref(snapshot);
            ec2.create_tags(ids, &record(all)).await.map(changed)
        }
        Action::RecordScripts { snapshots, tags } => {
            ec2.create_tags(snapshots, tags).await.map(changed)
        }
        Action::SendCommand(request) => ec2.send_command(request).await.map(Outcome::Sent),
        Action::DeleteSnapshot(snapshot) => ec2.delete_snapshot(snapshot).await.map(changed),
    }
}

fn outcome(action: &Action, result: Result<Outcome, Ec2Error>) -> Outcome {
    let err = match result {
        Ok(outcome) => return outcome,
        Err(err) => err,
    };
    match (err.kind(), action) {
        (ErrorKind::NotReady, _) => Outcome::NotReady(err.to_string()),
        (kind, _) if kind.passes() => Outcome::Deferred(err.to_string()),
        (ErrorKind::InUse, Action::DeleteSnapshot(_) | Action::ArchiveSnapshot(_)) => {
            Outcome::Held(err.to_string())
        }
        // What it was about went away between the look and the call.
        (ErrorKind::NotFound, action) if !action.is_destructive() => Outcome::Held(err.to_string()),
        _ => Outcome::Failed(err),
    }
}

/// The tag that tells people what was shared, after a share that happened.
fn record_of_share(executed: &Executed) -> Option<Planned> {
    match (&executed.outcome, &executed.planned.action) {
        (
            Outcome::Done(_),
            Action::ShareSnapshot { snapshot, all, .. }
            | Action::UnshareSnapshot { snapshot, all, .. },
        ) => Some(Planned {
            action: Action::RecordShare { snapshot: snapshot.clone(), all: all.clone() },
            reason: Reason::ShareNotRecorded,
            ..executed.planned.clone()
        }),
        _ => None,
    }
}

/// Of several changes of one snapshot the last says who can use it.
fn last_words(records: impl Iterator<Item = Planned>) -> Vec<Planned> {
    let by_snapshot = |it: Planned| ((it.scope.clone(), it.subject.snapshot.clone()), it);
    records.map(by_snapshot).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn record(all: &BTreeSet<AccountId>) -> Tags {
    Tags::from([(tags::SHARED_WITH.into(), tags::join(all))])
}

/// EC2 takes 1,000 resources in one `CreateTags`; 500 leaves room.
const TAGGED_AT_ONCE: usize = 500;

type Batch = Vec<(SnapshotId, Planned)>;

/// One call for all snapshots of a Region that are shared with the same accounts.
async fn record_shares<E: Ec2>(
    records: Vec<Planned>,
    clients: &BTreeMap<Region, E>,
    limits: &Limits<'_>,
) -> Vec<Executed> {
    let mut groups: BTreeMap<(Region, BTreeSet<AccountId>), Batch> = BTreeMap::new();
    for planned in records {
        if let Action::RecordShare { snapshot, all } = &planned.action {
            let key = (planned.scope.region.clone(), all.clone());
            groups.entry(key).or_default().push((snapshot.clone(), planned));
        }
    }
    let mut executed = Vec::new();
    for ((region, all), group) in groups {
        for batch in group.chunks(TAGGED_AT_ONCE) {
            let ids: Vec<SnapshotId> = batch.iter().map(|(id, _)| id.clone()).collect();
            let result = match clients.get(&region) {
                Some(ec2) if !(limits.out_of_time)() => {
                    Some(ec2.create_tags(&ids, &record(&all)).await)
                }
                _ => None,
            };
            let mut failed = match result {
                None => Some(Outcome::Deferred(OUT_OF_TIME.into())),
                Some(Ok(())) => None,
                Some(Err(err)) if err.kind().passes() => Some(Outcome::Deferred(err.to_string())),
                Some(Err(err)) => Some(Outcome::Failed(err)),
            };
            let first = ids.first().map_or_else(String::new, ToString::to_string);
            let succeeded = failed.is_none();
            for (_, planned) in batch {
                // One call has one error: the first of the batch carries it.
                let outcome = match failed.take() {
                    Some(outcome) => outcome,
                    None if succeeded => Outcome::Done(Vec::new()),
                    None => Outcome::Deferred(format!("in one call with {first}")),
                };
                executed.push(Executed { planned: planned.clone(), outcome });
            }
        }
    }
    executed
}

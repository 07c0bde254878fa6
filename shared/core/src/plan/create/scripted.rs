//! Sets that are to be application-consistent: what stands in the way of that is found before anything stands still.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::{Decision, Making, SEEN_BY_THEN};
use crate::action::{Action, Hold, Reason};
use crate::commands::{Command, Errand, SendCommand, Status, Step};
use crate::description;
use crate::ec2::{CreateSnapshots, ErrorKind, ScriptRun};
use crate::ids::InstanceId;
use crate::inventory::Instance;
use crate::plan::rotate::Draft;
use crate::plan::scripts::{can_be_alive, ended, of_slot, why};
use crate::policy::{Handler, Policy, Schedule, Script, Tags, VssDocument};
use crate::schedule::Slot;
use crate::tags::{self, Claim};

/// Why a set cannot be application-consistent.
struct Obstacle {
    kind: ErrorKind,
    code: String,
    message: String,
}

impl Obstacle {
    fn new(message: String) -> Self {
        Self { kind: ErrorKind::ScriptFailed, code: String::new(), message }
    }
}

/// Sizes on which VSS backups are not supported
/// ([DLM](https://docs.aws.amazon.com/ebs/latest/userguide/automate-app-consistent-backups.html)).
fn is_too_small(instance_type: &str) -> bool {
    let (family, size) = instance_type.split_once('.').unwrap_or_default();
    matches!(family, "t2" | "t3" | "t3a") && matches!(size, "nano" | "micro")
}

impl Making<'_> {
    /// What to do instead of `request`, which makes the set without further ado.
    pub(super) fn scripted(
        &self,
        mut decision: Decision,
        instance: &Instance,
        script: &Script,
        claim: &Claim,
        mut request: CreateSnapshots,
    ) -> Decision {
        if !instance.running {
            // Nothing writes, and nothing can be asked to hold still.
            decision.notes.push(Hold::NotRunning);
            decision.act = Some(Ok((Action::CreateSnapshots(request), self.reason())));
            return decision;
        }
        request.tags.insert(tags::SCRIPT.into(), script.document().to_owned());
        let commands = match self.commands(instance, script) {
            Ok(commands) => commands,
            Err(Hindrance::Waits(why)) => {
                decision.act = Some(Err(why));
                return decision;
            }
            Err(Hindrance::Stands(obstacle)) => {
                return without(decision, script, request, obstacle);
            }
        };
        if let Some(obstacle) = obstacle(self, instance, script) {
            return without(decision, script, request, obstacle);
        }
        let attempts = commands.iter().map(|it| it.errand.attempt).max().unwrap_or(0);
        let failed = failed(&commands);
        let latest = commands.iter().rev().find(|it| it.errand.step != Step::PostScript).copied();
        if let Some(wait) = latest.and_then(|it| self.waits_for(it, script)) {
            decision.act = Some(Err(wait));
            return decision;
        }
        if (failed > usize::from(script.retries) || attempts >= MOST_ATTEMPTS)
            && let Some(latest) = latest
        {
            let message = format!(
                "{}; MaximumRetryCount is {}",
                why(latest, "not all of its snapshots are there, or good"),
                script.retries
            );
            if !script.goes_on && self.is_late() && matches!(script.handler, Handler::Document(_)) {
                decision.act = Some(Err(Hold::Script(message))); // as the run itself has told
                return decision;
            }
            return without(decision, script, request, Obstacle::new(message));
        }
        let left = usize::from(script.retries) + 1 - failed.min(usize::from(script.retries));
        let left = u8::try_from(left).unwrap_or(1);
        let reason = match latest {
            Some(latest) => {
                Reason::ScriptAgain(why(latest, "not all of its snapshots are there, or good"))
            }
            None => self.reason(),
        };
        let action = match &script.handler {
            Handler::Document(document) => {
                let script = Some(Box::new(ScriptRun {
                    document: document.clone(),
                    goes_on: script.goes_on,
                    retries: script.retries,
                    policy: self.policy.name.clone(),
                    slot: self.slot,
                    attempts_before: attempts,
                    attempts_left: left,
                }));
                Action::CreateSnapshots(CreateSnapshots { script, ..request })
            }
            Handler::Vss(document) => {
                let errand = self.errand(Step::VssBackup, attempts + 1);
                Action::SendCommand(vss(*document, instance, claim, errand, request))
            }
        };
        decision.act = Some(Ok((action, reason)));
        decision
    }

    /// The start windows of all its schedules are over.
    fn is_late(&self) -> bool {
        let at = self.draft.request.at;
        self.schedules.iter().all(|it| it.create.due(at) != Some(self.slot))
    }

    fn errand(&self, step: Step, attempt: u8) -> Errand {
        Errand { policy: self.policy.name.clone(), slot: self.slot, attempt, step }
    }

    /// What was sent for this slot before, oldest first.
    fn commands(&self, instance: &Instance, script: &Script) -> Result<Vec<&Command>, Hindrance> {
        let inventory = self.draft.request.inventory;
        for (of, unread) in [
            ("ListCommandInvocations", inventory.commands.as_ref().err()),
            ("DescribeInstanceInformation", inventory.managed.as_ref().err()),
        ] {
            let Some(unread) = unread else {
                continue;
            };
            if unread.kind.passes() {
                return Err(Hindrance::Waits(Hold::Ec2(unread.message.clone())));
            }
            return Err(Hindrance::Stands(Obstacle {
                kind: unread.kind,
                code: unread.code.clone(),
                message: format!(
                    "{of} of Systems Manager is needed for Scripts: {}",
                    unread.message
                ),
            }));
        }
        let known = inventory.commands.as_deref().unwrap_or_default();
        Ok(of_slot(known, &self.policy.name, self.slot, &instance.id, script.document()))
    }

    /// Another run may be at it, or the instance itself.
    fn waits_for(&self, latest: &Command, script: &Script) -> Option<Hold> {
        let now = self.draft.request.now;
        let since = tags::instant(latest.requested);
        match &script.handler {
            Handler::Document(_) => can_be_alive(latest, longest(script), now).then(|| {
                Hold::Script(format!("another run began its {} at {since}", latest.errand.step))
            }),
            Handler::Vss(_) if latest.progress.status == Status::Running => {
                Some(Hold::Script(format!(
                    "the VSS backup of {since}, command {}, is {}",
                    latest.id, latest.progress.details
                )))
            }
            Handler::Vss(_) if latest.progress.status == Status::Success => {
                let is_new = now.duration_since(ended(latest, now)) < SEEN_BY_THEN;
                is_new.then(|| {
                    Hold::Script(format!(
                        "the VSS backup of {since}, command {}, has ended, and its snapshots are not seen yet",
                        latest.id
                    ))
                })
            }
            Handler::Vss(_) => None,
        }
    }
}

/// `ExecuteOperationOnScriptFailure`
fn without(
    mut decision: Decision,
    script: &Script,
    mut request: CreateSnapshots,
    obstacle: Obstacle,
) -> Decision {
    let Obstacle { kind, code, message } = obstacle;
    let instead = if script.goes_on {
        request.tags.insert(tags::APP_CONSISTENT.into(), "false".into());
        decision.act = Some(Ok((Action::CreateSnapshots(request), Reason::CrashConsistent)));
        "A crash-consistent snapshot is made instead"
    } else {
        decision.act = None;
        "No snapshot is made, as ExecuteOperationOnScriptFailure is false"
    };
    decision.cannot = Some(Box::new((kind, code, format!("{message}. {instead}"))));
    decision
}

/// So many for one slot, however they ended: a comment has one digit for them.
const MOST_ATTEMPTS: u8 = 9;

/// Attempts that failed by what ran on the instance. A pre-script that was successful did not, whatever came of the
/// creation.
fn failed(commands: &[&Command]) -> usize {
    let has_failed = |it: &&&Command| match it.errand.step {
        Step::PreScript => it.progress.status != Status::Success,
        Step::VssBackup => true,
        Step::PostScript => false,
    };
    commands.iter().filter(has_failed).map(|it| it.errand.attempt).collect::<BTreeSet<_>>().len()
}

enum Hindrance {
    Waits(Hold),
    Stands(Obstacle),
}

/// What keeps a document from running on the instance, and the remedy.
fn obstacle(making: &Making<'_>, instance: &Instance, script: &Script) -> Option<Obstacle> {
    let (id, document) = (&instance.id, script.document());
    let managed = making.draft.request.inventory.managed.as_ref().ok()?;
    let is_vss = matches!(script.handler, Handler::Vss(_));
    if is_vss && is_too_small(&instance.instance_type) {
        return Some(Obstacle::new(format!(
            "{id} is a {}, on which VSS backups are not supported: make it larger, or leave AWS_VSS_BACKUP out",
            instance.instance_type
        )));
    }
    let Some(managed) = managed.get(id) else {
        return Some(Obstacle::new(match &instance.profile {
            None => format!(
                "{id} has no instance profile, so that {document} cannot run on it: attach one whose role has \
                 AmazonSSMManagedInstanceCore{} (instance-role.yaml makes one)",
                if is_vss { " and AWSEC2VssSnapshotPolicy" } else { "" }
            ),
            Some(profile) => format!(
                "Systems Manager does not know {id}, so that {document} cannot run on it: install and start the SSM \
                 agent, let it reach the Region's ssm and ssmmessages endpoints, and see that the role of {profile} has \
                 AmazonSSMManagedInstanceCore"
            ),
        }));
    };
    if managed.ping_status != "Online" {
        return Some(Obstacle::new(format!(
            "the SSM agent of {id} is {}, so that {document} cannot run on it: start it, or see what keeps it from \
             Systems Manager",
            managed.ping_status
        )));
    }
    if is_vss && managed.platform != "Windows" {
        return Some(Obstacle::new(format!(
            "{id} runs {}, and VSS backups are for Windows: name a document of your own as ExecutionHandler, or leave it \
             out",
            managed.platform
        )));
    }
    if is_vss && instance.profile.is_none() {
        return Some(Obstacle::new(format!(
            "{id} has no instance profile, and makes the snapshots of a VSS backup itself: attach one whose role has \
             AWSEC2VssSnapshotPolicy (instance-role.yaml makes one)"
        )));
    }
    None
}

/// The instance makes the snapshots, with these tags from the start.
fn vss(
    document: VssDocument,
    instance: &Instance,
    claim: &Claim,
    errand: Errand,
    request: CreateSnapshots,
) -> SendCommand {
    let mut all = request.tags;
    all.add(&claim.write_for_vss());
    all.insert(tags::EXECUTION_ID.into(), errand.execution_id(&instance.id, document.name()));
    let exclude = if request.exclude_boot_volume { "True" } else { "False" };
    // Whatever people write, such as the instance's name, would end up in a command of PowerShell.
    let description = description::write(claim, None, None).replace(',', "/");
    let parameters = BTreeMap::from([
        ("ExcludeBootVolume".to_owned(), exclude.to_owned()),
        ("description".to_owned(), description),
        ("tags".to_owned(), in_one_text(&all)),
    ]);
    SendCommand {
        instance: instance.id.clone(),
        document: document.name().to_owned(),
        volumes: request.volumes,
        parameters,
        errand,
        delivery_seconds: DELIVERY_SECONDS,
    }
}

/// A VSS backup that the agent does not fetch within this time is not made: the next run tries again.
const DELIVERY_SECONDS: u16 = 600;

/// `Key=a,Value=b;Key=c,Value=d`
fn in_one_text(tags: &Tags) -> String {
    let one = |(key, value): (&String, &String)| format!("Key={key},Value={value}");
    tags.iter().map(one).collect::<Vec<_>>().join(";")
}

/// So long after the start window what was begun within it may be tried again, or done without.
const TO_THE_END: SignedDuration = SignedDuration::from_hours(6);

/// The latest slot, whose start window is over, where something was begun within it.
pub(super) fn begun_in_time(
    draft: &Draft<'_>,
    policy: &Policy,
    schedule: &Schedule,
) -> Option<Slot> {
    let at = draft.request.at;
    let latest = schedule.create.latest(at)?;
    let window = SignedDuration::from_mins(schedule.create.start_window_minutes?.into());
    let is_near = at.duration_since(latest) <= window + TO_THE_END;
    let slot = Slot::new(latest);
    (is_near && has_begun(draft, policy, schedule, slot, None)).then_some(slot)
}

/// Whether a command for this slot was sent, to this instance or to any.
pub(super) fn has_begun(
    draft: &Draft<'_>,
    policy: &Policy,
    schedule: &Schedule,
    slot: Slot,
    instance: Option<&InstanceId>,
) -> bool {
    let (Some(script), Ok(known)) = (&schedule.script, &draft.request.inventory.commands) else {
        return false;
    };
    known.iter().any(|it| {
        it.errand.policy == policy.name
            && it.errand.slot == slot
            && it.is_of(script.document())
            && instance.is_none_or(|id| it.instance == *id)
    })
}

/// How long a run may be about one creation with these scripts, from the pre-script's request to the post-script's.
pub(in crate::plan) fn longest(script: &Script) -> SignedDuration {
    let timeout = match &script.handler {
        Handler::Document(it) => i64::from(it.timeout_seconds),
        Handler::Vss(_) => 0,
    };
    SignedDuration::from_secs(timeout) + SignedDuration::from_mins(3)
}

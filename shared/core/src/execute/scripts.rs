//! A creation with scripts around it: pre-script, snapshots, post-script.
//!
//! An application that stands still is worse than a snapshot that is missing. So nothing is begun for whose end there is
//! not time enough; and once a pre-script may have run, however it ended, the post-script is sent. When this process dies
//! in between, the next run finds the pre-script among the commands that Systems Manager remembers.

use jiff::SignedDuration;

use super::{Executed, Limits, OUT_OF_TIME, Outcome, outcome};
use crate::action::{Action, Planned, Reason};
use crate::commands::{Command, CommandId, Errand, Progress, SendCommand, Status, Step};
use crate::ec2::{CommandFilter, CreateSnapshots, Ec2, Ec2Error, ScriptRun};
use crate::ids::SnapshotId;
use crate::policy::{DocumentScript, Stages, Tags};
use crate::tags;
use sending::{LOOK_AGAIN, failure, may_yet_stop, not_sent, send_until_taken, stands_still, wait};

pub(super) use sending::post_script;

mod sending;

/// What the agent has to fetch a command, and Systems Manager to tell what became of it.
const DELIVERY: SignedDuration = SignedDuration::from_secs(35);

/// What EC2 has to answer a creation.
const CREATION: SignedDuration = SignedDuration::from_mins(1);

/// So often a pre-script of which nobody said whether it was sent is looked for: it is listed a little later.
const LOOKS: usize = 5;

/// Exit code of a pre-script: somebody else's, which has no post-script yet.
const STOOD_STILL: i32 = 204;

/// One creation of a set, with what it needs to know again and again.
struct Around<'a, E> {
    ec2: &'a E,
    planned: &'a Planned,
    request: &'a CreateSnapshots,
    run: &'a ScriptRun,
    document: &'a str,
    stages: Stages,
    timeout: SignedDuration,
    limits: &'a Limits<'a>,
}

/// Makes the set, with the scripts of `run` around it, as often as the policy says. Every command has a line of its own,
/// before that of the snapshots if it came before.
pub(super) async fn create<E: Ec2>(
    ec2: &E,
    planned: &Planned,
    request: &CreateSnapshots,
    run: &ScriptRun,
    limits: &Limits<'_>,
) -> Vec<Executed> {
    let timeout = SignedDuration::from_secs(i64::from(run.document.timeout_seconds));
    let DocumentScript { name, stages, .. } = &run.document;
    let around =
        Around { ec2, planned, request, run, document: name, stages: *stages, timeout, limits };
    around.attempts(run.attempts_before).await
}

impl<E: Ec2> Around<'_, E> {
    async fn attempts(&self, before: u8) -> Vec<Executed> {
        let mut lines = Vec::new();
        let left = if self.stages.has_pre() { self.run.attempts_left.max(1) } else { 1 };
        let last = before.saturating_add(left);
        let mut failure = None;
        for attempt in before.saturating_add(1)..=last.min(9) {
            let (left, needed) = ((self.limits.time_left)(), self.needs());
            if left < needed {
                let why = format!(
                    "{OUT_OF_TIME}: the scripts of {} and the snapshots may take {} seconds, and {} are left",
                    self.document,
                    needed.as_secs(),
                    left.as_secs().max(0)
                );
                lines.push(self.made(self.request.clone(), Outcome::Deferred(why)));
                return lines;
            }
            if let Some(Failed { line, .. }) = failure.take() {
                lines.push(line);
            }
            if let Some(other) = self.other_run(attempt).await {
                lines.push(self.made(self.request.clone(), Outcome::Held(other)));
                return lines;
            }
            match self.pre_script(attempt).await {
                Ok(line) => {
                    lines.extend(line);
                    lines.extend(self.snapshots(attempt).await);
                    return lines;
                }
                Err(Failed { error, pre: Pre::DidNotRun, .. }) if error.kind().passes() => {
                    let why = error.to_string();
                    lines.push(self.made(self.request.clone(), Outcome::Deferred(why)));
                    return lines;
                }
                Err(failed) => {
                    let ends_it = matches!(failed.pre, Pre::Ended | Pre::MayRunYet);
                    if ends_it && self.stages.has_post() {
                        let (line, _) = self.post_script(attempt, failed.pre).await;
                        lines.push(line);
                    }
                    let is_others = failed.pre == Pre::FoundItStill;
                    failure = Some(failed);
                    if is_others {
                        break;
                    }
                }
            }
        }
        let ended = failure.as_ref().map(|it| it.ending.clone());
        if let Some(Failed { line, error, .. }) = failure {
            lines.push(Executed { outcome: Outcome::Failed(error), ..line });
        }
        lines.push(self.without(ended).await);
        lines
    }

    /// Whether another run has begun this one since the plan was made, which may be minutes ago.
    async fn other_run(&self, attempt: u8) -> Option<String> {
        let ScriptRun { policy, slot, .. } = self.run;
        let filter = CommandFilter {
            document: self.document.to_owned(),
            since: slot.timestamp(),
            instance: Some(self.request.instance.clone()),
        };
        // What cannot be looked at was looked at when the plan was made.
        let known = self.ec2.list_commands(&filter).await.unwrap_or_default();
        let is_other = |it: &&Command| {
            it.errand.step == Step::PreScript
                && it.errand.policy == *policy
                && it.errand.slot == *slot
                && it.errand.attempt >= attempt
        };
        let other = known.iter().find(is_other)?;
        let since = tags::instant(other.requested);
        Some(format!("another run began its pre-script at {since}, command {}", other.id))
    }

    /// The longest that one attempt may take, but for further post-scripts.
    fn needs(&self) -> SignedDuration {
        let one = self.timeout + DELIVERY;
        let scripts = u8::from(self.stages.has_pre()) + u8::from(self.stages.has_post());
        CREATION + one * i32::from(scripts)
    }

    fn command(&self, step: Step, attempt: u8) -> SendCommand {
        let ScriptRun { policy, slot, .. } = self.run;
        let errand = Errand { policy: policy.clone(), slot: *slot, attempt, step };
        SendCommand::script(&self.request.instance, self.document, errand)
    }

    fn line(&self, command: &SendCommand, outcome: Outcome) -> Executed {
        let planned = Planned {
            action: Action::SendCommand(command.clone()),
            reason: Reason::AroundSnapshots(command.errand.step),
            ..self.planned.clone()
        };
        Executed { planned, outcome }
    }

    fn made(&self, request: CreateSnapshots, outcome: Outcome) -> Executed {
        let planned = Planned { action: Action::CreateSnapshots(request), ..self.planned.clone() };
        Executed { planned, outcome }
    }

    /// `None`: there is none.
    async fn pre_script(&self, attempt: u8) -> Result<Option<Executed>, Failed> {
        if !self.stages.has_pre() {
            return Ok(None);
        }
        let command = self.command(Step::PreScript, attempt);
        let sent = match self.ec2.send_command(&command).await {
            Err(Ec2Error::NoAnswer { operation, source }) => {
                self.find(&command).await.ok_or(Ec2Error::NoAnswer { operation, source })
            }
            sent => sent,
        };
        let id = match sent {
            Ok(id) => id,
            Err(error) => {
                let is_unknown = matches!(error, Ec2Error::NoAnswer { .. });
                let pre = if is_unknown { Pre::MayRunYet } else { Pre::DidNotRun };
                return Err(self.failed(&command, error, "not sent".into(), pre));
            }
        };
        let longest = self.timeout + DELIVERY;
        let progress = wait(self.ec2, &id, &command.instance, longest, self.limits).await;
        match progress {
            Some(progress) if progress.status == Status::Success => {
                Ok(Some(self.line(&command, Outcome::Sent(id))))
            }
            progress => {
                let ran = progress.as_ref().map(|it| it.status);
                if ran.is_none_or(|it| matches!(it, Status::Running | Status::Unclear)) {
                    // What has not begun must not begin after the post-script. Whether this helps is not known, and
                    // nothing else would.
                    let _ = self.ec2.cancel_command(&id).await;
                }
                let what = match ran {
                    None | Some(Status::Running) => {
                        format!("did not end within {} seconds", longest.as_secs())
                    }
                    _ => "failed".to_owned(),
                };
                let text = progress.as_ref().map_or_else(|| "Unknown".to_owned(), Progress::ending);
                let code = progress.as_ref().and_then(|it| it.response_code);
                let pre = match ran {
                    Some(Status::Failed) if code == Some(STOOD_STILL) => Pre::FoundItStill,
                    Some(Status::NeverRan) => Pre::DidNotRun,
                    Some(Status::Failed | Status::Success) => Pre::Ended,
                    None | Some(Status::Running | Status::Unclear) => Pre::MayRunYet,
                };
                let error = failure(&command, what, progress);
                Err(self.failed(&command, error, text, pre))
            }
        }
    }

    fn failed(&self, command: &SendCommand, error: Ec2Error, ending: String, pre: Pre) -> Failed {
        let line = self.line(command, Outcome::Held(format!("tried again: {error}")));
        Failed { line, error, ending, pre }
    }

    /// A command of which nobody said whether it was sent.
    async fn find(&self, command: &SendCommand) -> Option<CommandId> {
        let filter = CommandFilter {
            document: command.document.clone(),
            since: command.errand.slot.timestamp(),
            instance: Some(command.instance.clone()),
        };
        let is_it = |it: &Command| it.errand == command.errand;
        for _ in 0..LOOKS {
            let known = self.ec2.list_commands(&filter).await.unwrap_or_default();
            if let Some(found) = known.into_iter().find(is_it) {
                return Some(found.id);
            }
            if (self.limits.out_of_time)() {
                break;
            }
            (self.limits.pause)(LOOK_AGAIN).await;
        }
        None
    }

    /// The application stands still; whatever becomes of the snapshots, the post-script follows.
    async fn snapshots(&self, attempt: u8) -> Vec<Executed> {
        let mut request = self.request.clone();
        let command = self.command(Step::PostScript, attempt);
        if let Some(id) = command.parameters.get("executionId") {
            request.tags.insert(tags::EXECUTION_ID.into(), id.clone());
        }
        if self.stages.has_pre() {
            request.tags.insert(tags::PRE_SCRIPT.into(), "Success".into());
            if !self.stages.has_post() {
                request.tags.insert(tags::APP_CONSISTENT.into(), "true".into());
            }
        }
        let created = self.ec2.create_snapshots(&request).await;
        let made = created.as_ref().cloned().unwrap_or_default();
        let action = Action::CreateSnapshots(request.clone());
        let mut lines = vec![self.made(request, outcome(&action, created.map(Outcome::Done)))];
        if self.stages.has_post() {
            let (line, ending) = self.post_script(attempt, Pre::Succeeded).await;
            lines.push(line);
            lines.extend(self.record(made, ending).await);
        }
        lines
    }

    /// And how it ended. After a pre-script that failed there may be nothing to let go on, which is as good.
    async fn post_script(&self, attempt: u8, pre: Pre) -> (Executed, Option<Progress>) {
        let command = self.command(Step::PostScript, attempt);
        let mut tries = 0;
        loop {
            tries += 1;
            let longest = self.timeout + DELIVERY;
            let (id, progress) =
                match send_until_taken(self.ec2, &command, longest, self.limits).await {
                    Ok(sent) => sent,
                    Err(error) => {
                        let error = not_sent(&command, &error);
                        return (self.line(&command, Outcome::Failed(error)), None);
                    }
                };
            let status = progress.as_ref().map(|it| it.status);
            let is_over = progress.as_ref().is_some_and(Progress::lets_go_on);
            if is_over && pre == Pre::MayRunYet && status != Some(Status::Success) {
                let error = may_yet_stop(&command, progress.clone());
                return (self.line(&command, Outcome::Failed(error)), progress);
            }
            if status == Some(Status::Success) || (is_over && pre == Pre::Ended) {
                return (self.line(&command, Outcome::Sent(id)), progress);
            }
            if is_over {
                let what = "came too late, so that the snapshots may not be application-consistent";
                let error = failure(&command, what.into(), progress.clone());
                return (self.line(&command, Outcome::Failed(error)), progress);
            }
            if tries > u16::from(self.run.retries) || (self.limits.out_of_time)() {
                let error = if self.stages.has_pre() {
                    stands_still(&command, progress.clone())
                } else {
                    // What stands still, others have stopped; no later run knows of it.
                    failure(&command, "did not succeed".into(), progress.clone())
                };
                return (self.line(&command, Outcome::Failed(error)), progress);
            }
        }
    }

    /// What became of the scripts, as tags: where that fails, the next run does it.
    async fn record(&self, made: Vec<SnapshotId>, post: Option<Progress>) -> Option<Executed> {
        let post = post.filter(|_| !made.is_empty())?;
        let mut tags = Tags::from([(tags::POST_SCRIPT.to_owned(), post.ending())]);
        if self.stages.has_pre() {
            let consistent = post.status == Status::Success;
            tags.insert(tags::APP_CONSISTENT.into(), consistent.to_string());
        }
        let recorded = self.ec2.create_tags(&made, &tags).await;
        let is_as_expected = post.status == Status::Success && recorded.is_ok();
        let action = Action::RecordScripts { snapshots: made, tags };
        let reason = Reason::ScriptResult(format!("the post-script ended as {}", post.ending()));
        let outcome = outcome(&action, recorded.map(|()| Outcome::Done(Vec::new())));
        let planned = Planned { action, reason, ..self.planned.clone() };
        (!is_as_expected).then_some(Executed { planned, outcome })
    }

    /// `ExecuteOperationOnScriptFailure`
    async fn without(&self, ended: Option<String>) -> Executed {
        let mut request = CreateSnapshots { script: None, ..self.request.clone() };
        if !self.run.goes_on {
            let why =
                "not made, as its pre-script failed and ExecuteOperationOnScriptFailure is false";
            return self.made(request, Outcome::Held(why.into()));
        }
        request.tags.insert(tags::APP_CONSISTENT.into(), "false".into());
        if let Some(ended) = ended {
            request.tags.insert(tags::PRE_SCRIPT.into(), ended);
        }
        let created = self.ec2.create_snapshots(&request).await;
        let action = Action::CreateSnapshots(request);
        let outcome = outcome(&action, created.map(Outcome::Done));
        let reason = Reason::CrashConsistent;
        Executed { planned: Planned { action, reason, ..self.planned.clone() }, outcome }
    }
}

/// A pre-script that did not do what it should have done.
struct Failed {
    /// As long as it is not the last.
    line: Executed,
    error: Ec2Error,
    /// For the tag.
    ending: String,
    pre: Pre,
}

/// How far a pre-script got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pre {
    /// To its end, as it should, or there is none.
    Succeeded,
    /// To its end: it may have got half-way.
    Ended,
    /// Nobody knows: what it does may come after the post-script.
    MayRunYet,
    /// Nowhere.
    DidNotRun,
    /// To its end at once, as the application stood still already: a run that is alive sends the post-script of it, and of
    /// one that is not the next run does.
    FoundItStill,
}

//! Sending scripts, and waiting for their ends.

use jiff::SignedDuration;

use super::super::Limits;
use crate::commands::{CommandId, Progress, SendCommand, Status};
use crate::ec2::{CommandFailed, Ec2, Ec2Error, ErrorKind};
use crate::ids::InstanceId;

/// Between two looks at a command, at first.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Between two looks, in the end: what stands still stands still for so much longer, and Systems Manager answers not much
/// more often than this when twenty scripts run at once.
const LOOK_SELDOM: SignedDuration = SignedDuration::from_secs(2);

/// So often a post-script is sent where sending it fails: it is the same whether it runs once or twice.
const SENDINGS: usize = 8;

/// Between the last two of them.
const SEND_SELDOM: SignedDuration = SignedDuration::from_secs(15);

/// Sends the post-script of a run that did not, and waits for its end.
pub(in crate::execute) async fn post_script<E: Ec2>(
    ec2: &E,
    request: &SendCommand,
    limits: &Limits<'_>,
) -> Result<CommandId, Ec2Error> {
    const LONGEST: SignedDuration = SignedDuration::from_mins(2);
    let sent = send_until_taken(ec2, request, LONGEST, limits).await;
    let (id, progress) = sent.map_err(|err| not_sent(request, &err))?;
    match progress {
        Some(progress) if progress.lets_go_on() => Ok(id),
        progress => Err(stands_still(request, progress)),
    }
}

pub(super) fn failure(command: &SendCommand, what: String, progress: Option<Progress>) -> Ec2Error {
    Ec2Error::Command(Box::new(CommandFailed {
        step: command.errand.step,
        document: command.document.clone(),
        instance: command.instance.clone(),
        what,
        progress,
    }))
}

pub(super) fn stands_still(command: &SendCommand, progress: Option<Progress>) -> Ec2Error {
    let what = match progress.as_ref().map(|it| it.status) {
        None | Some(Status::Running) => {
            "has not ended yet: THE APPLICATION MAY STAND STILL. See to it; the next run looks again, and sends it again \
             where it has failed"
        }
        _ => "failed: THE APPLICATION MAY STAND STILL. See to it; the next run sends it again",
    };
    failure(command, what.into(), progress)
}

/// The post-script had nothing to do, and the pre-script may have its way after it.
pub(super) fn may_yet_stop(command: &SendCommand, progress: Option<Progress>) -> Ec2Error {
    let what = "had nothing to do, and the pre-script may not have ended: THE APPLICATION MAY STAND STILL. See to it; the \
                next run sends it again";
    failure(command, what.into(), progress)
}

pub(super) fn not_sent(command: &SendCommand, error: &Ec2Error) -> Ec2Error {
    let why = crate::chain::Chain(error);
    let what = format!(
        "was not sent: THE APPLICATION MAY STAND STILL. See to it; the next run sends it again: {why}"
    );
    failure(command, what, None)
}

/// Sends a post-script, which may be sent twice, and waits for its end; `None`: nobody tells it.
pub(super) async fn send_until_taken<E: Ec2>(
    ec2: &E,
    command: &SendCommand,
    longest: SignedDuration,
    limits: &Limits<'_>,
) -> Result<(CommandId, Option<Progress>), Ec2Error> {
    let (mut sendings, mut pause) = (0, LOOK_AGAIN);
    let id = loop {
        sendings += 1;
        match ec2.send_command(command).await {
            Ok(id) => break id,
            Err(err) => {
                let again = err.kind().passes()
                    || matches!(err.kind(), ErrorKind::NoAnswer | ErrorKind::Internal);
                if !again || sendings >= SENDINGS || (limits.out_of_time)() {
                    return Err(err);
                }
            }
        }
        (limits.pause)(pause).await;
        pause = (pause * 2).min(SEND_SELDOM);
    };
    let progress = wait(ec2, &id, &command.instance, longest, limits).await;
    Ok((id, progress))
}

/// The end of a command, or how far it is when that takes too long; `None`: nobody tells.
pub(super) async fn wait<E: Ec2>(
    ec2: &E,
    id: &CommandId,
    instance: &InstanceId,
    longest: SignedDuration,
    limits: &Limits<'_>,
) -> Option<Progress> {
    // A look may take its time, too.
    let began = (limits.time_left)();
    let (mut waited, mut pause) = (SignedDuration::ZERO, LOOK_AGAIN);
    let mut last = None;
    while waited.max(began - (limits.time_left)()) < longest {
        match ec2.get_command(id, instance).await {
            Ok(progress) if progress.status != Status::Running => return Some(progress),
            Ok(progress) => last = Some(progress),
            Err(err) if err.kind() == ErrorKind::AccessDenied => return last,
            Err(_) => {} // it may be too early to ask, or one answer of many is missing
        }
        if (limits.out_of_time)() {
            return last; // no pause is one any more
        }
        (limits.pause)(pause).await;
        waited += pause;
        pause = LOOK_SELDOM;
    }
    last
}

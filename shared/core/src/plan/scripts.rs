//! What other runs began and did not end: post-scripts that nobody has sent, results that nobody has recorded, VSS backups
//! of which nobody has seen the end.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::create::scripted::longest;
use super::rotate::Draft;
use crate::action::{Action, Hold, Reason, Subject};
use crate::commands::{Command, Errand, SendCommand, Status, Step};
use crate::ids::InstanceId;
use crate::inventory::Unread;
use crate::policy::{DocumentScript, Handler, Policy, SnapshotPolicy, Stages};
use crate::schedule::Slot;
use crate::tags;

pub(super) use backups::tell_failed_backups;
pub(super) use results::record;

mod backups;
mod results;

/// Those for one slot of an instance, oldest first.
pub(super) fn of_slot<'a>(
    commands: &'a [Command],
    policy: &str,
    slot: Slot,
    instance: &InstanceId,
    document: &str,
) -> Vec<&'a Command> {
    let is_wanted = |it: &&Command| {
        it.errand.policy == policy
            && it.errand.slot == slot
            && it.instance == *instance
            && it.is_of(document)
    };
    let mut commands: Vec<_> = commands.iter().filter(is_wanted).collect();
    commands.sort_by_key(|it| (it.requested, it.errand.step, &it.id));
    commands
}

/// Whether the run that sent this pre-script may still be about to go on.
pub(super) fn can_be_alive(command: &Command, longest: SignedDuration, now: Timestamp) -> bool {
    command.errand.step == Step::PreScript && now.duration_since(command.requested) < longest
}

/// When it ended, or at least was asked for. The instance tells, whose clock may be wrong.
pub(super) fn ended(command: &Command, now: Timestamp) -> Timestamp {
    command.finished.map_or(command.requested, |at| at.min(now).max(command.requested))
}

/// What became of it, for people; `success` is what is wrong with it, though it says that it succeeded.
pub(super) fn why(command: &Command, success: &str) -> String {
    let Command { errand, progress, id, document, instance, .. } = command;
    let mut text = format!(
        "the {} of {document} on {instance} at {}, command {id}, ended as {}",
        errand.step,
        tags::instant(command.requested),
        progress
    );
    if progress.status == Status::Success {
        text = format!("{text}, and {success}");
    }
    text
}

/// The post-scripts that are missing, of disabled policies too: what was begun is ended.
pub(super) fn thaw(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    // Of one document in several schedules, the one that may take longest.
    let mut documents: BTreeMap<&String, SignedDuration> = BTreeMap::new();
    for script in details.schedules.iter().filter_map(|it| it.script.as_ref()) {
        if let Handler::Document(DocumentScript { name, stages: Stages::Both, .. }) =
            &script.handler
        {
            let known = documents.entry(name).or_insert(SignedDuration::ZERO);
            *known = (*known).max(longest(script));
        }
    }
    let commands = match &draft.request.inventory.commands {
        Ok(commands) => commands,
        Err(unread) if !documents.is_empty() => return not_looked_for(draft, policy, unread),
        Err(_) => return,
    };
    for (name, longest) in documents {
        let mut runs: BTreeMap<(&InstanceId, Slot, u8), Vec<&Command>> = BTreeMap::new();
        let of_document = |it: &&Command| it.errand.policy == policy.name && it.is_of(name);
        for command in commands.iter().filter(of_document) {
            let run = (&command.instance, command.errand.slot, command.errand.attempt);
            runs.entry(run).or_default().push(command);
        }
        for ((instance, _, _), run) in runs {
            if let Some(missing) = missing_post_script(&run, longest, draft.request.now) {
                let is_running = draft.request.inventory.instances.get(instance);
                if is_running.is_some_and(|it| !it.running) {
                    continue; // it has forgotten what it was asked
                }
                let errand = &missing.of.errand;
                if is_at_it(commands, instance, errand, longest, draft.request.now) {
                    continue; // whoever it is sends the post-script, and the next run looks again
                }
                let errand = Errand { step: Step::PostScript, ..missing.of.errand.clone() };
                let subject = Subject {
                    policy: policy.name.clone(),
                    slot: Some(errand.slot),
                    instance: Some(instance.clone()),
                    ..Subject::default()
                };
                let request = SendCommand::script(instance, name, errand);
                draft.act(Action::SendCommand(request), subject, Reason::PostScript(missing.why));
            }
        }
    }
}

/// Whether a run may be alive that has begun something else on the instance.
fn is_at_it(
    commands: &[Command],
    instance: &InstanceId,
    errand: &Errand,
    longest: SignedDuration,
    now: Timestamp,
) -> bool {
    let of_it = || commands.iter().filter(|it| it.instance == *instance);
    let is_other =
        |a: &Errand, b: &Errand| (&a.policy, a.slot, a.attempt) != (&b.policy, b.slot, b.attempt);
    let others = of_it().filter(|it| is_other(&it.errand, errand));
    others.filter(|it| can_be_alive(it, longest, now)).any(|pre| {
        let is_its_post = |it: &&Command| {
            it.errand.step == Step::PostScript && !is_other(&it.errand, &pre.errand)
        };
        !of_it().filter(is_its_post).any(|post| post.progress.lets_go_on())
    })
}

/// Nobody knows whether a post-script is missing, and the slot may be served, so that no creation tells.
fn not_looked_for(draft: &mut Draft<'_>, policy: &Policy, unread: &Unread) {
    let without = "whether post-scripts are missing is not known: where a run ended before its own, THE APPLICATION MAY \
                   STAND STILL";
    if policy.enabled {
        return draft.tell_unread(policy, "ListCommandInvocations", unread, without);
    }
    let subject = Subject { policy: policy.name.clone(), ..Subject::default() };
    draft.hold(subject, Hold::Ec2(format!("{}: without it {without}", unread.message)));
}

struct Missing<'a> {
    /// The pre-script, or the last post-script of one that is not remembered any more.
    of: &'a Command,
    why: String,
}

/// Whether the application may still stand still.
fn missing_post_script<'a>(
    run: &[&'a Command],
    longest: SignedDuration,
    now: Timestamp,
) -> Option<Missing<'a>> {
    // One that failed may have got half-way.
    let may_stand_still = |it: &&&Command| {
        it.errand.step == Step::PreScript && it.progress.status != Status::NeverRan
    };
    let posts = run.iter().filter(|it| it.errand.step == Step::PostScript);
    let Some(of) = run.iter().filter(may_stand_still).max_by_key(|it| it.requested) else {
        let has_pre = run.iter().any(|it| it.errand.step == Step::PreScript);
        let last = posts.max_by_key(|it| it.requested).filter(|_| !has_pre)?;
        let is_done = last.progress.lets_go_on();
        let is_new = now.duration_since(last.requested) < longest;
        if is_done || (last.progress.status == Status::Running && is_new) {
            return None;
        }
        let why = why(last, "nothing is wrong with it");
        return Some(Missing { of: last, why: format!("the application may stand still: {why}") });
    };
    let post = posts.filter(|it| it.requested >= of.requested).max_by_key(|it| it.requested);
    let since = tags::instant(of.requested);
    let why = match post {
        _ if can_be_alive(of, longest, now) && post.is_none_or(|it| it.progress.lets_go_on()) => {
            return None;
        }
        None => format!(
            "the run that sent the pre-script at {since}, command {}, ended before the post-script: the application may \
             have stood still since then",
            of.id
        ),
        Some(post) if post.progress.status == Status::Running => {
            if now.duration_since(post.requested) < longest {
                return None;
            }
            format!(
                "the application may stand still since {since}: the post-script at {}, command {}, has not ended yet",
                tags::instant(post.requested),
                post.id
            )
        }
        Some(post) if post.progress.lets_go_on() => {
            let surely_ended = surely_ended(of, longest, now);
            if post.requested >= surely_ended {
                return None;
            }
            format!(
                "the application may stand still: the post-script at {}, command {}, may have come before the end of the \
                 pre-script at {since}, command {}, which is {}",
                tags::instant(post.requested),
                post.id,
                of.id,
                of.progress.details
            )
        }
        Some(post) => format!(
            "the application may stand still since {since}: {}",
            why(post, "nothing is wrong with it")
        ),
    };
    Some(Missing { of, why })
}

/// The clocks of instances and of Systems Manager differ by less.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);

/// Within so much less than [`longest`] a run sees the end of its pre-script, or gives it up.
const NOT_WAITED_FOR: SignedDuration = SignedDuration::from_secs(150);

/// From when on a pre-script does nothing any more, as far as anybody can tell: one whose end the run did not see may
/// have had its way after a post-script that came right behind it.
fn surely_ended(pre: &Command, longest: SignedDuration, now: Timestamp) -> Timestamp {
    let after = |since: Timestamp, by| since.checked_add(by).unwrap_or(Timestamp::MAX);
    let is_told = matches!(pre.progress.status, Status::Success | Status::Failed);
    let lasted = pre.finished.map_or(SignedDuration::ZERO, |at| at.duration_since(pre.requested));
    if is_told && lasted < longest - NOT_WAITED_FOR {
        return pre.finished.map_or(pre.requested, |at| after(at, -CLOCKS));
    }
    after(pre.requested, longest).max(ended(pre, now))
}

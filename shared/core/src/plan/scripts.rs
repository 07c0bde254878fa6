//! What other runs began and did not end: post-scripts that nobody has sent, results that nobody has recorded, VSS backups
//! of which nobody has seen the end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::create::scripted::longest;
use super::create::{SEEN_BY_THEN, Slots};
use super::rotate::{Draft, Own, Protected};
use crate::action::{Action, Hold, Impossible, Reason, Subject};
use crate::commands::{Command, Errand, Progress, SendCommand, Status, Step, exit_code};
use crate::ec2::ErrorKind;
use crate::ids::{InstanceId, SnapshotId};
use crate::inventory::{State, Unread};
use crate::policy::{Handler, Policy, Schedule, Script, SnapshotPolicy, Stages, Tags};
use crate::schedule::Slot;
use crate::tags;

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
        progress.details
    );
    if progress.status == Status::Success {
        text = format!("{text}, and {success}");
    }
    if let Some(code) = progress.response_code.filter(|code| *code != 0) {
        let meaning = exit_code(code).map(|it| format!(" ({it})")).unwrap_or_default();
        text = format!("{text}, exit code {code}{meaning}");
    }
    if progress.status != Status::Success && !progress.output.is_empty() {
        text = format!("{text}: {}", crate::chain::one_line(&progress.output));
    }
    text
}

/// The post-scripts that are missing, of disabled policies too: what was begun is ended.
pub(super) fn thaw(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    // Of one document in several schedules, the one that may take longest.
    let mut documents: BTreeMap<&String, SignedDuration> = BTreeMap::new();
    for script in details.schedules.iter().filter_map(|it| it.script.as_ref()) {
        if let Handler::Document { name, stages: Stages::Both, .. } = &script.handler {
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
        !of_it().filter(is_its_post).any(|post| goes_on(&post.progress))
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
        let is_done = goes_on(&last.progress);
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
        _ if can_be_alive(of, longest, now) && post.is_none_or(|it| goes_on(&it.progress)) => {
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
        Some(post) if goes_on(&post.progress) => {
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

/// The post-script says that the application goes on.
fn goes_on(post: &Progress) -> bool {
    post.status == Status::Success || post.had_nothing_to_do()
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

/// VSS backups are not waited for: whatever slot they were for, the next run tells what became of them.
pub(super) fn tell_failed_backups(
    draft: &mut Draft<'_>,
    policy: &Policy,
    details: &SnapshotPolicy,
) {
    let Ok(commands) = &draft.request.inventory.commands else {
        return;
    };
    for schedule in &details.schedules {
        let Some(script) = schedule.script.as_ref().filter(|it| is_vss(it)) else {
            continue;
        };
        let mut newest: BTreeMap<&InstanceId, &Command> = BTreeMap::new();
        let at = draft.request.at;
        // Of the latest slot the creation decides, and tells; of the one before, the runs of this one tell.
        let Some(due) = schedule.create.due(at) else {
            continue;
        };
        let is_before = |slot: Slot| {
            slot < due && schedule.create.latest(slot.timestamp()) == Some(slot.timestamp())
        };
        let is_its = |it: &&Command| {
            it.errand.policy == policy.name
                && it.errand.step == Step::VssBackup
                && it.is_of(script.document())
        };
        for command in commands.iter().filter(is_its) {
            let newest = newest.entry(&command.instance).or_insert(command);
            if (newest.errand.slot, newest.requested) < (command.errand.slot, command.requested) {
                *newest = command;
            }
        }
        let last_served = last_served(draft, policy, schedule);
        let slots: BTreeSet<Slot> = newest.values().map(|it| it.errand.slot).collect();
        let served = Slots::of(draft, policy, &slots).served;
        let mut told = Vec::new();
        for (instance, command) in newest {
            let slot = command.errand.slot;
            let is_served = served.contains(&(Protected::Instance(instance), slot, &schedule.name));
            // Retention may have deleted its set since, or nobody needs it any more.
            let is_past = last_served.get(instance).is_some_and(|later| *later > slot);
            let is_new = command.progress.status == Status::Success
                && draft.request.now.duration_since(ended(command, draft.request.now))
                    < SEEN_BY_THEN;
            let is_gone = !draft.request.inventory.instances.contains_key(instance);
            let has_expired = schedule
                .retain
                .age
                .is_some_and(|age| age.after(slot.timestamp()) <= draft.request.now);
            if is_served
                || is_past
                || is_new
                || is_gone
                || has_expired
                || !is_before(slot)
                || command.progress.status == Status::Running
            {
                continue;
            }
            let subject = Subject {
                policy: policy.name.clone(),
                schedule: schedule.name.clone(),
                slot: Some(slot),
                instance: Some(instance.clone()),
                ..Subject::default()
            };
            told.push((subject, why(command, "not all of its snapshots are there, or good")));
        }
        draft.plan.impossible.extend(told.into_iter().map(|(subject, message)| Impossible {
            scope: draft.request.scope.clone(),
            operation: "SendCommand",
            subject,
            kind: ErrorKind::ScriptFailed,
            code: String::new(),
            message,
        }));
    }
}

/// The latest slot of each instance of which the schedule has snapshots.
fn last_served(
    draft: &Draft<'_>,
    policy: &Policy,
    schedule: &Schedule,
) -> BTreeMap<InstanceId, Slot> {
    let mut last = BTreeMap::new();
    let is_its = |own: &&Own<'_>| {
        own.claim.policy == policy.name
            && own.claim.schedules.contains(&schedule.name)
            && own.snapshot.state != State::Error
    };
    for own in draft.own.iter().filter(is_its) {
        if let Some(instance) = &own.claim.instance {
            let slot = last.entry(instance.clone()).or_insert(own.claim.slot);
            *slot = own.claim.slot.max(*slot);
        }
    }
    last
}

fn is_vss(script: &Script) -> bool {
    matches!(script.handler, Handler::Vss(_))
}

/// What is known by now of snapshots that say nothing yet.
pub(super) fn record(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
    let leaving = draft.leaving();
    let mut sets: BTreeMap<_, Vec<&SnapshotId>> = BTreeMap::new();
    let mut known = Vec::new();
    for own in &draft.own {
        if own.claim.policy != policy.name || leaving.contains(&own.snapshot.id) {
            continue;
        }
        let schedules =
            details.schedules.iter().filter(|it| own.claim.schedules.contains(&it.name));
        let Some(result) = result(draft, own, schedules) else {
            continue;
        };
        let at = known.iter().position(|it| *it == result).unwrap_or_else(|| {
            known.push(result);
            known.len() - 1
        });
        sets.entry((own.attempt(), at)).or_default().push(&own.snapshot.id);
    }
    let mut records = Vec::new();
    for (((_, claim, _, _), at), snapshots) in sets {
        let subject = Subject {
            policy: policy.name.clone(),
            schedule: claim.schedule_text(),
            slot: Some(claim.slot),
            instance: claim.instance.clone(),
            ..Subject::default()
        };
        if let Some((tags, why)) = known.get(at) {
            let snapshots = snapshots.into_iter().cloned().collect();
            let action = Action::RecordScripts { snapshots, tags: tags.clone() };
            records.push((action, subject, Reason::ScriptResult(why.clone())));
        }
    }
    for (action, subject, reason) in records {
        draft.act(action, subject, reason);
    }
}

/// What to write on it, and why.
fn result<'a>(
    draft: &Draft<'_>,
    own: &Own<'_>,
    mut schedules: impl Iterator<Item = &'a Schedule>,
) -> Option<(Tags, String)> {
    let found = &own.snapshot.tags;
    let document = found.get(tags::SCRIPT)?;
    if found.contains_key(tags::APP_CONSISTENT) || own.snapshot.state == State::Error {
        return None;
    }
    let script = schedules.find_map(|it| {
        it.script.as_ref().filter(|script| script.document() == document.as_str())
    })?;
    let consistent = |yes: bool| (tags::APP_CONSISTENT.to_owned(), yes.to_string());
    match &script.handler {
        Handler::Vss(_) => {
            let said = found.get(tags::VSS_CONSISTENT);
            let yes = said.is_some_and(|said| said.eq_ignore_ascii_case("true"));
            let age = draft.request.now.duration_since(own.snapshot.start_time);
            if !yes && age < SEEN_BY_THEN {
                return None; // the components may not have said it yet
            }
            let why = match said {
                _ if yes => "the VSS components say that it is application-consistent".to_owned(),
                Some(said) => format!(
                    "it is not application-consistent: the VSS components say AppConsistent={said}"
                ),
                None => {
                    "it is not application-consistent: the VSS components do not say that it is"
                        .to_owned()
                }
            };
            Some((Tags::from([consistent(yes)]), why))
        }
        Handler::Document { name, .. } => {
            let execution = found.get(tags::EXECUTION_ID)?;
            let instance = own.claim.instance.as_ref()?;
            let commands = draft.request.inventory.commands.as_deref().ok()?;
            let of_slot = of_slot(commands, &own.claim.policy, own.claim.slot, instance, name);
            let mut posts = of_slot.into_iter().rev().filter(|it| {
                it.errand.step == Step::PostScript
                    && it.errand.execution_id(instance, document) == *execution
            });
            let post = posts.next().filter(|it| it.progress.status != Status::Running)?;
            let has_pre = found.get(tags::PRE_SCRIPT).is_some_and(|it| it == "Success");
            let ended = ending(&post.progress);
            if !has_pre && found.get(tags::POST_SCRIPT) == Some(&ended) {
                return None;
            }
            let mut tags = Tags::from([(tags::POST_SCRIPT.to_owned(), ended)]);
            if has_pre {
                tags.add(&Tags::from([consistent(post.progress.status == Status::Success)]));
            }
            Some((tags, why(post, "that is not recorded yet")))
        }
    }
}

/// As the tag has it: `Success`, `Failed 202`, `Execution Timed Out`.
pub(crate) fn ending(progress: &Progress) -> String {
    let code = progress.response_code.filter(|code| *code != 0);
    code.map_or_else(|| progress.details.clone(), |code| format!("{} {code}", progress.details))
}

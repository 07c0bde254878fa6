//! What became of scripts, where nobody has recorded it.

use std::collections::BTreeMap;

use super::super::create::SEEN_BY_THEN;
use super::super::rotate::{Draft, Own};
use super::{of_slot, why};
use crate::action::{Action, Reason, Subject};
use crate::commands::{Status, Step};
use crate::ids::SnapshotId;
use crate::inventory::State;
use crate::policy::{DocumentScript, Handler, Policy, Schedule, SnapshotPolicy, Tags};
use crate::tags;

/// What is known by now of snapshots that say nothing yet.
pub(in crate::plan) fn record(draft: &mut Draft<'_>, policy: &Policy, details: &SnapshotPolicy) {
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
        Handler::Document(DocumentScript { name, .. }) => {
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
            let ended = post.progress.ending();
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

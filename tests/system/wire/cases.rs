//! One kind of fault in one world: at all writes together, then at one read after the other, then not at all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Answer;
use snapferry_tests::stage::{EXTERNAL_ID, Stage};

use super::kinds::Kind;
use super::note;
use super::scenes::{Job, Scene};
use crate::common::is_look;
use crate::killed::differences;

/// Calls that must not be sent again where nobody knows what became of them.
const CREATING: [&str; 3] = ["CreateSnapshot", "CreateSnapshots", "CopySnapshot"];

/// The run that nobody disturbs.
pub(super) struct Undisturbed {
    /// The operations of a run, each once.
    pub(super) reads: Vec<String>,
    pub(super) writes: Vec<String>,
    world: Vec<String>,
}

impl Undisturbed {
    pub(super) fn of(stage: &Stage, job: Job) -> Result<Self> {
        let scene = Scene::new(stage, job, 60)?;
        stage.aws.clear("calls")?;
        scene.function.invoke(&scene.event)?.report()?;
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for call in stage.aws.calls()? {
            let list = if is_look(&call.action) { &mut reads } else { &mut writes };
            if !list.contains(&call.action) {
                list.push(call.action);
            }
        }
        let world = settled(&scene)?;
        let there: BTreeSet<String> = scene.snapshots()?.into_iter().map(|it| it.id).collect();
        assert!(scene.doomed.is_disjoint(&there), "{world:#?}");
        Ok(Self { reads, writes, world })
    }
}

/// Runs until there is nothing to do, and tells the world.
fn settled(scene: &Scene<'_>) -> Result<Vec<String>> {
    for _ in 0..4 {
        let report = scene.function.invoke(&scene.event)?.report()?;
        if report["Actions"] == json!([]) {
            return scene.outline();
        }
    }
    Err("it does not come to rest".into())
}

/// What is still different after two more runs, which nobody disturbs.
fn recovered(scene: &Scene<'_>, wanted: &[String]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for _ in 0..2 {
        scene.function.invoke(&scene.event)?.report()?;
        left = differences(&scene.outline()?, wanted);
        if left.is_empty() {
            break;
        }
    }
    Ok(left)
}

/// One kind of fault in one world: at all operations of a step together, one step after the other, then not at all.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) steps: Vec<Vec<String>>,
    /// The function's, in seconds.
    pub(super) time_out: u32,
}

impl Case {
    /// Everything that is wrong with how the function takes it.
    pub(super) fn play(
        &self,
        stage: &Stage,
        job: Job,
        undisturbed: &Undisturbed,
    ) -> Result<Vec<String>> {
        let scene = Scene::new(stage, job, self.time_out)?;
        let by_hand = created(&scene, job)?;
        let before: BTreeSet<String> = scene.snapshots()?.into_iter().map(|it| it.id).collect();
        let mut wrong = Vec::new();
        let is_over = |found: &[String]| found.iter().any(|it| it.contains("not answered"));
        for (n, operations) in self.steps.iter().enumerate() {
            let mut found = disturbed(&scene, job, &self.kind, operations)?;
            if n == 0 && !self.kind.refused {
                found.extend(sent_again(&by_hand, &created(&scene, job)?));
            }
            let there: BTreeSet<String> = scene.snapshots()?.into_iter().map(|it| it.id).collect();
            let lost: Vec<&String> =
                before.difference(&there).filter(|id| !scene.doomed.contains(*id)).collect();
            if !lost.is_empty() {
                found.push(format!("deleted what was to stay: {lost:?}"));
            }
            let over = is_over(&found);
            wrong.extend(found.into_iter().map(|it| format!("at {operations:?}: {it}")));
            if over {
                break;
            }
        }
        match recovered(&scene, &undisturbed.world) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => wrong.push(format!("in the end {left:#?}")),
            Err(err) => wrong.push(format!("in the end {err}")),
        }
        let of = format!("{}, {}", job.name(), self.kind.name);
        Ok(wrong.into_iter().map(|it| format!("{of} {it}")).collect())
    }
}

/// One run with this kind of fault at every call of these operations: what is wrong with its answer.
fn disturbed(
    scene: &Scene<'_>,
    job: Job,
    kind: &Kind,
    operations: &[String],
) -> Result<Vec<String>> {
    let aws = &scene.stage.aws;
    let faults: Vec<Value> =
        kind.faults.iter().map(|it| scene.fault(it, operations)).collect::<Result<_>>()?;
    let ours = json!([scene.member, scene.vault]);
    let of_this_world = |faults: &Value| -> Vec<Value> {
        let all = faults["faults"].as_array().into_iter().flatten();
        all.filter(|it| it["account"] == ours).cloned().collect()
    };
    aws.post("faults", &json!(faults))?;
    let answer = scene.function.invoke(&scene.event);
    let mut hits = 0;
    for fault in of_this_world(&aws.get("faults")?) {
        hits += fault["hits"].as_u64().unwrap_or(0);
        aws.clear(&format!("faults?id={}", fault["id"]))?;
    }
    let mut wrong = match answer {
        Ok(answer) => unclear(&answer, job, kind, operations),
        Err(err) => vec![format!("not answered: {err}")],
    };
    if hits == 0 {
        wrong.push("nothing was hit".to_owned());
    }
    note(kind.name, wrong.is_empty(), hits);
    Ok(wrong)
}

/// What the answer does not say, or should not.
fn unclear(answer: &Answer, job: Job, kind: &Kind, operations: &[String]) -> Vec<String> {
    let (error_type, message) = answer.error();
    let text = match answer {
        Answer::Report(report) => report.to_string(),
        Answer::Error { message, .. } => message.clone(),
    };
    let mut wrong = Vec::new();
    let types = [
        "",
        "InvalidConfiguration",
        "InvalidPolicy",
        "ScopesUnreadable",
        "ActionsFailed",
        "PlanRefused",
    ];
    if !types.contains(&error_type) {
        wrong.push(format!("{error_type} is no type of ours: {message}"));
    }
    if message.contains('\n') {
        wrong.push(format!("more than a line: {message:?}"));
    }
    for secret in [EXTERNAL_ID, "ASIA", "X-Amz-", "SecretAccessKey"] {
        if text.contains(secret) {
            wrong.push(format!("{secret} is a secret: {text}"));
        }
    }
    let named = operations.iter().any(|it| text.contains(it.as_str()));
    let said = kind.says.iter().any(|it| text.contains(it));
    // A key that cannot be looked up is left to EC2, which says what is wrong with it when the snapshot is shared.
    // What was made is looked up where its answer is lost; whatever was sent twice is found elsewhere.
    let may_be_silent = kind.says.is_empty()
        || (job == Job::Rotate && operations == ["DescribeKey"])
        || operations.iter().any(|it| CREATING.contains(&it.as_str()));
    let is_silent = matches!(answer, Answer::Report(_)) && may_be_silent;
    // On a machine that is too busy, the tries may have left no time for another call.
    let ran_out = text.contains("no answer to ") && text.contains("deadline has elapsed");
    if !(is_silent || ran_out || named && (said || kind.says.is_empty())) {
        wrong.push(format!("does not say it: {text}"));
    }
    wrong
}

/// How often each creating call was sent so far, by what it is about.
fn created(scene: &Scene<'_>, job: Job) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for action in CREATING {
        let path = format!("calls?account={}&action={action}", scene.at_work(job));
        let calls = scene.stage.aws.get(&path)?;
        for call in calls["calls"].as_array().into_iter().flatten() {
            let params = &call["params"];
            let subject = ["VolumeId", "InstanceSpecification.InstanceId", "SourceSnapshotId"];
            let subject: Vec<&str> = subject.iter().filter_map(|it| params[*it].as_str()).collect();
            *counts.entry(format!("{action} {subject:?} in {}", call["region"])).or_default() += 1;
        }
    }
    Ok(counts)
}

/// What was created more than once in one run.
fn sent_again(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> Vec<String> {
    let sent = after.iter().map(|(what, n)| (what, n - before.get(what).unwrap_or(&0)));
    sent.filter(|(_, n)| *n > 1).map(|(what, n)| format!("sent {n} times: {what}")).collect()
}

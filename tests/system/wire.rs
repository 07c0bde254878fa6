//! HTTP that fails in every way between the built functions and the local AWS, each kind at every call of a run: the run
//! ends in time, says what it saw, and the next ones end in the world of a run that nobody disturbed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::thread;

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::stage::Stage;

mod cases;
mod huge;
mod kinds;
mod scenes;

use cases::{Case, Undisturbed};
use scenes::Job;

/// So many worlds at a time.
const SIDE_BY_SIDE: usize = 24;

/// A line of the table: runs, and the calls of them that were disturbed.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    runs: usize,
    survived: usize,
    disturbed: u64,
}

/// What the tests of this module did so far.
static TABLE: Mutex<BTreeMap<&'static str, Line>> = Mutex::new(BTreeMap::new());

fn note(kind: &'static str, survived: bool, disturbed: u64) {
    if let Ok(mut table) = TABLE.lock() {
        let line = table.entry(kind).or_default();
        line.runs += 1;
        line.survived += usize::from(survived);
        line.disturbed += disturbed;
    }
}

fn print_table(of: &str) -> Result<()> {
    let table = TABLE.lock().map_err(|_| "a test panicked")?;
    let mut text = format!("{:<40}{:>6}{:>10}{:>10}\n", "fault", "runs", "survived", "calls");
    let mut sum = Line::default();
    for (kind, line) in &*table {
        writeln!(text, "{kind:<40}{:>6}{:>10}{:>10}", line.runs, line.survived, line.disturbed)?;
        sum.runs += line.runs;
        sum.survived += line.survived;
        sum.disturbed += line.disturbed;
    }
    writeln!(text, "{:<40}{:>6}{:>10}{:>10}", "all", sum.runs, sum.survived, sum.disturbed)?;
    println!("{text}after {of}; cargo test -p snapferry-tests --test system wire:: -- --nocapture");
    Ok(())
}

/// A local AWS in which nothing takes time.
fn stage(name: &str) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.aws.post("config", &json!({"snapshot_seconds": 0, "copy_seconds": 0}))?;
    Ok(stage)
}

/// Reads without which a run goes on, as far as that is right.
const PARTIAL: [&str; 3] = ["DescribeLockedSnapshots", "DescribeKey", "AssumeRole"];

/// Reads without which a run does more than without the others: later there would be nothing left for those to stop.
const DOES_MORE: [&str; 1] = ["DescribeInstances"];

/// Kinds that stand for the others where it is only a matter of what the run makes of it.
const TYPICAL: [&str; 6] = [
    "reset before the call",
    "half an answer, chunked",
    "503, empty",
    "throttled",
    "unclosed",
    "expired token",
];

/// What has pages; the first of them stop the most.
const ORDERED_LISTS: [&str; 6] = [
    "GetParametersByPath",
    "DescribeSnapshots",
    "DescribeVolumes",
    "DescribeLockedSnapshots",
    "DescribeImages",
    "DescribeInstances",
];

/// Every kind at every call.
fn cases(job: Job, undisturbed: &Undisturbed) -> Vec<Case> {
    let Undisturbed { reads, writes, .. } = undisturbed;
    let is_partial = |it: &&String| {
        PARTIAL.contains(&it.as_str()) && !(job == Job::Rotate && *it == "AssumeRole")
    };
    let (partial, mut needed): (Vec<&String>, Vec<&String>) = reads.iter().partition(is_partial);
    needed.sort_by_key(|it| DOES_MORE.contains(&it.as_str()));
    let alone = |these: &[&String]| -> Vec<Vec<String>> {
        these.iter().map(|it| vec![(*it).clone()]).collect()
    };
    let everything: Vec<String> = reads.iter().chain(writes).cloned().collect();
    let mut all = Vec::new();
    for kind in kinds::ending() {
        if TYPICAL.contains(&kind.name) {
            for read in &partial {
                all.push(Case { kind: kind.clone(), steps: alone(&[read]), time_out: 20 });
            }
        }
        all.push(Case { kind: kind.clone(), steps: vec![writes.clone()], time_out: 20 });
        all.push(Case { kind, steps: alone(&needed), time_out: 20 });
    }
    for kind in kinds::pages() {
        let lists = ORDERED_LISTS.iter().filter(|it| reads.iter().any(|read| read == *it));
        let steps = lists.map(|it| vec![(*it).to_owned()]).collect();
        all.push(Case { kind, steps, time_out: 20 });
    }
    for kind in kinds::storms() {
        let n = if kind.name.contains("storm") { 3 } else { 1 };
        all.push(Case { kind, steps: vec![everything.clone(); n], time_out: 20 });
    }
    for kind in kinds::lasting() {
        let is_thorough = kind.name.starts_with("never an answer");
        let of_writes = kind.name.ends_with("happened");
        for it in &everything {
            let is_typical =
                ["GetParametersByPath", "DescribeSnapshots", "CopySnapshot", "DescribeKey"];
            let is_meant = if of_writes { writes.contains(it) } else { true };
            if is_meant && (is_thorough || is_typical.contains(&it.as_str())) {
                all.push(Case { kind: kind.clone(), steps: alone(&[it]), time_out: 20 });
            }
        }
    }
    // What lasts is spread over the others: all of it ends at the same moment of its run, and wants the processor then.
    let n = all.len();
    let mut places: Vec<usize> = (0..n).collect();
    places.sort_by_key(|place| place * 7919 % n);
    places.into_iter().filter_map(|place| all.get(place).cloned()).collect()
}

/// Plays the cases side by side, each in a world of its own: most of them wait. All that is wrong.
fn side_by_side(stage: &Stage, job: Job, undisturbed: &Undisturbed, all: Vec<Case>) -> Vec<String> {
    let left = Mutex::new(all);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = left.lock().ok().and_then(|mut left| left.pop()) {
                    let found = case.play(stage, job, undisturbed);
                    let found =
                        found.unwrap_or_else(|err| vec![format!("{}: {err}", case.kind.name)]);
                    if let Ok(mut wrong) = wrong.lock() {
                        wrong.extend(found);
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap_or_default()
}

fn every_kind_at_every_call(job: Job) -> Result<()> {
    let stage = stage(&format!("wire-{}", job.name()))?;
    let undisturbed = Undisturbed::of(&stage, job)?;
    println!("{}: reads {:?}, writes {:?}", job.name(), undisturbed.reads, undisturbed.writes);
    let wrong = side_by_side(&stage, job, &undisturbed, cases(job, &undisturbed));
    print_table(job.name())?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn rotate_survives_every_kind_at_every_call() -> Result<()> {
    every_kind_at_every_call(Job::Rotate)
}

#[test]
fn copy_survives_every_kind_at_every_call() -> Result<()> {
    every_kind_at_every_call(Job::Copy)
}

//! `kill -9` of a function at every call of a run, one test for each: the next runs end in the same world.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::{Answer, Lambda};
use snapferry_tests::local_aws::Snapshot;
use snapferry_tests::stage::Stage;

use crate::common::is_look;

mod copies;
mod rotation;

/// What became of the call in flight when the function is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    /// It took effect, and the answer is lost.
    Happened,
    /// It never arrived.
    Lost,
}

/// A world before the run, and the functions that play in it.
pub(super) struct Scene {
    pub(super) stage: Stage,
    /// The one to be killed.
    pub(super) victim: Lambda,
    /// Its policies.
    pub(super) policies: Value,
    /// What the volumes and keys are called here, by id: every world has its own ids.
    pub(super) names: BTreeMap<String, String>,
}

/// A run to be disturbed.
pub(super) struct Story {
    /// The function.
    pub(super) function: &'static str,
    /// What wakes it, each time.
    pub(super) event: Value,
    /// Makes the world.
    pub(super) scene: fn(&str) -> Result<Scene>,
    /// How many snapshots there are in the end.
    pub(super) snapshots: usize,
    /// Whether a failed run says nothing but what it should.
    pub(super) may_say: fn(&str) -> bool,
}

impl Story {
    /// The number of calls of the run that nobody disturbs, and the world in which it ends.
    pub(super) fn undisturbed(&self) -> Result<(usize, Vec<String>)> {
        let scene = (self.scene)("killed-never")?;
        scene.stage.aws.clear("calls")?;
        let answer = scene.victim.invoke(&self.event)?;
        self.check(&answer)?;
        let n_calls = scene.stage.aws.calls()?.len();
        let world = self.end(&scene)?;
        let mut distinct = world.clone();
        distinct.dedup();
        assert_eq!(distinct, world, "one of each");
        assert!(world.iter().all(|it| it.contains(" completed ")), "{world:#?}");
        assert_eq!(world.len(), self.snapshots, "{world:#?}");
        Ok((n_calls, world))
    }

    /// The world in which it ends when the function is killed at its `n`th call, from 1. `None`: the run was over before,
    /// or the call only looked, and a look whose answer is lost leaves the world as one that never happened.
    pub(super) fn killed(&self, n: usize, call: Call) -> Result<Option<Vec<String>>> {
        let scene = (self.scene)(&format!("killed-{n}-{call:?}"))?;
        let hold = match call {
            Call::Happened => "after",
            Call::Lost => "before",
        };
        // What comes later never arrives, were it still on its way: this is the world of the first calls and no others.
        let faults = json!([
            {"agent": "app/victim", "skip": n - 1, "times": 1, "hold": hold, "drop": hold},
            {"agent": "app/victim", "skip": n - 1, "drop": "before"},
        ]);
        let aws = &scene.stage.aws;
        let armed = aws.post("faults", &faults)?;
        let until_held = format!("faults?wait=held&id={}&timeout=60", armed["faults"][0]["id"]);
        let action = thread::scope(|scope| -> Result<Option<String>> {
            let run = scope.spawn(|| {
                let answer = scene.victim.invoke(&self.event)?;
                if !is_exit(&answer) {
                    aws.clear("faults")?; // nobody waits any more
                }
                Result::Ok(answer)
            });
            let faults = aws.get(&until_held)?;
            scene.victim.kill();
            let answer = run.join().map_err(|_| "panicked")?;
            if faults["faults"] == json!([]) {
                self.check(&answer?)?; // the run was over before
                return Ok(None);
            }
            assert!(answer.as_ref().map_or(true, is_exit), "{faults} {answer:?}");
            let action = faults["faults"][0]["held"][0].as_str();
            Ok(Some(action.ok_or("no call was held")?.to_owned()))
        })?;
        let looks = |action: &str| is_look(action) && matches!(call, Call::Happened);
        if action.is_some_and(|action| looks(&action)) {
            return Ok(None);
        }
        self.end(&scene).map(Some)
    }

    /// Runs a fresh process until it finds nothing to do, and tells the world.
    fn end(&self, scene: &Scene) -> Result<Vec<String>> {
        let function = scene.stage.function(self.function, &scene.policies)?;
        for _ in 0..5 {
            scene.stage.aws.settle()?;
            let answer = function.invoke(&self.event)?;
            self.check(&answer)?;
            if matches!(&answer, Answer::Report(report) if report["Actions"] == json!([])) {
                return Ok(outline(&scene.stage.aws.snapshots()?, &scene.names));
            }
        }
        Err("it does not come to rest".into())
    }

    fn check(&self, answer: &Answer) -> Result<()> {
        let (error_type, message) = answer.error();
        if error_type.is_empty() || (self.may_say)(message) {
            return Ok(());
        }
        Err(format!("{error_type}: {message}").into())
    }
}

/// What the emulator says of a process that is gone.
fn is_exit(answer: &Answer) -> bool {
    answer.error().0 == "Runtime.ExitError"
}

/// The one to be killed: its calls can be told from those of the others.
pub(crate) fn victim(stage: &Stage, function: &str, policies: &Value) -> Result<Lambda> {
    let env = vec![("POLICIES", policies.to_string()), ("AWS_SDK_UA_APP_ID", "victim".to_owned())];
    stage.function_with(function, env, 300)
}

/// Every snapshot in words that are the same in all worlds; what is about one moment is left out.
pub(crate) fn outline(world: &[Snapshot], names: &BTreeMap<String, String>) -> Vec<String> {
    let mut names = names.clone();
    for source in world.iter().filter(|it| !it.copied) {
        let name = format!("<{} of {}>", source.region, source.description);
        names.insert(source.id.clone(), name);
    }
    for copy in world.iter().filter(|it| it.copied) {
        let source = copy.tag("snapferry:source-snapshot").to_owned();
        names.entry(source).or_insert_with(|| "<gone>".to_owned());
    }
    let mut lines: Vec<String> = world
        .iter()
        .map(|it| {
            let mut tags = it.tags.clone();
            for moment in ["snapferry:expires-at", "snapferry:source-start-time"] {
                if let Some(value) = tags.get_mut(moment) {
                    *value = "some time".into();
                }
            }
            let lock = &it.lock["mode"];
            let line = format!(
                "{} {} {} {} {:?} {:?} {lock} {tags} {}",
                it.account, it.region, it.volume, it.state, it.key, it.shared_with, it.description
            );
            // Twice: names of snapshots have ids of volumes in them.
            let twice = names.iter().chain(&names);
            twice.fold(line, |line, (id, name)| line.replace(id, name))
        })
        .collect();
    lines.sort();
    lines
}

/// What is in one of the worlds and not in the other; a line that one has twice is there, too.
pub(crate) fn differences(found: &[String], wanted: &[String]) -> Vec<String> {
    let without = |these: &[String], those: &[String], sign: &str| {
        let mut those = those.to_vec();
        let mut left = Vec::new();
        for line in these {
            match those.iter().position(|other| other == line) {
                Some(place) => drop(those.swap_remove(place)),
                None => left.push(format!("{sign} {line}")),
            }
        }
        left
    };
    [without(found, wanted, "+"), without(wanted, found, "-")].concat()
}

/// Two tests for every call, and one that there are enough of them.
macro_rules! at_every_call {
    ($($test:ident = $n:literal)*) => {
        $(
            mod $test {
                use crate::killed::Call;

                #[test]
                fn its_answer_is_lost() -> snapferry_tests::Result<()> {
                    super::killed_at($n, Call::Happened)
                }

                #[test]
                fn it_never_arrives() -> snapferry_tests::Result<()> {
                    super::killed_at($n, Call::Lost)
                }
            }
        )*

        const TESTED: usize = [$($n),*].len();

        /// Made once: what everything is compared with.
        fn undisturbed() -> snapferry_tests::Result<&'static (usize, Vec<String>)> {
            type Made = std::result::Result<(usize, Vec<String>), String>;
            static MADE: std::sync::OnceLock<Made> = std::sync::OnceLock::new();
            let made = MADE.get_or_init(|| story().undisturbed().map_err(|err| err.to_string()));
            made.as_ref().map_err(|err| err.as_str().into())
        }

        fn killed_at(n: usize, call: crate::killed::Call) -> snapferry_tests::Result<()> {
            let Some(world) = story().killed(n, call)? else {
                return Ok(());
            };
            let differences = crate::killed::differences(&world, &undisturbed()?.1);
            assert!(differences.is_empty(), "{differences:#?}");
            Ok(())
        }

        #[test]
        fn there_are_tests_for_every_call_of_the_run() -> snapferry_tests::Result<()> {
            let (calls, _) = undisturbed()?;
            assert!(*calls <= TESTED, "{calls} calls: add to the list");
            assert!(*calls + 5 > TESTED, "{calls} calls: cut the list");
            println!("{} tests for {calls} calls", 2 * TESTED);
            Ok(())
        }
    };
}
use at_every_call;

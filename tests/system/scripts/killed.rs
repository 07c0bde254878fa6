//! `kill -9` at every call between which an application stands still.

use std::thread;

use serde_json::json;
use snapferry_tests::Result;
use snapferry_tests::stage::Stage;

use super::{DOCUMENT, database, is_still, policy, ran, tags};
use crate::common::{age_commands, night, run};
use crate::killed::victim;

/// The function is killed when this call of this number arrives, before or after it has its effect. Then the clock goes
/// on, and another process runs.
fn killed_at(action: &str, skip: usize, hold: &str) -> Result<()> {
    let stage = Stage::new(&format!("scripts-killed-{action}-{skip}-{hold}"))?;
    database(&stage, &json!({}))?;
    let policies = policy(&json!({}));
    let victim = victim(&stage, "rotate-snapshots", &policies)?;
    let fault = json!({
        "agent": "app/victim", "action": action, "skip": skip, "times": 1, "hold": hold, "drop": hold,
    });
    let armed = stage.aws.post("faults", &json!([fault]))?;
    let until_held = format!("faults?wait=held&id={}&timeout=60", armed["faults"][0]["id"]);
    thread::scope(|scope| -> Result<()> {
        let run = scope.spawn(|| victim.invoke(&night(1)));
        let faults = stage.aws.get(&until_held)?;
        assert_ne!(faults["faults"], json!([]), "{action} {skip} was never called");
        victim.kill();
        stage.aws.clear("faults")?;
        drop(run.join().map_err(|_| "panicked")?);
        Ok(())
    })?;
    let where_it_died = format!("{action} {skip} {hold}");
    let stands_still = is_still(&stage)?;
    let rotate = stage.function("rotate-snapshots", &policies)?;
    if stands_still {
        // Too early: the other run may be alive.
        run(&stage, &rotate, &night(1))?;
        assert!(
            is_still(&stage)?,
            "{where_it_died}: nobody interferes with a run that may be alive"
        );
    }
    age_commands(&stage.aws, 300)?;
    run(&stage, &rotate, &night(1))?;
    assert!(!is_still(&stage)?, "{where_it_died}: the next run has the application go on");
    for _ in 0..2 {
        run(&stage, &rotate, &night(1))?;
    }
    let report = run(&stage, &rotate, &night(1))?;
    assert_eq!(report["Actions"], json!([]), "{where_it_died}: {report}");
    let made = stage.aws.snapshots()?;
    assert_eq!(made.len(), 2, "{where_it_died}: {made:?}");
    assert_eq!(tags(&made, "snapferry:script"), [DOCUMENT, DOCUMENT]);
    for key in ["snapferry:post-script", "snapferry:app-consistent"] {
        assert!(
            tags(&made, key).iter().all(|it| !it.is_empty()),
            "{where_it_died}: {key}: {made:?}"
        );
    }
    let ran = ran(&stage)?;
    let n = |step: &str| ran.iter().filter(|(it, _)| it == step).count();
    assert!(n("post-script") >= n("pre-script"), "{where_it_died}: {ran:?}");
    Ok(())
}

macro_rules! killed {
    ($($name:ident: $action:literal, $skip:literal;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            for hold in ["before", "after"] {
                killed_at($action, $skip, hold)?;
            }
            Ok(())
        }
    )*};
}

killed! {
    at_the_pre_script: "SendCommand", 0;
    // The first lists commands of before; then come the looks at the pre-script, and those at the post-script.
    at_the_first_look_at_the_pre_script: "ListCommandInvocations", 1;
    at_the_second_look_at_the_pre_script: "ListCommandInvocations", 2;
    at_the_snapshots: "CreateSnapshots", 0;
    at_the_post_script: "SendCommand", 1;
    at_a_look_at_the_post_script: "ListCommandInvocations", 3;
    at_the_record_of_what_became_of_it: "CreateTags", 0;
}

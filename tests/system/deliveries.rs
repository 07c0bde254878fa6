//! Events that are lost, that come several times, and that come to several processes at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{Stage, TARGETS, VAULT};

use crate::common::{MEMBER, calls, run, share, shared, vault_policy};

const SNAPSHOTS: usize = 6;

/// Snapshots that nobody has shared yet, and a vault that wants them in two Regions.
struct Cast {
    stage: Stage,
    sources: Vec<Snapshot>,
    policy: Value,
}

impl Cast {
    fn new(name: &str) -> Result<Self> {
        let stage = Stage::new(name)?;
        stage.aws.post("config", &json!({"copy_seconds": 0.05}))?;
        let sources = shared(&stage.aws, MEMBER, SNAPSHOTS, &json!({"shared_with": []}))?;
        let key = |region| stage.key(Place { account: VAULT, region });
        let keys = [key(TARGETS[0])?, key(TARGETS[1])?];
        let policy = vault_policy(&[(TARGETS[0], &keys[0]), (TARGETS[1], &keys[1])]);
        Ok(Self { stage, sources, policy })
    }

    fn function(&self) -> Result<Lambda> {
        self.stage.function("copy-shared-snapshots", &self.policy)
    }

    fn share_all(&self) -> Result<()> {
        let ids = self.sources.iter().map(|it| &it.id);
        ids.into_iter().try_for_each(|id| share(&self.stage.aws, MEMBER, id, "add"))
    }

    /// Source and Region of every copy, each of which is completed.
    fn copies(&self) -> Result<Vec<(String, String)>> {
        let copies: Vec<_> =
            self.stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect();
        assert!(copies.iter().all(|it| it.state == "completed"), "{copies:?}");
        let of =
            |it: &Snapshot| (it.tag("snapferry:source-snapshot").to_owned(), it.region.clone());
        let mut copies: Vec<_> = copies.iter().map(of).collect();
        copies.sort();
        Ok(copies)
    }

    /// One of each source in each Region.
    fn wanted(&self) -> Vec<(String, String)> {
        let of = |it: &Snapshot| TARGETS.map(|region| (it.id.clone(), region.to_owned()));
        let wanted: BTreeSet<_> = self.sources.iter().flat_map(of).collect();
        wanted.into_iter().collect()
    }

    fn deliveries(&self) -> Result<Vec<Value>> {
        let deliveries = self.stage.aws.get("deliveries")?;
        Ok(deliveries["deliveries"].as_array().cloned().unwrap_or_default())
    }
}

#[test]
fn where_all_events_are_lost_the_sweep_alone_gets_there() -> Result<()> {
    let cast = Cast::new("events-lost")?;
    let function = cast.function()?;
    cast.stage.deliver_events_to(&[&function])?;
    cast.stage.aws.post("config", &json!({"drop_events": -1}))?;
    cast.share_all()?;
    cast.stage.aws.settle()?;
    let events = cast.stage.aws.get("events")?;
    let events = events["events"].as_array().ok_or("no events")?;
    assert_eq!(events.len(), SNAPSHOTS);
    assert!(events.iter().all(|it| it["dropped"] == true), "{events:?}");
    assert_eq!((cast.deliveries()?.len(), cast.copies()?.len()), (0, 0));
    run(&cast.stage, &function, &json!({}))?;
    assert_eq!(cast.copies()?, cast.wanted());
    assert_eq!(run(&cast.stage, &function, &json!({}))?["Actions"], json!([]));
    Ok(())
}

#[test]
fn events_that_come_three_times_at_once_make_one_copy_each_and_no_error() -> Result<()> {
    let cast = Cast::new("events-thrice")?;
    let functions = [cast.function()?, cast.function()?, cast.function()?];
    let [one, two, three] = &functions;
    cast.stage.deliver_events_to(&[one, two, three])?;
    cast.stage.aws.post("config", &json!({"duplicate_events": 2}))?;
    // All three have looked before one of them copies.
    let late = json!({"action": "DescribeSnapshots", "region": TARGETS, "delay_after": 0.1});
    cast.stage.aws.post("faults", &late)?;
    let sweeping = cast.function()?;
    std::thread::scope(|scope| -> Result<()> {
        let sweep = scope.spawn(|| run(&cast.stage, &sweeping, &json!({})));
        cast.share_all()?;
        sweep.join().map_err(|_| "panicked")?.map(drop)
    })?;
    cast.stage.aws.settle()?;

    let deliveries = cast.deliveries()?;
    assert_eq!(deliveries.len(), 3 * SNAPSHOTS);
    let mut processes: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in &deliveries {
        assert_eq!(delivery["function_error"], false, "{delivery}");
        let actions = delivery["answer"]["Actions"].as_array().ok_or("no report")?;
        assert!(actions.iter().all(|it| it["Outcome"] != "Failed"), "{delivery}");
        *processes.entry(delivery["url"].as_str().unwrap_or_default()).or_default() += 1;
    }
    assert_eq!(processes.len(), 3, "all three processes were at it: {processes:?}");
    let n_copied = calls(&cast.stage.aws)?["CopySnapshot"];
    assert!(n_copied > cast.wanted().len(), "they were in each other's way: {n_copied}");
    cast.stage.aws.clear("faults")?;
    run(&cast.stage, &sweeping, &json!({}))?;
    assert_eq!(run(&cast.stage, &sweeping, &json!({}))?["Actions"], json!([]));
    assert_eq!(cast.copies()?, cast.wanted());
    Ok(())
}

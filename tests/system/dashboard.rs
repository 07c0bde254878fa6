//! The dashboards and alarms of the template against what the built functions write: everything that is asked for is
//! there, and every metric that is written is asked for.

mod insights;
mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT};
use snapferry_tests::template::Template;

use crate::common::{
    MEMBER, age, failed, kms, night, nightly, run, shared, shared_again, vault_policy,
};
use crate::instances::scripted;
use insights::Query;
pub(crate) use structure::check_structure;

/// A function, and what the template's logical ids of its resources begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    pub(crate) function: &'static str,
    pub(crate) prefix: &'static str,
    /// Metrics that say nothing here.
    pub(crate) always_zero: &'static [&'static str],
}

const ROTATE: Of = Of { function: "rotate-snapshots", prefix: "RotateSnapshots", always_zero: &[] };
const COPY: Of = Of {
    function: "copy-shared-snapshots",
    prefix: "CopySharedSnapshots",
    always_zero: &["SnapshotsCreated", "SnapshotsShared"],
};
/// The only target Region of the vault here.
const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// What the template's alarms are called.
const ALARMS: [&str; 7] =
    ["Errors", "Failures", "NotAppConsistent", "PostScript", "Silence", "Stale", "Withheld"];

/// What AWS publishes of its own accord: namespace, metric, dimension.
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>,
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>,
/// <https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html>
const OF_AWS: [(&str, &str, &str); 11] = [
    ("AWS/Lambda", "Duration", "FunctionName"),
    ("AWS/Lambda", "Errors", "FunctionName"),
    ("AWS/Lambda", "Invocations", "FunctionName"),
    ("AWS/Lambda", "Throttles", "FunctionName"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"),
    ("AWS/States", "ExecutionTime", "StateMachineArn"),
    ("AWS/States", "ExecutionsAborted", "StateMachineArn"),
    ("AWS/States", "ExecutionsFailed", "StateMachineArn"),
    ("AWS/States", "ExecutionsStarted", "StateMachineArn"),
    ("AWS/States", "ExecutionsSucceeded", "StateMachineArn"),
    ("AWS/States", "ExecutionsTimedOut", "StateMachineArn"),
];

/// A metric: namespace, name, dimensions with their values.
pub(crate) type Metric = (String, String, BTreeMap<String, String>);

fn metric(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Metric {
    let dimensions = dimensions.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    (namespace.into(), name.into(), dimensions.collect())
}

/// The template, in which these names stand for what CloudFormation makes.
pub(crate) fn template(stage: &Stage, role: &str, more: &[(&str, Value)]) -> Result<Template> {
    let mut names = vec![
        ("AWS::Region".to_owned(), HOME.to_owned()),
        ("AWS::AccountId".to_owned(), VAULT.to_owned()),
        ("AWS::StackName".to_owned(), "s".repeat(128)),
        ("Role".to_owned(), role.to_owned()),
    ];
    for Of { function, prefix, .. } in [ROTATE, COPY] {
        names.push((format!("{prefix}Function"), function.to_owned()));
        names.push((format!("{prefix}LogGroup"), format!("log of {function}")));
        names.push((format!("{prefix}Failures.QueueName"), format!("queue of {function}")));
        names.push((format!("{prefix}Fleet"), format!("fleet of {function}")));
        let of_fleet = ["FleetFailed", "FleetTimedOut"];
        for alarm in ALARMS.into_iter().chain(of_fleet) {
            let alarm = format!("{prefix}{alarm}Alarm");
            names.push((format!("{alarm}.Arn"), format!("arn of {alarm}")));
        }
    }
    let mut parameters: Vec<(&str, Value)> =
        names.iter().map(|(name, value)| (name.as_str(), json!(value))).collect();
    parameters.extend_from_slice(more);
    stage.template("template.yaml", &parameters)
}

/// The bodies of the dashboards that a stack has, by logical id.
pub(crate) fn dashboards(template: &Template) -> Result<BTreeMap<String, Value>> {
    let resources = template.resources("AWS::CloudWatch::Dashboard")?.into_iter();
    resources
        .map(|(name, properties)| {
            let members: Vec<_> =
                properties.as_object().into_iter().flat_map(|it| it.keys()).collect();
            assert_eq!(members, ["DashboardBody"], "no fixed name");
            let body = properties["DashboardBody"].as_str().ok_or("no body")?;
            Ok((name, serde_json::from_str(body).map_err(|err| format!("{err} in {body}"))?))
        })
        .collect()
}

fn widgets(body: &Value) -> &[Value] {
    body["widgets"].as_array().map_or(&[], Vec::as_slice)
}

/// A night of successes and one of failures.
fn rotate(stage: &Stage) -> Result<Lambda> {
    stage.aws.volumes(MEMBER, 2, &json!({"tags": {"Backup": "daily"}}))?;
    let (database, scripted) = scripted(stage, &json!({}))?;
    let volumes = nightly(&[HOME], &json!({"Count": 1}));
    let rotate = stage.function(ROTATE.function, &json!([volumes, scripted]))?;
    for day in [1, 2] {
        run(stage, &rotate, &night(day))?;
        run(stage, &rotate, &night(day))?;
    }
    let refused = json!({"action": "CreateSnapshot", "times": 1, "code": "UnauthorizedOperation"});
    stage.aws.post("faults", &refused)?;
    let fails = json!({"scripts": {"post-script": {"exit": 202}}});
    stage.agent(MEMBER, &database.id, &fails)?;
    failed(&rotate.invoke(&night(3))?, "ActionsFailed");
    Ok(rotate)
}

/// Copies, of which the older ones expire, and one that cannot be made.
fn copy(stage: &Stage) -> Result<Lambda> {
    let key = stage.key(TARGET)?;
    let copy = stage.function(COPY.function, &vault_policy(&[(TARGET.region, &key)]))?;
    let sweep = json!({});
    let volumes: Vec<_> =
        shared(&stage.aws, MEMBER, 2, &json!({}))?.into_iter().map(|it| it.volume).collect();
    run(stage, &copy, &sweep)?;
    age(&stage.aws, 8)?;
    for volume in &volumes {
        shared_again(&stage.aws, MEMBER, volume)?;
    }
    run(stage, &copy, &sweep)?;
    run(stage, &copy, &sweep)?;
    kms(&stage.aws, TARGET, "DisableKey", &key, &json!({}))?;
    shared_again(&stage.aws, MEMBER, &volumes[0])?;
    failed(&copy.invoke(&sweep)?, "ActionsFailed");
    Ok(copy)
}

/// Log lines that are JSON, with the times that CloudWatch would give them if there were 15 minutes between two runs.
fn log(function: &Lambda) -> Result<Vec<Value>> {
    let printed = function.printed()?;
    let mut lines = Vec::new();
    let mut time = 0;
    for text in printed.lines() {
        let Ok(Value::Object(mut line)) = serde_json::from_str(text) else { continue };
        // What a run writes of itself as a whole comes once, after its actions.
        time += 900_000 * i64::from(line.contains_key("_aws") && !line.contains_key("Policy"));
        line.insert("@timestamp".into(), time.into());
        lines.push(line.into());
    }
    Ok(lines)
}

/// What CloudWatch makes of the log.
fn written(log: &[Value]) -> Result<BTreeSet<Metric>> {
    let mut metrics = BTreeSet::new();
    for line in log {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            let namespace = directive["Namespace"].as_str().ok_or("no namespace")?;
            for names in directive["Dimensions"].as_array().ok_or("no dimensions")? {
                let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
                let dimensions: Vec<_> =
                    names.map(|it| (it, line[it].as_str().unwrap_or_default())).collect();
                for it in directive["Metrics"].as_array().into_iter().flatten() {
                    let name = it["Name"].as_str().ok_or("no name")?;
                    metrics.insert(metric(namespace, name, &dimensions));
                }
            }
        }
    }
    Ok(metrics)
}

/// Whether there is such a metric; AWS's own have the names that stand for this function and its queue.
fn exists(of: Of, written: &BTreeSet<Metric>, asked: &Metric) -> bool {
    let of_aws = OF_AWS.iter().map(|(namespace, name, dimension)| {
        let value = match *namespace {
            "AWS/SQS" => format!("queue of {}", of.function),
            "AWS/States" => format!("fleet of {}", of.function),
            _ => of.function.to_owned(),
        };
        metric(namespace, name, &[(dimension, &value)])
    });
    written.contains(asked) || of_aws.into_iter().any(|it| it == *asked)
}

/// What a widget's line of `metrics` asks for: one metric, or all that its search finds.
fn asked(line: &Value, written: &BTreeSet<Metric>) -> Result<Vec<Metric>> {
    let items = line.as_array().ok_or("a metric is a list")?;
    if let [Value::Object(expression)] = &items[..] {
        let expression = expression["expression"].as_str().unwrap_or_default();
        return search(expression, written);
    }
    let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
    let [namespace, name, dimensions @ ..] = &texts[..] else {
        return Err(format!("no metric: {line}").into());
    };
    let pairs: Vec<_> = dimensions.chunks(2).map(|it| (it[0], it[1])).collect();
    Ok(vec![metric(namespace, name, &pairs)])
}

/// `SEARCH('{Namespace,Dimension,…} Name="value" …', 'Statistic', period)`
fn search(expression: &str, written: &BTreeSet<Metric>) -> Result<Vec<Metric>> {
    let bad = || format!("no search: {expression}");
    let inner = expression.strip_prefix("SEARCH('").and_then(|it| it.strip_suffix(')'));
    let (what, rest) = inner.and_then(|it| it.split_once("', '")).ok_or_else(bad)?;
    let (statistic, period) = rest.split_once("', ").ok_or_else(bad)?;
    assert!(
        ["Sum", "Maximum"].contains(&statistic) && period.parse::<u32>()? % 60 == 0,
        "{expression}"
    );
    let (schema, terms) =
        what.strip_prefix('{').and_then(|it| it.split_once("} ")).ok_or_else(bad)?;
    let mut schema = schema.split(',');
    let (namespace, dimensions) = (schema.next().ok_or_else(bad)?, schema.collect::<BTreeSet<_>>());
    let mut found: Vec<Metric> = written.iter().cloned().collect();
    found.retain(|(of, _, with)| {
        of == namespace && with.keys().map(String::as_str).collect::<BTreeSet<_>>() == dimensions
    });
    for term in terms.split(' ') {
        let (name, value) = term.split_once('=').ok_or_else(bad)?;
        let value = value.trim_matches('"');
        found.retain(|(_, metric, with)| {
            if name == "MetricName" {
                metric == value
            } else {
                with.get(name).is_some_and(|it| it == value)
            }
        });
    }
    Ok(found)
}

/// Every query of a dashboard finds something; answers the metrics it shows, and the queries with what they found.
pub(crate) fn check_queries(
    of: Of,
    body: &Value,
    log: &[Value],
) -> Result<(BTreeSet<Metric>, String)> {
    let written = written(log)?;
    let (mut shown, mut table) = (BTreeSet::new(), String::new());
    for widget in widgets(body) {
        let (title, properties) = (&widget["properties"]["title"], &widget["properties"]);
        for line in properties["metrics"].as_array().into_iter().flatten() {
            let found = asked(line, &written)?;
            assert!(!found.is_empty() && found.iter().all(|it| exists(of, &written, it)), "{line}");
            for (namespace, name, dimensions) in &found {
                let values: Vec<_> = dimensions.iter().map(|(k, v)| format!("{k}={v}")).collect();
                writeln!(table, "{title} {namespace} {name} {}", values.join(" "))?;
            }
            shown.extend(found);
        }
        if let Some(text) = properties["query"].as_str() {
            let query = Query::parse(text)?;
            assert_eq!(query.log_group, format!("log of {}", of.function));
            let rows = query.run(log);
            for column in query.columns() {
                let filled =
                    rows.iter().flatten().filter(|(name, value)| name == column && value.is_some());
                let n = filled.count();
                assert!(n > 0, "{title}: no {column} in {rows:?}");
                writeln!(table, "{title} {column}: in {n} of {} rows", rows.len())?;
            }
            let row = |it: &insights::Row| {
                let values =
                    it.iter().map(|(_, value)| value.clone().unwrap_or_default().to_string());
                values.collect::<Vec<_>>().join("  ")
            };
            for it in rows.iter().take(4) {
                writeln!(table, "    {:.230}", row(it))?;
            }
        }
    }
    Ok((shown, table))
}

/// Every alarm of the function watches a metric that there is, and all stand in the widget of alarms.
pub(crate) fn check_alarms(
    of: Of,
    template: &Template,
    body: &Value,
    log: &[Value],
) -> Result<String> {
    let (written, mut table) = (written(log)?, String::new());
    let mut alarms = BTreeSet::new();
    for (name, alarm) in template.resources("AWS::CloudWatch::Alarm")? {
        if !name.starts_with(of.prefix) {
            continue;
        }
        let dimensions = alarm["Dimensions"].as_array().into_iter().flatten();
        let pairs: Vec<_> = dimensions
            .map(|it| {
                (it["Name"].as_str().unwrap_or_default(), it["Value"].as_str().unwrap_or_default())
            })
            .collect();
        let text = |member: &str| alarm[member].as_str().unwrap_or_default();
        let watched = metric(text("Namespace"), text("MetricName"), &pairs);
        assert!(exists(of, &written, &watched), "{name} watches {watched:?}");
        writeln!(table, "{name}: {} {} {pairs:?}", watched.0, watched.1)?;
        alarms.insert(format!("arn of {name}"));
    }
    let lists = widgets(body).iter().filter(|it| it["type"] == "alarm");
    let told = lists.flat_map(|it| it["properties"]["alarms"].as_array().into_iter().flatten());
    let told: BTreeSet<_> = told.filter_map(Value::as_str).map(str::to_owned).collect();
    assert_eq!(told, alarms);
    Ok(table)
}

fn check(stage: &Stage, role: &str, of: Of, function: &Lambda) -> Result<()> {
    let template = template(stage, role, &[("FleetConcurrency", json!(5))])?;
    let mut dashboards = dashboards(&template)?;
    let body = dashboards.remove(&format!("{}Dashboard", of.prefix)).ok_or("no dashboard")?;
    assert!(dashboards.is_empty(), "of what is not there: {dashboards:?}");
    let log = log(function)?;
    let (shown, table) = check_queries(of, &body, &log)?;
    let mut missing = written(&log)?;
    missing.retain(|it| !shown.contains(it) && !of.always_zero.contains(&it.1.as_str()));
    assert!(missing.is_empty(), "written, and not on the dashboard: {missing:?}");
    let alarms = check_alarms(of, &template, &body, &log)?;
    println!("{}\n{table}\nalarms\n{alarms}", of.function);
    Ok(())
}

#[test]
fn the_central_dashboard_asks_for_what_is_written_and_for_all_of_it() -> Result<()> {
    let stage = Stage::new("dashboard-central")?;
    check(&stage, "central", ROTATE, &rotate(&stage)?)
}

#[test]
fn the_vaults_dashboard_asks_for_what_is_written_and_for_all_of_it() -> Result<()> {
    let stage = Stage::new("dashboard-vault")?;
    check(&stage, "vault", COPY, &copy(&stage)?)
}

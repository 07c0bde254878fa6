//! The JSON Schema of the policy language, and that it says what the reader does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::super::{DETAILS, read};
use super::shape::PolicyDocument;
use super::validator::{Schema, complaints};
use super::{FIXTURES, copies, instances, is_current, monthly, snapshots, unprotected, with};

/// What the reader asked for, by the object's place.
type Trace = BTreeMap<String, BTreeSet<String>>;

thread_local! {
    static TRACE: RefCell<Trace> = const { RefCell::new(Trace::new()) };
}

/// The reader is done with the object there: these are the members it knows.
pub(crate) fn traced(pointer: &str, known: &BTreeSet<&'static str>) {
    let known = known.iter().map(|name| (*name).to_owned());
    TRACE.with_borrow_mut(|trace| trace.entry(place(pointer)).or_default().extend(known));
}

/// A pointer without the positions in lists.
fn place(pointer: &str) -> String {
    let is_position = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
    let tokens: Vec<_> =
        pointer.split('/').map(|token| if is_position(token) { "*" } else { token }).collect();
    tokens.join("/")
}

fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<PolicyDocument>().to_value();
    canonical(&mut schema);
    schema
}

/// An optional member is one that may be left out: the reader takes `null`, but nobody should write it. And whole
/// numbers need no format.
fn canonical(schema: &mut Value) {
    match schema {
        Value::Array(elements) => elements.iter_mut().for_each(canonical),
        Value::Object(members) => {
            members.remove("format");
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|it| it != "null");
                let only = types[0].clone();
                members.insert("type".to_owned(), only);
            }
            for name in ["anyOf", "enum"] {
                if let Some(Value::Array(choices)) = members.get_mut(name) {
                    choices.retain(|it| !it.is_null() && *it != json!({ "type": "null" }));
                }
            }
            if let Some([only]) = members.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
            {
                let only = only.as_object().unwrap().clone();
                members.remove("anyOf");
                members.extend(only);
            }
            members.values_mut().for_each(canonical);
        }
        _ => {}
    }
}

#[test]
fn the_schema_is_current() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    is_current(concat!(env!("CARGO_MANIFEST_DIR"), "/policy.schema.json"), &text);
}

/// The kinds of `PolicyDetails`, in the schema's order, and documents that between them have every object of the kind.
fn kinds() -> [Vec<Value>; 3] {
    let copy = "/PolicyDetails/Actions/0/CrossRegionCopy/0";
    let encryption = json!({ "Encrypted": true });
    let keyless = with(copies(), &format!("{copy}/EncryptionConfiguration"), encryption);
    let simplified = with(unprotected(), "/PolicyDetails/CreateInterval", json!(1));
    let mut request = simplified.clone();
    let details = request["PolicyDetails"].as_object_mut().unwrap();
    let members: Vec<_> = ["CreateInterval", "RetainInterval", "CopyTags", "Exclusions"]
        .into_iter()
        .chain(["ExtendDeletion", "CrossRegionCopyTargets"])
        .map(|name| (name, details.remove(name).unwrap()))
        .collect();
    for (name, value) in members {
        request[name] = value;
    }
    request["DefaultPolicy"] = json!("VOLUME");
    let of_units = json!({
        "OrganizationalUnits": ["ou-ab12-cd34ef56"], "RoleArn": "arn:aws:iam::*:role/member",
        "ExcludeAccounts": ["222222222222"], "ExternalId": "secret", "Regions": ["eu-west-1"],
    });
    [
        vec![
            rich(monthly()),
            with(snapshots(), "/Targets", json!([of_units])),
            rich(snapshots()),
            rich(instances()),
            with_vss(instances()),
            monthly(),
            snapshots(),
            instances(),
        ],
        vec![rich_copies(copies()), rich_copies(keyless), copies()],
        vec![simplified, request],
    ]
}

fn with_vss(document: Value) -> Value {
    let script = json!([{
        "ExecutionHandler": "AWS_VSS_BACKUP", "VssDocumentName": "AWSEC2-CreateVssSnapshot",
    }]);
    let document = with(document, "/PolicyDetails/Parameters", json!({}));
    with(document, "/PolicyDetails/Schedules/0/CreateRule/Scripts", script)
}

/// With what is missing, as far as it goes together.
fn rich(mut document: Value) -> Value {
    let is_for_instances = document["PolicyDetails"]["ResourceTypes"][0] == "INSTANCE";
    let tags = json!([{ "Key": "k", "Value": "v" }]);
    let lock = json!({ "Mode": "COMPLIANCE", "DurationDays": 30, "CoolOffPeriodHours": 3 });
    let retain = json!({
        "Count": 3, "Interval": 5, "IntervalUnit": "DAYS", "MinimumCount": 2,
        "Keep": { "Hourly": 1, "Daily": 1, "Weekly": 1, "Monthly": 1, "Yearly": 1 },
    });
    let copy = json!({
        "Target": "eu-west-2", "Encrypted": true, "CopyTags": true, "LockRule": lock,
        "RetainRule": retain, "TagsToAdd": tags, "CompletionDurationMinutes": 60,
    });
    let details = &mut document["PolicyDetails"];
    details["ExcludeTags"] = tags.clone();
    details["DefaultKeyRescue"] = json!({ "KmsKeyId": "alias/snapferry-share" });
    details["ResourceLocations"] = json!(["CLOUD"]);
    details["PolicyType"] = json!("EBS_SNAPSHOT_MANAGEMENT");
    details["PolicyLanguage"] = json!("STANDARD");
    if !is_for_instances {
        details["TargetVolumeIds"] = json!(["vol-0123456789abcdef0"]);
    }
    for schedule in details["Schedules"].as_array_mut().unwrap() {
        schedule["RetainRule"] = retain.clone();
        schedule["TagsToAdd"] = tags.clone();
        schedule["CopyTags"] = json!(true);
        schedule["LockRule"] = lock.clone();
        schedule["CrossRegionCopyRules"] = json!([copy]);
        schedule["ShareRules"] = json!([{
            "TargetAccounts": ["222222222222"], "UnshareInterval": 1, "UnshareIntervalUnit": "DAYS",
        }]);
        if is_for_instances {
            schedule["ShareRules"][0] = json!({
                "TargetAccounts": ["222222222222"],
                "UnshareWhenCopied": {
                    "RoleArn": "arn:aws:iam::222222222222:role/reader", "ExternalId": "secret",
                    "Regions": ["eu-west-1"],
                },
            });
        }
        let zones = if is_for_instances { "AvailabilityZoneIds" } else { "AvailabilityZones" };
        let zone = if is_for_instances { "euc1-az2" } else { "eu-central-1a" };
        schedule["FastRestoreRule"] =
            json!({ "Interval": 3, "IntervalUnit": "DAYS", zones: [zone] });
        if let Some(create) = schedule.get_mut("CreateRule") {
            create["Location"] = json!("CLOUD");
            create["TimeZone"] = json!("Europe/Berlin");
            create["StartWindowMinutes"] = json!(60);
            if is_for_instances {
                create["Scripts"] = json!([{
                    "ExecutionHandler": "own-document", "ExecutionHandlerService": "AWS_SYSTEMS_MANAGER",
                    "Stages": ["PRE"], "ExecuteOperationOnScriptFailure": true,
                    "ExecutionTimeout": 60, "MaximumRetryCount": 1,
                }]);
            }
        }
    }
    document
}

fn rich_copies(document: Value) -> Value {
    let rule =
        rich(snapshots())["PolicyDetails"]["Schedules"][0]["CrossRegionCopyRules"][0].clone();
    let copy = "/PolicyDetails/Actions/0/CrossRegionCopy/0";
    let members = ["RetainRule", "TagsToAdd", "LockRule", "CompletionDurationMinutes", "CopyTags"];
    let reader = "arn:aws:iam::333333333333:role/snapferry-source-reader";
    let target = json!({ "RoleArn": reader, "ExternalId": "secret", "Regions": ["eu-west-1"] });
    let document = with(document, "/Targets", json!([target]));
    let parameters = "/PolicyDetails/EventSource/Parameters";
    let document = with(document, &format!("{parameters}/DescriptionRegex"), json!(".*"));
    let document = with(document, &format!("{parameters}/SourceRegions"), json!(["eu-west-1"]));
    let document = with(document, "/PolicyDetails/ResourceLocations", json!(["CLOUD"]));
    members.into_iter().fold(document, |document, name| {
        with(document, &format!("{copy}/{name}"), rule[name].clone())
    })
}

/// Members that the reader knows and the schema does not: other spellings, and what is only refused.
const NOT_IN_SCHEMA: [(&str, &[&str]); 7] = [
    ("/PolicyDetails/Parameters", &["NoReboot"]),
    ("/PolicyDetails/Schedules/*", &["DeprecateRule"]),
    ("/PolicyDetails/Schedules/*/CrossRegionCopyRules/*", &["DeprecateRule", "TargetRegion"]),
    ("/PolicyDetails/Actions/*/CrossRegionCopy/*", &["TargetRegion"]),
    ("/PolicyDetails/CrossRegionCopyTargets/*", &["Target"]),
    ("/PolicyDetails/Exclusions", &["ExcludeBootVolume"]),
    ("/CrossRegionCopyTargets/*", &["Target"]),
];

#[test]
fn the_schema_has_the_members_that_the_reader_knows() {
    let schema = schema();
    for (kind, documents) in kinds().iter().enumerate() {
        TRACE.take();
        for document in documents {
            assert!(read(document, "").is_ok(), "{}", read(document, "").unwrap_err());
        }
        let mut objects = Trace::new();
        Schema::new(&schema, kind).each(&mut |pointer, schema| {
            if let Some(members) = schema.get("properties") {
                let names = members.as_object().unwrap().keys().cloned();
                objects.entry(place(pointer)).or_default().extend(names);
                assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "{pointer}");
            }
        });
        for (place, known) in TRACE.take() {
            let mut wanted = objects.remove(&place).unwrap_or_default();
            let more = NOT_IN_SCHEMA.iter().filter(|(other, _)| *other == place);
            wanted.extend(more.flat_map(|(_, names)| *names).map(|name| (*name).to_owned()));
            if place == "/PolicyDetails" {
                assert!(wanted.is_subset(&known), "{place}: {wanted:?}");
                wanted = DETAILS.map(ToOwned::to_owned).into(); // see `kinds_do_not_share_members`
            } else if place == "/Exclusions" {
                wanted.insert("ExcludeBootVolume".to_owned());
            }
            assert_eq!(known, wanted, "{place} of kind {kind}");
        }
        let unread: Vec<_> = objects.keys().filter(|place| place.starts_with("/Pol")).collect();
        assert!(unread.is_empty(), "no document of kind {kind} has {unread:?}");
    }
}

#[test]
fn kinds_do_not_share_members() {
    let schema = schema();
    let members = |kind: usize| -> BTreeSet<String> {
        let details = Schema::new(&schema, kind).at("/PolicyDetails");
        details["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let mut all = BTreeSet::new();
    for (kind, documents) in kinds().iter().enumerate() {
        let own = members(kind);
        for (other, foreign) in kinds().iter().enumerate().filter(|(other, _)| *other != kind) {
            for name in members(other).difference(&own) {
                let pointer = format!("/PolicyDetails/{name}");
                let value = foreign.iter().find_map(|document| document.pointer(&pointer));
                let value = value.unwrap_or(&json!("VOLUME")).clone();
                if value == json!(false) {
                    continue; // no more than its absence
                }
                let document = with(documents[0].clone(), &pointer, value);
                let err = read(&document, "").unwrap_err();
                assert!(err.issues.iter().any(|issue| issue.pointer == pointer), "{err}");
            }
        }
        all.extend(own);
    }
    assert_eq!(all, DETAILS.map(ToOwned::to_owned).into());
}

/// Each limit in the schema is the reader's: what is at it is taken in one of the documents, what is beyond it in none.
#[test]
fn the_limits_of_the_schema_are_the_readers() {
    let schema = schema();
    let kinds = kinds();
    let all = kinds.concat();
    let mut probed = 0;
    for (kind, own) in kinds.iter().enumerate() {
        Schema::new(&schema, kind).each(&mut |pointer, schema| {
            let is_details = pointer.starts_with("/PolicyDetails");
            let documents = if is_details { own } else { &all };
            for (value, is_taken) in boundaries(schema) {
                probed += 1;
                let variants: Vec<_> = documents
                    .iter()
                    .flat_map(|document| variants(document, pointer, &value))
                    .collect();
                assert!(!variants.is_empty(), "no document of kind {kind} has a {pointer}");
                let taken = variants.iter().any(|document| read(document, "").is_ok());
                assert_eq!(taken, is_taken, "{pointer} = {value:?} in kind {kind}");
            }
        });
    }
    assert!(probed > 300, "{probed} probes");
}

/// Documents with the value there, with each unit where it is an interval, and without what would bar it.
fn variants(document: &Value, pointer: &str, value: &Probe) -> Vec<Value> {
    let value = match value {
        Probe::Is(value) => value.clone(),
        Probe::Has(n) => match document.pointer(pointer).and_then(Value::as_array) {
            Some(elements) => (0..*n).map(|n| nth(&elements[0], n)).collect(),
            None => return Vec::new(),
        },
    };
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let Some(parent_value) = document.pointer(parent) else {
        return Vec::new();
    };
    if parent_value.is_array() && document.pointer(pointer).is_none() {
        return Vec::new();
    }
    let changed = with(document.clone(), pointer, value);
    let unit = format!("{pointer}Unit");
    let mut documents = vec![changed.clone()];
    if name.ends_with("Interval") && document.pointer(&unit).is_some() {
        for name in ["DAYS", "YEARS"] {
            documents.push(with(changed.clone(), &unit, json!(name)));
        }
    }
    let barred = match name {
        "ExecutionRoleArn" => vec!["Targets"],
        "CronExpression" => vec!["Interval", "IntervalUnit", "Times"],
        "Interval" | "IntervalUnit" | "Times" => vec!["CronExpression"],
        "Count" => vec!["Interval", "IntervalUnit"],
        "AvailabilityZones" => vec!["AvailabilityZoneIds"],
        "AvailabilityZoneIds" => vec!["AvailabilityZones"],
        "VariableTags" => vec!["TagsToAdd"],
        "Mode" => vec!["CoolOffPeriodHours"],
        _ => vec![],
    };
    for name in barred {
        let without: Vec<_> = documents
            .iter()
            .map(|document| with(document.clone(), &format!("{parent}/{name}"), json!(null)))
            .collect();
        documents.extend(without);
    }
    documents
}

/// Values at the limits and beyond them, and whether they are to be taken. Beyond a minimum of 1 there is -1: 0 is one
/// of the ways to write that something is absent, and so is what is empty.
fn boundaries(schema: &Value) -> Vec<(Probe, bool)> {
    if schema.get("type") == Some(&json!("array")) {
        let most = schema["maxItems"].as_i64().unwrap();
        return vec![(Probe::Has(most), true), (Probe::Has(most + 1), false)];
    }
    scalars(schema).into_iter().map(|(value, is_taken)| (Probe::Is(value), is_taken)).collect()
}

/// A value, or a list of so many.
#[derive(Debug)]
enum Probe {
    Is(Value),
    Has(i64),
}

fn scalars(schema: &Value) -> Vec<(Value, bool)> {
    let number = |name: &str| schema.get(name).map(|value| value.as_i64().unwrap());
    let mut values = Vec::new();
    if let Some(Value::Array(choices)) = schema.get("enum") {
        values.extend(choices.iter().map(|choice| (choice.clone(), true)));
        values.push((json!("NONE_OF_THEM"), false));
        return values;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => {
            let (least, most) = (number("minimum").unwrap(), number("maximum").unwrap());
            let below = if least == 1 { -1 } else { least - 1 };
            let step = number("multipleOf").unwrap_or(1);
            values.extend([(json!(least), true), (json!(most), true)]);
            values.extend([(json!(below), false), (json!(most + step), false)]);
            values.push((json!(least + 1), step == 1));
        }
        Some("boolean") => {
            values.extend([(json!(true), true), (json!(false), true), (json!("maybe"), false)]);
        }
        Some("string") => {
            let fits = |text: &str| complaints(schema, schema, &json!(text), 0).is_empty();
            if let Some(most) = number("maxLength") {
                let text = "a".repeat(usize::try_from(most).unwrap());
                if fits(&text) {
                    values.push((json!(text), true));
                }
                values.push((json!(text + "a"), false));
            }
            if schema.get("pattern").is_some() {
                assert!(!fits("~"));
                values.push((json!("~"), false));
            }
        }
        _ => {}
    }
    values
}

/// Another such element, or one that may be another.
fn nth(element: &Value, n: i64) -> Value {
    let letters: String = format!("{n:04}").bytes().map(|b| char::from(b - b'0' + b'a')).collect();
    match element {
        Value::String(text) if text.starts_with("vol-") => json!(format!("vol-{n:08}")),
        Value::String(text) if text.starts_with("ou-") => json!(format!("ou-ab12-{n:08}")),
        Value::String(text) if text.starts_with("arn:") => {
            json!(format!("arn:aws:iam::{:012}:role/member", n + 1))
        }
        Value::String(text) if text.len() == 12 && text.parse::<u64>().is_ok() => {
            json!(format!("{:012}", n + 1))
        }
        Value::String(text) if text.starts_with("eu-") && text.ends_with('a') => {
            json!(format!("eu-{letters}-1a"))
        }
        Value::String(text) if text.starts_with("eu-") => json!(format!("eu-{letters}-1")),
        Value::String(text) if text.starts_with("euc1-") => json!(format!("euc1-az{n}")),
        Value::String(text) if text == "PRE" => json!(if n == 1 { "POST" } else { "PRE" }),
        Value::String(text) if text == "st1" || text == "sc1" => {
            json!(
                ["st1", "sc1", "gp2", "gp3", "io1", "io2", "standard"][usize::try_from(n).unwrap()]
            )
        }
        Value::Object(members) => {
            let mut members = members.clone();
            for name in ["Key", "Target", "TargetRegion", "RoleArn", "Name"] {
                if let Some(value) = members.get_mut(name) {
                    *value = if name == "Key" || name == "Name" {
                        json!(format!("n{n}"))
                    } else {
                        nth(value, n)
                    };
                }
            }
            members.remove("EncryptionConfiguration");
            members.remove("CmkArn");
            members.into()
        }
        other => other.clone(),
    }
}

/// What examples and published policies look like when they are written as the schema has them.
#[test]
fn examples_and_published_policies_fit_the_schema() {
    let schema = schema();
    let folders = [FIXTURES, concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/policies")];
    let mut fitting = 0;
    for path in folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = path.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let document: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if read(&document, "example").is_ok() {
            let document = unwrapped(document);
            let complaints = complaints(&schema, &schema, &document, 0);
            assert!(complaints.is_empty(), "{}: {complaints:?}", path.display());
            fitting += 1;
        }
    }
    for document in kinds().into_iter().flatten() {
        let complaints = complaints(&schema, &schema, &document, 0);
        assert!(complaints.is_empty(), "{document}: {complaints:?}");
    }
    assert!(fitting >= 20, "{fitting} policies");
}

/// The request in what a document comes wrapped in; the guide's spelling as the API's.
fn unwrapped(document: Value) -> Value {
    let resource = "/Resources/BasicLifecyclePolicy/Properties";
    let inner = document.pointer("/Policy").or_else(|| document.pointer(resource));
    let mut request = match inner {
        Some(inner) => inner.clone(),
        None if document.get("PolicyDetails").is_some() => document,
        None => json!({ "PolicyDetails": document }),
    };
    let exclusions = request.pointer_mut("/PolicyDetails/Exclusions");
    if let Some(exclusions) = exclusions.and_then(Value::as_object_mut)
        && let Some(value) = exclusions.remove("ExcludeBootVolume")
    {
        exclusions.insert("ExcludeBootVolumes".to_owned(), value);
    }
    request
}

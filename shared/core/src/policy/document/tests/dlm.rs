//! Every member of DLM's `CreateLifecyclePolicyRequest`, as botocore has it, is honoured or refused by name. The table
//! is `policy/dlm-members.md`; `SNAPFERRY_UPDATE=1 cargo test` writes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::super::read;
use super::{copies, instances, is_current, monthly, snapshots, unprotected, with};

/// Which test shows that a member is honoured: that of the longest path here that the member's begins with.
const BY: [(&str, &str); 51] = [
    ("ExecutionRoleArn", "a_published_snapshot_policy_says_what_it_says"),
    ("Description", "every_envelope_is_opened"),
    ("State", "a_disabled_policy_does_nothing_and_is_covered"),
    ("Tags", "every_envelope_is_opened"),
    ("DefaultPolicy", "a_default_policy_has_defaults"),
    ("CreateInterval", "intervals_hold_for_sixty_days"),
    ("RetainInterval", "they_go_by_age_and_the_last_one_stays"),
    ("CopyTags", "a_default_policy_is_read_from_the_request"),
    ("ExtendDeletion", "they_go_by_age_and_the_last_one_stays"),
    ("CrossRegionCopyTargets", "copies_in_other_regions_expire_as_the_snapshots_do"),
    ("Exclusions", "what_is_excluded_is_left_alone"),
    ("PolicyDetails", "every_envelope_is_opened"),
    ("PolicyDetails.PolicyType", "the_type_is_told_from_the_members"),
    ("PolicyDetails.ResourceTypes", "an_instance_is_taken_by_one_call"),
    ("PolicyDetails.ResourceLocations", "form_is_free"),
    ("PolicyDetails.TargetTags", "who_is_snapshotted"),
    (
        "PolicyDetails.Schedules",
        "coinciding_schedules_share_one_snapshot_and_only_what_lacks_is_made",
    ),
    (
        "PolicyDetails.Schedules[].CopyTags",
        "a_new_snapshot_carries_its_claim_its_expiry_and_the_users_tags",
    ),
    (
        "PolicyDetails.Schedules[].TagsToAdd",
        "a_new_snapshot_carries_its_claim_its_expiry_and_the_users_tags",
    ),
    ("PolicyDetails.Schedules[].VariableTags", "variable_tags_are_filled_in"),
    ("PolicyDetails.Schedules[].CreateRule", "a_slot_is_served_by_what_is_or_may_become_good"),
    ("PolicyDetails.Schedules[].CreateRule.Scripts", "every_ending_of_a_script_has_its_outcome"),
    (
        "PolicyDetails.Schedules[].CreateRule.Scripts[].ExecutionTimeout",
        "the_longest_timeout_of_a_document_is_waited_for",
    ),
    (
        "PolicyDetails.Schedules[].CreateRule.Interval",
        "every_interval_counts_from_its_start_in_both_directions",
    ),
    (
        "PolicyDetails.Schedules[].CreateRule.Times",
        "wall_clock_times_are_another_librarys_over_thirty_years",
    ),
    (
        "PolicyDetails.Schedules[].CreateRule.CronExpression",
        "cron_is_another_librarys_over_thirty_years",
    ),
    ("PolicyDetails.Schedules[].CreateRule.Location", "form_is_free"),
    ("PolicyDetails.Schedules[].RetainRule", "rules_keep_what_they_say"),
    ("PolicyDetails.Schedules[].RetainRule.Interval", "ages_are_another_librarys"),
    ("PolicyDetails.Schedules[].FastRestoreRule", "the_newest_or_the_young_are_fast"),
    (
        "PolicyDetails.Schedules[].FastRestoreRule.Availability",
        "zones_are_this_regions_and_a_persons_own_stay",
    ),
    (
        "PolicyDetails.Schedules[].CrossRegionCopyRules",
        "every_snapshot_is_copied_once_to_each_region_and_expires_there",
    ),
    (
        "PolicyDetails.Schedules[].CrossRegionCopyRules[].CopyTags",
        "tags_are_copied_where_any_rule_says_so_as_far_as_they_fit",
    ),
    (
        "PolicyDetails.Schedules[].CrossRegionCopyRules[].CmkArn",
        "copies_within_the_account_have_their_own_key_tags_and_end",
    ),
    (
        "PolicyDetails.Schedules[].CrossRegionCopyRules[].Encrypted",
        "copies_within_the_account_have_their_own_key_tags_and_end",
    ),
    (
        "PolicyDetails.Schedules[].ShareRules",
        "completed_snapshots_are_shared_with_whom_they_are_not_yet",
    ),
    (
        "PolicyDetails.Schedules[].ShareRules[].Unshare",
        "the_right_accounts_lose_it_when_their_time_is_over",
    ),
    ("PolicyDetails.Schedules[].ArchiveRule", "three_years_by_age"),
    (
        "PolicyDetails.Schedules[].ArchiveRule.RetainRule.RetentionArchiveTier.Count",
        "three_years_by_count",
    ),
    ("PolicyDetails.Parameters", "what_parameters_exclude_is_in_no_set"),
    ("PolicyDetails.EventSource", "what_no_policy_wants_is_held_with_the_reason"),
    ("PolicyDetails.Actions", "a_share_becomes_one_copy_per_rule"),
    (
        "PolicyDetails.Actions[].CrossRegionCopy[].RetainRule",
        "copies_expire_but_never_the_newest_of_a_volume",
    ),
    ("PolicyDetails.PolicyLanguage", "intervals_hold_for_sixty_days"),
    ("PolicyDetails.ResourceType", "intervals_hold_for_sixty_days"),
    ("PolicyDetails.CreateInterval", "intervals_hold_for_sixty_days"),
    ("PolicyDetails.RetainInterval", "they_go_by_age_and_the_last_one_stays"),
    ("PolicyDetails.CopyTags", "a_default_policy_says_what_it_says"),
    ("PolicyDetails.CrossRegionCopyTargets", "copies_in_other_regions_expire_as_the_snapshots_do"),
    ("PolicyDetails.ExtendDeletion", "they_go_by_age_and_the_last_one_stays"),
    ("PolicyDetails.Exclusions", "what_is_excluded_is_left_alone"),
];

/// Members, or values of them, that change nothing, and what is said of them.
const SAYS_NO_MORE: [(&str, &str); 18] = [
    ("Description", "accepted: it describes DLM's own resource"),
    ("Tags", "accepted: they are those of DLM's own resource"),
    ("State = ENABLED", "honoured: the default"),
    ("PolicyDetails.PolicyType = EBS_SNAPSHOT_MANAGEMENT", "honoured: the default"),
    ("PolicyDetails.PolicyType = EVENT_BASED_POLICY", "honoured: its members say it as well"),
    ("PolicyDetails.PolicyLanguage = STANDARD", "honoured: the default"),
    ("PolicyDetails.ResourceTypes", "honoured: VOLUME is the default"),
    ("PolicyDetails.ResourceTypes[] = VOLUME", "honoured: the default"),
    ("PolicyDetails.ResourceLocations", "honoured: CLOUD is the default"),
    ("PolicyDetails.ResourceLocations[] = CLOUD", "honoured: the default"),
    ("PolicyDetails.Schedules[].CreateRule.Location = CLOUD", "honoured: the default"),
    ("PolicyDetails.Schedules[].CreateRule.IntervalUnit", "honoured: there is no other"),
    (
        "PolicyDetails.Schedules[].CreateRule.Scripts[].ExecutionHandlerService",
        "honoured: there is no other",
    ),
    (
        "PolicyDetails.Schedules[].CreateRule.Scripts[].ExecuteOperationOnScriptFailure = true",
        "honoured: the default",
    ),
    ("PolicyDetails.Parameters.NoReboot = false", "accepted: no snapshot reboots anything"),
    ("PolicyDetails.EventSource.Type", "honoured: there is no other"),
    ("PolicyDetails.EventSource.Parameters.EventType", "honoured: there is no other"),
    ("PolicyDetails.Actions[].Name", "accepted: a label"),
];

/// A request that has much of the language at once.
fn request() -> Value {
    let mut request = monthly();
    for (pointer, value) in [
        ("/ExecutionRoleArn", json!("arn:aws:iam::333333333333:role/dlm")),
        ("/Description", json!("monthly")),
        ("/State", json!("DISABLED")),
        ("/Tags", json!({ "team": "a" })),
        ("/PolicyDetails/PolicyType", json!("EBS_SNAPSHOT_MANAGEMENT")),
        ("/PolicyDetails/PolicyLanguage", json!("STANDARD")),
        ("/PolicyDetails/ResourceLocations", json!(["CLOUD"])),
        ("/PolicyDetails/Schedules/0/CopyTags", json!(true)),
        ("/PolicyDetails/Schedules/0/TagsToAdd", json!([{ "Key": "type", "Value": "monthly" }])),
        (
            "/PolicyDetails/Schedules/0/RetainRule",
            json!({ "Interval": 5, "IntervalUnit": "YEARS" }),
        ),
    ] {
        request = with(request, pointer, value);
    }
    request
}

/// A default policy as a request without `PolicyDetails`.
fn default_request() -> Value {
    let mut request = unprotected()["PolicyDetails"].clone();
    request["PolicyLanguage"] = json!(null);
    request["ResourceType"] = json!(null);
    request["DefaultPolicy"] = json!("VOLUME");
    request
}

/// A document for each member: that of the longest path here that the member's begins with.
fn documents() -> Vec<(String, Value)> {
    let encryption = "/PolicyDetails/Actions/0/CrossRegionCopy/0/EncryptionConfiguration";
    let regex = "/PolicyDetails/EventSource/Parameters/DescriptionRegex";
    let mut documents = vec![
        ("", request()),
        ("DefaultPolicy", default_request()),
        ("PolicyDetails.PolicyType = EVENT_BASED_POLICY", copies()),
        ("PolicyDetails.PolicyLanguage = SIMPLIFIED", unprotected()),
        ("PolicyDetails.ResourceTypes", snapshots()),
        ("PolicyDetails.Parameters", instances()),
        ("PolicyDetails.EventSource", with(copies(), regex, json!("of policy.*"))),
        ("PolicyDetails.Actions", copies()),
        (
            "PolicyDetails.Actions[].CrossRegionCopy[].EncryptionConfiguration.Encrypted",
            with(copies(), encryption, json!({ "Encrypted": true })),
        ),
    ];
    let simplified = [
        "ResourceType",
        "CreateInterval",
        "RetainInterval",
        "CopyTags",
        "ExtendDeletion",
        "CrossRegionCopyTargets",
        "Exclusions",
    ];
    documents.extend(simplified.map(|name| (name, default_request())));
    let mut documents: Vec<_> =
        documents.into_iter().map(|(path, document)| (path.to_owned(), document)).collect();
    documents.extend(simplified.map(|name| (format!("PolicyDetails.{name}"), unprotected())));
    let schedules = schedules();
    documents.extend(schedules.map(|(path, document)| (format!("{SCHEDULE}{path}"), document)));
    documents
}

const SCHEDULE: &str = "PolicyDetails.Schedules[].";

fn schedules() -> [(&'static str, Value); 14] {
    let scheduled = |document: Value, member: &str, value: Value| {
        with(document, &format!("/PolicyDetails/Schedules/0/{member}"), value)
    };
    let fast = |rule: Value| scheduled(request(), "FastRestoreRule", rule);
    let copied = |rule: Value| scheduled(request(), "CrossRegionCopyRules", json!([rule]));
    let year = json!({ "Interval": 1, "IntervalUnit": "YEARS" });
    let tier = json!({ "RetainRule": { "RetentionArchiveTier": { "Count": 3 } } });
    let zone = json!(["us-east-1a"]);
    let script = json!([{
        "Stages": ["PRE"],
        "ExecutionHandlerService": "AWS_SYSTEMS_MANAGER",
        "ExecutionHandler": "own-document",
        "ExecuteOperationOnScriptFailure": true,
        "ExecutionTimeout": 60,
        "MaximumRetryCount": 1,
    }]);
    [
        ("VariableTags", instances()),
        ("CreateRule.Location", snapshots()),
        ("CreateRule.Interval", snapshots()),
        ("CreateRule.Times", snapshots()),
        ("CreateRule.Scripts", scheduled(instances(), "CreateRule/Scripts", script)),
        ("RetainRule.Count", snapshots()),
        (
            "FastRestoreRule.Interval",
            fast(json!({ "Interval": 1, "IntervalUnit": "DAYS", "AvailabilityZones": zone })),
        ),
        (
            "FastRestoreRule.AvailabilityZoneIds",
            fast(json!({ "Count": 1, "AvailabilityZoneIds": ["use1-az1"] })),
        ),
        (
            "CrossRegionCopyRules[].TargetRegion",
            copied(json!({ "TargetRegion": "eu-west-1", "Encrypted": true })),
        ),
        (
            "CrossRegionCopyRules[].Encrypted",
            copied(json!({ "Target": "eu-west-1", "Encrypted": true })),
        ),
        (
            "CrossRegionCopyRules[].DeprecateRule",
            copied(json!({ "Target": "eu-west-1", "DeprecateRule": year })),
        ),
        ("DeprecateRule.Count", scheduled(request(), "DeprecateRule", json!({ "Count": 1 }))),
        ("DeprecateRule", scheduled(request(), "DeprecateRule", year)),
        (
            "ArchiveRule.RetainRule.RetentionArchiveTier.Count",
            scheduled(request(), "ArchiveRule", tier),
        ),
    ]
}

/// The entry of the longest path that `path` begins with.
fn longest<'a, P: AsRef<str>, T>(table: &'a [(P, T)], path: &str) -> &'a T {
    let fitting = table.iter().filter(|(prefix, _)| path.starts_with(prefix.as_ref()));
    &fitting.max_by_key(|(prefix, _)| prefix.as_ref().len()).unwrap().1
}

/// The values to try: all of an enumeration, both of a boolean, one where there are many.
fn values(path: &str, shape: &Value) -> Vec<Option<Value>> {
    let outpost = "arn:aws:outposts:us-east-1:123456789012:outpost/op-1234567890abcdef0";
    match (&shape["enum"], shape["type"].as_str()) {
        (Value::Array(values), _) => values.iter().cloned().map(Some).collect(),
        (_, Some("boolean")) => vec![Some(json!(true)), Some(json!(false))],
        _ if path.ends_with("].Target") => vec![None, Some(json!(outpost))],
        _ => vec![None],
    }
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace("[]", "/0").replace('.', "/"))
}

fn without(mut document: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(elements) => {
            elements.remove(name.parse().unwrap());
        }
        parent => {
            parent.as_object_mut().unwrap().remove(name).unwrap();
        }
    }
    document
}

fn said(document: &Value) -> Result<String, String> {
    match read(document, "") {
        Ok(policy) => Ok(format!("{policy:?}")),
        Err(err) => {
            let messages: Vec<_> = err.issues.into_iter().map(|issue| issue.message).collect();
            Err(messages.join("; "))
        }
    }
}

/// What is said of a member that has this value.
fn verdict(path: &str, value: Option<&Value>, documents: &[(String, Value)]) -> String {
    let label = label(path, value);
    let pointer = pointer(path);
    let mut document = longest(documents, &label).clone();
    if let Some(value) = value {
        document = with(document, &pointer, value.clone());
    }
    assert!(document.pointer(&pointer).is_some(), "{path} is not in {document}");
    let policy = match said(&document) {
        Err(refusal) => {
            assert!(refusal.contains("not supported by this version"), "{label}: {refusal}");
            return format!("refused: {refusal}");
        }
        Ok(policy) => policy,
    };
    let no_more = SAYS_NO_MORE.iter().find(|(name, _)| *name == path || *name == label);
    if let Some((_, verdict)) = no_more {
        assert_eq!(said(&without(document, &pointer)), Ok(policy), "{label} says more");
        return (*verdict).to_owned();
    }
    let is_default = value == Some(&json!(false));
    if !is_default {
        assert_ne!(said(&without(document, &pointer)), Ok(policy), "{label} says nothing");
    }
    "honoured".to_owned()
}

fn label(path: &str, value: Option<&Value>) -> String {
    match value {
        None => path.to_owned(),
        Some(Value::String(value)) => format!("{path} = {value}"),
        Some(value) => format!("{path} = {value}"),
    }
}

/// The rows of a member: one, or one for each value where they are not treated alike.
fn rows(path: &str, shape: &Value, documents: &[(String, Value)]) -> Vec<(String, String)> {
    let rows: Vec<_> = values(path, shape)
        .iter()
        .map(|value| (label(path, value.as_ref()), verdict(path, value.as_ref(), documents)))
        .collect();
    let (_, first) = &rows[0];
    if rows.iter().all(|(_, verdict)| verdict == first) {
        vec![(path.to_owned(), first.clone())]
    } else if rows.iter().all(|(_, verdict)| verdict.starts_with("honoured")) {
        vec![(path.to_owned(), "honoured".to_owned())]
    } else {
        rows
    }
}

#[test]
fn every_member_of_dlm_is_honoured_or_refused() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let model = std::fs::read_to_string(format!("{root}/tests/fixtures/dlm-model.json")).unwrap();
    let model: Value = serde_json::from_str(&model).unwrap();
    let documents = documents();
    let sources = sources(Path::new(root));
    let mut table = String::new();
    let mut totals: BTreeMap<bool, usize> = BTreeMap::new();
    for (path, shape) in model["members"].as_object().unwrap() {
        for (label, verdict) in rows(path, shape, &documents) {
            let is_honoured = !verdict.starts_with("refused");
            *totals.entry(is_honoured).or_default() += 1;
            let by =
                if is_honoured { format!("`{}`", test_of(path, &sources)) } else { String::new() };
            writeln!(table, "| {label} | {verdict} | {by} |").unwrap();
        }
    }
    let text = format!(
        "# What is done with every member of DLM's policy language\n\n\
         Made from botocore {}'s model of `CreateLifecyclePolicyRequest` by the test\n\
         `every_member_of_dlm_is_honoured_or_refused` (`SNAPFERRY_UPDATE=1` writes it), which reads a document with\n\
         each member, and with each value of an enumeration. Honoured or accepted: {}; refused: {}. A member that is\n\
         honoured changes the policy, or says why it does not; the last column names a test of what it does.\n\n\
         | member | verdict | by |\n| --- | --- | --- |\n{table}",
        model["botocore"].as_str().unwrap(),
        totals[&true],
        totals[&false],
    );
    is_current(concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/dlm-members.md"), &text);
}

/// The test that shows what the member does, which there is.
fn test_of(path: &str, sources: &str) -> &'static str {
    let name = longest(&BY, path);
    let is_test = ["", "    "] // a property's is in a macro
        .iter()
        .any(|indent| sources.contains(&format!("#[test]\n{indent}fn {name}(")));
    assert!(is_test, "there is no test {name}");
    name
}

/// Every Rust source of the repository, one after the other.
fn sources(folder: &Path) -> String {
    let mut sources = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources += &self::sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources += &std::fs::read_to_string(&path).unwrap();
        }
    }
    sources
}

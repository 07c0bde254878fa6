//! Policies that are mostly valid: what they have between them is everything that there is.

use serde_json::{Map, Value, json};
use snapferry_core::documents::{Content, Documents, Raw};

use super::Choices;
use super::snapshots::{AWAY, HOME, MEMBER, OTHER, VAULT, key};
use crate::check;

/// The published examples, as they are.
const EXAMPLES: [&str; 11] = [
    include_str!("../../../../events/policies/archive.json"),
    include_str!("../../../../events/policies/daily-count.json"),
    include_str!("../../../../events/policies/default.json"),
    include_str!("../../../../events/policies/instances.json"),
    include_str!("../../../../events/policies/keep-and-lock.json"),
    include_str!("../../../../events/policies/rescue.json"),
    include_str!("../../../../events/policies/scripts.json"),
    include_str!("../../../../events/policies/until-copied.json"),
    include_str!("../../../../events/policies/vault.json"),
    include_str!("../../../../events/policies/vault-tags.json"),
    include_str!("../../../../events/policies/vss.json"),
];

/// Some documents, read. Those that are invalid are told well.
pub(super) fn read(choices: &mut Choices<'_>, is_vault: bool) -> Documents {
    let mut raw = Vec::new();
    for name in ["p", "q"].into_iter().take(if choices.once_in(3) { 2 } else { 1 }) {
        let document = if is_vault { copies(choices, name) } else { snapshots(choices, name) };
        raw.push(Raw { default_name: String::new(), content: Content::Json(document) });
    }
    if choices.once_in(4) {
        let content = Content::Text(choices.pick(&EXAMPLES).to_owned());
        raw.push(Raw { default_name: "example".into(), content });
    }
    let documents = Documents::read(raw, !choices.once_in(4));
    documents.invalid.iter().for_each(|it| check::one_line(&it.to_string()));
    documents
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

fn tags(choices: &mut Choices<'_>, max: i64) -> Value {
    let keys = ["Backup", "Name", "Owner", "Skip", "k"];
    let mut seen = Map::new();
    for n in 0..choices.upto(max) {
        let key = if n < 5 { choices.pick(&keys).to_owned() } else { format!("k{n}") };
        seen.insert(key, json!(choices.pick(&["daily", "", "x", "web"])));
    }
    seen.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn age(choices: &mut Choices<'_>) -> Value {
    let n = 1 + choices.upto(40);
    let n = if choices.once_in(10) { choices.pick(&[36_500, 1200, 100]) } else { n };
    json!({"Interval": n, "IntervalUnit": choices.pick(&["DAYS", "WEEKS", "MONTHS", "YEARS"])})
}

fn retain(choices: &mut Choices<'_>) -> Value {
    let mut rule = match choices.upto(4) {
        0 => json!({"Count": 1 + choices.upto(3)}),
        1 => age(choices),
        2 => json!({"Keep": {"Hourly": choices.upto(3), "Daily": choices.upto(3),
            "Weekly": choices.upto(2), "Monthly": choices.upto(2), "Yearly": 1}}),
        3 => json!({"Count": 1000}),
        _ => {
            let mut rule = age(choices);
            put(&mut rule, "Count", json!(1 + choices.upto(2)));
            rule
        }
    };
    if choices.once_in(3) {
        put(&mut rule, "MinimumCount", json!(choices.upto(4)));
    }
    rule
}

fn create(choices: &mut Choices<'_>) -> Value {
    let zone = choices.pick(&["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]);
    let mut rule = match choices.upto(3) {
        0 => json!({"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]}),
        1 => json!({"Interval": 1, "IntervalUnit": "HOURS", "TimeZone": zone}),
        2 => json!({"CronExpression": "cron(0 2 * * ? *)", "TimeZone": zone}),
        _ => json!({"CronExpression": "cron(0 2 22 * ? *)"}),
    };
    if choices.once_in(4) {
        put(&mut rule, "StartWindowMinutes", json!(1 + choices.upto(100)));
    }
    rule
}

fn lock(choices: &mut Choices<'_>) -> Value {
    let days = choices.pick(&[1, 7, 36_500]);
    match choices.upto(2) {
        0 => json!({"Mode": "GOVERNANCE", "DurationDays": days}),
        1 => json!({"Mode": "COMPLIANCE", "DurationDays": days}),
        _ => json!({"Mode": "COMPLIANCE", "DurationDays": days, "CoolOffPeriodHours": 24}),
    }
}

fn share(choices: &mut Choices<'_>) -> Value {
    let rule = match choices.upto(3) {
        0 => json!({"TargetAccounts": [VAULT]}),
        1 => json!({"TargetAccounts": [VAULT, OTHER]}),
        2 => json!({"TargetAccounts": [VAULT], "UnshareInterval": 1 + choices.upto(9),
            "UnshareIntervalUnit": "DAYS"}),
        _ => json!({"TargetAccounts": [VAULT], "UnshareWhenCopied": {
            "RoleArn": format!("arn:aws:iam::{VAULT}:role/reader"), "Regions": [HOME, AWAY]}}),
    };
    json!([rule])
}

fn copy_rule(choices: &mut Choices<'_>, is_vault: bool) -> Value {
    let target = choices.pick(&[HOME, AWAY, "us-east-1"]);
    let account = if is_vault { VAULT } else { MEMBER };
    let encryption = match choices.upto(3) {
        0 => json!({}),
        1 => json!({"Encrypted": true}),
        _ => json!({"Encrypted": true, "CmkArn": key(account, target)}),
    };
    let mut rule = json!({"Target": target});
    if is_vault {
        put(&mut rule, "EncryptionConfiguration", encryption);
    } else if let (Value::Object(rule), Value::Object(encryption)) = (&mut rule, encryption) {
        rule.extend(encryption);
    }
    if !choices.once_in(4) {
        put(&mut rule, "RetainRule", retain(choices));
    }
    if choices.once_in(3) {
        put(&mut rule, "CopyTags", json!(true));
        put(&mut rule, "TagsToAdd", tags(choices, 45));
    }
    if choices.once_in(5) {
        put(&mut rule, "CompletionDurationMinutes", json!(15));
    }
    if choices.once_in(5) {
        put(&mut rule, "LockRule", lock(choices));
    }
    rule
}

fn schedule(choices: &mut Choices<'_>, name: &str) -> Value {
    let mut schedule = json!({"Name": name, "RetainRule": retain(choices)});
    if !choices.once_in(6) {
        put(&mut schedule, "CreateRule", create(choices));
    }
    if choices.once_in(3) {
        put(&mut schedule, "ShareRules", share(choices));
    }
    if choices.once_in(4) {
        let archive = match choices.upto(1) {
            0 => json!({"Count": 1 + choices.upto(3)}),
            _ => json!({"Interval": 90 + choices.upto(300), "IntervalUnit": "DAYS"}),
        };
        put(&mut schedule, "CreateRule", json!({"CronExpression": "cron(0 2 22 * ? *)"}));
        put(&mut schedule, "ArchiveRule", json!({"RetainRule": {"RetentionArchiveTier": archive}}));
    }
    if choices.once_in(4) {
        let zones = if choices.once_in(2) {
            json!({"Count": 1, "AvailabilityZoneIds": ["euc1-az1", "euc1-az2"]})
        } else {
            json!({"Interval": 2, "IntervalUnit": "DAYS", "AvailabilityZones": ["eu-central-1a"]})
        };
        put(&mut schedule, "FastRestoreRule", zones);
    }
    if choices.once_in(4) {
        put(&mut schedule, "LockRule", lock(choices));
    }
    if choices.once_in(3) {
        put(&mut schedule, "CopyTags", json!(true));
        put(&mut schedule, "TagsToAdd", tags(choices, 45));
    }
    let rules = choices.many(2, |choices| copy_rule(choices, false));
    put(&mut schedule, "CrossRegionCopyRules", json!(rules));
    schedule
}

fn scripts(choices: &mut Choices<'_>) -> Value {
    let mut script = match choices.upto(3) {
        0 => return json!([]),
        1 => json!({"ExecutionHandler": "AWS_VSS_BACKUP"}),
        2 => json!({"ExecutionHandler": "own", "Stages": ["PRE"]}),
        _ => {
            json!({"ExecutionHandler": "own", "ExecuteOperationOnScriptFailure": choices.once_in(2)})
        }
    };
    put(&mut script, "MaximumRetryCount", json!(choices.upto(3)));
    json!([script])
}

fn snapshots(choices: &mut Choices<'_>, name: &str) -> Value {
    let mut details = json!({"TargetTags": [{"Key": "Backup", "Value": "daily"}]});
    match choices.upto(5) {
        0 => put(&mut details, "ResourceTypes", json!(["INSTANCE"])),
        1 => {
            put(&mut details, "ResourceTypes", json!(["INSTANCE"]));
            let data = json!({"ExcludeBootVolume": choices.once_in(2),
                "ExcludeDataVolumeTags": [{"Key": "Skip", "Value": "x"}]});
            put(&mut details, "Parameters", data);
        }
        2 => {
            let days = 1 + choices.upto(6);
            return json!({"Name": name, "PolicyLanguage": "SIMPLIFIED", "ResourceType": "VOLUME",
                "CreateInterval": days, "RetainInterval": days + 2, "CopyTags": true,
                "ExtendDeletion": choices.once_in(2),
                "Exclusions": {"ExcludeBootVolumes": choices.once_in(2)}});
        }
        3 => details = json!({"TargetVolumeIds": ["vol-00000001", "vol-00000002"]}),
        _ => {}
    }
    if choices.once_in(3) {
        put(&mut details, "ExcludeTags", json!([{"Key": "Skip", "Value": "*"}]));
    }
    if choices.once_in(3) {
        put(&mut details, "DefaultKeyRescue", json!({"KmsKeyId": "alias/share"}));
    }
    let names = ["a", "b"].into_iter().take(if choices.once_in(2) { 2 } else { 1 });
    let mut schedules: Vec<Value> = names.map(|name| schedule(choices, name)).collect();
    if details.get("ResourceTypes").is_some() {
        let creates = schedules.iter_mut().filter_map(|it| it.get_mut("CreateRule"));
        creates.for_each(|it| put(it, "Scripts", scripts(choices)));
    }
    put(&mut details, "Schedules", json!(schedules));
    let state = if choices.once_in(8) { "DISABLED" } else { "ENABLED" };
    json!({"Name": name, "State": state, "PolicyDetails": details})
}

fn copies(choices: &mut Choices<'_>, name: &str) -> Value {
    let pattern = choices.pick(&["^Created for policy: ", "", ".*", "(a|b|[^x])*x?$"]);
    let owners = choices.pick(&[&[MEMBER][..], &[MEMBER, OTHER][..]]);
    let source = json!({"EventType": "shareSnapshot", "SnapshotOwner": owners,
        "DescriptionRegex": pattern});
    let mut rules = choices.many(3, |choices| copy_rule(choices, true));
    rules.push(copy_rule(choices, true));
    let details = json!({"PolicyType": "EVENT_BASED_POLICY",
        "EventSource": {"Type": "MANAGED_CWE", "Parameters": source},
        "Actions": [{"Name": "copy", "CrossRegionCopy": rules}]});
    let state = if choices.once_in(8) { "DISABLED" } else { "ENABLED" };
    let mut document = json!({"Name": name, "State": state, "PolicyDetails": details});
    if choices.once_in(4) {
        let reader = json!({"RoleArn": format!("arn:aws:iam::{MEMBER}:role/reader")});
        put(&mut document, "Targets", json!([reader]));
    }
    document
}

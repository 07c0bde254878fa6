#![expect(clippy::too_many_lines, reason = "tables")]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::ids::AccountId;
use crate::policy::{Age, CopyPolicy, IntervalUnit, RetainRule, Selection, SnapshotPolicy};
use crate::schedule::{CreateRule, When};

mod any_json;
mod default_policies;
mod dlm;
mod forms;
mod instances;
mod locks;
mod readers;
mod region_copies;
mod rescue;
mod retention;
mod rules;
mod schedules;
mod schema;
mod scripts;
#[expect(dead_code, reason = "nobody makes a policy of these: they are for the schema")]
#[expect(clippy::doc_markdown, reason = "the comments are an editor's, which shows plain text")]
#[expect(clippy::struct_field_names, reason = "the members' names are DLM's")]
mod shape;
mod tiers;
mod units;
mod validator;

pub(super) use self::schema::traced;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/dlm-policies");

fn snapshots() -> Value {
    json!({
        "Name": "daily",
        "State": "ENABLED",
        "Targets": [{ "RoleArn": "arn:aws:iam::333333333333:role/member", "Regions": ["eu-west-1"] }],
        "PolicyDetails": {
            "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
            "ResourceTypes": ["VOLUME"],
            "TargetTags": [{ "Key": "backup", "Value": "" }],
            "Schedules": [
                {
                    "Name": "nightly",
                    "CreateRule": { "Interval": 24, "IntervalUnit": "HOURS", "Times": ["03:00"] },
                    "RetainRule": { "Count": 7 },
                },
                { "RetainRule": { "Count": 5 } },
            ],
        },
    })
}

fn copies() -> Value {
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {
                "Type": "MANAGED_CWE",
                "Parameters": { "EventType": "shareSnapshot", "SnapshotOwner": ["333333333333"] },
            },
            "Actions": [{
                "Name": "copy",
                "CrossRegionCopy": [{
                    "Target": "eu-west-2",
                    "EncryptionConfiguration": {
                        "Encrypted": true,
                        "CmkArn": "arn:aws:kms:eu-west-2:222222222222:key/8af79514",
                    },
                    "RetainRule": { "Interval": 1, "IntervalUnit": "MONTHS" },
                }],
            }],
        },
    })
}

fn instances() -> Value {
    json!({
        "PolicyDetails": {
            "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
            "ResourceTypes": ["INSTANCE"],
            "TargetTags": [{ "Key": "backup", "Value": "" }],
            "Parameters": {
                "ExcludeBootVolume": true,
                "ExcludeDataVolumeTags": [{ "Key": "code", "Value": "temp" }],
            },
            "Schedules": [{
                "Name": "nightly",
                "TagsToAdd": [{ "Key": "type", "Value": "nightly" }],
                "VariableTags": [
                    { "Key": "instance", "Value": "$(instance-id)" },
                    { "Key": "at", "Value": "$(timestamp)" },
                ],
                "CreateRule": { "CronExpression": "cron(0 2 * * ? *)" },
                "RetainRule": { "Count": 7 },
            }],
        },
    })
}

/// A volume policy with everything that goes together.
fn monthly() -> Value {
    json!({
        "PolicyDetails": {
            "ResourceTypes": ["VOLUME"],
            "TargetTags": [{ "Key": "backup", "Value": "" }],
            "Schedules": [{
                "Name": "monthly",
                "CreateRule": { "CronExpression": "cron(0 9 1 * ? *)" },
                "RetainRule": { "Interval": 5, "IntervalUnit": "WEEKS", "MinimumCount": 2 },
                "ArchiveRule": {
                    "RetainRule": {
                        "RetentionArchiveTier": { "Interval": 90, "IntervalUnit": "DAYS" },
                    },
                },
                "FastRestoreRule": { "Count": 2, "AvailabilityZones": ["eu-central-1a"] },
                "ShareRules": [{
                    "TargetAccounts": ["222222222222"],
                    "UnshareInterval": 1,
                    "UnshareIntervalUnit": "DAYS",
                }],
                "LockRule": { "Mode": "GOVERNANCE", "DurationDays": 30 },
                "CrossRegionCopyRules": [{
                    "Target": "eu-west-2",
                    "Encrypted": true,
                    "CmkArn": "arn:aws:kms:eu-west-2:222222222222:key/8af79514",
                    "CopyTags": true,
                    "RetainRule": { "Interval": 1, "IntervalUnit": "YEARS" },
                    "LockRule": {
                        "Mode": "COMPLIANCE", "DurationDays": 300, "CoolOffPeriodHours": 24,
                    },
                }],
            }],
        },
    })
}

/// DLM's default policy for volumes.
fn unprotected() -> Value {
    json!({
        "PolicyDetails": {
            "PolicyLanguage": "SIMPLIFIED",
            "ResourceType": "VOLUME",
            "CreateInterval": 3,
            "RetainInterval": 9,
            "CopyTags": true,
            "ExtendDeletion": false,
            "CrossRegionCopyTargets": [{ "TargetRegion": "eu-west-2" }],
            "Exclusions": {
                "ExcludeBootVolumes": true,
                "ExcludeVolumeTypes": ["st1", "sc1"],
                "ExcludeTags": [{ "Key": "backup", "Value": "never" }],
            },
        },
    })
}

/// `document` with `value` at `pointer`, whose last part may be new.
fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            members.insert(name.to_owned(), value);
        }
        Value::Array(elements) => match elements.get_mut(name.parse::<usize>().unwrap()) {
            Some(element) => *element = value,
            None => elements.push(value),
        },
        other => panic!("{other} has no members"),
    }
    document
}

/// What is wrong, without the preamble; nothing for a valid document.
fn wrong(document: &Value) -> String {
    match read(document, "") {
        Ok(_) => String::new(),
        Err(err) => {
            let issues: Vec<_> = err.issues.iter().map(ToString::to_string).collect();
            issues.join("; ")
        }
    }
}

fn snapshot_policy(document: &Value) -> SnapshotPolicy {
    match read(document, "").unwrap().details {
        Details::Snapshots(policy) => policy,
        Details::Copies(_) => panic!("an event policy"),
    }
}

fn copy_policy(document: &Value) -> CopyPolicy {
    match read(document, "").unwrap().details {
        Details::Copies(policy) => policy,
        Details::Snapshots(_) => panic!("a snapshot policy"),
    }
}

fn fixture(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()).unwrap()
}

/// Every published policy that is JSON, and what is said of it. Nothing: it is honoured.
#[test]
fn published_policies_are_honoured_or_refused_by_name() {
    let cases = [
        ("01-ebs-guide-ex1-two-schedules.json", ""),
        ("02-ebs-guide-ex2-instance-exclude-data-volume-tags.json", ""),
        (
            "03-ebs-guide-ex3-outpost-local.json",
            "/ResourceLocations: \"OUTPOST\" is not supported by this version of snapferry: it \
             takes the volumes of an Outpost or a Local Zone; \
             /Schedules/0/CreateRule/Location: \"OUTPOST_LOCAL\" is not supported by this \
             version of snapferry: it keeps snapshots on an Outpost or in a Local Zone",
        ),
        (
            "04-ebs-guide-ex4-copy-to-outpost.json",
            "/Schedules/0/CrossRegionCopyRules/0/Target: \
             \"arn:aws:outposts:us-east-1:123456789012:outpost/op-1234567890abcdef0\" is not \
             supported by this version of snapferry: it copies to an Outpost",
        ),
        ("05-ebs-guide-ex5-archive-age.json", ""),
        ("06-ebs-guide-ex6-archive-count-zero-retain.json", ""),
        ("07-ebs-guide-share-rule-with-unshare.json", ""),
        ("08-ebs-guide-event-based-copy-two-regions.json", ""),
        ("09-ec2-guide-single-volume-schedule.json", ""),
        (
            "10-ec2-guide-two-schedules-7-field-cron.json",
            "/Schedules/1/CreateRule/CronExpression: EventBridge cron has six fields and no \
             seconds; drop the leading \"0\", found \"cron(0 0 17 ? * FRI *)\"",
        ),
        (
            "11-ec2-guide-two-schedules-7-field-cron-policytype.json",
            "/Schedules/1/CreateRule/CronExpression: EventBridge cron has six fields and no \
             seconds; drop the leading \"0\", found \"cron(0 0 17 ? * FRI *)\"",
        ),
        ("12-ec2-guide-2018-first-example.json", ""),
        ("13-ec2-guide-2018-get-response.json", ""),
        ("14-ec2-guide-2018-update-12h.json", ""),
        ("16-ec2-guide-get-response.json", ""),
        (
            "19-ec2-guide-ami-daily.json",
            "/PolicyType: \"IMAGE_MANAGEMENT\" is not supported by this version of snapferry: it \
             makes AMIs of instances, not snapshots of volumes",
        ),
        (
            "20-ec2-guide-ami-count-cross-region-deprecate.json",
            "/PolicyType: \"IMAGE_MANAGEMENT\" is not supported by this version of snapferry: it \
             makes AMIs of instances, not snapshots of volumes",
        ),
        ("22-cfn-guide-basic-cross-region.json", ""),
        ("23-cli-create-lifecycle-policy.json", ""),
        ("24-cli-get-lifecycle-policy.json", ""),
        ("25-cli-update-target-tags-only.json", "/Schedules: want 1 to 4 schedules, found nothing"),
        ("35-ebs-guide-vss-backup.json", ""),
        ("38-ebs-guide-default-volume-policy.json", ""),
        (
            "39-ebs-guide-default-instance-policy.json",
            "/PolicyType: \"IMAGE_MANAGEMENT\" is not supported by this version of snapferry: it \
             makes AMIs of instances, not snapshots of volumes",
        ),
        ("40-tf-provider-event-based-empty-encryption.json", ""),
    ];
    for (name, expected) in cases {
        assert_eq!(wrong(&fixture(name)), expected, "{name}");
    }
    let mut files: Vec<_> = std::fs::read_dir(FIXTURES)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "INDEX.md")
        .collect();
    files.sort();
    assert_eq!(files, cases.map(|case| case.0), "every fixture has a case");
}

fn created_at(rule: &CreateRule) -> String {
    rule.next("2026-11-22T00:00:00Z".parse().unwrap()).unwrap().to_string()
}

#[test]
fn a_published_snapshot_policy_says_what_it_says() {
    let policy = snapshot_policy(&fixture("01-ebs-guide-ex1-two-schedules.json"));
    let tags = vec![("costcenter".to_owned(), "115".to_owned())];
    assert_eq!(policy.selection, Selection::Volumes { tags, ids: BTreeSet::new() });
    assert!(policy.copies.is_empty());
    let [daily, weekly] = policy.schedules.as_slice() else { panic!("two schedules") };
    assert_eq!((daily.name.as_str(), weekly.name.as_str()), ("DailySnapshots", "WeeklySnapshots"));
    assert_eq!(daily.tags_to_add["type"], "myDailySnapshot");
    assert!(!daily.copy_tags);
    assert_eq!(daily.retain.count.map(u32::from), Some(5));
    assert_eq!((daily.retain.age, daily.retain.minimum_count), (None, 1));
    assert_eq!(created_at(&daily.create), "2026-11-22T03:00:00Z");
    assert_eq!(created_at(&weekly.create), "2026-11-27T17:00:00Z");

    let exported = read(&fixture("16-ec2-guide-get-response.json"), "").unwrap();
    assert_eq!((exported.name.as_str(), exported.enabled), ("policy-0123456789abcdef0", true));
    assert_eq!(exported.targets.len(), 1);
    let role = "arn:aws:iam::210774411744:role/AWSDataLifecycleManagerDefaultRole";
    assert_eq!(exported.targets[0].role_arn.as_str(), role);
    assert_eq!((&exported.targets[0].external_id, exported.targets[0].regions.len()), (&None, 0));
}

#[test]
fn a_published_event_policy_says_what_it_says() {
    let policy = copy_policy(&fixture("08-ebs-guide-event-based-copy-two-regions.json"));
    assert_eq!(policy.owners.iter().map(AccountId::as_str).collect::<Vec<_>>(), ["111111111111"]);
    assert!(policy.description.is_none() && policy.source_regions.is_empty());
    let [first, second] = policy.rules.as_slice() else { panic!("two copies") };
    assert_eq!((first.name.as_str(), first.encrypted, &first.cmk_arn), ("sa-east-1", false, &None));
    let days = Age { interval: 3.try_into().unwrap(), unit: IntervalUnit::Days };
    let by_age = RetainRule { count: None, age: Some(days), keep: None, minimum_count: 1 };
    assert_eq!(first.retain, Some(by_age));
    assert_eq!((first.copy_tags, &first.schedule, first.lock), (false, &None, None));
    assert_eq!((second.name.as_str(), second.encrypted), ("eu-west-2", true));
    let key = "arn:aws:kms:eu-west-2:222222222222:key/8af79514-350d-4c52-bac8-8985e84171c7";
    assert_eq!(second.cmk_arn.as_ref().unwrap().as_str(), key);

    let policy = copy_policy(&fixture("40-tf-provider-event-based-empty-encryption.json"));
    let description = policy.description.unwrap();
    assert!(description.is_match("Created for policy: policy-1234567890abcdef0 schedule: x"));
    assert!(!description.is_match("Created for policy: policy-1234567890abcdef1 schedule: x"));
}

#[test]
fn a_document_with_five_mistakes_names_all_five() {
    let mut document = snapshots();
    for (pointer, value) in [
        ("/State", json!("ON")),
        ("/PolicyDetails/Schedules/0/RetainRule/Count", json!(0)),
        ("/PolicyDetails/Schedules/0/CreateRule/Times", json!(["3:00"])),
        ("/PolicyDetails/Schedules/1/CopyTag", json!(true)),
        ("/PolicyDetails/Schedules/1/DeprecateRule", json!({ "Count": 1 })),
    ] {
        document = with(document, pointer, value);
    }
    let err = read(&document, "").unwrap_err();
    assert_eq!(err.issues.len(), 5);
    assert_eq!((err.name.as_str(), err.kind), ("daily", Some(Kind::Snapshots)));
    assert_eq!(
        err.to_string(),
        "policy \"daily\" is invalid: \
         /State: want ENABLED or DISABLED, found \"ON\"; \
         /PolicyDetails/Schedules/0/CreateRule/Times/0: want a time from 00:00 to 23:59, found \"3:00\"; \
         /PolicyDetails/Schedules/0/RetainRule/Count: want 1 to 1000, found 0; \
         /PolicyDetails/Schedules/1/DeprecateRule: DeprecateRule is not supported by this version \
         of snapferry: it deprecates AMIs; \
         /PolicyDetails/Schedules/1/CopyTag: unknown member, did you mean \"CopyTags\"?"
    );
}

#[test]
fn what_was_found_stays_on_one_line_and_short() {
    let name = "a\nb\u{7f}\u{202e}".to_owned() + &"x".repeat(500);
    let mut document = json!({ "Name": name });
    document["k\n~/"] = json!(1);
    let err = read(&document, "").unwrap_err();
    assert_eq!(err.issues[2].pointer, "/k\n~0~1");
    let text = err.to_string();
    assert!(text.starts_with("policy \"a\\nb\\u{7f}\\u{202e}xxx"), "{text}");
    assert!(text.contains("/k\\n~0~1: unknown member"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}') && text.len() < 500, "{text}");

    let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("x{n}"), json!(1))).collect();
    let err = read(&Value::Object(many), "").unwrap_err();
    assert_eq!(err.issues.len(), 1001);
    assert!(err.to_string().ends_with("; and 901 more"));
}

#[test]
fn names_come_from_the_document_or_from_outside() {
    let name = |document: Value, default: &str| read(&document, default).map(|policy| policy.name);
    let bare = || snapshots()["PolicyDetails"].clone();
    assert_eq!(name(snapshots(), "parameter").unwrap(), "daily");
    assert_eq!(name(bare(), "parameter").unwrap(), "parameter");
    assert_eq!(name(bare(), "").unwrap(), "default");
    let exported = || with(snapshots(), "/PolicyId", json!("policy-0123456789abcdef0"));
    let unnamed = || with(exported(), "/Name", json!(null));
    assert_eq!(name(exported(), "").unwrap(), "daily");
    assert_eq!(name(unnamed(), "").unwrap(), "policy-0123456789abcdef0");
    assert_eq!(name(unnamed(), "parameter").unwrap(), "parameter");
    assert_eq!(name(with(bare(), "/Name", json!("own")), "parameter").unwrap(), "own");
    let err = name(bare(), &"p".repeat(65)).unwrap_err();
    assert_eq!((err.issues.len(), err.issues[0].pointer.as_str()), (1, "/Name"));
}

#[test]
fn the_type_is_told_from_the_members() {
    let document = with(copies(), "/PolicyDetails/PolicyType", json!(null));
    assert_eq!(copy_policy(&document).rules.len(), 1);
    let document = with(snapshots(), "/PolicyDetails/PolicyType", json!(null));
    assert_eq!(snapshot_policy(&document).schedules.len(), 2);
}

#[test]
fn defaults_are_what_the_contract_says() {
    let seed = json!({
        "TargetVolumeIds": "vol-0123456789abcdef0",
        "Schedules": { "RetainRule": { "Count": 3 } },
        "ExecutionRoleArn": "arn:aws:iam::333333333333:role/member",
    });
    let policy = snapshot_policy(&seed);
    let [schedule] = policy.schedules.as_slice() else { panic!("one schedule") };
    assert_eq!(schedule.name, "schedule-1");
    assert_eq!(schedule.create, CreateRule::new(When::EveryRun));
    assert_eq!(schedule.create.start_window_minutes, None);

    let document =
        with(snapshots(), "/PolicyDetails/Schedules/0/CreateRule/TimeZone", json!("Asia/Tokyo"));
    let rule = &snapshot_policy(&document).schedules[0].create;
    assert_eq!(created_at(rule), "2026-11-22T18:00:00Z");

    let both = json!({ "Count": 3, "Interval": 2, "IntervalUnit": "WEEKS", "MinimumCount": 2 });
    let mut document = with(snapshots(), "/PolicyDetails/Schedules/0/RetainRule", both.clone());
    document = with(document, "/PolicyDetails/Schedules/1/RetainRule", both);
    let retain = &snapshot_policy(&document).schedules[1].retain;
    let age = Age { interval: 2.try_into().unwrap(), unit: IntervalUnit::Weeks };
    assert_eq!((retain.count.map(u32::from), retain.age), (Some(3), Some(age)));
    assert_eq!(retain.minimum_count, 2);
}

#[test]
fn a_region_may_occur_more_than_once() {
    let mut document = copies();
    for target in ["eu-west-2", "eu-west-1", "eu-west-2", "us-east-1"] {
        let rules = document.pointer_mut("/PolicyDetails/Actions/0/CrossRegionCopy").unwrap();
        rules.as_array_mut().unwrap().push(json!({ "TargetRegion": target }));
    }
    let names: Vec<_> = copy_policy(&document).rules.into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["eu-west-2/1", "eu-west-2/2", "eu-west-1", "eu-west-2/3", "us-east-1"]);
}

/// A file that a test generates is what it would be; with `SNAPFERRY_UPDATE` set, it becomes that.
#[expect(clippy::disallowed_methods, reason = "a tool's switch, no decision depends on it")]
fn is_current(path: &str, text: &str) {
    if std::env::var("SNAPFERRY_UPDATE").is_ok() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{path} is not current: SNAPFERRY_UPDATE=1 cargo test writes it");
}

#![expect(clippy::too_many_lines, reason = "tables")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ids::AccountId;
use crate::policy::{Age, CopyPolicy, IntervalUnit, SnapshotPolicy};
use crate::schedule::{CreateRule, When};

mod rules;

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
        (
            "02-ebs-guide-ex2-instance-exclude-data-volume-tags.json",
            "/ResourceTypes/0: \"INSTANCE\" is not supported by this version of snapferry: it \
             takes all volumes of an instance at one instant; \
             /Parameters/ExcludeDataVolumeTags: ExcludeDataVolumeTags is not supported by this \
             version of snapferry: it leaves out instances' data volumes by tag",
        ),
        (
            "03-ebs-guide-ex3-outpost-local.json",
            "/ResourceLocations: \"OUTPOST\" is not supported by this version of snapferry: it \
             takes the volumes of an Outpost or a Local Zone; \
             /Schedules/0/CreateRule/Location: \"OUTPOST_LOCAL\" is not supported by this \
             version of snapferry: it keeps snapshots on an Outpost or in a Local Zone",
        ),
        (
            "04-ebs-guide-ex4-copy-to-outpost.json",
            "/Schedules/0/CrossRegionCopyRules: CrossRegionCopyRules is not supported by this \
             version of snapferry: it copies snapshots to other Regions of the same account",
        ),
        (
            "05-ebs-guide-ex5-archive-age.json",
            "/Schedules/0/ArchiveRule: ArchiveRule is not supported by this version of \
             snapferry: it moves snapshots to the archive tier when their retention is over",
        ),
        (
            "06-ebs-guide-ex6-archive-count-zero-retain.json",
            "/Schedules/0/ArchiveRule: ArchiveRule is not supported by this version of \
             snapferry: it moves snapshots to the archive tier when their retention is over",
        ),
        (
            "07-ebs-guide-share-rule-with-unshare.json",
            "/Schedules/0/ShareRules/0/UnshareInterval: UnshareInterval is not supported by this \
             version of snapferry: it ends the sharing before the snapshot's retention is over",
        ),
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
        (
            "22-cfn-guide-basic-cross-region.json",
            "/Resources/BasicLifecyclePolicy/Properties/PolicyDetails/Schedules/0/CrossRegionCopyRules: CrossRegionCopyRules is not supported by this version of snapferry: it copies snapshots to other Regions of the same account",
        ),
        ("23-cli-create-lifecycle-policy.json", ""),
        ("24-cli-get-lifecycle-policy.json", ""),
        ("25-cli-update-target-tags-only.json", "/Schedules: want 1 to 4 schedules, found nothing"),
        (
            "35-ebs-guide-vss-backup.json",
            "/ResourceTypes/0: \"INSTANCE\" is not supported by this version of snapferry: it \
             takes all volumes of an instance at one instant; \
             /Schedules/0/CreateRule/Scripts: Scripts is not supported by this version of \
             snapferry: it runs commands on instances before and after",
        ),
        (
            "38-ebs-guide-default-volume-policy.json",
            "/PolicyLanguage: \"SIMPLIFIED\" is not supported by this version of snapferry: it \
             belongs to DLM's default policies, which back up whatever has no recent backup",
        ),
        (
            "39-ebs-guide-default-instance-policy.json",
            "/PolicyLanguage: \"SIMPLIFIED\" is not supported by this version of snapferry: it \
             belongs to DLM's default policies, which back up whatever has no recent backup; \
             /PolicyType: \"IMAGE_MANAGEMENT\" is not supported by this version of snapferry: it \
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
    assert_eq!(policy.target_tags, [("costcenter".to_owned(), "115".to_owned())]);
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
    assert_eq!((first.retain, first.minimum_count), (Some(days), 1));
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
        ("/PolicyDetails/Schedules/1/ArchiveRule", json!({ "RetainRule": { "Count": 1 } })),
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
         /PolicyDetails/Schedules/1/ArchiveRule: ArchiveRule is not supported by this version of \
         snapferry: it moves snapshots to the archive tier when their retention is over; \
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
fn a_copy_policy_has_no_targets_yet() {
    let target = json!({ "RoleArn": "arn:aws:iam::333333333333:role/member" });
    let err = read(&with(copies(), "/Targets", json!([target])), "").unwrap_err();
    let issue = err.issues[0].to_string();
    assert!(issue.starts_with("/Targets: is not supported by this version"), "{issue}");
    let role = json!("arn:aws:iam::333333333333:role/dlm");
    let read = read(&with(copies(), "/ExecutionRoleArn", role), "").unwrap();
    assert!(read.targets.is_empty(), "DLM's own role is no target");
}

#[test]
fn every_envelope_is_opened() {
    let policy = snapshots();
    let resource = json!({ "Type": "AWS::DLM::LifecyclePolicy", "Properties": policy });
    let exported = json!({
        "PolicyId": "policy-0123456789abcdef0", "PolicyArn": "arn:…", "StatusMessage": "ENABLED",
        "DateCreated": 1.5e9, "DateModified": "2019", "Tags": { "a": "b" }, "Description": "x",
        "DefaultPolicy": false, "PolicyDetails": policy["PolicyDetails"],
    });
    let mut flat = policy["PolicyDetails"].clone();
    flat["Targets"] = policy["Targets"].clone();
    for document in [
        json!({ "Policy": policy, "ResponseMetadata": {} }),
        json!({ "Policy": exported }),
        resource.clone(),
        json!({ "Resources": { "Other": { "Type": "AWS::SNS::Topic" }, "One": resource } }),
        policy["PolicyDetails"].clone(),
        flat,
    ] {
        assert_eq!(wrong(&document), "", "{document}");
    }
    for (document, expected) in [
        (json!(null), "the document: want a policy document (a JSON object), found null"),
        (json!([]), "the document: want a policy document (a JSON object), found []"),
        (json!({}), "/PolicyDetails: want the policy's details, found nothing"),
        (json!({ "Policy": null }), "/Policy: want a policy, found null"),
        (json!({ "Policy": policy, "Targets": [] }), "/Targets: unknown member"),
        (
            json!({ "Resources": { "One": resource, "Two": resource } }),
            "/Resources: want exactly one AWS::DLM::LifecyclePolicy, found 2",
        ),
        (json!({ "Resources": {}, "Outputs": {} }), "/Resources: want resources, found {}"),
        (
            json!({ "Resources": { "a/b": with(resource.clone(), "/Properties/State", json!("ON")) } }),
            "/Resources/a~1b/Properties/State: want ENABLED or DISABLED, found \"ON\"",
        ),
        (
            with(resource.clone(), "/Condition", json!("IsProduction")),
            "/Condition: CloudFormation's conditions are not evaluated here",
        ),
    ] {
        assert_eq!(wrong(&document), expected, "{document}");
    }
}

#[test]
fn form_is_free() {
    let schedule = "/PolicyDetails/Schedules/0";
    for (pointer, value) in [
        ("/State", json!(null)),
        ("/State", json!("DISABLED")),
        ("/Description", json!("anything")),
        ("/PolicyDetails/PolicyType", json!("")),
        ("/PolicyDetails/PolicyLanguage", json!("STANDARD")),
        ("/PolicyDetails/ResourceTypes", json!("VOLUME")),
        ("/PolicyDetails/ResourceTypes", json!(null)),
        ("/PolicyDetails/ResourceLocations", json!("CLOUD")),
        ("/PolicyDetails/Parameters", json!({})),
        ("/PolicyDetails/Parameters", json!({ "ExcludeBootVolume": false })),
        ("/PolicyDetails/TargetTags", json!({ "Key": "a", "Value": "b" })),
        ("/PolicyDetails/TargetVolumeIds", json!("vol-0123456789abcdef0")),
        ("/PolicyDetails/ExcludeTags", json!([{ "Key": "backup", "Value": "no*" }])),
        ("/PolicyDetails/CreateInterval", json!(0)),
        ("/PolicyDetails/EventSource", json!({ "Type": "" })),
    ] {
        assert_eq!(wrong(&with(snapshots(), pointer, value.clone())), "", "{pointer} = {value}");
    }
    for (pointer, value) in [
        ("/CopyTags", json!("true")),
        ("/TagsToAdd", json!({ "Key": "a", "Value": "" })),
        ("/VariableTags", json!([])),
        ("/CrossRegionCopyRules", json!([])),
        ("/FastRestoreRule", json!({ "Count": 0, "Interval": 0, "AvailabilityZones": [] })),
        ("/ArchiveRule", json!(null)),
        ("/CreateRule", json!({})),
        ("/CreateRule/Interval", json!("24")),
        ("/CreateRule/Interval", json!([12])),
        ("/CreateRule/IntervalUnit", json!("")),
        ("/CreateRule/Times", json!("03:00")),
        ("/CreateRule/Times", json!([])),
        ("/CreateRule/Location", json!(["CLOUD"])),
        ("/CreateRule/Scripts", json!([])),
        ("/CreateRule/TimeZone", json!("Europe/Berlin")),
        ("/CreateRule/StartWindowMinutes", json!("90")),
        (
            "/CreateRule",
            json!({ "Interval": 0, "IntervalUnit": "HOURS", "CronExpression": "cron(0 2 * * ? *)" }),
        ),
        ("/RetainRule", json!({ "Count": 4, "Interval": 0 })),
        ("/RetainRule", json!({ "Count": "4", "Interval": 0, "IntervalUnit": "DAYS" })),
        ("/RetainRule", json!({ "Count": 4, "Interval": "0", "IntervalUnit": "DAYS" })),
        ("/RetainRule/MinimumCount", json!(0)),
        ("/ShareRules", json!({ "TargetAccounts": "222222222222", "UnshareInterval": 0 })),
        ("/ShareRules", json!([{ "TargetAccounts": [222_222_222_222_u64] }])),
    ] {
        let pointer = format!("{schedule}{pointer}");
        assert_eq!(wrong(&with(snapshots(), &pointer, value.clone())), "", "{pointer} = {value}");
    }
    let copy = "/PolicyDetails/Actions/0/CrossRegionCopy/0";
    for (pointer, value) in [
        ("/EncryptionConfiguration", json!({})),
        ("/EncryptionConfiguration/CmkArn", json!("")),
        ("/RetainRule", json!(null)),
        ("/RetainRule", json!({ "Count": 0, "Interval": 0 })),
        ("/RetainRule", json!({ "Interval": 36_500, "IntervalUnit": "DAYS" })),
        ("/RetainRule", json!({ "Interval": 5200, "IntervalUnit": "WEEKS" })),
        ("/RetainRule", json!({ "Interval": 1200, "IntervalUnit": "MONTHS" })),
        ("/RetainRule", json!({ "Interval": 100, "IntervalUnit": "YEARS" })),
        ("/RetainRule/MinimumCount", json!(3)),
        ("/MinimumCount", json!(3)),
        ("/CopyTags", json!(false)),
        ("/CompletionDurationMinutes", json!(2880)),
        ("/TagsToAdd", json!([{ "Key": "a", "Value": "b" }])),
    ] {
        let pointer = format!("{copy}{pointer}");
        assert_eq!(wrong(&with(copies(), &pointer, value.clone())), "", "{pointer} = {value}");
    }
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

/// Values, made of the words of the language where there is a choice.
fn any_value() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "0",
        "1",
        "true",
        "VOLUME",
        "DAYS",
        "HOURS",
        "03:00",
        "eu-west-1",
        "222222222222",
        "cron(0 2 * * ? *)",
        "Europe/Berlin",
        "SIMPLIFIED",
        "EVENT_BASED_POLICY",
        "AWS::DLM::LifecyclePolicy",
        "(",
        "\u{202e}\n",
    ];
    let members: Vec<_> = DETAILS
        .into_iter()
        .chain(DESCRIPTIVE)
        .chain([
            "PolicyDetails",
            "Policy",
            "Resources",
            "Type",
            "Properties",
            "Name",
            "State",
            "Targets",
            "CreateRule",
            "RetainRule",
            "Interval",
            "IntervalUnit",
            "Count",
            "Key",
            "Value",
            "Times",
            "CronExpression",
            "TagsToAdd",
            "ShareRules",
            "TargetAccounts",
            "CrossRegionCopy",
            "Target",
            "EncryptionConfiguration",
            "Encrypted",
            "CmkArn",
            "Parameters",
            "Keep",
            "SnapshotOwner",
            "RoleArn",
            "Regions",
            "schedules",
            "Schedule",
            "a/b~c",
            "",
        ])
        .collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u8..30).prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ]
    .boxed();
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let member = prop::sample::select(members.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((member, inner), 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

/// Every pointer into `value`, its own included.
fn pointers(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect()
        }
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => Vec::new(),
    };
    let inner = inner.into_iter().flat_map(|(token, value)| {
        pointers(value).into_iter().map(move |rest| format!("/{token}{rest}"))
    });
    std::iter::once(String::new()).chain(inner).collect()
}

fn is_told_well(document: &Value) -> Result<(), TestCaseError> {
    if let Err(err) = read(document, "") {
        prop_assert!(!err.issues.is_empty());
        let text = err.to_string();
        prop_assert!(!text.chars().any(char::is_control), "{text}");
        for issue in err.issues {
            let parent = issue.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            prop_assert!(document.pointer(parent).is_some(), "{issue} points nowhere");
            prop_assert!(!issue.message.is_empty());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(document in any_value()) {
        is_told_well(&document)?;
    }

    #[test]
    fn a_valid_document_with_any_value_anywhere_is_read_or_refused(
        is_event in any::<bool>(),
        at in any::<prop::sample::Index>(),
        value in any_value(),
    ) {
        let mut document = if is_event { copies() } else { snapshots() };
        let pointers = pointers(&document);
        if let Some(place) = document.pointer_mut(at.get::<String>(&pointers)) {
            *place = value;
        }
        is_told_well(&document)?;
    }

    #[test]
    fn an_unknown_member_anywhere_is_found(
        is_event in any::<bool>(),
        at in any::<prop::sample::Index>(),
        name in "[A-Za-z]{1,12}q", // no member ends in q
    ) {
        let mut document = if is_event { copies() } else { snapshots() };
        let objects: Vec<_> = pointers(&document)
            .into_iter()
            .filter(|pointer| document.pointer(pointer).is_some_and(Value::is_object))
            .collect();
        let pointer = format!("{}/{name}", at.get(&objects));
        document = with(document, &pointer, json!(0));
        let err = read(&document, "").unwrap_err();
        prop_assert_eq!(err.issues.len(), 1);
        prop_assert_eq!(&err.issues[0].pointer, &pointer);
    }
}

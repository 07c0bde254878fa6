//! One case per rule: a valid document, one value in it, and all that is said of it.

use serde_json::{Value, json};

use super::{copies, snapshots, with, wrong};

/// Each case puts a value into `document` at `base` and the case's pointer; pointers in what is
/// expected are from `base` on, too.
pub(super) fn check(document: fn() -> Value, base: &str, cases: Vec<(&str, Value, &str)>) {
    assert_eq!(wrong(&document()), "");
    let mut others = Vec::new();
    for (pointer, value, expected) in cases {
        let pointer = format!("{base}{pointer}");
        let document = with(document(), &pointer, value.clone());
        let found: Vec<_> = wrong(&document)
            .split("; /")
            .map(|issue| format!("/{}", issue.trim_start_matches('/')))
            .map(|issue| issue.strip_prefix(base).unwrap_or(&issue).to_owned())
            .collect();
        let expected = if expected.is_empty() { "/" } else { expected };
        let found = found.join("; ");
        if found != expected {
            others.push(format!("{pointer} = {value}\n  want {expected}\n found {found}"));
        }
    }
    assert!(others.is_empty(), "\n{}", others.join("\n"));
}

pub(super) fn tags(n: usize) -> Vec<Value> {
    (0..n).map(|n| json!({ "Key": format!("k{n}"), "Value": "v" })).collect()
}

#[test]
fn every_rule_of_a_policy() {
    check(
        snapshots,
        "",
        vec![
            (
                "/Name",
                json!("a/b"),
                "/Name: want 1 to 64 of A-Z a-z 0-9 space _ . -, found \"a/b\"",
            ),
            (
                "/Name",
                json!("n".repeat(65)),
                "/Name: want 1 to 64 of A-Z a-z 0-9 space _ . -, found \
                 \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\"",
            ),
            ("/Name", json!(7), "/Name: want 1 to 64 of A-Z a-z 0-9 space _ . -, found 7"),
            ("/State", json!("ERROR"), "/State: want ENABLED or DISABLED, found \"ERROR\""),
            ("/Status", json!("ENABLED"), "/Status: unknown member"),
            (
                "/PolicyDetail",
                json!({}),
                "/PolicyDetail: unknown member, did you mean \"PolicyDetails\"?",
            ),
            (
                "/ExecutionRoleArn",
                json!("arn:aws:iam::333333333333:role/member"),
                "/ExecutionRoleArn: want either ExecutionRoleArn or Targets, found both",
            ),
            (
                "/ExecutionRoleArn",
                json!("member"),
                "/ExecutionRoleArn: want a role ARN such as \
                 arn:aws:iam::111111111111:role/snapferry-member, found \"member\"",
            ),
            (
                "/Targets/1",
                json!({"RoleArn": "arn:aws:iam::333333333333:role/other", "Regions": "eu-west-1"}),
                "/Targets/1/Regions: want each Region of account 333333333333 once, found \
                 \"eu-west-1\"",
            ),
            (
                "/Targets/0/Regions",
                json!(["us-east-1", "mars-1", "us-east-1"]),
                "/Targets/0/Regions/1: want a Region such as eu-central-1, found \"mars-1\"; \
                 /Targets/0/Regions/2: want each Region of account 333333333333 once, found \
                 \"us-east-1\"",
            ),
            (
                "/Targets",
                json!([{"RoleArn": "arn:aws:iam::333333333333:role/a"}, {"RoleArn": "arn:aws:iam::333333333333:role/b"}]),
                "/Targets/1: want account 333333333333 once in the function's own Region, found it \
                 in two targets",
            ),
            (
                "/Targets/0/ExternalId",
                json!("x"),
                "/Targets/0/ExternalId: want 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / - (the value is not shown)",
            ),
            (
                "/Targets/0/RoleArn",
                json!(null),
                "/Targets/0/RoleArn: want the role to assume, found null",
            ),
            (
                "/Targets/0/RoleArn",
                json!({"Ref": "Role"}),
                "/Targets/0/RoleArn: want a role ARN such as \
                 arn:aws:iam::111111111111:role/snapferry-member, found {\"Ref\":\"Role\"} \
                 (CloudFormation's functions are not evaluated here)",
            ),
            (
                "/DefaultPolicy",
                json!("SNAPSHOT"),
                "/DefaultPolicy: want VOLUME, found \"SNAPSHOT\"",
            ),
            ("/CopyTags", json!(true), "/CopyTags: has its place in a SIMPLIFIED policy only"),
            ("/$schema", json!("policy.schema.json"), ""),
            ("/$Schema", json!(""), "/$Schema: unknown member, did you mean \"$schema\"?"),
            ("/PolicyDetails", json!("x"), "/PolicyDetails: want an object, found \"x\""),
        ],
    );
}

#[test]
fn every_rule_of_snapshot_details() {
    check(
        snapshots,
        "/PolicyDetails",
        vec![
            (
                "/PolicyType",
                json!("IMAGE_MANAGEMENT"),
                "/PolicyType: \"IMAGE_MANAGEMENT\" is not supported by this version of snapferry: it \
                 makes AMIs of instances, not snapshots of volumes",
            ),
            (
                "/PolicyType",
                json!("SNAPSHOTS"),
                "/PolicyType: want EBS_SNAPSHOT_MANAGEMENT or EVENT_BASED_POLICY, found \"SNAPSHOTS\"",
            ),
            (
                "/PolicyLanguage",
                json!("SIMPLE"),
                "/PolicyLanguage: want STANDARD or SIMPLIFIED, found \"SIMPLE\"",
            ),
            (
                "/ResourceTypes",
                json!(["VOLUME", "INSTANCE"]),
                "/ResourceTypes: want 1 to 1 resource type (DLM), found 2",
            ),
            (
                "/ResourceTypes",
                json!("VOLUMES"),
                "/ResourceTypes: want VOLUME or INSTANCE, found \"VOLUMES\"",
            ),
            (
                "/ResourceType",
                json!("VOLUME"),
                "/ResourceType: has its place in a SIMPLIFIED policy only",
            ),
            (
                "/ResourceLocations",
                json!(["OUTPOST"]),
                "/ResourceLocations/0: \"OUTPOST\" is not supported by this version of snapferry: it \
                 takes the volumes of an Outpost or a Local Zone",
            ),
            ("/TargetTags", json!([]), "/TargetTags: want tags, or TargetVolumeIds, found []"),
            ("/TargetTags", json!(tags(51)), "/TargetTags: want 1 to 50 tags (DLM), found 51"),
            (
                "/TargetTags",
                json!([{"Key": "", "Value": "x"}, {"Key": "k"}, {"Key": "k", "Value": 115}, "backup"]),
                "/TargetTags/0/Key: want 1 to 128 characters (EC2), found \"\"; \
                 /TargetTags/1/Value: want a string, found nothing; \
                 /TargetTags/2/Value: want a string, found 115; \
                 /TargetTags/3: want an object, found \"backup\"",
            ),
            (
                "/TargetTags/0/Key",
                json!("k".repeat(129)),
                "/TargetTags/0/Key: want 1 to 128 characters (EC2), found \
                 \"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…",
            ),
            (
                "/TargetTags/0/Value",
                json!("v".repeat(257)),
                "/TargetTags/0/Value: want at most 256 characters (EC2), found \
                 \"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv…",
            ),
            (
                "/TargetVolumeIds",
                json!(["vol-1", "vol-0123456789abcdef0"]),
                "/TargetVolumeIds/0: want a volume id such as vol-0123456789abcdef0, found \"vol-1\"",
            ),
            (
                "/ExcludeTags",
                json!([{"Key": "backup"}]),
                "/ExcludeTags/0/Value: want a string, found nothing",
            ),
            (
                "/Parameters",
                json!({"ExcludeBootVolume": true, "ExcludeDataVolumeTags": tags(1), "NoReboot": false}),
                "/Parameters/ExcludeBootVolume: has its place in a policy with ResourceTypes \
                 INSTANCE only; \
                 /Parameters/ExcludeDataVolumeTags: has its place in a policy with ResourceTypes \
                 INSTANCE only",
            ),
            (
                "/Parameters",
                json!({"NoReboot": true}),
                "/Parameters/NoReboot: NoReboot is not supported by this version of snapferry: it \
                 is for AMIs",
            ),
            (
                "/EventSource",
                json!({"Type": "MANAGED_CWE"}),
                "/EventSource: has its place in an EVENT_BASED_POLICY only",
            ),
            (
                "/CreateInterval",
                json!(1),
                "/CreateInterval: has its place in a SIMPLIFIED policy only",
            ),
            ("/Schedules", json!([]), "/Schedules: want 1 to 4 schedules, found []"),
            (
                "/Schedules",
                json!([{}, {}, {}, {}, {}]),
                "/Schedules: want 1 to 4 schedules (DLM), found 5; \
                 /Schedules/0/RetainRule: want Count, Interval and IntervalUnit, or Keep, found nothing; \
                 /Schedules/1/RetainRule: want Count, Interval and IntervalUnit, or Keep, found nothing; \
                 /Schedules/2/RetainRule: want Count, Interval and IntervalUnit, or Keep, found nothing; \
                 /Schedules/3/RetainRule: want Count, Interval and IntervalUnit, or Keep, found nothing; \
                 /Schedules/4/RetainRule: want Count, Interval and IntervalUnit, or Keep, found nothing",
            ),
            (
                "/Schedules/1/Name",
                json!("nightly"),
                "/Schedules/1/Name: want a name that no other schedule has (\"nightly\" is taken), \
                 found \"nightly\"",
            ),
            (
                "/Schedules/1/RetainRule",
                json!({"Interval": 1, "IntervalUnit": "WEEKS"}),
                "/Schedules/1/RetainRule: want retention by count as in \
                 /PolicyDetails/Schedules/0/RetainRule (DLM: all schedules alike), found age",
            ),
            (
                "/Schedules/1/RetainRule",
                json!({"Count": 1, "Interval": 1, "IntervalUnit": "WEEKS"}),
                "/Schedules/1/RetainRule: want retention by count as in \
                 /PolicyDetails/Schedules/0/RetainRule (DLM: all schedules alike), found count and \
                 age",
            ),
        ],
    );
}

#[test]
fn every_rule_of_event_details() {
    check(
        copies,
        "/PolicyDetails",
        vec![
            ("/Schedules", json!([{}]), ""),
            ("/CopyTags", json!(true), "/CopyTags: has its place in a SIMPLIFIED policy only"),
            (
                "/EventSource",
                json!(null),
                "/EventSource: want an event source with Parameters.SnapshotOwner, found null",
            ),
            ("/Actions", json!([]), "/Actions: want one action with CrossRegionCopy, found []"),
            (
                "/Actions/1",
                json!({"CrossRegionCopy": [{"Target": "eu-west-1"}]}),
                "/Actions: want 1 to 1 action (DLM), found 2",
            ),
            (
                "/Actions/0/Name",
                json!("n".repeat(121)),
                "/Actions/0/Name: want at most 120 characters (DLM), found \
                 \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…",
            ),
            (
                "/Actions/0/CrossRegionCopy",
                json!([]),
                "/Actions/0/CrossRegionCopy: want at least one copy, found []",
            ),
        ],
    );
}

#[test]
fn every_rule_of_an_event_source() {
    check(
        copies,
        "/PolicyDetails/EventSource",
        vec![
            ("/Type", json!("EVENTBRIDGE"), "/Type: want MANAGED_CWE, found \"EVENTBRIDGE\""),
            ("/Parameters", json!({}), "/Parameters: want parameters with SnapshotOwner, found {}"),
            (
                "/Parameters/EventType",
                json!("copySnapshot"),
                "/Parameters/EventType: want shareSnapshot, found \"copySnapshot\"",
            ),
            (
                "/Parameters/SnapshotOwner",
                json!([]),
                "/Parameters/SnapshotOwner: want at least one account, found []",
            ),
            (
                "/Parameters/SnapshotOwner",
                json!(["self"]),
                "/Parameters/SnapshotOwner/0: want an account id of 12 digits, found \"self\"",
            ),
            (
                "/Parameters/DescriptionRegex",
                json!("(unclosed\n"),
                "/Parameters/DescriptionRegex: want a regular expression (found open group without \
                 closing ')'), found \"(unclosed\\n\"",
            ),
            (
                "/Parameters/DescriptionRegex",
                json!("x".repeat(1001)),
                "/Parameters/DescriptionRegex: want a regular expression of at most 1000 characters \
                 (DLM), found \
                 \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…",
            ),
            (
                "/Parameters/SourceRegions",
                json!(["eu-west-1", "eu-west-1", "x"]),
                "/Parameters/SourceRegions/1: want each Region once, found \"eu-west-1\"; \
                 /Parameters/SourceRegions/2: want a Region such as eu-central-1, found \"x\"",
            ),
        ],
    );
}

#[test]
fn every_rule_of_a_copy() {
    check(
        copies,
        "/PolicyDetails/Actions/0/CrossRegionCopy/0",
        vec![
            ("/Target", json!(null), "/Target: want a Region such as eu-central-1, found null"),
            (
                "/Target",
                json!("London"),
                "/Target: want a Region such as eu-central-1, found \"London\"",
            ),
            (
                "/Target",
                json!("arn:aws:outposts:us-east-1:123456789012:outpost/op-1234567890abcdef0"),
                "/Target: \"arn:aws:outposts:us-east-1:123456789012:outpost/op-1234567890abcdef0\" \
                 is not supported by this version of snapferry: it copies to an Outpost",
            ),
            (
                "/TargetRegion",
                json!("eu-west-2"),
                "/TargetRegion: want Target or TargetRegion, found both",
            ),
            (
                "/EncryptionConfiguration/Encrypted",
                json!(false),
                "/EncryptionConfiguration/Encrypted: want true beside CmkArn: EC2 takes a key only \
                 for an encrypted copy, found false",
            ),
            (
                "/EncryptionConfiguration",
                json!({"CmkArn": "arn:aws:kms:eu-west-2:222222222222:key/8af79514"}),
                "/EncryptionConfiguration/Encrypted: want true beside CmkArn: EC2 takes a key only \
                 for an encrypted copy, found nothing",
            ),
            (
                "/EncryptionConfiguration/CmkArn",
                json!("arn:aws:kms:eu-west-1:222222222222:key/8af79514"),
                "/EncryptionConfiguration/CmkArn: want a key in eu-west-2: EC2 takes the target \
                 Region's keys only, found \"arn:aws:kms:eu-west-1:222222222222:key/8af79514\"",
            ),
            (
                "/EncryptionConfiguration/CmkArn",
                json!("alias/vault"),
                "/EncryptionConfiguration/CmkArn: want a key ARN such as \
                 arn:aws:kms:eu-central-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7, \
                 found \"alias/vault\"",
            ),
            (
                "/RetainRule",
                json!({"Count": 1001}),
                "/RetainRule/Count: want 1 to 1000, found 1001",
            ),
            (
                "/RetainRule",
                json!({"Interval": 5, "Keep": {"Daily": 1001}}),
                "/RetainRule/IntervalUnit: want DAYS, WEEKS, MONTHS or YEARS, found nothing; \
                 /RetainRule/Keep/Daily: want 0 to 1000, found 1001",
            ),
            (
                "/RetainRule",
                json!({"MinimumCount": 5}),
                "/RetainRule: want Count, Interval and IntervalUnit, or Keep beside MinimumCount, \
                 found {\"MinimumCount\":5}",
            ),
            (
                "",
                json!({"Target": "eu-west-2", "MinimumCount": 2, "RetainRule": {"Count": 1, "MinimumCount": 2}}),
                "/MinimumCount: want it here or in RetainRule, found both",
            ),
            ("/RetainRule/Interval", json!(101), ""),
            (
                "/RetainRule",
                json!({"Interval": 101, "IntervalUnit": "YEARS"}),
                "/RetainRule/Interval: want 1 to 100 YEARS (DLM: 100 years at most), found 101",
            ),
            (
                "/TagsToAdd",
                json!(tags(42)),
                "/TagsToAdd: want 1 to 40 tags (EC2 takes 50 and 10 are snapferry's own), found 42",
            ),
            (
                "/CompletionDurationMinutes",
                json!(20),
                "/CompletionDurationMinutes: want 15 to 2880 in steps of 15, found 20",
            ),
            (
                "/CompletionDurationMinutes",
                json!(2895),
                "/CompletionDurationMinutes: want 15 to 2880 in steps of 15, found 2895",
            ),
            ("/CopyTags", json!("yes"), "/CopyTags: want true or false, found \"yes\""),
            ("/Encrypted", json!(true), "/Encrypted: unknown member"),
        ],
    );
}

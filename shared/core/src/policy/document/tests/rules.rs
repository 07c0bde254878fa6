//! One case per rule: a valid document, one value in it, and all that is said of it.

use serde_json::{Value, json};

use super::{copies, snapshots, with, wrong};

/// Each case puts a value into `document` at `base` and the case's pointer; pointers in what is
/// expected are from `base` on, too.
fn check(document: fn() -> Value, base: &str, cases: Vec<(&str, Value, &str)>) {
    assert_eq!(wrong(&document()), "");
    for (pointer, value, expected) in cases {
        let pointer = format!("{base}{pointer}");
        let document = with(document(), &pointer, value.clone());
        let found: Vec<_> = wrong(&document)
            .split("; /")
            .map(|issue| format!("/{}", issue.trim_start_matches('/')))
            .map(|issue| issue.strip_prefix(base).unwrap_or(&issue).to_owned())
            .collect();
        let expected = if expected.is_empty() { "/" } else { expected };
        assert_eq!(found.join("; "), expected, "{pointer} = {value}");
    }
}

fn tags(n: usize) -> Vec<Value> {
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
                json!("VOLUME"),
                "/DefaultPolicy: \"VOLUME\" is not supported by this version of snapferry: it \
                 belongs to DLM's default policies, which back up whatever has no recent backup",
            ),
            (
                "/CopyTags",
                json!(true),
                "/CopyTags: CopyTags is not supported by this version of snapferry: it belongs to \
                 DLM's default policies, which back up whatever has no recent backup",
            ),
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
                json!("SIMPLIFIED"),
                "/PolicyLanguage: \"SIMPLIFIED\" is not supported by this version of snapferry: it \
                 belongs to DLM's default policies, which back up whatever has no recent backup",
            ),
            (
                "/ResourceTypes",
                json!(["INSTANCE"]),
                "/ResourceTypes/0: \"INSTANCE\" is not supported by this version of snapferry: it \
                 takes all volumes of an instance at one instant",
            ),
            (
                "/ResourceTypes",
                json!(["VOLUME", "INSTANCE"]),
                "/ResourceTypes: want 1 to 1 resource type (DLM), found 2; \
                 /ResourceTypes/1: \"INSTANCE\" is not supported by this version of snapferry: it \
                 takes all volumes of an instance at one instant",
            ),
            ("/ResourceTypes", json!("VOLUMES"), "/ResourceTypes: want VOLUME, found \"VOLUMES\""),
            (
                "/ResourceType",
                json!("VOLUME"),
                "/ResourceType: \"VOLUME\" is not supported by this version of snapferry: it belongs \
                 to DLM's default policies, which back up whatever has no recent backup",
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
                json!({"ExcludeBootVolume": true, "ExcludeDataVolumeTags": [], "NoReboot": false}),
                "/Parameters/ExcludeBootVolume: ExcludeBootVolume is not supported by this version \
                 of snapferry: it leaves out instances' boot volumes",
            ),
            (
                "/EventSource",
                json!({"Type": "MANAGED_CWE"}),
                "/EventSource: has its place in an EVENT_BASED_POLICY only",
            ),
            (
                "/CreateInterval",
                json!(1),
                "/CreateInterval: CreateInterval is not supported by this version of snapferry: it \
                 belongs to DLM's default policies, which back up whatever has no recent backup",
            ),
            ("/Schedules", json!([]), "/Schedules: want 1 to 4 schedules, found []"),
            (
                "/Schedules",
                json!([{}, {}, {}, {}, {}]),
                "/Schedules: want 1 to 4 schedules (DLM), found 5; \
                 /Schedules/0/RetainRule: want Count, or Interval and IntervalUnit, found nothing; \
                 /Schedules/1/RetainRule: want Count, or Interval and IntervalUnit, found nothing; \
                 /Schedules/2/RetainRule: want Count, or Interval and IntervalUnit, found nothing; \
                 /Schedules/3/RetainRule: want Count, or Interval and IntervalUnit, found nothing; \
                 /Schedules/4/RetainRule: want Count, or Interval and IntervalUnit, found nothing",
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
fn every_rule_of_a_schedule() {
    check(
        snapshots,
        "/PolicyDetails/Schedules/0",
        vec![
            (
                "/Name",
                json!("schedule-2"),
                "/PolicyDetails/Schedules/1/Name: want a name that no other schedule has \
                 (\"schedule-2\" is taken), found nothing",
            ),
            (
                "/Name",
                json!("night/ly"),
                "/Name: want 1 to 120 of A-Z a-z 0-9 space _ - (DLM), found \"night/ly\"",
            ),
            ("/CopyTags", json!("yes"), "/CopyTags: want true or false, found \"yes\""),
            (
                "/TagsToAdd",
                json!(tags(46)),
                "/TagsToAdd: want 1 to 45 tags (EC2 takes 50 and 5 are snapferry's own), found 46",
            ),
            (
                "/TagsToAdd",
                json!([{"Key": "AWS:x", "Value": ""}, {"Key": "snapferry:slot", "Value": ""}, {"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]),
                "/TagsToAdd/0/Key: want a key without aws:, which is AWS's own, found \"AWS:x\"; \
                 /TagsToAdd/1/Key: want a key without snapferry:, which is snapferry's own, found \
                 \"snapferry:slot\"; \
                 /TagsToAdd/3/Key: want each key once, found \"a\"",
            ),
            (
                "/VariableTags",
                json!([{"Key": "instance", "Value": "$(instance-id)"}]),
                "/VariableTags: VariableTags is not supported by this version of snapferry: it puts \
                 the instance's id and the time into tags",
            ),
            (
                "/CreateRule",
                json!({"Interval": 0, "IntervalUnit": "HOURS"}),
                "/CreateRule/Interval: want 1, 2, 3, 4, 6, 8, 12 or 24 hours, or a CronExpression, \
                 found 0",
            ),
            (
                "/CreateRule",
                json!({"TimeZone": "Europe/Berlin", "StartWindowMinutes": 60}),
                "/CreateRule/Interval: want 1, 2, 3, 4, 6, 8, 12 or 24 hours, or a CronExpression, \
                 found nothing",
            ),
            (
                "/CreateRule/Interval",
                json!(5),
                "/CreateRule/Interval: want 1, 2, 3, 4, 6, 8, 12 or 24 hours, found 5",
            ),
            (
                "/CreateRule/Interval",
                json!(48),
                "/CreateRule/Interval: want 1, 2, 3, 4, 6, 8, 12 or 24 hours, found 48",
            ),
            (
                "/CreateRule/IntervalUnit",
                json!("MINUTES"),
                "/CreateRule/IntervalUnit: want HOURS, found \"MINUTES\"",
            ),
            (
                "/CreateRule/Times",
                json!(["3:00"]),
                "/CreateRule/Times/0: want a time from 00:00 to 23:59, found \"3:00\"",
            ),
            (
                "/CreateRule/Times",
                json!(["24:00"]),
                "/CreateRule/Times/0: want a time from 00:00 to 23:59, found \"24:00\"",
            ),
            (
                "/CreateRule/Times",
                json!(["03:00", "15:00"]),
                "/CreateRule/Times: want 1 to 1 time (DLM), found 2",
            ),
            (
                "/CreateRule/CronExpression",
                json!("cron(0 2 * * ? *)"),
                "/CreateRule: want Interval or CronExpression, found both",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(0 0 17 ? * FRI *)"}),
                "/CreateRule/CronExpression: EventBridge cron has six fields and no seconds; drop \
                 the leading \"0\", found \"cron(0 0 17 ? * FRI *)\"",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(0/5 * * * ? *)"}),
                "/CreateRule/CronExpression: want a single minute in the first field, not \"0/5\": \
                 DLM creates at most once an hour, found \"cron(0/5 * * * ? *)\"",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(0 0 30 2 ? *)"}),
                "/CreateRule/CronExpression: want an expression that fires at some time, found \
                 \"cron(0 0 30 2 ? *)\"",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": format!("cron({})", "1,".repeat(60))}),
                "/CreateRule/CronExpression: want a cron expression of at most 106 characters (DLM), \
                 found \
                 \"cron(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,…",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "rate(1 day)"}),
                "/CreateRule/CronExpression: want cron(minute hour day-of-month month day-of-week \
                 year): DLM has no rate(), Interval says it, found \"rate(1 day)\"",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(0 2 * * ? *)", "Times": ["03:00"]}),
                "/CreateRule/Times: has its place beside Interval, not CronExpression",
            ),
            (
                "/CreateRule",
                json!({"CronExpression": "cron(0 2 * * ? *)", "IntervalUnit": "HOURS"}),
                "/CreateRule/IntervalUnit: has its place beside Interval, not CronExpression",
            ),
            (
                "/CreateRule/TimeZone",
                json!("Berlin"),
                "/CreateRule/TimeZone: want an IANA time zone such as Europe/Berlin, found \"Berlin\"",
            ),
            (
                "/CreateRule/TimeZone",
                json!("Etc/Unknown"),
                "/CreateRule/TimeZone: want an IANA time zone such as Europe/Berlin, found \
                 \"Etc/Unknown\"",
            ),
            (
                "/CreateRule/StartWindowMinutes",
                json!(-1),
                "/CreateRule/StartWindowMinutes: want 1 to 525600, found -1",
            ),
            (
                "/CreateRule/Location",
                json!("OUTPOST_LOCAL"),
                "/CreateRule/Location: \"OUTPOST_LOCAL\" is not supported by this version of \
                 snapferry: it keeps snapshots on an Outpost or in a Local Zone",
            ),
            (
                "/CreateRule/Location",
                json!("MOON"),
                "/CreateRule/Location: want CLOUD, found \"MOON\"",
            ),
            (
                "/CreateRule/Scripts",
                json!([{"ExecutionHandler": "AWS_VSS_BACKUP"}]),
                "/CreateRule/Scripts: Scripts is not supported by this version of snapferry: it runs \
                 commands on instances before and after",
            ),
            (
                "/RetainRule",
                json!(null),
                "/RetainRule: want Count, or Interval and IntervalUnit, found null",
            ),
            ("/RetainRule/Count", json!(0), "/RetainRule/Count: want 1 to 1000, found 0"),
            ("/RetainRule/Count", json!(1001), "/RetainRule/Count: want 1 to 1000, found 1001"),
            (
                "/RetainRule/Count",
                json!("many"),
                "/RetainRule/Count: want 1 to 1000, found \"many\"",
            ),
            ("/RetainRule/Count", json!(2.5), "/RetainRule/Count: want 1 to 1000, found 2.5"),
            (
                "/RetainRule",
                json!({"MinimumCount": 2}),
                "/RetainRule: want Count, or Interval and IntervalUnit, found {\"MinimumCount\":2}",
            ),
            (
                "/RetainRule/Interval",
                json!(5),
                "/RetainRule/IntervalUnit: want DAYS, WEEKS, MONTHS or YEARS, found nothing",
            ),
            (
                "/RetainRule/IntervalUnit",
                json!("DAYS"),
                "/RetainRule/Interval: want 1 to 36500 DAYS (DLM: 100 years at most), found nothing",
            ),
            (
                "/RetainRule",
                json!({"Interval": 1201, "IntervalUnit": "MONTHS"}),
                "/RetainRule/Interval: want 1 to 1200 MONTHS (DLM: 100 years at most), found 1201",
            ),
            (
                "/RetainRule",
                json!({"Interval": 0, "IntervalUnit": "MONTHS"}),
                "/RetainRule/Interval: want 1 or more, found 0",
            ),
            (
                "/RetainRule",
                json!({"Interval": 1, "IntervalUnit": "HOURS"}),
                "/RetainRule/IntervalUnit: want DAYS, WEEKS, MONTHS or YEARS, found \"HOURS\"",
            ),
            (
                "/RetainRule/Keep",
                json!({"Daily": 7}),
                "/RetainRule/Keep: Keep is not supported by this version of snapferry: it keeps the \
                 newest of each hour, day, week, month, year",
            ),
            (
                "/RetainRule/MinimumCount",
                json!(1001),
                "/RetainRule/MinimumCount: want 1 to 1000, found 1001",
            ),
            (
                "/ShareRules",
                json!([{"TargetAccounts": []}]),
                "/ShareRules/0/TargetAccounts: want at least one account, found []",
            ),
            (
                "/ShareRules",
                json!([{"TargetAccounts": ["1234", 123_456_789]}]),
                "/ShareRules/0/TargetAccounts/0: want an account id of 12 digits, found \"1234\"; \
                 /ShareRules/0/TargetAccounts/1: want an account id of 12 digits, found 123456789",
            ),
            (
                "/ShareRules",
                json!([{"TargetAccounts": ["222222222222"], "UnshareInterval": 1, "UnshareIntervalUnit": "DAYS"}]),
                "/ShareRules/0/UnshareInterval: UnshareInterval is not supported by this version of \
                 snapferry: it ends the sharing before the snapshot's retention is over",
            ),
            (
                "/ShareRules",
                json!([{"TargetAccounts": ["222222222222"]}, {"TargetAccounts": ["222222222222"]}]),
                "/ShareRules: want 1 to 1 share rule (DLM), found 2",
            ),
            (
                "/FastRestoreRule",
                json!({"Count": 1, "AvailabilityZones": ["us-east-1a"]}),
                "/FastRestoreRule: FastRestoreRule is not supported by this version of snapferry: it \
                 makes restored volumes fast at once",
            ),
            (
                "/ArchiveRule",
                json!({"RetainRule": {"RetentionArchiveTier": {"Count": 3}}}),
                "/ArchiveRule: ArchiveRule is not supported by this version of snapferry: it moves \
                 snapshots to the archive tier when their retention is over",
            ),
            (
                "/CrossRegionCopyRules",
                json!([{"Encrypted": false, "Target": "us-east-1"}]),
                "/CrossRegionCopyRules: CrossRegionCopyRules is not supported by this version of \
                 snapferry: it copies snapshots to other Regions of the same account",
            ),
            (
                "/LockRule",
                json!({"Mode": "governance"}),
                "/LockRule: LockRule is not supported by this version of snapferry: it locks \
                 snapshots against deletion",
            ),
            (
                "/DeprecateRule",
                json!({"Count": 2}),
                "/DeprecateRule: DeprecateRule is not supported by this version of snapferry: it \
                 deprecates AMIs",
            ),
            (
                "/retainRule",
                json!({"Count": 2}),
                "/retainRule: unknown member, did you mean \"RetainRule\"?",
            ),
            ("/CopyTag", json!(true), "/CopyTag: unknown member, did you mean \"CopyTags\"?"),
            ("/Retention", json!(true), "/Retention: unknown member"),
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
            (
                "/CopyTags",
                json!(true),
                "/CopyTags: CopyTags is not supported by this version of snapferry: it belongs to \
                 DLM's default policies, which back up whatever has no recent backup",
            ),
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
                json!({"Count": 5}),
                "/RetainRule/Count: Count is not supported by this version of snapferry: it keeps \
                 the newest so many copies",
            ),
            (
                "/RetainRule",
                json!({"Interval": 5, "Keep": {"Daily": 3}}),
                "/RetainRule/Keep: Keep is not supported by this version of snapferry: it keeps the \
                 newest copy of each hour, day, week, month, year; \
                 /RetainRule/IntervalUnit: want DAYS, WEEKS, MONTHS or YEARS, found nothing",
            ),
            (
                "/RetainRule",
                json!({"MinimumCount": 5}),
                "/RetainRule: want Interval and IntervalUnit beside MinimumCount, found \
                 {\"MinimumCount\":5}",
            ),
            ("/RetainRule/Interval", json!(101), ""),
            (
                "/RetainRule",
                json!({"Interval": 101, "IntervalUnit": "YEARS"}),
                "/RetainRule/Interval: want 1 to 100 YEARS (DLM: 100 years at most), found 101",
            ),
            (
                "/TagsToAdd",
                json!(tags(43)),
                "/TagsToAdd: want 1 to 42 tags (EC2 takes 50 and 8 are snapferry's own), found 43",
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
            (
                "/CopyTags",
                json!(true),
                "/CopyTags: CopyTags is not supported by this version of snapferry: an account \
                 cannot read the tags of a snapshot that is shared with it",
            ),
            (
                "/LockRule",
                json!({"Mode": "governance"}),
                "/LockRule: LockRule is not supported by this version of snapferry: it locks copies \
                 against deletion",
            ),
            ("/Encrypted", json!(true), "/Encrypted: unknown member"),
        ],
    );
}

//! One case per rule of `Schedules`.

use serde_json::json;

use super::rules::{check, tags};
use super::snapshots;

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
                "/VariableTags: has its place in a policy with ResourceTypes INSTANCE only",
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
                "/CreateRule/Scripts: has its place in a policy with ResourceTypes INSTANCE only",
            ),
            (
                "/RetainRule",
                json!(null),
                "/RetainRule: want Count, Interval and IntervalUnit, or Keep, found null",
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
                "/RetainRule: want Count, Interval and IntervalUnit, or Keep, found {\"MinimumCount\":2}",
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
                json!([{"TargetAccounts": ["222222222222"]}, {"TargetAccounts": ["222222222222"]}]),
                "/ShareRules: want 1 to 1 share rule (DLM), found 2",
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

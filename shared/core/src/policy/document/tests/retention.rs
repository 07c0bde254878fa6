//! `RetainRule` and `UnshareInterval`.

use serde_json::{Value, json};

use super::{copies, copy_policy, monthly, snapshot_policy, snapshots, with, wrong};
use crate::policy::{Age, IntervalUnit, Keep};

#[test]
fn the_newest_of_each_period_is_kept() {
    let rule = json!({ "Keep": { "Hourly": 24, "Daily": 7, "Weekly": 0, "Yearly": "1000" } });
    let document =
        with(monthly_without_archive(), "/PolicyDetails/Schedules/0/RetainRule", rule.clone());
    let keep = Keep { hourly: 24, daily: 7, weekly: 0, monthly: 0, yearly: 1000 };
    let retain = snapshot_policy(&document).schedules[0].retain.clone();
    assert_eq!((retain.keep, retain.count, retain.age), (Some(keep), None, None));
    assert_eq!(retain.minimum_count, 1);
    let retain = "/PolicyDetails/Actions/0/CrossRegionCopy/0/RetainRule";
    let rule = copy_policy(&with(copies(), retain, rule)).rules.remove(0).retain.unwrap();
    assert_eq!((rule.keep, rule.count, rule.age), (Some(keep), None, None));
}

#[test]
fn copies_are_kept_by_count_period_and_age_too() {
    let place = "/PolicyDetails/Actions/0/CrossRegionCopy/0";
    let rule = json!({
        "Count": 3, "Interval": 2, "IntervalUnit": "WEEKS", "Keep": { "Monthly": 12 },
        "MinimumCount": 4,
    });
    let document = with(copies(), &format!("{place}/RetainRule"), rule);
    let retain = copy_policy(&document).rules.remove(0).retain.unwrap();
    assert_eq!((retain.count.map(u32::from), retain.minimum_count), (Some(3), 4));
    assert_eq!(retain.age.map(|age| age.interval.get()), Some(2));
    assert_eq!(retain.keep, Some(Keep { monthly: 12, ..Keep::default() }));

    let rule = json!({ "Target": "eu-west-2", "RetainRule": { "Count": 3 }, "MinimumCount": 2 });
    let retain = copy_policy(&with(copies(), place, rule)).rules.remove(0).retain.unwrap();
    assert_eq!((retain.count.map(u32::from), retain.minimum_count), (Some(3), 2));
    let rule = json!({ "Target": "eu-west-2" });
    assert_eq!(copy_policy(&with(copies(), place, rule)).rules.remove(0).retain, None);
}

#[test]
fn every_rule_of_retention() {
    let by = |rule: Value| with(snapshots(), "/PolicyDetails/Schedules/1/RetainRule", rule);
    for (rule, kind) in [
        (json!({ "Keep": { "Daily": 1 } }), "keep"),
        (json!({ "Count": 1, "Keep": { "Daily": 1 } }), "count and keep"),
        (
            json!({ "Count": 1, "Interval": 1, "IntervalUnit": "DAYS", "Keep": { "Daily": 1 } }),
            "count and age and keep",
        ),
    ] {
        assert_eq!(
            wrong(&by(rule)),
            format!(
                "/PolicyDetails/Schedules/1/RetainRule: want retention by count as in \
                 /PolicyDetails/Schedules/0/RetainRule (DLM: all schedules alike), found {kind}"
            )
        );
    }
    let place = "/PolicyDetails/Schedules/0/RetainRule";
    for (rule, expected) in [
        (
            json!({ "Keep": { "Daily": 0 } }),
            "/Keep: want one of Hourly, Daily, Weekly, Monthly, Yearly above 0, found {\"Daily\":0}",
        ),
        (json!({ "Keep": { "Weekly": 1001 } }), "/Keep/Weekly: want 0 to 1000, found 1001"),
        (json!({ "Keep": { "Daily": -1 } }), "/Keep/Daily: want 0 to 1000, found -1"),
        (
            json!({ "Keep": { "Monthly": 1, "Dayly": 7 } }),
            "/Keep/Dayly: unknown member, did you mean \"Daily\"?",
        ),
        (
            json!({ "Keep": {} }),
            ": want Count, Interval and IntervalUnit, or Keep, found {\"Keep\":{}}",
        ),
    ] {
        let found = wrong(&with(monthly_without_archive(), place, rule.clone()));
        assert_eq!(found.replace(place, ""), expected, "{rule}");
    }
}

fn monthly_without_archive() -> Value {
    with(monthly(), "/PolicyDetails/Schedules/0/ArchiveRule", json!(null))
}

#[test]
fn sharing_ends_before_retention_does() {
    let share = |interval: u32, unit: &str| json!([{ "TargetAccounts": ["222222222222"], "UnshareInterval": interval, "UnshareIntervalUnit": unit }]);
    let policy = snapshot_policy(&monthly());
    let day = Age { interval: 1.try_into().unwrap(), unit: IntervalUnit::Days };
    assert_eq!(policy.schedules[0].unshare_after, Some(day));
    let wanted = |found: u32| {
        format!(
            "/0/UnshareInterval: want less than the 5 WEEKS that the snapshots stay (DLM), found \
             {found}"
        )
    };
    let place = "/PolicyDetails/Schedules/0/ShareRules";
    for (rules, expected) in [
        (share(34, "DAYS"), String::new()),
        (share(35, "DAYS"), wanted(35)),
        (share(5, "WEEKS"), wanted(5)),
        (share(1, "MONTHS"), String::new()),
        (share(2, "MONTHS"), wanted(2)),
        (share(1, "YEARS"), wanted(1)),
        (share(0, "DAYS"), String::new()),
        (
            share(1, "HOURS"),
            "/0/UnshareIntervalUnit: want DAYS, WEEKS, MONTHS or YEARS, found \"HOURS\"".to_owned(),
        ),
        (
            json!([{ "TargetAccounts": ["222222222222"], "UnshareInterval": 2 }]),
            "/0/UnshareIntervalUnit: want DAYS, WEEKS, MONTHS or YEARS, found nothing".to_owned(),
        ),
        (
            json!([{ "TargetAccounts": ["222222222222"], "UnshareIntervalUnit": "DAYS" }]),
            "/0/UnshareInterval: want 1 to 36500 DAYS (DLM: 100 years at most), found nothing"
                .to_owned(),
        ),
    ] {
        let found = wrong(&with(monthly(), place, rules.clone()));
        assert_eq!(found.replace(place, ""), expected, "{rules}");
    }
    // Where something else keeps snapshots as well, nobody knows how long they stay.
    let document = with(monthly(), place, share(2, "MONTHS"));
    for more in [("Count", json!(3)), ("Keep", json!({ "Monthly": 12 }))] {
        let place = format!("/PolicyDetails/Schedules/0/RetainRule/{}", more.0);
        assert_eq!(wrong(&with(document.clone(), &place, more.1)), "");
    }
}

#[test]
fn sharing_ends_when_the_vault_has_it_and_one_vault_is_looked_into() {
    let reader = "arn:aws:iam::222222222222:role/reader";
    let share = |accounts: &[&str], rule: Value| json!([{ "TargetAccounts": accounts, "UnshareWhenCopied": rule }]);
    let rule = |role: Value| json!({ "RoleArn": role, "ExternalId": "secret", "Regions": ["eu-west-1", "us-east-1"] });
    let place = "/PolicyDetails/Schedules/0/ShareRules";
    let one = &["222222222222"];
    let document = with(monthly(), place, share(one, rule(json!(reader))));
    let found = snapshot_policy(&document).schedules.remove(0).unshare_when_copied.unwrap();
    assert_eq!(found.access.role_arn, Some(reader.parse().unwrap()));
    assert_eq!(found.access.external_id.unwrap().0, "secret");
    assert_eq!(crate::tags::join(&found.regions), "eu-west-1,us-east-1");
    let own = share(one, json!({ "Regions": "eu-west-1" }));
    let own = snapshot_policy(&with(monthly(), place, own)).schedules.remove(0);
    assert_eq!(own.unshare_when_copied.unwrap().access, crate::ec2::Access::default());
    let mut both = share(one, rule(json!(reader)));
    both[0]["UnshareInterval"] = json!(1);
    both[0]["UnshareIntervalUnit"] = json!("DAYS");
    let region = |regions: Value| json!({ "RoleArn": reader, "Regions": regions });
    let want = "the Regions of the vault that all have to hold a copy";
    for (rules, expected) in [
        (share(one, json!({})), String::new()), // absent
        (
            both,
            "/0/UnshareWhenCopied: want either UnshareInterval or UnshareWhenCopied, found both"
                .to_owned(),
        ),
        (
            share(&["333333333333"], rule(json!(reader))),
            "/0/TargetAccounts: want 222222222222 beside UnshareWhenCopied, the account of its \
             RoleArn, found [\"333333333333\"]"
                .to_owned(),
        ),
        (
            share(&["222222222222", "333333333333"], rule(json!(reader))),
            "/0/TargetAccounts: want 222222222222 alone beside UnshareWhenCopied: it looks into \
             one vault, found [\"222222222222\",\"333333333333\"]"
                .to_owned(),
        ),
        (
            share(&["222222222222", "333333333333"], json!({ "Regions": ["eu-west-1"] })),
            "/0/TargetAccounts: want one account beside UnshareWhenCopied: it looks into one \
             vault, found [\"222222222222\",\"333333333333\"]"
                .to_owned(),
        ),
        (
            share(one, rule(json!(null))),
            "/0/UnshareWhenCopied/ExternalId: has its place beside RoleArn only".to_owned(),
        ),
        (
            share(one, region(json!([]))),
            format!("/0/UnshareWhenCopied/Regions: want {want}, found []"),
        ),
        (
            share(one, region(json!(["eu-west-1", "eu-west-1"]))),
            "/0/UnshareWhenCopied/Regions/1: want each Region once, found \"eu-west-1\"".to_owned(),
        ),
        (
            share(one, json!({ "RoleArn": reader, "Region": "eu-west-1" })),
            format!(
                "/0/UnshareWhenCopied/Regions: want {want}, found nothing; \
                 /0/UnshareWhenCopied/Region: unknown member, did you mean \"Regions\"?"
            ),
        ),
    ] {
        let found = wrong(&with(monthly(), place, rules.clone()));
        assert_eq!(found.replace(place, ""), expected, "{rules}");
    }
    let shown = format!("{:?}", snapshot_policy(&document));
    assert!(!shown.contains("secret"), "it is a secret");
}

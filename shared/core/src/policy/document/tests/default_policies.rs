//! The language `SIMPLIFIED`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{Kind, read};
use super::rules::{check, tags};
use super::{fixture, snapshot_policy, snapshots, unprotected, with, wrong};
use crate::policy::{Age, IntervalUnit, RetainRule, Selection};
use crate::schedule::{CreateRule, When};

fn days(interval: u32) -> RetainRule {
    let age = Age { interval: interval.try_into().unwrap(), unit: IntervalUnit::Days };
    RetainRule { count: None, age: Some(age), keep: None, minimum_count: 1 }
}

#[test]
fn a_default_policy_says_what_it_says() {
    for (document, create, retain, target) in [
        (unprotected(), 3, 9, "eu-west-2"),
        (fixture("38-ebs-guide-default-volume-policy.json"), 3, 7, "us-west-2"),
    ] {
        let policy = snapshot_policy(&document);
        assert_eq!(
            policy.selection,
            Selection::Unprotected {
                create_interval_days: create,
                exclude_boot_volumes: true,
                exclude_volume_types: BTreeSet::from(["sc1".to_owned(), "st1".to_owned()]),
                exclude_tags: vec![("backup".to_owned(), "never".to_owned())],
            }
        );
        let [schedule] = policy.schedules.as_slice() else { panic!("one schedule") };
        assert_eq!((schedule.name.as_str(), schedule.copy_tags), ("default", true));
        assert_eq!(schedule.create, CreateRule::new(When::EveryRun));
        assert_eq!(schedule.retain, days(retain));
        let [copy] = policy.copies.as_slice() else { panic!("one copy") };
        assert_eq!((copy.name.as_str(), copy.target.as_str()), (target, target));
        assert_eq!(copy.schedule.as_deref(), Some("default"));
        assert_eq!((copy.encrypted, &copy.cmk_arn, copy.copy_tags), (false, &None, true));
        assert_eq!(copy.retain, Some(days(retain)));
    }
}

#[test]
fn a_default_policy_has_defaults() {
    let nothing = Selection::Unprotected {
        create_interval_days: 1,
        exclude_boot_volumes: false,
        exclude_volume_types: BTreeSet::new(),
        exclude_tags: Vec::new(),
    };
    for document in [
        json!({ "PolicyLanguage": "SIMPLIFIED", "ResourceType": "VOLUME" }),
        json!({ "DefaultPolicy": "VOLUME" }),
        json!({ "DefaultPolicy": "VOLUME", "Tags": { "a": "b" }, "Description": "x" }),
        json!({ "DefaultPolicy": "VOLUME", "PolicyDetails": { "PolicyLanguage": "SIMPLIFIED" } }),
        json!({ "DefaultPolicy": "VOLUME", "PolicyDetails": { "ResourceType": "VOLUME" } }),
        json!({ "DefaultPolicy": true, "PolicyDetails": { "ResourceType": "VOLUME" } }),
        json!({ "DefaultPolicy": "true", "ResourceType": "VOLUME", "Exclusions": {} }),
    ] {
        let policy = snapshot_policy(&document);
        assert_eq!(policy.selection, nothing, "{document}");
        assert_eq!(policy.schedules[0].retain, days(7), "{document}");
        assert!(policy.copies.is_empty() && !policy.schedules[0].copy_tags);
    }
}

/// `CreateLifecyclePolicy` takes the members of a default policy in the request, too.
#[test]
fn a_default_policy_is_read_from_the_request() {
    let mut members = unprotected()["PolicyDetails"].clone();
    let expected = snapshot_policy(&unprotected());
    for name in ["PolicyLanguage", "ResourceType"] {
        members.as_object_mut().unwrap().remove(name);
    }
    members["DefaultPolicy"] = json!("VOLUME");
    members["ExecutionRoleArn"] = json!("arn:aws:iam::333333333333:role/dlm");
    let policy = read(&members, "").unwrap();
    assert_eq!(policy.targets.len(), 1);
    for document in [
        members.clone(),
        with(members.clone(), "/PolicyDetails", json!({ "PolicyLanguage": "SIMPLIFIED" })),
    ] {
        let policy = snapshot_policy(&document);
        assert_eq!(policy.selection, expected.selection);
        assert_eq!(policy.schedules[0].retain, expected.schedules[0].retain);
        assert_eq!(policy.copies[0].target, expected.copies[0].target);
    }

    let twice = json!({ "CopyTags": true, "CreateInterval": 2, "Exclusions": {} });
    let document = with(members.clone(), "/PolicyDetails", twice);
    assert_eq!(
        wrong(&document),
        "/PolicyDetails/CreateInterval: want CreateInterval here or in the request around \
         PolicyDetails (DLM), found both; \
         /PolicyDetails/CopyTags: want CopyTags here or in the request around PolicyDetails (DLM), \
         found both"
    );
    let late = with(members, "/RetainInterval", json!(2));
    assert_eq!(
        wrong(&late),
        "/RetainInterval: want no less than CreateInterval, which is 3 (DLM), found 2"
    );
}

#[test]
fn every_rule_of_a_default_policy() {
    check(
        unprotected,
        "/PolicyDetails",
        vec![
            ("/PolicyType", json!("EBS_SNAPSHOT_MANAGEMENT"), ""),
            (
                "/PolicyType",
                json!("EVENT_BASED_POLICY"),
                "/PolicyType: want EBS_SNAPSHOT_MANAGEMENT in a SIMPLIFIED policy, found \
                 \"EVENT_BASED_POLICY\"",
            ),
            (
                "/PolicyType",
                json!("IMAGE_MANAGEMENT"),
                "/PolicyType: \"IMAGE_MANAGEMENT\" is not supported by this version of snapferry: \
                 it makes AMIs of instances, not snapshots of volumes",
            ),
            (
                "/ResourceType",
                json!("INSTANCE"),
                "/ResourceType: \"INSTANCE\" is not supported by this version of snapferry: it \
                 makes AMIs of instances, not snapshots of volumes",
            ),
            ("/ResourceType", json!(null), "/ResourceType: want VOLUME, found null"),
            ("/ResourceType", json!("VOLUMES"), "/ResourceType: want VOLUME, found \"VOLUMES\""),
            ("/CreateInterval", json!(7), ""),
            ("/CreateInterval", json!(8), "/CreateInterval: want 1 to 7, found 8"),
            ("/RetainInterval", json!(14), ""),
            ("/RetainInterval", json!(3), ""),
            (
                "/RetainInterval",
                json!(2),
                "/RetainInterval: want no less than CreateInterval, which is 3 (DLM), found 2",
            ),
            ("/RetainInterval", json!(1), "/RetainInterval: want 2 to 14, found 1"),
            ("/RetainInterval", json!(15), "/RetainInterval: want 2 to 14, found 15"),
            ("/CopyTags", json!("yes"), "/CopyTags: want true or false, found \"yes\""),
            (
                "/ExtendDeletion",
                json!(true),
                "/ExtendDeletion: ExtendDeletion is not supported by this version of snapferry: it \
                 deletes the last snapshot of a deleted volume too, and goes on while the policy \
                 is disabled; snapferry never deletes the last good one",
            ),
            (
                "/CrossRegionCopyTargets",
                json!([{"TargetRegion": "eu-west-1"}, {"Target": "eu-west-1"}, {"TargetRegion": "x"}, {}]),
                "/CrossRegionCopyTargets: want 1 to 3 Regions (DLM), found 4; \
                 /CrossRegionCopyTargets/1: want each Region once, found {\"Target\":\"eu-west-1\"}; \
                 /CrossRegionCopyTargets/2/TargetRegion: want a Region such as eu-central-1, found \
                 \"x\"; \
                 /CrossRegionCopyTargets/3/Target: want a Region such as eu-central-1, found nothing",
            ),
            (
                "/Exclusions/ExcludeBootVolume",
                json!(true),
                "/Exclusions/ExcludeBootVolume: want it or ExcludeBootVolumes, found both",
            ),
            (
                "/Exclusions/ExcludeVolumeTypes",
                json!(["gp4"]),
                "/Exclusions/ExcludeVolumeTypes/0: want standard, gp2, gp3, io1, io2, st1, sc1, \
                 found \"gp4\"",
            ),
            (
                "/Exclusions/ExcludeVolumeTypes",
                json!(["standard", "gp2", "gp3", "io1", "io2", "st1", "sc1"]),
                "/Exclusions/ExcludeVolumeTypes: want 1 to 6 volume types (DLM), found 7",
            ),
            (
                "/Exclusions/ExcludeTags",
                json!(tags(51)),
                "/Exclusions/ExcludeTags: want 1 to 50 tags (DLM), found 51",
            ),
            ("/Exclusions/Exclude", json!(1), "/Exclusions/Exclude: unknown member"),
            ("/TargetTags", json!(tags(1)), "/TargetTags: has its place in a STANDARD policy only"),
            (
                "/ExcludeTags",
                json!(tags(1)),
                "/ExcludeTags: has its place in a STANDARD policy only",
            ),
            (
                "/Schedules",
                json!([{"Name": "x"}]),
                "/Schedules: has its place in a STANDARD policy only",
            ),
            (
                "/ResourceTypes",
                json!(["VOLUME"]),
                "/ResourceTypes: has its place in a STANDARD policy only",
            ),
            (
                "/EventSource",
                json!({"Type": "MANAGED_CWE"}),
                "/EventSource: has its place in a STANDARD policy only",
            ),
        ],
    );
}

#[test]
fn the_request_says_which_default_policy() {
    let with_default = |document: Value, value: Value| with(document, "/DefaultPolicy", value);
    let document = with_default(unprotected(), json!("INSTANCE"));
    let err = read(&document, "").unwrap_err();
    assert_eq!(err.kind, None);
    assert_eq!(
        err.issues[0].to_string(),
        "/DefaultPolicy: \"INSTANCE\" is not supported by this version of snapferry: it makes AMIs \
         of instances, not snapshots of volumes"
    );
    assert_eq!(err.issues.len(), 1);
    let flat = json!({ "DefaultPolicy": "INSTANCE", "CreateInterval": 1, "ExtendDeletion": true });
    assert_eq!(read(&flat, "").unwrap_err().issues.len(), 1);

    assert_eq!(wrong(&with_default(unprotected(), json!(false))), "");
    assert_eq!(wrong(&with_default(unprotected(), json!("VOLUME"))), "");
    assert_eq!(read(&unprotected(), "").map(|policy| policy.name).unwrap(), "default");
    let err = read(&with(unprotected(), "/State", json!("ON")), "").unwrap_err();
    assert_eq!(err.kind, Some(Kind::Snapshots));
    let standard = with(snapshots(), "/PolicyDetails/PolicyLanguage", json!("STANDARD"));
    assert!(wrong(&with_default(standard, json!("VOLUME"))).starts_with(
        "/PolicyDetails/PolicyLanguage: want SIMPLIFIED beside DefaultPolicy, found \"STANDARD\""
    ));
    assert_eq!(
        wrong(&with(unprotected(), "/TargetTags", json!([]))),
        "/TargetTags: unknown member"
    );
}

//! Policies for instances.

use serde_json::json;

use super::rules::{check, tags};
use super::{fixture, instances, snapshot_policy, with};
use crate::policy::{Selection, Variable};

#[test]
fn a_policy_for_instances_says_what_it_says() {
    let policy = snapshot_policy(&instances());
    let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    assert_eq!(
        policy.selection,
        Selection::Instances {
            tags: pair("backup", ""),
            exclude_boot_volume: true,
            exclude_data_volume_tags: pair("code", "temp"),
        }
    );
    let variable_tags: Vec<_> = policy.schedules[0].variable_tags.clone().into_iter().collect();
    assert_eq!(
        variable_tags,
        [("at".to_owned(), Variable::Timestamp), ("instance".to_owned(), Variable::InstanceId)]
    );

    let policy =
        snapshot_policy(&fixture("02-ebs-guide-ex2-instance-exclude-data-volume-tags.json"));
    let Selection::Instances { exclude_boot_volume, exclude_data_volume_tags, .. } =
        policy.selection
    else {
        panic!("instances")
    };
    assert_eq!((exclude_boot_volume, exclude_data_volume_tags), (false, pair("code", "temp")));
}

#[test]
fn every_rule_of_a_policy_for_instances() {
    check(
        instances,
        "/PolicyDetails",
        vec![
            (
                "/TargetVolumeIds",
                json!("vol-0123456789abcdef0"),
                "/TargetVolumeIds: has its place in a policy with ResourceTypes VOLUME only",
            ),
            ("/TargetTags", json!([]), "/TargetTags: want tags, found []"),
            ("/ExcludeTags", json!([{"Key": "backup", "Value": "no*"}]), ""),
            ("/Parameters", json!(null), ""),
            (
                "/Parameters/ExcludeBootVolume",
                json!("yes"),
                "/Parameters/ExcludeBootVolume: want true or false, found \"yes\"",
            ),
            ("/Parameters/ExcludeDataVolumeTags", json!(tags(50)), ""),
            (
                "/Parameters/ExcludeDataVolumeTags",
                json!(tags(51)),
                "/Parameters/ExcludeDataVolumeTags: want 1 to 50 tags (DLM), found 51",
            ),
            (
                "/Parameters/NoReboot",
                json!(true),
                "/Parameters/NoReboot: NoReboot is not supported by this version of snapferry: it \
                 is for AMIs",
            ),
            ("/Parameters/NoBoot", json!(true), "/Parameters/NoBoot: unknown member"),
            // Where the type is wrong, what goes with either is read.
            (
                "/ResourceTypes",
                json!("INSTANCES"),
                "/ResourceTypes: want VOLUME or INSTANCE, found \"INSTANCES\"",
            ),
        ],
    );
}

#[test]
fn every_rule_of_variable_tags() {
    let both = with(instances(), "/PolicyDetails/Schedules/0/TagsToAdd", json!(tags(43)));
    assert_eq!(
        super::wrong(&both),
        "/PolicyDetails/Schedules/0/VariableTags: want at most 43 tags together with TagsToAdd \
         (EC2 takes 50 and 7 are snapferry's own), found 45"
    );
    let full = with(instances(), "/PolicyDetails/Schedules/0/TagsToAdd", json!(tags(41)));
    assert_eq!(super::wrong(&full), "");
    check(
        instances,
        "/PolicyDetails/Schedules/0",
        vec![
            (
                "/TagsToAdd",
                json!(tags(44)),
                "/TagsToAdd: want 1 to 43 tags (EC2 takes 50 and 7 are snapferry's own), found 44",
            ),
            ("/VariableTags", json!({"Key": "at", "Value": "$(timestamp)"}), ""),
            (
                "/VariableTags/0/Value",
                json!("i-$(instance-id)"),
                "/VariableTags/0/Value: want $(instance-id) or $(timestamp) (DLM), found \
                 \"i-$(instance-id)\"",
            ),
            (
                "/VariableTags/0/Key",
                json!("type"),
                "/VariableTags/0/Key: want each key once, found \"type\"",
            ),
            (
                "/VariableTags/0/Key",
                json!("aws:at"),
                "/VariableTags/0/Key: want a key without aws:, which is AWS's own, found \"aws:at\"",
            ),
            (
                "/VariableTags/1/Key",
                json!("snapferry:instance"),
                "/VariableTags/1/Key: want a key without snapferry:, which is snapferry's own, \
                 found \"snapferry:instance\"",
            ),
            (
                "/ArchiveRule",
                json!({"RetainRule": {"RetentionArchiveTier": {"Count": 3}}}),
                "/ArchiveRule: has its place in a policy with ResourceTypes VOLUME only",
            ),
        ],
    );
}

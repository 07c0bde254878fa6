//! `DefaultKeyRescue`.

use serde_json::json;

use super::{copies, monthly, snapshot_policy, snapshots, unprotected, with, wrong};

#[test]
fn a_rescue_names_a_key_beside_something_that_is_shared() {
    let place = "/PolicyDetails/DefaultKeyRescue";
    let rescue = |key: serde_json::Value| json!({ "KmsKeyId": key });
    let document = with(monthly(), place, rescue(json!("alias/share")));
    let key = snapshot_policy(&document).default_key_rescue.unwrap();
    assert_eq!(key.as_str(), "alias/share");
    assert_eq!(snapshot_policy(&monthly()).default_key_rescue, None);
    let ways = "a KMS key: alias/<name>, a key id such as 8af79514-350d-4c52-bac8-8985e84171c7, or the ARN of either";
    for (value, expected) in [
        (json!({}), String::new()), // absent
        (rescue(json!("share")), format!("/KmsKeyId: want {ways}, found \"share\"")),
        (
            rescue(json!("alias/aws/ebs")),
            "/KmsKeyId: want a customer managed key: no other account can use an AWS managed one, found \
             \"alias/aws/ebs\""
                .to_owned(),
        ),
        (
            json!({ "KmsKeyID": "alias/share" }),
            format!(
                "/KmsKeyId: want a KMS key such as alias/snapferry-share, found nothing; {place}/KmsKeyID: unknown \
                 member, did you mean \"KmsKeyId\"?"
            ),
        ),
        (json!("alias/share"), ": want an object, found \"alias/share\"".to_owned()),
    ] {
        let found = wrong(&with(monthly(), place, value.clone()));
        assert_eq!(found.strip_prefix(place).unwrap_or(&found), expected, "{value}");
    }
    let lonely = wrong(&with(snapshots(), place, rescue(json!("alias/share"))));
    let beside = "has its place beside ShareRules only: what is not shared may stay under its key";
    assert_eq!(lonely, format!("{place}: {beside}"));
    let vault = wrong(&with(copies(), place, rescue(json!("alias/share"))));
    assert_eq!(vault, format!("{place}: has its place in an EBS_SNAPSHOT_MANAGEMENT policy only"));
    let default = wrong(&with(unprotected(), place, rescue(json!("alias/share"))));
    assert_eq!(default, format!("{place}: has its place in a STANDARD policy only"));
}

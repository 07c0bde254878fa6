use serde_json::json;
use snapferry_core::ec2::{Access, Ec2, Ec2Provider, ErrorKind};
use snapferry_core::inventory::Key;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, id, json};

const ARN: &str = "arn:aws:kms:eu-west-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7";

fn key(manager: &str, state: &str) -> Answer {
    json(
        200,
        json!({"KeyMetadata": {
            "AWSAccountId": "111111111111", "Arn": ARN, "CreationDate": 1_767_607_200.123,
            "Enabled": state == "Enabled", "KeyId": "8af79514-350d-4c52-bac8-8985e84171c7",
            "KeyManager": manager, "KeySpec": "SYMMETRIC_DEFAULT", "KeyState": state,
            "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": false, "Origin": "AWS_KMS",
        }}),
    )
}

#[tokio::test]
async fn a_key_is_described_in_the_region_of_the_client() {
    let aws = Script::default().on("DescribeKey", [key("CUSTOMER", "Enabled")]);
    let ec2 = aws.aws().connect(&Access::default(), &id("eu-west-1")).await.unwrap();
    let found = ec2.describe_key("alias/vault").await.unwrap();
    let want = Key {
        arn: ARN.into(),
        aws_managed: false,
        state: "Enabled".into(),
        usage: "ENCRYPT_DECRYPT".into(),
        spec: "SYMMETRIC_DEFAULT".into(),
    };
    assert_eq!(found, want);
    let sent = &aws.sent("DescribeKey")[0];
    assert_eq!(sent.host, "kms.eu-west-1.amazonaws.com");
    assert_eq!(sent.json(), json!({"KeyId": "alias/vault"}));
}

#[tokio::test]
async fn who_manages_a_key_and_its_state_are_awss_words() {
    let states =
        ["Enabled", "Disabled", "PendingDeletion", "PendingImport", "Unavailable", "Tomorrow"];
    for state in states {
        let answers = [key("AWS", state), key("CUSTOMER", state)];
        let aws = Script::default().on("DescribeKey", answers);
        let ec2 = aws.ec2().await;
        for aws_managed in [true, false] {
            let found = ec2.describe_key(ARN).await.unwrap();
            assert_eq!((found.state.as_str(), found.aws_managed), (state, aws_managed));
        }
    }
}

#[tokio::test]
async fn a_key_that_kms_does_not_tell_about_is_no_key() {
    for (code, message, kind) in [
        ("NotFoundException", format!("Key '{ARN}' does not exist"), ErrorKind::NotFound),
        ("AccessDeniedException", "User is not authorized".into(), ErrorKind::AccessDenied),
        ("InvalidArnException", "Invalid ARN".into(), ErrorKind::Invalid),
    ] {
        // AWS writes the code with and without its namespace, the message with a small or a capital M.
        for (code_as, name) in
            [(code.to_owned(), "message"), (format!("com.amazonaws.kms#{code}"), "Message")]
        {
            let answer = json(400, json!({"__type": code_as, name: message}));
            let aws = Script::default().on("DescribeKey", [answer]);
            let err = aws.ec2().await.describe_key(ARN).await.unwrap_err();
            let text =
                format!("AWS refused DescribeKey: {message} ({code}, request ID {REQUEST_ID})");
            assert_refused(&err, kind, &text);
            assert_eq!(aws.actions().len(), 1);
        }
    }
}

#[tokio::test]
async fn kms_is_asked_again_after_a_fault() {
    let fault = json(500, json!({"__type": "KMSInternalException", "message": "try later"}));
    let throttled = json(400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}));
    let answers = [fault, Answer::Reset, throttled, key("CUSTOMER", "Enabled")];
    let aws = Script::default().on("DescribeKey", answers);
    aws.ec2().await.describe_key(ARN).await.unwrap();
    assert_eq!(aws.actions().len(), 4);
}

#[tokio::test]
async fn an_answer_without_a_key_is_none() {
    let aws = Script::default().on("DescribeKey", [json(200, json!({}))]);
    let err = aws.ec2().await.describe_key(ARN).await.unwrap_err();
    assert_no_answer(&err, "DescribeKey", "no metadata for the key");
}

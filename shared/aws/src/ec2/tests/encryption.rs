use snapferry_core::ec2::{Access, Ec2, Ec2Provider, ErrorKind};
use snapferry_core::inventory::EbsEncryption;

use super::{assert_no_answer, assert_refused};
use crate::testing::{Answer, REQUEST_ID, Script, broken, cut, id, ok, refused, throttled};

const BY_DEFAULT: &str = "GetEbsEncryptionByDefault";
const KEY: &str = "GetEbsDefaultKmsKeyId";
const ARN: &str = "arn:aws:kms:eu-west-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7";

fn by_default(text: &str) -> Answer {
    ok(BY_DEFAULT, text)
}

fn key(name: &str) -> Answer {
    ok(KEY, &format!("<kmsKeyId>{name}</kmsKeyId>"))
}

#[tokio::test]
async fn encryption_by_default_and_its_key_are_those_of_the_region() {
    for (text, by_default_is) in [("true", true), ("false", false)] {
        for name in [ARN, "alias/aws/ebs"] {
            let text = format!("<ebsEncryptionByDefault>{text}</ebsEncryptionByDefault>");
            let aws = Script::default().on(BY_DEFAULT, [by_default(&text)]).on(KEY, [key(name)]);
            let ec2 = aws.aws().connect(&Access::default(), &id("eu-west-1")).await.unwrap();
            let found = ec2.ebs_encryption().await.unwrap();
            assert_eq!(found, EbsEncryption { by_default: by_default_is, key: name.to_owned() });
            for action in [BY_DEFAULT, KEY] {
                let sent = &aws.sent(action)[0];
                assert_eq!(sent.host, "ec2.eu-west-1.amazonaws.com");
                assert_eq!(sent.parameters(), [""; 0]);
            }
        }
    }
}

#[tokio::test]
async fn it_is_asked_again_after_a_fault() {
    let on = by_default("<ebsEncryptionByDefault>true</ebsEncryptionByDefault>");
    let first = [throttled(), cut(&on, "</ebsEncryption"), Answer::Reset, on];
    let aws = Script::default().on(BY_DEFAULT, first).on(KEY, [broken(), key(ARN)]);
    let found = aws.ec2().await.ebs_encryption().await.unwrap();
    assert_eq!(found, EbsEncryption { by_default: true, key: ARN.to_owned() });
    assert_eq!(aws.actions().len(), 6);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_off() {
    let on = || by_default("<ebsEncryptionByDefault>true</ebsEncryptionByDefault>");
    let message = "You are not authorized to perform this operation.";
    let denied = || refused(403, "UnauthorizedOperation", message);
    for (first, second, action) in [(denied(), None, BY_DEFAULT), (on(), Some(denied()), KEY)] {
        let aws = Script::default().on(BY_DEFAULT, [first]).on(KEY, second);
        let err = aws.ec2().await.ebs_encryption().await.unwrap_err();
        let text = format!(
            "AWS refused {action}: {message} (UnauthorizedOperation, request ID {REQUEST_ID})"
        );
        assert_refused(&err, ErrorKind::AccessDenied, &text);
    }
}

#[tokio::test]
async fn an_answer_without_its_member_is_none() {
    let on = by_default("<ebsEncryptionByDefault>true</ebsEncryptionByDefault>");
    for nameless in [key(""), ok(KEY, "")] {
        let aws = Script::default().on(BY_DEFAULT, [on.clone()]).on(KEY, [nameless]);
        let err = aws.ec2().await.ebs_encryption().await.unwrap_err();
        assert_no_answer(&err, KEY, "the default key");
    }
}

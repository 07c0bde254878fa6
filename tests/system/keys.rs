//! Every fault of a key: what the report says, and that all is well again when the key is mended.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT};

use crate::common::{MEMBER, calls, ec2, failed, kms, put_key_policy, run, shared, vault_policy};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// A snapshot under a member's key, shared, and a vault that is to copy it under its own.
struct Cast {
    stage: Stage,
    source: Snapshot,
    source_key: String,
    key: String,
    copy: RefCell<Lambda>,
}

/// When a fault is noticed.
#[derive(PartialEq)]
enum Noticed {
    /// Before anything is copied.
    Before,
    /// By a copy that ends in error.
    After,
}

type Step = fn(&Cast) -> Result<()>;

/// `says`: what has to be in the message, beside the id of the snapshot.
fn play(
    name: &str,
    breaks: Step,
    says: fn(&Cast) -> Vec<&str>,
    when: &Noticed,
    mends: Step,
) -> Result<()> {
    let cast = Cast::new(name)?;
    breaks(&cast)?;
    let mut message = None;
    for _ in 0..2 {
        let answer = cast.copy.borrow().invoke(&json!({}))?;
        cast.stage.aws.settle()?;
        if !answer.error().0.is_empty() {
            message = Some(failed(&answer, "ActionsFailed"));
            break;
        }
    }
    let message = message.ok_or("nothing is said")?;
    for part in [says(&cast), vec![&cast.source.id]].concat() {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let tried = calls(&cast.stage.aws)?.get("CopySnapshot").copied();
    assert_eq!(tried.is_some(), *when == Noticed::After, "{tried:?}");
    assert!(cast.copies()?.iter().all(|it| it.state == "error"));

    mends(&cast)?;
    cast.stage.aws.post("age", &json!({"days": 0.05}))?; // failed twice: tried again after an hour
    let mut reports = Vec::new();
    for _ in 0..3 {
        let answer = cast.copy.borrow().invoke(&json!({}))?;
        cast.stage.aws.settle()?;
        reports.push(answer);
    }
    let last = reports.pop().ok_or("no report")?.report()?;
    assert_eq!((&last["Status"], &last["Actions"]), (&json!("Succeeded"), &json!([])));
    let copies = cast.copies()?;
    let found: Vec<_> = copies.iter().map(|it| (it.state.as_str(), it.key.as_deref())).collect();
    assert_eq!(found, [("completed", Some(cast.key.as_str()))], "one copy, and nothing in error");
    Ok(())
}

impl Cast {
    fn new(name: &str) -> Result<Self> {
        let stage = Stage::new(name)?;
        let source_key = stage.key(MEMBER)?;
        let source = shared(&stage.aws, MEMBER, 1, &json!({"kms_key": source_key}))?.remove(0);
        let key = stage.key(TARGET)?;
        let copy = stage.function("copy-shared-snapshots", &vault_policy(&[(TARGETS[0], &key)]))?;
        Ok(Self { stage, source, source_key, key, copy: RefCell::new(copy) })
    }

    fn copies(&self) -> Result<Vec<Snapshot>> {
        Ok(self.stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect())
    }

    /// A call to KMS about a key, by its owner.
    fn kms(&self, what: &str, key: &str, more: &Value) -> Result<()> {
        let place = if key == self.source_key { MEMBER } else { TARGET };
        kms(&self.stage.aws, place, what, key, more)
    }

    fn disable(&self, key: &str) -> Result<()> {
        self.kms("DisableKey", key, &json!({}))
    }

    fn enable(&self, key: &str) -> Result<()> {
        self.kms("EnableKey", key, &json!({}))
    }

    /// Has the rule name this key; `None`: the Region's default key.
    fn name_in_rule(&self, key: Option<&str>) -> Result<()> {
        let mut policy = vault_policy(&[(TARGETS[0], key.unwrap_or_default())]);
        if key.is_none() {
            policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0]["EncryptionConfiguration"] =
                json!({"Encrypted": true});
        }
        *self.copy.borrow_mut() = self.stage.function("copy-shared-snapshots", &policy)?;
        Ok(())
    }

    /// Keys of other accounts need a key policy; that of the member's key lets the vault do this.
    fn source_key_allows(&self, vault: &[&str]) -> Result<()> {
        self.stage.aws.post("config", &json!({"key_policies": true}))?;
        let root = format!("arn:aws:iam::{VAULT}:root");
        let statement = json!({
            "Effect": "Allow", "Principal": {"AWS": root}, "Action": vault, "Resource": "*",
        });
        let statements = if vault.is_empty() { vec![] } else { vec![statement] };
        put_key_policy(&self.stage.aws, MEMBER, &self.source_key, &statements)
    }
}

#[test]
fn of_the_rule_disabled() -> Result<()> {
    play(
        "key-disabled",
        |cast| cast.disable(&cast.key),
        |cast| vec![&cast.key, "disabled", "kms:EnableKey"],
        &Noticed::Before,
        |cast| cast.enable(&cast.key),
    )
}

#[test]
fn of_the_rule_pending_deletion() -> Result<()> {
    play(
        "key-pending-deletion",
        |cast| cast.kms("ScheduleKeyDeletion", &cast.key, &json!({})),
        |cast| vec![&cast.key, "pending deletion", "kms:CancelKeyDeletion"],
        &Noticed::Before,
        |cast| {
            cast.kms("CancelKeyDeletion", &cast.key, &json!({}))?;
            cast.enable(&cast.key)
        },
    )
}

#[test]
fn of_the_rule_deleted() -> Result<()> {
    const GONE: &str =
        "arn:aws:kms:eu-west-1:999999999999:key/00000000-0000-0000-0000-000000000000";
    play(
        "key-deleted",
        |cast| cast.name_in_rule(Some(GONE)),
        |_| vec![GONE, "does not exist", "CmkArn"],
        &Noticed::Before,
        |cast| cast.name_in_rule(Some(&cast.key)),
    )
}

#[test]
fn of_the_rule_for_signing() -> Result<()> {
    play(
        "key-for-signing",
        |cast| {
            let body = json!({"KeyUsage": "SIGN_VERIFY", "KeySpec": "RSA_2048"});
            let made = cast.stage.aws.json(TARGET, "kms", "TrentService.CreateKey", &body)?;
            cast.name_in_rule(made["KeyMetadata"]["Arn"].as_str())
        },
        |_| vec!["arn:aws:kms:eu-west-1:", "SIGN_VERIFY", "ENCRYPT_DECRYPT"],
        &Noticed::Before,
        |cast| cast.name_in_rule(Some(&cast.key)),
    )
}

#[test]
fn of_the_rule_not_to_be_looked_at() -> Result<()> {
    play(
        "key-unreadable",
        |cast| {
            let message = format!(
                "User: arn:aws:sts::{VAULT}:assumed-role/copy/copy is not authorized to perform: \
                 kms:DescribeKey on resource: {} because no identity-based policy allows the \
                 kms:DescribeKey action",
                cast.key
            );
            let fault = json!({
                "service": "kms", "action": "DescribeKey", "match": cast.key,
                "code": "AccessDeniedException", "status": 400, "message": message,
            });
            cast.stage.aws.post("faults", &fault).map(drop)
        },
        |cast| vec![&cast.key, "kms:DescribeKey"],
        &Noticed::Before,
        |cast| cast.stage.aws.clear("faults").map(drop),
    )
}

#[test]
fn of_the_rule_in_another_region() -> Result<()> {
    let cast = Cast::new("key-elsewhere")?;
    let elsewhere = cast.stage.key(Place { account: VAULT, region: HOME })?;
    cast.name_in_rule(Some(&elsewhere))?;
    let message = failed(&cast.copy.borrow().invoke(&json!({}))?, "InvalidPolicy");
    assert!(message.contains("/CrossRegionCopy/0/EncryptionConfiguration/CmkArn: "), "{message}");
    assert!(cast.copies()?.is_empty(), "no copy was tried");
    Ok(())
}

#[test]
fn of_the_region_disabled() -> Result<()> {
    play(
        "default-key-disabled",
        |cast| {
            let aws = &cast.stage.aws;
            ec2(aws, TARGET, &[("Action", "EnableEbsEncryptionByDefault")])?;
            let choose = [("Action", "ModifyEbsDefaultKmsKeyId"), ("KmsKeyId", cast.key.as_str())];
            ec2(aws, TARGET, &choose)?;
            cast.name_in_rule(None)?;
            cast.disable(&cast.key)
        },
        |cast| vec![&cast.key, "default", "disabled", "kms:EnableKey"],
        &Noticed::Before,
        |cast| cast.enable(&cast.key),
    )
}

#[test]
fn of_the_region_that_encrypts_by_default_what_is_plain() -> Result<()> {
    let stage = Stage::new("default-key-of-plain")?;
    let source = shared(&stage.aws, MEMBER, 1, &json!({}))?.remove(0);
    let key = stage.key(TARGET)?;
    ec2(&stage.aws, TARGET, &[("Action", "ModifyEbsDefaultKmsKeyId"), ("KmsKeyId", key.as_str())])?;
    ec2(&stage.aws, TARGET, &[("Action", "EnableEbsEncryptionByDefault")])?;
    kms(&stage.aws, TARGET, "DisableKey", &key, &json!({}))?;
    let mut policy = vault_policy(&[(TARGETS[0], "")]);
    let rule = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0];
    rule["EncryptionConfiguration"] = json!({"Encrypted": false});
    let copy = stage.function("copy-shared-snapshots", &policy)?;
    let message = failed(&copy.invoke(&json!({}))?, "ActionsFailed");
    for part in [&source.id, &key, "default", "disabled", "kms:EnableKey"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(calls(&stage.aws)?.get("CopySnapshot"), None, "told before anything is copied");

    kms(&stage.aws, TARGET, "EnableKey", &key, &json!({}))?;
    assert_eq!(run(&stage, &copy, &json!({}))?["Status"], "Succeeded");
    // Where the Region does not encrypt by default, its key is no matter of plain copies.
    ec2(&stage.aws, TARGET, &[("Action", "DisableEbsEncryptionByDefault")])?;
    kms(&stage.aws, TARGET, "DisableKey", &key, &json!({}))?;
    shared(&stage.aws, MEMBER, 1, &json!({}))?;
    assert_eq!(run(&stage, &copy, &json!({}))?["Status"], "Succeeded");
    let copies = stage.aws.snapshots()?.into_iter().filter(|it| it.copied);
    let found: BTreeSet<_> = copies.map(|it| (it.state, it.key)).collect();
    let completed = |key| ("completed".to_owned(), key);
    assert_eq!(found, BTreeSet::from([completed(Some(key)), completed(None)]));
    Ok(())
}

#[test]
fn of_the_source_disabled() -> Result<()> {
    play(
        "source-key-disabled",
        |cast| cast.disable(&cast.source_key),
        |cast| vec![&cast.source_key, "disabled", "kms:EnableKey"],
        &Noticed::Before,
        |cast| cast.enable(&cast.source_key),
    )
}

#[test]
fn of_the_source_disabled_and_not_to_be_looked_at() -> Result<()> {
    play(
        "source-key-disabled-unseen",
        |cast| {
            cast.source_key_allows(&["kms:CreateGrant", "kms:Decrypt", "kms:ReEncrypt*"])?;
            cast.disable(&cast.source_key)
        },
        |cast| vec!["Given key ID is not accessible", &cast.source_key, "kms:DescribeKey"],
        &Noticed::After,
        |cast| cast.enable(&cast.source_key),
    )
}

#[test]
fn of_the_source_that_the_vault_may_not_use() -> Result<()> {
    play(
        "source-key-not-allowed",
        |cast| cast.source_key_allows(&[]),
        |cast| {
            let actions = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:ReEncrypt"];
            [&["Given key ID is not accessible", cast.source_key.as_str()][..], &actions].concat()
        },
        &Noticed::After,
        |cast| cast.source_key_allows(&["kms:*"]),
    )
}

//! Whether a copy's keys can be used, and if not, what to do about it.

use super::remedy;
use crate::action::Hold;
use crate::chain::Chain;
use crate::ec2::{Ec2Error, ErrorKind};
use crate::inventory::{AWS_MANAGED_KEY, Key, Snapshot, VaultInventory};
use crate::policy::CopyRule;

/// Why a rule cannot copy now.
pub(in crate::plan) enum KeyProblem {
    /// The next run looks again.
    Passes(String),
    /// Someone has to act.
    Stays { kind: ErrorKind, code: String, message: String },
}

/// EC2 checks keys only after it has said yes
/// ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)), so we look first.
pub(super) fn key_problem(
    inventory: &VaultInventory,
    rule: &CopyRule,
    source: &Snapshot,
) -> Option<KeyProblem> {
    let of_target = match &rule.cmk_arn {
        Some(arn) if arn.region() != rule.target => {
            let what = format!(
                "key {arn} is in {}, but copies in {} need a key of that Region",
                arn.region(),
                rule.target
            );
            Some(stays(ErrorKind::KeyUnusable, "WrongRegion", what))
        }
        Some(arn) => look(inventory, arn.as_str()),
        None => default_key(inventory, rule, source),
    };
    of_target.or_else(|| source_key(inventory, source))
}

fn stays(kind: ErrorKind, code: &str, message: String) -> KeyProblem {
    KeyProblem::Stays { kind, code: code.to_owned(), message }
}

/// A key that is named, and that the copy certainly needs.
fn look(inventory: &VaultInventory, arn: &str) -> Option<KeyProblem> {
    match inventory.keys.get(arn) {
        None => Some(KeyProblem::Passes(format!("key {arn} was not looked at"))),
        Some(Err(err)) if err.kind().passes() || err.kind() == ErrorKind::NoAnswer => {
            Some(KeyProblem::Passes(format!("key {arn} could not be looked at: {}", Chain(err))))
        }
        Some(Err(err)) => {
            let code = err.code().map_or("NoAnswer", |(code, _)| code);
            Some(stays(err.kind(), code, unreadable(inventory, arn, err)))
        }
        Some(Ok(key)) => unusable(key)
            .map(|(code, what)| stays(ErrorKind::KeyUnusable, code, format!("key {arn} {what}"))),
    }
}

/// The Region's key for EBS encryption. Where that cannot be told, copying is tried: EC2 knows.
fn default_key(
    inventory: &VaultInventory,
    rule: &CopyRule,
    source: &Snapshot,
) -> Option<KeyProblem> {
    let encryption = inventory.encryption.get(&rule.target)?.as_ref().ok()?;
    let is_used = rule.encrypted || source.encrypted || encryption.by_default;
    if !is_used || encryption.key == AWS_MANAGED_KEY {
        return None;
    }
    let key = inventory.keys.get(&encryption.key)?;
    let (kind, code, what) = match key {
        Ok(key) => {
            let (code, what) = unusable(key)?;
            (ErrorKind::KeyUnusable, code, what)
        }
        Err(err) if err.kind() == ErrorKind::NotFound => {
            (ErrorKind::NotFound, "NotFoundException", "does not exist".to_owned())
        }
        Err(_) => return None,
    };
    let what = format!(
        "key {}, the default for EBS encryption in {}, {what}; or set another default with \
         ec2:ModifyEbsDefaultKmsKeyId, or name a key in the rule (CmkArn)",
        encryption.key, rule.target
    );
    Some(stays(kind, code, what))
}

/// The key that the source is under. One that does not let itself be looked at may still let itself be used.
fn source_key(inventory: &VaultInventory, source: &Snapshot) -> Option<KeyProblem> {
    let arn = source.kms_key_id.as_deref()?;
    let whose = format!("key {arn}, which {} of {} is under,", source.id, source.owner);
    match inventory.keys.get(arn)? {
        Ok(key) if key.aws_managed && source.owner != inventory.account => {
            let what = format!(
                "{whose} is AWS managed, and no other account can use it: its owner has to copy the snapshot \
                 under a customer managed key and share the copy"
            );
            Some(stays(ErrorKind::KeyUnusable, "DefaultKey", what))
        }
        Ok(key) => unusable(key)
            .map(|(code, what)| stays(ErrorKind::KeyUnusable, code, format!("{whose} {what}"))),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let what = format!("{whose} does not exist any more: the snapshot cannot be read");
            Some(stays(ErrorKind::NotFound, "NotFoundException", what))
        }
        Err(_) => None,
    }
}

/// What could not be told of the default key of a Region is no obstacle, but no secret either.
pub(super) fn unread_default(inventory: &VaultInventory, rule: &CopyRule) -> Option<Hold> {
    let unread = inventory.encryption.get(&rule.target)?.as_ref().err()?;
    Some(Hold::DefaultKeyUnread(rule.target.clone(), unread.message.clone()))
}

fn unreadable(inventory: &VaultInventory, arn: &str, err: &Ec2Error) -> String {
    match err.kind() {
        ErrorKind::NotFound => format!(
            "key {arn} does not exist: correct CmkArn, or create the key in that account and Region"
        ),
        ErrorKind::AccessDenied => {
            format!("key {arn} cannot be read: {err}; {}", remedy::of_denial(inventory, arn, err))
        }
        _ => format!("key {arn} cannot be read: {err}"),
    }
}

/// What is wrong with the key, and the remedy.
pub(in crate::plan) fn unusable(key: &Key) -> Option<(&'static str, String)> {
    match key.state.as_str() {
        "Enabled" => {}
        "Disabled" => {
            return Some(("Disabled", "is disabled: enable it with kms:EnableKey".into()));
        }
        "PendingDeletion" => {
            let what = "is pending deletion: cancel that with kms:CancelKeyDeletion and enable it, or name \
                        another key; copies under it become unreadable when it goes";
            return Some(("PendingDeletion", what.into()));
        }
        other => return Some(("KeyState", format!("is in state {other}, want Enabled"))),
    }
    if key.usage != "ENCRYPT_DECRYPT" || key.spec != "SYMMETRIC_DEFAULT" {
        let what = format!(
            "is for {} with {}: EBS wants a symmetric key, ENCRYPT_DECRYPT with SYMMETRIC_DEFAULT",
            key.usage, key.spec
        );
        return Some(("KeyUsage", what));
    }
    None
}

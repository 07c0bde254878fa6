//! Whether the key of a rule can be used, and if not, what to do about it.

use crate::ec2::{Ec2Error, ErrorKind};
use crate::inventory::{Key, VaultInventory};
use crate::policy::CopyRule;

/// Why a rule cannot copy now.
pub(super) enum KeyProblem {
    /// The next run looks again.
    Passes(String),
    /// Someone has to act.
    Stays { kind: ErrorKind, code: String, message: String },
}

/// EC2 checks the key of a copy only after it has said yes
/// ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)), so we look first.
pub(super) fn key_problem(inventory: &VaultInventory, rule: &CopyRule) -> Option<KeyProblem> {
    let arn = rule.cmk_arn.as_ref()?;
    let stays = |kind, code: &str, what: String| {
        Some(KeyProblem::Stays { kind, code: code.to_owned(), message: what })
    };
    if arn.region() != rule.target {
        let what = format!(
            "key {arn} is in {}, but copies in {} need a key of that Region",
            arn.region(),
            rule.target
        );
        return stays(ErrorKind::KeyUnusable, "WrongRegion", what);
    }
    match inventory.keys.get(arn.as_str()) {
        None => Some(KeyProblem::Passes(format!("key {arn} was not looked at"))),
        Some(Err(err)) if err.kind().passes() || err.kind() == ErrorKind::NoAnswer => {
            Some(KeyProblem::Passes(format!("key {arn} could not be looked at: {err}")))
        }
        Some(Err(err)) => {
            let what = unreadable_key(arn.as_str(), err);
            let code = err.code().map_or("NoAnswer", |(code, _)| code);
            stays(err.kind(), code, what)
        }
        Some(Ok(key)) => unusable_key(key).and_then(|(code, what)| {
            stays(ErrorKind::KeyUnusable, code, format!("key {arn} {what}"))
        }),
    }
}

fn unreadable_key(arn: &str, err: &Ec2Error) -> String {
    match err.kind() {
        ErrorKind::NotFound => format!(
            "key {arn} does not exist: correct CmkArn, or create the key in that account and Region"
        ),
        _ => format!(
            "key {arn} cannot be read: {err}; allow kms:DescribeKey on it to this function's role, in the role \
             and, for a key of another account, in the key policy"
        ),
    }
}

/// What is wrong with the key, and the remedy.
fn unusable_key(key: &Key) -> Option<(&'static str, String)> {
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

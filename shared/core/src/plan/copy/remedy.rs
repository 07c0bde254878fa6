//! What to add where, so that a key can be used: statements to paste into a key policy or a role's policy.
//!
//! KMS asks both for a key of another account: the key's policy and the caller's role
//! ([Keys of other accounts](https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html)).
//! The actions are those that EC2 needs of whoever copies
//! ([Share a key](https://docs.aws.amazon.com/ebs/latest/userguide/share-kms-key.html)).

use serde_json::{Value, json};

use super::key::unusable;
use crate::ec2::{Ec2Error, ErrorKind};
use crate::inventory::{AWS_MANAGED_KEY, Snapshot, VaultInventory};
use crate::policy::CopyRule;

/// What copying needs beside `kms:CreateGrant`.
const USE: [&str; 5] = [
    "kms:DescribeKey",
    "kms:Decrypt",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
];

/// Where something is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lacks {
    KeyPolicy,
    Role,
    /// One of them, or both: AWS does not say which.
    Either,
}

/// What a key that refused `DescribeKey` lacks.
pub(super) fn of_denial(inventory: &VaultInventory, arn: &str, err: &Ec2Error) -> String {
    to_add(inventory, arn, lacks(Some(err)))
}

/// What to do about a copy by these rules that failed because a key was not accessible. `source` is what was copied, if
/// it is still shared.
pub(super) fn of_failure(
    inventory: &VaultInventory,
    source: Option<&Snapshot>,
    rules: &[&CopyRule],
) -> String {
    let source_key = source.and_then(|source| source.kms_key_id.as_deref());
    let target_key = rules.first().and_then(|rule| {
        if let Some(arn) = &rule.cmk_arn {
            return Some(arn.as_str());
        }
        // Nobody can take the AWS managed key away, nor give anything to it.
        let default = &inventory.encryption.get(&rule.target)?.as_ref().ok()?.key;
        (default != AWS_MANAGED_KEY).then_some(default.as_str())
    });
    let keys: Vec<&str> = source_key.into_iter().chain(target_key).collect();
    let mut parts: Vec<String> =
        keys.iter().filter_map(|arn| what_is_wrong(inventory, arn)).collect();
    if parts.is_empty() {
        let likely = keys.iter().map(|arn| to_add(inventory, arn, lacks(None)));
        parts.extend(likely);
        // Somebody may have mended it since: the copy is tried again, and only if that fails too it is news.
        let are_well = keys.iter().all(|arn| matches!(inventory.keys.get(*arn), Some(Ok(_))));
        if let Some(first) = parts.first_mut().filter(|_| are_well) {
            *first = format!("the keys look well now; should the next copy fail too, {first}");
        }
    }
    if source.is_none() {
        parts.insert(0, "its source is not shared any more, so that its key cannot be told".into());
    }
    if parts.is_empty() {
        return "which key it was cannot be told from here".into();
    }
    parts.join("; ")
}

/// `None`: nothing that can be seen from here.
fn what_is_wrong(inventory: &VaultInventory, arn: &str) -> Option<String> {
    match inventory.keys.get(arn)? {
        Ok(key) => unusable(key).map(|(_, what)| format!("key {arn} {what}")),
        Err(err) if err.kind() == ErrorKind::NotFound => Some(format!("key {arn} does not exist")),
        Err(err) if err.kind() == ErrorKind::AccessDenied => Some(of_denial(inventory, arn, err)),
        Err(_) => None,
    }
}

/// KMS tells which kind of policy does not allow it
/// ([Access denied messages](https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html)).
fn lacks(err: Option<&Ec2Error>) -> Lacks {
    let said = err.map(ToString::to_string).unwrap_or_default();
    if said.contains("no identity-based policy") {
        Lacks::Role
    } else if said.contains("no resource-based policy") {
        Lacks::KeyPolicy
    } else {
        Lacks::Either
    }
}

fn to_add(inventory: &VaultInventory, arn: &str, lacks: Lacks) -> String {
    let role = role(inventory, arn);
    let key_policy = || format!("the policy of key {arn} lacks {}", key_policy(&role));
    let identity = || format!("{role} lacks {}", role_policy(arn));
    match lacks {
        Lacks::KeyPolicy => key_policy(),
        Lacks::Role => identity(),
        Lacks::Either => format!("{}, or {}", key_policy(), identity()),
    }
}

/// The role of a session; where it is not known, the account. A role's path is not part of its session's ARN.
fn role(inventory: &VaultInventory, key: &str) -> String {
    let parts: Vec<&str> = inventory.caller.split(':').collect();
    match parts[..] {
        ["arn", partition, "sts", "", account, session] if session.starts_with("assumed-role/") => {
            let name = session.split('/').nth(1).unwrap_or_default();
            format!("arn:{partition}:iam::{account}:role/{name}")
        }
        ["arn", ..] => inventory.caller.clone(),
        _ => {
            let partition = key.split(':').nth(1).unwrap_or("aws");
            format!("arn:{partition}:iam::{}:root", inventory.account)
        }
    }
}

/// As AWS's own example for keys that are shared with snapshots.
fn key_policy(principal: &str) -> Value {
    let principal = json!({"AWS": principal});
    json!([
        {"Sid": "SnapferryCopies", "Effect": "Allow", "Principal": principal, "Action": USE, "Resource": "*"},
        {"Sid": "SnapferryCopiesGoOn", "Effect": "Allow", "Principal": principal,
         "Action": "kms:CreateGrant", "Resource": "*",
         "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}},
    ])
}

fn role_policy(arn: &str) -> Value {
    json!([
        {"Effect": "Allow", "Action": USE, "Resource": arn},
        {"Effect": "Allow", "Action": "kms:CreateGrant", "Resource": arn,
         "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}},
    ])
}

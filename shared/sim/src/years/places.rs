//! Where everything happens: two member accounts, a vault, and somebody else.

use snapferry_core::ids::Scope;

use crate::world::id;

pub(super) const VAULT: &str = "222222222222";
pub(super) const MEMBER: &str = "333333333333";
pub(super) const OTHER: &str = "444444444444";
pub(super) const STRANGER: &str = "999999999999";
pub(super) const HOME: &str = "eu-central-1";
/// Where copies go, beside [`HOME`].
pub(super) const AWAY: &str = "eu-west-1";

pub(super) fn scope(account: &str, region: &str) -> Scope {
    Scope { account: id(account), region: id(region) }
}

pub(super) fn home(account: &str) -> Scope {
    scope(account, HOME)
}

pub(super) fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/snapferry-member")
}

/// The key that a member's volumes are under, which the vault may use.
pub(super) fn member_key(account: &str) -> String {
    format!("arn:aws:kms:{HOME}:{account}:key/of-volumes")
}

/// `aws/ebs` of a member, which nobody else can use.
pub(super) fn default_key(account: &str) -> String {
    format!("arn:aws:kms:{HOME}:{account}:key/ebs")
}

/// The vault's key for its copies in a Region.
pub(super) fn vault_key(region: &str) -> String {
    format!("arn:aws:kms:{region}:{VAULT}:key/of-copies")
}

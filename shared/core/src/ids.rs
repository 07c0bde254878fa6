//! Identifiers, parsed once at the edge: afterwards a value of these types is well formed.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// What is wrong with the text of an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want {want}, found {found:?}")]
pub struct InvalidId {
    /// What would have been right.
    pub want: &'static str,
    /// What was there.
    pub found: String,
}

/// At most `N` bytes of text in place: an inventory has hundreds of thousands of ids, and on the heap each would take
/// twice as much. What does not fit is cut off, which no valid id is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Short<const N: usize> {
    /// Zeros at the end, so that the order is the text's.
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> From<&str> for Short<N> {
    fn from(text: &str) -> Self {
        let mut bytes = [0; N];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
            len += 1;
        }
        Self { bytes, len }
    }
}

impl<const N: usize> Deref for Short<N> {
    type Target = str;

    fn deref(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.len));
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident in $text:ty, $want:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// The identifier as AWS writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(<$text>::from(text)))
                } else {
                    Err(InvalidId { want: $want, found: text.to_owned() })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

id!(
    /// An EBS volume, `vol-` and 8 or 17 hexadecimal digits.
    VolumeId in Short<21>,
    "a volume id such as vol-0123456789abcdef0",
    |text| hex_after(text, "vol-")
);

impl VolumeId {
    /// The placeholder that EC2 shows for a copied snapshot.
    #[must_use]
    pub fn placeholder() -> Self {
        Self(Short::from("vol-ffffffff"))
    }

    /// Whether this is the placeholder that EC2 shows for a copied snapshot, whose volume is "arbitrary"
    /// ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)).
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        self.as_str() == "vol-ffffffff"
    }
}

id!(
    /// An EC2 instance, `i-` and 8 or 17 hexadecimal digits.
    InstanceId in Short<19>,
    "an instance id such as i-0123456789abcdef0",
    |text| hex_after(text, "i-")
);

id!(
    /// An EBS snapshot, `snap-` and 8 or 17 hexadecimal digits.
    SnapshotId in Short<22>,
    "a snapshot id such as snap-0123456789abcdef0",
    |text| hex_after(text, "snap-")
);

impl SnapshotId {
    /// The id at the end of a snapshot ARN, or the id itself. Only what follows the last `/` is read: AWS has
    /// published `arn:aws:ec2::us-west-2:snapshot/…`, `arn:aws:ec2:us-west-2::snapshot/…` and
    /// `arn:aws:ec2:us-west-2:111111111111:snapshot/…` for the same event.
    ///
    /// # Errors
    /// When what is there is no snapshot id.
    pub fn from_arn(text: &str) -> Result<Self, InvalidId> {
        text.rsplit('/').next().unwrap_or_default().parse()
    }
}

id!(
    /// An AWS account, 12 digits.
    AccountId in Short<12>,
    "an account id of 12 digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

impl AccountId {
    /// An account id that came as a JSON number, which has lost its leading zeros.
    ///
    /// # Errors
    /// When the number has more than 12 digits.
    pub fn from_number(number: u64) -> Result<Self, InvalidId> {
        format!("{number:012}").parse()
    }
}

id!(
    /// A Region name such as `eu-central-1`.
    Region in Short<25>,
    "a Region such as eu-central-1",
    region_is_valid
);

id!(
    /// The ARN of an IAM role.
    RoleArn in Arc<str>,
    "a role ARN such as arn:aws:iam::111111111111:role/snapferry-member",
    |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
            if partition.starts_with("aws") && account.parse::<AccountId>().is_ok()
                && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
            && text.len() <= 2048
    }
);

id!(
    /// The ARN of a role that every account has: `*` in the account's place.
    EveryRoleArn in Arc<str>,
    "a role ARN with * for the account such as arn:aws:iam::*:role/snapferry-member",
    |text| text.split(':').nth(4) == Some("*")
        && text.replacen(":*:", ":000000000000:", 1).parse::<RoleArn>().is_ok()
);

impl EveryRoleArn {
    /// The role of one account.
    #[must_use]
    pub fn of(&self, account: &AccountId) -> RoleArn {
        RoleArn(self.0.replacen(":*:", &format!(":{account}:"), 1).into())
    }
}

id!(
    /// An organizational unit, or the root, of an organization in AWS Organizations
    /// ([ListAccountsForParent](https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListAccountsForParent.html)).
    UnitId in Arc<str>,
    "an organizational unit such as ou-ab12-cd34ef56, or the root such as r-ab12",
    |text| {
        let within = |text: &str, least| (least..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        match (text.strip_prefix("r-"), text.strip_prefix("ou-").and_then(|it| it.split_once('-'))) {
            (Some(root), _) => within(root, 4),
            (None, Some((root, unit))) => within(root, 4) && within(unit, 8),
            (None, None) => false,
        }
    }
);

impl RoleArn {
    /// The account the role lives in: the account whose volumes are meant.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId(Short::from(self.0.split(':').nth(4).unwrap_or_default()))
    }
}

id!(
    /// The ARN of a KMS key (not of an alias).
    KmsKeyArn in Arc<str>,
    "a key ARN such as arn:aws:kms:eu-central-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7",
    |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        matches!(parts.as_slice(), ["arn", partition, "kms", region, account, key]
            if partition.starts_with("aws") && region_is_valid(region)
                && account.parse::<AccountId>().is_ok()
                && key.strip_prefix("key/").is_some_and(|id| !id.is_empty()))
    }
);

impl KmsKeyArn {
    /// The Region the key lives in. EC2 takes a key of the destination Region only.
    #[must_use]
    pub fn region(&self) -> Region {
        Region(Short::from(self.0.split(':').nth(3).unwrap_or_default()))
    }
}

id!(
    /// A KMS key in whichever way KMS takes it: the name or ARN of an alias, or the id or ARN of a key.
    KmsKeyId in Box<str>,
    "a KMS key: alias/<name>, a key id such as 8af79514-350d-4c52-bac8-8985e84171c7, or the ARN of either",
    |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let name = match parts.as_slice() {
            ["arn", partition, "kms", region, account, name]
                if partition.starts_with("aws") && region_is_valid(region)
                    && account.parse::<AccountId>().is_ok() => name,
            _ => text,
        };
        match (name.strip_prefix("alias/"), name.strip_prefix("key/")) {
            (Some(alias), _) => alias_is_valid(alias),
            (None, Some(_)) => text.parse::<KmsKeyArn>().is_ok(),
            (None, None) => key_id_is_valid(text),
        }
    }
);

impl KmsKeyId {
    /// Whether it is the alias of an AWS managed key: `aws/` is reserved to those.
    #[must_use]
    pub fn is_aws_managed(&self) -> bool {
        self.0.rsplit(':').next().unwrap_or_default().starts_with("alias/aws/")
    }
}

fn alias_is_valid(name: &str) -> bool {
    (1..=250).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b))
}

/// A UUID, or that of a multi-Region key.
fn key_id_is_valid(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(hex) = text.strip_prefix("mrk-") {
        return hex.len() == 32 && is_hex(hex);
    }
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.into_iter().all(is_hex)
}

fn hex_after(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|hex| {
        (hex.len() == 8 || hex.len() == 17)
            && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Two or three lower-case words and a digit (DLM's `([a-z]+-){2,3}\d`).
fn region_is_valid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else {
        return false;
    };
    (2..=3).contains(&words.len())
        && text.len() <= 25
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// One account in one Region: the unit that is read, planned and failed together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Whose volumes and snapshots.
    pub account: AccountId,
    /// Where.
    pub region: Region,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

impl FromStr for Scope {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId {
            want: "account/Region such as 333333333333/eu-central-1",
            found: text.to_owned(),
        };
        let (account, region) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Self {
            account: account.parse().map_err(|_| wrong())?,
            region: region.parse().map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_ec2_prints() {
        for good in ["vol-0123456789abcdef0", "vol-ffffffff"] {
            assert!(good.parse::<VolumeId>().is_ok(), "{good}");
        }
        for bad in ["", "vol-", "vol-0123456789ABCDEF0", "snap-0123456789abcdef0", "vol-012345678 "]
        {
            assert!(bad.parse::<VolumeId>().is_err(), "{bad}");
        }
        for bad in ["us-east", "us_east_1", "US-EAST-1", "eu-central-1a", "eu--1", "a-1", ""] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
        for good in ["us-east-1", "us-gov-west-1", "ap-southeast-4", "cn-north-1"] {
            assert!(good.parse::<Region>().is_ok(), "{good}");
        }
    }

    #[test]
    fn units_are_what_organizations_prints() {
        for good in ["r-ab12", "ou-ab12-cd34ef56", "ou-12345678-0123456789abcdef"] {
            assert!(good.parse::<UnitId>().is_ok(), "{good}");
        }
        for bad in
            ["r-ab1", "r-AB12", "ou-ab12", "ou-ab12-cd34", "ou-ab12-cd34-ef56", "o-ab12cd34ef"]
        {
            assert!(bad.parse::<UnitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_whole_and_in_the_order_of_their_text() {
        let mut texts = ["vol-0123456789abcdef0", "vol-ffffffff", "vol-01234567", "vol-01234568"];
        let mut ids = texts.map(|text| text.parse::<VolumeId>().unwrap());
        texts.sort_unstable();
        ids.sort_unstable();
        assert_eq!(ids.each_ref().map(VolumeId::as_str), texts);
        let long = "abcdefgh-abcdefgh-abcdef-1"; // a Region of 26
        assert!(long.parse::<Region>().is_err());
        assert_eq!(long[1..].parse::<Region>().unwrap().as_str(), &long[1..]);
        let [snapshot, instance, account] =
            ["snap-0123456789abcdef0", "i-0123456789abcdef0", "123456789012"];
        assert_eq!(snapshot.parse::<SnapshotId>().unwrap().as_str(), snapshot);
        assert_eq!(instance.parse::<InstanceId>().unwrap().as_str(), instance);
        assert_eq!(account.parse::<AccountId>().unwrap().as_str(), account);
    }

    #[test]
    fn an_arn_gives_its_id_account_and_region() {
        for arn in [
            "arn:aws:ec2::us-west-2:snapshot/snap-01234567",
            "arn:aws-cn:ec2:cn-north-1::snapshot/snap-01234567",
            "arn:aws:ec2:us-west-2:111111111111:snapshot/snap-01234567",
            "snap-01234567",
        ] {
            assert_eq!(SnapshotId::from_arn(arn).unwrap().as_str(), "snap-01234567");
        }
        let role: RoleArn = "arn:aws-us-gov:iam::012345678901:role/path/name".parse().unwrap();
        assert_eq!(role.account().as_str(), "012345678901");
        assert!("arn:aws:iam::012345678901:user/name".parse::<RoleArn>().is_err());
        let every: EveryRoleArn = "arn:aws-cn:iam::*:role/path/a:*:b".parse().unwrap();
        let account = "012345678901".parse().unwrap();
        assert_eq!(every.of(&account).as_str(), "arn:aws-cn:iam::012345678901:role/path/a:*:b");
        for one in [role.as_str(), "arn:aws:iam::*:user/name", "arn:aws:iam:*::role/name"] {
            assert!(one.parse::<EveryRoleArn>().is_err(), "{one}");
        }
        let key: KmsKeyArn = "arn:aws:kms:eu-west-2:222222222222:key/mrk-1".parse().unwrap();
        assert_eq!(key.region().as_str(), "eu-west-2");
        assert!("arn:aws:kms:eu-west-2:222222222222:alias/x".parse::<KmsKeyArn>().is_err());
    }

    #[test]
    fn a_key_may_be_told_in_four_ways() {
        for good in [
            "alias/snapferry-share",
            "arn:aws:kms:eu-west-2:222222222222:alias/snapferry/share_1",
            "8af79514-350d-4c52-bac8-8985e84171c7",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "arn:aws-cn:kms:cn-north-1:222222222222:key/mrk-1",
        ] {
            assert!(good.parse::<KmsKeyId>().is_ok_and(|key| !key.is_aws_managed()), "{good}");
        }
        for aws in ["alias/aws/ebs", "arn:aws:kms:eu-west-2:222222222222:alias/aws/ebs"] {
            assert!(aws.parse::<KmsKeyId>().unwrap().is_aws_managed());
        }
        for bad in [
            "",
            "snapferry-share", // an alias without alias/
            "alias/",
            "alias/a b",
            "key/8af79514-350d-4c52-bac8-8985e84171c7",
            "8af79514",
            "mrk-1",
            "arn:aws:kms:eu-west-2:222222222222:8af79514-350d-4c52-bac8-8985e84171c7",
            "arn:aws:kms::222222222222:alias/x",
        ] {
            assert!(bad.parse::<KmsKeyId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_gets_its_leading_zeros_back() {
        assert_eq!(AccountId::from_number(12_345_678_901).unwrap().as_str(), "012345678901");
        assert!(AccountId::from_number(1_234_567_890_123).is_err());
    }

    #[test]
    fn a_scope_reads_as_it_prints() {
        let scope: Scope = "333333333333/eu-central-1".parse().unwrap();
        assert_eq!(scope.to_string(), "333333333333/eu-central-1");
        for bad in ["333333333333", "333333333333/x", "3/eu-central-1"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }
}

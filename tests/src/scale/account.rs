//! A made-up account: volumes with six tags and their last snapshots, with eight, all under one key.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::earlier;

pub(super) const REGION: &str = "eu-central-1";
pub(super) const ACCOUNT: &str = "333333333333";
const VAULT: &str = "222222222222";
const KEY: &str = "arn:aws:kms:eu-central-1:333333333333:key/8af79514-350d-4c52-bac8-8985e84171c7";

/// Nights, and so snapshots of each volume.
pub(super) const NIGHTS: usize = 5;

/// See the module.
pub(super) struct Account {
    pub(super) snapshots: usize,
    /// The slot of the newest snapshots.
    pub(super) newest: Timestamp,
}

/// What protects it.
pub(super) fn policy(count: usize) -> Value {
    json!({"Name": "production-daily", "PolicyDetails": {
        "TargetTags": [{"Key": "Backup", "Value": "daily"}],
        "Schedules": [{
            "Name": "nightly",
            "CopyTags": true,
            "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["02:00"]},
            "RetainRule": {"Count": count},
            "ShareRules": [{"TargetAccounts": [VAULT]}]
        }]
    }})
}

/// `DescribeKey`'s answer.
pub(super) fn key() -> String {
    json!({"KeyMetadata": {
        "KeyId": "8af79514-350d-4c52-bac8-8985e84171c7", "Arn": KEY, "KeyManager": "CUSTOMER",
        "KeyState": "Enabled", "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT"
    }})
    .to_string()
}

impl Account {
    /// EC2's or STS's answer.
    pub(super) fn answer(&self, form: &BTreeMap<String, String>) -> String {
        let action = form.get("Action").map_or("", String::as_str);
        match action {
            "GetCallerIdentity" => format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <GetCallerIdentityResult><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/r/s</Arn>\
                 <UserId>u</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>\
                 </GetCallerIdentityResponse>"
            ),
            "DescribeVolumes" => {
                page(form, action, "volumeSet", self.snapshots / NIGHTS, |n, to| self.volume(n, to))
            }
            "DescribeSnapshots" => {
                page(form, action, "snapshotSet", self.snapshots, |n, to| self.snapshot(n, to))
            }
            "DescribeImages" => page(form, action, "imagesSet", 0, |_, _| ()),
            _ => page(form, action, "snapshotSet", 0, |_, _| ()), // locks
        }
    }

    fn volume(&self, n: usize, to: &mut String) {
        let created = earlier(self.newest, 10_000);
        let _ = write!(
            to,
            "<item><volumeId>vol-{n:017x}</volumeId><size>100</size><snapshotId/>\
             <availabilityZone>{REGION}a</availabilityZone><status>in-use</status>\
             <createTime>{created}</createTime><volumeType>gp3</volumeType><iops>3000</iops>\
             <encrypted>true</encrypted><kmsKeyId>{KEY}</kmsKeyId><throughput>125</throughput>\
             <attachmentSet><item><volumeId>vol-{n:017x}</volumeId><instanceId>i-{n:017x}</instanceId>\
             <device>/dev/sdf</device><status>attached</status><attachTime>{created}</attachTime>\
             <deleteOnTermination>false</deleteOnTermination></item></attachmentSet>"
        );
        tags(
            to,
            &[
                ("Backup", "daily"),
                ("CostCentre", "4711"),
                ("Environment", "production"),
                ("Name", &format!("server-{n}-data")),
                ("Owner", "platform-team@example.com"),
                ("aws:cloudformation:stack-name", "production-servers"),
            ],
        );
    }

    fn snapshot(&self, n: usize, to: &mut String) {
        let n_volumes = (self.snapshots / NIGHTS).max(1);
        let (night, volume) = (n / n_volumes, n % n_volumes);
        let slot = earlier(self.newest, 24 * night);
        let (minute, millis) = (volume / 1000 % 60, volume % 1000);
        let date = slot.strftime("%Y-%m-%dT%H");
        let _ = write!(
            to,
            "<item><snapshotId>snap-{n:017x}</snapshotId><volumeId>vol-{volume:017x}</volumeId>\
             <status>completed</status><startTime>{date}:{minute:02}:07.{millis:03}Z</startTime>\
             <progress>100%</progress><ownerId>{ACCOUNT}</ownerId><volumeSize>100</volumeSize>\
             <description>Created for policy: production-daily schedule: nightly slot: {slot} \
             volume: vol-{volume:017x} name: server-{volume}-data</description>\
             <encrypted>true</encrypted><kmsKeyId>{KEY}</kmsKeyId><storageTier>standard</storageTier>"
        );
        tags(
            to,
            &[
                ("CostCentre", "4711"),
                ("Name", &format!("server-{volume}-data")),
                ("Owner", "platform-team@example.com"),
                ("snapferry:expires-at", &earlier(slot, 0).to_string()),
                ("snapferry:policy", "production-daily"),
                ("snapferry:schedule", "nightly"),
                ("snapferry:shared-with", VAULT),
                ("snapferry:slot", &slot.to_string()),
            ],
        );
    }
}

/// The last of an item.
fn tags(to: &mut String, tags: &[(&str, &str)]) {
    to.push_str("<tagSet>");
    for (key, value) in tags {
        let _ = write!(to, "<item><key>{key}</key><value>{value}</value></item>");
    }
    to.push_str("</tagSet></item>");
}

/// The page that `NextToken` asks for, of so many items of the whole list.
fn page(
    form: &BTreeMap<String, String>,
    action: &str,
    set: &str,
    n: usize,
    item: impl Fn(usize, &mut String),
) -> String {
    let number = |name: &str| form.get(name).and_then(|it| it.parse::<usize>().ok());
    let from = number("NextToken").unwrap_or(0);
    let end = from.saturating_add(number("MaxResults").unwrap_or(1000)).min(n);
    let mut body = format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId><{set}>"
    );
    for n in from..end {
        item(n, &mut body);
    }
    let _ = write!(body, "</{set}>");
    if end < n {
        let _ = write!(body, "<nextToken>{end}</nextToken>");
    }
    let _ = write!(body, "</{action}Response>");
    body
}

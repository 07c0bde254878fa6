//! Worlds in which one run does everything that the main job does. Several play in one local AWS, in accounts of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{AWAY, EXTERNAL_ID, HOME, ROLE, Stage, TARGETS};
use snapferry_tests::template::POLICIES;

use crate::common::{ec2, element, night, slot};
use crate::killed::outline;

/// Reads the tags of what is shared.
const READER: &str = "snapferry-source-reader";

/// A world before the run, and the function that plays in it.
pub(super) struct Scene<'a> {
    pub(super) stage: &'a Stage,
    pub(super) member: String,
    pub(super) vault: String,
    pub(super) event: Value,
    pub(super) function: Lambda,
    /// Snapshots that the undisturbed run deletes.
    pub(super) doomed: BTreeSet<String>,
    names: BTreeMap<String, String>,
}

/// Which of the two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Rotate,
    Copy,
}

impl Job {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rotate => "rotate-snapshots",
            Self::Copy => "copy-shared-snapshots",
        }
    }
}

impl<'a> Scene<'a> {
    /// A new world in which the function has so much time, in seconds.
    pub(super) fn new(stage: &'a Stage, job: Job, time_out: u32) -> Result<Self> {
        static N: AtomicU64 = AtomicU64::new(1);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let (member, vault) = (format!("3{n:011}"), format!("4{n:011}"));
        stage.deployed_for(&member, &vault);
        let made = match job {
            Job::Rotate => rotation(stage, &member, &vault)?,
            Job::Copy => copies(stage, &member, &vault)?,
        };
        for document in made.documents {
            let parameter = json!({"Name": format!("{POLICIES}{}", document["Name"].as_str().unwrap_or("")),
                                   "Type": "String", "Value": document.to_string()});
            let home = Place { account: &vault, region: HOME };
            stage.aws.json(home, "ssm", "AmazonSSM.PutParameter", &parameter)?;
        }
        let env = vec![("POLICIES", format!("ssm:{POLICIES}"))];
        let place = Place { account: &vault, region: HOME };
        let function = stage.function_at(place, job.name(), env, time_out)?;
        let event = if job == Job::Rotate { night(3) } else { json!({}) };
        Ok(Self { stage, member, vault, event, function, doomed: made.doomed, names: made.names })
    }

    /// Where the function makes and deletes snapshots.
    pub(super) fn at_work(&self, job: Job) -> &str {
        if job == Job::Rotate { &self.member } else { &self.vault }
    }

    /// The fault as it is told to the local AWS: of this world only, in its words.
    pub(super) fn fault(&self, fault: &Value, operations: &[String]) -> Result<Value> {
        let role = |name: &str| format!("arn:aws:iam::{}:role/{name}", self.member);
        let text = fault.to_string().replace("<role>", &role(ROLE));
        let text = text.replace("<reader>", &role(READER)).replace("<vault>", &self.vault);
        let mut fault: Value = serde_json::from_str(&text)?;
        if let Some(fault) = fault.as_object_mut() {
            fault.insert("action".to_owned(), json!(operations));
            fault.insert("account".to_owned(), json!([self.member, self.vault]));
        }
        Ok(fault)
    }

    /// The snapshots of this world.
    pub(super) fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mine = |it: &Snapshot| it.account == self.member || it.account == self.vault;
        Ok(self.stage.aws.snapshots()?.into_iter().filter(mine).collect())
    }

    /// Every snapshot in words that are the same in all worlds.
    pub(super) fn outline(&self) -> Result<Vec<String>> {
        let lines = outline(&self.snapshots()?, &self.names).into_iter();
        let lines = lines.map(|line| line.replace(&self.member, "<member>"));
        let mut lines: Vec<String> =
            lines.map(|line| line.replace(&self.vault, "<vault>")).collect();
        lines.sort();
        Ok(lines)
    }
}

#[derive(Default)]
struct Made {
    documents: Vec<Value>,
    doomed: BTreeSet<String>,
    names: BTreeMap<String, String>,
}

fn role(stage: &Stage, account: &str, vault: &str, name: &str) -> Result<String> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{vault}:root")},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }]});
    stage.create_role(account, name, &trust)?;
    Ok(format!("arn:aws:iam::{account}:role/{name}"))
}

/// A volume and an instance to snapshot; of another volume three snapshots, of which one is too many and the others are
/// to be shared and copied.
fn rotation(stage: &Stage, member: &str, vault: &str) -> Result<Made> {
    let at = |region| Place { account: member, region };
    let target = json!({"RoleArn": role(stage, member, vault, ROLE)?, "ExternalId": EXTERNAL_ID,
                        "Regions": [HOME]});
    let (own, away) = (stage.key(at(HOME))?, stage.key(at(AWAY))?);
    let document = |name: &str, kind: &str, schedule: &Value| {
        json!({"Name": name, "Targets": [target], "PolicyDetails": {
            "ResourceTypes": [kind], "TargetTags": [{"Key": "Backup", "Value": name}],
            "Schedules": [schedule]}})
    };
    let nightly = json!({"Name": "nightly", "CreateRule": {"CronExpression": "cron(0 2 * * ? *)"},
                         "RetainRule": {"Count": 2}});
    // Never due at night: it only has to do with what there is.
    let daily = json!({
        "Name": "daily",
        "CreateRule": {"CronExpression": "cron(0 14 * * ? *)", "StartWindowMinutes": 60},
        "RetainRule": {"Count": 2},
        "ShareRules": [{"TargetAccounts": [vault]}],
        "CrossRegionCopyRules": [{"Target": AWAY, "Encrypted": true, "CmkArn": away,
                                  "RetainRule": {"Count": 2}}],
    });
    let fresh = stage.aws.volumes(at(HOME), 1, &json!({"tags": {"Backup": "fresh"}}))?.remove(0);
    let old = json!({"account": member, "region": HOME, "tags": {"Backup": "old"},
                     "kms_key": own, "snapshots": 3});
    let old = stage.aws.post("seed", &old)?;
    let mut doomed = BTreeSet::new();
    for (id, day) in old["snapshots"].as_array().into_iter().flatten().zip(1..) {
        let slot = format!("2026-02-2{day}T14:00:00Z");
        let tags = json!({"snapferry:policy": "old", "snapferry:schedule": "daily",
                          "snapferry:slot": slot});
        let change = json!({"id": id, "tags": tags, "start_time": slot, "description": slot});
        stage.aws.post("snapshot", &change)?;
        if day == 1 {
            doomed.extend(id.as_str().map(str::to_owned));
        }
    }
    let server = json!({"account": member, "region": HOME, "tags": {"Backup": "server"}});
    let server = stage.aws.post("instances", &server)?["instances"][0].take();
    let mut names = BTreeMap::from([
        (fresh, "<fresh>".to_owned()),
        (own, "<own key>".to_owned()),
        (away, "<away key>".to_owned()),
        (server["id"].as_str().unwrap_or_default().to_owned(), "<server>".to_owned()),
    ]);
    for root in server["volumes"].as_object().into_iter().flat_map(|it| it.values()) {
        names.insert(root.as_str().unwrap_or_default().to_owned(), "<root>".to_owned());
    }
    names.insert(old["volumes"][0].as_str().unwrap_or_default().to_owned(), "<old>".to_owned());
    let documents = vec![
        document("fresh", "VOLUME", &nightly),
        document("server", "INSTANCE", &nightly),
        document("old", "VOLUME", &daily),
    ];
    Ok(Made { documents, doomed, names })
}

/// A plain and an encrypted snapshot to copy to two Regions, and a copy to expire.
fn copies(stage: &Stage, member: &str, vault: &str) -> Result<Made> {
    let aws = &stage.aws;
    let at = Place { account: member, region: HOME };
    let reader = role(stage, member, vault, READER)?;
    let own = stage.key(at)?;
    let mut names = BTreeMap::new();
    let mut rules = Vec::new();
    for region in TARGETS {
        let key = stage.key(Place { account: vault, region })?;
        rules.push(json!({"Target": region, "CopyTags": true,
            "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key},
            "RetainRule": {"Interval": 7, "IntervalUnit": "DAYS"}}));
        names.insert(key, format!("<key in {region}>"));
    }
    let share = |name: &str, day: u8, more: &Value| -> Result<(String, String)> {
        let mut body = json!({"account": member, "region": HOME, "snapshots": 1,
            "description": format!("Created for policy: daily schedule: nightly slot: {}", slot(day)),
            "shared_with": [vault]});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let made = aws.post("seed", &body)?;
        let id = |what: &str| made[what][0].as_str().unwrap_or_default().to_owned();
        let description = format!("{} volume: {name}", body["description"].as_str().unwrap_or(""));
        aws.post("snapshot", &json!({"id": id("snapshots"), "description": description}))?;
        Ok((id("volumes"), id("snapshots")))
    };
    let (plain, of_plain) = share("plain", 2, &json!({}))?;
    let (encrypted, _) = share("encrypted", 2, &json!({"kms_key": own}))?;
    let key = rules[0]["EncryptionConfiguration"]["CmkArn"].as_str().unwrap_or_default().to_owned();
    let expired = copied(stage, member, vault, (&of_plain, &plain, &key), true)?;
    copied(stage, member, vault, (&of_plain, &plain, &key), false)?;
    names.extend([(plain, "<plain>".to_owned()), (encrypted, "<encrypted>".to_owned())]);
    names.insert(own, "<own key>".to_owned());
    let document = json!({"Name": "vault",
        "Targets": [{"RoleArn": reader, "ExternalId": EXTERNAL_ID}],
        "PolicyDetails": {"PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [member],
                "DescriptionRegex": "Created for policy: daily ", "SourceRegions": [HOME]}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": rules}]}});
    Ok(Made { documents: vec![document], doomed: BTreeSet::from([expired]), names })
}

/// A copy in the first target Region, as the function made it at the time. An old one is of a source that is gone.
fn copied(
    stage: &Stage,
    member: &str,
    vault: &str,
    (source, volume, key): (&str, &str, &str),
    old: bool,
) -> Result<String> {
    let region = TARGETS[0];
    let (of, slot) = if old { ("snap-00000001", slot(1)) } else { (source, slot(2)) };
    let tags = [
        ("snapferry:policy", "vault"),
        ("snapferry:rule", region),
        ("snapferry:source-snapshot", of),
        ("snapferry:source-account", member),
        ("snapferry:source-region", HOME),
        ("snapferry:source-volume", volume),
        ("snapferry:slot", &slot),
        ("snapferry:expires-at", if old { "2020-01-01T00:00:00Z" } else { "2099-01-01T00:00:00Z" }),
    ];
    let mut form: Vec<(String, &str)> = [
        ("Action", "CopySnapshot"),
        ("SourceRegion", HOME),
        ("SourceSnapshotId", source),
        ("Encrypted", "true"),
        ("KmsKeyId", key),
        ("TagSpecification.1.ResourceType", "snapshot"),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for ((key, value), n) in tags.into_iter().zip(1..) {
        form.push((format!("TagSpecification.1.Tag.{n}.Key"), key));
        form.push((format!("TagSpecification.1.Tag.{n}.Value"), value));
    }
    let form: Vec<(&str, &str)> = form.iter().map(|(name, it)| (name.as_str(), *it)).collect();
    let made = ec2(&stage.aws, Place { account: vault, region }, &form)?;
    let id = element(&made, "snapshotId").to_owned();
    let start = if old { "2026-01-01T00:00:00Z" } else { "2026-03-02T03:00:00Z" };
    stage.aws.post("snapshot", &json!({"id": id, "start_time": start}))?;
    Ok(id)
}

//! `cargo run --example plan`: every snapshot has its line, and every published policy plans or is told off.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::machine::{self, project};

const NOW: &str = "2026-11-22T03:05:00Z";

/// The example as cargo builds it, for a whole workspace like ours, beside the functions.
fn example() -> Result<PathBuf> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    if !BUILT.get_or_init(|| machine::build(&["--workspace", "--examples"]).is_ok()) {
        return Err("the example does not build, see above".into());
    }
    let folder = machine::Machine::folder()?;
    Ok(folder.join("examples").join(format!("plan{}", std::env::consts::EXE_SUFFIX)))
}

fn explain(policy: &Path, inventory: &Path) -> Result<Output> {
    // Scripts do not run later than an hour after their time.
    let has_scripts = std::fs::read_to_string(policy)?.contains("\"Scripts\"");
    let now = if has_scripts { "2026-11-22T02:30:00Z" } else { NOW };
    Ok(Command::new(example()?).arg(policy).arg(inventory).arg(now).output()?)
}

/// Compares with a file, or, with `SNAPFERRY_UPDATE` set, writes it.
#[expect(clippy::disallowed_methods, reason = "a tool's switch, no decision depends on it")]
fn is_golden(name: &str, found: &str) -> Result<()> {
    let path = project().join("tests/fixtures/plan").join(name);
    if std::env::var("SNAPFERRY_UPDATE").is_ok() {
        std::fs::write(&path, found)?;
    }
    let wanted = std::fs::read_to_string(&path)?;
    assert_eq!(found, wanted, "{} is not current: SNAPFERRY_UPDATE=1 writes it", path.display());
    Ok(())
}

fn every_snapshot_is_explained(name: &str, golden: &str) -> Result<()> {
    let folder = project().join("tests/fixtures/plan");
    let file = |end: &str| folder.join(format!("{name}{end}.json"));
    let output = explain(&file("policies"), &file("inventory"))?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inventory: Value = serde_json::from_str(&std::fs::read_to_string(file("inventory"))?)?;
    for seen in inventory["Regions"].as_object().ok_or("no Regions")?.values() {
        for snapshot in seen["Snapshots"].as_array().ok_or("no snapshots")? {
            let id = snapshot["SnapshotId"].as_str().ok_or("no id")?;
            let line = text.lines().find(|line| line.trim_start().starts_with(id));
            let words = line.unwrap_or_default().split_whitespace().count();
            assert!(words > 3, "{id} has no reason in:\n{text}");
        }
    }
    is_golden(golden, &text)
}

#[test]
fn every_snapshot_has_its_reason() -> Result<()> {
    every_snapshot_is_explained("", "plan.txt")
}

/// Copied, being copied, waiting and for what, not wanted and why; and the copies, failed and unfinished ones too.
#[test]
fn every_shared_snapshot_and_every_copy_has_its_reason() -> Result<()> {
    every_snapshot_is_explained("vault-", "vault-plan.txt")
}

/// What a document says of `member`, wherever.
fn find<'a>(document: &'a Value, member: &str) -> Option<&'a Value> {
    match document {
        Value::Object(members) => {
            members.get(member).or_else(|| members.values().find_map(|it| find(it, member)))
        }
        Value::Array(elements) => elements.iter().find_map(|it| find(it, member)),
        _ => None,
    }
}

/// A volume and an instance with the policy's first tag, and a snapshot that its first `SnapshotOwner` shares.
fn world_for(policy: &Value) -> Value {
    let tags = json!([find(policy, "TargetTags").map_or(&Value::Null, |tags| &tags[0])]);
    let tags = if tags[0].is_null() { json!([]) } else { tags };
    let owner = find(policy, "SnapshotOwner").map_or(json!("111122223333"), |it| it[0].clone());
    let pattern = find(policy, "DescriptionRegex").and_then(Value::as_str).unwrap_or_default();
    let volume = |n: u8, tags: &Value| {
        json!({"VolumeId": format!("vol-0000000{n}"), "State": "in-use", "VolumeType": "gp3",
               "CreateTime": "2026-01-01T00:00:00Z", "Tags": tags})
    };
    let role = find(policy, "ExecutionRoleArn").and_then(Value::as_str);
    let account = role.and_then(|role| role.split(':').nth(4)).unwrap_or("333333333333");
    json!({
        "Account": account,
        "Region": "us-east-2",
        "Volumes": [volume(1, &tags), volume(2, &json!([])), volume(3, &json!([]))],
        "Reservations": [{"Instances": [{
            "InstanceId": "i-00000001", "State": {"Name": "running"}, "InstanceType": "m7i.large",
            "IamInstanceProfile": {"Arn": format!("arn:aws:iam::{account}:instance-profile/windows")},
            "RootDeviceName": "/dev/xvda",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-00000002"}},
                {"DeviceName": "/dev/sdf", "Ebs": {"VolumeId": "vol-00000003"}}
            ],
            "Tags": tags
        }]}],
        "InstanceInformationList": [{
            "InstanceId": "i-00000001", "PingStatus": "Online", "PlatformType": "Windows",
        }],
        "Snapshots": [{
            "SnapshotId": "snap-00000009", "VolumeId": "vol-00000009", "OwnerId": owner,
            "State": "completed", "StartTime": "2026-11-22T02:00:07Z",
            // The published patterns have nothing but these at their ends.
            "Description": pattern.replace(".*", "").replace(['^', '$'], "")
        }]
    })
}

#[test]
fn every_published_policy_plans_or_is_refused_for_its_own_reason() -> Result<()> {
    let folder = project().join("tests/fixtures/dlm-policies");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let is_policy = |path: &&PathBuf| path.extension().is_some_and(|it| it == "json");
    let mut told = String::new();
    for file in files.iter().filter(is_policy) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let policy: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let inventory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&*name);
        std::fs::write(&inventory, world_for(&policy).to_string())?;
        let output = explain(file, &inventory)?;
        if output.status.success() {
            let text = String::from_utf8(output.stdout)?;
            assert!(!text.contains("refuses the plan"), "{name}: {text}");
            writeln!(told, "{name}:")?;
            // What is about a snapshot that exists stands behind its id and start.
            let acts = |line: &&str| {
                let mut words = line.split_whitespace();
                words.any(|word| ["create", "copy", "command"].contains(&word))
                    && ["create ", "copy ", "command ", "snap-"]
                        .iter()
                        .any(|it| line.trim_start().starts_with(it))
            };
            let lines: Vec<&str> = text.lines().filter(acts).collect();
            assert!(!lines.is_empty(), "{name} does nothing:\n{text}");
            for line in lines {
                writeln!(told, "{line}")?;
            }
        } else {
            let why = String::from_utf8(output.stderr)?;
            let why: Vec<&str> = why.lines().skip(1).map(str::trim).collect();
            assert!(!why.is_empty(), "{name} is refused without a reason");
            writeln!(told, "{name}: refused")?;
            for line in why {
                writeln!(told, "  {line}")?;
            }
        }
    }
    is_golden("published.txt", &told)
}

//! `cargo demo`: the main job, for real, on this machine: both built functions against a local AWS.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::{Answer, Lambda};
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{
    AWAY, EXTERNAL_ID, HOME, MEMBERS, Stage, TARGETS, VAULT, role_arn, targets, vault,
};

const COLUMNS: [&str; 6] = ["created", "shared", "copied", "rotated", "expired", "left"];

/// Days of schedule that are played.
const DAYS: i64 = 5;
/// Generations that the members keep.
const KEPT: i64 = 3;
/// Days that the vault keeps its copies.
const COPIES_KEPT_DAYS: i64 = 7;

fn main() {
    let keep = std::env::args().any(|argument| argument == "--keep");
    if let Err(err) = demo(keep) {
        eprintln!("the demo failed: {err}");
        std::process::exit(1);
    }
}

fn demo(keep: bool) -> Result<()> {
    let began = Instant::now();
    step("preparing: virtual environment, functions (the first time takes minutes)");
    let stage = Stage::new("demo")?;
    step("local AWS is up: two member accounts, one vault account");
    let volumes = make_volumes(&stage)?;
    let keys = [TARGETS[0], TARGETS[1]].map(|region| stage.key(Place { account: VAULT, region }));
    let [first_key, second_key] = keys;
    let rotate = stage.function("rotate-snapshots", &daily())?;
    let copy = stage.function("copy-shared-snapshots", &vault_policy(&first_key?, &second_key?))?;
    stage.deliver_events_to(&[&copy])?;
    step("both functions run under AWS's Runtime Interface Emulator, as built");
    stage.aws.clear("calls")?;

    let refused = play_days(&stage, &rotate)?;
    let before = stage.aws.snapshots()?;
    step(&format!("a week passes: everything is made {} days older", COPIES_KEPT_DAYS + 1));
    stage.aws.post("age", &json!({"days": COPIES_KEPT_DAYS + 1}))?;
    step("sweep in the vault: what has expired goes, the last good copy of every volume stays");
    let swept = copy.invoke(&json!({}))?.report()?;
    let after = stage.aws.snapshots()?;

    print_table(&stage, &volumes, &after)?;
    print_refused(&refused);
    print_examples(&before, &after, &swept);
    println!("\nDone in {:.0} s.", began.elapsed().as_secs_f32());
    look_further(&stage, &rotate, &copy, keep);
    Ok(())
}

fn step(text: &str) {
    eprintln!("· {text}");
}

/// Volumes plain, under a customer managed key, and under the default key; by place.
fn make_volumes(stage: &Stage) -> Result<BTreeMap<(String, String), usize>> {
    let mut volumes = BTreeMap::new();
    for (account, region) in [(MEMBERS[0], HOME), (MEMBERS[0], AWAY), (MEMBERS[1], HOME)] {
        let place = Place { account, region };
        let key = stage.key(place)?;
        let mut kinds = vec![("web", Value::Null), ("database", json!(key))];
        if place == (Place { account: MEMBERS[1], region: HOME }) {
            kinds.push(("legacy", json!("alias/aws/ebs")));
        }
        for (name, key) in &kinds {
            let tags = json!({"Backup": "daily", "Name": name, "Team": "shop"});
            stage.aws.volumes(place, 1, &json!({"tags": tags, "kms_key": key}))?;
        }
        stage.aws.volumes(place, 1, &json!({"tags": {"Name": "scratch"}}))?;
        volumes.insert((account.to_owned(), region.to_owned()), kinds.len());
    }
    Ok(volumes)
}

/// Plain DLM but for `Name` and `Targets`.
fn daily() -> Value {
    json!({
        "Name": "daily",
        "Targets": targets(&[HOME, AWAY]),
        "PolicyDetails": {
            "ResourceTypes": ["VOLUME"],
            "TargetTags": [{"Key": "Backup", "Value": "daily"}],
            "Schedules": [{
                "Name": "nightly",
                "CreateRule": {"CronExpression": "cron(0 2 * * ? *)"},
                "RetainRule": {"Count": KEPT},
                "CopyTags": true,
                "ShareRules": [{"TargetAccounts": [VAULT]}],
            }],
        },
    })
}

/// DLM's event policy as it is.
fn vault_policy(first_key: &str, second_key: &str) -> Value {
    let copy_to = |region: &str, key: &str| {
        json!({
            "Target": region,
            "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key},
            "RetainRule": {"Interval": COPIES_KEPT_DAYS, "IntervalUnit": "DAYS"},
        })
    };
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot",
                "SnapshotOwner": MEMBERS,
                "DescriptionRegex": "^Created for policy: daily .*$",
                "SourceRegions": [HOME, AWAY],
            }},
            "Actions": [{"Name": "copy", "CrossRegionCopy": [
                copy_to(TARGETS[0], first_key), copy_to(TARGETS[1], second_key),
            ]}],
        },
    })
}

/// The schedule, day by day. The scheduled time comes with the event, so that it need not be waited for. Returns what
/// the function had to complain about.
fn play_days(stage: &Stage, rotate: &Lambda) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the demo plays the days before today")]
    let today = Timestamp::now().as_second().div_euclid(86_400) * 86_400;
    let mut refused = String::new();
    for day in 0..DAYS {
        let midnight = Timestamp::from_second(today - (DAYS - day) * 86_400)?;
        for (minute, what) in [(5, "snapshots"), (20, "shares what is completed, rotates")] {
            let at = midnight + SignedDuration::from_mins(120 + minute);
            step(&format!("{} schedule event: rotate-snapshots {what}", at.strftime("%F %H:%M")));
            if let Answer::Error { error_type, message } =
                rotate.invoke(&json!({"ScheduledTime": at.to_string()}))?
            {
                refused = format!("{error_type}: {message}");
            }
            stage.aws.settle()?; // snapshots complete; share events reach the vault's function, copies complete
        }
    }
    let deliveries = stage.aws.get("deliveries")?;
    let n = deliveries.get("deliveries").and_then(Value::as_array).map_or(0, Vec::len);
    step(&format!("{n} shareSnapshot events reached copy-shared-snapshots in the vault account"));
    Ok(refused)
}

fn print_table(
    stage: &Stage,
    volumes: &BTreeMap<(String, String), usize>,
    snapshots: &[Snapshot],
) -> Result<()> {
    let mut rows: BTreeMap<(String, String), BTreeMap<&str, usize>> = BTreeMap::new();
    for call in stage.aws.calls()?.into_iter().filter(|call| call.succeeded) {
        let column = match call.action.as_str() {
            "CreateSnapshot" => "created",
            "ModifySnapshotAttribute" => "shared",
            "CopySnapshot" => "copied",
            "DeleteSnapshot" if call.account == VAULT => "expired",
            "DeleteSnapshot" => "rotated",
            _ => continue,
        };
        *rows.entry((call.account, call.region)).or_default().entry(column).or_default() += 1;
    }
    for snapshot in snapshots {
        let place = (snapshot.account.clone(), snapshot.region.clone());
        *rows.entry(place).or_default().entry("left").or_default() += 1;
    }
    print!("\n{:<22} {:<13} {:>7}", "account", "Region", "volumes");
    for name in COLUMNS {
        print!(" {name:>8}");
    }
    println!();
    for ((account, region), counts) in rows {
        let role = if account == VAULT { "vault" } else { "member" };
        let n = volumes.get(&(account.clone(), region.clone()));
        let n = n.map_or_else(|| "·".to_owned(), ToString::to_string);
        print!("{:<22} {region:<13} {n:>7}", format!("{account} {role}"));
        for name in COLUMNS {
            let n = counts.get(name).map_or_else(|| "·".to_owned(), ToString::to_string);
            print!(" {n:>8}");
        }
        println!();
    }
    println!(
        "\n{DAYS} nights: every volume tagged Backup=daily was snapshotted once a night in its own account, \
         shared\nwith the vault account, and copied from there into two Regions under the vault's own keys. \
         Members keep\nthe newest {KEPT} (older ones are rotated), the vault {COPIES_KEPT_DAYS} days (then they expire), and the \
         last good copy\nof a volume for ever."
    );
    Ok(())
}

fn print_refused(refused: &str) {
    println!(
        "\nOne volume cannot be shared, on purpose here; its owner hears this from every run, and the rest is done:"
    );
    let mut line = String::from(" ");
    for word in refused.split(' ') {
        if line.len() + word.len() > 108 {
            println!("{line}");
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(word);
    }
    println!("{line}");
}

fn print_examples(before: &[Snapshot], after: &[Snapshot], swept: &Value) {
    let copies: Vec<&Snapshot> = after.iter().filter(|it| it.copied).collect();
    let gone = before.iter().filter(|it| it.copied).count() - copies.len();
    println!(
        "\nAfter the sweep {gone} expired copies are gone, {} are left. One of them (its times are as\nmuch earlier as the world was made older):",
        copies.len()
    );
    if let Some(copy) = copies.first() {
        let held = swept.get("Held").and_then(Value::as_array).into_iter().flatten();
        let of_copy = |it: &&Value| it.get("SnapshotId").and_then(Value::as_str) == Some(&copy.id);
        let why = held.filter(of_copy).find_map(|it| it.get("Reason")?.as_str());
        println!("  {} in {}/{}", copy.id, copy.account, copy.region);
        println!("  under {}", copy.key.as_deref().unwrap_or("no key"));
        for (key, value) in copy.tags.as_object().into_iter().flatten() {
            println!("  {key:<28} {}", value.as_str().unwrap_or_default());
        }
        println!("  and why it stays: {}", why.unwrap_or("not expired"));
    }
}

fn look_further(stage: &Stage, rotate: &Lambda, copy: &Lambda, keep: bool) {
    println!(
        "\nLook further: what the functions logged is in\n  {}\n  {}",
        rotate.log.display(),
        copy.log.display()
    );
    if !keep {
        println!(
            "`cargo demo --keep` leaves the local AWS running, for the AWS CLI; README.md tells the rest."
        );
        return;
    }
    let Place { account, region } = vault();
    let invoke = "2015-03-31/functions/function/invocations";
    println!(
        "\nThe local AWS runs until you press Enter. The vault's copies, in another terminal (the access key id is \
         the account):\n  \
         export AWS_ENDPOINT_URL={} AWS_SECRET_ACCESS_KEY=x AWS_ACCESS_KEY_ID={account} AWS_REGION={}\n  \
         aws ec2 describe-snapshots --owner-ids self\n\
         Both functions run in {account}/{region}; what they would do now, one event at a time:\n  \
         rotate-snapshots       curl -d '{{\"DryRun\": true}}' {}/{invoke}\n  \
         copy-shared-snapshots  curl -d '{{\"DryRun\": true}}' {}/{invoke}\n\
         For a policy of your own, in an event's \"Policies\", the target is\n  \
         {{\"RoleArn\": \"{}\", \"ExternalId\": \"{EXTERNAL_ID}\"}}",
        stage.aws.url,
        TARGETS[0],
        rotate.url,
        copy.url,
        role_arn(MEMBERS[0])
    );
    let _ = std::io::stdin().read_line(&mut String::new());
}

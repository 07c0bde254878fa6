//! The document of `pre-post-script.yaml`: what its script does, with commands that stand in for those of the system, and
//! that the published policy runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::machine::Machine;
use snapferry_tests::stage::Stage;

use crate::common::{MEMBER, for_member, night, run};
use crate::deployed::published;
use crate::instances::instance;

const TEMPLATE: &str = "functions/rotate-snapshots/pre-post-script.yaml";
/// Where the script keeps what it knows.
const STATE: &str = "/run/snapferry-pre-post-script";

/// A frozen file system is a file in `frozen`; `hindrances` has files that make a command fail or wait.
const FSFREEZE: &str = r#"#!/bin/sh
name=$(echo "$2" | tr / _)
echo "$1 $2" >>"$HERE/log"
case $1 in
--freeze)
  [ ! -e "$HERE/hindrances/freeze$name" ] || { echo "fsfreeze: $2: freeze failed: Device or resource busy" >&2; exit 1; }
  touch "$HERE/frozen/$name"
  [ ! -e "$HERE/hindrances/slow$name" ] || sleep 60
  ;;
--unfreeze)
  [ ! -e "$HERE/hindrances/thaw$name" ] || { echo "fsfreeze: $2: unfreeze failed: Input/output error" >&2; exit 1; }
  rm "$HERE/frozen/$name" 2>/dev/null || { echo "fsfreeze: $2: unfreeze failed: Invalid argument" >&2; exit 1; }
  ;;
esac
"#;
const MOUNTPOINT: &str = "#!/bin/sh\n[ ! -e \"$HERE/hindrances/mount$(echo \"$2\" | tr / _)\" ]\n";
/// `stat -c %d <path>`: every mount point is a device of its own, the rest is that of the root.
const STAT: &str = "#!/bin/sh\ncase $3 in\n/data|/logs) [ -e \"$HERE/hindrances/own\" ] && echo 1 || echo \"$3\" ;;\n*) echo 1 ;;\nesac\n";

/// A machine with the file systems /data and /logs.
struct Host {
    folder: PathBuf,
    script: String,
}

impl Host {
    fn new(name: &str, thaw_seconds: u8) -> Result<Self> {
        let stage = Stage::new(name)?;
        let folder = Machine::folder()?.join("pre-post-script").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        for each in ["bin", "frozen", "hindrances"] {
            fs::create_dir_all(folder.join(each))?;
        }
        for (command, text) in [("fsfreeze", FSFREEZE), ("mountpoint", MOUNTPOINT), ("stat", STAT)]
        {
            let path = folder.join("bin").join(command);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let content = content(&stage, &[("ThawSeconds", json!(thaw_seconds.to_string()))])?;
        let lines = content["mainSteps"][0]["inputs"]["runCommand"].as_array();
        let lines = lines.into_iter().flatten().filter_map(Value::as_str);
        let script = lines.collect::<Vec<_>>().join("\n");
        assert!(script.contains(STATE), "it keeps what it knows elsewhere: {script}");
        let here = folder.join("state").display().to_string();
        Ok(Self { script: script.replace(STATE, &here), folder })
    }

    /// As the agent does it: a file, and a shell.
    fn command(&self, name: &str) -> Result<Command> {
        let text = self.script.replace("{{ command }}", name);
        let text = text.replace("{{ executionId }}", "None");
        assert!(!text.contains("{{"), "a parameter that nobody gives: {text}");
        let path = self.folder.join("_script.sh");
        fs::write(&path, text)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "PATH=\"$HERE/bin:$PATH\" exec sh \"$1\"", "sh"])
            .arg(path)
            .env("HERE", &self.folder)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Its exit code.
    fn run(&self, name: &str) -> Result<i32> {
        let output = self.command(name)?.output()?;
        println!("{name}: {output:?}");
        Ok(output.status.code().unwrap_or(-1))
    }

    fn frozen(&self) -> Result<Vec<String>> {
        let names = fs::read_dir(self.folder.join("frozen"))?;
        let names: std::io::Result<Vec<_>> = names.map(|it| Ok(it?.file_name())).collect();
        let mut names: Vec<_> =
            names?.into_iter().map(|it| it.to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn hinder(&self, what: &str) -> Result<()> {
        Ok(fs::write(self.folder.join("hindrances").join(what), "")?)
    }

    fn mend(&self, what: &str) -> Result<()> {
        Ok(fs::remove_file(self.folder.join("hindrances").join(what))?)
    }

    /// Until so many are frozen; answers whether they were before the time was over.
    fn wait_for(&self, frozen: usize) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if self.frozen()?.len() == frozen {
                return Ok(true);
            }
            pause(Duration::from_millis(20));
        }
        Ok(false)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "time has to pass for the script, which reads no other clock"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

const BOTH: [&str; 2] = ["_data", "_logs"];
const NONE: [&str; 0] = [];

/// The document, with /data and /logs.
fn content(stage: &Stage, more: &[(&str, Value)]) -> Result<Value> {
    let given = [
        ("MountPoints", json!(["/data", "/logs"])),
        ("TimeoutSeconds", json!("30")),
        ("ThawSeconds", json!("60")),
    ];
    let template = stage.template(TEMPLATE, &[&given, more].concat())?;
    Ok(template.resource("PrePostScript")?["Content"].clone())
}

#[test]
fn file_systems_are_frozen_until_the_post_script() -> Result<()> {
    let host = Host::new("pre-post", 20)?;
    assert_eq!((host.run("dry-run")?, host.run("post-script")?), (0, 205));
    assert_eq!((host.run("pre-script")?, host.frozen()?), (0, BOTH.map(String::from).into()));
    assert_eq!(host.run("pre-script")?, 204, "frozen already");
    assert_eq!(host.frozen()?, BOTH);
    assert_eq!((host.run("post-script")?, host.frozen()?), (0, Vec::new()));
    assert_eq!(host.run("post-script")?, 205, "thawed already");
    let log = fs::read_to_string(host.folder.join("log"))?;
    let calls = ["--freeze /data", "--freeze /logs", "--unfreeze /data", "--unfreeze /logs"];
    assert_eq!(log.lines().collect::<Vec<_>>(), calls);
    Ok(())
}

#[test]
fn what_thaws_by_itself_leaves_alone_what_is_frozen_later() -> Result<()> {
    let host = Host::new("two-nights", 6)?;
    assert_eq!(host.run("pre-script")?, 0);
    pause(Duration::from_secs(3));
    assert_eq!((host.run("post-script")?, host.run("pre-script")?), (0, 0));
    pause(Duration::from_millis(4500)); // the first one is over, the second is not
    assert_eq!(host.frozen()?, BOTH);
    assert_eq!(host.run("post-script")?, 0);
    Ok(())
}

#[test]
fn what_cannot_be_frozen_leaves_nothing_frozen() -> Result<()> {
    let host = Host::new("pre-fails", 20)?;
    host.hinder("freeze_logs")?;
    assert_eq!(host.run("pre-script")?, 201);
    assert_eq!(host.frozen()?, NONE);
    assert_eq!(host.run("post-script")?, 205);
    let log = fs::read_to_string(host.folder.join("log"))?;
    assert!(!log.contains("--unfreeze /logs"), "somebody else has frozen it: {log}");
    host.mend("freeze_logs")?;
    for hindrance in ["mount_logs", "own"] {
        host.hinder(hindrance)?;
        assert_eq!((host.run("dry-run")?, host.run("pre-script")?), (206, 206), "{hindrance}");
        assert_eq!(host.frozen()?, NONE);
        host.mend(hindrance)?;
    }
    assert_eq!((host.run("pre-script")?, host.run("post-script")?), (0, 0));
    Ok(())
}

#[test]
fn without_a_post_script_they_thaw_themselves() -> Result<()> {
    let host = Host::new("auto-thaw", 3)?;
    assert_eq!(host.run("pre-script")?, 0);
    assert!(host.wait_for(0)?);
    assert_eq!((host.run("post-script")?, host.run("post-script")?), (203, 205), "told once");
    assert_eq!(host.run("pre-script")?, 0);
    assert!(host.wait_for(0)?);
    assert_eq!((host.run("pre-script")?, host.frozen()?.len()), (0, 2), "nobody came meanwhile");
    // The agent ends a script that takes too long, and everything that it has begun.
    assert_eq!(host.run("post-script")?, 0);
    host.hinder("slow_logs")?;
    let mut slow = host.command("pre-script")?.process_group(0).spawn()?;
    assert!(host.wait_for(2)?);
    let group = format!("-{}", slow.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status()?.success());
    slow.wait()?;
    assert!(host.wait_for(0)?);
    assert_eq!(host.run("post-script")?, 203);
    Ok(())
}

#[test]
fn what_cannot_be_thawed_is_tried_again() -> Result<()> {
    let host = Host::new("post-fails", 20)?;
    assert_eq!(host.run("pre-script")?, 0);
    host.hinder("thaw_logs")?;
    assert_eq!((host.run("post-script")?, host.run("post-script")?), (202, 202));
    assert_eq!((host.run("pre-script")?, host.frozen()?), (204, vec!["_logs".to_owned()]));
    host.mend("thaw_logs")?;
    assert_eq!((host.run("post-script")?, host.frozen()?), (0, Vec::new()));
    Ok(())
}

#[test]
fn the_published_policy_runs_it() -> Result<()> {
    let stage = Stage::new("pre-post-policy")?;
    let mut policy = published("scripts")?;
    policy["Targets"] = for_member("", &json!({}))["Targets"].clone();
    let script = &policy["PolicyDetails"]["Schedules"][0]["CreateRule"]["Scripts"][0];
    let name = script["ExecutionHandler"].as_str().ok_or("no document")?;
    let template = stage.template(
        TEMPLATE,
        &[("PrePostScript", json!(name)), ("AWS::AccountId", json!(MEMBER.account))],
    )?;
    assert_eq!(template.parameter("DocumentName")?, name, "the name that the template gives it");
    assert_eq!(template.parameter("TimeoutSeconds")?, script["ExecutionTimeout"]);
    stage.deployed_with([("ScriptDocumentArns", json!([template.output("DocumentArn")?]))]);
    stage.document(MEMBER, name, &content(&stage, &[])?)?;
    let tag = &policy["PolicyDetails"]["TargetTags"][0];
    let tags = json!({tag["Key"].as_str().ok_or("no key")?: tag["Value"]});
    let database = instance(&stage, &tags, &json!([{}, {}]))?;
    stage.agent(MEMBER, &database.id, &json!({}))?;
    let rotate = stage.function("rotate-snapshots", &policy)?;
    run(&stage, &rotate, &night(1))?;
    let made = stage.aws.snapshots()?;
    assert_eq!(made.len(), 2, "without the boot volume: {made:?}");
    assert!(made.iter().all(|it| it.frozen == Some(true)), "{made:?}");
    assert!(made.iter().all(|it| it.tag("snapferry:app-consistent") == "true"), "{made:?}");
    let agents = stage.agents()?;
    assert_eq!((&agents[0]["freezes"], &agents[0]["thaws"]), (&json!(1), &json!(1)));
    Ok(())
}

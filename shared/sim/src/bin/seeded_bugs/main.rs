//! `cargo seeded-bugs`: puts known bugs into a copy of the sources, and shows that the suites notice every one of them.
//!
//! All bugs are built at once, each behind a switch, so that there is one build for all of them. Each is then switched on
//! by itself; what deletes too much is tried once more with the auditor switched off, so that the judge has to notice.
//!
//! `cargo seeded-bugs [--only TEXT]`: those that the simulator has to notice. `cargo seeded-bugs --units [--only TEXT]`:
//! those that unit tests have to notice, in a copy of everything, in the build that `cargo test` makes of the AWS SDK.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use table::{AUDIT_OFF, BUGS, Bug, Suite};

mod table;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// So many stories a bug may hide from.
const SEEDS: &str = "400";

/// The switch, a module of the copies.
const SWITCH: &str = "//! Which bugs are switched on.

/// Whether this one is.
pub fn is(name: &str) -> bool {
    static ON: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let on = ON.get_or_init(|| {
        let names = std::env::var(\"SNAPFERRY_BUGS\").unwrap_or_default();
        names.split('+').map(str::to_owned).collect()
    });
    on.iter().any(|it| it == name)
}
";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of_units = arguments.iter().any(|it| it == "--units");
    let only = arguments.iter().position(|it| it == "--only").and_then(|at| arguments.get(at + 1));
    let wanted: Vec<&Bug> = BUGS
        .iter()
        .filter(|bug| (bug.suite == Suite::Units) == of_units)
        .filter(|bug| only.is_none_or(|text| bug.name.contains(text.as_str())))
        .collect();
    let begun = Instant::now();
    let copy = Copy::make(of_units)?;
    let mut all_noticed = true;
    let mut n = 0;
    for bug in wanted {
        let mut tries = vec![vec![bug.name]];
        if bug.suite == Suite::Years {
            tries.push(vec![bug.name, AUDIT_OFF.name]);
        }
        for names in tries {
            n += 1;
            let audit = if names.len() > 1 { "off" } else { "on" };
            let noticed = copy.notices(bug.suite, &names.join("+"))?;
            // With the auditor on, what it stops harms nobody; off, a bug may turn out to be harmless.
            all_noticed &= noticed.is_some();
            let how = noticed.as_deref().unwrap_or("NOT NOTICED");
            let mistake =
                if bug.mistake == 0 { String::new() } else { format!("4.8/{}", bug.mistake) };
            println!("{:<38} {mistake:<7} audit {audit:<4} {how:.150}", bug.name);
        }
    }
    let end = if all_noticed { "every one was noticed" } else { "NOT every one was noticed" };
    println!("\n{n} tries: {end}; {} s", begun.elapsed().as_secs());
    Ok(all_noticed)
}

/// The copy, built.
struct Copy {
    top: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn make(of_units: bool) -> Result<Self> {
        let project = project()?;
        let name = if of_units { "seeded-units" } else { "seeded" };
        let top = project.join("target").join(name);
        let folders: &[&str] = if of_units {
            &["events", "functions", "shared", "tests"]
        } else {
            &["shared/core", "shared/sim"]
        };
        for folder in ["events", "functions", "shared", "tests"] {
            let _ = fs::remove_dir_all(top.join(folder));
        }
        for folder in folders {
            copy_folder(&project.join(folder), &top.join(folder))?;
        }
        let all = ["functions/*", "shared/*", "tests", "tests/fuzz", "tests/hello"];
        let quoted: Vec<String> = if of_units { &all[..] } else { folders }
            .iter()
            .map(|it| format!("\"{it}\""))
            .collect();
        let manifest = fs::read_to_string(project.join("Cargo.toml"))?;
        let from = manifest.find("members = [").ok_or("no members")?;
        let to = from + manifest.get(from..).and_then(|it| it.find(']')).ok_or("no members")?;
        let mut ours = manifest.clone();
        ours.replace_range(from..=to, &format!("members = [{}]", quoted.join(", ")));
        let kept = ours.lines().filter(|line| !line.starts_with("exclude"));
        let ours = kept.collect::<Vec<_>>().join("\n");
        fs::write(top.join("Cargo.toml"), other_version(&ours, "[workspace.package]")?)?;
        let mut lock = fs::read_to_string(project.join("Cargo.lock"))?;
        for name in members(project)? {
            lock = other_version(&lock, &format!("name = \"{name}\""))?;
        }
        fs::write(top.join("Cargo.lock"), lock)?;
        for file in ["template.yaml", "samconfig.toml", "README.md"] {
            fs::copy(project.join(file), top.join(file))?;
        }
        for bug in BUGS.iter().chain([&AUDIT_OFF]) {
            if (bug.suite == Suite::Units) == of_units {
                bug.put_into(&top)?;
            }
        }
        for member in ["shared/core", "shared/aws"] {
            if !top.join(member).is_dir() {
                continue;
            }
            fs::write(top.join(member).join("src/seeded.rs"), SWITCH)?;
            let lib = top.join(member).join("src/lib.rs");
            let text = fs::read_to_string(&lib)?;
            fs::write(lib, format!("{text}\npub mod seeded;\n"))?;
        }
        // Unit tests share the build of the SDK; the simulator's have a small build of their own.
        let target = if of_units { project.join("target") } else { top.join("target") };
        let copy = Self { top, target };
        let build: &[&str] = if of_units {
            &["test", "--workspace", "--lib", "--no-run"]
        } else {
            &[
                "test",
                "--profile",
                "sim",
                "-p",
                "snapferry-sim",
                "--bin",
                "sim",
                "--test",
                "reconcile",
                "--no-run",
            ]
        };
        copy.cargo(build)?;
        if !of_units {
            copy.cargo(&["build", "--profile", "sim", "-p", "snapferry-sim", "--bin", "sim"])?;
        }
        Ok(copy)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.top).args(arguments).arg("--quiet").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status()?;
        if status.success() { Ok(()) } else { Err("the copy does not build, see above".into()) }
    }

    /// What a suite says with these bugs switched on; `None`: nothing.
    fn notices(&self, suite: Suite, bugs: &str) -> Result<Option<String>> {
        let mut command = match suite {
            Suite::Years => {
                let for_target = std::env::var_os("CARGO_BUILD_TARGET").unwrap_or_default();
                let sim = self.target.join(for_target).join("sim/sim");
                let mut command = Command::new(sim);
                command.args(["--seeds", SEEDS, "--first"]);
                command
            }
            Suite::Reconcile(names) => {
                let mut command = self.command(&[
                    "test",
                    "--profile",
                    "sim",
                    "-p",
                    "snapferry-sim",
                    "--test",
                    "reconcile",
                ]);
                command.args(["--", names]);
                command
            }
            Suite::Units => self.command(&["test", "--workspace", "--lib"]),
        };
        let output = command.env("SNAPFERRY_BUGS", bugs).stderr(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let telling = |line: &&str| {
            line.starts_with("seed ") || line.ends_with("FAILED") || line.starts_with("    ")
        };
        let line = text.lines().find(telling).unwrap_or("it ended in an error").trim();
        Ok(Some(line.to_owned()))
    }
}

/// The top of the project.
fn project() -> Result<&'static Path> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no project")?)
}

impl Bug {
    /// The text of its file, in which its place is found once.
    fn is_at_home(&self, top: &Path) -> Result<String> {
        let text = fs::read_to_string(top.join(self.file))?;
        if text.matches(self.find).count() != 1 {
            return Err(
                format!("{}: want this once in {}: {}", self.name, self.file, self.find).into()
            );
        }
        Ok(text)
    }

    fn put_into(&self, top: &Path) -> Result<()> {
        let text = self.is_at_home(top)?;
        let on = format!("crate::seeded::is(\"{}\")", self.name);
        let with = self.with.replace("$IT", self.find).replace("$ON", &on);
        fs::write(top.join(self.file), text.replacen(self.find, &with, 1))?;
        Ok(())
    }
}

/// The names of the project's packages.
fn members(project: &Path) -> Result<Vec<String>> {
    let lock = fs::read_to_string(project.join("Cargo.lock"))?;
    let packages = lock.split("[[package]]\n").skip(1).filter(|it| !it.contains("\nsource = "));
    let name = |it: &str| {
        it.strip_prefix("name = \"").and_then(|it| it.split('"').next()).map(str::to_owned)
    };
    Ok(packages.filter_map(name).collect())
}

/// Another version in the line after this one. To cargo, which shares a target folder by name and version, the copy would
/// be the project itself, and later builds of the project would take what was made of the copy.
fn other_version(text: &str, after: &str) -> Result<String> {
    let missing = || format!("no version after {after}");
    let at = text.find(&format!("{after}\nversion = \"")).ok_or_else(missing)?;
    let (before, rest) = text.split_at(at + after.len() + "\nversion = \"".len());
    let (version, rest) = rest.split_once('"').ok_or_else(missing)?;
    Ok(format!("{before}{version}+seeded\"{rest}"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

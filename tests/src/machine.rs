//! This machine: where the project is, its virtual environment, and its binaries.

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::Result;

/// What is needed to run the functions here.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Python of the virtual environment.
    pub python: PathBuf,
    /// AWS's Runtime Interface Emulator.
    pub rie: PathBuf,
    /// Where the built functions are.
    pub binaries: PathBuf,
}

/// The top of the project.
#[must_use]
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

impl Machine {
    /// Sets up the virtual environment and builds the functions; quick when that is done already. Once per process.
    ///
    /// # Errors
    /// What is missing on this machine, in words.
    pub fn prepare() -> Result<Self> {
        static PREPARED: OnceLock<std::result::Result<Machine, String>> = OnceLock::new();
        let prepared = PREPARED.get_or_init(|| Self::prepare_now().map_err(|err| err.to_string()));
        prepared.clone().map_err(Into::into)
    }

    fn prepare_now() -> Result<Self> {
        let binaries = binaries()?;
        let target = binaries.parent().ok_or("the binaries have no folder")?;
        let (python, rie) = virtual_environment(&target.join("local-aws"), &[])?;
        build(&["--workspace", "--bins"])?;
        Ok(Self { python, rie, binaries })
    }

    /// Adds what the local cloud needs to the virtual environment; quick when that is done already. Once per process.
    ///
    /// # Errors
    /// What is missing on this machine, in words.
    pub fn prepare_cloud(&self) -> Result<()> {
        static PREPARED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
        let target = self.binaries.parent().ok_or("the binaries have no folder")?;
        let prepared = PREPARED.get_or_init(|| {
            let made = virtual_environment(&target.join("local-aws"), &["--cloud"]);
            made.map(drop).map_err(|err| err.to_string())
        });
        prepared.clone().map_err(Into::into)
    }

    /// `target/<profile>`, of the program that runs.
    ///
    /// # Errors
    /// When the program cannot tell where it is.
    pub fn folder() -> Result<PathBuf> {
        binaries()
    }

    /// The path of a built function.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(format!("{name}{EXE_SUFFIX}"))
    }
}

/// `target/<profile>`, of the program that runs.
fn binaries() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("this program has no folder")?;
    let is_test = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if is_test { folder.parent().unwrap_or(folder) } else { folder }.to_path_buf())
}

/// Builds with the cargo that runs us, in the profile that we were built in by default.
///
/// # Errors
/// When it does not build.
pub fn build(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        // What cargo sets for this program makes some build scripts run again, and their crates compile again.
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    let status = command
        .current_dir(project())
        .args(["build", "--quiet", "--locked"])
        .args(arguments)
        .stdin(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err("the functions do not build, see above".into()) }
}

fn virtual_environment(folder: &Path, options: &[&str]) -> Result<(PathBuf, PathBuf)> {
    let script = project().join("tests/local-aws/prepare.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|err| format!("python3 is needed for the local AWS: {err}"))?;
    if !output.status.success() {
        return Err("the local AWS could not be set up, see above".into());
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let path = |name: &str| -> Result<PathBuf> {
        Ok(said.get(name).and_then(Value::as_str).ok_or("prepare.py said nothing")?.into())
    };
    let rie = path("rie").map_err(|_| "AWS's Runtime Interface Emulator exists for Linux only")?;
    Ok((path("python")?, rie))
}

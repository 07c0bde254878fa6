//! Runs a program of this package in the profile `sim`, which has a build of its own: stories of years want speed.

use std::process::Command;

/// Runs it to its end; what it prints is shown.
pub(crate) fn run(program: &str, arguments: &[&str]) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        // What cargo sets for this program makes some build scripts run again, and their crates compile again.
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let build = ["run", "--quiet", "--locked", "--profile", "sim", "--package", "snapferry-sim"];
    let status = command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(build)
        .args(["--bin", program, "--"])
        .args(arguments)
        .status();
    status.is_ok_and(|it| it.success())
}

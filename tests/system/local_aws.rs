//! The local AWS tests itself: what the other tests stand on.

use std::process::Command;

use snapferry_tests::Result;
use snapferry_tests::machine::{Machine, project};

#[test]
fn it_behaves_like_ec2() -> Result<()> {
    let machine = Machine::prepare()?;
    let output = Command::new(&machine.python)
        .current_dir(project().join("tests/local-aws"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("selftest.py")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("\nOK"), "{said}");
    Ok(())
}

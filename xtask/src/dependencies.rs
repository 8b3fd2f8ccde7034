//! Checks of the dependencies with cargo-deny, which reads `deny.toml`.

use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};
use crate::machine::Machine;
use crate::programs::CARGO_DENY;

/// What cargo-deny says if the database of vulnerabilities is out of reach.
const UNREACHABLE: &str = "failed to fetch advisory database";

/// Returns the command that checks licences, duplicates and sources, which needs no database.
pub fn check(machine: &Machine) -> Result<Command> {
    cargo_deny(machine, &["licenses", "bans", "sources"])
}

/// Checks the dependencies for known vulnerabilities. Their database is fetched from GitHub.
pub fn advisories(machine: &Machine) -> Result<()> {
    let output = cargo_deny(machine, &["advisories"])?.output().doing("start cargo-deny")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        eprint!("{said}");
        return Ok(());
    }
    if said.contains(UNREACHABLE) {
        return Err(Failure::new(
            "the database of vulnerabilities could not be fetched from https://github.com/RustSec/advisory-db",
        ));
    }
    eprint!("{said}");
    Err(Failure::new(format!("cargo-deny refuses a dependency ({})", output.status))
        .hint("update the crate, or list the advisory in deny.toml with the reason why it does no harm"))
}

fn cargo_deny(machine: &Machine, checks: &[&str]) -> Result<Command> {
    let mut command = Command::new(CARGO_DENY.provision(machine)?);
    command.current_dir(&machine.root).stdin(Stdio::null()).args(["--locked", "check"]);
    // An exception that is no longer needed must leave deny.toml.
    for unneeded in ["unmatched-skip", "unmatched-skip-root", "license-not-encountered"] {
        command.args(["--deny", unneeded]);
    }
    command.args(checks);
    Ok(command)
}

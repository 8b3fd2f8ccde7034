//! Checks of the dependencies with cargo-deny, which reads `deny.toml`.

use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};
use crate::machine::Machine;
use crate::programs::CARGO_DENY;

/// What cargo-deny says if the database of vulnerabilities is out of reach.
const UNREACHABLE: &str = "failed to fetch advisory database";

/// Checks licenses, duplicates and sources, or known vulnerabilities, whose database is fetched from GitHub.
pub fn check(machine: &Machine, advisories: bool) -> Result<()> {
    let mut command = Command::new(CARGO_DENY.provision(machine)?);
    command.current_dir(&machine.root).stdin(Stdio::null()).args(["--locked", "check"]);
    match advisories {
        true => command.arg("advisories"),
        // An exception that is no longer needed must leave deny.toml.
        false => command.args(["--deny", "unmatched-skip", "--deny", "unmatched-skip-root"]).args([
            "--deny",
            "license-not-encountered",
            "licenses",
            "bans",
            "sources",
        ]),
    };
    let output = command.output().doing("start cargo-deny")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains(UNREACHABLE) {
        return Err(Failure::new(
            "the database of vulnerabilities could not be fetched from https://github.com/RustSec/advisory-db",
        ));
    }
    eprint!("{}{said}", String::from_utf8_lossy(&output.stdout));
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("cargo-deny refuses a dependency ({})", output.status))
            .hint("use another crate or version, or add an exception with its reason to deny.toml")),
    }
}

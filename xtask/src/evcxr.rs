//! Provisions evcxr, the kernel for Rust notebooks, at the version that is tested.
//!
//! It is compiled once per user, into the cache; a build that was stopped goes on where it was.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Doing, Failure, Result};
use crate::machine::{self, Machine};

/// The release of evcxr that Rust notebooks are tested with; `front/jupyter/evcxr.rs` names the same.
const VERSION: &str = "0.22.0";

const PROGRAM: &str = "evcxr_jupyter";

/// Space that the build takes at its largest.
const GIGABYTES: u64 = 3;

/// How evcxr is compiled. Less optimisation would save three minutes here and cost twenty seconds at every start of a
/// notebook, in which its rust-analyzer reads all that spectral stands on.
const PROFILE: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_DEBUG", "0"), ("CARGO_PROFILE_RELEASE_STRIP", "symbols")];

/// Finds evcxr in the cache or builds it there, and gives the program.
pub fn provision(machine: &Machine) -> Result<PathBuf> {
    let root = machine.cache.join(format!("evcxr-{VERSION}"));
    let program = root.join("bin").join(PROGRAM).with_extension(env::consts::EXE_EXTENSION);
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&root).doing(format!("create {}", root.display()))?;
    if let Some(free) = machine::free_kib(&root)
        && free < GIGABYTES * 1_000_000_000 / 1024
    {
        return Err(Failure::new(format!(
            "building evcxr needs about {GIGABYTES} GB in {}, found {:.1} GB free",
            machine.cache.display(),
            free as f64 * 1024.0 / 1e9
        ))
        .hint("make room, or set SPECTRAL_CACHE to a folder on another disk"));
    }

    eprintln!(
        "building evcxr {VERSION} into {} (once per user, some ten minutes on two cores)",
        root.display()
    );
    let build = root.join("build");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        // Not in the clone, whose settings are for spectral.
        .current_dir(&root)
        .args(["install", &format!("{PROGRAM}@{VERSION}"), "--locked", "--quiet", "--root"])
        .arg(&root)
        .arg("--target-dir")
        .arg(&build)
        .envs(PROFILE)
        .env_remove("RUSTFLAGS");
    let status = cargo.status().doing("start cargo install")?;
    if !status.success() || !program.is_file() {
        return Err(Failure::new(format!("cargo could not build {PROGRAM} {VERSION} ({status})"))
            .hint("read what cargo says above; run the command again to go on where it stopped"));
    }
    // A gigabyte that nobody needs; what cannot be removed does no harm.
    let _ = fs::remove_dir_all(&build);
    Ok(program)
}

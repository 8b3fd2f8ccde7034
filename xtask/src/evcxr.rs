//! Provisions evcxr, the Jupyter kernel for Rust, at the tested version.
//!
//! It is compiled once per user, in the cache. An interrupted build resumes where it stopped.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Doing, Failure, Result};
use crate::machine::{self, Machine};

/// Release of evcxr that Rust notebooks are tested with. `front/jupyter/evcxr.rs` names the same release.
const VERSION: &str = "0.22.0";

const PROGRAM: &str = "evcxr_jupyter";

/// Peak disk space of the build, in GB.
const GIGABYTES: u64 = 3;

/// Cargo profile of evcxr. Less optimisation would save three minutes of build time, but cost twenty seconds at
/// every start of a notebook, when its rust-analyzer reads all dependencies of spectral.
const PROFILE: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_DEBUG", "0"), ("CARGO_PROFILE_RELEASE_STRIP", "symbols")];

/// Finds evcxr in the cache or builds it there, and returns the path of the program.
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
        // Outside the clone, whose cargo settings are meant for spectral.
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
    // Frees a gigabyte that is no longer needed. A failure is harmless.
    let _ = fs::remove_dir_all(&build);
    Ok(program)
}

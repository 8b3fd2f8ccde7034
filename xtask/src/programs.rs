//! Programs of crates.io that checks and notebooks need, each at the tested version.
//!
//! A program is compiled once per user, in the cache. An interrupted build resumes where it stopped.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Doing, Failure, Result};
use crate::machine::{self, Machine};

/// A program and how it is compiled.
pub struct Program {
    /// Name of its folder in the cache.
    name: &'static str,
    /// Name of the crate and of the program.
    package: &'static str,
    version: &'static str,
    /// Further arguments of `cargo install`.
    arguments: &'static [&'static str],
    /// Settings of cargo's release profile.
    profile: &'static [(&'static str, &'static str)],
    /// Peak disk space of the build, in GB.
    gigabytes: u64,
    minutes: &'static str,
}

/// Settings for a program that runs for a second: compiling it takes longer than any run of it.
const QUICK: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// The Jupyter kernel for Rust. `front/jupyter/evcxr.rs` names the same release.
pub const EVCXR: Program = Program {
    name: "evcxr",
    package: "evcxr_jupyter",
    version: "0.22.0",
    arguments: &[],
    // Less optimization would save three minutes of build time, but cost twenty seconds at every start of a
    // notebook, when its rust-analyzer reads all dependencies of spectral.
    profile: &[("CARGO_PROFILE_RELEASE_DEBUG", "0"), ("CARGO_PROFILE_RELEASE_STRIP", "symbols")],
    gigabytes: 3,
    minutes: "some ten minutes",
};

/// Checks licenses, duplicates, sources and known vulnerabilities of dependencies.
pub const CARGO_DENY: Program = Program {
    name: "cargo-deny",
    package: "cargo-deny",
    version: "0.20.2",
    arguments: &[],
    profile: QUICK,
    gigabytes: 1,
    minutes: "some two minutes",
};

/// Builds the documentation as a book.
pub const MDBOOK: Program = Program {
    name: "mdbook",
    package: "mdbook",
    version: "0.5.4",
    // Without its server and its watching of files.
    arguments: &["--no-default-features", "--features", "search"],
    profile: QUICK,
    gigabytes: 1,
    minutes: "a minute",
};

impl Program {
    /// Finds the program in the cache or builds it there, and returns its path.
    pub fn provision(&self, machine: &Machine) -> Result<PathBuf> {
        let Self { name, package, version, gigabytes, .. } = self;
        let root = machine.cache.join(format!("{name}-{version}"));
        let program = root.join("bin").join(package).with_extension(env::consts::EXE_EXTENSION);
        if program.is_file() {
            return Ok(program);
        }
        fs::create_dir_all(&root).doing(format!("create {}", root.display()))?;
        if let Some(free) = machine::free_kib(&root)
            && free < gigabytes * 1_000_000_000 / 1024
        {
            return Err(Failure::new(format!(
                "building {name} needs about {gigabytes} GB in {}, found {:.1} GB free",
                machine.cache.display(),
                free as f64 * 1024.0 / 1e9
            ))
            .hint("make room, or set SPECTRAL_CACHE to a folder on another disk"));
        }

        eprintln!(
            "building {name} {version} into {} (once per user, {} on two cores)",
            root.display(),
            self.minutes
        );
        let build = root.join("build");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            // Outside the clone, whose cargo settings are meant for spectral.
            .current_dir(&root)
            .args(["install", &format!("{package}@{version}"), "--locked", "--quiet"])
            .args(self.arguments)
            .arg("--root")
            .arg(&root)
            .arg("--target-dir")
            .arg(&build)
            .envs(self.profile.iter().copied())
            .env_remove("RUSTFLAGS");
        let status = cargo.status().doing("start cargo install")?;
        if !status.success() || !program.is_file() {
            return Err(Failure::new(format!("cargo could not build {package} {version} ({status})"))
                .hint("read what cargo says above; run the command again to go on where it stopped"));
        }
        // Frees space that is no longer needed. A failure is harmless.
        let _ = fs::remove_dir_all(&build);
        Ok(program)
    }
}

//! Commands after provisioning: calls of cargo and of the program that it built.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure, Result};
use crate::libtorch::Place;
use crate::machine::Machine;
use crate::notebooks::{self, Clients};
use crate::nvrtc;
use crate::torchrun;

/// Cargo, called in the root of the clone with the environment that a build needs.
pub struct Cargo<'a> {
    machine: &'a Machine,
    place: &'a Place,
}

impl<'a> Cargo<'a> {
    /// Creates a `Cargo` for a clone and a libtorch.
    pub fn new(machine: &'a Machine, place: &'a Place) -> Self {
        Cargo { machine, place }
    }

    /// Returns a cargo command. Its environment is the one that plain `cargo build` sees, so that the two never
    /// rebuild each other's work: it removes a `LIBTORCH` that came from `.cargo/config.toml` and the variables
    /// that `cargo run` added for this program.
    fn call(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.machine.root).args(arguments);
        if matches!(self.place, Place::Cached { .. }) {
            command.env_remove("LIBTORCH");
        }
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Removes binaries that contain the path of another libtorch. The dependencies stay, since they were compiled
    /// against the same headers.
    fn forget_moved(&self) -> Result<()> {
        if !matches!(self.place, Place::Cached { moved: true, .. }) {
            return Ok(());
        }
        eprintln!("libtorch is now {}; linking spectral again", self.place.folder().display());
        for profile in ["dev", "release"] {
            let arguments = ["clean", "--quiet", "--package", "spectral", "--profile", profile];
            expect_success(self.call(&arguments), "cargo clean")?;
        }
        Ok(())
    }
}

impl Cargo<'_> {
    /// Returns the folder of the linked libtorch.
    pub fn libtorch(&self) -> &Path {
        self.place.folder()
    }

    /// Builds both programs in release mode.
    pub fn build_release(&self) -> Result<()> {
        self.forget_moved()?;
        expect_success(self.call(&["build", "--release"]), "cargo build --release")
    }
}

/// Builds in release mode and replaces this process with `spectral run script`, in the user's current folder.
pub fn run(cargo: &Cargo, script: &[OsString]) -> Result<()> {
    cargo.build_release()?;
    let mut spectral = Command::new(folder_of("release")?.join("spectral"));
    spectral.arg("run").args(script);
    become_program(spectral)
}

/// Runs all checks, and stops at the first step that fails.
pub fn test(cargo: &Cargo, cuda: bool, filter: &[String]) -> Result<()> {
    cargo.forget_moved()?;
    let mut tests = vec!["test", "--workspace"];
    if !filter.is_empty() {
        tests.push("--");
        tests.extend(filter.iter().map(String::as_str));
    }
    // CUDA kernels are compiled on every machine, but run only with --cuda.
    let compiler = nvrtc::provision(cargo.machine, cargo.place)?;
    let compiler = compiler.to_string_lossy();
    let torchrun = torchrun::provision(cargo.machine, cargo.place)?;
    let torchrun = torchrun.to_string_lossy();
    let mut steps = vec![
        Step::new("formatting", &["xtask", "format", "--check"]),
        Step::new("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        match cuda {
            true => Step::new("tests", &tests).with("SPECTRAL_TEST_DEVICE", "cuda"),
            false => Step::new("tests", &tests),
        }
        .with("SPECTRAL_NVRTC", &compiler)
        .with("SPECTRAL_TORCHRUN", &torchrun),
        Step::new("documentation", &["doc", "--no-deps", "--workspace"]).with("RUSTDOCFLAGS", "-D warnings"),
    ];
    if filter.is_empty() {
        steps.insert(1, Step::new("dependencies", &["xtask", "dependencies"]));
        steps.push(Step::new("book", &["xtask", "docs"]));
    }
    let start = Instant::now();
    for (number, step) in steps.iter().enumerate() {
        eprintln!("\n==> {} of {}: {}: {}", number + 1, steps.len(), step.name, step.shown());
        let mut command = cargo.call(&step.arguments);
        command.envs(step.variables.iter().copied());
        let begin = Instant::now();
        let passed = command.status().doing("start cargo")?.success();
        let took = seconds(begin.elapsed());
        if !passed {
            return Err(Failure::new(format!("step {} failed after {took}", step.name))
                .hint(format!("run it alone: {}", step.shown())));
        }
        eprintln!("==> {} passed in {took}", step.name);
    }
    if filter.is_empty() {
        eprintln!("\n==> Jupyter clients: cargo xtask notebooks");
        notebooks(cargo, Clients::Plain, &[])?;
    }
    eprintln!("\nall steps passed in {}", seconds(start.elapsed()));
    Ok(())
}

/// Builds the program and runs the tests with real Jupyter clients.
pub fn notebooks(cargo: &Cargo, clients: Clients, filter: &[String]) -> Result<()> {
    cargo.forget_moved()?;
    // Builds as the tests do. `cargo build` alone selects other features of the dependencies and would compile
    // libtorch's bindings again.
    expect_success(cargo.call(&["test", "--workspace", "--no-run"]), "cargo test --no-run")?;
    notebooks::test(cargo.machine, &folder_of("debug")?.join("spectral"), clients, filter)
}

/// Builds in release mode and copies both programs into cargo's folder for programs, or into `root`.
pub fn install(cargo: &Cargo, root: Option<PathBuf>) -> Result<()> {
    cargo.forget_moved()?;
    let mut command = cargo.call(&["install", "--path", ".", "--locked"]);
    if let Some(root) = root {
        // Cargo runs in the clone, so a relative folder must be made absolute here.
        let root = env::current_dir().doing("read the current folder")?.join(root);
        command.arg("--root").arg(root);
    }
    expect_success(command, "cargo install")?;

    let library = cargo.place.folder().canonicalize().doing("resolve libtorch")?.join("lib");
    for name in ["spectral", "spectral-repl"] {
        let built = folder_of("release")?.join(name);
        let program = fs::read(&built).doing(format!("read {}", built.display()))?;
        if !searches(&program, &library) {
            return Err(Failure::new(format!(
                "expected {name} to look for libtorch in {}, found that it looks elsewhere, so it would stop \
                 working without this clone",
                library.display()
            ))
            .hint("build.rs should resolve LIBTORCH before it sets the rpath"));
        }
    }
    eprintln!("libtorch stays in {}", library.display());
    Ok(())
}

/// One step of `cargo xtask test`.
struct Step<'a> {
    name: &'static str,
    arguments: Vec<&'a str>,
    variables: Vec<(&'static str, &'a str)>,
}

impl<'a> Step<'a> {
    fn new(name: &'static str, arguments: &[&'a str]) -> Self {
        Step { name, arguments: arguments.to_vec(), variables: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: &'a str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Returns the step as a shell command.
    fn shown(&self) -> String {
        let mut command = String::new();
        for (name, value) in &self.variables {
            command += &match value.contains(' ') {
                true => format!("{name}=\"{value}\" "),
                false => format!("{name}={value} "),
            };
        }
        command + "cargo " + &self.arguments.join(" ")
    }
}

/// Runs a command and fails unless it succeeds.
pub fn expect_success(mut command: Command, name: &str) -> Result<()> {
    let status = command.status().doing(format!("start {name}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("{name} failed ({status})"))),
    }
}

/// Returns cargo's output folder of a profile. It lies beside the folder of this program, whatever the target
/// folder.
pub fn folder_of(profile: &str) -> Result<PathBuf> {
    let own = env::current_exe().doing("find this program")?;
    match own.parent().and_then(Path::parent) {
        Some(target) => Ok(target.join(profile)),
        None => Err(Failure::new(format!(
            "expected this program in cargo's target folder, found {}",
            own.display()
        ))
        .hint("call it as `cargo xtask`")),
    }
}

/// Replaces this process, so that signals and the exit code are those of the program.
#[cfg(unix)]
fn become_program(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let cause = command.exec();
    Err(Failure::new(format!("could not start {}: {cause}", command.get_program().display())))
}

#[cfg(not(unix))]
fn become_program(mut command: Command) -> Result<()> {
    let status = command.status().doing("start spectral")?;
    std::process::exit(status.code().unwrap_or(1))
}

/// Returns whether a program's library search path contains `folder`. Entries end with a zero byte or a colon, so
/// the same text elsewhere in the program does not count.
fn searches(program: &[u8], folder: &Path) -> bool {
    let folder = folder.as_os_str().as_encoded_bytes();
    program
        .windows(folder.len() + 1)
        .any(|window| window.starts_with(folder) && [b'\0', b':'].contains(&window[folder.len()]))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_one_would_type_it() {
        let step = Step::new("documentation", &["doc", "--no-deps"]);
        assert_eq!(step.shown(), "cargo doc --no-deps");
        let step = step.with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(step.shown(), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn only_entries_of_the_search_path_count() {
        let cache = Path::new("/cache/torch/lib");
        assert!(searches(b"ELF\0/cache/torch/lib\0", cache));
        assert!(searches(b"ELF\0/cache/torch/lib:/other\0", cache));
        assert!(!searches(b"ELF\0/clone/.libtorch/lib\0", cache));
        assert!(!searches(b"ELF\0/cache/torch/library\0", cache));
    }
}

//! Launcher that an installed wheel puts on the PATH: finds the PyTorch of its environment and replaces itself with
//! the program that runs on that PyTorch's libtorch.
//!
//! The program is linked to libtorch. If libtorch is missing or of another release, the dynamic loader ends the
//! program with a list of symbols. The launcher does not link to libtorch, so it can print an error that says what
//! to do.
#![allow(clippy::print_stderr, reason = "the launcher of programs")]

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The PyTorch release whose libtorch the program is linked to.
pub const TORCH: &str = "2.11.0";

/// Path of the program, relative to the folder of installed packages.
pub const PROGRAM: &str = "spectral_program/spectral";

/// Reason why the program cannot be started.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  hint: {}", self.what, self.hint)
    }
}

/// Replaces this process with the program, with `first` before its arguments. Returns only on failure.
pub fn become_program(first: Option<&str>) -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    // The subcommand has no `--version`, only the program has.
    let first = first.filter(|_| !matches!(&arguments[..], [only] if only == "--version" || only == "-V"));
    let failure = match launch(first, &arguments) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    eprintln!("{failure}");
    ExitCode::FAILURE
}

fn launch(first: Option<&str>, arguments: &[OsString]) -> Result<std::convert::Infallible, Failure> {
    let own = env::current_exe().map_err(|cause| Failure {
        what: format!("the path of this program is unknown: {cause}"),
        hint: "start it by its full path".to_string(),
    })?;
    let named = env::var_os("LIBTORCH").filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = find(&own, named.as_deref())?;
    let mut program = Command::new(&found.program);
    // Messages and kernelspecs should name the launcher that is on the PATH.
    program.arg0(&own).args(first).args(arguments);
    if let Some(folder) = found.libraries {
        let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let all =
            std::iter::once(folder).chain(env::split_paths(&before).filter(|p| !p.as_os_str().is_empty()));
        program.env("LD_LIBRARY_PATH", env::join_paths(all).unwrap_or_default());
    }
    let cause = program.exec();
    Err(Failure {
        what: format!("{} cannot be started: {cause}", found.program.display()),
        hint: format!("install it again: {} --force-reinstall --no-deps spectral-*.whl", pip(&own)),
    })
}

/// Program to start and its libtorch.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Path of the program.
    pub program: PathBuf,
    /// Folder of libtorch, if it is not the one that the program finds by itself.
    pub libraries: Option<PathBuf>,
}

/// Finds the program and its PyTorch. `own` is the path of this launcher, `named` a libtorch to use instead of the
/// one in the environment.
pub fn find(own: &Path, named: Option<&Path>) -> Result<Found, Failure> {
    let installed: Vec<PathBuf> =
        packages(own).into_iter().filter(|folder| folder.join(PROGRAM).is_file()).collect();
    let Some(first) = installed.first() else {
        return Err(Failure {
            what: format!("the installation is incomplete: no {PROGRAM} belongs to {}", own.display()),
            hint: format!("install it again: {} --force-reinstall --no-deps spectral-*.whl", pip(own)),
        });
    };
    if let Some(libtorch) = named {
        return match version(libtorch) {
            Some(found) if fits(&found) => {
                Ok(Found { program: first.join(PROGRAM), libraries: Some(libtorch.join("lib")) })
            }
            found => Err(Failure {
                what: format!(
                    "expected libtorch {TORCH} in LIBTORCH={}, found {}",
                    libtorch.display(),
                    found.as_deref().unwrap_or("none")
                ),
                hint: "unset LIBTORCH to use the PyTorch of this environment".to_string(),
            }),
        };
    }
    let torch = |folder: &Path| version(&folder.join("torch"));
    if let Some(folder) = installed.iter().find(|folder| torch(folder).is_some_and(|found| fits(&found))) {
        return Ok(Found { program: folder.join(PROGRAM), libraries: None });
    }
    let found = match torch(first) {
        Some(other) => format!("spectral runs on PyTorch {TORCH}, found {other} in {}", first.display()),
        None => format!("spectral runs on PyTorch {TORCH}, found none in {}", first.display()),
    };
    Err(Failure {
        what: found,
        hint: format!(
            "{} torch=={TORCH}, or set LIBTORCH to the `torch` folder of another environment",
            pip(own)
        ),
    })
}

/// Returns the package folders that may hold the program, newest Python first.
fn packages(own: &Path) -> Vec<PathBuf> {
    let Some(prefix) = own.parent().and_then(Path::parent) else { return Vec::new() };
    let mut pythons = Vec::new();
    // Distributions may separate 64-bit libraries, and their own packages from those that pip installed.
    for lib in ["lib", "lib64", "local/lib"] {
        for entry in fs::read_dir(prefix.join(lib)).into_iter().flatten().flatten() {
            let minor = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_prefix("python3.")?.parse::<u32>().ok());
            pythons.extend(minor.map(|minor| (minor, entry.path())));
        }
    }
    pythons.sort_by_key(|(minor, _)| std::cmp::Reverse(*minor));
    let below = pythons
        .into_iter()
        .flat_map(|(_, folder)| ["site-packages", "dist-packages"].map(|n| folder.join(n)));
    // `pip install --target` puts programs below the package folder.
    below.chain([prefix.to_path_buf()]).collect()
}

/// Returns the release of a `torch` folder: from `version.py` in a PyTorch wheel, from `build-version` in the C++
/// archive.
pub fn version(torch: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(torch.join("version.py")) {
        let stated = text.lines().find_map(|line| line.trim().strip_prefix("__version__")?.split_once('='));
        return stated.map(|(_, value)| value.trim().trim_matches(['\'', '"']).to_string());
    }
    Some(fs::read_to_string(torch.join("build-version")).ok()?.trim().to_string())
}

/// Returns whether a release is the one that the program is linked to. Build tags such as `+cpu` are ignored.
pub fn fits(version: &str) -> bool {
    version.split('+').next() == Some(TORCH)
}

/// Returns the command that runs the environment's `pip install`.
fn pip(own: &Path) -> String {
    let python = own.with_file_name("python3");
    match python.exists() {
        true => format!("{} -m pip install", python.display()),
        false => "python3 -m pip install".to_string(),
    }
}

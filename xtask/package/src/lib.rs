//! What an installed `spectral` does first: it looks for the PyTorch in its own environment, and becomes the program
//! that runs on that PyTorch's libtorch.
//!
//! The program itself is linked to libtorch, so where that is missing or another release, the system's loader would end
//! it with a list of symbols. This small one is linked to nothing and says what to do.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The PyTorch release whose libtorch the program is linked to.
pub const TORCH: &str = "2.11.0";

/// Where the program lies, from the folder of installed packages.
pub const PROGRAM: &str = "spectral_program/spectral";

/// Why the program cannot be started.
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

/// Replaces this process by the program, with `first` before its arguments; comes back only when that fails.
pub fn become_program(first: Option<&str>) -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    // A command knows no version, the program does.
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
    // Messages and kernelspecs name what is on the PATH.
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

/// What is to be started.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The program.
    pub program: PathBuf,
    /// The folder of libtorch, where it is not the one that the program finds by itself.
    pub libraries: Option<PathBuf>,
}

/// Looks for the program and for its PyTorch. `own` is this program, `named` a libtorch that the user wants instead of
/// the environment's.
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

/// The folders of installed packages that may belong to a program, newest Python first.
fn packages(own: &Path) -> Vec<PathBuf> {
    let Some(prefix) = own.parent().and_then(Path::parent) else { return Vec::new() };
    let mut pythons = Vec::new();
    // A distribution may keep libraries of 64 bits apart, and its own packages from those of pip.
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
    // `pip install --target` puts programs below the packages.
    below.chain([prefix.to_path_buf()]).collect()
}

/// The release that a `torch` folder states: the PyTorch wheel in `version.py`, the archive for C++ in `build-version`.
pub fn version(torch: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(torch.join("version.py")) {
        let stated = text.lines().find_map(|line| line.trim().strip_prefix("__version__")?.split_once('='));
        return stated.map(|(_, value)| value.trim().trim_matches(['\'', '"']).to_string());
    }
    Some(fs::read_to_string(torch.join("build-version")).ok()?.trim().to_string())
}

/// Whether a release is the one that the program is linked to, whatever it was built for.
pub fn fits(version: &str) -> bool {
    version.split('+').next() == Some(TORCH)
}

/// How pip of the environment is called.
fn pip(own: &Path) -> String {
    let python = own.with_file_name("python3");
    match python.exists() {
        true => format!("{} -m pip install", python.display()),
        false => "python3 -m pip install".to_string(),
    }
}

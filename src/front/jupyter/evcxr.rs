//! Jupyter kernel for Rust notebooks: evcxr, with the locations of libtorch and of its build folders.
//!
//! The files are in `kernels/jupyter/evcxr`. `kernel.json` is written here, since it contains paths of this
//! machine: evcxr, libtorch and the folder for builds. It starts `start.sh`, which gives every running notebook its
//! own build folder, kept after the Jupyter kernel ends.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::files;
use crate::torch;

/// Tested version of evcxr.
pub const VERSION: &str = "0.22.0";

/// Default name of the Jupyter kernel's folder in Jupyter's `kernels`.
pub const NAME: &str = "spectral-rust";

const PROGRAM: &str = "evcxr_jupyter";

/// Files of the Jupyter kernel that are the same on every machine.
const FILES: &[(&str, &[u8])] = &[
    ("start.sh", include_bytes!("../../../kernels/jupyter/evcxr/start.sh")),
    ("cargo.toml", include_bytes!("../../../kernels/jupyter/evcxr/cargo.toml")),
    ("Cargo.lock", include_bytes!("../../../Cargo.lock")),
    ("logo-32x32.png", include_bytes!("../../../kernels/jupyter/evcxr/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../../kernels/jupyter/evcxr/logo-64x64.png")),
    ("logo-svg.svg", include_bytes!("../../../kernels/jupyter/evcxr/logo-svg.svg")),
];

/// Paths and name of the Jupyter kernel for Rust.
#[derive(Debug, Clone)]
pub struct Evcxr {
    /// Program `evcxr_jupyter`.
    pub program: PathBuf,
    /// Folder of libtorch with `lib` and `include`.
    pub libtorch: PathBuf,
    /// Folder with a build folder for each notebook that runs at the same time.
    pub builds: PathBuf,
    /// Name that Jupyter shows.
    pub display_name: String,
}

impl Evcxr {
    /// Finds evcxr, the libtorch of this program and the user's cache. Uses `program` instead of a search if it is
    /// given.
    pub fn find(program: Option<&Path>) -> Result<Self> {
        let cache = files::cache()?;
        let program = match program {
            Some(given) => check_program(given)?,
            None => find_program(&places(&cache))?,
        };
        Ok(Self {
            program,
            libtorch: libtorch(&torch::libtorch_folder())?,
            builds: cache.join(format!("notebooks-{}", env!("CARGO_PKG_VERSION"))),
            display_name: "Rust (spectral)".to_string(),
        })
    }

    /// Writes the Jupyter kernel to its final folder, which is created if needed; replaces files of an earlier one.
    pub fn install(&self, folder: &Path) -> Result<()> {
        for (name, content) in FILES {
            files::write(folder.join(name), content)?;
        }
        let kernel = serde_json::to_string_pretty(&self.kernel(&absolute(folder)?)).map_err(|e| {
            Error::internal(format!("the kernel's description could not be written as JSON: {e}"))
        })?;
        // Written last, so that where a description exists, the rest exists too.
        files::write(folder.join("kernel.json"), kernel + "\n")
    }

    fn kernel(&self, folder: &Path) -> serde_json::Value {
        json!({
            "argv": ["/bin/sh", folder.join("start.sh"), self.program, "{connection_file}"],
            "display_name": self.display_name,
            "language": "rust",
            // evcxr has no other way; it stops its child process, so variables are lost.
            "interrupt_mode": "message",
            "env": { "LIBTORCH": self.libtorch, "EVCXR_TMPDIR": self.builds },
            "metadata": { "spectral": env!("CARGO_PKG_VERSION"), "evcxr": VERSION },
        })
    }
}

/// Installs the Jupyter kernel for Rust notebooks in its final folder, such as
/// `~/.local/share/jupyter/kernels/spectral-rust`; returns what it found.
///
/// Fails if evcxr is missing; the error says how to get it.
pub fn install_evcxr(folder: &Path, program: Option<&Path>) -> Result<Evcxr> {
    let evcxr = Evcxr::find(program)?;
    evcxr.install(folder)?;
    Ok(evcxr)
}

/// Returns folders in which evcxr may be, the tested version first.
fn places(cache: &Path) -> Vec<PathBuf> {
    let mut places = vec![cache.join(format!("evcxr-{VERSION}/bin"))];
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let cargo = std::env::var_os("CARGO_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let cargo = cargo.or_else(|| etcetera::home_dir().ok().map(|home| home.join(".cargo")));
    places.extend(cargo.map(|cargo| cargo.join("bin")));
    places
}

fn find_program(places: &[PathBuf]) -> Result<PathBuf> {
    let name = Path::new(PROGRAM).with_extension(std::env::consts::EXE_EXTENSION);
    match places.iter().map(|folder| folder.join(&name)).find(|program| program.is_file()) {
        Some(program) => absolute(&program),
        None => Err(Error::usage(format!("{PROGRAM} was found neither on the PATH nor in cargo's folder"))
            .hint(format!(
                "build it once, which takes some ten minutes: `cargo xtask evcxr` in a clone of spectral, or `cargo \
                 install {PROGRAM}@{VERSION} --locked`"
            ))),
    }
}

fn check_program(given: &Path) -> Result<PathBuf> {
    if given.is_file() {
        return absolute(given);
    }
    Err(Error::file(given, format!("expected the program {PROGRAM}, found no such file"))
        .hint("leave it out to have it looked for"))
}

/// Returns the libtorch folder that builds need, from the folder of its libraries.
fn libtorch(lib: &Path) -> Result<PathBuf> {
    match lib.parent() {
        Some(folder) if lib.file_name() == Some(OsStr::new("lib")) && folder.join("include").is_dir() => {
            Ok(folder.to_path_buf())
        }
        _ => Err(Error::file(lib, "expected the libtorch that this program was built with, found none")
            .hint("build spectral again, with `cargo xtask install`")),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| files::failed(path, &e))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// Stand-in for evcxr: prints its build folder and waits for its input to end.
    const FAKE: &str = "#!/bin/sh\necho \"$EVCXR_TMPDIR $LD_LIBRARY_PATH $*\"\nread line || true\n";

    fn evcxr(folder: &Path) -> Evcxr {
        let program = folder.join("evcxr_jupyter");
        fs::write(&program, FAKE).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Evcxr {
            program,
            libtorch: PathBuf::from("/lib torch"),
            builds: folder.join("builds"),
            display_name: "Rust".to_string(),
        }
    }

    /// Starts the Jupyter kernel as Jupyter would.
    fn start(kernel: &serde_json::Value) -> Command {
        let text = |v: &serde_json::Value| v.as_str().unwrap().replace("{connection_file}", "c.json");
        let argv: Vec<String> = kernel["argv"].as_array().unwrap().iter().map(text).collect();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in kernel["env"].as_object().unwrap() {
            command.env(name, text(value));
        }
        command.env("LD_LIBRARY_PATH", "/own");
        command
    }

    fn first_line(child: &mut std::process::Child) -> String {
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_string()
    }

    #[test]
    fn notebooks_at_the_same_time_build_in_folders_of_their_own_that_stay() {
        let folder = tempfile::tempdir().unwrap();
        let kernel_folder = folder.path().join("kernels/spectral-rust");
        evcxr(folder.path()).install(&kernel_folder).unwrap();
        let text = fs::read_to_string(kernel_folder.join("kernel.json")).unwrap();
        let kernel: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(kernel["interrupt_mode"], "message");

        let builds = folder.path().join("builds");
        let rustc = Command::new("rustc").args(["--print", "target-libdir"]).output().unwrap();
        let std = String::from_utf8(rustc.stdout).unwrap().trim().to_string();
        let says = |number: u32| {
            format!("{}/{number} /lib torch/lib:{std}:/own --control_file c.json", builds.display())
        };
        let mut first = start(&kernel).spawn().unwrap();
        assert_eq!(first_line(&mut first), says(1));
        // The second notebook finds what the first has compiled.
        let built = builds.join("1/target/x86_64-unknown-linux-gnu/debug");
        fs::create_dir_all(&built).unwrap();
        fs::write(built.join(".cargo-lock"), "").unwrap();
        fs::write(built.join("libtch.rlib"), "compiled").unwrap();
        let mut second = start(&kernel).spawn().unwrap();
        assert_eq!(first_line(&mut second), says(2));
        let copied = builds.join("2/target/x86_64-unknown-linux-gnu/debug/libtch.rlib");
        assert_eq!(fs::read_to_string(copied).unwrap(), "compiled");
        drop(first.stdin.take());
        assert!(first.wait().unwrap().success());
        let mut third = start(&kernel).spawn().unwrap();
        assert_eq!(first_line(&mut third), says(1));
        for child in [&mut second, &mut third] {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        }
        let lock = fs::read_to_string(builds.join("1/Cargo.lock")).unwrap();
        assert!(lock.contains("name = \"torch-sys\"\nversion = \"0.24.0\""));
        assert!(builds.join(".cargo/config.toml").is_file());
    }

    #[test]
    fn the_tested_evcxr_comes_first_and_a_missing_one_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, others) = (folder.path().join("ours"), folder.path().join("others"));
        let error = find_program(&[ours.clone(), others.clone()]).unwrap_err();
        assert!(error.message().contains("neither on the PATH"), "{error}");
        assert!(
            error.hint_text().unwrap().contains("cargo install evcxr_jupyter@0.22.0 --locked"),
            "{error}"
        );
        for place in [&others, &ours] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("evcxr_jupyter"), FAKE).unwrap();
            assert_eq!(find_program(&[ours.clone(), others.clone()]).unwrap(), place.join("evcxr_jupyter"));
        }
        let missing = check_program(&folder.path().join("evcxr")).unwrap_err();
        assert!(missing.message().contains("no such file"), "{missing}");
    }

    #[test]
    fn what_xtask_builds_is_what_is_looked_for() {
        let xtask = include_str!("../../../xtask/src/programs.rs");
        let (_, evcxr) = xtask.split_once("pub const EVCXR").unwrap();
        let (evcxr, _) = evcxr.split_once("};").unwrap();
        assert!(evcxr.contains(&format!("version: \"{VERSION}\",")));
        assert!(evcxr.contains(&format!("package: \"{PROGRAM}\",")));
    }

    #[test]
    fn libtorch_is_the_one_of_this_program() {
        assert!(libtorch(&torch::libtorch_folder()).unwrap().join("lib").is_dir());
        assert!(
            libtorch(Path::new("/no/such/lib")).unwrap_err().hint_text().unwrap().contains("build spectral")
        );
    }
}

//! The kernel for Rust notebooks: evcxr, told where libtorch is and where to keep what it compiles.
//!
//! The files are in `kernels/jupyter/evcxr`. `kernel.json` is written here, since it names what is on this machine:
//! evcxr, libtorch and the folder for builds. It starts `start.sh`, which gives every running notebook a build folder
//! of its own that outlives the kernel.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::files;
use crate::torch;

/// The version of evcxr that is tested.
pub const VERSION: &str = "0.22.0";

/// The folder below Jupyter's `kernels` in which the kernel is installed unless it is given another name.
pub const NAME: &str = "spectral-rust";

const PROGRAM: &str = "evcxr_jupyter";

/// The files of the kernel that are the same everywhere.
const FILES: &[(&str, &[u8])] = &[
    ("start.sh", include_bytes!("../../../kernels/jupyter/evcxr/start.sh")),
    ("cargo.toml", include_bytes!("../../../kernels/jupyter/evcxr/cargo.toml")),
    ("Cargo.lock", include_bytes!("../../../Cargo.lock")),
    ("logo-32x32.png", include_bytes!("../../../kernels/jupyter/evcxr/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../../kernels/jupyter/evcxr/logo-64x64.png")),
    ("logo-svg.svg", include_bytes!("../../../kernels/jupyter/evcxr/logo-svg.svg")),
];

/// What the kernel depends on.
#[derive(Debug, Clone)]
pub struct Evcxr {
    /// The program `evcxr_jupyter`.
    pub program: PathBuf,
    /// The folder of libtorch that holds `lib` and `include`.
    pub libtorch: PathBuf,
    /// The folder that holds a build folder for each notebook that runs at the same time.
    pub builds: PathBuf,
    /// What Jupyter calls the kernel.
    pub display_name: String,
}

impl Evcxr {
    /// Looks for evcxr, for the libtorch of this program and for the user's cache. A `program` that is given is not
    /// looked for.
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

    /// Writes the kernel into the folder where it will stay, which is made; files of an earlier one are replaced.
    pub fn install(&self, folder: &Path) -> Result<()> {
        for (name, content) in FILES {
            files::write(folder.join(name), content)?;
        }
        let kernel = serde_json::to_string_pretty(&self.kernel(&absolute(folder)?)).map_err(|e| {
            Error::internal(format!("the kernel's description could not be written as JSON: {e}"))
        })?;
        // Last: where there is a description, the rest is there.
        files::write(folder.join("kernel.json"), kernel + "\n")
    }

    fn kernel(&self, folder: &Path) -> serde_json::Value {
        json!({
            "argv": ["/bin/sh", folder.join("start.sh"), self.program, "{connection_file}"],
            "display_name": self.display_name,
            "language": "rust",
            // evcxr knows no other way, and stops its child process: variables are lost.
            "interrupt_mode": "message",
            "env": { "LIBTORCH": self.libtorch, "EVCXR_TMPDIR": self.builds },
            "metadata": { "spectral": env!("CARGO_PKG_VERSION"), "evcxr": VERSION },
        })
    }
}

/// Installs the kernel for Rust notebooks into the folder where it will stay, such as
/// `~/.local/share/jupyter/kernels/spectral-rust`; gives what it found.
///
/// Fails where evcxr is missing, and says how to get it.
pub fn install_evcxr(folder: &Path, program: Option<&Path>) -> Result<Evcxr> {
    let evcxr = Evcxr::find(program)?;
    evcxr.install(folder)?;
    Ok(evcxr)
}

/// Where evcxr may be, the tested version first.
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

/// The folder that builds take for libtorch, from that with its libraries.
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

    /// A program that stands for evcxr: it says where it would build, and waits for its input to end.
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

    /// Starts the kernel as Jupyter would.
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
        // What the first has compiled is there for the second.
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
        let xtask = include_str!("../../../xtask/src/evcxr.rs");
        assert!(xtask.contains(&format!("const VERSION: &str = \"{VERSION}\";")));
        assert!(xtask.contains(&format!("const PROGRAM: &str = \"{PROGRAM}\";")));
    }

    #[test]
    fn libtorch_is_the_one_of_this_program() {
        assert!(libtorch(&torch::libtorch_folder()).unwrap().join("lib").is_dir());
        assert!(
            libtorch(Path::new("/no/such/lib")).unwrap_err().hint_text().unwrap().contains("build spectral")
        );
    }
}

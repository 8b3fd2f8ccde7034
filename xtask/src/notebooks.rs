//! Tests with real Jupyter clients, in a separate Python environment.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::environment::Environment;
use crate::failure::{Doing, Failure, Result};
use crate::machine::Machine;
use crate::programs::EVCXR;

/// Pinned packages of the environment. The second list is for the browser tests only.
const REQUIREMENTS: [&str; 2] = ["tests/jupyter/requirements.txt", "tests/jupyter/browser/requirements.txt"];

/// Clients that a run tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Jupyter clients without a user interface.
    Plain,
    /// JupyterLab in a browser.
    Browser,
    /// Rust cells under evcxr.
    Rust,
}

impl Clients {
    fn requirements(self) -> &'static [&'static str] {
        match self {
            Clients::Plain | Clients::Rust => &REQUIREMENTS[..1],
            Clients::Browser => &REQUIREMENTS,
        }
    }
}

/// Runs pytest on the built program. `filter` selects tests as `pytest -k` does.
pub fn test(machine: &Machine, program: &Path, clients: Clients, filter: &[String]) -> Result<()> {
    let python = environment(machine, clients)?;
    let mut pytest = Command::new(&python);
    pytest
        .current_dir(&machine.root)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"])
        .env("SPECTRAL", program)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    match clients {
        Clients::Plain => {
            pytest.args(["tests/jupyter", "--ignore=tests/jupyter/browser", "--ignore=tests/jupyter/rust"])
        }
        Clients::Browser => pytest.arg("tests/jupyter/browser").env("CHROMIUM", browser()?),
        Clients::Rust => {
            EVCXR.provision(machine)?;
            pytest.args(["-s", "tests/jupyter/rust"])
        }
    };
    if !filter.is_empty() {
        pytest.arg("-k").arg(filter.join(" or "));
    }
    let status = pytest.status().doing("start pytest")?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("the tests with Jupyter clients failed ({status})"))),
    }
}

/// Returns the Python of the environment, which is created if it is missing.
pub fn environment(machine: &Machine, clients: Clients) -> Result<PathBuf> {
    let requirements = clients.requirements();
    Environment { name: "jupyter", what: "Jupyter clients", requirements }.provision(machine)
}

/// Names under which Chromium is searched, after the variable `CHROMIUM`.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Returns the path of Chromium. As root on Debian and its relatives, installs it if it is missing.
fn browser() -> Result<PathBuf> {
    if let Some(named) = env::var_os("CHROMIUM").filter(|value| !value.is_empty()) {
        return Ok(named.into());
    }
    if let Some(found) = on_path() {
        return Ok(found);
    }
    if is_root() && Path::new("/usr/bin/apt-get").exists() {
        eprintln!("installing chromium with apt-get");
        for arguments in
            [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", "chromium"]]
        {
            let mut apt = Command::new("apt-get");
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
            // The check below finds out whether the installation worked.
            let _ = apt.status().doing("start apt-get")?;
        }
    }
    on_path().ok_or_else(|| {
        Failure::new(format!("the browser test needs one of {}, found none on the PATH", BROWSERS.join(", ")))
            .hint("install Chromium (Debian: apt install chromium), or set CHROMIUM to its path")
    })
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    BROWSERS.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(|program| program.is_file()))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

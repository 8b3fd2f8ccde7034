//! Python environments with pinned packages, each made once per user.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};
use crate::libtorch;
use crate::machine::Machine;

/// An environment in the cache.
pub struct Environment {
    /// Prefix of its folder in the cache; a hash of the packages follows.
    pub name: &'static str,
    /// What it contains, for messages.
    pub what: &'static str,
    /// Files below the clone that list the packages with their versions, in pip's format.
    pub requirements: &'static [&'static str],
}

/// Returns the path of an environment's Python.
fn python(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

impl Environment {
    /// Returns the Python of the environment, which is created if it is missing.
    pub fn provision(&self, machine: &Machine) -> Result<PathBuf> {
        self.provision_with(machine, "", |_| Ok(())).map(|folder| python(&folder))
    }

    /// Returns the folder of the environment. If it is missing, it is created, and `finish` adds what pip does not
    /// install; `also` tells one such addition from another.
    pub fn provision_with(
        &self,
        machine: &Machine,
        also: &str,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let mut wanted = also.to_string();
        for file in self.requirements {
            let path = machine.root.join(file);
            wanted += &fs::read_to_string(&path).doing(format!("read {}", path.display()))?;
        }
        let mut hasher = DefaultHasher::new();
        wanted.hash(&mut hasher);
        let folder = machine.cache.join(format!("{}-{:016x}", self.name, hasher.finish()));
        // Written last, so that an incomplete environment is created again.
        let complete = folder.join("complete");
        let is_complete = || complete.is_file() && works(&python(&folder));
        if is_complete() {
            return Ok(folder);
        }
        fs::create_dir_all(&machine.cache).doing(format!("create the cache {}", machine.cache.display()))?;
        let _lock = libtorch::lock(&machine.cache.join(format!("{}.lock", self.name)), self.what)?;
        // Another process may have created it while this one waited for the lock.
        if is_complete() {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).doing(format!("remove {}", folder.display()))?;
        }
        eprintln!("installing {} into {} (once per user)", self.what, folder.display());
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&folder).stdin(Stdio::null());
        let made = make.status().doing("start python3")?;
        if !made.success() {
            return Err(Failure::new(format!("python3 could not make an environment ({made})"))
                .hint("install its module venv (Debian, Ubuntu: apt install python3-venv)"));
        }
        let files = self.requirements.iter().flat_map(|file| ["-r".into(), machine.root.join(file)]);
        self.install(&folder, files)?;
        finish(&folder)?;
        fs::write(&complete, "").doing(format!("write {}", complete.display()))?;
        Ok(folder)
    }

    /// Installs packages into the environment in `folder`.
    pub fn install(&self, folder: &Path, packages: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        let mut pip = Command::new(python(folder));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        let installed = pip.stdin(Stdio::null()).status().doing("start pip")?;
        match installed.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("pip could not install {} ({installed})", self.what))
                .hint("check the network and proxy settings, and run the command again")),
        }
    }
}

fn works(python: &Path) -> bool {
    let quiet = Command::new(python).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

//! Installs pinned wheels with pip.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, stderr};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use crate::failure::{Doing, Failure, Result};
use crate::libtorch;
use crate::machine::Machine;

/// Ways to call pip, in the order in which they are tried.
const CALLS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// Python version whose wheels are installed. libtorch is the same for every Python, so one wheel per processor is
/// enough, whichever Python the user has. The checksums in `wheels/` belong to this version.
const PYTHON: [&str; 6] = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"];

/// Platform tags of the pinned wheels by glibc version. `manylinux2014` means glibc 2.17 and older.
const GLIBC: [&str; 6] = [
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_25",
    "manylinux_2_18",
    "manylinux2014",
    "manylinux2010",
];

/// Number of pip's last lines that a failure repeats.
const TAIL: usize = 8;

/// A pinned wheel with one file that is needed, installed into the cache once per user.
pub struct Wheel {
    pub name: &'static str,
    pub version: &'static str,
    /// The wheel with its checksums in pip's format.
    pub requirements: &'static str,
    /// Path of the file below the folder of installed wheels.
    pub file: &'static str,
    /// Size on disk.
    pub megabytes: u32,
}

impl Wheel {
    /// Returns the path of the file; installs the wheel if it is missing.
    pub fn provision(&self, machine: &Machine) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let pinned = format!("{name}-{version}");
        let folder = machine.cache.join(&pinned);
        let file = folder.join(self.file);
        if file.exists() {
            return Ok(file);
        }
        fs::create_dir_all(&machine.cache).doing(format!("create the cache {}", machine.cache.display()))?;
        let _lock = libtorch::lock(&machine.cache.join(format!("{name}.lock")), name)?;
        // Another process may have installed it while this one waited for the lock.
        if file.exists() {
            return Ok(file);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).doing(format!("remove {}", folder.display()))?;
        }
        eprintln!(
            "installing {name} {version} into {} (once per user, {} MB)",
            folder.display(),
            self.megabytes
        );
        let files = Pip::find(name)?.install_aside(&machine.cache, &pinned, self.requirements)?;
        if !files.folder().join(self.file).exists() {
            return Err(Failure::new(format!("pip finished, but did not install {}", self.file)).hint(
                "run the command again; if it still fails, upgrade pip: python3 -m pip install --upgrade pip",
            ));
        }
        fs::rename(files.folder(), &folder).doing(format!("move {name} to {}", folder.display()))?;
        Ok(file)
    }
}

/// A working pip and the name of what it installs.
#[derive(Debug)]
pub struct Pip {
    call: &'static [&'static str],
    what: &'static str,
}

/// Temporary folder of an installation. Dropping it deletes the folder.
pub struct Staging(PathBuf);

impl Staging {
    /// Returns the folder with the installed files. The caller moves them to their final place.
    pub fn folder(&self) -> PathBuf {
        self.0.join("files")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next installation removes what cannot be removed now.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the name prefix of the temporary folders of `name`; the process id follows it.
fn aside(name: &str) -> String {
    format!("{name}.partial-")
}

/// Removes what killed installations of `name` left behind.
pub fn remove_leftovers(cache: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&aside(name)) {
            eprintln!("removing an unfinished installation");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Pip {
    /// Finds the first way of calling pip that works.
    pub fn find(what: &'static str) -> Result<Self> {
        let works = |call: &[&str]| {
            Command::new(call[0])
                .args(&call[1..])
                .arg("--version")
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|answer| answer.status.success())
        };
        CALLS.into_iter().find(|call| works(call)).map(|call| Pip { call, what }).ok_or_else(|| {
            Failure::new(format!(
                "{what} is installed with pip, but none of these commands works: {}",
                CALLS.map(|call| call.join(" ")).join(", ")
            ))
            .hint(format!(
                "install pip (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip){}",
                otherwise(what)
            ))
        })
    }

    /// Installs pinned wheels into a temporary folder in the cache, from which the caller moves them once they are
    /// complete. `requirements` lists the wheels with their checksums in pip's format.
    pub fn install_aside(&self, cache: &Path, name: &str, requirements: &str) -> Result<Staging> {
        remove_leftovers(cache, name);
        let aside = Staging(cache.join(format!("{}{}", aside(name), process::id())));
        let (list, scratch) = (aside.0.join("requirements.txt"), aside.0.join("scratch"));
        for new in [&aside.folder(), &scratch] {
            fs::create_dir_all(new).doing(format!("create {}", new.display()))?;
        }
        fs::write(&list, requirements).doing(format!("write {}", list.display()))?;
        self.install(&list, &aside.folder(), &scratch)?;
        Ok(aside)
    }

    /// Installs the wheels of a requirements file into `target`, with `scratch` for temporary files. pip verifies
    /// every wheel against the checksums in the file. Its progress goes to standard error, so that the output of a
    /// script stays clean.
    fn install(&self, requirements: &Path, target: &Path, scratch: &Path) -> Result<()> {
        let mut command = Command::new(self.call[0]);
        command
            .args(&self.call[1..])
            .args(["install", "--target"])
            .arg(target)
            .args(["--no-deps", "--no-compile", "--only-binary", ":all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(requirements)
            .args(PYTHON);
        for tag in GLIBC {
            let platform = format!("{tag}_{}", env::consts::ARCH);
            command.args(["--platform", &platform]);
        }
        // pip unpacks into the temporary folder before it moves files to the target, and /tmp is often too small
        // for that. PIP_USER and PIP_REQUIRE_VIRTUALENV may be set in the user's pip configuration and contradict
        // --target.
        command
            .env("TMPDIR", scratch)
            .env("PIP_USER", "0")
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(stderr()))
            .stderr(Stdio::piped());
        let mut child = command.spawn().doing(format!("start `{}`", self.call.join(" ")))?;
        let tail = child.stderr.take().map(|pipe| repeat(BufReader::new(pipe))).unwrap_or_default();
        let status = child.wait().doing("wait for pip")?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "pip could not install {} ({status}); its last lines were\n{}",
            self.what,
            indent(&tail)
        ))
        .hint(format!("{}{}", advice(&tail.join("\n")), otherwise(self.what))))
    }
}

/// Copies every line to standard error and returns the last few.
fn repeat(mut reader: impl BufRead) -> Vec<String> {
    let mut tail = Vec::new();
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        eprintln!("{text}");
        if !text.is_empty() {
            if tail.len() == TAIL {
                tail.remove(0);
            }
            tail.push(text);
        }
        line.clear();
    }
    tail
}

fn indent(lines: &[String]) -> String {
    match lines {
        [] => "    (none)".to_owned(),
        lines => lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"),
    }
}

/// Returns the alternative to a download with pip, if there is one.
fn otherwise(what: &str) -> &'static str {
    match what {
        "libtorch" => ",\nor set LIBTORCH to a libtorch 2.11.0 that you already have",
        _ => "",
    }
}

/// Returns what to try, guessed from pip's output.
fn advice(tail: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| tail.contains(word));
    if says(&["No space left", "Disk quota"]) {
        "make room, or set SPECTRAL_CACHE to a folder on another disk"
    } else if says(&["DO NOT MATCH", "HashMismatch"]) {
        "a download was damaged or the package index serves another file; try again, without a private index if you use one"
    } else if says(&["no such option", "ambiguous option", "Invalid platform"]) {
        "this pip is too old; upgrade it: python3 -m pip install --upgrade pip"
    } else if says(&[
        "Retrying",
        "ConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "timed out",
        "name resolution",
        "SSLError",
        "ProxyError",
        "IncompleteRead",
    ]) {
        "the package index could not be reached; check the network and proxy settings and run the command again"
    } else if says(&["No matching distribution"]) {
        "the package index has no such wheel; upgrade pip (python3 -m pip install --upgrade pip) or check which index it uses"
    } else {
        "fix what pip reports and run the command again"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_order_and_blank_ones_dropped() {
        let text: String = (0..20).map(|line| format!("line {line}\n\n")).collect();
        let tail = repeat(text.as_bytes());
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail.first().map(String::as_str), Some("line 12"));
        assert_eq!(tail.last().map(String::as_str), Some("line 19"));
    }

    #[test]
    fn advice_follows_what_pip_says() {
        let offline = "WARNING: Retrying (Retry(total=0)) after connection broken\n\
                       ERROR: No matching distribution found for torch==2.11.0";
        assert!(advice(offline).contains("network"));
        assert!(advice("OSError: [Errno 28] No space left on device").contains("SPECTRAL_CACHE"));
        assert!(advice("ERROR: No matching distribution found for torch==2.11.0").contains("index"));
        assert!(advice("no such option: --abi").contains("too old"));
        assert!(advice("?").contains("run the command again"));
        assert!(otherwise("libtorch").contains("LIBTORCH") && otherwise("maturin").is_empty());
    }
}

//! Finds pip and installs pinned wheels into a folder.

use std::env;
use std::io::{BufRead, BufReader, stderr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};

/// The ways to call pip, in the order in which they are tried.
const CALLS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// libtorch is the same for every Python, so one wheel per processor is enough, whatever Python
/// the user has. The checksums in `wheels/` belong to this one.
const PYTHON: [&str; 6] = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"];

/// The glibc versions that the pinned wheels name; `manylinux2014` stands for 2.17 and older.
const GLIBC: [&str; 5] =
    ["manylinux_2_28", "manylinux_2_27", "manylinux_2_25", "manylinux_2_18", "manylinux2014"];

/// How many of pip's last lines a failure repeats.
const TAIL: usize = 8;

/// A pip that answered.
#[derive(Debug)]
pub struct Pip(&'static [&'static str]);

impl Pip {
    /// Finds the first way of calling pip that works.
    pub fn find() -> Result<Self> {
        let works = |call: &[&str]| {
            Command::new(call[0])
                .args(&call[1..])
                .arg("--version")
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|answer| answer.status.success())
        };
        CALLS.into_iter().find(|call| works(call)).map(Pip).ok_or_else(|| {
            Failure::new(format!(
                "libtorch is fetched with pip, but none of these works: {}",
                CALLS.map(|call| call.join(" ")).join(", ")
            ))
            .hint(
                "install pip (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip),\n\
                     or set LIBTORCH to a libtorch 2.11.0 that you already have",
            )
        })
    }

    /// Installs the wheels of a requirements file into `target`, with `scratch` for temporary
    /// files. pip verifies every wheel against the checksums in the file, and its progress goes
    /// to the standard error, so that a script's output stays clean.
    pub fn install(&self, requirements: &Path, target: &Path, scratch: &Path) -> Result<()> {
        let mut command = Command::new(self.0[0]);
        command
            .args(&self.0[1..])
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
        // pip unpacks into the temporary folder before it moves things to the target. On many
        // machines /tmp is too small for that. The other two are settings that a user may have
        // in pip's configuration and that contradict --target.
        command
            .env("TMPDIR", scratch)
            .env("PIP_USER", "0")
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(stderr()))
            .stderr(Stdio::piped());
        let mut child = command.spawn().doing(format!("start `{}`", self.0.join(" ")))?;
        let tail = child.stderr.take().map(|pipe| repeat(BufReader::new(pipe))).unwrap_or_default();
        let status = child.wait().doing("wait for pip")?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "pip could not install libtorch ({status}); its last lines were\n{}",
            indent(&tail)
        ))
        .hint(advice(&tail.join("\n"))))
    }
}

/// Copies every line to the standard error and returns the last few.
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

/// What to try, guessed from pip's own words.
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
        "the package index could not be reached; check the network and proxy settings and run the command again,\n\
         or set LIBTORCH to a libtorch 2.11.0 that you already have"
    } else if says(&["No matching distribution"]) {
        "the package index has no such wheel; upgrade pip (python3 -m pip install --upgrade pip) or check which index it uses"
    } else {
        "fix what pip reports and run the command again, or set LIBTORCH to a libtorch 2.11.0 that you already have"
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
        assert!(advice("?").contains("LIBTORCH"));
    }
}

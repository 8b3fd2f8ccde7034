//! Formatting of Rust, C++ and CUDA.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Doing, Failure, Result};
use crate::machine::Machine;
use crate::pip::Wheel;

/// Folders that clang-format formats, with `.clang-format` in the root.
const FOLDERS: [&str; 2] = ["src/torch/shim", "kernels/cuda"];

const CLANG_FORMAT: Wheel = Wheel {
    name: "clang-format",
    version: "23.1.5",
    requirements: include_str!("../wheels/clang-format-23.1.5.txt"),
    file: "clang_format/data/bin/clang-format",
    megabytes: 4,
};

/// Formats all files, or fails if one is not formatted.
pub fn format(machine: &Machine, check: bool) -> Result<()> {
    let mut rust = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    rust.current_dir(&machine.root).args(["fmt", "--all"]);
    let mut cpp = Command::new(CLANG_FORMAT.provision(machine)?);
    cpp.current_dir(&machine.root).args(files(&machine.root)?);
    match check {
        true => {
            rust.arg("--check");
            cpp.args(["--dry-run", "--Werror", "--ferror-limit=3"]);
        }
        false => {
            cpp.arg("-i");
        }
    }
    for (mut command, name) in [(rust, "rustfmt"), (cpp, "clang-format")] {
        if !command.status().doing(format!("start {name}"))?.success() {
            return Err(
                Failure::new(format!("{name} expects another format")).hint("run `cargo xtask format`")
            );
        }
    }
    Ok(())
}

/// Returns the files, relative to the root of the clone and in order.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).doing(format!("read {}", folder.display()))?.flatten() {
            let path = folder.join(entry.file_name());
            let list = if root.join(&path).is_dir() { &mut folders } else { &mut files };
            list.push(path);
        }
    }
    files.sort();
    Ok(files)
}

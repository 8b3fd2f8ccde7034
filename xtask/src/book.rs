//! The documentation as a book, built by mdBook from `docs/SUMMARY.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Doing, Result};
use crate::machine::Machine;
use crate::programs::MDBOOK;
use crate::steps::expect_success;

/// Folder of the book, which `docs/book.toml` names as well. Pages are in `docs` below it, so that their links to
/// other folders of the clone lead to the copies beside it.
const FOLDER: &str = "target/book";

/// Folders of the clone that pages link to.
const LINKED: [&str; 2] = ["examples/notebooks", "std-lib"];

/// Builds the book and returns the path of its first page.
pub fn build(machine: &Machine) -> Result<PathBuf> {
    let mut mdbook = Command::new(MDBOOK.provision(machine)?);
    mdbook.current_dir(&machine.root).args(["build", "docs"]);
    expect_success(mdbook, "mdbook build")?;
    let book = machine.root.join(FOLDER);
    for folder in LINKED {
        copy(&machine.root.join(folder), &book.join(folder))?;
    }
    Ok(book.join("docs/index.html"))
}

/// Copies the files of a folder, without its folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).doing(format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).doing(format!("read {}", from.display()))?.flatten() {
        if entry.path().is_file() {
            let to = to.join(entry.file_name());
            fs::copy(entry.path(), &to).doing(format!("copy to {}", to.display()))?;
        }
    }
    Ok(())
}

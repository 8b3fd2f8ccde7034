//! Folders of runs, whose checkpoints and weights are listed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::files;
use crate::front::terminal;
use crate::train::checkpoint::folder::newest;

/// Endings of the files that the commands read.
const ENDINGS: [&str; 3] = ["safetensors", "pt", "pth"];

/// Returns the files of a run: its checkpoints in the order of their steps, and weights beside them.
fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for place in [folder.join("checkpoints"), folder.to_path_buf()] {
        let names = if place.is_dir() { files::list(&place)? } else { Vec::new() };
        let mut paths: Vec<PathBuf> = names.iter().map(|name| place.join(name)).collect();
        paths.retain(|path| path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known)));
        paths.sort();
        found.extend(paths);
    }
    match found.is_empty() {
        true => Err(Error::file(folder, "the folder has no checkpoints or weights")
            .hint("give a file, or the folder `out` of a run of `train::fit`")),
        false => Ok(found),
    }
}

/// Lists the checkpoints and weights in the folder of a run.
pub fn show(folder: &Path, as_json: bool) -> Result<()> {
    let (files, newest) = (listed(folder)?, newest(folder)?);
    let bytes = |path: &PathBuf| std::fs::metadata(path).map_or(0, |about| about.len());
    if as_json {
        let list: Vec<_> = files
            .iter()
            .map(|path| json!({ "file": path.display().to_string(), "bytes": bytes(path) }))
            .collect();
        let newest = newest.map(|path| path.display().to_string());
        let all = json!({ "folder": folder.display().to_string(), "files": list, "newest": newest });
        terminal::out(&serde_json::to_string_pretty(&all).unwrap_or_default());
        return Ok(());
    }
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let widest = files.iter().map(|path| name(path).chars().count()).max().unwrap_or(0);
    let mut out = format!("{}\n", folder.display());
    for path in &files {
        let mark = if newest.as_ref() == Some(path) { ", the newest checkpoint" } else { "" };
        out += &format!("  {:<widest$}  {:.1} MB{mark}\n", name(path), bytes(path) as f64 / 1e6);
    }
    out += &format!(
        "`spectral checkpoint show {}` shows what a file contains",
        example(&files, newest).display()
    );
    terminal::out(&out);
    Ok(())
}

/// Returns the file of a run that is most likely meant.
fn example(files: &[PathBuf], newest: Option<PathBuf>) -> PathBuf {
    newest.or_else(|| files.first().cloned()).unwrap_or_default()
}

/// Fails with the files of a folder where one file is expected.
pub fn refuse(path: &Path) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    let files = listed(path)?;
    let count = files.len();
    let of = if count == 1 { "file" } else { "files" };
    Err(Error::file(path, format!("expected a file, found a folder with {count} {of} of tensors")).hint(
        format!(
            "give one of them, such as `{}`; `spectral checkpoint show {}` lists them",
            example(&files, newest(path)?).display(),
            path.display()
        ),
    ))
}

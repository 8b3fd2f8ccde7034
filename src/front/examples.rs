//! `spectral examples [DIR]`: writes the scripts and notebooks of the project, to run and to change.

use std::path::{Path, PathBuf};

use super::terminal;
use crate::error::Result;
use crate::files;

macro_rules! embedded {
    ($($path:literal),* $(,)?) => { [$(($path, include_str!(concat!("../../", $path)))),*] };
}

/// Paths in the project and contents of the files; programs for notebooks are written beside them. Notebooks for Rust cells need a clone of the repository, so they
/// are left out.
const FILES: [(&str, &str); 13] = embedded![
    "scripts/ablate_cutoff.rhai",
    "scripts/compare_ideas.rhai",
    "scripts/finetune_correction.rhai",
    "scripts/imagenet100_latent.rhai",
    "scripts/reproduce_effect.rhai",
    "scripts/train_features.rhai",
    "examples/notebooks/ablation.ipynb",
    "examples/notebooks/gates_over_time.ipynb",
    "examples/notebooks/ideas.ipynb",
    "examples/notebooks/own_filter.ipynb",
    "examples/notebooks/tour.ipynb",
    "kernels/jupyter/nbconvert_rhai.py",
    "kernels/jupyter/papermill_rhai.py",
];

/// Writes the files to a folder, which is created if needed; returns the exit code.
pub fn examples(folder: &Path) -> u8 {
    match write(folder) {
        Ok(kept) => {
            for path in kept {
                terminal::err(&format!("note: {} already exists and was not changed", path.display()));
            }
            let run = folder.join("scripts/ablate_cutoff.rhai");
            terminal::out(&format!("scripts and notebooks are in {}", folder.display()));
            terminal::out(&format!(
                "`spectral run {}` compares three filters with a plain DiT in a few minutes",
                quoted(&run)
            ));
            let tour = quoted(&folder.join("notebooks/tour.ipynb"));
            terminal::out(&format!("`jupyter lab {tour}` opens the tour"));
            0
        }
        Err(error) => terminal::fail(error),
    }
}

/// Returns a path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+~".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Writes missing files and returns the existing ones that differ.
fn write(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for (path, text) in FILES {
        let path = folder.join(path.trim_start_matches("examples/").replace("kernels/jupyter", "notebooks"));
        match files::read(&path) {
            Ok(there) if there == text.as_bytes() => {}
            Ok(_) => kept.push(path),
            Err(_) => {
                files::make_dir(path.parent().unwrap_or(folder))?;
                files::write(&path, text)?;
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_scripts_and_notebooks_for_rhai_are_there() {
        for (folder, end) in
            [("scripts", ".rhai"), ("examples/notebooks", ".ipynb"), ("kernels/jupyter", ".py")]
        {
            for name in files::list(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = format!("{folder}/{name}");
                let expected = name.ends_with(end) && name != "model_from_rust.ipynb";
                assert_eq!(FILES.iter().any(|(known, _)| *known == path), expected, "{path}");
            }
        }
    }

    #[test]
    fn what_was_changed_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path()).unwrap().is_empty());
        let script = folder.path().join("scripts/ablate_cutoff.rhai");
        files::write(&script, "mine").unwrap();
        std::fs::remove_file(folder.path().join("notebooks/tour.ipynb")).unwrap();
        assert_eq!(write(folder.path()).unwrap(), std::slice::from_ref(&script));
        assert_eq!(files::read_text(&script).unwrap(), "mine");
        assert!(folder.path().join("notebooks/tour.ipynb").is_file());
        assert!(folder.path().join("notebooks/papermill_rhai.py").is_file());
    }

    #[test]
    fn paths_are_written_as_a_shell_takes_them() {
        assert_eq!(quoted(Path::new("spectral-examples/a.rhai")), "spectral-examples/a.rhai");
        assert_eq!(quoted(Path::new("deep/er ü/it's")), "'deep/er ü/it'\\''s'");
    }
}

//! The folder of a run, with its lock, its latest checkpoints and the best one.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::files::{self, Lock};

/// A run's folder, locked against other writers while this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    checkpoints: PathBuf,
    _lock: Lock,
}

impl Folder {
    /// Locks the folder, creating it if needed, and removes unfinished files of a killed run.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let lock = files::lock(path.join("lock"))?;
        let checkpoints = path.join("checkpoints");
        for folder in [&path, &checkpoints] {
            files::remove_unfinished(folder)?;
        }
        Ok(Self { path, checkpoints, _lock: lock })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the checkpoint after `step` steps.
    pub fn of_step(&self, step: usize) -> PathBuf {
        self.checkpoints.join(format!("step-{step:08}.safetensors"))
    }

    /// Returns the path of the best checkpoint.
    pub fn best(&self) -> PathBuf {
        self.checkpoints.join("best.safetensors")
    }

    /// Returns the steps that have a checkpoint, in ascending order.
    pub fn steps(&self) -> Result<Vec<usize>> {
        if !self.checkpoints.is_dir() {
            return Ok(Vec::new());
        }
        let step = |name: &String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
        let mut steps: Vec<usize> = files::list(&self.checkpoints)?.iter().filter_map(step).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Marks the checkpoint of a step as the best one, which is kept when older checkpoints are removed.
    pub fn mark_best(&self, step: usize) -> Result<()> {
        files::link(self.of_step(step), self.best())
    }

    /// Removes all but the latest `count` checkpoints and the best one.
    pub fn keep(&self, count: usize) -> Result<()> {
        let steps = self.steps()?;
        let old = &steps[..steps.len().saturating_sub(count)];
        old.iter().try_for_each(|step| files::remove(self.of_step(*step)))
    }

    /// Removes all checkpoints.
    pub fn clear(&self) -> Result<()> {
        self.keep(0)?;
        if self.best().exists() { files::remove(self.best()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_and_the_best_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("run")).unwrap();
        for step in [5, 10, 99, 100] {
            files::write(folder.of_step(step), step.to_string()).unwrap();
        }
        folder.mark_best(5).unwrap();
        folder.keep(2).unwrap();
        assert_eq!(folder.steps().unwrap(), [99, 100]);
        assert_eq!(files::read_text(folder.best()).unwrap(), "5");
        folder.clear().unwrap();
        assert!(folder.steps().unwrap().is_empty() && !folder.best().exists());
    }

    #[test]
    fn a_folder_has_one_run_at_a_time_and_is_tidied_first() {
        let place = tempfile::tempdir().unwrap();
        files::write(place.path().join("checkpoints/.writing-x"), "half").unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert!(files::list(place.path().join("checkpoints")).unwrap().is_empty());
        let error = Folder::open(place.path()).unwrap_err();
        assert!(error.message().contains("is working in this folder"), "{error}");
        drop(folder);
        Folder::open(place.path()).unwrap();
    }
}

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
        of_step(&self.checkpoints, step)
    }

    /// Returns the path of the best checkpoint.
    pub fn best(&self) -> PathBuf {
        self.checkpoints.join("best.safetensors")
    }

    /// Returns the steps that have a checkpoint, in ascending order.
    pub fn steps(&self) -> Result<Vec<usize>> {
        steps(&self.checkpoints)
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

    /// Returns the path of the trained weights.
    pub fn weights(&self) -> PathBuf {
        self.path.join("weights.safetensors")
    }

    /// Returns the path of averaged weights: those of the main average, or of another by its name.
    pub fn average(&self, name: Option<&str>) -> PathBuf {
        self.path.join(name.map_or("ema.safetensors".to_string(), |name| format!("ema-{name}.safetensors")))
    }

    /// Removes all checkpoints and weights.
    pub fn clear(&self) -> Result<()> {
        self.keep(0)?;
        let files = [self.best(), self.weights(), self.average(None)];
        files.iter().filter(|path| path.exists()).try_for_each(files::remove)?;
        self.clear_averages()
    }

    /// Removes the averaged weights that have a name; every run writes the main ones anew.
    pub fn clear_averages(&self) -> Result<()> {
        let named = |name: &&String| name.starts_with("ema-") && name.ends_with(".safetensors");
        files::list(&self.path)?.iter().filter(named).try_for_each(|name| files::remove(self.path.join(name)))
    }
}

fn of_step(checkpoints: &Path, step: usize) -> PathBuf {
    checkpoints.join(format!("step-{step:08}.safetensors"))
}

fn steps(checkpoints: &Path) -> Result<Vec<usize>> {
    if !checkpoints.is_dir() {
        return Ok(Vec::new());
    }
    let step = |name: &String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    let mut steps: Vec<usize> = files::list(checkpoints)?.iter().filter_map(step).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Returns the newest checkpoint of a run's folder, which may be another run's that is still going on.
pub fn newest(run: &Path) -> Result<Option<PathBuf>> {
    let checkpoints = run.join("checkpoints");
    Ok(steps(&checkpoints)?.last().map(|step| of_step(&checkpoints, *step)))
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
        for path in [folder.weights(), folder.average(None), folder.average(Some("slow"))] {
            files::write(path, "old").unwrap();
        }
        files::write(folder.path().join("emails.txt"), "kept").unwrap();
        folder.mark_best(5).unwrap();
        folder.keep(2).unwrap();
        assert_eq!(folder.steps().unwrap(), [99, 100]);
        assert_eq!(files::read_text(folder.best()).unwrap(), "5");
        folder.clear().unwrap();
        assert!(folder.steps().unwrap().is_empty() && !folder.best().exists());
        let left: Vec<String> = files::list(folder.path()).unwrap();
        assert!(left.iter().all(|name| !name.ends_with(".safetensors")), "{left:?}");
        assert!(left.contains(&"emails.txt".to_string()), "{left:?}");
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

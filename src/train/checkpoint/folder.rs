//! The folder of a run, with its lock, its latest checkpoints and the best one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, list};
use crate::files::{self, Lock};
use crate::torch::io::TensorFile;

/// Key in the metadata of weights of a run that failed.
const FAILED: &str = "failed";

/// A run's folder, locked against other writers while this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    checkpoints: PathBuf,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// The lock, and the folder itself, which stays open if it is moved.
    Locked(#[allow(dead_code, reason = "held, not read")] Lock, Option<File>),
    /// Why nothing can be written to a folder that has a checkpoint.
    Unwritable(Error),
}

impl Folder {
    /// Locks the folder, creating it if needed, and removes unfinished files of a killed run.
    ///
    /// A folder with checkpoints to which nothing can be written is opened without a lock; [`Folder::check`] then fails.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let (file, checkpoints) = (path.join("lock"), path.join("checkpoints"));
        let lock = match files::try_lock(&file) {
            Ok(Some(lock)) => lock,
            // Fails with the name of the holder.
            Ok(None) => files::lock(&file)?,
            Err(error) if newest(&path).is_ok_and(|found| found.is_some()) => {
                return Ok(Self { path, checkpoints, held: Held::Unwritable(error) });
            }
            Err(error) => return Err(error),
        };
        for folder in [&path, &checkpoints] {
            files::remove_unfinished(folder)?;
        }
        // A folder that may be written but not read cannot be opened; it works as well without.
        let held = Held::Locked(lock, File::open(&path).ok());
        Ok(Self { path, checkpoints, held })
    }

    /// Returns whether files can be written to the folder, as far as it was tried.
    pub fn is_writable(&self) -> bool {
        matches!(self.held, Held::Locked(..))
    }

    /// Returns an error if nothing can be written to the folder, or if it is not where it was; call it before a file is
    /// written, which would create the folder again.
    pub fn check(&self) -> Result<()> {
        match &self.held {
            Held::Unwritable(error) => Err(error.clone()),
            Held::Locked(_, Some(open)) if !files::leads_to(&self.path, open) => {
                Err(Error::file(&self.path, "the folder of this run was moved or deleted while it was going on").hint(
                    "the model has the weights of the last step; a folder that is moved back, or given as `out`, resumes \
                     from its last checkpoint",
                ))
            }
            Held::Locked(..) => Ok(()),
        }
    }

    /// Returns an error if the folder has weights of a run, or its best checkpoint, which a new run would replace; and whether
    /// it has weights of a run that failed before its first checkpoint, which it may replace.
    pub fn check_unused(&self) -> Result<bool> {
        let weights = self.weights();
        if weights.exists() && TensorFile::open(&weights).is_ok_and(|file| file.metadata.contains_key(FAILED))
        {
            return Ok(true);
        }
        let own = |name: &String| {
            name == "weights.safetensors" || name.starts_with("ema") && name.ends_with(".safetensors")
        };
        let mut left: Vec<String> = files::list(&self.path)?.into_iter().filter(own).collect();
        let (best, average) = (self.best(), self.average(None));
        left.extend(best.exists().then(|| "checkpoints/best.safetensors".to_string()));
        let Some(first) = left.first() else { return Ok(false) };
        let uses = if best.exists() {
            format!("`from: \"{}\"` begins a run from its best checkpoint in another `out`", best.display())
        } else {
            let weights = if average.exists() { average } else { self.path.join(first) };
            format!("`model::open(\"{0}\")` or `model.load(\"{0}\")` uses its weights", weights.display())
        };
        Err(Error::file(
            &self.path,
            format!("holds a run without the checkpoints of its steps: only {}", list(&left)),
        )
        .hint(format!("{uses}; `resume: false` removes them and starts over")))
    }

    /// Returns what the metadata of weights says if they are those of a run that failed without a checkpoint.
    pub fn failed(&self) -> Result<BTreeMap<String, String>> {
        let none = self.steps()?.is_empty();
        let entry = || (FAILED.to_string(), "before its first checkpoint".to_string());
        Ok(none.then(entry).into_iter().collect())
    }

    /// Returns the last step in the log, if it has rows.
    pub fn last_logged(&self) -> Option<usize> {
        let log = files::read_text(self.path.join("log.csv")).ok()?;
        log.lines().skip(1).filter_map(|row| row.split(',').next()?.parse().ok()).last()
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
        self.check()?;
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
        self.check()?;
        self.keep(0)?;
        let files = [self.best(), self.weights(), self.average(None)];
        files.iter().filter(|path| path.exists()).try_for_each(files::remove)?;
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
    fn a_folder_that_is_not_there_any_more_is_not_made_again() {
        let place = tempfile::tempdir().unwrap();
        let (path, away) = (place.path().join("run"), place.path().join("away"));
        let folder = Folder::open(&path).unwrap();
        folder.check().unwrap();
        std::fs::rename(&path, &away).unwrap();
        let error = folder.check().unwrap_err();
        assert!(
            error
                .message()
                .ends_with("run: the folder of this run was moved or deleted while it was going on")
        );
        std::fs::create_dir(&path).unwrap();
        folder.check().unwrap_err();
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&away, &path).unwrap();
        folder.check().unwrap();
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

//! The events of a run.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{PREFIX, TensorBoard, shorten};
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::error::Result;
use crate::files;
use crate::train::log::Row;

/// Writes the rows of a run, without the events that a killed process wrote after its last checkpoint.
pub struct RunEvents {
    /// What `on_step` and `score` write to.
    pub writer: TensorBoard,
    batch: usize,
}

impl RunEvents {
    /// Begins a file in a folder: with the settings, after `done` steps. `out` is the folder of the run's checkpoints, if
    /// any, and `position` what [`RunEvents::position`] returned at the checkpoint that the run resumed.
    pub fn begin(
        folder: &str,
        out: &str,
        done: usize,
        position: Option<&Value>,
        settings: &Map,
        batch: usize,
    ) -> Result<Self> {
        let owner = owner(out)?;
        let cut = !out.is_empty() && cut(Path::new(folder), &owner, done, position)?;
        let writer = TensorBoard::create(folder, &owner, (cut || done > 0).then_some(done + 1))?;
        writer.text("settings", &table(settings), done as i64)?;
        Ok(Self { writer, batch })
    }

    /// Returns where the events so far end.
    pub fn position(&self) -> Value {
        self.writer.position().map_or(Value::Unit, |(file, size)| {
            Value::Map(Map::from([
                ("file".to_string(), file.into_value()),
                ("size".to_string(), (size as i64).into_value()),
            ]))
        })
    }

    /// Writes a row, and the throughput since the `previous` one.
    pub fn row(&self, row: &Row, previous: Option<&Row>) -> Result<()> {
        let scalar = |name: &str, value: f64| self.writer.scalar(name, value, row.step as i64);
        scalar("loss", row.loss)?;
        scalar("lr", row.lr)?;
        scalar("grad_norm", row.grad_norm)?;
        let (steps, seconds) = previous.map_or((0, 0.0), |previous| (previous.step, previous.seconds));
        let images = (row.step - steps) * self.batch;
        scalar("images_per_second", images as f64 / (row.seconds - seconds).max(1e-9))?;
        let bins = row.loss_bins.iter().enumerate().filter(|(_, mean)| !mean.is_nan());
        bins.into_iter().try_for_each(|(bin, mean)| scalar(&format!("loss_bins/{bin}"), *mean))
    }

    /// Writes the score of a step.
    pub fn score(&self, step: usize, score: f64) -> Result<()> {
        self.writer.scalar("score", score, step as i64)
    }
}

/// Returns the end of the names of files that belong to the run with these checkpoints.
fn owner(out: &str) -> Result<String> {
    let path = match out.is_empty() {
        true => PathBuf::from(format!("process {}", std::process::id())),
        false => std::path::absolute(out).map_err(|e| files::failed(Path::new(out), &e))?,
    };
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    Ok(hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>() + ".spectral")
}

/// Removes the events of a run after a position, or all of them if no step is done; returns whether there were files.
/// Where steps are done and no position is known, all events stay.
fn cut(folder: &Path, owner: &str, done: usize, position: Option<&Value>) -> Result<bool> {
    if !folder.is_dir() {
        return Ok(false);
    }
    let mut own = files::list(folder)?;
    own.retain(|name| name.starts_with(PREFIX) && name.ends_with(owner));
    let (last, size) = match position {
        Some(Value::Map(map)) => {
            let text = |name: &str| map.get(name).unwrap_or(&Value::Unit);
            (String::from_value(text("file"))?, i64::from_value(text("size"))? as u64)
        }
        _ if done > 0 => return Ok(!own.is_empty()),
        _ => (String::new(), 0),
    };
    for name in &own {
        let path = folder.join(name);
        if *name > last {
            files::remove(&path)?;
        } else if *name == last {
            shorten(&path, size)?;
        }
    }
    Ok(!own.is_empty())
}

/// Returns the settings as a table in Markdown.
fn table(settings: &Map) -> String {
    let rows = settings.iter().map(|(name, value)| {
        let mut text = format!("{value:?}").replace(['\n', '\r'], " ").replace('|', "\\|");
        if text.chars().count() > 200 {
            text = text.chars().take(200).chain("..".chars()).collect();
        }
        format!("| {name} | `{text}` |\n")
    });
    format!("| option | value |\n| --- | --- |\n{}", rows.collect::<String>())
}

//! Event files that TensorBoard reads: `events` encodes what a file holds, `pixels` images, `run` is the log of a run.

pub(crate) mod api;
mod events;
mod pixels;
mod run;

pub use run::RunEvents;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::declare::Display;
use crate::error::Result;
use crate::torch::Tensor;
use crate::{files, scripted};
use events::{Content, event, record};

/// Writes scalars, images and texts to an event file. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct TensorBoard(Option<Arc<Mutex<Events>>>);

scripted!(
    TensorBoard,
    "tensorboard",
    |t| Display::text(t.shown()),
    text = |t| t.shown(),
    describe = |t| ("a log for TensorBoard", t.folder().map_or_else(String::new, |f| format!("in {f}"))),
);

/// An open event file.
#[derive(Debug)]
struct Events {
    path: PathBuf,
    file: File,
    /// Bytes that were written completely.
    size: u64,
}

/// What the names of event files begin with.
const PREFIX: &str = "events.out.tfevents.";

impl TensorBoard {
    /// Creates a new event file in a folder, whose name ends with `owner`. If steps before `first` were written by an
    /// earlier process, TensorBoard hides what that one wrote from `first` on.
    pub fn create(folder: impl AsRef<Path>, owner: &str, first: Option<usize>) -> Result<Self> {
        let folder = folder.as_ref();
        files::make_dir(folder)?;
        let mut now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (path, file) = loop {
            // TensorBoard reads the files of a folder in the order of their names.
            let name = format!("{PREFIX}{:010}.{:09}.{owner}", now.as_secs(), now.subsec_nanos());
            let path = folder.join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    now += std::time::Duration::from_nanos(1);
                }
                opened => break (path.clone(), opened.map_err(|e| files::failed(&path, &e))?),
            }
        };
        let writer = Self(Some(Arc::new(Mutex::new(Events { path, file, size: 0 }))));
        writer.write(0, &Content::Version)?;
        if let Some(first) = first {
            writer.write(first as i64, &Content::Start)?;
        }
        Ok(writer)
    }

    /// Returns one that writes nothing, for ranks other than the first.
    pub fn mute() -> Self {
        Self(None)
    }

    /// Writes a number.
    pub fn scalar(&self, name: &str, value: f64, step: i64) -> Result<()> {
        self.write(step, &Content::Scalar(name, value))
    }

    /// Writes an image [C, H, W], or several [B, C, H, W] in a square, from -1, black, to 1, white.
    pub fn image(&self, name: &str, images: &Tensor, step: i64) -> Result<()> {
        let image = pixels::png_of(images)?;
        self.write(step, &Content::Image(name, &image))
    }

    /// Writes a text, which TensorBoard shows as Markdown.
    pub fn text(&self, name: &str, text: &str, step: i64) -> Result<()> {
        self.write(step, &Content::Text(name, text))
    }

    fn write(&self, step: i64, content: &Content) -> Result<()> {
        let Some(events) = &self.0 else { return Ok(()) };
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let bytes = record(&event(seconds, step, content));
        let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
        let size = events.size;
        // At once, so that a kill loses nothing.
        if let Err(error) = events.file.write_all(&bytes) {
            // Half a record would end the file for its readers.
            let _ = events.file.set_len(size);
            return Err(files::failed(&events.path, &error));
        }
        events.size += bytes.len() as u64;
        Ok(())
    }

    /// Returns the name of the file and the bytes in it.
    fn position(&self) -> Option<(String, u64)> {
        let events = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some((events.path.file_name()?.to_str()?.to_string(), events.size))
    }

    fn folder(&self) -> Option<String> {
        let events = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        events.path.parent().map(|folder| folder.display().to_string())
    }

    fn shown(&self) -> String {
        match self.folder() {
            Some(folder) => format!("tensorboard log in {folder}"),
            None => "tensorboard log that writes nothing".to_string(),
        }
    }
}

/// Leaves at most the first `size` bytes of a file.
fn shorten(path: &Path, size: u64) -> Result<()> {
    let failed = |e| files::failed(path, &e);
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    file.set_len(length.min(size)).map_err(failed)
}

#[cfg(test)]
mod tests;

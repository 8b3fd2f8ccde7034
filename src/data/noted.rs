//! Opening of sets in tests, with the notes that users see.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::Dataset;
use super::folder::{ImageFolderOptions, images_in};
use crate::context::Context;
use crate::error::Result;

/// Opens a set, and returns it with all notes.
pub fn noted(paths: &[PathBuf], options: &ImageFolderOptions) -> Result<(Dataset, String)> {
    let (set, told) = with_notes(|cx| images_in(paths, options, cx));
    Ok((set?, told))
}

/// Runs `body`, and returns its result with all notes.
pub fn with_notes<T>(body: impl FnOnce(&Context) -> T) -> (T, String) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let note = Arc::new(move |text: &str| notes.lock().unwrap().push(text.to_string()));
    let result = body(&Context { note, ..Context::default() });
    let told = told.lock().unwrap().join("\n");
    (result, told)
}

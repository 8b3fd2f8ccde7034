//! Where the time goes, operator by operator, by libtorch's own profiler.

use std::path::Path;

use super::{Device, ffi};
use crate::error::{Error, Result};

/// Runs `body` and writes every operator that it called, with start and length, to a file in the format of
/// Chrome's traces; <https://ui.perfetto.dev> shows it.
pub fn record<T>(path: &Path, device: Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let text = path.to_str().ok_or_else(|| Error::argument("the path of a trace must be UTF-8"))?;
    let text = ffi::c_string(text)?;
    // SAFETY: starts the profiler of this thread.
    ffi::check(unsafe { ffi::sp_trace_start(i32::from(device.is_cuda())) })?;
    let result = body();
    // SAFETY: the path lives through the call; the profiler runs since above.
    let saved = ffi::check(unsafe { ffi::sp_trace_stop(text.as_ptr()) });
    let value = result?;
    saved?;
    match path.metadata().is_ok_and(|file| file.len() > 0) {
        true => Ok(value),
        false => Err(Error::file(path, "libtorch wrote no trace")),
    }
}

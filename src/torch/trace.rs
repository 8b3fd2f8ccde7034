//! Profiles of operators by libtorch's profiler.

use std::path::Path;

use super::{Device, ffi};
use crate::error::{Error, Result};

/// Runs `body` and writes every operator that it called, with start and duration, to a file in the Chrome trace
/// format, which <https://ui.perfetto.dev> displays.
pub fn record<T>(path: &Path, device: Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let text = path.to_str().ok_or_else(|| Error::argument("the path of a trace must be UTF-8"))?;
    let text = ffi::c_string(text)?;
    // SAFETY: starts the profiler of this thread.
    ffi::check(unsafe { ffi::sp_trace_start(i32::from(device.is_cuda())) })?;
    let result = body();
    // SAFETY: the path outlives the call; the profiler was started above.
    let saved = ffi::check(unsafe { ffi::sp_trace_stop(text.as_ptr()) });
    let value = result?;
    saved?;
    match path.metadata().is_ok_and(|file| file.len() > 0) {
        true => Ok(value),
        false => Err(Error::file(path, "libtorch wrote no trace")),
    }
}

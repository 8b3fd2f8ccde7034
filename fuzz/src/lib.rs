//! Helpers of the fuzz targets.

use std::path::Path;

/// Writes `bytes` to a file called `name` in a temporary folder, calls `body` with its path, and deletes the
/// folder.
pub fn with_file(name: &str, bytes: &[u8], body: impl FnOnce(&Path)) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(name);
    if std::fs::write(&path, bytes).is_ok() {
        body(&path);
    }
}

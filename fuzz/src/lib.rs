//! What the targets share.

use std::path::Path;

/// Writes `bytes` to a file called `name` in a folder of its own and hands its path out; both go afterwards.
pub fn with_file(name: &str, bytes: &[u8], body: impl FnOnce(&Path)) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(name);
    if std::fs::write(&path, bytes).is_ok() {
        body(&path);
    }
}

//! Whatever bytes a file holds, reading it as a checkpoint gives one or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::train::checkpoint::{Checkpoint, Parts};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if std::fs::write(file.path(), bytes).is_ok()
        && let Ok(saved) = Checkpoint::read(file.path())
    {
        let _ = saved.restore(&Parts::default());
    }
});

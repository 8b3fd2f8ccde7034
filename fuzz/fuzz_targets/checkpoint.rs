//! Reading arbitrary bytes as a checkpoint returns a checkpoint or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::train::checkpoint::{Checkpoint, PartsOptions};

fuzz_target!(|bytes: &[u8]| {
    spectral_fuzz::with_file("fuzzed.safetensors", bytes, |path| {
        if let Ok(saved) = Checkpoint::read(path) {
            let _ = saved.restore(&PartsOptions::default());
        }
    });
});

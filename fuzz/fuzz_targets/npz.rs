//! Reading an arbitrary npz file returns arrays or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spectral::torch::io::npz;

fuzz_target!(|bytes: &[u8]| {
    let _ = npz::parse_npz(bytes.to_vec(), Path::new("fuzzed.npz"));
});

//! Whatever bytes stand for a pickle, reading them gives values or an error and runs nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::torch::io::pickle;

fuzz_target!(|bytes: &[u8]| {
    let _ = pickle::parse(bytes);
});

//! Decoding an arbitrary PNG or JPEG image returns pixels or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spectral::data::decode;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode::decode(bytes, Path::new("fuzzed.png"), Default::default());
});

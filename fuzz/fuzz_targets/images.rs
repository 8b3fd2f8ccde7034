//! Decoding an arbitrary PNG, JPEG or WebP image returns pixels or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spectral::data::decode;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode::decode(bytes, Path::new("fuzzed.png"), Default::default());
});

//! Whatever bytes a file holds, reading it gives tensors or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spectral::torch::Device;
use spectral::torch::io::{npy, parse_named, pickle};

fuzz_target!(|bytes: &[u8]| {
    let _ = pickle::parse(bytes);
    let _ = npy::parse_npy(bytes.to_vec());
    let _ = parse_named(bytes.to_vec(), Path::new("fuzzed"), Device::Cpu);
});

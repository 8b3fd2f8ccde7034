//! Reading an arbitrary safetensors file returns tensors or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spectral::torch::Device;
use spectral::torch::io::safetensors;

fuzz_target!(|bytes: &[u8]| {
    let _ = safetensors::parse_safetensors(bytes, Path::new("fuzzed.safetensors"), Device::Cpu);
});

//! Reading an arbitrary `.pt` file returns tensors or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spectral::torch::Device;
use spectral::torch::io::pytorch;

fuzz_target!(|bytes: &[u8]| {
    let _ = pytorch::parse_pytorch(bytes.to_vec(), Path::new("fuzzed.pt"), Device::Cpu);
});

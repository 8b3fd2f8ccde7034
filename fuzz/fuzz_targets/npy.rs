//! Reading an arbitrary npy file returns a tensor or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::torch::io::npy;

fuzz_target!(|bytes: &[u8]| {
    let _ = npy::parse_npy(bytes.to_vec());
});

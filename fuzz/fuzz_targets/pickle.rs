//! Reading arbitrary bytes as a pickle returns values or an error, and executes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::torch::io::pickle;

fuzz_target!(|bytes: &[u8]| {
    let _ = pickle::parse(bytes);
});

//! Reading an arbitrary IDX file, compressed or not, returns an array or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::data::source::Source;
use spectral::data::idx;

fuzz_target!(|bytes: &[u8]| {
    spectral_fuzz::with_file("train-images-idx3-ubyte", bytes, |path| {
        if let Ok(source) = Source::read(path) {
            let _ = idx::read(&source, 3);
            let _ = idx::read(&source, 1);
        }
    });
});

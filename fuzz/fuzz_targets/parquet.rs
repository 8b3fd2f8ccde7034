//! Reading the footer of an arbitrary Parquet file, and the pages of its images and classes, returns or is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::data::parquet;

fuzz_target!(|bytes: &[u8]| {
    let _ = parquet::parse(bytes);
});

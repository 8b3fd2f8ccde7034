//! Reading the index of an arbitrary zip or tar file, and all its entries, returns bytes or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::data::archive::listing;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = listing::parse(bytes) {
        for entry in index.entries {
            let _ = entry.place.read(&bytes);
        }
    }
});

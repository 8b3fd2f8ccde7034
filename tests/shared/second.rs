//! Compiles the second device of `tests/second/device.cpp`, a library that a process loads before libtorch is first asked about
//! CUDA.

use std::path::PathBuf;

use crate::native::compiled;

/// Returns the path of the library, which later test runs reuse.
pub fn library() -> PathBuf {
    // The library registers itself with these two when it is loaded, so they are initialized first.
    let arguments = ["-O1", "-Wl,--no-as-needed", "-ltorch_cpu", "-lc10"];
    compiled("second/device.cpp", &[include_str!("../second/device.cpp")], &arguments)
}

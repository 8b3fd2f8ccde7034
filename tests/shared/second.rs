//! Compiles the second device of `tests/second/device.cpp`, a library that a process loads before libtorch is first asked about
//! CUDA.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use spectral::torch::libtorch_folder;

/// Returns the path of the library, which later test runs reuse.
pub fn library() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/second/device.cpp");
    let mut hash = DefaultHasher::new();
    (include_str!("../second/device.cpp"), libtorch_folder()).hash(&mut hash);
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("second-device-{:016x}.so", hash.finish()));
    if path.exists() {
        return path;
    }
    let lib = libtorch_folder();
    let include = lib.parent().unwrap().join("include");
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let output = Command::new("c++")
        .args(["-std=c++17", "-O1", "-w", "-shared", "-fPIC"])
        .arg(format!("-I{}", include.display()))
        .arg(format!("-I{}", include.join("torch/csrc/api/include").display()))
        .arg(source)
        .arg("-o")
        .arg(&partial)
        .arg(format!("-L{}", lib.display()))
        // The library registers itself with these two when it is loaded, so they are initialized first.
        .args(["-Wl,--no-as-needed", "-ltorch_cpu", "-lc10"])
        .output()
        .expect("a C++ compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&partial, &path).unwrap();
    path
}

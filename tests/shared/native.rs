//! Compiles C++ code of the tests against libtorch.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use spectral::torch::libtorch_folder;

/// Compiles a file of `tests/` into a library with these arguments of the compiler, and returns its path. Later test runs reuse it
/// unless `texts`, the code that it consists of, have changed.
pub fn compiled(file: &str, texts: &[&str], arguments: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    let mut hash = DefaultHasher::new();
    (texts, arguments, libtorch_folder()).hash(&mut hash);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("native");
    std::fs::create_dir_all(&folder).unwrap();
    let name = source.file_stem().unwrap().to_string_lossy().into_owned();
    let path = folder.join(format!("{name}-{:016x}.so", hash.finish()));
    if path.exists() {
        return path;
    }
    let lib = libtorch_folder();
    let include = lib.parent().unwrap().join("include");
    // Several test runs may compile it at once.
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let output = Command::new("c++")
        .args(["-std=c++17", "-w", "-shared", "-fPIC"])
        .arg(format!("-I{}", include.display()))
        .arg(format!("-I{}", include.join("torch/csrc/api/include").display()))
        .arg(source)
        .arg("-o")
        .arg(&partial)
        .arg(format!("-L{}", lib.display()))
        .args(arguments)
        .output()
        .expect("a C++ compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&partial, &path).unwrap();
    path
}

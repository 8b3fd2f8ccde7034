//! Compiles the C++ shim against libtorch and tells every binary where to find libtorch at run time.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/torch/shim/shim.cpp");
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = version.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
    println!("cargo:rustc-env=SPECTRAL_RUSTC={}", version.trim_start_matches("rustc "));
    // torch-sys passes this to its direct dependents only, which is why it is one of our dependencies.
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!(
            "cargo:error=libtorch was not found; run `cargo xtask libtorch` once, or set LIBTORCH to its folder"
        );
        return;
    };
    // `.libtorch` in the clone is a link: what is installed must outlive the clone.
    let lib = lib.canonicalize().unwrap_or(lib);
    let include = lib.parent().unwrap_or(Path::new("/")).join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .debug(false)
        .opt_level(1)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/torch/shim/shim.cpp")
        .compile("spectral_shim");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-env=SPECTRAL_LIBTORCH={}", lib.display());
}

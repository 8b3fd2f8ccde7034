//! Compiles the C++ shim against libtorch and tells every binary where to find libtorch at run time.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/torch/shim");
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
        .files(
            [
                "shim",
                "fused",
                "linear",
                "gate",
                "corrected",
                "memory",
                "trace",
                "launch",
                "graph",
                "halves",
                "columns",
                "cublaslt",
                "device_norm",
                "device_residual",
                "device_products",
                "device_attention",
            ]
            .map(|name| format!("src/torch/shim/{name}.cpp")),
        )
        .compile("spectral_shim");
    for (name, flags) in instruction_sets() {
        loops(name, flags);
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-env=SPECTRAL_LIBTORCH={}", lib.display());
}

/// The instruction sets that the loops are compiled for; which one runs is decided by the processor at hand.
fn instruction_sets() -> &'static [(&'static str, &'static [&'static str])] {
    match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => &[
            ("base", &[]),
            ("avx2", &["-mavx2", "-mfma"]),
            (
                "avx512",
                &["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512"],
            ),
        ],
        _ => &[("base", &[])],
    }
}

/// Compiles the loops of the fused operators for one instruction set.
fn loops(name: &str, flags: &[&str]) {
    let mut build = cc::Build::new();
    // Sums keep the order in which they are written, so that every build rounds alike.
    build.cpp(true).std("c++17").warnings(false).debug(false).opt_level(3);
    for flag in ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"].iter().chain(flags) {
        build.flag_if_supported(flag);
    }
    build
        .define("SP_ISA", name)
        .file("src/torch/shim/kernels.cpp")
        .compile(&format!("spectral_loops_{name}"));
}

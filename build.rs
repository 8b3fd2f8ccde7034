//! Compiles the C++ shim against libtorch and sets the path at which every binary finds libtorch at run time.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/torch/shim");
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = version.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
    println!("cargo:rustc-env=SPECTRAL_RUSTC={}", version.trim_start_matches("rustc "));
    // torch-sys sets this variable only for direct dependents, so it is one of our dependencies.
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!(
            "cargo:error=libtorch was not found; run `cargo xtask libtorch` once, or set LIBTORCH to its folder"
        );
        return;
    };
    // `.libtorch` in the clone is a link, but installed programs must still find libtorch without the clone.
    let lib = lib.canonicalize().unwrap_or(lib);
    let include = lib.parent().unwrap_or(Path::new("/")).join("include");
    for library in native(&include) {
        println!("cargo:rustc-link-lib=static={library}");
    }
    let runtime =
        if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos") { "c++" } else { "stdc++" };
    println!("cargo:rustc-link-lib={runtime}");
    if newer_hypot() {
        println!("cargo:rustc-link-arg-bins=-Wl,--wrap=hypot");
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-env=SPECTRAL_LIBTORCH={}", lib.display());
}

/// Returns whether the C library has a newer version of hypot than Red Hat Enterprise Linux 9 and its relatives,
/// where programs built here would not start. `shim.cpp` calls the older version instead.
fn newer_hypot() -> bool {
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    (target("OS"), target("ENV"), target("ARCH")) == ("linux".into(), "gnu".into(), "x86_64".into())
}

/// Source files of the shim, in groups. Each group is compiled as one translation unit, since most of the time is
/// spent on libtorch's headers. Names must be unique within a group.
const GROUPS: [&[&str]; 5] = [
    &["fused", "linear", "gate", "corrected", "corrected_tokens", "attention_twice", "norm_twice"],
    &["device_norm", "device_residual", "device_products", "device_attention", "columns"],
    &["shim", "memory", "trace", "launch", "flops"],
    &["bf16_weights", "graph", "cublaslt", "recompute"],
    &["ranks"],
];

/// Returns the names of the C++ libraries. They do not depend on the cargo profile, so they are compiled only if no
/// profile has done so before, nor the clone that a Rust notebook depends on.
fn native(include: &Path) -> Vec<String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    println!("cargo:rustc-link-search=native={}", out.display());
    let sets = instruction_sets();
    let names: Vec<String> = std::iter::once("spectral_shim".to_string())
        .chain(sets.iter().map(|(name, _)| format!("spectral_loops_{name}")))
        .collect();
    let fingerprint = fingerprint(include);
    // <target>/<profile>/build/<package>/out
    let shared = out.ancestors().nth(4).map(|target| target.join("shim").join(&fingerprint));
    let clone = std::env::current_dir().unwrap_or_default().join("target/shim").join(&fingerprint);
    let file = |name: &str| format!("lib{name}.a");
    let copied = |from: &Path, to: &Path| {
        names.iter().all(|n| std::fs::copy(from.join(file(n)), to.join(file(n))).is_ok())
    };
    if shared.iter().chain([&clone]).any(|compiled| copied(compiled, &out)) {
        return names;
    }
    std::thread::scope(|scope| {
        for (name, flags) in sets {
            scope.spawn(move || loops(name, flags));
        }
        shim(include, &out);
    });
    // Another build may do the same, so a rename makes the folder appear as a whole. If that fails, the next
    // profile compiles again.
    if let Some(shared) = shared {
        let aside = shared.with_extension(std::process::id().to_string());
        if std::fs::create_dir_all(&aside).is_ok() && copied(&out, &aside) {
            let _ = std::fs::rename(&aside, &shared);
        }
        let _ = std::fs::remove_dir_all(&aside);
    }
    names
}

/// Returns a hash of everything that the C++ libraries are built from.
fn fingerprint(include: &Path) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let mut files = vec![PathBuf::from("build.rs")];
    let mut folders = vec![PathBuf::from("src/torch/shim")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let (below, own): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.extend(below);
        files.extend(own);
    }
    files.sort();
    for file in files {
        (&file, std::fs::read(&file).unwrap_or_default()).hash(&mut hasher);
    }
    // Without the flags of cargo's profile, which the libraries do not get either.
    let compiler = cc::Build::new().cpp(true).debug(false).opt_level(1).get_compiler();
    let version = std::process::Command::new(compiler.path()).arg("--version").output();
    (include, compiler.path(), compiler.args(), version.map(|o| o.stdout).unwrap_or_default())
        .hash(&mut hasher);
    for name in ["TARGET", "CXXFLAGS"] {
        std::env::var_os(name).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Compiles everything except the CPU operators.
fn shim(include: &Path, out: &Path) {
    let here = std::env::current_dir().unwrap_or_default().join("src/torch/shim");
    let mut build = cc::Build::new();
    for (number, group) in GROUPS.iter().enumerate() {
        let text: String =
            group.iter().map(|name| format!("#include \"{}/{name}.cpp\"\n", here.display())).collect();
        let file = out.join(format!("group{number}.cpp"));
        if std::fs::read_to_string(&file).ok().as_deref() != Some(&text)
            && std::fs::write(&file, text).is_err()
        {
            println!("cargo:error={} cannot be written", file.display());
        }
        build.file(file);
    }
    build
        // libtorch is compiled with NDEBUG, and its headers lay out objects accordingly.
        .define("NDEBUG", None)
        .cargo_metadata(false)
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .debug(false)
        .opt_level(1)
        .include(include)
        .include(include.join("torch/csrc/api/include"))
        // Stand-ins for the headers of gloo, which libtorch's package lacks.
        .include(&here)
        .compile("spectral_shim");
}

/// Returns the instruction sets that the CPU operators are compiled for. The processor determines at run time which
/// one is used.
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

/// Compiles the CPU operators for one instruction set.
fn loops(name: &str, flags: &[&str]) {
    let mut build = cc::Build::new();
    // Sums are not reordered, so that every build rounds in the same way.
    build.cargo_metadata(false).cpp(true).std("c++17").warnings(false).debug(false).opt_level(3);
    for flag in ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"].iter().chain(flags) {
        build.flag_if_supported(flag);
    }
    build
        .define("SP_ISA", name)
        .file("src/torch/shim/kernels.cpp")
        .compile(&format!("spectral_loops_{name}"));
}

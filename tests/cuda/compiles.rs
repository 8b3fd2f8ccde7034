//! NVRTC compiles every kernel for each architecture without spilling registers.

use std::path::Path;

use spectral::torch::kernels::{FILES, Nvrtc, names, source};

const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

/// Kernel files and their definitions, in the form that the glue code writes, for models in use.
const CASES: [(&str, &str); 27] = [
    ("norm_modulate", "GATED=0 X=float M=float Y=bf16 C=bf16 D=bf16 SIZE=384 VEC=4 WARPS=8"),
    ("norm_modulate", "GATED=0 X=bf16 M=bf16 Y=bf16 C=bf16 D=float SIZE=1152 VEC=8 WARPS=8"),
    ("norm_modulate", "GATED=0 X=float M=float Y=float C=float D=float SIZE=37 VEC=1 WARPS=8"),
    ("norm_modulate", "GATED=1 X=float M=bf16 Y=bf16 C=bf16 D=bf16 SIZE=192 VEC=4 WARPS=8"),
    ("norm_modulate", "GATED=1 X=float M=bf16 Y=bf16 C=bf16 D=bf16 SIZE=384 VEC=4 WARPS=4"),
    ("norm_modulate", "GATED=1 X=float M=float Y=float C=float D=float SIZE=384 VEC=4 WARPS=4"),
    ("norm_modulate", "GATED=1 X=float M=float Y=float C=float D=float SIZE=384 VEC=4 WARPS=4 CENTERED=0"),
    ("gated_add", "X=float M=bf16 C=bf16 D=bf16 SIZE=192 VEC=4 LANES=48 ROWS=5"),
    (
        "corrected",
        "ALONE=0 X=float M=float C=float K=float D=float SIZE=192 VEC=4 LANES=8 GRID=32 RADIUS=2 FILTERS=1 CHANNELS=0",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=bf16 C=bf16 K=bf16 D=bf16 SIZE=384 VEC=4 LANES=16 GRID=16 RADIUS=2 FILTERS=1 CHANNELS=0",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=bf16 C=bf16 K=bf16 D=bf16 SIZE=384 VEC=2 LANES=4 GRID=128 RADIUS=8 FILTERS=1 CHANNELS=0",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=bf16 C=bf16 K=bf16 D=bf16 SIZE=384 VEC=4 LANES=16 GRID=16 RADIUS=2 FILTERS=1 CHANNELS=1",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=bf16 C=bf16 K=bf16 D=bf16 SIZE=384 VEC=4 LANES=8 GRID=16 RADIUS=3 FILTERS=2 CHANNELS=0",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=bf16 C=bf16 K=bf16 D=bf16 SIZE=384 VEC=2 LANES=8 GRID=16 RADIUS=8 FILTERS=2 CHANNELS=1",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=float C=float K=float D=float SIZE=192 VEC=4 LANES=4 GRID=32 RADIUS=2 FILTERS=2 CHANNELS=1",
    ),
    (
        "corrected",
        "ALONE=0 X=bf16 M=bf16 C=bf16 K=bf16 D=float SIZE=384 VEC=2 LANES=8 GRID=16 RADIUS=8 FILTERS=4 CHANNELS=1",
    ),
    (
        "corrected",
        "ALONE=0 X=float M=float C=float K=float D=float SIZE=37 VEC=1 LANES=5 GRID=28 RADIUS=4 FILTERS=3 CHANNELS=1",
    ),
    (
        "corrected",
        "ALONE=1 X=float M=float C=float K=float D=float SIZE=37 VEC=1 LANES=5 GRID=28 RADIUS=4 FILTERS=3 CHANNELS=1",
    ),
    ("qk_norm", "E=float W=float HEADS=4 SIZE=48 VEC=4 LANES=16 ROWS=1"),
    ("qk_norm", "E=bf16 W=float HEADS=4 SIZE=48 VEC=8 LANES=8 ROWS=2"),
    ("qk_norm", "E=bf16 W=bf16 HEADS=16 SIZE=72 VEC=8 LANES=16 ROWS=1"),
    ("qk_norm", "E=float W=float HEADS=4 SIZE=48 VEC=4 LANES=16 ROWS=1 ROTATE=1"),
    ("qk_norm", "E=bf16 W=bf16 HEADS=16 SIZE=72 VEC=8 LANES=16 ROWS=1 ROTATE=1"),
    ("qk_norm", "E=bf16 W=bf16 HEADS=16 SIZE=72 VEC=8 LANES=16 ROWS=1 NORM=0 ROTATE=1"),
    ("bias_gelu", "ACTIVATED=0 E=float C=float SIZE=768 VEC=4 LANES=192 ROWS=1"),
    ("bias_gelu", "ACTIVATED=0 E=bf16 C=float SIZE=1536 VEC=8 LANES=192 ROWS=1"),
    ("bias_gelu", "ACTIVATED=1 E=bf16 C=float SIZE=768 VEC=8 LANES=96 ROWS=2"),
];

/// Returns NVRTC, which `cargo xtask test` provides. Without it, prints that the test was skipped.
fn nvrtc() -> Option<Nvrtc> {
    match Nvrtc::find() {
        Ok(found) => Some(found),
        Err(error) => {
            assert!(std::env::var_os("SPECTRAL_NVRTC").is_none(), "{}", error.message());
            eprintln!("not tested: {}; `cargo xtask test` provides it", error.message());
            None
        }
    }
}

/// Returns the numbers directly before each occurrence of `word` in the assembler's output.
fn numbers_before<'a>(log: &'a str, word: &'a str) -> impl Iterator<Item = u64> + 'a {
    log.match_indices(word).filter_map(|(at, _)| log[..at].split_whitespace().next_back()?.parse().ok())
}

#[test]
fn every_kernel_compiles_for_each_architecture() {
    let Some(nvrtc) = nvrtc() else { return };
    for (file, _) in FILES {
        assert!(CASES.iter().any(|(case, _)| *case == file), "no case compiles {file}");
    }
    for (file, defines) in CASES {
        let lines = defines.replace(' ', "\n");
        for arch in ARCHITECTURES {
            let (code, log) = nvrtc.compile(file, &lines, arch, &["--ptxas-options=-v"]).unwrap();
            let what = format!("{file} {defines} {arch}");
            assert!(code.starts_with(b"\x7fELF"), "{what}");
            let kernels = names(source(file).unwrap());
            for name in &kernels {
                assert!(log.contains(&format!("'{name}'")), "{what}: {name} is missing from\n{log}");
            }
            let spilled: Vec<u64> = numbers_before(&log, "bytes spill").collect();
            assert_eq!(spilled.len(), 2 * kernels.len(), "{what}\n{log}");
            assert!(spilled.iter().all(|bytes| *bytes == 0), "{what} spills\n{log}");
            let shared = numbers_before(&log, "bytes smem").max().unwrap_or(0);
            assert!(shared <= 48 << 10, "{what} takes {shared} bytes of shared memory");
        }
    }
}

#[test]
fn what_does_not_compile_is_an_error_with_its_line() {
    let Some(nvrtc) = nvrtc() else { return };
    let error = nvrtc.compile("gated_add", "X=nonsense", "sm_90", &[]).unwrap_err();
    assert!(error.message().contains("could not compile gated_add.cu for sm_90"), "{}", error.message());
    assert!(error.detail_text().unwrap().contains("nonsense"), "{:?}", error.detail_text());
}

#[test]
fn a_folder_without_the_compiler_is_an_error() {
    let error = Nvrtc::open(Path::new("/nowhere/libnvrtc.so.13")).err().unwrap();
    assert!(error.message().contains("/nowhere/libnvrtc.so.13"), "{}", error.message());
}

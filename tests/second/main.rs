//! What scripts do on a second device, without a GPU. `device.cpp` answers to the name CUDA, computes with the CPU's operators
//! and refuses what a GPU refuses, tensors of two devices in one operator. Code that works on the CPU alone fails here.
#![cfg(test)]
#![cfg(target_os = "linux")]

mod examples;
mod ideas;
#[path = "../shared/images.rs"]
mod images;
#[path = "../shared/second.rs"]
mod library;
#[path = "../shared/examples.rs"]
mod listed;
#[path = "../shared/native.rs"]
mod native;
mod scripts;
mod training;

use std::path::Path;
use std::process::Command;

/// Runs a script in a process that has the second device; it must succeed. Returns what it printed.
fn run(folder: &Path, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(["run", script])
        .args(arguments)
        .current_dir(folder)
        .env("LD_PRELOAD", library::library())
        .env("SPECTRAL_SECOND_COUNTS", folder.join("counts"))
        .env("OMP_NUM_THREADS", "1")
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).to_string()
}

/// As [`run`], for the text of a script whose default device is the second one.
fn run_text(text: &str) -> String {
    run_text_in(tempfile::tempdir().unwrap().path(), text)
}

fn run_text_in(folder: &Path, text: &str) -> String {
    let text = format!("tensor::set_default_device(\"cuda\");\n{text}");
    std::fs::write(folder.join("script.rhai"), text).unwrap();
    run(folder, "script.rhai", &[])
}

/// Returns how often a script waits for the device, and how often it sends tensors there.
fn counts(text: &str) -> [i64; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counts");
    std::fs::write(&path, [0; 16]).unwrap();
    run_text_in(folder.path(), text);
    let bytes = std::fs::read(path).unwrap();
    [&bytes[..8], &bytes[8..]].map(|half| i64::from_ne_bytes(half.try_into().unwrap()))
}

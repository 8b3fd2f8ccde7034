//! What scripts do on a second device, without a GPU. `device.cpp` answers to the name CUDA, computes with the CPU's operators
//! and refuses what a GPU refuses, tensors of two devices in one operator. Code that works on the CPU alone fails here.
#![cfg(test)]
#![cfg(target_os = "linux")]

mod examples;
mod ideas;
#[path = "../shared/second.rs"]
mod library;
#[path = "../shared/examples.rs"]
mod listed;
mod scripts;
mod training;

use std::path::Path;
use std::process::Command;

/// Runs a script in a process that has the second device, and there by default; it must succeed. Returns what it printed.
fn run(folder: &Path, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_spectral"))
        .args(["run", script])
        .args(arguments)
        .current_dir(folder)
        .env("LD_PRELOAD", library::library())
        .env("OMP_NUM_THREADS", "1")
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).to_string()
}

/// As [`run`], for the text of a script.
fn run_text(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("tensor::set_default_device(\"cuda\");\n{text}");
    std::fs::write(folder.path().join("script.rhai"), text).unwrap();
    run(folder.path(), "script.rhai", &[])
}

//! A program need not prepare libtorch: CUDA is looked for before the first tensor.
#![cfg(target_os = "linux")]

use std::process::Command;

use spectral::prelude::*;

/// Variable that makes the test below compute instead of starting a process that does.
const COMPUTES: &str = "SPECTRAL_TEST_COMPUTES";

#[test]
fn a_program_that_only_computes_looks_for_the_driver() -> Result<()> {
    if std::env::var_os(COMPUTES).is_some() {
        // Twice on each of two threads: one search, because the process has one copy of libtorch.
        let compute = || tensor::ones([2], ())?.square()?.sum(&[], false)?.item();
        let other = std::thread::spawn(move || compute());
        assert_eq!(other.join().expect("no panic")?, 2.0);
        assert_eq!(compute()? + compute()?, 4.0);
        return Ok(());
    }
    let name = "start::a_program_that_only_computes_looks_for_the_driver";
    let program = std::env::current_exe().expect("the path of this test");
    let ran = Command::new(program)
        .args(["--exact", name])
        .envs([(COMPUTES, "1"), ("LD_DEBUG", "libs")])
        .output()
        .expect("a process");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let searches = String::from_utf8_lossy(&ran.stderr).matches("find library=libcuda.so.1 ").count();
    assert_eq!(searches, 1);
    Ok(())
}

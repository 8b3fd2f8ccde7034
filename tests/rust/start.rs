//! What a program gets without asking for it, seen from outside the process: CUDA is looked for before the first
//! tensor, and notes reach the user.

use std::process::{Command, Output};

use spectral::prelude::*;

/// Variable that makes a test below compute instead of starting a process that does.
const COMPUTES: &str = "SPECTRAL_TEST_COMPUTES";

fn computes() -> bool {
    std::env::var_os(COMPUTES).is_some()
}

/// Runs a test of this program in a process of its own.
fn process(test: &str) -> Output {
    let ran = Command::new(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", "--nocapture", test])
        .envs([(COMPUTES, "1"), ("LD_DEBUG", "libs")])
        .output()
        .expect("a process");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    ran
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_only_computes_looks_for_the_driver() -> Result<()> {
    if computes() {
        // Twice on each of two threads: one search, because the process has one copy of libtorch.
        let compute = || tensor::ones([2], ())?.square()?.sum(&[], false)?.item();
        let other = std::thread::spawn(compute);
        assert_eq!(other.join().expect("no panic")?, 2.0);
        assert_eq!(compute()? + compute()?, 4.0);
        return Ok(());
    }
    let ran = process("start::a_program_that_only_computes_looks_for_the_driver");
    let searches = String::from_utf8_lossy(&ran.stderr).matches("find library=libcuda.so.1 ").count();
    assert_eq!(searches, 1);
    Ok(())
}

#[test]
fn a_note_says_that_the_code_of_a_closure_is_not_stored() -> Result<()> {
    if computes() {
        let part = nn::part(
            function(|_: SharedBuilder| Ok(function(|r: Tensor, _: Call| Ok(r)))),
            nn::PartOptions { name: "same".into(), ..Default::default() },
        )?;
        let parts = part.at(Place::Mlp, None)?.into();
        let folder = tempfile::tempdir()?;
        return model::dit(Config { parts, ..super::small() })?.save(folder.path().join("net.safetensors"));
    }
    let ran = process("start::a_note_says_that_the_code_of_a_closure_is_not_stored");
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    let note = told.lines().find(|line| line.starts_with("note: ")).unwrap_or_default();
    assert!(note.contains("same") && note.contains("is not stored"), "{note}");
    Ok(())
}

//! Programs of crates.io in a temporary cache, built by a fake cargo.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Folder of the programs that stand in for cargo and df.
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake");

/// Temporary cache, removed at the end.
struct House(PathBuf);

impl House {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        House(root.canonicalize().unwrap())
    }

    fn run(&self, cargo: &str, free: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("evcxr")
            .env("CARGO", Path::new(FAKE).join("cargo"))
            .env("PATH", format!("{FAKE}:{}", std::env::var("PATH").unwrap()))
            .env("SPECTRAL_CACHE", self.0.join("cache"))
            .env("FAKE_CARGO", cargo)
            .env("FAKE_FREE", free)
            .env("FAKE_LOG", self.0.join("log"))
            .output()
            .unwrap()
    }

    /// Puts a script in the place of a program in the cache.
    fn stand_in(&self, name: &str, version: &str, script: &str) {
        let program = self.0.join(format!("cache/{name}-{version}/bin/{name}"));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns `cargo xtask ARGUMENTS` in the clone `clone` with the programs in the cache.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(arguments)
            .env("CARGO_MANIFEST_DIR", self.0.join("clone/xtask"))
            .env("SPECTRAL_CACHE", self.0.join("cache"));
        command
    }

    /// Runs `cargo xtask dependencies --advisories` with a script in the place of cargo-deny.
    fn advisories(&self, cargo_deny: &str) -> Output {
        fs::create_dir_all(self.0.join("clone")).unwrap();
        self.stand_in("cargo-deny", "0.20.2", cargo_deny);
        self.command(&["dependencies", "--advisories"]).output().unwrap()
    }

    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ENOUGH: &str = "50000000";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_first_call_builds_and_the_second_reuses() {
    let house = House::new("evcxr-first");
    let root = house.0.join("cache/evcxr-0.22.0");
    for _ in 0..2 {
        let output = house.run("good", ENOUGH);
        assert!(output.status.success(), "{}", said(&output));
        let program = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(Path::new(&program), root.join("bin/evcxr_jupyter"));
    }
    let calls = house.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let started = format!("{} install evcxr_jupyter@0.22.0 --locked", root.display());
    assert!(calls[0].starts_with(&started) && calls[0].ends_with("debug=0"), "{}", calls[0]);
    assert!(!root.join("build").exists());
}

#[test]
fn a_build_that_fails_is_said_and_can_go_on() {
    let house = House::new("evcxr-broken");
    for how in ["broken", "silent"] {
        let output = house.run(how, ENOUGH);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("could not build evcxr_jupyter 0.22.0"), "{}", said(&output));
    }
    // The compiled dependencies stay for the next call.
    assert!(house.0.join("cache/evcxr-0.22.0/build").exists());
    assert!(house.run("good", ENOUGH).status.success());
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_built() {
    let house = House::new("evcxr-disk");
    let output = house.run("good", "1000000");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("needs about 3 GB"), "{}", said(&output));
    assert!(house.calls().is_empty());
}

#[test]
fn a_database_out_of_reach_is_one_sentence() {
    let house = House::new("advisories-offline");
    let output = house.advisories(
        "echo '[ERROR] failed to fetch advisory database https://github.com/RustSec/advisory-db with cli: ..' >&2\n\
         exit 1",
    );
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.starts_with("error: the database of vulnerabilities could not be fetched"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_vulnerability_is_shown_and_refused() {
    let house = House::new("advisories-found");
    let output = house.advisories("echo 'error[vulnerability]: a crate, advisories FAILED' >&2\nexit 1");
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("error[vulnerability]") && said.contains("hint: use another crate"), "{said}");
    let clean = house.advisories("case \"$*\" in *advisories) exit 0;; esac\nexit 2");
    assert!(clean.status.success());
}

#[test]
fn the_book_lies_beside_copies_of_what_it_links_to() {
    let house = House::new("book");
    let clone = house.0.join("clone");
    for file in ["examples/notebooks/tour.ipynb", "std-lib/ideas.rhai"] {
        fs::create_dir_all(clone.join(file).parent().unwrap()).unwrap();
        fs::write(clone.join(file), file).unwrap();
    }
    house.stand_in("mdbook", "0.5.4", "mkdir -p target/book/$2 && echo page > target/book/$2/index.html");
    let output = house.command(&["docs"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let page = clone.join("target/book/docs/index.html");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", page.display()));
    assert!(page.is_file());
    for file in ["examples/notebooks/tour.ipynb", "std-lib/ideas.rhai"] {
        assert_eq!(fs::read_to_string(clone.join("target/book").join(file)).unwrap(), file);
    }
    house.stand_in("mdbook", "0.5.4", "exit 3");
    let output = house.command(&["docs"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("mdbook build failed"), "{}", said(&output));
}

#[test]
fn formatting_is_checked_or_applied_in_both_languages() {
    let house = House::new("format");
    let clone = house.0.join("clone");
    for file in ["src/torch/shim/a.cpp", "kernels/cuda/b.cu"] {
        fs::create_dir_all(clone.join(file).parent().unwrap()).unwrap();
        fs::write(clone.join(file), "").unwrap();
    }
    let program = house.0.join("cache/clang-format-23.1.5/clang_format/data/bin/clang-format");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    let log = house.0.join("log");
    // Refuses `--dry-run`, as the real one refuses what is not formatted.
    let script =
        format!("#!/bin/sh\necho \"$*\" >> {}\ncase \"$*\" in *--dry-run*) exit 1;; esac\n", log.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = house.command(arguments);
        command.env("CARGO", "true").output().unwrap()
    };
    let output = run(&["format", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("clang-format expects another format"), "{}", said(&output));
    assert!(run(&["format"]).status.success());
    let calls = house.calls();
    assert!(
        calls.iter().all(|call| call.starts_with("kernels/cuda/b.cu src/torch/shim/a.cpp ")),
        "{calls:?}"
    );
    assert!(calls[1].ends_with(" -i"), "{calls:?}");

    let output = house.command(&["format", "--check"]).env("CARGO", "false").output().unwrap();
    assert!(said(&output).contains("rustfmt expects another format"), "{}", said(&output));
}

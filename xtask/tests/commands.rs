//! `run` and `install` on a miniature clone: two programs without dependencies, and libtorch folders that hold only
//! the files that are checked for.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MANIFEST: &str = r#"
[workspace]

[package]
name = "spectral"
version = "0.0.0"
edition = "2024"
"#;

const LOCK: &str = r#"
version = 4

[[package]]
name = "spectral"
version = "0.0.0"
"#;

/// Build script that sets the search path as the real one does or, without the line marked `resolve`, to the link.
const BUILD: &str = r#"
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let libtorch = std::env::var("LIBTORCH").unwrap();
    let libtorch = std::fs::canonicalize(libtorch).unwrap(); // resolve
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}/lib", std::path::Path::new(&libtorch).display());
}
"#;

const PROGRAM: &str = r#"
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    println!("{} in {}", arguments.join("|"), std::env::current_dir().unwrap().display());
    std::process::exit(7);
}
"#;

struct Clone(PathBuf);

impl Clone {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let clone = Clone(root.canonicalize().unwrap());
        for (path, text) in [
            ("Cargo.toml", MANIFEST),
            ("Cargo.lock", LOCK),
            ("build.rs", BUILD),
            ("src/bin/spectral.rs", PROGRAM),
            ("src/bin/spectral-repl.rs", PROGRAM),
            (".cargo/config.toml", include_str!("../../.cargo/config.toml")),
        ] {
            clone.write(path, text);
        }
        for variant in ["cpu", "cuda13"] {
            for file in [
                "torch/lib/libtorch_cpu.so",
                "torch/lib/libtorch_cuda.so",
                "torch/lib/libc10.so",
                "torch/include/ATen/ATen.h",
                "nvidia/cu13/lib/libcudart.so.13",
                "nvidia/cu13/lib/libcupti.so.13",
                "nvidia/cu13/lib/libcublas.so.13",
                "nvidia/cudnn/lib/libcudnn.so.9",
                "nvidia/nccl/lib/libnccl.so.2",
            ] {
                clone.write(&format!("cache/libtorch-2.11.0-{variant}/{file}"), "");
            }
            clone.write(
                &format!("cache/libtorch-2.11.0-{variant}/torch/version.py"),
                "__version__ = '2.11.0+cu130'\n",
            );
        }
        // xtask looks for programs beside its own folder, as cargo lays them out.
        fs::create_dir_all(clone.0.join("target/debug")).unwrap();
        fs::hard_link(env!("CARGO_BIN_EXE_xtask"), clone.0.join("target/debug/xtask")).unwrap();
        clone
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns `cargo xtask ..` as cargo would start it in the folder `below` of this clone.
    fn xtask(&self, below: &str, arguments: &[&str]) -> Command {
        let folder = self.0.join(below);
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(self.0.join("target/debug/xtask"));
        command
            .args(arguments)
            .current_dir(folder)
            .env("CARGO_MANIFEST_DIR", self.0.join("xtask"))
            .env("LIBTORCH", self.0.join(".libtorch"))
            .env("SPECTRAL_CACHE", self.0.join("cache"))
            .env("SPECTRAL_LIBTORCH_VARIANT", "cpu")
            .env_remove("CARGO_TARGET_DIR");
        command
    }

    fn searches(&self, program: &str, variant: &str) -> bool {
        let folder = self.0.join(format!("cache/libtorch-2.11.0-{variant}/torch/lib"));
        let entry = format!("{}\0", folder.display());
        let program = fs::read(self.0.join(program)).unwrap();
        program.windows(entry.len()).any(|window| window == entry.as_bytes())
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn run_builds_and_becomes_the_program_in_the_users_folder() {
    let clone = Clone::new("run");
    let output = clone.xtask("notes", &["run", "a.rhai", "--", "--steps", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let expected = format!("run|a.rhai|--|--steps|5 in {}\n", clone.0.join("notes").display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    clone.write("src/bin/spectral.rs", "fn main() { missing() }");
    let output = clone.xtask("", &["run", "a.rhai"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("error: cargo build --release failed"), "{}", said(&output));
}

#[test]
fn install_gives_programs_that_do_not_need_the_clone() {
    let clone = Clone::new("install");
    let install = || clone.xtask("notes", &["install", "--root", "place"]);
    let output = install().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for name in ["spectral", "spectral-repl"] {
        assert!(clone.searches(&format!("notes/place/bin/{name}"), "cpu"), "{name}");
    }

    // Another variant moves the link, so the programs must be linked again.
    let output = install().env("SPECTRAL_LIBTORCH_VARIANT", "cuda").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(clone.searches("notes/place/bin/spectral", "cuda13"));

    // A build that keeps the clone's link in the program must be detected.
    let unresolved = BUILD.lines().filter(|line| !line.contains("// resolve"));
    clone.write("build.rs", &unresolved.collect::<Vec<_>>().join("\n"));
    let output = install().env("SPECTRAL_LIBTORCH_VARIANT", "cuda").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("would stop working without this clone"), "{}", said(&output));
}

//! Provisioning end to end, with a fake pip on the PATH and a temporary cache and clone.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Folder of the programs that stand in for python3 and df.
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake");

/// Temporary clone and cache, removed at the end.
struct House(PathBuf);

impl House {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        for folder in ["clone/xtask", "cache"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        House(root.canonicalize().unwrap())
    }

    fn link(&self) -> PathBuf {
        self.0.join("clone/.libtorch")
    }

    fn torch(&self, variant: &str) -> PathBuf {
        self.0.join(format!("cache/libtorch-2.11.0-{variant}/torch"))
    }

    /// Returns `cargo xtask libtorch` as cargo would start it in this clone.
    fn command(&self) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("libtorch")
            .env("CARGO_MANIFEST_DIR", self.0.join("clone/xtask"))
            .env("LIBTORCH", self.link())
            .env("SPECTRAL_CACHE", self.0.join("cache"))
            .env("SPECTRAL_LIBTORCH_VARIANT", "cpu")
            .env("PATH", format!("{FAKE}:{path}"))
            .env("FAKE_LOG", self.0.join("log"))
            .env("FAKE_PIP", "good")
            .env("FAKE_FREE", "50000000");
        command
    }

    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Returns the folders in the cache.
    fn cached(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.join("cache"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    output
}

/// Runs a command that must end with exit code 1 and returns its output.
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stdout.is_empty());
    said(&output)
}

#[test]
fn the_first_call_installs_and_links_and_the_second_reuses() {
    let house = House::new("first");
    let output = succeeds(&mut house.command());
    let torch = house.torch("cpu");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), torch.to_str().unwrap());
    assert_eq!(fs::read_link(house.link()).unwrap(), torch);
    assert!(house.link().join("lib/libtorch_cpu.so").exists());
    assert_eq!(house.cached(), ["libtorch-2.11.0-cpu"]);
    let calls = house.calls();
    assert_eq!(calls.len(), 1);
    for option in ["--no-deps", "--require-hashes", "--target"] {
        assert!(calls[0].contains(option), "{}", calls[0]);
    }

    let output = succeeds(&mut house.command());
    assert_eq!(said(&output), "");
    assert_eq!(house.calls().len(), 1);
}

#[test]
fn each_variant_has_its_folder_and_the_link_follows() {
    let house = House::new("variants");
    succeeds(&mut house.command());
    succeeds(house.command().env("SPECTRAL_LIBTORCH_VARIANT", "cuda"));
    assert_eq!(house.cached(), ["libtorch-2.11.0-cpu", "libtorch-2.11.0-cuda13"]);
    assert_eq!(fs::read_link(house.link()).unwrap(), house.torch("cuda13"));
    assert!(fails(house.command().env("SPECTRAL_LIBTORCH_VARIANT", "tpu")).contains("cpu or cuda"));
}

#[test]
fn a_failing_pip_is_quoted_with_advice_and_leaves_nothing() {
    let house = House::new("broken");
    let message = fails(house.command().env("FAKE_PIP", "offline"));
    assert!(message.contains("pip could not install libtorch"), "{message}");
    assert!(message.contains("    ERROR: No matching distribution"), "{message}");
    assert!(message.contains("check the network"), "{message}");
    assert!(house.cached().is_empty());
    assert!(fs::symlink_metadata(house.link()).is_err());

    let message = fails(house.command().env("FAKE_PIP", "full"));
    assert!(message.contains("make room"), "{message}");

    let message = fails(house.command().env("FAKE_PIP", "silent"));
    assert!(message.contains("libtorch_cpu.so is missing"), "{message}");
    assert!(house.cached().is_empty());

    succeeds(&mut house.command());
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_fetched() {
    let house = House::new("disk");
    let message = fails(house.command().env("FAKE_FREE", "1000000"));
    assert!(message.contains("needs about 4 GB"), "{message}");
    assert!(message.contains("found 1.0 GB free"), "{message}");
    assert!(house.calls().is_empty() && house.cached().is_empty());

    let cuda = |free: &str| {
        let mut command = house.command();
        command.env("SPECTRAL_LIBTORCH_VARIANT", "cuda").env("FAKE_FREE", free);
        command
    };
    assert!(fails(&mut cuda("8000000")).contains("needs about 12 GB"));
    succeeds(&mut cuda("12000000"));
}

#[test]
fn a_missing_pip_is_named_with_all_that_was_tried() {
    let house = House::new("missing");
    let message = fails(house.command().env("PATH", house.0.join("clone")));
    assert!(message.contains("python3 -m pip, python -m pip, pip3, pip"), "{message}");
    assert!(message.contains("hint: install pip"), "{message}");
}

#[test]
fn half_an_installation_is_replaced() {
    let house = House::new("half");
    let partial = house.0.join("cache/libtorch-2.11.0-cpu.partial-1/files");
    fs::create_dir_all(partial).unwrap();
    let folder = house.torch("cpu");
    fs::create_dir_all(folder.join("lib")).unwrap();
    fs::write(folder.join("lib/old"), "").unwrap();
    symlink("/nowhere/torch", house.link()).unwrap();

    let output = succeeds(&mut house.command());
    assert!(said(&output).contains("is incomplete (torch/lib/libtorch_cpu.so is missing)"));
    assert_eq!(house.cached(), ["libtorch-2.11.0-cpu"]);
    assert!(!folder.join("lib/old").exists());
    assert_eq!(fs::read_link(house.link()).unwrap(), folder);
}

#[test]
fn another_release_in_the_cache_is_not_used() {
    let house = House::new("release");
    succeeds(&mut house.command());
    fs::write(house.torch("cpu").join("version.py"), "__version__ = '2.10.0'\n").unwrap();
    let output = succeeds(&mut house.command());
    assert!(said(&output).contains("holds version 2.10.0"), "{}", said(&output));
    assert_eq!(house.calls().len(), 2);
}

#[test]
fn two_processes_at_once_install_once() {
    let house = House::new("twice");
    let start = || {
        house.command().env("FAKE_PIP", "slow").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start(), start(), start()] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(house.calls().len(), 1);
    assert_eq!(house.cached(), ["libtorch-2.11.0-cpu"]);
}

#[test]
fn a_folder_in_place_of_the_link_is_kept() {
    let house = House::new("folder");
    fs::create_dir_all(house.link().join("precious")).unwrap();
    assert!(fails(&mut house.command()).contains("expected a link or nothing"));
    assert!(house.link().join("precious").exists());
}

#[test]
fn a_libtorch_of_the_users_own_wins() {
    let house = House::new("own");
    let own = house.0.join("own");
    fs::create_dir_all(own.join("lib")).unwrap();
    fs::create_dir_all(own.join("include/ATen")).unwrap();
    fs::write(own.join("lib/libtorch_cpu.so"), "").unwrap();
    fs::write(own.join("build-version"), "2.11.0+cpu\n").unwrap();
    let output = succeeds(house.command().env("LIBTORCH", &own));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), own.to_str().unwrap());
    assert!(house.calls().is_empty() && house.cached().is_empty());
    assert!(fs::symlink_metadata(house.link()).is_err());
}

#[test]
fn a_wrong_libtorch_of_the_users_own_is_refused() {
    let house = House::new("wrong");
    let own = house.0.join("own");
    fs::create_dir_all(own.join("lib")).unwrap();
    let mut command = house.command();
    command.env("LIBTORCH", &own);
    assert!(fails(&mut command).contains("expected lib/libtorch_cpu.so in LIBTORCH="));

    fs::write(own.join("lib/libtorch_cpu.so"), "").unwrap();
    assert!(fails(&mut command).contains("expected include/ATen in LIBTORCH="));

    fs::create_dir_all(own.join("include/ATen")).unwrap();
    fs::write(own.join("version.py"), "__version__ = '2.4.1+cu121'\n").unwrap();
    let message = fails(&mut command);
    assert!(message.contains("expected libtorch 2.11"), "{message}");
    assert!(message.contains("found 2.4.1+cu121"), "{message}");
    assert!(message.contains("hint: unset LIBTORCH"), "{message}");

    assert!(fails(house.command().env("LIBTORCH", "own")).contains("absolute path"));
    assert!(house.calls().is_empty() && house.cached().is_empty());
}

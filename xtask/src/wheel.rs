//! Builds the wheel, which `pip install` puts beside a PyTorch, so that users need no compiler.
//!
//! maturin builds the two launchers of `package/`, which find the PyTorch of their environment. The program itself
//! is the one that `cargo build --release` builds. It finds libtorch by a path relative to its own folder and lies
//! beside PyTorch's folder, so the two belong together whichever Python they were installed for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::elf;
use crate::failure::{Doing, Failure, Result};
use crate::machine::{self, Machine};
use crate::notebooks;
use crate::pip::Wheel;
use crate::steps::{self, Cargo};

const MATURIN: Wheel = Wheel {
    name: "maturin",
    version: "1.16.0",
    requirements: include_str!("../wheels/maturin-1.16.0.txt"),
    file: "bin/maturin",
    megabytes: 30,
};

/// Search path of the program for libtorch. The program lies in a folder beside `torch`.
const SEARCH: &str = "$ORIGIN/../torch/lib";

/// Maximum size of the wheel, in bytes.
const LIMIT: u64 = 25_000_000;

/// Builds the wheel in `dist` and returns its path.
pub fn build(machine: &Machine, cargo: &Cargo) -> Result<PathBuf> {
    machine::check_supported()?;
    cargo.build_release()?;
    let maturin = MATURIN.provision(machine)?;
    let stage = Stage::new(steps::folder_of("release")?.with_file_name("wheel"))?;
    let oldest = stage.program(&steps::folder_of("release")?.join("spectral"))?;
    stage.kernelspec(&machine.root.join("kernels/jupyter/spectral"))?;
    stage.project(&machine.root.join("xtask/package"))?;

    let dist = machine.root.join("dist");
    let tag = format!("manylinux_2_{oldest}");
    let mut command = Command::new(maturin);
    command
        .current_dir(&stage.0)
        .args(["build", "--release", "--quiet", "--compatibility", &tag, "--target-dir"])
        .arg(stage.0.join("launcher"))
        .arg("--out")
        .arg(stage.0.join("out"))
        .env_remove("LIBTORCH")
        .stdin(Stdio::null());
    steps::expect_success(command, "maturin build")?;

    let built = only_wheel(&stage.0.join("out"))?;
    let weight = fs::metadata(&built).doing(format!("look at {}", built.display()))?.len();
    if weight > LIMIT {
        return Err(Failure::new(format!(
            "expected a wheel below {} MB, found {} MB",
            LIMIT / 1_000_000,
            weight / 1_000_000
        ))
        .hint("look for what made the program grow: `cargo bloat --release --crates`"));
    }
    // Otherwise `dist/spectral-*.whl` would match an old wheel as well.
    fs::create_dir_all(&dist).doing(format!("create {}", dist.display()))?;
    for old in wheels(&dist) {
        fs::remove_file(&old).doing(format!("remove {}", old.display()))?;
    }
    let wheel = dist.join(built.file_name().unwrap_or_default());
    fs::copy(&built, &wheel).doing(format!("copy the wheel to {}", wheel.display()))?;
    eprintln!(
        "{:.1} MB, for Python 3.10 and newer, PyTorch 2.11.0 and glibc 2.{oldest} or newer",
        weight as f64 / 1e6
    );
    Ok(wheel)
}

/// Installs the wheel into a fresh environment and tests it there: scripts, a cell, the doctor, another PyTorch,
/// removal.
pub fn test(machine: &Machine, cargo: &Cargo, wheel: &Path) -> Result<()> {
    let python = notebooks::environment(machine, notebooks::Clients::Plain)?;
    let mut pytest = Command::new(python);
    pytest
        .current_dir(&machine.root)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wheel"])
        .env("SPECTRAL_WHEEL", wheel)
        .env("SPECTRAL_TORCH", cargo.libtorch())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    steps::expect_success(pytest, "pytest tests/wheel")
}

/// Folder inside the target folder in which the wheel's contents are collected.
struct Stage(PathBuf);

impl Stage {
    fn new(folder: PathBuf) -> Result<Self> {
        // Keeps what cargo built for the launcher.
        for part in ["data", "out"] {
            let part = folder.join(part);
            if part.exists() {
                fs::remove_dir_all(&part).doing(format!("remove {}", part.display()))?;
            }
        }
        Ok(Stage(folder))
    }

    fn make(&self, below: &str) -> Result<PathBuf> {
        let folder = self.0.join(below);
        fs::create_dir_all(&folder).doing(format!("create {}", folder.display()))?;
        Ok(folder)
    }

    /// Adds the program, without its symbols, and returns the x of the oldest glibc 2.x that it starts on.
    fn program(&self, built: &Path) -> Result<u32> {
        let program = self.make("data/platlib/spectral_program")?.join("spectral");
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&program).arg(built);
        steps::expect_success(strip, "strip")?;
        let mut bytes = fs::read(&program).doing(format!("read {}", program.display()))?;
        elf::search_in(&mut bytes, SEARCH)?;
        fs::write(&program, &bytes).doing(format!("write {}", program.display()))?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, executable).doing(format!("make {} a program", program.display()))?;
        elf::glibc(&bytes)
    }

    /// Adds the Jupyter kernelspec. It names the program by a path relative to its own folder, since Jupyter may be
    /// started where the environment is not on the PATH.
    fn kernelspec(&self, source: &Path) -> Result<()> {
        let folder = self.make("data/data/share/jupyter/kernels/spectral")?;
        for entry in fs::read_dir(source).doing(format!("read {}", source.display()))?.flatten() {
            let to = folder.join(entry.file_name());
            fs::copy(entry.path(), &to).doing(format!("copy to {}", to.display()))?;
        }
        let spec = folder.join("kernel.json");
        let text = fs::read_to_string(&spec).doing(format!("read {}", spec.display()))?;
        let relative = text.replace("[\"spectral\",", "[\"{resource_dir}/../../../../bin/spectral\",");
        if relative == text {
            return Err(Failure::new(format!("expected `\"argv\": [\"spectral\",` in {}", spec.display())));
        }
        fs::write(&spec, relative).doing(format!("write {}", spec.display()))
    }

    /// Writes the files that maturin reads.
    fn project(&self, package: &Path) -> Result<()> {
        let text = include_str!("../package/pyproject.toml")
            .replace("VERSION", &version(&package.join("../../Cargo.toml"))?)
            .replace("MANIFEST", &package.join("Cargo.toml").display().to_string())
            .replace("DATA", &self.0.join("data").display().to_string());
        for (name, text) in
            [("pyproject.toml", text.as_str()), ("README.md", include_str!("../package/README.md"))]
        {
            let path = self.0.join(name);
            fs::write(&path, text).doing(format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Returns the version that a manifest states.
fn version(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest).doing(format!("read {}", manifest.display()))?;
    let stated = text.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    stated
        .map(str::to_string)
        .ok_or_else(|| Failure::new(format!("expected a line `version = \"..\"` in {}", manifest.display())))
}

fn wheels(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "whl"))
        .collect()
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    match &wheels(folder)[..] {
        [wheel] => Ok(wheel.clone()),
        several => {
            Err(Failure::new(format!("expected one wheel in {}, found {}", folder.display(), several.len())))
        }
    }
}

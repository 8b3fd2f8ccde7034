//! Properties of the machine and the environment that provisioning depends on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};

/// Variant of libtorch, by the libraries that come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without CUDA.
    Cpu,
    /// With CUDA 13 and all NVIDIA libraries.
    Cuda,
}

/// Machine and environment, as detected at the start.
#[derive(Debug)]
pub struct Machine {
    /// Root folder of the clone.
    pub root: PathBuf,
    /// Per-user cache, which may not exist yet.
    pub cache: PathBuf,
    /// The user's own `LIBTORCH`. The link that `.cargo/config.toml` sets does not count.
    pub libtorch: Option<PathBuf>,
    /// Whether an NVIDIA driver is present.
    pub driver: bool,
    /// Variant of libtorch for this machine.
    pub variant: Variant,
}

impl Machine {
    /// Reads the environment and looks for an NVIDIA driver.
    pub fn detect() -> Result<Self> {
        let root = root()?;
        let driver = has_driver();
        Ok(Machine {
            cache: cache()?,
            libtorch: path_variable("LIBTORCH").filter(|path| !is_link_of(&root, path)),
            driver,
            variant: variant(driver)?,
            root,
        })
    }

    /// Returns the link in the clone that `.cargo/config.toml` passes to every build as `LIBTORCH`.
    pub fn link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }
}

/// Returns whether `path` is the link inside the clone, however the path of the clone is spelt.
fn is_link_of(root: &Path, path: &Path) -> bool {
    let folder = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    path.file_name() == Some(".libtorch".as_ref())
        && path.parent().is_some_and(|parent| folder(parent) == folder(root))
}

/// Returns a path from the environment. An empty variable counts as unset.
fn path_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the root folder of the clone. Cargo names the crate's folder at run time; the compile-time path may be
/// stale if the clone has moved.
fn root() -> Result<PathBuf> {
    let crate_folder =
        path_variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    match crate_folder.parent() {
        Some(root) => Ok(root.to_path_buf()),
        None => Err(Failure::new(format!(
            "expected the xtask folder inside a clone, found {}",
            crate_folder.display()
        ))),
    }
}

fn cache() -> Result<PathBuf> {
    let cache = path_variable("SPECTRAL_CACHE")
        .or_else(|| path_variable("XDG_CACHE_HOME").map(|folder| folder.join("spectral")))
        .or_else(|| path_variable("HOME").map(|folder| folder.join(".cache/spectral")));
    match cache {
        Some(cache) if cache.is_absolute() => Ok(cache),
        Some(cache) => {
            Err(Failure::new(format!("expected an absolute path for the cache, found {}", cache.display()))
                .hint("set SPECTRAL_CACHE to an absolute path"))
        }
        None => Err(Failure::new(
            "expected a folder for the cache, found none of SPECTRAL_CACHE, XDG_CACHE_HOME, HOME",
        )
        .hint("set SPECTRAL_CACHE to an absolute path")),
    }
}

fn variant(driver: bool) -> Result<Variant> {
    match env::var("SPECTRAL_LIBTORCH_VARIANT").as_deref() {
        Ok("cpu") => Ok(Variant::Cpu),
        Ok("cuda") => Ok(Variant::Cuda),
        Err(env::VarError::NotPresent) | Ok("") if driver => Ok(Variant::Cuda),
        Err(env::VarError::NotPresent) | Ok("") => Ok(Variant::Cpu),
        other => {
            Err(Failure::new(format!("expected cpu or cuda in SPECTRAL_LIBTORCH_VARIANT, found {other:?}"))
                .hint("unset SPECTRAL_LIBTORCH_VARIANT to follow what the machine has"))
        }
    }
}

/// Returns whether the NVIDIA kernel module or the driver's library is present. WSL and some containers have only
/// the library.
fn has_driver() -> bool {
    if Path::new("/proc/driver/nvidia/version").exists() {
        return true;
    }
    let configured = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    env::split_paths(&configured)
        .chain(
            [
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib/aarch64-linux-gnu",
                "/usr/lib64",
                "/usr/lib",
                "/usr/lib/wsl/lib",
                "/usr/local/nvidia/lib64",
                "/usr/local/cuda/compat",
                "/run/opengl-driver/lib",
            ]
            .map(PathBuf::from),
        )
        .any(|folder| folder.join("libcuda.so.1").exists())
}

/// Fails if no wheel fits: another system, another processor, or a C library that is too old.
pub fn check_supported() -> Result<()> {
    let (system, processor) = (env::consts::OS, env::consts::ARCH);
    if system != "linux" || !["x86_64", "aarch64"].contains(&processor) {
        return Err(Failure::new(format!(
            "libtorch is provisioned for linux on x86_64 and aarch64 only, found {system} on {processor}, \
             where spectral is untested"
        ))
        .hint(
            "install PyTorch 2.11.0 yourself and set LIBTORCH to its folder:\n\
             export LIBTORCH=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')",
        ));
    }
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return Ok(());
    };
    let answer = String::from_utf8_lossy(&answer.stdout);
    match glibc(&answer) {
        Some(version) if version < (2, 28) => {
            Err(Failure::new(format!("libtorch 2.11.0 expects glibc 2.28 or newer, found {}", answer.trim()))
                .hint("use a newer distribution or a container"))
        }
        _ => Ok(()),
    }
}

/// Parses `glibc 2.36`.
fn glibc(answer: &str) -> Option<(u32, u32)> {
    let (major, minor) = answer.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the free space in KiB on the file system that holds `folder`, or `None` if `df` cannot tell.
pub fn free_kib(folder: &Path) -> Option<u64> {
    let answer = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    free_column(&String::from_utf8_lossy(&answer.stdout))
}

/// Returns the free space from the last line of `df -Pk`. Names may hold spaces, so the columns cannot be counted
/// from either end; the result is the column before the percentage.
fn free_column(answer: &str) -> Option<u64> {
    let columns: Vec<&str> = answer.lines().last()?.split_whitespace().collect();
    let percent = columns.iter().rposition(|column| column.ends_with('%'))?;
    columns.get(percent.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_versions_compare_as_numbers() {
        assert_eq!(glibc("glibc 2.36\n"), Some((2, 36)));
        assert_eq!(glibc("glibc 2.4"), Some((2, 4)));
        assert!(glibc("glibc 2.4") < glibc("glibc 2.28"));
        assert_eq!(glibc("musl"), None);
    }

    #[test]
    fn free_space_is_read_from_the_posix_table() {
        let table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                     //host/a share 264212084 16012072 79273816 17% /mnt/a share\n";
        assert_eq!(free_column(table), Some(79_273_816));
        assert_eq!(free_column("df: no such file"), None);
    }

    #[test]
    fn this_folder_has_a_known_amount_of_free_space() {
        assert!(free_kib(Path::new(env!("CARGO_MANIFEST_DIR"))).is_some());
    }
}

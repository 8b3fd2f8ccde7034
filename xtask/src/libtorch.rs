//! Provisions libtorch: the user's own, the one in the per-user cache, or a new one from pip.
//!
//! The cache holds one folder per variant. An installation is renamed into place once it is complete. A killed
//! installation leaves only a `.partial-` folder, which the next installation removes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process;

use launcher::version;

use crate::failure::{Doing, Failure, Result};
use crate::machine::{self, Machine, Variant};
use crate::pip::{Pip, remove_leftovers};

/// The PyTorch release that tch is built for.
const VERSION: &str = launcher::TORCH;

/// Location of libtorch.
#[derive(Debug)]
pub enum Place {
    /// The user's own `LIBTORCH`, which stays set for every build.
    Own(PathBuf),
    /// The `torch` folder in the per-user cache, which the link in the clone points to. `moved` says that the link
    /// pointed to another libtorch before.
    Cached { folder: PathBuf, moved: bool },
}

impl Place {
    /// Returns the folder that holds `lib` and `include`.
    pub fn folder(&self) -> &Path {
        match self {
            Place::Own(folder) | Place::Cached { folder, .. } => folder,
        }
    }
}

impl Variant {
    fn folder_name(self) -> String {
        match self {
            Variant::Cpu => format!("libtorch-{VERSION}-cpu"),
            Variant::Cuda => format!("libtorch-{VERSION}-cuda13"),
        }
    }

    /// Returns the pinned wheels and their checksums, in pip's requirements format.
    fn requirements(self) -> &'static str {
        match self {
            Variant::Cpu => include_str!("../wheels/libtorch-2.11.0-cpu.txt"),
            Variant::Cuda => include_str!("../wheels/libtorch-2.11.0-cuda13.txt"),
        }
    }

    /// Returns the peak disk space of an installation in GB: downloads, unpacked files and the result.
    fn gigabytes(self) -> u64 {
        match self {
            Variant::Cpu => 4,
            Variant::Cuda => 12,
        }
    }

    /// Returns the paths that a complete installation holds, relative to its folder.
    fn contents(self) -> &'static [&'static str] {
        const CUDA: [&str; 9] = [
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libc10.so",
            "torch/include/ATen",
            "nvidia/cu13/lib/libcudart.so.13",
            "nvidia/cu13/lib/libcupti.so.13",
            "torch/lib/libtorch_cuda.so",
            "nvidia/cu13/lib/libcublas.so.13",
            "nvidia/cudnn/lib",
            "nvidia/nccl/lib",
        ];
        match self {
            Variant::Cpu => &CUDA[..5],
            Variant::Cuda => &CUDA,
        }
    }
}

/// Finds libtorch or installs it, and links it into the clone.
pub fn provision(machine: &Machine) -> Result<Place> {
    if let Some(own) = &machine.libtorch {
        check_own(own)?;
        return Ok(Place::Own(own.clone()));
    }
    machine::check_supported()?;
    let folder = machine.cache.join(machine.variant.folder_name());
    if check(&folder, machine.variant).is_err() {
        install(machine, &folder)?;
    }
    // The cache may be reached through links, but programs must be linked to the real path.
    let torch = folder.join("torch");
    let torch = torch.canonicalize().doing(format!("resolve {}", torch.display()))?;
    let moved = link(&machine.link(), &torch)?;
    Ok(Place::Cached { folder: torch, moved })
}

/// Fails unless `LIBTORCH` holds a libtorch that tch can be built with.
fn check_own(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let hint = format!(
        "unset LIBTORCH to have libtorch {VERSION} provisioned,\nor set it to the absolute path of a folder that holds lib/ and include/"
    );
    let refuse = |what: String| Err(Failure::new(what).hint(hint.clone()));
    if !folder.is_absolute() {
        return refuse(format!(
            "expected an absolute path in LIBTORCH, since builds run in several folders, found {shown}"
        ));
    }
    let library = format!("lib/{}torch_cpu{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    for part in [library.as_str(), "include/ATen"] {
        if !folder.join(part).exists() {
            return refuse(format!("expected {part} in LIBTORCH={shown}, found no such file"));
        }
    }
    // tch depends only on the minor release, and a libtorch from elsewhere may not state its version.
    match version(folder) {
        Some(found) if !found.starts_with("2.11.") => {
            refuse(format!("expected libtorch 2.11 in LIBTORCH={shown}, found {found}"))
        }
        _ => Ok(()),
    }
}

/// Returns `Ok` if an installation is complete, otherwise what is missing.
fn check(folder: &Path, variant: Variant) -> std::result::Result<(), String> {
    for part in variant.contents() {
        if !folder.join(part).exists() {
            return Err(format!("{part} is missing"));
        }
    }
    match version(&folder.join("torch")) {
        Some(found) if launcher::fits(&found) => Ok(()),
        Some(found) => Err(format!("it holds version {found}")),
        None => Err("torch/version.py is missing".to_owned()),
    }
}

/// Installs into a temporary folder beside `folder`, checks the result and renames it.
fn install(machine: &Machine, folder: &Path) -> Result<()> {
    let (cache, variant) = (&machine.cache, machine.variant);
    fs::create_dir_all(cache).doing(format!("create the cache {}", cache.display()))?;
    let _lock = lock(&cache.join("libtorch.lock"), "libtorch")?;
    // Another process may have installed it while this one waited for the lock.
    let Err(missing) = check(folder, variant) else {
        return Ok(());
    };
    let pip = Pip::find("libtorch")?;
    if folder.exists() {
        eprintln!("libtorch in {} is incomplete ({missing}); installing it again", folder.display());
        fs::remove_dir_all(folder).doing(format!("remove {}", folder.display()))?;
    }
    let name = variant.folder_name();
    remove_leftovers(cache, &name);
    check_space(cache, variant)?;

    eprintln!("installing libtorch {VERSION} into {} (once per user)", folder.display());
    let files = pip.install_aside(cache, &name, variant.requirements())?;
    check(&files.folder(), variant).map_err(|missing| {
        Failure::new(format!("pip finished, but the installation is incomplete: {missing}")).hint(
            "run the command again; if it still fails, upgrade pip: python3 -m pip install --upgrade pip",
        )
    })?;
    fs::rename(files.folder(), folder).doing(format!("move libtorch to {}", folder.display()))
}

/// Takes the lock of the cache. The system releases it when this process ends, however it ends.
pub fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).doing(format!("create {}", path.display()))?;
    let waited = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another process that is installing {what}");
            file.lock()
        }
        Err(TryLockError::Error(cause)) => Err(cause),
        Ok(()) => Ok(()),
    };
    if let Err(cause) = waited {
        // Some network file systems do not support locks. Each process has its own temporary folder and the rename
        // decides, so two installations at the same time only waste time.
        eprintln!("going on without a lock on {}: {cause}", path.display());
    }
    Ok(file)
}

fn check_space(cache: &Path, variant: Variant) -> Result<()> {
    let needed = variant.gigabytes();
    match machine::free_kib(cache) {
        Some(free) if free < needed * 1_000_000_000 / 1024 => Err(Failure::new(format!(
            "installing libtorch needs about {needed} GB in {}, found {:.1} GB free",
            cache.display(),
            free as f64 * 1024.0 / 1e9
        ))
        .hint("make room, or set SPECTRAL_CACHE to a folder on another disk")),
        _ => Ok(()),
    }
}

/// Points the link in the clone at `torch`. Returns whether it pointed elsewhere before.
fn link(link: &Path, torch: &Path) -> Result<bool> {
    let before = match fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => fs::read_link(link).ok(),
        Ok(_) => {
            return Err(Failure::new(format!(
                "expected a link or nothing at {}, found a file or folder",
                link.display()
            ))
            .hint("move it away; to use a libtorch of your own, set LIBTORCH"));
        }
        Err(_) => None,
    };
    if before.as_deref() == Some(torch) {
        return Ok(false);
    }
    // A rename replaces the old link atomically, so a concurrent build always finds one.
    let fresh = link.with_file_name(format!(".libtorch.{}", process::id()));
    let _ = fs::remove_file(&fresh);
    symlink(torch, &fresh).doing(format!("link {} to {}", fresh.display(), torch.display()))?;
    fs::rename(&fresh, link).doing(format!("move the link to {}", link.display()))?;
    Ok(before.is_some())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_wheel_has_a_checksum_for_both_processors() {
        for variant in [Variant::Cpu, Variant::Cuda] {
            let text = variant.requirements();
            assert!(text.contains(&format!("torch=={VERSION} ")));
            let wheels = text.lines().filter(|line| line.contains("==")).count();
            let sums: Vec<&str> = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("--hash=sha256:"))
                .map(|sum| sum.trim_end_matches([' ', '\\']))
                .collect();
            assert_eq!(sums.len(), 2 * wheels, "{variant:?}");
            for sum in sums {
                assert!(sum.len() == 64 && sum.chars().all(|digit| digit.is_ascii_hexdigit()), "{sum}");
            }
        }
    }
}

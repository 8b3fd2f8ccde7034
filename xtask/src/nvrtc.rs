//! Provisions NVRTC, which compiles CUDA kernels in the tests on machines without a GPU.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Result};
use crate::libtorch::{self, Place};
use crate::machine::Machine;
use crate::pip::Pip;

/// Release that comes with the CUDA variant of libtorch.
const VERSION: &str = "13.0.88";

const REQUIREMENTS: &str = include_str!("../wheels/nvrtc-13.0.88.txt");

/// Folder of the library, relative to the folder of installed wheels.
const LIBRARIES: &str = "nvidia/cu13/lib";

fn holds(folder: &Path) -> bool {
    folder.join("libnvrtc.so.13").exists()
}

/// Returns the folder of the library: beside libtorch, or in the cache, where it is installed if it is missing.
pub fn provision(machine: &Machine, place: &Place) -> Result<PathBuf> {
    let beside = place.folder().parent().map(|packages| packages.join(LIBRARIES));
    if let Some(beside) = beside.filter(|folder| holds(folder)) {
        return Ok(beside);
    }
    let name = format!("nvrtc-{VERSION}");
    let folder = machine.cache.join(&name);
    let libraries = folder.join(LIBRARIES);
    if holds(&libraries) {
        return Ok(libraries);
    }
    fs::create_dir_all(&machine.cache).doing(format!("create the cache {}", machine.cache.display()))?;
    let _lock = libtorch::lock(&machine.cache.join("nvrtc.lock"), "NVRTC")?;
    // Another process may have installed it while this one waited for the lock.
    if holds(&libraries) {
        return Ok(libraries);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).doing(format!("remove {}", folder.display()))?;
    }
    eprintln!("installing NVRTC {VERSION} into {} (once per user, 90 MB)", folder.display());
    let files = Pip::find("NVRTC")?.install_aside(&machine.cache, &name, REQUIREMENTS)?;
    if !holds(&files.folder().join(LIBRARIES)) {
        return Err(Failure::new("pip finished, but did not install libnvrtc.so.13").hint(
            "run the command again; if it still fails, upgrade pip: python3 -m pip install --upgrade pip",
        ));
    }
    fs::rename(files.folder(), &folder).doing(format!("move NVRTC to {}", folder.display()))?;
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_the_one_that_comes_with_libtorch() {
        let with_libtorch = include_str!("../wheels/libtorch-2.11.0-cuda13.txt");
        let pinned = REQUIREMENTS.split_once("nvidia-cuda-nvrtc").map(|(_, rest)| rest.trim());
        assert!(pinned.is_some_and(|pinned| with_libtorch.contains(pinned)));
        assert!(REQUIREMENTS.contains(&format!("=={VERSION} ")));
    }
}

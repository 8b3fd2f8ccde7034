//! Provisions NVRTC, which compiles CUDA kernels in the tests on machines without a GPU.

use std::path::PathBuf;

use crate::failure::Result;
use crate::libtorch::Place;
use crate::machine::Machine;
use crate::pip::Wheel;

/// Release that comes with the CUDA variant of libtorch.
const NVRTC: Wheel = Wheel {
    name: "nvrtc",
    version: "13.0.88",
    requirements: include_str!("../wheels/nvrtc-13.0.88.txt"),
    file: "nvidia/cu13/lib/libnvrtc.so.13",
    megabytes: 90,
};

/// Returns the folder of the library: beside libtorch, or in the cache, where it is installed if it is missing.
pub fn provision(machine: &Machine, place: &Place) -> Result<PathBuf> {
    let beside = place.folder().parent().map(|packages| packages.join(NVRTC.file));
    let mut library = match beside.filter(|library| library.exists()) {
        Some(beside) => beside,
        None => NVRTC.provision(machine)?,
    };
    library.pop();
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_the_one_that_comes_with_libtorch() {
        let with_libtorch = include_str!("../wheels/libtorch-2.11.0-cuda13.txt");
        let pinned = NVRTC.requirements.split_once("nvidia-cuda-nvrtc").map(|(_, rest)| rest.trim());
        assert!(pinned.is_some_and(|pinned| with_libtorch.contains(pinned)));
        assert!(NVRTC.requirements.contains(&format!("=={} ", NVRTC.version)));
    }
}

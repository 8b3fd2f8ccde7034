//! Comparison with the numbers of the PyTorch oracle. `SPECTRAL_FIXTURES` names the folder of fixtures; the default
//! is the copy in this repository.
#![cfg(test)]

mod exchange;
mod families;
mod inception;
mod measures;
mod metrics;
mod model;
mod samplers;
mod torchscript;
mod train;
mod vae;
mod vae_public;

use std::path::PathBuf;

/// Returns the folder of fixtures.
fn fixtures() -> PathBuf {
    match std::env::var_os("SPECTRAL_FIXTURES") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
    }
}

//! Numbers of the PyTorch oracle, reproduced: `SPECTRAL_FIXTURES` names the folder (default: the copies here).

mod inception;
mod measures;
mod metrics;
mod model;
mod torchscript;
mod train;
mod vae;

use std::path::PathBuf;

/// The folder of fixtures.
#[allow(dead_code)]
fn fixtures() -> PathBuf {
    match std::env::var_os("SPECTRAL_FIXTURES") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
    }
}

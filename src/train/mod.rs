//! Training: one call, [`fit`](mod@fit), and the parts it is made of.
//!
//! - [`adamw`]: the optimizer with state of its own; [`parameters`]: what it updates; [`groups`] of them; [`clip`]
//! - [`schedule`]: factors of the learning rate; [`ema`]: averaged weights
//! - [`fit`](mod@fit): the loop, step by step in `training`, with its loss in `objective`; [`run`]: what it returns; [`log`]: its CSV file
//! - [`checkpoint`]: everything that a run consists of, in one file; `saved`: a run to and from it
//! - `recorded`: loss and gradients by a graph of CUDA's

pub mod adamw;
mod also;
pub mod checkpoint;
pub mod clip;
pub mod ema;
pub mod fit;
pub mod groups;
pub mod log;
mod masters;
mod objective;
pub mod parameters;
mod recorded;
pub mod run;
mod saved;
pub mod schedule;
mod training;

pub use adamw::{AdamW, AdamWOptions};
pub use ema::{Ema, EmaOptions};
pub use fit::{Fit, fit, not_stored};
pub use groups::{Group, Groups};
pub use parameters::Parameters;
pub use recorded::RecordedBackward;
pub use run::Run;

use crate::error::Result;
use crate::torch::rng::mix;
use crate::torch::{Device, Generator};

/// The random numbers of one step, which depend on the seed and the step alone: on one device a run that was stopped
/// and goes on draws what it would have drawn.
pub fn generator(seed: i64, step: u64, device: Device) -> Result<Generator> {
    // Loaders mix the same seed with the number of a pass.
    Generator::new(mix(mix(seed as u64, u64::MAX), step), device)
}

#[cfg(test)]
mod tests;

//! Training: the loop [`fit`](mod@fit) and its components.
//!
//! - [`optimizer`]: AdamW, [`muon`] for matrices, and [`custom`] rules; [`parameters`]: the tensors it updates; [`groups`] of parameters; [`clip`]: gradient
//!   clipping
//! - [`schedule`]: factors of the learning rate; [`ema`]: averaged weights; [`averages`]: those of a run;
//!   [`posthoc`]: averages of any length after training
//! - [`fit`](mod@fit): the loop, with its steps in `training`, what it tells of them in `reported`, and its loss in `objective`;
//!   [`run`]: its result;
//!   [`log`]: its CSV file; [`mod@tensorboard`]: logs for TensorBoard; `bins`: errors by time
//! - [`checkpoint`]: the whole state of a run in one file; `saved`: saving and resuming a run; `from`: a run that
//!   begins from another one
//! - `captured`: values that code captured and that nothing trains
//! - `recorded`: loss and gradients by a CUDA graph

mod also;
pub(crate) mod api;
pub mod averages;
mod bins;
mod captured;
pub mod checkpoint;
pub mod clip;
mod compared;
pub mod custom;
pub mod ema;
pub mod fit;
mod from;
pub mod groups;
pub mod log;
mod masters;
mod measured;
pub mod muon;
mod objective;
pub mod optim;
pub mod optimizer;
pub mod parameters;
pub mod posthoc;
mod received;
mod recorded;
mod reported;
pub mod run;
mod saved;
pub mod schedule;
mod scored;
mod stopped;
pub mod tensorboard;
mod training;

pub use also::{Companion, Companions};
pub use api::StepGeneratorOptions;
pub use api::space::*;
pub use averages::{AverageOptions, Averages, PosthocOptions};
pub use custom::{CustomAndAdamWOptions, CustomOptions};
pub use ema::{Ema, EmaOptions, Profile};
pub use fit::{FitOptions, NotFinite, Precision, not_stored};
pub use groups::{Group, Groups};
pub use muon::{Method, MuonAndAdamWOptions, MuonOptions};
pub use optimizer::{AdamWOptions, Optimizer};
pub use parameters::Parameters;
pub use posthoc::PosthocAverageOptions;
pub use recorded::RecordedBackward;
pub use run::Run;
pub use schedule::Schedule;
pub use stopped::last;
pub use tensorboard::TensorBoard;
pub use tensorboard::api::TensorBoardOptions;
pub use tensorboard::api::space::*;

use crate::error::Result;
use crate::torch::rng::mix;
use crate::torch::{Device, Generator};

/// Returns the random number generator of one training step. It depends only on the seed and the step, so a resumed
/// run draws the same numbers on the same device.
pub(crate) fn step_generator(seed: i64, step: u64, device: Device) -> Result<Generator> {
    // Loaders mix the same seed with the number of the epoch. For seed 0 the inner result is 0 too, so a step draws from the
    // stream of the epoch with its number; a change would end the exact resume of runs with the default seed.
    Generator::new(mix(mix(seed as u64, u64::MAX), step), device)
}

#[cfg(test)]
mod tests;

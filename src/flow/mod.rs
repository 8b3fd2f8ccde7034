//! Flow matching: straight paths from noise at t = 0 to data at t = 1.
//!
//! - [`path`](mod@path): points on the path and their velocities; [`loss`](mod@loss) and [`losses`]: training
//!   losses
//! - [`variational`]: training loss of the discrete diffusion of DiT
//! - [`timesteps`]: distributions of training times, one file each; `shift`: their shift by resolution
//! - [`ode`]: solvers with given and with adaptive steps, one file each
//! - [`guidance`]: classifier-free guidance; [`sample`](mod@sample): sampling of images from noise
//! - [`likelihood`]: log likelihoods of images
//!
//! Images are [B, C, H, W] in [-1, 1]. The path and target are those of rectified flow and of SiT's linear
//! interpolant (Liu et al. 2023, equation 1; Ma et al. 2024).

mod answer;
pub(crate) mod api;
pub mod guidance;
pub mod likelihood;
pub mod loss;
pub mod losses;
pub mod ode;
pub mod path;
pub mod sample;
mod shift;
pub mod timesteps;
pub mod variational;

pub use api::space::*;
pub use api::{DrawOptions, IntegrateOptions, PairOptions, PathPairOptions};
pub use guidance::GuidanceOptions;
pub use likelihood::{Likelihood, LikelihoodOptions};
pub use losses::Loss;
pub use ode::{OdeSolver, Solver};
pub use path::Times;
pub use path::{Facts, Interpolant, Pair, Path, PathOptions, PathStep, Predict};
pub use sample::{
    Conditions, Diffusion, Labels, LastStep, SampleOptions, Sampler, SamplingStep, Spacing, State, Variance,
};
pub use timesteps::{
    Cosmap, Edm, LogitNormal, Mode, Timesteps, Uniform, cosmap, edm, logit_normal, mode, uniform,
};
pub use variational::{DiffusionLoss, DiffusionLossOptions};

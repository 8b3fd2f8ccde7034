//! Flow matching: from noise at t = 0 along straight paths to data at t = 1.
//!
//! - [`path`](mod@path): the point on the path and its velocity; [`loss`](mod@loss)
//! - [`timesteps`]: how training draws t, one file each
//! - [`ode`]: Euler, Heun and Runge-Kutta, one file each
//! - [`guidance`]: classifier-free guidance; [`sample`](mod@sample): images from noise
//!
//! Images are [B, C, H, W] in [-1, 1]. The path and target are those of rectified flow and of SiT's linear
//! interpolant (Liu et al. 2023, equation 1; Ma et al. 2024).

pub mod guidance;
pub mod loss;
pub mod ode;
pub mod path;
pub mod sample;
pub mod timesteps;

pub use guidance::{Guidance, velocity};
pub use loss::loss;
pub use path::{Pair, pair};
pub use sample::{Labels, Sample, sample};
pub use timesteps::Timesteps;

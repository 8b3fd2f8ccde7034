//! Namespaces of scripts as Rust modules; `spectral::prelude` adds the types.

/// Transforms of images and token grids, with gains.
pub mod basis {
    pub use crate::spectral::basis::rust::*;
}

/// Low-pass filters on the token grid.
pub mod filter {
    pub use crate::spectral::filter::rust::*;
}

/// Gates, which determine the coefficients of the bands.
pub mod gate {
    pub use crate::spectral::gate::rust::*;
}

/// Parts of networks, and builders of their parameters.
pub mod nn {
    pub use crate::model::parts::api::space::rust::*;
    pub use crate::nn::maker::space::rust::*;
    pub use crate::script::model::networks::rust::*;
}

/// DiT and SpectralDiT.
pub mod model {
    pub use crate::script::model::namespace::rust::*;
}

/// Data sets.
pub mod data {
    pub use crate::script::data::space::rust::*;
}

/// Training in one call.
pub mod train {
    pub use crate::script::train::space::rust::*;
}

/// Checkpoints: the whole state of a training loop in one file.
pub mod checkpoint {
    pub use crate::script::checkpoint::space::rust::*;
}

/// The parts of a training loop.
pub mod optim {
    pub use crate::script::optim::space::rust::*;
}

/// Paths, velocities, samplers and distributions of times.
pub mod flow {
    pub use crate::flow::timesteps::rust::*;
    pub use crate::script::flow::space::rust::*;
}

/// Training losses.
pub mod loss {
    pub use crate::flow::losses::api::space::rust::*;
}

/// Image autoencoders for latent diffusion.
pub mod vae {
    pub use crate::script::vae::space::rust::*;
}

/// Metrics.
pub mod eval {
    pub use crate::script::eval::features::space::rust::*;
    pub use crate::script::eval::measures::space::rust::*;
    pub use crate::script::eval::space::rust::*;
    pub use crate::script::eval::summaries::space::rust::*;
}

/// Figures.
pub mod plot {
    pub use crate::script::plot::{charts::rust::*, maps::rust::*};
}

/// Constructors of tensors; methods are those of [`Tensor`](crate::torch::Tensor).
pub mod tensor {
    pub use crate::script::tensor::rust::*;
}

/// Tables of results.
pub mod table {
    pub use crate::script::table::make::rust::*;
}

/// HTML reports of text, tables and figures.
pub mod report {
    pub use crate::script::reports::make::rust::*;
}

pub use super::gate::global::rust::*;
pub use super::tensor::global::*;

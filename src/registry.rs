//! Everything that scripts and Rust programs can call, in one list.
//!
//! Each room lists its types and functions with [`api!`](crate::api). This file lists the rooms, and the namespaces of
//! scripts as Rust modules, which [`prelude`](crate::prelude) exports.

use crate::declare::{Declaration, TypeRegistry};

macro_rules! rooms {
    ($($room:ident),* $(,)?) => {
        /// Returns the declared functions of all rooms, in the order of the reference.
        pub fn declarations() -> Vec<&'static Declaration> {
            let mut all = Vec::new();
            $( all.extend(crate::$room::api::declarations()); )*
            all
        }

        /// Adds the types of all rooms.
        pub fn types(registry: &mut impl TypeRegistry) {
            $( crate::$room::api::types(registry); )*
        }
    };
}

rooms! { spectral, nn, model, data, flow, ranks, train, vae, plot, eval, table, files, text, report, torch }

macro_rules! namespaces {
    ($($(#[$doc:meta])* $name:ident: [$($($module:ident)::+),* $(,)?];)*) => {
        /// The namespaces of scripts as Rust modules.
        pub mod namespaces {$(
            $(#[$doc])*
            pub mod $name {
                $( pub use crate::$($module)::+::rust::*; )*
            }
        )*}
    };
}

namespaces! {
    /// Transforms of images and token grids, with gains.
    basis: [spectral::basis];
    /// Low-pass filters on the token grid.
    filter: [spectral::filter];
    /// Gates, which determine the coefficients of the bands.
    gate: [spectral::gate];
    /// Parts of networks, and builders of their parameters.
    nn: [model::parts::api::space, nn::shared_builder::space, model::own::api];
    /// DiT and SpectralDiT.
    model: [model::api::namespace];
    /// Data sets.
    data: [data::api::space];
    /// Several processes that make one run.
    ranks: [ranks::api::space];
    /// Training in one call.
    train: [train::api::space];
    /// Checkpoints: the whole state of a training loop in one file.
    checkpoint: [train::checkpoint::api::space];
    /// The parts of a training loop.
    optim: [train::optim::space];
    /// Paths, velocities, samplers and distributions of times.
    flow: [flow::timesteps, flow::api::space];
    /// Training losses.
    loss: [flow::losses::api::space];
    /// Image autoencoders for latent diffusion.
    vae: [vae::api::space];
    /// Metrics.
    eval: [eval::api::features::space, eval::api::measures::space, eval::api::space, eval::api::summaries::space];
    /// Figures.
    plot: [plot::api::charts, plot::api::maps];
    /// Constructors of tensors; methods are those of [`Tensor`](crate::torch::Tensor).
    tensor: [torch::api];
    /// Tables of results.
    table: [table::api::make];
    /// HTML reports of text, tables and figures.
    report: [report::api::make];
}

/// Functions that belong to no namespace.
pub mod global {
    pub use crate::spectral::correction::api::global::rust::*;
    pub use crate::torch::api::global::*;
}

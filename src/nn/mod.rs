//! Layers of networks: linear, normalisation, attention, MLP, embeddings, initialisation; named parameters.
//!
//! A layer is a plain struct that holds its tensors. Its constructor takes a [`Builder`], which makes the
//! parameters and records them under their PyTorch names; its `forward` is a pure function of its inputs.
//!
//! - [`params`]: the builder; [`init`]: how a weight starts
//! - [`glob`]: names picked by patterns
//! - [`linear`], [`conv`], [`norm`], [`attention`], [`mlp`]
//! - [`embed`]: time, label and patch embeddings, and the fixed position embedding
//! - [`maker`], [`layer`]: the same for scripts, a builder and what it makes

pub mod attention;
pub mod conv;
pub mod embed;
pub mod glob;
pub mod init;
pub mod layer;
pub mod linear;
pub mod maker;
pub mod mlp;
pub mod norm;
pub mod params;

pub use attention::Attention;
pub use conv::Conv2d;
pub use embed::{Embedding, LabelEmbed, PatchEmbed, TimestepEmbed};
pub use init::Init;
pub use layer::Layer;
pub use linear::Linear;
pub use maker::Maker;
pub use mlp::Mlp;
pub use norm::{GroupNorm, LayerNorm, RmsNorm, norm_modulate};
pub use params::Builder;

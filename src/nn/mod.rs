//! Network layers: linear, normalization, attention, MLP, embeddings, initialization; named parameters.
//!
//! A layer is a plain struct that holds its tensors. Its constructor takes a [`Builder`], which creates the
//! parameters and records them under their PyTorch names; its `forward` is a pure function of its inputs.
//!
//! - [`params`]: the builder; [`init`]: initial values of weights
//! - [`glob`]: selection of names by patterns
//! - [`weight`]: weights of linear maps, which code may change in every forward pass
//! - [`linear`], [`conv`], [`norm`], [`attention`], [`cross_attention`], [`rope`], [`mlp`]
//! - [`embed`]: time, label and patch embeddings, and the fixed position embedding
//! - [`shared_builder`], [`layer`]: builder and layers for scripts; [`functions`]: functions of tokens

pub(crate) mod api;
pub mod attention;
pub mod conv;
pub mod cross_attention;
pub mod embed;
pub mod functions;
pub mod glob;
pub mod init;
pub mod layer;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod params;
pub mod rope;
pub mod shared_builder;
pub mod weight;

pub use attention::{Attention, AttentionOptions, Heads, QkNorm};
pub use conv::{Conv2d, ConvTranspose2d};
pub use cross_attention::CrossAttention;
pub use embed::{Embedding, LabelEmbed, PatchEmbed, TimestepEmbed};
pub use functions::tokens::{modulate, patchify, rope as rotate, sincos_positions, unpatchify};
pub use init::Init;
pub use layer::Layer;
pub use linear::Linear;
pub use mlp::{Mlp, MlpKind, SwiGlu};
pub use norm::{GroupNorm, LayerNorm, ModulatedNorm, RmsNorm, TokenNorm};
pub use params::Builder;
pub use rope::Rope;
pub use shared_builder::api::space::builder;
pub use shared_builder::{
    AttentionLayerOptions, BuilderOptions, ConvOptions, ConvTransposeOptions, CrossAttentionOptions,
    InitOptions, LinearOptions, MlpOptions, NormOptions, SharedBuilder,
};
pub use weight::Weight;

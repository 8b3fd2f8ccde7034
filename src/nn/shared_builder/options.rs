//! Options of the builder's methods.

use crate::declare::Options;
use crate::nn::embed::THETA;
use crate::nn::init::Distribution;
use crate::nn::{MlpKind, QkNorm};
use crate::torch::{DType, Device};

/// Initialization options of a layer.
#[derive(Debug, Clone, Options)]
pub struct InitOptions {
    /// Distribution of the weights: `xavier_uniform` as in DiT, `zeros`, `ones`, `normal`, `kaiming_uniform` as
    /// in PyTorch's layers, or `identity`; biases start at zero.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
}

/// Options of a linear map.
#[derive(Debug, Clone, Options)]
pub struct LinearOptions {
    /// Distribution of the weights: `xavier_uniform` as in DiT, `zeros`, `ones`, `normal`, `kaiming_uniform` as
    /// in PyTorch's layers, or `identity`; biases start at zero.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
    /// Whether it has a bias.
    #[option(default = true)]
    pub bias: bool,
}

/// Options of a convolution.
#[derive(Debug, Clone, Options)]
pub struct ConvOptions {
    /// Distribution of the weights, as in `linear`.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
    /// Number of independent groups of channels; as many as channels make the convolution depthwise.
    #[option(default = 1, range = 1..)]
    pub groups: i64,
    /// Pixels from one window to the next.
    #[option(default = 1, range = 1..=65536)]
    pub stride: i64,
    /// Zeros on each side of the image; by default as many as keep its height and width with a stride of 1.
    #[option(range = 0..=65536)]
    pub padding: Option<i64>,
    /// Pixels from one entry of a window to the next.
    #[option(default = 1, range = 1..=65536)]
    pub dilation: i64,
    /// Whether it has a bias.
    #[option(default = true)]
    pub bias: bool,
}

/// Options of a transposed convolution.
#[derive(Debug, Clone, Options)]
pub struct ConvTransposeOptions {
    /// Distribution of the weights, as in `linear`.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
    /// Number of independent groups of channels.
    #[option(default = 1, range = 1..)]
    pub groups: i64,
    /// Pixels of the output from one window to the next.
    #[option(default = 1, range = 1..=65536)]
    pub stride: i64,
    /// Pixels cut off on each side, as in PyTorch; by default as many as make the output `stride` times as large as
    /// the input.
    #[option(range = 0..=65536)]
    pub padding: Option<i64>,
    /// Pixels added at the bottom and the right, as in PyTorch; needs `padding`.
    #[option(default = 0, range = 0..=65536)]
    pub output_padding: i64,
    /// Whether it has a bias.
    #[option(default = true)]
    pub bias: bool,
}

/// Options of self-attention.
#[derive(Debug, Clone, Options)]
pub struct AttentionLayerOptions {
    /// Norm of the queries and keys of each head: `none` as in DiT, `rms`, or `layer`.
    pub qk_norm: QkNorm,
    /// Whether the map to queries, keys and values has a bias.
    #[option(default = true)]
    pub qkv_bias: bool,
    /// Grid [height, width] of the tokens for rotary positions, as in `nn::rope`; by default there are none.
    #[option(range = 1..=4096)]
    pub rope: Option<(i64, i64)>,
    /// Base of the frequencies of rotary positions.
    #[option(default = THETA, range = 1.0..=1e12)]
    pub rope_theta: f64,
}

/// Options of attention to other tokens.
#[derive(Debug, Clone, Options)]
pub struct CrossAttentionOptions {
    /// Norm of the queries and keys of each head: `none` as in PixArt, `rms`, or `layer`.
    pub qk_norm: QkNorm,
    /// Whether the maps to queries, keys and values have a bias.
    #[option(default = true)]
    pub qkv_bias: bool,
}

/// Options of an MLP.
#[derive(Debug, Clone, Options)]
pub struct MlpOptions {
    /// `gelu` as in DiT, or `swiglu` as in LightningDiT: `w3(silu(a) * b)` with the halves a and b of `w12(x)`.
    pub kind: MlpKind,
}

/// Options of a layer norm.
#[derive(Debug, Clone, Options)]
pub struct NormOptions {
    /// Whether it has a weight and a bias; DiT's layer norms have none.
    #[option(default = true)]
    pub affine: bool,
}

/// Options of `nn::builder`.
#[derive(Debug, Clone, Options)]
pub struct BuilderOptions {
    /// Seed of the parameters, which also depend on their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the parameters: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
    /// Element type of the parameters.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

//! Normalisation of the last dimension.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::Tensor;

/// Zero mean and unit variance over the last dimension, epsilon 1e-6, without weights, as in DiT.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    size: i64,
}

impl LayerNorm {
    /// Normalises vectors of `size`.
    pub fn new(size: i64) -> Self {
        Self { size }
    }

    /// [.., size] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.layer_norm(&[self.size], None, None, 1e-6)
    }
}

/// `weight * x / sqrt(mean(x^2) + eps)` over the last dimension (Zhang and Sennrich 2019, equation 4).
///
/// Epsilon is the machine epsilon of the input's dtype.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    size: i64,
}

impl RmsNorm {
    /// Makes `weight` of ones, below `name`.
    pub fn new(builder: &mut Builder, name: &str, size: i64) -> Result<Self> {
        builder.within(name, |b| Ok(Self { weight: b.parameter("weight", &[size], Init::Ones)?, size }))
    }

    /// [.., size] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Under autocast the input is bfloat16 and the weight is not.
        x.rms_norm(&[self.size], Some(&self.weight.to_dtype(x.dtype())?), None)
    }
}

//! Normalisation of the last dimension.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Zero mean and unit variance over the last dimension, epsilon 1e-6, without weights, as in DiT, then
/// `x (1 + scale) + shift` with scale and shift [B, 1, D].
pub fn norm_modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    fused::norm_modulate(x, shift, scale)
}

/// The weight of `weight * x / sqrt(mean(x^2) + eps)` over the last dimension (Zhang and Sennrich 2019,
/// equation 4); epsilon is the machine epsilon of the input's dtype.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    pub(super) weight: Tensor,
}

impl RmsNorm {
    /// Makes `weight` of ones, below `name`.
    pub fn new(builder: &mut Builder, name: &str, size: i64) -> Result<Self> {
        builder.within(name, |b| Ok(Self { weight: b.parameter("weight", &[size], Init::Ones)? }))
    }
}

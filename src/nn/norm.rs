//! Normalisation of the last dimension, and of groups of channels.

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
    pub fn new(builder: &mut Builder, name: impl ToString, size: i64) -> Result<Self> {
        builder.within(name, |b| Ok(Self { weight: b.parameter("weight", &[size], Init::Ones)? }))
    }

    /// [.., size] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.rms_norm(&self.weight.shape(), Some(&self.weight), None)
    }
}

/// Zero mean and unit variance over the last dimension, epsilon 1e-6, then a weight and a bias for each entry, unless it was
/// made without them (Ba et al. 2016, equation 4).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    parts: Option<(Tensor, Tensor)>,
    size: i64,
}

impl LayerNorm {
    /// Makes `weight` of ones and `bias` of zeros, below `name`, or neither where it is not `affine`.
    pub fn new(builder: &mut Builder, name: impl ToString, size: i64, affine: bool) -> Result<Self> {
        builder.within(name, |b| {
            let mut make = || {
                Ok::<_, crate::error::Error>((
                    b.parameter("weight", &[size], Init::Ones)?,
                    b.parameter("bias", &[size], Init::Zeros)?,
                ))
            };
            Ok(Self { parts: affine.then(&mut make).transpose()?, size })
        })
    }

    /// [.., size] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.parts.as_ref().map_or((None, None), |(w, b)| (Some(w), Some(b)));
        x.layer_norm(&[self.size], weight, bias, 1e-6)
    }
}

/// Zero mean and unit variance over each group of channels of an image, epsilon 1e-6, then a weight and a bias for
/// each channel (Wu and He 2018, equation 1).
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    /// Makes `weight` of ones and `bias` of zeros, below `name`; `groups` divides `channels`.
    pub fn new(builder: &mut Builder, name: impl ToString, groups: i64, channels: i64) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                weight: b.parameter("weight", &[channels], Init::Ones)?,
                bias: b.parameter("bias", &[channels], Init::Zeros)?,
                groups,
            })
        })
    }

    /// [B, C, H, W] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), 1e-6)
    }
}

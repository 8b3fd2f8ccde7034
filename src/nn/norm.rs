//! Normalisation over the last dimension, and over groups of channels.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Returns `norm(x) (1 + scale) + shift` with scale and shift [B, 1, D]. The norm has zero mean and unit variance
/// over the last dimension, epsilon 1e-6 and no weights, as in DiT.
pub fn norm_modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    fused::norm_modulate(x, shift, scale)
}

/// RMS norm `weight * x / sqrt(mean(x^2) + eps)` over the last dimension (Zhang and Sennrich 2019, equation 4),
/// where eps is the machine epsilon of the input's dtype.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    pub(super) weight: Tensor,
}

impl RmsNorm {
    /// Creates a `weight` of ones under `name`.
    pub fn new(builder: &mut Builder, name: impl ToString, size: i64) -> Result<Self> {
        builder.within(name, |b| Ok(Self { weight: b.parameter("weight", &[size], Init::Ones)? }))
    }

    /// Normalises [.., size]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.rms_norm(&self.weight.shape(), Some(&self.weight), None)
    }
}

/// Layer norm to zero mean and unit variance over the last dimension, epsilon 1e-6, then a weight and a bias for
/// each entry unless it was created without them (Ba et al. 2016, equation 4).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    parts: Option<(Tensor, Tensor)>,
    size: i64,
}

impl LayerNorm {
    /// Creates a `weight` of ones and a `bias` of zeros under `name`, or neither unless `affine`.
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

    /// Normalises [.., size]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.parts.as_ref().map_or((None, None), |(w, b)| (Some(w), Some(b)));
        x.layer_norm(&[self.size], weight, bias, 1e-6)
    }
}

/// Group norm to zero mean and unit variance over each group of channels of an image, epsilon 1e-6, then a weight
/// and a bias for each channel (Wu and He 2018, equation 1).
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    /// Creates a `weight` of ones and a `bias` of zeros under `name`; `groups` must divide `channels`.
    pub fn new(builder: &mut Builder, name: impl ToString, groups: i64, channels: i64) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                weight: b.parameter("weight", &[channels], Init::Ones)?,
                bias: b.parameter("bias", &[channels], Init::Zeros)?,
                groups,
            })
        })
    }

    /// Normalises [B, C, H, W]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), 1e-6)
    }
}

//! Normalization over the last dimension, and over groups of channels.

use super::{Builder, Init};
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Norm of the tokens of a block before their modulation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum TokenNorm {
    /// Layer norm without a weight, epsilon 1e-6, as in DiT.
    #[default]
    Layer,
    /// RMS norm with a weight, epsilon 1e-6.
    Rms,
}

/// Norm of tokens with its parameters, modulated by a shift and a scale per image.
#[derive(Debug, Clone)]
pub struct ModulatedNorm {
    /// Weight of the RMS norm.
    weight: Option<Tensor>,
}

impl ModulatedNorm {
    /// Creates a `weight` of ones under `name`, or nothing for layer norm.
    pub fn new(builder: &mut Builder, name: &str, kind: TokenNorm, hidden: i64) -> Result<Self> {
        let weight = match kind {
            TokenNorm::Layer => None,
            TokenNorm::Rms => Some(builder.within(name, |b| b.parameter("weight", &[hidden], Init::Ones))?),
        };
        Ok(Self { weight })
    }

    /// Returns the residual stream s and `norm(s) (1 + scale) + shift`, where s is the tokens x [B, N, D], or
    /// `x + gate m` with a residual `(m, gate)`; shift, scale and gate are [B, 1, D].
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<(&Tensor, &Tensor)>,
        shift: &Tensor,
        scale: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        match &self.weight {
            None => fused::stream_norm(x, residual, shift, scale),
            Some(weight) => fused::stream_rms_norm(x, residual, shift, &folded(weight, scale)?),
        }
    }

    /// Returns the tokens `norm(x) (1 + scale) + shift`, to be corrected.
    pub fn tokens(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<fused::Tokens> {
        let scale = self.weight.as_ref().map_or_else(|| Ok(scale.clone()), |weight| folded(weight, scale))?;
        Ok(fused::Tokens::Norm { x: x.clone(), shift: shift.clone(), scale, centered: self.weight.is_none() })
    }

    /// Returns `norm(x) (1 + scale) + shift`.
    pub fn alone(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
        match &self.weight {
            None => fused::norm_modulate(x, shift, scale),
            Some(weight) => fused::rms_modulate(x, shift, &folded(weight, scale)?),
        }
    }
}

/// Returns the scale that includes the weight of a norm: `weight (1 + scale) - 1`.
fn folded(weight: &Tensor, scale: &Tensor) -> Result<Tensor> {
    // Under autocast the scale is bfloat16, but the weight is not.
    weight.to_dtype(scale.dtype())?.mul(&scale.add_scalar(1.0)?)?.sub_scalar(1.0)
}

/// RMS norm `weight * x / sqrt(mean(x^2) + eps)` over the last dimension (Zhang and Sennrich 2019, equation 4),
/// where eps is the machine epsilon of the input's dtype unless it is given.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    pub(super) weight: Tensor,
    pub(super) eps: Option<f64>,
}

impl RmsNorm {
    /// Creates a `weight` of ones under `name`.
    pub fn new(builder: &mut Builder, name: impl ToString, size: i64) -> Result<Self> {
        Self::with_eps(builder, name, size, None)
    }

    /// Creates a `weight` of ones under `name`, for a norm with another epsilon.
    pub fn with_eps(builder: &mut Builder, name: impl ToString, size: i64, eps: Option<f64>) -> Result<Self> {
        builder.within(name, |b| Ok(Self { weight: b.parameter("weight", &[size], Init::Ones)?, eps }))
    }

    /// Normalizes [.., size]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.rms_norm(&self.weight.shape(), Some(&self.weight), self.eps)
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

    /// Normalizes [.., size]; the shape stays the same.
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

    /// Normalizes [B, C, H, W]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), 1e-6)
    }
}

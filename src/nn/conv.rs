//! Convolution of images.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::Tensor;

/// Convolution of [B, inputs, H, W] with square windows, weight [outputs, inputs, k, k] and bias `[outputs]`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
    groups: i64,
}

impl Conv2d {
    /// Creates `weight` and a `bias` of zeros under `name`. Windows of `size` pixels have stride 1, and zero
    /// padding keeps the size of the image if `size` is odd.
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        inputs: i64,
        outputs: i64,
        size: i64,
    ) -> Result<Self> {
        Self::grouped(builder, name, [inputs, outputs, size, 1], Init::XavierUniform)
    }

    /// Creates a convolution as [`Conv2d::new`] does, with weights drawn by `init` and channels in independent
    /// groups. `groups` must divide both numbers of channels.
    pub fn grouped(
        builder: &mut Builder,
        name: impl ToString,
        [inputs, outputs, size, groups]: [i64; 4],
        init: Init,
    ) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                weight: b.parameter("weight", &[outputs, inputs / groups, size, size], init)?,
                bias: b.parameter("bias", &[outputs], Init::Zeros)?,
                stride: 1,
                padding: size / 2,
                groups,
            })
        })
    }

    /// Returns the same convolution with stride `stride` and no padding.
    pub fn strided(self, stride: i64) -> Self {
        Self { stride, padding: 0, ..self }
    }

    /// Convolves [B, inputs, H, W] to [B, outputs, H', W'].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.conv2d(&self.weight, Some(&self.bias), &stride, &padding, &[1, 1], self.groups)
    }
}

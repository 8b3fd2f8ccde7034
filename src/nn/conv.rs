//! Convolution of images.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::Tensor;

/// A convolution of [B, inputs, H, W] with square windows, with weight [outputs, inputs, k, k] and bias `[outputs]`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
    groups: i64,
}

impl Conv2d {
    /// Makes `weight` and a `bias` of zeros, below `name`. Windows of `size` pixels are one pixel apart, and zeros
    /// around the image keep its size where `size` is odd.
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        inputs: i64,
        outputs: i64,
        size: i64,
    ) -> Result<Self> {
        Self::grouped(builder, name, [inputs, outputs, size, 1], Init::XavierUniform)
    }

    /// As [`Conv2d::new`] with channels in groups that see only each other, and weights by `init`: `groups` divides both
    /// numbers of channels.
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

    /// The same with windows `stride` pixels apart and no zeros around the image.
    pub fn strided(self, stride: i64) -> Self {
        Self { stride, padding: 0, ..self }
    }

    /// [B, inputs, H, W] to [B, outputs, H', W'].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.conv2d(&self.weight, Some(&self.bias), &stride, &padding, &[1, 1], self.groups)
    }
}

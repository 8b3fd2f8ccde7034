//! The linear map.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::{DType, Device, Tensor};

/// `x @ weight^T + bias`, with weight [outputs, inputs] and bias `[outputs]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Makes `weight` by `init` and `bias` of zeros, below `name`.
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        inputs: i64,
        outputs: i64,
        init: Init,
    ) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                weight: b.parameter("weight", &[outputs, inputs], init)?,
                bias: b.parameter("bias", &[outputs], Init::Zeros)?,
            })
        })
    }

    /// [.., inputs] to [.., outputs].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match (x.shape().as_slice(), x.device(), x.dtype()) {
            (&[b, n, d], Device::Cpu, DType::Float32) => self.convolve(x, b, n, d),
            _ => x.linear(&self.weight, Some(&self.bias)),
        }
    }

    /// The same map as a convolution with a kernel of one pixel. libtorch hands float32 convolutions to oneDNN
    /// and float32 products to MKL, and MKL reaches a third of oneDNN's speed on processors that are not
    /// Intel's. Tokens [B, N, D] are an image [B, D, N, 1] whose channels lie last, so nothing is copied.
    fn convolve(&self, x: &Tensor, b: i64, n: i64, d: i64) -> Result<Tensor> {
        let outputs = self.weight.shape()[0];
        let image = x.reshape(&[b, n, 1, d])?.permute(&[0, 3, 1, 2])?;
        let kernel = self.weight.reshape(&[outputs, d, 1, 1])?;
        let made = image.conv2d(&kernel, Some(&self.bias), &[1, 1], &[0, 0], &[1, 1], 1)?;
        made.permute(&[0, 2, 3, 1])?.reshape(&[b, n, outputs])
    }
}

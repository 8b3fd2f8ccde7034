//! Convolution of images.

use super::{Builder, Init};
use crate::error::Result;
use crate::torch::Tensor;

/// Windows of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// Height and width in pixels.
    pub size: i64,
    /// Pixels from one window to the next.
    pub stride: i64,
    /// Zeros added on each side of the image.
    pub padding: i64,
    /// Pixels from one entry of a window to the next.
    pub dilation: i64,
    /// Independent groups of channels; must divide both numbers of channels.
    pub groups: i64,
}

impl Windows {
    /// Returns windows of `size` pixels with stride 1 and zero padding that keeps the size of the image if `size` is odd.
    pub fn new(size: i64) -> Self {
        Self { size, stride: 1, padding: size / 2, dilation: 1, groups: 1 }
    }
}

/// Transposed convolution of [B, inputs, H, W], weight [inputs, outputs / groups, k, k] and bias `[outputs]`.
#[derive(Debug, Clone)]
pub struct ConvTranspose2d {
    weight: Tensor,
    bias: Option<Tensor>,
    windows: Windows,
    output_padding: i64,
}

impl ConvTranspose2d {
    /// Creates `weight`, drawn by `init`, and, if `bias`, a `bias` of zeros under `name`.
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        [inputs, outputs]: [i64; 2],
        (windows, output_padding): (Windows, i64),
        (init, bias): (Init, bool),
    ) -> Result<Self> {
        let Windows { size, groups, .. } = windows;
        builder.within(name, |b| {
            let weight = b.parameter("weight", &[inputs, outputs / groups, size, size], init)?;
            let bias = bias.then(|| b.parameter("bias", &[outputs], Init::Zeros)).transpose()?;
            Ok(Self { weight, bias, windows, output_padding })
        })
    }

    /// Enlarges [B, inputs, H, W] to [B, outputs, H', W'].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Windows { stride, padding, dilation, groups, .. } = self.windows;
        let (bias, extra) = (self.bias.as_ref(), self.output_padding);
        x.conv_transpose2d(
            &self.weight,
            bias,
            &[stride; 2],
            &[padding; 2],
            &[extra; 2],
            groups,
            &[dilation; 2],
        )
    }
}

/// Convolution of [B, inputs, H, W] with square windows, weight [outputs, inputs, k, k] and bias `[outputs]`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    windows: Windows,
}

impl Conv2d {
    /// Creates `weight` and a `bias` of zeros under `name`, for [`Windows::new`].
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        inputs: i64,
        outputs: i64,
        size: i64,
    ) -> Result<Self> {
        Self::with(builder, name, [inputs, outputs], Windows::new(size), (Init::XavierUniform, true))
    }

    /// Creates a convolution with weights drawn by `init` and, if `bias`, a bias of zeros.
    pub fn with(
        builder: &mut Builder,
        name: impl ToString,
        [inputs, outputs]: [i64; 2],
        windows: Windows,
        (init, bias): (Init, bool),
    ) -> Result<Self> {
        let Windows { size, groups, .. } = windows;
        let init = if matches!(init, Init::Identity(_)) { Init::Identity(groups) } else { init };
        builder.within(name, |b| {
            let weight = b.parameter("weight", &[outputs, inputs / groups, size, size], init)?;
            let bias = bias.then(|| b.parameter("bias", &[outputs], Init::Zeros)).transpose()?;
            Ok(Self { weight, bias, windows })
        })
    }

    /// Returns the same convolution with stride `stride` and no padding.
    pub fn strided(self, stride: i64) -> Self {
        Self { windows: Windows { stride, padding: 0, ..self.windows }, ..self }
    }

    /// Convolves [B, inputs, H, W] to [B, outputs, H', W'].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Windows { stride, padding, dilation, groups, .. } = self.windows;
        x.conv2d(&self.weight, self.bias.as_ref(), &[stride; 2], &[padding; 2], &[dilation; 2], groups)
    }
}

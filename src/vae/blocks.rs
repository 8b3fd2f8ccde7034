//! Building blocks of encoder and decoder.

use crate::error::Result;
use crate::nn::{Builder, Conv2d, GroupNorm, Init, Linear};
use crate::torch::Tensor;

/// Residual block: twice normalization, SiLU and a 3 x 3 convolution, added to the input.
#[derive(Debug, Clone)]
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    /// 1 x 1 convolution of the input, if the number of channels changes.
    shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    /// Creates `norm1`, `conv1`, `norm2`, `conv2` and, if the number of channels changes, `conv_shortcut`, under
    /// `name`.
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        groups: i64,
        inputs: i64,
        outputs: i64,
    ) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                norm1: GroupNorm::new(b, "norm1", groups, inputs)?,
                conv1: Conv2d::new(b, "conv1", inputs, outputs, 3)?,
                norm2: GroupNorm::new(b, "norm2", groups, outputs)?,
                conv2: Conv2d::new(b, "conv2", outputs, outputs, 3)?,
                shortcut: match inputs == outputs {
                    true => None,
                    false => Some(Conv2d::new(b, "conv_shortcut", inputs, outputs, 1)?),
                },
            })
        })
    }

    /// Maps [B, inputs, H, W] to [B, outputs, H, W].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.conv1.forward(&self.norm1.forward(x)?.silu()?)?;
        let inner = self.conv2.forward(&self.norm2.forward(&inner)?.silu()?)?;
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x)?.add(&inner),
            None => x.add(&inner),
        }
    }
}

/// Single-head self-attention over all pixels, added to the input.
#[derive(Debug, Clone)]
pub struct AttentionBlock {
    norm: GroupNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
}

impl AttentionBlock {
    /// Creates `group_norm`, `to_q`, `to_k`, `to_v` and `to_out.0`, under `name`.
    pub fn new(builder: &mut Builder, name: impl ToString, groups: i64, width: i64) -> Result<Self> {
        builder.within(name, |b| {
            let linear =
                |b: &mut Builder, name: &str| Linear::new(b, name, width, width, Init::XavierUniform);
            Ok(Self {
                norm: GroupNorm::new(b, "group_norm", groups, width)?,
                query: linear(b, "to_q")?,
                key: linear(b, "to_k")?,
                value: linear(b, "to_v")?,
                out: b.within("to_out", |b| linear(b, "0"))?,
            })
        })
    }

    /// Maps [B, C, H, W] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape();
        let pixels = self.norm.forward(x)?.flatten(2, 3)?.transpose(1, 2)?.contiguous()?;
        let head = |map: &Linear| map.forward(&pixels)?.unsqueeze(1);
        let mixed = head(&self.query)?.attention(&head(&self.key)?, &head(&self.value)?, None, false)?;
        let mixed = self.out.forward(&mixed.squeeze(&[1])?)?;
        x.add(&mixed.transpose(1, 2)?.reshape(&shape)?)
    }
}

/// A residual block, attention and another residual block, at the lowest resolution.
#[derive(Debug, Clone)]
pub struct MidBlock {
    first: ResnetBlock,
    attention: AttentionBlock,
    second: ResnetBlock,
}

impl MidBlock {
    /// Creates `resnets.0`, `attentions.0` and `resnets.1`, under `mid_block`.
    pub fn new(builder: &mut Builder, groups: i64, width: i64) -> Result<Self> {
        builder.within("mid_block", |b| {
            Ok(Self {
                attention: b.within("attentions", |b| AttentionBlock::new(b, 0, groups, width))?,
                first: b.within("resnets", |b| ResnetBlock::new(b, 0, groups, width, width))?,
                second: b.within("resnets", |b| ResnetBlock::new(b, 1, groups, width, width))?,
            })
        })
    }

    /// Maps [B, C, H, W] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.attention.forward(&self.first.forward(x)?)?)
    }
}

/// Change of height and width at the end of a stage.
#[derive(Debug, Clone)]
pub enum Resample {
    /// No change, for the last stage.
    Keep,
    /// Halves them: a 3 x 3 convolution with stride 2, padded with zeros only on the right and below.
    Halve(Conv2d),
    /// Doubles them: nearest-neighbor upsampling and a 3 x 3 convolution.
    Double(Conv2d),
}

impl Resample {
    /// Creates `downsamplers.0.conv`.
    pub fn halve(builder: &mut Builder, width: i64) -> Result<Self> {
        let conv = builder
            .within("downsamplers", |b| b.within(0, |b| Conv2d::new(b, "conv", width, width, 3)))?
            .strided(2);
        Ok(Self::Halve(conv))
    }

    /// Creates `upsamplers.0.conv`.
    pub fn double(builder: &mut Builder, width: i64) -> Result<Self> {
        let conv =
            builder.within("upsamplers", |b| b.within(0, |b| Conv2d::new(b, "conv", width, width, 3)))?;
        Ok(Self::Double(conv))
    }

    /// Maps [B, C, H, W] to the new height and width.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Keep => Ok(x.clone()),
            Self::Halve(conv) => conv.forward(&x.pad(&[0, 1, 0, 1], "constant", 0.into())?),
            Self::Double(conv) => {
                let size = [2 * x.size(2)?, 2 * x.size(3)?];
                conv.forward(&x.interpolate(size, "nearest", false, false)?)
            }
        }
    }
}

/// Residual blocks with the same number of output channels, followed by resampling.
#[derive(Debug, Clone)]
pub struct Stage {
    resnets: Vec<ResnetBlock>,
    resample: Resample,
}

impl Stage {
    /// Creates `resnets.0` to `resnets.{count - 1}`, under the builder's path, and then the parameters of
    /// `resample`.
    pub fn new(
        builder: &mut Builder,
        groups: i64,
        (inputs, outputs): (i64, i64),
        count: i64,
        resample: impl FnOnce(&mut Builder, i64) -> Result<Resample>,
    ) -> Result<Self> {
        let resnet = |b: &mut Builder, i: i64| {
            let inputs = if i == 0 { inputs } else { outputs };
            ResnetBlock::new(b, i, groups, inputs, outputs)
        };
        Ok(Self {
            resnets: builder.within("resnets", |b| (0..count).map(|i| resnet(b, i)).collect())?,
            resample: resample(builder, outputs)?,
        })
    }

    /// Maps [B, inputs, H, W] to [B, outputs, H', W']; an error of `check`, called before each block, stops the
    /// computation.
    pub fn forward(&self, x: &Tensor, check: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        let mut x = x.clone();
        for resnet in &self.resnets {
            check()?;
            x = resnet.forward(&x)?;
        }
        self.resample.forward(&x)
    }
}

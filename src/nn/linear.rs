//! Linear map.

use std::borrow::Cow;

use super::{Builder, Init, Weight};
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Linear map `x @ weight^T + bias` with weight [outputs, inputs] and bias `[outputs]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Tensor,
}

impl Linear {
    /// Creates `weight`, drawn by `init`, and a `bias` of zeros under `name`.
    pub fn new(
        builder: &mut Builder,
        name: impl ToString,
        inputs: i64,
        outputs: i64,
        init: Init,
    ) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                weight: Weight::new(b, &[outputs, inputs], init)?,
                bias: b.parameter("bias", &[outputs], Init::Zeros)?,
            })
        })
    }

    /// Creates only `weight`. The bias is a constant of zeros, which the fused operators take like any other and
    /// which is no parameter.
    pub fn without_bias(
        builder: &mut Builder,
        name: impl ToString,
        inputs: i64,
        outputs: i64,
        init: Init,
    ) -> Result<Self> {
        let bias = Tensor::zeros(&[outputs], builder.dtype(), builder.device())?;
        builder.within(name, |b| Ok(Self { weight: Weight::new(b, &[outputs, inputs], init)?, bias }))
    }

    /// Returns weight and bias.
    pub fn parts(&self) -> Result<(Cow<'_, Tensor>, &Tensor)> {
        Ok((self.weight.get()?, &self.bias))
    }

    /// Maps [.., inputs] to [.., outputs].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        fused::linear(x, &*self.weight.get()?, &self.bias)
    }
}

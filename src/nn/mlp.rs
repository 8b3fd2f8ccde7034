//! Feed-forward part of a block.

use super::{Builder, Init, Linear};
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Two linear maps with a tanh-approximated GELU between them.
#[derive(Debug, Clone)]
pub struct Mlp {
    first: Linear,
    second: Linear,
}

impl Mlp {
    /// Creates `net.0` and `net.2` under `name`.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, inner: i64) -> Result<Self> {
        builder.within(name, |b| {
            b.within("net", |b| {
                Ok(Self {
                    first: Linear::new(b, 0, hidden, inner, Init::XavierUniform)?,
                    second: Linear::new(b, 2, inner, hidden, Init::XavierUniform)?,
                })
            })
        })
    }

    /// Maps [.., hidden] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        fused::mlp(x, self.first.parts(), self.second.parts())
    }
}

//! The small network that turns an embedding into two coefficients.

use crate::error::Result;
use crate::nn::{Builder, Init, Linear};
use crate::torch::{Tensor, fused};

/// `scale * tanh(W2 silu(W1 c + b1) + b2)`, D to D/4 to 2, with W2 = b2 = 0 at the start.
#[derive(Debug)]
pub struct Network {
    first: Linear,
    second: Linear,
    scale: f64,
}

impl Network {
    /// Makes `0` and `2`, below `name`.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, scale: f64) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                first: Linear::new(b, 0, hidden, hidden / 4, Init::XavierUniform)?,
                second: Linear::new(b, 2, hidden / 4, 2, Init::Zeros)?,
                scale,
            })
        })
    }

    /// Embeddings [B, D] to coefficients [B, 2] within ±scale.
    pub fn forward(&self, embedding: &Tensor) -> Result<Tensor> {
        fused::gate(embedding, self.first.parts(), self.second.parts(), self.scale)
    }

    /// How many parameters it has.
    pub fn parameters(hidden: i64) -> i64 {
        Self::multiplications(hidden) + hidden / 4 + 2
    }

    /// How many weights it multiplies with.
    pub fn multiplications(hidden: i64) -> i64 {
        hidden * (hidden / 4) + (hidden / 4) * 2
    }
}

//! The small network that turns an embedding into coefficients.

use super::Coefficients;
use crate::error::Result;
use crate::nn::{Builder, Init, Linear};
use crate::torch::{Tensor, fused};

/// `scale * tanh(W2 silu(W1 c + b1) + b2)`, D to D/4 to one number for each coefficient, with W2 = b2 = 0 at the start.
#[derive(Debug)]
pub struct Network {
    first: Linear,
    second: Linear,
    scale: f64,
    coefficients: Coefficients,
}

impl Network {
    /// Makes `0` and `2`, below `name`.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        hidden: i64,
        coefficients: Coefficients,
        scale: f64,
    ) -> Result<Self> {
        builder.within(name, |b| {
            let (inner, outputs) = (hidden / 4, coefficients.count());
            Ok(Self {
                first: Linear::new(b, 0, hidden, inner, Init::XavierUniform)?,
                second: Linear::new(b, 2, inner, outputs, Init::Zeros)?,
                scale,
                coefficients,
            })
        })
    }

    /// Embeddings [B, D] to coefficients [B, k] or [B, k, D] within ±scale.
    pub fn forward(&self, embedding: &Tensor) -> Result<Tensor> {
        let flat = fused::gate(embedding, self.first.parts(), self.second.parts(), self.scale)?;
        match self.coefficients.channels {
            None => Ok(flat),
            Some(_) => flat.reshape(&self.coefficients.shape_for(embedding.size(0)?)),
        }
    }

    /// How many parameters it has.
    pub fn parameters(hidden: i64, coefficients: Coefficients) -> i64 {
        Self::multiplications(hidden, coefficients) + hidden / 4 + coefficients.count()
    }

    /// How many weights it multiplies with.
    pub fn multiplications(hidden: i64, coefficients: Coefficients) -> i64 {
        hidden * (hidden / 4) + (hidden / 4) * coefficients.count()
    }
}

//! Small network that maps an embedding to coefficients.

use super::Coefficients;
use crate::error::Result;
use crate::nn::{Builder, Init, Linear};
use crate::torch::{Tensor, fused};

/// Network `scale * tanh(W2 silu(W1 c + b1) + b2)` with widths D, D/4 and one output per coefficient; W2 and b2
/// start at zero.
#[derive(Debug)]
pub struct Network {
    first: Linear,
    second: Linear,
    scale: f64,
    coefficients: Coefficients,
}

impl Network {
    /// Builds the layers `0` and `2` below `name`.
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

    /// Maps embeddings [B, D] to coefficients [B, k] or [B, k, D] within ±scale, and those of tokens [B, N, D] to [B, N, k] or
    /// [B, N, k, D].
    pub fn forward(&self, embedding: &Tensor) -> Result<Tensor> {
        let ((first, first_bias), (second, second_bias)) = (self.first.parts()?, self.second.parts()?);
        let mut rows = embedding.shape();
        let width = rows.pop().unwrap_or_default();
        let of_images = rows.len() == 1;
        let flat = if of_images { embedding.clone() } else { embedding.reshape(&[-1, width])? };
        let flat = fused::gate(&flat, (&first, first_bias), (&second, second_bias), self.scale)?;
        match self.coefficients.channels {
            None if of_images => Ok(flat),
            _ => flat.reshape(&self.coefficients.shape_for(&rows)),
        }
    }

    /// Returns the number of parameters.
    pub fn parameters(hidden: i64, coefficients: Coefficients) -> i64 {
        Self::multiplications(hidden, coefficients) + hidden / 4 + coefficients.count()
    }

    /// Returns the number of weights that take part in multiplications.
    pub fn multiplications(hidden: i64, coefficients: Coefficients) -> i64 {
        hidden * (hidden / 4) + (hidden / 4) * coefficients.count()
    }
}

//! Velocities on the straight path from what a network predicts.

use crate::error::{Error, Result};
use crate::torch::Tensor;

/// The names of predictions in options.
pub const NAMES: &[&str] = &["v", "x", "noise"];

/// Velocities are a difference divided by the time that is left, or that has passed, which is held above this
/// (Li and He 2025, "Back to Basics: Let Denoising Generative Models Denoise").
const LEAST: f64 = 0.05;

/// What the output of a network means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predict {
    Velocity,
    Image,
    Noise,
}

impl Predict {
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "v" => Ok(Predict::Velocity),
            "x" => Ok(Predict::Image),
            "noise" => Ok(Predict::Noise),
            other => {
                Err(Error::argument(format!("`predict` must be one of `v`, `x`, `noise`, found \"{other}\"")))
            }
        }
    }

    /// The velocity that an output at `x` [B, ..] and times `t` stands for, in the wider of both dtypes.
    pub(super) fn velocity(self, output: Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let way = match self {
            Predict::Velocity => return Ok(output),
            Predict::Image => output.sub(x)?,
            Predict::Noise => x.sub(&output)?,
        };
        let (_, held) = self.spans(t)?;
        way.div(&column(&held, &way)?)
    }

    /// What the velocity of an exact output is: the target itself, but for times at which the division is held.
    pub(super) fn target(self, target: Tensor, t: &Tensor) -> Result<Tensor> {
        if self == Predict::Velocity {
            return Ok(target);
        }
        let (span, held) = self.spans(t)?;
        target.mul(&column(&span.div(&held)?, &target)?)
    }

    /// How much of the path the difference spans at each time, and the same held above its least value.
    fn spans(self, t: &Tensor) -> Result<(Tensor, Tensor)> {
        let span = if self == Predict::Image { t.rsub_scalar(1.0)? } else { t.clone() };
        let held = span.clamp_min(LEAST)?;
        Ok((span, held))
    }
}

/// One number per sample as a tensor that multiplies `like` [B, ..], in its dtype.
fn column(numbers: &Tensor, like: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; like.rank()];
    if let Some(first) = shape.first_mut() {
        *first = -1;
    }
    numbers.to_dtype(like.dtype())?.reshape(&shape)
}

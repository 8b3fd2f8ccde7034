//! Velocities on the straight path from other predictions.

use super::ddpm;
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::Tensor;

/// Minimum divisor of a velocity, which is a difference divided by the remaining or the elapsed time (Li and He
/// 2025, "Back to Basics: Let Denoising Generative Models Denoise").
const LEAST: f64 = 0.05;

/// Meaning of a network's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Predict {
    /// The velocity.
    #[default]
    #[choice(name = "v")]
    Velocity,
    /// The clean image.
    #[choice(name = "x")]
    Image,
    /// The noise.
    Noise,
    /// The noise of a diffusion with 1000 steps, as with public DiT checkpoints; further channels, its variance, are
    /// ignored. The network receives points of the diffusion and steps from 0 to 999.
    Ddpm,
}

impl Predict {
    /// Converts an output at `x` [B, ..] and times `t` to a velocity, in the wider of both dtypes.
    pub(super) fn velocity(self, output: Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let way = match self {
            Predict::Velocity => return Ok(output),
            Predict::Image => output.sub(x)?,
            Predict::Noise => x.sub(&output)?,
            Predict::Ddpm => x.sub(&output.narrow(1, 0, x.size(1)?)?)?,
        };
        let (_, held) = self.spans(t)?;
        way.div(&column(&held, &way)?)
    }

    /// Returns the velocity of an exact output: the target itself, except at times where the divisor is clamped.
    pub(super) fn target(self, target: Tensor, t: &Tensor) -> Result<Tensor> {
        if self == Predict::Velocity {
            return Ok(target);
        }
        let (span, held) = self.spans(t)?;
        target.mul(&column(&span.div(&held)?, &target)?)
    }

    /// Returns the part of the path that the difference spans at each time, and the same clamped to its minimum.
    fn spans(self, t: &Tensor) -> Result<(Tensor, Tensor)> {
        let span = if self == Predict::Image { t.rsub_scalar(1.0)? } else { t.clone() };
        let held = span.clamp_min(if self == Predict::Ddpm { ddpm::FIRST } else { LEAST })?;
        Ok((span, held))
    }
}

/// Reshapes one number per sample so that it multiplies `like` [B, ..], in the dtype of `like`.
pub(super) fn column(numbers: &Tensor, like: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; like.rank()];
    if let Some(first) = shape.first_mut() {
        *first = -1;
    }
    numbers.to_dtype(like.dtype())?.reshape(&shape)
}

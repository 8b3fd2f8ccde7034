//! Predictions of a network, and velocities from them.

use super::ddpm;
use super::interpolant::{Factors, sum};
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::Tensor;

/// Minimum divisor of a velocity, which is a difference divided by the remaining or the elapsed time (Li and He
/// 2025, "Back to Basics: Let Denoising Generative Models Denoise").
pub(super) const LEAST: f64 = 0.05;

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
    /// The score, which is minus the noise divided by sigma.
    Score,
    /// The noise of a diffusion with 1000 steps, as with public DiT checkpoints; further channels, its variance, are
    /// ignored. The network receives points of the diffusion and steps from 0 to 999.
    Ddpm,
}

impl Predict {
    /// Returns the image and the noise that an output at `x` [B, ..] predicts; divisors are at least `least`.
    pub(super) fn split(
        self,
        output: &Tensor,
        x: &Tensor,
        factors: &Factors,
        least: f64,
    ) -> Result<(Tensor, Tensor)> {
        let Factors { alpha, sigma, .. } = factors;
        let rest = |taken: &Tensor, part: &Tensor, divisor: &Tensor| {
            let divisor = divisor.clamp_min(least)?;
            sum(&divisor.reciprocal()?, x, &taken.div(&divisor)?.neg()?, part)
        };
        match self {
            Predict::Velocity | Predict::Ddpm => factors.split(x, output),
            Predict::Image => Ok((output.clone(), rest(alpha, output, sigma)?)),
            Predict::Noise => Ok((rest(sigma, output, alpha)?, output.clone())),
            Predict::Score => {
                let noise = column(&sigma.neg()?, output)?.mul(output)?;
                Ok((rest(sigma, &noise, alpha)?, noise))
            }
        }
    }

    /// Returns the image and the noise that [`Predict::split`] finds in the output of an exact network at `x`.
    pub(super) fn exact(
        self,
        image: &Tensor,
        noise: &Tensor,
        x: &Tensor,
        factors: &Factors,
        least: f64,
    ) -> Result<(Tensor, Tensor)> {
        match self {
            // The output becomes the noise without a division, and would itself be infinite where sigma is zero.
            Predict::Score => Predict::Noise.split(noise, x, factors, least),
            _ => self.split(&self.of(image, noise, factors, least)?, x, factors, least),
        }
    }

    /// Returns a prediction of an image and its noise; the divisor of the score is at least `least`.
    pub(super) fn of(self, image: &Tensor, noise: &Tensor, factors: &Factors, least: f64) -> Result<Tensor> {
        match self {
            Predict::Velocity => Ok(factors.point(image, noise)?.1),
            Predict::Image => Ok(image.clone()),
            Predict::Noise | Predict::Ddpm => Ok(noise.clone()),
            Predict::Score => noise.div(&column(&factors.sigma.clamp_min(least)?.neg()?, noise)?),
        }
    }

    /// Converts an output at `x` [B, ..] and times `t` of the linear path to a velocity, in the wider of both dtypes.
    pub(super) fn velocity(self, output: Tensor, x: &Tensor, t: &Tensor, least: f64) -> Result<Tensor> {
        let way = match self {
            Predict::Velocity | Predict::Score => return Ok(output),
            Predict::Image => output.sub(x)?,
            Predict::Noise => x.sub(&output)?,
            Predict::Ddpm => x.sub(&output.narrow(1, 0, x.size(1)?)?)?,
        };
        let (_, held) = self.spans(t, least)?;
        way.div(&column(&held, &way)?)
    }

    /// Returns the image and the noise that an output with velocity `v` at `x` predicts: inverts [`Predict::velocity`] on the
    /// linear path, if `straight`, or else [`Predict::split`] and the velocity of both, with the same divisors.
    pub(super) fn inverse(
        self,
        v: &Tensor,
        x: &Tensor,
        factors: &Factors,
        (straight, least): (bool, f64),
    ) -> Result<(Tensor, Tensor)> {
        let Factors { alpha, sigma, d_alpha, d_sigma } = factors;
        // The prediction that `held = max(divisor, least)` leaves: the image, or the noise.
        let (own, least) = match self {
            Predict::Velocity => return factors.split(x, v),
            Predict::Image => (Predict::Image, least),
            Predict::Ddpm => (Predict::Noise, ddpm::FIRST),
            Predict::Noise | Predict::Score => (Predict::Noise, least),
        };
        let ([part, rest], [d_part, d_rest], sign) = match own {
            Predict::Image => ([alpha, sigma], [d_alpha, d_sigma], 1.0),
            _ => ([sigma, alpha], [d_sigma, d_alpha], -1.0),
        };
        let held = rest.clamp_min(least)?;
        let found = match straight && self != Predict::Score {
            true => x.add(&column(&held.mul_scalar(sign)?, v)?.mul(v)?)?,
            // v = part' found + rest' (x - part found) / held.
            false => {
                let slope = d_rest.div(&held)?;
                let over = d_part.sub(&slope.mul(part)?)?.reciprocal()?;
                sum(&over, v, &slope.mul(&over)?.neg()?, x)?
            }
        };
        own.split(&found, x, factors, least)
    }

    /// Returns the velocity of an exact output: the target itself, except at times where the divisor is clamped.
    pub(super) fn target(self, target: Tensor, t: &Tensor, least: f64) -> Result<Tensor> {
        if self == Predict::Velocity {
            return Ok(target);
        }
        let (span, held) = self.spans(t, least)?;
        target.mul(&column(&span.div(&held)?, &target)?)
    }

    /// Returns the part of the path that the difference spans at each time, and the same clamped to its minimum.
    fn spans(self, t: &Tensor, least: f64) -> Result<(Tensor, Tensor)> {
        let span = if self == Predict::Image { t.rsub_scalar(1.0)? } else { t.clone() };
        let held = span.clamp_min(if self == Predict::Ddpm { ddpm::FIRST } else { least })?;
        Ok((span, held))
    }
}

/// Returns numbers `[B]`, one per sample, in a shape that multiplies `like` [B, ..], and others of the rank of `like` as they are;
/// in the dtype of `like`.
pub(in crate::flow) fn column(numbers: &Tensor, like: &Tensor) -> Result<Tensor> {
    let numbers = numbers.to_dtype(like.dtype())?;
    if numbers.rank() > 1 {
        return Ok(numbers);
    }
    let mut shape = vec![1; like.rank()];
    if let Some(first) = shape.first_mut() {
        *first = -1;
    }
    numbers.reshape(&shape)
}

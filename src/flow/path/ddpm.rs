//! Noise predictions of a diffusion, used on the straight path.
//!
//! A point of the straight path at time t, divided by `sqrt(t^2 + (1 - t)^2)`, is a point of the variance-preserving
//! diffusion at the step with the same signal-to-noise ratio (Kingma et al. 2021, section 4.2). A network that was trained
//! on the diffusion therefore gives velocities of the straight path.

use super::predict::column;
use crate::error::Result;
use crate::torch::{DType, Tensor};

/// Steps of the diffusion, and its first and last noise variance (Ho et al. 2020, section 4), as in DiT.
pub(in crate::flow) const STEPS: i64 = 1000;
pub(in crate::flow) const BETAS: (f64, f64) = (1e-4, 0.02);

/// Time of the straight path with the signal-to-noise ratio of the last step; before it, a velocity has no prediction.
pub(super) const FIRST: f64 = 0.0063;

/// Returns the log signal-to-noise ratios of all steps, the noisiest first, float64 [1, STEPS] on the device of `like`.
fn ratios(like: &Tensor) -> Result<Tensor> {
    // Made on the device, so that it can be recorded in a CUDA graph.
    let index = Tensor::ones(&[STEPS], DType::Float64, like.device())?.cumsum(0)?.sub_scalar(1.0)?;
    let step = (BETAS.1 - BETAS.0) / (STEPS - 1) as f64;
    let kept = index.mul_scalar(-step)?.sub_scalar(BETAS.0)?.log1p()?.cumsum(0)?;
    kept.sub(&kept.expm1()?.neg()?.log()?)?.flip(&[0])?.unsqueeze(0)
}

/// Returns the steps, from 0 to 999 with fractions, that have the signal-to-noise ratios of the straight path at times t
/// `[B]`; float32 `[B]`.
pub(super) fn steps(t: &Tensor) -> Result<Tensor> {
    let t = t.to_dtype(DType::Float64)?.clamp(1e-9, 1.0 - 1e-9)?;
    let own = t.log()?.sub(&t.rsub_scalar(1.0)?.log()?)?.mul_scalar(2.0)?.unsqueeze(1)?;
    let all = ratios(&t)?;
    let (low, high) = (all.narrow(1, 0, STEPS - 1)?, all.narrow(1, 1, STEPS - 1)?);
    // Linear interpolation: the intervals below count 1 each, and that of the ratio a fraction.
    let below = own.sub(&low)?.div(&high.sub(&low)?)?.clamp(0.0, 1.0)?.sum(&[1], false)?;
    below.rsub_scalar((STEPS - 1) as f64)?.to_dtype(DType::Float32)
}

/// Returns points x [B, ..] of the straight path at times t `[B]` as points of the diffusion.
pub(super) fn scaled(x: &Tensor, t: &Tensor) -> Result<Tensor> {
    let t = t.to_dtype(DType::Float64)?;
    let length = t.square()?.add(&t.rsub_scalar(1.0)?.square()?)?.sqrt()?;
    x.div(&column(&length, x)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of `1 - beta` up to a step.
    fn kept(step: usize) -> f64 {
        let beta = |i: usize| BETAS.0 + (BETAS.1 - BETAS.0) * i as f64 / (STEPS - 1) as f64;
        (0..=step).map(|i| 1.0 - beta(i)).product()
    }

    #[test]
    fn a_step_has_the_signal_to_noise_ratio_of_its_time() {
        for step in [0, 1, 143, 461, 998, 999] {
            let signal = (kept(step) / (1.0 - kept(step))).sqrt();
            let t = Tensor::from_f64(&[signal / (1.0 + signal)], &[1]).unwrap();
            let found = steps(&t).unwrap().to_f64().unwrap()[0];
            assert!((found - step as f64).abs() < 1e-3, "{step}: {found}");
        }
        let ends = Tensor::from_f64(&[0.0, 1.0], &[2]).unwrap();
        assert_eq!(steps(&ends).unwrap().to_f64().unwrap(), [999.0, 0.0]);
        let last = (kept(999) / (1.0 - kept(999))).sqrt();
        assert!((last / (1.0 + last) - FIRST).abs() < 1e-4);
    }

    #[test]
    fn scaled_points_have_unit_variance() {
        let x = Tensor::from_f64(&[5.0, 5.0], &[2, 1]).unwrap();
        let t = Tensor::from_f64(&[0.0, 0.6], &[2]).unwrap();
        let found = scaled(&x, &t).unwrap().to_f64().unwrap();
        assert!((found[0] - 5.0).abs() < 1e-9 && (found[1] - 5.0 / 0.52f64.sqrt()).abs() < 1e-9, "{found:?}");
    }
}

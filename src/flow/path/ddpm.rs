//! Noise predictions of a diffusion, used on the straight path.
//!
//! A point of the straight path at time t, divided by `sqrt(t^2 + (1 - t)^2)`, is a point of the variance-preserving
//! diffusion at the step with the same signal-to-noise ratio (Kingma et al. 2021, section 4.2). A network that was trained
//! on the diffusion therefore gives velocities of the straight path.

use super::predict::column;
use crate::error::Result;
use crate::torch::{DType, Tensor};

pub(super) use crate::model::diffusion::steps;
pub(in crate::flow) use crate::model::diffusion::{BETAS, STEPS};

/// Time of the straight path with the signal-to-noise ratio of the last step; before it, a velocity has no prediction.
pub(super) const FIRST: f64 = 0.0063;

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

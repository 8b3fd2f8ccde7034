//! Steps of the diffusion that a DiT is trained on (Ho et al. 2020, section 4), and times of the straight path.
//!
//! A step and a time belong together if they have the same signal-to-noise ratio (Kingma et al. 2021, section 4.2).

use crate::error::Result;
use crate::torch::{DType, Tensor};

/// Steps of the diffusion, and its first and last noise variance, as in DiT.
pub(crate) const STEPS: i64 = 1000;
pub(crate) const BETAS: (f64, f64) = (1e-4, 0.02);

/// Returns the log signal-to-noise ratios of all steps, the noisiest first, float64 [STEPS] on the device of `like`.
fn ratios(like: &Tensor) -> Result<Tensor> {
    // Made on the device, so that it can be recorded in a CUDA graph.
    let index = Tensor::ones(&[STEPS], DType::Float64, like.device())?.cumsum(0)?.sub_scalar(1.0)?;
    let step = (BETAS.1 - BETAS.0) / (STEPS - 1) as f64;
    let kept = index.mul_scalar(-step)?.sub_scalar(BETAS.0)?.log1p()?.cumsum(0)?;
    kept.sub(&kept.expm1()?.neg()?.log()?)?.flip(&[0])
}

/// Times whose steps are found at once, so that times of pixels take little memory.
const AT_ONCE: i64 = 1 << 13;

/// Returns the steps, from 0 to 999 with fractions, that have the signal-to-noise ratios of the straight path at times t of
/// any shape; float32 of that shape.
pub(crate) fn steps(t: &Tensor) -> Result<Tensor> {
    let count = t.count() as i64;
    if count > AT_ONCE {
        let flat = t.reshape(&[-1])?;
        let of = |start| steps(&flat.narrow(0, start, AT_ONCE.min(count - start))?);
        let parts = (0..count).step_by(AT_ONCE as usize).map(of).collect::<Result<Vec<_>>>()?;
        return Tensor::cat(&parts, 0)?.reshape(&t.shape());
    }
    let t = t.to_dtype(DType::Float64)?.clamp(1e-9, 1.0 - 1e-9)?;
    let own = t.log()?.sub(&t.rsub_scalar(1.0)?.log()?)?.mul_scalar(2.0)?.unsqueeze(-1)?;
    let all = ratios(&t)?;
    let (low, high) = (all.narrow(0, 0, STEPS - 1)?, all.narrow(0, 1, STEPS - 1)?);
    // Linear interpolation: the intervals below count 1 each, and that of the ratio a fraction.
    let below = own.sub(&low)?.div(&high.sub(&low)?)?.clamp(0.0, 1.0)?.sum(&[-1], false)?;
    below.rsub_scalar((STEPS - 1) as f64)?.to_dtype(DType::Float32)
}

/// Returns the times in [0, 1] of steps of any shape, the inverse of [`steps`], in the dtype of the steps: 0.0063 for step 999
/// and 0.99 for step 0.
pub(crate) fn times(steps: &Tensor) -> Result<Tensor> {
    let last = (STEPS - 1) as f64;
    let place = steps.to_dtype(DType::Float64)?.rsub_scalar(last)?.clamp(0.0, last)?;
    let below = place.detach()?.floor()?.clamp_max(last - 1.0)?;
    let index = below.to_dtype(DType::Int64)?.reshape(&[-1])?;
    let all = ratios(steps)?;
    let at = |index: &Tensor| all.index_select(0, index)?.reshape(&steps.shape());
    let (low, high) = (at(&index)?, at(&index.add_scalar(1)?)?);
    let own = low.add(&high.sub(&low)?.mul(&place.sub(&below)?)?)?;
    own.mul_scalar(0.5)?.sigmoid()?.to_dtype(steps.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_steps_are_the_inverse_of_steps_of_times() {
        let t = Tensor::from_f64(&[0.0063, 0.02, 0.25, 0.5, 0.75, 0.98], &[6]).unwrap();
        let back = times(&steps(&t).unwrap()).unwrap();
        assert_eq!(back.dtype(), DType::Float32);
        for (found, expected) in back.to_f64().unwrap().iter().zip(t.to_f64().unwrap()) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        let pixels = t.reshape(&[2, 1, 1, 3]).unwrap();
        let found = steps(&pixels).unwrap();
        assert_eq!(found.shape(), [2, 1, 1, 3]);
        assert_eq!(found.to_f64().unwrap(), steps(&t).unwrap().to_f64().unwrap());
        assert_eq!(times(&found).unwrap().to_f64().unwrap(), back.to_f64().unwrap());
        let many = t.unsqueeze(1).unwrap().expand(&[6, 2000]).unwrap();
        let found = steps(&many).unwrap();
        assert_eq!(found.shape(), [6, 2000]);
        let last = found.select(1, 1999).unwrap();
        assert_eq!(last.to_f64().unwrap(), steps(&t).unwrap().to_f64().unwrap());
        let ends = times(&Tensor::from_f64(&[0.0, 999.0, 1000.0], &[3]).unwrap()).unwrap().to_f64().unwrap();
        // The first step keeps 0.9999 of the image's variance: a signal of 0.99995 and a noise of 0.01.
        assert!((ends[0] - 0.99995 / 1.00995).abs() < 1e-5 && (ends[1] - 0.0063).abs() < 1e-4, "{ends:?}");
        assert_eq!(ends[1], ends[2]);
    }
}

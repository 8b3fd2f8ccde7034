//! Shift of times towards noise or data, shared by training times and sampling steps.
//!
//! Source: Esser et al. 2024 (Stable Diffusion 3), equation 23, with time running from noise to data.

use crate::error::Result;
use crate::torch::Tensor;

/// Moves a time towards the noise for a `shift` above 1 and towards the data below 1.
pub(super) fn shifted(t: f64, shift: f64) -> f64 {
    t / (shift + (1.0 - shift) * t)
}

/// Returns the time that [`shifted`] moves to `t`.
pub(super) fn unshifted(t: f64, shift: f64) -> f64 {
    shift * t / (1.0 + (shift - 1.0) * t)
}

/// Applies [`shifted`] to every element.
pub(super) fn shifted_all(t: &Tensor, shift: f64) -> Result<Tensor> {
    if shift == 1.0 { Ok(t.clone()) } else { t.div(&t.mul_scalar(1.0 - shift)?.add_scalar(shift)?) }
}

/// Applies [`unshifted`] to every element; returns its derivative as well.
pub(super) fn unshifted_all(t: &Tensor, shift: f64) -> Result<(Tensor, Tensor)> {
    let line = t.mul_scalar(shift - 1.0)?.add_scalar(1.0)?;
    Ok((t.mul_scalar(shift)?.div(&line)?, line.square()?.reciprocal()?.mul_scalar(shift)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_by_hand() {
        // Stable Diffusion 3 with a shift of 3: the noise level 0.5 becomes 3 * 0.5 / (1 + 2 * 0.5) = 0.75.
        assert!((shifted(0.5, 3.0) - 0.25).abs() < 1e-15);
        // LightningDiT with a shift of 0.3: 0.5 / (0.3 + 0.7 * 0.5).
        assert!((shifted(0.5, 0.3) - 0.5 / 0.65).abs() < 1e-15);
    }

    #[test]
    fn tensors_move_as_numbers_and_back() {
        let times = [0.0, 0.2, 0.7, 1.0];
        let t = Tensor::from_f64(&times, &[4]).unwrap();
        for shift in [0.3, 1.0, 3.0] {
            let moved = shifted_all(&t, shift).unwrap();
            let (back, slope) = unshifted_all(&moved, shift).unwrap();
            let (moved, back, slope) =
                (moved.to_f64().unwrap(), back.to_f64().unwrap(), slope.to_f64().unwrap());
            for (i, t) in times.into_iter().enumerate() {
                assert_eq!(moved[i], shifted(t, shift));
                assert!((unshifted(moved[i], shift) - t).abs() < 1e-15 && (back[i] - t).abs() < 1e-15);
                let measured = (unshifted(moved[i] + 1e-7, shift) - unshifted(moved[i] - 1e-7, shift)) / 2e-7;
                assert!((slope[i] - measured).abs() < 1e-6, "{shift}: {} and {measured}", slope[i]);
            }
        }
    }
}

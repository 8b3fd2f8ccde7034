//! Fourier transform of periodic planes.

use crate::error::Result;
use crate::torch::Tensor;

/// Multiplies the waves of real planes by gains [.., H, W / 2 + 1], which cover the half that the real FFT returns.
pub(super) fn scale(planes: &Tensor, gains: &Tensor) -> Result<Tensor> {
    let waves = planes.rfft(-1, None, "ortho")?.fft(-2, None, "ortho")?;
    waves.mul(gains)?.ifft(-2, None, "ortho")?.irfft(-1, Some(planes.size(-1)?), "ortho")
}

/// Returns the radii: wave k of an axis of n has min(k, n - k) cycles, and n / 2 cycles count as 1.
pub(super) fn radii(height: usize, width: usize) -> Vec<f64> {
    let along = |wave: usize, n: usize| 2.0 * wave.min(n - wave) as f64 / n as f64;
    (0..height).flat_map(|i| (0..width).map(move |j| along(i, height).hypot(along(j, width)))).collect()
}

//! Fourier transform of periodic planes.

use super::tables::{Tables, What};
use crate::error::Result;
use crate::torch::{DType, Tensor};

/// Multiplies the waves of real planes [.., H, W] by gains that broadcast to them, and returns the real part.
pub(super) fn scale(planes: &Tensor, gains: &Tensor, tables: &Tables) -> Result<Tensor> {
    let waves = planes.rfft(-1, None, "ortho")?.fft(-2, None, "ortho")?;
    let gains = half(gains, planes.size(-2)?, planes.size(-1)?, tables)?;
    waves.mul(&gains)?.ifft(-2, None, "ortho")?.irfft(-1, Some(planes.size(-1)?), "ortho")
}

/// Returns the gains of the waves of the real FFT, [.., H, W / 2 + 1], of gains that broadcast to [.., H, W].
///
/// Real planes contain each wave twice, so half of the waves are enough; the real part of the product gives a wave and
/// its opposite the mean of their gains.
fn half(gains: &Tensor, height: i64, width: i64, tables: &Tables) -> Result<Tensor> {
    let rank = gains.rank() as i64;
    let (mut kept, mut opposite) = (gains.clone(), gains.clone());
    for (dim, size, count) in [(-1, width, width / 2 + 1), (-2, height, height)] {
        if rank < -dim || gains.size(dim)? == 1 {
            continue;
        }
        crate::ensure!(
            gains.size(dim)? == size,
            "the gains must broadcast to the coefficients of shape [.., {height}, {width}], found shape {:?}",
            gains.shape()
        );
        let mirrored = tables.get(What::Opposite(size, count), DType::Int64, gains.device(), || {
            Ok(((0..count).map(|wave| ((size - wave) % size) as f64).collect(), vec![count]))
        })?;
        kept = kept.narrow(dim, 0, count)?;
        opposite = opposite.index_select(dim, &mirrored)?;
    }
    kept.add(&opposite)?.mul_scalar(0.5)
}

/// Returns the radii: wave k of an axis of n has min(k, n - k) cycles, and n / 2 cycles count as 1.
pub(super) fn radii(height: usize, width: usize) -> Vec<f64> {
    let along = |wave: usize, n: usize| 2.0 * wave.min(n - wave) as f64 / n as f64;
    (0..height).flat_map(|i| (0..width).map(move |j| along(i, height).hypot(along(j, width)))).collect()
}

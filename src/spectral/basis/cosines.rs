//! Orthonormal cosine transform, DCT-II.

use crate::error::Result;
use crate::spectral::filter::operator::cosine;
use crate::torch::Tensor;

/// Returns the matrix [n, n] whose row k is cosine k.
fn matrix(n: i64, like: &Tensor) -> Result<Tensor> {
    let values: Vec<f64> = (0..n as usize).flat_map(|wave| cosine(wave, n as usize)).collect();
    Tensor::from_f64(&values, &[n, n])?.to_dtype(like.dtype())?.to_device(like.device())
}

pub(super) fn forward(planes: &Tensor) -> Result<Tensor> {
    let (down, across) = (matrix(planes.size(-2)?, planes)?, matrix(planes.size(-1)?, planes)?);
    down.matmul(planes)?.matmul(&across.transpose(0, 1)?)
}

pub(super) fn inverse(coefficients: &Tensor) -> Result<Tensor> {
    let down = matrix(coefficients.size(-2)?, coefficients)?;
    let across = matrix(coefficients.size(-1)?, coefficients)?;
    down.transpose(0, 1)?.matmul(coefficients)?.matmul(&across)
}

/// Returns the radii: the highest cosine of an axis of n has n - 1 half waves, and counts as 1.
pub(super) fn radii(height: usize, width: usize) -> Vec<f64> {
    let along = |wave: usize, n: usize| wave as f64 / (n.max(2) - 1) as f64;
    (0..height).flat_map(|i| (0..width).map(move |j| along(i, height).hypot(along(j, width)))).collect()
}

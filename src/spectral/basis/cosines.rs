//! The orthonormal cosine transform, DCT-II.

use std::f64::consts::PI;

use crate::error::Result;
use crate::torch::Tensor;

/// The matrix [n, n] whose row k is cosine k.
fn matrix(n: i64, like: &Tensor) -> Result<Tensor> {
    let entry = |i: i64| {
        let (wave, place) = (i / n, i % n);
        let scale = (if wave == 0 { 1.0 } else { 2.0 } / n as f64).sqrt();
        // A whole turn is 4 n half steps, and the remainder is exact.
        scale * (2.0 * PI * ((2 * place + 1) * wave % (4 * n)) as f64 / (4 * n) as f64).cos()
    };
    let values: Vec<f64> = (0..n * n).map(entry).collect();
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

/// The highest cosine of an axis of n has n - 1 half waves, and counts as 1.
pub(super) fn radii(height: usize, width: usize) -> Vec<f64> {
    let along = |wave: usize, n: usize| wave as f64 / (n.max(2) - 1) as f64;
    (0..height).flat_map(|i| (0..width).map(move |j| along(i, height).hypot(along(j, width)))).collect()
}

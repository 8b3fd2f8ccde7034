//! Orthonormal cosine transform, DCT-II.

use super::tables::{Tables, What};
use crate::error::Result;
use crate::spectral::filter::operator::cosine;
use crate::torch::Tensor;

/// Returns the matrix [n, n] whose row k is cosine k.
fn matrix(n: i64, like: &Tensor, tables: &Tables) -> Result<Tensor> {
    tables.get(What::Cosines(n), like.dtype(), like.device(), || {
        let rows = (0..n as usize).flat_map(|wave| cosine(wave, n as usize));
        Ok((rows.collect(), vec![n, n]))
    })
}

/// Returns the matrices of both axes of planes [.., H, W].
fn matrices(planes: &Tensor, tables: &Tables) -> Result<[Tensor; 2]> {
    Ok([matrix(planes.size(-2)?, planes, tables)?, matrix(planes.size(-1)?, planes, tables)?])
}

pub(super) fn forward(planes: &Tensor, tables: &Tables) -> Result<Tensor> {
    let [down, across] = matrices(planes, tables)?;
    down.matmul(planes)?.matmul(&across.transpose(0, 1)?)
}

pub(super) fn inverse(coefficients: &Tensor, tables: &Tables) -> Result<Tensor> {
    let [down, across] = matrices(coefficients, tables)?;
    down.transpose(0, 1)?.matmul(coefficients)?.matmul(&across)
}

/// Returns the radii: the highest cosine of an axis of n has n - 1 half waves, and counts as 1.
pub(super) fn radii(height: usize, width: usize) -> Vec<f64> {
    let along = |wave: usize, n: usize| wave as f64 / (n.max(2) - 1) as f64;
    (0..height).flat_map(|i| (0..width).map(move |j| along(i, height).hypot(along(j, width)))).collect()
}

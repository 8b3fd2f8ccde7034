//! A Laplacian pyramid that keeps the size: differences of copies that are blurred more and more.

use std::f64::consts::{LN_2, PI};

use crate::error::{Error, Result};
use crate::options;
use crate::spectral::filter::{Gaussian, Operator};
use crate::torch::Tensor;

options! {
    /// Copies that Gaussians blur, each twice as wide as the one before, and the differences between them.
    pub struct Laplacian {
        /// How many Gaussians there are; one more band than that comes out.
        levels: i64 = 3 => range(1.0, 8.0);
        /// Standard deviation of the first Gaussian, in pixels or tokens.
        sigma: f64 = 1.0 => range(0.1, 64.0);
    }
}

impl Laplacian {
    /// How many bands there are.
    pub(super) fn bands(&self) -> usize {
        self.levels as usize + 1
    }

    fn widths(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.levels).map(|level| self.sigma * f64::from(2).powi(level as i32))
    }

    /// The bands, the finest first.
    pub(super) fn forward(&self, planes: &Tensor) -> Result<Tensor> {
        let (mut bands, mut finer) = (Vec::new(), planes.clone());
        for sigma in self.widths() {
            let coarser = blurred(planes, sigma)?;
            bands.push(finer.sub(&coarser)?);
            finer = coarser;
        }
        bands.push(finer);
        Tensor::stack(&bands, 0)
    }

    /// The middle, by octaves, between the radii at which the Gaussians around a band pass half; the last band, which holds
    /// the mean, has 0.
    pub(super) fn radii(&self) -> Vec<f64> {
        let half = |sigma: f64| ((2.0 * LN_2).sqrt() / (PI * sigma)).min(1.0);
        let edges: Vec<f64> = std::iter::once(1.0).chain(self.widths().map(half)).collect();
        edges.windows(2).map(|pair| (pair[0] * pair[1]).sqrt()).chain([0.0]).collect()
    }
}

/// Planes blurred along both axes, the edge repeated beyond the edge.
fn blurred(planes: &Tensor, sigma: f64) -> Result<Tensor> {
    let taps = Gaussian { sigma }.taps();
    let matrix = |n: i64| match Operator::taps(&taps, n as usize) {
        Operator::Separable { matrix, .. } => {
            Tensor::from_f64(&matrix, &[n, n])?.to_dtype(planes.dtype())?.to_device(planes.device())
        }
        _ => Err(Error::internal("taps make a matrix")),
    };
    let (down, across) = (matrix(planes.size(-2)?)?, matrix(planes.size(-1)?)?);
    down.matmul(planes)?.matmul(&across.transpose(0, 1)?)
}

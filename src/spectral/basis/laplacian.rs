//! Laplacian pyramid without downsampling: differences between increasingly blurred copies.

use std::f64::consts::{LN_2, PI};

use super::tables::{Tables, What};
use crate::declare::Options;
use crate::error::Result;
use crate::spectral::filter::{Gaussian, operator};
use crate::torch::Tensor;

/// Copies blurred by Gaussians, each twice as wide as the one before, and their differences.
#[derive(Debug, Clone, Options)]
pub struct Laplacian {
    /// Number of Gaussians; there is one more band.
    #[option(default = 3, range = 1..=8)]
    pub levels: i64,
    /// Standard deviation of the first Gaussian, in pixels or tokens.
    #[option(default = 1.0, range = 0.1..=64.0)]
    pub sigma: f64,
}

impl Laplacian {
    /// Returns the number of bands.
    pub(super) fn bands(&self) -> usize {
        self.levels as usize + 1
    }

    fn widths(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.levels).map(|level| self.sigma * f64::from(2).powi(level as i32))
    }

    /// Returns the bands, the finest first.
    pub(super) fn forward(&self, planes: &Tensor, tables: &Tables) -> Result<Tensor> {
        let (mut bands, mut finer) = (Vec::new(), planes.clone());
        for (level, sigma) in self.widths().enumerate() {
            let coarser = blurred(planes, (level, sigma), tables)?;
            bands.push(finer.sub(&coarser)?);
            finer = coarser;
        }
        bands.push(finer);
        Tensor::stack(&bands, 0)
    }

    /// Returns the geometric mean of the radii at which the Gaussians around each band have a gain of one half; 0
    /// for the last band, which holds the mean.
    pub(super) fn radii(&self) -> Vec<f64> {
        let half = |sigma: f64| ((2.0 * LN_2).sqrt() / (PI * sigma)).min(1.0);
        let edges: Vec<f64> = std::iter::once(1.0).chain(self.widths().map(half)).collect();
        edges.windows(2).map(|pair| (pair[0] * pair[1]).sqrt()).chain([0.0]).collect()
    }
}

/// Blurs planes along both axes, with replicated edges, by the Gaussian of a level.
fn blurred(planes: &Tensor, (level, sigma): (usize, f64), tables: &Tables) -> Result<Tensor> {
    let matrix = |n: i64| {
        tables.get(What::Blur(level, n), planes.dtype(), planes.device(), || {
            Ok((operator::matrix_of_taps(&Gaussian { sigma }.taps(), n as usize), vec![n, n]))
        })
    };
    let (down, across) = (matrix(planes.size(-2)?)?, matrix(planes.size(-1)?)?);
    down.matmul(planes)?.matmul(&across.transpose(0, 1)?)
}

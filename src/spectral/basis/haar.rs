//! Orthonormal two-dimensional Haar transform.

use crate::declare::Options;
use crate::error::Result;
use crate::torch::Tensor;

/// Means and differences of 2 x 2 blocks, applied again to the means.
#[derive(Debug, Clone, Options)]
pub struct Haar {
    /// Number of levels; each further level transforms the means again. Height and width must be divisible by
    /// 2^levels.
    #[option(default = 1, range = 1..=10)]
    pub levels: i64,
}

impl Haar {
    fn checked(&self, height: usize, width: usize) -> Result<()> {
        let block = 1usize << self.levels;
        crate::ensure!(
            height.is_multiple_of(block) && width.is_multiple_of(block),
            "basis::haar with {} levels needs sides divisible by {block}, found {height} x {width}",
            self.levels
        );
        Ok(())
    }

    pub(super) fn forward(&self, planes: &Tensor) -> Result<Tensor> {
        let (height, width) = (planes.size(-2)?, planes.size(-1)?);
        self.checked(height as usize, width as usize)?;
        divided(planes, self.levels)
    }

    pub(super) fn inverse(&self, coefficients: &Tensor) -> Result<Tensor> {
        let (height, width) = (coefficients.size(-2)?, coefficients.size(-1)?);
        self.checked(height as usize, width as usize)?;
        joined(coefficients, self.levels)
    }

    /// Returns the middle of the octave that each coefficient covers along each axis; 0 for the coarse band, which
    /// holds the mean.
    pub(super) fn radii(&self, height: usize, width: usize) -> Result<Vec<f64>> {
        self.checked(height, width)?;
        let radius = |i: usize, j: usize| {
            for level in 1..=self.levels {
                let (rows, columns) = (height >> level, width >> level);
                if i >= rows || j >= columns {
                    let octave = f64::from(2).powi(1 - level as i32);
                    let along = |fine: bool| octave * if fine { 0.75 } else { 0.25 };
                    return along(i >= rows).hypot(along(j >= columns));
                }
            }
            0.0
        };
        Ok((0..height).flat_map(|i| (0..width).map(move |j| radius(i, j))).collect())
    }
}

/// Transforms 2 x 2 blocks: the means, transformed again, fill the first quarter, and the differences the others.
fn divided(planes: &Tensor, levels: i64) -> Result<Tensor> {
    if levels == 0 {
        return Ok(planes.clone());
    }
    let quarters = quarters(planes)?;
    let [a, b, c, d] = &quarters;
    let mix = |signs: [f64; 3]| {
        a.add(&b.mul_scalar(signs[0])?)?
            .add(&c.mul_scalar(signs[1])?)?
            .add(&d.mul_scalar(signs[2])?)?
            .mul_scalar(0.5)
    };
    let coarse = divided(&mix([1.0, 1.0, 1.0])?, levels - 1)?;
    let (across, down, both) = (mix([-1.0, 1.0, -1.0])?, mix([1.0, -1.0, -1.0])?, mix([-1.0, -1.0, 1.0])?);
    let (above, below) = (Tensor::cat(&[coarse, across], -1)?, Tensor::cat(&[down, both], -1)?);
    Tensor::cat(&[above, below], -2)
}

fn joined(coefficients: &Tensor, levels: i64) -> Result<Tensor> {
    if levels == 0 {
        return Ok(coefficients.clone());
    }
    let (rows, columns) = (coefficients.size(-2)? / 2, coefficients.size(-1)? / 2);
    let part = |i: i64, j: i64| coefficients.narrow(-2, i * rows, rows)?.narrow(-1, j * columns, columns);
    let coarse = joined(&part(0, 0)?, levels - 1)?;
    let (across, down, both) = (part(0, 1)?, part(1, 0)?, part(1, 1)?);
    let mix = |signs: [f64; 3]| {
        let sum = coarse.add(&across.mul_scalar(signs[0])?)?.add(&down.mul_scalar(signs[1])?)?;
        sum.add(&both.mul_scalar(signs[2])?)?.mul_scalar(0.5)
    };
    let above = Tensor::stack(&[mix([1.0, 1.0, 1.0])?, mix([-1.0, 1.0, -1.0])?], -1)?;
    let below = Tensor::stack(&[mix([1.0, -1.0, -1.0])?, mix([-1.0, -1.0, 1.0])?], -1)?;
    // [.., rows, 2, columns, 2]
    let mut shape = coefficients.shape();
    let rank = shape.len();
    (shape[rank - 2], shape[rank - 1]) = (2 * rows, 2 * columns);
    Tensor::stack(&[above, below], -3)?.reshape(&shape)
}

/// Returns the four pixels of each 2 x 2 block, in row-major order.
fn quarters(planes: &Tensor) -> Result<[Tensor; 4]> {
    let mut shape = planes.shape();
    let (height, width) = (planes.size(-2)?, planes.size(-1)?);
    shape.truncate(shape.len() - 2);
    shape.extend([height / 2, 2, width / 2, 2]);
    let blocks = planes.reshape(&shape)?;
    let pixel = |i: i64, j: i64| blocks.select(-1, j)?.select(-2, i);
    Ok([pixel(0, 0)?, pixel(0, 1)?, pixel(1, 0)?, pixel(1, 1)?])
}

//! How a filter is computed: matrices made once in float64, applied as batched products.
//!
//! Every linear filter here acts on rows and columns of the grid by the same small matrices, so that one
//! application costs a few products with a G x G matrix, whatever the filter's width.

use std::f64::consts::PI;

use crate::error::{Error, Result};
use crate::torch::{DType, Device, Tensor};

/// A linear filter on a grid of G x G tokens, in float64.
#[derive(Debug, Clone)]
pub enum Operator {
    /// `A X A^T` with A [G, G]: taps along each axis, the boundary included.
    Separable {
        /// A, row-major.
        matrix: Vec<f64>,
        /// G.
        grid: usize,
        /// Number of taps along each axis.
        taps: usize,
    },
    /// `Q^T (gains * (Q X Q^T)) Q` with Q [K, G] of orthonormal rows and gains [K, K].
    Diagonal {
        /// Q, row-major.
        basis: Vec<f64>,
        /// One gain for each pair of rows of Q, row-major.
        gains: Vec<f64>,
        /// G.
        grid: usize,
        /// K, how many basis vectors pass at all.
        kept: usize,
    },
}

impl Operator {
    /// Correlates rows and columns with an odd number of `taps`, the edge tokens repeated beyond the edge.
    pub fn taps(taps: &[f64], grid: usize) -> Self {
        let (radius, last) = (taps.len() as i64 / 2, grid as i64 - 1);
        let mut matrix = vec![0.0; grid * grid];
        for row in 0..grid {
            for (tap, offset) in taps.iter().zip(-radius..) {
                let column = (row as i64 + offset).clamp(0, last) as usize;
                matrix[row * grid + column] += tap;
            }
        }
        Operator::Separable { matrix, grid, taps: taps.len() }
    }

    /// Multiplies each wave of the periodic grid by the gain of its frequency radius.
    ///
    /// The basis is the real Fourier basis (1, cosines, sines). A cosine and a sine of one frequency have
    /// one radius, so the filter is diagonal in it, exactly, without complex numbers. Waves that do not
    /// pass at all are left out of the products.
    pub fn radial(grid: usize, mut gain: impl FnMut(f64) -> Result<f64>) -> Result<Self> {
        let radius_of = |wave: usize| 2.0 * wave as f64 / grid as f64;
        let half = grid / 2;
        let mut table = vec![0.0; (half + 1) * (half + 1)];
        for i in 0..=half {
            for j in 0..=i {
                let value = gain(radius_of(i).hypot(radius_of(j)))?;
                table[i * (half + 1) + j] = value;
                table[j * (half + 1) + i] = value;
            }
        }
        let mut waves = Vec::new();
        let mut basis = Vec::new();
        for wave in 0..=half {
            if (0..=half).all(|other| table[wave * (half + 1) + other] == 0.0) {
                continue;
            }
            let alone = wave == 0 || 2 * wave == grid;
            let scale = (if alone { 1.0 } else { 2.0 } / grid as f64).sqrt();
            for part in if alone { &[f64::cos as fn(f64) -> f64][..] } else { &[f64::cos, f64::sin] } {
                // The angle is reduced in integers first, so that whole turns are exact.
                let angle = |place: usize| 2.0 * PI * ((wave * place) % grid) as f64 / grid as f64;
                basis.extend((0..grid).map(|place| scale * part(angle(place))));
                waves.push(wave);
            }
        }
        let (waves, table) = (&waves, &table);
        let gains = waves.iter().flat_map(|i| waves.iter().map(move |j| table[i * (half + 1) + j])).collect();
        Ok(Operator::Diagonal { basis, gains, grid, kept: waves.len() })
    }

    /// Floating-point operations for one channel of one grid, as the mathematics is usually counted.
    ///
    /// Taps count as one dense two-dimensional convolution, two operations per tap, as in the paper's
    /// implementation; a frequency response counts as a real FFT and its inverse (2.5 N log2 N each) and
    /// one product.
    pub fn flops(&self) -> f64 {
        match self {
            Operator::Separable { grid, taps, .. } => 2.0 * (taps * taps * grid * grid) as f64,
            Operator::Diagonal { grid, .. } => {
                let n = (grid * grid) as f64;
                5.0 * n * n.log2().max(1.0) + n
            }
        }
    }

    /// The matrices on a device, ready to apply.
    pub fn plan(&self, dtype: DType, device: Device) -> Result<Plan> {
        let tensor = |values: &[f64], shape: &[i64]| {
            Tensor::from_f64(values, shape)?.to_dtype(dtype)?.to_device(device)
        };
        Ok(match self {
            Operator::Separable { matrix, grid, .. } => {
                let g = *grid as i64;
                Plan { grid: g, steps: Steps::Separable { matrix: tensor(matrix, &[1, g, g])? } }
            }
            Operator::Diagonal { basis, gains, grid, kept } => {
                let (g, k) = (*grid as i64, *kept as i64);
                let forth = tensor(basis, &[1, k, g])?;
                let back = forth.transpose(1, 2)?.contiguous()?;
                let gains = tensor(gains, &[1, k, k, 1])?;
                Plan { grid: g, steps: Steps::Diagonal { forth, back, gains } }
            }
        })
    }
}

/// A filter's matrices for one grid, dtype and device.
#[derive(Debug, Clone)]
pub struct Plan {
    grid: i64,
    steps: Steps,
}

#[derive(Debug, Clone)]
enum Steps {
    Separable { matrix: Tensor },
    Diagonal { forth: Tensor, back: Tensor, gains: Tensor },
}

impl Plan {
    /// The matrix [1, G, G] that acts on rows and columns alike, where that is all the filter does.
    pub fn separable(&self) -> Option<&Tensor> {
        match &self.steps {
            Steps::Separable { matrix } => Some(matrix),
            Steps::Diagonal { .. } => None,
        }
    }

    /// Filters tokens [B, N, D] with N = grid * grid in row-major order; gradients flow through.
    pub fn apply(&self, tokens: &Tensor) -> Result<Tensor> {
        let shape = tokens.shape();
        let [batch, count, width] = shape[..] else {
            return Err(Error::argument(format!("expected tokens [B, N, D], found shape {shape:?}")));
        };
        let grid = self.grid;
        crate::ensure!(
            count == grid * grid,
            "a grid of {grid} x {grid} has {} tokens, found {count} in shape {shape:?}",
            grid * grid
        );
        match &self.steps {
            Steps::Separable { matrix } => both(matrix, tokens, [batch, grid, grid, width])?.reshape(&shape),
            Steps::Diagonal { forth, back, gains } => {
                let kept = forth.size(1)?;
                let waves = both(forth, tokens, [batch, grid, grid, width])?;
                let passed = waves.mul(&gains.to_dtype(waves.dtype())?)?;
                both(back, &passed, [batch, kept, kept, width])?.reshape(&shape)
            }
        }
    }
}

/// `M X M^T` for each channel: X has sizes [B, rows, columns, D], M [1, m, rows], and rows = columns.
fn both(matrix: &Tensor, x: &Tensor, [batch, rows, columns, width]: [i64; 4]) -> Result<Tensor> {
    // Under autocast the tokens are bfloat16; converting the small matrix here keeps autocast from
    // converting its expanded form.
    let matrix = matrix.to_dtype(x.dtype())?;
    let m = matrix.size(1)?;
    let down = matrix.expand(&[batch, m, rows])?.bmm(&x.reshape(&[batch, rows, columns * width])?)?;
    let across =
        matrix.expand(&[batch * m, m, columns])?.bmm(&down.reshape(&[batch * m, columns, width])?)?;
    across.reshape(&[batch, m, m, width])
}

/// The gain of separable taps at a frequency radius: along one axis up to 1, then along the border of the
/// square of frequencies to its corner.
pub fn taps_gain(taps: &[f64], radius: f64) -> f64 {
    let half = taps.len() as i64 / 2;
    let along = |r: f64| -> f64 {
        taps.iter().zip(-half..).map(|(tap, offset)| tap * (PI * r * offset as f64).cos()).sum()
    };
    match radius <= 1.0 {
        true => along(radius) * along(0.0),
        false => along(1.0) * along((radius * radius - 1.0).max(0.0).sqrt().min(1.0)),
    }
}

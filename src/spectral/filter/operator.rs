//! Filter operators: matrices built once in float64 and applied as batched products.
//!
//! Every linear filter here acts on rows and columns of the grid through the same small matrices, so one
//! application costs a few products with a G x G matrix, whatever the filter's width.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::torch::fused::GridFilter;
use crate::torch::{DType, Device, Tensor};

/// Code that maps images [B, D, G, G] to their low band.
pub type Custom = dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync;

/// A filter on a grid of G x G tokens; linear filters are in float64.
#[derive(Clone)]
pub enum Operator {
    /// `A X A^T` with A [G, G]: taps along each axis, including the boundary.
    Separable {
        /// Matrix A, row-major.
        matrix: Vec<f64>,
        /// Grid side G.
        grid: usize,
        /// Number of taps along each axis.
        taps: usize,
    },
    /// `Q^T (gains * (Q X Q^T)) Q` with Q [K, G] of orthonormal rows, even or odd, and gains [K, K].
    Diagonal {
        /// Basis Q, row-major.
        basis: Vec<f64>,
        /// Gains, one for each pair of rows of Q, row-major.
        gains: Vec<f64>,
        /// Grid side G.
        grid: usize,
        /// Number K of basis vectors that pass at all.
        kept: usize,
    },
    /// User code.
    Custom {
        /// The code.
        code: Arc<Custom>,
        /// Grid side G.
        grid: usize,
    },
}

impl Operator {
    /// Correlates rows and columns with an odd number of `taps`, with edge tokens replicated beyond the edge.
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

    /// Averages each block of `block` x `block` tokens; `block` must divide the grid.
    pub fn blocks(block: usize, grid: usize) -> Self {
        let same = |row: usize, column: usize| row / block == column / block;
        let entry = |i: usize| if same(i / grid, i % grid) { 1.0 / block as f64 } else { 0.0 };
        let matrix = (0..grid * grid).map(entry).collect();
        // The cost is a sum and a copy for each token.
        Operator::Separable { matrix, grid, taps: 1 }
    }

    /// Multiplies each wave of the periodic grid by the gain of its frequency radius.
    ///
    /// The basis is the real Fourier basis (1, cosines, sines). A cosine and a sine of the same frequency have the
    /// same radius, so the filter is exactly diagonal in this basis, without complex numbers.
    pub fn radial(grid: usize, mut gain: impl FnMut(f64) -> Result<f64>) -> Result<Self> {
        let half = grid / 2;
        let mut rows = Vec::new();
        for wave in 0..=half {
            let alone = wave == 0 || 2 * wave == grid;
            let scale = (if alone { 1.0 } else { 2.0 } / grid as f64).sqrt();
            // Phases are measured from the middle of the grid, in half tokens, so that rows are even or odd. The
            // wave of two tokens has a node there.
            let parts: &[fn(f64) -> f64] = match (alone, wave) {
                (true, 0) => &[f64::cos],
                (true, _) => &[f64::sin],
                _ => &[f64::cos, f64::sin],
            };
            for part in parts {
                // Reducing the angle in integers first keeps whole turns exact.
                let angle = |place: usize| {
                    let halves = wave as i64 * (2 * place as i64 + 1 - grid as i64);
                    PI * (halves % (2 * grid as i64)) as f64 / grid as f64
                };
                rows.push((wave, (0..grid).map(|place| scale * part(angle(place))).collect()));
            }
        }
        let radius = |wave: usize| 2.0 * wave as f64 / grid as f64;
        Self::diagonal(grid, rows, |i, j| gain(radius(i).hypot(radius(j))))
    }

    /// Multiplies each cosine of the DCT-II by the gain of its radius, sqrt(u^2 + v^2) / (G - 1).
    pub fn cosines(grid: usize, mut gain: impl FnMut(f64) -> Result<f64>) -> Result<Self> {
        let row = |wave: usize| (wave, cosine(wave, grid));
        let highest = grid.saturating_sub(1).max(1) as f64;
        Self::diagonal(grid, (0..grid).map(row).collect(), |i, j| gain((i as f64).hypot(j as f64) / highest))
    }

    /// Builds an operator with a gain for each pair of rows of an orthonormal basis. The gain depends on the waves
    /// of the two rows, not on their order. Rows that do not pass at all are left out of the products. Even rows
    /// come before odd ones.
    fn diagonal(
        grid: usize,
        rows: Vec<(usize, Vec<f64>)>,
        mut gain: impl FnMut(usize, usize) -> Result<f64>,
    ) -> Result<Self> {
        let count = rows.iter().map(|(wave, _)| wave + 1).max().unwrap_or(0);
        let mut table = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..=i {
                let value = gain(i, j)?;
                table[i * count + j] = value;
                table[j * count + i] = value;
            }
        }
        let passes = |wave: &usize| table[wave * count..(wave + 1) * count].iter().any(|gain| *gain != 0.0);
        let is_even = |row: &[f64]| row.iter().zip(row.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-9);
        let (even, odd): (Vec<_>, Vec<_>) =
            rows.into_iter().filter(|(wave, _)| passes(wave)).partition(|(_, row)| is_even(row));
        let (waves, rows): (Vec<usize>, Vec<Vec<f64>>) = even.into_iter().chain(odd).unzip();
        let (waves, table) = (&waves, &table);
        let gains = waves.iter().flat_map(|i| waves.iter().map(move |j| table[i * count + j])).collect();
        Ok(Operator::Diagonal { basis: rows.concat(), gains, grid, kept: waves.len() })
    }

    /// Returns the floating-point operations for one channel of one grid, as conventionally counted.
    ///
    /// Taps count as one dense two-dimensional convolution, two operations per tap, as in the paper's
    /// implementation; a frequency response counts as a real FFT and its inverse (2.5 N log2 N each) and one
    /// product. The cost of user code is unknown and counts as zero.
    pub fn flops(&self) -> f64 {
        match self {
            Operator::Separable { grid, taps, .. } => 2.0 * (taps * taps * grid * grid) as f64,
            Operator::Diagonal { grid, .. } => {
                let n = (grid * grid) as f64;
                5.0 * n * n.log2().max(1.0) + n
            }
            Operator::Custom { .. } => 0.0,
        }
    }

    /// Returns the matrices in a dtype on a device, ready to apply.
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
            Operator::Custom { code, grid } => {
                Plan { grid: *grid as i64, steps: Steps::Custom(Arc::clone(code)) }
            }
        })
    }
}

/// Returns cosine `wave` of the orthonormal DCT-II along an axis of length `n`.
pub(crate) fn cosine(wave: usize, n: usize) -> Vec<f64> {
    let scale = (if wave == 0 { 1.0 } else { 2.0 } / n as f64).sqrt();
    // A whole turn is 4 n half steps, and the integer remainder is exact.
    let angle = |place: usize| 2.0 * PI * ((2 * place + 1) * wave % (4 * n)) as f64 / (4 * n) as f64;
    (0..n).map(|place| scale * angle(place).cos()).collect()
}

/// Matrices of a filter for one grid, dtype and device.
#[derive(Clone)]
pub struct Plan {
    grid: i64,
    steps: Steps,
}

#[derive(Clone)]
enum Steps {
    Separable { matrix: Tensor },
    Diagonal { forth: Tensor, back: Tensor, gains: Tensor },
    Learned(Taps),
    Custom(Arc<Custom>),
}

/// Taps `softmax(start + logits)`, with the logits mirrored by `places`; row k of `basis` is the matrix of tap k
/// alone.
#[derive(Clone)]
struct Taps {
    logits: Tensor,
    start: Tensor,
    places: Tensor,
    basis: Tensor,
    grid: i64,
}

impl Taps {
    /// Returns the matrix [1, G, G] of the current taps.
    fn matrix(&self) -> Result<Tensor> {
        let taps = self.start.add(&self.logits.index_select(0, &self.places)?)?.softmax(0)?;
        taps.unsqueeze(1)?.mul(&self.basis)?.sum(&[0], false)?.reshape(&[1, self.grid, self.grid])
    }
}

impl Plan {
    /// Builds a filter with trained taps, which `logits` [(taps + 1) / 2], the middle one first, move away from
    /// `start`.
    pub fn learned(start: &[f64], logits: &Tensor, grid: usize) -> Result<Self> {
        let (count, g, device) = (start.len(), grid as i64, logits.device());
        let mut basis = Vec::with_capacity(count * grid * grid);
        for k in 0..count {
            let alone: Vec<f64> = (0..count).map(|i| f64::from(u8::from(i == k))).collect();
            if let Operator::Separable { matrix, .. } = Operator::taps(&alone, grid) {
                basis.extend(matrix);
            }
        }
        let tensor = |values: &[f64], shape: &[i64]| {
            Tensor::from_f64(values, shape)?.to_dtype(logits.dtype())?.to_device(device)
        };
        let start: Vec<f64> = start.iter().map(|tap| tap.ln()).collect();
        let places: Vec<i64> = (0..count).map(|i| (i as i64 - (count / 2) as i64).abs()).collect();
        let taps = Taps {
            logits: logits.clone(),
            start: tensor(&start, &[count as i64])?,
            places: Tensor::from_i64(&places, &[count as i64])?.to_device(device)?,
            basis: tensor(&basis, &[count as i64, g * g])?,
            grid: g,
        };
        Ok(Self { grid: g, steps: Steps::Learned(taps) })
    }

    /// Returns the matrices of a linear filter, for operators that apply several filters in one pass.
    pub fn matrices(&self) -> Result<Option<GridFilter>> {
        Ok(match &self.steps {
            Steps::Separable { matrix } => Some(GridFilter { matrix: matrix.clone(), gains: None }),
            Steps::Diagonal { forth, gains, .. } => {
                Some(GridFilter { matrix: forth.clone(), gains: Some(gains.clone()) })
            }
            // Reading a matrix on CUDA waits for the device, so a matrix that changes in every step is not read.
            Steps::Learned(taps) if taps.basis.device() == Device::Cpu => {
                Some(GridFilter { matrix: taps.matrix()?, gains: None })
            }
            Steps::Learned(_) | Steps::Custom(_) => None,
        })
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
            Steps::Learned(taps) => {
                both(&taps.matrix()?, tokens, [batch, grid, grid, width])?.reshape(&shape)
            }
            Steps::Custom(code) => {
                let images = tokens.transpose(1, 2)?.reshape(&[batch, width, grid, grid])?;
                let low = code(&images)?;
                if low.shape() != images.shape() {
                    let (found, expected) = (low.shape(), images.shape());
                    let error = format!(
                        "expected a low band of shape {expected:?} from the closure of filter::custom, found {found:?}"
                    );
                    return Err(Error::argument(error)
                        .hint("pad as much as the window takes away, and keep the channels"));
                }
                low.reshape(&[batch, width, count])?.transpose(1, 2)
            }
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan for a grid of {0} x {0}", self.grid)
    }
}

/// Computes `M X M^T` for each channel: X has sizes [B, rows, columns, D], M [1, m, rows], and rows = columns.
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

/// Returns the gain of separable taps at a frequency radius: along one axis up to 1, then along the border of the
/// frequency square to its corner.
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

//! Filter operators: matrices built once in float64 and applied as batched products.
//!
//! Every linear filter here acts on rows and columns of the grid through small matrices, the same ones on a square grid,
//! so one application costs a few products with a G x G matrix, whatever the filter's width.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use super::Filter;
use crate::error::{Error, Result};
use crate::torch::fused::GridFilter;
use crate::torch::{DType, Device, Tensor};

/// Code that maps images [B, D, H, W] to their low band.
pub type Custom = dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync;

/// A filter on a grid of H x W tokens; linear filters are in float64.
#[derive(Clone)]
pub enum Operator {
    /// `A X B^T` with A [H, H] and B [W, W]: taps along each axis, including the boundary.
    Separable {
        /// Matrices A and B, row-major.
        matrices: [Vec<f64>; 2],
        /// Height and width of the grid.
        grid: [usize; 2],
        /// Number of taps along each axis.
        taps: usize,
    },
    /// `P^T (gains * (P X Q^T)) Q` with P [K, H] and Q [L, W] of orthonormal rows, even or odd, and gains [K, L].
    Diagonal {
        /// Bases P and Q, row-major.
        bases: [Vec<f64>; 2],
        /// Gains, one for each pair of rows of P and Q, row-major.
        gains: Vec<f64>,
        /// Height and width of the grid.
        grid: [usize; 2],
        /// Numbers K and L of basis vectors that pass at all.
        kept: [usize; 2],
    },
    /// User code.
    Custom {
        /// The code.
        code: Arc<Custom>,
        /// Height and width of the grid.
        grid: [usize; 2],
    },
}

/// Returns the matrix [side, side] that correlates one axis with an odd number of `taps`, with edge tokens replicated
/// beyond the edge.
pub(crate) fn matrix_of_taps(taps: &[f64], side: usize) -> Vec<f64> {
    let (radius, last) = (taps.len() as i64 / 2, side as i64 - 1);
    let mut matrix = vec![0.0; side * side];
    for row in 0..side {
        for (tap, offset) in taps.iter().zip(-radius..) {
            let column = (row as i64 + offset).clamp(0, last) as usize;
            matrix[row * side + column] += tap;
        }
    }
    matrix
}

/// Rows of an orthonormal basis of one axis, with their numbers of waves.
type Waves = Vec<(usize, Vec<f64>)>;

impl Operator {
    /// Correlates rows and columns with an odd number of `taps`, with edge tokens replicated beyond the edge.
    pub fn taps(taps: &[f64], grid: [usize; 2]) -> Self {
        Operator::Separable { matrices: grid.map(|side| matrix_of_taps(taps, side)), grid, taps: taps.len() }
    }

    /// Averages each block of `block` x `block` tokens; `block` must divide both sides of the grid.
    pub fn blocks(block: usize, grid: [usize; 2]) -> Self {
        let matrix = |side: usize| {
            let same = |row: usize, column: usize| row / block == column / block;
            let entry = |i: usize| if same(i / side, i % side) { 1.0 / block as f64 } else { 0.0 };
            (0..side * side).map(entry).collect()
        };
        // The cost is a sum and a copy for each token.
        Operator::Separable { matrices: grid.map(matrix), grid, taps: 1 }
    }

    /// Multiplies each wave of the periodic grid by the gain of its frequency radius.
    ///
    /// The basis is the real Fourier basis (1, cosines, sines). A cosine and a sine of the same frequency have the
    /// same radius, so the filter is exactly diagonal in this basis, without complex numbers.
    pub fn radial(grid: [usize; 2], mut gain: impl FnMut(f64) -> Result<f64>) -> Result<Self> {
        let [height, width] = grid;
        let radius = |wave: usize, side: usize| 2.0 * wave as f64 / side as f64;
        Self::diagonal(grid, grid.map(Self::fourier), |i, j| gain(radius(i, height).hypot(radius(j, width))))
    }

    /// Returns the real Fourier basis of one axis.
    fn fourier(grid: usize) -> Waves {
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
        rows
    }

    /// Multiplies each cosine of the DCT-II by the gain of its radius, sqrt((u / (H - 1))^2 + (v / (W - 1))^2).
    pub fn cosines(grid: [usize; 2], mut gain: impl FnMut(f64) -> Result<f64>) -> Result<Self> {
        let rows = |side: usize| (0..side).map(|wave| (wave, cosine(wave, side))).collect();
        let [height, width] = grid.map(|side| side.saturating_sub(1).max(1) as f64);
        Self::diagonal(grid, grid.map(rows), |i, j| {
            let (i, j) = (i as f64, j as f64);
            gain(if height == width { i.hypot(j) / height } else { (i / height).hypot(j / width) })
        })
    }

    /// Builds an operator with a gain for each pair of rows of two orthonormal bases. On a square grid the gain depends on
    /// the waves of the two rows, not on their order. Rows that do not pass at all are left out of the products. Even
    /// rows come before odd ones.
    fn diagonal(
        grid: [usize; 2],
        rows: [Waves; 2],
        mut gain: impl FnMut(usize, usize) -> Result<f64>,
    ) -> Result<Self> {
        let most = |rows: &Waves| rows.iter().map(|(wave, _)| wave + 1).max().unwrap_or(0);
        let [down, across] = [most(&rows[0]), most(&rows[1])];
        let square = grid[0] == grid[1];
        let mut table = vec![0.0; down * across];
        for i in 0..down {
            for j in 0..if square { i + 1 } else { across } {
                let value = gain(i, j)?;
                table[i * across + j] = value;
                if square {
                    table[j * across + i] = value;
                }
            }
        }
        let passes = |axis: usize, wave: usize| match axis {
            0 => (0..across).any(|j| table[wave * across + j] != 0.0),
            _ => (0..down).any(|i| table[i * across + wave] != 0.0),
        };
        let is_even = |row: &[f64]| row.iter().zip(row.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-9);
        let kept = |axis: usize, rows: Waves| -> (Vec<usize>, Vec<Vec<f64>>) {
            let (even, odd): (Vec<_>, Vec<_>) =
                rows.into_iter().filter(|(wave, _)| passes(axis, *wave)).partition(|(_, row)| is_even(row));
            even.into_iter().chain(odd).unzip()
        };
        let [rows, columns] = rows;
        let ((waves, rows), (others, columns)) = (kept(0, rows), kept(1, columns));
        let (others, table) = (&others, &table);
        let gains = waves.iter().flat_map(|i| others.iter().map(move |j| table[i * across + j])).collect();
        Ok(Operator::Diagonal {
            bases: [rows.concat(), columns.concat()],
            gains,
            grid,
            kept: [waves.len(), others.len()],
        })
    }

    /// Returns the floating-point operations for one channel of one grid, as conventionally counted.
    ///
    /// Taps count as one dense two-dimensional convolution, two operations per tap, as in the paper's
    /// implementation; a frequency response counts as a real FFT and its inverse (2.5 N log2 N each) and one
    /// product. The cost of user code is unknown and counts as zero.
    pub fn flops(&self) -> f64 {
        match self {
            Operator::Separable { grid, taps, .. } => 2.0 * (taps * taps * grid[0] * grid[1]) as f64,
            Operator::Diagonal { grid, .. } => {
                let n = (grid[0] * grid[1]) as f64;
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
        let sides = |grid: &[usize; 2]| grid.map(|side| side as i64);
        Ok(match self {
            Operator::Separable { matrices, grid, .. } => {
                let grid = sides(grid);
                let matrix = |axis: usize| tensor(&matrices[axis], &[1, grid[axis], grid[axis]]);
                Plan { grid, steps: Steps::Separable { matrix: Sides::of(grid, matrix)? } }
            }
            Operator::Diagonal { bases, gains, grid, kept } => {
                let (grid, kept) = (sides(grid), sides(kept));
                let forth = Sides::of(grid, |axis| tensor(&bases[axis], &[1, kept[axis], grid[axis]]))?;
                let back = forth.map(|forth| forth.transpose(1, 2)?.contiguous())?;
                let gains = tensor(gains, &[1, kept[0], kept[1], 1])?;
                Plan { grid, steps: Steps::Diagonal { forth, back, gains } }
            }
            Operator::Custom { code, grid } => {
                Plan { grid: sides(grid), steps: Steps::Custom(Arc::clone(code)) }
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
    grid: [i64; 2],
    steps: Steps,
}

#[derive(Clone)]
enum Steps {
    Separable { matrix: Sides },
    Diagonal { forth: Sides, back: Sides, gains: Tensor },
    Learned(Taps),
    Custom(Arc<Custom>),
}

/// Matrices for the rows and the columns of a grid, which a square grid shares.
#[derive(Clone)]
struct Sides {
    rows: Tensor,
    columns: Option<Tensor>,
}

impl Sides {
    /// Makes the matrix of each axis, 0 or 1.
    fn of(grid: [i64; 2], make: impl Fn(usize) -> Result<Tensor>) -> Result<Self> {
        let columns = (grid[0] != grid[1]).then(|| make(1)).transpose()?;
        Ok(Self { rows: make(0)?, columns })
    }

    fn map(&self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { rows: change(&self.rows)?, columns: self.columns.as_ref().map(change).transpose()? })
    }

    fn columns(&self) -> &Tensor {
        self.columns.as_ref().unwrap_or(&self.rows)
    }

    /// Returns the matrix of both axes, if they share it.
    fn shared(&self) -> Option<&Tensor> {
        self.columns.is_none().then_some(&self.rows)
    }
}

/// Taps `softmax(start + logits)`, with the logits mirrored by `places`; row k of `basis` is the matrix of tap k
/// alone.
#[derive(Clone)]
struct Taps {
    first: Vec<f64>,
    logits: Tensor,
    start: Tensor,
    places: Tensor,
    basis: Sides,
    grid: [i64; 2],
}

impl Taps {
    /// Returns the matrices [1, G, G] of the current taps.
    fn matrix(&self) -> Result<Sides> {
        let taps = self.start.add(&self.logits.index_select(0, &self.places)?)?.softmax(0)?.unsqueeze(1)?;
        Sides::of(self.grid, |axis| {
            let basis = if axis == 0 { &self.basis.rows } else { self.basis.columns() };
            taps.mul(basis)?.sum(&[0], false)?.reshape(&[1, self.grid[axis], self.grid[axis]])
        })
    }
}

impl Plan {
    /// Builds a filter with trained taps, which `logits` [(taps + 1) / 2], the middle one first, move away from
    /// `start`.
    pub fn learned(first: &[f64], logits: &Tensor, grid: [usize; 2]) -> Result<Self> {
        let (count, device) = (first.len(), logits.device());
        let basis = |side: usize| -> Vec<f64> {
            let alone = |k: usize| (0..count).map(move |i| f64::from(u8::from(i == k))).collect::<Vec<_>>();
            (0..count).flat_map(|k| matrix_of_taps(&alone(k), side)).collect()
        };
        let tensor = |values: &[f64], shape: &[i64]| {
            Tensor::from_f64(values, shape)?.to_dtype(logits.dtype())?.to_device(device)
        };
        let start: Vec<f64> = first.iter().map(|tap| tap.ln()).collect();
        let sides = grid.map(|side| side as i64);
        let places: Vec<i64> = (0..count).map(|i| (i as i64 - (count / 2) as i64).abs()).collect();
        let taps = Taps {
            first: first.to_vec(),
            logits: logits.clone(),
            start: tensor(&start, &[count as i64])?,
            places: Tensor::from_i64(&places, &[count as i64])?.to_device(device)?,
            basis: Sides::of(sides, |axis| {
                tensor(&basis(grid[axis]), &[count as i64, sides[axis] * sides[axis]])
            })?,
            grid: sides,
        };
        Ok(Self { grid: sides, steps: Steps::Learned(taps) })
    }

    /// Returns the plan of the same filter, with the same parameters, for a grid of [height, width] tokens.
    pub fn on(&self, filter: &Filter, grid: [i64; 2]) -> Result<Self> {
        match &self.steps {
            Steps::Learned(taps) => Self::learned(&taps.first, &taps.logits, super::checked(grid)?),
            Steps::Separable { matrix } => filter.plan_of(grid, matrix.rows.dtype(), matrix.rows.device()),
            Steps::Diagonal { gains, .. } => filter.plan_of(grid, gains.dtype(), gains.device()),
            Steps::Custom(code) => Ok(Self { grid, steps: Steps::Custom(Arc::clone(code)) }),
        }
    }

    /// Returns the height and width of the grid, in tokens.
    pub fn grid(&self) -> [i64; 2] {
        self.grid
    }

    /// Returns the matrices of a linear filter on a square grid, for operators that apply several filters in one pass.
    pub fn matrices(&self) -> Result<Option<GridFilter>> {
        let of = |matrix: &Sides, gains: Option<&Tensor>| {
            matrix.shared().map(|matrix| GridFilter { matrix: matrix.clone(), gains: gains.cloned() })
        };
        Ok(match &self.steps {
            Steps::Separable { matrix } => of(matrix, None),
            Steps::Diagonal { forth, gains, .. } => of(forth, Some(gains)),
            // Reading a matrix on CUDA waits for the device, so a matrix that changes in every step is not read.
            Steps::Learned(taps) if taps.logits.device() == Device::Cpu => of(&taps.matrix()?, None),
            Steps::Learned(_) | Steps::Custom(_) => None,
        })
    }

    /// Filters tokens [B, N, D] of the grid in row-major order; gradients flow through.
    pub fn apply(&self, tokens: &Tensor) -> Result<Tensor> {
        let shape = tokens.shape();
        let [batch, count, width] = shape[..] else {
            return Err(Error::argument(format!("expected tokens [B, N, D], found shape {shape:?}")));
        };
        let [rows, columns] = self.grid;
        crate::ensure!(
            count == rows * columns,
            "a grid of {rows} x {columns} has {} tokens, found {count} in shape {shape:?}",
            rows * columns
        );
        match &self.steps {
            Steps::Separable { matrix } => {
                both(matrix, tokens, [batch, rows, columns, width])?.reshape(&shape)
            }
            Steps::Diagonal { forth, back, gains } => {
                let waves = both(forth, tokens, [batch, rows, columns, width])?;
                let passed = waves.mul(&gains.to_dtype(waves.dtype())?)?;
                let [down, across] = [gains.size(1)?, gains.size(2)?];
                both(back, &passed, [batch, down, across, width])?.reshape(&shape)
            }
            Steps::Learned(taps) => {
                both(&taps.matrix()?, tokens, [batch, rows, columns, width])?.reshape(&shape)
            }
            Steps::Custom(code) => {
                let images = tokens.transpose(1, 2)?.reshape(&[batch, width, rows, columns])?;
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
        write!(f, "Plan for a grid of {} x {}", self.grid[0], self.grid[1])
    }
}

/// Computes `M X N^T` for each channel: X has sizes [B, rows, columns, D], M [1, m, rows] and N [1, n, columns].
fn both(matrix: &Sides, x: &Tensor, [batch, rows, columns, width]: [i64; 4]) -> Result<Tensor> {
    // Under autocast the tokens are bfloat16; converting the small matrix here keeps autocast from
    // converting its expanded form.
    let matrix = matrix.map(|matrix| matrix.to_dtype(x.dtype()))?;
    let (m, n) = (matrix.rows.size(1)?, matrix.columns().size(1)?);
    let down = matrix.rows.expand(&[batch, m, rows])?.bmm(&x.reshape(&[batch, rows, columns * width])?)?;
    let across = matrix.columns().expand(&[batch * m, n, columns])?.bmm(&down.reshape(&[
        batch * m,
        columns,
        width,
    ])?)?;
    across.reshape(&[batch, m, n, width])
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

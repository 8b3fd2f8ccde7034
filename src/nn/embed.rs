//! Embeddings of times, labels, patches and positions.

use super::{Builder, Init, Linear, Weight};
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::{DType, Device, Tensor, fused};

/// Number of sinusoidal features of a timestep.
pub const TIME_FEATURES: i64 = 256;

/// Returns the frequencies `10000^(-i / half)` for i below `half`, float32 [half].
fn frequencies(half: i64, device: Device) -> Result<Tensor> {
    let values: Vec<f32> =
        (0..half).map(|i| (-(10000f64.ln()) * i as f64 / half as f64).exp() as f32).collect();
    Tensor::from_f32(&values, &[half])?.to_device(device)
}

/// Returns [`frequencies`] as public checkpoints were trained with: every step rounded to float32. At a time of 999
/// the last bit of a frequency is the fifth digit of a feature.
fn rounded_frequencies(half: i64, device: Device) -> Result<Tensor> {
    let numbers: Vec<f32> = (0..half).map(|i| i as f32).collect();
    let exponents = Tensor::from_f32(&numbers, &[half])?.mul_scalar(-(10000f64.ln()))?;
    exponents.div_scalar(half as f64)?.exp()?.to_device(device)
}

/// Order of the features of a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum FeatureOrder {
    /// All cosines, then all sines.
    #[default]
    CosSin,
    /// All sines, then all cosines.
    SinCos,
}

/// Options of [`TimestepEmbed`].
#[derive(Debug, Clone, Copy)]
pub struct TimeOptions {
    /// Order of the features.
    pub order: FeatureOrder,
    /// Factor of the times.
    pub scale: f64,
    /// Whether each step of computing the frequencies is rounded to float32, as in PyTorch.
    pub rounded: bool,
    /// Distribution of the weights.
    pub init: Init,
}

impl Default for TimeOptions {
    fn default() -> Self {
        Self { order: FeatureOrder::CosSin, scale: 1.0, rounded: false, init: Init::XavierUniform }
    }
}

/// Returns sinusoidal features of t in [0, 1], cosines first, then sines: `[B]` to float32 [B, features].
///
/// The features use `t` itself, not 1000 t.
pub fn timestep_features(t: &Tensor, features: i64) -> Result<Tensor> {
    project(t, &frequencies(features / 2, t.device())?, &TimeOptions::default())
}

fn project(t: &Tensor, frequencies: &Tensor, options: &TimeOptions) -> Result<Tensor> {
    let mut t = t.to_dtype(t.dtype().at_least_float32())?;
    if options.scale != 1.0 {
        t = t.mul_scalar(options.scale)?;
    }
    let angle = t.unsqueeze(-1)?.mul(frequencies)?;
    let (cos, sin) = (angle.cos()?, angle.sin()?);
    match options.order {
        FeatureOrder::CosSin => Tensor::cat(&[cos, sin], -1),
        FeatureOrder::SinCos => Tensor::cat(&[sin, cos], -1),
    }
}

/// Timestep embedding: sinusoidal features through a two-layer MLP with SiLU.
#[derive(Debug, Clone)]
pub struct TimestepEmbed {
    frequencies: Tensor,
    first: Linear,
    second: Linear,
    dtype: DType,
    options: TimeOptions,
}

impl TimestepEmbed {
    /// Creates `mlp.0` and `mlp.2` under `name`.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64) -> Result<Self> {
        Self::with(builder, name, hidden, TimeOptions::default())
    }

    /// Creates `mlp.0` and `mlp.2` under `name`, for other features.
    pub fn with(builder: &mut Builder, name: &str, hidden: i64, options: TimeOptions) -> Result<Self> {
        let (device, dtype) = (builder.device(), builder.dtype());
        let half = TIME_FEATURES / 2;
        let frequencies =
            if options.rounded { rounded_frequencies(half, device)? } else { frequencies(half, device)? };
        builder.within(name, |b| {
            b.within("mlp", |b| {
                Ok(Self {
                    frequencies,
                    first: Linear::new(b, 0, TIME_FEATURES, hidden, options.init)?,
                    second: Linear::new(b, 2, hidden, hidden, options.init)?,
                    dtype,
                    options,
                })
            })
        })
    }

    /// Embeds times `[B]` as [B, hidden], and times of tokens [B, N] as [B, N, hidden].
    pub fn forward(&self, t: &Tensor) -> Result<Tensor> {
        let features = project(t, &self.frequencies, &self.options)?.to_dtype(self.dtype)?;
        self.second.forward(&self.first.forward(&features)?.silu()?)
    }
}

/// Label embedding: a table with one row per class and a last row for the null label.
#[derive(Debug, Clone)]
pub struct LabelEmbed {
    table: Tensor,
}

impl LabelEmbed {
    /// Creates `embedding.weight` [classes + 1, hidden] under `name`, drawn from N(0, 1).
    pub fn new(builder: &mut Builder, name: &str, classes: i64, hidden: i64) -> Result<Self> {
        Self::with_rows(builder, &format!("{name}.embedding"), classes + 1, hidden, Init::Normal(1.0))
    }

    /// Creates `weight` [rows, hidden] under `name`.
    pub fn with_rows(builder: &mut Builder, name: &str, rows: i64, hidden: i64, init: Init) -> Result<Self> {
        builder.within(name, |b| Ok(Self { table: b.parameter("weight", &[rows, hidden], init)? }))
    }

    /// Embeds int64 labels `[B]` as [B, hidden].
    pub fn forward(&self, labels: &Tensor) -> Result<Tensor> {
        self.table.embedding(labels)
    }
}

/// Embedding table whose rows are selected by int64 indices.
#[derive(Debug, Clone)]
pub struct Embedding {
    table: Tensor,
}

impl Embedding {
    /// Creates `weight` [rows, width] under `name`, drawn by `init`.
    pub fn new(builder: &mut Builder, name: &str, rows: i64, width: i64, init: Init) -> Result<Self> {
        builder.within(name, |b| Ok(Self { table: b.parameter("weight", &[rows, width], init)? }))
    }

    /// Returns the rows at int64 indices `[..]` from 0 to rows - 1 as [.., width].
    pub fn forward(&self, indices: &Tensor) -> Result<Tensor> {
        self.table.embedding(indices)
    }
}

/// Patch embedding: splits images into patches and maps each to a token.
#[derive(Debug, Clone)]
pub struct PatchEmbed {
    weight: Weight,
    bias: Tensor,
    patch: i64,
}

impl PatchEmbed {
    /// Creates `proj.weight` [hidden, channels, patch, patch] and `proj.bias` under `name`.
    pub fn new(builder: &mut Builder, name: &str, channels: i64, patch: i64, hidden: i64) -> Result<Self> {
        builder.within(name, |b| {
            b.within("proj", |b| {
                Ok(Self {
                    weight: Weight::new(b, &[hidden, channels, patch, patch], Init::XavierUniformOfMatrix)?,
                    bias: b.parameter("bias", &[hidden], Init::Zeros)?,
                    patch,
                })
            })
        })
    }

    /// Converts images [B, C, H, W] to tokens [B, N, hidden] in row-major order.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = (images.size(0)?, images.size(1)?, images.size(2)?, images.size(3)?);
        let p = self.patch;
        // A convolution whose stride equals its width is one matrix product per patch.
        let patches = images
            .reshape(&[b, c, h / p, p, w / p, p])?
            .permute(&[0, 2, 4, 1, 3, 5])?
            .reshape(&[b, (h / p) * (w / p), c * p * p])?;
        let weight = self.weight.get()?.flatten(1, -1)?;
        match patches.device() {
            // The rows are too short for a fused CPU operator to pay off.
            Device::Cpu => patches.linear(&weight, Some(&self.bias)),
            Device::Cuda(_) => fused::linear(&patches, &weight, &self.bias),
        }
    }
}

/// Reassembles patches [B, N, patch * patch * C] into images [B, C, H, W], where N = rows * columns in row-major
/// order.
pub fn unpatchify(tokens: &Tensor, [rows, columns]: [i64; 2], patch: i64, channels: i64) -> Result<Tensor> {
    tokens.reshape(&[-1, rows, columns, patch, patch, channels])?.permute(&[0, 5, 1, 3, 2, 4])?.reshape(&[
        -1,
        channels,
        rows * patch,
        columns * patch,
    ])
}

/// Returns a fixed position embedding, float32 [grid * grid, hidden]: sin(y), cos(y), sin(x), cos(x), a quarter of
/// `hidden` each, with frequencies `10000^(-i / quarter)`.
pub fn sincos_2d(hidden: i64, grid: i64) -> Result<Tensor> {
    sincos(hidden, [grid, grid], false)
}

/// Returns [`sincos_2d`] with its halves exchanged, as in DiT: sin(x), cos(x), sin(y), cos(y).
pub fn sincos_2d_columns_first(hidden: i64, grid: i64) -> Result<Tensor> {
    sincos(hidden, [grid, grid], true)
}

/// Base of the frequencies of positions.
pub const THETA: f64 = 10000.0;

/// Positions of the tokens along one side of a grid, and the base of their frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Number of tokens.
    pub count: i64,
    /// Number of positions over which the tokens are spread, `i / count * span`; the positions are 0, 1, 2 .. if it is
    /// that of the tokens.
    pub span: i64,
    /// Base of the frequencies, `theta^(-i / pairs)` for i below the number of pairs.
    pub theta: f64,
    /// Factor by which the lowest frequency is lower, with the highest one as it is: NTK-aware scaling of the base, as in
    /// FiT (Lu et al. 2024).
    pub stretch: f64,
}

impl Axis {
    /// Returns the positions 0, 1, 2 .. of `count` tokens.
    pub fn new(count: i64) -> Self {
        Self { count, span: count, theta: THETA, stretch: 1.0 }
    }

    /// Returns the position of a token. The order of the operations is that of LightningDiT's `pt_seq_len` and of the
    /// `base_size` of PixArt.
    pub fn position(&self, token: i64) -> f64 {
        match self.span == self.count {
            true => token as f64,
            false => token as f64 / self.count as f64 * self.span as f64,
        }
    }

    /// Returns the base of the frequencies of `pairs` pairs of channels.
    pub fn theta(&self, pairs: i64) -> f64 {
        // One pair has the highest frequency alone.
        match self.stretch == 1.0 || pairs < 2 {
            true => self.theta,
            false => self.theta * self.stretch.powf(pairs as f64 / (pairs - 1) as f64),
        }
    }
}

/// Returns the table of a grid of [height, width] tokens, rows first as in [`sincos_2d`] or columns first as in DiT.
pub fn sincos(hidden: i64, grid: [i64; 2], columns_first: bool) -> Result<Tensor> {
    sincos_of_axes(hidden, grid.map(Axis::new), columns_first)
}

/// Returns the table of [`sincos`] for a grid whose rows and columns have these positions.
pub fn sincos_of_axes(hidden: i64, axes: [Axis; 2], columns_first: bool) -> Result<Tensor> {
    let quarter = hidden / 4;
    let side = |axis: &Axis| {
        let theta = axis.theta(quarter);
        let omega: Vec<f64> = (0..quarter).map(|i| theta.powf(-(i as f64) / quarter as f64)).collect();
        let mut all = Vec::new();
        for place in 0..axis.count {
            for wave in [f64::sin as fn(f64) -> f64, f64::cos] {
                all.extend(omega.iter().map(|w| wave(axis.position(place) * w) as f32));
            }
        }
        Tensor::from_f32(&all, &[axis.count, 2 * quarter])
    };
    let table = over_grid(&side(&axes[0])?, &side(&axes[1])?)?;
    if columns_first {
        let [rows, columns] = [table.narrow(1, 0, 2 * quarter)?, table.narrow(1, 2 * quarter, 2 * quarter)?];
        return Tensor::cat(&[columns, rows], 1);
    }
    Ok(table)
}

/// Returns one row for each token of a grid in row-major order: that of its row in `rows` [height, a], then that of its
/// column in `columns` [width, b]. libtorch makes the table, so that too large a grid is a lack of memory as any other.
pub(super) fn over_grid(rows: &Tensor, columns: &Tensor) -> Result<Tensor> {
    let (height, a, width, b) = (rows.size(0)?, rows.size(1)?, columns.size(0)?, columns.size(1)?);
    let rows = rows.unsqueeze(1)?.expand(&[height, width, a])?;
    let columns = columns.unsqueeze(0)?.expand(&[height, width, b])?;
    Tensor::cat(&[rows, columns], 2)?.reshape(&[height * width, a + b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zero_is_ones_then_zeros() {
        let t = Tensor::zeros(&[1], DType::Float32, Device::Cpu).unwrap();
        assert_eq!(timestep_features(&t, 4).unwrap().to_f32().unwrap(), [1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn positions_are_sines_and_cosines_of_row_then_column() {
        let table = sincos_2d(4, 2).unwrap().to_f64().unwrap();
        let (sin, cos) = (1f64.sin(), 1f64.cos());
        // Token 1 is row 0, column 1; token 2 is row 1, column 0.
        for (found, expected) in table[4..12].iter().zip([0.0, 1.0, sin, cos, sin, cos, 0.0, 1.0]) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }

    #[test]
    fn patches_keep_their_place() {
        // Two channels of 4 x 4 with a distinct number per pixel pass through an identity, so the images come back
        // unchanged.
        let values: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let images = Tensor::from_f32(&values, &[1, 2, 4, 4]).unwrap();
        let patches = images
            .reshape(&[1, 2, 2, 2, 2, 2])
            .and_then(|x| x.permute(&[0, 2, 4, 3, 5, 1]))
            .and_then(|x| x.reshape(&[1, 4, 8]))
            .unwrap();
        assert!(unpatchify(&patches, [2, 2], 2, 2).unwrap().equal(&images).unwrap());
    }
}

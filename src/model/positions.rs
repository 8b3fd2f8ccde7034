//! Position embedding of the tokens of any grid.

use std::sync::{Mutex, PoisonError};

use super::family::{POSITIONS, Position, PositionScaling, ROPE};
use super::{Config, Model};
use crate::error::{Error, Result};
use crate::nn::embed::{Axis, sincos_of_axes};
use crate::nn::{Builder, Rope};
use crate::torch::{DType, Device, Tensor, no_grad};

/// Largest difference of a stored position embedding from the sines and cosines that it is taken for.
const SAME: f64 = 1e-3;

/// Position embeddings of a model: of the grid of its configuration, and of others as they are needed.
///
/// Fixed ones are computed for each grid, with the positions of [`axes`]. A trained table, or one that a file stores and
/// that is not of sines and cosines, is resized by bicubic interpolation.
#[derive(Debug)]
pub(super) struct Positions {
    config: Config,
    grid: [i64; 2],
    /// Table of `grid`, [N, D], or [1, N, D] as a parameter.
    table: Tensor,
    /// Whether it is one of the parameters.
    stored: bool,
    rope: Option<Rope>,
    /// Fixed embeddings of other grids. They stay, since recorded graphs read them.
    others: Mutex<Vec<Other>>,
}

/// Fixed embedding of another grid.
#[derive(Debug)]
struct Other {
    grid: [i64; 2],
    placed: Placed,
    /// The stored table that it was made from, and the number of writes into it at that time.
    source: Option<(Tensor, i64)>,
}

/// Position embedding of one grid.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Table that is added to the tokens, [N, D] or [1, N, D].
    pub table: Tensor,
    /// Rotation of queries and keys.
    pub rope: Option<Rope>,
}

impl Positions {
    /// Builds the embedding of the grid of a configuration, which is a parameter in the public families and if it is trained.
    pub fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let (device, dtype) = (builder.device(), builder.dtype());
        let grid = [config.grid(); 2];
        let table = fixed(config, grid)?;
        let learned = config.position() == Position::Learned;
        let stored = config.family.is_public() || learned;
        let table = match stored {
            true => builder.parameter_from(POSITIONS, &table.unsqueeze(0)?, learned)?,
            false => table.to_dtype(dtype)?.to_device(device)?,
        };
        let rope = rope(config, grid, dtype, device)?;
        // Code of parts is not needed here.
        let config = config.clone().with_parts(Vec::new()).with_corrections(Vec::new());
        Ok(Self { config, grid, table, stored, rope, others: Mutex::default() })
    }

    /// Returns the tables that are not parameters, under their names in files of other programs.
    pub fn computed(&self) -> Vec<(&'static str, &Tensor)> {
        let mut all = Vec::new();
        if !self.stored {
            all.push((POSITIONS, &self.table));
        }
        if let Some(rope) = &self.rope {
            let (cos, sin) = rope.tables();
            all.extend([(ROPE[0], cos), (ROPE[1], sin)]);
        }
        all
    }

    /// Returns the embedding of a grid of [height, width] tokens.
    pub fn of(&self, grid: [i64; 2]) -> Result<Placed> {
        if grid == self.grid {
            return Ok(Placed { table: self.table.clone(), rope: self.rope.clone() });
        }
        let (dtype, device) = (self.table.dtype(), self.table.device());
        let trained = self.config.position() == Position::Learned || self.table.requires_grad();
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = None;
        for other in others.iter_mut().filter(|other| other.grid == grid) {
            if trained || other.is_of(&self.table)? {
                known = Some(other.placed.clone());
                break;
            }
        }
        let placed = match known {
            Some(placed) => placed,
            None => {
                let table = match trained {
                    // Its gradients need the table of each step.
                    true => self.table.clone(),
                    false if self.stored => resized(&self.table, &self.config, &self.config, grid)?,
                    false => fixed(&self.config, grid)?.to_dtype(dtype)?.to_device(device)?,
                };
                let placed = Placed { table, rope: rope(&self.config, grid, dtype, device)? };
                let source = match self.stored && !trained {
                    true => Some((self.table.detach()?.copy()?, self.table.version())),
                    false => None,
                };
                others.push(Other { grid, placed: placed.clone(), source });
                placed
            }
        };
        match trained {
            true => Ok(Placed { table: bicubic(&self.table, self.grid[0], grid)?, ..placed }),
            false => Ok(placed),
        }
    }
}

impl Other {
    /// Returns whether it was made from the stored table as it is now; averages write the same values again.
    fn is_of(&mut self, table: &Tensor) -> Result<bool> {
        let Some((source, version)) = &mut self.source else { return Ok(true) };
        if *version == table.version() {
            return Ok(true);
        }
        let same = source.equal(&table.detach()?)?;
        if same {
            *version = table.version();
        }
        Ok(same)
    }
}

impl Model {
    /// Returns the same model made for images of another size, which shares its weights with this one.
    ///
    /// Fixed and rotary positions are computed for the new grid; with `position_scaling` they keep those of the size before
    /// as their base. A stored table of other positions is resized by bicubic interpolation. `scaling` is another
    /// `position_scaling` than the model has.
    pub fn at_size(&self, image_size: i64, scaling: Option<PositionScaling>) -> Result<Self> {
        let Some(config) = self.config() else {
            return Err(Error::argument("a custom network has images of one size, `image_shape`")
                .hint("build another one, and read its weights with `.load(path)`"));
        };
        let position_scaling = scaling.unwrap_or(config.position_scaling);
        let mut to = Config { image_size, position_scaling, ..config.clone() };
        to.position_base = (position_scaling != PositionScaling::None)
            .then(|| config.position_base.unwrap_or(config.image_size));
        to.check()?;
        let mut parameters = self.parameters().to_vec();
        if let Some((_, table)) = parameters.iter_mut().find(|(name, _)| name == POSITIONS) {
            let grid = [to.grid(); 2];
            let other = match config.position() {
                Position::Learned => no_grad(|| bicubic(&table.detach()?, config.grid(), grid))?,
                _ => resized(table, config, &to, grid)?,
            };
            *table = other.set_requires_grad(table.requires_grad())?;
        }
        let builder = Builder::sharing(&parameters, 0, self.dtype(), self.device());
        Self::build(to.clone().into(), builder).map_err(|e| self.of_grid(&to).unwrap_or(e))
    }

    /// Returns the error that parameters of parts depend on the grid, if they have other shapes in a model of the configuration.
    fn of_grid(&self, to: &Config) -> Option<Error> {
        let (config, other) = (self.config()?, Self::outline(to.clone().into()).ok()?);
        let differs = |(name, own): &&(String, Tensor)| {
            let there = other.parameters().iter().find(|(other, _)| other == name);
            name.as_str() != POSITIONS && there.is_some_and(|(_, there)| there.shape() != own.shape())
        };
        let (name, own) = self.parameters().iter().find(differs)?;
        let (_, there) = other.parameters().iter().find(|(other, _)| other == name)?;
        Some(
            Error::argument(format!(
                "`{name}` depends on the grid: it has shape {:?} for images of {size} x {size}, with which the model was made, and \
                 {:?} for {new} x {new}",
                own.shape(),
                there.shape(),
                size = config.image_size,
                new = to.image_size,
            ))
            .hint(format!(
                "a part whose parameters depend on `b.grid` has one size: keep `image_size: {}`, or make its parameters of a \
                 size of their own and resize them to `c.grid_size` in each call",
                config.image_size
            )),
        )
    }

    /// Returns an error unless the model takes images of this height and width.
    pub fn check_size(&self, size: [i64; 2]) -> Result<()> {
        let [height, width] = size;
        let Some(config) = self.config() else {
            let [_, own_height, own_width] = self.image_shape();
            crate::ensure!(
                size == [own_height, own_width],
                "the custom network has images of {own_height} x {own_width}, found {height} x {width}"
            );
            return Ok(());
        };
        let patch = config.patch_size;
        if size.iter().all(|side| *side > 0 && side % patch == 0) {
            return Ok(());
        }
        let near = |side: i64| (side as f64 / patch as f64).round().max(1.0) as i64 * patch;
        Err(Error::argument(format!(
            "expected images whose height and width are multiples of the patch size {patch}, found {height} x {width}"
        ))
        .hint(format!("the nearest size is {} x {}", near(height), near(width))))
    }
}

/// Returns the positions along both axes of a grid.
fn axes(config: &Config, grid: [i64; 2], theta: f64) -> [Axis; 2] {
    let base = config.position_base.unwrap_or(config.image_size) / config.patch_size;
    grid.map(|count| {
        let axis = Axis { theta, ..Axis::new(count) };
        match config.position_scaling {
            PositionScaling::None => axis,
            PositionScaling::Linear => Axis { span: base, ..axis },
            // Smaller grids have positions that were trained.
            PositionScaling::Ntk => Axis { stretch: (count as f64 / base as f64).max(1.0), ..axis },
        }
    })
}

/// Returns the sines and cosines of a grid, float32 [N, D].
fn fixed(config: &Config, grid: [i64; 2]) -> Result<Tensor> {
    let axes = axes(config, grid, crate::nn::embed::THETA);
    sincos_of_axes(config.hidden_size, axes, config.family.is_public())
}

fn rope(config: &Config, grid: [i64; 2], dtype: DType, device: Device) -> Result<Option<Rope>> {
    let head = config.hidden_size / config.num_heads;
    let rope = || Rope::of_axes(head, axes(config, grid, config.rope_theta), dtype, device);
    (config.position() == Position::Rope).then(rope).transpose()
}

/// Returns the table [1, N, D] of another grid with the positions of `to`, given the stored table [1, G * G, D] of `config`:
/// computed if the stored one holds the sines and cosines, interpolated otherwise.
pub(super) fn resized(table: &Tensor, config: &Config, to: &Config, grid: [i64; 2]) -> Result<Tensor> {
    no_grad(|| {
        let own = fixed(config, [config.grid(); 2])?;
        let difference = table.detach()?.to_device(Device::Cpu)?.to_dtype(DType::Float32)?.sub(&own)?;
        // Half precision rounds sines and cosines.
        let slack = if matches!(table.dtype(), DType::Float32 | DType::Float64) { SAME } else { 8.0 * SAME };
        match difference.abs()?.amax(&[], false)?.item()? <= slack {
            true => fixed(to, grid)?.unsqueeze(0)?.to_dtype(table.dtype())?.to_device(table.device()),
            false => bicubic(&table.detach()?, config.grid(), grid),
        }
    })
}

/// Resizes a table [1, G * G, D] to [1, N, D] by bicubic interpolation, as in ViT and DeiT; gradients flow through.
pub(super) fn bicubic(table: &Tensor, side: i64, grid: [i64; 2]) -> Result<Tensor> {
    let width = table.size(2)?;
    let images = table.reshape(&[1, side, side, width])?.permute(&[0, 3, 1, 2])?;
    let half = !matches!(table.dtype(), DType::Float32 | DType::Float64);
    let images = if half { images.to_dtype(DType::Float32)? } else { images };
    let resized = images.interpolate(grid, "bicubic", false, false)?;
    resized.permute(&[0, 2, 3, 1])?.reshape(&[1, grid[0] * grid[1], width])?.to_dtype(table.dtype())
}

#[cfg(test)]
mod tests;

//! Storage of a data set's images and fields: in memory, in image files or in an array of a file, which are read on demand, or in
//! several of these.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ahead::Ahead;
use super::npz::Layout;
use super::pixels;
use crate::error::Result;
use crate::torch::io::Rows;
use crate::torch::{DType, Device, Tensor};

/// Bytes up to which the images of files are kept in memory by default.
pub(super) const MEMORY: i64 = 1 << 30;

/// Images [N, C, H, W] with the few operations that loaders and metrics need. Clones share the images.
#[derive(Debug, Clone)]
pub enum Store {
    /// Images in memory: uint8 or floats.
    Tensor(Tensor),
    /// Images or arrays of files by index, read and moved to a device.
    Files {
        /// The files.
        files: Arc<Ahead>,
        /// Indices of the images, in order.
        places: Arc<Vec<usize>>,
        /// Device that images are moved to.
        device: Device,
    },
    /// Rows of an array in a file by index, such as images, read on demand and moved to a device.
    Rows {
        /// Array [N, H, W, C] or, for what is stored as it is used, [N, ..].
        rows: Arc<Rows>,
        /// Order of its dimensions.
        layout: Layout,
        /// Indices of the images, in order.
        places: Arc<Vec<usize>>,
        /// Device that images are moved to.
        device: Device,
    },
    /// Images of several stores by index, counted through all of them.
    Joined {
        /// Stores on one device, with images of one shape.
        parts: Arc<Vec<Store>>,
        /// Indices of the images, in order.
        places: Arc<Vec<usize>>,
    },
}

impl Store {
    /// Returns all images of files.
    pub fn of_files(files: Ahead) -> Self {
        let places = (0..files.len()).collect();
        Self::Files { files: Arc::new(files), places: Arc::new(places), device: Device::Cpu }
    }

    /// Returns some images of files, by index.
    pub fn some_of(files: Ahead, places: Vec<usize>) -> Self {
        Self::Files { files: Arc::new(files), places: Arc::new(places), device: Device::Cpu }
    }

    /// Returns all rows of an array: images, of four dimensions, or with `Layout::Nchw` anything else.
    pub fn of_rows(rows: Rows, layout: Layout) -> Self {
        let places = (0..rows.about().shape[0] as usize).collect();
        Self::Rows { rows: Arc::new(rows), layout, places: Arc::new(places), device: Device::Cpu }
    }

    /// Returns the images of all stores one after the other, which must have one shape. Bytes and floats together are
    /// floats. Tensors of one dtype are copied into one; others stay where they are.
    pub fn join(parts: &[Self]) -> Result<Self> {
        let tensors: Vec<Tensor> = parts
            .iter()
            .filter_map(|part| if let Self::Tensor(tensor) = part { Some(tensor.clone()) } else { None })
            .collect();
        match &tensors[..] {
            [one] if parts.len() == 1 => Ok(Self::Tensor(one.clone())),
            [first, ..]
                if tensors.len() == parts.len() && tensors.iter().all(|x| x.dtype() == first.dtype()) =>
            {
                Tensor::cat(&tensors, 0).map(Self::Tensor)
            }
            _ => {
                let count: i64 = parts.iter().map(|part| part.shape()[0]).sum();
                let places = Arc::new((0..count as usize).collect());
                Ok(Self::Joined { parts: Arc::new(parts.to_vec()), places })
            }
        }
    }

    /// Returns the same images at other indices.
    fn at(&self, chosen: Vec<usize>) -> Self {
        let mut other = self.clone();
        if let Self::Files { places, .. } | Self::Rows { places, .. } | Self::Joined { places, .. } =
            &mut other
        {
            *places = Arc::new(chosen);
        }
        other
    }

    /// Returns the number of images, channels, height and width.
    pub fn shape(&self) -> Vec<i64> {
        match self {
            Self::Tensor(tensor) => tensor.shape(),
            Self::Files { files, places, .. } => [&[places.len() as i64], &files.shape()[..]].concat(),
            Self::Joined { parts, places } => {
                let mut shape = parts[0].shape();
                shape[0] = places.len() as i64;
                shape
            }
            Self::Rows { rows, layout, places, .. } => {
                let (count, shape) = (places.len() as i64, rows.about().shape);
                match layout {
                    Layout::Nhwc => vec![count, shape[3], shape[1], shape[2]],
                    Layout::Nchw => [count].iter().chain(&shape[1..]).copied().collect(),
                }
            }
        }
    }

    /// Returns the dtype: that of the files, uint8 for images, and float32 for bytes and floats together.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Tensor(tensor) => tensor.dtype(),
            Self::Files { files, .. } => files.dtype(),
            Self::Rows { rows, .. } => rows.about().dtype,
            Self::Joined { parts, .. } => {
                let first = parts[0].dtype();
                if parts.iter().all(|part| part.dtype() == first) { first } else { DType::Float32 }
            }
        }
    }

    /// Returns the device of the images.
    pub fn device(&self) -> Device {
        match self {
            Self::Tensor(tensor) => tensor.device(),
            Self::Files { device, .. } | Self::Rows { device, .. } => *device,
            Self::Joined { parts, .. } => parts[0].device(),
        }
    }

    /// Returns the bytes held in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Tensor(tensor) => tensor.bytes(),
            Self::Files { .. } | Self::Rows { .. } => 0,
            Self::Joined { parts, .. } => parts.iter().map(Self::bytes).sum(),
        }
    }

    /// Returns the same images on another device.
    pub fn to_device(&self, to: Device) -> Result<Self> {
        Ok(match self {
            Self::Tensor(tensor) => Self::Tensor(tensor.to_device(to)?),
            Self::Files { .. } | Self::Rows { .. } => {
                let mut other = self.clone();
                if let Self::Files { device, .. } | Self::Rows { device, .. } = &mut other {
                    *device = to;
                }
                other
            }
            Self::Joined { parts, places } => {
                let parts = parts.iter().map(|part| part.to_device(to)).collect::<Result<_>>()?;
                Self::Joined { parts: Arc::new(parts), places: places.clone() }
            }
        })
    }

    /// Returns `length` images from `start`, as stored.
    pub fn narrow(&self, start: i64, length: i64) -> Result<Self> {
        match self {
            Self::Tensor(tensor) => tensor.narrow(0, start, length).map(Self::Tensor),
            Self::Files { places, .. } | Self::Rows { places, .. } | Self::Joined { places, .. } => {
                Ok(self.at(places[start as usize..(start + length) as usize].to_vec()))
            }
        }
    }

    /// Returns the images at the given indices (int64), as stored.
    pub fn select(&self, places: &Tensor) -> Result<Self> {
        match self {
            Self::Tensor(tensor) => tensor.index_select(0, places).map(Self::Tensor),
            Self::Files { places: mine, .. }
            | Self::Rows { places: mine, .. }
            | Self::Joined { places: mine, .. } => {
                Ok(self.at(places.to_i64()?.into_iter().map(|i| mine[i as usize]).collect()))
            }
        }
    }

    /// Loads the images; files are read now, unless they were [read ahead](Self::read_ahead).
    pub fn load(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Files { files, places, device } => files.read(places)?.to_device(*device),
            Self::Rows { rows, layout, places, device } => {
                // Neighboring rows are read together.
                let runs = places.chunk_by(|a, b| *b == a + 1);
                let parts: Vec<Tensor> =
                    runs.map(|run| rows.read(run[0] as i64, run.len() as i64)).collect::<Result<_>>()?;
                let images = if parts.len() == 1 { parts[0].clone() } else { Tensor::cat(&parts, 0)? };
                let images = match layout {
                    Layout::Nhwc => images.permute(&[0, 3, 1, 2])?.contiguous()?,
                    Layout::Nchw => images,
                };
                images.to_device(*device)
            }
            Self::Joined { parts, places } => {
                let (dtype, device) = (self.dtype(), self.device());
                let (rows, order) = rows_of(parts, places)?;
                let loaded =
                    parts.iter().zip(&rows).filter(|(_, rows)| rows.shape() != [0]).map(|(part, rows)| {
                        let images = part.index_select(0, &rows.to_device(device)?)?;
                        if images.dtype() == dtype { Ok(images) } else { pixels::to_float(&images) }
                    });
                Tensor::cat(&loaded.collect::<Result<Vec<_>>>()?, 0)?
                    .index_select(0, &order.to_device(device)?)
            }
        }
    }

    /// Loads the images at the given indices (int64).
    pub fn index_select(&self, dim: i64, places: &Tensor) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => tensor.index_select(dim, places),
            Self::Files { .. } | Self::Rows { .. } | Self::Joined { .. } => self.select(places)?.load(),
        }
    }

    /// Starts reading the files of images (int64 indices) that will be needed soon.
    pub fn read_ahead(&self, places: &Tensor) -> Result<()> {
        match self {
            Self::Tensor(_) | Self::Rows { .. } => Ok(()),
            Self::Files { files, places: mine, .. } => {
                let soon: Vec<usize> = places.to_i64()?.into_iter().map(|i| mine[i as usize]).collect();
                files.read_ahead(&soon);
                Ok(())
            }
            Self::Joined { parts, places: mine } => {
                let soon: Vec<usize> = places.to_i64()?.into_iter().map(|i| mine[i as usize]).collect();
                let (rows, _) = rows_of(parts, &soon)?;
                parts.iter().zip(&rows).try_for_each(|(part, rows)| part.read_ahead(rows))
            }
        }
    }

    /// Returns whether [`read_ahead`](Self::read_ahead) has an effect.
    pub fn reads_ahead(&self) -> bool {
        match self {
            Self::Joined { parts, .. } => parts.iter().any(Self::reads_ahead),
            other => matches!(other, Self::Files { .. }),
        }
    }

    /// Returns an identifier without reading files again: a hash of shape, dtype and every element, or of the
    /// files' names, sizes and times.
    pub fn identity(&self) -> Result<String> {
        let mut hasher = Sha256::new_with_prefix(format!("{:?}\n", self.shape()));
        match self {
            Self::Files { files, places, .. } => {
                places.iter().try_for_each(|place| files.hash_facts_into(*place, &mut hasher))?;
            }
            Self::Joined { parts, places } if self.reads_ahead() => {
                let (rows, order) = rows_of(parts, places)?;
                for (part, rows) in parts.iter().zip(&rows).filter(|(_, rows)| rows.shape() != [0]) {
                    hasher.update(part.select(&rows.to_device(part.device())?)?.identity()?);
                }
                hasher.update(order.to_bytes()?);
            }
            _ => return self.content_hash(),
        }
        Ok(hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of the content: shape, dtype and elements, or the
    /// bytes of the files.
    pub fn content_hash(&self) -> Result<String> {
        let mut hasher = Sha256::new_with_prefix(format!("{:?} {}", self.shape(), self.dtype().name()));
        match self {
            Self::Tensor(_) | Self::Rows { .. } | Self::Joined { .. } => {
                let count = self.shape()[0];
                // In chunks, to avoid a second copy of all images.
                for start in (0..count).step_by(256) {
                    hasher.update(self.narrow(start, (count - start).min(256))?.load()?.to_bytes()?);
                }
            }
            Self::Files { files, places, .. } => {
                places.iter().try_for_each(|place| files.hash_into(*place, &mut hasher))?;
            }
        }
        Ok(hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Returns the rows of each part among `places`, which count through all parts, and the order that brings the rows, part by
/// part, into that of `places`: all int64 on the CPU.
fn rows_of(parts: &[Store], places: &[usize]) -> Result<(Vec<Tensor>, Tensor)> {
    let ends: Vec<usize> = parts
        .iter()
        .scan(0, |end, part| {
            *end += part.shape()[0] as usize;
            Some(*end)
        })
        .collect();
    let part_of = |place: usize| ends.partition_point(|end| *end <= place);
    let mut rows = vec![Vec::new(); parts.len()];
    let mut slots = Vec::with_capacity(places.len());
    for place in places {
        let part = part_of(*place);
        let start = if part == 0 { 0 } else { ends[part - 1] };
        slots.push((part, rows[part].len()));
        rows[part].push((*place - start) as i64);
    }
    let starts: Vec<usize> = rows
        .iter()
        .scan(0, |start, rows| {
            let own = *start;
            *start += rows.len();
            Some(own)
        })
        .collect();
    let order: Vec<i64> = slots.into_iter().map(|(part, row)| (starts[part] + row) as i64).collect();
    let tensor = |numbers: &Vec<i64>| Tensor::from_i64(numbers, &[numbers.len() as i64]);
    Ok((rows.iter().map(tensor).collect::<Result<_>>()?, tensor(&order)?))
}

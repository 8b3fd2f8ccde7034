//! Storage of a data set's images and fields: in memory, in image files or in an array of a file, which are read on demand.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ahead::Ahead;
use super::npz::Layout;
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

    /// Returns the same images at other indices.
    fn at(&self, chosen: Vec<usize>) -> Self {
        let mut other = self.clone();
        if let Self::Files { places, .. } | Self::Rows { places, .. } = &mut other {
            *places = Arc::new(chosen);
        }
        other
    }

    /// Returns the number of images, channels, height and width.
    pub fn shape(&self) -> Vec<i64> {
        match self {
            Self::Tensor(tensor) => tensor.shape(),
            Self::Files { files, places, .. } => [&[places.len() as i64], &files.shape()[..]].concat(),
            Self::Rows { rows, layout, places, .. } => {
                let (count, shape) = (places.len() as i64, rows.about().shape);
                match layout {
                    Layout::Nhwc => vec![count, shape[3], shape[1], shape[2]],
                    Layout::Nchw => [count].iter().chain(&shape[1..]).copied().collect(),
                }
            }
        }
    }

    /// Returns the dtype: uint8 for images of files.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Tensor(tensor) => tensor.dtype(),
            Self::Files { files, .. } => files.dtype(),
            Self::Rows { rows, .. } => rows.about().dtype,
        }
    }

    /// Returns the device of the images.
    pub fn device(&self) -> Device {
        match self {
            Self::Tensor(tensor) => tensor.device(),
            Self::Files { device, .. } | Self::Rows { device, .. } => *device,
        }
    }

    /// Returns the bytes held in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Tensor(tensor) => tensor.bytes(),
            Self::Files { .. } | Self::Rows { .. } => 0,
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
        })
    }

    /// Returns `length` images from `start`, as stored.
    pub fn narrow(&self, start: i64, length: i64) -> Result<Self> {
        match self {
            Self::Tensor(tensor) => tensor.narrow(0, start, length).map(Self::Tensor),
            Self::Files { places, .. } | Self::Rows { places, .. } => {
                Ok(self.at(places[start as usize..(start + length) as usize].to_vec()))
            }
        }
    }

    /// Returns the images at the given indices (int64), as stored.
    pub fn select(&self, places: &Tensor) -> Result<Self> {
        match self {
            Self::Tensor(tensor) => tensor.index_select(0, places).map(Self::Tensor),
            Self::Files { places: mine, .. } | Self::Rows { places: mine, .. } => {
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
        }
    }

    /// Loads the images at the given indices (int64).
    pub fn index_select(&self, dim: i64, places: &Tensor) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => tensor.index_select(dim, places),
            Self::Files { .. } | Self::Rows { .. } => self.select(places)?.load(),
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
        }
    }

    /// Returns whether [`read_ahead`](Self::read_ahead) has an effect.
    pub fn reads_ahead(&self) -> bool {
        matches!(self, Self::Files { .. })
    }

    /// Returns an identifier without reading files again: a hash of shape, dtype and every element, or of the
    /// files' names, sizes and times.
    pub fn identity(&self) -> Result<String> {
        let Self::Files { files, places, .. } = self else { return self.content_hash() };
        let mut hasher = Sha256::new_with_prefix(format!("{:?}\n", self.shape()));
        places.iter().try_for_each(|place| files.hash_facts_into(*place, &mut hasher))?;
        Ok(hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of the content: shape, dtype and elements, or the
    /// bytes of the files.
    pub fn content_hash(&self) -> Result<String> {
        let mut hasher = Sha256::new_with_prefix(format!("{:?} {}", self.shape(), self.dtype().name()));
        match self {
            Self::Tensor(_) | Self::Rows { .. } => {
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

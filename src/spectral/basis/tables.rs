//! Constants of transforms on the devices where they are used.

use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::torch::{DType, Device, Tensor};

/// Largest number of numbers that the tables of a basis hold together.
const MOST: usize = 1 << 22;

/// What a table contains, besides what the basis itself determines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Frequency radii of planes of this height and width.
    Radii(usize, usize),
    /// Cosines of an axis of this length.
    Cosines(i64),
    /// Blur number i of an axis of this length.
    Blur(usize, i64),
    /// For the first so many waves of an axis of this length, the index of the opposite wave.
    Opposite(i64, i64),
}

/// Tables of a basis, by content, dtype and device. Each is sent to its device once.
///
/// They stay as long as the basis, since recorded graphs may read them. A table that does not fit in is made anew for
/// each use.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<Vec<(What, DType, Device, Tensor)>>);

impl Tables {
    /// Returns a table, which nobody may write into, of the values and the shape that `make` returns.
    pub fn get(
        &self,
        what: What,
        dtype: DType,
        device: Device,
        make: impl FnOnce() -> Result<(Vec<f64>, Vec<i64>)>,
    ) -> Result<Tensor> {
        let same = |(w, d, at, _): &&(What, DType, Device, Tensor)| (*w, *d, *at) == (what, dtype, device);
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., table)) = kept().iter().find(same) {
            return Ok(table.clone());
        }
        let (values, shape) = make()?;
        let table = Tensor::from_f64(&values, &shape)?.to_dtype(dtype)?.to_device(device)?;
        let mut kept = kept();
        let held: usize = kept.iter().map(|(.., table)| table.count()).sum();
        if held + table.count() <= MOST && !kept.iter().any(|entry| same(&entry)) {
            kept.push((what, dtype, device, table.clone()));
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(tables: &Tables, side: i64, dtype: DType) -> Tensor {
        let make = || Ok((vec![0.5; (side * side) as usize], vec![side, side]));
        tables.get(What::Cosines(side), dtype, Device::Cpu, make).unwrap()
    }

    #[test]
    fn tables_are_kept_by_content_and_dtype_up_to_a_bound() {
        crate::torch::start();
        let tables = Tables::default();
        let made = |side, dtype| table(&tables, side, dtype).address();
        let small = table(&tables, 4, DType::Float32);
        assert_eq!((small.shape(), small.dtype()), (vec![4, 4], DType::Float32));
        assert_eq!(made(4, DType::Float32), small.address());
        let wide = table(&tables, 4, DType::Float64);
        assert_eq!((wide.dtype(), made(4, DType::Float64)), (DType::Float64, wide.address()));
        // 2048 x 2048 numbers are the bound, and some are held already.
        let large = table(&tables, 2048, DType::Float32);
        assert_ne!(made(2048, DType::Float32), large.address());
        assert_eq!(made(4, DType::Float32), small.address());
        assert_eq!(tables.0.lock().unwrap().len(), 2);
    }
}

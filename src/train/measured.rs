//! Loss and errors by time of a part of a batch, added up and sent between ranks as one tensor.

use crate::error::Result;
use crate::torch::{DType, Tensor};

/// What a backward pass measures.
pub(super) struct Measured {
    pub loss: Tensor,
    /// Sums and counts of the errors by time, if they are wanted.
    pub bins: Option<Tensor>,
}

impl Measured {
    /// Adds the measurements of another part of the batch.
    pub fn plus(self, other: Self) -> Result<Self> {
        let bins = match (self.bins, other.bins) {
            (Some(bins), Some(more)) => Some(bins.add(&more)?),
            (one, other) => one.or(other),
        };
        Ok(Self { loss: self.loss.add(&other.loss)?, bins })
    }

    /// Returns one float64 tensor of all, which holds every bit of a float32 loss.
    pub fn packed(self) -> Result<Tensor> {
        match self.bins {
            None => Ok(self.loss),
            Some(bins) => {
                Tensor::cat(&[self.loss.to_dtype(DType::Float64)?.reshape(&[1])?, bins.flatten(0, -1)?], 0)
            }
        }
    }

    /// Restores the output of [`Measured::packed`], with a loss of this dtype.
    pub fn unpacked(packed: Tensor, dtype: DType, bins: usize) -> Result<Self> {
        if bins == 0 {
            return Ok(Self { loss: packed, bins: None });
        }
        let loss = packed.narrow(0, 0, 1)?.reshape(&[])?.to_dtype(dtype)?;
        let sums = packed.narrow(0, 1, 2 * bins as i64)?.reshape(&[2, bins as i64])?;
        Ok(Self { loss, bins: Some(sums) })
    }
}

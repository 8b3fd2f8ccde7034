//! Float32 master copies of bfloat16 and float16 weights.
//!
//! A step of an optimizer or an average is often smaller than half a unit in the last place of bfloat16, so adding
//! it there changes nothing. The step is added to the master instead, and the weight is the rounded master.

use crate::error::Result;
use crate::torch::{DType, Tensor, no_grad};

/// Returns whether weights of this dtype have a master.
pub(super) fn is_short(dtype: DType) -> bool {
    matches!(dtype, DType::Float16 | DType::BFloat16)
}

/// Returns the dtype of the state of a weight.
pub(super) fn state_dtype(weight: &Tensor) -> DType {
    if is_short(weight.dtype()) { DType::Float32 } else { weight.dtype() }
}

/// Returns the master of a weight, if its dtype needs one.
pub(super) fn of(weight: &Tensor) -> Result<Option<Tensor>> {
    match is_short(weight.dtype()) {
        true => weight.detach()?.to_dtype(DType::Float32).map(Some),
        false => Ok(None),
    }
}

/// Copies elements of the weight that were changed from outside since [`round`] into the master.
pub(super) fn follow(master: &Tensor, weight: &Tensor) -> Result<()> {
    no_grad(|| {
        let weight = weight.detach()?;
        let untouched = master.to_dtype(weight.dtype())?.eq(&weight)?;
        master.copy_(&master.where_true(&untouched, &weight.to_dtype(DType::Float32)?)?)
    })
}

/// Writes the rounded master into the weight.
pub(super) fn round(master: &Tensor, weight: &Tensor) -> Result<()> {
    weight.copy_(master)
}

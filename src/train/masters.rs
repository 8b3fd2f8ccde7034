//! Float32 masters of weights in shorter float types.
//!
//! A step of an optimizer or an average is often smaller than half a unit in the last place of bfloat16, so that adding it
//! there changes nothing. The master takes the step, and the weight is the master rounded.

use crate::error::Result;
use crate::torch::{DType, Tensor, no_grad};

/// Whether weights of this type have a master.
pub(super) fn is_short(dtype: DType) -> bool {
    matches!(dtype, DType::Float16 | DType::BFloat16)
}

/// The element type that state of a weight is kept in.
pub(super) fn state_dtype(weight: &Tensor) -> DType {
    if is_short(weight.dtype()) { DType::Float32 } else { weight.dtype() }
}

/// The master of a weight, if it is to have one.
pub(super) fn of(weight: &Tensor) -> Result<Option<Tensor>> {
    match is_short(weight.dtype()) {
        true => weight.detach()?.to_dtype(DType::Float32).map(Some),
        false => Ok(None),
    }
}

/// Takes over elements of the weight that somebody else has changed since [`round`].
pub(super) fn follow(master: &Tensor, weight: &Tensor) -> Result<()> {
    no_grad(|| {
        let weight = weight.detach()?;
        let untouched = master.to_dtype(weight.dtype())?.eq(&weight)?;
        master.copy_(&master.where_true(&untouched, &weight.to_dtype(DType::Float32)?)?)
    })
}

/// Writes the master, rounded, into the weight.
pub(super) fn round(master: &Tensor, weight: &Tensor) -> Result<()> {
    weight.copy_(master)
}

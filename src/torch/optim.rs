//! Optimizer operations on many tensors, each as one call into libtorch.

use std::ptr::null_mut;

use super::call::call;
use super::ffi::{self, check, raw, raws};
use super::{Tensor, no_grad};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};

/// Options of one AdamW update (Loshchilov and Hutter 2019, algorithm 2), applied to all parameters at once, in
/// place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
}

/// Tensors of an update. Entries with the same index have equal shapes, dtypes and devices across the lists.
#[derive(Debug, Default)]
pub struct Slots {
    /// Parameters, contiguous.
    pub params: Vec<Tensor>,
    /// Their gradients.
    pub grads: Vec<Tensor>,
    /// First moments.
    pub first: Vec<Tensor>,
    /// Second moments.
    pub second: Vec<Tensor>,
    /// Update counts, float32 scalars.
    pub steps: Vec<Tensor>,
}

impl AdamW {
    /// Updates parameters, moments and counts in place.
    ///
    /// Gradients are first divided by the float32 scalar `scale`, in place. If the float32 scalar `skip` is 1,
    /// nothing changes. Both are read on the device, so the CPU does not wait.
    pub fn update(&self, slots: &Slots, scale: Option<&Tensor>, skip: Option<&Tensor>) -> Result<()> {
        let Slots { params, grads, first, second, steps } = slots;
        let count = params.len();
        if [grads.len(), first.len(), second.len(), steps.len()] != [count; 4] {
            return Err(Error::internal("the lists of an AdamW update differ in length"));
        }
        let mut lists = [params, grads, first, second, steps].map(raws);
        let [p, g, m, v, s] = lists.each_mut().map(|l| l.as_mut_ptr());
        // SAFETY: the arrays outlive the call and have `count` entries.
        check(unsafe {
            ffi::sp_fused_adamw(
                p,
                g,
                m,
                v,
                s,
                count as i64,
                self.lr,
                self.beta1,
                self.beta2,
                self.weight_decay,
                self.eps,
                scale.map_or(null_mut(), raw),
                skip.map_or(null_mut(), raw),
            )
        })
    }
}

/// Returns the Euclidean norm of all elements of all tensors, a scalar on their device.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor> {
    if tensors.is_empty() {
        return Err(Error::argument("expected at least one tensor, found none"));
    }
    let mut list = raws(tensors);
    // SAFETY: the array outlives the call.
    let norm = unsafe { ffi::sp_global_norm(list.as_mut_ptr(), list.len() as i64) };
    if norm.is_null() {
        return Err(ffi::last_error());
    }
    // SAFETY: allocated by the shim, which gives up ownership.
    Ok(unsafe { ffi::owned(norm) })
}

/// Multiplies all tensors by a scalar tensor, in place.
pub fn scale_all(tensors: &[Tensor], factor: &Tensor) -> Result<()> {
    let mut list = raws(tensors);
    // SAFETY: the array outlives the call.
    check(unsafe { ffi::sp_foreach_mul(list.as_mut_ptr(), list.len() as i64, raw(factor)) })
}

/// Interpolates each tensor towards its counterpart, in place: `tensor += weight * (end - tensor)`.
pub fn lerp_all(tensors: &[Tensor], ends: &[Tensor], weight: f64) -> Result<()> {
    if tensors.len() != ends.len() {
        return Err(Error::argument(format!(
            "expected as many tensors as ends, found {} and {}",
            tensors.len(),
            ends.len()
        )));
    }
    let (mut list, mut ends) = (raws(tensors), raws(ends));
    // SAFETY: both arrays outlive the call and have equal lengths.
    check(unsafe { ffi::sp_foreach_lerp(list.as_mut_ptr(), ends.as_mut_ptr(), list.len() as i64, weight) })
}

/// Applies [`lerp_all`] unless the float32 scalar `skip` is 1. `skip` is read on the device, so the CPU does not
/// wait; the tensors must be finite.
pub fn lerp_all_unless(skip: &Tensor, tensors: &[Tensor], ends: &[Tensor], weight: f64) -> Result<()> {
    no_grad(|| {
        let (targets, ends) = (tensors.into_value(), ends.into_value());
        let Value::List(steps) = call("_foreach_sub.List", &[ends, targets.clone()], &Map::new())? else {
            return Err(Error::internal("_foreach_sub gives a list"));
        };
        let moves: Vec<Tensor> = steps.iter().filter_map(Value::downcast).collect();
        scale_all(&moves, &skip.rsub_scalar(1.0)?.mul_scalar(weight)?)?;
        call("_foreach_add_.List", &[targets, Value::List(steps)], &Map::new()).map(drop)
    })
}

/// Clears the gradients of all tensors, so that the next backward pass writes new ones.
pub fn clear_grads(tensors: &[Tensor]) -> Result<()> {
    let mut list = raws(tensors);
    // SAFETY: the array outlives the call.
    check(unsafe { ffi::sp_clear_grads(list.as_mut_ptr(), list.len() as i64) })
}

impl Tensor {
    /// Returns whether the elements are stored contiguously in row-major order.
    pub fn is_contiguous(&self) -> bool {
        self.raw().is_contiguous()
    }
}

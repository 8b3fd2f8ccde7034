//! What an optimizer does to many tensors at once, each as one call into libtorch.

use std::ptr::null_mut;

use super::call::call;
use super::ffi::{self, check, raw, raws};
use super::{Tensor, no_grad};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};

/// One update of AdamW (Loshchilov and Hutter 2019, algorithm 2) on all parameters at once, in place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// What an update reads and writes; entry by entry the lists have equal shapes, dtypes and devices.
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
    /// Float32 scalars that count the updates.
    pub steps: Vec<Tensor>,
}

impl AdamW {
    /// Updates parameters, moments and counts in place.
    ///
    /// Gradients are divided by the float32 scalar `scale` first, in place; where the float32 scalar `skip`
    /// holds 1, nothing changes. Both are read on the device, so neither makes the CPU wait.
    pub fn update(&self, slots: &Slots, scale: Option<&Tensor>, skip: Option<&Tensor>) -> Result<()> {
        let Slots { params, grads, first, second, steps } = slots;
        let count = params.len();
        if [grads.len(), first.len(), second.len(), steps.len()] != [count; 4] {
            return Err(Error::internal("the lists of an AdamW update differ in length"));
        }
        let mut lists = [params, grads, first, second, steps].map(raws);
        let [p, g, m, v, s] = lists.each_mut().map(|l| l.as_mut_ptr());
        // SAFETY: the arrays live through the call and have `count` entries.
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

/// The Euclidean norm of all elements of all tensors together, a scalar on their device.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor> {
    if tensors.is_empty() {
        return Err(Error::argument("expected at least one tensor, found none"));
    }
    let mut list = raws(tensors);
    // SAFETY: the array lives through the call.
    let norm = unsafe { ffi::sp_global_norm(list.as_mut_ptr(), list.len() as i64) };
    if norm.is_null() {
        return Err(ffi::last_error());
    }
    // SAFETY: allocated by the shim for us.
    Ok(unsafe { ffi::owned(norm) })
}

/// Multiplies all tensors by a scalar tensor, in place.
pub fn scale_all(tensors: &[Tensor], factor: &Tensor) -> Result<()> {
    let mut list = raws(tensors);
    // SAFETY: the array lives through the call.
    check(unsafe { ffi::sp_foreach_mul(list.as_mut_ptr(), list.len() as i64, raw(factor)) })
}

/// Moves each tensor towards its partner, in place: `tensor += weight * (end - tensor)`.
pub fn lerp_all(tensors: &[Tensor], ends: &[Tensor], weight: f64) -> Result<()> {
    if tensors.len() != ends.len() {
        return Err(Error::argument(format!(
            "expected as many tensors as ends, found {} and {}",
            tensors.len(),
            ends.len()
        )));
    }
    let (mut list, mut ends) = (raws(tensors), raws(ends));
    // SAFETY: both arrays live through the call and have equal lengths.
    check(unsafe { ffi::sp_foreach_lerp(list.as_mut_ptr(), ends.as_mut_ptr(), list.len() as i64, weight) })
}

/// As [`lerp_all`], but nothing moves where the float32 scalar `skip` holds 1. It is read on the device, so that the
/// CPU need not wait; the tensors must be finite.
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

/// Drops the gradients of all tensors, so that the next backward pass writes fresh ones.
pub fn clear_grads(tensors: &[Tensor]) -> Result<()> {
    let mut list = raws(tensors);
    // SAFETY: the array lives through the call.
    check(unsafe { ffi::sp_clear_grads(list.as_mut_ptr(), list.len() as i64) })
}

impl Tensor {
    /// Whether elements lie dense and row-major in memory.
    pub fn is_contiguous(&self) -> bool {
        self.raw().is_contiguous()
    }
}

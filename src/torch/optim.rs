//! The optimizer update as one call into libtorch.

use super::Tensor;
use super::ffi::{self, check, raws};
use crate::error::{Error, Result};

/// One update of AdamW (Loshchilov and Hutter 2019, algorithm 2) on all parameters at once, in place.
///
/// `steps` are float32 scalars that count updates; they are incremented first. The five lists have equal
/// length and, entry by entry, equal shapes, dtypes and devices.
#[derive(Debug, Clone, Copy)]
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

impl AdamW {
    /// Updates `params` and the two moments from `grads`.
    pub fn update(
        &self,
        params: &[Tensor],
        grads: &[Tensor],
        first: &[Tensor],
        second: &[Tensor],
        steps: &[Tensor],
    ) -> Result<()> {
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
            )
        })
    }
}

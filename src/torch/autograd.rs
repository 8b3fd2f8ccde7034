//! Gradients: backward passes, `no_grad` and autocast.

pub(crate) mod api;

use std::ptr::null_mut;

use super::ffi::{self, check, raw, raws};
use super::ops::single;
use super::{Tensor, checked};
use crate::error::{Error, Result};

/// Runs `body` without recording gradients; the mode is restored even if `body` fails or panics.
pub fn no_grad<T>(body: impl FnOnce() -> T) -> T {
    let _guard = tch::no_grad_guard();
    body()
}

/// Runs `body` with gradients recorded, even within [`no_grad`]; the mode is restored even if `body` fails or
/// panics.
pub fn enable_grad<T>(body: impl FnOnce() -> T) -> T {
    struct Restore(i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: sets a thread-local flag.
            unsafe { torch_sys::at_grad_set_enabled(self.0) };
        }
    }
    // SAFETY: sets a thread-local flag and returns its previous value.
    let _restore = Restore(unsafe { torch_sys::at_grad_set_enabled(1) });
    body()
}

/// Returns whether operations are being recorded for gradients.
pub fn is_recording() -> bool {
    // SAFETY: sets and returns a thread-local flag; libtorch has no getter that leaves it unchanged.
    unsafe {
        let previous = torch_sys::at_grad_set_enabled(0);
        torch_sys::at_grad_set_enabled(previous);
        previous != 0
    }
}

/// Returns whether matrix products on a device are autocast.
pub fn is_autocasting(device: super::Device) -> bool {
    let name = if device.is_cuda() { c"cuda" } else { c"cpu" };
    // SAFETY: the name lives as long as the program; the call reads a thread-local flag.
    unsafe { ffi::sp_autocasts(name.as_ptr()) != 0 }
}

/// Runs `body` under autocast: matrix products and attention in bfloat16, sums in float32.
pub fn autocast<T>(device: super::Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    with_autocast(device, true, body)
}

/// Runs `body` in the dtypes of its tensors, even within [`autocast`].
pub fn without_autocast<T>(device: super::Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    match is_autocasting(device) {
        true => with_autocast(device, false, body),
        false => body(),
    }
}

fn with_autocast<T>(device: super::Device, on: bool, body: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Leave(i32, [i32; 2]);
    impl Drop for Leave {
        fn drop(&mut self) {
            // SAFETY: leaves what was entered below.
            unsafe { ffi::sp_autocast_leave(self.0, &raw const self.1) };
        }
    }
    let cuda = i32::from(device.is_cuda());
    let mut earlier = [0; 2];
    // SAFETY: changes thread-local flags and fills the array.
    check(unsafe { ffi::sp_autocast_enter(cuda, i32::from(on), &raw mut earlier) })?;
    let _leave = Leave(cuda, earlier);
    body()
}

/// Whether gradients are recorded and matrix products are autocast, for code that runs later.
#[derive(Debug, Clone, Copy)]
pub struct Modes {
    device: super::Device,
    recording: bool,
    autocasting: bool,
}

impl Modes {
    /// Returns the modes now, of which autocast is that of a device.
    pub fn now(device: super::Device) -> Self {
        Self { device, recording: is_recording(), autocasting: is_autocasting(device) }
    }

    /// Runs `body` in these modes, whatever they are where it is called.
    pub fn run<T>(self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let cast = || match self.autocasting == is_autocasting(self.device) {
            true => body(),
            false => with_autocast(self.device, self.autocasting, body),
        };
        if self.recording { enable_grad(cast) } else { no_grad(cast) }
    }
}

/// Returns the gradients of the sum of `outputs` with respect to `inputs`, or `None` for an input that was not
/// used. The outputs are weighted by `weights` where given. `create_graph` makes the result differentiable.
pub fn grad(
    outputs: &[Tensor],
    inputs: &[Tensor],
    weights: Option<&[Tensor]>,
    retain_graph: bool,
    create_graph: bool,
) -> Result<Vec<Option<Tensor>>> {
    if let Some(weights) = weights.filter(|w| w.len() != outputs.len()) {
        return Err(Error::argument(format!(
            "expected {} weights, one per output, found {}",
            outputs.len(),
            weights.len()
        )));
    }
    let (mut outs, mut ins) = (raws(outputs), raws(inputs));
    let mut out_grads = weights.map(raws);
    let mut results = vec![null_mut(); inputs.len()];
    // SAFETY: all arrays outlive the call and have the lengths given.
    check(unsafe {
        ffi::sp_grad(
            outs.as_mut_ptr(),
            outs.len() as i64,
            out_grads.as_mut().map_or(null_mut(), |g| g.as_mut_ptr()),
            ins.as_mut_ptr(),
            ins.len() as i64,
            results.as_mut_ptr(),
            i32::from(retain_graph || create_graph),
            i32::from(create_graph),
        )
    })?;
    // SAFETY: the shim allocated each non-null result and gives up ownership.
    Ok(results.into_iter().map(|p| (!p.is_null()).then(|| unsafe { ffi::owned(p) })).collect())
}

/// Returns the output of a function of tensors, and its derivative at `inputs` along `tangents`: the product of its
/// Jacobian with them. An input without a tangent does not move.
///
/// Two backward passes compute it, the second through the first, so every operator with second derivatives is
/// permitted. The output keeps its graph if gradients are being recorded, the derivative if `create_graph` is set.
pub fn jvp(
    function: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    tangents: &[Option<Tensor>],
    create_graph: bool,
) -> Result<(Tensor, Tensor)> {
    let records = is_recording();
    let (output, derivative) = enable_grad(|| -> Result<_> {
        // An alias has no past, so an input that is computed from another one moves alone.
        let given = inputs.iter().zip(tangents).map(|(x, tangent)| match (tangent, x.requires_grad()) {
            (None, _) => Ok(x.clone()),
            (Some(_), true) => single(x.raw().f_alias()),
            (Some(_), false) => x.detach()?.set_requires_grad(true),
        });
        let given = given.collect::<Result<Vec<_>>>()?;
        let output = function(&given)?;
        let moved = given.iter().zip(tangents).filter_map(|(x, t)| Some((x.clone(), t.clone()?)));
        let (moved, tangents): (Vec<_>, Vec<_>) = moved.unzip();
        let zeros = || single(output.raw().f_zeros_like());
        if !output.requires_grad() || moved.is_empty() {
            return Ok((output.clone(), zeros()?));
        }
        // The gradient is linear in the weights of the output, and its derivative by them is what is asked for.
        let weights = zeros()?.set_requires_grad(true)?;
        let (one, along) = (std::slice::from_ref(&output), std::slice::from_ref(&weights));
        let gradients = grad(one, &moved, Some(along), true, true)?;
        let along = gradients.into_iter().zip(tangents).filter_map(|(g, t)| Some((g?, t)));
        let (gradients, along): (Vec<_>, Vec<_>) = along.filter(|(g, _)| g.requires_grad()).unzip();
        if gradients.is_empty() {
            return Ok((output.clone(), zeros()?));
        }
        let found = grad(&gradients, &[weights], Some(&along), true, create_graph)?;
        let derivative = found.into_iter().next().flatten().map_or_else(zeros, Ok)?;
        Ok((output.clone(), derivative))
    })?;
    let output = if records { output } else { output.detach()? };
    Ok((output, if create_graph { derivative } else { derivative.detach()? }))
}

/// Returns whether a backward pass failed because an earlier one has freed the graph.
pub fn is_spent(error: &Error) -> bool {
    error.message().contains(super::wording::SPENT)
}

impl Tensor {
    /// Computes the gradients of this tensor and adds them to the `grad` of every leaf. The tensor must be a scalar
    /// unless `gradient` is given.
    pub fn backward(&self, gradient: Option<&Tensor>, retain_graph: bool) -> Result<()> {
        let gradient = gradient.map_or(null_mut(), raw);
        // SAFETY: both tensors outlive the call.
        check(unsafe { ffi::sp_backward(raw(self), gradient, i32::from(retain_graph), 0) })
    }

    /// Returns the gradient computed by `backward`, if any.
    pub fn grad(&self) -> Option<Tensor> {
        let grad = self.raw().grad();
        grad.defined().then(|| Tensor::wrap(grad))
    }

    /// Clears the gradient.
    pub fn zero_grad(&self) {
        self.raw().shallow_clone().zero_grad();
    }

    /// Returns whether gradients are recorded for this tensor.
    pub fn requires_grad(&self) -> bool {
        self.raw().requires_grad()
    }

    /// Sets whether gradients are recorded for this leaf tensor, in place.
    pub fn set_requires_grad(&self, on: bool) -> Result<Tensor> {
        // libtorch ignores this call for a computed tensor.
        if !on && !self.is_leaf() {
            return Err(Error::argument(
                "gradients can be turned off only for a leaf, found a computed tensor",
            )
            .hint("`x.detach()` returns the same values without gradients"));
        }
        let _ = checked(self.raw().f_set_requires_grad(on))?;
        Ok(self.clone())
    }

    /// Returns whether the tensor is a leaf: created directly, not computed from tensors that record gradients.
    pub fn is_leaf(&self) -> bool {
        self.raw().is_leaf()
    }

    /// Returns the same values, detached from the graph.
    pub fn detach(&self) -> Result<Tensor> {
        single(self.raw().f_detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device};

    #[test]
    fn autocast_ends_for_each_device_as_it_began() {
        let (cpu, gpu) = (Device::Cpu, Device::Cuda(0));
        let on = || [cpu, gpu].map(is_autocasting);
        autocast(gpu, || {
            assert_eq!(on(), [false, true]);
            autocast(cpu, || {
                assert_eq!(on(), [true, true]);
                without_autocast(cpu, || {
                    assert_eq!(on(), [false, true]);
                    Ok(())
                })?;
                autocast(cpu, || Ok(()))?;
                assert_eq!(on(), [true, true]);
                Ok(())
            })?;
            assert_eq!(on(), [false, true]);
            Ok(())
        })
        .unwrap();
        assert_eq!(on(), [false, false]);
    }

    #[test]
    fn gradients_of_a_computed_tensor_cannot_be_turned_off() {
        let w = Tensor::ones(&[2], DType::Float32, Device::Cpu).unwrap().set_requires_grad(true).unwrap();
        let computed = w.exp().unwrap();
        let error = computed.set_requires_grad(false).unwrap_err();
        assert!(error.hint_text().unwrap().contains("detach"), "{error}");
        assert!(computed.requires_grad() && !w.set_requires_grad(false).unwrap().requires_grad());
    }
}

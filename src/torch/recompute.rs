//! Activation checkpointing: parts of a network that are computed again in their backward pass.

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use torch_sys::C_tensor;

use super::ffi::{self, raw, raws};
use super::{Tensor, autograd};
use crate::error::{Error, Result};

type Code = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

/// Functions that libtorch calls to run and free code; the layout is that of the shim.
#[repr(C)]
pub(super) struct RawCode {
    code: *mut c_void,
    run: unsafe extern "C" fn(*mut c_void, *mut *mut C_tensor, i64, *mut C_tensor, *mut *mut c_char) -> c_int,
    drop: unsafe extern "C" fn(*mut c_void),
    drop_text: unsafe extern "C" fn(*mut c_char),
}

/// Returns `code(inputs)` without keeping what its backward pass needs: the backward pass runs `code` again.
///
/// `code` must be a function of its inputs and of leaf tensors, such as parameters, and draw no random numbers. It runs
/// under the same autocast both times. Gradients are those of `code(inputs)`; those of an input used several times in
/// `code` are summed there first. They have no gradients of their own.
pub fn recomputed(
    inputs: &[Tensor],
    code: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    // A graph that no input is part of would end here, and parameters would get no gradients.
    if !inputs.iter().any(Tensor::requires_grad) {
        return code(inputs);
    }
    let device = inputs.first().map_or(super::Device::Cpu, Tensor::device);
    let code: Code = match autograd::is_autocasting(device) {
        true => Box::new(move |inputs| autograd::autocast(device, || code(inputs))),
        false => Box::new(code),
    };
    let raw_code = RawCode { code: Box::into_raw(Box::new(code)).cast(), run, drop: drop_code, drop_text };
    let mut list = raws(inputs);
    // SAFETY: the array outlives the call, which takes ownership of the code.
    let made = unsafe { ffi::sp_recomputed(list.as_mut_ptr(), list.len() as i64, &raw const raw_code) };
    if made.is_null() {
        return Err(ffi::last_error());
    }
    // SAFETY: allocated by the shim, which gives up ownership.
    Ok(unsafe { ffi::owned(made) })
}

unsafe extern "C" fn run(
    code: *mut c_void,
    inputs: *mut *mut C_tensor,
    count: i64,
    result: *mut C_tensor,
    failure: *mut *mut c_char,
) -> c_int {
    // SAFETY: the shim passes `count` tensors, which it gives up.
    let inputs: Vec<Tensor> = (0..count as usize).map(|i| unsafe { ffi::owned(*inputs.add(i)) }).collect();
    // SAFETY: made by `recomputed` and not freed yet.
    let code = unsafe { &*code.cast::<Code>() };
    let made = catch_unwind(AssertUnwindSafe(|| code(&inputs)));
    match made.unwrap_or_else(|_| Err(Error::internal("code of a block panicked"))) {
        Ok(tensor) => {
            // SAFETY: both tensors live; the shim's one takes a reference.
            unsafe { ffi::sp_set_tensor(result, raw(&tensor)) };
            0
        }
        Err(error) => {
            let text = CString::new(error.message().replace('\0', " ")).unwrap_or_default();
            // SAFETY: the shim passes a place for the text and frees it by `drop_text`.
            unsafe { *failure = text.into_raw() };
            -1
        }
    }
}

unsafe extern "C" fn drop_code(code: *mut c_void) {
    // SAFETY: made by `recomputed`; the shim calls this once.
    drop(unsafe { Box::from_raw(code.cast::<Code>()) });
}

unsafe extern "C" fn drop_text(text: *mut c_char) {
    // SAFETY: made by `run`; the shim calls this once.
    drop(unsafe { CString::from_raw(text) });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::torch::{DType, Device, Generator};

    fn leaf(seed: u64) -> Tensor {
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        let w = Tensor::randn(&[3, 3], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        w.set_requires_grad(true).unwrap()
    }

    /// Returns the gradients of weight and input after two layers.
    fn gradients(again: bool) -> [Vec<f32>; 2] {
        let (w, x) = (leaf(1), leaf(2));
        let own = w.clone();
        let layer = move |v: &[Tensor]| v[0].matmul(&own)?.tanh();
        let apply = |x: &Tensor| match again {
            true => recomputed(std::slice::from_ref(x), layer.clone()),
            false => layer(std::slice::from_ref(x)),
        };
        let y = apply(&apply(&x).unwrap()).unwrap();
        y.square().unwrap().sum(&[], false).unwrap().backward(None, false).unwrap();
        [&w, &x].map(|t| t.grad().unwrap().to_f32().unwrap())
    }

    #[test]
    fn gradients_are_those_of_the_code() {
        assert_eq!(gradients(true), gradients(false));
    }

    #[test]
    fn parameters_get_gradients_if_no_input_does() {
        let (w, x) = (leaf(1), leaf(2).detach().unwrap());
        let own = w.clone();
        let y = recomputed(std::slice::from_ref(&x), move |v| v[0].matmul(&own)).unwrap();
        y.sum(&[], false).unwrap().backward(None, false).unwrap();
        assert!(w.grad().is_some());
    }

    #[test]
    fn code_runs_twice_and_is_freed_with_its_graph() {
        let (calls, x) = (Arc::new(AtomicUsize::new(0)), leaf(1));
        let counted = Arc::clone(&calls);
        let y = recomputed(std::slice::from_ref(&x), move |v| {
            counted.fetch_add(1, Ordering::Relaxed);
            v[0].exp()
        })
        .unwrap();
        let loss = y.sum(&[], false).unwrap();
        loss.backward(None, false).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        drop((y, loss));
        assert_eq!(Arc::strong_count(&calls), 1);
    }

    #[test]
    fn errors_of_the_code_are_those_of_the_call() {
        let x = leaf(1);
        let fails = |message: &'static str, at: usize| {
            let calls = AtomicUsize::new(0);
            recomputed(std::slice::from_ref(&x), move |v| match calls.fetch_add(1, Ordering::Relaxed) == at {
                true => Err(Error::argument(message)),
                false => v[0].exp(),
            })
        };
        assert_eq!(fails("no first time", 0).unwrap_err().message(), "no first time");
        let loss = fails("no second time", 1).unwrap().sum(&[], false).unwrap();
        assert_eq!(loss.backward(None, false).unwrap_err().message(), "no second time");
        let y = recomputed(std::slice::from_ref(&x), |v| v[0].exp()).unwrap().sum(&[], false).unwrap();
        let error = autograd::grad(&[y], std::slice::from_ref(&x), None, true, true).unwrap_err();
        assert!(error.message().contains("gradients of gradients"), "{error}");
    }
}

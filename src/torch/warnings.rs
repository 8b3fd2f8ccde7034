//! Warnings of libtorch, which it would print with the place in its sources.

use std::marker::PhantomData;

use super::ffi;

/// Guard that keeps the warnings of libtorch on this thread instead of printing them, until it is dropped.
#[must_use = "dropped at once, it keeps nothing"]
pub struct Kept {
    /// The warnings are those of one thread, so the guard must stay on it.
    _here: PhantomData<*const ()>,
}

/// Keeps warnings on this thread for [`take_warnings`] until the guard is dropped.
pub fn keep_warnings() -> Kept {
    // SAFETY: sets a handler of this thread that is never freed.
    unsafe { ffi::sp_keep_warnings(1) };
    Kept { _here: PhantomData }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: restores libtorch's own handler.
        unsafe { ffi::sp_keep_warnings(0) };
    }
}

/// Returns the kept warnings of this thread, each once in its life: lower case where libtorch does not name a function,
/// without a final full stop.
pub fn take_warnings() -> Vec<String> {
    // SAFETY: the shim returns a text of its own, or null.
    let kept = std::iter::from_fn(|| ffi::text(unsafe { ffi::sp_take_warning() }));
    kept.map(|text| super::message::plain(&text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::{DType, Device, Tensor};

    #[test]
    fn a_warning_is_kept_once() {
        crate::torch::start();
        let one = Tensor::ones(&[1], DType::Float32, Device::Cpu).unwrap();
        let variance =
            || crate::torch::call::call("var", &[one.clone().into_value()], &Default::default()).unwrap();
        let warnings = || {
            let of_variances = |text: &String| text.starts_with("var(): degrees of freedom is <= 0");
            take_warnings().into_iter().filter(of_variances).collect::<Vec<_>>()
        };
        let guard = keep_warnings();
        variance();
        let found = warnings();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].ends_with('.'), "{found:?}");
        variance();
        assert!(warnings().is_empty());
        drop(guard);
    }
}

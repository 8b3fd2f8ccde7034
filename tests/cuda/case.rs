//! Comparison of an operator with its reference implementation.

use spectral::torch::{Tensor, autograd, fused};

use crate::emulation::{device, with_kernels};
use crate::shared::{Form, near, value_and_gradients};

/// Returns an operator that runs under autocast.
pub fn cast(form: Form) -> impl Fn(&[Tensor]) -> Tensor {
    move |v| autograd::autocast(device(), || Ok(form(v))).unwrap()
}

/// Operator, its inputs and how to compare it with the reference implementation.
pub struct Case<'a> {
    pub what: String,
    pub form: Form<'a>,
    pub inputs: &'a [Tensor],
    /// Tolerance, relative to the largest value.
    pub tolerance: f64,
    /// Whether it runs under autocast, where results may have another dtype than those of the reference
    /// implementation.
    pub cast: bool,
    /// Kernels that must have run.
    pub kernels: &'a [&'a str],
}

impl Case<'_> {
    /// Compares values and gradients with the reference implementation, and fails the test if they differ.
    pub fn check(&self) {
        let cast = cast(self.form);
        let form: Form = if self.cast { &cast } else { self.form };
        let run = || value_and_gradients(form, self.inputs);
        let bare = self.kernels.is_empty() && device().is_cuda(); // which `with_kernels` would reject
        let (ours, ran) = if bare { (run(), None) } else { with_kernels(run) };
        for (name, ran) in self.kernels.iter().flat_map(|name| ran.iter().map(move |ran| (name, ran))) {
            assert!(ran.contains_key(*name), "{}: {name} did not run, but {ran:?}", self.what);
        }
        let plain = fused::with_reference_operators(run);
        for (i, (a, b)) in ours.iter().zip(&plain).enumerate() {
            let what = format!("{}, result {i}", self.what);
            assert!(self.cast && i == 0 || a.dtype() == b.dtype(), "{what}");
            near(&what, a, b, self.tolerance);
        }
    }
}

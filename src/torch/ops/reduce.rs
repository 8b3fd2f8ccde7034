//! Reductions and sorting. `dims` empty means all dimensions.

use super::ops;
use crate::error::Result;
use crate::torch::{Tensor, checked};

fn some(dims: &[i64]) -> Option<&[i64]> {
    (!dims.is_empty()).then_some(dims)
}

ops! {
    /// Sum.
    sum(dims: &[i64], keepdim: bool) = f_sum_dim_intlist(some(dims), keepdim, None::<tch::Kind>);
    /// Mean.
    mean(dims: &[i64], keepdim: bool) = f_mean_dim(some(dims), keepdim, None::<tch::Kind>);
    /// Variance; `unbiased` divides by one less than the count.
    var(dims: &[i64], unbiased: bool, keepdim: bool) = f_var_dim(some(dims), unbiased, keepdim);
    /// Standard deviation; `unbiased` divides by one less than the count.
    std(dims: &[i64], unbiased: bool, keepdim: bool) = f_std_dim(some(dims), unbiased, keepdim);
    /// Largest element.
    amax(dims: &[i64], keepdim: bool) = f_amax(dims, keepdim);
    /// Smallest element.
    amin(dims: &[i64], keepdim: bool) = f_amin(dims, keepdim);
    /// Index of the largest element along a dimension, int64.
    argmax(dim: Option<i64>, keepdim: bool) = f_argmax(dim, keepdim);
    /// Index of the smallest element along a dimension, int64.
    argmin(dim: Option<i64>, keepdim: bool) = f_argmin(dim, keepdim);
    /// Whether all elements are true, bool.
    all() = f_all();
    /// Whether any element is true, bool.
    any() = f_any();
    /// Running sum along a dimension.
    cumsum(dim: i64) = f_cumsum(dim, None::<tch::Kind>);
    /// Logarithm of the sum of exponentials.
    logsumexp(dims: &[i64], keepdim: bool) = f_logsumexp(dims, keepdim);
    /// How often each integer from 0 up occurs, weighted where weights are given.
    bincount(weights: Option<&Tensor>, minlength: i64) = f_bincount(weights.map(Tensor::raw), minlength);
}

impl Tensor {
    /// Sorted values and their indices along a dimension.
    pub fn sort(&self, dim: i64, descending: bool) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_sort(dim, descending)).map(|(v, i)| (Tensor::wrap(v), Tensor::wrap(i)))
    }

    /// The `k` largest (or smallest) values and their indices along a dimension.
    pub fn topk(&self, k: i64, dim: i64, largest: bool) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_topk(k, dim, largest, true)).map(|(v, i)| (Tensor::wrap(v), Tensor::wrap(i)))
    }

    /// Whether all elements of both tensors are equal within `atol + rtol * |other|`.
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64) -> Result<bool> {
        checked(self.raw().f_allclose(other.raw(), rtol, atol, false))
    }

    /// Whether shapes, dtypes and all elements are equal.
    pub fn equal(&self, other: &Tensor) -> Result<bool> {
        if self.shape() != other.shape() || self.dtype() != other.dtype() {
            return Ok(false);
        }
        checked(self.raw().f_equal(other.raw()))
    }
}

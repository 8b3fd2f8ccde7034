//! Reductions and cumulative sums. Empty `dims` mean all dimensions.

use super::ops;
use crate::declare::{IntoValue, Map, Value};
use crate::error::Result;
use crate::torch::call::call_one;
use crate::torch::{Tensor, checked};

fn some(dims: &[i64]) -> Option<&[i64]> {
    (!dims.is_empty()).then_some(dims)
}

pub(super) fn pair(result: Result<(tch::Tensor, tch::Tensor), tch::TchError>) -> Result<(Tensor, Tensor)> {
    checked(result).map(|(a, b)| (Tensor::wrap(a), Tensor::wrap(b)))
}

ops! {
    /// Returns the sum.
    sum(dims: &[i64], keepdim: bool) = f_sum_dim_intlist(some(dims), keepdim, None::<tch::Kind>);
    /// Returns the mean.
    mean(dims: &[i64], keepdim: bool) = f_mean_dim(some(dims), keepdim, None::<tch::Kind>);
    /// Returns the variance; `unbiased` divides by the count minus one.
    var(dims: &[i64], unbiased: bool, keepdim: bool) = f_var_dim(some(dims), unbiased, keepdim);
    /// Returns the standard deviation; `unbiased` divides by the count minus one.
    std(dims: &[i64], unbiased: bool, keepdim: bool) = f_std_dim(some(dims), unbiased, keepdim);
    /// Returns the largest element.
    amax(dims: &[i64], keepdim: bool) = f_amax(dims, keepdim);
    /// Returns the smallest element.
    amin(dims: &[i64], keepdim: bool) = f_amin(dims, keepdim);
    /// Returns the index of the largest element along a dimension, int64.
    argmax(dim: Option<i64>, keepdim: bool) = f_argmax(dim, keepdim);
    /// Returns the index of the smallest element along a dimension, int64.
    argmin(dim: Option<i64>, keepdim: bool) = f_argmin(dim, keepdim);
    /// Returns the product of all elements.
    prod() = f_prod(None::<tch::Kind>);
    /// Returns the product along a dimension.
    prod_dim(dim: i64, keepdim: bool) = f_prod_dim_int(dim, keepdim, None::<tch::Kind>);
    /// Returns the median, the lower of two middle elements.
    median() = f_median();
    /// Returns the `q`-quantiles along a dimension, or of all elements; `q` holds numbers from 0 to 1.
    quantile(q: &Tensor, dim: Option<i64>, keepdim: bool, interpolation: &str) = f_quantile(q.raw(), dim, keepdim, interpolation);
    /// Returns the number of nonzero elements.
    count_nonzero(dim: Option<i64>) = f_count_nonzero(dim);
    /// Returns the sum, ignoring NaN.
    nansum(dims: &[i64], keepdim: bool) = f_nansum(some(dims), keepdim, None::<tch::Kind>);
    /// Returns the mean, ignoring NaN.
    nanmean(dims: &[i64], keepdim: bool) = f_nanmean(some(dims), keepdim, None::<tch::Kind>);
    /// Returns the correlation matrix of variables in rows.
    corrcoef() = f_corrcoef();
    /// Returns the cumulative product along a dimension.
    cumprod(dim: i64) = f_cumprod(dim, None::<tch::Kind>);
    /// Returns the logarithm of the cumulative sum of exponentials.
    logcumsumexp(dim: i64) = f_logcumsumexp(dim);
    /// Returns the differences of neighbours along a dimension, `order` times.
    diff(order: i64, dim: i64) = f_diff(order, dim, None::<&tch::Tensor>, None::<&tch::Tensor>);
    /// Returns whether all elements along dimensions are true, bool.
    all_dims(dims: &[i64], keepdim: bool) = f_all_dims(some(dims), keepdim);
    /// Returns whether any element along dimensions is true, bool.
    any_dims(dims: &[i64], keepdim: bool) = f_any_dims(some(dims), keepdim);
    /// Returns whether all elements are true, bool.
    all() = f_all();
    /// Returns whether any element is true, bool.
    any() = f_any();
    /// Returns the cumulative sum along a dimension.
    cumsum(dim: i64) = f_cumsum(dim, None::<tch::Kind>);
    /// Returns the logarithm of the sum of exponentials.
    logsumexp(dims: &[i64], keepdim: bool) = f_logsumexp(dims, keepdim);
    /// Counts how often each integer from 0 up occurs, weighted where weights are given.
    bincount(weights: Option<&Tensor>, minlength: i64) = f_bincount(weights.map(Tensor::raw), minlength);
}

impl Tensor {
    /// Returns the `p`-norm of the elements as a vector.
    pub fn norm(&self, p: f64, dims: &[i64], keepdim: bool) -> Result<Tensor> {
        let dims = Value::List(dims.iter().map(|d| Value::Int(*d)).collect());
        let arguments = [self.clone().into_value(), Value::Float(p), dims, Value::Bool(keepdim)];
        call_one("norm.ScalarOpt_dim", &arguments, &Map::new())
    }

    /// Returns the largest values along a dimension and their indices.
    pub fn max_dim(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_max_dim(dim, keepdim))
    }

    /// Returns the smallest values along a dimension and their indices.
    pub fn min_dim(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_min_dim(dim, keepdim))
    }

    /// Returns the medians along a dimension, the lower of two middle elements, and their indices.
    pub fn median_dim(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_median_dim(dim, keepdim))
    }

    /// Returns the most frequent values along a dimension and the index of one of each.
    pub fn mode(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_mode(dim, keepdim))
    }

    /// Returns the cumulative maximum along a dimension and its indices.
    pub fn cummax(&self, dim: i64) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_cummax(dim))
    }

    /// Returns the cumulative minimum along a dimension and its indices.
    pub fn cummin(&self, dim: i64) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_cummin(dim))
    }

    /// Returns the variance and the mean.
    pub fn var_mean(&self, dims: &[i64], unbiased: bool, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_var_mean_dim(some(dims), unbiased, keepdim))
    }

    /// Returns the smallest and the largest element.
    pub fn aminmax(&self) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_aminmax(None::<i64>, false))
    }

    /// Counts the elements in each of `bins` equal intervals from `low` to `high`; returns the counts and the
    /// edges.
    pub fn histogram(&self, bins: i64, low: f64, high: f64) -> Result<(Tensor, Tensor)> {
        let counts = call_one(
            "histc",
            &[self.clone().into_value(), Value::Int(bins), Value::Float(low), Value::Float(high)],
            &Map::new(),
        )?;
        Ok((counts, Tensor::linspace(low, high, bins + 1, self.dtype(), self.device())?))
    }

    /// Returns whether all elements of both tensors are equal within `atol + rtol * |other|`.
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64) -> Result<bool> {
        checked(self.raw().f_allclose(other.raw(), rtol, atol, false))
    }

    /// Returns whether shapes, dtypes and all elements are equal.
    pub fn equal(&self, other: &Tensor) -> Result<bool> {
        if self.shape() != other.shape() || self.dtype() != other.dtype() {
            return Ok(false);
        }
        checked(self.raw().f_equal(other.raw()))
    }
}

//! Reductions and running sums. `dims` empty means all dimensions.

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
    /// Product of all elements.
    prod() = f_prod(None::<tch::Kind>);
    /// Product along a dimension.
    prod_dim(dim: i64, keepdim: bool) = f_prod_dim_int(dim, keepdim, None::<tch::Kind>);
    /// Median, the lower of two middle ones.
    median() = f_median();
    /// The `q`-quantiles along a dimension, or of all elements; `q` holds numbers from 0 to 1.
    quantile(q: &Tensor, dim: Option<i64>, keepdim: bool, interpolation: &str) = f_quantile(q.raw(), dim, keepdim, interpolation);
    /// How many elements are not zero.
    count_nonzero(dim: Option<i64>) = f_count_nonzero(dim);
    /// Sum that skips NaN.
    nansum(dims: &[i64], keepdim: bool) = f_nansum(some(dims), keepdim, None::<tch::Kind>);
    /// Mean that skips NaN.
    nanmean(dims: &[i64], keepdim: bool) = f_nanmean(some(dims), keepdim, None::<tch::Kind>);
    /// Correlation matrix of variables in rows.
    corrcoef() = f_corrcoef();
    /// Running product along a dimension.
    cumprod(dim: i64) = f_cumprod(dim, None::<tch::Kind>);
    /// Logarithm of the running sum of exponentials.
    logcumsumexp(dim: i64) = f_logcumsumexp(dim);
    /// Differences of neighbours along a dimension, `order` times.
    diff(order: i64, dim: i64) = f_diff(order, dim, None::<&tch::Tensor>, None::<&tch::Tensor>);
    /// Whether all elements along dimensions are true, bool.
    all_dims(dims: &[i64], keepdim: bool) = f_all_dims(some(dims), keepdim);
    /// Whether any element along dimensions is true, bool.
    any_dims(dims: &[i64], keepdim: bool) = f_any_dims(some(dims), keepdim);
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
    /// `p`-norm of the elements as a vector.
    pub fn norm(&self, p: f64, dims: &[i64], keepdim: bool) -> Result<Tensor> {
        let dims = Value::List(dims.iter().map(|d| Value::Int(*d)).collect());
        let arguments = [self.clone().into_value(), Value::Float(p), dims, Value::Bool(keepdim)];
        call_one("norm.ScalarOpt_dim", &arguments, &Map::new())
    }

    /// Largest values along a dimension and their indices.
    pub fn max_dim(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_max_dim(dim, keepdim))
    }

    /// Smallest values along a dimension and their indices.
    pub fn min_dim(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_min_dim(dim, keepdim))
    }

    /// Medians along a dimension, the lower of two middle ones, and their indices.
    pub fn median_dim(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_median_dim(dim, keepdim))
    }

    /// Most frequent values along a dimension and the index of one of each.
    pub fn mode(&self, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_mode(dim, keepdim))
    }

    /// Running maximum along a dimension and its indices.
    pub fn cummax(&self, dim: i64) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_cummax(dim))
    }

    /// Running minimum along a dimension and its indices.
    pub fn cummin(&self, dim: i64) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_cummin(dim))
    }

    /// Variance and mean.
    pub fn var_mean(&self, dims: &[i64], unbiased: bool, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_var_mean_dim(some(dims), unbiased, keepdim))
    }

    /// Smallest and largest element.
    pub fn aminmax(&self) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_aminmax(None::<i64>, false))
    }

    /// How many elements fall into each of `bins` equal intervals from `low` to `high`, and the edges.
    pub fn histogram(&self, bins: i64, low: f64, high: f64) -> Result<(Tensor, Tensor)> {
        let counts = call_one(
            "histc",
            &[self.clone().into_value(), Value::Int(bins), Value::Float(low), Value::Float(high)],
            &Map::new(),
        )?;
        Ok((counts, Tensor::linspace(low, high, bins + 1, self.dtype(), self.device())?))
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

//! Reductions, and scans along a dimension. Empty `dim` means all dimensions.

use super::declare::{operators, record};
use super::{pair, single};
use crate::declare::{Choice, FromValue, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::{Error, Result, Subject};
use crate::functions;
use crate::torch::Tensor;
use crate::torch::api::{Along, Dims, Every, ReduceOptions};
use crate::torch::call::call_one;

crate::api! { functions: [methods, scripts] }

/// Options of `var`, `std` and `var_mean`.
#[derive(Debug, Clone, Options)]
pub struct SpreadOptions {
    /// Whether to divide by one less than the count (Bessel's correction).
    #[option(default = true)]
    pub unbiased: bool,
    /// Whether to keep reduced dimensions with size 1.
    #[option(default = false)]
    pub keepdim: bool,
}

/// Quantile between two values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Interpolation {
    /// In proportion.
    #[default]
    Linear,
    /// The smaller one.
    Lower,
    /// The larger one.
    Higher,
    /// Their mean.
    Midpoint,
    /// The nearer one.
    Nearest,
}

/// Options of `quantile`.
#[derive(Debug, Clone, Options)]
pub struct QuantileOptions {
    /// How to interpolate between two elements.
    pub interpolation: Interpolation,
    /// Whether to keep the reduced dimension with size 1.
    #[option(default = false)]
    pub keepdim: bool,
}

/// Options of `histogram`.
#[derive(Debug, Clone, Options)]
pub struct HistogramOptions {
    /// The range `[low, high]`; by default from the smallest to the largest element.
    pub range: Option<(f64, f64)>,
}

/// Options of `bincount`.
#[derive(Debug, Clone, Options)]
pub struct CountOptions {
    /// Weight of each element, 1 when left out.
    pub weights: Option<Tensor>,
    /// Minimum length of the result.
    #[option(default = 0, range = 0..)]
    pub minlength: i64,
}

/// Options of `cov`.
#[derive(Debug, Clone, Options)]
pub struct CovarianceOptions {
    /// Subtracted from the number of observations to get the divisor.
    #[option(default = 1, range = 0..)]
    pub correction: i64,
}

/// Returns the extreme of all elements, or values and indices along one dimension.
fn extreme(
    x: &Tensor,
    dim: Option<i64>,
    options: &ReduceOptions,
    of_all: fn(&Tensor, &[i64], bool) -> Result<Tensor>,
    along: fn(&Tensor, i64, bool) -> Result<(Tensor, Tensor)>,
) -> Result<Value> {
    match dim {
        None => of_all(x, &[], options.keepdim).map(Tensor::into_value),
        Some(dim) => along(x, dim, options.keepdim)
            .map(|(values, indices)| Value::Map(record([("values", values), ("indices", indices)]))),
    }
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Returns the largest element, or `#{ values, indices }` of the largest elements along `dim`.
        ///
        /// Use `maximum` to compare two tensors, and `amax` to reduce several dimensions.
        /// ```rhai
        /// let x = tensor([[1, 9], [7, 3]]);
        /// assert_eq(x.max().item(), 9);
        /// let rows = x.max(1);
        /// assert_eq(rows.values, tensor([9, 7]));
        /// assert_eq(rows.indices, tensor([1, 0]));
        /// ```
        fn max(x: Tensor, dim: Option<i64>, options: ReduceOptions) -> Value {
            extreme(&x, dim, &options, Tensor::amax, Tensor::max_dim)
        }

        /// Returns the smallest element, or `#{ values, indices }` of the smallest elements along `dim`.
        /// ```rhai
        /// let x = tensor([[1, 9], [7, 3]]);
        /// assert_eq(x.min().item(), 1);
        /// assert_eq(x.min(1).indices, tensor([0, 1]));
        /// ```
        fn min(x: Tensor, dim: Option<i64>, options: ReduceOptions) -> Value {
            extreme(&x, dim, &options, Tensor::amin, Tensor::min_dim)
        }

        /// Returns the median, or `#{ values, indices }` of the medians along `dim`. Of two middle elements it
        /// takes the lower.
        /// ```rhai
        /// assert_eq(tensor([5.0, 1.0, 3.0]).median().item(), 3.0);
        /// assert_eq(tensor([[1, 4, 2]]).median(1).values, tensor([2]));
        /// ```
        fn median(x: Tensor, dim: Option<i64>, options: ReduceOptions) -> Value {
            let of_all = |x: &Tensor, _: &[i64], keepdim: bool| match keepdim {
                true => x.median()?.reshape(&vec![1; x.rank()]),
                false => x.median(),
            };
            extreme(&x, dim, &options, of_all, Tensor::median_dim)
        }

        /// Returns the `q`-quantiles of all elements, or along `dim`; `q` ranges from 0 to 1.
        ///
        /// An array of several `q` adds a leading dimension for them.
        /// ```rhai
        /// let x = tensor([0.0, 1.0, 2.0, 3.0]);
        /// assert_eq(x.quantile(0.5).item(), 1.5);
        /// assert_eq(x.quantile([0.0, 1.0]), tensor([0.0, 3.0]));
        /// assert_eq(x.quantile([0.5]), tensor([1.5]));
        /// ```
        fn quantile(x: Tensor, q: Value, dim: Option<i64>, options: QuantileOptions) -> Tensor {
            let list = OneOrMany::<f64>::from_value(&q).map_err(|e| e.within(Subject::argument("q", 1)))?.0;
            let points = Tensor::from_f64(&list, &[list.len() as i64])?.to_dtype(x.dtype())?;
            let points = points.to_device(x.device())?;
            let result = x.quantile(&points, dim, options.keepdim, options.interpolation.name())?;
            if matches!(q, Value::List(_)) { Ok(result) } else { result.select(0, 0) }
        }
    }
}

operators! {
    /// Returns the sum of elements, over all dimensions or over `dim`.
    ///
    /// `dim` is an integer or an array of integers; leave it out to reduce all dimensions. Sums of bools and
    /// integers are int64.
    /// ```rhai
    /// let x = tensor([[1, 2], [3, 4]]);
    /// assert_eq(x.sum().item(), 10);
    /// assert_eq(x.sum(0), tensor([4, 6]));
    /// assert_eq(x.sum(1, #{ keepdim: true }), tensor([[3], [7]]));
    /// ```
    fn sum(x, dim: Dims; options: ReduceOptions { keepdim: bool })
        = f_sum_dim_intlist(some(dim), keepdim, None::<tch::Kind>);

    /// Returns the mean of elements, over all dimensions or over `dim`.
    ///
    /// `dim` is an integer or an array of integers; leave it out to reduce all dimensions. Convert integers to
    /// floats first.
    /// ```rhai
    /// let x = tensor([[1.0, 2.0], [3.0, 6.0]]);
    /// assert_eq(x.mean().item(), 3.0);
    /// assert_eq(x.mean([0]), tensor([2.0, 4.0]));
    /// ```
    fn mean(x, dim: Dims; options: ReduceOptions { keepdim: bool })
        = f_mean_dim(some(dim), keepdim, None::<tch::Kind>);

    /// Returns the variance, over all dimensions or over `dim`.
    ///
    /// Divides by one less than the count unless `unbiased` is false.
    /// ```rhai
    /// let x = tensor([1.0, 2.0, 3.0, 4.0]);
    /// assert_close(x.var(), 5.0 / 3.0, 1e-6);
    /// assert_close(x.var(0, #{ unbiased: false }), 1.25, 1e-6);
    /// ```
    fn var(x, dim: Dims; options: SpreadOptions { unbiased: bool, keepdim: bool })
        = f_var_dim(some(dim), unbiased, keepdim);

    /// Returns the standard deviation, over all dimensions or over `dim`.
    ///
    /// Divides by one less than the count unless `unbiased` is false.
    /// ```rhai
    /// assert_close(tensor([1.0, 3.0]).std((), #{ unbiased: false }), 1.0, 1e-6);
    /// ```
    fn std(x, dim: Dims; options: SpreadOptions { unbiased: bool, keepdim: bool })
        = f_std_dim(some(dim), unbiased, keepdim);

    /// Returns both the variance and the mean, as `#{ var, mean }`.
    /// ```rhai
    /// let both = tensor([1.0, 3.0]).var_mean();
    /// assert_eq([both.var.item(), both.mean.item()], [2.0, 2.0]);
    /// ```
    fn var_mean(x, dim: Dims; options: SpreadOptions { unbiased: bool, keepdim: bool }) => (var, mean) {
        pair(x.raw().f_var_mean_dim(some(dim), unbiased, keepdim))
    }

    /// Returns the sum of elements, ignoring NaN.
    /// ```rhai
    /// assert_eq((tensor([1.0, 0.0]) / tensor([1.0, 0.0])).nansum().item(), 1.0);
    /// ```
    fn nansum(x, dim: Dims; options: ReduceOptions { keepdim: bool })
        = f_nansum(some(dim), keepdim, None::<tch::Kind>);

    /// Returns the mean of elements, ignoring NaN.
    /// ```rhai
    /// assert_eq((tensor([4.0, 0.0]) / tensor([1.0, 0.0])).nanmean().item(), 4.0);
    /// ```
    fn nanmean(x, dim: Dims; options: ReduceOptions { keepdim: bool })
        = f_nanmean(some(dim), keepdim, None::<tch::Kind>);

    /// Returns the largest element, over all dimensions or over `dim`.
    /// ```rhai
    /// let x = tensor([[1, 9], [7, 3]]);
    /// assert_eq(x.amax(0), tensor([7, 9]));
    /// assert_eq(x.amax([0, 1]).item(), 9);
    /// ```
    fn amax(x, dim: Dims; options: ReduceOptions { keepdim: bool }) = f_amax(dim, keepdim);

    /// Returns the smallest element, over all dimensions or over `dim`.
    /// ```rhai
    /// assert_eq(tensor([[1, 9], [7, 3]]).amin(0), tensor([1, 3]));
    /// ```
    fn amin(x, dim: Dims; options: ReduceOptions { keepdim: bool }) = f_amin(dim, keepdim);

    /// Returns the smallest and the largest element, as `#{ min, max }`.
    /// ```rhai
    /// let range = tensor([3, 1, 2]).aminmax();
    /// assert_eq([range.min.item(), range.max.item()], [1, 3]);
    /// ```
    fn aminmax(x) => (min, max) { pair(x.raw().f_aminmax(None::<i64>, false)) }

    /// Returns the index (int64) of the largest element, of the flattened tensor or along `dim`.
    /// ```rhai
    /// assert_eq(tensor([1, 9, 7]).argmax().item(), 1);
    /// assert_eq(tensor([[1, 9], [7, 3]]).argmax(1), tensor([1, 0]));
    /// ```
    fn argmax(x, dim: Option<i64>; options: ReduceOptions { keepdim: bool }) = f_argmax(dim, keepdim);

    /// Returns the index (int64) of the smallest element, of the flattened tensor or along `dim`.
    /// ```rhai
    /// assert_eq(tensor([5, 9, 2]).argmin().item(), 2);
    /// ```
    fn argmin(x, dim: Option<i64>; options: ReduceOptions { keepdim: bool }) = f_argmin(dim, keepdim);

    /// Returns the most frequent values along `dim` (the last by default), as `#{ values, indices }`.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 2, 3]).mode().values.item(), 2);
    /// ```
    fn mode(x, dim: i64 = -1; options: ReduceOptions { keepdim: bool }) => (values, indices) {
        pair(x.raw().f_mode(dim, keepdim))
    }

    /// Counts how often each integer from 0 up occurs in a vector, or sums its `weights`.
    /// ```rhai
    /// assert_eq(tensor([0, 2, 2]).bincount(), tensor([1, 0, 2]));
    /// assert_eq(tensor([1]).bincount(#{ minlength: 3 }), tensor([0, 1, 0]));
    /// assert_eq(tensor([0, 0]).bincount(#{ weights: tensor([0.5, 1.0]) }).to_array(), [1.5]);
    /// ```
    fn bincount(x; options: CountOptions { weights: Option<Tensor>, minlength: i64 })
        = f_bincount(weights.map(Tensor::raw), minlength);

    /// Returns the covariance matrix of variables in rows and observations in columns.
    /// ```rhai
    /// let x = tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]);
    /// assert_close(x.cov(), [[1.0, 2.0], [2.0, 4.0]], 1e-6);
    /// ```
    fn cov(x; options: CovarianceOptions { correction: i64 })
        = f_cov(correction, None::<&tch::Tensor>, None::<&tch::Tensor>);

    /// Returns the correlation matrix of variables in rows and observations in columns.
    /// ```rhai
    /// let x = tensor([[0.0, 1.0, 2.0], [0.0, -2.0, -4.0]]);
    /// assert_close(x.corrcoef(), [[1.0, -1.0], [-1.0, 1.0]], 1e-6);
    /// ```
    fn corrcoef(x) = f_corrcoef();

    /// Returns the product of elements, over all dimensions or over `dim`.
    /// ```rhai
    /// let x = tensor([[1, 2], [3, 4]]);
    /// assert_eq(x.prod().item(), 24);
    /// assert_eq(x.prod(0), tensor([3, 8]));
    /// assert_eq(x.prod([0, 1], #{ keepdim: true }), tensor([[24]]));
    /// ```
    fn prod(x, dim: Dims; options: ReduceOptions { keepdim: bool }) -> Tensor {
        let every: Vec<i64> = (0..x.rank() as i64).collect();
        let along = |x: &Tensor, dim: i64| single(x.raw().f_prod_dim_int(dim, true, None::<tch::Kind>));
        match dim {
            [] if !keepdim || every.is_empty() => single(x.raw().f_prod(None::<tch::Kind>)),
            dims => {
                let dims = if dims.is_empty() { &every } else { dims };
                let kept = dims.iter().try_fold(x.clone(), |product, dim| along(&product, *dim))?;
                if keepdim { Ok(kept) } else { kept.squeeze(dims) }
            }
        }
    }

    /// Returns the logarithm of the sum of exponentials, computed without overflow.
    /// ```rhai
    /// assert_close(tensor([1000.0, 1000.0]).logsumexp(0), 1000.6931, 1e-3);
    /// ```
    fn logsumexp(x, dim: Every; options: ReduceOptions { keepdim: bool }) = f_logsumexp(dim, keepdim);

    /// Returns the vector `p`-norm (Euclidean by default), over all dimensions or over `dim`.
    /// ```rhai
    /// assert_eq(tensor([3.0, 4.0]).norm().item(), 5.0);
    /// assert_eq(tensor([[3.0, -4.0], [1.0, 0.0]]).norm(1, 1), tensor([7.0, 1.0]));
    /// ```
    fn norm(x, p: f64 = 2.0, dim: Every; options: ReduceOptions { keepdim: bool }) -> Tensor {
        let dims = Value::List(dim.iter().map(|d| Value::Int(*d)).collect());
        let arguments = [x.clone().into_value(), Value::Float(p), dims, Value::Bool(keepdim)];
        call_one("norm.ScalarOpt_dim", &arguments, &Map::new())
    }

    /// Returns the number of non-zero elements.
    /// ```rhai
    /// assert_eq(tensor([0, 2, 3]).count_nonzero().item(), 2);
    /// assert_eq((tensor([[1, 5], [7, 8]]) > 4).count_nonzero(1), tensor([1, 2]));
    /// ```
    fn count_nonzero(x, dim: Dims; options: ReduceOptions { keepdim: bool }) -> Tensor {
        x.ne_scalar(0i64)?.sum(dim, keepdim)
    }

    /// Returns whether all elements are true or non-zero, over all dimensions or over `dim`.
    /// ```rhai
    /// let x = tensor([[true, false], [true, true]]);
    /// assert(!x.all().item());
    /// assert_eq(x.all(1), tensor([false, true]));
    /// ```
    fn all(x, dim: Dims; options: ReduceOptions { keepdim: bool }) -> Tensor {
        match dim {
            [] if !keepdim => single(x.raw().f_all()),
            dims => single(x.raw().f_all_dims(some(dims), keepdim)),
        }
    }

    /// Returns whether any element is true or non-zero, over all dimensions or over `dim`.
    /// ```rhai
    /// let x = tensor([[0, 0], [0, 3]]);
    /// assert(x.any().item());
    /// assert_eq(x.any(1), tensor([false, true]));
    /// ```
    fn any(x, dim: Dims; options: ReduceOptions { keepdim: bool }) -> Tensor {
        match dim {
            [] if !keepdim => single(x.raw().f_any()),
            dims => single(x.raw().f_any_dims(some(dims), keepdim)),
        }
    }

    /// Counts elements in bins of equal width (100 by default), as `#{ counts, edges }`.
    ///
    /// The bins span all elements unless `range` is given; elements outside the range are not counted.
    /// ```rhai
    /// let h = tensor([0.1, 0.2, 0.9]).histogram(2, #{ range: [0.0, 1.0] });
    /// assert_eq(h.counts, tensor([2.0, 1.0]));
    /// assert_eq(h.edges, tensor([0.0, 0.5, 1.0]));
    /// ```
    fn histogram(x, bins: i64 = 100; options: HistogramOptions { range: Option<(f64, f64)> }) => (counts, edges) {
        let (low, high) = match range {
            Some(range) => range,
            None => {
                let (low, high) = x.aminmax()?;
                (low.item()?, high.item()?)
            }
        };
        let arguments = [x.clone().into_value(), Value::Int(bins), Value::Float(low), Value::Float(high)];
        let counts = call_one("histc", &arguments, &Map::new())?;
        Ok((counts, Tensor::linspace(low, high, bins + 1, x.dtype(), x.device())?))
    }

    /// Returns the cumulative sum along `dim`, which may be left out for a vector.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).cumsum(), tensor([1, 3, 6]));
    /// assert_eq(tensor([[1, 2], [3, 4]]).cumsum(0), tensor([[1, 2], [4, 6]]));
    /// ```
    fn cumsum(x, dim: Along) = f_cumsum(dim, None::<tch::Kind>);

    /// Returns the cumulative product along `dim`, which may be left out for a vector.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3, 4]).cumprod(), tensor([1, 2, 6, 24]));
    /// ```
    fn cumprod(x, dim: Along) = f_cumprod(dim, None::<tch::Kind>);

    /// Returns the cumulative maximum along `dim`, as `#{ values, indices }`.
    /// ```rhai
    /// assert_eq(tensor([1, 3, 2]).cummax().values, tensor([1, 3, 3]));
    /// ```
    fn cummax(x, dim: Along) => (values, indices) { pair(x.raw().f_cummax(dim)) }

    /// Returns the cumulative minimum along `dim`, as `#{ values, indices }`.
    /// ```rhai
    /// assert_eq(tensor([3, 1, 2]).cummin().indices, tensor([0, 1, 1]));
    /// ```
    fn cummin(x, dim: Along) => (values, indices) { pair(x.raw().f_cummin(dim)) }

    /// Returns the logarithm of the cumulative sum of exponentials along `dim`.
    /// ```rhai
    /// assert_close(tensor([0.0, 0.0]).logcumsumexp(), [0.0, 0.6931472], 1e-6);
    /// ```
    fn logcumsumexp(x, dim: Along) = f_logcumsumexp(dim);

    /// Takes the differences of neighbors along `dim` (the last by default), `order` times.
    /// ```rhai
    /// assert_eq(tensor([1, 4, 9]).diff(), tensor([3, 5]));
    /// assert_eq(tensor([1, 4, 9]).diff(2), tensor([2]));
    /// ```
    fn diff(x, order: i64 = 1, dim: i64 = -1)
        = f_diff(order, dim, None::<&tch::Tensor>, None::<&tch::Tensor>);

    /// Integrates along `dim` by the trapezoidal rule, for samples `dx` apart.
    /// ```rhai
    /// assert_eq(tensor([0.0, 1.0, 4.0]).trapezoid(0.5).item(), 1.5);
    /// ```
    fn trapezoid(y, dx: f64 = 1.0, dim: i64 = -1) -> Tensor {
        let size = y.size(dim)?;
        if size < 2 {
            return Err(Error::argument(format!("expected at least 2 samples, found {size}")));
        }
        let named = [("dx".to_string(), Value::Float(dx)), ("dim".to_string(), Value::Int(dim))];
        call_one("trapezoid.dx", &[y.clone().into_value()], &Map::from(named))
    }
}

fn some(dims: &[i64]) -> Option<&[i64]> {
    (!dims.is_empty()).then_some(dims)
}

impl Tensor {
    /// Returns the median, the lower of two middle elements.
    pub fn median(&self) -> Result<Tensor> {
        single(self.raw().f_median())
    }

    /// Returns the `q`-quantiles along a dimension, or of all elements; `q` holds numbers from 0 to 1.
    pub fn quantile(
        &self,
        q: &Tensor,
        dim: Option<i64>,
        keepdim: bool,
        interpolation: &str,
    ) -> Result<Tensor> {
        single(self.raw().f_quantile(q.raw(), dim, keepdim, interpolation))
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
}

//! Reductions.

use super::{Dims, Reduce, join, record, values_and_indices};
use crate::declare::{Declaration, FromValue, IntoValue, Map, OneOrMany, Value};
use crate::error::{Error, Result, Subject};
use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// Options of `var`, `std` and `var_mean`.
    pub struct Spread {
        /// Whether to divide by one less than the count (Bessel's correction).
        unbiased: bool = true;
        /// Whether to keep reduced dimensions with size 1.
        keepdim: bool = false;
    }

    /// Options of `quantile`.
    pub struct Quantile {
        /// How to interpolate between two elements.
        interpolation: String = "linear".to_string() => one_of(&["linear", "lower", "higher", "midpoint", "nearest"]);
        /// Whether to keep the reduced dimension with size 1.
        keepdim: bool = false;
    }

    /// Options of `histogram`.
    pub struct Histogram {
        /// The range `[low, high]`; by default from the smallest to the largest element.
        range: Option<(f64, f64)> = None;
    }

    /// Options of `bincount`.
    pub struct Count {
        /// Weight of each element, 1 when left out.
        weights: Option<Tensor> = None;
        /// Minimum length of the result.
        minlength: i64 = 0 => at_least(0.0);
    }

    /// Options of `cov`.
    pub struct Covariance {
        /// Subtracted from the number of observations to get the divisor.
        correction: i64 = 1 => at_least(0.0);
    }
}

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[sums::declarations(), extremes::declarations(), counts::declarations()])
}

/// Returns the dimensions, or all of them when none are given.
fn every(x: &Tensor, dims: &Dims) -> Vec<i64> {
    match dims.0.is_empty() {
        true => (0..x.rank() as i64).collect(),
        false => dims.0.clone(),
    }
}

fn one_dimension(name: &str) -> Error {
    Error::argument(format!("`{name}` reduces either one dimension or all of them"))
        .hint("reduce one dimension after another")
}

/// Returns the extreme of all elements, or values and indices along one dimension.
fn extreme(
    x: &Tensor,
    dim: Option<i64>,
    options: &Reduce,
    of_all: fn(&Tensor, &[i64], bool) -> Result<Tensor>,
    along: fn(&Tensor, i64, bool) -> Result<(Tensor, Tensor)>,
) -> Result<Value> {
    match dim {
        None => of_all(x, &[], options.keepdim).map(Tensor::into_value),
        Some(dim) => along(x, dim, options.keepdim).map(|pair| Value::Map(values_and_indices(pair))),
    }
}

mod sums {
    use super::*;
    functions! { methods;
        /// Returns the sum of elements, over all dimensions or over `dim`.
        ///
        /// `dim` is an integer or an array of integers; leave it out to reduce all dimensions. Sums of bools and
        /// integers are int64.
        ///
        /// ```rhai
        /// let x = tensor([[1, 2], [3, 4]]);
        /// assert_eq(x.sum().item(), 10);
        /// assert_eq(x.sum(0), tensor([4, 6]));
        /// assert_eq(x.sum(1, #{ keepdim: true }), tensor([[3], [7]]));
        /// ```
        fn sum(x: Tensor, dim: Dims, options: Reduce) -> Tensor { x.sum(&dim.0, options.keepdim) }

        /// Returns the mean of elements, over all dimensions or over `dim`.
        ///
        /// `dim` is an integer or an array of integers; leave it out to reduce all dimensions. Convert integers to
        /// floats first.
        ///
        /// ```rhai
        /// let x = tensor([[1.0, 2.0], [3.0, 6.0]]);
        /// assert_eq(x.mean().item(), 3.0);
        /// assert_eq(x.mean([0]), tensor([2.0, 4.0]));
        /// ```
        fn mean(x: Tensor, dim: Dims, options: Reduce) -> Tensor { x.mean(&dim.0, options.keepdim) }

        /// Returns the variance, over all dimensions or over `dim`.
        ///
        /// Divides by one less than the count unless `unbiased` is false.
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0, 3.0, 4.0]);
        /// assert_close(x.var(), 5.0 / 3.0, 1e-6);
        /// assert_close(x.var(0, #{ unbiased: false }), 1.25, 1e-6);
        /// ```
        fn var(x: Tensor, dim: Dims, options: Spread) -> Tensor {
            x.var(&dim.0, options.unbiased, options.keepdim)
        }

        /// Returns the standard deviation, over all dimensions or over `dim`.
        ///
        /// Divides by one less than the count unless `unbiased` is false.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0, 3.0]).std((), #{ unbiased: false }), 1.0, 1e-6);
        /// ```
        fn std(x: Tensor, dim: Dims, options: Spread) -> Tensor {
            x.std(&dim.0, options.unbiased, options.keepdim)
        }

        /// Returns both the variance and the mean, as `#{ var, mean }`.
        ///
        /// ```rhai
        /// let both = tensor([1.0, 3.0]).var_mean();
        /// assert_eq([both.var.item(), both.mean.item()], [2.0, 2.0]);
        /// ```
        fn var_mean(x: Tensor, dim: Dims, options: Spread) -> Map {
            let (var, mean) = x.var_mean(&dim.0, options.unbiased, options.keepdim)?;
            Ok(record([("var", var), ("mean", mean)]))
        }

        /// Returns the product of elements, over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// let x = tensor([[1, 2], [3, 4]]);
        /// assert_eq(x.prod().item(), 24);
        /// assert_eq(x.prod(0), tensor([3, 8]));
        /// ```
        fn prod(x: Tensor, dim: Dims, options: Reduce) -> Tensor {
            match dim.0.as_slice() {
                [] => x.prod(),
                [dim] => x.prod_dim(*dim, options.keepdim),
                _ => Err(one_dimension("prod")),
            }
        }

        /// Returns the sum of elements, ignoring NaN.
        ///
        /// ```rhai
        /// assert_eq((tensor([1.0, 0.0]) / tensor([1.0, 0.0])).nansum().item(), 1.0);
        /// ```
        fn nansum(x: Tensor, dim: Dims, options: Reduce) -> Tensor { x.nansum(&dim.0, options.keepdim) }

        /// Returns the mean of elements, ignoring NaN.
        ///
        /// ```rhai
        /// assert_eq((tensor([4.0, 0.0]) / tensor([1.0, 0.0])).nanmean().item(), 4.0);
        /// ```
        fn nanmean(x: Tensor, dim: Dims, options: Reduce) -> Tensor { x.nanmean(&dim.0, options.keepdim) }

        /// Returns the logarithm of the sum of exponentials, computed without overflow.
        ///
        /// ```rhai
        /// assert_close(tensor([1000.0, 1000.0]).logsumexp(0), 1000.6931, 1e-3);
        /// ```
        fn logsumexp(x: Tensor, dim: Dims, options: Reduce) -> Tensor {
            let dims = every(&x, &dim);
            x.logsumexp(&dims, options.keepdim)
        }

        /// Returns the vector `p`-norm (Euclidean by default), over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor([3.0, 4.0]).norm().item(), 5.0);
        /// assert_eq(tensor([[3.0, -4.0], [1.0, 0.0]]).norm(1, 1), tensor([7.0, 1.0]));
        /// ```
        fn norm(x: Tensor, p: Option<f64>, dim: Dims, options: Reduce) -> Tensor {
            let dims = every(&x, &dim);
            x.norm(p.unwrap_or(2.0), &dims, options.keepdim)
        }

        /// Returns the number of non-zero elements.
        ///
        /// ```rhai
        /// assert_eq(tensor([0, 2, 3]).count_nonzero().item(), 2);
        /// assert_eq((tensor([[1, 5], [7, 8]]) > 4).count_nonzero(1), tensor([1, 2]));
        /// ```
        fn count_nonzero(x: Tensor, dim: Dims, options: Reduce) -> Tensor {
            x.ne_scalar(0i64)?.sum(&dim.0, options.keepdim)
        }

        /// Returns whether all elements are true or non-zero, over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// let x = tensor([[true, false], [true, true]]);
        /// assert(!x.all().item());
        /// assert_eq(x.all(1), tensor([false, true]));
        /// ```
        fn all(x: Tensor, dim: Dims, options: Reduce) -> Tensor {
            match dim.0.as_slice() {
                [] if !options.keepdim => x.all(),
                dims => x.all_dims(dims, options.keepdim),
            }
        }

        /// Returns whether any element is true or non-zero, over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// let x = tensor([[0, 0], [0, 3]]);
        /// assert(x.any().item());
        /// assert_eq(x.any(1), tensor([false, true]));
        /// ```
        fn any(x: Tensor, dim: Dims, options: Reduce) -> Tensor {
            match dim.0.as_slice() {
                [] if !options.keepdim => x.any(),
                dims => x.any_dims(dims, options.keepdim),
            }
        }
    }
}

mod extremes {
    use super::*;
    functions! { methods;
        /// Returns the largest element, or `#{ values, indices }` of the largest elements along `dim`.
        ///
        /// Use `maximum` to compare two tensors, and `amax` to reduce several dimensions.
        ///
        /// ```rhai
        /// let x = tensor([[1, 9], [7, 3]]);
        /// assert_eq(x.max().item(), 9);
        /// let rows = x.max(1);
        /// assert_eq(rows.values, tensor([9, 7]));
        /// assert_eq(rows.indices, tensor([1, 0]));
        /// ```
        fn max(x: Tensor, dim: Option<i64>, options: Reduce) -> Value {
            extreme(&x, dim, &options, Tensor::amax, Tensor::max_dim)
        }

        /// Returns the smallest element, or `#{ values, indices }` of the smallest elements along `dim`.
        ///
        /// ```rhai
        /// let x = tensor([[1, 9], [7, 3]]);
        /// assert_eq(x.min().item(), 1);
        /// assert_eq(x.min(1).indices, tensor([0, 1]));
        /// ```
        fn min(x: Tensor, dim: Option<i64>, options: Reduce) -> Value {
            extreme(&x, dim, &options, Tensor::amin, Tensor::min_dim)
        }

        /// Returns the largest element, over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// let x = tensor([[1, 9], [7, 3]]);
        /// assert_eq(x.amax(0), tensor([7, 9]));
        /// assert_eq(x.amax([0, 1]).item(), 9);
        /// ```
        fn amax(x: Tensor, dim: Dims, options: Reduce) -> Tensor { x.amax(&dim.0, options.keepdim) }

        /// Returns the smallest element, over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 9], [7, 3]]).amin(0), tensor([1, 3]));
        /// ```
        fn amin(x: Tensor, dim: Dims, options: Reduce) -> Tensor { x.amin(&dim.0, options.keepdim) }

        /// Returns the smallest and the largest element, as `#{ min, max }`.
        ///
        /// ```rhai
        /// let range = tensor([3, 1, 2]).aminmax();
        /// assert_eq([range.min.item(), range.max.item()], [1, 3]);
        /// ```
        fn aminmax(x: Tensor) -> Map {
            let (min, max) = x.aminmax()?;
            Ok(record([("min", min), ("max", max)]))
        }

        /// Returns the index (int64) of the largest element, of the flattened tensor or along `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 9, 7]).argmax().item(), 1);
        /// assert_eq(tensor([[1, 9], [7, 3]]).argmax(1), tensor([1, 0]));
        /// ```
        fn argmax(x: Tensor, dim: Option<i64>, options: Reduce) -> Tensor { x.argmax(dim, options.keepdim) }

        /// Returns the index (int64) of the smallest element, of the flattened tensor or along `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor([5, 9, 2]).argmin().item(), 2);
        /// ```
        fn argmin(x: Tensor, dim: Option<i64>, options: Reduce) -> Tensor { x.argmin(dim, options.keepdim) }

        /// Returns the median, or `#{ values, indices }` of the medians along `dim`. Of two middle elements it
        /// takes the lower.
        ///
        /// ```rhai
        /// assert_eq(tensor([5.0, 1.0, 3.0]).median().item(), 3.0);
        /// assert_eq(tensor([[1, 4, 2]]).median(1).values, tensor([2]));
        /// ```
        fn median(x: Tensor, dim: Option<i64>, options: Reduce) -> Value {
            extreme(&x, dim, &options, |x, _, _| x.median(), Tensor::median_dim)
        }

        /// Returns the most frequent values along `dim` (the last by default), as `#{ values, indices }`.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2, 2, 3]).mode().values.item(), 2);
        /// ```
        fn mode(x: Tensor, dim: Option<i64>, options: Reduce) -> Map {
            x.mode(dim.unwrap_or(-1), options.keepdim).map(values_and_indices)
        }

        /// Returns the `q`-quantiles of all elements, or along `dim`; `q` ranges from 0 to 1.
        ///
        /// An array of several `q` adds a leading dimension for them.
        ///
        /// ```rhai
        /// let x = tensor([0.0, 1.0, 2.0, 3.0]);
        /// assert_eq(x.quantile(0.5).item(), 1.5);
        /// assert_eq(x.quantile([0.0, 1.0]), tensor([0.0, 3.0]));
        /// assert_eq(x.quantile([0.5]), tensor([1.5]));
        /// ```
        fn quantile(x: Tensor, q: Value, dim: Option<i64>, options: Quantile) -> Tensor {
            let list = OneOrMany::<f64>::from_value(&q).map_err(|e| e.within(Subject::argument("q", 1)))?.0;
            let points = Tensor::from_f64(&list, &[list.len() as i64])?.to_dtype(x.dtype())?;
            let points = points.to_device(x.device())?;
            let result = x.quantile(&points, dim, options.keepdim, &options.interpolation)?;
            if matches!(q, Value::List(_)) { Ok(result) } else { result.select(0, 0) }
        }
    }
}

mod counts {
    use super::*;
    functions! { methods;
        /// Counts elements in bins of equal width (100 by default), as `#{ counts, edges }`.
        ///
        /// The bins span all elements unless `range` is given; elements outside the range are not counted.
        ///
        /// ```rhai
        /// let h = tensor([0.1, 0.2, 0.9]).histogram(2, #{ range: [0.0, 1.0] });
        /// assert_eq(h.counts, tensor([2.0, 1.0]));
        /// assert_eq(h.edges, tensor([0.0, 0.5, 1.0]));
        /// ```
        fn histogram(x: Tensor, bins: Option<i64>, options: Histogram) -> Map {
            let (low, high) = match options.range {
                Some(range) => range,
                None => {
                    let (low, high) = x.aminmax()?;
                    (low.item()?, high.item()?)
                }
            };
            let (counts, edges) = x.histogram(bins.unwrap_or(100), low, high)?;
            Ok(record([("counts", counts), ("edges", edges)]))
        }

        /// Counts how often each integer from 0 up occurs in a vector, or sums its `weights`.
        ///
        /// ```rhai
        /// assert_eq(tensor([0, 2, 2]).bincount(), tensor([1, 0, 2]));
        /// assert_eq(tensor([1]).bincount(#{ minlength: 3 }), tensor([0, 1, 0]));
        /// assert_eq(tensor([0, 0]).bincount(#{ weights: tensor([0.5, 1.0]) }).to_array(), [1.5]);
        /// ```
        fn bincount(x: Tensor, options: Count) -> Tensor {
            x.bincount(options.weights.as_ref(), options.minlength)
        }

        /// Returns the covariance matrix of variables in rows and observations in columns.
        ///
        /// ```rhai
        /// let x = tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]);
        /// assert_close(x.cov(), [[1.0, 2.0], [2.0, 4.0]], 1e-6);
        /// ```
        fn cov(x: Tensor, options: Covariance) -> Tensor { x.cov(options.correction) }

        /// Returns the correlation matrix of variables in rows and observations in columns.
        ///
        /// ```rhai
        /// let x = tensor([[0.0, 1.0, 2.0], [0.0, -2.0, -4.0]]);
        /// assert_close(x.corrcoef(), [[1.0, -1.0], [-1.0, 1.0]], 1e-6);
        /// ```
        fn corrcoef(x: Tensor) -> Tensor { x.corrcoef() }
    }
}

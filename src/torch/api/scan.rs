//! Cumulative reductions and differences along a dimension.

use super::values_and_indices;
use crate::declare::Map;
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::Tensor;

/// Returns the dimension to scan; only a vector or a scalar may leave it out.
fn along(x: &Tensor, dim: Option<i64>) -> Result<i64> {
    match dim {
        Some(dim) => Ok(dim),
        None if x.rank() <= 1 => Ok(0),
        None => Err(Error::argument(format!("argument `dim` is missing for shape {:?}", x.shape()))
            .hint("pass a dimension, such as 0 for the first or -1 for the last")),
    }
}

functions! { methods;
    /// Returns the cumulative sum along `dim`, which may be left out for a vector.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).cumsum(), tensor([1, 3, 6]));
    /// assert_eq(tensor([[1, 2], [3, 4]]).cumsum(0), tensor([[1, 2], [4, 6]]));
    /// ```
    fn cumsum(x: Tensor, dim: Option<i64>) -> Tensor { x.cumsum(along(&x, dim)?) }

    /// Returns the cumulative product along `dim`, which may be left out for a vector.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3, 4]).cumprod(), tensor([1, 2, 6, 24]));
    /// ```
    fn cumprod(x: Tensor, dim: Option<i64>) -> Tensor { x.cumprod(along(&x, dim)?) }

    /// Returns the cumulative maximum along `dim`, as `#{ values, indices }`.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 3, 2]).cummax().values, tensor([1, 3, 3]));
    /// ```
    fn cummax(x: Tensor, dim: Option<i64>) -> Map { x.cummax(along(&x, dim)?).map(values_and_indices) }

    /// Returns the cumulative minimum along `dim`, as `#{ values, indices }`.
    ///
    /// ```rhai
    /// assert_eq(tensor([3, 1, 2]).cummin().indices, tensor([0, 1, 1]));
    /// ```
    fn cummin(x: Tensor, dim: Option<i64>) -> Map { x.cummin(along(&x, dim)?).map(values_and_indices) }

    /// Returns the logarithm of the cumulative sum of exponentials along `dim`.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 0.0]).logcumsumexp(), [0.0, 0.6931472], 1e-6);
    /// ```
    fn logcumsumexp(x: Tensor, dim: Option<i64>) -> Tensor { x.logcumsumexp(along(&x, dim)?) }

    /// Takes the differences of neighbours along `dim` (the last by default), `order` times.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 4, 9]).diff(), tensor([3, 5]));
    /// assert_eq(tensor([1, 4, 9]).diff(2), tensor([2]));
    /// ```
    fn diff(x: Tensor, order: Option<i64>, dim: Option<i64>) -> Tensor {
        x.diff(order.unwrap_or(1), dim.unwrap_or(-1))
    }

    /// Integrates along `dim` by the trapezoidal rule, for samples `dx` apart.
    ///
    /// ```rhai
    /// assert_eq(tensor([0.0, 1.0, 4.0]).trapezoid(0.5).item(), 1.5);
    /// ```
    fn trapezoid(y: Tensor, dx: Option<f64>, dim: Option<i64>) -> Tensor {
        let dim = dim.unwrap_or(-1);
        let size = y.size(dim)?;
        if size < 2 {
            return Err(Error::argument(format!("expected at least 2 samples, found {size}")));
        }
        let pairs = y.narrow(dim, 0, size - 1)?.add(&y.narrow(dim, 1, size - 1)?)?;
        pairs.sum(&[dim], false)?.mul_scalar(dx.unwrap_or(1.0) / 2.0)
    }
}

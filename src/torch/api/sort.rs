//! Sorting, searching and distinct values.

use super::{Reduce, record, values_and_indices};
use crate::declare::Map;
use crate::error::Error;
use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// Options of `sort` and `argsort`.
    pub struct Order {
        /// Whether to sort in descending order.
        descending: bool = false;
    }

    /// Options of `topk`.
    pub struct Top {
        /// Whether to return the largest elements; otherwise the smallest.
        largest: bool = true;
    }

    /// Options of `searchsorted` and `bucketize`.
    pub struct Side {
        /// Whether a value that equals a boundary belongs after it; otherwise before it.
        right: bool = false;
    }
}

functions! { methods;
    /// Sorts along `dim` (the last by default), as `#{ values, indices }`.
    ///
    /// ```rhai
    /// let s = tensor([3, 1, 2]).sort();
    /// assert_eq(s.values, tensor([1, 2, 3]));
    /// assert_eq(s.indices, tensor([1, 2, 0]));
    /// assert_eq(tensor([3, 1, 2]).sort(0, #{ descending: true }).values, tensor([3, 2, 1]));
    /// ```
    fn sort(x: Tensor, dim: Option<i64>, options: Order) -> Map {
        x.sort(dim.unwrap_or(-1), options.descending).map(values_and_indices)
    }

    /// Returns the indices that sort a dimension (the last by default); equal elements keep their order.
    ///
    /// ```rhai
    /// let x = tensor([3, 1, 2]);
    /// assert_eq(x[x.argsort()], tensor([1, 2, 3]));
    /// ```
    fn argsort(x: Tensor, dim: Option<i64>, options: Order) -> Tensor {
        x.argsort(dim.unwrap_or(-1), options.descending)
    }

    /// Returns the `k` largest elements along `dim`, sorted, as `#{ values, indices }`.
    ///
    /// ```rhai
    /// let best = tensor([0.1, 0.7, 0.2]).topk(2);
    /// assert_eq(best.indices, tensor([1, 2]));
    /// assert_eq(tensor([5, 3, 4]).topk(1, 0, #{ largest: false }).values, tensor([3]));
    /// ```
    fn topk(x: Tensor, k: i64, dim: Option<i64>, options: Top) -> Map {
        let dim = dim.unwrap_or(-1);
        let size = x.size(dim)?;
        if !(0..=size).contains(&k) {
            return Err(Error::argument(format!("expected k from 0 to {size}, the size of dimension {dim}, found {k}")));
        }
        x.topk(k, dim, options.largest).map(values_and_indices)
    }

    /// Returns the `k`th smallest elements along `dim`, with `k` from 1, as `#{ values, indices }`.
    ///
    /// ```rhai
    /// assert_eq(tensor([30, 10, 20]).kthvalue(2).values.item(), 20);
    /// ```
    fn kthvalue(x: Tensor, k: i64, dim: Option<i64>, options: Reduce) -> Map {
        x.kthvalue(k, dim.unwrap_or(-1), options.keepdim).map(values_and_indices)
    }

    /// Returns the unique elements, ascending, or the unique slices along `dim`, as `#{ values, inverse, counts }`.
    ///
    /// `inverse` is the index in `values` of each element, `counts` the number of times each value occurs.
    ///
    /// ```rhai
    /// let u = tensor([3, 1, 3]).unique();
    /// assert_eq(u.values, tensor([1, 3]));
    /// assert_eq(u.inverse, tensor([1, 0, 1]));
    /// assert_eq(u.counts, tensor([1, 2]));
    /// ```
    fn unique(x: Tensor, dim: Option<i64>) -> Map {
        let (values, inverse, counts) = match dim {
            Some(dim) => x.unique_dim(dim)?,
            None => x.unique()?,
        };
        Ok(record([("values", values), ("inverse", inverse), ("counts", counts)]))
    }

    /// Removes consecutive duplicates and returns `#{ values, counts }`.
    ///
    /// ```rhai
    /// let runs = tensor([1, 1, 2, 1]).unique_consecutive();
    /// assert_eq(runs.values, tensor([1, 2, 1]));
    /// assert_eq(runs.counts, tensor([2, 1, 1]));
    /// ```
    fn unique_consecutive(x: Tensor, dim: Option<i64>) -> Map {
        let (values, counts) = x.unique_consecutive(dim)?;
        Ok(record([("values", values), ("counts", counts)]))
    }

    /// Returns the index (int64) at which each of `values` belongs in this ascending vector.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 3, 5]).searchsorted(tensor([3, 4])), tensor([1, 2]));
    /// assert_eq(tensor([1, 3, 5]).searchsorted(tensor([3]), #{ right: true }), tensor([2]));
    /// ```
    fn searchsorted(x: Tensor, values: Tensor, options: Side) -> Tensor {
        x.searchsorted(&values, options.right)
    }

    /// Returns the index (int64) of the interval between ascending `boundaries` that contains each element.
    ///
    /// ```rhai
    /// assert_eq(tensor([0.5, 1.5, 9.0]).bucketize(tensor([1.0, 2.0])), tensor([0, 1, 2]));
    /// ```
    fn bucketize(x: Tensor, boundaries: Tensor, options: Side) -> Tensor {
        x.bucketize(&boundaries, options.right)
    }
}

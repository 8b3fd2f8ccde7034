//! Sorting, searching and distinct values.

use super::declare::operators;
use super::{pair, single, three};
use crate::declare::Options;
use crate::ensure;
use crate::torch::api::ReduceOptions;
use crate::torch::{Tensor, checked};

crate::api! { functions: [methods] }

/// Options of `sort` and `argsort`.
#[derive(Debug, Clone, Options)]
pub struct OrderOptions {
    /// Whether to sort in descending order.
    #[option(default = false)]
    pub descending: bool,
}

/// Options of `topk`.
#[derive(Debug, Clone, Options)]
pub struct TopOptions {
    /// Whether to return the largest elements; otherwise the smallest.
    #[option(default = true)]
    pub largest: bool,
}

/// Options of `searchsorted` and `bucketize`.
#[derive(Debug, Clone, Options)]
pub struct SideOptions {
    /// Whether a value that equals a boundary belongs after it; otherwise before it.
    #[option(default = false)]
    pub right: bool,
}

operators! {
    /// Sorts along `dim` (the last by default), as `#{ values, indices }`.
    /// ```rhai
    /// let s = tensor([3, 1, 2]).sort();
    /// assert_eq(s.values, tensor([1, 2, 3]));
    /// assert_eq(s.indices, tensor([1, 2, 0]));
    /// assert_eq(tensor([3, 1, 2]).sort(0, #{ descending: true }).values, tensor([3, 2, 1]));
    /// ```
    fn sort(x, dim: i64 = -1; options: OrderOptions { descending: bool }) => (values, indices) {
        pair(x.raw().f_sort(dim, descending))
    }

    /// Returns the indices that sort a dimension (the last by default); equal elements keep their order.
    /// ```rhai
    /// let x = tensor([3, 1, 2]);
    /// assert_eq(x[x.argsort()], tensor([1, 2, 3]));
    /// ```
    fn argsort(x, dim: i64 = -1; options: OrderOptions { descending: bool })
        = f_argsort_stable(true, dim, descending);

    /// Returns the `k`th smallest elements along `dim`, with `k` from 1, as `#{ values, indices }`.
    /// ```rhai
    /// assert_eq(tensor([30, 10, 20]).kthvalue(2).values.item(), 20);
    /// ```
    fn kthvalue(x, k: i64, dim: i64 = -1; options: ReduceOptions { keepdim: bool }) => (values, indices) {
        pair(x.raw().f_kthvalue(k, dim, keepdim))
    }

    /// Removes consecutive duplicates and returns `#{ values, counts }`.
    /// ```rhai
    /// let runs = tensor([1, 1, 2, 1]).unique_consecutive();
    /// assert_eq(runs.values, tensor([1, 2, 1]));
    /// assert_eq(runs.counts, tensor([2, 1, 1]));
    /// ```
    fn unique_consecutive(x, dim: Option<i64>) => (values, counts) {
        checked(x.raw().f_unique_consecutive(false, true, dim))
            .map(|(values, _, counts)| (Tensor::wrap(values), Tensor::wrap(counts)))
    }

    /// Returns the index (int64) at which each of `values` belongs in this ascending vector.
    /// ```rhai
    /// assert_eq(tensor([1, 3, 5]).searchsorted(tensor([3, 4])), tensor([1, 2]));
    /// assert_eq(tensor([1, 3, 5]).searchsorted(tensor([3]), #{ right: true }), tensor([2]));
    /// ```
    fn searchsorted(x, values: Tensor; options: SideOptions { right: bool }) -> Tensor {
        let side = if right { "right" } else { "left" };
        single(values.raw().f_searchsorted(x.raw(), false, right, side, None::<&tch::Tensor>))
    }

    /// Returns the index (int64) of the interval between ascending `boundaries` that contains each element.
    /// ```rhai
    /// assert_eq(tensor([0.5, 1.5, 9.0]).bucketize(tensor([1.0, 2.0])), tensor([0, 1, 2]));
    /// ```
    fn bucketize(x, boundaries: Tensor; options: SideOptions { right: bool })
        = f_bucketize(boundaries.raw(), false, right);

    /// Returns the `k` largest elements along `dim`, sorted, as `#{ values, indices }`.
    /// ```rhai
    /// let best = tensor([0.1, 0.7, 0.2]).topk(2);
    /// assert_eq(best.indices, tensor([1, 2]));
    /// assert_eq(tensor([5, 3, 4]).topk(1, 0, #{ largest: false }).values, tensor([3]));
    /// ```
    fn topk(x, k: i64, dim: i64 = -1; options: TopOptions { largest: bool }) => (values, indices) {
        let size = x.size(dim)?;
        ensure!((0..=size).contains(&k), "expected k from 0 to {size}, the size of dimension {dim}, found {k}");
        pair(x.raw().f_topk(k, dim, largest, true))
    }

    /// Returns the unique elements, ascending, or the unique slices along `dim`, as `#{ values, inverse, counts }`.
    ///
    /// `inverse` is the index in `values` of each element, `counts` the number of times each value occurs.
    /// ```rhai
    /// let u = tensor([3, 1, 3]).unique();
    /// assert_eq(u.values, tensor([1, 3]));
    /// assert_eq(u.inverse, tensor([1, 0, 1]));
    /// assert_eq(u.counts, tensor([1, 2]));
    /// ```
    fn unique(x, dim: Option<i64>) => (values, inverse, counts) {
        match dim {
            Some(dim) => three(x.raw().f_unique_dim(dim, true, true, true)),
            None => three(x.raw().f_internal_unique2(true, true, true)),
        }
    }
}

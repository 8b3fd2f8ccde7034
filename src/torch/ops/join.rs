//! Joining and splitting.

use super::declare::operators;
use super::{many, single};
use crate::declare::OneOrMany;
use crate::error::Result;
use crate::torch::{Tensor, checked};
use crate::{ensure, functions};

crate::api! { functions: [joining, methods] }

/// Adds leading dimensions of size 1 until each tensor has `rank` dimensions.
fn at_least(tensors: &[Tensor], rank: usize) -> Result<Vec<Tensor>> {
    let raise =
        |tensor: &Tensor| (tensor.rank()..rank).try_fold(tensor.clone(), |tensor, _| tensor.unsqueeze(0));
    tensors.iter().map(raise).collect()
}

pub(crate) mod joining {
    use super::*;
    functions! { in "tensor";
        /// Concatenates tensors along an existing dimension, 0 by default.
        /// ```rhai
        /// assert_eq(tensor::cat([tensor([1, 2]), tensor([3])]), tensor([1, 2, 3]));
        /// assert_eq(tensor::cat([tensor::zeros([2, 1]), tensor::zeros([2, 3])], 1).shape, [2, 4]);
        /// ```
        fn cat(tensors: Vec<Tensor>, dim: Option<i64>) -> Tensor { Tensor::cat(&tensors, dim.unwrap_or(0)) }

        /// Stacks tensors of the same shape along a new dimension, 0 by default.
        /// ```rhai
        /// assert_eq(tensor::stack([tensor([1, 2]), tensor([3, 4])]), tensor([[1, 2], [3, 4]]));
        /// assert_eq(tensor::stack([tensor([1, 2]), tensor([3, 4])], 1), tensor([[1, 3], [2, 4]]));
        /// ```
        fn stack(tensors: Vec<Tensor>, dim: Option<i64>) -> Tensor {
            Tensor::stack(&tensors, dim.unwrap_or(0))
        }

        /// Concatenates tensors horizontally: vectors end to end, matrices by columns.
        /// ```rhai
        /// assert_eq(tensor::hstack([tensor([1]), tensor([2, 3])]), tensor([1, 2, 3]));
        /// assert_eq(tensor::hstack([tensor([[1], [2]]), tensor([[3], [4]])]), tensor([[1, 3], [2, 4]]));
        /// ```
        fn hstack(tensors: Vec<Tensor>) -> Tensor {
            let flat = tensors.iter().all(|t| t.rank() < 2);
            Tensor::cat(&at_least(&tensors, 1)?, if flat { 0 } else { 1 })
        }

        /// Concatenates tensors vertically; vectors become rows.
        /// ```rhai
        /// assert_eq(tensor::vstack([tensor([1, 2]), tensor([3, 4])]), tensor([[1, 2], [3, 4]]));
        /// ```
        fn vstack(tensors: Vec<Tensor>) -> Tensor { Tensor::cat(&at_least(&tensors, 2)?, 0) }
    }
}

operators! {
    /// Splits along a dimension into parts of `size` entries, or of the sizes in an array.
    /// ```rhai
    /// let x = tensor([1, 2, 3, 4, 5]);
    /// assert_eq(x.split(2)[2], tensor([5]));
    /// assert_eq(x.split([1, 4]), [tensor([1]), tensor([2, 3, 4, 5])]);
    /// ```
    fn split(x, size: OneOrMany<i64>, dim: i64 = 0) -> Vec<Tensor> {
        match size {
            [size] => many(x.raw().f_split(*size, dim)),
            sizes => many(x.raw().f_split_with_sizes(sizes, dim)),
        }
    }

    /// Splits into `count` parts along a dimension; the last one is smaller if the size is not divisible.
    /// ```rhai
    /// let parts = tensor([1, 2, 3, 4]).chunk(2);
    /// assert_eq(parts, [tensor([1, 2]), tensor([3, 4])]);
    /// ```
    fn chunk(x, count: i64, dim: i64 = 0) -> Vec<Tensor> { many(x.raw().f_chunk(count, dim)) }

    /// Removes a dimension and returns its slices.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).unbind(1), [tensor([1, 3]), tensor([2, 4])]);
    /// ```
    fn unbind(x, dim: i64 = 0) -> Vec<Tensor> { many(x.raw().f_unbind(dim)) }
}

impl Tensor {
    /// Joins tensors along an existing dimension.
    pub fn cat(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
        ensure!(!tensors.is_empty(), "expected at least one tensor to join, found none");
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        single(tch::Tensor::f_cat(&raw, dim))
    }

    /// Joins tensors of one shape along a new dimension.
    pub fn stack(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
        ensure!(!tensors.is_empty(), "expected at least one tensor to join, found none");
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        single(tch::Tensor::f_stack(&raw, dim))
    }

    /// Returns coordinate grids from vectors; `ij` puts the first vector along dimension 0.
    pub fn meshgrid(tensors: &[Tensor], indexing: &str) -> Result<Vec<Tensor>> {
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_meshgrid_indexing(&raw, indexing))
            .map(|v| v.into_iter().map(Tensor::wrap).collect())
    }
}

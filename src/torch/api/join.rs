//! Joining and splitting.

use super::join;
use crate::declare::{Declaration, OneOrMany};
use crate::error::Result;
use crate::functions;
use crate::torch::Tensor;

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[joining::declarations(), splitting::declarations()])
}

/// Adds leading dimensions of size 1 until each tensor has `rank` dimensions.
fn at_least(tensors: &[Tensor], rank: usize) -> Result<Vec<Tensor>> {
    let raise =
        |tensor: &Tensor| (tensor.rank()..rank).try_fold(tensor.clone(), |tensor, _| tensor.unsqueeze(0));
    tensors.iter().map(raise).collect()
}

pub mod joining {
    use super::*;
    functions! { in "tensor";
        /// Concatenates tensors along an existing dimension, 0 by default.
        ///
        /// ```rhai
        /// assert_eq(tensor::cat([tensor([1, 2]), tensor([3])]), tensor([1, 2, 3]));
        /// assert_eq(tensor::cat([tensor::zeros([2, 1]), tensor::zeros([2, 3])], 1).shape, [2, 4]);
        /// ```
        fn cat(tensors: Vec<Tensor>, dim: Option<i64>) -> Tensor { Tensor::cat(&tensors, dim.unwrap_or(0)) }

        /// Stacks tensors of the same shape along a new dimension, 0 by default.
        ///
        /// ```rhai
        /// assert_eq(tensor::stack([tensor([1, 2]), tensor([3, 4])]), tensor([[1, 2], [3, 4]]));
        /// assert_eq(tensor::stack([tensor([1, 2]), tensor([3, 4])], 1), tensor([[1, 3], [2, 4]]));
        /// ```
        fn stack(tensors: Vec<Tensor>, dim: Option<i64>) -> Tensor {
            Tensor::stack(&tensors, dim.unwrap_or(0))
        }

        /// Concatenates tensors horizontally: vectors end to end, matrices by columns.
        ///
        /// ```rhai
        /// assert_eq(tensor::hstack([tensor([1]), tensor([2, 3])]), tensor([1, 2, 3]));
        /// assert_eq(tensor::hstack([tensor([[1], [2]]), tensor([[3], [4]])]), tensor([[1, 3], [2, 4]]));
        /// ```
        fn hstack(tensors: Vec<Tensor>) -> Tensor {
            let flat = tensors.iter().all(|t| t.rank() < 2);
            Tensor::cat(&at_least(&tensors, 1)?, if flat { 0 } else { 1 })
        }

        /// Concatenates tensors vertically; vectors become rows.
        ///
        /// ```rhai
        /// assert_eq(tensor::vstack([tensor([1, 2]), tensor([3, 4])]), tensor([[1, 2], [3, 4]]));
        /// ```
        fn vstack(tensors: Vec<Tensor>) -> Tensor { Tensor::cat(&at_least(&tensors, 2)?, 0) }
    }
}

mod splitting {
    use super::*;
    functions! { methods;
        /// Splits into `count` parts along a dimension; the last one is smaller if the size is not divisible.
        ///
        /// ```rhai
        /// let parts = tensor([1, 2, 3, 4]).chunk(2);
        /// assert_eq(parts, [tensor([1, 2]), tensor([3, 4])]);
        /// ```
        fn chunk(x: Tensor, count: i64, dim: Option<i64>) -> Vec<Tensor> { x.chunk(count, dim.unwrap_or(0)) }

        /// Splits along a dimension into parts of `size` entries, or of the sizes in an array.
        ///
        /// ```rhai
        /// let x = tensor([1, 2, 3, 4, 5]);
        /// assert_eq(x.split(2)[2], tensor([5]));
        /// assert_eq(x.split([1, 4]), [tensor([1]), tensor([2, 3, 4, 5])]);
        /// ```
        fn split(x: Tensor, size: OneOrMany<i64>, dim: Option<i64>) -> Vec<Tensor> {
            match size.0.as_slice() {
                [size] => x.split(*size, dim.unwrap_or(0)),
                sizes => x.split_sizes(sizes, dim.unwrap_or(0)),
            }
        }

        /// Removes a dimension and returns its slices.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).unbind(1), [tensor([1, 3]), tensor([2, 4])]);
        /// ```
        fn unbind(x: Tensor, dim: Option<i64>) -> Vec<Tensor> { x.unbind(dim.unwrap_or(0)) }
    }
}

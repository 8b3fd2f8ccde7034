//! Indexing as in PyTorch: integers, ranges, arrays, masks and tensors, one per dimension.

use super::declare::operators;
use super::single;
use crate::functions;
use crate::torch::Tensor;
use crate::torch::index::{Brackets, Index, Indices};
use crate::torch::operand::Operand;

crate::api! { functions: [scripts, methods] }

mod scripts {
    use super::*;
    functions! { methods;
        /// Indexes dimension 0 with an integer, a range, an array of integers, a bool mask or an int64 tensor.
        ///
        /// Indices of several dimensions are separated by commas. Negative integers count from the end. A range may
        /// leave out an end: `1..` goes to the last entry, and `..` takes the whole dimension, like `:` in NumPy.
        /// Integers and ranges return views: writing into them writes into `x`. A mask or a list returns a copy:
        /// `x[mask] += 1` changes `x`, `x[mask].mul_(2)` does not.
        /// ```rhai
        /// let x = tensor([[1, 2], [3, 4], [5, 6]]);
        /// assert_eq(x[0], tensor([1, 2]));
        /// assert_eq(x[-1][0].item(), 5);
        /// assert_eq(x[0..2], tensor([[1, 2], [3, 4]]));
        /// assert_eq(x[[2, 0]], tensor([[5, 6], [1, 2]]));
        /// assert_eq(x[x > 4], tensor([5, 6]));
        /// assert_eq(x[1, 0].item(), 3);
        /// assert_eq(x[.., 1], tensor([2, 4, 6]));
        /// assert_eq(x[1.., -1], tensor([4, 6]));
        /// ```
        fn get_item["[]"](x: Tensor, index: Brackets) -> Tensor { x.index_by(&index.0) }

        /// Writes a number, or a tensor that broadcasts, into the indexed entries.
        /// ```rhai
        /// let x = tensor([1.0, -2.0, 3.0, -4.0]);
        /// x[0] = 9;
        /// x[x < 0] = 0.0;
        /// assert_eq(x, tensor([9.0, 0.0, 3.0, 0.0]));
        /// x[1..3] = tensor([7.0, 8.0]);
        /// assert_eq(x, tensor([9.0, 7.0, 8.0, 0.0]));
        /// let y = tensor::zeros([2, 3]);
        /// y[0, 1..] = 5;
        /// y[.., 0] += 1;
        /// assert_eq(y, tensor([[1.0, 5.0, 5.0], [1.0, 0.0, 0.0]]));
        /// ```
        fn set_item["[]="](x: Tensor, index: Brackets, value: Operand) -> () { x.set_index(&index.0, &value) }

        /// Indexes several dimensions with one index each: an integer, a range, an array, a mask, an int64 tensor,
        /// or `()` for the whole dimension.
        /// ```rhai
        /// let x = tensor([[1, 2, 3], [4, 5, 6]]);
        /// assert_eq(x.get([1, 2]).item(), 6);
        /// assert_eq(x.get([(), 1]), tensor([2, 5]));
        /// assert_eq(x.get([0, 1..3]), tensor([2, 3]));
        /// assert_eq(x.get([(), [2, 0]]), tensor([[3, 1], [6, 4]]));
        /// ```
        fn get(x: Tensor, indices: Indices) -> Tensor { x.index_by(&indices.0) }

        /// Writes a number, or a tensor that broadcasts, in place into the entries that `get` returns for these
        /// indices.
        /// ```rhai
        /// let x = tensor::zeros([2, 3]);
        /// x.set([0, 1..3], 5);
        /// x.set([(), 0], tensor([1.0, 2.0]));
        /// assert_eq(x, tensor([[1.0, 5.0, 5.0], [2.0, 0.0, 0.0]]));
        /// ```
        fn set(x: Tensor, indices: Indices, value: Operand) -> Tensor {
            x.set_index(&indices.0, &value)?;
            Ok(x.clone())
        }

        /// Indexes up to four dimensions with one index each, like `get` without the array.
        /// ```rhai
        /// let x = tensor([[1, 2, 3], [4, 5, 6]]);
        /// assert_eq(x.at(1, 2).item(), 6);
        /// assert_eq(x.at(0..2, 0), tensor([1, 4]));
        /// assert_eq(x.at((), 1), tensor([2, 5]));
        /// ```
        fn at(x: Tensor, i: Index, j: Option<Index>, k: Option<Index>, l: Option<Index>) -> Tensor {
            // `()` before the last index given stands for a whole dimension; after it, it changes nothing.
            let mut indices = vec![Some(i), j, k, l];
            indices.truncate(indices.iter().rposition(Option::is_some).map_or(1, |last| last + 1));
            let indices: Vec<Index> = indices.into_iter().map(|index| index.unwrap_or(Index::Whole)).collect();
            x.index_by(&indices)
        }

        /// Returns a copy with elements of `source`, or a number, written at indices along a dimension.
        /// ```rhai
        /// let x = tensor::zeros([2, 3]);
        /// assert_eq(x.scatter(1, tensor([[0], [2]]), 1.0), tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]));
        /// ```
        fn scatter(x: Tensor, dim: i64, index: Tensor, source: Operand) -> Tensor {
            x.scatter(dim, &index, source)
        }

        /// Returns a copy with the slices at int64 indices along a dimension filled with one value.
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).index_fill(1, tensor([0]), 0), tensor([[0, 2], [0, 4]]));
        /// ```
        fn index_fill(x: Tensor, dim: i64, index: Tensor, value: Operand) -> Tensor {
            x.index_fill(dim, &index, value)
        }
    }
}

operators! {
    /// Returns a view of `length` entries from `start` along a dimension.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3, 4]).narrow(0, 1, 2), tensor([2, 3]));
    /// ```
    fn narrow(x, dim: i64, start: i64, length: i64) = f_narrow(dim, start, length);

    /// Returns a view of every `step`th entry from `start` up to but excluding `end` along a dimension; `()`
    /// leaves an end open.
    /// ```rhai
    /// let x = tensor([0, 1, 2, 3, 4, 5]);
    /// assert_eq(x.slice(0, (), (), 2), tensor([0, 2, 4]));
    /// assert_eq(x.slice(0, -2), tensor([4, 5]));
    /// ```
    fn slice(x, dim: i64, start: Option<i64>, end: Option<i64>, step: i64 = 1)
        = f_slice(dim, start, end, step);

    /// Returns the entries at int64 indices along a dimension.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).index_select(1, tensor([1, 1])), tensor([[2, 2], [4, 4]]));
    /// ```
    fn index_select(x, dim: i64, index: Tensor) -> Tensor {
        x.naming(dim, index, single(x.raw().f_index_select(dim, index.raw())))
    }

    /// Gathers one element per index along a dimension: `out[i][j] = x[i][index[i][j]]` for `dim` 1.
    /// ```rhai
    /// let scores = tensor([[0.1, 0.9], [0.8, 0.2]]);
    /// assert_eq(scores.gather(1, tensor([[1], [0]])), tensor([[0.9], [0.8]]));
    /// ```
    fn gather(x, dim: i64, index: Tensor) = f_gather(dim, index.raw(), false);

    /// Returns the elements at int64 indices of the flattened tensor.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).take(tensor([0, 3])), tensor([1, 4]));
    /// ```
    fn take(x, index: Tensor) = f_take(index.raw());

    /// Returns the elements at indices along a dimension, with broadcasting. Indices from `argsort` give the
    /// sorted tensor.
    /// ```rhai
    /// let x = tensor([[3, 1, 2]]);
    /// assert_eq(x.take_along_dim(x.argsort(1), 1), tensor([[1, 2, 3]]));
    /// ```
    fn take_along_dim(x, index: Tensor, dim: i64) = f_take_along_dim(index.raw(), dim);

    /// Returns the coordinates (int64) of the non-zero elements, one row per element.
    /// ```rhai
    /// assert_eq(tensor([[0, 5], [6, 0]]).nonzero(), tensor([[0, 1], [1, 0]]));
    /// ```
    fn nonzero(x) = f_nonzero();

    /// Returns a copy with elements of `source` added at indices along a dimension.
    /// ```rhai
    /// let sums = tensor::zeros([2]).scatter_add(0, tensor([0, 1, 0]), tensor([1.0, 2.0, 3.0]));
    /// assert_eq(sums, tensor([4.0, 2.0]));
    /// ```
    fn scatter_add(x, dim: i64, index: Tensor, source: Tensor)
        = f_scatter_add(dim, index.raw(), source.raw());

    /// Returns a copy with slices of `source` added at int64 indices along a dimension.
    /// ```rhai
    /// let x = tensor::zeros([2, 2]);
    /// assert_eq(x.index_add(0, tensor([1, 1]), tensor([[1.0, 2.0], [3.0, 4.0]])), tensor([[0.0, 0.0], [4.0, 6.0]]));
    /// ```
    fn index_add(x, dim: i64, index: Tensor, source: Tensor) -> Tensor {
        x.naming(dim, index, single(x.raw().f_index_add(dim, index.raw(), source.raw())))
    }

    /// Returns a copy with slices of `source` written at int64 indices along a dimension.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).index_copy(0, tensor([2, 0]), tensor([8, 9])), tensor([9, 2, 8]));
    /// ```
    fn index_copy(x, dim: i64, index: Tensor, source: Tensor) = f_index_copy(dim, index.raw(), source.raw());

    /// Returns a view of one entry of a dimension; the dimension is removed.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).select(1, 0), tensor([1, 3]));
    /// ```
    fn select(x, dim: i64, index: i64) -> Tensor {
        x.size(dim)?;
        x.inside(if dim < 0 { dim + x.rank() as i64 } else { dim }, index)?;
        single(x.raw().f_select(dim, index))
    }
}

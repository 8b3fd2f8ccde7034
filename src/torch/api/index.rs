//! Reading and writing by index.

use super::join;
use crate::declare::{Declaration, Display, FromValue, Value};
use crate::error::Result;
use crate::functions;
use crate::torch::Tensor;
use crate::torch::ops::index::Index;
use crate::torch::ops::operand::Operand;

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[brackets::declarations(), selection::declarations(), scattering::declarations()])
}

/// One index per dimension, in an array.
struct Indices(Vec<Index>);

impl FromValue for Indices {
    fn label() -> String {
        "array of indices".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(list) => list
                .iter()
                .enumerate()
                .map(|(i, v)| Index::from_value(v).map_err(|e| e.context(format!("dimension {i}"))))
                .collect::<Result<_>>()
                .map(Self),
            other => Err(other
                .mismatch("an array with an index for each dimension")
                .hint("`x.get([0, 1..3])`, or `x.at(0, 1..3)`")),
        }
    }
}

/// Indices of `x[i, j]`, one per dimension, which rhai passes as one value.
#[derive(Debug, Clone)]
pub struct Several(pub Vec<Value>);

crate::scripted!(Several, "indices", |s| Display::text(format!("{} indices", s.0.len())));

/// Content of the brackets in `x[..]`: one index, or one per dimension.
struct Brackets(Vec<Index>);

impl FromValue for Brackets {
    fn label() -> String {
        "int, range, array or tensor".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value.downcast::<Several>() {
            Some(several) => Indices::from_value(&Value::List(several.0)).map(|indices| Self(indices.0)),
            None => Index::from_value(value).map(|index| Self(vec![index])),
        }
    }
}

/// Expands a number to the shape of the index, so that it can be scattered.
fn spread(source: &Operand, index: &Tensor, x: &Tensor) -> Result<Tensor> {
    match source {
        Operand::Tensor(source) => Ok(source.clone()),
        number => number.tensor_for(x)?.expand(&index.shape()),
    }
}

mod brackets {
    use super::*;
    functions! { methods;
        /// Indexes dimension 0 with an integer, a range, an array of integers, a bool mask or an int64 tensor.
        ///
        /// Indices of several dimensions are separated by commas. Negative integers count from the end. A range may
        /// leave out an end: `1..` goes to the last entry, and `..` takes the whole dimension, like `:` in NumPy.
        /// Integers and ranges return views: writing into them writes into `x`.
        ///
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
        fn get_item["[]"](x: Tensor, index: Brackets) -> Tensor { x.pick(&index.0) }

        /// Writes a number, or a tensor that broadcasts, into the indexed entries.
        ///
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
        fn set_item["[]="](x: Tensor, index: Brackets, value: Operand) -> () { x.place(&index.0, &value) }

        /// Indexes several dimensions with one index each: an integer, a range, an array, a mask, an int64 tensor,
        /// or `()` for the whole dimension.
        ///
        /// ```rhai
        /// let x = tensor([[1, 2, 3], [4, 5, 6]]);
        /// assert_eq(x.get([1, 2]).item(), 6);
        /// assert_eq(x.get([(), 1]), tensor([2, 5]));
        /// assert_eq(x.get([0, 1..3]), tensor([2, 3]));
        /// assert_eq(x.get([(), [2, 0]]), tensor([[3, 1], [6, 4]]));
        /// ```
        fn get(x: Tensor, indices: Indices) -> Tensor { x.pick(&indices.0) }

        /// Writes a number, or a tensor that broadcasts, in place into the entries that `get` returns for these
        /// indices.
        ///
        /// ```rhai
        /// let x = tensor::zeros([2, 3]);
        /// x.set([0, 1..3], 5);
        /// x.set([(), 0], tensor([1.0, 2.0]));
        /// assert_eq(x, tensor([[1.0, 5.0, 5.0], [2.0, 0.0, 0.0]]));
        /// ```
        fn set(x: Tensor, indices: Indices, value: Operand) -> Tensor {
            x.place(&indices.0, &value)?;
            Ok(x.clone())
        }

        /// Indexes up to four dimensions with one index each, like `get` without the array.
        ///
        /// ```rhai
        /// let x = tensor([[1, 2, 3], [4, 5, 6]]);
        /// assert_eq(x.at(1, 2).item(), 6);
        /// assert_eq(x.at(0..2, 0), tensor([1, 4]));
        /// ```
        fn at(x: Tensor, i: Index, j: Option<Index>, k: Option<Index>, l: Option<Index>) -> Tensor {
            let indices: Vec<Index> = [Some(i), j, k, l].into_iter().flatten().collect();
            x.pick(&indices)
        }
    }
}

mod selection {
    use super::*;
    functions! { methods;
        /// Returns a view of one entry of a dimension; the dimension is removed.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).select(1, 0), tensor([1, 3]));
        /// ```
        fn select(x: Tensor, dim: i64, index: i64) -> Tensor {
            let rank = x.rank() as i64;
            let place = if dim < 0 { dim + rank } else { dim };
            x.size(dim)?;
            let mut indices = vec![Index::Whole; place.max(0) as usize];
            indices.push(Index::At(index));
            x.pick(&indices)
        }

        /// Returns a view of `length` entries from `start` along a dimension.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3, 4]).narrow(0, 1, 2), tensor([2, 3]));
        /// ```
        fn narrow(x: Tensor, dim: i64, start: i64, length: i64) -> Tensor { x.narrow(dim, start, length) }

        /// Returns a view of every `step`th entry from `start` up to but excluding `end` along a dimension; `()`
        /// leaves an end open.
        ///
        /// ```rhai
        /// let x = tensor([0, 1, 2, 3, 4, 5]);
        /// assert_eq(x.slice(0, (), (), 2), tensor([0, 2, 4]));
        /// assert_eq(x.slice(0, -2), tensor([4, 5]));
        /// ```
        fn slice(x: Tensor, dim: i64, start: Option<i64>, end: Option<i64>, step: Option<i64>) -> Tensor {
            x.slice(dim, start, end, step.unwrap_or(1))
        }

        /// Returns the entries at int64 indices along a dimension.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).index_select(1, tensor([1, 1])), tensor([[2, 2], [4, 4]]));
        /// ```
        fn index_select(x: Tensor, dim: i64, index: Tensor) -> Tensor { x.index_select(dim, &index) }

        /// Gathers one element per index along a dimension: `out[i][j] = x[i][index[i][j]]` for `dim` 1.
        ///
        /// ```rhai
        /// let scores = tensor([[0.1, 0.9], [0.8, 0.2]]);
        /// assert_eq(scores.gather(1, tensor([[1], [0]])), tensor([[0.9], [0.8]]));
        /// ```
        fn gather(x: Tensor, dim: i64, index: Tensor) -> Tensor { x.gather(dim, &index) }

        /// Returns the elements at int64 indices of the flattened tensor.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).take(tensor([0, 3])), tensor([1, 4]));
        /// ```
        fn take(x: Tensor, index: Tensor) -> Tensor { x.take(&index) }

        /// Returns the elements at indices along a dimension, with broadcasting. Indices from `argsort` give the
        /// sorted tensor.
        ///
        /// ```rhai
        /// let x = tensor([[3, 1, 2]]);
        /// assert_eq(x.take_along_dim(x.argsort(1), 1), tensor([[1, 2, 3]]));
        /// ```
        fn take_along_dim(x: Tensor, index: Tensor, dim: i64) -> Tensor { x.take_along_dim(&index, dim) }

        /// Returns the coordinates (int64) of the non-zero elements, one row per element.
        ///
        /// ```rhai
        /// assert_eq(tensor([[0, 5], [6, 0]]).nonzero(), tensor([[0, 1], [1, 0]]));
        /// ```
        fn nonzero(x: Tensor) -> Tensor { x.nonzero() }
    }
}

mod scattering {
    use super::*;
    functions! { methods;
        /// Returns a copy with elements of `source`, or a number, written at indices along a dimension.
        ///
        /// ```rhai
        /// let x = tensor::zeros([2, 3]);
        /// assert_eq(x.scatter(1, tensor([[0], [2]]), 1.0), tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]));
        /// ```
        fn scatter(x: Tensor, dim: i64, index: Tensor, source: Operand) -> Tensor {
            x.scatter(dim, &index, &spread(&source, &index, &x)?)
        }

        /// Returns a copy with elements of `source` added at indices along a dimension.
        ///
        /// ```rhai
        /// let sums = tensor::zeros([2]).scatter_add(0, tensor([0, 1, 0]), tensor([1.0, 2.0, 3.0]));
        /// assert_eq(sums, tensor([4.0, 2.0]));
        /// ```
        fn scatter_add(x: Tensor, dim: i64, index: Tensor, source: Tensor) -> Tensor {
            x.scatter_add(dim, &index, &source)
        }

        /// Returns a copy with slices of `source` added at int64 indices along a dimension.
        ///
        /// ```rhai
        /// let x = tensor::zeros([2, 2]);
        /// assert_eq(x.index_add(0, tensor([1, 1]), tensor([[1.0, 2.0], [3.0, 4.0]])), tensor([[0.0, 0.0], [4.0, 6.0]]));
        /// ```
        fn index_add(x: Tensor, dim: i64, index: Tensor, source: Tensor) -> Tensor {
            x.index_add(dim, &index, &source)
        }

        /// Returns a copy with slices of `source` written at int64 indices along a dimension.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).index_copy(0, tensor([2, 0]), tensor([8, 9])), tensor([9, 2, 8]));
        /// ```
        fn index_copy(x: Tensor, dim: i64, index: Tensor, source: Tensor) -> Tensor {
            x.index_copy(dim, &index, &source)
        }

        /// Returns a copy with the slices at int64 indices along a dimension filled with one value.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).index_fill(1, tensor([0]), 0), tensor([[0, 2], [0, 4]]));
        /// ```
        fn index_fill(x: Tensor, dim: i64, index: Tensor, value: Operand) -> Tensor {
            let copy = x.copy()?;
            let mut indices = vec![Index::Whole; x.size(dim).map(|_| if dim < 0 { dim + x.rank() as i64 } else { dim })? as usize];
            indices.push(Index::Tensor(index));
            copy.place(&indices, &value)?;
            Ok(copy)
        }
    }
}

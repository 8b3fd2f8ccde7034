//! Indexing as in PyTorch: integers, ranges, arrays, masks and tensors, one per dimension.

use super::declare::operators;
use super::operand::Operand;
use super::single;
use crate::declare::{Display, FromValue, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::{DType, Device, Tensor, checked};

crate::api! { functions: [scripts, methods] }

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

mod scripts {
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
        fn get_item["[]"](x: Tensor, index: Brackets) -> Tensor { x.index_by(&index.0) }

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
        fn set_item["[]="](x: Tensor, index: Brackets, value: Operand) -> () { x.set_index(&index.0, &value) }

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
        fn get(x: Tensor, indices: Indices) -> Tensor { x.index_by(&indices.0) }

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
            x.set_index(&indices.0, &value)?;
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
            x.index_by(&indices)
        }
    }
}

operators! {
    /// Returns a view of `length` entries from `start` along a dimension.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3, 4]).narrow(0, 1, 2), tensor([2, 3]));
    /// ```
    fn narrow(x, dim: i64, start: i64, length: i64) = f_narrow(dim, start, length);

    /// Returns a view of every `step`th entry from `start` up to but excluding `end` along a dimension; `()`
    /// leaves an end open.
    ///
    /// ```rhai
    /// let x = tensor([0, 1, 2, 3, 4, 5]);
    /// assert_eq(x.slice(0, (), (), 2), tensor([0, 2, 4]));
    /// assert_eq(x.slice(0, -2), tensor([4, 5]));
    /// ```
    fn slice(x, dim: i64, start: Option<i64>, end: Option<i64>, step: i64 = 1)
        = f_slice(dim, start, end, step);

    /// Returns the entries at int64 indices along a dimension.
    ///
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).index_select(1, tensor([1, 1])), tensor([[2, 2], [4, 4]]));
    /// ```
    fn index_select(x, dim: i64, index: Tensor) = f_index_select(dim, index.raw());

    /// Gathers one element per index along a dimension: `out[i][j] = x[i][index[i][j]]` for `dim` 1.
    ///
    /// ```rhai
    /// let scores = tensor([[0.1, 0.9], [0.8, 0.2]]);
    /// assert_eq(scores.gather(1, tensor([[1], [0]])), tensor([[0.9], [0.8]]));
    /// ```
    fn gather(x, dim: i64, index: Tensor) = f_gather(dim, index.raw(), false);

    /// Returns the elements at int64 indices of the flattened tensor.
    ///
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).take(tensor([0, 3])), tensor([1, 4]));
    /// ```
    fn take(x, index: Tensor) = f_take(index.raw());

    /// Returns the elements at indices along a dimension, with broadcasting. Indices from `argsort` give the
    /// sorted tensor.
    ///
    /// ```rhai
    /// let x = tensor([[3, 1, 2]]);
    /// assert_eq(x.take_along_dim(x.argsort(1), 1), tensor([[1, 2, 3]]));
    /// ```
    fn take_along_dim(x, index: Tensor, dim: i64) = f_take_along_dim(index.raw(), dim);

    /// Returns the coordinates (int64) of the non-zero elements, one row per element.
    ///
    /// ```rhai
    /// assert_eq(tensor([[0, 5], [6, 0]]).nonzero(), tensor([[0, 1], [1, 0]]));
    /// ```
    fn nonzero(x) = f_nonzero();

    /// Returns a copy with elements of `source` added at indices along a dimension.
    ///
    /// ```rhai
    /// let sums = tensor::zeros([2]).scatter_add(0, tensor([0, 1, 0]), tensor([1.0, 2.0, 3.0]));
    /// assert_eq(sums, tensor([4.0, 2.0]));
    /// ```
    fn scatter_add(x, dim: i64, index: Tensor, source: Tensor)
        = f_scatter_add(dim, index.raw(), source.raw());

    /// Returns a copy with slices of `source` added at int64 indices along a dimension.
    ///
    /// ```rhai
    /// let x = tensor::zeros([2, 2]);
    /// assert_eq(x.index_add(0, tensor([1, 1]), tensor([[1.0, 2.0], [3.0, 4.0]])), tensor([[0.0, 0.0], [4.0, 6.0]]));
    /// ```
    fn index_add(x, dim: i64, index: Tensor, source: Tensor) = f_index_add(dim, index.raw(), source.raw());

    /// Returns a copy with slices of `source` written at int64 indices along a dimension.
    ///
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).index_copy(0, tensor([2, 0]), tensor([8, 9])), tensor([9, 2, 8]));
    /// ```
    fn index_copy(x, dim: i64, index: Tensor, source: Tensor) = f_index_copy(dim, index.raw(), source.raw());

    /// Returns a view of one entry of a dimension; the dimension is removed.
    ///
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).select(1, 0), tensor([1, 3]));
    /// ```
    fn select(x, dim: i64, index: i64) -> Tensor {
        x.size(dim)?;
        x.inside(if dim < 0 { dim + x.rank() as i64 } else { dim }, index)?;
        single(x.raw().f_select(dim, index))
    }

    /// Returns a copy with elements of `source`, or a number, written at indices along a dimension.
    ///
    /// ```rhai
    /// let x = tensor::zeros([2, 3]);
    /// assert_eq(x.scatter(1, tensor([[0], [2]]), 1.0), tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]));
    /// ```
    fn scatter(x, dim: i64, index: Tensor, source: Operand) -> Tensor {
        // A number goes to every index.
        let source = if source.rank() == 0 { source.expand(&index.shape())? } else { source.clone() };
        single(x.raw().f_scatter(dim, index.raw(), source.raw()))
    }

    /// Returns a copy with the slices at int64 indices along a dimension filled with one value.
    ///
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).index_fill(1, tensor([0]), 0), tensor([[0, 2], [0, 4]]));
    /// ```
    fn index_fill(x, dim: i64, index: Tensor, value: Operand) -> Tensor {
        let copy = x.copy()?;
        x.size(dim)?;
        let dim = if dim < 0 { dim + x.rank() as i64 } else { dim };
        let mut indices = vec![Index::Whole; dim as usize];
        indices.push(Index::Tensor(index.clone()));
        copy.set_index(&indices, &Operand::Tensor(value.clone()))?;
        Ok(copy)
    }
}

/// Index of one dimension.
#[derive(Debug, Clone)]
pub enum Index {
    /// One entry; removes the dimension.
    At(i64),
    /// Entries from a start up to, not including, an end; negative bounds count from the end.
    Slice(i64, i64),
    /// All entries.
    Whole,
    /// Entries at int64 indices, or where a mask holds; a mask covers as many dimensions as it has.
    Tensor(Tensor),
}

impl FromValue for Index {
    fn label() -> String {
        "int, range, array or tensor".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Int(i) => Ok(Index::At(*i)),
            Value::Range(start, end) => Ok(Index::Slice(*start, *end)),
            Value::Unit => Ok(Index::Whole),
            Value::List(list) if list.is_empty() => {
                Tensor::zeros(&[0], DType::Int64, Device::Cpu).map(Index::Tensor)
            }
            Value::List(_) => Tensor::from_nested(value, None, Device::Cpu).and_then(Self::of_tensor),
            other => match other.downcast() {
                Some(tensor) => Self::of_tensor(tensor),
                None => Err(other
                    .mismatch("an integer, a range, an array, a mask or an int64 tensor")
                    .hint("`x[2]`, `x[0..3]`, `x[[1, 2]]`, `x[mask]`; for several dimensions `x[0, 1..3]`")),
            },
        }
    }
}

impl Index {
    fn of_tensor(tensor: Tensor) -> Result<Self> {
        match tensor.dtype() {
            DType::Int64 | DType::Int32 | DType::Bool => Ok(Index::Tensor(tensor)),
            found => Err(Error::argument(format!(
                "expected indices of dtype int64 or a bool mask, found a tensor of {}",
                found.name()
            ))
            .hint("convert: `.to(\"int64\")` for indices, `.to(\"bool\")` for a mask")),
        }
    }
}

impl Tensor {
    /// Returns the indexed entries, with one index per dimension; dimensions without an index are kept whole.
    pub fn index_by(&self, indices: &[Index]) -> Result<Tensor> {
        let (view, tensors) = self.located(indices)?;
        if tensors.is_empty() {
            return Ok(view);
        }
        let raw: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
        view.index(&raw)
    }

    /// Writes a number, or a tensor that broadcasts, at the indexed entries, in place.
    pub fn set_index(&self, indices: &[Index], value: &Operand) -> Result<()> {
        let (view, tensors) = self.located(indices)?;
        if tensors.is_empty() {
            return view.write_(value);
        }
        let raw: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
        let value = value.tensor_for(&view)?.to_dtype(view.dtype())?.to_device(view.device())?;
        view.index_put_(&raw, &value, false).map_err(|error| {
            error.context(format!("writing {} into {}", value.signature(), view.signature()))
        })
    }

    /// Applies integers and ranges; returns the view and the remaining index tensors by dimension of the view.
    fn located(&self, indices: &[Index]) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let taken: usize = indices.iter().map(dimensions).sum();
        if taken > self.rank() {
            return Err(Error::argument(format!(
                "{taken} indices are too many for a tensor of {} dimensions, shape {:?}",
                self.rank(),
                self.shape()
            )));
        }
        let mut view = self.clone();
        let mut tensors: Vec<Option<Tensor>> = Vec::new();
        let (mut dim, mut own) = (0, 0);
        for index in indices {
            match index {
                Index::At(i) => {
                    self.inside(own, *i)?;
                    // The index was just checked, with the dimension that the user knows.
                    view = single(view.raw().f_select(dim, *i))?;
                }
                Index::Slice(start, end) => {
                    view = view.slice(dim, Some(*start), Some(*end), 1)?;
                    tensors.push(None);
                    dim += 1;
                }
                Index::Whole => {
                    tensors.push(None);
                    dim += 1;
                }
                Index::Tensor(tensor) => {
                    self.fits(own, tensor)?;
                    tensors.push(Some(tensor.to_device(view.device())?));
                    dim += dimensions(index) as i64;
                }
            }
            own += dimensions(index) as i64;
        }
        if tensors.iter().all(Option::is_none) {
            tensors.clear();
        }
        Ok((view, tensors))
    }

    /// Fails unless `index` is within the dimension.
    fn inside(&self, dim: i64, index: i64) -> Result<()> {
        let size = self.size(dim)?;
        if index >= -size && index < size {
            return Ok(());
        }
        Err(Error::argument(format!("index {index} is out of bounds for dimension {dim} of size {size}"))
            .hint(match size {
                0 => "the dimension is empty".to_string(),
                _ => format!("indices run from 0 to {}, or from -1 to -{size} from the end", size - 1),
            }))
    }

    /// Fails unless a mask has the shape of the dimensions that it covers, or all indices are in range.
    fn fits(&self, dim: i64, index: &Tensor) -> Result<()> {
        if index.dtype() == DType::Bool {
            let start = dim as usize;
            let covered = &self.shape()[start..start + index.rank()];
            if index.shape() != covered {
                return Err(Error::argument(format!(
                    "a mask of shape {:?} does not fit dimensions of shape {covered:?}",
                    index.shape()
                ))
                .hint("a mask must have the sizes of the dimensions that it covers"));
            }
            return Ok(());
        }
        // On a GPU the check would wait for the device, where libtorch itself reports an assertion.
        if index.count() == 0 || self.device().is_cuda() {
            return Ok(());
        }
        let (low, high) = index.aminmax()?;
        self.inside(dim, low.item_i64()?)?;
        self.inside(dim, high.item_i64()?)
    }

    /// Returns the elements at a tuple of index tensors (int64 or bool); `None` keeps a dimension whole.
    pub fn index(&self, indices: &[Option<&Tensor>]) -> Result<Tensor> {
        let raw: Vec<Option<&tch::Tensor>> = indices.iter().map(|i| i.map(Tensor::raw)).collect();
        single(self.raw().f_index(&raw))
    }

    /// Writes `values` at a tuple of index tensors, in place.
    pub fn index_put_(&self, indices: &[Option<&Tensor>], values: &Tensor, accumulate: bool) -> Result<()> {
        let raw: Vec<Option<&tch::Tensor>> = indices.iter().map(|i| i.map(Tensor::raw)).collect();
        checked(self.alias().f_index_put_(&raw, values.raw(), accumulate)).map(drop)
    }
}

/// Returns the number of dimensions that an index covers.
fn dimensions(index: &Index) -> usize {
    match index {
        Index::Tensor(mask) if mask.dtype() == DType::Bool => mask.rank(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Tensor {
        Tensor::from_i64(&(0..12).collect::<Vec<_>>(), &[3, 4]).unwrap()
    }

    #[test]
    fn integers_and_ranges_make_views() {
        let x = numbers();
        let column = x.index_by(&[Index::Slice(0, 2), Index::At(-1)]).unwrap();
        assert_eq!(column.to_i64().unwrap(), [3, 7]);
        column.write_(&Operand::Number(crate::declare::Number::Int(0))).unwrap();
        assert_eq!(x.index_by(&[Index::At(0)]).unwrap().to_i64().unwrap(), [0, 1, 2, 0]);
    }

    #[test]
    fn lists_and_masks_gather() {
        let x = numbers();
        let rows = Index::Tensor(Tensor::from_i64(&[2, -3], &[2]).unwrap());
        assert_eq!(x.index_by(&[rows, Index::At(1)]).unwrap().to_i64().unwrap(), [9, 1]);
        let mask = Index::Tensor(x.gt_scalar(9i64).unwrap());
        assert_eq!(x.index_by(&[mask]).unwrap().to_i64().unwrap(), [10, 11]);
    }

    #[test]
    fn messages_name_the_index_and_the_size() {
        let x = numbers();
        let message = |i: &[Index]| x.index_by(i).unwrap_err().message();
        assert_eq!(message(&[Index::At(3)]), "index 3 is out of bounds for dimension 0 of size 3");
        let list = Index::Tensor(Tensor::from_i64(&[0, 9], &[2]).unwrap());
        assert_eq!(message(&[Index::Whole, list]), "index 9 is out of bounds for dimension 1 of size 4");
        let mask = Index::Tensor(Tensor::zeros(&[4], DType::Bool, Device::Cpu).unwrap());
        assert_eq!(message(&[mask]), "a mask of shape [4] does not fit dimensions of shape [3]");
        assert!(message(&[Index::At(0), Index::At(0), Index::At(0)]).starts_with("3 indices are too many"));
    }
}

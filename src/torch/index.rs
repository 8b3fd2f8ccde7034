//! Reading and writing by indices as in NumPy, one per dimension.

use super::call::call_one;
use super::operand::Operand;
use super::ops::arithmetic::with_numbers;
use super::ops::{refused, single};
use super::{DType, Device, Tensor, checked};
use crate::declare::{Display, FromValue, IntoValue, Map, Value};
use crate::error::{Error, Result};

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

/// One index per dimension, in an array.
pub struct Indices(pub Vec<Index>);

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
pub struct Brackets(pub Vec<Index>);

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
            return match value {
                Operand::Tensor(value) if view.is_same_view(value) => Ok(()),
                _ => view.write_(value),
            };
        }
        let raw: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
        let value = match value {
            Operand::Number(number) => Tensor::filled(&[], *number, view.dtype(), view.device())?,
            Operand::Tensor(value) => value.to_dtype(view.dtype())?.to_device(view.device())?,
        };
        view.index_put_(&raw, &value, false).map_err(|error| {
            error.context(format!("writing {} into {}", value.signature(), view.signature()))
        })
    }

    /// Returns whether both are the same view of the same memory, with or without gradients. After `x[0] += 1` and
    /// `x[1][2] = 7` rhai assigns the view that it read, which has the new values already.
    fn is_same_view(&self, other: &Tensor) -> bool {
        self.shares_memory(other)
            && self.strides() == other.strides()
            && self.dtype() == other.dtype()
            && self.requires_grad() == other.requires_grad()
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
        // `x[..]` alone is a view of its own; beside other indices a whole dimension needs no operator.
        let lone = indices.iter().all(|index| matches!(index, Index::Slice(..)));
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
                Index::Slice(0, end) if !lone && *end >= self.size(own)? => {
                    tensors.push(None);
                    dim += 1;
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
                // As in NumPy, a mask without dimensions keeps all of a new dimension, or nothing.
                Index::Tensor(mask) if dimensions(index) == 0 => {
                    view = view.unsqueeze(dim)?;
                    tensors
                        .push(Some(mask.reshape(&[1])?.nonzero()?.reshape(&[-1])?.to_device(view.device())?));
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
    pub(crate) fn inside(&self, dim: i64, index: i64) -> Result<()> {
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

    /// Names the index in an error in which libtorch only says that one of them is out of range.
    pub(super) fn naming<T>(&self, dim: i64, index: &Tensor, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            if !error.message().contains("index out of range in self") {
                return error;
            }
            self.outside(dim, index).unwrap_or(error)
        })
    }

    /// Returns the error for indices from 0 of which one is out of range.
    fn outside(&self, dim: i64, index: &Tensor) -> Option<Error> {
        let (low, high) = extremes(index)?;
        let size = self.size(dim).ok()?;
        let found = if low < 0 { low } else { high };
        let error =
            Error::argument(format!("index {found} is out of range for dimension {dim} of size {size}"));
        Some(error.hint(format!("indices run from 0 to {}", size - 1)))
    }

    /// Returns a copy with elements of `source`, or a number, written at indices along a dimension.
    pub fn scatter(&self, dim: i64, index: &Tensor, source: impl Into<Operand>) -> Result<Tensor> {
        let values = match source.into() {
            Operand::Number(number) => {
                let (x, index) = (self.clone().into_value(), index.clone().into_value());
                let arguments = [x, Value::Int(dim), index, number.into_value()];
                return call_one("scatter.value", &arguments, &Map::new());
            }
            Operand::Tensor(one) if one.rank() == 0 => one.expand(&index.shape())?,
            Operand::Tensor(values) => values,
        };
        single(self.raw().f_scatter(dim, index.raw(), values.raw()))
    }

    /// Returns a copy with the slices at int64 indices along a dimension filled with one value.
    pub fn index_fill(&self, dim: i64, index: &Tensor, value: impl Into<Operand>) -> Result<Tensor> {
        let copy = self.copy()?;
        self.size(dim)?;
        let dim = if dim < 0 { dim + self.rank() as i64 } else { dim };
        let mut indices = vec![Index::Whole; dim as usize];
        indices.push(Index::Tensor(index.clone()));
        copy.set_index(&indices, &value.into())?;
        Ok(copy)
    }

    /// Returns a copy filled with one value where the mask is true.
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<Operand>) -> Result<Tensor> {
        match value.into() {
            Operand::Tensor(value) => single(self.raw().f_masked_fill_tensor(mask.raw(), value.raw())),
            Operand::Number(value) => with_numbers("masked_fill.Scalar", &[self, mask], &[value]),
        }
        .map_err(|error| refused("masked_fill", self, mask, error))
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

/// Returns the lowest and the highest index, to explain an error.
fn extremes(index: &Tensor) -> Option<(i64, i64)> {
    let (low, high) = index.aminmax().ok()?;
    Some((low.item_i64().ok()?, high.item_i64().ok()?))
}

/// Names the index in an error in which libtorch only says that one is no class.
pub(super) fn classes(index: &Tensor, count: i64, error: Error) -> Error {
    let message = error.message();
    match extremes(index) {
        Some((_, high)) if message.contains("smaller than num_classes") => {
            Error::argument(format!("expected indices below {count}, the number of classes, found {high}"))
        }
        Some((low, _)) if message.contains("must be non-negative") => {
            Error::argument(format!("expected indices of at least 0, found {low}"))
        }
        _ => error,
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
    fn a_mask_without_dimensions_keeps_all_or_nothing() {
        let mask = |on: f64| Index::Tensor(Tensor::scalar(on, DType::Bool, Device::Cpu).unwrap());
        let number = Tensor::scalar(3.0, DType::Float32, Device::Cpu).unwrap();
        assert_eq!(number.index_by(&[mask(1.0)]).unwrap().to_f32().unwrap(), [3.0]);
        assert_eq!(number.index_by(&[mask(0.0)]).unwrap().shape(), [0]);
        assert_eq!(numbers().index_by(&[mask(1.0), Index::At(1)]).unwrap().shape(), [1, 4]);
        number.set_index(&[mask(1.0)], &Operand::from(5i64)).unwrap();
        assert_eq!(number.item().unwrap(), 5.0);
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
        let rows = Tensor::from_i64(&[0, 9], &[2]).unwrap();
        for error in [x.index_select(0, &rows), x.embedding(&rows)] {
            assert_eq!(error.unwrap_err().message(), "index 9 is out of range for dimension 0 of size 3");
        }
        let classes = rows.one_hot(3).unwrap_err();
        assert_eq!(classes.message(), "expected indices below 3, the number of classes, found 9");
    }
}

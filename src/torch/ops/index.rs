//! Indexing as in PyTorch: integers, ranges, arrays, masks and tensors, one per dimension.

use super::operand::Operand;
use super::{binary, ops};
use crate::declare::{FromValue, Value};
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Tensor, checked};

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

ops! {
    /// Returns the elements at int64 indices into the flattened tensor.
    take(index: &Tensor) = f_take(index.raw());
    /// Returns the elements along a dimension at indices, which broadcast.
    take_along_dim(index: &Tensor, dim: i64) = f_take_along_dim(index.raw(), dim);
    /// Returns the elements where the mask holds, as a vector.
    masked_select(mask: &Tensor) = f_masked_select(mask.raw());
    /// Replaces elements with another value where the mask holds.
    masked_fill_with(mask: &Tensor, value: &Tensor) = f_masked_fill_tensor(mask.raw(), value.raw());
    /// Returns the coordinates of nonzero elements, one row each, int64.
    nonzero() = f_nonzero();
    /// Returns a copy with the elements of `source` written at indices along a dimension.
    scatter(dim: i64, index: &Tensor, source: &Tensor) = f_scatter(dim, index.raw(), source.raw());
    /// Returns a copy with the elements of `source` added at indices along a dimension.
    scatter_add(dim: i64, index: &Tensor, source: &Tensor) = f_scatter_add(dim, index.raw(), source.raw());
    /// Returns a copy with the slices of `source` added at int64 indices along a dimension.
    index_add(dim: i64, index: &Tensor, source: &Tensor) = f_index_add(dim, index.raw(), source.raw());
    /// Returns a copy with the slices of `source` written at int64 indices along a dimension.
    index_copy(dim: i64, index: &Tensor, source: &Tensor) = f_index_copy(dim, index.raw(), source.raw());
}

impl Tensor {
    /// Returns the indexed entries, with one index per dimension; dimensions without an index are kept whole.
    pub fn pick(&self, indices: &[Index]) -> Result<Tensor> {
        let (view, tensors) = self.located(indices)?;
        if tensors.is_empty() {
            return Ok(view);
        }
        let raw: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
        view.index(&raw)
    }

    /// Writes a number, or a tensor that broadcasts, at the indexed entries, in place.
    pub fn place(&self, indices: &[Index], value: &Operand) -> Result<()> {
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
                    view = view.select(dim, *i)?;
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
        checked(self.raw().f_index(&raw)).map(Tensor::wrap)
    }

    /// Writes `values` at a tuple of index tensors, in place.
    pub fn index_put_(&self, indices: &[Option<&Tensor>], values: &Tensor, accumulate: bool) -> Result<()> {
        let raw: Vec<Option<&tch::Tensor>> = indices.iter().map(|i| i.map(Tensor::raw)).collect();
        checked(self.alias().f_index_put_(&raw, values.raw(), accumulate)).map(drop)
    }

    /// Returns a copy with one value, a number or a tensor without dimensions, where the mask holds.
    pub fn masked_fill(&self, mask: &Tensor, value: &Operand) -> Result<Tensor> {
        let value = value.tensor_for(self)?;
        binary("masked_fill", self, mask, self.raw().f_masked_fill_tensor(mask.raw(), value.raw()))
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
        let column = x.pick(&[Index::Slice(0, 2), Index::At(-1)]).unwrap();
        assert_eq!(column.to_i64().unwrap(), [3, 7]);
        column.write_(&Operand::Number(crate::declare::Number::Int(0))).unwrap();
        assert_eq!(x.pick(&[Index::At(0)]).unwrap().to_i64().unwrap(), [0, 1, 2, 0]);
    }

    #[test]
    fn lists_and_masks_gather() {
        let x = numbers();
        let rows = Index::Tensor(Tensor::from_i64(&[2, -3], &[2]).unwrap());
        assert_eq!(x.pick(&[rows, Index::At(1)]).unwrap().to_i64().unwrap(), [9, 1]);
        let mask = Index::Tensor(x.gt_scalar(9i64).unwrap());
        assert_eq!(x.pick(&[mask]).unwrap().to_i64().unwrap(), [10, 11]);
    }

    #[test]
    fn messages_name_the_index_and_the_size() {
        let x = numbers();
        let message = |i: &[Index]| x.pick(i).unwrap_err().message().to_string();
        assert_eq!(message(&[Index::At(3)]), "index 3 is out of bounds for dimension 0 of size 3");
        let list = Index::Tensor(Tensor::from_i64(&[0, 9], &[2]).unwrap());
        assert_eq!(message(&[Index::Whole, list]), "index 9 is out of bounds for dimension 1 of size 4");
        let mask = Index::Tensor(Tensor::zeros(&[4], DType::Bool, Device::Cpu).unwrap());
        assert_eq!(message(&[mask]), "a mask of shape [4] does not fit dimensions of shape [3]");
        assert!(message(&[Index::At(0), Index::At(0), Index::At(0)]).starts_with("3 indices are too many"));
    }
}

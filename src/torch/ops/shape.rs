//! Shapes, indexing, joining and splitting.

use super::ops;
use crate::declare::{IntoValue, Map};
use crate::error::{Error, Result};
use crate::torch::{Tensor, checked};

ops! {
    /// Another shape with the same elements; one size may be -1.
    reshape(shape: &[i64]) = f_reshape(shape);
    /// Dimensions in another order.
    permute(dims: &[i64]) = f_permute(dims);
    /// Two dimensions exchanged.
    transpose(a: i64, b: i64) = f_transpose(a, b);
    /// A dimension of size 1 inserted.
    unsqueeze(dim: i64) = f_unsqueeze(dim);
    /// A dimension of size 1 removed.
    squeeze_dim(dim: i64) = f_squeeze_dim(dim);
    /// All dimensions of size 1 removed.
    squeeze() = f_squeeze();
    /// Dimensions of size 1 repeated without a copy.
    expand(shape: &[i64]) = f_expand(shape, false);
    /// Dimensions `start` to `end` joined into one.
    flatten(start: i64, end: i64) = f_flatten(start, end);
    /// Dense row-major storage.
    contiguous() = f_contiguous();
    /// `length` entries from `start` along a dimension.
    narrow(dim: i64, start: i64, length: i64) = f_narrow(dim, start, length);
    /// One entry of a dimension, which goes away.
    select(dim: i64, index: i64) = f_select(dim, index);
    /// Every `step`th entry from `start` to before `end`.
    slice(dim: i64, start: Option<i64>, end: Option<i64>, step: i64) = f_slice(dim, start, end, step);
    /// The entries at int64 indices along a dimension.
    index_select(dim: i64, index: &Tensor) = f_index_select(dim, index.raw());
    /// One element per index along a dimension.
    gather(dim: i64, index: &Tensor) = f_gather(dim, index.raw(), false);
    /// Order reversed along dimensions.
    flip(dims: &[i64]) = f_flip(dims);
    /// Elements shifted around along dimensions.
    roll(shifts: &[i64], dims: &[i64]) = f_roll(shifts, dims);
    /// The whole repeated.
    repeat(times: &[i64]) = f_repeat(times);
    /// Each entry repeated along a dimension.
    repeat_interleave(times: i64, dim: Option<i64>) = f_repeat_interleave_self_int(times, dim, None::<i64>);
    /// Edges padded: last dimension first, left then right; `constant`, `reflect`, `replicate` or `circular`.
    pad(sizes: &[i64], mode: &str, value: Option<f64>) = f_pad(sizes, mode, value);
    /// Lower triangle.
    tril(diagonal: i64) = f_tril(diagonal);
    /// Upper triangle.
    triu(diagonal: i64) = f_triu(diagonal);
    /// The diagonal of a matrix, or a matrix with this diagonal.
    diag(diagonal: i64) = f_diag(diagonal);
}

impl Tensor {
    /// A copy that shares nothing; gradients flow through.
    pub fn copy(&self) -> Result<Tensor> {
        crate::torch::call::call_one("clone", &[self.clone().into_value()], &Map::new())
    }

    /// Tensors joined along an existing dimension.
    pub fn cat(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
        if tensors.is_empty() {
            return Err(Error::argument("expected at least one tensor to join, found none"));
        }
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_cat(&raw, dim)).map(Tensor::wrap)
    }

    /// Tensors of one shape joined along a new dimension.
    pub fn stack(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
        if tensors.is_empty() {
            return Err(Error::argument("expected at least one tensor to join, found none"));
        }
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_stack(&raw, dim)).map(Tensor::wrap)
    }

    /// Equal parts along a dimension.
    pub fn chunk(&self, count: i64, dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_chunk(count, dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Parts of `size` entries along a dimension, the last one smaller where it does not divide.
    pub fn split(&self, size: i64, dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_split(size, dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// The elements at a tuple of index tensors (int64 or bool), `None` keeping a dimension whole.
    pub fn index(&self, indices: &[Option<&Tensor>]) -> Result<Tensor> {
        let raw: Vec<Option<&tch::Tensor>> = indices.iter().map(|i| i.map(Tensor::raw)).collect();
        checked(self.raw().f_index(&raw)).map(Tensor::wrap)
    }

    /// Writes `values` at a tuple of index tensors, in place.
    pub fn index_put_(&self, indices: &[Option<&Tensor>], values: &Tensor, accumulate: bool) -> Result<()> {
        let raw: Vec<Option<&tch::Tensor>> = indices.iter().map(|i| i.map(Tensor::raw)).collect();
        checked(self.alias().f_index_put_(&raw, values.raw(), accumulate)).map(drop)
    }
}

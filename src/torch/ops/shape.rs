//! Shapes, indexing, joining and splitting.

use super::ops;
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::{Error, Result};
use crate::torch::call::call_one;
use crate::torch::{Tensor, checked};

ops! {
    /// Another shape with the same elements; one size may be -1.
    reshape(shape: &[i64]) = f_reshape(shape);
    /// Another shape over the same storage, without a copy.
    view(shape: &[i64]) = f_view(shape);
    /// One dimension split into several.
    unflatten(dim: i64, sizes: &[i64]) = f_unflatten(dim, sizes);
    /// Dimensions moved to other places, the rest keeping their order.
    movedim(from: &[i64], to: &[i64]) = f_movedim(from, to);
    /// Several dimensions of size 1 removed.
    squeeze_dims(dims: &[i64]) = f_squeeze_dims(dims);
    /// Sliding windows of `size` every `step` along a dimension, as a new last dimension.
    unfold(dim: i64, size: i64, step: i64) = f_unfold(dim, size, step);
    /// Rotated by 90 degrees `times` times in a plane of two dimensions.
    rot90(times: i64, dims: &[i64]) = f_rot90(times, dims);
    /// The whole repeated, as NumPy's tile.
    tile(times: &[i64]) = f_tile(times);
    /// A diagonal of a plane of two dimensions, as a new last dimension.
    diagonal(offset: i64, a: i64, b: i64) = f_diagonal(offset, a, b);
    /// Matrices with these diagonals in two new last dimensions.
    diag_embed(offset: i64) = f_diag_embed(offset, -2, -1);
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
    /// Pads edges with a number, `[left, right]` of the last dimension first; integers stay exact.
    pub fn pad_constant(&self, sizes: &[i64], value: impl Into<Number>) -> Result<Tensor> {
        let sizes = Value::List(sizes.iter().map(|size| Value::Int(*size)).collect());
        call_one(
            "constant_pad_nd",
            &[self.clone().into_value(), sizes, value.into().into_value()],
            &Map::new(),
        )
    }

    /// A copy that shares nothing; gradients flow through.
    pub fn copy(&self) -> Result<Tensor> {
        call_one("clone", &[self.clone().into_value()], &Map::new())
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

    /// Parts of the given sizes along a dimension.
    pub fn split_sizes(&self, sizes: &[i64], dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_split_with_sizes(sizes, dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// The slices along a dimension, which goes away.
    pub fn unbind(&self, dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_unbind(dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Grids of coordinates from vectors; `ij` puts the first vector along dimension 0.
    pub fn meshgrid(tensors: &[Tensor], indexing: &str) -> Result<Vec<Tensor>> {
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_meshgrid_indexing(&raw, indexing))
            .map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Step in storage, in elements, from one entry of each dimension to the next.
    pub fn strides(&self) -> Vec<i64> {
        self.raw().stride()
    }

    /// Matrix transposed: the last two dimensions exchanged.
    pub fn transposed(&self) -> Result<Tensor> {
        match self.rank() {
            0 | 1 => Ok(self.clone()),
            _ => self.transpose(-2, -1),
        }
    }
}

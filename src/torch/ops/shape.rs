//! Shapes, slicing, joining and splitting.

use super::ops;
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::{Error, Result};
use crate::torch::call::call_one;
use crate::torch::{Tensor, checked};

ops! {
    /// Returns the same elements in another shape; one size may be -1.
    reshape(shape: &[i64]) = f_reshape(shape);
    /// Returns another shape over the same storage, without a copy.
    view(shape: &[i64]) = f_view(shape);
    /// Splits one dimension into several.
    unflatten(dim: i64, sizes: &[i64]) = f_unflatten(dim, sizes);
    /// Moves dimensions to other positions; the rest keep their order.
    movedim(from: &[i64], to: &[i64]) = f_movedim(from, to);
    /// Removes several dimensions of size 1.
    squeeze_dims(dims: &[i64]) = f_squeeze_dims(dims);
    /// Returns sliding windows of `size` every `step` along a dimension, as a new last dimension.
    unfold(dim: i64, size: i64, step: i64) = f_unfold(dim, size, step);
    /// Rotates by 90 degrees `times` times in the plane of two dimensions.
    rot90(times: i64, dims: &[i64]) = f_rot90(times, dims);
    /// Repeats the whole tensor, as NumPy's `tile`.
    tile(times: &[i64]) = f_tile(times);
    /// Returns a diagonal of the plane of two dimensions, as a new last dimension.
    diagonal(offset: i64, a: i64, b: i64) = f_diagonal(offset, a, b);
    /// Returns matrices with these diagonals, in two new last dimensions.
    diag_embed(offset: i64) = f_diag_embed(offset, -2, -1);
    /// Reorders the dimensions.
    permute(dims: &[i64]) = f_permute(dims);
    /// Swaps two dimensions.
    transpose(a: i64, b: i64) = f_transpose(a, b);
    /// Inserts a dimension of size 1.
    unsqueeze(dim: i64) = f_unsqueeze(dim);
    /// Removes a dimension of size 1.
    squeeze_dim(dim: i64) = f_squeeze_dim(dim);
    /// Removes all dimensions of size 1.
    squeeze() = f_squeeze();
    /// Expands dimensions of size 1 without a copy.
    expand(shape: &[i64]) = f_expand(shape, false);
    /// Flattens dimensions `start` to `end` into one.
    flatten(start: i64, end: i64) = f_flatten(start, end);
    /// Returns the elements in contiguous row-major storage.
    contiguous() = f_contiguous();
    /// Returns `length` entries from `start` along a dimension.
    narrow(dim: i64, start: i64, length: i64) = f_narrow(dim, start, length);
    /// Returns one entry of a dimension and removes the dimension.
    select(dim: i64, index: i64) = f_select(dim, index);
    /// Returns every `step`th entry from `start` up to, not including, `end`.
    slice(dim: i64, start: Option<i64>, end: Option<i64>, step: i64) = f_slice(dim, start, end, step);
    /// Returns the entries at int64 indices along a dimension.
    index_select(dim: i64, index: &Tensor) = f_index_select(dim, index.raw());
    /// Gathers one element per index along a dimension.
    gather(dim: i64, index: &Tensor) = f_gather(dim, index.raw(), false);
    /// Reverses the order along dimensions.
    flip(dims: &[i64]) = f_flip(dims);
    /// Rolls elements along dimensions.
    roll(shifts: &[i64], dims: &[i64]) = f_roll(shifts, dims);
    /// Repeats the whole tensor.
    repeat(times: &[i64]) = f_repeat(times);
    /// Repeats each entry along a dimension.
    repeat_interleave(times: i64, dim: Option<i64>) = f_repeat_interleave_self_int(times, dim, None::<i64>);
    /// Pads edges, last dimension first, left then right; `mode` is `constant`, `reflect`, `replicate` or
    /// `circular`.
    pad(sizes: &[i64], mode: &str, value: Option<f64>) = f_pad(sizes, mode, value);
    /// Returns the lower triangle.
    tril(diagonal: i64) = f_tril(diagonal);
    /// Returns the upper triangle.
    triu(diagonal: i64) = f_triu(diagonal);
    /// Returns the diagonal of a matrix, or a matrix with this diagonal.
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

    /// Returns a copy with its own memory, through which gradients flow.
    pub fn copy(&self) -> Result<Tensor> {
        call_one("clone", &[self.clone().into_value()], &Map::new())
    }

    /// Joins tensors along an existing dimension.
    pub fn cat(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
        if tensors.is_empty() {
            return Err(Error::argument("expected at least one tensor to join, found none"));
        }
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_cat(&raw, dim)).map(Tensor::wrap)
    }

    /// Joins tensors of one shape along a new dimension.
    pub fn stack(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
        if tensors.is_empty() {
            return Err(Error::argument("expected at least one tensor to join, found none"));
        }
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_stack(&raw, dim)).map(Tensor::wrap)
    }

    /// Splits into equal parts along a dimension.
    pub fn chunk(&self, count: i64, dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_chunk(count, dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Splits into parts of `size` entries along a dimension; the last may be smaller.
    pub fn split(&self, size: i64, dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_split(size, dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Splits into parts of the given sizes along a dimension.
    pub fn split_sizes(&self, sizes: &[i64], dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_split_with_sizes(sizes, dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Returns the slices along a dimension, which is removed.
    pub fn unbind(&self, dim: i64) -> Result<Vec<Tensor>> {
        checked(self.raw().f_unbind(dim)).map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Returns coordinate grids from vectors; `ij` puts the first vector along dimension 0.
    pub fn meshgrid(tensors: &[Tensor], indexing: &str) -> Result<Vec<Tensor>> {
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_meshgrid_indexing(&raw, indexing))
            .map(|v| v.into_iter().map(Tensor::wrap).collect())
    }

    /// Returns the step in storage, in elements, between neighbouring entries of each dimension.
    pub fn strides(&self) -> Vec<i64> {
        self.raw().stride()
    }

    /// Returns the matrix transpose: swaps the last two dimensions.
    pub fn transposed(&self) -> Result<Tensor> {
        match self.rank() {
            0 | 1 => Ok(self.clone()),
            _ => self.transpose(-2, -1),
        }
    }
}

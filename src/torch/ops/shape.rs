//! Shapes: views, permutation, repetition, padding and triangles.

use super::declare::{Argument, arguments, operators};
use super::single;
use crate::declare::{Choice, IntoValue, Map, Number, OneOrMany, Options, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;
use crate::torch::api::{Dims, Shape};
use crate::torch::call::call_one;

crate::api! { functions: [methods] }

/// Values around the original ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum PadMode {
    /// One value.
    #[default]
    Constant,
    /// A mirror image, without the outermost value.
    Reflect,
    /// The outermost value.
    Replicate,
    /// Those from the other end.
    Circular,
}

arguments! {
    PadMode: &'a str, |word| word.name();
}

/// Options of `pad`.
#[derive(Debug, Clone, Options)]
pub struct PadOptions {
    /// Source of the padding: a constant, the mirror image, the nearest element, or the opposite end.
    pub mode: PadMode,
    /// Padding value of mode "constant".
    #[option(default = Number::Int(0))]
    pub value: Number,
}

operators! {
    /// Returns the elements in another shape; one size may be -1 and is inferred from the others.
    ///
    /// The result is a view where possible, otherwise a copy.
    /// ```rhai
    /// let x = tensor([1, 2, 3, 4, 5, 6]);
    /// assert_eq(x.reshape([2, 3]), tensor([[1, 2, 3], [4, 5, 6]]));
    /// assert_eq(x.reshape([3, -1]).shape, [3, 2]);
    /// ```
    fn reshape(x, shape: OneOrMany<i64>) = f_reshape(shape);

    /// Returns a view in another shape. Fails where a copy would be needed.
    /// ```rhai
    /// let x = tensor([1, 2, 3, 4]);
    /// let y = x.view([2, 2]);
    /// y[0] = 0;
    /// assert_eq(x, tensor([0, 0, 3, 4]));
    /// ```
    fn view(x, shape: OneOrMany<i64>) = f_view(shape);

    /// Flattens the dimensions from `start` to `end` into one; all by default.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).flatten(), tensor([1, 2, 3, 4]));
    /// assert_eq(tensor::zeros([2, 3, 4]).flatten(1).shape, [2, 12]);
    /// ```
    fn flatten(x, start: i64 = 0, end: i64 = -1) = f_flatten(start, end);

    /// Splits one dimension into several.
    /// ```rhai
    /// assert_eq(tensor::zeros([2, 12]).unflatten(1, [3, 4]).shape, [2, 3, 4]);
    /// ```
    fn unflatten(x, dim: i64, sizes: Vec<i64>) = f_unflatten(dim, sizes);

    /// Inserts a dimension of size 1 at position `dim`.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).unsqueeze(0).shape, [1, 2]);
    /// assert_eq(tensor([1, 2]).unsqueeze(-1), tensor([[1], [2]]));
    /// ```
    fn unsqueeze(x, dim: i64) = f_unsqueeze(dim);

    /// Expands dimensions of size 1 without a copy; -1 keeps a size.
    /// ```rhai
    /// assert_eq(tensor([[1], [2]]).expand([-1, 3]), tensor([[1, 1, 1], [2, 2, 2]]));
    /// ```
    fn expand(x, shape: OneOrMany<i64>) = f_expand(shape, false);

    /// Returns a tensor that is contiguous (dense and row-major) in memory; a contiguous tensor is returned as
    /// it is.
    /// ```rhai
    /// assert(tensor::zeros([2, 3]).T.contiguous().is_contiguous());
    /// ```
    fn contiguous(x) = f_contiguous();

    /// Returns sliding windows of `size` every `step` along a dimension, as a new last dimension.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3, 4]).unfold(0, 2, 1), tensor([[1, 2], [2, 3], [3, 4]]));
    /// ```
    fn unfold(x, dim: i64, size: i64, step: i64) = f_unfold(dim, size, step);

    /// Permutes the dimensions.
    /// ```rhai
    /// assert_eq(tensor::zeros([2, 3, 4]).permute([2, 0, 1]).shape, [4, 2, 3]);
    /// ```
    fn permute(x, dims: Vec<i64>) = f_permute(dims);

    /// Swaps two dimensions.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).transpose(0, 1), tensor([[1, 3], [2, 4]]));
    /// ```
    fn transpose(x, a: i64, b: i64) = f_transpose(a, b);

    /// Moves dimensions to other positions; the rest keep their order.
    /// ```rhai
    /// assert_eq(tensor::zeros([2, 3, 4]).movedim(0, -1).shape, [3, 4, 2]);
    /// ```
    fn movedim(x, from: OneOrMany<i64>, to: OneOrMany<i64>) = f_movedim(from, to);

    /// Reverses the order of entries along dimensions.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).flip(1), tensor([[2, 1], [4, 3]]));
    /// ```
    fn flip(x, dims: OneOrMany<i64>) = f_flip(dims);

    /// Rolls elements along dimensions; elements shifted out at one end reappear at the other.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).roll(1, 0), tensor([3, 1, 2]));
    /// assert_eq(tensor([1, 2, 3]).roll(-1), tensor([2, 3, 1]));
    /// ```
    fn roll(x, shifts: OneOrMany<i64>, dims: Dims) = f_roll(shifts, dims);

    /// Repeats the tensor along each dimension, with a copy.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).repeat([2, 2]), tensor([[1, 2, 1, 2], [1, 2, 1, 2]]));
    /// ```
    fn repeat(x, times: OneOrMany<i64>) = f_repeat(times);

    /// Repeats the tensor along the last dimensions, like NumPy's `tile`.
    /// ```rhai
    /// assert_eq(tensor([[1], [2]]).tile(2), tensor([[1, 1], [2, 2]]));
    /// ```
    fn tile(x, times: OneOrMany<i64>) = f_tile(times);

    /// Repeats each entry of a dimension, or each element of the flattened tensor.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).repeat_interleave(2), tensor([1, 1, 2, 2]));
    /// assert_eq(tensor([[1], [2]]).repeat_interleave(2, 1), tensor([[1, 1], [2, 2]]));
    /// ```
    fn repeat_interleave(x, times: i64, dim: Option<i64>)
        = f_repeat_interleave_self_int(times, dim, None::<i64>);

    /// Returns the lower triangle, up to and including `diagonal`, with zeros elsewhere.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).tril(), tensor([[1, 0], [3, 4]]));
    /// ```
    fn tril(x, diagonal: i64 = 0) = f_tril(diagonal);

    /// Returns the upper triangle, from `diagonal` on, with zeros elsewhere.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).triu(1), tensor([[0, 2], [0, 0]]));
    /// ```
    fn triu(x, diagonal: i64 = 0) = f_triu(diagonal);

    /// Returns the diagonal of a matrix, or a matrix with a vector on its diagonal.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).diag(), tensor([1, 4]));
    /// assert_eq(tensor([5, 6]).diag(), tensor([[5, 0], [0, 6]]));
    /// ```
    fn diag(x, diagonal: i64 = 0) = f_diag(diagonal);

    /// Returns a view of the diagonal of dimensions `a` and `b`, as a new last dimension.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).diagonal(1), tensor([2]));
    /// assert_eq(tensor::zeros([5, 2, 3]).diagonal(0, 1, 2).shape, [5, 2]);
    /// ```
    fn diagonal(x, offset: i64 = 0, a: i64 = 0, b: i64 = 1) = f_diagonal(offset, a, b);

    /// Creates matrices with the last dimension on their diagonals.
    /// ```rhai
    /// assert_eq(tensor([[1, 2]]).diag_embed(), tensor([[[1, 0], [0, 2]]]));
    /// ```
    fn diag_embed(x, offset: i64 = 0) = f_diag_embed(offset, -2, -1);

    /// Returns the elements in the shape of `other`.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).reshape_as(tensor([[7], [8]])), tensor([[1], [2]]));
    /// ```
    fn reshape_as(x, other: Tensor) -> Tensor { x.reshape(&other.shape()) }

    /// Flattens all dimensions into one; NumPy's name for `flatten`.
    /// ```rhai
    /// assert_eq(tensor([[1], [2]]).ravel(), tensor([1, 2]));
    /// ```
    fn ravel(x) -> Tensor { x.flatten(0, -1) }

    /// Removes dimensions of size 1: all of them, or those in `dim`.
    /// ```rhai
    /// assert_eq(tensor::zeros([1, 2, 1]).squeeze().shape, [2]);
    /// assert_eq(tensor::zeros([1, 2, 1]).squeeze(0).shape, [2, 1]);
    /// ```
    fn squeeze(x, dim: Dims) -> Tensor {
        match dim {
            [] => single(x.raw().f_squeeze()),
            dims => single(x.raw().f_squeeze_dims(dims)),
        }
    }

    /// Expands dimensions of size 1 to the shape of `other`, without a copy.
    /// ```rhai
    /// assert_eq(tensor([5]).expand_as(tensor([1, 2, 3])), tensor([5, 5, 5]));
    /// ```
    fn expand_as(x, other: Tensor) -> Tensor { x.expand(&other.shape()) }

    /// Expands dimensions of size 1 to a shape; NumPy's name for `expand`.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).broadcast_to([2, 2]), tensor([[1, 2], [1, 2]]));
    /// ```
    fn broadcast_to(x, shape: Shape) -> Tensor { x.expand(shape) }

    /// Swaps two dimensions; NumPy's name for `transpose`.
    /// ```rhai
    /// assert_eq(tensor::zeros([2, 3, 4]).swapaxes(0, -1).shape, [4, 3, 2]);
    /// ```
    fn swapaxes(x, a: i64, b: i64) -> Tensor { x.transpose(a, b) }

    /// Transposes a matrix.
    /// ```rhai
    /// assert_eq(tensor([[1, 2, 3]]).t(), tensor([[1], [2], [3]]));
    /// ```
    fn t(x) -> Tensor {
        match x.rank() {
            0..=2 => x.transposed(),
            rank => Err(Error::argument(format!("expected a matrix, found {rank} dimensions"))
                .hint("`.mT` transposes matrices in a batch; `permute` orders all dimensions")),
        }
    }

    /// Rotates by 90 degrees in the plane of two dimensions, the first two by default.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).rot90(), tensor([[2, 4], [1, 3]]));
    /// ```
    fn rot90(x, times: i64 = 1, dims: Option<(i64, i64)>) -> Tensor {
        let (a, b) = dims.unwrap_or((0, 1));
        single(x.raw().f_rot90(times, &[a, b][..]))
    }

    /// Pads edges: `[left, right]` of the last dimension, then two sizes for the one before, and so on.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).pad([1, 2]), tensor([0, 1, 2, 0, 0]));
    /// assert_eq(tensor([[1, 2]]).pad([0, 0, 1, 0]), tensor([[0, 0], [1, 2]]));
    /// assert_eq(tensor([1]).pad([0, 1], #{ value: 9007199254740993 }), tensor([1, 9007199254740993]));
    /// assert_eq(tensor([[1.0, 2.0]]).pad([1, 1], #{ mode: "replicate" }), tensor([[1.0, 1.0, 2.0, 2.0]]));
    /// ```
    fn pad(x, sizes: Vec<i64>; options: PadOptions { mode: PadMode, value: Number }) -> Tensor {
        match mode {
            // Through the dispatcher, which keeps integers exact.
            "constant" => {
                let sizes = Value::List(sizes.iter().map(|size| Value::Int(*size)).collect());
                call_one("constant_pad_nd", &[x.clone().into_value(), sizes, value.into_value()], &Map::new())
            }
            mode => {
                crate::ensure!(value.as_f64() == 0.0, "option `value` has no meaning for mode \"{mode}\"");
                single(x.raw().f_pad(sizes, mode, None::<f64>))
            }
        }
    }
}

impl Tensor {
    /// Returns a copy with its own memory, through which gradients flow.
    pub fn copy(&self) -> Result<Tensor> {
        call_one("clone", &[self.clone().into_value()], &Map::new())
    }

    /// Returns the step in storage, in elements, between neighboring entries of each dimension.
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

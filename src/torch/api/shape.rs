//! Shapes: views, permutation, repetition, padding and triangles.

use super::{Dims, Shape, join};
use crate::declare::{Declaration, Number, OneOrMany};
use crate::error::Error;
use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// Options of `pad`.
    pub struct Pad {
        /// Source of the padding: a constant, the mirror image, the nearest element, or the opposite end.
        mode: String = "constant".to_string() => one_of(&["constant", "reflect", "replicate", "circular"]);
        /// Padding value of mode "constant".
        value: Number = Number::Int(0);
    }
}

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[views::declarations(), orders::declarations(), copies::declarations()])
}

mod views {
    use super::*;
    functions! { methods;
        /// Returns the elements in another shape; one size may be -1 and is inferred from the others.
        ///
        /// The result is a view where possible, otherwise a copy.
        ///
        /// ```rhai
        /// let x = tensor([1, 2, 3, 4, 5, 6]);
        /// assert_eq(x.reshape([2, 3]), tensor([[1, 2, 3], [4, 5, 6]]));
        /// assert_eq(x.reshape([3, -1]).shape, [3, 2]);
        /// ```
        fn reshape(x: Tensor, shape: OneOrMany<i64>) -> Tensor { x.reshape(&shape.0) }

        /// Returns a view in another shape. Fails where a copy would be needed.
        ///
        /// ```rhai
        /// let x = tensor([1, 2, 3, 4]);
        /// let y = x.view([2, 2]);
        /// y[0] = 0;
        /// assert_eq(x, tensor([0, 0, 3, 4]));
        /// ```
        fn view(x: Tensor, shape: OneOrMany<i64>) -> Tensor { x.view(&shape.0) }

        /// Returns the elements in the shape of `other`.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).reshape_as(tensor([[7], [8]])), tensor([[1], [2]]));
        /// ```
        fn reshape_as(x: Tensor, other: Tensor) -> Tensor { x.reshape(&other.shape()) }

        /// Flattens the dimensions from `start` to `end` into one; all by default.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).flatten(), tensor([1, 2, 3, 4]));
        /// assert_eq(tensor::zeros([2, 3, 4]).flatten(1).shape, [2, 12]);
        /// ```
        fn flatten(x: Tensor, start: Option<i64>, end: Option<i64>) -> Tensor {
            x.flatten(start.unwrap_or(0), end.unwrap_or(-1))
        }

        /// Splits one dimension into several.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 12]).unflatten(1, [3, 4]).shape, [2, 3, 4]);
        /// ```
        fn unflatten(x: Tensor, dim: i64, sizes: Vec<i64>) -> Tensor { x.unflatten(dim, &sizes) }

        /// Flattens all dimensions into one; NumPy's name for `flatten`.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1], [2]]).ravel(), tensor([1, 2]));
        /// ```
        fn ravel(x: Tensor) -> Tensor { x.flatten(0, -1) }

        /// Removes dimensions of size 1: all of them, or those in `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([1, 2, 1]).squeeze().shape, [2]);
        /// assert_eq(tensor::zeros([1, 2, 1]).squeeze(0).shape, [2, 1]);
        /// ```
        fn squeeze(x: Tensor, dim: Dims) -> Tensor {
            match dim.0.is_empty() {
                true => x.squeeze(),
                false => x.squeeze_dims(&dim.0),
            }
        }

        /// Inserts a dimension of size 1 at position `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).unsqueeze(0).shape, [1, 2]);
        /// assert_eq(tensor([1, 2]).unsqueeze(-1), tensor([[1], [2]]));
        /// ```
        fn unsqueeze(x: Tensor, dim: i64) -> Tensor { x.unsqueeze(dim) }

        /// Expands dimensions of size 1 without a copy; -1 keeps a size.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1], [2]]).expand([-1, 3]), tensor([[1, 1, 1], [2, 2, 2]]));
        /// ```
        fn expand(x: Tensor, shape: OneOrMany<i64>) -> Tensor { x.expand(&shape.0) }

        /// Expands dimensions of size 1 to the shape of `other`, without a copy.
        ///
        /// ```rhai
        /// assert_eq(tensor([5]).expand_as(tensor([1, 2, 3])), tensor([5, 5, 5]));
        /// ```
        fn expand_as(x: Tensor, other: Tensor) -> Tensor { x.expand(&other.shape()) }

        /// Expands dimensions of size 1 to a shape; NumPy's name for `expand`.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).broadcast_to([2, 2]), tensor([[1, 2], [1, 2]]));
        /// ```
        fn broadcast_to(x: Tensor, shape: Shape) -> Tensor { x.expand(&shape.0) }

        /// Returns a tensor that is contiguous (dense and row-major) in memory; a contiguous tensor is returned as
        /// it is.
        ///
        /// ```rhai
        /// assert(tensor::zeros([2, 3]).T.contiguous().is_contiguous());
        /// ```
        fn contiguous(x: Tensor) -> Tensor { x.contiguous() }

        /// Returns sliding windows of `size` every `step` along a dimension, as a new last dimension.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3, 4]).unfold(0, 2, 1), tensor([[1, 2], [2, 3], [3, 4]]));
        /// ```
        fn unfold(x: Tensor, dim: i64, size: i64, step: i64) -> Tensor { x.unfold(dim, size, step) }
    }
}

mod orders {
    use super::*;
    functions! { methods;
        /// Permutes the dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3, 4]).permute([2, 0, 1]).shape, [4, 2, 3]);
        /// ```
        fn permute(x: Tensor, dims: Vec<i64>) -> Tensor { x.permute(&dims) }

        /// Swaps two dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).transpose(0, 1), tensor([[1, 3], [2, 4]]));
        /// ```
        fn transpose(x: Tensor, a: i64, b: i64) -> Tensor { x.transpose(a, b) }

        /// Swaps two dimensions; NumPy's name for `transpose`.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3, 4]).swapaxes(0, -1).shape, [4, 3, 2]);
        /// ```
        fn swapaxes(x: Tensor, a: i64, b: i64) -> Tensor { x.transpose(a, b) }

        /// Transposes a matrix.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2, 3]]).t(), tensor([[1], [2], [3]]));
        /// ```
        fn t(x: Tensor) -> Tensor {
            match x.rank() {
                0..=2 => x.transposed(),
                rank => Err(Error::argument(format!("expected a matrix, found {rank} dimensions"))
                    .hint("`.mT` transposes matrices in a batch; `permute` orders all dimensions")),
            }
        }

        /// Moves dimensions to other positions; the rest keep their order.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3, 4]).movedim(0, -1).shape, [3, 4, 2]);
        /// ```
        fn movedim(x: Tensor, from: OneOrMany<i64>, to: OneOrMany<i64>) -> Tensor {
            x.movedim(&from.0, &to.0)
        }

        /// Reverses the order of entries along dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).flip(1), tensor([[2, 1], [4, 3]]));
        /// ```
        fn flip(x: Tensor, dims: OneOrMany<i64>) -> Tensor { x.flip(&dims.0) }

        /// Rolls elements along dimensions; elements shifted out at one end reappear at the other.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).roll(1, 0), tensor([3, 1, 2]));
        /// assert_eq(tensor([1, 2, 3]).roll(-1), tensor([2, 3, 1]));
        /// ```
        fn roll(x: Tensor, shifts: OneOrMany<i64>, dims: Dims) -> Tensor { x.roll(&shifts.0, &dims.0) }

        /// Rotates by 90 degrees in the plane of two dimensions, the first two by default.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).rot90(), tensor([[2, 4], [1, 3]]));
        /// ```
        fn rot90(x: Tensor, times: Option<i64>, dims: Option<(i64, i64)>) -> Tensor {
            let (a, b) = dims.unwrap_or((0, 1));
            x.rot90(times.unwrap_or(1), &[a, b])
        }
    }
}

mod copies {
    use super::*;
    functions! { methods;
        /// Repeats the tensor along each dimension, with a copy.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).repeat([2, 2]), tensor([[1, 2, 1, 2], [1, 2, 1, 2]]));
        /// ```
        fn repeat(x: Tensor, times: OneOrMany<i64>) -> Tensor { x.repeat(&times.0) }

        /// Repeats the tensor along the last dimensions, like NumPy's `tile`.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1], [2]]).tile(2), tensor([[1, 1], [2, 2]]));
        /// ```
        fn tile(x: Tensor, times: OneOrMany<i64>) -> Tensor { x.tile(&times.0) }

        /// Repeats each entry of a dimension, or each element of the flattened tensor.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).repeat_interleave(2), tensor([1, 1, 2, 2]));
        /// assert_eq(tensor([[1], [2]]).repeat_interleave(2, 1), tensor([[1, 1], [2, 2]]));
        /// ```
        fn repeat_interleave(x: Tensor, times: i64, dim: Option<i64>) -> Tensor {
            x.repeat_interleave(times, dim)
        }

        /// Pads edges: `[left, right]` of the last dimension, then two sizes for the one before, and so on.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).pad([1, 2]), tensor([0, 1, 2, 0, 0]));
        /// assert_eq(tensor([[1, 2]]).pad([0, 0, 1, 0]), tensor([[0, 0], [1, 2]]));
        /// assert_eq(tensor([1]).pad([0, 1], #{ value: 9007199254740993 }), tensor([1, 9007199254740993]));
        /// assert_eq(tensor([[1.0, 2.0]]).pad([1, 1], #{ mode: "replicate" }), tensor([[1.0, 1.0, 2.0, 2.0]]));
        /// ```
        fn pad(x: Tensor, sizes: Vec<i64>, options: Pad) -> Tensor {
            match options.mode.as_str() {
                "constant" => x.pad_constant(&sizes, options.value),
                mode => x.pad(&sizes, mode, None::<f64>),
            }
        }

        /// Returns the lower triangle, up to and including `diagonal`, with zeros elsewhere.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).tril(), tensor([[1, 0], [3, 4]]));
        /// ```
        fn tril(x: Tensor, diagonal: Option<i64>) -> Tensor { x.tril(diagonal.unwrap_or(0)) }

        /// Returns the upper triangle, from `diagonal` on, with zeros elsewhere.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).triu(1), tensor([[0, 2], [0, 0]]));
        /// ```
        fn triu(x: Tensor, diagonal: Option<i64>) -> Tensor { x.triu(diagonal.unwrap_or(0)) }

        /// Returns the diagonal of a matrix, or a matrix with a vector on its diagonal.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).diag(), tensor([1, 4]));
        /// assert_eq(tensor([5, 6]).diag(), tensor([[5, 0], [0, 6]]));
        /// ```
        fn diag(x: Tensor, diagonal: Option<i64>) -> Tensor { x.diag(diagonal.unwrap_or(0)) }

        /// Returns a view of the diagonal of dimensions `a` and `b`, as a new last dimension.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).diagonal(1), tensor([2]));
        /// assert_eq(tensor::zeros([5, 2, 3]).diagonal(0, 1, 2).shape, [5, 2]);
        /// ```
        fn diagonal(x: Tensor, offset: Option<i64>, a: Option<i64>, b: Option<i64>) -> Tensor {
            x.diagonal(offset.unwrap_or(0), a.unwrap_or(0), b.unwrap_or(1))
        }

        /// Creates matrices with the last dimension on their diagonals.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2]]).diag_embed(), tensor([[[1, 0], [0, 2]]]));
        /// ```
        fn diag_embed(x: Tensor, offset: Option<i64>) -> Tensor { x.diag_embed(offset.unwrap_or(0)) }
    }
}

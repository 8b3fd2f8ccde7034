//! Linear algebra. Integers must be converted to floats before decompositions.

use super::{join, record};
use crate::declare::{Declaration, Map, Value};
use crate::error::Result;
use crate::functions;
use crate::torch::Tensor;

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[products::declarations(), sums::declarations(), decompositions::declarations()])
}

mod products {
    use super::*;
    functions! { methods;
        /// Returns the matrix product, batched over leading dimensions, like `@`.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2]]).matmul(tensor([[3], [4]])), tensor([[11]]));
        /// ```
        fn matmul(x: Tensor, y: Tensor) -> Tensor { x.matmul(&y) }

        /// Returns the product of two matrices, without batches.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).mm(tensor([[1, 0], [0, 2]])), tensor([[1, 4], [3, 8]]));
        /// ```
        fn mm(x: Tensor, y: Tensor) -> Tensor { x.mm(&y) }

        /// Returns the products of the matrices in two batches [B, N, M] and [B, M, P].
        ///
        /// ```rhai
        /// assert_eq(tensor::ones([2, 1, 3]).bmm(tensor::ones([2, 3, 1])), tensor([[[3.0]], [[3.0]]]));
        /// ```
        fn bmm(x: Tensor, y: Tensor) -> Tensor { x.bmm(&y) }

        /// Returns the product of a matrix and a vector.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).mv(tensor([1, 1])), tensor([3, 7]));
        /// ```
        fn mv(x: Tensor, vector: Tensor) -> Tensor { x.mv(&vector) }

        /// Returns the inner product of two vectors.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).dot(tensor([4, 5, 6])).item(), 32);
        /// ```
        fn dot(x: Tensor, y: Tensor) -> Tensor { x.dot(&y) }

        /// Returns the outer product of two vectors.
        ///
        /// ```rhai
        /// assert_eq(tensor([1, 2]).outer(tensor([3, 4])), tensor([[3, 4], [6, 8]]));
        /// ```
        fn outer(x: Tensor, y: Tensor) -> Tensor { x.outer(&y) }

        /// Returns the Kronecker product.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2]]).kron(tensor([[1], [3]])), tensor([[1, 2], [3, 6]]));
        /// ```
        fn kron(x: Tensor, y: Tensor) -> Tensor { x.kron(&y) }

        /// Returns the cross product of three-element vectors along a dimension, the last by default.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.0, 0.0, 0.0]).cross(tensor([0.0, 1.0, 0.0])), tensor([0.0, 0.0, 1.0]));
        /// ```
        fn cross(x: Tensor, y: Tensor, dim: Option<i64>) -> Tensor { x.cross(&y, dim.unwrap_or(-1)) }

        /// Returns the distances between the rows of two matrices, Euclidean unless `p` is given.
        ///
        /// ```rhai
        /// assert_close(tensor([[0.0, 0.0]]).cdist(tensor([[3.0, 4.0], [0.0, 1.0]])), [[5.0, 1.0]], 1e-5);
        /// ```
        fn cdist(x: Tensor, y: Tensor, p: Option<f64>) -> Tensor { x.cdist(&y, p.unwrap_or(2.0)) }

        /// Returns the sum of products over pairs of dimensions of the two tensors.
        ///
        /// ```rhai
        /// let x = tensor::ones([2, 3, 4]);
        /// assert_eq(x.tensordot(tensor::ones([4, 3]), [1, 2], [1, 0]), tensor([12.0, 12.0]));
        /// ```
        fn tensordot(x: Tensor, y: Tensor, dims: Vec<i64>, other_dims: Vec<i64>) -> Tensor {
            x.tensordot(&y, &dims, &other_dims)
        }

        /// Returns `x + a @ b` of matrices.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1.0]]).addmm(tensor([[2.0]]), tensor([[3.0]])), tensor([[7.0]]));
        /// ```
        fn addmm(x: Tensor, a: Tensor, b: Tensor) -> Tensor { x.add(&a.mm(&b)?) }

        /// Returns the sum of the diagonal of a matrix.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1, 2], [3, 4]]).trace().item(), 5);
        /// ```
        fn trace(x: Tensor) -> Tensor { x.trace() }
    }
}

pub mod sums {
    use super::*;
    functions! { in "tensor";
        /// Computes an Einstein summation: letters name dimensions, and letters missing on the right are summed
        /// over.
        ///
        /// ```rhai
        /// let a = tensor([[1.0, 2.0], [3.0, 4.0]]);
        /// assert_eq(tensor::einsum("ij,jk->ik", [a, a]), a @ a);
        /// assert_eq(tensor::einsum("ii", [a]).item(), 5.0);
        /// ```
        fn einsum(equation: String, tensors: Vec<Tensor>) -> Tensor { Tensor::einsum(&equation, &tensors) }

        /// Returns all combinations of the elements of vectors, one per row.
        ///
        /// ```rhai
        /// assert_eq(tensor::cartesian_prod([tensor([1, 2]), tensor([5])]), tensor([[1, 5], [2, 5]]));
        /// ```
        fn cartesian_prod(vectors: Vec<Tensor>) -> Tensor {
            let grids = Tensor::meshgrid(&vectors, "ij")?;
            let flat = grids.iter().map(|g| g.flatten(0, -1)).collect::<Result<Vec<_>>>()?;
            Tensor::stack(&flat, 1)
        }
    }
}

mod decompositions {
    use super::*;
    functions! { methods;
        /// Returns the determinant of a square matrix.
        ///
        /// ```rhai
        /// assert_close(tensor([[1.0, 2.0], [3.0, 4.0]]).det(), -2.0, 1e-5);
        /// ```
        fn det(x: Tensor) -> Tensor { x.det() }

        /// Returns the sign and the logarithm of the absolute value of the determinant, as `#{ sign, logabsdet }`.
        ///
        /// ```rhai
        /// let d = tensor([[0.0, 1.0], [1.0, 0.0]]).slogdet();
        /// assert_close(d.sign, -1.0, 1e-6);
        /// assert_close(d.logabsdet, 0.0, 1e-6);
        /// ```
        fn slogdet(x: Tensor) -> Map {
            let (sign, logabsdet) = x.slogdet()?;
            Ok(record([("sign", sign), ("logabsdet", logabsdet)]))
        }

        /// Returns the inverse of a square matrix.
        ///
        /// ```rhai
        /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
        /// assert_close(a @ a.inverse(), tensor::eye(2), 1e-6);
        /// ```
        fn inverse(x: Tensor) -> Tensor { x.inverse() }

        /// Returns the Moore-Penrose inverse of any matrix; singular values below `rcond` times the largest count
        /// as zero.
        ///
        /// ```rhai
        /// let a = tensor([[1.0], [2.0]]);
        /// assert_close(a.pinverse(), [[0.2, 0.4]], 1e-6);
        /// ```
        fn pinverse(x: Tensor, rcond: Option<f64>) -> Tensor { x.pinverse(rcond.unwrap_or(1e-15)) }

        /// Solves `x @ y = b` for `y`.
        ///
        /// ```rhai
        /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
        /// assert_close(a.solve(tensor([3.0, 4.0])), [1.0, 1.0], 1e-5);
        /// ```
        fn solve(x: Tensor, b: Tensor) -> Tensor { x.solve(&b) }

        /// Solves `x @ y = b` for `y` by least squares.
        ///
        /// ```rhai
        /// let a = tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]);
        /// assert_close(a.lstsq(tensor([[1.0], [3.0], [5.0]])), [[1.0], [2.0]], 1e-4);
        /// ```
        fn lstsq(x: Tensor, b: Tensor) -> Tensor { x.lstsq(&b) }

        /// Computes the reduced singular value decomposition `u @ diag(s) @ vh`, as `#{ u, s, vh }`.
        ///
        /// ```rhai
        /// let a = tensor([[3.0, 0.0], [4.0, 5.0]]);
        /// let f = a.svd();
        /// assert_close(f.u @ f.s.diag() @ f.vh, a, 1e-5);
        /// assert_close(f.s.prod(), 15.0, 1e-4);
        /// ```
        fn svd(x: Tensor) -> Map {
            let (u, s, vh) = x.svd()?;
            Ok(record([("u", u), ("s", s), ("vh", vh)]))
        }

        /// Returns the singular values in descending order.
        ///
        /// ```rhai
        /// assert_close(tensor([[3.0, 0.0], [0.0, -4.0]]).svdvals(), [4.0, 3.0], 1e-6);
        /// ```
        fn svdvals(x: Tensor) -> Tensor { x.svdvals() }

        /// Computes the reduced QR decomposition into orthonormal columns and an upper triangle, as `#{ q, r }`.
        ///
        /// ```rhai
        /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
        /// let f = a.qr();
        /// assert_close(f.q @ f.r, a, 1e-6);
        /// assert_close(f.q.T @ f.q, tensor::eye(2), 1e-6);
        /// ```
        fn qr(x: Tensor) -> Map {
            let (q, r) = x.qr()?;
            Ok(record([("q", q), ("r", r)]))
        }

        /// Returns the ascending eigenvalues of a symmetric matrix, and its eigenvectors in columns, as
        /// `#{ values, vectors }`.
        ///
        /// ```rhai
        /// let e = tensor([[2.0, 1.0], [1.0, 2.0]]).eigh();
        /// assert_close(e.values, [1.0, 3.0], 1e-6);
        /// assert_close(e.vectors.abs(), [[0.7071068, 0.7071068], [0.7071068, 0.7071068]], 1e-6);
        /// ```
        fn eigh(x: Tensor) -> Map {
            let (values, vectors) = x.eigh()?;
            Ok(record([("values", values), ("vectors", vectors)]))
        }

        /// Returns the eigenvalues of a symmetric matrix in ascending order.
        ///
        /// ```rhai
        /// assert_close(tensor([[2.0, 1.0], [1.0, 2.0]]).eigvalsh(), [1.0, 3.0], 1e-6);
        /// ```
        fn eigvalsh(x: Tensor) -> Tensor { x.eigvalsh() }

        /// Returns the Cholesky factor of a positive definite matrix: the lower triangle `l` with `l @ l.T` equal
        /// to it, or the upper triangle if `upper` is true.
        ///
        /// ```rhai
        /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
        /// let l = a.cholesky();
        /// assert_close(l @ l.T, a, 1e-6);
        /// assert_close(a.cholesky(true), l.T, 1e-6);
        /// ```
        fn cholesky(x: Tensor, upper: Option<bool>) -> Tensor { x.cholesky(upper.unwrap_or(false)) }

        /// Returns the norm of matrices in the last two dimensions.
        ///
        /// `order` is "fro" (default), "nuc", 2 or -2 (largest or smallest singular value), 1 or -1 (column sums).
        ///
        /// ```rhai
        /// let a = tensor([[3.0, 0.0], [0.0, 4.0]]);
        /// assert_close(a.matrix_norm(), 5.0, 1e-6);
        /// assert_close(a.matrix_norm("nuc"), 7.0, 1e-5);
        /// assert_close(a.matrix_norm(2), 4.0, 1e-6);
        /// ```
        fn matrix_norm(x: Tensor, order: Option<Value>) -> Tensor {
            x.matrix_norm(&order.unwrap_or(Value::Str("fro".to_string())))
        }

        /// Raises a square matrix to the power `n`; a negative power inverts it first.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1.0, 1.0], [0.0, 1.0]]).matrix_power(3), tensor([[1.0, 3.0], [0.0, 1.0]]));
        /// ```
        fn matrix_power(x: Tensor, n: i64) -> Tensor { x.matrix_power(n) }

        /// Returns the exponential of a square matrix, `I + x + x @ x / 2 + ..`.
        ///
        /// ```rhai
        /// assert_close(tensor([[0.0, 1.0], [0.0, 0.0]]).matrix_exp(), [[1.0, 1.0], [0.0, 1.0]], 1e-6);
        /// ```
        fn matrix_exp(x: Tensor) -> Tensor { x.matrix_exp() }

        /// Returns the number of singular values that are not zero up to rounding.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1.0, 2.0], [2.0, 4.0]]).matrix_rank().item(), 1);
        /// ```
        fn matrix_rank(x: Tensor) -> Tensor { x.matrix_rank() }
    }
}

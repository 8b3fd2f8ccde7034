//! Linear algebra. Integers must be converted to floats before decompositions.

use super::declare::operators;
use super::{binary, pair, single};
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::call::{call, call_one};
use crate::torch::{Tensor, checked};

crate::api! { functions: [methods, scripts, sums] }

pub(crate) mod sums {
    use super::*;
    functions! { in "tensor";
        /// Computes an Einstein summation: letters name dimensions, and letters missing on the right are summed
        /// over.
        /// ```rhai
        /// let a = tensor([[1.0, 2.0], [3.0, 4.0]]);
        /// assert_eq(tensor::einsum("ij,jk->ik", [a, a]), a @ a);
        /// assert_eq(tensor::einsum("ii", [a]).item(), 5.0);
        /// ```
        fn einsum(equation: String, tensors: Vec<Tensor>) -> Tensor { Tensor::einsum(&equation, &tensors) }

        /// Returns all combinations of the elements of vectors, one per row.
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

mod scripts {
    use super::*;
    functions! { methods;
        /// Returns the norm of matrices in the last two dimensions.
        ///
        /// `order` is "fro" (default), "nuc", 2 or -2 (largest or smallest singular value), 1 or -1 (column sums).
        /// ```rhai
        /// let a = tensor([[3.0, 0.0], [0.0, 4.0]]);
        /// assert_close(a.matrix_norm(), 5.0, 1e-6);
        /// assert_close(a.matrix_norm("nuc"), 7.0, 1e-5);
        /// assert_close(a.matrix_norm(2), 4.0, 1e-6);
        /// ```
        fn matrix_norm(x: Tensor, order: Option<Value>) -> Tensor {
            x.matrix_norm(&order.unwrap_or(Value::Str("fro".to_string())))
        }
    }
}

operators! {
    /// Returns the matrix product, batched over leading dimensions, like `@`.
    /// ```rhai
    /// assert_eq(tensor([[1, 2]]).matmul(tensor([[3], [4]])), tensor([[11]]));
    /// ```
    fn matmul(x, y: Tensor) -> Tensor { binary("@", x, y, x.raw().f_matmul(y.raw())) }

    /// Returns the product of two matrices, without batches.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).mm(tensor([[1, 0], [0, 2]])), tensor([[1, 4], [3, 8]]));
    /// ```
    fn mm(x, y: Tensor) -> Tensor { binary("@", x, y, x.raw().f_mm(y.raw())) }

    /// Returns the products of the matrices in two batches [B, N, M] and [B, M, P].
    /// ```rhai
    /// assert_eq(tensor::ones([2, 1, 3]).bmm(tensor::ones([2, 3, 1])), tensor([[[3.0]], [[3.0]]]));
    /// ```
    fn bmm(x, y: Tensor) -> Tensor { binary("@", x, y, x.raw().f_bmm(y.raw())) }

    /// Returns the product of a matrix and a vector.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).mv(tensor([1, 1])), tensor([3, 7]));
    /// ```
    fn mv(x, vector: Tensor) -> Tensor { binary("@", x, vector, x.raw().f_mv(vector.raw())) }

    /// Returns the inner product of two vectors.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).dot(tensor([4, 5, 6])).item(), 32);
    /// ```
    fn dot(x, y: Tensor) -> Tensor { binary("dot", x, y, x.raw().f_dot(y.raw())) }

    /// Returns the outer product of two vectors.
    /// ```rhai
    /// assert_eq(tensor([1, 2]).outer(tensor([3, 4])), tensor([[3, 4], [6, 8]]));
    /// ```
    fn outer(x, y: Tensor) = f_outer(y.raw());

    /// Returns the Kronecker product.
    /// ```rhai
    /// assert_eq(tensor([[1, 2]]).kron(tensor([[1], [3]])), tensor([[1, 2], [3, 6]]));
    /// ```
    fn kron(x, y: Tensor) = f_kron(y.raw());

    /// Returns the cross product of three-element vectors along a dimension, the last by default.
    /// ```rhai
    /// assert_eq(tensor([1.0, 0.0, 0.0]).cross(tensor([0.0, 1.0, 0.0])), tensor([0.0, 0.0, 1.0]));
    /// ```
    fn cross(x, y: Tensor, dim: i64 = -1) = f_linalg_cross(y.raw(), dim);

    /// Returns the distances between the rows of two matrices, Euclidean unless `p` is given.
    /// ```rhai
    /// assert_close(tensor([[0.0, 0.0]]).cdist(tensor([[3.0, 4.0], [0.0, 1.0]])), [[5.0, 1.0]], 1e-5);
    /// ```
    fn cdist(x, y: Tensor, p: f64 = 2.0) -> Tensor {
        binary("cdist", x, y, tch::Tensor::f_cdist(x.raw(), y.raw(), p, None::<i64>))
    }

    /// Returns the sum of products over pairs of dimensions of the two tensors.
    /// ```rhai
    /// let x = tensor::ones([2, 3, 4]);
    /// assert_eq(x.tensordot(tensor::ones([4, 3]), [1, 2], [1, 0]), tensor([12.0, 12.0]));
    /// ```
    fn tensordot(x, y: Tensor, dims: Vec<i64>, other_dims: Vec<i64>) -> Tensor {
        binary("tensordot", x, y, x.raw().f_tensordot(y.raw(), dims, other_dims))
    }

    /// Returns the sum of the diagonal of a matrix.
    /// ```rhai
    /// assert_eq(tensor([[1, 2], [3, 4]]).trace().item(), 5);
    /// ```
    fn trace(x) = f_trace();

    /// Returns the determinant of a square matrix.
    /// ```rhai
    /// assert_close(tensor([[1.0, 2.0], [3.0, 4.0]]).det(), -2.0, 1e-5);
    /// ```
    fn det(x) = f_det();

    /// Returns the sign and the logarithm of the absolute value of the determinant, as `#{ sign, logabsdet }`.
    /// ```rhai
    /// let d = tensor([[0.0, 1.0], [1.0, 0.0]]).slogdet();
    /// assert_close(d.sign, -1.0, 1e-6);
    /// assert_close(d.logabsdet, 0.0, 1e-6);
    /// ```
    fn slogdet(x) => (sign, logabsdet) { pair(tch::Tensor::f_linalg_slogdet(x.raw())) }

    /// Returns the inverse of a square matrix.
    /// ```rhai
    /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
    /// assert_close(a @ a.inverse(), tensor::eye(2), 1e-6);
    /// ```
    fn inverse(x) = f_inverse();

    /// Returns the Moore-Penrose inverse of any matrix; singular values below `rcond` times the largest count
    /// as zero.
    /// ```rhai
    /// let a = tensor([[1.0], [2.0]]);
    /// assert_close(a.pinverse(), [[0.2, 0.4]], 1e-6);
    /// ```
    fn pinverse(x, rcond: f64 = 1e-15) = f_pinverse(rcond);

    /// Solves `x @ y = b` for `y`.
    /// ```rhai
    /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
    /// assert_close(a.solve(tensor([3.0, 4.0])), [1.0, 1.0], 1e-5);
    /// ```
    fn solve(x, b: Tensor) -> Tensor {
        binary("solve", x, b, tch::Tensor::f_linalg_solve(x.raw(), b.raw(), true))
    }

    /// Solves `x @ y = b` for `y` by least squares.
    /// ```rhai
    /// let a = tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]);
    /// assert_close(a.lstsq(tensor([[1.0], [3.0], [5.0]])), [[1.0], [2.0]], 1e-4);
    /// ```
    fn lstsq(x, b: Tensor) -> Tensor {
        // LAPACK's driver takes no others, and its library prints a complaint of its own.
        for given in [x, b] {
            let finite = given.isfinite()?.all(&[], false)?.item()? == 1.0;
            ensure!(finite, "expected finite numbers, found NaN or infinities in a {}", given.signature());
        }
        // `gelsy` is LAPACK's driver for matrices of any rank; CUDA only has the one for full rank.
        let driver = if x.device().is_cuda() { "gels" } else { "gelsy" };
        checked(x.raw().f_linalg_lstsq(b.raw(), None::<f64>, driver)).map(|(x, ..)| Tensor::wrap(x))
    }

    /// Computes the reduced singular value decomposition `u @ diag(s) @ vh`, as `#{ u, s, vh }`.
    /// ```rhai
    /// let a = tensor([[3.0, 0.0], [4.0, 5.0]]);
    /// let f = a.svd();
    /// assert_close(f.u @ f.s.diag() @ f.vh, a, 1e-5);
    /// assert_close(f.s.prod(), 15.0, 1e-4);
    /// ```
    fn svd(x) => (u, s, vh) {
        // Through the dispatcher: tch always names a driver, which libtorch refuses on the CPU.
        let found = call("linalg_svd", &[x.clone().into_value(), Value::Bool(false)], &Map::new())?;
        let found: [Tensor; 3] = Vec::<Tensor>::from_value(&found)?
            .try_into()
            .map_err(|_| Error::internal("svd did not return three tensors"))?;
        Ok(found.into())
    }

    /// Returns the singular values in descending order.
    /// ```rhai
    /// assert_close(tensor([[3.0, 0.0], [0.0, -4.0]]).svdvals(), [4.0, 3.0], 1e-6);
    /// ```
    fn svdvals(x) -> Tensor { call_one("linalg_svdvals", &[x.clone().into_value()], &Map::new()) }

    /// Computes the reduced QR decomposition into orthonormal columns and an upper triangle, as `#{ q, r }`.
    /// ```rhai
    /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
    /// let f = a.qr();
    /// assert_close(f.q @ f.r, a, 1e-6);
    /// assert_close(f.q.T @ f.q, tensor::eye(2), 1e-6);
    /// ```
    fn qr(x) => (q, r) { pair(tch::Tensor::f_linalg_qr(x.raw(), "reduced")) }

    /// Returns the ascending eigenvalues of a symmetric matrix, and its eigenvectors in columns, as
    /// `#{ values, vectors }`.
    /// ```rhai
    /// let e = tensor([[2.0, 1.0], [1.0, 2.0]]).eigh();
    /// assert_close(e.values, [1.0, 3.0], 1e-6);
    /// assert_close(e.vectors.abs(), [[0.7071068, 0.7071068], [0.7071068, 0.7071068]], 1e-6);
    /// ```
    fn eigh(x) => (values, vectors) {
        pair(x.raw().f_linalg_eigh("L"))
    }

    /// Returns the eigenvalues of a symmetric matrix in ascending order.
    /// ```rhai
    /// assert_close(tensor([[2.0, 1.0], [1.0, 2.0]]).eigvalsh(), [1.0, 3.0], 1e-6);
    /// ```
    fn eigvalsh(x) = f_linalg_eigvalsh("L");

    /// Returns the Cholesky factor of a positive definite matrix: the lower triangle `l` with `l @ l.T` equal
    /// to it, or the upper triangle if `upper` is true.
    /// ```rhai
    /// let a = tensor([[2.0, 1.0], [1.0, 3.0]]);
    /// let l = a.cholesky();
    /// assert_close(l @ l.T, a, 1e-6);
    /// assert_close(a.cholesky(true), l.T, 1e-6);
    /// ```
    fn cholesky(x, upper: bool = false) = f_linalg_cholesky(upper);

    /// Raises a square matrix to the power `n`; a negative power inverts it first.
    /// ```rhai
    /// assert_eq(tensor([[1.0, 1.0], [0.0, 1.0]]).matrix_power(3), tensor([[1.0, 3.0], [0.0, 1.0]]));
    /// ```
    fn matrix_power(x, n: i64) = f_linalg_matrix_power(n);

    /// Returns the exponential of a square matrix, `I + x + x @ x / 2 + ..`.
    /// ```rhai
    /// assert_close(tensor([[0.0, 1.0], [0.0, 0.0]]).matrix_exp(), [[1.0, 1.0], [0.0, 1.0]], 1e-6);
    /// ```
    fn matrix_exp(x) = f_linalg_matrix_exp();

    /// Returns the number of singular values that are not zero up to rounding.
    /// ```rhai
    /// assert_eq(tensor([[1.0, 2.0], [2.0, 4.0]]).matrix_rank().item(), 1);
    /// ```
    fn matrix_rank(x) -> Tensor {
        let values = x.svdvals()?;
        let largest = values.amax(&[-1], true)?;
        let size = *x.shape().iter().rev().take(2).max().unwrap_or(&1) as f64;
        values.gt(&largest.mul_scalar(size * x.dtype().epsilon())?)?.sum(&[-1], false)
    }

    /// Returns `x + a @ b` of matrices.
    /// ```rhai
    /// assert_eq(tensor([[1.0]]).addmm(tensor([[2.0]]), tensor([[3.0]])), tensor([[7.0]]));
    /// ```
    fn addmm(x, a: Tensor, b: Tensor) -> Tensor { x.add(&a.mm(b)?) }
}

impl Tensor {
    /// Evaluates an Einstein summation.
    pub fn einsum(equation: &str, tensors: &[Tensor]) -> Result<Tensor> {
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        single(tch::Tensor::f_einsum(equation, &raw, None::<&[i64]>))
    }
    /// Returns the norm of matrices in the last two dimensions: `fro`, `nuc`, 1, -1, 2, -2, or infinity.
    pub fn matrix_norm(&self, order: &Value) -> Result<Tensor> {
        let overload =
            if matches!(order, Value::Str(_)) { "linalg_matrix_norm.str_ord" } else { "linalg_matrix_norm" };
        call_one(overload, &[self.clone().into_value(), order.clone()], &Map::new())
    }
}

#[cfg(test)]
mod tests {
    use crate::torch::{Tensor, start};

    #[test]
    fn least_squares_need_finite_numbers() {
        start();
        let [x, b] = [[1.0, 2.0], [f64::NAN, 1.0]].map(|values| Tensor::from_f64(&values, &[2, 1]).unwrap());
        for (x, b) in [(&x, &b), (&b, &x)] {
            let error = x.lstsq(b).unwrap_err();
            assert!(error.message().contains("expected finite numbers, found NaN"), "{error}");
        }
        x.lstsq(&x).unwrap();
    }
}

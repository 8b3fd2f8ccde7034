//! Matrix products and decompositions.

use super::reduce::pair;
use super::{binary, ops};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::torch::call::{call, call_one};
use crate::torch::{Tensor, checked};

ops! {
    /// Returns the sum of the diagonal of a matrix.
    trace() = f_trace();
    /// Returns the eigenvalues of a symmetric matrix, ascending.
    eigvalsh() = f_linalg_eigvalsh("L");
    /// Returns the determinant.
    det() = f_det();
    /// Returns the inverse.
    inverse() = f_inverse();
    /// Returns the Moore-Penrose inverse; singular values below `rcond` times the largest count as zero.
    pinverse(rcond: f64) = f_pinverse(rcond);
    /// Returns the lower (or upper) triangular Cholesky factor of a positive definite matrix.
    cholesky(upper: bool) = f_linalg_cholesky(upper);
    /// Returns the `n`th power of a matrix; negative powers invert first.
    matrix_power(n: i64) = f_linalg_matrix_power(n);
    /// Returns the matrix exponential.
    matrix_exp() = f_linalg_matrix_exp();
    /// Returns the Kronecker product.
    kron(other: &Tensor) = f_kron(other.raw());
    /// Returns the cross product of vectors of length three along a dimension.
    cross(other: &Tensor, dim: i64) = f_linalg_cross(other.raw(), dim);
    /// Returns the outer product of two vectors.
    outer(other: &Tensor) = f_outer(other.raw());
    /// Returns the covariance matrix of variables in rows; `correction` 1 divides by the count minus one.
    cov(correction: i64) = f_cov(correction, None::<&tch::Tensor>, None::<&tch::Tensor>);
}

impl Tensor {
    /// Returns the matrix product, batched over leading dimensions.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        binary("@", self, other, self.raw().f_matmul(other.raw()))
    }

    /// Returns the eigenvalues, ascending, and the eigenvectors, in columns, of a symmetric matrix.
    pub fn eigh(&self) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_linalg_eigh("L")).map(|(l, v)| (Tensor::wrap(l), Tensor::wrap(v)))
    }

    /// Evaluates an Einstein summation.
    pub fn einsum(equation: &str, tensors: &[Tensor]) -> Result<Tensor> {
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_einsum(equation, &raw, None::<&[i64]>)).map(Tensor::wrap)
    }

    /// Returns the product of two matrices.
    pub fn mm(&self, other: &Tensor) -> Result<Tensor> {
        binary("@", self, other, self.raw().f_mm(other.raw()))
    }

    /// Returns the matrix products of two batches.
    pub fn bmm(&self, other: &Tensor) -> Result<Tensor> {
        binary("@", self, other, self.raw().f_bmm(other.raw()))
    }

    /// Returns the product of a matrix and a vector.
    pub fn mv(&self, vector: &Tensor) -> Result<Tensor> {
        binary("@", self, vector, self.raw().f_mv(vector.raw()))
    }

    /// Returns the inner product of two vectors.
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        binary("dot", self, other, self.raw().f_dot(other.raw()))
    }

    /// Returns the sign of the determinant and the logarithm of its absolute value.
    pub fn slogdet(&self) -> Result<(Tensor, Tensor)> {
        pair(tch::Tensor::f_linalg_slogdet(self.raw()))
    }

    /// Returns the solution `x` of `self @ x = b`.
    pub fn solve(&self, b: &Tensor) -> Result<Tensor> {
        binary("solve", self, b, tch::Tensor::f_linalg_solve(self.raw(), b.raw(), true))
    }

    /// Returns the least-squares solution `x`, which minimises `|self @ x - b|`.
    pub fn lstsq(&self, b: &Tensor) -> Result<Tensor> {
        // `gelsy` is LAPACK's driver for matrices of any rank; CUDA only has the one for full rank.
        let driver = if self.device().is_cuda() { "gels" } else { "gelsy" };
        checked(self.raw().f_linalg_lstsq(b.raw(), None::<f64>, driver)).map(|(x, ..)| Tensor::wrap(x))
    }

    /// Returns the reduced singular value decomposition `u @ diag(s) @ vh`.
    pub fn svd(&self) -> Result<(Tensor, Tensor, Tensor)> {
        match call("linalg_svd", &[self.clone().into_value(), Value::Bool(false)], &Map::new())? {
            Value::List(list) => match list.as_slice() {
                [u, s, vh] => match (u.downcast(), s.downcast(), vh.downcast()) {
                    (Some(u), Some(s), Some(vh)) => Ok((u, s, vh)),
                    _ => Err(Error::internal("svd did not return tensors")),
                },
                _ => Err(Error::internal("svd did not return three tensors")),
            },
            _ => Err(Error::internal("svd did not return three tensors")),
        }
    }

    /// Returns the singular values, descending.
    pub fn svdvals(&self) -> Result<Tensor> {
        call_one("linalg_svdvals", &[self.clone().into_value()], &Map::new())
    }

    /// Returns the reduced QR decomposition.
    pub fn qr(&self) -> Result<(Tensor, Tensor)> {
        pair(tch::Tensor::f_linalg_qr(self.raw(), "reduced"))
    }

    /// Returns the norm of matrices in the last two dimensions: `fro`, `nuc`, 1, -1, 2, -2, or infinity.
    pub fn matrix_norm(&self, order: &Value) -> Result<Tensor> {
        let overload =
            if matches!(order, Value::Str(_)) { "linalg_matrix_norm.str_ord" } else { "linalg_matrix_norm" };
        call_one(overload, &[self.clone().into_value(), order.clone()], &Map::new())
    }

    /// Returns the number of singular values above a tolerance.
    pub fn matrix_rank(&self) -> Result<Tensor> {
        let values = self.svdvals()?;
        let largest = values.amax(&[-1], true)?;
        let size = *self.shape().iter().rev().take(2).max().unwrap_or(&1) as f64;
        values.gt(&largest.mul_scalar(size * self.dtype().epsilon())?)?.sum(&[-1], false)
    }

    /// Returns the distances between the rows of two sets in the `p`-norm.
    pub fn cdist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        binary("cdist", self, other, tch::Tensor::f_cdist(self.raw(), other.raw(), p, None::<i64>))
    }

    /// Returns the sum of products over pairs of dimensions.
    pub fn tensordot(&self, other: &Tensor, dims: &[i64], other_dims: &[i64]) -> Result<Tensor> {
        binary("tensordot", self, other, self.raw().f_tensordot(other.raw(), dims, other_dims))
    }
}

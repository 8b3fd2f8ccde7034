//! Products and decompositions of matrices.

use super::reduce::pair;
use super::{binary, ops};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::torch::call::{call, call_one};
use crate::torch::{Tensor, checked};

ops! {
    /// Sum of the diagonal of a matrix.
    trace() = f_trace();
    /// Eigenvalues of a symmetric matrix, ascending.
    eigvalsh() = f_linalg_eigvalsh("L");
    /// Determinant.
    det() = f_det();
    /// Inverse.
    inverse() = f_inverse();
    /// Moore-Penrose inverse; singular values below `rcond` times the largest count as zero.
    pinverse(rcond: f64) = f_pinverse(rcond);
    /// Lower (or upper) triangular factor of a positive definite matrix.
    cholesky(upper: bool) = f_linalg_cholesky(upper);
    /// The matrix multiplied with itself; negative powers invert first.
    matrix_power(n: i64) = f_linalg_matrix_power(n);
    /// Matrix exponential.
    matrix_exp() = f_linalg_matrix_exp();
    /// Kronecker product.
    kron(other: &Tensor) = f_kron(other.raw());
    /// Cross product of vectors of three along a dimension.
    cross(other: &Tensor, dim: i64) = f_linalg_cross(other.raw(), dim);
    /// Outer product of two vectors.
    outer(other: &Tensor) = f_outer(other.raw());
    /// Covariance matrix of variables in rows; `correction` 1 divides by one less than the count.
    cov(correction: i64) = f_cov(correction, None::<&tch::Tensor>, None::<&tch::Tensor>);
}

impl Tensor {
    /// Matrix product, batched over leading dimensions.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        binary("@", self, other, self.raw().f_matmul(other.raw()))
    }

    /// Eigenvalues, ascending, and eigenvectors in columns, of a symmetric matrix.
    pub fn eigh(&self) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_linalg_eigh("L")).map(|(l, v)| (Tensor::wrap(l), Tensor::wrap(v)))
    }

    /// Einstein summation.
    pub fn einsum(equation: &str, tensors: &[Tensor]) -> Result<Tensor> {
        let raw: Vec<&tch::Tensor> = tensors.iter().map(Tensor::raw).collect();
        checked(tch::Tensor::f_einsum(equation, &raw, None::<&[i64]>)).map(Tensor::wrap)
    }

    /// Product of two matrices.
    pub fn mm(&self, other: &Tensor) -> Result<Tensor> {
        binary("@", self, other, self.raw().f_mm(other.raw()))
    }

    /// Products of matrices in two batches.
    pub fn bmm(&self, other: &Tensor) -> Result<Tensor> {
        binary("@", self, other, self.raw().f_bmm(other.raw()))
    }

    /// Matrix times vector.
    pub fn mv(&self, vector: &Tensor) -> Result<Tensor> {
        binary("@", self, vector, self.raw().f_mv(vector.raw()))
    }

    /// Inner product of two vectors.
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        binary("dot", self, other, self.raw().f_dot(other.raw()))
    }

    /// Sign of the determinant and logarithm of its absolute value.
    pub fn slogdet(&self) -> Result<(Tensor, Tensor)> {
        pair(tch::Tensor::f_linalg_slogdet(self.raw()))
    }

    /// The `x` for which `self @ x = b`.
    pub fn solve(&self, b: &Tensor) -> Result<Tensor> {
        binary("solve", self, b, tch::Tensor::f_linalg_solve(self.raw(), b.raw(), true))
    }

    /// The `x` of least squares `|self @ x - b|`.
    pub fn lstsq(&self, b: &Tensor) -> Result<Tensor> {
        // `gelsy` is LAPACK's driver for matrices of any rank; CUDA has only the one for full rank.
        let driver = if self.device().is_cuda() { "gels" } else { "gelsy" };
        checked(self.raw().f_linalg_lstsq(b.raw(), None::<f64>, driver)).map(|(x, ..)| Tensor::wrap(x))
    }

    /// Reduced singular value decomposition `u @ diag(s) @ vh`.
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

    /// Singular values, descending.
    pub fn svdvals(&self) -> Result<Tensor> {
        call_one("linalg_svdvals", &[self.clone().into_value()], &Map::new())
    }

    /// Reduced QR decomposition.
    pub fn qr(&self) -> Result<(Tensor, Tensor)> {
        pair(tch::Tensor::f_linalg_qr(self.raw(), "reduced"))
    }

    /// Norm of matrices in the last two dimensions: `fro`, `nuc`, 1, -1, 2, -2, or infinity.
    pub fn matrix_norm(&self, order: &Value) -> Result<Tensor> {
        let overload =
            if matches!(order, Value::Str(_)) { "linalg_matrix_norm.str_ord" } else { "linalg_matrix_norm" };
        call_one(overload, &[self.clone().into_value(), order.clone()], &Map::new())
    }

    /// Number of singular values above tolerance.
    pub fn matrix_rank(&self) -> Result<Tensor> {
        let values = self.svdvals()?;
        let largest = values.amax(&[-1], true)?;
        let size = *self.shape().iter().rev().take(2).max().unwrap_or(&1) as f64;
        values.gt(&largest.mul_scalar(size * self.dtype().epsilon())?)?.sum(&[-1], false)
    }

    /// Distances between the rows of two sets in the `p`-norm.
    pub fn cdist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        binary("cdist", self, other, tch::Tensor::f_cdist(self.raw(), other.raw(), p, None::<i64>))
    }

    /// Sum of products over pairs of dimensions.
    pub fn tensordot(&self, other: &Tensor, dims: &[i64], other_dims: &[i64]) -> Result<Tensor> {
        binary("tensordot", self, other, self.raw().f_tensordot(other.raw(), dims, other_dims))
    }
}

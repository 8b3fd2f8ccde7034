//! Products, decompositions and Fourier transforms.

use super::{binary, ops};
use crate::error::Result;
use crate::torch::{Tensor, checked};

ops! {
    /// Two-dimensional FFT over the last two dimensions; `norm` is `backward`, `forward` or `ortho`.
    fft2(norm: &str) = f_fft_fft2(None::<&[i64]>, &[-2i64, -1][..], norm);
    /// Inverse of [`Tensor::fft2`].
    ifft2(norm: &str) = f_fft_ifft2(None::<&[i64]>, &[-2i64, -1][..], norm);
    /// Two-dimensional FFT of real input; half of the last dimension is kept.
    rfft2(norm: &str) = f_fft_rfft2(None::<&[i64]>, &[-2i64, -1][..], norm);
    /// Inverse of [`Tensor::rfft2`] for real images of `size`.
    irfft2(size: &[i64], norm: &str) = f_fft_irfft2(Some(size), &[-2i64, -1][..], norm);
    /// Zero frequency moved to the centre of the given dimensions.
    fftshift(dims: &[i64]) = f_fft_fftshift(Some(dims));
    /// Real part.
    real() = f_real();
    /// Imaginary part.
    imag() = f_imag();
    /// Sum of the diagonal of a matrix.
    trace() = f_trace();
    /// Eigenvalues of a symmetric matrix, ascending.
    eigvalsh() = f_linalg_eigvalsh("L");
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
}

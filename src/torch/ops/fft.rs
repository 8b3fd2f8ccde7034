//! Fourier transforms and complex numbers. `norm` is `backward`, `forward` or `ortho`.

use super::ops;
use crate::error::Result;
use crate::torch::{DType, Device, Tensor, checked};

ops! {
    /// Returns the one-dimensional FFT, cut or zero-padded to `n`.
    fft(n: Option<i64>, dim: i64, norm: &str) = f_fft_fft(n, dim, norm);
    /// Returns the inverse of [`Tensor::fft`].
    ifft(n: Option<i64>, dim: i64, norm: &str) = f_fft_ifft(n, dim, norm);
    /// Returns the one-dimensional FFT of real input, keeping half of the spectrum.
    rfft(n: Option<i64>, dim: i64, norm: &str) = f_fft_rfft(n, dim, norm);
    /// Returns the inverse of [`Tensor::rfft`] for real signals of length `n`.
    irfft(n: Option<i64>, dim: i64, norm: &str) = f_fft_irfft(n, dim, norm);
    /// Returns the FFT over several dimensions.
    fftn(dims: &[i64], norm: &str) = f_fft_fftn(None::<&[i64]>, Some(dims), norm);
    /// Returns the inverse of [`Tensor::fftn`].
    ifftn(dims: &[i64], norm: &str) = f_fft_ifftn(None::<&[i64]>, Some(dims), norm);
    /// Returns the two-dimensional FFT over the last two dimensions; `norm` is `backward`, `forward` or `ortho`.
    fft2(norm: &str) = f_fft_fft2(None::<&[i64]>, &[-2i64, -1][..], norm);
    /// Returns the inverse of [`Tensor::fft2`].
    ifft2(norm: &str) = f_fft_ifft2(None::<&[i64]>, &[-2i64, -1][..], norm);
    /// Returns the two-dimensional FFT of real input, keeping half of the last dimension.
    rfft2(norm: &str) = f_fft_rfft2(None::<&[i64]>, &[-2i64, -1][..], norm);
    /// Returns the inverse of [`Tensor::rfft2`] for real images of `size`.
    irfft2(size: &[i64], norm: &str) = f_fft_irfft2(Some(size), &[-2i64, -1][..], norm);
    /// Undoes [`Tensor::fftshift`].
    ifftshift(dims: &[i64]) = f_fft_ifftshift(Some(dims));
    /// Moves the zero frequency to the centre of the given dimensions.
    fftshift(dims: &[i64]) = f_fft_fftshift(Some(dims));
    /// Returns the real part.
    real() = f_real();
    /// Returns the imaginary part.
    imag() = f_imag();
    /// Returns the angle of complex numbers, in radians.
    angle() = f_angle();
    /// Returns complex numbers as pairs in a new last dimension.
    view_as_real() = f_view_as_real();
    /// Returns pairs in the last dimension as complex numbers.
    view_as_complex() = f_view_as_complex();
}

impl Tensor {
    /// Returns the frequencies of an FFT of length `n` at sample spacing `d`, in cycles per unit of `d`.
    pub fn fftfreq(n: i64, d: f64, dtype: DType, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_fft_fftfreq(n, d, (dtype.kind(), device.tch()))).map(Tensor::wrap)
    }

    /// Returns the frequencies of an FFT of real input of length `n`.
    pub fn rfftfreq(n: i64, d: f64, dtype: DType, device: Device) -> Result<Tensor> {
        checked(tch::Tensor::f_fft_rfftfreq(n, d, (dtype.kind(), device.tch()))).map(Tensor::wrap)
    }

    /// Builds complex numbers from real and imaginary parts.
    pub fn complex(real: &Tensor, imaginary: &Tensor) -> Result<Tensor> {
        checked(tch::Tensor::f_complex(real.raw(), imaginary.raw())).map(Tensor::wrap)
    }

    /// Builds complex numbers from moduli and angles in radians.
    pub fn polar(modulus: &Tensor, angle: &Tensor) -> Result<Tensor> {
        checked(tch::Tensor::f_polar(modulus.raw(), angle.raw())).map(Tensor::wrap)
    }
}

//! Fourier transforms and complex numbers.

use super::declare::{Argument, arguments, operators};
use super::single;
use crate::declare::{Choice, Options};
use crate::error::Result;
use crate::functions;
use crate::torch::api::{Every, MakeOptions};
use crate::torch::{DType, Device, Tensor};

crate::api! { functions: [methods, properties, making] }

/// Transform that divides by the number of values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Normalization {
    /// The inverse transform.
    #[default]
    Backward,
    /// The forward transform.
    Forward,
    /// Both, by its square root.
    Ortho,
}

arguments! {
    Normalization: &'a str, |word| word.name();
}

/// Options of Fourier transforms over several dimensions.
#[derive(Debug, Clone, Options)]
pub struct NormOptions {
    /// Normalization: "backward" divides the inverse by n, "forward" the transform by n, "ortho" both by
    /// sqrt(n).
    pub norm: Normalization,
}

/// Options of Fourier transforms along one dimension.
#[derive(Debug, Clone, Options)]
pub struct FourierOptions {
    /// Length to which the dimension is first cut or padded with zeros.
    #[option(range = 1..)]
    pub n: Option<i64>,
    /// Normalization: "backward" divides the inverse by n, "forward" the transform by n, "ortho" both by
    /// sqrt(n).
    pub norm: Normalization,
}

mod properties {
    use super::*;
    functions! { properties;
        /// Real part of complex numbers.
        /// ```rhai
        /// assert_eq(tensor::complex(tensor([1.0]), tensor([2.0])).real, tensor([1.0]));
        /// ```
        fn real(x: Tensor) -> Tensor { if x.dtype().is_complex() { x.real() } else { Ok(x.clone()) } }

        /// Imaginary part of complex numbers.
        /// ```rhai
        /// assert_eq(tensor::complex(tensor([1.0]), tensor([2.0])).imag, tensor([2.0]));
        /// ```
        fn imag(x: Tensor) -> Tensor { x.imag() }
    }
}

pub(crate) mod making {
    use super::*;
    functions! { in "tensor";
        /// Creates complex numbers from real and imaginary parts of the same float dtype.
        /// ```rhai
        /// let z = tensor::complex(tensor([3.0]), tensor([-4.0]));
        /// assert_eq(z.dtype, "complex64");
        /// assert_eq(z.to_array(), [[3.0, -4.0]]);
        /// ```
        fn complex(real: Tensor, imaginary: Tensor) -> Tensor { Tensor::complex(&real, &imaginary) }

        /// Creates complex numbers from absolute values and angles in radians.
        /// ```rhai
        /// let z = tensor::polar(tensor([2.0]), tensor([1.5707963]));
        /// assert_close(z.imag, [2.0], 1e-6);
        /// ```
        fn polar(modulus: Tensor, angle: Tensor) -> Tensor { Tensor::polar(&modulus, &angle) }

        /// Returns the frequencies of a Fourier transform of length `n`, in cycles per unit of the sample spacing.
        /// ```rhai
        /// assert_eq(tensor::fftfreq(4), tensor([0.0, 0.25, -0.5, -0.25]));
        /// ```
        fn fftfreq(n: i64, spacing: Option<f64>, options: MakeOptions) -> Tensor {
            options.finish(Tensor::fftfreq(n, spacing.unwrap_or(1.0), options.dtype(), options.device())?)
        }

        /// Returns the frequencies of `rfft` of length `n`, in cycles per unit of the sample spacing.
        /// ```rhai
        /// assert_eq(tensor::rfftfreq(4, 0.5), tensor([0.0, 0.5, 1.0]));
        /// ```
        fn rfftfreq(n: i64, spacing: Option<f64>, options: MakeOptions) -> Tensor {
            options.finish(Tensor::rfftfreq(n, spacing.unwrap_or(1.0), options.dtype(), options.device())?)
        }
    }
}

operators! {
    /// Computes the Fourier transform over the last two dimensions.
    /// ```rhai
    /// let spectrum = tensor::ones([2, 2]).fft2();
    /// assert_close(spectrum.real, [[4.0, 0.0], [0.0, 0.0]], 1e-6);
    /// ```
    fn fft2(x; options: NormOptions { norm: Normalization }) = f_fft_fft2(None::<&[i64]>, &[-2i64, -1][..], norm);

    /// Computes the inverse Fourier transform over the last two dimensions.
    /// ```rhai
    /// let x = tensor([[1.0, 2.0], [3.0, 5.0]]);
    /// assert_close(x.fft2().ifft2().real, x, 1e-6);
    /// ```
    fn ifft2(x; options: NormOptions { norm: Normalization }) = f_fft_ifft2(None::<&[i64]>, &[-2i64, -1][..], norm);

    /// Computes the Fourier transform of real images over the last two dimensions and keeps half of the last
    /// one.
    /// ```rhai
    /// assert_eq(tensor::ones([6, 8]).rfft2().shape, [6, 5]);
    /// assert_close(tensor::ones([6, 8]).rfft2().abs().sum(), 48.0, 1e-4);
    /// ```
    fn rfft2(x; options: NormOptions { norm: Normalization }) = f_fft_rfft2(None::<&[i64]>, &[-2i64, -1][..], norm);

    /// Computes the Fourier transform over several dimensions, all by default.
    /// ```rhai
    /// assert_close(tensor::ones([2, 2, 2]).fftn().abs().sum(), 8.0, 1e-5);
    /// ```
    fn fftn(x, dim: Every; options: NormOptions { norm: Normalization }) = f_fft_fftn(None::<&[i64]>, Some(dim), norm);

    /// Computes the inverse Fourier transform over several dimensions, all by default.
    /// ```rhai
    /// let x = tensor::rand([2, 3, 2]);
    /// assert_close(x.fftn().ifftn().real, x, 1e-5);
    /// ```
    fn ifftn(x, dim: Every; options: NormOptions { norm: Normalization }) = f_fft_ifftn(None::<&[i64]>, Some(dim), norm);

    /// Moves frequency zero to the center of dimensions, all by default.
    /// ```rhai
    /// assert_eq(tensor([0, 1, 2, -2, -1]).fftshift(), tensor([-2, -1, 0, 1, 2]));
    /// ```
    fn fftshift(x, dim: Every) = f_fft_fftshift(Some(dim));

    /// Undoes `fftshift`.
    /// ```rhai
    /// assert_eq(tensor([-2, -1, 0, 1, 2]).ifftshift(), tensor([0, 1, 2, -2, -1]));
    /// ```
    fn ifftshift(x, dim: Every) = f_fft_ifftshift(Some(dim));

    /// Returns the complex conjugate.
    /// ```rhai
    /// let z = tensor::complex(tensor([1.0]), tensor([2.0]));
    /// assert_eq(z.conj().imag, tensor([-2.0]));
    /// ```
    fn conj(x) = f_conj_physical();

    /// Returns the angle of complex numbers, in radians from -pi to pi.
    /// ```rhai
    /// let z = tensor::complex(tensor([0.0]), tensor([2.0]));
    /// assert_close(z.angle(), [1.5707963], 1e-6);
    /// ```
    fn angle(x) = f_angle();

    /// Returns a view of complex numbers as pairs in a new last dimension, or a copy where they are stored as their
    /// conjugates, as `ifft` may.
    /// ```rhai
    /// let z = tensor::complex(tensor([1.0]), tensor([2.0]));
    /// assert_eq(z.view_as_real(), tensor([[1.0, 2.0]]));
    /// ```
    fn view_as_real(x) -> Tensor { single(x.resolved()?.raw().f_view_as_real()) }

    /// Returns a view of pairs in the last dimension as complex numbers.
    /// ```rhai
    /// assert_eq(tensor([[1.0, 2.0]]).view_as_complex().imag, tensor([2.0]));
    /// ```
    fn view_as_complex(x) = f_view_as_complex();

    /// Computes the Fourier transform along a dimension, the last by default.
    ///
    /// `out[k] = sum over j of x[j] exp(-2 pi i j k / n)`.
    /// ```rhai
    /// assert_close(tensor([1.0, 2.0, 3.0, 4.0]).fft().abs(), [10.0, 2.828427, 2.0, 2.828427], 1e-5);
    /// ```
    fn fft(x, dim: i64 = -1; options: FourierOptions { n: Option<i64>, norm: Normalization }) = f_fft_fft(n, dim, norm);

    /// Computes the inverse Fourier transform along a dimension.
    /// ```rhai
    /// let x = tensor([1.0, 2.0, 3.0]);
    /// assert_close(x.fft().ifft().real, x, 1e-6);
    /// ```
    fn ifft(x, dim: i64 = -1; options: FourierOptions { n: Option<i64>, norm: Normalization }) = f_fft_ifft(n, dim, norm);

    /// Computes the Fourier transform of real numbers and keeps the non-redundant half of the spectrum.
    /// ```rhai
    /// let half = tensor([1.0, 2.0, 3.0, 4.0]).rfft();
    /// assert_eq(half.shape, [3]);
    /// assert_close(half.real, [10.0, -2.0, -2.0], 1e-6);
    /// ```
    fn rfft(x, dim: i64 = -1; options: FourierOptions { n: Option<i64>, norm: Normalization }) = f_fft_rfft(n, dim, norm);

    /// Computes the inverse of `rfft`; `n` is the length of the real signal, by default an even length.
    /// ```rhai
    /// let x = tensor([1.0, 2.0, 3.0]);
    /// assert_close(x.rfft().irfft(-1, #{ n: 3 }), x, 1e-6);
    /// ```
    fn irfft(x, dim: i64 = -1; options: FourierOptions { n: Option<i64>, norm: Normalization }) = f_fft_irfft(n, dim, norm);

    /// Computes the inverse of `rfft2` for real images of `size` `[height, width]`.
    /// ```rhai
    /// let x = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]]);
    /// assert_close(x.rfft2().irfft2([2, 3]), x, 1e-5);
    /// ```
    fn irfft2(x, size: (i64, i64); options: NormOptions { norm: Normalization })
        = f_fft_irfft2(Some(&[size.0, size.1][..]), &[-2i64, -1][..], norm);
}

impl Tensor {
    /// Returns the real part.
    pub fn real(&self) -> Result<Tensor> {
        single(self.raw().f_real())
    }

    /// Returns the imaginary part.
    pub fn imag(&self) -> Result<Tensor> {
        single(self.raw().f_imag())
    }

    /// Returns the frequencies of an FFT of length `n` at sample spacing `d`, in cycles per unit of `d`.
    pub fn fftfreq(n: i64, d: f64, dtype: DType, device: Device) -> Result<Tensor> {
        single(tch::Tensor::f_fft_fftfreq(n, d, (dtype.kind(), device.tch())))
    }

    /// Returns the frequencies of an FFT of real input of length `n`.
    pub fn rfftfreq(n: i64, d: f64, dtype: DType, device: Device) -> Result<Tensor> {
        single(tch::Tensor::f_fft_rfftfreq(n, d, (dtype.kind(), device.tch())))
    }

    /// Builds complex numbers from real and imaginary parts.
    pub fn complex(real: &Tensor, imaginary: &Tensor) -> Result<Tensor> {
        single(tch::Tensor::f_complex(real.raw(), imaginary.raw()))
    }

    /// Builds complex numbers from moduli and angles in radians.
    pub fn polar(modulus: &Tensor, angle: &Tensor) -> Result<Tensor> {
        single(tch::Tensor::f_polar(modulus.raw(), angle.raw()))
    }
}

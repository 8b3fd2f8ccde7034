//! Fourier transforms and complex numbers.

use super::{Dims, Make, join};
use crate::declare::Declaration;
use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// Options of Fourier transforms over several dimensions.
    pub struct Norm {
        /// Normalisation: "backward" divides the inverse by n, "forward" the transform by n, "ortho" both by
        /// sqrt(n).
        norm: String = "backward".to_string() => one_of(&["backward", "forward", "ortho"]);
    }

    /// Options of Fourier transforms along one dimension.
    pub struct Fourier {
        /// Length to which the dimension is first cut or padded with zeros.
        n: Option<i64> = None => at_least(1.0);
        /// Normalisation: "backward" divides the inverse by n, "forward" the transform by n, "ortho" both by
        /// sqrt(n).
        norm: String = "backward".to_string() => one_of(&["backward", "forward", "ortho"]);
    }
}

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[
        transforms::declarations(),
        complex::declarations(),
        parts::declarations(),
        making::declarations(),
    ])
}

/// Returns the dimensions, or all of them when none are given.
fn every(x: &Tensor, dims: &Dims) -> Vec<i64> {
    match dims.0.is_empty() {
        true => (0..x.rank() as i64).collect(),
        false => dims.0.clone(),
    }
}

mod transforms {
    use super::*;
    functions! { methods;
        /// Computes the Fourier transform along a dimension, the last by default.
        ///
        /// `out[k] = sum over j of x[j] exp(-2 pi i j k / n)`.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0, 2.0, 3.0, 4.0]).fft().abs(), [10.0, 2.828427, 2.0, 2.828427], 1e-5);
        /// ```
        fn fft(x: Tensor, dim: Option<i64>, options: Fourier) -> Tensor {
            x.fft(options.n, dim.unwrap_or(-1), &options.norm)
        }

        /// Computes the inverse Fourier transform along a dimension.
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0, 3.0]);
        /// assert_close(x.fft().ifft().real, x, 1e-6);
        /// ```
        fn ifft(x: Tensor, dim: Option<i64>, options: Fourier) -> Tensor {
            x.ifft(options.n, dim.unwrap_or(-1), &options.norm)
        }

        /// Computes the Fourier transform of real numbers and keeps the non-redundant half of the spectrum.
        ///
        /// ```rhai
        /// let half = tensor([1.0, 2.0, 3.0, 4.0]).rfft();
        /// assert_eq(half.shape, [3]);
        /// assert_close(half.real, [10.0, -2.0, -2.0], 1e-6);
        /// ```
        fn rfft(x: Tensor, dim: Option<i64>, options: Fourier) -> Tensor {
            x.rfft(options.n, dim.unwrap_or(-1), &options.norm)
        }

        /// Computes the inverse of `rfft`; `n` is the length of the real signal, taken to be even when left out.
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0, 3.0]);
        /// assert_close(x.rfft().irfft(-1, #{ n: 3 }), x, 1e-6);
        /// ```
        fn irfft(x: Tensor, dim: Option<i64>, options: Fourier) -> Tensor {
            x.irfft(options.n, dim.unwrap_or(-1), &options.norm)
        }

        /// Computes the Fourier transform over the last two dimensions.
        ///
        /// ```rhai
        /// let spectrum = tensor::ones([2, 2]).fft2();
        /// assert_close(spectrum.real, [[4.0, 0.0], [0.0, 0.0]], 1e-6);
        /// ```
        fn fft2(x: Tensor, options: Norm) -> Tensor { x.fft2(&options.norm) }

        /// Computes the inverse Fourier transform over the last two dimensions.
        ///
        /// ```rhai
        /// let x = tensor([[1.0, 2.0], [3.0, 5.0]]);
        /// assert_close(x.fft2().ifft2().real, x, 1e-6);
        /// ```
        fn ifft2(x: Tensor, options: Norm) -> Tensor { x.ifft2(&options.norm) }

        /// Computes the Fourier transform of real images over the last two dimensions and keeps half of the last
        /// one.
        ///
        /// ```rhai
        /// assert_eq(tensor::ones([6, 8]).rfft2().shape, [6, 5]);
        /// assert_close(tensor::ones([6, 8]).rfft2().abs().sum(), 48.0, 1e-4);
        /// ```
        fn rfft2(x: Tensor, options: Norm) -> Tensor { x.rfft2(&options.norm) }

        /// Computes the inverse of `rfft2` for real images of `size` `[height, width]`.
        ///
        /// ```rhai
        /// let x = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]]);
        /// assert_close(x.rfft2().irfft2([2, 3]), x, 1e-5);
        /// ```
        fn irfft2(x: Tensor, size: (i64, i64), options: Norm) -> Tensor {
            x.irfft2(&[size.0, size.1], &options.norm)
        }

        /// Computes the Fourier transform over several dimensions, all by default.
        ///
        /// ```rhai
        /// assert_close(tensor::ones([2, 2, 2]).fftn().abs().sum(), 8.0, 1e-5);
        /// ```
        fn fftn(x: Tensor, dim: Dims, options: Norm) -> Tensor { x.fftn(&every(&x, &dim), &options.norm) }

        /// Computes the inverse Fourier transform over several dimensions, all by default.
        ///
        /// ```rhai
        /// let x = tensor::rand([2, 3, 2]);
        /// assert_close(x.fftn().ifftn().real, x, 1e-5);
        /// ```
        fn ifftn(x: Tensor, dim: Dims, options: Norm) -> Tensor { x.ifftn(&every(&x, &dim), &options.norm) }

        /// Moves frequency zero to the centre of dimensions, all by default.
        ///
        /// ```rhai
        /// assert_eq(tensor([0, 1, 2, -2, -1]).fftshift(), tensor([-2, -1, 0, 1, 2]));
        /// ```
        fn fftshift(x: Tensor, dim: Dims) -> Tensor { x.fftshift(&every(&x, &dim)) }

        /// Undoes `fftshift`.
        ///
        /// ```rhai
        /// assert_eq(tensor([-2, -1, 0, 1, 2]).ifftshift(), tensor([0, 1, 2, -2, -1]));
        /// ```
        fn ifftshift(x: Tensor, dim: Dims) -> Tensor { x.ifftshift(&every(&x, &dim)) }
    }
}

mod complex {
    use super::*;
    functions! { methods;
        /// Returns the complex conjugate.
        ///
        /// ```rhai
        /// let z = tensor::complex(tensor([1.0]), tensor([2.0]));
        /// assert_eq(z.conj().imag, tensor([-2.0]));
        /// ```
        fn conj(x: Tensor) -> Tensor { x.conj() }

        /// Returns the angle of complex numbers, in radians from -pi to pi.
        ///
        /// ```rhai
        /// let z = tensor::complex(tensor([0.0]), tensor([2.0]));
        /// assert_close(z.angle(), [1.5707963], 1e-6);
        /// ```
        fn angle(x: Tensor) -> Tensor { x.angle() }

        /// Returns a view of complex numbers as pairs in a new last dimension.
        ///
        /// ```rhai
        /// let z = tensor::complex(tensor([1.0]), tensor([2.0]));
        /// assert_eq(z.view_as_real(), tensor([[1.0, 2.0]]));
        /// ```
        fn view_as_real(x: Tensor) -> Tensor { x.view_as_real() }

        /// Returns a view of pairs in the last dimension as complex numbers.
        ///
        /// ```rhai
        /// assert_eq(tensor([[1.0, 2.0]]).view_as_complex().imag, tensor([2.0]));
        /// ```
        fn view_as_complex(x: Tensor) -> Tensor { x.view_as_complex() }
    }
}

mod parts {
    use super::*;
    functions! { properties;
        /// Real part of complex numbers.
        ///
        /// ```rhai
        /// assert_eq(tensor::complex(tensor([1.0]), tensor([2.0])).real, tensor([1.0]));
        /// ```
        fn real(x: Tensor) -> Tensor { if x.dtype().is_complex() { x.real() } else { Ok(x.clone()) } }

        /// Imaginary part of complex numbers.
        ///
        /// ```rhai
        /// assert_eq(tensor::complex(tensor([1.0]), tensor([2.0])).imag, tensor([2.0]));
        /// ```
        fn imag(x: Tensor) -> Tensor { x.imag() }
    }
}

pub mod making {
    use super::*;
    functions! { in "tensor";
        /// Creates complex numbers from real and imaginary parts of the same float dtype.
        ///
        /// ```rhai
        /// let z = tensor::complex(tensor([3.0]), tensor([-4.0]));
        /// assert_eq(z.dtype, "complex64");
        /// assert_eq(z.to_array(), [[3.0, -4.0]]);
        /// ```
        fn complex(real: Tensor, imaginary: Tensor) -> Tensor { Tensor::complex(&real, &imaginary) }

        /// Creates complex numbers from absolute values and angles in radians.
        ///
        /// ```rhai
        /// let z = tensor::polar(tensor([2.0]), tensor([1.5707963]));
        /// assert_close(z.imag, [2.0], 1e-6);
        /// ```
        fn polar(modulus: Tensor, angle: Tensor) -> Tensor { Tensor::polar(&modulus, &angle) }

        /// Returns the frequencies of a Fourier transform of length `n`, in cycles per unit of the sample spacing.
        ///
        /// ```rhai
        /// assert_eq(tensor::fftfreq(4), tensor([0.0, 0.25, -0.5, -0.25]));
        /// ```
        fn fftfreq(n: i64, spacing: Option<f64>, options: Make) -> Tensor {
            Tensor::fftfreq(n, spacing.unwrap_or(1.0), options.dtype(), options.device())
        }

        /// Returns the frequencies of `rfft` of length `n`, in cycles per unit of the sample spacing.
        ///
        /// ```rhai
        /// assert_eq(tensor::rfftfreq(4, 0.5), tensor([0.0, 0.5, 1.0]));
        /// ```
        fn rfftfreq(n: i64, spacing: Option<f64>, options: Make) -> Tensor {
            Tensor::rfftfreq(n, spacing.unwrap_or(1.0), options.dtype(), options.device())
        }
    }
}

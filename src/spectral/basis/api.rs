//! Namespace `basis`, and the methods of a basis.

use super::{Basis, Haar, Laplacian};
use crate::declare::{FromValue, Function, IntoValue, Map};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::Tensor;
use crate::torch::operand::Operand;

fn pair(grid: Option<Vec<i64>>) -> Result<Option<(i64, i64)>> {
    match grid.as_deref() {
        None => Ok(None),
        Some([height, width]) => Ok(Some((*height, *width))),
        Some(other) => Err(Error::argument(format!("expected a grid [height, width], found {other:?}"))),
    }
}

/// Script constructors.
pub mod make {
    use super::*;
    functions! { in "basis";
        /// Creates the orthonormal cosine transform (DCT-II), for images whose opposite edges do not match.
        ///
        /// A plane [H, W] has coefficients [H, W], with radius sqrt((u / (H - 1))^2 + (v / (W - 1))^2).
        ///
        /// ```rhai
        /// let flat = tensor::ones([1, 1, 4, 6]);
        /// assert_close(basis::dct().forward(flat)[0, 0, 0, 0], 24.0 ** 0.5, 1e-5);   // the mean alone, sqrt(H W) times it
        /// let x = tensor::rand([2, 3, 4, 6]);
        /// assert_close(basis::dct().scale(x, |r| r * 0.0 + 1.0), x, 1e-5);
        /// ```
        fn dct() -> Basis { Ok(Basis::dct()) }

        /// Creates the unitary Fourier transform, for periodic images.
        ///
        /// A plane [H, W] has complex coefficients [H, W], zero frequency first, with radius
        /// sqrt((2 u / H)^2 + (2 v / W)^2) for u and v cycles. `inverse` returns the real part.
        ///
        /// ```rhai
        /// let x = tensor::rand([1, 3, 5, 8]);
        /// let f = basis::fft();
        /// assert_close(f.inverse(f.forward(x)), x, 1e-5);
        /// // Gains may differ from image to image: here one blurs by its own time.
        /// let t = tensor([0.2]).reshape([1, 1, 1, 1]);
        /// assert_eq(f.scale(x, |r| (-(r * r) / t).exp()).shape, [1, 3, 5, 8]);
        /// ```
        fn fft() -> Basis { Ok(Basis::fft()) }

        /// Creates the orthonormal Haar transform: means and differences of blocks.
        ///
        /// A plane [H, W] has coefficients [H, W], with the coarse ones in the top left corner. A coefficient
        /// covers one octave along each axis, and its radius is the middle of that octave; the coarse band has
        /// radius 0.
        ///
        /// ```rhai
        /// let x = tensor([[1.0, 2.0], [3.0, 4.0]]).reshape([1, 1, 2, 2]);
        /// assert_close(basis::haar().forward(x)[0, 0], [[5.0, -1.0], [-2.0, 0.0]], 1e-6);
        /// ```
        fn haar(options: Haar) -> Basis { Basis::haar(options) }

        /// Creates a Laplacian pyramid without downsampling: bands between Gaussians, each twice as wide as the one
        /// before.
        ///
        /// Images [B, C, H, W] have bands [levels + 1, B, C, H, W], the finest first, whose sum is the images. A
        /// band's radius lies between the radii at which its two Gaussians have a gain of one half; the last band
        /// has radius 0. Edges are replicated.
        ///
        /// ```rhai
        /// let x = tensor::rand([1, 1, 8, 12]);
        /// let bands = basis::laplacian(#{ levels: 2 }).forward(x);
        /// assert_eq(bands.shape, [3, 1, 1, 8, 12]);
        /// assert_close(bands.sum(0), x, 1e-5);
        /// ```
        fn laplacian(options: Laplacian) -> Basis { Basis::laplacian(options) }
    }
}

/// Methods of a basis.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Transforms, multiplies each coefficient by a gain, and transforms back.
        ///
        /// `x` is images [B, C, H, W] or tokens [B, N, D] in row-major order; the tokens lie on a square grid
        /// unless `grid` is given as [height, width]. The closure takes the frequency radii, as `radius` returns
        /// them, a tensor of fractions of Nyquist that broadcasts to the coefficients, and returns the gains: a
        /// number, or a tensor of numbers or booleans of a shape that broadcasts too. With a batch axis, as in
        /// [B, 1, 1, 1] times the radii, each image has its own gains. Gradients flow through `x` and the gains.
        /// bfloat16 is transformed in float32. The result is real: opposite waves get the mean of their gains.
        ///
        /// ```rhai
        /// let x = tensor::rand([2, 3, 8, 8]);
        /// let low = basis::dct().scale(x, |r| r < 0.25);
        /// let high = basis::dct().scale(x, |r| r >= 0.25);
        /// assert_close(low + high, x, 1e-5);
        /// let tokens = tensor::rand([2, 24, 16]);
        /// assert_eq(basis::fft().scale(tokens, |r| 1.0 / (1.0 + r), [4, 6]).shape, [2, 24, 16]);
        /// // Gains can be measured: here the amplitudes of a batch.
        /// let amplitudes = basis::fft().forward(x).abs().square().mean([0, 1]).sqrt();
        /// assert_close(basis::fft().scale(basis::fft().scale(x, |r| amplitudes), |r| 1.0 / amplitudes), x, 1e-4);
        /// ```
        fn scale(basis: Basis, x: Tensor, gain: Function, grid: Option<Vec<i64>>) -> Tensor {
            basis.scale(&x, pair(grid)?, |radii| {
                let gains = gain.call(&[radii.clone().into_value()])?;
                match Operand::from_value(&gains).map_err(|e| e.context("the gains that the closure gives"))? {
                    Operand::Tensor(gains) => Ok(gains),
                    Operand::Number(gain) => Tensor::filled(&[], gain, radii.dtype(), radii.device()),
                }
            })
        }

        /// Splits `x` into bands at ascending frequency radii; the bands sum to `x`.
        ///
        /// The first band lies below the first edge, and the last starts at the last edge. `x` and `grid` are as in
        /// `scale`.
        ///
        /// ```rhai
        /// let x = tensor::rand([2, 3, 8, 8]);
        /// let bands = basis::fft().bands(x, [0.25, 0.5]);
        /// assert_eq(bands.len, 3);
        /// assert_close(bands[0] + bands[1] + bands[2], x, 1e-5);
        /// ```
        fn bands(basis: Basis, x: Tensor, edges: Vec<f64>, grid: Option<Vec<i64>>) -> Vec<Tensor> {
            basis.bands(&x, pair(grid)?, &edges)
        }

        /// Returns the coefficients of images [B, C, H, W].
        ///
        /// ```rhai
        /// assert_eq(basis::haar().forward(tensor::rand([1, 2, 4, 6])).shape, [1, 2, 4, 6]);
        /// ```
        fn forward(basis: Basis, images: Tensor) -> Tensor { basis.forward(&images) }

        /// Returns the images whose coefficients `forward` computed.
        ///
        /// ```rhai
        /// let h = basis::haar(#{ levels: 2 });
        /// let x = tensor::rand([1, 2, 4, 8]);
        /// assert_close(h.inverse(h.forward(x)), x, 1e-5);
        /// ```
        fn inverse(basis: Basis, coefficients: Tensor) -> Tensor { basis.inverse(&coefficients) }

        /// Returns the frequency radius of each coefficient of `images`, broadcastable to the coefficients.
        ///
        /// The radius is a fraction of Nyquist: 1 is a wave of two pixels along one axis, and sqrt(2) is the
        /// checkerboard.
        ///
        /// ```rhai
        /// let r = basis::fft().radius(tensor::zeros([1, 1, 4, 4]));
        /// assert_close(r[0], [0.0, 0.5, 1.0, 0.5], 1e-6);
        /// ```
        fn radius(basis: Basis, images: Tensor) -> Tensor { basis.radius_of(&images) }

        /// Returns whether two bases have the same kind and equal options.
        ///
        /// ```rhai
        /// assert(basis::haar() == basis::haar(#{ levels: 1 }));
        /// ```
        fn equal["=="](a: Basis, b: Basis) -> bool { Ok(a == b) }

        /// Returns whether two bases differ in kind or options.
        ///
        /// ```rhai
        /// assert(basis::dct() != basis::fft());
        /// ```
        fn differ["!="](a: Basis, b: Basis) -> bool { Ok(a != b) }
    }
}

/// Properties of a basis.
pub mod properties {
    use super::*;
    functions! { properties;
        /// Name of the basis kind.
        ///
        /// ```rhai
        /// assert_eq(basis::dct().name, "dct");
        /// ```
        fn name(basis: Basis) -> String { Ok(basis.name().to_string()) }

        /// Options of the basis, including defaults.
        ///
        /// ```rhai
        /// assert_eq(basis::laplacian().options, #{ levels: 3, sigma: 1.0 });
        /// ```
        fn options(basis: Basis) -> Map { Ok(basis.options()) }
    }
}

//! Mathematics, element by element.

use super::join;
use crate::declare::{Declaration, Number};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::Tensor;
use crate::torch::ops::operand::Operand;

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[powers::declarations(), angles::declarations(), bounds::declarations()])
}

/// Holds elements between bounds, either of which may be open, a number or a tensor.
pub fn bounded(x: &Tensor, low: Option<Operand>, high: Option<Operand>) -> Result<Tensor> {
    match (low, high) {
        (None, None) => Err(Error::argument("expected a lower or an upper bound").hint("`x.clamp(0, 1)`")),
        (Some(Operand::Number(low)), Some(Operand::Number(high))) => x.clamp(low, high),
        (Some(Operand::Number(low)), None) => x.clamp_min(low),
        (None, Some(Operand::Number(high))) => x.clamp_max(high),
        (low, high) => {
            let low = low.map(|b| b.tensor_for(x)).transpose()?;
            let high = high.map(|b| b.tensor_for(x)).transpose()?;
            x.clamp_between(low.as_ref(), high.as_ref())
        }
    }
}

mod powers {
    use super::*;
    functions! { methods;
        /// Absolute value of each element; of complex numbers, the modulus.
        ///
        /// ```rhai
        /// assert_eq(tensor([-3, 2]).abs(), tensor([3, 2]));
        /// assert_eq(tensor::complex(tensor([3.0]), tensor([4.0])).abs(), tensor([5.0]));
        /// ```
        fn abs(x: Tensor) -> Tensor { x.abs() }

        /// Changes the sign of each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.5, -2.0]).neg(), tensor([-1.5, 2.0]));
        /// ```
        fn neg(x: Tensor) -> Tensor { x.neg() }

        /// The sign of each element: -1, 0 or 1.
        ///
        /// ```rhai
        /// assert_eq(tensor([-0.5, 0.0, 7.0]).sign(), tensor([-1.0, 0.0, 1.0]));
        /// ```
        fn sign(x: Tensor) -> Tensor { x.sign() }

        /// Square of each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([3, -4]).square(), tensor([9, 16]));
        /// ```
        fn square(x: Tensor) -> Tensor { x.square() }

        /// Square root of each element; NaN below zero.
        ///
        /// ```rhai
        /// assert_eq(tensor([4.0, 2.25]).sqrt(), tensor([2.0, 1.5]));
        /// ```
        fn sqrt(x: Tensor) -> Tensor { x.sqrt() }

        /// Reciprocal of the square root, `1 / sqrt(x)`.
        ///
        /// ```rhai
        /// assert_eq(tensor([4.0, 0.25]).rsqrt(), tensor([0.5, 2.0]));
        /// ```
        fn rsqrt(x: Tensor) -> Tensor { x.rsqrt() }

        /// `1 / x` of each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([2.0, -4.0]).reciprocal(), tensor([0.5, -0.25]));
        /// ```
        fn reciprocal(x: Tensor) -> Tensor { x.reciprocal() }

        /// Exponential of each element.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).exp(), [1.0, 2.7182818], 1e-6);
        /// ```
        fn exp(x: Tensor) -> Tensor { x.exp() }

        /// Two to the power of each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([3.0, -1.0]).exp2(), tensor([8.0, 0.5]));
        /// ```
        fn exp2(x: Tensor) -> Tensor { x.exp2() }

        /// `exp(x) - 1`, exact near zero.
        ///
        /// ```rhai
        /// assert_close(tensor([1e-10], #{ dtype: "float64" }).expm1().item() * 1e10, 1.0, 1e-9);
        /// ```
        fn expm1(x: Tensor) -> Tensor { x.expm1() }

        /// Natural logarithm; NaN below zero.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0, 7.389056]).log(), [0.0, 2.0], 1e-6);
        /// ```
        fn log(x: Tensor) -> Tensor { x.log() }

        /// Logarithm to base 2.
        ///
        /// ```rhai
        /// assert_eq(tensor([8.0, 0.25]).log2(), tensor([3.0, -2.0]));
        /// ```
        fn log2(x: Tensor) -> Tensor { x.log2() }

        /// Logarithm to base 10.
        ///
        /// ```rhai
        /// assert_close(tensor([1000.0, 0.1]).log10(), [3.0, -1.0], 1e-6);
        /// ```
        fn log10(x: Tensor) -> Tensor { x.log10() }

        /// `log(1 + x)`, exact near zero.
        ///
        /// ```rhai
        /// assert_close(tensor([1e-10], #{ dtype: "float64" }).log1p().item() * 1e10, 1.0, 1e-9);
        /// ```
        fn log1p(x: Tensor) -> Tensor { x.log1p() }

        /// Error function, `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to x.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).erf(), [0.0, 0.8427008], 1e-6);
        /// ```
        fn erf(x: Tensor) -> Tensor { x.erf() }

        /// Complement of the error function, `1 - erf(x)`.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).erfc(), [1.0, 0.1572992], 1e-6);
        /// ```
        fn erfc(x: Tensor) -> Tensor { x.erfc() }

        /// Inverse of the error function, for x from -1 to 1.
        ///
        /// ```rhai
        /// assert_close(tensor([0.5]).erfinv().erf(), [0.5], 1e-6);
        /// ```
        fn erfinv(x: Tensor) -> Tensor { x.erfinv() }

        /// Logarithm of the absolute value of the gamma function.
        ///
        /// ```rhai
        /// assert_close(tensor([5.0]).lgamma(), [3.1780538], 1e-5);
        /// ```
        fn lgamma(x: Tensor) -> Tensor { x.lgamma() }

        /// Derivative of the logarithm of the gamma function.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).digamma(), [-0.5772157], 1e-5);
        /// ```
        fn digamma(x: Tensor) -> Tensor { x.digamma() }

        /// Modified Bessel function of the first kind and order 0.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).i0(), [1.0, 1.2660659], 1e-5);
        /// ```
        fn i0(x: Tensor) -> Tensor { x.i0() }
    }
}

mod angles {
    use super::*;
    functions! { methods;
        /// Sine; angles are in radians.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.5707963]).sin(), [0.0, 1.0], 1e-6);
        /// ```
        fn sin(x: Tensor) -> Tensor { x.sin() }

        /// Cosine; angles are in radians.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 3.1415927]).cos(), [1.0, -1.0], 1e-6);
        /// ```
        fn cos(x: Tensor) -> Tensor { x.cos() }

        /// Tangent; angles are in radians.
        ///
        /// ```rhai
        /// assert_close(tensor([0.7853982]).tan(), [1.0], 1e-6);
        /// ```
        fn tan(x: Tensor) -> Tensor { x.tan() }

        /// Arc sine, in radians from -pi/2 to pi/2.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).asin(), [1.5707963], 1e-6);
        /// ```
        fn asin(x: Tensor) -> Tensor { x.asin() }

        /// Arc cosine, in radians from 0 to pi.
        ///
        /// ```rhai
        /// assert_close(tensor([-1.0]).acos(), [3.1415927], 1e-6);
        /// ```
        fn acos(x: Tensor) -> Tensor { x.acos() }

        /// Arc tangent, in radians from -pi/2 to pi/2.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).atan(), [0.7853982], 1e-6);
        /// ```
        fn atan(x: Tensor) -> Tensor { x.atan() }

        /// Hyperbolic sine.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).sinh(), [1.1752012], 1e-6);
        /// ```
        fn sinh(x: Tensor) -> Tensor { x.sinh() }

        /// Hyperbolic cosine.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).cosh(), [1.5430806], 1e-6);
        /// ```
        fn cosh(x: Tensor) -> Tensor { x.cosh() }

        /// Hyperbolic tangent, from -1 to 1.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).tanh(), [0.0, 0.7615942], 1e-6);
        /// ```
        fn tanh(x: Tensor) -> Tensor { x.tanh() }

        /// Inverse of the hyperbolic sine.
        ///
        /// ```rhai
        /// assert_close(tensor([1.1752012]).asinh(), [1.0], 1e-6);
        /// ```
        fn asinh(x: Tensor) -> Tensor { x.asinh() }

        /// Inverse of the hyperbolic cosine, for x from 1.
        ///
        /// ```rhai
        /// assert_close(tensor([1.5430806]).acosh(), [1.0], 1e-6);
        /// ```
        fn acosh(x: Tensor) -> Tensor { x.acosh() }

        /// Inverse of the hyperbolic tangent, for x from -1 to 1.
        ///
        /// ```rhai
        /// assert_close(tensor([0.7615942]).atanh(), [1.0], 1e-5);
        /// ```
        fn atanh(x: Tensor) -> Tensor { x.atanh() }

        /// `sin(pi x) / (pi x)`, which is 1 at zero.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 0.5, 1.0]).sinc(), [1.0, 0.6366198, 0.0], 1e-6);
        /// ```
        fn sinc(x: Tensor) -> Tensor { x.sinc() }

        /// Radians from degrees.
        ///
        /// ```rhai
        /// assert_close(tensor([180.0]).deg2rad(), [3.1415927], 1e-6);
        /// ```
        fn deg2rad(x: Tensor) -> Tensor { x.deg2rad() }

        /// Degrees from radians.
        ///
        /// ```rhai
        /// assert_close(tensor([3.1415927]).rad2deg(), [180.0], 1e-4);
        /// ```
        fn rad2deg(x: Tensor) -> Tensor { x.rad2deg() }
    }
}

mod bounds {
    use super::*;
    functions! { methods;
        /// The largest integer not above each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.7, -1.2]).floor(), tensor([1.0, -2.0]));
        /// ```
        fn floor(x: Tensor) -> Tensor { x.floor() }

        /// The smallest integer not below each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.2, -1.7]).ceil(), tensor([2.0, -1.0]));
        /// ```
        fn ceil(x: Tensor) -> Tensor { x.ceil() }

        /// Rounds to the nearest integer, halves to even, or to `decimals` places.
        ///
        /// ```rhai
        /// assert_eq(tensor([0.5, 1.5, -1.6]).round(), tensor([0.0, 2.0, -2.0]));
        /// assert_close(tensor([3.14159]).round(2), [3.14], 1e-6);
        /// ```
        fn round(x: Tensor, decimals: Option<i64>) -> Tensor {
            match decimals {
                Some(decimals) => x.round_to(decimals),
                None => x.round(),
            }
        }

        /// The integer part, towards zero.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.7, -1.7]).trunc(), tensor([1.0, -1.0]));
        /// ```
        fn trunc(x: Tensor) -> Tensor { x.trunc() }

        /// The fractional part, with the sign of the element.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.75, -1.25]).frac(), tensor([0.75, -0.25]));
        /// ```
        fn frac(x: Tensor) -> Tensor { x.frac() }

        /// Holds elements between two bounds; `()` leaves a side open.
        ///
        /// Bounds are numbers or tensors that broadcast.
        ///
        /// ```rhai
        /// let x = tensor([-2, 0, 5]);
        /// assert_eq(x.clamp(-1, 1), tensor([-1, 0, 1]));
        /// assert_eq(x.clamp((), 3), tensor([-2, 0, 3]));
        /// assert_eq(x.clamp(tensor([0, 1, 2])), tensor([0, 1, 5]));
        /// ```
        fn clamp(x: Tensor, low: Option<Operand>, high: Option<Operand>) -> Tensor { bounded(&x, low, high) }

        /// Holds elements between two bounds, NumPy's name of `clamp`.
        ///
        /// ```rhai
        /// assert_eq(tensor([-2.0, 0.5]).clip(0, 1), tensor([0.0, 0.5]));
        /// ```
        fn clip(x: Tensor, low: Option<Operand>, high: Option<Operand>) -> Tensor { bounded(&x, low, high) }

        /// Raises elements below a bound to it.
        ///
        /// ```rhai
        /// assert_eq(tensor([-2.0, 3.0]).clamp_min(0), tensor([0.0, 3.0]));
        /// ```
        fn clamp_min(x: Tensor, low: Number) -> Tensor { x.clamp_min(low) }

        /// Lowers elements above a bound to it.
        ///
        /// ```rhai
        /// assert_eq(tensor([-2, 3]).clamp_max(1), tensor([-2, 1]));
        /// ```
        fn clamp_max(x: Tensor, high: Number) -> Tensor { x.clamp_max(high) }

        /// Replaces NaN (by 0 unless told otherwise) and infinities (by the largest finite numbers).
        ///
        /// ```rhai
        /// let x = tensor([0.0, 1.0, -1.0]) / 0.0;
        /// assert_eq(x.nan_to_num(5.0, 1.0, -1.0), tensor([5.0, 1.0, -1.0]));
        /// ```
        fn nan_to_num(x: Tensor, nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) -> Tensor {
            x.nan_to_num(nan.unwrap_or(0.0), posinf, neginf)
        }

        /// Logarithm of the odds, `log(x / (1 - x))`, the inverse of the sigmoid.
        ///
        /// With `eps`, x is first held between `eps` and `1 - eps`.
        ///
        /// ```rhai
        /// assert_close(tensor([0.5, 0.7310586]).logit(), [0.0, 1.0], 1e-5);
        /// ```
        fn logit(x: Tensor, eps: Option<f64>) -> Tensor { x.logit(eps) }
    }
}

//! Element-wise mathematical functions.

use super::join;
use crate::declare::{Declaration, Number};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::Tensor;
use crate::torch::ops::operand::Operand;

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[powers::declarations(), angles::declarations(), bounds::declarations()])
}

/// Clamps elements between bounds; each is a number, a tensor, or left out.
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
        /// Returns the absolute value of each element, which is the modulus of complex numbers.
        ///
        /// ```rhai
        /// assert_eq(tensor([-3, 2]).abs(), tensor([3, 2]));
        /// assert_eq(tensor::complex(tensor([3.0]), tensor([4.0])).abs(), tensor([5.0]));
        /// ```
        fn abs(x: Tensor) -> Tensor { x.abs() }

        /// Returns the elements with their signs changed.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.5, -2.0]).neg(), tensor([-1.5, 2.0]));
        /// ```
        fn neg(x: Tensor) -> Tensor { x.neg() }

        /// Returns the sign of each element: -1, 0 or 1.
        ///
        /// ```rhai
        /// assert_eq(tensor([-0.5, 0.0, 7.0]).sign(), tensor([-1.0, 0.0, 1.0]));
        /// ```
        fn sign(x: Tensor) -> Tensor { x.sign() }

        /// Returns the square of each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([3, -4]).square(), tensor([9, 16]));
        /// ```
        fn square(x: Tensor) -> Tensor { x.square() }

        /// Returns the square root of each element, NaN below zero.
        ///
        /// ```rhai
        /// assert_eq(tensor([4.0, 2.25]).sqrt(), tensor([2.0, 1.5]));
        /// ```
        fn sqrt(x: Tensor) -> Tensor { x.sqrt() }

        /// Returns the reciprocal of the square root, `1 / sqrt(x)`.
        ///
        /// ```rhai
        /// assert_eq(tensor([4.0, 0.25]).rsqrt(), tensor([0.5, 2.0]));
        /// ```
        fn rsqrt(x: Tensor) -> Tensor { x.rsqrt() }

        /// Returns the reciprocal of each element, `1 / x`.
        ///
        /// ```rhai
        /// assert_eq(tensor([2.0, -4.0]).reciprocal(), tensor([0.5, -0.25]));
        /// ```
        fn reciprocal(x: Tensor) -> Tensor { x.reciprocal() }

        /// Returns the exponential of each element.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).exp(), [1.0, 2.7182818], 1e-6);
        /// ```
        fn exp(x: Tensor) -> Tensor { x.exp() }

        /// Returns two to the power of each element.
        ///
        /// ```rhai
        /// assert_eq(tensor([3.0, -1.0]).exp2(), tensor([8.0, 0.5]));
        /// ```
        fn exp2(x: Tensor) -> Tensor { x.exp2() }

        /// Returns `exp(x) - 1`, accurate near zero.
        ///
        /// ```rhai
        /// assert_close(tensor([1e-10], #{ dtype: "float64" }).expm1().item() * 1e10, 1.0, 1e-9);
        /// ```
        fn expm1(x: Tensor) -> Tensor { x.expm1() }

        /// Returns the natural logarithm, NaN below zero.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0, 7.389056]).log(), [0.0, 2.0], 1e-6);
        /// ```
        fn log(x: Tensor) -> Tensor { x.log() }

        /// Returns the logarithm to base 2.
        ///
        /// ```rhai
        /// assert_eq(tensor([8.0, 0.25]).log2(), tensor([3.0, -2.0]));
        /// ```
        fn log2(x: Tensor) -> Tensor { x.log2() }

        /// Returns the logarithm to base 10.
        ///
        /// ```rhai
        /// assert_close(tensor([1000.0, 0.1]).log10(), [3.0, -1.0], 1e-6);
        /// ```
        fn log10(x: Tensor) -> Tensor { x.log10() }

        /// Returns `log(1 + x)`, accurate near zero.
        ///
        /// ```rhai
        /// assert_close(tensor([1e-10], #{ dtype: "float64" }).log1p().item() * 1e10, 1.0, 1e-9);
        /// ```
        fn log1p(x: Tensor) -> Tensor { x.log1p() }

        /// Returns the error function, `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to x.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).erf(), [0.0, 0.8427008], 1e-6);
        /// ```
        fn erf(x: Tensor) -> Tensor { x.erf() }

        /// Returns the complementary error function, `1 - erf(x)`.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).erfc(), [1.0, 0.1572992], 1e-6);
        /// ```
        fn erfc(x: Tensor) -> Tensor { x.erfc() }

        /// Returns the inverse error function, for x from -1 to 1.
        ///
        /// ```rhai
        /// assert_close(tensor([0.5]).erfinv().erf(), [0.5], 1e-6);
        /// ```
        fn erfinv(x: Tensor) -> Tensor { x.erfinv() }

        /// Returns the logarithm of the absolute value of the gamma function.
        ///
        /// ```rhai
        /// assert_close(tensor([5.0]).lgamma(), [3.1780538], 1e-5);
        /// ```
        fn lgamma(x: Tensor) -> Tensor { x.lgamma() }

        /// Returns the derivative of the logarithm of the gamma function.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).digamma(), [-0.5772157], 1e-5);
        /// ```
        fn digamma(x: Tensor) -> Tensor { x.digamma() }

        /// Returns the modified Bessel function of the first kind and order 0.
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
        /// Returns the sine of angles in radians.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.5707963]).sin(), [0.0, 1.0], 1e-6);
        /// ```
        fn sin(x: Tensor) -> Tensor { x.sin() }

        /// Returns the cosine of angles in radians.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 3.1415927]).cos(), [1.0, -1.0], 1e-6);
        /// ```
        fn cos(x: Tensor) -> Tensor { x.cos() }

        /// Returns the tangent of angles in radians.
        ///
        /// ```rhai
        /// assert_close(tensor([0.7853982]).tan(), [1.0], 1e-6);
        /// ```
        fn tan(x: Tensor) -> Tensor { x.tan() }

        /// Returns the arc sine, in radians from -pi/2 to pi/2.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).asin(), [1.5707963], 1e-6);
        /// ```
        fn asin(x: Tensor) -> Tensor { x.asin() }

        /// Returns the arc cosine, in radians from 0 to pi.
        ///
        /// ```rhai
        /// assert_close(tensor([-1.0]).acos(), [3.1415927], 1e-6);
        /// ```
        fn acos(x: Tensor) -> Tensor { x.acos() }

        /// Returns the arc tangent, in radians from -pi/2 to pi/2.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).atan(), [0.7853982], 1e-6);
        /// ```
        fn atan(x: Tensor) -> Tensor { x.atan() }

        /// Returns the hyperbolic sine.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).sinh(), [1.1752012], 1e-6);
        /// ```
        fn sinh(x: Tensor) -> Tensor { x.sinh() }

        /// Returns the hyperbolic cosine.
        ///
        /// ```rhai
        /// assert_close(tensor([1.0]).cosh(), [1.5430806], 1e-6);
        /// ```
        fn cosh(x: Tensor) -> Tensor { x.cosh() }

        /// Returns the hyperbolic tangent, from -1 to 1.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 1.0]).tanh(), [0.0, 0.7615942], 1e-6);
        /// ```
        fn tanh(x: Tensor) -> Tensor { x.tanh() }

        /// Returns the inverse hyperbolic sine.
        ///
        /// ```rhai
        /// assert_close(tensor([1.1752012]).asinh(), [1.0], 1e-6);
        /// ```
        fn asinh(x: Tensor) -> Tensor { x.asinh() }

        /// Returns the inverse hyperbolic cosine, for x from 1.
        ///
        /// ```rhai
        /// assert_close(tensor([1.5430806]).acosh(), [1.0], 1e-6);
        /// ```
        fn acosh(x: Tensor) -> Tensor { x.acosh() }

        /// Returns the inverse hyperbolic tangent, for x from -1 to 1.
        ///
        /// ```rhai
        /// assert_close(tensor([0.7615942]).atanh(), [1.0], 1e-5);
        /// ```
        fn atanh(x: Tensor) -> Tensor { x.atanh() }

        /// Returns `sin(pi x) / (pi x)`, which is 1 at zero.
        ///
        /// ```rhai
        /// assert_close(tensor([0.0, 0.5, 1.0]).sinc(), [1.0, 0.6366198, 0.0], 1e-6);
        /// ```
        fn sinc(x: Tensor) -> Tensor { x.sinc() }

        /// Converts degrees to radians.
        ///
        /// ```rhai
        /// assert_close(tensor([180.0]).deg2rad(), [3.1415927], 1e-6);
        /// ```
        fn deg2rad(x: Tensor) -> Tensor { x.deg2rad() }

        /// Converts radians to degrees.
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
        /// Rounds each element down to an integer.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.7, -1.2]).floor(), tensor([1.0, -2.0]));
        /// ```
        fn floor(x: Tensor) -> Tensor { x.floor() }

        /// Rounds each element up to an integer.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.2, -1.7]).ceil(), tensor([2.0, -1.0]));
        /// ```
        fn ceil(x: Tensor) -> Tensor { x.ceil() }

        /// Rounds to the nearest integer, or to `decimals` places; halves round to even.
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

        /// Rounds each element towards zero to its integer part.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.7, -1.7]).trunc(), tensor([1.0, -1.0]));
        /// ```
        fn trunc(x: Tensor) -> Tensor { x.trunc() }

        /// Returns the fractional part, with the sign of the element.
        ///
        /// ```rhai
        /// assert_eq(tensor([1.75, -1.25]).frac(), tensor([0.75, -0.25]));
        /// ```
        fn frac(x: Tensor) -> Tensor { x.frac() }

        /// Clamps elements between two bounds; `()` leaves a side open.
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

        /// Clamps elements between two bounds; NumPy's name for `clamp`.
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

        /// Replaces NaN (by 0 by default) and infinities (by the largest finite numbers by default).
        ///
        /// ```rhai
        /// let x = tensor([0.0, 1.0, -1.0]) / 0.0;
        /// assert_eq(x.nan_to_num(5.0, 1.0, -1.0), tensor([5.0, 1.0, -1.0]));
        /// ```
        fn nan_to_num(x: Tensor, nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) -> Tensor {
            x.nan_to_num(nan.unwrap_or(0.0), posinf, neginf)
        }

        /// Returns the log-odds, `log(x / (1 - x))`, the inverse of the sigmoid.
        ///
        /// With `eps`, x is first clamped between `eps` and `1 - eps`.
        ///
        /// ```rhai
        /// assert_close(tensor([0.5, 0.7310586]).logit(), [0.0, 1.0], 1e-5);
        /// ```
        fn logit(x: Tensor, eps: Option<f64>) -> Tensor { x.logit(eps) }
    }
}

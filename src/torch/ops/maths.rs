//! Element-wise mathematics. Integers give floats where the result is not an integer.

use super::arithmetic::with_numbers;
use super::declare::operators;
use super::nn::raw;
use super::single;
use crate::declare::Number;
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::Tensor;
use crate::torch::operand::Operand;

crate::api! { functions: [methods, scripts] }

/// Fails unless there is a bound.
pub(super) fn either(bound: bool) -> Result<()> {
    let error = || Error::argument("expected a lower or an upper bound").hint("`x.clamp(0, 1)`");
    if bound { Ok(()) } else { Err(error()) }
}

/// Clamps elements between bounds; each is a number, a tensor, or left out.
pub fn bounded(x: &Tensor, low: Option<Operand>, high: Option<Operand>) -> Result<Tensor> {
    either(low.is_some() || high.is_some())?;
    match (low, high) {
        (Some(Operand::Number(low)), Some(Operand::Number(high))) => x.clamp(low, high),
        (Some(Operand::Number(low)), None) => x.clamp_min(low),
        (None, Some(Operand::Number(high))) => x.clamp_max(high),
        (low, high) => {
            let low = low.map(|b| b.tensor_for(x)).transpose()?;
            let high = high.map(|b| b.tensor_for(x)).transpose()?;
            single(x.raw().f_clamp_tensor(raw(low.as_ref()), raw(high.as_ref())))
        }
    }
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Rounds to the nearest integer, or to `decimals` places; halves round to even.
        /// ```rhai
        /// assert_eq(tensor([0.5, 1.5, -1.6]).round(), tensor([0.0, 2.0, -2.0]));
        /// assert_close(tensor([3.14159]).round(2), [3.14], 1e-6);
        /// ```
        fn round(x: Tensor, decimals: Option<i64>) -> Tensor {
            match decimals {
                Some(decimals) => single(x.raw().f_round_decimals(decimals)),
                None => x.round(),
            }
        }

        /// Clamps elements between two bounds; `()` leaves a side open.
        ///
        /// Bounds are numbers or tensors that broadcast.
        /// ```rhai
        /// let x = tensor([-2, 0, 5]);
        /// assert_eq(x.clamp(-1, 1), tensor([-1, 0, 1]));
        /// assert_eq(x.clamp((), 3), tensor([-2, 0, 3]));
        /// assert_eq(x.clamp(tensor([0, 1, 2])), tensor([0, 1, 5]));
        /// ```
        fn clamp(x: Tensor, low: Option<Operand>, high: Option<Operand>) -> Tensor { bounded(&x, low, high) }

        /// Clamps elements between two bounds; NumPy's name for `clamp`.
        /// ```rhai
        /// assert_eq(tensor([-2.0, 0.5]).clip(0, 1), tensor([0.0, 0.5]));
        /// ```
        fn clip(x: Tensor, low: Option<Operand>, high: Option<Operand>) -> Tensor { bounded(&x, low, high) }

        /// Raises elements below a bound to it.
        /// ```rhai
        /// assert_eq(tensor([-2.0, 3.0]).clamp_min(0), tensor([0.0, 3.0]));
        /// ```
        fn clamp_min(x: Tensor, low: Number) -> Tensor { x.clamp_min(low) }

        /// Lowers elements above a bound to it.
        /// ```rhai
        /// assert_eq(tensor([-2, 3]).clamp_max(1), tensor([-2, 1]));
        /// ```
        fn clamp_max(x: Tensor, high: Number) -> Tensor { x.clamp_max(high) }
    }
}

operators! {
    /// Returns the absolute value of each element, which is the modulus of complex numbers.
    /// ```rhai
    /// assert_eq(tensor([-3, 2]).abs(), tensor([3, 2]));
    /// assert_eq(tensor::complex(tensor([3.0]), tensor([4.0])).abs(), tensor([5.0]));
    /// ```
    fn abs(x) = f_abs();

    /// Returns the elements with their signs changed.
    /// ```rhai
    /// assert_eq(tensor([1.5, -2.0]).neg(), tensor([-1.5, 2.0]));
    /// ```
    fn neg(x) = f_neg();

    /// Returns the sign of each element: -1, 0 or 1.
    /// ```rhai
    /// assert_eq(tensor([-0.5, 0.0, 7.0]).sign(), tensor([-1.0, 0.0, 1.0]));
    /// ```
    fn sign(x) = f_sign();

    /// Returns the square of each element.
    /// ```rhai
    /// assert_eq(tensor([3, -4]).square(), tensor([9, 16]));
    /// ```
    fn square(x) = f_square();

    /// Returns the square root of each element, NaN below zero.
    /// ```rhai
    /// assert_eq(tensor([4.0, 2.25]).sqrt(), tensor([2.0, 1.5]));
    /// ```
    fn sqrt(x) = f_sqrt();

    /// Returns the reciprocal of the square root, `1 / sqrt(x)`.
    /// ```rhai
    /// assert_eq(tensor([4.0, 0.25]).rsqrt(), tensor([0.5, 2.0]));
    /// ```
    fn rsqrt(x) = f_rsqrt();

    /// Returns the reciprocal of each element, `1 / x`.
    /// ```rhai
    /// assert_eq(tensor([2.0, -4.0]).reciprocal(), tensor([0.5, -0.25]));
    /// ```
    fn reciprocal(x) = f_reciprocal();

    /// Returns the exponential of each element.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).exp(), [1.0, 2.7182818], 1e-6);
    /// ```
    fn exp(x) = f_exp();

    /// Returns two to the power of each element.
    /// ```rhai
    /// assert_eq(tensor([3.0, -1.0]).exp2(), tensor([8.0, 0.5]));
    /// ```
    fn exp2(x) = f_exp2();

    /// Returns `exp(x) - 1`, accurate near zero.
    /// ```rhai
    /// assert_close(tensor([1e-10], #{ dtype: "float64" }).expm1().item() * 1e10, 1.0, 1e-9);
    /// ```
    fn expm1(x) = f_expm1();

    /// Returns the natural logarithm, NaN below zero.
    /// ```rhai
    /// assert_close(tensor([1.0, 7.389056]).log(), [0.0, 2.0], 1e-6);
    /// ```
    fn log(x) = f_log();

    /// Returns the logarithm to base 2.
    /// ```rhai
    /// assert_eq(tensor([8.0, 0.25]).log2(), tensor([3.0, -2.0]));
    /// ```
    fn log2(x) = f_log2();

    /// Returns the logarithm to base 10.
    /// ```rhai
    /// assert_close(tensor([1000.0, 0.1]).log10(), [3.0, -1.0], 1e-6);
    /// ```
    fn log10(x) = f_log10();

    /// Returns `log(1 + x)`, accurate near zero.
    /// ```rhai
    /// assert_close(tensor([1e-10], #{ dtype: "float64" }).log1p().item() * 1e10, 1.0, 1e-9);
    /// ```
    fn log1p(x) = f_log1p();

    /// Returns the error function, `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to x.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).erf(), [0.0, 0.8427008], 1e-6);
    /// ```
    fn erf(x) = f_erf();

    /// Returns the complementary error function, `1 - erf(x)`.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).erfc(), [1.0, 0.1572992], 1e-6);
    /// ```
    fn erfc(x) = f_erfc();

    /// Returns the inverse error function, for x from -1 to 1.
    /// ```rhai
    /// assert_close(tensor([0.5]).erfinv().erf(), [0.5], 1e-6);
    /// ```
    fn erfinv(x) = f_erfinv();

    /// Returns the logarithm of the absolute value of the gamma function.
    /// ```rhai
    /// assert_close(tensor([5.0]).lgamma(), [3.1780538], 1e-5);
    /// ```
    fn lgamma(x) = f_lgamma();

    /// Returns the derivative of the logarithm of the gamma function.
    /// ```rhai
    /// assert_close(tensor([1.0]).digamma(), [-0.5772157], 1e-5);
    /// ```
    fn digamma(x) = f_digamma();

    /// Returns the modified Bessel function of the first kind and order 0.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).i0(), [1.0, 1.2660659], 1e-5);
    /// ```
    fn i0(x) = f_i0();

    /// Returns the sine of angles in radians.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.5707963]).sin(), [0.0, 1.0], 1e-6);
    /// ```
    fn sin(x) = f_sin();

    /// Returns the cosine of angles in radians.
    /// ```rhai
    /// assert_close(tensor([0.0, 3.1415927]).cos(), [1.0, -1.0], 1e-6);
    /// ```
    fn cos(x) = f_cos();

    /// Returns the tangent of angles in radians.
    /// ```rhai
    /// assert_close(tensor([0.7853982]).tan(), [1.0], 1e-6);
    /// ```
    fn tan(x) = f_tan();

    /// Returns the arc sine, in radians from -pi/2 to pi/2.
    /// ```rhai
    /// assert_close(tensor([1.0]).asin(), [1.5707963], 1e-6);
    /// ```
    fn asin(x) = f_asin();

    /// Returns the arc cosine, in radians from 0 to pi.
    /// ```rhai
    /// assert_close(tensor([-1.0]).acos(), [3.1415927], 1e-6);
    /// ```
    fn acos(x) = f_acos();

    /// Returns the arc tangent, in radians from -pi/2 to pi/2.
    /// ```rhai
    /// assert_close(tensor([1.0]).atan(), [0.7853982], 1e-6);
    /// ```
    fn atan(x) = f_atan();

    /// Returns the hyperbolic sine.
    /// ```rhai
    /// assert_close(tensor([1.0]).sinh(), [1.1752012], 1e-6);
    /// ```
    fn sinh(x) = f_sinh();

    /// Returns the hyperbolic cosine.
    /// ```rhai
    /// assert_close(tensor([1.0]).cosh(), [1.5430806], 1e-6);
    /// ```
    fn cosh(x) = f_cosh();

    /// Returns the hyperbolic tangent, from -1 to 1.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).tanh(), [0.0, 0.7615942], 1e-6);
    /// ```
    fn tanh(x) = f_tanh();

    /// Returns the inverse hyperbolic sine.
    /// ```rhai
    /// assert_close(tensor([1.1752012]).asinh(), [1.0], 1e-6);
    /// ```
    fn asinh(x) = f_asinh();

    /// Returns the inverse hyperbolic cosine, for x from 1.
    /// ```rhai
    /// assert_close(tensor([1.5430806]).acosh(), [1.0], 1e-6);
    /// ```
    fn acosh(x) = f_acosh();

    /// Returns the inverse hyperbolic tangent, for x from -1 to 1.
    /// ```rhai
    /// assert_close(tensor([0.7615942]).atanh(), [1.0], 1e-5);
    /// ```
    fn atanh(x) = f_atanh();

    /// Returns `sin(pi x) / (pi x)`, which is 1 at zero.
    /// ```rhai
    /// assert_close(tensor([0.0, 0.5, 1.0]).sinc(), [1.0, 0.6366198, 0.0], 1e-6);
    /// ```
    fn sinc(x) = f_sinc();

    /// Converts degrees to radians.
    /// ```rhai
    /// assert_close(tensor([180.0]).deg2rad(), [3.1415927], 1e-6);
    /// ```
    fn deg2rad(x) = f_deg2rad();

    /// Converts radians to degrees.
    /// ```rhai
    /// assert_close(tensor([3.1415927]).rad2deg(), [180.0], 1e-4);
    /// ```
    fn rad2deg(x) = f_rad2deg();

    /// Rounds each element down to an integer.
    /// ```rhai
    /// assert_eq(tensor([1.7, -1.2]).floor(), tensor([1.0, -2.0]));
    /// ```
    fn floor(x) = f_floor();

    /// Rounds each element up to an integer.
    /// ```rhai
    /// assert_eq(tensor([1.2, -1.7]).ceil(), tensor([2.0, -1.0]));
    /// ```
    fn ceil(x) = f_ceil();

    /// Rounds each element towards zero to its integer part.
    /// ```rhai
    /// assert_eq(tensor([1.7, -1.7]).trunc(), tensor([1.0, -1.0]));
    /// ```
    fn trunc(x) = f_trunc();

    /// Returns the fractional part, with the sign of the element.
    /// ```rhai
    /// assert_eq(tensor([1.75, -1.25]).frac(), tensor([0.75, -0.25]));
    /// ```
    fn frac(x) = f_frac();

    /// Replaces NaN (by 0 by default) and infinities (by the largest finite numbers by default).
    /// ```rhai
    /// let x = tensor([0.0, 1.0, -1.0]) / 0.0;
    /// assert_eq(x.nan_to_num(5.0, 1.0, -1.0), tensor([5.0, 1.0, -1.0]));
    /// ```
    fn nan_to_num(x, nan: f64 = 0.0, posinf: Option<f64>, neginf: Option<f64>)
        = f_nan_to_num(nan, posinf, neginf);

    /// Returns the log-odds, `log(x / (1 - x))`, the inverse of the sigmoid.
    ///
    /// With `eps`, x is first clamped between `eps` and `1 - eps`.
    /// ```rhai
    /// assert_close(tensor([0.5, 0.7310586]).logit(), [0.0, 1.0], 1e-5);
    /// ```
    fn logit(x, eps: Option<f64>) = f_logit(eps);
}

impl Tensor {
    /// Rounds to the nearest integer, halves to even.
    pub fn round(&self) -> Result<Tensor> {
        single(self.raw().f_round())
    }

    /// Clamps elements between two bounds.
    pub fn clamp(&self, low: impl Into<Number>, high: impl Into<Number>) -> Result<Tensor> {
        with_numbers("clamp", &[self], &[low.into(), high.into()])
    }

    /// Clamps elements to a lower bound.
    pub fn clamp_min(&self, low: impl Into<Number>) -> Result<Tensor> {
        with_numbers("clamp_min", &[self], &[low.into()])
    }

    /// Clamps elements to an upper bound.
    pub fn clamp_max(&self, high: impl Into<Number>) -> Result<Tensor> {
        with_numbers("clamp_max", &[self], &[high.into()])
    }
}

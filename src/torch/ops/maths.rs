//! Element-wise mathematics. Integers give floats where the result is not an integer.

use super::arithmetic::with_numbers;
use super::ops;
use crate::declare::Number;
use crate::error::Result;
use crate::torch::Tensor;

ops! {
    /// Returns the negative.
    neg() = f_neg();
    /// Returns the absolute value, or the modulus of complex numbers.
    abs() = f_abs();
    /// Returns the square.
    square() = f_square();
    /// Returns the square root.
    sqrt() = f_sqrt();
    /// Returns the reciprocal square root.
    rsqrt() = f_rsqrt();
    /// Returns `1 / x`.
    reciprocal() = f_reciprocal();
    /// Returns the exponential.
    exp() = f_exp();
    /// Returns two to the power of `x`.
    exp2() = f_exp2();
    /// Returns `exp(x) - 1`, accurate near zero.
    expm1() = f_expm1();
    /// Returns the natural logarithm.
    log() = f_log();
    /// Returns the logarithm to base 2.
    log2() = f_log2();
    /// Returns the logarithm to base 10.
    log10() = f_log10();
    /// Returns `log(1 + x)`, accurate near zero.
    log1p() = f_log1p();
    /// Returns the sine.
    sin() = f_sin();
    /// Returns the cosine.
    cos() = f_cos();
    /// Returns the tangent.
    tan() = f_tan();
    /// Returns the arc sine.
    asin() = f_asin();
    /// Returns the arc cosine.
    acos() = f_acos();
    /// Returns the arc tangent.
    atan() = f_atan();
    /// Returns the hyperbolic sine.
    sinh() = f_sinh();
    /// Returns the hyperbolic cosine.
    cosh() = f_cosh();
    /// Returns the hyperbolic tangent.
    tanh() = f_tanh();
    /// Returns the inverse hyperbolic sine.
    asinh() = f_asinh();
    /// Returns the inverse hyperbolic cosine.
    acosh() = f_acosh();
    /// Returns the inverse hyperbolic tangent.
    atanh() = f_atanh();
    /// Returns `sin(pi x) / (pi x)`.
    sinc() = f_sinc();
    /// Converts degrees to radians.
    deg2rad() = f_deg2rad();
    /// Converts radians to degrees.
    rad2deg() = f_rad2deg();
    /// Rounds down to an integer.
    floor() = f_floor();
    /// Rounds up to an integer.
    ceil() = f_ceil();
    /// Rounds to the nearest integer, halves to even.
    round() = f_round();
    /// Rounds to decimal places, halves to even.
    round_to(decimals: i64) = f_round_decimals(decimals);
    /// Rounds towards zero to an integer.
    trunc() = f_trunc();
    /// Returns the fractional part, with the sign of `x`.
    frac() = f_frac();
    /// Returns the sign: -1, 0 or 1.
    sign() = f_sign();
    /// Returns the error function.
    erf() = f_erf();
    /// Returns `1 - erf(x)`.
    erfc() = f_erfc();
    /// Returns the inverse of the error function.
    erfinv() = f_erfinv();
    /// Returns the logarithm of the absolute value of the gamma function.
    lgamma() = f_lgamma();
    /// Returns the derivative of the logarithm of the gamma function.
    digamma() = f_digamma();
    /// Returns the modified Bessel function of the first kind, order 0.
    i0() = f_i0();
    /// Returns the logarithm of the odds `x / (1 - x)`.
    logit(eps: Option<f64>) = f_logit(eps);
    /// Returns the complex conjugate.
    conj() = f_conj_physical();
    /// Returns whether elements are finite, bool.
    isfinite() = f_isfinite();
    /// Returns whether elements are infinite, bool.
    isinf() = f_isinf();
    /// Returns whether elements are NaN, bool.
    isnan() = f_isnan();
    /// Replaces NaN and infinities; `None` replaces infinities with the largest finite numbers.
    nan_to_num(nan: f64, posinf: Option<f64>, neginf: Option<f64>) = f_nan_to_num(nan, posinf, neginf);
    /// Clamps elements between bounds given per element.
    clamp_between(low: Option<&Tensor>, high: Option<&Tensor>) = f_clamp_tensor(low.map(Tensor::raw), high.map(Tensor::raw));
    /// Returns the modulus of complex numbers.
    modulus() = f_abs();
}

impl Tensor {
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

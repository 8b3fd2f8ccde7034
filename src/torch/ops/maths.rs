//! Mathematics, element by element. Integers give floats where the result is not an integer.

use super::arithmetic::with_numbers;
use super::ops;
use crate::declare::Number;
use crate::error::Result;
use crate::torch::Tensor;

ops! {
    /// Negative.
    neg() = f_neg();
    /// Absolute value, or modulus of complex numbers.
    abs() = f_abs();
    /// Square.
    square() = f_square();
    /// Square root.
    sqrt() = f_sqrt();
    /// Reciprocal square root.
    rsqrt() = f_rsqrt();
    /// `1 / x`.
    reciprocal() = f_reciprocal();
    /// Exponential.
    exp() = f_exp();
    /// Power of two.
    exp2() = f_exp2();
    /// `exp(x) - 1`, exact near zero.
    expm1() = f_expm1();
    /// Natural logarithm.
    log() = f_log();
    /// Logarithm to base 2.
    log2() = f_log2();
    /// Logarithm to base 10.
    log10() = f_log10();
    /// `log(1 + x)`, exact near zero.
    log1p() = f_log1p();
    /// Sine.
    sin() = f_sin();
    /// Cosine.
    cos() = f_cos();
    /// Tangent.
    tan() = f_tan();
    /// Arc sine.
    asin() = f_asin();
    /// Arc cosine.
    acos() = f_acos();
    /// Arc tangent.
    atan() = f_atan();
    /// Hyperbolic sine.
    sinh() = f_sinh();
    /// Hyperbolic cosine.
    cosh() = f_cosh();
    /// Hyperbolic tangent.
    tanh() = f_tanh();
    /// Inverse hyperbolic sine.
    asinh() = f_asinh();
    /// Inverse hyperbolic cosine.
    acosh() = f_acosh();
    /// Inverse hyperbolic tangent.
    atanh() = f_atanh();
    /// `sin(pi x) / (pi x)`.
    sinc() = f_sinc();
    /// Radians from degrees.
    deg2rad() = f_deg2rad();
    /// Degrees from radians.
    rad2deg() = f_rad2deg();
    /// Largest integer not above.
    floor() = f_floor();
    /// Smallest integer not below.
    ceil() = f_ceil();
    /// Nearest integer, halves to even.
    round() = f_round();
    /// Rounded to decimal places, halves to even.
    round_to(decimals: i64) = f_round_decimals(decimals);
    /// Integer part, towards zero.
    trunc() = f_trunc();
    /// Fractional part, with the sign of x.
    frac() = f_frac();
    /// -1, 0 or 1.
    sign() = f_sign();
    /// Error function.
    erf() = f_erf();
    /// `1 - erf(x)`.
    erfc() = f_erfc();
    /// Inverse of the error function.
    erfinv() = f_erfinv();
    /// Logarithm of the absolute gamma function.
    lgamma() = f_lgamma();
    /// Derivative of the logarithm of the gamma function.
    digamma() = f_digamma();
    /// Modified Bessel function of the first kind, order 0.
    i0() = f_i0();
    /// Logarithm of the odds `x / (1 - x)`.
    logit(eps: Option<f64>) = f_logit(eps);
    /// Complex conjugate.
    conj() = f_conj_physical();
    /// Whether elements are finite, bool.
    isfinite() = f_isfinite();
    /// Whether elements are infinite, bool.
    isinf() = f_isinf();
    /// Whether elements are not a number, bool.
    isnan() = f_isnan();
    /// NaN and infinities replaced; infinities by the largest finite numbers where `None`.
    nan_to_num(nan: f64, posinf: Option<f64>, neginf: Option<f64>) = f_nan_to_num(nan, posinf, neginf);
    /// Elements held between bounds of their own.
    clamp_between(low: Option<&Tensor>, high: Option<&Tensor>) = f_clamp_tensor(low.map(Tensor::raw), high.map(Tensor::raw));
    /// Modulus of complex numbers.
    modulus() = f_abs();
}

impl Tensor {
    /// Elements held between two bounds.
    pub fn clamp(&self, low: impl Into<Number>, high: impl Into<Number>) -> Result<Tensor> {
        with_numbers("clamp", &[self], &[low.into(), high.into()])
    }

    /// Elements held above a bound.
    pub fn clamp_min(&self, low: impl Into<Number>) -> Result<Tensor> {
        with_numbers("clamp_min", &[self], &[low.into()])
    }

    /// Elements held below a bound.
    pub fn clamp_max(&self, high: impl Into<Number>) -> Result<Tensor> {
        with_numbers("clamp_max", &[self], &[high.into()])
    }
}
